// The models are data: a list of features each, and tables that say where CPUID shows a feature (SDM vol. 2A,
// CPUID; APM vol. 3, appendix E). A processor of either vendor can be had of each model; what the vendors lay
// out differently (cache descriptions, topology, out-of-range leaves) follows the vendor.
#include "cpu/model/cpu_model.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <initializer_list>

#include "cpu/isa/host_features.hpp"

namespace xenolith::cpu {

namespace {

using FeatureSet = std::bitset<128>;
static_assert(static_cast<unsigned>(Feature::count) <= 128);

FeatureSet set_of(std::initializer_list<Feature> list) {
    FeatureSet set;
    for (const Feature feature : list) set.set(static_cast<unsigned>(feature));
    return set;
}

// --- What CPUID shows of features
// ---------------------------------------------------------------------------------

enum class Register : std::uint8_t { eax, ebx, ecx, edx };

struct FeatureBit {
    Feature feature;
    std::uint32_t leaf, subleaf;
    Register where;
    unsigned bit;
};

constexpr std::uint32_t extended = 0x80000000;

constexpr FeatureBit feature_bits[] = {
    {Feature::fpu, 1, 0, Register::edx, 0},
    {Feature::vme, 1, 0, Register::edx, 1},
    {Feature::de, 1, 0, Register::edx, 2},
    {Feature::pse, 1, 0, Register::edx, 3},
    {Feature::tsc, 1, 0, Register::edx, 4},
    {Feature::msr, 1, 0, Register::edx, 5},
    {Feature::pae, 1, 0, Register::edx, 6},
    {Feature::mce, 1, 0, Register::edx, 7},
    {Feature::cx8, 1, 0, Register::edx, 8},
    {Feature::apic, 1, 0, Register::edx, 9},
    {Feature::sep, 1, 0, Register::edx, 11},
    {Feature::mtrr, 1, 0, Register::edx, 12},
    {Feature::pge, 1, 0, Register::edx, 13},
    {Feature::mca, 1, 0, Register::edx, 14},
    {Feature::cmov, 1, 0, Register::edx, 15},
    {Feature::pat, 1, 0, Register::edx, 16},
    {Feature::pse36, 1, 0, Register::edx, 17},
    {Feature::clfsh, 1, 0, Register::edx, 19},
    {Feature::acpi, 1, 0, Register::edx, 22},
    {Feature::mmx, 1, 0, Register::edx, 23},
    {Feature::fxsr, 1, 0, Register::edx, 24},
    {Feature::sse, 1, 0, Register::edx, 25},
    {Feature::sse2, 1, 0, Register::edx, 26},
    {Feature::ss, 1, 0, Register::edx, 27},
    {Feature::htt, 1, 0, Register::edx, 28},
    {Feature::sse3, 1, 0, Register::ecx, 0},
    {Feature::pclmulqdq, 1, 0, Register::ecx, 1},
    {Feature::monitor, 1, 0, Register::ecx, 3},
    {Feature::vmx, 1, 0, Register::ecx, 5},
    {Feature::ssse3, 1, 0, Register::ecx, 9},
    {Feature::fma, 1, 0, Register::ecx, 12},
    {Feature::cx16, 1, 0, Register::ecx, 13},
    {Feature::pcid, 1, 0, Register::ecx, 17},
    {Feature::sse4_1, 1, 0, Register::ecx, 19},
    {Feature::sse4_2, 1, 0, Register::ecx, 20},
    {Feature::x2apic, 1, 0, Register::ecx, 21},
    {Feature::movbe, 1, 0, Register::ecx, 22},
    {Feature::popcnt, 1, 0, Register::ecx, 23},
    {Feature::tsc_deadline, 1, 0, Register::ecx, 24},
    {Feature::aes, 1, 0, Register::ecx, 25},
    {Feature::xsave, 1, 0, Register::ecx, 26},
    {Feature::avx, 1, 0, Register::ecx, 28},
    {Feature::f16c, 1, 0, Register::ecx, 29},
    {Feature::rdrand, 1, 0, Register::ecx, 30},
    {Feature::fsgsbase, 7, 0, Register::ebx, 0},
    {Feature::tsc_adjust, 7, 0, Register::ebx, 1},
    {Feature::bmi1, 7, 0, Register::ebx, 3},
    {Feature::avx2, 7, 0, Register::ebx, 5},
    {Feature::fdp_exception_only, 7, 0, Register::ebx, 6},
    {Feature::smep, 7, 0, Register::ebx, 7},
    {Feature::bmi2, 7, 0, Register::ebx, 8},
    {Feature::erms, 7, 0, Register::ebx, 9},
    {Feature::invpcid, 7, 0, Register::ebx, 10},
    {Feature::no_fcs_fds, 7, 0, Register::ebx, 13},
    {Feature::rdseed, 7, 0, Register::ebx, 18},
    {Feature::adx, 7, 0, Register::ebx, 19},
    {Feature::smap, 7, 0, Register::ebx, 20},
    {Feature::clflushopt, 7, 0, Register::ebx, 23},
    {Feature::clwb, 7, 0, Register::ebx, 24},
    {Feature::sha, 7, 0, Register::ebx, 29},
    {Feature::umip, 7, 0, Register::ecx, 2},
    {Feature::rdpid, 7, 0, Register::ecx, 22},
    {Feature::arch_capabilities, 7, 0, Register::edx, 29},
    {Feature::xsaveopt, 0xd, 1, Register::eax, 0},
    {Feature::xsavec, 0xd, 1, Register::eax, 1},
    {Feature::xsaves, 0xd, 1, Register::eax, 3},
    {Feature::syscall, extended + 1, 0, Register::edx, 11},
    {Feature::nx, extended + 1, 0, Register::edx, 20},
    {Feature::page1gb, extended + 1, 0, Register::edx, 26},
    {Feature::rdtscp, extended + 1, 0, Register::edx, 27},
    {Feature::long_mode, extended + 1, 0, Register::edx, 29},
    {Feature::lahf_lm, extended + 1, 0, Register::ecx, 0},
    {Feature::svm, extended + 1, 0, Register::ecx, 2},
    {Feature::lzcnt, extended + 1, 0, Register::ecx, 5},
    {Feature::prefetchw, extended + 1, 0, Register::ecx, 8},
    {Feature::invariant_tsc, extended + 7, 0, Register::edx, 8},
};

// AMD's leaf 80000001H repeats these bits of leaf 1's EDX.
constexpr std::uint32_t repeated_by_amd = 0x0183f3ff;

// --- The models
// -----------------------------------------------------------------------------------------------------

// Features that real processors of these models have, and that are not offered: CPUID must not promise an
// instruction that no row of cpu/isa carries out, or a device that is not there. Remove one when it is
// implemented.
FeatureSet not_yet_implemented() {
    using enum Feature;
    return set_of({
        monitor, acpi,  // MWAIT that waits, thermal control
    });
}

FeatureSet nehalem_features() {
    using enum Feature;
    return set_of({base, fpu,     vme,     de,      pse, tsc,    msr,       pae,          mce,    cx8,
                   apic, sep,     mtrr,    pge,     mca, cmov,   pat,       pse36,        clfsh,  acpi,
                   mmx,  fxsr,    sse,     sse2,    ss,  sse3,   ssse3,     sse4_1,       sse4_2, popcnt,
                   cx16, monitor, lahf_lm, syscall, nx,  rdtscp, long_mode, invariant_tsc});
}

FeatureSet modern_features() {
    using enum Feature;
    return nehalem_features() | set_of({fdp_exception_only, no_fcs_fds}) | set_of({pclmulqdq,  fma,
                                                                                   pcid,       x2apic,
                                                                                   movbe,      tsc_deadline,
                                                                                   aes,        xsave,
                                                                                   avx,        f16c,
                                                                                   rdrand,     bmi1,
                                                                                   avx2,       smep,
                                                                                   bmi2,       erms,
                                                                                   invpcid,    rdseed,
                                                                                   adx,        smap,
                                                                                   clwb,       sha,
                                                                                   umip,       rdpid,
                                                                                   clflushopt, xsaveopt,
                                                                                   xsavec,     xsaves,
                                                                                   page1gb,    lzcnt,
                                                                                   fsgsbase,   prefetchw,
                                                                                   tsc_adjust, arch_capabilities});
}

FeatureSet offered(FeatureSet features, Vendor vendor) {
    features &= ~not_yet_implemented();
    for (std::size_t n = 0; n < static_cast<std::size_t>(Feature::count); ++n)
        if (!host_has(static_cast<Feature>(n))) features.reset(n);
    using enum Feature;
    if (vendor == Vendor::amd) features &= ~set_of({arch_capabilities, tsc_adjust, fdp_exception_only, no_fcs_fds});
    return features;
}

constexpr std::array<std::string_view, 2> model_names = {"nehalem", "modern"};

const std::array<CpuModel, 4>& models() {
    //                name       brand                                vendor         signature   address bits,
    //                highest leaf
    static const std::array table = {
        CpuModel{"nehalem", "Xenolith nehalem CPU @ 2.67GHz", Vendor::intel, 0x000106a5, 40, 0xb,
                 offered(nehalem_features(), Vendor::intel)},
        CpuModel{"nehalem", "Xenolith nehalem CPU", Vendor::amd, 0x00100f42, 40, 0x5,
                 offered(nehalem_features(), Vendor::amd)},
        CpuModel{"modern", "Xenolith modern CPU @ 3.00GHz", Vendor::intel, 0x00090672, 46, 0xd,
                 offered(modern_features(), Vendor::intel)},
        CpuModel{"modern", "Xenolith modern CPU", Vendor::amd, 0x00a20f12, 46, 0xd,
                 offered(modern_features(), Vendor::amd)},
    };
    return table;
}

constexpr Vendor native_vendor = Vendor::intel;  // of both models

// --- Caches
// -----------------------------------------------------------------------------------------------------------

struct Cache {
    std::uint32_t type;  // 1 data, 2 instructions, 3 unified
    std::uint32_t level;
    std::uint32_t ways;
    std::uint32_t sets;

    static constexpr std::uint32_t line = 64;
    std::uint32_t kilobytes() const { return ways * sets * line / 1024; }
};

using Caches = std::array<Cache, 4>;
constexpr Caches caches_2009 = {{{1, 1, 8, 64}, {2, 1, 4, 128}, {3, 2, 8, 512}, {3, 3, 16, 8192}}};
constexpr Caches caches_2022 = {{{1, 1, 12, 64}, {2, 1, 8, 64}, {3, 2, 16, 2048}, {3, 3, 16, 16384}}};

const Caches& caches_of(const CpuModel& model) { return model.has(Feature::smep) ? caches_2022 : caches_2009; }

// Intel's leaf 4 and AMD's leaf 8000001DH: the same fields.
CpuidLeaf cache_leaf(const CpuModel& model, std::uint32_t subleaf) {
    const Caches& caches = caches_of(model);
    if (subleaf >= caches.size()) return {};
    const Cache& cache = caches[subleaf];
    constexpr std::uint32_t self_initializing = 1 << 8;
    return {cache.type | cache.level << 5 | self_initializing, (cache.ways - 1) << 22 | (Cache::line - 1),
            cache.sets - 1, 0};
}

// AMD's 4-bit code of an associativity (APM vol. 3, E.4.4).
std::uint32_t amd_ways(std::uint32_t ways) {
    switch (ways) {
        case 4: return 4;
        case 8: return 6;
        case 12: return 9;  // "see leaf 8000001DH"
        case 16: return 8;
        default: return 0xf;
    }
}

// AMD's leaf 80000005H, one register: kilobytes, ways, lines per tag, line size.
std::uint32_t amd_level1(const Cache& cache) {
    return cache.kilobytes() << 24 | cache.ways << 16 | 1 << 8 | Cache::line;
}

CpuidLeaf outer_caches(const CpuModel& model) {
    const Cache& second = caches_of(model)[2];
    const Cache& third = caches_of(model)[3];
    CpuidLeaf leaf;
    leaf.ecx = second.kilobytes() << 16 | amd_ways(second.ways) << 12 | Cache::line;
    if (model.vendor() == Vendor::amd) {
        leaf.ecx |= 1 << 8;
        leaf.edx = third.kilobytes() / 512 << 18 | amd_ways(third.ways) << 12 | 1 << 8 | Cache::line;
    }
    return leaf;
}

// --- Leaves
// -----------------------------------------------------------------------------------------------------------

std::uint32_t word_of(std::string_view text, std::size_t at) {
    std::uint32_t word = 0;
    if (at < text.size()) std::memcpy(&word, text.data() + at, std::min<std::size_t>(4, text.size() - at));
    return word;
}

CpuidLeaf features_at(const CpuModel& model, std::uint32_t leaf, std::uint32_t subleaf) {
    CpuidLeaf found;
    for (const FeatureBit& entry : feature_bits) {
        if (entry.leaf != leaf || entry.subleaf != subleaf || !model.has(entry.feature)) continue;
        std::uint32_t* const registers[] = {&found.eax, &found.ebx, &found.ecx, &found.edx};
        *registers[static_cast<unsigned>(entry.where)] |= 1u << entry.bit;
    }
    return found;
}

CpuidLeaf vendor_leaf(const CpuModel& model, std::uint32_t highest) {
    if (model.vendor() == Vendor::amd) return {highest, word_of("Auth", 0), word_of("cAMD", 0), word_of("enti", 0)};
    return {highest, word_of("Genu", 0), word_of("ntel", 0), word_of("ineI", 0)};
}

// XSAVE areas: 576 bytes of x87, SSE and header, then AVX's 256 (SDM vol. 1, 13.4).
std::uint32_t save_area_size(std::uint64_t components) { return (components & 4) != 0 ? 576 + 256 : 576; }

CpuidLeaf save_leaf(const CpuModel& model, std::uint32_t subleaf, const CpuState& state) {
    if (!model.has(Feature::xsave)) return {};
    CpuidLeaf leaf;
    if (subleaf == 0) {
        leaf.eax = static_cast<std::uint32_t>(model.xcr0_bits());
        leaf.ebx = save_area_size(state.xcr0);
        leaf.ecx = save_area_size(model.xcr0_bits());
    } else if (subleaf == 1) {
        leaf = features_at(model, 0xd, 1);
        if (model.has(Feature::xsavec)) leaf.ebx = save_area_size(state.xcr0 | state.msr.xss);
    } else if (subleaf == 2 && (model.xcr0_bits() & 4) != 0) {
        leaf.eax = 256;
        leaf.ebx = 576;
    }
    return leaf;
}

// One thread in one core (SDM vol. 2A, leaf 0BH).
CpuidLeaf topology_leaf(std::uint32_t subleaf, unsigned vcpu) {
    const std::uint32_t level = subleaf < 2 ? (subleaf + 1) << 8 : 0;
    return {0, subleaf < 2 ? 1u : 0u, level | (subleaf & 0xff), vcpu};
}

// Intel's descriptor bytes of leaf 2; FFH refers to leaf 4.
CpuidLeaf descriptor_leaf(const CpuModel& model) {
    if (model.has(Feature::smep)) return {0x00feff01, 0x000000f0, 0, 0};
    return {0x55035a01, 0x00f0b2e4, 0, 0x09ca212c};
}

// A local APIC that IA32_APIC_BASE disables is not there (SDM vol. 3A, 10.4.3).
constexpr std::uint32_t apic_present = 1 << 9;  // EDX of leaf 1, and of AMD's 80000001H
bool is_apic_enabled(const CpuState& state) { return (state.msr.apic_base & 1 << 11) != 0; }

CpuidLeaf basic_leaf(const CpuModel& model, std::uint32_t highest, std::uint32_t leaf, std::uint32_t subleaf,
                     const CpuState& state, unsigned vcpu) {
    const bool intel = model.vendor() == Vendor::intel;
    switch (leaf) {
        case 0: return vendor_leaf(model, highest);
        case 1: {
            CpuidLeaf found = features_at(model, 1, 0);
            constexpr std::uint32_t osxsave = 1 << 27;
            found.eax = model.signature();
            found.ebx = (vcpu & 0xff) << 24 | 1 << 16 | Cache::line / 8 << 8;
            if ((state.cr4 & cr4::osxsave) != 0) found.ecx |= osxsave;
            if (!is_apic_enabled(state)) found.edx &= ~apic_present;
            return found;
        }
        case 2: return intel ? descriptor_leaf(model) : CpuidLeaf{};
        case 4: return intel ? cache_leaf(model, subleaf) : CpuidLeaf{};
        case 7: return subleaf == 0 ? features_at(model, 7, 0) : CpuidLeaf{};
        case 0xb: return topology_leaf(subleaf, vcpu);
        case 0xd: return save_leaf(model, subleaf, state);
        default: return {};  // serial number, MONITOR, power, performance counters: none
    }
}

CpuidLeaf extended_leaf(const CpuModel& model, std::uint32_t highest, std::string_view brand, std::uint32_t leaf,
                        std::uint32_t subleaf, const CpuState& state, unsigned vcpu) {
    const bool amd = model.vendor() == Vendor::amd;
    switch (leaf - extended) {
        case 0: return amd ? vendor_leaf(model, highest) : CpuidLeaf{highest, 0, 0, 0};
        case 1: {
            CpuidLeaf found = features_at(model, leaf, 0);
            if (amd) {
                found.eax = model.signature();
                found.edx |= features_at(model, 1, 0).edx & repeated_by_amd;
                if (!is_apic_enabled(state)) found.edx &= ~apic_present;
            }
            return found;
        }
        case 2:
        case 3:
        case 4: {
            const std::size_t at = (leaf - extended - 2) * 16;
            return {word_of(brand, at), word_of(brand, at + 4), word_of(brand, at + 8), word_of(brand, at + 12)};
        }
        case 5:
            return amd ? CpuidLeaf{0, 0, amd_level1(caches_of(model)[0]), amd_level1(caches_of(model)[1])}
                       : CpuidLeaf{};
        case 6: return outer_caches(model);
        case 7: return features_at(model, leaf, 0);
        case 8: return {model.physical_address_bits() | 48u << 8, 0, 0, 0};
        case 0x1d: return cache_leaf(model, subleaf);
        case 0x1e: return {vcpu, vcpu & 0xff, 0, 0};
        default: return {};
    }
}

}  // namespace

CpuModel::CpuModel(std::string_view name, std::string_view brand, Vendor vendor, std::uint32_t signature,
                   std::uint8_t physical_address_bits, std::uint32_t highest_leaf, std::bitset<128> features)
    : name_(name),
      brand_(brand),
      vendor_(vendor),
      signature_(signature),
      physical_address_bits_(physical_address_bits),
      highest_leaf_(highest_leaf),
      features_(features) {}

const CpuModel* CpuModel::find(std::string_view name, Vendor vendor) {
    const auto found = std::ranges::find_if(
        models(), [&](const CpuModel& model) { return model.name() == name && model.vendor() == vendor; });
    return found == models().end() ? nullptr : &*found;
}

const CpuModel* CpuModel::find(std::string_view name) { return find(name, native_vendor); }

std::span<const std::string_view> CpuModel::names() { return model_names; }

CpuidLeaf CpuModel::leaf(std::uint32_t leaf, std::uint32_t subleaf, const CpuState& state, unsigned vcpu) const {
    // The first processors with leaf 8000001DH are younger than the 2009 model.
    const std::uint32_t highest_extended = extended + (vendor_ == Vendor::intel ? 0x8u
                                                       : has(Feature::smep)     ? 0x1eu
                                                                                : 0x1bu);
    if (leaf <= highest_leaf_) return basic_leaf(*this, highest_leaf_, leaf, subleaf, state, vcpu);
    if (leaf >= extended && leaf <= highest_extended)
        return extended_leaf(*this, highest_extended, brand_, leaf, subleaf, state, vcpu);
    // Out of range: AMD gives zeros, Intel the highest basic leaf.
    if (vendor_ == Vendor::amd) return {};
    return basic_leaf(*this, highest_leaf_, highest_leaf_, subleaf, state, vcpu);
}

std::uint64_t CpuModel::cr4_bits() const {
    struct Bit {
        Feature feature;
        std::uint64_t bits;
    };
    constexpr Bit table[] = {
        {Feature::base, cr4::pce},    {Feature::vme, cr4::vme | cr4::pvi},
        {Feature::tsc, cr4::tsd},     {Feature::de, cr4::de},
        {Feature::pse, cr4::pse},     {Feature::pae, cr4::pae},
        {Feature::mce, cr4::mce},     {Feature::pge, cr4::pge},
        {Feature::fxsr, cr4::osfxsr}, {Feature::sse, cr4::osxmmexcpt},
        {Feature::umip, cr4::umip},   {Feature::fsgsbase, cr4::fsgsbase},
        {Feature::pcid, cr4::pcide},  {Feature::xsave, cr4::osxsave},
        {Feature::smep, cr4::smep},   {Feature::smap, cr4::smap},
    };
    std::uint64_t bits = 0;
    for (const Bit& entry : table) {
        if (has(entry.feature)) bits |= entry.bits;
    }
    return bits;
}

std::uint64_t CpuModel::efer_bits() const {
    return (has(Feature::syscall) ? efer::sce : 0) | (has(Feature::long_mode) ? efer::lme : 0) |
           (has(Feature::nx) ? efer::nxe : 0);
}

std::uint64_t CpuModel::xcr0_bits() const {
    if (!has(Feature::xsave)) return 1;
    return 1 | (has(Feature::sse) ? 2u : 0u) | (has(Feature::avx) ? 4u : 0u);
}

}  // namespace xenolith::cpu
