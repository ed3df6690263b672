// Where the host's CPU and the manual part, or where the manual leaves a choice that Zydis does not know of:
// differences that are not ours. Every report counts them.
#pragma once

#include <span>
#include <string_view>

#include "cpu/fuzz/trial.hpp"

namespace xenolith::cpu::fuzz {

struct HostQuirk {
    std::string_view name;
    std::string_view reason;
    // Whether it accounts for the field.
    bool (*explains)(const Encoding& encoding, const State& start, const Outcome& ours, const Outcome& theirs,
                     const Field& field);
};

std::span<const HostQuirk> host_quirks();

}  // namespace xenolith::cpu::fuzz
