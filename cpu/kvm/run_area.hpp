// The page that a vCPU shares with its process: struct kvm_run (KVM API 5).
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/kvm/kvm_device.hpp"

struct kvm_run;

namespace xenolith::cpu {

class RunArea {
  public:
    // HostLimit::Kind::unavailable if it cannot be mapped.
    RunArea(const KvmDevice& device, const FileDescriptor& vcpu);
    ~RunArea();
    RunArea(const RunArea&) = delete;
    RunArea& operator=(const RunArea&) = delete;

    kvm_run* operator->() const { return area_; }
    // `size` bytes at an offset, where KVM_EXIT_IO keeps its data; null if they are not inside.
    std::byte* at(std::uint64_t offset, std::uint64_t size) const;
    // The next KVM_RUN, or the one that runs now if a signal comes with it, returns without executing more of
    // the guest.
    void set_immediate_exit(bool on) const;

  private:
    kvm_run* area_;
    std::size_t size_;
};

}  // namespace xenolith::cpu
