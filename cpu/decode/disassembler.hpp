// Bytes as text, in Intel syntax, for the timeline and `xenolith blob show`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace xenolith::cpu {

struct Disassembled {
    std::string text;     // "(bad)" where the bytes are no instruction
    unsigned length = 1;  // bytes consumed
};

// `width` is the code width: 16, 32 or 64. `rip` is where the bytes lie, for branch targets.
Disassembled disassemble(std::span<const std::byte> bytes, unsigned width, std::uint64_t rip);

// Flags that the instruction leaves undefined; none where the bytes are no instruction.
std::uint64_t undefined_flags(std::span<const std::byte> bytes, unsigned width);

}  // namespace xenolith::cpu
