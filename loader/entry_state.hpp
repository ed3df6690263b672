// The states in which boot protocols enter a guest, and the tables in guest memory that go with them.
#pragma once

#include <cstdint>

#include "cpu/state/cpu_state.hpp"
#include "loader/layout.hpp"
#include "loader/placement.hpp"

namespace xenolith::loader {

// Real mode as firmware leaves it, interrupts off; DS and ES are as CS.
cpu::CpuState real_mode_entry(std::uint16_t code_selector, std::uint16_t instruction_pointer,
                              std::uint16_t stack_selector, std::uint16_t stack_pointer);

// Writes GDT and TSS into the boot area. 32-bit protected mode without paging, flat 4 GiB segments, ESP = the
// boot area's stack.
cpu::CpuState protected_mode_entry(const ImageFile& image, Placement& placement, const BootArea& area,
                                   std::uint32_t instruction_pointer);

// Writes GDT, TSS and page tables into the boot area. 64-bit mode, the first 4 GiB identity-mapped.
cpu::CpuState long_mode_entry(const ImageFile& image, Placement& placement, const BootArea& area,
                              std::uint64_t instruction_pointer);

}  // namespace xenolith::loader
