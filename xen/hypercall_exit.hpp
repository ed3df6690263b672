// KVM_EXIT_XEN: a hypercall as the run call hands it to userspace when KVM intercepts it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "mmu/address.hpp"
#include "xen/hypercalls.hpp"

namespace xenolith::xen {

// Laid out as the struct kvm_xen_exit of the KVM API, with the padding in front of its union.
struct HypercallExit {
    static constexpr std::uint32_t exit_reason = 34;
    static constexpr std::uint32_t type_hypercall = 1;

    std::uint32_t type = type_hypercall;
    std::uint32_t padding = 0;
    std::uint32_t longmode = 0;  // 1 in 64-bit code, else 0
    std::uint32_t cpl = 0;
    std::uint64_t input = 0;                // the number
    std::uint64_t result = 0;               // filled in by userspace before re-entry
    std::array<std::uint64_t, 6> params{};  // the arguments
};
static_assert(sizeof(HypercallExit) == 80);
static_assert(offsetof(HypercallExit, longmode) == 8);
static_assert(offsetof(HypercallExit, cpl) == 12);
static_assert(offsetof(HypercallExit, input) == 16);
static_assert(offsetof(HypercallExit, result) == 24);
static_assert(offsetof(HypercallExit, params) == 32);

HypercallExit make_hypercall_exit(const Hypercall& call);
Hypercall decode_hypercall(unsigned vcpu, const HypercallExit& exit);

// What re-entry after this exit does. If the vCPU still stands at the instruction (its linear RIP, code
// segment base included, is what it was at the exit), RAX becomes the result and RIP steps over the
// instruction. If it was moved meanwhile, KVM leaves both alone: the answer is dropped.
constexpr bool hypercall_completes(mmu::GuestLinear instruction, mmu::GuestLinear now) { return instruction == now; }

}  // namespace xenolith::xen
