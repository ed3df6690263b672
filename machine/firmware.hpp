// What firmware leaves in memory for a system that it starts, as far as systems look for it without a firmware.
#pragma once

#include "mmu/guest_memory.hpp"

namespace xenolith::machine {

// The BIOS data area, and real-mode interrupt vectors that all lead to short handlers in the firmware area: hardware
// interrupts are acknowledged, and BIOS calls answer that there is no such function (carry set, AH = 86h).
void write_firmware(mmu::GuestMemory& memory);

}  // namespace xenolith::machine
