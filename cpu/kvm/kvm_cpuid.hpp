// The CPUID leaves a guest of KVM gets: KVM answers the instruction itself, from a table that it is given
// beforehand.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cpu/environment.hpp"
#include "cpu/kvm/kvm_device.hpp"
#include "cpu/model/cpu_model.hpp"

namespace xenolith::cpu {

struct KvmCpuidEntry {
    std::uint32_t leaf = 0, subleaf = 0;
    bool subleaf_matters = false;
    CpuidLeaf value;
};

struct KvmCpuidTable {
    std::vector<KvmCpuidEntry> entries;
    // Features that the model has and this host's KVM does not, which the guest is therefore not shown: one
    // text per register, such as "CPUID 0x1 ECX loses 0x00980201".
    std::vector<std::string> hidden;
    bool has_avx = false;
};

// Asks the environment for every leaf once, as of `moment`: the model's own leaves, and those of the
// hypervisor range that stand behind a signature. What depends on state (OSXSAVE, the size of XSAVE's area)
// is KVM's to keep.
KvmCpuidTable make_cpuid_table(const KvmDevice& device, const CpuModel& model, Environment& environment,
                               const Moment& moment);
// KVM_SET_CPUID2 (KVM API 4.88). Once, before the vCPU first runs.
void set_cpuid(const FileDescriptor& vcpu, const KvmCpuidTable& table);

}  // namespace xenolith::cpu
