// One test: the state it starts from, what each side made of it, and where they differ.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cpu/fuzz/encoding.hpp"
#include "cpu/native/native_oracle.hpp"
#include "cpu/state/cpu_state.hpp"

namespace xenolith::cpu::fuzz {

inline constexpr std::size_t memory_size = NativeOracle::memory_size;

// Where things are: fixed for all tests of a run.
struct Layout {
    std::uint64_t memory = 0;                    // offset of the operand memory in DS, ES and SS
    std::uint64_t instruction_end = 0;           // every instruction ends here
    std::uint64_t forward = 0, backward = 0;     // what branches may lead to
    bool is_guarded = true;                      // what is next to the memory faults
    std::uint64_t code_base = 0, data_base = 0;  // of the segments
};

struct State {
    NativeRegisters registers;
    FloatingPointState floating_point;
};

// Bytes to be laid into the memory before the test.
struct Patch {
    std::uint32_t offset = 0;
    std::uint32_t size = 0;
    std::array<std::uint64_t, 8> value{};
};

struct Outcome {
    NativeOutcome cpu;
    FloatingPointState floating_point;
};

enum class Part : std::uint8_t {
    fault,
    fault_code,
    fault_address,
    rip,
    general,
    flags,
    x87_control,
    x87_status,
    x87_tag,
    x87_opcode,
    x87_instruction,
    x87_data,
    x87_selectors,
    x87_register,
    mxcsr,
    vector,
    memory,
};

// Where the last x87 instruction and its operand were.
constexpr bool is_x87_pointer(Part part) {
    return part == Part::x87_opcode || part == Part::x87_instruction || part == Part::x87_data ||
           part == Part::x87_selectors;
}

inline constexpr std::uint64_t no_fault = 0xfff;  // in the place of a vector

std::string_view general_register_name(unsigned number);

// One place where the two sides differ.
struct Field {
    Part part;
    unsigned number = 0;  // of the register; byte offset in the memory
    std::uint64_t ours = 0, theirs = 0, start = 0;
    unsigned word = 0;  // of a vector register, or an x87 register's exponent

    std::string name() const;
    // "rax: 1, the host has 2, at the start 0"
    std::string text() const;
};

// One side: it executes an encoding that was prepared, from a state, on its own memory.
class Subject {
  public:
    virtual ~Subject() = default;
    virtual void prepare(const Encoding& encoding) = 0;
    // `outcome.floating_point` is written only if the encoding uses it.
    virtual void run(const State& start, Outcome& outcome) = 0;
    virtual std::span<std::byte, memory_size> memory() = 0;
};

}  // namespace xenolith::cpu::fuzz
