// SDM vol. 3A, 4.3: 32-bit paging, one directory and one table that map the first pages onto themselves.
#include "cpu/kvm/paging_probe.hpp"

#include <linux/kvm.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "cpu/kvm/kick_timer.hpp"
#include "cpu/kvm/run_area.hpp"
#include "cpu/state/registers.hpp"
#include "mmu/address.hpp"

namespace xenolith::cpu {

namespace {

constexpr std::uint32_t directory = 0x1000, table = 0x2000, code = 0x3000;
constexpr std::size_t memory_size = 0x4000;
constexpr std::uint32_t present_and_written = 0x63;  // P, R/W, A, D
constexpr std::chrono::seconds patience{1};

struct alignas(mmu::page_size) ProbeMemory {
    std::array<std::byte, memory_size> bytes{};

    void put(std::uint32_t at, std::uint32_t value) { std::memcpy(bytes.data() + at, &value, sizeof(value)); }
};

kvm_segment flat_segment(std::uint8_t type) {
    kvm_segment segment{};
    segment.limit = 0xffffffff;
    segment.selector = 8;
    segment.type = type;
    segment.present = segment.db = segment.s = segment.g = 1;
    return segment;
}

}  // namespace

bool pages_outside_long_mode(const KvmDevice& device) {
    constexpr std::uint32_t halt = 0xf4;
    constexpr std::uint8_t execute_read = 0xb, read_write = 0x3;
    ProbeMemory memory;
    memory.put(directory, table | present_and_written);
    constexpr std::uint32_t page_size = mmu::page_size;
    for (std::uint32_t page = 0; page < memory_size; page += page_size)
        memory.put(table + page / page_size * 4, page | present_and_written);
    memory.put(code, halt);

    const FileDescriptor vm = device.create_vm();
    kvm_userspace_memory_region region{};
    region.memory_size = memory_size;
    region.userspace_addr = reinterpret_cast<std::uint64_t>(memory.bytes.data());
    if (vm.control(KVM_SET_USER_MEMORY_REGION, &region) != 0) return false;
    const int number = vm.control(KVM_CREATE_VCPU, std::uint64_t{0});
    if (number < 0) return false;
    const FileDescriptor vcpu(number);
    const RunArea area(device, vcpu);

    kvm_sregs system{};
    if (vcpu.control(KVM_GET_SREGS, &system) != 0) return false;
    system.cs = flat_segment(execute_read);
    system.ds = system.es = system.ss = system.fs = system.gs = flat_segment(read_write);
    system.cr0 = cr0::pe | cr0::et | cr0::pg;
    system.cr3 = directory;
    system.cr4 = 0;
    system.efer = 0;
    kvm_regs general{};
    general.rip = code;
    general.rflags = rflags::fixed_one;
    if (vcpu.control(KVM_SET_SREGS, &system) != 0 || vcpu.control(KVM_SET_REGS, &general) != 0) return false;

    KickTimer timer(vcpu);
    const KickTimer::Session session(timer);
    const auto end = std::chrono::steady_clock::now() + patience;
    timer.arm(end);
    while (vcpu.control(KVM_RUN) != 0)
        if ((errno != EINTR && errno != EAGAIN) || std::chrono::steady_clock::now() >= end) return false;
    return area->exit_reason == KVM_EXIT_HLT;
}

}  // namespace xenolith::cpu
