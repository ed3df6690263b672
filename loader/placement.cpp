#include "loader/placement.hpp"

#include <algorithm>
#include <array>

namespace xenolith::loader {

namespace {

constexpr std::uint64_t end_of_memory = mmu::GuestMemory::maximum_address;

std::optional<std::uint64_t> align_up(std::uint64_t value, std::uint64_t alignment) {
    if (value > UINT64_MAX - (alignment - 1)) return std::nullopt;
    return (value + alignment - 1) & ~(alignment - 1);
}

}  // namespace

std::uint64_t range_end(mmu::GuestPhysical start, std::uint64_t size) {
    if (start.value >= end_of_memory) return start.value;
    return start.value + std::min(size, end_of_memory - start.value);
}

Placement::Placement(mmu::GuestMemory& memory, const std::vector<MemoryMapEntry>& memory_map)
    : memory_(memory), memory_map_(memory_map) {
    std::vector<Interval> ram;
    for (const auto& region : memory.regions()) {
        if (region->kind == mmu::RegionKind::ram) {
            ram.push_back({region->start.value, range_end(region->start, region->size)});
        }
    }
    std::sort(ram.begin(), ram.end(), [](const Interval& a, const Interval& b) { return a.start < b.start; });
    if (memory_map_.empty()) {
        for (const Interval& interval : ram) {
            memory_map_.push_back({{interval.start}, interval.end - interval.start, MemoryType::usable});
        }
    }
    std::vector<Interval> pieces;
    for (const MemoryMapEntry& entry : memory_map_) {
        if (entry.type != MemoryType::usable) continue;
        const std::uint64_t end = range_end(entry.start, entry.size);
        for (const Interval& interval : ram) {
            const Interval piece{std::max(entry.start.value, interval.start), std::min(end, interval.end)};
            if (piece.start < piece.end) pieces.push_back(piece);
        }
    }
    std::sort(pieces.begin(), pieces.end(), [](const Interval& a, const Interval& b) { return a.start < b.start; });
    for (const Interval& piece : pieces) {
        if (!usable_.empty() && piece.start <= usable_.back().end) {
            usable_.back().end = std::max(usable_.back().end, piece.end);
        } else {
            usable_.push_back(piece);
        }
    }
}

bool Placement::is_ram(mmu::GuestPhysical start, std::uint64_t size) const {
    if (size == 0 || start.value >= end_of_memory || size > end_of_memory - start.value) return false;
    return memory_.is_ram(start, size);
}

const PlacedRange* Placement::clash(mmu::GuestPhysical start, std::uint64_t size) const {
    const std::uint64_t end = range_end(start, size);
    for (const PlacedRange& claim : claims_) {
        if (start.value < claim.end().value && claim.start.value < end) return &claim;
    }
    return nullptr;
}

void Placement::claim(std::string_view what, mmu::GuestPhysical start, std::uint64_t size) {
    if (size > 0) claims_.push_back({std::string(what), start, range_end(start, size) - start.value});
}

std::vector<Placement::Interval> Placement::free_intervals() const {
    std::vector<Interval> taken{{0, mmu::page_size}};
    for (const PlacedRange& claim : claims_) taken.push_back({claim.start.value, claim.end().value});
    std::sort(taken.begin(), taken.end(), [](const Interval& a, const Interval& b) { return a.start < b.start; });

    std::vector<Interval> free;
    for (const Interval& usable : usable_) {
        std::uint64_t start = usable.start;
        for (const Interval& range : taken) {
            if (range.end <= start) continue;
            if (range.start >= usable.end) break;
            if (range.start > start) free.push_back({start, range.start});
            start = range.end;
        }
        if (start < usable.end) free.push_back({start, usable.end});
    }
    return free;
}

std::optional<mmu::GuestPhysical> Placement::lowest(std::uint64_t size, std::uint64_t alignment,
                                                    mmu::GuestPhysical from, std::uint64_t below) const {
    for (const Interval& interval : free_intervals()) {
        const auto start = align_up(std::max(interval.start, from.value), alignment);
        const std::uint64_t end = std::min(interval.end, below);
        if (start && *start <= end && size <= end - *start) return mmu::GuestPhysical{*start};
    }
    return std::nullopt;
}

std::optional<mmu::GuestPhysical> Placement::highest(std::uint64_t size, std::uint64_t alignment,
                                                     std::uint64_t below) const {
    const std::vector<Interval> intervals = free_intervals();
    for (auto interval = intervals.rbegin(); interval != intervals.rend(); ++interval) {
        const std::uint64_t end = std::min(interval->end, below);
        if (end <= interval->start || size > end - interval->start) continue;
        const std::uint64_t start = (end - size) & ~(alignment - 1);
        if (start >= interval->start) return mmu::GuestPhysical{start};
    }
    return std::nullopt;
}

bool Placement::is_free(mmu::GuestPhysical start, std::uint64_t size) const {
    const std::uint64_t end = range_end(start, size);
    if (size == 0 || end - start.value != size || start.value < mmu::page_size || clash(start, size)) return false;
    return std::any_of(usable_.begin(), usable_.end(),
                       [&](const Interval& interval) { return interval.start <= start.value && end <= interval.end; });
}

BootArea Placement::claim_boot_area(const ImageFile& image) {
    BootArea area;
    if (!is_free(area.base, BootArea::size)) {
        const auto elsewhere = lowest(BootArea::size, mmu::page_size, {mmu::page_size}, four_gibibytes);
        if (!elsewhere) {
            image.refuse(LoadFailure::does_not_fit, 0,
                         hexadecimal(BootArea::size) + " bytes of free RAM below 4 GiB for boot tables",
                         "none beside the image");
        }
        area.base = *elsewhere;
    }
    claim("boot tables", area.base, BootArea::size);
    return area;
}

void Placement::write(const ImageFile& image, mmu::GuestPhysical start, std::span<const std::byte> bytes) {
    if (bytes.empty()) return;
    if (!is_ram(start, bytes.size()) || !memory_.write(start, bytes)) {
        image.refuse(LoadFailure::does_not_fit, 0,
                     "RAM for " + hexadecimal(bytes.size()) + " bytes at " + hexadecimal(start.value), "no RAM there");
    }
}

void Placement::write_image(const ImageFile& image, mmu::GuestPhysical start, std::span<const std::byte> bytes) {
    if (bytes.empty()) return;
    if (start.value >= end_of_memory || bytes.size() > end_of_memory - start.value || !memory_.place(start, bytes)) {
        image.refuse(LoadFailure::does_not_fit, 0,
                     "RAM or ROM for " + hexadecimal(bytes.size()) + " bytes at " + hexadecimal(start.value),
                     "none, or not enough, there");
    }
}

void Placement::zero(const ImageFile& image, mmu::GuestPhysical start, std::uint64_t size) {
    static constexpr std::array<std::byte, mmu::page_size> zeros{};
    const std::uint64_t end = range_end(start, size);
    for (std::uint64_t address = start.value; address < end;) {
        const std::uint64_t count = std::min(mmu::page_size - address % mmu::page_size, end - address);
        const std::byte* const host = memory_.readable({address});
        if (!host || !std::equal(host, host + count, zeros.begin())) {
            write(image, {address}, std::span(zeros).first(count));
        }
        address += count;
    }
}

}  // namespace xenolith::loader
