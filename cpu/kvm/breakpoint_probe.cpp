// SDM vol. 3A, 4.5: a table of each of the upper levels, and a large page that maps the first 2 MiB onto themselves.
#include "cpu/kvm/breakpoint_probe.hpp"

#include "cpu/kvm/kvm_debug_points.hpp"
#include "cpu/kvm/probe_vm.hpp"
#include "cpu/state/registers.hpp"

namespace xenolith::cpu {

bool watches(const KvmDevice& device, DebugPoint::Kind kind) {
    constexpr std::uint32_t top = 0, second = 0x1000, directory = 0x2000, code = 0x3000, data = 0x3800;
    constexpr std::uint32_t present_and_written = 0x63, large_page = 0xe3;
    constexpr std::uint32_t program = 0xf4078890;  // nop; mov [rdi], al; hlt
    ProbeVm probe(device);
    probe.put(top, second | present_and_written);
    probe.put(second, directory | present_and_written);
    probe.put(directory, large_page);
    probe.put(code, program);
    kvm_sregs system = probe.flat_system(true);
    system.cr0 = cr0::pe | cr0::et | cr0::ne | cr0::pg;
    system.cr3 = top;
    system.cr4 = cr4::pae;
    system.efer = efer::lme | efer::lma;
    kvm_regs general{};
    general.rip = code;
    general.rdi = data;
    general.rflags = rflags::fixed_one;
    KvmDebugPoints points;
    points.set({{kind, kind == DebugPoint::Kind::execute ? code + 1 : data}});
    kvm_guest_debug request{};
    request.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
    points.arm(request);
    return probe.start(system, general) && probe.set_debugging(request) && probe.run() == KVM_EXIT_DEBUG;
}

}  // namespace xenolith::cpu
