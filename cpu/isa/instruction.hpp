// A decoded instruction in the compact form that engines cache: operands resolved, the execute function chosen.
#pragma once

#include <array>
#include <cstdint>

#include "cpu/state/registers.hpp"

namespace xenolith::cpu {

class Processor;
struct Instruction;

// What an instruction does. Throws Fault with the state unchanged, or completes. On return RIP is only written by
// instructions whose row says `transfers_control`.
using Execute = void (*)(Processor&, const Instruction&);

// Four words are a YMM register, the first two of them an XMM register. An operation reads what it needs of its
// sources and of `to`, the destination as it was, and writes the 16 or 32 bytes it makes. Sources may be `to` itself.
using Vector256 = std::array<std::uint64_t, 4>;
using VectorOperation = void (*)(Vector256& to, const Vector256& first, const Vector256& second,
                                 std::uint64_t immediate);

enum class AddressSize : std::uint8_t { bits16, bits32, bits64 };
enum class Repeat : std::uint8_t { none, repe, repne };  // REP is encoded as REPE

struct Instruction {
    Execute execute = nullptr;
    VectorOperation operation = nullptr;  // what a vector instruction computes; `execute` moves its operands
    std::uint64_t immediate = 0;  // sign-extended to 64 bits where the instruction does so; ENTER: level << 16 | size;
                                  // far pointer: selector << 32 | offset; near branch: the signed displacement;
                                  // x87: the 11 bits of the last-instruction opcode
    std::int64_t displacement = 0;  // of the memory operand; with a RIP-relative base it counts from the block's start
    // Register operands by their position among the visible operands. General registers: the byte offset in
    // CpuState::registers (so AH is 1 and SIL is 48); every other kind of register: its number. Where there is an
    // `operation`: destination, first and second source, mask.
    std::uint8_t registers[4] = {};
    std::uint8_t base = 16;  // slots of CpuState::registers; 16 where there is none
    std::uint8_t index = 16;
    std::uint8_t scale_shift = 0;           // index is shifted left by this
    SegmentName segment = SegmentName::ds;  // of the memory operand, override applied
    AddressSize address_size = AddressSize::bits32;
    Repeat repeat = Repeat::none;
    std::uint8_t width = 0;              // operand size in bytes: 1, 2, 4 or 8
    std::uint8_t stack_width = 0;        // bytes of SP in use follow SS.B; this is what PUSH and POP move
    std::uint8_t length = 0;             // bytes of the encoding
    std::uint8_t ordinal = 0;            // position in its block
    mutable bool last : 1 = false;       // the block ends here; set when what it accesses is watched
    bool transfers_control : 1 = false;  // execute writes RIP
    bool delivery_point : 1 = false;     // interrupts and deadlines are taken behind it
    bool segment_override : 1 = false;
    bool lock : 1 = false;
    bool has_memory : 1 = false;
    std::uint16_t start = 0;        // byte offset from the block's start
    std::uint32_t cost = 0;         // cycles, a pure function of the encoding and the timing preset
    std::uint32_t cost_before = 0;  // of the instructions before it in its block

    std::uint32_t end() const { return start + length; }
};

}  // namespace xenolith::cpu
