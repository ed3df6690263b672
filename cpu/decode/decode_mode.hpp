// What decoding depends on besides the bytes.
#pragma once

#include <cstdint>

#include "cpu/state/cpu_state.hpp"

namespace xenolith::cpu {

// Real mode and VM86 decode alike.
enum class DecodeMode : std::uint8_t {
    real16,
    real32,
    protected16,
    protected32,
    compatibility16,
    compatibility32,
    long64,
};

inline DecodeMode decode_mode(const CpuState& state) {
    const bool big = state.segment(SegmentName::cs).attributes.default_big();
    if (state.in_real_mode()) return big ? DecodeMode::real32 : DecodeMode::real16;
    if (state.in_vm86()) return DecodeMode::real16;
    if (!state.in_long_mode()) return big ? DecodeMode::protected32 : DecodeMode::protected16;
    if (state.in_64bit_code()) return DecodeMode::long64;
    return big ? DecodeMode::compatibility32 : DecodeMode::compatibility16;
}

}  // namespace xenolith::cpu
