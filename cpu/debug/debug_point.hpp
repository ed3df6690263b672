// What a debugger outside the guest watches for. The guest sees nothing of it.
#pragma once

#include <cstdint>

namespace xenolith::cpu {

struct DebugPoint {
    enum class Kind : std::uint8_t { execute, write, read, access };

    Kind kind = Kind::execute;
    std::uint64_t linear = 0;  // of the instruction's first byte, or of the data
    std::uint64_t size = 1;    // bytes: any of them counts; 0 watches nothing

    bool operator==(const DebugPoint&) const = default;
};

}  // namespace xenolith::cpu
