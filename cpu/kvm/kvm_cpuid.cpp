// KVM_GET_SUPPORTED_CPUID (KVM API 4.46) says which features the host's KVM can give a guest. Leaves are
// those of SDM vol. 2A, CPUID; the hypervisor's range is scanned as guests scan it, in steps of 0x100.
#include "cpu/kvm/kvm_cpuid.hpp"

#include <linux/kvm.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>

#include "cpu/kvm/kvm_requests.hpp"

namespace xenolith::cpu {

namespace {

using CpuidList = CountedList<kvm_cpuid_entry2>;

constexpr std::uint32_t first_hypervisor_leaf = 0x40000000, hypervisor_scan_end = 0x40010000, hypervisor_step = 0x100;
constexpr std::uint32_t first_extended_leaf = 0x80000000;
// What a guest of ours may have by way of leaves of one range; more than any model has.
constexpr std::uint32_t most_leaves = 0x40, most_subleaves = 8;
constexpr std::uint32_t avx_bit = 1u << 28, xsave_bit = 1u << 26, osxsave_bit = 1u << 27, hypervisor_bit = 1u << 31;

CpuidList supported_leaves(const KvmDevice& device) {
    for (std::size_t capacity = 128; capacity <= 4096; capacity *= 2) {
        CpuidList list(capacity);
        if (device.descriptor().control(kvm_request::get_supported_cpuid, list.data()) == 0) return list;
        if (errno != E2BIG)
            throw HostLimit(HostLimit::Kind::unavailable, failure_text("KVM_GET_SUPPORTED_CPUID", errno));
    }
    throw HostLimit(HostLimit::Kind::unavailable, "KVM_GET_SUPPORTED_CPUID: more than 4096 leaves");
}

CpuidLeaf supported(const CpuidList& list, std::uint32_t leaf, std::uint32_t subleaf) {
    for (std::size_t n = 0; n < list.count(); ++n) {
        const kvm_cpuid_entry2& entry = list.entries()[n];
        if (entry.function == leaf && entry.index == subleaf) return {entry.eax, entry.ebx, entry.ecx, entry.edx};
    }
    return {};
}

class TableBuilder {
  public:
    TableBuilder(const CpuidList& host, const CpuModel& model, Environment& environment, const Moment& moment)
        : host_(host), model_(model), environment_(environment), moment_(moment) {
        // A state in which every feature shows: some leaves depend on it, and KVM's table cannot.
        everything_on_.msr.efer = efer::sce | efer::lme | efer::lma;
        everything_on_.cr0 = cr0::pe | cr0::pg;
        everything_on_.segment(SegmentName::cs) = flat_code_segment(8, 64);
        everything_on_.xcr0 = model.xcr0_bits();
    }

    KvmCpuidTable build() {
        add_range(0, std::min(ask(0, 0).eax, most_leaves));
        add_hypervisor();
        const std::uint32_t highest = ask(first_extended_leaf, 0).eax;
        add_range(first_extended_leaf, std::min(highest, first_extended_leaf + most_leaves));
        return std::move(table_);
    }

  private:
    CpuidLeaf ask(std::uint32_t leaf, std::uint32_t subleaf) {
        return environment_.cpuid(moment_, leaf, subleaf, model_.leaf(leaf, subleaf, everything_on_, moment_.vcpu));
    }

    void add_range(std::uint32_t first, std::uint32_t last) {
        for (std::uint64_t leaf = first; leaf <= last; ++leaf) add_leaf(static_cast<std::uint32_t>(leaf));
    }

    void add_leaf(std::uint32_t leaf) {
        std::vector<CpuidLeaf> values;
        for (std::uint32_t subleaf = 0; subleaf < most_subleaves; ++subleaf) values.push_back(ask(leaf, subleaf));
        // The ECX of leaf 0xb repeats the sub-leaf, which KVM does for itself.
        const bool matters = std::ranges::any_of(values, [&](const CpuidLeaf& value) { return value != values[0]; });
        for (std::uint32_t subleaf = 0; subleaf < (matters ? most_subleaves : 1); ++subleaf)
            table_.entries.push_back({leaf, subleaf, matters, limited(leaf, subleaf, values[subleaf])});
    }

    void add_hypervisor() {
        for (std::uint32_t base = first_hypervisor_leaf; base < hypervisor_scan_end; base += hypervisor_step) {
            const CpuidLeaf root = ask(base, 0);
            if (root.eax > base && root.eax < base + hypervisor_step && root.ebx != 0) add_range(base, root.eax);
        }
    }

    // Without the features that the host's KVM cannot give.
    CpuidLeaf limited(std::uint32_t leaf, std::uint32_t subleaf, CpuidLeaf value) {
        const CpuidLeaf host = supported(host_, leaf, subleaf);
        const auto keep = [&](std::uint32_t& wanted, std::uint32_t available, const char* name) {
            const std::uint32_t lost = wanted & ~available;
            if (lost == 0) return;
            wanted &= available;
            char text[64];
            std::snprintf(text, sizeof text, "CPUID %#x %s loses %#010x", leaf, name, lost);
            table_.hidden.emplace_back(text);
        };
        switch (leaf) {
            case 1:
                keep(value.ecx, host.ecx | osxsave_bit | hypervisor_bit, "ECX");
                keep(value.edx, host.edx, "EDX");
                table_.has_avx = (value.ecx & avx_bit) != 0;
                has_xsave_ = (value.ecx & xsave_bit) != 0;
                break;
            case 7:
                if (subleaf == 0) keep(value.ebx, host.ebx, "EBX");
                if (subleaf == 0) keep(value.ecx, host.ecx, "ECX");
                if (subleaf == 0) keep(value.edx, host.edx, "EDX");
                break;
            case 0xd:
                if (!has_xsave_) return {};
                if (subleaf <= 1) keep(value.eax, host.eax, "EAX");
                break;
            case 0x80000001:
                keep(value.ecx, host.ecx, "ECX");
                keep(value.edx, host.edx, "EDX");
                break;
            case 0x80000007: keep(value.edx, host.edx, "EDX"); break;
            case 0x80000008:
                // Physical address bits.
                if (const std::uint32_t bits = host.eax & 0xff; bits != 0 && (value.eax & 0xff) > bits) {
                    table_.hidden.push_back("physical addresses have " + std::to_string(bits) + " bits instead of " +
                                            std::to_string(value.eax & 0xff));
                    value.eax = (value.eax & ~0xffu) | bits;
                }
                break;
            default: break;
        }
        return value;
    }

    const CpuidList& host_;
    const CpuModel& model_;
    Environment& environment_;
    const Moment& moment_;
    CpuState everything_on_ = reset_state();
    bool has_xsave_ = false;
    KvmCpuidTable table_;
};

}  // namespace

KvmCpuidTable make_cpuid_table(const KvmDevice& device, const CpuModel& model, Environment& environment,
                               const Moment& moment) {
    const CpuidList host = supported_leaves(device);
    return TableBuilder(host, model, environment, moment).build();
}

void set_cpuid(const FileDescriptor& vcpu, const KvmCpuidTable& table) {
    CpuidList list(table.entries.size());
    for (std::size_t n = 0; n < table.entries.size(); ++n) {
        const KvmCpuidEntry& entry = table.entries[n];
        kvm_cpuid_entry2& to = list.entries()[n];
        to = {};
        to.function = entry.leaf;
        to.index = entry.subleaf;
        to.flags = entry.subleaf_matters ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
        to.eax = entry.value.eax;
        to.ebx = entry.value.ebx;
        to.ecx = entry.value.ecx;
        to.edx = entry.value.edx;
    }
    vcpu.require(HostLimit::Kind::state, "KVM_SET_CPUID2", kvm_request::set_cpuid2, list.data());
}

}  // namespace xenolith::cpu
