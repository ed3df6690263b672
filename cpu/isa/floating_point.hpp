// What instructions on x87, MMX and SSE registers share: when they exist, and where registers are.
#pragma once

#include "cpu/processor.hpp"

namespace xenolith::cpu {

// #NM while the task whose state is loaded may be another one (SDM vol. 3A, 13.4.1).
inline void require_task_not_switched(Processor& p) {
    if ((p.state.cr0 & cr0::ts) != 0) p.raise(Vector::device_not_available);
}

// SDM vol. 3A, table 2-2: x87 instructions except WAIT.
inline void require_x87(Processor& p) {
    if ((p.state.cr0 & (cr0::em | cr0::ts)) != 0) p.raise(Vector::device_not_available);
}

// An unmasked x87 exception left pending is raised by the next instruction that waits (SDM vol. 1, 8.7). With CR0.NE
// clear it would reach the CPU as an interrupt, over the FERR# pin and IRQ 13 of a PC, which no machine here has wired:
// such a guest goes on as if IGNNE# were asserted.
inline void require_no_pending_x87_error(Processor& p) {
    constexpr std::uint16_t summary = 0x80;
    if ((p.state.floating_point.status & summary) != 0 && (p.state.cr0 & cr0::ne) != 0) p.raise(Vector::x87_error);
}

// SDM vol. 3A, 12.1.
inline void require_mmx(Processor& p) {
    if ((p.state.cr0 & cr0::em) != 0) p.raise(Vector::invalid_opcode);
    require_task_not_switched(p);
    require_no_pending_x87_error(p);
}

// SDM vol. 3A, 13.1.2 to 13.1.4.
inline void require_sse(Processor& p) {
    if ((p.state.cr0 & cr0::em) != 0 || (p.state.cr4 & cr4::osfxsr) == 0) p.raise(Vector::invalid_opcode);
    require_task_not_switched(p);
}

// Instructions with a VEX prefix (SDM vol. 2A, 2.4: exception types 1 to 12).
inline void require_avx(Processor& p) {
    constexpr std::uint64_t sse_and_avx = 6;
    const CpuState& state = p.state;
    if ((state.cr4 & cr4::osxsave) == 0 || (state.xcr0 & sse_and_avx) != sse_and_avx || !state.in_protected_mode() ||
        (state.rflags & rflags::vm) != 0)
        p.raise(Vector::invalid_opcode);
    require_task_not_switched(p);
}

// The number of the register that is ST(0).
inline unsigned stack_top(const FloatingPointState& fp) { return fp.status >> 11 & 7; }

}  // namespace xenolith::cpu
