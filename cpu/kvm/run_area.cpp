// KVM_GET_VCPU_MMAP_SIZE (KVM API 4.5).
#include "cpu/kvm/run_area.hpp"

#include <linux/kvm.h>
#include <sys/mman.h>

#include <atomic>
#include <cerrno>

namespace xenolith::cpu {

RunArea::RunArea(const KvmDevice& device, const FileDescriptor& vcpu) {
    constexpr auto kind = HostLimit::Kind::unavailable;
    const int size = device.descriptor().require(kind, "KVM_GET_VCPU_MMAP_SIZE", KVM_GET_VCPU_MMAP_SIZE);
    size_ = static_cast<std::size_t>(size);
    void* const area = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu.number(), 0);
    if (area == MAP_FAILED || size_ < sizeof(kvm_run)) throw HostLimit(kind, failure_text("mmap of a vCPU", errno));
    area_ = static_cast<kvm_run*>(area);
}

RunArea::~RunArea() { ::munmap(area_, size_); }

std::byte* RunArea::at(std::uint64_t offset, std::uint64_t size) const {
    if (offset > size_ || size > size_ - offset) return nullptr;
    return reinterpret_cast<std::byte*>(area_) + offset;
}

void RunArea::set_immediate_exit(bool on) const { std::atomic_ref(area_->immediate_exit).store(on ? 1 : 0); }

}  // namespace xenolith::cpu
