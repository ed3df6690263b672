// A CPU state as a list of named numbers, to be shown and compared: and what two engines may differ in, in one place.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cpu/state/cpu_state.hpp"

namespace xenolith::machine {

struct StateField {
    std::string name;
    std::uint64_t value = 0;
};

// In an order fit for reading, the same for every state. Left out is what engines do not all hold: hidden descriptor
// bits that nothing can see, the clock, cached translations. x87 tags say only whether a register is empty.
std::vector<StateField> state_fields(const cpu::CpuState& state);

struct StateDifference {
    std::string name;
    std::uint64_t first = 0, second = 0;
};

// Fields that differ; `ignored_flags` are bits of RFLAGS that do not count.
std::vector<StateDifference> compare_states(const cpu::CpuState& first, const cpu::CpuState& second,
                                            std::uint64_t ignored_flags);

// Why the registers that an instruction writes need not be the same on two engines (RDTSC, CPUID ...); empty if they
// have to be.
std::string_view why_answers_differ(std::string_view disassembled);

}  // namespace xenolith::machine
