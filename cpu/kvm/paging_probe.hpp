// Whether the host's KVM can run a guest that has paging on outside long mode: some cannot, and do not say
// so.
#pragma once

#include "cpu/kvm/kvm_device.hpp"

namespace xenolith::cpu {

// Runs one HLT under 2-level paging in a virtual machine of its own. A KVM without hardware virtualization
// may take such a state and then raise faults that no CPU would; the guest ends in a triple fault.
bool pages_outside_long_mode(const KvmDevice& device);

}  // namespace xenolith::cpu
