// Xen's CPUID leaves: what a guest finds when it looks for a hypervisor, as a pure function.
#pragma once

#include <cstdint>
#include <optional>

namespace xenolith::xen {

struct CpuidResult {
    std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;

    bool operator==(const CpuidResult&) const = default;
};

// A guest looks for the signature at 0x40000000, 0x40000100 and so on below 0x40010000. Xen moves its leaves
// up by 0x100 when Viridian's (Hyper-V's) stand at 0x40000000.
inline constexpr std::uint32_t first_hypervisor_leaf = 0x40000000;
inline constexpr std::uint32_t hypervisor_scan_end = 0x40010000;
inline constexpr std::uint32_t hypervisor_scan_step = 0x100;
inline constexpr std::uint32_t leaf_count = 6;  // +0..+5

// Bits of leaf +4, EAX (Xen public/arch-x86/cpuid.h).
namespace hvm_cpuid {
inline constexpr std::uint32_t apic_access = 1u << 0;
inline constexpr std::uint32_t x2apic = 1u << 1;
inline constexpr std::uint32_t iommu_mappings = 1u << 2;
inline constexpr std::uint32_t vcpu_id_present = 1u << 3;
inline constexpr std::uint32_t domain_id_present = 1u << 4;
inline constexpr std::uint32_t extended_destination_id = 1u << 5;
inline constexpr std::uint32_t upcall_vector = 1u << 6;
}  // namespace hvm_cpuid

// Everything the leaves depend on.
struct CpuidSource {
    bool present = true;                         // false: no Xen leaves at all
    std::uint32_t base = first_hypervisor_leaf;  // a multiple of 0x100 within the scan
    std::uint16_t major_version = 4;
    std::uint16_t minor_version = 17;
    std::uint32_t msr = 0x40000000;  // the hypercall page's MSR, as the trap is configured
    std::uint32_t hypercall_pages = 1;
    std::uint32_t hvm_features = hvm_cpuid::vcpu_id_present | hvm_cpuid::domain_id_present;
    std::uint32_t vcpu_id = 0;
    std::uint32_t domain_id = 1;
    std::uint32_t tsc_khz = 0;     // the guest's TSC frequency; 0 makes the time leaves read as zero
    std::uint64_t tsc_offset = 0;  // leaf +3, sub-leaf 1
    std::uint32_t tsc_incarnation = 0;
    bool rdtscp = false;       // the guest has RDTSCP
    bool tsc_reliable = true;  // the TSC is known to run at one rate
};

// What a leaf in 0x40000000..0x4000ffff reads if it is one of Xen's; empty for any other.
std::optional<CpuidResult> xen_leaf(const CpuidSource& source, std::uint32_t leaf, std::uint32_t subleaf);

// The bit of leaf 1, ECX, that says that there is a hypervisor at all.
inline constexpr std::uint32_t hypervisor_present_bit = 1u << 31;

// How ticks of a clock become nanoseconds: ((ticks << shift) * multiplier) >> 32, with a negative shift to
// the right (Xen public/xen.h, vcpu_time_info).
struct TimeScale {
    std::uint32_t multiplier = 0;
    std::int8_t shift = 0;

    bool operator==(const TimeScale&) const = default;
};
// For a frequency in kHz; {0, 0} for 0.
TimeScale time_scale(std::uint32_t khz);

}  // namespace xenolith::xen
