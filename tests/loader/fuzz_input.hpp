// How the fuzzer's bytes become a load: two bytes choose the options, the rest is the image.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "loader/loader.hpp"

namespace xenolith::loader::testing {

inline constexpr std::size_t fuzz_option_bytes = 2;

// Byte 0: bits 0-2 format, bits 3-4 Linux entry. Byte 1: bit 0 a module, bit 1 a command line, bit 2 a memory
// map, bit 3 an RSDP, bits 4-6 the load address and bit 7 the entry offset of a flat image.
inline LoadOptions fuzz_options(std::uint8_t first, std::uint8_t second) {
    LoadOptions options;
    options.format = static_cast<Format>(first & 7);
    options.linux_entry = static_cast<LinuxEntry>((first >> 3 & 3) % 3);
    if ((second & 1) != 0) options.modules.push_back({ImageFile("module", std::vector<std::byte>(5000)), "module"});
    if ((second & 2) != 0) options.command_line = "console=ttyS0";
    if ((second & 4) != 0) {
        options.memory_map = {{{0}, 0x9f000, MemoryType::usable},
                              {{0x9f000}, 0x61000, MemoryType::reserved},
                              {{0x100000}, 0x700000, MemoryType::usable},
                              {{0x900000}, UINT64_MAX, MemoryType::usable}};
    }
    if ((second & 8) != 0) options.rsdp = {0xf0000};
    constexpr std::uint64_t addresses[] = {0, 0x1000, 0x10000, 0x9fff0, 0xf0000, 0x100000, 0xfffffff0, UINT64_MAX};
    if ((second >> 4) != 0 && options.format >= Format::flat16 && options.format <= Format::flat64) {
        options.load_address = mmu::GuestPhysical{addresses[second >> 4 & 7]};
        options.entry_offset = (second & 0x80) != 0 ? 0x8000 : 0;
    }
    return options;
}

}  // namespace xenolith::loader::testing
