// Error numbers as Linux and Xen share them, and their names, so that a timeline says EFAULT and not 14.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace xenolith::xen {

// The positive values (Linux uapi asm-generic/errno-base.h; Xen public/errno.h gives the same numbers).
// KVM's ioctls report them through errno; a hypercall returns them negated.
namespace error_number {
inline constexpr int eperm = 1;
inline constexpr int enoent = 2;
inline constexpr int esrch = 3;
inline constexpr int eintr = 4;
inline constexpr int eio = 5;
inline constexpr int enxio = 6;
inline constexpr int e2big = 7;
inline constexpr int ebadf = 9;
inline constexpr int eagain = 11;
inline constexpr int enomem = 12;
inline constexpr int eacces = 13;
inline constexpr int efault = 14;
inline constexpr int ebusy = 16;
inline constexpr int eexist = 17;
inline constexpr int enodev = 19;
inline constexpr int einval = 22;
inline constexpr int enospc = 28;
inline constexpr int erange = 34;
inline constexpr int enosys = 38;
inline constexpr int enodata = 61;
inline constexpr int enotconn = 107;
inline constexpr int eopnotsupp = 95;
}  // namespace error_number

// "EFAULT" for 14; empty for a number that has no name here.
std::string_view error_name(int number);
// "EFAULT", or "errno 999" for a number that has no name here.
std::string error_text(int number);

}  // namespace xenolith::xen
