// A few instructions of 64-bit user code on the host's CPU with breakpoints of its own: what it stops at is what
// silicon does. Linux hands the debug registers to a process's tracer (ptrace, POKEUSER).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace xenolith::test {

struct DebugStop {
    std::uint64_t rip = 0;
    std::uint64_t dr6_bits = 0;  // B0 to B3 and BS
    std::uint64_t rcx = 0;

    bool operator==(const DebugStop&) const = default;
};

struct TracedProgram {
    static constexpr std::uint64_t start = 0x10000, size = 0x20000;  // its memory: code at the start, data, stack

    std::vector<std::byte> code;                                            // ends with what raises a signal: UD2
    std::vector<std::uint64_t> registers = std::vector<std::uint64_t>(16);  // as instructions number them
    std::uint64_t rflags = 0x202;
    std::vector<std::uint64_t> debug_address = std::vector<std::uint64_t>(4);
    std::uint64_t dr7 = 0;
    bool steps = false;  // the tracer steps through it
};

// Every stop until the program's end; none if the host cannot, and `why` says why.
std::optional<std::vector<DebugStop>> run_traced(const TracedProgram& program, std::string& why);

}  // namespace xenolith::test
