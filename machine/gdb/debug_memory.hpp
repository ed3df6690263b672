// Guest memory as a debugger reaches it: without rights, without side effects on page tables, in whatever pieces of the
// range are there.
#pragma once

#include <cstddef>
#include <span>

#include "mmu/address.hpp"
#include "mmu/guest_memory.hpp"
#include "mmu/page_walk.hpp"

namespace xenolith::machine::gdb {

class DebugMemory {
  public:
    DebugMemory(mmu::GuestMemory& memory, const mmu::PagingContext& paging) : memory_(memory), paging_(paging) {}

    // How many bytes from the front could be read: as far as pages are mapped to RAM or ROM. Devices are not asked, for
    // reading may change them.
    std::size_t read(mmu::GuestLinear address, std::span<std::byte> to) const;
    // All or nothing; read-only pages and ROM not excepted: only memory has to be there.
    bool write(mmu::GuestLinear address, std::span<const std::byte> from);

    bool translate(mmu::GuestLinear address, mmu::GuestPhysical& physical) const;

  private:
    mmu::GuestMemory& memory_;
    mmu::PagingContext paging_;
};

// The same for physical addresses.
std::size_t read_physical(const mmu::GuestMemory& memory, mmu::GuestPhysical address, std::span<std::byte> to);
bool write_physical(mmu::GuestMemory& memory, mmu::GuestPhysical address, std::span<const std::byte> from);

}  // namespace xenolith::machine::gdb
