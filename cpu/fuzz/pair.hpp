// Two sides that run the same tests, and the judgement of what differs.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "cpu/fuzz/host_quirks.hpp"
#include "cpu/fuzz/reproducer.hpp"
#include "cpu/fuzz/state_maker.hpp"
#include "cpu/fuzz/trial.hpp"

namespace xenolith::cpu::fuzz {

class Pair {
  public:
    // `ours` is what is judged, `theirs` what it is judged by, `quirks` what is known of that one. All outlive this.
    Pair(Subject& ours, Subject& theirs, std::span<const HostQuirk> quirks)
        : ours_(ours), theirs_(theirs), quirks_(quirks), quirk_counts_(quirks.size()) {}

    // Both memories become that.
    void set_memory(std::span<const std::byte, memory_size> memory);
    void prepare(const Encoding& encoding);
    // Lays the patches, runs both, compares. What differs is in fields(); afterwards both memories are equal
    // again. True if something differs that no quirk accounts for.
    bool run(const State& start, std::span<const Patch> patches);

    std::span<const Field> fields() const { return fields_; }
    const Outcome& theirs() const { return their_outcome_; }
    // How often each quirk accounted for a difference.
    std::span<const std::uint64_t> quirk_counts() const { return quirk_counts_; }
    // Their memory: the same as ours between tests.
    std::span<const std::byte, memory_size> memory() { return theirs_.memory(); }

  private:
    bool is_explained(const State& start);

    Subject &ours_, &theirs_;
    const Encoding* encoding_ = nullptr;
    bool touches_memory_ = false;
    Outcome our_outcome_, their_outcome_;
    std::vector<Field> fields_;
    std::span<const HostQuirk> quirks_;
    std::vector<std::uint64_t> quirk_counts_;
};

// Whether a processor can be in that state: no exception is pending that the summary does not tell of.
bool is_consistent(const FloatingPointState& state);

}  // namespace xenolith::cpu::fuzz
