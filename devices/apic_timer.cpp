// Intel SDM vol. 3A, 10.5.4 (APIC timer) and 10.5.4.1 (TSC-deadline mode).
//
// The counter steps with the edges of the bus clock, which are at fixed cycles since power-on, once per `divisor` of
// them. It is kept as its value at one tick; its value now and the cycle of its end are worked out from there.
#include "devices/apic_timer.hpp"

#include <algorithm>
#include <stdexcept>

namespace xenolith::devices {

ApicTimer::ApicTimer(const Scheduler& scheduler, std::uint64_t bus_frequency)
    : scheduler_(scheduler), bus_frequency_(bus_frequency) {
    if (bus_frequency == 0) throw std::invalid_argument("local APIC: the bus frequency must not be zero");
}

// Divide configuration register: 000 divides by 2, each next value by twice as much, and 111 by 1.
std::uint64_t ApicTimer::divisor() const {
    const unsigned value = (state_.divide_configuration & 3u) | ((state_.divide_configuration & 8u) >> 1);
    return std::uint64_t{1} << ((value + 1) & 7u);
}

bool ApicTimer::catch_up() {
    if (state_.count == 0) return false;
    const std::uint64_t steps = (scheduler_.ticks(bus_frequency_) - state_.tick) / divisor();
    state_.tick += steps * divisor();
    if (steps < state_.count) {
        state_.count -= static_cast<std::uint32_t>(steps);
        return false;
    }
    const std::uint64_t beyond = steps - state_.count;
    state_.count = state_.mode == Mode::periodic
                       ? state_.initial_count - static_cast<std::uint32_t>(beyond % state_.initial_count)
                       : 0;
    return true;
}

void ApicTimer::plan() {
    next_expiry_ = Scheduler::never;
    if (state_.count != 0) {
        const std::uint64_t length = state_.count * divisor();
        if (length < Scheduler::never - state_.tick) {
            next_expiry_ = scheduler_.cycle_of_tick(state_.tick + length, bus_frequency_);
        }
    } else if (state_.tsc_deadline != 0) {
        const std::uint64_t now = scheduler_.now();
        const std::uint64_t tsc = now + state_.tsc_offset;
        const std::uint64_t wait = state_.tsc_deadline > tsc ? state_.tsc_deadline - tsc : 0;
        if (wait < Scheduler::never - now) next_expiry_ = now + wait;
    }
}

bool ApicTimer::advance() {
    if (scheduler_.now() < next_expiry_ || next_expiry_ == Scheduler::never) return false;
    if (state_.count != 0) {
        catch_up();
    } else {
        state_.tsc_deadline = 0;
    }
    plan();
    return true;
}

void ApicTimer::set_mode(Mode mode) {
    const bool was_counting_mode = is_counting_mode();
    if (mode == state_.mode) return;
    catch_up();
    state_.mode = mode;
    if (!was_counting_mode || !is_counting_mode()) {
        state_.initial_count = 0;
        state_.count = 0;
        state_.tsc_deadline = 0;
    }
    plan();
}

void ApicTimer::set_initial_count(std::uint32_t count) {
    if (!is_counting_mode()) return;
    state_.initial_count = count;
    state_.count = count;
    state_.tick = scheduler_.ticks(bus_frequency_);
    plan();
}

void ApicTimer::set_divide_configuration(std::uint8_t value) {
    catch_up();
    state_.divide_configuration = value;
    if (state_.count != 0) state_.tick = scheduler_.ticks(bus_frequency_);
    plan();
}

std::uint32_t ApicTimer::current_count() const {
    if (state_.count == 0) return 0;
    ApicTimer copy = *this;
    copy.catch_up();
    return copy.state_.count;
}

void ApicTimer::set_tsc_deadline(std::uint64_t deadline) {
    if (state_.mode != Mode::tsc_deadline) return;
    state_.tsc_deadline = deadline;
    plan();
}

void ApicTimer::set_tsc_offset(std::uint64_t offset) {
    state_.tsc_offset = offset;
    plan();
}

void ApicTimer::reset() {
    const std::uint64_t offset = state_.tsc_offset;
    state_ = {};
    state_.tsc_offset = offset;
    plan();
}

void ApicTimer::restore(const State& state) {
    const bool counting_mode = state.mode == Mode::one_shot || state.mode == Mode::periodic;
    if (state.mode > Mode::reserved || (state.divide_configuration & ~0xb) != 0 || state.count > state.initial_count ||
        (state.initial_count != 0 && !counting_mode) || (state.tsc_deadline != 0 && state.mode != Mode::tsc_deadline) ||
        (state.count != 0 && state.tick > scheduler_.ticks(bus_frequency_))) {
        throw std::invalid_argument("local APIC: the saved state of the timer is out of range");
    }
    state_ = state;
    plan();
}

}  // namespace xenolith::devices
