// SYSCALL, SYSRET, SYSENTER and SYSEXIT (SDM vol. 2B, vol. 3A, 5.8.7 and 5.8.8; APM vol. 3).
#pragma once

#include "cpu/processor.hpp"

namespace xenolith::cpu {

// Each sets RIP, CS, SS, RFLAGS and what goes with them, or raises #UD or #GP(0) with nothing changed. Where
// Intel's and AMD's processors differ, the model's vendor decides: SYSCALL outside 64-bit mode is AMD's
// alone, SYSENTER in IA-32e mode Intel's, and only Intel's SYSRET refuses a return address that is not
// canonical. `wide` says whether the operand size is 64 bits: the return is to 64-bit code then.
void system_call(Processor& processor);
void system_return(Processor& processor, bool wide);
void system_enter(Processor& processor);
void system_exit(Processor& processor, bool wide);

}  // namespace xenolith::cpu
