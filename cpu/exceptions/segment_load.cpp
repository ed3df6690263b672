#include "cpu/exceptions/segment_load.hpp"

#include <algorithm>

namespace xenolith::cpu {

namespace {

constexpr std::uint32_t writable_data_accessed = 0x3;
constexpr std::uint64_t attribute_byte = 5;  // of a descriptor: P, DPL, S, type

// SDM vol. 3A, 3.5.1: TI chooses the table; an LDTR with a null selector holds none.
std::optional<std::uint64_t> descriptor_address(const Processor& processor, std::uint16_t selector, unsigned size) {
    const CpuState& state = processor.state;
    const std::uint64_t offset = selector & 0xfff8u;
    if (in_local_table(selector)) {
        if (state.ldtr.attributes.unusable() || is_null(state.ldtr.selector)) return std::nullopt;
        if (offset + size - 1 > state.ldtr.limit) return std::nullopt;
        return state.ldtr.base + offset;
    }
    if (offset + size - 1 > state.gdtr.limit) return std::nullopt;
    return state.gdtr.base + offset;
}

bool is_stack_type(const SegmentAttributes& attributes) { return attributes.is_data() && attributes.data_writable(); }

void load_data_segment(Processor& processor, SegmentName name, std::uint16_t selector) {
    SegmentRegister& segment = processor.state.segment(name);
    if (is_null(selector)) {
        // Intel's processors clear the hidden part; AMD's leave base and limit (APM vol. 2, 4.5.3).
        const SegmentRegister old = segment;
        segment = null_segment(selector);
        if (processor.model.vendor() == Vendor::amd && processor.state.in_long_mode()) {
            segment.base = old.base;
            segment.limit = old.limit;
        }
        processor.segment_changed(name);
        return;
    }
    const Descriptor descriptor = fetch_descriptor(processor, selector, Vector::general_protection);
    const SegmentAttributes attributes = descriptor.attributes();
    const std::uint32_t error = selector_error(selector);
    const bool readable = attributes.is_data() || (attributes.is_code() && attributes.code_readable());
    if (!readable) processor.raise(Vector::general_protection, error);
    const bool checks_privilege = attributes.is_data() || !attributes.conforming();
    if (checks_privilege && std::max(processor.cpl(), requested_privilege(selector)) > attributes.dpl())
        processor.raise(Vector::general_protection, error);
    if (!attributes.present()) processor.raise(Vector::segment_not_present, error);
    mark_accessed(processor, descriptor);
    segment = descriptor.as_register(selector);
    processor.segment_changed(name);
}

void load_protected_stack_segment(Processor& processor, std::uint16_t selector) {
    SegmentRegister& segment = processor.state.segment(SegmentName::ss);
    const unsigned cpl = processor.cpl();
    if (is_null(selector)) {
        if (!processor.code64() || cpl == 3 || requested_privilege(selector) != cpl)
            processor.raise(Vector::general_protection, 0);
        segment = null_stack_segment(selector, cpl);
    } else {
        const Descriptor descriptor = fetch_stack_segment(processor, selector, cpl, Vector::general_protection);
        mark_accessed(processor, descriptor);
        segment = descriptor.as_register(selector);
    }
    processor.segment_changed(SegmentName::ss);
}

}  // namespace

std::optional<Descriptor> find_descriptor(Processor& processor, std::uint16_t selector) {
    const std::optional<std::uint64_t> linear = descriptor_address(processor, selector, 8);
    if (!linear) return std::nullopt;
    return Descriptor{processor.load_system<std::uint64_t>(*linear), 0, *linear};
}

Descriptor fetch_descriptor(Processor& processor, std::uint16_t selector, Vector vector, std::uint32_t external) {
    const std::optional<Descriptor> descriptor = find_descriptor(processor, selector);
    if (!descriptor) processor.raise(vector, selector_error(selector, external));
    return *descriptor;
}

bool read_upper_half(Processor& processor, std::uint16_t selector, Descriptor& descriptor) {
    if (!descriptor_address(processor, selector, 16)) return false;
    descriptor.high = processor.load_system<std::uint64_t>(descriptor.linear + 8);
    return (descriptor.high >> 40 & 0x1f) == 0;
}

void mark_accessed(Processor& processor, const Descriptor& descriptor) {
    const SegmentAttributes attributes = descriptor.attributes();
    if (!attributes.is_code_or_data() || attributes.accessed()) return;
    processor.store_system<std::uint8_t>(descriptor.linear + attribute_byte,
                                         static_cast<std::uint8_t>(attributes.bits | 1));
}

void mark_busy(Processor& processor, const Descriptor& descriptor, bool busy) {
    const std::uint32_t bits = descriptor.attributes().bits;
    processor.store_system<std::uint8_t>(descriptor.linear + attribute_byte,
                                         static_cast<std::uint8_t>(busy ? bits | 2 : bits & ~2u));
}

SegmentRegister null_segment(std::uint16_t selector) { return {selector, 0, 0, {SegmentAttributes::unusable_bit}}; }

SegmentRegister null_stack_segment(std::uint16_t selector, unsigned cpl) {
    return {selector, 0, 0, {SegmentAttributes::unusable_bit | cpl << 5}};
}

// SDM vol. 3A, 5.7 and vol. 2B, MOV.
Descriptor fetch_stack_segment(Processor& processor, std::uint16_t selector, unsigned cpl, Vector bad,
                               std::uint32_t external) {
    const Descriptor descriptor = fetch_descriptor(processor, selector, bad, external);
    const SegmentAttributes attributes = descriptor.attributes();
    const std::uint32_t error = selector_error(selector, external);
    if (requested_privilege(selector) != cpl || !is_stack_type(attributes) || attributes.dpl() != cpl)
        processor.raise(bad, error);
    if (!attributes.present()) processor.raise(Vector::stack_fault, error);
    return descriptor;
}

// SDM vol. 3A, 20.1.1 and 20.2.1. VM86 has fixed limits and rights. In real mode a load changes selector and
// base and leaves limit and rights as protected mode may have set them: `unreal mode'. A register that
// protected mode left null, or with a type real mode cannot write, gets the rights real mode starts with.
void load_real_segment(Processor& processor, SegmentName name, std::uint16_t selector) {
    SegmentRegister& segment = processor.state.segment(name);
    if (processor.state.in_vm86()) {
        segment = real_mode_segment(selector);
        segment.attributes.bits |= SegmentAttributes::dpl_mask;
    } else {
        if (segment.attributes.unusable()) segment = real_mode_segment(selector);
        segment.selector = selector;
        segment.base = std::uint64_t{selector} << 4;
        std::uint32_t& bits = segment.attributes.bits;
        bits &= ~SegmentAttributes::dpl_mask;
        bits |= SegmentAttributes::present_bit | SegmentAttributes::s;
        if (name != SegmentName::cs && !is_stack_type(segment.attributes))
            bits = (bits & ~SegmentAttributes::type_mask) | writable_data_accessed;
    }
    processor.segment_changed(name);
}

void load_segment(Processor& processor, SegmentName name, std::uint16_t selector) {
    if (processor.state.in_real_mode() || processor.state.in_vm86())
        load_real_segment(processor, name, selector);
    else if (name == SegmentName::ss)
        load_protected_stack_segment(processor, selector);
    else
        load_data_segment(processor, name, selector);
}

bool has_reserved_code_size(const Processor& processor, const SegmentAttributes& attributes) {
    return processor.state.in_long_mode() && attributes.long_mode() && attributes.default_big();
}

void check_code_target(Processor& processor, const SegmentRegister& code, std::uint64_t offset,
                       std::uint32_t error_code) {
    const bool wide = processor.state.in_long_mode() && code.attributes.long_mode();
    const bool valid = wide ? mmu::GuestLinear{offset}.is_canonical() : offset <= code.limit;
    if (!valid) processor.raise(Vector::general_protection, error_code);
}

void drop_privileged_segments(Processor& processor, unsigned cpl) {
    for (const SegmentName name : {SegmentName::es, SegmentName::ds, SegmentName::fs, SegmentName::gs}) {
        SegmentRegister& segment = processor.state.segment(name);
        const SegmentAttributes attributes = segment.attributes;
        // A register that is null already keeps its base: 64-bit code uses that of FS and GS.
        if (attributes.unusable() || attributes.dpl() >= cpl) continue;
        if (attributes.is_data() || !attributes.conforming()) segment = null_segment(0);
    }
}

void load_ldtr(Processor& processor, std::uint16_t selector) {
    if (is_null(selector)) {
        processor.state.ldtr = null_segment(selector);
        return;
    }
    const std::uint32_t error = selector_error(selector);
    if (in_local_table(selector)) processor.raise(Vector::general_protection, error);
    Descriptor descriptor = fetch_descriptor(processor, selector, Vector::general_protection);
    const SegmentAttributes attributes = descriptor.attributes();
    if (!attributes.is_system() || attributes.type() != system_type::ldt)
        processor.raise(Vector::general_protection, error);
    if (processor.state.in_long_mode() && !read_upper_half(processor, selector, descriptor))
        processor.raise(Vector::general_protection, error);
    if (!attributes.present()) processor.raise(Vector::segment_not_present, error);
    if (!mmu::GuestLinear{descriptor.base()}.is_canonical()) processor.raise(Vector::general_protection, error);
    processor.state.ldtr = descriptor.as_register(selector);
}

void load_tr(Processor& processor, std::uint16_t selector) {
    if (is_null(selector)) processor.raise(Vector::general_protection, 0);
    const std::uint32_t error = selector_error(selector);
    if (in_local_table(selector)) processor.raise(Vector::general_protection, error);
    Descriptor descriptor = fetch_descriptor(processor, selector, Vector::general_protection);
    const SegmentAttributes attributes = descriptor.attributes();
    const bool wide = processor.state.in_long_mode();
    const bool available = attributes.is_system() && (attributes.type() == system_type::tss32_available ||
                                                      (!wide && attributes.type() == system_type::tss16_available));
    if (!available) processor.raise(Vector::general_protection, error);
    if (wide && !read_upper_half(processor, selector, descriptor)) processor.raise(Vector::general_protection, error);
    if (!attributes.present()) processor.raise(Vector::segment_not_present, error);
    if (!mmu::GuestLinear{descriptor.base()}.is_canonical()) processor.raise(Vector::general_protection, error);
    mark_busy(processor, descriptor, true);
    processor.state.tr = descriptor.as_register(selector);
    processor.state.tr.attributes.bits |= 2;
}

// --- LAR, LSL, VERR, VERW
// ----------------------------------------------------------------------------------------

namespace {

// SDM vol. 2A, LAR and LSL: every code and data segment, and of the system types those in `system_types`.
std::optional<Descriptor> find_visible(Processor& processor, std::uint16_t selector, std::uint32_t system_types) {
    if (is_null(selector)) return std::nullopt;
    const std::optional<Descriptor> descriptor = find_descriptor(processor, selector);
    if (!descriptor) return std::nullopt;
    const SegmentAttributes attributes = descriptor->attributes();
    if (attributes.is_system() && (system_types >> attributes.type() & 1) == 0) return std::nullopt;
    const bool anyone = attributes.is_code() && attributes.conforming();
    if (!anyone && std::max(processor.cpl(), requested_privilege(selector)) > attributes.dpl()) return std::nullopt;
    return descriptor;
}

constexpr std::uint32_t types(std::initializer_list<std::uint32_t> list) {
    std::uint32_t set = 0;
    for (const std::uint32_t type : list) set |= 1u << type;
    return set;
}

constexpr std::uint32_t wide_limit_types =
    types({system_type::ldt, system_type::tss32_available, system_type::tss32_busy});
constexpr std::uint32_t legacy_limit_types =
    wide_limit_types | types({system_type::tss16_available, system_type::tss16_busy});
constexpr std::uint32_t wide_rights_types = wide_limit_types | types({system_type::call_gate32});
constexpr std::uint32_t legacy_rights_types =
    legacy_limit_types | types({system_type::call_gate16, system_type::task_gate, system_type::call_gate32});

}  // namespace

// The manual leaves bits 19:16, the upper limit bits of a segment, undefined; processors give them as they
// are.
std::optional<std::uint32_t> access_rights(Processor& processor, std::uint16_t selector) {
    const auto found =
        find_visible(processor, selector, processor.state.in_long_mode() ? wide_rights_types : legacy_rights_types);
    if (!found) return std::nullopt;
    return static_cast<std::uint32_t>(found->low >> 32) & 0x00ffff00;
}

std::optional<std::uint32_t> segment_limit(Processor& processor, std::uint16_t selector) {
    const auto found =
        find_visible(processor, selector, processor.state.in_long_mode() ? wide_limit_types : legacy_limit_types);
    if (!found) return std::nullopt;
    return found->limit();
}

bool may_read_segment(Processor& processor, std::uint16_t selector) {
    const auto found = find_visible(processor, selector, 0);
    if (!found) return false;
    const SegmentAttributes attributes = found->attributes();
    return attributes.is_data() || attributes.code_readable();
}

bool may_write_segment(Processor& processor, std::uint16_t selector) {
    const auto found = find_visible(processor, selector, 0);
    return found && is_stack_type(found->attributes());
}

}  // namespace xenolith::cpu
