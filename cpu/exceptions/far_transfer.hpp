// Far JMP, CALL and RET in every mode: code segments, call gates, task gates and tasks (SDM vol. 3A, 5.8).
#pragma once

#include <cstdint>

#include "cpu/processor.hpp"

namespace xenolith::cpu {

// `width` is the operand size in bytes: 2, 4 or 8. Each sets RIP, CS and what follows from them, or raises
// #GP, #NP, #SS, #TS or #PF with nothing changed (but see switch_task for a task's own faults).
void far_jump(Processor& processor, std::uint16_t selector, std::uint64_t offset, unsigned width);
// Pushes CS and the address behind the current instruction.
void far_call(Processor& processor, std::uint16_t selector, std::uint64_t offset, unsigned width);
// Pops RIP and CS, and SS:RSP when the return is to an outer level; then releases `bytes` of parameters.
void far_return(Processor& processor, unsigned width, unsigned bytes);

}  // namespace xenolith::cpu
