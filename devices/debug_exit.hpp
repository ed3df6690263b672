// The debug exit at port 0xf4: the guest ends the run with a status.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "devices/device.hpp"

namespace xenolith::devices {

// QEMU's isa-debug-exit convention: the status is value * 2 + 1, so that it is never 0, which means success.
// It holds no state.
class DebugExit final : public PortDevice {
  public:
    // Told the status. The write's instruction still completes; the receiver asks the engine to stop.
    using Sink = std::function<void(std::uint32_t status)>;

    explicit DebugExit(Sink sink) : sink_(std::move(sink)) {}

    std::uint32_t read(std::uint16_t, unsigned) override { return 0; }
    void write(std::uint16_t offset, unsigned width, std::uint32_t value) override {
        if (offset != 0 || !sink_) return;
        if (width == 1) value &= 0xff;
        if (width == 2) value &= 0xffff;
        sink_((value << 1) | 1);
    }

  private:
    Sink sink_;
};

}  // namespace xenolith::devices
