// SDM vol. 3B, 17.2.4 and 17.2.5; APM vol. 2, 13.1.1.
#include "cpu/debug/breakpoints.hpp"

#include <algorithm>
#include <array>

namespace xenolith::cpu {

namespace {

constexpr unsigned breakpoint_count = 4;

// R/W and LEN of DR7. LEN = 10B is eight bytes on every CPU with 64-bit mode, whatever mode it is in.
enum Condition : unsigned { instruction = 0, data_write = 1, port_access = 2, data_access = 3 };
constexpr std::array<std::uint64_t, 4> lengths = {1, 2, 8, 4};

bool is_enabled(std::uint64_t dr7, unsigned number) { return (dr7 >> number * 2 & 3) != 0; }
Condition condition_of(std::uint64_t dr7, unsigned number) {
    return static_cast<Condition>(dr7 >> (16 + number * 4) & 3);
}
std::uint64_t length_of(std::uint64_t dr7, unsigned number) { return lengths[dr7 >> (18 + number * 4) & 3]; }

}  // namespace

void Breakpoints::Ranges::add(const Range& range) {
    ranges.push_back(range);
    lowest = std::min(lowest, range.first);
    highest = std::max(highest, range.last);
}

template <class Visit>
void Breakpoints::Ranges::each_in(std::uint64_t first, std::uint64_t last, const Visit& visit) const {
    if (last < lowest || first > highest) return;
    for (const Range& range : ranges)
        if (range.first <= last && first <= range.last) visit(range);
}

bool Breakpoints::follow(const CpuState& state) {
    std::vector<Range> code, data, ports;
    for (unsigned n = 0; n < breakpoint_count; ++n) {
        if (!is_enabled(state.dr7, n)) continue;
        // The low bits of an address that its length does not allow are ignored.
        const std::uint64_t length = length_of(state.dr7, n), first = state.debug_address[n] & ~(length - 1);
        const Condition condition = condition_of(state.dr7, n);
        const bool reads = condition == data_access, writes = reads || condition == data_write;
        const Range range{first, first + (length - 1), reads, writes, std::uint64_t{1} << n, {}};
        // What the manual calls undefined meets nothing: instructions with a length, R/W = 10B without CR4.DE.
        switch (condition) {
            case instruction:
                if (length == 1) code.push_back(range);
                break;
            case port_access:
                if ((state.cr4 & cr4::de) != 0) ports.push_back(range);
                break;
            case data_write:
            case data_access: data.push_back(range); break;
        }
    }
    if (code == guest_code_ && data == guest_data_ && ports == guest_ports_) return false;
    guest_code_ = std::move(code);
    guest_data_ = std::move(data);
    guest_ports_ = std::move(ports);
    merge();
    return true;
}

void Breakpoints::set_points(std::vector<DebugPoint> points) {
    points_ = std::move(points);
    merge();
}

void Breakpoints::merge() {
    code_ = data_ = ports_ = {};
    for (const Range& range : guest_code_) code_.add(range);
    for (const Range& range : guest_data_) data_.add(range);
    for (const Range& range : guest_ports_) ports_.add(range);
    for (const DebugPoint& point : points_) {
        if (point.size == 0) continue;
        using Kind = DebugPoint::Kind;
        const std::uint64_t end_of_space = ~std::uint64_t{0};
        const std::uint64_t last =
            point.size - 1 > end_of_space - point.linear ? end_of_space : point.linear + (point.size - 1);
        const bool reads = point.kind == Kind::read || point.kind == Kind::access;
        const bool writes = point.kind == Kind::write || point.kind == Kind::access;
        (point.kind == Kind::execute ? code_ : data_).add({point.linear, last, reads, writes, 0, point});
    }
}

// Reading and writing in one, as ADD to memory does, looks at the way for writing alone: it is closed for both.
bool Breakpoints::find_in_page(std::uint64_t linear, mmu::Access access) const {
    bool found = false;
    data_.each_in(linear & ~mmu::page_mask, linear | mmu::page_mask,
                  [&](const Range& range) { found = found || range.reads || access == mmu::Access::write; });
    return found;
}

bool Breakpoints::watch_code_in(std::uint64_t linear, std::uint64_t size) const {
    bool found = false;
    code_.each_in(linear, linear + (size - 1), [&](const Range&) { found = true; });
    return found;
}

void Breakpoints::meet(const Range& range, BreakpointHits& hits) {
    hits.dr6_bits |= range.dr6_bit;
    if (range.dr6_bit == 0 && !hits.point) hits.point = range.point;
}

void Breakpoints::meet_code(std::uint64_t linear, BreakpointHits& hits) const {
    code_.each_in(linear, linear, [&](const Range& range) { meet(range, hits); });
}

void Breakpoints::meet_data(std::uint64_t linear, std::uint64_t size, std::uint64_t mask, mmu::Access access,
                            BreakpointHits& hits) const {
    const auto visit = [&](const Range& range) {
        if (access == mmu::Access::write ? range.writes : range.reads) meet(range, hits);
    };
    const std::uint64_t last = (linear + (size - 1)) & mask;
    if (last >= linear) {
        data_.each_in(linear, last, visit);
    } else {
        data_.each_in(linear, mask, visit);
        data_.each_in(0, last, visit);
    }
}

void Breakpoints::meet_port(std::uint16_t port, unsigned width, BreakpointHits& hits) const {
    ports_.each_in(port, port + (width - 1), [&](const Range& range) { meet(range, hits); });
}

}  // namespace xenolith::cpu
