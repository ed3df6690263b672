// The machine's one clock: virtual time in cycles, and the timers that are due at their exact cycle, in a
// fixed order.
#pragma once

#include <cstdint>
#include <vector>

#include "devices/scheduler.hpp"

namespace xenolith::machine {

class Clock final : public devices::Scheduler {
  public:
    // `frequency` in cycles per second; std::invalid_argument if it is zero.
    explicit Clock(std::uint64_t frequency);

    std::uint64_t now() const override { return now_; }
    std::uint64_t frequency() const override { return frequency_; }
    void at(std::uint64_t cycles, devices::Timer& timer) override;
    void cancel(devices::Timer& timer) override;

    // The earliest deadline in cycles, or `never`. It may lie in the past.
    std::uint64_t next_deadline() const { return armed_.empty() ? never : armed_.back().deadline; }

    // Moves time to `cycles` and expires every timer due by then, in order of (deadline, rank).
    // While a timer expires, now() is its deadline. A timer that is armed meanwhile, and due, expires in the
    // same call. Time never goes back: an earlier `cycles` only expires what is overdue. Not to be called
    // from a timer.
    void advance_to(std::uint64_t cycles) {
        if (cycles >= next_deadline()) expire_until(cycles);
        if (cycles > now_) now_ = cycles;
    }

    // Sets the time and disarms every timer: devices arm theirs again when they are restored.
    void restore(std::uint64_t now);

  private:
    struct Armed {
        std::uint64_t deadline;
        devices::Timer* timer;
    };

    void expire_until(std::uint64_t cycles);

    std::uint64_t frequency_;
    std::uint64_t now_ = 0;
    // A machine has a handful of timers: a sorted vector, the earliest last, beats a heap.
    std::vector<Armed> armed_;
};

}  // namespace xenolith::machine
