// KVM_XEN_HVM_CONFIG: the struct, its flags and its ioctl number, byte for byte as the KVM API has them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace xenolith::xen {

// struct kvm_xen_hvm_config (Documentation/virt/kvm/api.rst 4.27). Fit for the ioctl as it stands.
struct HvmConfig {
    std::uint32_t flags = 0;         // hvm_config_flag bits
    std::uint32_t msr = 0;           // the index whose WRMSR is trapped; 0 means the trap is off
    std::uint64_t blob_addr_32 = 0;  // an address in the memory of the process that runs the virtual machine
    std::uint64_t blob_addr_64 = 0;
    std::uint8_t blob_size_32 = 0;  // pages of 4096 bytes
    std::uint8_t blob_size_64 = 0;
    std::array<std::uint8_t, 30> pad2{};

    bool operator==(const HvmConfig&) const = default;
};

static_assert(sizeof(HvmConfig) == 56);
static_assert(offsetof(HvmConfig, flags) == 0);
static_assert(offsetof(HvmConfig, msr) == 4);
static_assert(offsetof(HvmConfig, blob_addr_32) == 8);
static_assert(offsetof(HvmConfig, blob_addr_64) == 16);
static_assert(offsetof(HvmConfig, blob_size_32) == 24);
static_assert(offsetof(HvmConfig, blob_size_64) == 25);
static_assert(offsetof(HvmConfig, pad2) == 26);

// Bits of HvmConfig::flags. Most are only reported by the capability, and refused here.
namespace hvm_config_flag {
inline constexpr std::uint32_t hypercall_msr = 1u << 0;
inline constexpr std::uint32_t intercept_hcall = 1u << 1;
inline constexpr std::uint32_t shared_info = 1u << 2;
inline constexpr std::uint32_t runstate = 1u << 3;
inline constexpr std::uint32_t evtchn_2level = 1u << 4;
inline constexpr std::uint32_t evtchn_send = 1u << 5;
inline constexpr std::uint32_t runstate_update_flag = 1u << 6;
inline constexpr std::uint32_t pvclock_tsc_unstable = 1u << 7;
inline constexpr std::uint32_t shared_info_hva = 1u << 8;
}  // namespace hvm_config_flag

// "INTERCEPT_HCALL | EVTCHN_SEND"; an unnamed bit appears as its value; "0" for none.
std::string hvm_config_flag_names(std::uint32_t flags);

// What KVM_CHECK_EXTENSION is asked for. It reads 0 on a kernel without CONFIG_KVM_XEN.
inline constexpr int kvm_cap_xen_hvm = 38;

// _IOW(0xAE, 0x7a, struct kvm_xen_hvm_config): direction 1 (write) in bits 30..31, size in bits 16..29.
inline constexpr std::uint32_t kvm_xen_hvm_config_ioctl =
    (1u << 30) | (static_cast<std::uint32_t>(sizeof(HvmConfig)) << 16) | (0xaeu << 8) | 0x7au;
static_assert(kvm_xen_hvm_config_ioctl == 0x4038ae7a);

// The index Xen itself offers, and the bounds that newer kernels put on it (KVM_XEN_MSR_MIN/MAX_INDEX).
inline constexpr std::uint32_t default_xen_msr = 0x40000000;
inline constexpr std::uint32_t minimum_xen_msr = 0x40000000;
inline constexpr std::uint32_t maximum_xen_msr = 0x4fffffff;

}  // namespace xenolith::xen
