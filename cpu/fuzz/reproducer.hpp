// A whole test as one line of text that can be pasted, and how to make it small.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cpu/fuzz/trial.hpp"

namespace xenolith::cpu::fuzz {

struct Reproducer {
    DecodeMode mode = DecodeMode::long64;
    std::vector<std::uint8_t> code;
    State state;
    std::array<std::byte, memory_size> memory{};

    // The state that a line leaves unsaid: registers zero, FINIT, all exceptions masked, memory zero.
    static Reproducer blank();
};

// "mode=long64 code=480fafc3 rax=1 rbx=2 rflags=246 m1800=ff". Numbers are hexadecimal; m is followed by the
// offset in the operand memory of a word of eight bytes.
std::string to_line(const Reproducer& reproducer);
// std::invalid_argument says what is wrong with the line.
std::unique_ptr<Reproducer> from_line(std::string_view line);

// What must not be made simpler, because the host has things of its own at other addresses.
struct Kept {
    bool addresses = false;  // registers that may be addresses of the operand memory
    int number = -1;         // of a general register; -1 for none
};

// Sets whatever it can to the blank state's value, or a simpler one, while `fails` stays true.
void shrink(Reproducer& reproducer, const Layout& layout, Kept kept,
            const std::function<bool(const Reproducer&)>& fails);

// For branches, which must go on leading to where they do: clears all memory but what is an address to branch
// to.
void forget_background(Reproducer& reproducer, const Layout& layout,
                       const std::function<bool(const Reproducer&)>& fails);

}  // namespace xenolith::cpu::fuzz
