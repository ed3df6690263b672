#include "xen/error_numbers.hpp"

#include <utility>

namespace xenolith::xen {

std::string_view error_name(int number) {
    using namespace error_number;
    constexpr std::pair<int, std::string_view> names[] = {
        {eperm, "EPERM"},       {enoent, "ENOENT"},         {esrch, "ESRCH"},   {eintr, "EINTR"},
        {eio, "EIO"},           {enxio, "ENXIO"},           {e2big, "E2BIG"},   {ebadf, "EBADF"},
        {eagain, "EAGAIN"},     {enomem, "ENOMEM"},         {eacces, "EACCES"}, {efault, "EFAULT"},
        {ebusy, "EBUSY"},       {eexist, "EEXIST"},         {enodev, "ENODEV"}, {einval, "EINVAL"},
        {enospc, "ENOSPC"},     {erange, "ERANGE"},         {enosys, "ENOSYS"}, {enodata, "ENODATA"},
        {enotconn, "ENOTCONN"}, {eopnotsupp, "EOPNOTSUPP"},
    };
    for (const auto& [value, name] : names) {
        if (value == number) return name;
    }
    return {};
}

std::string error_text(int number) {
    const std::string_view name = error_name(number);
    return name.empty() ? "errno " + std::to_string(number) : std::string(name);
}

}  // namespace xenolith::xen
