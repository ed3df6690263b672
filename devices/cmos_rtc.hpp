// The MC146818A real-time clock and its battery-backed memory; the time of day is virtual and starts at a
// given date.
#pragma once

#include <array>
#include <cstdint>

#include "devices/device.hpp"
#include "devices/scheduler.hpp"

namespace xenolith::devices {

class CmosRtc final : public BytePortDevice, private Timer {
  public:
    static constexpr std::uint64_t crystal = 32'768;  // Hz
    static constexpr unsigned memory_size = 128;      // bytes, the clock's registers included

    struct Configuration {
        // Time of day at cycle 0, in seconds since 1970-01-01 00:00:00 UTC, before the year 10000. The
        // default is 2024-01-01 00:00:00: the same run sees the same date.
        std::uint64_t start_seconds = 1'704'067'200;
        std::uint64_t memory_below_4g = 0;  // bytes of RAM below 4 GiB, counted from address 0
        std::uint64_t memory_above_4g = 0;  // bytes of RAM at and above 4 GiB
    };

    struct State {
        std::array<std::uint8_t, memory_size> memory{};
        std::uint8_t index = 0;  // 0-127
        bool nmi_masked = false;
        std::uint64_t chain_origin = 0;  // crystal tick, modulo 2^64, at which the divider chain was at zero
        std::uint64_t chain_seen = 0;    // how far the chain had come when the registers were last brought up to date
    };

    // Drives IRQ 8: asserted while an enabled interrupt flag is set.
    CmosRtc(Scheduler& scheduler, InterruptLine& irq8, const Configuration& configuration);
    ~CmosRtc() override;
    CmosRtc(const CmosRtc&) = delete;
    CmosRtc& operator=(const CmosRtc&) = delete;

    // Bit 7 of the last write to port 0x70.
    bool nmi_masked() const { return state_.nmi_masked; }
    // One byte of the battery-backed memory, 0-127, as firmware would have left it. Index 0-13 are the
    // clock's own.
    void set_memory(unsigned index, std::uint8_t value);

    // The RESET pin: interrupts off, flags cleared. Clock and memory live on.
    void reset();
    State save();
    void restore(const State& state);  // std::invalid_argument if a field is out of its range

  private:
    std::uint8_t read_byte(std::uint16_t offset) override;
    void write_byte(std::uint16_t offset, std::uint8_t value) override;
    void expired() override;

    std::uint8_t read_register(std::uint8_t index);
    void write_register(std::uint8_t index, std::uint8_t value);
    void write_register_a(std::uint8_t value);
    void write_register_b(std::uint8_t value);
    void fill_memory_sizes(const Configuration& configuration);
    void fill_checksum();

    bool chain_running() const;
    std::uint64_t chain() const;
    std::uint64_t periodic_ticks() const;
    bool updating() const;
    // Adds whole seconds to the calendar registers.
    void advance_calendar(std::uint64_t seconds);
    // Seconds until the alarm registers match the time, 1 to 86400; 0 if they never do.
    std::uint64_t seconds_to_alarm() const;
    // Brings registers and flags to the present.
    void advance();
    // Drives the line and arms the timer for the next flag that can interrupt.
    void settle();

    Scheduler& scheduler_;
    InterruptLine& irq8_;
    State state_;
};

}  // namespace xenolith::devices
