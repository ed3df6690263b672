#include "machine/gdb/debug_memory.hpp"

#include <algorithm>
#include <vector>

namespace xenolith::machine::gdb {

namespace {

constexpr std::uint64_t efer_lma = std::uint64_t{1} << 10;

// Bytes of [address, address + size) that lie in the page of its first byte.
std::size_t within_page(std::uint64_t address, std::size_t size) {
    return std::min<std::size_t>(size, mmu::page_size - (address & mmu::page_mask));
}

bool holds_bytes(const mmu::GuestMemory& memory, mmu::GuestPhysical address) {
    const mmu::Region* const region = memory.find(address);
    return region != nullptr && region->kind != mmu::RegionKind::device;
}

}  // namespace

bool DebugMemory::translate(mmu::GuestLinear address, mmu::GuestPhysical& physical) const {
    // The walk looks at 48 bits of the address.
    if ((paging_.efer & efer_lma) != 0 && !address.is_canonical()) return false;
    return mmu::translate_quietly(memory_, paging_, address, physical);
}

std::size_t DebugMemory::read(mmu::GuestLinear address, std::span<std::byte> to) const {
    std::size_t done = 0;
    while (done < to.size()) {
        const mmu::GuestLinear at = address + done;
        const std::size_t count = within_page(at.value, to.size() - done);
        mmu::GuestPhysical physical;
        if (!translate(at, physical) || !memory_.read(physical, to.subspan(done, count))) break;
        done += count;
    }
    return done;
}

bool DebugMemory::write(mmu::GuestLinear address, std::span<const std::byte> from) {
    struct Piece {
        mmu::GuestPhysical physical;
        std::span<const std::byte> bytes;
    };
    std::vector<Piece> pieces;
    for (std::size_t done = 0; done < from.size();) {
        const mmu::GuestLinear at = address + done;
        const std::size_t count = within_page(at.value, from.size() - done);
        mmu::GuestPhysical physical;
        if (!translate(at, physical) || !holds_bytes(memory_, physical)) return false;
        pieces.push_back({physical, from.subspan(done, count)});
        done += count;
    }
    return std::ranges::all_of(pieces, [&](const Piece& piece) { return memory_.place(piece.physical, piece.bytes); });
}

std::size_t read_physical(const mmu::GuestMemory& memory, mmu::GuestPhysical address, std::span<std::byte> to) {
    std::size_t done = 0;
    while (done < to.size()) {
        const std::size_t count = within_page(address.value + done, to.size() - done);
        if (!memory.read(address + done, to.subspan(done, count))) break;
        done += count;
    }
    return done;
}

bool write_physical(mmu::GuestMemory& memory, mmu::GuestPhysical address, std::span<const std::byte> from) {
    return memory.place(address, from);
}

}  // namespace xenolith::machine::gdb
