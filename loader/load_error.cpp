#include "loader/load_error.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace xenolith::loader {

std::string hexadecimal(std::uint64_t value) {
    std::array<char, 16> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, 16).ptr;
    return "0x" + std::string(digits.data(), end);
}

std::string on_one_line(std::string_view text) {
    std::string line(text);
    const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
    std::replace_if(line.begin(), line.end(), is_control, '?');
    return line;
}

std::string printable(std::string_view text) {
    std::string line(text);
    const auto is_unprintable = [](char c) {
        return static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f;
    };
    std::replace_if(line.begin(), line.end(), is_unprintable, '?');
    return line;
}

LoadError::LoadError(LoadFailure failure, std::string_view file, std::uint64_t offset, std::string_view expected,
                     std::string_view found)
    : std::runtime_error(on_one_line(file) + ": offset " + hexadecimal(offset) + ": expected " + on_one_line(expected) +
                         ", found " + on_one_line(found)),
      failure_(failure),
      file_(on_one_line(file)),
      offset_(offset),
      expected_(on_one_line(expected)),
      found_(on_one_line(found)) {}

}  // namespace xenolith::loader
