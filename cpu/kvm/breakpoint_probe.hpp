// Whether the host's KVM watches for breakpoints: some take them, and never report one of a kind.
#pragma once

#include "cpu/debug/debug_point.hpp"
#include "cpu/kvm/kvm_device.hpp"

namespace xenolith::cpu {

// Runs a NOP and a store in a virtual machine of its own, in 64-bit mode, with a breakpoint on one of them.
bool watches(const KvmDevice& device, DebugPoint::Kind kind);

}  // namespace xenolith::cpu
