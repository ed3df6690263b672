// Known differences that are not ours: where the one who judges and the manual part, or where the manual leaves a
// choice that Zydis does not know of. Those that are ours and not mended yet say so. Every report counts them.
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
    bool is_ours = false;
};

// Of the host's CPU.
std::span<const HostQuirk> host_quirks();
// Of the host's KVM, if that is one without hardware virtualization, which emulates what runs at CPL 0.
std::span<const HostQuirk> kvm_quirks();

}  // namespace xenolith::cpu::fuzz
