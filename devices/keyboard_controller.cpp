// IBM PC AT technical reference, "Keyboard controller" and "Keyboard"; PS/2 Model 80 technical reference for
// the auxiliary port's commands.
#include "devices/keyboard_controller.hpp"

#include <stdexcept>
#include <utility>

namespace xenolith::devices {

namespace {

namespace status {
constexpr std::uint8_t output_full = 0x01;
constexpr std::uint8_t system = 0x04;   // the self test has passed
constexpr std::uint8_t command = 0x08;  // the last byte came through the command port
constexpr std::uint8_t not_inhibited = 0x10;
constexpr std::uint8_t auxiliary = 0x20;
constexpr std::uint8_t timeout = 0x40;
}  // namespace status

namespace command_bit {
constexpr std::uint8_t keyboard_interrupt = 0x01;
constexpr std::uint8_t system = 0x04;
constexpr std::uint8_t keyboard_disabled = 0x10;
constexpr std::uint8_t auxiliary_disabled = 0x20;
constexpr std::uint8_t translate = 0x40;
}  // namespace command_bit

namespace output {
constexpr std::uint8_t not_reset = 0x01;
constexpr std::uint8_t a20 = 0x02;
}  // namespace output

constexpr std::uint8_t acknowledge = 0xfa;
constexpr std::uint8_t resend = 0xfe;

// Scan code set 2 to set 1, for those of the keyboard's answers that the translation changes: the second byte
// of its identity, and the scan code set it names.
std::uint8_t translated(std::uint8_t value) {
    switch (value) {
        case 0x83: return 0x41;
        case 0x01: return 0x43;
        case 0x02: return 0x41;
        case 0x03: return 0x3f;
        default: return value;
    }
}

}  // namespace

KeyboardController::KeyboardController(InterruptLine& irq1, A20Gate& a20, ResetSink reset_sink)
    : irq1_(irq1), a20_(a20), reset_sink_(std::move(reset_sink)), data_port_(*this), command_port_(*this) {
    reset();
}

PortDevice& KeyboardController::data_port() { return data_port_; }
PortDevice& KeyboardController::command_port() { return command_port_; }

// As firmware leaves it: self test passed, keyboard on with translation, interrupts off.
void KeyboardController::reset() {
    state_ = {};
    state_.command_byte = command_bit::system | command_bit::auxiliary_disabled | command_bit::translate;
    state_.status = status::system;
    set_output_port(output::not_reset | output::a20);
    settle();
}

std::uint8_t KeyboardController::DataPort::read_byte(std::uint16_t offset) {
    return offset == 0 ? owner_.read_data() : std::uint8_t{0xff};
}
void KeyboardController::DataPort::write_byte(std::uint16_t offset, std::uint8_t value) {
    if (offset == 0) owner_.write_data(value);
}
std::uint8_t KeyboardController::CommandPort::read_byte(std::uint16_t offset) {
    return offset == 0 ? owner_.read_status() : std::uint8_t{0xff};
}
void KeyboardController::CommandPort::write_byte(std::uint16_t offset, std::uint8_t value) {
    if (offset == 0) owner_.command(value);
}

// ---- Output buffer

void KeyboardController::settle() {
    irq1_.set(state_.output_full && !state_.output_from_auxiliary &&
              (state_.command_byte & command_bit::keyboard_interrupt) != 0);
}

std::uint8_t KeyboardController::read_status() const {
    std::uint8_t value = state_.status | status::not_inhibited;
    if (state_.output_full) {
        value |= status::output_full;
        if (state_.output_from_auxiliary) value |= status::auxiliary;
    }
    return value;
}

std::uint8_t KeyboardController::read_data() {
    const std::uint8_t value = state_.output_buffer;
    state_.output_full = false;
    state_.status = static_cast<std::uint8_t>(state_.status & ~status::timeout);
    settle();  // the line falls before it rises again for the next byte
    deliver();
    return value;
}

void KeyboardController::deliver() {
    if (!state_.output_full && state_.queue_count != 0 && (state_.command_byte & command_bit::keyboard_disabled) == 0) {
        const std::uint8_t value = state_.queue[state_.queue_first];
        state_.queue_first = static_cast<std::uint8_t>((state_.queue_first + 1) % queue_size);
        --state_.queue_count;
        state_.output_buffer = (state_.command_byte & command_bit::translate) != 0 ? translated(value) : value;
        state_.output_full = true;
        state_.output_from_auxiliary = false;
    }
    settle();
}

void KeyboardController::answer(std::uint8_t value, bool from_auxiliary) {
    // A byte that nobody fetched is overwritten, as in the controller's own firmware.
    state_.output_full = false;
    settle();
    state_.output_buffer = value;
    state_.output_full = true;
    state_.output_from_auxiliary = from_auxiliary;
    settle();
}

void KeyboardController::keyboard_says(std::uint8_t value) {
    // A full queue loses what comes: the keyboard's own buffer is as long.
    if (state_.queue_count == queue_size) return;
    state_.queue[(state_.queue_first + state_.queue_count) % queue_size] = value;
    ++state_.queue_count;
    if (value != resend) state_.last_answer = value;
}

// ---- Commands to the controller, port 0x64

void KeyboardController::set_output_port(std::uint8_t value) {
    state_.output_port = value;
    a20_.request(A20Gate::Source::keyboard_controller, (value & output::a20) != 0);
}

void KeyboardController::command(std::uint8_t value) {
    state_.status |= status::command;
    state_.pending_command = 0;
    if (value >= 0xf0) {
        // Pulses the output port's bits whose command bits are clear; bit 0 is the reset of the CPU.
        if ((value & output::not_reset) == 0 && reset_sink_) reset_sink_();
        return;
    }
    if (value >= 0x20 && value <= 0x3f) {
        answer(value == 0x20 ? state_.command_byte : state_.ram[value & 0x1f]);
        return;
    }
    switch (value) {
        case 0xa7: state_.command_byte |= command_bit::auxiliary_disabled; break;
        case 0xa8:
            state_.command_byte = static_cast<std::uint8_t>(state_.command_byte & ~command_bit::auxiliary_disabled);
            break;
        case 0xa9:  // auxiliary interface test: its clock is stuck low, there is none
            answer(0x01);
            break;
        case 0xaa:  // self test
            state_.status |= status::system;
            state_.command_byte |= command_bit::system;
            answer(0x55);
            break;
        case 0xab:  // keyboard interface test: no error
            answer(0x00);
            break;
        case 0xad: state_.command_byte |= command_bit::keyboard_disabled; break;
        case 0xae:
            state_.command_byte = static_cast<std::uint8_t>(state_.command_byte & ~command_bit::keyboard_disabled);
            deliver();
            break;
        case 0xc0:  // input port: keyboard not locked
            answer(0x80);
            break;
        case 0xd0: {
            const auto full = static_cast<std::uint8_t>(state_.output_full ? 0x10 : 0);
            answer(state_.output_port | full);
            break;
        }
        case 0xe0:  // test inputs
            answer(0x00);
            break;
        case 0xd1:  // the rest take a data byte
        case 0xd2:
        case 0xd3:
        case 0xd4: state_.pending_command = value; break;
        default:
            if (value >= 0x60 && value <= 0x7f) state_.pending_command = value;
            break;
    }
}

// ---- Data, port 0x60

void KeyboardController::write_data(std::uint8_t value) {
    state_.status = static_cast<std::uint8_t>(state_.status & ~status::command);
    if (state_.pending_command != 0) {
        const std::uint8_t pending = state_.pending_command;
        state_.pending_command = 0;
        command_data(pending, value);
        return;
    }
    // A byte for the keyboard switches it on.
    state_.command_byte = static_cast<std::uint8_t>(state_.command_byte & ~command_bit::keyboard_disabled);
    if (state_.pending_keyboard_command != 0) {
        const std::uint8_t pending = state_.pending_keyboard_command;
        state_.pending_keyboard_command = 0;
        keyboard_argument(pending, value);
    } else {
        keyboard_command(value);
    }
    deliver();
}

void KeyboardController::command_data(std::uint8_t pending, std::uint8_t value) {
    switch (pending) {
        case 0x60:
            state_.command_byte = value;
            state_.status =
                static_cast<std::uint8_t>((state_.status & ~status::system) | (value & command_bit::system));
            deliver();
            break;
        case 0xd1:
            set_output_port(value);
            if ((value & output::not_reset) == 0 && reset_sink_) reset_sink_();
            break;
        case 0xd2: answer(value); break;
        case 0xd3: break;  // would come back through the auxiliary port, if there were one
        case 0xd4:         // no mouse takes the byte: the transmission times out
            answer(resend, true);
            state_.status |= status::timeout;
            break;
        default: state_.ram[pending & 0x1f] = value; break;
    }
}

void KeyboardController::keyboard_command(std::uint8_t value) {
    switch (value) {
        case 0xee:  // echo
            keyboard_says(0xee);
            break;
        case 0xed:  // lamps
        case 0xf0:  // scan code set
        case 0xf3:  // repeat rate
        case 0xfb:  // key types, of set 3
        case 0xfc:
        case 0xfd:
            state_.pending_keyboard_command = value;
            keyboard_says(acknowledge);
            break;
        case 0xf2:  // identify
            keyboard_says(acknowledge);
            keyboard_says(0xab);
            keyboard_says(0x83);
            break;
        case 0xf4:  // scanning on and off, defaults, key types: nobody types
        case 0xf7:
        case 0xf8:
        case 0xf9:
        case 0xfa: keyboard_says(acknowledge); break;
        case 0xf5:
        case 0xf6:
            state_.scan_code_set = 2;
            keyboard_says(acknowledge);
            break;
        case 0xfe: keyboard_says(state_.last_answer); break;
        case 0xff:  // reset: what it had to say is gone, and its self test passes
            state_.queue_count = 0;
            state_.scan_code_set = 2;
            keyboard_says(acknowledge);
            keyboard_says(0xaa);
            break;
        default: keyboard_says(resend); break;
    }
}

void KeyboardController::keyboard_argument(std::uint8_t pending, std::uint8_t value) {
    if (pending != 0xf0) {
        keyboard_says(acknowledge);
    } else if (value == 0) {
        keyboard_says(acknowledge);
        keyboard_says(state_.scan_code_set);
    } else if (value <= 3) {
        state_.scan_code_set = value;
        keyboard_says(acknowledge);
    } else {
        keyboard_says(resend);
    }
}

void KeyboardController::restore(const State& state) {
    if (state.queue_first >= queue_size || state.queue_count > queue_size || state.scan_code_set < 1 ||
        state.scan_code_set > 3) {
        throw std::invalid_argument("8042: the saved state is out of range");
    }
    state_ = state;
    set_output_port(state_.output_port);
    settle();
}

}  // namespace xenolith::devices
