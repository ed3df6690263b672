// What instructions, memory, page walks and traps cost, in cycles of the virtual clock, by named preset.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "cpu/isa/row.hpp"

namespace xenolith::cpu {

// The four parts of a trap into the hypervisor, in cycles: leaving the guest, finding out why, copying the hypercall
// page (0 for any other trap), and entering the guest again.
struct TrapCost {
    std::uint64_t exit = 0;
    std::uint64_t dispatch = 0;
    std::uint64_t copy = 0;
    std::uint64_t entry = 0;

    constexpr std::uint64_t total() const { return exit + dispatch + copy + entry; }
    constexpr bool operator==(const TrapCost&) const = default;
};

struct Timing {
    std::string_view name;
    std::string_view description;
    std::array<std::uint16_t, static_cast<unsigned>(CostClass::count)> instruction;  // by CostClass
    std::uint16_t load;                // added for a memory operand that is read
    std::uint16_t store;               // added for one that is written
    std::uint16_t page_walk_entry;     // for each paging-structure entry a TLB miss reads
    std::uint16_t string_iteration;    // for each element a string instruction moves or compares
    std::uint16_t branch_taken;        // added when a branch is taken
    std::uint16_t interrupt_delivery;  // entering a handler through the IDT, beside the memory it touches
    TrapCost trap;                     // `copy` is what one hypercall page costs
    std::uint64_t frequency;           // of the virtual clock and the TSC, in Hz

    std::uint16_t cost_of(CostClass cost) const { return instruction[static_cast<unsigned>(cost)]; }
    // A trap that copies no page.
    TrapCost plain_trap() const { return {trap.exit, trap.dispatch, 0, trap.entry}; }
};

// The presets: `nehalem` (2009, when the hypercall MSR trap was new) and `modern`.
std::span<const Timing> timing_presets();
// Null if there is none of that name.
const Timing* find_timing(std::string_view name);

}  // namespace xenolith::cpu
