#include "cpu/kvm/probe_vm.hpp"

#include <cerrno>
#include <chrono>
#include <cstring>

#include "cpu/kvm/kick_timer.hpp"

namespace xenolith::cpu {

namespace {

constexpr std::chrono::seconds patience{1};

kvm_segment flat_segment(std::uint8_t type, bool code64) {
    kvm_segment segment{};
    segment.limit = 0xffffffff;
    segment.selector = 8;
    segment.type = type;
    segment.present = segment.s = segment.g = 1;
    segment.db = code64 ? 0 : 1;
    segment.l = code64 ? 1 : 0;
    return segment;
}

}  // namespace

ProbeVm::ProbeVm(const KvmDevice& device)
    : memory_(std::make_unique<Memory>()),
      vm_(device.create_vm()),
      vcpu_(vm_.require(HostLimit::Kind::unavailable, "KVM_CREATE_VCPU", KVM_CREATE_VCPU, std::uint64_t{0})),
      area_(device, vcpu_) {
    kvm_userspace_memory_region region{};
    region.memory_size = memory_size;
    region.userspace_addr = reinterpret_cast<std::uint64_t>(memory_->bytes);
    vm_.require(HostLimit::Kind::unavailable, "KVM_SET_USER_MEMORY_REGION", KVM_SET_USER_MEMORY_REGION, &region);
}

void ProbeVm::put(std::uint32_t at, std::uint32_t value) { std::memcpy(memory_->bytes + at, &value, sizeof(value)); }

kvm_sregs ProbeVm::flat_system(bool code64) const {
    constexpr std::uint8_t execute_read = 0xb, read_write = 0x3;
    kvm_sregs system{};
    vcpu_.require(HostLimit::Kind::unavailable, "KVM_GET_SREGS", KVM_GET_SREGS, &system);
    system.cs = flat_segment(execute_read, code64);
    system.ds = system.es = system.ss = system.fs = system.gs = flat_segment(read_write, false);
    return system;
}

bool ProbeVm::start(const kvm_sregs& system, const kvm_regs& general) const {
    return vcpu_.control(KVM_SET_SREGS, &system) == 0 && vcpu_.control(KVM_SET_REGS, &general) == 0;
}

bool ProbeVm::set_debugging(const kvm_guest_debug& request) const {
    return vcpu_.control(KVM_SET_GUEST_DEBUG, &request) == 0;
}

std::uint32_t ProbeVm::run() const {
    KickTimer timer(vcpu_);
    const KickTimer::Session session(timer);
    const auto end = std::chrono::steady_clock::now() + patience;
    timer.arm(end);
    while (vcpu_.control(KVM_RUN) != 0)
        if ((errno != EINTR && errno != EAGAIN) || std::chrono::steady_clock::now() >= end) return KVM_EXIT_UNKNOWN;
    return area_->exit_reason;
}

}  // namespace xenolith::cpu
