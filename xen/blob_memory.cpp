#include "xen/blob_memory.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace xenolith::xen {
namespace {

// Calls `visit(page number, offset in the page, offset in the range, bytes)` for each page of a range.
template <typename Visit>
void for_each_page(std::uint64_t address, std::uint64_t size, Visit visit) {
    for (std::uint64_t done = 0; done < size;) {
        const std::uint64_t offset = (address + done) & mmu::page_mask;
        const std::uint64_t bytes = std::min(mmu::page_size - offset, size - done);
        visit((address + done) / mmu::page_size, offset, done, bytes);
        done += bytes;
    }
}

bool wraps(std::uint64_t address, std::uint64_t size) { return size != 0 && address + (size - 1) < address; }

}  // namespace

void HostBlobMemory::map(std::uint64_t address, std::span<const std::byte> bytes) {
    if (address == 0) throw std::invalid_argument("blob memory: address 0 cannot be mapped");
    if ((address & mmu::page_mask) != 0) {
        throw std::invalid_argument("blob memory: address " + std::to_string(address) + " is not a multiple of 4096");
    }
    if (wraps(address, bytes.size())) {
        throw std::invalid_argument("blob memory: the blob does not fit below the end of memory");
    }
    ++generation_;
    for_each_page(address, bytes.size(),
                  [&](std::uint64_t page, std::uint64_t, std::uint64_t from, std::uint64_t size) {
                      auto& to = pages_[page];
                      to.fill(std::byte{0});
                      std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(from), size, to.begin());
                  });
}

void HostBlobMemory::unmap(std::uint64_t address, std::uint64_t size) {
    if (size == 0) return;
    ++generation_;
    const std::uint64_t last = wraps(address, size) ? ~std::uint64_t{0} : address + (size - 1);
    pages_.erase(pages_.lower_bound(address / mmu::page_size), pages_.upper_bound(last / mmu::page_size));
}

bool HostBlobMemory::is_mapped(std::uint64_t address, std::uint64_t size) const {
    // A range that wraps reaches page 0, which is never mapped.
    bool mapped = true;
    for_each_page(address, size, [&](std::uint64_t page, std::uint64_t, std::uint64_t, std::uint64_t) {
        mapped = mapped && pages_.contains(page);
    });
    return mapped;
}

bool HostBlobMemory::write(std::uint64_t address, std::span<const std::byte> from) {
    if (!is_mapped(address, from.size())) return false;
    ++generation_;
    for_each_page(address, from.size(),
                  [&](std::uint64_t page, std::uint64_t offset, std::uint64_t done, std::uint64_t bytes) {
                      std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(done), bytes,
                                  pages_.at(page).begin() + static_cast<std::ptrdiff_t>(offset));
                  });
    return true;
}

bool HostBlobMemory::read(std::uint64_t address, std::span<std::byte> to) const {
    if (!is_mapped(address, to.size())) return false;
    for_each_page(address, to.size(),
                  [&](std::uint64_t page, std::uint64_t offset, std::uint64_t done, std::uint64_t bytes) {
                      std::copy_n(pages_.at(page).begin() + static_cast<std::ptrdiff_t>(offset), bytes,
                                  to.begin() + static_cast<std::ptrdiff_t>(done));
                  });
    return true;
}

}  // namespace xenolith::xen
