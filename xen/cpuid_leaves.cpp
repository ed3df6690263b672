// Xen public/arch-x86/cpuid.h, and what Xen 4.17 puts into each leaf for an HVM domain.
#include "xen/cpuid_leaves.hpp"

namespace xenolith::xen {
namespace {

// "XenVMMXenVMM"
constexpr std::uint32_t signature_ebx = 0x566e6558;
constexpr std::uint32_t signature_ecx = 0x65584d4d;
constexpr std::uint32_t signature_edx = 0x4d4d566e;

// Bits of leaf +3, sub-leaf 0, EAX. Bit 0 would say that RDTSC is emulated.
constexpr std::uint32_t host_tsc_reliable = 1u << 1;
constexpr std::uint32_t rdtscp_available = 1u << 2;

CpuidResult time_leaf(const CpuidSource& source, std::uint32_t subleaf) {
    if (source.tsc_khz == 0) return {};
    switch (subleaf) {
        case 0: {
            const std::uint32_t flags =
                (source.tsc_reliable ? host_tsc_reliable : 0u) | (source.rdtscp ? rdtscp_available : 0u);
            constexpr std::uint32_t default_tsc_mode = 0;
            return {flags, default_tsc_mode, source.tsc_khz, source.tsc_incarnation};
        }
        case 1: {
            const TimeScale scale = time_scale(source.tsc_khz);
            return {static_cast<std::uint32_t>(source.tsc_offset), static_cast<std::uint32_t>(source.tsc_offset >> 32),
                    scale.multiplier, static_cast<std::uint32_t>(static_cast<std::int32_t>(scale.shift))};
        }
        case 2: return {source.tsc_khz, 0, 0, 0};  // the host's TSC: here the same clock
        default: return {};
    }
}

CpuidResult hvm_leaf(const CpuidSource& source, std::uint32_t subleaf) {
    if (subleaf != 0) return {};
    CpuidResult result{source.hvm_features, 0, 0, 0};
    if ((source.hvm_features & hvm_cpuid::vcpu_id_present) != 0) result.ebx = source.vcpu_id;
    if ((source.hvm_features & hvm_cpuid::domain_id_present) != 0) result.ecx = source.domain_id;
    return result;
}

}  // namespace

std::optional<CpuidResult> xen_leaf(const CpuidSource& source, std::uint32_t leaf, std::uint32_t subleaf) {
    if (!source.present || leaf < source.base || leaf - source.base >= leaf_count) return std::nullopt;
    switch (leaf - source.base) {
        case 0: return CpuidResult{source.base + leaf_count - 1, signature_ebx, signature_ecx, signature_edx};
        case 1: {
            const auto major = static_cast<std::uint32_t>(source.major_version);
            return CpuidResult{major << 16 | source.minor_version, 0, 0, 0};
        }
        case 2: return CpuidResult{source.hypercall_pages, source.msr, 0, 0};  // no features for HVM domains
        case 3: return time_leaf(source, subleaf);
        case 4: return hvm_leaf(source, subleaf);
        default: return CpuidResult{};  // +5: the machine address width, told to PV domains only
    }
}

TimeScale time_scale(std::uint32_t khz) {
    if (khz == 0) return {};
    // nanoseconds = ticks * 10^9 / hertz. Ticks are shifted so that the quotient, as a fraction of 2^32,
    // keeps all of its 32 bits: the shifted frequency lies in (10^9, 2 * 10^9].
    constexpr std::uint64_t nanoseconds_per_second = 1'000'000'000;
    std::uint64_t hertz = std::uint64_t{khz} * 1000;
    TimeScale scale;
    while (hertz > 2 * nanoseconds_per_second) {
        hertz >>= 1;
        --scale.shift;
    }
    while (hertz <= nanoseconds_per_second) {
        hertz <<= 1;
        ++scale.shift;
    }
    scale.multiplier = static_cast<std::uint32_t>((nanoseconds_per_second << 32) / hertz);
    return scale;
}

}  // namespace xenolith::xen
