// Operand values, drawn mostly from those at which something changes: carries, signs, formats, rounding,
// exceptions.
#pragma once

#include <array>
#include <cstdint>

#include "cpu/fuzz/random.hpp"
#include "cpu/state/cpu_state.hpp"

namespace xenolith::cpu::fuzz {

// What an operand holds.
enum class ValueKind : std::uint8_t { integer, real16, real32, real64, real80, decimal, any };

// At an edge of one of the widths of 8 to 64 bits.
std::uint64_t edge_integer(Random& random);
// Eight bytes of elements of that kind; for real80 and decimal the lower eight.
std::uint64_t edge_word(Random& random, ValueKind kind);
X87Register edge_real80(Random& random);
// Ten bytes of packed decimal digits.
std::array<std::uint64_t, 2> edge_decimal(Random& random);

// Control, status, tags and registers that a program may have left; an unmasked exception is pending now and
// then.
void edge_x87(Random& random, FloatingPointState& state);
// The value of MXCSR.
std::uint32_t edge_mxcsr(Random& random);

}  // namespace xenolith::cpu::fuzz
