// Where Zydis and Capstone differ, and why: aliases of one instruction, and faults of either.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "cpu/fuzz/encoding.hpp"

namespace xenolith::cpu::fuzz {

// What the CPU itself does with bytes that only one decoder takes.
enum class HostSays : std::uint8_t { not_asked, valid, invalid };

struct DecoderAnswers {
    const Encoding* encoding = nullptr;  // Zydis's; null if it has none
    std::span<const std::uint8_t> bytes;
    DecodeMode mode = DecodeMode::long64;
    std::string_view zydis, capstone;  // "invalid" for none
    std::size_t zydis_length = 0, capstone_length = 0;
    HostSays host = HostSays::not_asked;
};

struct KnownDecoderDifference {
    std::string_view reason;
    bool (*explains)(const DecoderAnswers& answers);
};

std::span<const KnownDecoderDifference> known_decoder_differences();

// The same instruction by another name counts as the same.
bool is_same_mnemonic(std::string_view zydis, std::string_view capstone);

}  // namespace xenolith::cpu::fuzz
