// The page walk: a linear address becomes a physical one, or a page fault with its exact error code.
#pragma once

#include <array>
#include <cstdint>
#include <variant>
#include <vector>

#include "mmu/address.hpp"
#include "mmu/guest_memory.hpp"

namespace xenolith::mmu {

enum class Access : std::uint8_t { read, write, execute };

// Everything the walk asks of a CPU, as values (Intel SDM vol. 3A, chapter 4).
struct PagingContext {
    std::uint64_t cr0 = 0;
    std::uint64_t cr3 = 0;
    std::uint64_t cr4 = 0;
    std::uint64_t efer = 0;
    std::array<std::uint64_t, 4> pdpte{};     // the PDPTE registers, as MOV CR3 loaded them (PAE paging only)
    std::uint8_t physical_address_bits = 46;  // MAXPHYADDR
    bool gigabyte_pages = true;               // CPUID 80000001H:EDX[26]
    bool pse36 = true;                        // CPUID 1:EDX[17]
};

// Who accesses: user code (CPL 3), supervisor code, or the CPU itself on a system structure (an implicit supervisor
// access, which SMAP refuses even when RFLAGS.AC is set).
enum class Privilege : std::uint8_t { supervisor, supervisor_ac, implicit_supervisor, user };

// Page-fault error code bits (SDM vol. 3A, 4.7).
namespace page_fault_bit {
inline constexpr std::uint32_t present = 1u << 0;
inline constexpr std::uint32_t write = 1u << 1;
inline constexpr std::uint32_t user = 1u << 2;
inline constexpr std::uint32_t reserved = 1u << 3;
inline constexpr std::uint32_t instruction = 1u << 4;
}  // namespace page_fault_bit

struct Translation {
    GuestPhysical physical;      // of the byte asked for
    std::uint64_t mapping_size;  // bytes the leaf entry maps: 4 KiB, 2 MiB, 4 MiB or 1 GiB
    std::uint8_t entries_read;   // paging-structure entries read from memory: the walk's cost
    bool write_allowed;          // a write by the same privilege needs no further walk (rights and D bit are there)
    bool execute_allowed;
    bool global;  // survives a CR3 load while CR4.PGE = 1
};

struct PageFaultInformation {
    std::uint32_t error_code;
};

// Walks the page tables in guest memory, sets accessed and dirty bits only when the whole access is allowed, and
// gives the translation of `address`. With CR0.PG = 0 the linear address is the physical one. Entries are read
// through GuestMemory: what is not RAM or ROM reads as ones.
std::variant<Translation, PageFaultInformation> walk(GuestMemory& memory, const PagingContext& context,
                                                     GuestLinear address, Access access, Privilege privilege);

// The same without side effects and without access checks: for debuggers and the timeline. False if not mapped.
bool translate_quietly(const GuestMemory& memory, const PagingContext& context, GuestLinear address,
                       GuestPhysical& physical);

// One paging-structure entry that a walk comes by.
struct WalkedEntry {
    GuestPhysical address;          // of the entry; not with `in_register`
    std::uint64_t value = 0;        // narrow entries in the low half
    std::uint8_t index_shift = 12;  // the lowest bit of the linear address that chose it: 39, 30, 22 or 21, 12
    bool in_register = false;       // a PDPTE register of PAE paging
};

// A walk to be looked at, as a debugger shows it: no side effects, and rights told instead of judged.
struct WalkTrace {
    enum class Ending : std::uint8_t { no_paging, mapped, not_present, reserved_bit };
    Ending ending = Ending::no_paging;
    std::vector<WalkedEntry> entries;  // from the root; the last one is where the walk ended
    GuestPhysical physical;            // of the byte asked for, and
    std::uint64_t mapping_size = 0;    // bytes the leaf maps: both only if mapped
    // What all the entries together allow (SDM vol. 3A, 4.6).
    bool user = false, writable = false, executable = false;
};

WalkTrace trace_walk(const GuestMemory& memory, const PagingContext& context, GuestLinear address);

// Loads the four PDPTEs that PAE paging uses from CR3 (SDM vol. 3A, 4.4.1). False if a present one has a reserved
// bit set or memory could not be read: the caller raises #GP(0) and keeps the old registers.
bool load_pdptes(const GuestMemory& memory, std::uint64_t cr3, std::uint8_t physical_address_bits,
                 std::array<std::uint64_t, 4>& pdpte);

}  // namespace xenolith::mmu
