// Writes to control and debug registers, with all checks and consequences (SDM vol. 3A, 2.5; vol. 3B, 17.2).
#pragma once

#include <cstdint>

#include "cpu/processor.hpp"

namespace xenolith::cpu {

// Each raises #GP(0) with nothing changed, or writes the register and recomputes, reloads and flushes what
// depends on it. The privilege level has been checked.
void write_cr0(Processor& processor, std::uint64_t value);
void write_cr3(Processor& processor, std::uint64_t value);
void write_cr4(Processor& processor, std::uint64_t value);
void write_cr8(Processor& processor, std::uint64_t value);

// Moves to and from DR0 to DR7; 4 and 5 stand for 6 and 7 unless CR4.DE is set, then they raise #UD. With
// DR7.GD set any access raises #DB. `number` is 0 to 7.
std::uint64_t read_debug_register(Processor& processor, unsigned number);
void write_debug_register(Processor& processor, unsigned number, std::uint64_t value);

}  // namespace xenolith::cpu
