// Where KVM finds a blob: the user memory of the process that runs the virtual machine, read at every write.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>

#include "mmu/address.hpp"

namespace xenolith::xen {

class BlobMemory {
  public:
    virtual ~BlobMemory() = default;
    // Copies from the user addresses [address, address + to.size()). False if any byte cannot be read, in
    // which case `to` holds nothing of use. Addresses past 2^64 are unreadable.
    virtual bool read(std::uint64_t address, std::span<std::byte> to) const = 0;
};

// User memory made of pages that the host owns, at addresses of its choosing: null, unaligned, partly mapped
// and changing blobs can all be built from it.
class HostBlobMemory final : public BlobMemory {
  public:
    // Maps whole pages that hold the bytes, zero-filled to the end of the last one. The address must be a
    // multiple of 4096, and neither 0 nor past the end; std::invalid_argument says which. Pages mapped before
    // are replaced.
    void map(std::uint64_t address, std::span<const std::byte> bytes);
    // Unmaps the pages that overlap [address, address + size).
    void unmap(std::uint64_t address, std::uint64_t size);
    // Changes bytes of mapped pages. False, with nothing changed, if any byte is not mapped.
    bool write(std::uint64_t address, std::span<const std::byte> from);
    bool read(std::uint64_t address, std::span<std::byte> to) const override;
    // Goes up with every change, for those who keep a copy.
    std::uint64_t generation() const { return generation_; }

  private:
    bool is_mapped(std::uint64_t address, std::uint64_t size) const;

    std::map<std::uint64_t, std::array<std::byte, mmu::page_size>> pages_;  // by page number
    std::uint64_t generation_ = 0;
};

}  // namespace xenolith::xen
