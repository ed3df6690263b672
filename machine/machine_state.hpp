// Everything about a machine that a guest could notice, memory apart, as plain data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "cpu/engine.hpp"
#include "cpu/state/cpu_state.hpp"
#include "machine/board.hpp"
#include "xen/hvm_config.hpp"

namespace xenolith::machine {

struct MachineState {
    cpu::CpuState cpu;
    cpu::EngineMemory engine;
    std::uint64_t clock = 0;  // cycles
    std::uint64_t traps = 0;
    std::optional<xen::HvmConfig> trap;  // with Xen
    std::optional<bool> latched_long_mode;
    bool page_written = false, direct_call_remarked = false;
    Board::State board;
    std::map<std::uint16_t, std::vector<std::byte>> firmware_items;
};

}  // namespace xenolith::machine
