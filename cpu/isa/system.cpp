// Control and debug registers, ports, time, identification, model-specific registers, system calls,
// hypercalls, caches (SDM vol. 2; APM vol. 3).
//
// An instruction that asks the Environment first makes RIP and RFLAGS current in `state`: what the
// Environment is shown is the CPU at the start of the instruction.
#include <array>

#include "cpu/exceptions/system_call.hpp"
#include "cpu/isa/control_registers.hpp"
#include "cpu/isa/forms.hpp"
#include "cpu/isa/io_permission.hpp"
#include "cpu/isa/model_specific.hpp"
#include "cpu/isa/row.hpp"
#include "cpu/isa/special_moves.hpp"
#include "cpu/processor.hpp"

namespace xenolith::cpu {

namespace {

void show_state(Processor& p) {
    p.state.rip = p.instruction_rip();
    p.state.rflags = p.rflags_value();
}

std::uint64_t edx_eax(const Processor& p) {
    return std::uint64_t{p.get<std::uint32_t>(rdx)} << 32 | p.get<std::uint32_t>(rax);
}

void set_edx_eax(Processor& p, std::uint64_t value) {
    p.set(rax, static_cast<std::uint32_t>(value));
    p.set(rdx, static_cast<std::uint32_t>(value >> 32));
}

// --- Control and debug registers
// ------------------------------------------------------------------------------------

// These moves are 64 bits wide in 64-bit mode and 32 elsewhere, whatever the prefixes.
std::uint64_t wide_source(const Processor& p, const Instruction& i) {
    return p.code64() ? p.get<std::uint64_t>(i.registers[1]) : p.get<std::uint32_t>(i.registers[1]);
}

void set_wide(Processor& p, const Instruction& i, std::uint64_t value) {
    if (p.code64())
        p.set<std::uint64_t>(i.registers[0], value);
    else
        p.set<std::uint32_t>(i.registers[0], static_cast<std::uint32_t>(value));
}

template <void (*Write)(Processor&, std::uint64_t)>
void move_to_control(Processor& p, const Instruction& i) {
    p.require_cpl0();
    Write(p, wide_source(p, i));
}

template <std::uint64_t CpuState::*Register>
void move_from_control(Processor& p, const Instruction& i) {
    p.require_cpl0();
    set_wide(p, i, p.state.*Register);
}

void write_cr2(Processor& p, std::uint64_t value) { p.state.cr2 = value; }

Execute select_to_control(ZydisRegister name) {
    switch (name) {
        case ZYDIS_REGISTER_CR0: return move_to_control<write_cr0>;
        case ZYDIS_REGISTER_CR2: return move_to_control<write_cr2>;
        case ZYDIS_REGISTER_CR3: return move_to_control<write_cr3>;
        case ZYDIS_REGISTER_CR4: return move_to_control<write_cr4>;
        case ZYDIS_REGISTER_CR8: return move_to_control<write_cr8>;
        default: return nullptr;
    }
}

Execute select_from_control(ZydisRegister name) {
    switch (name) {
        case ZYDIS_REGISTER_CR0: return move_from_control<&CpuState::cr0>;
        case ZYDIS_REGISTER_CR2: return move_from_control<&CpuState::cr2>;
        case ZYDIS_REGISTER_CR3: return move_from_control<&CpuState::cr3>;
        case ZYDIS_REGISTER_CR4: return move_from_control<&CpuState::cr4>;
        case ZYDIS_REGISTER_CR8: return move_from_control<&CpuState::cr8>;
        default: return nullptr;
    }
}

void move_to_debug(Processor& p, const Instruction& i) { write_debug_register(p, i.registers[0], wide_source(p, i)); }

void move_from_debug(Processor& p, const Instruction& i) { set_wide(p, i, read_debug_register(p, i.registers[1])); }

// LMSW changes PE, MP, EM and TS, and cannot clear PE.
void load_machine_status(Processor& p, const Instruction& i) {
    p.require_cpl0();
    const auto value = i.has_memory ? p.load<std::uint16_t>(i) : p.get<std::uint16_t>(i.registers[0]);
    constexpr std::uint64_t clearable = cr0::mp | cr0::em | cr0::ts;
    write_cr0(p, (p.state.cr0 & ~clearable) | (value & (clearable | cr0::pe)));
}

template <std::unsigned_integral T>
void store_machine_status(Processor& p, const Instruction& i) {
    if (p.cpl() != 0 && (p.state.cr4 & cr4::umip) != 0) p.raise(Vector::general_protection, 0);
    if (i.has_memory)
        p.store<std::uint16_t>(i, static_cast<std::uint16_t>(p.state.cr0));
    else
        p.set<T>(i.registers[0], static_cast<T>(p.state.cr0));
}

Execute select_store_machine_status(const Shape& shape) {
    return with_wide_width(shape.width, []<class T>() -> Execute { return store_machine_status<T>; });
}

void clear_task_switched(Processor& p, const Instruction&) {
    p.require_cpl0();
    p.state.cr0 &= ~cr0::ts;
    p.mode_changed();
}

// --- Translations and caches
// ------------------------------------------------------------------------------------------

// The segment's base counts, its limit does not; an address that is not canonical does nothing (SDM vol. 2A,
// INVLPG).
void invalidate_page(Processor& p, const Instruction& i) {
    p.require_cpl0();
    const bool has_base = !p.code64() || i.segment == SegmentName::fs || i.segment == SegmentName::gs;
    std::uint64_t linear = p.effective_address(i) + (has_base ? p.state.segment(i.segment).base : 0);
    if (!p.code64()) linear &= 0xffffffff;
    if (mmu::GuestLinear{linear}.is_canonical()) p.flush_translation({linear});
}

void invalidate_process_context(Processor& p, const Instruction& i) {
    if (p.state.in_vm86()) p.raise(Vector::general_protection, 0);
    p.require_cpl0();
    const std::uint64_t type = p.code64() ? p.get<std::uint64_t>(i.registers[0]) : p.get<std::uint32_t>(i.registers[0]);
    std::array<std::uint64_t, 2> descriptor{};  // PCID, linear address
    p.load_bytes(i.segment, p.effective_address(i), descriptor.data(), 16);
    const auto refuse = [&] { p.raise(Vector::general_protection, 0); };
    if (type > 3) refuse();
    if (descriptor[0] >> 12 != 0) refuse();
    if (type < 2 && (p.state.cr4 & cr4::pcide) == 0 && descriptor[0] != 0) refuse();
    if (type == 0 && !mmu::GuestLinear{descriptor[1]}.is_canonical()) refuse();
    // Only the current address space's translations are kept; to drop more than was asked is always allowed.
    if (type == 2)
        p.flush_translations();
    else
        p.flush_translations_except_global();
}

void invalidate_caches(Processor& p, const Instruction&) { p.require_cpl0(); }

// Checked like a load of the byte; the cache itself is not modelled.
void flush_line(Processor& p, const Instruction& i) { p.load<std::uint8_t>(i); }

// --- Interrupt flag, halt
// ---------------------------------------------------------------------------------------------

// SDM vol. 2, CLI and STI: with too little I/O privilege, VM86 with CR4.VME and user code with CR4.PVI have a
// virtual interrupt flag instead.
enum class InterruptFlag { real, virtual_one };

InterruptFlag interrupt_flag(Processor& p) {
    const CpuState& state = p.state;
    if (state.in_real_mode()) return InterruptFlag::real;
    const auto iopl = static_cast<unsigned>((state.rflags & rflags::iopl) >> rflags::iopl_shift);
    if (p.cpl() <= iopl) return InterruptFlag::real;
    const std::uint64_t extension = state.in_vm86() ? cr4::vme : cr4::pvi;
    if (p.cpl() != 3 || (state.cr4 & extension) == 0) p.raise(Vector::general_protection, 0);
    return InterruptFlag::virtual_one;
}

void clear_interrupt_flag(Processor& p, const Instruction&) {
    p.state.rflags &= interrupt_flag(p) == InterruptFlag::real ? ~rflags::if_ : ~rflags::vif;
}

void set_interrupt_flag(Processor& p, const Instruction&) {
    std::uint64_t& flags = p.state.rflags;
    if (interrupt_flag(p) == InterruptFlag::virtual_one) {
        if ((flags & rflags::vip) != 0) p.raise(Vector::general_protection, 0);
        flags |= rflags::vif;
    } else if ((flags & rflags::if_) == 0) {
        flags |= rflags::if_;
        p.shadow_interrupts(false);
    }
}

void halt(Processor& p, const Instruction&) {
    p.require_cpl0();
    p.state.activity = Activity::halted;
    p.request_attention();
}

void clear_alignment_flag(Processor& p, const Instruction&) {
    if (p.cpl() != 0) p.raise(Vector::invalid_opcode);
    p.state.rflags &= ~rflags::ac;
    p.mode_changed();
}

void set_alignment_flag(Processor& p, const Instruction&) {
    if (p.cpl() != 0) p.raise(Vector::invalid_opcode);
    p.state.rflags |= rflags::ac;
    p.mode_changed();
}

// --- Ports
// --------------------------------------------------------------------------------------------------------------

std::uint16_t port_operand(const Processor& p, const Instruction& i, bool is_immediate) {
    return is_immediate ? static_cast<std::uint16_t>(i.immediate & 0xff) : p.get<std::uint16_t>(rdx);
}

template <std::unsigned_integral T, bool Immediate>
void in(Processor& p, const Instruction& i) {
    const std::uint16_t port = port_operand(p, i, Immediate);
    check_io_permission(p, port, sizeof(T));
    show_state(p);
    const std::uint32_t value = p.environment.port_read(p.moment(), port, sizeof(T));
    p.charge_instead(p.timing.plain_trap().total());
    p.watch_port(port, sizeof(T));
    p.set(rax, static_cast<T>(value));
}

template <std::unsigned_integral T, bool Immediate>
void out(Processor& p, const Instruction& i) {
    const std::uint16_t port = port_operand(p, i, Immediate);
    check_io_permission(p, port, sizeof(T));
    show_state(p);
    p.environment.port_write(p.moment(), port, sizeof(T), p.get<T>(rax), p.state, p);
    p.watch_port(port, sizeof(T));
    p.charge_instead(p.timing.plain_trap().total());
}

template <template <class, bool> class Access>
Execute select_port(unsigned width, bool immediate) {
    switch (width) {
        case 1: return immediate ? Access<std::uint8_t, true>::execute : Access<std::uint8_t, false>::execute;
        case 2: return immediate ? Access<std::uint16_t, true>::execute : Access<std::uint16_t, false>::execute;
        case 4: return immediate ? Access<std::uint32_t, true>::execute : Access<std::uint32_t, false>::execute;
        default: return nullptr;
    }
}

template <class T, bool Immediate>
struct In {
    static void execute(Processor& p, const Instruction& i) { in<T, Immediate>(p, i); }
};
template <class T, bool Immediate>
struct Out {
    static void execute(Processor& p, const Instruction& i) { out<T, Immediate>(p, i); }
};

Execute select_in(const Shape& shape) { return select_port<In>(shape.width, shape.form == form("ri")); }
Execute select_out(const Shape& shape) {
    return select_port<Out>(shape.operands[1].size / 8u, shape.form == form("ir"));
}

// --- Time, identification
// -------------------------------------------------------------------------------------------------

void require_time_stamp_access(Processor& p) {
    if ((p.state.cr4 & cr4::tsd) != 0 && p.cpl() != 0) p.raise(Vector::general_protection, 0);
}

void read_time_stamp(Processor& p, const Instruction&) {
    require_time_stamp_access(p);
    set_edx_eax(p, p.tsc());
}

void read_time_stamp_and_processor(Processor& p, const Instruction&) {
    require_time_stamp_access(p);
    set_edx_eax(p, p.tsc());
    p.set(rcx, static_cast<std::uint32_t>(p.state.msr.tsc_aux));
}

// No model has performance counters, so every counter number is one too many.
void read_performance_counter(Processor& p, const Instruction&) { p.raise(Vector::general_protection, 0); }

template <std::unsigned_integral T>
void read_processor_id(Processor& p, const Instruction& i) {
    p.set<T>(i.registers[0], static_cast<T>(p.state.msr.tsc_aux));
}

Execute select_read_processor_id(const Shape& shape) {
    return with_large_width(shape.width, []<class T>() -> Execute { return read_processor_id<T>; });
}

void identify(Processor& p, const Instruction&) {
    const auto leaf = p.get<std::uint32_t>(rax), subleaf = p.get<std::uint32_t>(rcx);
    show_state(p);
    const CpuidLeaf answer =
        p.environment.cpuid(p.moment(), leaf, subleaf, p.model.leaf(leaf, subleaf, p.state, p.vcpu));
    if (leaf == 1 && p.model.vendor() == Vendor::intel) p.state.msr.bios_sign_id = microcode_revision(p.model);
    p.set(rax, answer.eax);
    p.set(rbx, answer.ebx);
    p.set(rcx, answer.ecx);
    p.set(rdx, answer.edx);
    p.charge_instead(p.timing.plain_trap().total());
}

// --- Model-specific registers
// -----------------------------------------------------------------------------------------------

// True if the Environment took the access; false if the register is the CPU's to handle.
bool settle(Processor& p, const MsrOutcome& outcome) {
    using enum MsrOutcome::Kind;
    switch (outcome.kind) {
        case not_claimed: return false;
        case general_protection:
            p.charge(outcome.cycles);  // the guest has left and come back, to a fault
            p.raise(Vector::general_protection, 0);
        case stop: p.leave({Processor::Leave::Kind::failed, outcome.error_number});
        case done: break;
    }
    p.charge_instead(outcome.cycles);
    return true;
}

void read_model_specific(Processor& p, const Instruction&) {
    p.require_cpl0();
    const auto index = p.get<std::uint32_t>(rcx);
    show_state(p);
    const MsrOutcome outcome = p.environment.msr_read(p.moment(), index, msr_implemented(p, index));
    if (settle(p, outcome)) {
        set_edx_eax(p, outcome.value);
        return;
    }
    const std::optional<std::uint64_t> value = read_msr(p, index);
    if (!value) p.raise(Vector::general_protection, 0);
    set_edx_eax(p, *value);
}

void write_model_specific(Processor& p, const Instruction&) {
    p.require_cpl0();
    const auto index = p.get<std::uint32_t>(rcx);
    const std::uint64_t value = edx_eax(p);
    show_state(p);
    const MsrOutcome outcome = p.environment.msr_write(p.moment(), index, value, msr_implemented(p, index), p.state);
    if (settle(p, outcome)) return;
    if (!write_msr(p, index, value)) p.raise(Vector::general_protection, 0);
}

// --- Hypercalls
// ----------------------------------------------------------------------------------------------------------

template <HypercallInstruction Which>
void hypercall(Processor& p, const Instruction&) {
    show_state(p);
    const HypercallOutcome outcome = p.environment.hypercall(p.moment(), Which, p.state, p);
    using enum HypercallOutcome::Kind;
    switch (outcome.kind) {
        case undefined_opcode: p.raise(Vector::invalid_opcode);
        case leave: p.leave({Processor::Leave::Kind::hypercall, 0});
        case done: break;
    }
    p.charge_instead(outcome.cycles);
    if (p.code64())
        p.set(rax, outcome.result);
    else
        p.set(rax, static_cast<std::uint32_t>(outcome.result));
}

// --- System calls
// ---------------------------------------------------------------------------------------------------------

void execute_system_call(Processor& p, const Instruction&) { system_call(p); }
void execute_system_return(Processor& p, const Instruction& i) { system_return(p, i.stack_width == 8); }
void execute_system_enter(Processor& p, const Instruction&) { system_enter(p); }
void execute_system_exit(Processor& p, const Instruction& i) { system_exit(p, i.stack_width == 8); }

// --- MONITOR, MWAIT (SDM vol. 2B)
// -------------------------------------------------------------------------------------------

void monitor(Processor& p, const Instruction& i) {
    if (p.cpl() != 0) p.raise(Vector::invalid_opcode);
    if (p.get<std::uint32_t>(rcx) != 0) p.raise(Vector::general_protection, 0);
    p.load<std::uint8_t>(i.segment, p.state.registers[rax] & Processor::address_mask(i.address_size));
}

// A processor may leave MWAIT at any time for reasons of its own; this one does at once.
void wait_for_monitor(Processor& p, const Instruction&) {
    if (p.cpl() != 0) p.raise(Vector::invalid_opcode);
    if ((p.get<std::uint32_t>(rcx) & ~1u) != 0) p.raise(Vector::general_protection, 0);
}

// --- XCR0 (SDM vol. 2D, XGETBV, XSETBV; vol. 1, 13.3)
// ------------------------------------------------------------------------

void read_extended_control(Processor& p, const Instruction&) {
    if ((p.state.cr4 & cr4::osxsave) == 0) p.raise(Vector::invalid_opcode);
    if (p.get<std::uint32_t>(rcx) != 0) p.raise(Vector::general_protection, 0);
    set_edx_eax(p, p.state.xcr0);
}

void write_extended_control(Processor& p, const Instruction&) {
    constexpr std::uint64_t x87 = 1, sse = 2, avx = 4;
    if ((p.state.cr4 & cr4::osxsave) == 0) p.raise(Vector::invalid_opcode);
    p.require_cpl0();
    const std::uint64_t value = edx_eax(p);
    const bool valid = p.get<std::uint32_t>(rcx) == 0 && (value & ~p.model.xcr0_bits()) == 0 && (value & x87) != 0 &&
                       ((value & avx) == 0 || (value & sse) != 0);
    if (!valid) p.raise(Vector::general_protection, 0);
    p.state.xcr0 = value;
}

}  // namespace

Execute select_control_move(const Shape& shape) {
    const ZydisRegister first = shape.operands[0].reg.value, second = shape.operands[1].reg.value;
    if (ZydisRegisterGetClass(first) == ZYDIS_REGCLASS_CONTROL) return select_to_control(first);
    if (ZydisRegisterGetClass(second) == ZYDIS_REGCLASS_CONTROL) return select_from_control(second);
    if (ZydisRegisterGetClass(first) == ZYDIS_REGCLASS_DEBUG) return move_to_debug;
    if (ZydisRegisterGetClass(second) == ZYDIS_REGCLASS_DEBUG) return move_from_debug;
    return nullptr;
}

std::span<const Row> system_rows() {
    using enum CostClass;
    using row_flag::delivery_point, row_flag::ends_block, row_flag::transfers_control;
    static constexpr std::array rows = {
        Row{ZYDIS_MNEMONIC_LMSW, always<load_machine_status>, system, ends_block | delivery_point},
        Row{ZYDIS_MNEMONIC_SMSW, select_store_machine_status, system},
        Row{ZYDIS_MNEMONIC_CLTS, always<clear_task_switched>, system},
        Row{ZYDIS_MNEMONIC_INVLPG, always<invalidate_page>, serialize, ends_block},
        Row{ZYDIS_MNEMONIC_INVPCID, always<invalidate_process_context>, serialize, ends_block, Feature::invpcid},
        Row{ZYDIS_MNEMONIC_INVD, always<invalidate_caches>, serialize},
        Row{ZYDIS_MNEMONIC_WBINVD, always<invalidate_caches>, serialize},
        Row{ZYDIS_MNEMONIC_CLFLUSH, always<flush_line>, simple, 0, Feature::clfsh},
        Row{ZYDIS_MNEMONIC_CLFLUSHOPT, always<flush_line>, simple, 0, Feature::clflushopt},
        Row{ZYDIS_MNEMONIC_CLWB, always<flush_line>, simple, 0, Feature::clwb},
        Row{ZYDIS_MNEMONIC_HLT, always<halt>, system, delivery_point},
        Row{ZYDIS_MNEMONIC_CLI, always<clear_interrupt_flag>, simple},
        Row{ZYDIS_MNEMONIC_STI, always<set_interrupt_flag>, simple, delivery_point},
        Row{ZYDIS_MNEMONIC_CLAC, always<clear_alignment_flag>, simple, 0, Feature::smap},
        Row{ZYDIS_MNEMONIC_STAC, always<set_alignment_flag>, simple, 0, Feature::smap},
        Row{ZYDIS_MNEMONIC_IN, select_in, system, delivery_point},
        Row{ZYDIS_MNEMONIC_OUT, select_out, system, delivery_point},
        Row{ZYDIS_MNEMONIC_RDTSC, always<read_time_stamp>, time_stamp, 0, Feature::tsc},
        Row{ZYDIS_MNEMONIC_RDTSCP, always<read_time_stamp_and_processor>, time_stamp, 0, Feature::rdtscp},
        Row{ZYDIS_MNEMONIC_RDPMC, always<read_performance_counter>, time_stamp},
        Row{ZYDIS_MNEMONIC_RDPID, select_read_processor_id, time_stamp, 0, Feature::rdpid},
        Row{ZYDIS_MNEMONIC_CPUID, always<identify>, serialize, delivery_point},
        Row{ZYDIS_MNEMONIC_RDMSR, always<read_model_specific>, serialize, delivery_point, Feature::msr},
        Row{ZYDIS_MNEMONIC_WRMSR, always<write_model_specific>, serialize, ends_block | delivery_point, Feature::msr},
        Row{ZYDIS_MNEMONIC_VMCALL, always<hypercall<HypercallInstruction::vmcall>>, serialize, delivery_point},
        Row{ZYDIS_MNEMONIC_VMMCALL, always<hypercall<HypercallInstruction::vmmcall>>, serialize, delivery_point},
        Row{ZYDIS_MNEMONIC_SYSCALL, always<execute_system_call>, far_transfer, transfers_control, Feature::syscall},
        Row{ZYDIS_MNEMONIC_SYSRET, always<execute_system_return>, far_transfer, transfers_control, Feature::syscall},
        Row{ZYDIS_MNEMONIC_SYSENTER, always<execute_system_enter>, far_transfer, transfers_control, Feature::sep},
        Row{ZYDIS_MNEMONIC_SYSEXIT, always<execute_system_exit>, far_transfer, transfers_control, Feature::sep},
        Row{ZYDIS_MNEMONIC_MONITOR, always<monitor>, system, 0, Feature::monitor},
        Row{ZYDIS_MNEMONIC_MWAIT, always<wait_for_monitor>, system, delivery_point, Feature::monitor},
        Row{ZYDIS_MNEMONIC_XGETBV, always<read_extended_control>, system, 0, Feature::xsave},
        Row{ZYDIS_MNEMONIC_XSETBV, always<write_extended_control>, system, 0, Feature::xsave},
    };
    return rows;
}

}  // namespace xenolith::cpu
