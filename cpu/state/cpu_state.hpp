// The whole architectural state of one logical processor, as plain data that any engine can take and give back.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "cpu/state/registers.hpp"
#include "cpu/state/segment.hpp"

namespace xenolith::cpu {

// What the timeline and users call an operating mode (SDM vol. 3A, 2.2).
enum class Mode : std::uint8_t { real, vm86, protected16, protected32, compatibility, long64 };
constexpr std::string_view mode_name(Mode mode) {
    constexpr std::string_view names[] = {"real", "vm86", "protected16", "protected32", "compatibility", "long"};
    return names[static_cast<unsigned>(mode)];
}

// An 80-bit x87 register, stored as FXSAVE stores it; the upper six bytes are always zero.
struct X87Register {
    std::uint64_t significand = 0;
    std::uint16_t sign_exponent = 0;

    constexpr bool operator==(const X87Register&) const = default;
};

struct FloatingPointState {
    std::array<X87Register, 8> registers{};  // physical R0..R7, not relative to the top of the stack
    std::uint16_t control = 0x0040;          // value after RESET (SDM vol. 3A, table 9-1)
    std::uint16_t status = 0;
    std::uint16_t tag = 0x5555;  // the full 16-bit tag word
    std::uint16_t opcode = 0;
    std::uint64_t instruction_pointer = 0;
    std::uint16_t instruction_selector = 0;
    std::uint64_t data_pointer = 0;
    std::uint16_t data_selector = 0;
    std::uint32_t mxcsr = 0x1f80;
    std::array<std::array<std::uint64_t, 4>, 16> vector{};  // YMM0..15; the XMM register is the first two words

    constexpr bool operator==(const FloatingPointState&) const = default;
};

enum class Activity : std::uint8_t { running, halted, waiting_for_sipi, shutdown };

// Model-specific registers that are state of the CPU itself and not kept elsewhere in CpuState.
struct ModelSpecificRegisters {
    std::uint64_t efer = 0;
    std::uint64_t star = 0, lstar = 0, cstar = 0, sfmask = 0, kernel_gs_base = 0;
    std::uint64_t sysenter_cs = 0, sysenter_esp = 0, sysenter_eip = 0;
    std::uint64_t tsc_offset = 0;  // TSC = cycles + offset
    std::uint64_t tsc_adjust = 0;
    std::uint64_t tsc_aux = 0;
    std::uint64_t apic_base = 0xfee00900;  // enabled, bootstrap processor
    std::uint64_t pat = 0x0007040600070406;
    std::uint64_t misc_enable = 1;  // fast strings
    std::uint64_t mtrr_def_type = 0;
    std::array<std::uint64_t, 20> mtrr_variable{};  // base, mask pairs
    std::array<std::uint64_t, 11> mtrr_fixed{};
    std::uint64_t bios_sign_id = 0;
    std::uint64_t debugctl = 0;
    std::uint64_t mcg_status = 0;
    std::uint64_t xss = 0;

    bool operator==(const ModelSpecificRegisters&) const = default;
};

struct CpuState {
    // Slots 0..15 are the general registers. Slot 16 always reads zero, so that an absent base or index register
    // costs no branch; slot 17 is scratch for an engine (the interpreter keeps its block's start RIP there).
    static constexpr unsigned zero_slot = 16;
    static constexpr unsigned rip_slot = 17;
    std::array<std::uint64_t, 18> registers{};

    std::uint64_t rip = 0;
    std::uint64_t rflags = rflags::fixed_one;

    std::array<SegmentRegister, 6> segments{};  // by SegmentName
    SegmentRegister ldtr, tr;
    DescriptorTable gdtr, idtr;

    std::uint64_t cr0 = 0, cr2 = 0, cr3 = 0, cr4 = 0, cr8 = 0;
    std::uint64_t xcr0 = 1;
    std::array<std::uint64_t, 4> pdpte{};
    std::array<std::uint64_t, 4> debug_address{};  // DR0..DR3
    std::uint64_t dr6 = dr6::fixed_ones, dr7 = dr7::fixed_one;

    ModelSpecificRegisters msr;
    FloatingPointState floating_point;

    Activity activity = Activity::running;
    bool interrupt_shadow = false;  // the instruction after STI or MOV/POP SS (SDM vol. 3A, 6.8.3)
    bool debug_shadow = false;      // of those, the one after MOV/POP SS: debug exceptions wait too
    bool nmi_blocked = false;       // until the next IRET
    bool nmi_pending = false;
    // DR6 bits of a debug trap that is due before the next instruction, or behind it if that one is shadowed.
    std::uint64_t pending_debug = 0;

    SegmentRegister& segment(SegmentName name) { return segments[static_cast<unsigned>(name)]; }
    const SegmentRegister& segment(SegmentName name) const { return segments[static_cast<unsigned>(name)]; }

    bool in_protected_mode() const { return (cr0 & cr0::pe) != 0; }
    bool in_vm86() const { return (rflags & rflags::vm) != 0 && in_protected_mode(); }
    bool in_real_mode() const { return !in_protected_mode(); }
    bool in_long_mode() const { return (msr.efer & efer::lma) != 0; }  // IA-32e mode, compatibility code included
    bool in_64bit_code() const { return in_long_mode() && segment(SegmentName::cs).attributes.long_mode(); }
    bool paging() const { return (cr0 & cr0::pg) != 0; }
    // The current privilege level: 0 in real mode, 3 in VM86, else the DPL of SS (SDM vol. 3A, 5.5).
    unsigned cpl() const {
        if (in_real_mode()) return 0;
        if (in_vm86()) return 3;
        return segment(SegmentName::ss).attributes.dpl();
    }
    Mode mode() const {
        if (in_real_mode()) return Mode::real;
        if (in_vm86()) return Mode::vm86;
        const SegmentAttributes code = segment(SegmentName::cs).attributes;
        if (in_long_mode()) return code.long_mode() ? Mode::long64 : Mode::compatibility;
        return code.default_big() ? Mode::protected32 : Mode::protected16;
    }
    // The linear address of an offset in CS (SDM vol. 3A, 3.4.2 and 3.4.4).
    std::uint64_t code_linear(std::uint64_t offset) const {
        return in_64bit_code() ? offset : (segment(SegmentName::cs).base + offset) & 0xffffffff;
    }
    // Bits of a default operand: 16, 32 or 64 (the width of RIP in use).
    unsigned code_width() const {
        if (in_64bit_code()) return 64;
        return segment(SegmentName::cs).attributes.default_big() ? 32 : 16;
    }

    bool operator==(const CpuState&) const = default;
};

// The state after RESET (SDM vol. 3A, 9.1.1): real mode, CS:IP = F000:FFF0 with base FFFF0000H.
CpuState reset_state();

// Segment registers as real mode (and VM86, with DPL 3) has them: base = selector * 16, limit 64 KiB.
SegmentRegister real_mode_segment(std::uint16_t selector);
// Flat 4 GiB segments as boot protocols ask for them. `code_width` is 16, 32 or 64.
SegmentRegister flat_code_segment(std::uint16_t selector, unsigned code_width, unsigned dpl = 0);
SegmentRegister flat_data_segment(std::uint16_t selector, unsigned dpl = 0);

}  // namespace xenolith::cpu
