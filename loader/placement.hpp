// Which guest-physical ranges are taken, which are free, and the checked writes into them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "loader/image_file.hpp"
#include "loader/layout.hpp"
#include "loader/loader.hpp"
#include "mmu/guest_memory.hpp"

namespace xenolith::loader {

// The end of a range, cut off where guest-physical addresses end.
std::uint64_t range_end(mmu::GuestPhysical start, std::uint64_t size);

class Placement {
  public:
    // An empty memory map means that every RAM region is usable.
    Placement(mmu::GuestMemory& memory, const std::vector<MemoryMapEntry>& memory_map);

    // True if all bytes are RAM; false for an empty range and for one that wraps around.
    bool is_ram(mmu::GuestPhysical start, std::uint64_t size) const;
    // The range already claimed that shares a byte with this one, or null.
    const PlacedRange* clash(mmu::GuestPhysical start, std::uint64_t size) const;
    // Takes a range; it may overlap others.
    void claim(std::string_view what, mmu::GuestPhysical start, std::uint64_t size);

    // The lowest (highest) aligned start of `size` free bytes of usable RAM inside [from, below). `size` is
    // not 0 and `alignment` is a power of two. The first page of memory, the real-mode vectors, is never
    // given.
    std::optional<mmu::GuestPhysical> lowest(std::uint64_t size, std::uint64_t alignment, mmu::GuestPhysical from,
                                             std::uint64_t below) const;
    std::optional<mmu::GuestPhysical> highest(std::uint64_t size, std::uint64_t alignment, std::uint64_t below) const;
    bool is_free(mmu::GuestPhysical start, std::uint64_t size) const;

    // Finds the boot area a place and claims it; LoadError (does_not_fit) if there is none.
    BootArea claim_boot_area(const ImageFile& image);

    // Writes bytes (zeros). Untouched RAM that reads as zeros is not touched, so that a large .bss stays free
    // of cost. LoadError (does_not_fit) if not all of it is RAM, or, for `write_image`, RAM or ROM.
    void write(const ImageFile& image, mmu::GuestPhysical start, std::span<const std::byte> bytes);
    void write_image(const ImageFile& image, mmu::GuestPhysical start, std::span<const std::byte> bytes);
    void zero(const ImageFile& image, mmu::GuestPhysical start, std::uint64_t size);

    // The memory map as guests are told of it.
    const std::vector<MemoryMapEntry>& memory_map() const { return memory_map_; }
    std::vector<PlacedRange> take_claims() { return std::move(claims_); }
    mmu::GuestMemory& memory() { return memory_; }

  private:
    struct Interval {
        std::uint64_t start, end;
    };
    std::vector<Interval> free_intervals() const;

    mmu::GuestMemory& memory_;
    std::vector<MemoryMapEntry> memory_map_;
    std::vector<Interval> usable_;  // sorted, merged, RAM only
    std::vector<PlacedRange> claims_;
};

}  // namespace xenolith::loader
