// Intel SDM vol. 3A, chapter 10; the numbers below are its sections.
//
// Everything that interrupts ends in one of two places: a bit of IRR, or a wire to the processor (NMI, INIT, ...). As
// in the 8259A, one question is asked after every change: does a request beat what the processor is doing? A vector's
// class is its upper half; the processor's is that of its task or of what is in service, whichever is higher (10.8.3).
//
// The timer is called back only for an expiry that matters. One whose interrupt is masked, or already waiting in IRR,
// changes nothing, and is counted when somebody looks; so a guest cannot keep this process busy with a short period.
#include "devices/local_apic.hpp"

#include <bit>
#include <stdexcept>
#include <utility>

namespace xenolith::devices {

namespace {

namespace base_bit {
constexpr std::uint64_t bootstrap = 1u << 8;
constexpr std::uint64_t x2apic = 1u << 10;
constexpr std::uint64_t enable = 1u << 11;
constexpr std::uint64_t reserved = 0x2ff;
}  // namespace base_bit

// Offset in the page divided by 16, and index of the MSR less 0x800 (tables 10-1 and 10-6).
namespace register_index {
constexpr unsigned id = 0x02;
constexpr unsigned version = 0x03;
constexpr unsigned task_priority = 0x08;
constexpr unsigned arbitration_priority = 0x09;
constexpr unsigned processor_priority = 0x0a;
constexpr unsigned end_of_interrupt = 0x0b;
constexpr unsigned remote_read = 0x0c;
constexpr unsigned logical_destination = 0x0d;
constexpr unsigned destination_format = 0x0e;
constexpr unsigned spurious = 0x0f;
constexpr unsigned in_service = 0x10;
constexpr unsigned trigger_mode = 0x18;
constexpr unsigned requests = 0x20;
constexpr unsigned after_requests = 0x28;
constexpr unsigned error_status = 0x28;
constexpr unsigned command_low = 0x30;
constexpr unsigned command_high = 0x31;
constexpr unsigned local_vectors = 0x32;
constexpr unsigned after_local_vectors = 0x38;
constexpr unsigned initial_count = 0x38;
constexpr unsigned current_count = 0x39;
constexpr unsigned divide_configuration = 0x3e;
constexpr unsigned self_interrupt = 0x3f;
}  // namespace register_index

namespace spurious_bit {
constexpr std::uint32_t enable = 1u << 8;
constexpr std::uint32_t suppress_broadcast = 1u << 12;
constexpr std::uint32_t writable = 0xff | enable | suppress_broadcast;
}  // namespace spurious_bit

// Local vectors (figure 10-8). Bits 12 and 14 are the APIC's: a write cannot set them, and may try.
namespace vector_bit {
constexpr std::uint32_t vector = 0xff;
constexpr std::uint32_t delivery_mode = 7u << 8;
constexpr std::uint32_t delivery_status = 1u << 12;
constexpr std::uint32_t polarity = 1u << 13;
constexpr std::uint32_t remote_request = 1u << 14;
constexpr std::uint32_t level_triggered = 1u << 15;
constexpr std::uint32_t masked = 1u << 16;
constexpr std::uint32_t deadline_mode = 2u << 17;
constexpr std::uint32_t timer_mode = 3u << 17;
constexpr std::uint32_t read_only = delivery_status | remote_request;
}  // namespace vector_bit

// Interrupt command register (figures 10-12 and 10-28).
namespace command_bit {
constexpr std::uint64_t logical = 1u << 11;
constexpr std::uint64_t delivery_status = 1u << 12;  // a message is never on its way: always idle
constexpr std::uint64_t asserted = 1u << 14;
constexpr std::uint64_t level_triggered = 1u << 15;
constexpr std::uint64_t shorthand = 3u << 18;
constexpr std::uint64_t writable_low = 0xff | 7u << 8 | logical | asserted | level_triggered | shorthand;
}  // namespace command_bit

namespace error {
constexpr std::uint32_t sent_illegal_vector = 1u << 5;
constexpr std::uint32_t received_illegal_vector = 1u << 6;
constexpr std::uint32_t illegal_register = 1u << 7;
constexpr std::uint32_t all = sent_illegal_vector | received_illegal_vector | illegal_register;
}  // namespace error

constexpr std::uint8_t first_legal_vector = 16;
constexpr std::uint8_t class_mask = 0xf0;
constexpr std::uint32_t ones = 0xffffffff;

bool test(const LocalApic::Bits256& bits, std::uint8_t vector) { return (bits[vector / 32] >> vector % 32 & 1) != 0; }
void assign(LocalApic::Bits256& bits, std::uint8_t vector, bool value) {
    const std::uint32_t mask = 1u << vector % 32;
    bits[vector / 32] = value ? bits[vector / 32] | mask : bits[vector / 32] & ~mask;
}
// The highest vector whose bit is set, or -1.
int highest(const LocalApic::Bits256& bits) {
    for (unsigned word = 8; word-- > 0;) {
        if (bits[word] != 0) return static_cast<int>(word * 32 + 31) - std::countl_zero(bits[word]);
    }
    return -1;
}
int priority_class(int vector) { return vector < 0 ? 0 : vector & class_mask; }

DeliveryMode delivery_mode(std::uint64_t value) { return static_cast<DeliveryMode>(value >> 8 & 7); }

// Level-triggering is for fixed mode, and not for LINT1 (10.5.1).
bool is_level_triggered(unsigned which, std::uint32_t local_vector) {
    return which == LocalApic::lint0_vector && (local_vector & vector_bit::level_triggered) != 0 &&
           delivery_mode(local_vector) == DeliveryMode::fixed;
}

template <typename Function, typename... Arguments>
void call(const Function& function, Arguments... arguments) {
    if (function) function(arguments...);
}

}  // namespace

LocalApic::LocalApic(Scheduler& scheduler, ApicBus& bus, const Configuration& configuration, Outputs outputs)
    : Timer(scheduler),
      scheduler_(scheduler),
      bus_(bus),
      configuration_(configuration),
      outputs_(std::move(outputs)),
      timer_(scheduler, configuration.bus_frequency) {
    reset();
    bus_.attach(*this);
}

LocalApic::~LocalApic() {
    bus_.detach(*this);
    scheduler_.cancel(*this);
}

bool LocalApic::is_nmi_input(unsigned number) const {
    if (!is_enabled()) return number == 1;
    const std::uint32_t local_vector = state_.local_vectors[lint0_vector + number];
    return (local_vector & vector_bit::masked) == 0 && delivery_mode(local_vector) == DeliveryMode::non_maskable;
}

InterruptLine& LocalApic::lint(unsigned number) {
    if (number > 1) throw std::invalid_argument("local APIC: it has the inputs LINT0 and LINT1");
    return number == 0 ? lint0_ : lint1_;
}

// ---- Time

bool LocalApic::timer_matters() const {
    const std::uint32_t local_vector = state_.local_vectors[timer_vector];
    if ((local_vector & vector_bit::masked) != 0) return false;
    const auto vector = static_cast<std::uint8_t>(local_vector);
    if (vector < first_legal_vector) return (state_.errors_since_write & error::received_illegal_vector) == 0;
    return !test(state_.requests, vector) || test(state_.trigger_mode, vector);
}

void LocalApic::advance() {
    if (timer_.advance()) trigger(timer_vector);
}

void LocalApic::settle() {
    const std::uint64_t deadline = timer_matters() ? timer_.next_expiry() : Scheduler::never;
    if (deadline != armed_) {
        armed_ = deadline;
        scheduler_.at(deadline, *this);
    }
    const bool requested = interrupt_requested();
    if (requested != interrupt_shown_) {
        interrupt_shown_ = requested;
        outputs_.interrupt.set(requested);
    }
}

void LocalApic::expired() {
    armed_ = Scheduler::never;
    advance();
    settle();
}

std::uint64_t LocalApic::tsc_deadline() {
    advance();
    settle();
    return timer_.tsc_deadline();
}

void LocalApic::set_tsc_deadline(std::uint64_t value) {
    advance();
    timer_.set_tsc_deadline(value);
    advance();  // one that has passed expires at once
    settle();
}

void LocalApic::set_tsc_offset(std::uint64_t offset) {
    advance();
    timer_.set_tsc_offset(offset);
    advance();
    settle();
}

// ---- Modes and identity (10.4.3, 10.12.1, 10.12.5)

bool LocalApic::is_enabled() const { return (state_.base & base_bit::enable) != 0; }
bool LocalApic::is_x2apic() const { return (state_.base & base_bit::x2apic) != 0; }
bool LocalApic::is_software_enabled() const { return is_enabled() && (state_.spurious & spurious_bit::enable) != 0; }

bool LocalApic::set_base(std::uint64_t value) {
    std::uint64_t reserved = base_bit::reserved | ~((std::uint64_t{1} << configuration_.physical_address_bits) - 1);
    if (!configuration_.x2apic) reserved |= base_bit::x2apic;
    if ((value & reserved) != 0) return false;
    const bool enable = (value & base_bit::enable) != 0;
    const bool x2apic = (value & base_bit::x2apic) != 0;
    if (x2apic && (!enable || !is_enabled())) return false;  // x2APIC mode is entered from xAPIC mode only,
    if (is_x2apic() && enable && !x2apic) return false;      // and left only by disabling

    advance();
    const bool disabled = is_enabled() && !enable;
    const bool entered_x2apic = !is_x2apic() && x2apic;
    state_.base = (value & ~base_bit::bootstrap) | (state_.base & base_bit::bootstrap);
    if (disabled) load_power_on_values();
    if (entered_x2apic) state_.command &= ones;
    settle();
    return true;
}

// The identity that x2APIC mode shows is fixed. xAPIC mode's may be written, which the manual leaves to the model
// (10.4.6); guests of KVM are used to it.
std::uint32_t LocalApic::id() const { return is_x2apic() ? configuration_.id : state_.id; }

// Of x2APIC mode: the cluster in the upper half, a bit for the place within it in the lower (10.12.10.2).
std::uint32_t LocalApic::logical_id() const {
    return (configuration_.id >> 4) << 16 | std::uint32_t{1} << (configuration_.id & 0xf);
}

bool LocalApic::is_addressed_by(const InterruptMessage& message) const {
    const std::uint32_t destination = message.destination;
    if (!is_enabled()) return false;
    if (destination == InterruptMessage::everybody) return true;
    if (!message.logical_destination) return destination == id();
    if (is_x2apic()) {
        return destination >> 16 == logical_id() >> 16 && (destination & logical_id() & 0xffff) != 0;
    }
    // 10.6.2.2: the flat model, a bit each, or the cluster model, a number and four bits.
    if (destination > 0xff) return false;
    const std::uint32_t logical = state_.logical_destination >> 24;
    switch (state_.destination_format >> 28) {
        case 0xf: return (destination & logical) != 0;
        case 0x0: return destination >> 4 == logical >> 4 && (destination & logical & 0xf) != 0;
        default: return false;
    }
}

// ---- Registers

std::uint64_t LocalApic::RegisterPage::read(std::uint64_t offset, unsigned width) {
    if (!owner_.is_enabled() || owner_.is_x2apic() || width != 4 || offset % 16 != 0 || offset >= page_size) {
        return ~std::uint64_t{0};
    }
    owner_.advance();
    const auto value = owner_.read_register(static_cast<unsigned>(offset / 16));
    if (!value) owner_.log_error(error::illegal_register);
    owner_.settle();
    return value.value_or(ones);
}

void LocalApic::RegisterPage::write(std::uint64_t offset, unsigned width, std::uint64_t value) {
    if (!owner_.is_enabled() || owner_.is_x2apic() || width != 4 || offset % 16 != 0 || offset >= page_size) return;
    owner_.advance();
    owner_.write_xapic_register(static_cast<unsigned>(offset / 16), static_cast<std::uint32_t>(value));
    owner_.settle();
}

std::optional<std::uint64_t> LocalApic::read_msr(std::uint32_t index) {
    if (!is_x2apic() || index < first_msr || index > last_msr) return std::nullopt;
    const unsigned number = index - first_msr;
    switch (number) {
        case register_index::arbitration_priority:  // not in x2APIC mode
        case register_index::remote_read:
        case register_index::destination_format:
        case register_index::command_high:
        case register_index::end_of_interrupt:  // write-only, as is the self interrupt
            return std::nullopt;
        case register_index::command_low: return state_.command;
        default: break;
    }
    advance();
    const auto value = read_register(number);
    settle();
    return value;
}

bool LocalApic::write_msr(std::uint32_t index, std::uint64_t value) {
    if (!is_x2apic() || index < first_msr || index > last_msr) return false;
    const unsigned number = index - first_msr;
    if (number == register_index::command_low) {
        // The delivery status is reserved here, but a processor ignores it.
        constexpr std::uint64_t writable = command_bit::writable_low | std::uint64_t{ones} << 32;
        if ((value & ~(writable | command_bit::delivery_status)) != 0) return false;
        advance();
        state_.command = value & writable;
        send_command();
        settle();
        return true;
    }
    const auto writable = writable_bits(number);
    if (!writable || (value & ~std::uint64_t{*writable}) != 0) return false;
    advance();
    write_register(number, static_cast<std::uint32_t>(value));
    settle();
    return true;
}

// Of the registers that both modes can write, and the self interrupt: the bits that are not reserved.
std::optional<std::uint32_t> LocalApic::writable_bits(unsigned index) const {
    constexpr std::uint32_t common = vector_bit::vector | vector_bit::delivery_status | vector_bit::masked;
    constexpr std::uint32_t pin = common | vector_bit::delivery_mode | vector_bit::polarity |
                                  vector_bit::remote_request | vector_bit::level_triggered;
    switch (index) {
        case register_index::task_priority:
        case register_index::self_interrupt: return 0xff;
        case register_index::end_of_interrupt:
        case register_index::error_status: return 0;
        case register_index::spurious: return spurious_bit::writable;
        case register_index::local_vectors + timer_vector:
            return common | (vector_bit::timer_mode & ~(configuration_.tsc_deadline ? 0 : vector_bit::deadline_mode));
        case register_index::local_vectors + thermal_vector:
        case register_index::local_vectors + performance_vector: return common | vector_bit::delivery_mode;
        case register_index::local_vectors + lint0_vector:
        case register_index::local_vectors + lint1_vector: return pin;
        case register_index::local_vectors + error_vector: return common;
        case register_index::initial_count: return ones;
        case register_index::divide_configuration: return 0xb;
        default: return std::nullopt;
    }
}

std::optional<std::uint32_t> LocalApic::read_register(unsigned index) const {
    namespace reg = register_index;
    if (index >= reg::in_service && index < reg::trigger_mode) return state_.in_service[index - reg::in_service];
    if (index >= reg::trigger_mode && index < reg::requests) return state_.trigger_mode[index - reg::trigger_mode];
    if (index >= reg::requests && index < reg::after_requests) return state_.requests[index - reg::requests];
    if (index >= reg::local_vectors && index < reg::after_local_vectors) {
        return state_.local_vectors[index - reg::local_vectors];
    }
    switch (index) {
        case reg::id: return is_x2apic() ? id() : id() << 24;
        case reg::version: return version;
        case reg::task_priority: return state_.task_priority;
        case reg::processor_priority: return processor_priority();
        case reg::logical_destination: return is_x2apic() ? logical_id() : state_.logical_destination;
        case reg::destination_format: return state_.destination_format;
        case reg::spurious: return state_.spurious;
        case reg::error_status: return state_.errors;
        case reg::command_low: return static_cast<std::uint32_t>(state_.command);
        case reg::command_high: return static_cast<std::uint32_t>(state_.command >> 32);
        case reg::initial_count: return timer_.initial_count();
        case reg::current_count: return timer_.current_count();
        case reg::divide_configuration: return timer_.divide_configuration();
        case reg::end_of_interrupt:      // write-only
        case reg::arbitration_priority:  // of processors before the Pentium 4; reading them is no error
        case reg::remote_read: return 0;
        default: return std::nullopt;
    }
}

// `value` has only bits that writable_bits() allows.
void LocalApic::write_register(unsigned index, std::uint32_t value) {
    namespace reg = register_index;
    if (index >= reg::local_vectors && index < reg::after_local_vectors) {
        write_local_vector(index - reg::local_vectors, value);
        return;
    }
    switch (index) {
        case reg::task_priority: set_task_priority(static_cast<std::uint8_t>(value)); break;
        case reg::end_of_interrupt: finish_service(); break;
        case reg::spurious: write_spurious(value); break;
        case reg::error_status:  // 10.5.3
            state_.errors = state_.errors_since_write;
            state_.errors_since_write = 0;
            break;
        case reg::initial_count: timer_.set_initial_count(value); break;
        case reg::divide_configuration: timer_.set_divide_configuration(static_cast<std::uint8_t>(value)); break;
        case reg::self_interrupt:
            if (value < first_legal_vector) log_error(error::sent_illegal_vector);
            deliver({.vector = static_cast<std::uint8_t>(value)});
            break;
        default: break;
    }
}

void LocalApic::write_xapic_register(unsigned index, std::uint32_t value) {
    namespace reg = register_index;
    switch (index) {
        case reg::id: state_.id = static_cast<std::uint8_t>(value >> 24); return;
        case reg::logical_destination: state_.logical_destination = value & 0xff000000; return;
        case reg::destination_format: state_.destination_format = value | 0x0fffffff; return;
        case reg::command_high:
            state_.command = (state_.command & ones) | std::uint64_t{value & 0xff000000} << 32;
            return;
        case reg::command_low:
            state_.command = (state_.command & ~std::uint64_t{ones}) | (value & command_bit::writable_low);
            send_command();
            return;
        default: break;
    }
    const auto writable = writable_bits(index);
    if (writable && index != reg::self_interrupt) {
        write_register(index, value & *writable);
    } else if (!read_register(index)) {
        log_error(error::illegal_register);
    }
}

// 10.9, and 10.4.7.2 for what disabling does.
void LocalApic::write_spurious(std::uint32_t value) {
    state_.spurious = value;
    if (is_software_enabled()) return;
    for (std::uint32_t& local_vector : state_.local_vectors) local_vector |= vector_bit::masked;
}

void LocalApic::write_local_vector(unsigned which, std::uint32_t value) {
    std::uint32_t& local_vector = state_.local_vectors[which];
    value &= ~vector_bit::read_only;
    if (!is_software_enabled()) value |= vector_bit::masked;
    if (is_level_triggered(which, value)) value |= local_vector & vector_bit::remote_request;
    local_vector = value;
    if (which == timer_vector) timer_.set_mode(static_cast<ApicTimer::Mode>(value >> 17 & 3));
    serve_level_pin();
}

void LocalApic::set_task_priority(std::uint8_t value) {
    const std::uint8_t before = cr8();
    state_.task_priority = value;
    if (cr8() != before) call(outputs_.task_priority_changed, cr8());
}

void LocalApic::set_cr8(std::uint8_t value) {
    state_.task_priority = static_cast<std::uint8_t>(value << 4);
    settle();
}

// ---- Priorities (10.8.3 to 10.8.5)

std::uint8_t LocalApic::processor_priority() const {
    const int service_class = priority_class(highest(state_.in_service));
    if ((state_.task_priority & class_mask) >= service_class) return state_.task_priority;
    return static_cast<std::uint8_t>(service_class);
}

int LocalApic::highest_deliverable() const {
    const int vector = highest(state_.requests);
    return priority_class(vector) > (processor_priority() & class_mask) ? vector : -1;
}

// ExtINT through a pin lasts as long as the pin is asserted. Disabled, the APIC is not there, and LINT0 is the
// processor's INTR (10.4.3).
bool LocalApic::is_external_requested() const {
    if (!is_enabled()) return state_.pins[0];
    if (state_.external_request) return true;
    for (const unsigned number : {0u, 1u}) {
        const std::uint32_t local_vector = state_.local_vectors[lint0_vector + number];
        if (state_.pins[number] && (local_vector & vector_bit::masked) == 0 &&
            delivery_mode(local_vector) == DeliveryMode::external) {
            return true;
        }
    }
    return false;
}

bool LocalApic::interrupt_requested() const { return is_external_requested() || highest_deliverable() >= 0; }

std::uint8_t LocalApic::acknowledge() {
    advance();
    std::uint8_t vector = 0xff;
    if (is_external_requested()) {
        state_.external_request = false;
        if (outputs_.acknowledge_external) vector = outputs_.acknowledge_external();
    } else if (const int deliverable = highest_deliverable(); deliverable >= 0) {
        vector = static_cast<std::uint8_t>(deliverable);
        assign(state_.requests, vector, false);
        assign(state_.in_service, vector, true);
    } else {
        vector = static_cast<std::uint8_t>(state_.spurious);
    }
    settle();
    return vector;
}

bool LocalApic::accept(std::uint8_t vector, bool level_triggered) {
    if (vector < first_legal_vector) {
        log_error(error::received_illegal_vector);
        return false;
    }
    assign(state_.requests, vector, true);
    assign(state_.trigger_mode, vector, level_triggered);
    return true;
}

void LocalApic::finish_service() {
    const int highest_in_service = highest(state_.in_service);
    if (highest_in_service < 0) return;
    const auto vector = static_cast<std::uint8_t>(highest_in_service);
    assign(state_.in_service, vector, false);
    if (!test(state_.trigger_mode, vector)) return;
    std::uint32_t& lint0 = state_.local_vectors[lint0_vector];
    if ((lint0 & vector_bit::vector) == vector) lint0 &= ~vector_bit::remote_request;
    serve_level_pin();
    if ((state_.spurious & spurious_bit::suppress_broadcast) == 0) bus_.end_of_interrupt(vector);
}

// ---- Sources of interrupts

// The interrupt comes once, with the first error since ESR was last written, which is what arms it (10.5.3).
void LocalApic::log_error(std::uint32_t error) {
    const bool armed = state_.errors_since_write == 0;
    state_.errors_since_write |= error;
    if (armed) trigger(error_vector);
}

void LocalApic::trigger(unsigned which) {
    const std::uint32_t local_vector = state_.local_vectors[which];
    if ((local_vector & vector_bit::masked) != 0) return;
    const bool always_fixed = which == timer_vector || which == error_vector;
    switch (always_fixed ? DeliveryMode::fixed : delivery_mode(local_vector)) {
        case DeliveryMode::fixed: accept(static_cast<std::uint8_t>(local_vector), false); break;
        case DeliveryMode::system_management: call(outputs_.system_management); break;
        case DeliveryMode::non_maskable: call(outputs_.non_maskable); break;
        case DeliveryMode::initialize: call(outputs_.initialize); break;
        default: break;  // ExtINT is a level, see is_external_requested(); the rest is reserved
    }
}

void LocalApic::set_pin(unsigned number, bool asserted) {
    if (state_.pins[number] == asserted) return;
    advance();
    state_.pins[number] = asserted;
    if (asserted && !is_enabled()) {
        if (number == 1) call(outputs_.non_maskable);
    } else if (asserted && !is_level_triggered(lint0_vector + number, state_.local_vectors[lint0_vector + number])) {
        trigger(lint0_vector + number);
    }
    serve_level_pin();
    settle();
}

void LocalApic::serve_level_pin() {
    const std::uint32_t lint0 = state_.local_vectors[lint0_vector];
    if (!state_.pins[0] || !is_level_triggered(lint0_vector, lint0)) return;
    if ((lint0 & (vector_bit::masked | vector_bit::remote_request)) != 0) return;
    if (accept(static_cast<std::uint8_t>(lint0), true)) {
        state_.local_vectors[lint0_vector] |= vector_bit::remote_request;
    }
}

bool LocalApic::deliver(const InterruptMessage& message) {
    if (!is_enabled()) return false;
    advance();
    bool taken = true;
    switch (message.delivery_mode) {
        case DeliveryMode::fixed:
        case DeliveryMode::lowest_priority:
            taken = is_software_enabled() && accept(message.vector, message.level_triggered);
            break;
        case DeliveryMode::external:
            taken = is_software_enabled();
            if (taken) state_.external_request = true;
            break;
        // These are taken while disabled by software, too (10.4.7.2).
        case DeliveryMode::system_management: call(outputs_.system_management); break;
        case DeliveryMode::non_maskable: call(outputs_.non_maskable); break;
        case DeliveryMode::initialize: call(outputs_.initialize); break;
        case DeliveryMode::startup: call(outputs_.startup, message.vector); break;
        case DeliveryMode::reserved: taken = false; break;
    }
    settle();
    return taken;
}

// 10.6.1. The trigger mode and level bits mean something in an INIT level de-assert only; all else is an edge.
void LocalApic::send_command() {
    const std::uint64_t command = state_.command;
    InterruptMessage message;
    message.vector = static_cast<std::uint8_t>(command);
    message.delivery_mode = delivery_mode(command);
    if (message.delivery_mode == DeliveryMode::reserved || message.delivery_mode == DeliveryMode::external) return;
    if (message.delivery_mode == DeliveryMode::initialize) {
        message.level_triggered = (command & command_bit::level_triggered) != 0;
        message.asserted = (command & command_bit::asserted) != 0;
    }
    message.logical_destination = (command & command_bit::logical) != 0;
    message.destination = is_x2apic() ? static_cast<std::uint32_t>(command >> 32)
                                      : InterruptMessage::destination_of_byte(static_cast<std::uint8_t>(command >> 56));
    const bool has_vector =
        message.delivery_mode == DeliveryMode::fixed || message.delivery_mode == DeliveryMode::lowest_priority;
    if (has_vector && message.vector < first_legal_vector) log_error(error::sent_illegal_vector);
    bus_.send(message, static_cast<Shorthand>((command & command_bit::shorthand) >> 18), *this);
}

// ---- Reset and saved state

// 10.4.7.1. All that programs can change but IA32_APIC_BASE.
void LocalApic::load_power_on_values() {
    set_task_priority(0);
    State fresh;
    fresh.base = state_.base;
    fresh.pins = state_.pins;
    fresh.id = static_cast<std::uint8_t>(configuration_.id);
    fresh.local_vectors.fill(vector_bit::masked);
    state_ = fresh;
    timer_.reset();
}

void LocalApic::reset() {
    state_.base = base_at_reset | base_bit::enable | (configuration_.bootstrap ? base_bit::bootstrap : 0);
    load_power_on_values();
    settle();
}

void LocalApic::init_reset() {
    const std::uint8_t id = state_.id;
    load_power_on_values();
    state_.id = id;
    settle();
}

void LocalApic::enter_virtual_wire_mode() {
    advance();
    write_spurious(0xff | spurious_bit::enable);
    write_local_vector(lint0_vector, static_cast<std::uint32_t>(DeliveryMode::external) << 8);
    write_local_vector(lint1_vector, static_cast<std::uint32_t>(DeliveryMode::non_maskable) << 8);
    settle();
}

LocalApic::State LocalApic::save() {
    advance();
    settle();
    State state = state_;
    state.timer = timer_.save();
    return state;
}

void LocalApic::restore(const State& state) {
    const std::uint64_t mode = state.base & (base_bit::enable | base_bit::x2apic);
    bool valid = mode != base_bit::x2apic && (mode == 0 || mode == base_bit::enable || configuration_.x2apic) &&
                 (state.base & base_bit::reserved) == 0 && state.base >> configuration_.physical_address_bits == 0 &&
                 (state.logical_destination & 0x00ffffff) == 0 &&
                 (state.destination_format & 0x0fffffff) == 0x0fffffff &&
                 (state.spurious & ~spurious_bit::writable) == 0 && (state.errors & ~error::all) == 0 &&
                 (state.errors_since_write & ~error::all) == 0 &&
                 (state.command & ~(command_bit::writable_low | std::uint64_t{ones} << 32)) == 0 &&
                 ((state.in_service[0] | state.requests[0] | state.trigger_mode[0]) & 0xffff) == 0;
    const bool software_enabled = (state.spurious & spurious_bit::enable) != 0;
    for (unsigned which = 0; which < state.local_vectors.size(); ++which) {
        const std::uint32_t local_vector = state.local_vectors[which];
        const std::uint32_t writable = *writable_bits(register_index::local_vectors + which);
        valid = valid && (local_vector & ~writable) == 0 && (local_vector & vector_bit::delivery_status) == 0 &&
                ((local_vector & vector_bit::remote_request) == 0 || is_level_triggered(which, local_vector)) &&
                (software_enabled || (local_vector & vector_bit::masked) != 0);
    }
    valid = valid && static_cast<unsigned>(state.timer.mode) == (state.local_vectors[timer_vector] >> 17 & 3);
    if (!valid) throw std::invalid_argument("local APIC: the saved state is out of range");
    timer_.restore(state.timer);
    state_ = state;
    armed_ = Scheduler::never;
    scheduler_.cancel(*this);
    settle();
    outputs_.interrupt.set(interrupt_shown_);
}

}  // namespace xenolith::devices
