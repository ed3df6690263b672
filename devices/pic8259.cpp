// Intel 8259A data sheet (order number 231468). The chip's heart is one question, asked after every change:
// is there a request that beats everything in service? Requests and services are rotated so that the highest
// priority is bit 0; then "beats" is "has a lower lowest bit".
#include "devices/pic8259.hpp"

#include <bit>
#include <stdexcept>

namespace xenolith::devices {

namespace {

constexpr unsigned cascade_input = 2;
constexpr std::uint8_t cascade_bit = 1u << cascade_input;
constexpr unsigned spurious_input = 7;
constexpr int no_request = -1;

// Inputs whose trigger mode is fixed to edge: the timer, the keyboard and the cascade; the clock and the
// coprocessor error (Intel ICH9 data sheet, 13.4.10 and 13.4.11).
constexpr std::uint8_t master_level_choice = 0xf8;
constexpr std::uint8_t slave_level_choice = 0xde;

constexpr std::uint8_t bit(unsigned input) { return static_cast<std::uint8_t>(1u << input); }

std::uint8_t level_inputs(const Pic8259ChipState& chip) {
    return chip.all_level_triggered ? std::uint8_t{0xff} : chip.level_triggered;
}

std::uint8_t rotate_to_front(const Pic8259ChipState& chip, std::uint8_t inputs) {
    return std::rotr(inputs, (chip.lowest_priority + 1) & 7);
}

// The set input of highest priority; `inputs` must not be empty.
unsigned highest(const Pic8259ChipState& chip, std::uint8_t inputs) {
    const auto place = static_cast<unsigned>(std::countr_zero(rotate_to_front(chip, inputs)));
    return (place + chip.lowest_priority + 1u) & 7u;
}

// The input that the chip would put forward now, or no_request (data sheet: fully nested mode, special mask
// mode, special fully nested mode).
int pending_input(const Pic8259ChipState& chip) {
    if (!chip.initialized) return no_request;
    const auto requests = static_cast<std::uint8_t>(chip.interrupt_request & ~chip.interrupt_mask);
    if (requests == 0) return no_request;
    // In special mask mode a service that the guest has masked holds nothing back.
    std::uint8_t blocking = chip.in_service;
    if (chip.special_mask) blocking = static_cast<std::uint8_t>(blocking & ~chip.interrupt_mask);
    const unsigned best = highest(chip, requests);
    if (blocking == 0) return static_cast<int>(best);
    const int request_place = std::countr_zero(rotate_to_front(chip, bit(best)));
    const int service_place = std::countr_zero(rotate_to_front(chip, blocking));
    if (request_place < service_place) return static_cast<int>(best);
    // A slave that is in service may ask again: the new request outranks the old one inside the slave.
    if (request_place == service_place && chip.special_fully_nested && (chip.cascade & bit(best)) != 0) {
        return static_cast<int>(best);
    }
    return no_request;
}

void set_line(Pic8259ChipState& chip, unsigned input, bool asserted) {
    const std::uint8_t mask = bit(input);
    const bool was_asserted = (chip.lines & mask) != 0;
    if (asserted) {
        chip.lines |= mask;
        if (!was_asserted || (level_inputs(chip) & mask) != 0) chip.interrupt_request |= mask;
    } else {
        // A request that is withdrawn before its acknowledge is lost, in either trigger mode: the acknowledge
        // then finds nothing, which is what makes an interrupt spurious.
        chip.lines = static_cast<std::uint8_t>(chip.lines & ~mask);
        chip.interrupt_request = static_cast<std::uint8_t>(chip.interrupt_request & ~mask);
    }
}

void set_trigger_modes(Pic8259ChipState& chip) {
    chip.interrupt_request |= static_cast<std::uint8_t>(chip.lines & level_inputs(chip));
}

// First interrupt-acknowledge pulse for an input that is pending.
void accept(Pic8259ChipState& chip, unsigned input) {
    if ((level_inputs(chip) & bit(input)) == 0) {
        chip.interrupt_request = static_cast<std::uint8_t>(chip.interrupt_request & ~bit(input));
    }
    if (!chip.automatic_end) {
        chip.in_service |= bit(input);
    } else if (chip.rotate_on_automatic_end) {
        chip.lowest_priority = static_cast<std::uint8_t>(input);
    }
}

std::uint8_t vector(const Pic8259ChipState& chip, unsigned input) {
    return static_cast<std::uint8_t>(chip.vector_base | input);
}

// ICW1: clears the mask and the edge latches, and starts the sequence ICW2, ICW3 unless single, ICW4 if
// needed.
void initialization_word1(Pic8259ChipState& chip, std::uint8_t value) {
    Pic8259ChipState fresh;
    fresh.lines = chip.lines;
    fresh.level_triggered = chip.level_triggered;
    fresh.all_level_triggered = (value & 0x08) != 0;
    fresh.single = (value & 0x02) != 0;
    fresh.needs_word4 = (value & 0x01) != 0;
    fresh.expected_word = 2;
    chip = fresh;
    set_trigger_modes(chip);
}

void initialization_word(Pic8259ChipState& chip, std::uint8_t value) {
    switch (chip.expected_word) {
        case 2:
            // The low bits matter to 8080 systems only; their call mode is not offered, vectors are always
            // 8086's.
            chip.vector_base = value & 0xf8;
            chip.expected_word = 3;
            if (chip.single) chip.expected_word = chip.needs_word4 ? 4 : 0;
            break;
        case 3:
            chip.cascade = value;
            chip.expected_word = chip.needs_word4 ? 4 : 0;
            break;
        default:
            chip.automatic_end = (value & 0x02) != 0;
            chip.special_fully_nested = (value & 0x10) != 0;
            chip.expected_word = 0;
            break;
    }
    if (chip.expected_word == 0) chip.initialized = true;
}

// The service bit that a non-specific end of interrupt clears, or no_request: in special mask mode a masked
// service bit is passed over.
int highest_in_service(const Pic8259ChipState& chip) {
    std::uint8_t candidates = chip.in_service;
    if (chip.special_mask) candidates = static_cast<std::uint8_t>(candidates & ~chip.interrupt_mask);
    return candidates == 0 ? no_request : static_cast<int>(highest(chip, candidates));
}

void operation_word2(Pic8259ChipState& chip, std::uint8_t value) {
    const auto level = static_cast<std::uint8_t>(value & 7);
    const bool rotate = (value & 0x80) != 0;
    const bool specific = (value & 0x40) != 0;
    const bool end_of_interrupt = (value & 0x20) != 0;
    if (!end_of_interrupt) {
        // Set priority; or, not specific, rotation on automatic end of interrupt on or off. 010 is no
        // operation.
        if (rotate && specific) {
            chip.lowest_priority = level;
        } else if (!specific) {
            chip.rotate_on_automatic_end = rotate;
        }
        return;
    }
    const int ended = specific ? int{level} : highest_in_service(chip);
    if (ended == no_request) return;
    chip.in_service = static_cast<std::uint8_t>(chip.in_service & ~bit(static_cast<unsigned>(ended)));
    if (rotate) chip.lowest_priority = static_cast<std::uint8_t>(ended);
}

void operation_word3(Pic8259ChipState& chip, std::uint8_t value) {
    if ((value & 0x40) != 0) chip.special_mask = (value & 0x20) != 0;
    if ((value & 0x04) != 0) {
        chip.poll = true;  // a poll command overrides a register read command in the same byte
    } else if ((value & 0x02) != 0) {
        chip.read_in_service = (value & 0x01) != 0;
    }
}

bool in_range(const Pic8259ChipState& chip) {
    return chip.lowest_priority < 8 && (chip.vector_base & 7) == 0 &&
           (chip.expected_word == 0 || (chip.expected_word >= 2 && chip.expected_word <= 4));
}

}  // namespace

Pic8259::Pic8259(InterruptLine& cpu)
    : cpu_(cpu), master_ports_(*this, state_.master), slave_ports_(*this, state_.slave), edge_level_ports_(*this) {
    for (unsigned irq = 0; irq < inputs_.size(); ++irq) {
        inputs_[irq].owner = this;
        inputs_[irq].irq = static_cast<std::uint8_t>(irq);
    }
}

Pic8259::~Pic8259() = default;

InterruptLine& Pic8259::line(unsigned irq) {
    if (irq >= inputs_.size()) throw std::invalid_argument("8259A pair: an IRQ is 0 to 15");
    if (irq == cascade_input) throw std::invalid_argument("8259A pair: IRQ 2 carries the slave");
    return inputs_[irq];
}

PortDevice& Pic8259::master_ports() { return master_ports_; }
PortDevice& Pic8259::slave_ports() { return slave_ports_; }
PortDevice& Pic8259::edge_level_ports() { return edge_level_ports_; }

void Pic8259::Input::set(bool asserted) { owner->set_input(irq, asserted); }

void Pic8259::set_input(unsigned irq, bool asserted) {
    set_line(irq < 8 ? state_.master : state_.slave, irq & 7, asserted);
    propagate();
}

void Pic8259::propagate() {
    const bool slave_requests = pending_input(state_.slave) != no_request;
    if (slave_requests != ((state_.master.lines & cascade_bit) != 0)) {
        set_line(state_.master, cascade_input, slave_requests);
    }
    cpu_.set(interrupt_requested());
}

bool Pic8259::interrupt_requested() const { return pending_input(state_.master) != no_request; }

std::uint8_t Pic8259::acknowledge() {
    Pic8259ChipState& master = state_.master;
    const int pending = pending_input(master);
    std::uint8_t result = vector(master, spurious_input);
    if (pending != no_request) {
        const auto input = static_cast<unsigned>(pending);
        accept(master, input);
        const bool from_slave = input == cascade_input && !master.single && (master.cascade & cascade_bit) != 0;
        result = from_slave ? acknowledge_slave() : vector(master, input);
    }
    propagate();
    return result;
}

std::uint8_t Pic8259::acknowledge_slave() {
    Pic8259ChipState& slave = state_.slave;
    // The master puts the number of its input on the cascade lines; a slave programmed with another identity
    // stays silent, and the bus floats.
    if ((slave.cascade & 7) != cascade_input) return 0xff;
    const int pending = pending_input(slave);
    // INT drops for the acknowledge even if another request is waiting: the master's latch needs the edge.
    set_line(state_.master, cascade_input, false);
    if (pending == no_request) return vector(slave, spurious_input);
    accept(slave, static_cast<unsigned>(pending));
    return vector(slave, static_cast<unsigned>(pending));
}

std::uint8_t Pic8259::CommandPorts::read_byte(std::uint16_t offset) {
    if (offset > 1) return 0xff;
    if (chip_.poll) {
        // The read is the acknowledge. Bit 7: there was a request; bits 2-0: which. Nothing names the
        // default, IR7.
        chip_.poll = false;
        const int pending = pending_input(chip_);
        if (pending == no_request) return spurious_input;
        accept(chip_, static_cast<unsigned>(pending));
        if (&chip_ == &owner_.state_.slave) set_line(owner_.state_.master, cascade_input, false);
        owner_.propagate();
        return static_cast<std::uint8_t>(0x80 | pending);
    }
    if (offset == 1) return chip_.interrupt_mask;
    return chip_.read_in_service ? chip_.in_service : chip_.interrupt_request;
}

void Pic8259::CommandPorts::write_byte(std::uint16_t offset, std::uint8_t value) {
    if (offset > 1) return;
    if (offset == 1) {
        if (chip_.expected_word != 0) {
            initialization_word(chip_, value);
        } else {
            chip_.interrupt_mask = value;  // OCW1
        }
    } else if ((value & 0x10) != 0) {
        initialization_word1(chip_, value);
    } else if ((value & 0x08) != 0) {
        operation_word3(chip_, value);
    } else {
        operation_word2(chip_, value);
    }
    owner_.propagate();
}

std::uint8_t Pic8259::EdgeLevelPorts::read_byte(std::uint16_t offset) {
    if (offset > 1) return 0xff;
    return offset == 0 ? owner_.state_.master.level_triggered : owner_.state_.slave.level_triggered;
}

void Pic8259::EdgeLevelPorts::write_byte(std::uint16_t offset, std::uint8_t value) {
    if (offset > 1) return;
    Pic8259ChipState& chip = offset == 0 ? owner_.state_.master : owner_.state_.slave;
    chip.level_triggered = value & (offset == 0 ? master_level_choice : slave_level_choice);
    set_trigger_modes(chip);
    owner_.propagate();
}

void Pic8259::reset() {
    for (Pic8259ChipState* chip : {&state_.master, &state_.slave}) {
        const std::uint8_t lines = chip->lines;
        *chip = {};
        chip->lines = lines;
    }
    propagate();
}

Pic8259::State Pic8259::save() const { return state_; }

void Pic8259::restore(const State& state) {
    if (!in_range(state.master) || !in_range(state.slave)) {
        throw std::invalid_argument("8259A pair: the saved state is out of range");
    }
    state_ = state;
    cpu_.set(interrupt_requested());
}

}  // namespace xenolith::devices
