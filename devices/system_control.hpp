// The PC's small control ports: 0x61 (speaker and timer 2), 0x80 (POST code), 0x92 (A20 and reset).
#pragma once

#include <cstdint>
#include <functional>

#include "devices/device.hpp"
#include "devices/pit8254.hpp"

namespace xenolith::devices {

// The gate on address line 20. Two sources can open it, the keyboard controller and port 0x92; it is open
// while either asks for it.
class A20Gate final {
  public:
    // Told when the gate opens (true) or closes.
    using Sink = std::function<void(bool open)>;
    enum class Source : std::uint8_t { keyboard_controller, port_92 };

    explicit A20Gate(Sink sink);
    void request(Source source, bool open);
    bool is_open() const { return requests_ != 0; }

  private:
    Sink sink_;
    std::uint8_t requests_ = 1;  // a bit per source; the keyboard controller's is set at power-on
};

// Told that the guest asked for a system reset (the CPU's INIT or RESET). The write's instruction still
// completes.
using ResetSink = std::function<void()>;

// Port 0x92, system control port A (IBM PS/2 Model 80 technical reference; Intel ICH9 data sheet, 13.7.2).
// Bit 0: writing 1 after 0 resets; bit 1: A20.
class SystemControlPortA final : public BytePortDevice {
  public:
    struct State {
        std::uint8_t value = 0;
    };

    SystemControlPortA(A20Gate& a20, ResetSink reset_sink);
    void reset();
    State save() const { return state_; }
    void restore(const State& state);

  private:
    std::uint8_t read_byte(std::uint16_t offset) override;
    void write_byte(std::uint16_t offset, std::uint8_t value) override;

    A20Gate& a20_;
    ResetSink reset_sink_;
    State state_;
};

// Port 0x61, system control port B (Intel ICH9 data sheet, 13.7.1: NMI status and control). Bit 0 gate of
// timer 2, bit 1 speaker, bits 2-3 NMI enables (kept, without effect), bit 4 refresh toggle, bit 5 OUT of
// timer 2, bits 6-7 NMI sources (never set).
class SystemControlPortB final : public BytePortDevice {
  public:
    // The refresh toggle changes every 18 ticks of the interval timer: 15.1 microseconds.
    static constexpr std::uint64_t refresh_ticks = 18;

    struct State {
        std::uint8_t value = 0;  // bits 0-3
    };

    explicit SystemControlPortB(Pit8254& timer);
    // Whether the speaker is on: its data bit is set and timer 2 is high.
    bool speaker();
    void reset();
    State save() const { return state_; }
    void restore(const State& state);

  private:
    std::uint8_t read_byte(std::uint16_t offset) override;
    void write_byte(std::uint16_t offset, std::uint8_t value) override;

    Pit8254& timer_;
    State state_;
};

// Port 0x80: firmware writes its progress here, and kernels write to it to pass a microsecond.
class PostCodePort final : public BytePortDevice {
  public:
    struct State {
        std::uint8_t last = 0;
    };

    std::uint8_t last() const { return state_.last; }
    void reset() { state_ = {}; }
    State save() const { return state_; }
    void restore(const State& state) { state_ = state; }

  private:
    std::uint8_t read_byte(std::uint16_t offset) override { return offset == 0 ? state_.last : 0xff; }
    void write_byte(std::uint16_t offset, std::uint8_t value) override {
        if (offset == 0) state_.last = value;
    }

    State state_;
};

}  // namespace xenolith::devices
