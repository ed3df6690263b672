// A debugger's points as KVM can watch for them: up to four by the host CPU's debug registers (KVM_SET_GUEST_DEBUG),
// the rest by a look at every instruction, which is then a step of its own.
//
// What an instruction accesses is worked out from its operands: of a repeated string instruction one iteration, of CALL
// and the like their push. Not seen that way are a bit offset that reaches beyond the operand, the elements of gathers
// and scatters, and what the CPU accesses by itself: descriptors, task-state segments, frames of exceptions.
#pragma once

#include <linux/kvm.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "cpu/debug/debug_point.hpp"
#include "cpu/state/cpu_state.hpp"

namespace xenolith::cpu {

class KvmDebugPoints {
  public:
    // `in_registers` says whether this KVM watches for a kind by them.
    void set(const std::vector<DebugPoint>& points, const std::function<bool(DebugPoint::Kind)>& in_registers = every);

    bool any() const { return !in_registers_.empty() || !by_steps_.empty(); }
    bool use_registers() const { return !in_registers_.empty(); }
    bool need_steps() const { return !by_steps_.empty(); }

    // Puts the points into the request's copy of the debug registers.
    void arm(kvm_guest_debug& request) const;
    // The first point that B0 to B3 of DR6 name.
    std::optional<DebugPoint> met(std::uint64_t dr6) const;
    // The execute point there, among all of them or among those that need steps.
    std::optional<DebugPoint> at(std::uint64_t linear) const;
    std::optional<DebugPoint> stepped_to(std::uint64_t linear) const;
    // The data point, among those that need steps, that the instruction will access if it does not fault.
    std::optional<DebugPoint> accessed_by(std::span<const std::byte> code, const CpuState& state) const;

  private:
    static bool every(DebugPoint::Kind) { return true; }
    std::vector<DebugPoint> in_registers_, by_steps_;
};

}  // namespace xenolith::cpu
