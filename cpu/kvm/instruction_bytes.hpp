// What little of an instruction the engine reads itself, to tell where the guest stands (SDM vol. 2A, 2.1 and
// vol. 2B).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace xenolith::cpu {

inline constexpr std::size_t longest_instruction = 15;

// Of the byte there; a value that no byte has behind the end.
unsigned byte_of(const std::vector<std::byte>& code, std::size_t at);

// The code begins with a string instruction behind a repeat prefix.
bool is_repeated_string_instruction(const std::vector<std::byte>& code);

// The length of the HLT that the code begins with; 0 if it begins with another instruction.
std::size_t length_of_halt(const std::vector<std::byte>& code);

// The length of the WRMSR that the code begins with; 0 if it begins with another instruction.
std::size_t length_of_wrmsr(const std::vector<std::byte>& code, bool code64);

// The code begins with an OUT or OUTS of that width to the port; `dx` is the guest's.
bool begins_with_out(const std::vector<std::byte>& code, std::uint16_t port, unsigned width, std::uint16_t dx,
                     bool code64);

// The length of the OUT that the code ends with; 0 if it ends with none. `with_prefix`: the width is not the
// default of the code, so that a prefix must be in front.
unsigned length_of_out_before(const std::vector<std::byte>& code, std::uint16_t port, unsigned width, std::uint16_t dx,
                              bool with_prefix);

}  // namespace xenolith::cpu
