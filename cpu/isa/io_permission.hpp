// May the running code touch an I/O port? (SDM vol. 1, chapter 19)
#pragma once

#include <cstdint>

#include "cpu/processor.hpp"

namespace xenolith::cpu {

// Raises #GP(0) unless IOPL, or the permission bitmap of the current TSS, allows `width` ports from `port`
// on. `width` is 1, 2 or 4.
void check_io_permission(Processor& processor, std::uint16_t port, unsigned width);

}  // namespace xenolith::cpu
