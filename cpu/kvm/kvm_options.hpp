// How a KVM engine is set up: the Xen trap as plain data, time limits, and what is tracked.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

namespace xenolith::cpu {

// Who lays the hypercall page when the guest writes the MSR.
enum class KvmRoute : std::uint8_t {
    automatic,  // ioctl where the host's KVM has KVM_CAP_XEN_HVM, else msr_exit
    ioctl,      // KVM itself, told by KVM_XEN_HVM_CONFIG (KVM API 4.27). The write does not reach the
                // Environment.
    msr_exit,   // the Environment: the write exits with KVM_EXIT_X86_WRMSR (KVM API 4.97, 5) on any newer KVM
};
constexpr std::string_view kvm_route_name(KvmRoute route) {
    constexpr std::string_view names[] = {"auto", "ioctl", "msr-exit"};
    return names[static_cast<unsigned>(route)];
}

// What KVM is told of the trap. With the msr_exit route only `msr` counts: the Environment knows the rest,
// and hypercalls do not exit.
struct KvmXenTrap {
    std::uint32_t msr = 0;              // 0: off
    bool intercept_hypercalls = false;  // KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL: KVM_EXIT_XEN, no blobs
    std::uint64_t blob_address_32 = 0;  // in this process; read by the kernel at each write
    std::uint64_t blob_address_64 = 0;
    std::uint8_t blob_pages_32 = 0;
    std::uint8_t blob_pages_64 = 0;

    bool operator==(const KvmXenTrap&) const = default;
};

struct KvmOptions {
    KvmRoute route = KvmRoute::automatic;
    // The trap as it stands now. Asked before every entry into the guest, so that it may change during a run;
    // empty for none. A HostLimit says which part of it the host refuses.
    std::function<KvmXenTrap()> trap;
    // The longest one call of run() may take, in host time; zero for no limit. HostLimit::Kind::time ends it.
    std::chrono::milliseconds time_limit{5000};
    // Tell GuestMemory at the end of each run which pages the guest wrote: GuestMemory::take_dirty_pages is
    // then complete. Costs a write fault per page and run.
    bool track_dirty_pages = false;
};

}  // namespace xenolith::cpu
