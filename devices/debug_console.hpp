// The debug console at port 0xe9: a byte written is a byte shown.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "devices/device.hpp"

namespace xenolith::devices {

// A convention that began with the Bochs emulator; a read of 0xe9 tells the guest that the port is there. It
// holds no state.
class DebugConsole final : public BytePortDevice {
  public:
    static constexpr std::uint8_t presence = 0xe9;
    using Sink = std::function<void(std::uint8_t)>;

    explicit DebugConsole(Sink sink) : sink_(std::move(sink)) {}

  private:
    std::uint8_t read_byte(std::uint16_t offset) override { return offset == 0 ? presence : 0xff; }
    void write_byte(std::uint16_t offset, std::uint8_t value) override {
        if (offset == 0 && sink_) sink_(value);
    }

    Sink sink_;
};

}  // namespace xenolith::devices
