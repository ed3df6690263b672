#include "cpu/decode/disassembler.hpp"

#include <Zydis/Zydis.h>

namespace xenolith::cpu {

namespace {

ZydisMachineMode machine_mode(unsigned width) {
    return width == 64   ? ZYDIS_MACHINE_MODE_LONG_64
           : width == 32 ? ZYDIS_MACHINE_MODE_LEGACY_32
                         : ZYDIS_MACHINE_MODE_LEGACY_16;
}

}  // namespace

Disassembled disassemble(std::span<const std::byte> bytes, unsigned width, std::uint64_t rip) {
    ZydisDisassembledInstruction instruction;
    if (!ZYAN_SUCCESS(ZydisDisassembleIntel(machine_mode(width), rip, bytes.data(), bytes.size(), &instruction)))
        return {"(bad)", 1};
    return {instruction.text, instruction.info.length};
}

std::uint64_t undefined_flags(std::span<const std::byte> bytes, unsigned width) {
    ZydisDisassembledInstruction instruction;
    if (!ZYAN_SUCCESS(ZydisDisassembleIntel(machine_mode(width), 0, bytes.data(), bytes.size(), &instruction)))
        return 0;
    return instruction.info.cpu_flags != nullptr ? instruction.info.cpu_flags->undefined : 0;
}

}  // namespace xenolith::cpu
