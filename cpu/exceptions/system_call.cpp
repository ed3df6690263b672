#include "cpu/exceptions/system_call.hpp"

#include "cpu/exceptions/segment_load.hpp"

namespace xenolith::cpu {

namespace {

constexpr std::uint64_t returned_flags = 0x3c7fd7;  // what SYSRET takes from R11: no RF, no VM

// None of the four reads a descriptor: the segments are flat, their selectors come from an MSR.
void enter_flat(Processor& processor, std::uint16_t code, std::uint16_t stack, unsigned code_width, unsigned cpl,
                std::uint64_t rip) {
    CpuState& state = processor.state;
    state.segment(SegmentName::cs) =
        flat_code_segment(static_cast<std::uint16_t>((code & 0xfffc) | cpl), code_width, cpl);
    state.segment(SegmentName::ss) = flat_data_segment(static_cast<std::uint16_t>(stack | cpl), cpl);
    state.rip = rip;
    processor.mode_changed();
}

// SYSCALL and SYSRET trap by the trap flag as they leave it: the system is not stepped into if SFMASK clears TF, and
// the step that follows a system call of the program is SYSRET's.
void settle_single_step(Processor& processor) {
    processor.settle_single_step((processor.state.rflags & rflags::tf) != 0);
}

std::uint16_t selector_of(std::uint64_t msr, unsigned shift) { return static_cast<std::uint16_t>(msr >> shift); }

std::uint16_t plus(std::uint16_t selector, unsigned bytes) {
    return static_cast<std::uint16_t>((selector & 0xfffc) + bytes);
}

}  // namespace

void system_call(Processor& processor) {
    CpuState& state = processor.state;
    const bool amd = processor.model.vendor() == Vendor::amd, wide = processor.code64();
    if ((state.msr.efer & efer::sce) == 0 || (!amd && !wide) || state.in_real_mode() || state.in_vm86())
        processor.raise(Vector::invalid_opcode);
    const std::uint16_t code = selector_of(state.msr.star, 32);
    const std::uint64_t flags = processor.rflags_value() & ~rflags::rf;
    const std::uint64_t behind = wide ? processor.next_rip() : processor.next_rip() & 0xffffffff;
    state.registers[rcx] = behind;
    if (state.in_long_mode()) {
        state.registers[r11] = flags;
        enter_flat(processor, code, plus(code, 8), 64, 0, wide ? state.msr.lstar : state.msr.cstar);
        processor.set_rflags_value(flags & ~state.msr.sfmask);
    } else {
        enter_flat(processor, code, plus(code, 8), 32, 0, state.msr.star & 0xffffffff);
        processor.set_rflags_value(flags & ~(rflags::if_ | rflags::vm));
    }
    settle_single_step(processor);
}

void system_return(Processor& processor, bool wide) {
    CpuState& state = processor.state;
    const bool amd = processor.model.vendor() == Vendor::amd;
    if ((state.msr.efer & efer::sce) == 0 || (!amd && !processor.code64())) processor.raise(Vector::invalid_opcode);
    if (state.in_real_mode()) processor.raise(Vector::general_protection, 0);
    processor.require_cpl0();
    wide = wide && processor.code64();
    const std::uint64_t target = wide ? state.registers[rcx] : state.registers[rcx] & 0xffffffff;
    if (!amd && !mmu::GuestLinear{target}.is_canonical()) processor.raise(Vector::general_protection, 0);
    const std::uint16_t base = selector_of(state.msr.star, 48);
    // Flags first: with CPL 3 the stack's alignment may be checked from the next access on.
    processor.set_rflags_value(processor.code64() ? state.registers[r11] & returned_flags
                                                  : processor.rflags_value() | rflags::if_);
    enter_flat(processor, wide ? plus(base, 16) : base, plus(base, 8), wide ? 64 : 32, 3, target);
    settle_single_step(processor);
}

void system_enter(Processor& processor) {
    CpuState& state = processor.state;
    const bool wide = state.in_long_mode();
    if (wide && processor.model.vendor() == Vendor::amd) processor.raise(Vector::invalid_opcode);
    const auto code = static_cast<std::uint16_t>(state.msr.sysenter_cs);
    if (state.in_real_mode() || is_null(code)) processor.raise(Vector::general_protection, 0);
    processor.set_rflags_value(processor.rflags_value() & ~(rflags::vm | rflags::if_ | rflags::rf));
    state.registers[rsp] = wide ? state.msr.sysenter_esp : state.msr.sysenter_esp & 0xffffffff;
    enter_flat(processor, code, plus(code, 8), wide ? 64 : 32, 0,
               wide ? state.msr.sysenter_eip : state.msr.sysenter_eip & 0xffffffff);
}

void system_exit(Processor& processor, bool wide) {
    CpuState& state = processor.state;
    if (state.in_long_mode() && processor.model.vendor() == Vendor::amd) processor.raise(Vector::invalid_opcode);
    const auto base = static_cast<std::uint16_t>(state.msr.sysenter_cs);
    if (state.in_real_mode() || is_null(base) || processor.cpl() != 0) processor.raise(Vector::general_protection, 0);
    wide = wide && processor.code64();
    const std::uint64_t mask = wide ? ~std::uint64_t{0} : 0xffffffff;
    const std::uint64_t target = state.registers[rdx] & mask, pointer = state.registers[rcx] & mask;
    if (!mmu::GuestLinear{target}.is_canonical() || !mmu::GuestLinear{pointer}.is_canonical())
        processor.raise(Vector::general_protection, 0);
    state.registers[rsp] = pointer;
    enter_flat(processor, plus(base, wide ? 32 : 16), plus(base, wide ? 40 : 24), wide ? 64 : 32, 3, target);
}

}  // namespace xenolith::cpu
