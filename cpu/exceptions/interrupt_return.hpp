// IRET, IRETD and IRETQ in every mode (SDM vol. 2A, IRET).
#pragma once

#include "cpu/processor.hpp"

namespace xenolith::cpu {

// `width` is the operand size in bytes: 2, 4 or 8. Sets RIP, CS, RFLAGS and, where the frame holds them,
// SS:RSP and the data segments of VM86; NMIs are no longer blocked. Raises #GP, #NP, #SS, #TS or #PF with
// nothing else changed.
void interrupt_return(Processor& processor, unsigned width);

}  // namespace xenolith::cpu
