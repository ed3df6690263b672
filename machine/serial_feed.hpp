// Characters on their way to the serial port: each arrives when there is room for it, at a cycle that depends on
// nothing but when it was sent.
#pragma once

#include <cstdint>
#include <deque>

#include "devices/scheduler.hpp"
#include "devices/uart16550.hpp"

namespace xenolith::machine {

class SerialFeed final : private devices::Timer {
  public:
    // Between a look and the next, if the port had no room: a character's time at 115,200 baud.
    static constexpr std::uint64_t character_hertz = 11'520;
    static constexpr std::size_t capacity = 1 << 16;  // characters

    SerialFeed(devices::Scheduler& scheduler, devices::Uart16550& port)
        : Timer(scheduler), scheduler_(scheduler), port_(port) {}
    ~SerialFeed() { scheduler_.cancel(*this); }
    SerialFeed(const SerialFeed&) = delete;
    SerialFeed& operator=(const SerialFeed&) = delete;

    // Sends a character; false if too many wait already.
    bool send(std::uint8_t character) {
        if (waiting_.size() >= capacity) return false;
        waiting_.push_back(character);
        if (waiting_.size() == 1) arm();
        return true;
    }

    struct State {
        std::deque<std::uint8_t> waiting;
        std::uint64_t next = devices::Scheduler::never;  // cycles
    };
    State save() const { return {waiting_, next_}; }
    void restore(const State& state) {
        waiting_ = state.waiting;
        next_ = state.next;
        scheduler_.at(next_, *this);
    }

  private:
    void arm() {
        next_ = scheduler_.cycle_of_tick(scheduler_.ticks(character_hertz) + 1, character_hertz);
        scheduler_.at(next_, *this);
    }
    void expired() override {
        next_ = devices::Scheduler::never;
        if (!waiting_.empty() && port_.can_receive()) {
            port_.receive(waiting_.front());
            waiting_.pop_front();
        }
        if (!waiting_.empty()) arm();
    }

    devices::Scheduler& scheduler_;
    devices::Uart16550& port_;
    std::deque<std::uint8_t> waiting_;
    std::uint64_t next_ = devices::Scheduler::never;
};

}  // namespace xenolith::machine
