// A wire that remembers: its level now, and how often it rose.
#pragma once

#include <cstdint>
#include <functional>

#include "devices/device.hpp"

namespace xenolith::devices {

class RecordingLine final : public InterruptLine {
  public:
    void set(bool asserted) override {
        if (asserted == level) return;
        level = asserted;
        if (asserted) ++rises;
        if (changed) changed(asserted);
    }

    bool level = false;
    std::uint64_t rises = 0;
    std::function<void(bool)> changed;
};

// Port accesses as a guest's IN and OUT of one byte.
inline std::uint8_t in(PortDevice& device, std::uint16_t offset) {
    return static_cast<std::uint8_t>(device.read(offset, 1));
}
inline void out(PortDevice& device, std::uint16_t offset, unsigned value) { device.write(offset, 1, value); }

}  // namespace xenolith::devices
