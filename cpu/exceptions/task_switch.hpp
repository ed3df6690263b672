// The hardware task switch, and the stacks a task-state segment holds (SDM vol. 3A, chapter 7).
#pragma once

#include <cstdint>
#include <optional>

#include "cpu/processor.hpp"

namespace xenolith::cpu {

struct TaskSwitch {
    enum class Cause : std::uint8_t { jump, call, interrupt, interrupt_return };

    Cause cause = Cause::jump;
    std::uint64_t return_rip = 0;                            // where the old task will go on
    std::uint64_t saved_flags = 0;                           // the RFLAGS it will go on with
    std::uint32_t external = 0;                              // the EXT bit of error codes
    std::optional<std::uint32_t> error_code = std::nullopt;  // pushed on the new task's stack
};

// Leaves the current task for the one whose TSS descriptor `selector` names. Not in IA-32e mode.
// Until the new task's registers are loaded, a Fault (#GP, #TS, #NP or #PF) leaves the old task as it was.
// From there on #TS, #NP, #SS and #GP belong to the new task, and undoing the current instruction leads to
// the new task's first. With the T bit of the new TSS set, the debug trap is delivered before this returns.
void switch_task(Processor& processor, std::uint16_t selector, const TaskSwitch& request);

// The stack that the current TSS holds for an inner privilege level outside IA-32e mode. #TS(TR).
struct InnerStack {
    std::uint16_t selector = 0;
    std::uint32_t pointer = 0;
};
InnerStack inner_stack(Processor& processor, unsigned cpl, std::uint32_t external);
// The same in IA-32e mode: RSP0 to RSP2, or IST1 to IST7 (SDM vol. 3A, 7.7). #TS(TR), or #SS if it is not
// canonical.
std::uint64_t inner_stack64(Processor& processor, unsigned cpl, std::uint32_t external);
std::uint64_t interrupt_stack64(Processor& processor, unsigned number, std::uint32_t external);

}  // namespace xenolith::cpu
