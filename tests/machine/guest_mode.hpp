// The modes guest code of the tests begins in, and the tables in guest memory that every one of them needs.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "cpu/state/cpu_state.hpp"
#include "mmu/guest_memory.hpp"

namespace xenolith::machine::test {

enum class GuestMode : std::uint8_t {
    real,
    vm86,         // the program of a 32-bit protected-mode monitor
    protected16,  // 16-bit code and stack segments
    protected32,  // no paging
    paged32,      // 2-level paging
    pae32,
    long64,
    compatibility32,  // 32-bit code while EFER.LMA = 1
    compatibility16,
    user32,  // CPL 3 with 2-level paging
    user64,  // CPL 3 in 64-bit mode
};

constexpr std::string_view guest_mode_name(GuestMode mode) {
    constexpr std::string_view names[] = {"real",  "vm86",   "protected16",     "protected32",     "paged32",
                                          "pae32", "long64", "compatibility32", "compatibility16", "user32",
                                          "user64"};
    return names[static_cast<unsigned>(mode)];
}

inline constexpr std::array every_mode = {
    GuestMode::real,   GuestMode::vm86,   GuestMode::protected16,     GuestMode::protected32,     GuestMode::paged32,
    GuestMode::pae32,  GuestMode::long64, GuestMode::compatibility32, GuestMode::compatibility16, GuestMode::user32,
    GuestMode::user64,
};
// CPL 0, so that WRMSR reaches the trap.
inline constexpr std::array privileged_modes = {
    GuestMode::real,  GuestMode::protected16, GuestMode::protected32,     GuestMode::paged32,
    GuestMode::pae32, GuestMode::long64,      GuestMode::compatibility32, GuestMode::compatibility16,
};
inline constexpr std::array unprivileged_modes = {GuestMode::vm86, GuestMode::user32, GuestMode::user64};

unsigned code_width(GuestMode mode);    // 16, 32 or 64
bool long_mode_active(GuestMode mode);  // EFER.LMA
bool is_privileged(GuestMode mode);
cpu::Mode architectural_mode(GuestMode mode);

// Guest-physical addresses of everything that tests put into memory. What programs use lies below 64 KiB, so
// that 16-bit code reaches it.
namespace layout {
inline constexpr mmu::GuestPhysical vectors{0x0};  // of real mode
inline constexpr mmu::GuestPhysical descriptors{0x1000}, task32{0x1400}, task64{0x1500};
inline constexpr mmu::GuestPhysical gates32{0x2000}, gates64{0x3000};
inline constexpr mmu::GuestPhysical handlers{0x4000};
inline constexpr mmu::GuestPhysical stacks{0x6000};         // two pages: the handlers', then the program's
inline constexpr mmu::GuestPhysical handler_stack{0x7000};  // the tops
inline constexpr mmu::GuestPhysical program_stack{0x8000};
inline constexpr std::uint64_t stacks_size = 0x2000;
inline constexpr mmu::GuestPhysical program{0x8000}, second_program{0x9000};
inline constexpr mmu::GuestPhysical before_target{0xb000}, target{0xc000}, after_target{0xd000}, data{0xe000};
inline constexpr mmu::GuestPhysical page_tables{0x20000};
inline constexpr mmu::GuestPhysical pae_pointers = page_tables + 0x2000;  // four entries
}  // namespace layout

// Modes with paging map linear 0 and linear 1 GiB to the first 2 MiB of memory (4 MiB with 2-level paging).
// Programs run in the upper mapping, so that the physical address in an MSR is not the linear one.
std::uint64_t linear_address(GuestMode mode, mmu::GuestPhysical physical);
// The offset in the mode's code segment that reaches the address.
std::uint64_t code_offset(GuestMode mode, mmu::GuestPhysical physical);

// Writes descriptors, gates, task-state segments, page tables and exception handlers for all modes. Accessed
// and dirty bits are set beforehand: running code changes nothing in them.
void write_tables(mmu::GuestMemory& memory);
// Whether a page differs only in accessed bits of PAE's page-directory pointers. No CPU has those; QEMU's TCG sets them
// when it plays the host of a KVM.
bool only_accessed_bits(mmu::GuestPhysical page, std::span<const std::byte> before, std::span<const std::byte> now);
// The state in which code at `program` begins, with that stack. Interrupts are off, and the registers hold a
// pattern.
cpu::CpuState entry_state(GuestMode mode, mmu::GuestPhysical program,
                          mmu::GuestPhysical stack_top = layout::program_stack);

// What a handler found when it was entered, as it wrote it down in memory before it halted.
struct Trap {
    unsigned vector = 0;
    std::optional<std::uint64_t> error_code;  // real mode has none
    std::uint16_t cs = 0;
    std::uint64_t rip = 0, rflags = 0;
    std::array<std::uint64_t, 16> registers{};  // 32 bits of the first eight, outside long mode; RSP only in it
};
// `state` is that of a CPU halted in a handler; empty if it halted elsewhere.
std::optional<Trap> read_trap(const mmu::GuestMemory& memory, GuestMode mode, const cpu::CpuState& state);

}  // namespace xenolith::machine::test
