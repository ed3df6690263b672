// Intel 82C54 data sheet (order number 231244): "Programming the 82C54", "Mode definitions".
//
// Nothing counts here while nobody looks. A counter is its state at one tick; advancing it jumps from event
// to event, an event being a load of the counting element, a transition of OUT or the end of a period, and
// whole periods of a periodic mode are skipped by a division. So a counter is exact at every tick, and a year
// costs as much as a microsecond. Only counter 0, whose transitions are interrupts, has a timer, always set
// to its next event.
#include "devices/pit8254.hpp"

#include <algorithm>
#include <stdexcept>

namespace xenolith::devices {

namespace {

using Counter = PitCounterState;

constexpr std::uint64_t no_event = Scheduler::never;

std::uint32_t modulus(const Counter& counter) { return counter.bcd ? 10'000 : 65'536; }

std::uint32_t from_bcd(std::uint32_t value) {
    // Digits above nine, which the data sheet leaves open, count as they weigh.
    std::uint32_t result = 0;
    for (int shift = 12; shift >= 0; shift -= 4) result = result * 10 + ((value >> shift) & 0xf);
    return result % 10'000;
}

std::uint16_t to_bcd(std::uint32_t value) {
    return static_cast<std::uint16_t>(((value / 1000 % 10) << 12) | ((value / 100 % 10) << 8) |
                                      ((value / 10 % 10) << 4) | (value % 10));
}

// The mode bits as they were written, except that 6 and 7 are 2 and 3: bit 2 is ignored there.
unsigned mode(const Counter& counter) { return counter.mode > 5 ? counter.mode - 4u : counter.mode; }

bool is_periodic(const Counter& counter) { return mode(counter) == 2 || mode(counter) == 3; }
// Modes whose GATE input starts the count by its rising edge and is not looked at otherwise.
bool is_triggered(const Counter& counter) { return mode(counter) == 1 || mode(counter) == 5; }

// The data sheet's smallest count of modes 2 and 3 is 2; a 1 is taken for it.
std::uint32_t effective_reload(const Counter& counter) {
    return is_periodic(counter) ? std::max(counter.reload, 2u) : counter.reload;
}

// Mode 3 counts by twos, an odd count from one less. It passes through zero only in the high half of an odd
// count, which is why that half is one clock longer.
std::uint32_t square_wave_start(std::uint32_t period) { return period & ~1u; }
std::uint32_t clocks_left_in_half(const Counter& counter) {
    const bool long_half = counter.out && (counter.period & 1) != 0;
    return counter.count / 2 + (long_half ? 1 : 0);
}

// One clock that moves the count register into the counting element. It does not count down.
void load(Counter& counter) {
    counter.load_at_next_clock = false;
    counter.null_count = false;
    counter.counting = true;
    counter.period = effective_reload(counter);
    counter.count = mode(counter) == 3 ? square_wave_start(counter.period) : counter.period;
    if (!is_periodic(counter)) {
        counter.pulse_pending = true;
        counter.out = mode(counter) == 4 || mode(counter) == 5;
    }
}

// Ticks until the counter does something other than count down, at least 1; no_event if it never will.
std::uint64_t ticks_to_event(const Counter& counter) {
    if (counter.load_at_next_clock) return 1;
    if (!counter.counting) return no_event;
    switch (mode(counter)) {
        case 2:
            // OUT is low while the count is 1.
            if (!counter.gate) return no_event;
            return counter.out ? counter.count - 1 : 1;
        case 3: return counter.gate ? clocks_left_in_half(counter) : no_event;
        case 4:
        case 5:
            // A strobe that has begun ends at the next clock, gate or not.
            if (!counter.out) return 1;
            [[fallthrough]];
        default:
            if (!counter.pulse_pending) return no_event;
            if (!is_triggered(counter) && (!counter.gate || counter.stopped_by_write)) return no_event;
            return counter.count;
    }
}

// Counts down `ticks` clocks in which there is no event.
void count_down(Counter& counter, std::uint64_t ticks) {
    if (!counter.counting) return;
    if (!is_triggered(counter) && (!counter.gate || counter.stopped_by_write)) return;
    if (mode(counter) == 2) {
        counter.count -= static_cast<std::uint32_t>(ticks);
    } else if (mode(counter) == 3) {
        counter.count -= static_cast<std::uint32_t>(2 * ticks);
    } else {
        // After its end the counting element wraps around and goes on.
        const std::uint32_t wrap = modulus(counter);
        counter.count = static_cast<std::uint32_t>((counter.count + wrap - ticks % wrap) % wrap);
    }
}

void start_period(Counter& counter) {
    counter.out = true;
    load(counter);
}

// The event that ticks_to_event announced, its last clock included.
void happen(Counter& counter) {
    if (counter.load_at_next_clock) {
        load(counter);
        return;
    }
    switch (mode(counter)) {
        case 2:
            if (counter.out) {
                counter.count = 1;
                counter.out = false;
            } else {
                start_period(counter);
            }
            break;
        case 3: {
            const bool out = !counter.out;
            load(counter);
            counter.out = out;
            break;
        }
        case 4:
        case 5:
            if (!counter.out) {
                count_down(counter, 1);
                counter.out = true;
            } else {
                counter.count = 0;
                counter.out = false;
                counter.pulse_pending = false;
            }
            break;
        default:
            counter.count = 0;
            counter.out = true;
            counter.pulse_pending = false;
            break;
    }
}

// Whole periods that can be skipped without a trace: the counter repeats itself until its count register
// changes.
std::uint64_t skippable(const Counter& counter, std::uint64_t ticks) {
    if (!is_periodic(counter) || !counter.counting || !counter.gate || counter.load_at_next_clock) return 0;
    if (counter.period != effective_reload(counter) || counter.null_count) return 0;
    return ticks - ticks % counter.period;
}

// Brings a counter to `tick`, calling transition(out) at each change of OUT.
template <typename Transition>
void advance_counter(Counter& counter, std::uint64_t tick, Transition transition) {
    while (counter.tick < tick) {
        const std::uint64_t left = tick - counter.tick;
        if (const std::uint64_t skipped = skippable(counter, left); skipped != 0) {
            // One pulse stands for all the skipped ones, so that an edge is not lost.
            transition(!counter.out);
            transition(counter.out);
            counter.tick += skipped;
            continue;
        }
        const std::uint64_t event = ticks_to_event(counter);
        if (event > left) {
            count_down(counter, left);
            counter.tick = tick;
            return;
        }
        const bool out = counter.out;
        counter.tick += event;
        happen(counter);
        if (counter.out != out) transition(counter.out);
    }
}

std::uint16_t readable_count(const Counter& counter) {
    const std::uint32_t count = counter.count % modulus(counter);
    return counter.bcd ? to_bcd(count) : static_cast<std::uint16_t>(count);
}

void latch_count(Counter& counter) {
    // A second latch command before the first is read out changes nothing.
    if (counter.count_latched) return;
    counter.latched_count = readable_count(counter);
    counter.count_latched = true;
}

void latch_status(Counter& counter) {
    if (counter.status_latched) return;
    counter.latched_status =
        static_cast<std::uint8_t>((counter.out ? 0x80 : 0) | (counter.null_count ? 0x40 : 0) | (counter.access << 4) |
                                  (counter.mode << 1) | (counter.bcd ? 1 : 0));
    counter.status_latched = true;
}

void set_gate(Counter& counter, bool gate) {
    const bool rising = gate && !counter.gate;
    counter.gate = gate;
    if (is_periodic(counter) && !gate) counter.out = true;
    if (rising && (is_periodic(counter) || is_triggered(counter)) && counter.count_written) {
        counter.load_at_next_clock = true;
    }
}

bool in_range(const Counter& counter) {
    return counter.mode <= 7 && counter.access >= 1 && counter.access <= 3 && counter.reload <= 65'536 &&
           counter.period <= 65'536 && counter.count <= 65'536 &&
           (counter.reload != 0 || (!counter.count_written && !counter.counting && !counter.load_at_next_clock)) &&
           (!counter.counting || counter.period != 0) &&
           (!is_periodic(counter) || !counter.counting || counter.period >= 2) && ticks_to_event(counter) != 0;
}

}  // namespace

Pit8254::Pit8254(Scheduler& scheduler, InterruptLine& irq0) : Timer(scheduler), scheduler_(scheduler), irq0_(irq0) {
    reset();
}

Pit8254::~Pit8254() { scheduler_.cancel(*this); }

void Pit8254::reset() {
    // OUT of a counter without a control word is undefined. High, so that programming counter 0 the usual way
    // makes no edge, and no interrupt, of its own.
    state_ = {};
    for (Counter& counter : state_.counters) counter.tick = tick();
    state_.counters[2].gate = false;
    settle();
}

void Pit8254::advance(unsigned number) {
    Counter& counter = state_.counters[number];
    const std::uint64_t present = tick();
    if (number == 0) {
        advance_counter(counter, present, [this](bool out) { irq0_.set(out); });
    } else {
        advance_counter(counter, present, [](bool) {});
    }
}

void Pit8254::settle() {
    const Counter& counter = state_.counters[0];
    irq0_.set(counter.out);
    const std::uint64_t event = ticks_to_event(counter);
    if (event == no_event || counter.tick > no_event - event) {
        scheduler_.cancel(*this);
    } else {
        scheduler_.at(scheduler_.cycle_of_tick(counter.tick + event, frequency), *this);
    }
}

void Pit8254::expired() {
    advance(0);
    settle();
}

void Pit8254::set_gate2(bool gate) {
    advance(2);
    set_gate(state_.counters[2], gate);
}

bool Pit8254::output(unsigned counter) {
    advance(counter % 3);
    return state_.counters[counter % 3].out;
}

std::uint8_t Pit8254::read_byte(std::uint16_t offset) {
    // The control word register cannot be read: the bus floats.
    if (offset > 2) return 0xff;
    advance(offset);
    return read_count(state_.counters[offset]);
}

void Pit8254::write_byte(std::uint16_t offset, std::uint8_t value) {
    if (offset > 3) return;
    for (unsigned number = 0; number < 3; ++number) advance(number);
    if (offset == 3) {
        control(value);
    } else {
        write_count(state_.counters[offset], value);
    }
    settle();
}

std::uint8_t Pit8254::read_count(Counter& counter) {
    if (counter.status_latched) {
        counter.status_latched = false;
        return counter.latched_status;
    }
    const std::uint16_t value = counter.count_latched ? counter.latched_count : readable_count(counter);
    const bool high = counter.access == 2 || (counter.access == 3 && counter.read_high_next);
    if (counter.access == 3) counter.read_high_next = !counter.read_high_next;
    // The latch is held until it has been read as the access mode says: both bytes, or the one.
    if (counter.access != 3 || high) counter.count_latched = false;
    return static_cast<std::uint8_t>(high ? value >> 8 : value);
}

void Pit8254::control(std::uint8_t value) {
    const unsigned select = value >> 6;
    if (select == 3) {
        read_back(value);
        return;
    }
    Counter& counter = state_.counters[select];
    const auto access = static_cast<std::uint8_t>((value >> 4) & 3);
    if (access == 0) {
        latch_count(counter);
        return;
    }
    Counter programmed;
    programmed.gate = counter.gate;
    programmed.tick = counter.tick;
    programmed.count = counter.count;  // stays readable until the first load
    programmed.access = access;
    programmed.mode = static_cast<std::uint8_t>((value >> 1) & 7);
    programmed.bcd = (value & 1) != 0;
    programmed.out = programmed.mode != 0;
    counter = programmed;
}

// Read-back command: latches count (bit 5 clear) and status (bit 4 clear) of the counters chosen by bits 1-3.
void Pit8254::read_back(std::uint8_t value) {
    for (unsigned number = 0; number < 3; ++number) {
        if ((value & (2u << number)) == 0) continue;
        if ((value & 0x20) == 0) latch_count(state_.counters[number]);
        if ((value & 0x10) == 0) latch_status(state_.counters[number]);
    }
}

void Pit8254::write_count(Counter& counter, std::uint8_t value) {
    std::uint32_t written = value;
    if (counter.access == 2) {
        written = std::uint32_t{value} << 8;
    } else if (counter.access == 3) {
        if (!counter.write_high_next) {
            counter.write_high_next = true;
            counter.low_byte_written = value;
            if (mode(counter) == 0) {
                counter.stopped_by_write = true;
                counter.out = false;
            }
            return;
        }
        counter.write_high_next = false;
        written = (std::uint32_t{value} << 8) | counter.low_byte_written;
    }
    if (counter.bcd) written = from_bcd(written);
    counter.reload = written == 0 ? modulus(counter) : written;
    counter.null_count = true;
    counter.stopped_by_write = false;
    const bool first = !counter.count_written;
    counter.count_written = true;
    if (mode(counter) == 0) counter.out = false;
    // Modes 0 and 4 load at once; 2 and 3 only the first time, later at the end of the period (or half
    // period) or at a trigger; 1 and 5 wait for the trigger.
    if (mode(counter) == 0 || mode(counter) == 4 || (first && is_periodic(counter))) counter.load_at_next_clock = true;
}

Pit8254::State Pit8254::save() {
    for (unsigned number = 0; number < 3; ++number) advance(number);
    settle();
    return state_;
}

void Pit8254::restore(const State& state) {
    for (const Counter& counter : state.counters) {
        if (!in_range(counter)) throw std::invalid_argument("82C54: the saved state is out of range");
    }
    state_ = state;
    settle();
}

}  // namespace xenolith::devices
