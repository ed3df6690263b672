#include "xen/profile.hpp"

#include "xen/hvm_config.hpp"

namespace xenolith::xen {
namespace {

constexpr std::uint32_t no_flags = 0;
constexpr std::uint32_t intercept = hvm_config_flag::intercept_hcall;
constexpr UnreadableBlob gp = UnreadableBlob::general_protection;
constexpr UnreadableBlob fails = UnreadableBlob::run_fails;

// What the eras changed:
// 2.6.33  The ioctl copies the struct into place before it looks at the flags. Whatever goes wrong in a write
//         is #GP, since WRMSR emulation knew no other failure.
// 5.10    A negative errno from a write ends the run call instead of becoming #GP.
// 5.12    arch/x86/kvm/xen.c: the index wins over every MSR of the CPU (an index in Hyper-V's range had been
//         out of reach), hypercalls can be intercepted, and shared_info comes in two layouts.
// 6.15    The index is kept out of the range of real MSRs, and only the guest's own writes count.
// Kernels from 5.18 on also accept EVTCHN_SEND, and later ones PVCLOCK_TSC_UNSTABLE; these stand for services
// that are not offered here, so the mask refuses them as it refuses any bit whose service is missing.
// clang-format off
constexpr Profile table[] = {
    // name         before    unreadable  refused    flags      synthetic  host write  long-mode
    //              CPU MSRs  blob        is live    allowed    index      triggers    latch
    {"linux-2.6.33", false,   gp,         true,      no_flags,  false,     true,       false},
    {"linux-5.10",   false,   fails,      false,     no_flags,  false,     true,       false},
    {"linux-5.12",   true,    fails,      false,     intercept, false,     true,       true},
    {"linux-6.15",   true,    fails,      false,     intercept, true,      false,      true},
};
// clang-format on

}  // namespace

std::span<const Profile> profiles() { return table; }

const Profile* find_profile(std::string_view name) {
    for (const Profile& profile : table) {
        if (profile.name == name) return &profile;
    }
    return nullptr;
}

std::string profile_names() {
    std::string names;
    for (const Profile& profile : table) {
        if (!names.empty()) names += ", ";
        names += profile.name;
    }
    return names;
}

const Profile& default_profile() { return table[std::size(table) - 1]; }

}  // namespace xenolith::xen
