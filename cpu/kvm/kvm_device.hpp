// /dev/kvm and what comes out of it: file descriptors that close themselves, capabilities, ioctls with
// one-line errors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cpu/host_limit.hpp"
#include "cpu/kvm/kvm_options.hpp"

namespace xenolith::cpu {

class FileDescriptor {
  public:
    FileDescriptor() = default;
    explicit FileDescriptor(int number) : number_(number) {}
    FileDescriptor(FileDescriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    FileDescriptor& operator=(FileDescriptor&& other) noexcept {
        std::swap(number_, other.number_);
        return *this;
    }
    ~FileDescriptor();

    int number() const { return number_; }

    // ioctl(2): its result, or -1 and errno. `argument` is a pointer or a number, as the request takes it.
    int control(unsigned long request, const void* argument = nullptr) const;
    int control(unsigned long request, std::uint64_t argument) const;
    // The same, but a failure throws HostLimit: "NAME: Invalid argument".
    int require(HostLimit::Kind kind, std::string_view name, unsigned long request,
                const void* argument = nullptr) const;
    int require(HostLimit::Kind kind, std::string_view name, unsigned long request, std::uint64_t argument) const;

  private:
    int number_ = -1;
};

// "NAME: Invalid argument".
std::string failure_text(std::string_view name, int error);

// /dev/kvm itself, opened and found fit.
class KvmDevice {
  public:
    // HostLimit::Kind::unavailable says what is missing.
    KvmDevice();

    const FileDescriptor& descriptor() const { return device_; }
    // KVM_CHECK_EXTENSION: 0 if the capability is not there.
    int capability(int number) const;
    FileDescriptor create_vm() const;

  private:
    FileDescriptor device_;
};

// Why a KvmEngine cannot be made on this host; empty if it can.
std::optional<std::string> kvm_unavailable();
// The route that `wanted` means on this host: ioctl or msr_exit. HostLimit::Kind::unavailable if there is no
// such way.
KvmRoute resolve_route(const KvmDevice& device, KvmRoute wanted);

// What KVM_CHECK_EXTENSION(KVM_CAP_XEN_HVM) said (KVM API 8.13, formerly 4.27): 0 without CONFIG_KVM_XEN.
int xen_capability(const KvmDevice& device);

// The variable-length structs of the KVM API that begin with a count and a word of padding: kvm_msrs,
// kvm_cpuid2. Kept as bytes, which may be read and written as any type. (The structs themselves are of no
// use: in C++ the kernel's headers put their entries in the wrong place.)
template <class Entry>
class CountedList {
  public:
    explicit CountedList(std::size_t count) : bytes_(header_size + count * sizeof(Entry)) {
        const auto word = static_cast<std::uint32_t>(count);
        std::memcpy(bytes_.data(), &word, sizeof(word));
    }

    // As many as it was made for, unless KVM has written another number.
    std::size_t count() const {
        std::uint32_t word;
        std::memcpy(&word, bytes_.data(), sizeof(word));
        return word;
    }
    Entry* entries() { return reinterpret_cast<Entry*>(bytes_.data() + header_size); }
    const Entry* entries() const { return reinterpret_cast<const Entry*>(bytes_.data() + header_size); }
    void* data() { return bytes_.data(); }
    const void* data() const { return bytes_.data(); }

  private:
    static constexpr std::size_t header_size = 8;

    std::vector<std::byte> bytes_;
};

}  // namespace xenolith::cpu
