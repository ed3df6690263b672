// KVM's API versions and capabilities (KVM API 4.1 to 4.5, 6, 8).
#include "cpu/kvm/kvm_device.hpp"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace xenolith::cpu {

namespace {

// The API is stable at this version (KVM API 4.1).
constexpr int api_version = 12;
constexpr const char* device_path = "/dev/kvm";

struct NeededCapability {
    int number;
    std::string_view name;
};

constexpr NeededCapability needed[] = {
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
    {KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"},
    {KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS"},
    {KVM_CAP_XSAVE, "KVM_CAP_XSAVE"},
    {KVM_CAP_READONLY_MEM, "KVM_CAP_READONLY_MEM"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
    {KVM_CAP_SET_GUEST_DEBUG, "KVM_CAP_SET_GUEST_DEBUG"},
    {KVM_CAP_USER_NMI, "KVM_CAP_USER_NMI"},
};

[[noreturn]] void fail(HostLimit::Kind kind, std::string_view name, int error) {
    throw HostLimit(kind, failure_text(name, error));
}

}  // namespace

FileDescriptor::~FileDescriptor() {
    if (number_ >= 0) ::close(number_);
}

int FileDescriptor::control(unsigned long request, const void* argument) const {
    return ::ioctl(number_, request, argument);
}

int FileDescriptor::control(unsigned long request, std::uint64_t argument) const {
    return ::ioctl(number_, request, argument);
}

int FileDescriptor::require(HostLimit::Kind kind, std::string_view name, unsigned long request,
                            const void* argument) const {
    const int result = control(request, argument);
    if (result < 0) fail(kind, name, errno);
    return result;
}

int FileDescriptor::require(HostLimit::Kind kind, std::string_view name, unsigned long request,
                            std::uint64_t argument) const {
    const int result = control(request, argument);
    if (result < 0) fail(kind, name, errno);
    return result;
}

std::string failure_text(std::string_view name, int error) { return std::string(name) + ": " + std::strerror(error); }

KvmDevice::KvmDevice() : device_(::open(device_path, O_RDWR | O_CLOEXEC)) {
    if (device_.number() < 0) fail(HostLimit::Kind::unavailable, device_path, errno);
    const int version = device_.control(KVM_GET_API_VERSION);
    if (version != api_version)
        throw HostLimit(HostLimit::Kind::unavailable,
                        std::string(device_path) + ": expected KVM API version 12, not " + std::to_string(version));
    for (const NeededCapability& one : needed)
        if (capability(one.number) == 0)
            throw HostLimit(HostLimit::Kind::unavailable,
                            std::string(device_path) + ": this KVM lacks " + std::string(one.name));
}

int KvmDevice::capability(int number) const {
    const int value = device_.control(KVM_CHECK_EXTENSION, static_cast<std::uint64_t>(number));
    return value < 0 ? 0 : value;
}

FileDescriptor KvmDevice::create_vm() const {
    // A signal may interrupt the creation.
    for (;;) {
        const int number = device_.control(KVM_CREATE_VM, std::uint64_t{0});
        if (number >= 0) return FileDescriptor(number);
        if (errno != EINTR) fail(HostLimit::Kind::unavailable, "KVM_CREATE_VM", errno);
    }
}

std::optional<std::string> kvm_unavailable() {
    try {
        KvmDevice().create_vm();
        return std::nullopt;
    } catch (const HostLimit& limit) {
        return limit.what();
    }
}

int xen_capability(const KvmDevice& device) { return device.capability(KVM_CAP_XEN_HVM); }

KvmRoute resolve_route(const KvmDevice& device, KvmRoute wanted) {
    const bool ioctl = (xen_capability(device) & KVM_XEN_HVM_CONFIG_HYPERCALL_MSR) != 0;
    const bool msr_exit =
        device.capability(KVM_CAP_X86_USER_SPACE_MSR) != 0 && device.capability(KVM_CAP_X86_MSR_FILTER) != 0;
    if (ioctl && wanted != KvmRoute::msr_exit) return KvmRoute::ioctl;
    if (msr_exit && wanted != KvmRoute::ioctl) return KvmRoute::msr_exit;
    const std::string_view lacking = wanted == KvmRoute::ioctl ? "KVM_CAP_XEN_HVM" : "KVM_CAP_X86_MSR_FILTER";
    throw HostLimit(HostLimit::Kind::unavailable, std::string(device_path) + ": this KVM lacks " +
                                                      std::string(lacking) + ", which the route '" +
                                                      std::string(kvm_route_name(wanted)) + "' needs");
}

}  // namespace xenolith::cpu
