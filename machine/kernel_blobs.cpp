#include "machine/kernel_blobs.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <span>
#include <system_error>

#include "mmu/address.hpp"
#include "xen/blob.hpp"

namespace xenolith::machine {

namespace {

constexpr std::size_t room_for_one = std::size_t{xen::maximum_blob_pages} * mmu::page_size;

[[noreturn]] void fail() {
    throw std::system_error(errno, std::generic_category(), "cannot reserve host memory for the blobs");
}

}  // namespace

KernelBlobs::KernelBlobs() {
    void* const address =
        ::mmap(nullptr, 2 * room_for_one, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (address == MAP_FAILED) fail();
    reserved_ = static_cast<std::byte*>(address);
}

KernelBlobs::~KernelBlobs() { ::munmap(reserved_, 2 * room_for_one); }

cpu::KvmXenTrap KernelBlobs::refresh(const xen::HvmConfig& config, const xen::BlobMemory& blobs) {
    copy(reserved_, config.blob_addr_32, config.blob_size_32, blobs);
    copy(reserved_ + room_for_one, config.blob_addr_64, config.blob_size_64, blobs);
    const auto address = [](const std::byte* at, std::uint8_t pages) {
        return pages != 0 ? reinterpret_cast<std::uint64_t>(at) : 0;
    };
    return {.msr = config.msr,
            .intercept_hypercalls = (config.flags & xen::hvm_config_flag::intercept_hcall) != 0,
            .blob_address_32 = address(reserved_, config.blob_size_32),
            .blob_address_64 = address(reserved_ + room_for_one, config.blob_size_64),
            .blob_pages_32 = config.blob_size_32,
            .blob_pages_64 = config.blob_size_64};
}

void KernelBlobs::copy(std::byte* to, std::uint64_t address, std::uint8_t pages, const xen::BlobMemory& blobs) {
    for (unsigned page = 0; page < pages; ++page, to += mmu::page_size) {
        if (::mprotect(to, mmu::page_size, PROT_READ | PROT_WRITE) != 0) fail();
        const bool readable = blobs.read(address + page * mmu::page_size, std::span(to, mmu::page_size));
        if (::mprotect(to, mmu::page_size, readable ? PROT_READ : PROT_NONE) != 0) fail();
    }
}

}  // namespace xenolith::machine
