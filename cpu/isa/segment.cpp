// Segment registers and descriptor tables (SDM vol. 2: MOV, LDS, LAR, LSL, VERR, ARPL, LGDT, SGDT, LLDT, LTR,
// SWAPGS, RDFSBASE). What a load checks is in cpu/exceptions/segment_load.cpp.
#include <array>

#include "cpu/exceptions/segment_load.hpp"
#include "cpu/isa/forms.hpp"
#include "cpu/isa/row.hpp"
#include "cpu/isa/special_moves.hpp"
#include "cpu/processor.hpp"

namespace xenolith::cpu {

namespace {

// These instructions do not exist in real mode and VM86.
void require_protected_mode(Processor& p) {
    if (p.state.in_real_mode() || p.state.in_vm86()) p.raise(Vector::invalid_opcode);
}

// SDM vol. 3A, 2.5, CR4.UMIP: user code may not look at descriptor tables.
void require_no_user_mode_prevention(Processor& p) {
    if (p.cpl() != 0 && (p.state.cr4 & cr4::umip) != 0) p.raise(Vector::general_protection, 0);
}

// A 16-bit source operand, register or memory.
std::uint16_t source(Processor& p, const Instruction& i, unsigned position) {
    return i.has_memory ? p.load<std::uint16_t>(i) : p.get<std::uint16_t>(i.registers[position]);
}

// --- MOV to and from a segment register
// -----------------------------------------------------------------------------

void move_to_segment(Processor& p, const Instruction& i) {
    const auto name = static_cast<SegmentName>(i.registers[0]);
    load_segment(p, name, source(p, i, 1));
    if (name == SegmentName::ss) p.shadow_interrupts(true);
}

template <std::unsigned_integral T>
void move_from_segment(Processor& p, const Instruction& i) {
    p.set<T>(i.registers[0], p.state.segments[i.registers[1]].selector);
}

void store_segment(Processor& p, const Instruction& i) {
    p.store<std::uint16_t>(i, p.state.segments[i.registers[1]].selector);
}

// --- LDS, LES, LFS, LGS, LSS
// -----------------------------------------------------------------------------------------

template <SegmentName Name, std::unsigned_integral T>
void load_far_pointer(Processor& p, const Instruction& i) {
    const std::uint64_t at = p.effective_address(i);
    const T offset = p.load<T>(i.segment, at);
    const auto selector = p.load<std::uint16_t>(i.segment, (at + sizeof(T)) & Processor::address_mask(i.address_size));
    load_segment(p, Name, selector);
    p.set<T>(i.registers[0], offset);
}

// AMD's processors have no pointers of 16:64 (APM vol. 3, LDS).
template <SegmentName Name>
void load_far_pointer64(Processor& p, const Instruction& i) {
    if (p.model.vendor() == Vendor::amd)
        load_far_pointer<Name, std::uint32_t>(p, i);
    else
        load_far_pointer<Name, std::uint64_t>(p, i);
}

template <SegmentName Name>
Execute select_load_far_pointer(const Shape& shape) {
    if (shape.operand_width == 8) return load_far_pointer64<Name>;
    return shape.operand_width == 4 ? load_far_pointer<Name, std::uint32_t> : load_far_pointer<Name, std::uint16_t>;
}

// --- LAR, LSL, VERR, VERW, ARPL
// --------------------------------------------------------------------------------------

using Question = std::optional<std::uint32_t> (*)(Processor&, std::uint16_t selector);

template <Question Ask, std::uint32_t Mask16, std::unsigned_integral T>
void ask_descriptor(Processor& p, const Instruction& i) {
    require_protected_mode(p);
    const std::optional<std::uint32_t> answer = Ask(p, source(p, i, 1));
    if (answer) p.set<T>(i.registers[0], static_cast<T>(sizeof(T) == 2 ? *answer & Mask16 : *answer));
    p.flags.set_zf(answer.has_value());
}

template <Question Ask, std::uint32_t Mask16>
Execute select_ask_descriptor(const Shape& shape) {
    return with_wide_width(shape.width, []<class T>() -> Execute { return ask_descriptor<Ask, Mask16, T>; });
}

template <bool (*Verify)(Processor&, std::uint16_t)>
void verify(Processor& p, const Instruction& i) {
    require_protected_mode(p);
    p.flags.set_zf(Verify(p, source(p, i, 0)));
}

std::uint16_t adjusted(Processor& p, std::uint16_t selector, std::uint16_t by) {
    const bool raises = requested_privilege(selector) < requested_privilege(by);
    p.flags.set_zf(raises);
    return raises ? static_cast<std::uint16_t>((selector & 0xfffc) | requested_privilege(by)) : selector;
}

void adjust_privilege(Processor& p, const Instruction& i) {
    require_protected_mode(p);
    const auto by = p.get<std::uint16_t>(i.registers[1]);
    if (i.has_memory) {
        // It writes only what it changes, and faults as a read would first.
        const auto old = p.load<std::uint16_t>(i);
        const bool changes = (old & 3) < (by & 3);
        if (changes) p.begin_modify<std::uint16_t>(i);
        const std::uint16_t changed = adjusted(p, old, by);
        if (changes) p.end_modify<std::uint16_t>(changed);
    } else {
        p.set<std::uint16_t>(i.registers[0], adjusted(p, p.get<std::uint16_t>(i.registers[0]), by));
    }
}

// --- LGDT, LIDT, SGDT, SIDT
// ------------------------------------------------------------------------------------------

template <DescriptorTable CpuState::*Table>
void load_table(Processor& p, const Instruction& i) {
    p.require_cpl0();
    std::uint16_t limit = 0;
    std::uint64_t base = 0;
    std::array<std::byte, 10> bytes{};
    p.load_bytes(i.segment, p.effective_address(i), bytes.data(), p.code64() ? 10 : 6);
    std::memcpy(&limit, bytes.data(), 2);
    std::memcpy(&base, bytes.data() + 2, p.code64() ? 8 : 4);
    // With a 16-bit operand size the base has 24 bits (SDM vol. 2A, LGDT).
    if (!p.code64() && i.stack_width == 2) base &= 0xffffff;
    if (!mmu::GuestLinear{base}.is_canonical()) p.raise(Vector::general_protection, 0);
    p.state.*Table = {base, limit};
}

// Stores all 32 bits of the base whatever the operand size, as processors since the 386 do.
template <DescriptorTable CpuState::*Table>
void store_table(Processor& p, const Instruction& i) {
    require_no_user_mode_prevention(p);
    const DescriptorTable& table = p.state.*Table;
    std::array<std::byte, 10> bytes{};
    std::memcpy(bytes.data(), &table.limit, 2);
    std::memcpy(bytes.data() + 2, &table.base, 8);
    p.store_bytes(i.segment, p.effective_address(i), bytes.data(), p.code64() ? 10 : 6);
}

// --- LLDT, LTR, SLDT, STR
// ----------------------------------------------------------------------------------------------

template <void (*Load)(Processor&, std::uint16_t)>
void load_system_segment(Processor& p, const Instruction& i) {
    require_protected_mode(p);
    p.require_cpl0();
    Load(p, source(p, i, 0));
}

template <SegmentRegister CpuState::*Segment, std::unsigned_integral T>
void store_system_segment(Processor& p, const Instruction& i) {
    require_protected_mode(p);
    require_no_user_mode_prevention(p);
    if (i.has_memory)
        p.store<std::uint16_t>(i, (p.state.*Segment).selector);
    else
        p.set<T>(i.registers[0], (p.state.*Segment).selector);
}

template <SegmentRegister CpuState::*Segment>
Execute select_store_system_segment(const Shape& shape) {
    return with_wide_width(shape.width, []<class T>() -> Execute { return store_system_segment<Segment, T>; });
}

// --- FS and GS bases in 64-bit mode
// -------------------------------------------------------------------------------------

void swap_gs(Processor& p, const Instruction&) {
    if (!p.code64()) p.raise(Vector::invalid_opcode);
    p.require_cpl0();
    std::swap(p.state.segment(SegmentName::gs).base, p.state.msr.kernel_gs_base);
    p.segment_changed(SegmentName::gs);
}

void require_base_access(Processor& p) {
    if (!p.code64() || (p.state.cr4 & cr4::fsgsbase) == 0) p.raise(Vector::invalid_opcode);
}

template <SegmentName Name, std::unsigned_integral T>
void read_base(Processor& p, const Instruction& i) {
    require_base_access(p);
    p.set<T>(i.registers[0], static_cast<T>(p.state.segment(Name).base));
}

template <SegmentName Name, std::unsigned_integral T>
void write_base(Processor& p, const Instruction& i) {
    require_base_access(p);
    const std::uint64_t base = p.get<T>(i.registers[0]);
    if (!mmu::GuestLinear{base}.is_canonical()) p.raise(Vector::general_protection, 0);
    p.state.segment(Name).base = base;
    p.segment_changed(Name);
}

template <SegmentName Name>
Execute select_read_base(const Shape& shape) {
    return with_large_width(shape.width, []<class T>() -> Execute { return read_base<Name, T>; });
}
template <SegmentName Name>
Execute select_write_base(const Shape& shape) {
    return with_large_width(shape.width, []<class T>() -> Execute { return write_base<Name, T>; });
}

}  // namespace

Execute select_segment_move(const Shape& shape) {
    const ZydisDecodedOperand& first = shape.operands[0];
    const bool to_segment =
        first.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(first.reg.value) == ZYDIS_REGCLASS_SEGMENT;
    if (to_segment) return first.reg.value == ZYDIS_REGISTER_CS ? nullptr : move_to_segment;
    if (shape.form == form("mr")) return store_segment;
    return with_wide_width(shape.width, []<class T>() -> Execute { return move_from_segment<T>; });
}

std::span<const Row> segment_rows() {
    using enum CostClass;
    using row_flag::ends_block;
    constexpr std::uint16_t protected_only = row_flag::not_in_real_mode;
    static constexpr std::array rows = {
        Row{ZYDIS_MNEMONIC_LES, select_load_far_pointer<SegmentName::es>, segment_load, ends_block},
        Row{ZYDIS_MNEMONIC_LDS, select_load_far_pointer<SegmentName::ds>, segment_load, ends_block},
        Row{ZYDIS_MNEMONIC_LSS, select_load_far_pointer<SegmentName::ss>, segment_load, ends_block},
        Row{ZYDIS_MNEMONIC_LFS, select_load_far_pointer<SegmentName::fs>, segment_load, ends_block},
        Row{ZYDIS_MNEMONIC_LGS, select_load_far_pointer<SegmentName::gs>, segment_load, ends_block},
        Row{ZYDIS_MNEMONIC_LAR, select_ask_descriptor<access_rights, 0xff00>, segment_load, protected_only},
        Row{ZYDIS_MNEMONIC_LSL, select_ask_descriptor<segment_limit, 0xffff>, segment_load, protected_only},
        Row{ZYDIS_MNEMONIC_VERR, always<verify<may_read_segment>>, segment_load, protected_only},
        Row{ZYDIS_MNEMONIC_VERW, always<verify<may_write_segment>>, segment_load, protected_only},
        Row{ZYDIS_MNEMONIC_ARPL, always<adjust_privilege>, simple, protected_only},
        Row{ZYDIS_MNEMONIC_LGDT, always<load_table<&CpuState::gdtr>>, system},
        Row{ZYDIS_MNEMONIC_LIDT, always<load_table<&CpuState::idtr>>, system},
        Row{ZYDIS_MNEMONIC_SGDT, always<store_table<&CpuState::gdtr>>, system},
        Row{ZYDIS_MNEMONIC_SIDT, always<store_table<&CpuState::idtr>>, system},
        Row{ZYDIS_MNEMONIC_LLDT, always<load_system_segment<load_ldtr>>, segment_load, protected_only},
        Row{ZYDIS_MNEMONIC_LTR, always<load_system_segment<load_tr>>, segment_load, protected_only},
        Row{ZYDIS_MNEMONIC_SLDT, select_store_system_segment<&CpuState::ldtr>, system, protected_only},
        Row{ZYDIS_MNEMONIC_STR, select_store_system_segment<&CpuState::tr>, system, protected_only},
        Row{ZYDIS_MNEMONIC_SWAPGS, always<swap_gs>, system, 0, Feature::long_mode},
        Row{ZYDIS_MNEMONIC_RDFSBASE, select_read_base<SegmentName::fs>, system, 0, Feature::fsgsbase},
        Row{ZYDIS_MNEMONIC_RDGSBASE, select_read_base<SegmentName::gs>, system, 0, Feature::fsgsbase},
        Row{ZYDIS_MNEMONIC_WRFSBASE, select_write_base<SegmentName::fs>, system, 0, Feature::fsgsbase},
        Row{ZYDIS_MNEMONIC_WRGSBASE, select_write_base<SegmentName::gs>, system, 0, Feature::fsgsbase},
    };
    return rows;
}

}  // namespace xenolith::cpu
