// The high precision event timers: a counter in memory at 100 MHz, three comparators, exact in virtual time.
#pragma once

#include <array>
#include <cstdint>

#include "devices/device.hpp"
#include "devices/scheduler.hpp"

namespace xenolith::devices {

struct HpetTimerState {
    std::uint64_t configuration = 0;               // the bits that a guest may write
    std::uint64_t comparator = ~std::uint64_t{0};  // in periodic mode it moves on with each match
    std::uint64_t period = 0;                      // what was last written to the comparator register
    bool raised = false;                           // edge mode: the line is up since the last match
};

class Hpet final : public MemoryDevice, private Timer {
  public:
    static constexpr std::uint64_t size = 0x400;             // bytes
    static constexpr std::uint64_t frequency = 100'000'000;  // Hz
    static constexpr std::uint64_t period_femtoseconds = 10'000'000;
    static constexpr unsigned timer_count = 3;  // of which timer 0 can be periodic
    static constexpr unsigned pin_count = 32;   // inputs of I/O APICs
    // The general capabilities register: revision 1, 64-bit counter, legacy replacement. Firmware tables repeat
    // its lower half.
    static constexpr std::uint64_t capabilities =
        period_femtoseconds << 32 | 0x8086u << 16 | 1u << 15 | 1u << 13 | (timer_count - 1) << 8 | 1u;
    // Ticks. A shorter period counts in multiples of itself that are not shorter: no more than a million
    // interrupts a second come out of here, as no CPU could take them.
    static constexpr std::uint64_t shortest_period = 100;

    struct Wiring {
        InterruptLine& irq0;  // where timer 0 replaces the interval timer
        InterruptLine& irq8;  // where timer 1 replaces the real-time clock
        // I/O APIC inputs that a timer may be routed to, by number; null where there is none. No other device
        // drives them.
        std::array<InterruptLine*, pin_count> pins{};
    };

    struct State {
        std::uint64_t configuration = 0;
        std::uint64_t status = 0;
        std::uint64_t counter = 0;  // at `tick`
        std::uint64_t tick = 0;     // of `frequency`, since power-on
        std::array<HpetTimerState, timer_count> timers;
        bool interval_timer = false;  // level of the two inputs
        bool real_time_clock = false;
    };

    Hpet(Scheduler& scheduler, const Wiring& wiring);
    ~Hpet() override;
    Hpet(const Hpet&) = delete;
    Hpet& operator=(const Hpet&) = delete;

    // The interval timer's and the real-time clock's interrupts pass through here: to IRQ 0 and 8, except while
    // a guest has legacy replacement on.
    InterruptLine& interval_timer_input() { return interval_timer_input_; }
    InterruptLine& real_time_clock_input() { return real_time_clock_input_; }

    // Aligned accesses of 4 and 8 bytes. Others read what is there, and write nothing. Reserved registers are 0.
    std::uint64_t read(std::uint64_t offset, unsigned width) override;
    void write(std::uint64_t offset, unsigned width, std::uint64_t value) override;

    void reset();
    State save();
    void restore(const State& state);  // std::invalid_argument if a field is out of its range

  private:
    class Input final : public InterruptLine {
      public:
        Input(Hpet& owner, bool& level) : owner_(owner), level_(level) {}
        void set(bool asserted) override {
            level_ = asserted;
            owner_.drive();
        }

      private:
        Hpet& owner_;
        bool& level_;
    };

    void expired() override;
    std::uint64_t register_at(std::uint64_t offset) const;
    // `written` has the bits set that the access reaches.
    void write_general_configuration(std::uint64_t value);
    void write_timer(unsigned number, std::uint64_t offset, std::uint64_t value, std::uint64_t written);
    void write_timer_configuration(unsigned number, std::uint64_t value);
    void write_comparator(unsigned number, std::uint64_t value, std::uint64_t written);

    bool running() const;
    bool legacy_replacement() const;
    bool can_route(std::uint64_t pin) const { return wiring_.pins[pin] != nullptr; }
    std::uint64_t route_capabilities() const;
    std::uint64_t configuration_mask(unsigned number) const;
    // Brings counter, comparators and status to the present.
    void advance();
    // The event of a match, after the comparator has moved on.
    void match(unsigned number);
    bool output(unsigned number) const;
    // Says the level of every wire.
    void drive();
    // Drives, and arms the timer for the next match that can be noticed.
    void settle();

    Scheduler& scheduler_;
    Wiring wiring_;
    State state_;
    Input interval_timer_input_{*this, state_.interval_timer};
    Input real_time_clock_input_{*this, state_.real_time_clock};
};

}  // namespace xenolith::devices
