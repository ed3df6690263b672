// The rules are those of MOV to control registers (SDM vol. 2B), of mode switching (vol. 3A, 9.8 and 9.9),
// and of paging (4.1.2, 4.4.1, 4.10.4).
#include "cpu/isa/control_registers.hpp"

namespace xenolith::cpu {

namespace {

constexpr std::uint64_t cr0_defined =
    cr0::pe | cr0::mp | cr0::em | cr0::ts | cr0::et | cr0::ne | cr0::wp | cr0::am | cr0::nw | cr0::cd | cr0::pg;
constexpr std::uint64_t no_flush = std::uint64_t{1} << 63;  // of a value moved to CR3
constexpr std::uint64_t pcid_mask = 0xfff;
constexpr std::uint64_t dr6_writable = 0xf | dr6::bd | dr6::bs | dr6::bt;
constexpr std::uint64_t dr7_writable = 0xffff03ff | dr7::gd;

[[noreturn]] void refuse(Processor& processor) { processor.raise(Vector::general_protection, 0); }

// PAE paging keeps its four top entries in registers, read when they may have changed meaning.
void reload_pdptes(Processor& processor, std::uint64_t cr3) {
    std::array<std::uint64_t, 4> pdpte{};
    if (!mmu::load_pdptes(processor.memory, cr3, processor.model.physical_address_bits(), pdpte)) refuse(processor);
    processor.state.pdpte = pdpte;
}

// SDM vol. 3A, 9.8.5.1.
void check_long_mode_activation(Processor& processor) {
    const CpuState& state = processor.state;
    const bool narrow_task = (state.tr.attributes.type() & 8) == 0;
    if ((state.cr4 & cr4::pae) == 0 || state.segment(SegmentName::cs).attributes.long_mode() || narrow_task)
        refuse(processor);
}

}  // namespace

void write_cr0(Processor& processor, std::uint64_t value) {
    CpuState& state = processor.state;
    if (value >> 32 != 0) refuse(processor);
    value = (value & cr0_defined) | cr0::et;
    const std::uint64_t changed = state.cr0 ^ value;
    const bool paging = (value & cr0::pg) != 0;
    if (paging && (value & cr0::pe) == 0) refuse(processor);
    if ((value & cr0::nw) != 0 && (value & cr0::cd) == 0) refuse(processor);
    const bool turns_on = paging && !state.paging(), turns_off = !paging && state.paging();
    if (turns_off && (processor.code64() || (state.cr4 & cr4::pcide) != 0)) refuse(processor);
    const bool wide = (state.msr.efer & efer::lme) != 0;
    if (turns_on && wide) check_long_mode_activation(processor);
    if (paging && !wide && (state.cr4 & cr4::pae) != 0 && (changed & (cr0::pg | cr0::cd | cr0::nw)) != 0)
        reload_pdptes(processor, state.cr3);

    state.cr0 = value;
    if (paging && wide)
        state.msr.efer |= efer::lma;
    else
        state.msr.efer &= ~efer::lma;
    if ((changed & (cr0::pg | cr0::pe | cr0::wp)) != 0) processor.flush_translations();
    processor.mode_changed();
}

void write_cr3(Processor& processor, std::uint64_t value) {
    CpuState& state = processor.state;
    if (state.in_long_mode()) {
        if ((state.cr4 & cr4::pcide) != 0) value &= ~no_flush;
        if (value >> processor.model.physical_address_bits() != 0) refuse(processor);
    } else if (state.paging() && (state.cr4 & cr4::pae) != 0) {
        reload_pdptes(processor, value);
    }
    state.cr3 = value;
    // One address space at a time is kept, so another PCID's translations are as good as gone.
    processor.flush_translations_except_global();
}

void write_cr4(Processor& processor, std::uint64_t value) {
    CpuState& state = processor.state;
    if ((value & ~processor.model.cr4_bits()) != 0) refuse(processor);
    const std::uint64_t changed = state.cr4 ^ value;
    if (state.in_long_mode() && (value & cr4::pae) == 0) refuse(processor);
    if ((changed & value & cr4::pcide) != 0 && (!state.in_long_mode() || (state.cr3 & pcid_mask) != 0))
        refuse(processor);
    const bool pae_paging = state.paging() && (value & cr4::pae) != 0 && !state.in_long_mode();
    if (pae_paging && (changed & (cr4::pge | cr4::pse | cr4::pae | cr4::smep)) != 0)
        reload_pdptes(processor, state.cr3);
    state.cr4 = value;
    constexpr std::uint64_t translation = cr4::pse | cr4::pae | cr4::pge | cr4::pcide | cr4::smep | cr4::smap;
    if ((changed & translation) != 0) processor.flush_translations();
    processor.mode_changed();
    processor.debug_registers_changed();
}

void write_cr8(Processor& processor, std::uint64_t value) {
    if (value >> 4 != 0) refuse(processor);
    processor.state.cr8 = value;
    processor.environment.task_priority_written(processor.moment(), static_cast<std::uint8_t>(value));
    processor.request_attention();
}

namespace {

// SDM vol. 3B, 17.2.2 and 17.2.4.
unsigned checked_number(Processor& processor, unsigned number) {
    if (number == 4 || number == 5) {
        if ((processor.state.cr4 & cr4::de) != 0) processor.raise(Vector::invalid_opcode);
        number += 2;
    }
    processor.require_cpl0();
    if ((processor.state.dr7 & dr7::gd) != 0) throw Fault{Vector::debug, std::nullopt, 0, dr6::bd};
    return number;
}

}  // namespace

std::uint64_t read_debug_register(Processor& processor, unsigned number) {
    number = checked_number(processor, number);
    if (number == 6) return processor.state.dr6;
    return number == 7 ? processor.state.dr7 : processor.state.debug_address[number];
}

void write_debug_register(Processor& processor, unsigned number, std::uint64_t value) {
    number = checked_number(processor, number);
    CpuState& state = processor.state;
    if (number < 4) {
        state.debug_address[number] = value;
    } else {
        if (value >> 32 != 0) refuse(processor);
        if (number == 6)
            state.dr6 = (value & dr6_writable) | dr6::fixed_ones;
        else
            state.dr7 = (value & dr7_writable) | dr7::fixed_one;
    }
    processor.debug_registers_changed();
    processor.request_attention();
}

}  // namespace xenolith::cpu
