// The counter inside a local APIC: one-shot, periodic or TSC deadline, exact in virtual time.
#pragma once

#include <cstdint>

#include "devices/scheduler.hpp"

namespace xenolith::devices {

// It only counts: whether an expiry interrupts, and being called when one is due, is the local APIC's business.
class ApicTimer final {
  public:
    enum class Mode : std::uint8_t { one_shot = 0, periodic = 1, tsc_deadline = 2, reserved = 3 };

    struct State {
        Mode mode = Mode::one_shot;
        std::uint8_t divide_configuration = 0;  // as the register holds it: bits 0, 1 and 3
        std::uint32_t initial_count = 0;
        std::uint32_t count = 0;         // what the counter held at `tick`; 0 when it is stopped
        std::uint64_t tick = 0;          // in ticks of the bus clock since power-on
        std::uint64_t tsc_deadline = 0;  // 0 when it is not armed
        std::uint64_t tsc_offset = 0;    // TSC minus cycles, modulo 2^64
    };

    // `bus_frequency` in Hz: what the divider divides. std::invalid_argument if it is zero.
    ApicTimer(const Scheduler& scheduler, std::uint64_t bus_frequency);

    // Brings the counter to the present. True if it has expired since the last time, however often.
    bool advance();
    // The cycle of the next expiry, or Scheduler::never.
    std::uint64_t next_expiry() const { return next_expiry_; }

    // Between one-shot and periodic the count goes on, and the mode decides what happens at its end; any other change
    // stops the timer.
    void set_mode(Mode mode);
    // Starts the counter, or stops it with 0. Ignored outside one-shot and periodic mode.
    void set_initial_count(std::uint32_t count);
    // A running counter goes on from its count, with a whole step of the new length.
    void set_divide_configuration(std::uint8_t value);
    // Arms the deadline, or disarms it with 0. Ignored outside TSC-deadline mode.
    void set_tsc_deadline(std::uint64_t deadline);
    void set_tsc_offset(std::uint64_t offset);

    std::uint32_t initial_count() const { return state_.initial_count; }
    std::uint32_t current_count() const;
    std::uint8_t divide_configuration() const { return state_.divide_configuration; }
    std::uint64_t tsc_deadline() const { return state_.tsc_deadline; }

    void reset();  // stopped, one-shot; the TSC's offset stays
    const State& save() const { return state_; }
    void restore(const State& state);  // std::invalid_argument if a field is out of its range

  private:
    bool is_counting_mode() const { return state_.mode == Mode::one_shot || state_.mode == Mode::periodic; }
    std::uint64_t divisor() const;
    // Moves `tick` to the last whole step before the present, and the count with it; true if it reached zero.
    bool catch_up();
    void plan();

    const Scheduler& scheduler_;
    std::uint64_t bus_frequency_;
    State state_;
    std::uint64_t next_expiry_ = Scheduler::never;
};

}  // namespace xenolith::devices
