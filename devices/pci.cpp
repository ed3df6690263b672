// PCI Local Bus Specification 3.0: 3.2.2.3.2 "Software generation of configuration transactions", 6.1 "Configuration
// space organization", 6.2 "Configuration space functions". Reset control register: Intel ICH9 data sheet, 13.7.5.
#include "devices/pci.hpp"

#include <bit>
#include <stdexcept>
#include <utility>

namespace xenolith::devices {

namespace {

using Kind = PciBaseAddress::Kind;

// Header type 0.
constexpr unsigned vendor_id = 0x00;
constexpr unsigned device_id = 0x02;
constexpr unsigned command_register = 0x04;
constexpr unsigned status_register = 0x06;
constexpr unsigned revision_id = 0x08;
constexpr unsigned class_code_register = 0x09;
constexpr unsigned cache_line_size = 0x0c;
constexpr unsigned latency_timer = 0x0d;
constexpr unsigned header_type = 0x0e;
constexpr unsigned first_base_address = 0x10;
constexpr unsigned subsystem_vendor_id = 0x2c;
constexpr unsigned subsystem_id = 0x2e;
constexpr unsigned interrupt_line = 0x3c;
constexpr unsigned interrupt_pin_register = 0x3d;

constexpr std::uint16_t io_space = 1u << 0;  // command
constexpr std::uint16_t memory_space = 1u << 1;
constexpr std::uint16_t bus_master = 1u << 2;
constexpr std::uint16_t interrupt_disable = 1u << 10;
constexpr std::uint8_t interrupt_status = 1u << 3;  // status
constexpr std::uint8_t multifunction_bit = 0x80;    // header type

constexpr std::uint32_t base_is_io = 1, base_is_64_bit = 4, base_is_prefetchable = 8;

constexpr std::uint64_t four_gibibytes = std::uint64_t{1} << 32;
constexpr std::uint64_t port_space = 0x10000;

constexpr std::uint32_t all_ones = 0xffff'ffff;
constexpr std::uint32_t address_enable = 0x8000'0000;
constexpr std::uint32_t address_mask = 0x80ff'fffc;
constexpr std::uint32_t register_mask = 0xfc;
constexpr std::uint8_t reset_hard = 0x02, reset_cpu = 0x04;
constexpr std::uint8_t reset_mask = 0x0e;
constexpr unsigned data_offset = 4;

constexpr unsigned register_of(unsigned index) { return first_base_address + 4 * index; }

void check(unsigned index, const PciBaseAddress& base) {
    if (base.kind == Kind::none) return;
    const bool io = base.kind == Kind::io;
    const std::uint64_t most = io ? 256 : base.kind == Kind::memory_32 ? four_gibibytes / 2 : four_gibibytes << 16;
    if (!std::has_single_bit(base.size) || base.size < (io ? 4u : 16u) || base.size > most) {
        throw std::invalid_argument("PCI: no size for a base address register");
    }
    if (base.kind == Kind::memory_64 && index + 1 >= PciFunction::base_address_count) {
        throw std::invalid_argument("PCI: a 64-bit base address needs two registers");
    }
}

}  // namespace

// ---- Functions

PciFunction::PciFunction(const PciIdentity& identity, const BaseAddresses& base_addresses, WindowSink sink)
    : base_addresses_(base_addresses), sink_(std::move(sink)) {
    if (identity.vendor == 0xffff || identity.interrupt_pin > 4 || identity.class_code > 0xff'ffff) {
        throw std::invalid_argument("PCI: no identity of a function");
    }
    std::uint32_t commands = identity.master ? bus_master : 0u;
    if (identity.interrupt_pin != 0) commands |= interrupt_disable;
    for (const PciBaseAddress& base : base_addresses_) {
        if (base.kind != Kind::none) commands |= base.kind == Kind::io ? io_space : memory_space;
    }
    define(vendor_id, 2, identity.vendor);
    define(device_id, 2, identity.device);
    define(command_register, 2, 0, commands);
    define(revision_id, 1, identity.revision);
    define(class_code_register, 1, identity.class_code & 0xff);
    define(class_code_register + 1, 2, identity.class_code >> 8);
    define(cache_line_size, 1, 0, 0xff);
    if (identity.master) define(latency_timer, 1, 0, 0xf8);
    define(header_type, 1, identity.multifunction ? multifunction_bit : 0u);
    define(subsystem_vendor_id, 2, identity.subsystem_vendor);
    define(subsystem_id, 2, identity.subsystem);
    define(interrupt_pin_register, 1, identity.interrupt_pin);
    if (identity.interrupt_pin != 0) define(interrupt_line, 1, 0, 0xff);
    define_base_addresses();
}

// 6.2.5.1: address bits below the size read as zero, which is how a guest that writes ones learns the size.
void PciFunction::define_base_addresses() {
    for (unsigned index = 0; index < base_address_count; ++index) {
        const PciBaseAddress& base = base_addresses_[index];
        check(index, base);
        if (base.kind == Kind::none) continue;
        const std::uint64_t address_bits = ~(base.size - 1);
        const auto low_bits = static_cast<std::uint32_t>(address_bits);
        const std::uint32_t prefetchable = base.prefetchable ? base_is_prefetchable : 0;
        switch (base.kind) {
            case Kind::io: define(register_of(index), 4, base_is_io, low_bits); break;
            case Kind::memory_32: define(register_of(index), 4, prefetchable, low_bits); break;
            default:
                if (base_addresses_[index + 1].kind != Kind::none) {
                    throw std::invalid_argument("PCI: a 64-bit base address needs two registers");
                }
                define(register_of(index), 4, prefetchable | base_is_64_bit, low_bits);
                define(register_of(index + 1), 4, 0, static_cast<std::uint32_t>(address_bits >> 32));
                break;
        }
    }
}

void PciFunction::define(unsigned offset, unsigned width, std::uint32_t value, std::uint32_t writable) {
    for (unsigned i = 0; i < width; ++i) {
        initial_[offset + i] = state_.configuration[offset + i] = static_cast<std::uint8_t>(value >> (8 * i));
        writable_[offset + i] = static_cast<std::uint8_t>(writable >> (8 * i));
    }
}

std::uint32_t PciFunction::read(unsigned offset, unsigned width) const {
    std::uint32_t value = 0;
    for (unsigned i = 0; i < width && i < 4; ++i) {
        value |= std::uint32_t{state_.configuration[(offset + i) % size]} << (8 * i);
    }
    return value;
}

void PciFunction::write(unsigned offset, unsigned width, std::uint32_t value) {
    for (unsigned i = 0; i < width && i < 4; ++i) {
        const unsigned at = (offset + i) % size;
        std::uint8_t& byte = state_.configuration[at];
        const auto written = static_cast<std::uint8_t>(value >> (8 * i));
        byte = static_cast<std::uint8_t>((byte & ~writable_[at]) | (written & writable_[at]));
    }
    settle();
    registers_changed();
}

std::uint16_t PciFunction::command() const { return static_cast<std::uint16_t>(read(command_register, 2)); }

bool PciFunction::may_master() const { return (command() & bus_master) != 0; }

unsigned PciFunction::interrupt_pin() const { return byte(interrupt_pin_register); }

std::optional<std::uint64_t> PciFunction::window(unsigned index) const {
    if (index >= base_address_count) return {};
    const PciBaseAddress& base = base_addresses_[index];
    const bool io = base.kind == Kind::io;
    if (base.kind == Kind::none || (command() & (io ? io_space : memory_space)) == 0) return {};
    const bool wide = base.kind == Kind::memory_64;
    const std::uint64_t high = wide ? std::uint64_t{word(register_of(index + 1))} << 32 : 0;
    const std::uint64_t start = (high | word(register_of(index))) & ~(base.size - 1);
    const std::uint64_t last = start + (base.size - 1);
    if (start == 0) return {};
    if (io) return last < port_space ? std::optional(start) : std::nullopt;
    // Half of a 64-bit address that is being sized lies at the top of the first 4 GiB, too.
    if (last == four_gibibytes - 1 || last == ~std::uint64_t{0}) return {};
    return start;
}

void PciFunction::settle() {
    const bool requested = (byte(status_register) & interrupt_status) != 0;
    line_->set(requested && (command() & interrupt_disable) == 0);
    std::array<std::optional<std::uint64_t>, base_address_count> windows;
    for (unsigned index = 0; index < base_address_count; ++index) {
        windows[index] = window(index);
        if (told_[index] && told_[index] != windows[index]) {
            told_[index].reset();
            if (sink_) sink_(index, {});
        }
    }
    for (unsigned index = 0; index < base_address_count; ++index) {
        if (told_[index] == windows[index]) continue;
        told_[index] = windows[index];
        if (sink_) sink_(index, windows[index]);
    }
}

void PciFunction::set_interrupt(bool asserted) {
    if (interrupt_pin() == 0) return;
    std::uint8_t& status = state_.configuration[status_register];
    status = static_cast<std::uint8_t>(asserted ? status | interrupt_status : status & ~interrupt_status);
    settle();
}

void PciFunction::connect_interrupt(InterruptLine& line) {
    line_ = &line;
    settle();
}

void PciFunction::reset() {
    const bool requested = (byte(status_register) & interrupt_status) != 0;
    state_.configuration = initial_;
    if (requested) state_.configuration[status_register] |= interrupt_status;
    settle();
    registers_changed();
}

void PciFunction::restore(const State& state) {
    for (unsigned at = 0; at < size; ++at) {
        unsigned variable = writable_[at];
        if (at == status_register && interrupt_pin() != 0) variable |= interrupt_status;
        if (((state.configuration[at] ^ initial_[at]) & ~variable) != 0) {
            throw std::invalid_argument("PCI: the saved state is another function's");
        }
    }
    state_ = state;
    settle();
    registers_changed();
}

// ---- Buses

void PciBus::attach(unsigned device, unsigned function, PciFunction& what) {
    if (device >= device_count || function >= function_count) {
        throw std::invalid_argument("PCI: there are 32 devices of 8 functions on a bus");
    }
    const std::size_t place = std::size_t{device} * function_count + function;
    if (functions_[place] != nullptr) throw std::invalid_argument("PCI: this place on the bus is taken");
    functions_[place] = &what;
    if (what.interrupt_pin() == 0) return;
    pins_[place].owner = this;
    pins_[place].line = line_of(device, what.interrupt_pin());
    what.connect_interrupt(pins_[place]);
}

PciFunction* PciBus::find(unsigned device, unsigned function) const {
    if (device >= device_count || function >= function_count) return nullptr;
    return functions_[std::size_t{device} * function_count + function];
}

void PciBus::Pin::set(bool asserted) {
    if (asserted == level) return;
    level = asserted;
    unsigned& count = owner->asserted_[line];
    count = asserted ? count + 1 : count - 1;
    if (owner->lines_[line] != nullptr) owner->lines_[line]->set(count != 0);
}

// ---- Ports

PciPorts::PciPorts(Sink reset_sink) : reset_sink_(std::move(reset_sink)) {}

void PciPorts::attach(unsigned number, PciBus& bus) {
    if (number >= buses_.size() || buses_[number] != nullptr) {
        throw std::invalid_argument("PCI: this bus number is taken, or none");
    }
    buses_[number] = &bus;
}

PciFunction* PciPorts::selected() const {
    if ((state_.address & address_enable) == 0) return nullptr;
    const PciBus* const bus = buses_[(state_.address >> 16) & 0xff];
    return bus == nullptr ? nullptr : bus->find((state_.address >> 11) & 0x1f, (state_.address >> 8) & 7);
}

// The address register takes double words only; other accesses to its ports pass it by. The bytes of a wider access
// that runs over the edge between the registers go their own ways.
std::uint32_t PciPorts::read(std::uint16_t offset, unsigned width) {
    if (offset == 0 && width == 4) return state_.address;
    if (offset >= data_offset && offset + width <= port_count) {
        const PciFunction* const function = selected();
        if (function == nullptr) return all_ones;
        return function->read((state_.address & register_mask) + (offset - data_offset), width);
    }
    if (width == 1) return offset == reset_offset ? state_.reset_control : 0xff;
    std::uint32_t value = 0;
    for (unsigned i = 0; i < width && i < 4; ++i) {
        value |= (read(static_cast<std::uint16_t>(offset + i), 1) & 0xff) << (8 * i);
    }
    return value;
}

void PciPorts::write(std::uint16_t offset, unsigned width, std::uint32_t value) {
    if (offset == 0 && width == 4) {
        state_.address = value & address_mask;
    } else if (offset >= data_offset && offset + width <= port_count) {
        PciFunction* const function = selected();
        if (function == nullptr) return;
        function->write((state_.address & register_mask) + (offset - data_offset), width, value);
    } else if (width == 1) {
        if (offset == reset_offset) write_reset_control(static_cast<std::uint8_t>(value));
    } else {
        for (unsigned i = 0; i < width && i < 4; ++i)
            write(static_cast<std::uint16_t>(offset + i), 1, value >> (8 * i));
    }
}

void PciPorts::write_reset_control(std::uint8_t value) {
    const bool asked = (value & ~state_.reset_control & reset_cpu) != 0;
    state_.reset_control = value & reset_mask;
    if (asked && reset_sink_) reset_sink_((value & reset_hard) != 0);
}

void PciPorts::restore(const State& state) {
    if ((state.address & ~address_mask) != 0 || (state.reset_control & ~reset_mask) != 0) {
        throw std::invalid_argument("PCI: the saved state is out of range");
    }
    state_ = state;
}

}  // namespace xenolith::devices
