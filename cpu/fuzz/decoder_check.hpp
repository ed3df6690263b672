// Zydis against Capstone: two decoders written apart agree on length and mnemonic, or the difference is one
// we know of.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cpu/fuzz/encoding.hpp"
#include "cpu/native/native_oracle.hpp"

namespace xenolith::cpu::fuzz {

struct DecoderDifference {
    std::string zydis, capstone;  // mnemonic and length; "invalid" where it is no instruction
    std::string example;          // bytes
    std::uint64_t times = 0;
};

struct DecoderReport {
    std::uint64_t compared = 0, agreed = 0;
    struct Known {
        std::string_view reason;
        std::uint64_t times = 0;
    };
    std::vector<Known> known;
    std::vector<DecoderDifference> unexplained;  // one for each pair of answers
};

// Over the encodings of the fuzzer's stream that Zydis takes for an instruction that we have a row for, and
// those that it takes for none. Where only Capstone takes the bytes, `host` is asked; it may be null.
DecoderReport check_decoders(const EncodingReader& reader, std::uint64_t seed, NativeOracle* host);

}  // namespace xenolith::cpu::fuzz
