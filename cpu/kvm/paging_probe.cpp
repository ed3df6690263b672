// SDM vol. 3A, 4.3: 32-bit paging, one directory and one table that map the first pages onto themselves.
#include "cpu/kvm/paging_probe.hpp"

#include "cpu/kvm/probe_vm.hpp"
#include "cpu/state/registers.hpp"

namespace xenolith::cpu {

bool pages_outside_long_mode(const KvmDevice& device) {
    constexpr std::uint32_t directory = 0x1000, table = 0x2000, code = 0x3000, halt = 0xf4;
    constexpr std::uint32_t present_and_written = 0x63;  // P, R/W, A, D
    constexpr std::uint32_t page_size = mmu::page_size;
    ProbeVm probe(device);
    probe.put(directory, table | present_and_written);
    for (std::uint32_t page = 0; page < ProbeVm::memory_size; page += page_size)
        probe.put(table + page / page_size * 4, page | present_and_written);
    probe.put(code, halt);
    kvm_sregs system = probe.flat_system(false);
    system.cr0 = cr0::pe | cr0::et | cr0::pg;
    system.cr3 = directory;
    system.cr4 = 0;
    system.efer = 0;
    kvm_regs general{};
    general.rip = code;
    general.rflags = rflags::fixed_one;
    return probe.start(system, general) && probe.run() == KVM_EXIT_HLT;
}

}  // namespace xenolith::cpu
