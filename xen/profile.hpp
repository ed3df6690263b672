// Behaviour profiles: how the kernels of four eras answer the same configuration and the same WRMSR.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace xenolith::xen {

// What the guest or its operator sees when the blob's page cannot be read from user memory.
enum class UnreadableBlob : std::uint8_t {
    general_protection,  // the guest gets #GP(0)
    run_fails,           // KVM_RUN returns -1 with EFAULT; the guest has not moved
};

// One row per kernel. Every column is one difference that can be observed from outside.
struct Profile {
    std::string_view name;
    // The configured index is compared before the MSRs that the CPU implements, or only after them.
    bool before_cpu_msrs;
    UnreadableBlob unreadable_blob;
    // A refused configuration (EINVAL) has nevertheless replaced the old one.
    bool refused_config_is_live;
    // hvm_config_flag bits that a configuration may carry; any other bit: EINVAL.
    std::uint32_t flags_allowed;
    // The index must be 0 or lie in minimum_xen_msr..maximum_xen_msr; else EINVAL.
    bool index_must_be_synthetic;
    // A write of the MSR by the host (KVM_SET_MSRS) copies the page too.
    bool host_write_triggers;
    // The write first latches EFER.LMA as the layout of shared_info, even if it then fails.
    bool latches_long_mode;
};

// The four rows, oldest first.
std::span<const Profile> profiles();
// The row with this name, or null.
const Profile* find_profile(std::string_view name);
// "linux-2.6.33, linux-5.10, linux-5.12, linux-6.15": for messages about an unknown name.
std::string profile_names();
// The newest kernel's behaviour.
const Profile& default_profile();

}  // namespace xenolith::xen
