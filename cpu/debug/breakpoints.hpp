// What a CPU looks out for: the breakpoints that DR7 enables, and the points of a debugger outside the guest. Both are
// ranges of linear addresses, or of ports, and are found by the same means; they differ in what happens then.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cpu/debug/debug_point.hpp"
#include "cpu/state/cpu_state.hpp"
#include "mmu/page_walk.hpp"

namespace xenolith::cpu {

// What an instruction has met.
struct BreakpointHits {
    std::uint64_t dr6_bits = 0;       // B0 to B3
    std::optional<DebugPoint> point;  // the debugger's, the first that was met

    bool any() const { return dr6_bits != 0 || point.has_value(); }
};

class Breakpoints {
  public:
    // Takes over what DR0 to DR3, DR7 and CR4.DE say. False if that is what they said before.
    bool follow(const CpuState& state);
    void set_points(std::vector<DebugPoint> points);

    bool watch_code() const { return !code_.ranges.empty(); }
    bool watch_data() const { return !data_.ranges.empty(); }
    bool watch_ports() const { return !ports_.ranges.empty(); }

    // Whether an access of that kind to the page at `linear` may meet something.
    bool watch_page(std::uint64_t linear, mmu::Access access) const {
        return watch_data() && find_in_page(linear, access);
    }
    // Whether some instruction, or the one at `linear`, may meet something if it starts in [linear, linear + size).
    bool watch_code_in(std::uint64_t linear, std::uint64_t size) const;
    bool watch_instruction(std::uint64_t linear) const { return watch_code_in(linear, 1); }

    // What is met by the instruction that starts at `linear`, by an access to linear addresses (they wrap around at
    // `mask`), or by one to ports. Adds to `hits`.
    void meet_code(std::uint64_t linear, BreakpointHits& hits) const;
    void meet_data(std::uint64_t linear, std::uint64_t size, std::uint64_t mask, mmu::Access access,
                   BreakpointHits& hits) const;
    void meet_port(std::uint16_t port, unsigned width, BreakpointHits& hits) const;

  private:
    struct Range {
        std::uint64_t first = 0, last = 0;  // both belong to it
        bool reads = false, writes = false;
        std::uint64_t dr6_bit = 0;  // 0: one of the debugger's
        DebugPoint point = {};

        bool operator==(const Range&) const = default;
    };
    // With the hull of all its ranges, which most addresses are outside of.
    struct Ranges {
        std::vector<Range> ranges;
        std::uint64_t lowest = ~std::uint64_t{0}, highest = 0;

        void add(const Range& range);
        template <class Visit>
        void each_in(std::uint64_t first, std::uint64_t last, const Visit& visit) const;
        bool operator==(const Ranges&) const = default;
    };

    void merge();
    bool find_in_page(std::uint64_t linear, mmu::Access access) const;
    static void meet(const Range& range, BreakpointHits& hits);

    std::vector<DebugPoint> points_;
    std::vector<Range> guest_code_, guest_data_, guest_ports_;
    Ranges code_, data_, ports_;
};

}  // namespace xenolith::cpu
