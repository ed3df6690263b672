// National Semiconductor PC16550D data sheet (June 1995), section 8, "Registers", and 8.9, "FIFO interrupt
// mode operation".
//
// The delay of the THRE interrupt by one character time after a single byte (8.9, B) is left out: it only
// spares interrupts. The frozen interrupt identification while IIR is being read needs no modelling, a read
// being atomic here.
#include "devices/uart16550.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace xenolith::devices {

namespace {

// Offsets of the registers; 0-1 are the divisor while the divisor latch access bit is set.
enum Offset : std::uint16_t {
    data = 0,
    interrupt_enable = 1,
    interrupt_identification_or_fifo_control = 2,
    line_control = 3,
    modem_control = 4,
    line_status_register = 5,
    modem_status = 6,
    scratch = 7,
};

namespace enable {
constexpr std::uint8_t received = 0x01;
constexpr std::uint8_t transmitter_empty = 0x02;
constexpr std::uint8_t line_status = 0x04;
constexpr std::uint8_t modem_status = 0x08;
constexpr std::uint8_t all = 0x0f;
}  // namespace enable

namespace identify {
constexpr std::uint8_t none = 0x01;
constexpr std::uint8_t modem_status = 0x00;
constexpr std::uint8_t transmitter_empty = 0x02;
constexpr std::uint8_t received = 0x04;
constexpr std::uint8_t line_status = 0x06;
constexpr std::uint8_t character_timeout = 0x0c;
constexpr std::uint8_t fifos_enabled = 0xc0;
}  // namespace identify

namespace fifo {
constexpr std::uint8_t enabled = 0x01;
constexpr std::uint8_t clear_receiver = 0x02;
constexpr std::uint8_t clear_transmitter = 0x04;
constexpr std::uint8_t kept = 0xc9;  // clear bits clear themselves
constexpr std::array<std::uint8_t, 4> trigger_levels{1, 4, 8, 14};
}  // namespace fifo

// Silence on the wire and from the CPU after which characters below the trigger level are reported (8.9).
constexpr unsigned timeout_characters = 4;

namespace line {
constexpr std::uint8_t more_stop_bits = 0x04;
constexpr std::uint8_t parity = 0x08;
constexpr std::uint8_t break_control = 0x40;
constexpr std::uint8_t divisor_latch = 0x80;

constexpr std::uint8_t data_ready = 0x01;
constexpr std::uint8_t overrun = 0x02;
constexpr std::uint8_t framing_error = 0x08;
constexpr std::uint8_t break_received = 0x10;
constexpr std::uint8_t character_errors = 0x1c;
constexpr std::uint8_t errors = 0x1e;
constexpr std::uint8_t holding_empty = 0x20;
constexpr std::uint8_t transmitter_empty = 0x40;
constexpr std::uint8_t error_in_fifo = 0x80;
}  // namespace line

namespace modem {
constexpr std::uint8_t data_terminal_ready = 0x01;
constexpr std::uint8_t request_to_send = 0x02;
constexpr std::uint8_t out1 = 0x04;
constexpr std::uint8_t out2 = 0x08;
constexpr std::uint8_t loop = 0x10;
constexpr std::uint8_t all = 0x1f;
constexpr std::uint8_t inputs = 0xf0;
constexpr std::uint8_t ring_ended = 0x04;
constexpr std::uint8_t any_change_but_ring = 0x0b;
}  // namespace modem

std::uint8_t word_mask(std::uint8_t line_control_value) {
    return static_cast<std::uint8_t>(0xff >> (3 - (line_control_value & 3)));
}

// Length of a character on the wire in half bits: 5-bit words with the longer stop have one and a half stop
// bits.
unsigned character_half_bits(std::uint8_t line_control_value) {
    const unsigned word = 5u + (line_control_value & 3u);
    const unsigned parity = (line_control_value & line::parity) != 0 ? 1 : 0;
    unsigned stop_halves = 2;
    if ((line_control_value & line::more_stop_bits) != 0) stop_halves = word == 5 ? 3 : 4;
    return 2 * (1 + word + parity) + stop_halves;
}

}  // namespace

Uart16550::Uart16550(Scheduler& scheduler, InterruptLine& interrupt, Sink sink, Transmission transmission)
    : Timer(scheduler),
      scheduler_(scheduler),
      interrupt_(interrupt),
      sink_(std::move(sink)),
      transmission_(transmission) {
    // The chip leaves the divisor undefined; 9600 baud is what firmware used to leave there.
    state_.divisor = 12;
    state_.modem_inputs = clear_to_send | data_set_ready | data_carrier_detect;
    settle();
}

Uart16550::~Uart16550() { scheduler_.cancel(*this); }

// Master reset (table I of the data sheet): what it does not name keeps its value.
void Uart16550::reset() {
    State fresh;
    fresh.divisor = state_.divisor;
    fresh.scratch = state_.scratch;
    fresh.modem_inputs = state_.modem_inputs;
    fresh.last_received = state_.last_received;
    state_ = fresh;
    settle();
}

bool Uart16550::fifo_enabled() const { return (state_.fifo_control & fifo::enabled) != 0; }
bool Uart16550::loopback() const { return (state_.modem_control & modem::loop) != 0; }

unsigned Uart16550::trigger_level() const {
    return fifo_enabled() ? fifo::trigger_levels[state_.fifo_control >> 6] : 1u;
}

std::uint64_t Uart16550::after_characters(std::uint64_t start, unsigned characters) const {
    // A divisor of 0 is not allowed; 1 stands in for it.
    const std::uint64_t divisor = std::max<std::uint64_t>(state_.divisor, 1);
    const std::uint64_t crystal_ticks = characters * character_half_bits(state_.line_control) * 8 * divisor;
    const std::uint64_t wait = std::max<std::uint64_t>(scheduler_.cycle_of_tick(crystal_ticks, crystal), 1);
    return wait > Scheduler::never - start ? Scheduler::never : start + wait;
}

// ---- Receiver

bool Uart16550::can_receive() const { return !loopback() && state_.receive_count < (fifo_enabled() ? fifo_size : 1u); }

void Uart16550::receive(std::uint8_t value) {
    if (loopback()) return;
    run_due();
    push_received({static_cast<std::uint8_t>(value & word_mask(state_.line_control)), 0});
    settle();
}

void Uart16550::receive_break() {
    if (loopback()) return;
    run_due();
    push_received({0, line::break_received | line::framing_error});
    settle();
}

void Uart16550::push_received(Received received) {
    if (!fifo_enabled()) {
        // Character mode: the new character replaces the one that nobody fetched.
        if (state_.receive_count != 0) state_.line_errors |= line::overrun;
        state_.receive_first = 0;
        state_.receive_count = 1;
        state_.receive_fifo[0] = received;
        top_errors();
        return;
    }
    state_.timeout_deadline = after_characters(scheduler_.now(), timeout_characters);
    if (state_.receive_count == fifo_size) {
        // The FIFO keeps what it has; the character in the shift register is lost.
        state_.line_errors |= line::overrun;
        return;
    }
    state_.receive_fifo[(state_.receive_first + state_.receive_count) % fifo_size] = received;
    if (++state_.receive_count == 1) top_errors();
}

// Errors show in LSR once their character is at the top of the FIFO.
void Uart16550::top_errors() { state_.line_errors |= state_.receive_fifo[state_.receive_first].errors; }

std::uint8_t Uart16550::read_receive_buffer() {
    if (state_.receive_count == 0) return state_.last_received;
    state_.last_received = state_.receive_fifo[state_.receive_first].data;
    state_.receive_first = static_cast<std::uint8_t>((state_.receive_first + 1) % fifo_size);
    --state_.receive_count;
    state_.character_timeout = false;
    state_.timeout_deadline = Scheduler::never;
    if (state_.receive_count != 0) {
        top_errors();
        state_.timeout_deadline = after_characters(scheduler_.now(), timeout_characters);
    }
    return state_.last_received;
}

void Uart16550::clear_receive_fifo() {
    state_.receive_first = 0;
    state_.receive_count = 0;
    state_.character_timeout = false;
    state_.timeout_deadline = Scheduler::never;
}

// ---- Transmitter

void Uart16550::write_transmit(std::uint8_t value) {
    state_.transmit_interrupt = false;
    if (transmission_ == Transmission::immediate) {
        // The holding register is full for no time at all, but the interrupt falls and rises: it is an edge.
        drive_interrupt();
        transmitted(value);
        state_.transmit_interrupt = true;
        return;
    }
    if (!fifo_enabled()) {
        state_.transmit_first = 0;
        state_.transmit_count = 1;
        state_.transmit_fifo[0] = value;
    } else if (state_.transmit_count < fifo_size) {
        state_.transmit_fifo[(state_.transmit_first + state_.transmit_count) % fifo_size] = value;
        ++state_.transmit_count;
    }
    if (!state_.shifting) {
        state_.shift_done = scheduler_.now();
        start_shifting();
    }
}

// Takes the next character into the shift register at the moment the last one was done.
void Uart16550::start_shifting() {
    state_.shifting = true;
    state_.shift_register = state_.transmit_fifo[state_.transmit_first];
    state_.transmit_first = static_cast<std::uint8_t>((state_.transmit_first + 1) % fifo_size);
    state_.shift_done = after_characters(state_.shift_done, 1);
    if (--state_.transmit_count == 0) state_.transmit_interrupt = true;
}

void Uart16550::finish_shifting() {
    state_.shifting = false;
    transmitted(state_.shift_register);
    if (state_.transmit_count != 0) {
        start_shifting();
    } else {
        state_.shift_done = Scheduler::never;
    }
}

void Uart16550::transmitted(std::uint8_t value) {
    value &= word_mask(state_.line_control);
    if (loopback()) {
        push_received({value, 0});
    } else if (sink_) {
        sink_(value);
    }
}

void Uart16550::clear_transmit_fifo() {
    if (state_.transmit_count != 0) state_.transmit_interrupt = true;
    state_.transmit_first = 0;
    state_.transmit_count = 0;
}

// ---- Time and interrupts

void Uart16550::run_due() {
    const std::uint64_t now = scheduler_.now();
    while (state_.shifting && state_.shift_done <= now) finish_shifting();
    if (state_.timeout_deadline <= now) {
        state_.timeout_deadline = Scheduler::never;
        state_.character_timeout = state_.receive_count != 0;
    }
}

void Uart16550::expired() {
    run_due();
    settle();
}

void Uart16550::settle() {
    scheduler_.at(std::min(state_.shift_done, state_.timeout_deadline), *this);
    drive_interrupt();
}

void Uart16550::drive_interrupt() {
    // On a PC, OUT2 switches the interrupt onto the bus; in loopback the pin is forced inactive (8.7).
    const bool connected = (state_.modem_control & modem::out2) != 0 && !loopback();
    interrupt_.set(connected && interrupt_identification() != identify::none);
}

// Priorities, highest first (table IV).
std::uint8_t Uart16550::interrupt_identification() const {
    const std::uint8_t enabled = state_.interrupt_enable;
    if ((enabled & enable::line_status) != 0 && state_.line_errors != 0) return identify::line_status;
    if ((enabled & enable::received) != 0) {
        if (state_.receive_count >= trigger_level()) return identify::received;
        if (state_.character_timeout) return identify::character_timeout;
    }
    if ((enabled & enable::transmitter_empty) != 0 && state_.transmit_interrupt) return identify::transmitter_empty;
    if ((enabled & enable::modem_status) != 0 && state_.modem_deltas != 0) return identify::modem_status;
    return identify::none;
}

std::uint8_t Uart16550::read_interrupt_identification() {
    const std::uint8_t source = interrupt_identification();
    if (source == identify::transmitter_empty) state_.transmit_interrupt = false;
    return fifo_enabled() ? static_cast<std::uint8_t>(source | identify::fifos_enabled) : source;
}

// ---- Status and control registers

std::uint8_t Uart16550::line_status() const {
    std::uint8_t status = state_.line_errors;
    if (state_.receive_count != 0) status |= line::data_ready;
    if (state_.transmit_count == 0) {
        status |= line::holding_empty;
        if (!state_.shifting) status |= line::transmitter_empty;
    }
    if (fifo_enabled()) {
        for (unsigned place = 0; place < state_.receive_count; ++place) {
            if (state_.receive_fifo[(state_.receive_first + place) % fifo_size].errors != 0) {
                status |= line::error_in_fifo;
            }
        }
    }
    return status;
}

std::uint8_t Uart16550::read_line_status() {
    const std::uint8_t status = line_status();
    state_.line_errors = 0;
    if (state_.receive_count != 0) state_.receive_fifo[state_.receive_first].errors = 0;
    return status;
}

std::uint8_t Uart16550::modem_inputs() const {
    if (!loopback()) return state_.modem_inputs;
    const std::uint8_t control = state_.modem_control;
    return static_cast<std::uint8_t>(((control & modem::request_to_send) != 0 ? clear_to_send : 0) |
                                     ((control & modem::data_terminal_ready) != 0 ? data_set_ready : 0) |
                                     ((control & modem::out1) != 0 ? ring_indicator : 0) |
                                     ((control & modem::out2) != 0 ? data_carrier_detect : 0));
}

std::uint8_t Uart16550::read_modem_status() {
    const auto status = static_cast<std::uint8_t>(modem_inputs() | state_.modem_deltas);
    state_.modem_deltas = 0;
    return status;
}

void Uart16550::note_modem_change(std::uint8_t before) {
    const std::uint8_t after = modem_inputs();
    state_.modem_deltas |= static_cast<std::uint8_t>(((before ^ after) >> 4) & modem::any_change_but_ring);
    // Of the ring indicator only the end counts.
    if ((before & ring_indicator) != 0 && (after & ring_indicator) == 0) state_.modem_deltas |= modem::ring_ended;
}

void Uart16550::set_modem_inputs(std::uint8_t inputs) {
    const std::uint8_t before = modem_inputs();
    state_.modem_inputs = inputs & modem::inputs;
    note_modem_change(before);
    settle();
}

void Uart16550::write_fifo_control(std::uint8_t value) {
    const bool enabling = (value & fifo::enabled) != 0;
    const bool changes = enabling != fifo_enabled();
    // Without the enable bit the others are not programmed (8.5).
    state_.fifo_control = enabling ? value & fifo::kept : state_.fifo_control & (fifo::kept & ~fifo::enabled);
    if (changes || (enabling && (value & fifo::clear_receiver) != 0)) clear_receive_fifo();
    if (changes || (enabling && (value & fifo::clear_transmitter) != 0)) clear_transmit_fifo();
}

void Uart16550::write_line_control(std::uint8_t value) {
    const bool break_begins = (value & ~state_.line_control & line::break_control) != 0;
    state_.line_control = value;
    if (break_begins && loopback()) push_received({0, line::break_received | line::framing_error});
}

void Uart16550::write_modem_control(std::uint8_t value) {
    const std::uint8_t before = modem_inputs();
    state_.modem_control = value & modem::all;
    note_modem_change(before);
}

std::uint8_t Uart16550::read_byte(std::uint16_t offset) {
    if (offset > Offset::scratch) return 0xff;
    run_due();
    const bool divisor_latch = (state_.line_control & line::divisor_latch) != 0;
    std::uint8_t value = 0;
    switch (offset) {
        case Offset::data:
            value = divisor_latch ? static_cast<std::uint8_t>(state_.divisor) : read_receive_buffer();
            break;
        case Offset::interrupt_enable:
            value = divisor_latch ? static_cast<std::uint8_t>(state_.divisor >> 8) : state_.interrupt_enable;
            break;
        case Offset::interrupt_identification_or_fifo_control: value = read_interrupt_identification(); break;
        case Offset::line_control: value = state_.line_control; break;
        case Offset::modem_control: value = state_.modem_control; break;
        case Offset::line_status_register: value = read_line_status(); break;
        case Offset::modem_status: value = read_modem_status(); break;
        default: value = state_.scratch; break;
    }
    settle();
    return value;
}

void Uart16550::write_byte(std::uint16_t offset, std::uint8_t value) {
    if (offset > Offset::scratch) return;
    run_due();
    const bool divisor_latch = (state_.line_control & line::divisor_latch) != 0;
    switch (offset) {
        case Offset::data:
            if (divisor_latch) {
                state_.divisor = static_cast<std::uint16_t>((state_.divisor & 0xff00) | value);
            } else {
                write_transmit(value);
            }
            break;
        case Offset::interrupt_enable:
            if (divisor_latch) {
                state_.divisor = static_cast<std::uint16_t>((state_.divisor & 0x00ff) | (value << 8));
                break;
            }
            // Switching the THRE interrupt on while the holding register is empty raises it, each time.
            if ((value & ~state_.interrupt_enable & enable::transmitter_empty) != 0 && state_.transmit_count == 0) {
                state_.transmit_interrupt = true;
            }
            state_.interrupt_enable = value & enable::all;
            break;
        case Offset::interrupt_identification_or_fifo_control: write_fifo_control(value); break;
        case Offset::line_control: write_line_control(value); break;
        case Offset::modem_control: write_modem_control(value); break;
        case Offset::scratch: state_.scratch = value; break;
        default: break;  // LSR and MSR are for reading
    }
    settle();
}

void Uart16550::restore(const State& state) {
    if ((state.line_errors & ~line::errors) != 0 || state.receive_first >= fifo_size ||
        state.receive_count > fifo_size || state.transmit_first >= fifo_size || state.transmit_count > fifo_size ||
        (state.transmit_count != 0 && !state.shifting) || state.shifting != (state.shift_done != Scheduler::never)) {
        throw std::invalid_argument("16550A: the saved state is out of range");
    }
    for (const Received& received : state.receive_fifo) {
        if ((received.errors & ~line::character_errors) != 0) {
            throw std::invalid_argument("16550A: a saved character has unknown errors");
        }
    }
    state_ = state;
    settle();
}

}  // namespace xenolith::devices
