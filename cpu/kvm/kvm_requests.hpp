// Request numbers of ioctls whose struct has an open end.
//
// A request number contains the size of its struct. The kernel's own headers declare open-ended arrays in a
// way that gives the structs another size in C++ than in C, so their macros name requests that no kernel
// knows. Here are the numbers with the sizes that C has (KVM API 4.18, 4.19, 4.21, 4.42, 4.43, 4.46, 4.88).
#pragma once

#include <asm/ioctl.h>

#include <cstdint>

namespace xenolith::cpu::kvm_request {

constexpr std::uint32_t number(std::uint32_t direction, std::uint32_t request, std::uint32_t size) {
    constexpr std::uint32_t kvm = 0xae;
    return direction << _IOC_DIRSHIFT | kvm << _IOC_TYPESHIFT | request << _IOC_NRSHIFT | size << _IOC_SIZESHIFT;
}

inline constexpr std::uint32_t write = _IOC_WRITE, read = _IOC_READ;
inline constexpr std::uint32_t list_header = 8, signal_mask_header = 4, xsave_image = 4096;

inline constexpr std::uint32_t get_supported_cpuid = number(read | write, 0x05, list_header);
inline constexpr std::uint32_t get_msrs = number(read | write, 0x88, list_header);
inline constexpr std::uint32_t set_msrs = number(write, 0x89, list_header);
inline constexpr std::uint32_t set_signal_mask = number(write, 0x8b, signal_mask_header);
inline constexpr std::uint32_t set_cpuid2 = number(write, 0x90, list_header);
inline constexpr std::uint32_t get_xsave = number(read, 0xa4, xsave_image);
inline constexpr std::uint32_t set_xsave = number(write, 0xa5, xsave_image);

static_assert(get_supported_cpuid == 0xc008ae05);
static_assert(set_msrs == 0x4008ae89);
static_assert(get_xsave == 0x9000aea4);

}  // namespace xenolith::cpu::kvm_request
