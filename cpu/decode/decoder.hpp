// Bytes become an Instruction: Zydis reads the encoding, the rows of cpu/isa choose what it does.
#pragma once

#include <Zydis/Zydis.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "cpu/decode/decode_mode.hpp"
#include "cpu/isa/instruction.hpp"
#include "cpu/model/cpu_model.hpp"
#include "cpu/timing/timing.hpp"

namespace xenolith::cpu {

class Decoder {
  public:
    static constexpr std::size_t longest = 15;  // bytes of the longest legal encoding

    enum class Result : std::uint8_t {
        ok,
        need_more_bytes,  // the encoding runs beyond the bytes given
        invalid,          // #UD
        too_long,         // more than 15 bytes: #GP(0)
    };

    Decoder(const CpuModel& model, const Timing& timing);

    // Fills everything of `out` but the place in a block (start, ordinal, cost_before, last where only the block's
    // maker decides). For `invalid`, `out` holds an instruction that raises #UD when executed.
    Result decode(std::span<const std::byte> bytes, DecodeMode mode, Instruction& out) const;

  private:
    void fill(const ZydisDecodedInstruction& from, const ZydisDecodedOperand* operands, Instruction& out) const;

    const CpuModel& model_;
    const Timing& timing_;
    std::array<ZydisDecoder, 7> decoders_;  // by DecodeMode
};

}  // namespace xenolith::cpu
