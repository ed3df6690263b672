// The same guest on two machines with different engines, step by step, up to the first difference.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cpu/state/cpu_state.hpp"
#include "machine/machine.hpp"
#include "machine/state_fields.hpp"

namespace xenolith::machine {

struct LockstepOptions {
    std::uint64_t stride = 1;             // instructions between two looks; 0: from one device access to the next
    std::uint64_t max_steps = 1'000'000;  // instructions, or device accesses
    double max_seconds = 0;               // of the host's time; 0: no limit
    // Called about ten times a second with the steps done so far. Returning false ends the run.
    std::function<bool(std::uint64_t)> progress = {};
};

enum class LockstepEnd : std::uint8_t {
    same,         // both guests came to the same end
    limit,        // no difference within the limits
    interrupted,  // progress said so
    state,        // registers differ
    memory,       // RAM differs, and no register did
    ends,         // one guest ended and the other did not, or they ended differently
    host_limit,   // the host cannot go on with one of them
};

struct LockstepResult {
    LockstepEnd end = LockstepEnd::same;
    std::uint64_t steps = 0;      // instructions completed on both, or device accesses with a stride of 0
    cpu::CpuState before;         // both, before the last stride
    cpu::CpuState first, second;  // after it
    std::vector<StateDifference> differences;
    // Disassembled, with CS:RIP: where the last strides began, the newest last, and what comes next on each.
    std::deque<std::string> executed;
    std::vector<std::string> next_first, next_second;
    std::string end_first, end_second;                          // how each ended, in words, if it did
    std::uint64_t memory_address = 0;                           // with `memory`: guest-physical, of the first byte
    std::uint8_t memory_first = 0, memory_second = 0;           // that byte
    std::map<std::string, std::uint64_t, std::less<>> excused;  // reasons, and how many differences each accounts for
};

// Both machines have loaded the same image and are at its entry. Interrupts of devices are held back, so that the
// clocks need not agree. Where an answer differs for a known reason (why_answers_differ), and where only flags differ
// that the instruction leaves undefined, the second machine takes over the first one's state.
LockstepResult run_lockstep(Machine& first, Machine& second, const LockstepOptions& options);

}  // namespace xenolith::machine
