// The round trip of a trap, exit to entry, is 1009 cycles on Nehalem (Agesen, Mattson, Rugina, Sheldon: Software
// Techniques for Avoiding Hardware Virtualization Exits, USENIX ATC 2012); later cores in that table fall to under 800.
// How it divides into exit, dispatch and entry, and the instruction classes, are approximations of published
// instruction tables, rounded to whole cycles. The costs describe an in-order reading of the instruction stream: they
// add up, and they are the same on every engine.
#include "cpu/timing/timing.hpp"

#include <algorithm>

namespace xenolith::cpu {

namespace {

constexpr std::array presets = {
    Timing{
        .name = "nehalem",
        .description = "a 2.67 GHz core of 2009",
        //              free simple shiftd mul div  div64 bcd br call stack str lock seg far  int  sys  ser  tsc x87
        //              x87l v vl save
        .instruction = {1, 1, 4, 3, 20, 60, 4, 1, 2, 1, 4, 20, 14, 60, 90, 24, 100, 24, 3, 30, 1, 14, 80},
        .load = 1,
        .store = 1,
        .page_walk_entry = 6,
        .string_iteration = 1,
        .branch_taken = 1,
        .interrupt_delivery = 100,
        .trap = {.exit = 480, .dispatch = 220, .copy = 410, .entry = 309},
        .frequency = 2'670'000'000,
    },
    Timing{
        .name = "modern",
        .description = "a 3.0 GHz core of 2022",
        .instruction = {1, 1, 2, 3, 10, 14, 3, 1, 1, 1, 3, 18, 12, 50, 80, 20, 90, 20, 2, 20, 1, 10, 70},
        .load = 1,
        .store = 1,
        .page_walk_entry = 4,
        .string_iteration = 1,
        .branch_taken = 0,
        .interrupt_delivery = 80,
        .trap = {.exit = 410, .dispatch = 160, .copy = 130, .entry = 290},
        .frequency = 3'000'000'000,
    },
};

}  // namespace

std::span<const Timing> timing_presets() { return presets; }

const Timing* find_timing(std::string_view name) {
    const auto found = std::ranges::find(presets, name, &Timing::name);
    return found == presets.end() ? nullptr : &*found;
}

}  // namespace xenolith::cpu
