#include "cpu/fuzz/pair.hpp"

#include <algorithm>
#include <cstring>

#include "cpu/fuzz/comparison.hpp"

namespace xenolith::cpu::fuzz {

void Pair::set_memory(std::span<const std::byte, memory_size> memory) {
    std::ranges::copy(memory, ours_.memory().begin());
    std::ranges::copy(memory, theirs_.memory().begin());
}

void Pair::prepare(const Encoding& encoding) {
    encoding_ = &encoding;
    touches_memory_ = encoding.touches_memory();
    ours_.prepare(encoding);
    theirs_.prepare(encoding);
}

bool Pair::run(const State& start, std::span<const Patch> patches) {
    fields_.clear();
    for (const Patch& patch : patches) {
        std::memcpy(ours_.memory().data() + patch.offset, patch.value.data(), patch.size);
        std::memcpy(theirs_.memory().data() + patch.offset, patch.value.data(), patch.size);
    }
    if (is_undefined(*encoding_, start.registers)) return false;
    theirs_.run(start, their_outcome_);
    ours_.run(start, our_outcome_);
    compare(*encoding_, start, our_outcome_, their_outcome_, fields_);
    if (touches_memory_ || !fields_.empty()) {
        const std::size_t before = fields_.size();
        compare_memory(ours_.memory(), theirs_.memory(), fields_);
        if (fields_.size() != before) std::ranges::copy(theirs_.memory(), ours_.memory().begin());
    }
    return !fields_.empty() && !is_explained(start);
}

bool Pair::is_explained(const State& start) {
    std::vector<bool> used(quirks_.size());
    for (const Field& field : fields_) {
        const auto found = std::ranges::find_if(quirks_, [&](const HostQuirk& quirk) {
            return quirk.explains(*encoding_, start, our_outcome_, their_outcome_, field);
        });
        if (found == quirks_.end()) return false;
        used[static_cast<std::size_t>(found - quirks_.begin())] = true;
    }
    for (std::size_t n = 0; n < used.size(); ++n) quirk_counts_[n] += used[n] ? 1u : 0u;
    return true;
}

bool is_consistent(const FloatingPointState& state) {
    const unsigned unmasked = state.status & ~state.control & 0x3fu;
    return ((state.status & 0x80u) != 0) == (unmasked != 0) && (state.status >> 15 & 1) == (state.status >> 7 & 1) &&
           state.mxcsr <= 0xffff;
}

}  // namespace xenolith::cpu::fuzz
