// A virtual machine of four pages, to try out what the host's KVM can do and does not say.
#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <memory>

#include "cpu/kvm/kvm_device.hpp"
#include "cpu/kvm/run_area.hpp"
#include "mmu/address.hpp"

namespace xenolith::cpu {

class ProbeVm {
  public:
    static constexpr std::uint32_t memory_size = 4 * mmu::page_size;

    explicit ProbeVm(const KvmDevice& device);

    void put(std::uint32_t at, std::uint32_t value);
    // Flat segments, code of 32 or 64 bits; the caller adds CR0, CR3, CR4 and EFER.
    kvm_sregs flat_system(bool code64) const;
    bool start(const kvm_sregs& system, const kvm_regs& general) const;
    bool set_debugging(const kvm_guest_debug& request) const;
    // Where KVM_RUN comes back from, KVM_EXIT_*; KVM_EXIT_UNKNOWN if it fails, or takes a second.
    std::uint32_t run() const;

  private:
    struct alignas(mmu::page_size) Memory {
        std::byte bytes[memory_size];
    };

    std::unique_ptr<Memory> memory_;
    FileDescriptor vm_, vcpu_;
    RunArea area_;
};

}  // namespace xenolith::cpu
