// Descriptors: fetched from the GDT or LDT, checked, and loaded into segment registers (SDM vol.
// 3A, 3.4, 3.5, 5.2).
#pragma once

#include <cstdint>
#include <optional>

#include "cpu/processor.hpp"

namespace xenolith::cpu {

// Type fields of system descriptors (SDM vol. 3A, table 3-2).
namespace system_type {
inline constexpr std::uint32_t tss16_available = 0x1, ldt = 0x2, tss16_busy = 0x3, call_gate16 = 0x4, task_gate = 0x5,
                               interrupt_gate16 = 0x6, trap_gate16 = 0x7, tss32_available = 0x9, tss32_busy = 0xb,
                               call_gate32 = 0xc, interrupt_gate32 = 0xe, trap_gate32 = 0xf;
}  // namespace system_type

constexpr bool is_null(std::uint16_t selector) { return (selector & 0xfffc) == 0; }
constexpr unsigned requested_privilege(std::uint16_t selector) { return selector & 3; }
constexpr bool in_local_table(std::uint16_t selector) { return (selector & 4) != 0; }

// The error code that names a selector; `external` is 1 while an event from outside the program is delivered
// (SDM vol. 3A, 6.13).
constexpr std::uint32_t selector_error(std::uint16_t selector, std::uint32_t external = 0) {
    return (selector & 0xfffcu) | external;
}

// A descriptor as memory holds it. `high` is the second half of a 16-byte descriptor of IA-32e mode, else
// zero.
struct Descriptor {
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    std::uint64_t linear = 0;  // where it stands

    constexpr SegmentAttributes attributes() const { return {static_cast<std::uint32_t>(low >> 40 & 0xf0ff)}; }
    constexpr std::uint64_t base() const {
        return (low >> 16 & 0xffffff) | (low >> 56) << 24 | (high & 0xffffffff) << 32;
    }
    constexpr std::uint32_t limit() const {
        const auto raw = static_cast<std::uint32_t>((low & 0xffff) | (low >> 32 & 0xf0000));
        return attributes().granular() ? raw << 12 | 0xfff : raw;
    }
    constexpr bool is_tss() const { return attributes().is_system() && (attributes().type() & 0x5) == 0x1; }
    // Of a gate (SDM vol. 3A, figures 5-8 and 6-2, 6-8).
    constexpr std::uint16_t target_selector() const { return static_cast<std::uint16_t>(low >> 16); }
    constexpr std::uint64_t target_offset() const { return (low & 0xffff) | (low >> 32 & 0xffff0000) | high << 32; }
    constexpr unsigned parameter_count() const { return low >> 32 & 0x1f; }
    constexpr unsigned interrupt_stack() const { return low >> 32 & 7; }
    // What a segment register holds after loading it, the accessed bit of a code or data segment set.
    constexpr SegmentRegister as_register(std::uint16_t selector) const {
        SegmentAttributes loaded = attributes();
        if (loaded.is_code_or_data()) loaded.bits |= 1;
        return {selector, base(), limit(), loaded};
    }
};

// The eight bytes a selector names; none if they are beyond the table's limit, or the LDT is null. The
// selector's being null is the caller's to check. Raises #PF.
std::optional<Descriptor> find_descriptor(Processor& processor, std::uint16_t selector);
// The same, raising `vector` with the selector as error code where there is none.
Descriptor fetch_descriptor(Processor& processor, std::uint16_t selector, Vector vector, std::uint32_t external = 0);
// Reads the upper half of a system descriptor in IA-32e mode. False if it is beyond the limit or is not one
// (bits 12:8 of its last doubleword are a type field and must be zero).
bool read_upper_half(Processor& processor, std::uint16_t selector, Descriptor& descriptor);
// Sets the accessed bit in memory unless it is set.
void mark_accessed(Processor& processor, const Descriptor& descriptor);
// Sets or clears the busy bit of a TSS descriptor in memory.
void mark_busy(Processor& processor, const Descriptor& descriptor, bool busy);

// Loads ES, SS, DS, FS or GS as MOV and POP do, in any mode: #GP, #NP or #SS with the selector, #GP(0) for a
// null SS. CS is loaded by control transfers alone. Nothing is changed when it raises.
void load_segment(Processor& processor, SegmentName name, std::uint16_t selector);
// Loads any segment register, CS too, the way real mode and VM86 do: no descriptor is read.
void load_real_segment(Processor& processor, SegmentName name, std::uint16_t selector);

// The checks of SS for a stack used at `cpl` (SDM vol. 3A, 5.7). Raises `bad` or #SS with the selector.
Descriptor fetch_stack_segment(Processor& processor, std::uint16_t selector, unsigned cpl, Vector bad,
                               std::uint32_t external = 0);
// A null SS, as 64-bit mode allows at CPL 0 to 2; its DPL field holds the CPL.
SegmentRegister null_stack_segment(std::uint16_t selector, unsigned cpl);
// A data segment register after a null selector was loaded.
SegmentRegister null_segment(std::uint16_t selector);

// A code segment that IA-32e mode cannot run: both L and D set. Always false outside IA-32e mode.
bool has_reserved_code_size(const Processor& processor, const SegmentAttributes& attributes);
// Raises #GP(error_code) unless `offset` can be an instruction pointer in `code`: within its limit, or
// canonical.
void check_code_target(Processor& processor, const SegmentRegister& code, std::uint64_t offset,
                       std::uint32_t error_code);
// After a return to an outer privilege level: data segments the new level may not hold become null
// (SDM vol. 3A, 5.8.6).
void drop_privileged_segments(Processor& processor, unsigned cpl);

// LLDT and LTR (SDM vol. 2A). Raises #GP or #NP with the selector; nothing is changed then.
void load_ldtr(Processor& processor, std::uint16_t selector);
void load_tr(Processor& processor, std::uint16_t selector);

// What LAR, LSL, VERR and VERW find out; none or false where they clear ZF.
std::optional<std::uint32_t> access_rights(Processor& processor, std::uint16_t selector);
std::optional<std::uint32_t> segment_limit(Processor& processor, std::uint16_t selector);
bool may_read_segment(Processor& processor, std::uint16_t selector);
bool may_write_segment(Processor& processor, std::uint16_t selector);

}  // namespace xenolith::cpu
