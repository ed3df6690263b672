// Runs one instruction on the host's own CPU, in user mode, with chosen registers, flags and memory: the
// oracle that the instruction rows are compared with.
//
// The code page holds a small program made when the oracle is built: it saves the caller's registers, loads
// all of the given ones (the stack pointer too), runs the instruction, stores everything, and returns. That
// page is mapped twice, writable and executable, but never both at one address. In 32-bit mode the program
// goes through a far jump to the compatibility-mode code segment that every 64-bit Linux process has; in 16-bit
// mode through that one to segments in the process's LDT, which begin at the code and around the memory. A fault
// is caught by a signal handler on a stack of its own, which resumes in the program's last part.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "cpu/state/cpu_state.hpp"

namespace xenolith::cpu {

struct NativeRegisters {
    std::array<std::uint64_t, 16> general{};
    std::uint64_t rflags = 0x202;  // only the arithmetic flags and DF may differ from this

    bool operator==(const NativeRegisters&) const = default;
};

struct NativeFault {
    unsigned vector = 0;
    std::uint32_t error_code = 0;
    std::uint64_t address = 0;     // CR2, if a page fault
    std::uint64_t rip_offset = 0;  // from the start of the instruction; 0 for a fault, its length for a trap
};

struct NativeOutcome {
    NativeRegisters registers;         // but in 64-bit mode the low halves count, and only eight registers
    std::optional<NativeFault> fault;  // then `registers` are those the fault left
    std::uint64_t rip = 0;             // behind the instruction, or where it branched to; of a fault, where it was
};

enum class NativeMode : std::uint8_t { bits64, bits32, bits16 };

// Which registers the program can load and store: x87, MMX and vector registers need XSAVE, and cost time
// when they are asked for.
enum class NativeUnits : std::uint8_t { general, all };

class NativeOracle {
  public:
    static constexpr std::size_t memory_size = 4 * 4096;

    // What CS, and DS, ES and SS, are in 16-bit mode: 64 KiB each, and the stack pointer is SP.
    static constexpr std::uint16_t code_selector_16 = 0x07, data_selector_16 = 0x0f;

    // Null where the host cannot: not x86-64, or no compatibility mode, or no LDT, or no AVX where all units are asked
    // for. There can be one oracle of 16-bit code at a time.
    static std::unique_ptr<NativeOracle> create(NativeMode mode, NativeUnits units = NativeUnits::general);
    ~NativeOracle();
    NativeOracle(const NativeOracle&) = delete;
    NativeOracle& operator=(const NativeOracle&) = delete;

    // Memory for operands and stack: below 2 GiB, page-aligned, with inaccessible pages on either side.
    std::span<std::byte, memory_size> memory();
    // This address, and all below, are offsets in a segment. Its base is 0 but in 16-bit mode.
    std::uint64_t memory_address() const;
    std::uint64_t data_base() const;
    std::uint64_t code_base() const;

    // The instruction that run() executes: 1 to 15 bytes. A near branch may lead to one of two places; one
    // that leads anywhere else faults there or is the end of this process. Nothing that calls the system, and
    // nothing that loads segment registers or ends in another code segment.
    void set_instruction(std::span<const std::byte> bytes);
    // Where it stands.
    std::uint64_t instruction_address() const;
    // Where it ends, which is the same for all, and where it may branch to.
    std::uint64_t instruction_end() const;
    std::uint64_t forward_target() const;
    std::uint64_t backward_target() const;
    NativeOutcome run(const NativeRegisters& registers);
    // The same with x87, MMX and vector registers, both ways; for an oracle of all units. Tags come back as
    // valid or empty only. In 64-bit mode, and after a fault, the selectors of the x87 pointers are zero.
    NativeOutcome run(const NativeRegisters& registers, FloatingPointState& floating_point);

  private:
    struct Pages;
    explicit NativeOracle(std::unique_ptr<Pages> pages);
    NativeOutcome run_program(const NativeRegisters& registers);

    std::unique_ptr<Pages> pages_;
};

}  // namespace xenolith::cpu
