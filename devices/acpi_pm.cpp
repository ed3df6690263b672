// ACPI Specification 6.3, 4.8 "ACPI register model": 4.8.2 "Fixed hardware features", 4.8.3 "Fixed hardware registers",
// 4.8.4 "Generic hardware registers".
#include "devices/acpi_pm.hpp"

#include <stdexcept>
#include <utility>

namespace xenolith::devices {

namespace {

// PM1 status and enable (4.8.3.1). Where a status bit has an enable bit, it is the same one.
constexpr std::uint16_t timer_event = 1u << 0;
constexpr std::uint16_t bus_master_status = 1u << 4;
constexpr std::uint16_t global_lock_event = 1u << 5;
constexpr std::uint16_t power_button_event = 1u << 8;
constexpr std::uint16_t sleep_button_event = 1u << 9;
constexpr std::uint16_t clock_event = 1u << 10;
constexpr std::uint16_t wake_status = 1u << 15;
constexpr std::uint16_t enable_mask =
    timer_event | global_lock_event | power_button_event | sleep_button_event | clock_event;
constexpr std::uint16_t status_mask = enable_mask | bus_master_status | wake_status;

// PM1 control (4.8.3.2).
constexpr std::uint16_t sci_enable = 1u << 0;
constexpr std::uint16_t bus_master_reload = 1u << 1;
constexpr std::uint16_t sleep_type = 7u << 10;
constexpr std::uint16_t sleep_enable = 1u << 13;  // write-only, like GBL_RLS
constexpr std::uint16_t control_mask = sci_enable | bus_master_reload | sleep_type;

std::uint8_t byte_of(std::uint64_t value, unsigned number) { return static_cast<std::uint8_t>(value >> (8 * number)); }

std::uint16_t in_byte(unsigned number, std::uint8_t value) { return static_cast<std::uint16_t>(value << (8 * number)); }

void set_byte(std::uint16_t& value, unsigned number, std::uint8_t byte) {
    value = static_cast<std::uint16_t>((value & ~in_byte(number, 0xff)) | in_byte(number, byte));
}

void clear(std::uint16_t& value, std::uint16_t bits) { value = static_cast<std::uint16_t>(value & ~bits); }

// A status and an enable register of two bytes each, one behind the other: 4.8.1.1, 4.8.4.1.
std::uint8_t read_pair(unsigned offset, std::uint16_t status, std::uint16_t enable) {
    return offset < 2 ? byte_of(status, offset) : byte_of(enable, offset - 2);
}

}  // namespace

AcpiPm::AcpiPm(Scheduler& scheduler, InterruptLine& sci, PowerOffSink power_off, TimerWidth width)
    : Timer(scheduler),
      scheduler_(scheduler),
      sci_(sci),
      power_off_(std::move(power_off)),
      timer_bits_(static_cast<unsigned>(width)) {
    reset();
}

AcpiPm::~AcpiPm() { scheduler_.cancel(*this); }

void AcpiPm::reset() {
    // The timer counts on (4.8.2.1).
    state_ = {};
    state_.timer_seen = ticks();
    settle();
}

// ---- Events

// 4.8.2.1: TMR_STS is set whenever the timer's highest bit changes, either way.
void AcpiPm::advance() {
    const std::uint64_t present = ticks();
    if (present >> (timer_bits_ - 1) != state_.timer_seen >> (timer_bits_ - 1)) state_.pm1_status |= timer_event;
    state_.timer_seen = present;
}

void AcpiPm::settle() {
    const bool pending =
        (state_.pm1_status & state_.pm1_enable) != 0 || (state_.event_status & state_.event_enable) != 0;
    // Before the operating system takes over, events are firmware's: they would make SMIs.
    sci_.set(pending && (state_.pm1_control & sci_enable) != 0);
    if ((state_.pm1_enable & ~state_.pm1_status & timer_event) == 0) {
        scheduler_.cancel(*this);
        return;
    }
    const std::uint64_t next = ((state_.timer_seen >> (timer_bits_ - 1)) + 1) << (timer_bits_ - 1);
    scheduler_.at(scheduler_.cycle_of_tick(next, timer_frequency), *this);
}

void AcpiPm::expired() {
    advance();
    settle();
}

void AcpiPm::press_power_button() {
    advance();
    state_.pm1_status |= power_button_event;
    settle();
}

void AcpiPm::raise_event(unsigned number) {
    if (number >= event_count) return;
    advance();
    state_.event_status = static_cast<std::uint16_t>(state_.event_status | 1u << number);
    settle();
}

// ---- Ports

std::uint8_t AcpiPm::read_byte(std::uint16_t offset) {
    advance();
    settle();
    if (offset < pm1_event_offset + pm1_event_length) {
        return read_pair(offset - pm1_event_offset, state_.pm1_status, state_.pm1_enable);
    }
    if (offset < pm1_control_offset + pm1_control_length) {
        return byte_of(state_.pm1_control, offset - pm1_control_offset);
    }
    if (offset >= timer_offset && offset < timer_offset + timer_length) {
        const std::uint64_t value = state_.timer_seen & ((std::uint64_t{1} << timer_bits_) - 1);
        return byte_of(value, offset - timer_offset);
    }
    if (offset >= gpe0_offset && offset < gpe0_offset + gpe0_length) {
        return read_pair(offset - gpe0_offset, state_.event_status, state_.event_enable);
    }
    return 0xff;
}

void AcpiPm::write_byte(std::uint16_t offset, std::uint8_t value) {
    advance();
    if (offset < pm1_event_offset + 2) {
        clear(state_.pm1_status, in_byte(offset - pm1_event_offset, value));
    } else if (offset < pm1_event_offset + pm1_event_length) {
        set_byte(state_.pm1_enable, offset - pm1_event_offset - 2u, value);
        state_.pm1_enable &= enable_mask;
    } else if (offset < pm1_control_offset + pm1_control_length) {
        write_control(offset - pm1_control_offset, value);
    } else if (offset >= gpe0_offset && offset < gpe0_offset + 2) {
        clear(state_.event_status, in_byte(offset - gpe0_offset, value));
    } else if (offset >= gpe0_offset && offset < gpe0_offset + gpe0_length) {
        set_byte(state_.event_enable, offset - gpe0_offset - 2u, value);
    }
    settle();
}

// SCI_EN is the hardware's to change (4.8.3.2.1): a guest has it done by the SMI command port.
void AcpiPm::write_control(unsigned byte, std::uint8_t value) {
    const std::uint16_t kept = state_.pm1_control & sci_enable;
    set_byte(state_.pm1_control, byte, value);
    state_.pm1_control = static_cast<std::uint16_t>((state_.pm1_control & control_mask & ~sci_enable) | kept);
    const bool sleeps = (in_byte(byte, value) & sleep_enable) != 0;
    const bool off = (state_.pm1_control & sleep_type) >> 10 == soft_off_type;
    if (sleeps && off && power_off_) power_off_();
}

std::uint8_t AcpiPm::SmiPort::read_byte(std::uint16_t offset) {
    if (offset >= smi_port_count) return 0xff;
    return offset == 0 ? owner_.state_.smi_command : owner_.state_.smi_data;
}

// 4.8.2.5 "Legacy/ACPI select and the SCI interrupt": firmware's SMI handler would turn SCI_EN on and off. There is
// none here, so this does it.
void AcpiPm::SmiPort::write_byte(std::uint16_t offset, std::uint8_t value) {
    State& state = owner_.state_;
    if (offset == 1) state.smi_data = value;
    if (offset != 0) return;
    owner_.advance();
    state.smi_command = value;
    if (value == acpi_enable) state.pm1_control |= sci_enable;
    if (value == acpi_disable) clear(state.pm1_control, sci_enable);
    owner_.settle();
}

// ---- State

AcpiPm::State AcpiPm::save() {
    advance();
    settle();
    return state_;
}

void AcpiPm::restore(const State& state) {
    if ((state.pm1_status & ~status_mask) != 0 || (state.pm1_enable & ~enable_mask) != 0 ||
        (state.pm1_control & ~control_mask) != 0 || state.timer_seen > ticks()) {
        throw std::invalid_argument("ACPI PM: the saved state is out of range");
    }
    state_ = state;
    advance();
    settle();
}

}  // namespace xenolith::devices
