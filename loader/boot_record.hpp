// Little-endian records that the loader builds in host memory before it writes them into the guest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace xenolith::loader {

// Grows with zeros as far as it is written.
class BootRecord {
  public:
    explicit BootRecord(std::size_t size = 0) : bytes_(size) {}

    void put8(std::size_t offset, std::uint8_t value) { put(offset, value, 1); }
    void put16(std::size_t offset, std::uint16_t value) { put(offset, value, 2); }
    void put32(std::size_t offset, std::uint32_t value) { put(offset, value, 4); }
    void put64(std::size_t offset, std::uint64_t value) { put(offset, value, 8); }
    void put_bytes(std::size_t offset, std::span<const std::byte> from) {
        reach(offset + from.size());
        for (std::size_t i = 0; i < from.size(); ++i) bytes_[offset + i] = from[i];
    }
    // The text and a NUL.
    void put_text(std::size_t offset, std::string_view text) {
        reach(offset + text.size() + 1);
        put_bytes(offset, std::as_bytes(std::span(text)));
        bytes_[offset + text.size()] = std::byte{0};
    }

    std::size_t size() const { return bytes_.size(); }
    std::span<const std::byte> bytes() const { return bytes_; }

  private:
    void reach(std::size_t end) {
        if (end > bytes_.size()) bytes_.resize(end);
    }
    void put(std::size_t offset, std::uint64_t value, std::size_t width) {
        reach(offset + width);
        for (std::size_t i = 0; i < width; ++i) bytes_[offset + i] = static_cast<std::byte>(value >> (8 * i));
    }

    std::vector<std::byte> bytes_;
};

}  // namespace xenolith::loader
