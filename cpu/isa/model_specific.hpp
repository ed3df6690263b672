// The model-specific registers that the CPU itself owns (SDM vol. 4; APM vol. 2, appendix A).
#pragma once

#include <cstdint>
#include <optional>

#include "cpu/processor.hpp"

namespace xenolith::cpu {

// Whether the processor's model has the register.
bool msr_implemented(const Processor& processor, std::uint32_t index);

// None where RDMSR raises #GP(0): the register does not exist, or cannot be read.
std::optional<std::uint64_t> read_msr(const Processor& processor, std::uint32_t index);

// False where WRMSR raises #GP(0), with nothing changed: no such register, or a value it does not take. What
// depends on the register is brought up to date.
bool write_msr(Processor& processor, std::uint32_t index, std::uint64_t value);

// What CPUID leaf 1 leaves in IA32_BIOS_SIGN_ID: the revision of the microcode, in the upper half (SDM vol.
// 3A, 9.11.7).
std::uint64_t microcode_revision(const CpuModel& model);

}  // namespace xenolith::cpu
