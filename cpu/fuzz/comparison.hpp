// What counts as a difference: everything but what the manuals leave undefined.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/fuzz/trial.hpp"

namespace xenolith::cpu::fuzz {

// Flags whose value the manuals leave open for this encoding from this state. Zydis knows them by
// instruction; where they depend on a count, the manual's own rules come first.
std::uint64_t undefined_flags(const Encoding& encoding, const NativeRegisters& start);
// The result itself is undefined: nothing can be compared.
bool is_undefined(const Encoding& encoding, const NativeRegisters& start);

// Appends what differs, but for memory.
void compare(const Encoding& encoding, const State& start, const Outcome& ours, const Outcome& theirs,
             std::vector<Field>& fields);
// Appends the first few words of memory that differ. `before` is the memory at the start, if it is known.
void compare_memory(std::span<const std::byte, memory_size> ours, std::span<const std::byte, memory_size> theirs,
                    std::vector<Field>& fields);

}  // namespace xenolith::cpu::fuzz
