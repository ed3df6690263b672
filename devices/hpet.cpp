// IA-PC HPET (High Precision Event Timers) Specification 1.0a, 2.3 "Register model", 2.3.9 "Theory of operation".
//
// As in the interval timer, nothing counts while nobody looks: the registers hold at one tick, and advancing them finds
// the matches that lie between by division. An edge stays up until the next one: an 8259A forgets a request whose line
// falls before it is acknowledged.
#include "devices/hpet.hpp"

#include <algorithm>
#include <stdexcept>

namespace xenolith::devices {

namespace {

// 2.3.3: registers by offset.
constexpr std::uint64_t general_capabilities = 0x000;
constexpr std::uint64_t general_configuration = 0x010;
constexpr std::uint64_t general_status = 0x020;
constexpr std::uint64_t main_counter = 0x0f0;
constexpr std::uint64_t first_timer = 0x100;
constexpr std::uint64_t timer_stride = 0x20;
constexpr std::uint64_t timer_configuration = 0x00;
constexpr std::uint64_t timer_comparator = 0x08;

// General configuration.
constexpr std::uint64_t overall_enable = 1u << 0;
constexpr std::uint64_t legacy_route = 1u << 1;

// Timer configuration and capability.
constexpr std::uint64_t level_triggered = 1u << 1;
constexpr std::uint64_t interrupt_enable = 1u << 2;
constexpr std::uint64_t periodic = 1u << 3;
constexpr std::uint64_t periodic_capable = 1u << 4;
constexpr std::uint64_t size_64_capable = 1u << 5;
constexpr std::uint64_t value_set = 1u << 6;
constexpr std::uint64_t mode_32 = 1u << 8;
constexpr unsigned route_shift = 9;
constexpr std::uint64_t route_mask = 0x1fu << route_shift;
constexpr unsigned route_capability_shift = 32;

constexpr std::uint64_t no_match = Scheduler::never;
constexpr std::uint64_t all_ones = ~std::uint64_t{0};
constexpr std::uint64_t low_half = 0xffff'ffff;

std::uint64_t bit(unsigned number) { return std::uint64_t{1} << number; }

std::uint64_t merge(std::uint64_t old, std::uint64_t value, std::uint64_t written) {
    return (old & ~written) | (value & written);
}

bool has(const HpetTimerState& timer, std::uint64_t flag) { return (timer.configuration & flag) != 0; }

std::uint64_t width_mask(const HpetTimerState& timer) { return has(timer, mode_32) ? low_half : all_ones; }

std::uint64_t route(const HpetTimerState& timer) { return (timer.configuration & route_mask) >> route_shift; }

bool repeats(const HpetTimerState& timer) { return has(timer, periodic) && (timer.period & width_mask(timer)) != 0; }

std::uint64_t effective_period(const HpetTimerState& timer) {
    const std::uint64_t period = timer.period & width_mask(timer);
    if (period >= Hpet::shortest_period) return period;
    return (Hpet::shortest_period + period - 1) / period * period;
}

// Ticks until the counter arrives at the comparator: if it is there now, a whole round, which 64 bits never make.
std::uint64_t ticks_to_match(const HpetTimerState& timer, std::uint64_t counter) {
    const std::uint64_t distance = (timer.comparator - counter) & width_mask(timer);
    if (distance != 0) return distance;
    return has(timer, mode_32) ? low_half + 1 : no_match;
}

void move_on(HpetTimerState& timer, std::uint64_t matches) {
    if (repeats(timer)) {
        timer.comparator = (timer.comparator + matches * effective_period(timer)) & width_mask(timer);
    }
}

}  // namespace

Hpet::Hpet(Scheduler& scheduler, const Wiring& wiring) : Timer(scheduler), scheduler_(scheduler), wiring_(wiring) {
    reset();
}

Hpet::~Hpet() { scheduler_.cancel(*this); }

void Hpet::reset() {
    State fresh;
    fresh.tick = scheduler_.ticks(frequency);
    fresh.interval_timer = state_.interval_timer;
    fresh.real_time_clock = state_.real_time_clock;
    state_ = fresh;
    settle();
}

bool Hpet::running() const { return (state_.configuration & overall_enable) != 0; }

// 2.3.5: both bits are needed.
bool Hpet::legacy_replacement() const { return running() && (state_.configuration & legacy_route) != 0; }

std::uint64_t Hpet::route_capabilities() const {
    std::uint64_t pins = 0;
    for (unsigned pin = 0; pin < pin_count; ++pin) pins |= can_route(pin) ? bit(pin) : 0;
    return pins;
}

std::uint64_t Hpet::configuration_mask(unsigned number) const {
    const std::uint64_t of_all = level_triggered | interrupt_enable | mode_32 | route_mask;
    return number == 0 ? of_all | periodic | value_set : of_all;
}

// ---- Time

void Hpet::advance() {
    const std::uint64_t present = scheduler_.ticks(frequency);
    const std::uint64_t elapsed = present - state_.tick;
    const std::uint64_t start = state_.counter;
    state_.tick = present;
    if (!running() || elapsed == 0) return;
    state_.counter += elapsed;
    for (unsigned number = 0; number < timer_count; ++number) {
        HpetTimerState& timer = state_.timers[number];
        const std::uint64_t distance = ticks_to_match(timer, start);
        if (distance > elapsed) continue;
        move_on(timer, repeats(timer) ? (elapsed - distance) / effective_period(timer) + 1 : 1);
        match(number);
    }
}

void Hpet::match(unsigned number) {
    HpetTimerState& timer = state_.timers[number];
    if (has(timer, level_triggered)) {
        // 2.3.8: the status says so whether or not the interrupt is enabled.
        state_.status |= bit(number);
    } else if (has(timer, interrupt_enable)) {
        timer.raised = false;
        drive();
        timer.raised = true;
    }
    drive();
}

void Hpet::settle() {
    drive();
    std::uint64_t wait = no_match;
    for (unsigned number = 0; running() && number < timer_count; ++number) {
        const HpetTimerState& timer = state_.timers[number];
        const bool already_asserted = has(timer, level_triggered) && (state_.status & bit(number)) != 0;
        if (has(timer, interrupt_enable) && !already_asserted) {
            wait = std::min(wait, ticks_to_match(timer, state_.counter));
        }
    }
    if (wait >= no_match - state_.tick) {
        scheduler_.cancel(*this);
    } else {
        scheduler_.at(scheduler_.cycle_of_tick(state_.tick + wait, frequency), *this);
    }
}

void Hpet::expired() {
    advance();
    settle();
}

// ---- Wires

bool Hpet::output(unsigned number) const {
    const HpetTimerState& timer = state_.timers[number];
    if (!running() || !has(timer, interrupt_enable)) return false;
    return has(timer, level_triggered) ? (state_.status & bit(number)) != 0 : timer.raised;
}

// 2.3.5: in legacy replacement, timer 0 has IRQ 0 and timer 1 IRQ 8, whatever their routes; timer 2 goes its own way.
void Hpet::drive() {
    const bool legacy = legacy_replacement();
    wiring_.irq0.set(legacy ? output(0) : state_.interval_timer);
    wiring_.irq8.set(legacy ? output(1) : state_.real_time_clock);
    std::uint64_t asserted = 0;
    for (unsigned number = legacy ? 2 : 0; number < timer_count; ++number) {
        if (output(number)) asserted |= bit(static_cast<unsigned>(route(state_.timers[number])));
    }
    for (unsigned pin = 0; pin < pin_count; ++pin) {
        if (wiring_.pins[pin] != nullptr) wiring_.pins[pin]->set((asserted & bit(pin)) != 0);
    }
}

// ---- Registers

std::uint64_t Hpet::register_at(std::uint64_t offset) const {
    switch (offset) {
        case general_capabilities: return capabilities;
        case general_configuration: return state_.configuration;
        case general_status: return state_.status;
        case main_counter: return state_.counter;
        default: break;
    }
    if (offset < first_timer || offset >= first_timer + timer_count * timer_stride) return 0;
    const auto number = static_cast<unsigned>((offset - first_timer) / timer_stride);
    const HpetTimerState& timer = state_.timers[number];
    switch ((offset - first_timer) % timer_stride) {
        case timer_configuration:
            return timer.configuration | size_64_capable | (number == 0 ? periodic_capable : 0) |
                   route_capabilities() << route_capability_shift;
        case timer_comparator: return timer.comparator;
        default: return 0;  // the message route too: no timer can send messages
    }
}

std::uint64_t Hpet::read(std::uint64_t offset, unsigned) {
    advance();
    settle();
    return register_at(offset & ~std::uint64_t{7}) >> (8 * (offset & 7));
}

void Hpet::write(std::uint64_t offset, unsigned width, std::uint64_t value) {
    if ((width != 4 && width != 8) || offset % width != 0) return;
    advance();
    const bool high = (offset & 4) != 0;
    const std::uint64_t written = width == 8 ? all_ones : high ? ~low_half : low_half;
    if (high) value <<= 32;
    const std::uint64_t at = offset & ~std::uint64_t{7};
    switch (at) {
        case general_configuration:
            if (!high) write_general_configuration(value);
            break;
        case general_status: state_.status &= ~(value & written); break;
        case main_counter:
            // 2.3.7: to be written while the counter is halted.
            if (!running()) state_.counter = merge(state_.counter, value, written);
            break;
        default:
            if (at >= first_timer && at < first_timer + timer_count * timer_stride) {
                write_timer(static_cast<unsigned>((at - first_timer) / timer_stride), (at - first_timer) % timer_stride,
                            value, written);
            }
            break;
    }
    settle();
}

void Hpet::write_general_configuration(std::uint64_t value) {
    const std::uint64_t old = state_.configuration;
    state_.configuration = value & (overall_enable | legacy_route);
    if (state_.configuration == old) return;
    // An edge is not made a second time by going another way.
    for (HpetTimerState& timer : state_.timers) timer.raised = false;
}

void Hpet::write_timer(unsigned number, std::uint64_t offset, std::uint64_t value, std::uint64_t written) {
    if (offset == timer_configuration && (written & low_half) != 0) write_timer_configuration(number, value);
    if (offset == timer_comparator) write_comparator(number, value, written);
}

// 2.3.8 "Timer n configuration and capabilities".
void Hpet::write_timer_configuration(unsigned number, std::uint64_t value) {
    HpetTimerState& timer = state_.timers[number];
    const std::uint64_t old = timer.configuration;
    value &= configuration_mask(number);
    if ((value & periodic) == 0) value &= ~value_set;
    // A route that the timer does not have is not taken: software sees it by reading back.
    if (!can_route((value & route_mask) >> route_shift)) value = merge(value, old, route_mask);
    timer.configuration = value;
    timer.comparator &= width_mask(timer);
    if ((value & level_triggered) == 0) state_.status &= ~bit(number);
    if (((value ^ old) & ~value_set) != 0) timer.raised = false;
}

// 2.3.9.2: a periodic timer's comparator is set only where the value-set bit allows it, which then clears by itself;
// every write gives the period.
void Hpet::write_comparator(unsigned number, std::uint64_t value, std::uint64_t written) {
    HpetTimerState& timer = state_.timers[number];
    written &= width_mask(timer);
    if (written == 0) return;
    timer.period = merge(timer.period, value, written) & width_mask(timer);
    if (has(timer, periodic) && !has(timer, value_set)) return;
    timer.comparator = merge(timer.comparator, value, written) & width_mask(timer);
    if ((written & low_half) != 0) timer.configuration &= ~value_set;
    if (running() && ((timer.comparator ^ state_.counter) & width_mask(timer)) == 0) {
        move_on(timer, 1);
        match(number);
    }
}

// ---- State

Hpet::State Hpet::save() {
    advance();
    settle();
    return state_;
}

void Hpet::restore(const State& state) {
    bool good = (state.configuration & ~(overall_enable | legacy_route)) == 0 && state.status < bit(timer_count) &&
                state.tick <= scheduler_.ticks(frequency);
    for (unsigned number = 0; number < timer_count; ++number) {
        const HpetTimerState& timer = state.timers[number];
        good = good && (timer.configuration & ~configuration_mask(number)) == 0 &&
               (timer.comparator & ~width_mask(timer)) == 0 && (route(timer) == 0 || can_route(route(timer)));
    }
    if (!good) throw std::invalid_argument("HPET: the saved state is out of range");
    state_ = state;
    advance();
    settle();
}

}  // namespace xenolith::devices
