// An image file in host memory: read once, under a size limit, and looked into only through checked reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "loader/load_error.hpp"

namespace xenolith::loader {

class ImageFile {
  public:
    static constexpr std::uint64_t default_limit = std::uint64_t{1} << 30;  // bytes

    // Bytes that are already at hand; `name` stands in error messages.
    ImageFile(std::string name, std::vector<std::byte> bytes);

    // Reads a whole regular file (symbolic links are followed). A directory, device, pipe or socket, a file
    // that cannot be opened, an empty one, or one of more than `limit` bytes is a LoadError (cannot_read).
    static ImageFile read(const std::filesystem::path& path, std::uint64_t limit = default_limit);

    const std::string& name() const { return name_; }
    std::uint64_t size() const { return bytes_.size(); }
    std::span<const std::byte> bytes() const { return bytes_; }

    // Little-endian numbers and ranges at an offset in bytes. `what` names the field in the LoadError
    // (malformed) that is thrown when any byte of it lies past the end of the file.
    std::uint8_t u8(std::uint64_t offset, std::string_view what) const;
    std::uint16_t u16(std::uint64_t offset, std::string_view what) const;
    std::uint32_t u32(std::uint64_t offset, std::string_view what) const;
    std::uint64_t u64(std::uint64_t offset, std::string_view what) const;
    std::span<const std::byte> range(std::uint64_t offset, std::uint64_t size, std::string_view what) const;
    // True if all of [offset, offset + size) is in the file.
    bool holds(std::uint64_t offset, std::uint64_t size) const;

    [[noreturn]] void refuse(LoadFailure failure, std::uint64_t offset, std::string_view expected,
                             std::string_view found) const;

  private:
    std::string name_;
    std::vector<std::byte> bytes_;
};

}  // namespace xenolith::loader
