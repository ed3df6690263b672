#include "loader/image_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "loader/file_descriptor.hpp"

namespace xenolith::loader {

namespace {

std::string error_text(int number) { return std::generic_category().message(number); }

[[noreturn]] void cannot_read(const std::string& name, std::string_view expected, std::string_view found) {
    throw LoadError(LoadFailure::cannot_read, name, 0, expected, found);
}

std::string_view kind_of(mode_t mode) {
    if (S_ISDIR(mode)) return "a directory";
    if (S_ISCHR(mode)) return "a character device";
    if (S_ISBLK(mode)) return "a block device";
    if (S_ISFIFO(mode)) return "a pipe";
    if (S_ISSOCK(mode)) return "a socket";
    return "something else";
}

void demand_regular(const std::string& name, const struct stat& status) {
    if (!S_ISREG(status.st_mode)) cannot_read(name, "a regular file", kind_of(status.st_mode));
}

std::uint64_t little_endian(std::span<const std::byte> bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | std::to_integer<std::uint64_t>(bytes[i]);
    return value;
}

}  // namespace

ImageFile::ImageFile(std::string name, std::vector<std::byte> bytes)
    : name_(std::move(name)), bytes_(std::move(bytes)) {}

ImageFile ImageFile::read(const std::filesystem::path& path, std::uint64_t limit) {
    const std::string name = path.string();
    // Judged before it is opened, because opening a device may act on it and opening a pipe may wait; and
    // again afterwards, because the name may have come to mean another file in between.
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) cannot_read(name, "a readable file", error_text(errno));
    demand_regular(name, status);
    const FileDescriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!descriptor.is_open()) cannot_read(name, "a readable file", error_text(errno));
    if (::fstat(descriptor.number(), &status) != 0) cannot_read(name, "a readable file", error_text(errno));
    demand_regular(name, status);

    const std::string at_most = "at most " + std::to_string(limit) + " bytes";
    const auto stated_size = static_cast<std::uint64_t>(std::max<off_t>(status.st_size, 0));
    if (stated_size > limit) cannot_read(name, at_most, std::to_string(stated_size) + " bytes");

    // The stated size is a hint: a file may grow while it is read, and some file systems state 0.
    constexpr std::uint64_t chunk = std::uint64_t{1} << 20;
    std::vector<std::byte> bytes;
    std::size_t filled = 0;
    for (;;) {
        if (filled > limit) cannot_read(name, at_most, "more");
        const std::size_t next = filled < stated_size ? stated_size - filled + 1 : chunk;
        bytes.resize(filled + next);
        const ssize_t count = ::read(descriptor.number(), bytes.data() + filled, bytes.size() - filled);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) cannot_read(name, "a readable file", error_text(errno));
        if (count == 0) break;
        filled += static_cast<std::size_t>(count);
    }
    if (filled == 0) cannot_read(name, "an image", "an empty file");
    bytes.resize(filled);
    return ImageFile(name, std::move(bytes));
}

bool ImageFile::holds(std::uint64_t offset, std::uint64_t size) const {
    return offset <= bytes_.size() && size <= bytes_.size() - offset;
}

std::span<const std::byte> ImageFile::range(std::uint64_t offset, std::uint64_t size, std::string_view what) const {
    if (!holds(offset, size)) {
        refuse(LoadFailure::malformed, offset, std::string(what) + " (" + std::to_string(size) + " bytes)",
               "the end of the file at " + hexadecimal(bytes_.size()));
    }
    return std::span(bytes_).subspan(offset, size);
}

std::uint8_t ImageFile::u8(std::uint64_t offset, std::string_view what) const {
    return static_cast<std::uint8_t>(little_endian(range(offset, 1, what)));
}
std::uint16_t ImageFile::u16(std::uint64_t offset, std::string_view what) const {
    return static_cast<std::uint16_t>(little_endian(range(offset, 2, what)));
}
std::uint32_t ImageFile::u32(std::uint64_t offset, std::string_view what) const {
    return static_cast<std::uint32_t>(little_endian(range(offset, 4, what)));
}
std::uint64_t ImageFile::u64(std::uint64_t offset, std::string_view what) const {
    return little_endian(range(offset, 8, what));
}

void ImageFile::refuse(LoadFailure failure, std::uint64_t offset, std::string_view expected,
                       std::string_view found) const {
    throw LoadError(failure, name_, offset, expected, found);
}

}  // namespace xenolith::loader
