#include "cpu/decode/disassembler.hpp"

#include <Zydis/Zydis.h>

namespace xenolith::cpu {

Disassembled disassemble(std::span<const std::byte> bytes, unsigned width, std::uint64_t rip) {
    const ZydisMachineMode mode = width == 64   ? ZYDIS_MACHINE_MODE_LONG_64
                                  : width == 32 ? ZYDIS_MACHINE_MODE_LEGACY_32
                                                : ZYDIS_MACHINE_MODE_LEGACY_16;
    ZydisDisassembledInstruction instruction;
    if (!ZYAN_SUCCESS(ZydisDisassembleIntel(mode, rip, bytes.data(), bytes.size(), &instruction))) return {"(bad)", 1};
    return {instruction.text, instruction.info.length};
}

}  // namespace xenolith::cpu
