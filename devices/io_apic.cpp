// Intel 82093AA data sheet (order number 290566), 3.0 to 3.2; the end-of-interrupt register is that of later chip sets
// (Intel ICH9 data sheet, 13.5).
#include "devices/io_apic.hpp"

#include <algorithm>
#include <stdexcept>

namespace xenolith::devices {

namespace {

constexpr std::uint64_t select_offset = 0x00;
constexpr std::uint64_t window_offset = 0x10;
constexpr std::uint64_t end_of_interrupt_offset = 0x40;

constexpr std::uint8_t id_register = 0x00;
constexpr std::uint8_t version_register = 0x01;
constexpr std::uint8_t arbitration_register = 0x02;
constexpr std::uint8_t first_entry_register = 0x10;  // two for each entry
constexpr std::uint8_t after_entry_registers = first_entry_register + 2 * IoApic::pin_count;

constexpr std::uint64_t logical = 1u << 11;
constexpr std::uint64_t remote_request = 1u << 14;
constexpr std::uint64_t level_triggered = 1u << 15;
constexpr std::uint64_t masked = 1u << 16;
// All but the delivery status, which is always idle: a message is never on its way.
constexpr std::uint64_t kept = 0xff00'0000'0001'efff;
constexpr std::uint64_t writable = kept & ~remote_request;

DeliveryMode delivery_mode(std::uint64_t entry) { return static_cast<DeliveryMode>(entry >> 8 & 7); }

// Data sheet, 3.2.4, delivery mode: NMI and INIT are edges whatever the trigger mode says, SMI and ExtINT need one.
bool is_level_triggered(std::uint64_t entry) {
    const DeliveryMode mode = delivery_mode(entry);
    return (entry & level_triggered) != 0 && (mode == DeliveryMode::fixed || mode == DeliveryMode::lowest_priority);
}

}  // namespace

IoApic::IoApic(ApicBus& bus) : bus_(bus) {
    for (unsigned pin = 0; pin < pin_count; ++pin) {
        inputs_[pin].owner = this;
        inputs_[pin].pin = pin;
    }
    reset();
    bus_.attach(*this);
}

IoApic::~IoApic() { bus_.detach(*this); }

InterruptLine& IoApic::line(unsigned pin) {
    if (pin >= pin_count) throw std::invalid_argument("I/O APIC: a pin is 0 to 23");
    return inputs_[pin];
}

std::uint64_t IoApic::read(std::uint64_t offset, unsigned width) {
    if (offset == select_offset && width <= 4) return state_.index;
    if (offset == window_offset && width == 4) return read_register(state_.index);
    return ~std::uint64_t{0};
}

void IoApic::write(std::uint64_t offset, unsigned width, std::uint64_t value) {
    if (width > 4) return;
    if (offset == select_offset) {
        state_.index = static_cast<std::uint8_t>(value);
    } else if (offset == window_offset && width == 4) {
        write_register(state_.index, static_cast<std::uint32_t>(value));
    } else if (offset == end_of_interrupt_offset) {
        end_of_interrupt(static_cast<std::uint8_t>(value));
    }
}

std::uint32_t IoApic::read_register(std::uint8_t index) const {
    if (index >= first_entry_register && index < after_entry_registers) {
        const std::uint64_t entry = state_.entries[(index - first_entry_register) / 2u];
        return static_cast<std::uint32_t>(index % 2 == 0 ? entry : entry >> 32);
    }
    switch (index) {
        case id_register: return std::uint32_t{state_.id} << 24;
        case version_register: return (pin_count - 1) << 16 | version;
        case arbitration_register: return std::uint32_t{state_.arbitration} << 24;
        default: return 0xffffffff;
    }
}

void IoApic::write_register(std::uint8_t index, std::uint32_t value) {
    if (index == id_register) {
        // Writing the identity loads the arbitration priority, too (3.2.3).
        state_.id = state_.arbitration = value >> 24 & 0xf;
        return;
    }
    if (index < first_entry_register || index >= after_entry_registers) return;
    const unsigned pin = (index - first_entry_register) / 2u;
    std::uint64_t& entry = state_.entries[pin];
    if (index % 2 != 0) {
        entry = ((entry & 0xffffffff) | std::uint64_t{value} << 32) & kept;
    } else {
        entry = (entry & (0xffffffff'00000000 | remote_request)) | (value & writable);
    }
    // Nobody will end an edge: systems that know no EOI register clear the remote request by this.
    if (!is_level_triggered(entry)) entry &= ~remote_request;
    serve_level(pin);
}

void IoApic::set_line(unsigned pin, bool asserted) {
    const std::uint32_t bit = 1u << pin;
    const bool was_asserted = (state_.lines & bit) != 0;
    state_.lines = asserted ? state_.lines | bit : state_.lines & ~bit;
    const std::uint64_t entry = state_.entries[pin];
    if (is_level_triggered(entry)) {
        serve_level(pin);
    } else if (asserted && !was_asserted && (entry & masked) == 0) {
        send(entry);
    }
}

void IoApic::serve_level(unsigned pin) {
    const std::uint64_t entry = state_.entries[pin];
    if ((state_.lines >> pin & 1) == 0 || !is_level_triggered(entry)) return;
    if ((entry & (masked | remote_request)) != 0) return;
    if (send(entry)) state_.entries[pin] |= remote_request;
}

bool IoApic::send(std::uint64_t entry) {
    InterruptMessage message;
    message.vector = static_cast<std::uint8_t>(entry);
    message.delivery_mode = delivery_mode(entry);
    if (message.delivery_mode == DeliveryMode::startup) return false;  // reserved here
    message.logical_destination = (entry & logical) != 0;
    message.level_triggered = is_level_triggered(entry);
    message.destination = InterruptMessage::destination_of_byte(static_cast<std::uint8_t>(entry >> 56));
    return bus_.send(message);
}

void IoApic::end_of_interrupt(std::uint8_t vector) {
    for (unsigned pin = 0; pin < pin_count; ++pin) {
        std::uint64_t& entry = state_.entries[pin];
        if ((entry & remote_request) == 0 || static_cast<std::uint8_t>(entry) != vector) continue;
        entry &= ~remote_request;
        serve_level(pin);
    }
}

bool IoApic::may_send_nmi() const {
    return std::ranges::any_of(state_.entries, [](std::uint64_t entry) {
        return (entry & masked) == 0 && delivery_mode(entry) == DeliveryMode::non_maskable;
    });
}

void IoApic::reset() {
    const std::uint32_t lines = state_.lines;
    state_ = {};
    state_.lines = lines;
    state_.entries.fill(masked);
}

void IoApic::restore(const State& state) {
    bool valid = state.id < 16 && state.arbitration < 16 && state.lines >> pin_count == 0;
    for (const std::uint64_t entry : state.entries) {
        valid = valid && (entry & ~kept) == 0 && ((entry & remote_request) == 0 || is_level_triggered(entry));
    }
    if (!valid) throw std::invalid_argument("I/O APIC: the saved state is out of range");
    state_ = state;
}

}  // namespace xenolith::devices
