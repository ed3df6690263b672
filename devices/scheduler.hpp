// Virtual time as devices see it: a count of CPU cycles, its rate, and call-backs at exact deadlines.
#pragma once

#include <cstdint>
#include <limits>

namespace xenolith::devices {

// Converting between two exact rates. A rate in Hz is a promise about whole seconds: tick n of a clock of
// `to_hz` falls at the first cycle c with c * to_hz >= n * from_hz. Converting the absolute count each time,
// in 128 bits, means that nothing is rounded twice, so nothing drifts. Results that do not fit saturate.
// Rates must not be zero.
constexpr std::uint64_t convert_floor(std::uint64_t count, std::uint64_t from_hz, std::uint64_t to_hz) {
    const auto wide = static_cast<unsigned __int128>(count) * to_hz / from_hz;
    constexpr auto limit = std::numeric_limits<std::uint64_t>::max();
    return wide > limit ? limit : static_cast<std::uint64_t>(wide);
}
constexpr std::uint64_t convert_ceiling(std::uint64_t count, std::uint64_t from_hz, std::uint64_t to_hz) {
    const auto wide = static_cast<unsigned __int128>(count) * to_hz;
    const auto quotient = wide / from_hz + (wide % from_hz != 0 ? 1 : 0);
    constexpr auto limit = std::numeric_limits<std::uint64_t>::max();
    return quotient > limit ? limit : static_cast<std::uint64_t>(quotient);
}

class Scheduler;

// Something that wants to be called at a deadline. A timer is armed for at most one deadline at a time. Of timers with
// the same deadline the one that was made first expires first, so that a machine that is resumed goes on as it would
// have, however its timers came to be armed.
class Timer {
  public:
    explicit Timer(Scheduler& scheduler);
    virtual void expired() = 0;
    unsigned rank() const { return rank_; }

  protected:
    ~Timer() = default;

  private:
    unsigned rank_;
};

class Scheduler {
  public:
    // A deadline that never comes.
    static constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();

    virtual ~Scheduler() = default;
    // Cycles since the machine was switched on. During Timer::expired it is at least the deadline, and it is
    // the deadline itself unless that had already passed when the timer was armed.
    virtual std::uint64_t now() const = 0;
    // Cycles per second, never zero.
    virtual std::uint64_t frequency() const = 0;
    // Arms the timer for a deadline in cycles, in place of the one it had; `never` disarms it. A deadline that has
    // passed expires at the next advance.
    virtual void at(std::uint64_t cycles, Timer& timer) = 0;
    // Disarms the timer, if it is armed. Whoever owns a timer does this before destroying it.
    virtual void cancel(Timer& timer) = 0;

    // Whole ticks of a clock of `hertz` that have passed by now.
    std::uint64_t ticks(std::uint64_t hertz) const { return convert_floor(now(), frequency(), hertz); }
    // The first cycle at which ticks(hertz) is at least `tick`.
    std::uint64_t cycle_of_tick(std::uint64_t tick, std::uint64_t hertz) const {
        return convert_ceiling(tick, hertz, frequency());
    }
    std::uint64_t nanoseconds() const { return ticks(1'000'000'000); }

  private:
    friend class Timer;
    unsigned timers_ = 0;  // that were made for it
};

inline Timer::Timer(Scheduler& scheduler) : rank_(scheduler.timers_++) {}

}  // namespace xenolith::devices
