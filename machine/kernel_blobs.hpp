// The blobs where the host's kernel can read them: a copy, in this process, of what the emulated user memory
// holds.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpu/kvm/kvm_options.hpp"
#include "xen/blob_memory.hpp"
#include "xen/hvm_config.hpp"

namespace xenolith::machine {

// KVM reads a blob from its process's memory at each write of the MSR (KVM API 4.27). The machine's blobs
// have addresses of their own choosing, which mean nothing to a kernel; here they get real ones. A page that
// the emulated memory does not have cannot be read here either, so that the kernel finds EFAULT where the
// emulator does.
class KernelBlobs {
  public:
    // std::system_error if the host has no address space left.
    KernelBlobs();
    ~KernelBlobs();
    KernelBlobs(const KernelBlobs&) = delete;
    KernelBlobs& operator=(const KernelBlobs&) = delete;

    // Copies both blobs of the configuration as they are now, and says where they are.
    cpu::KvmXenTrap refresh(const xen::HvmConfig& config, const xen::BlobMemory& blobs);

  private:
    void copy(std::byte* to, std::uint64_t address, std::uint8_t pages, const xen::BlobMemory& blobs);

    std::byte* reserved_;  // both blobs, at their largest
};

}  // namespace xenolith::machine
