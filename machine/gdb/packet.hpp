// gdb's remote protocol, its outer layer: bytes become packets, and packets bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace xenolith::machine::gdb {

// Bytes of a packet's content, escapes undone, that either side may send.
inline constexpr std::size_t maximum_packet = 0x4000;

struct Arrival {
    enum class Kind : std::uint8_t {
        packet,
        damaged,       // a packet whose checksum is wrong, or that is too long
        interrupt,     // Ctrl-C
        acknowledged,  // "+"
        resend,        // "-"
    };
    Kind kind = Kind::packet;
    std::string content = {};  // of a packet
};

// Takes bytes as they come, however they are cut.
class PacketReader {
  public:
    // What the byte completes, if it does.
    std::optional<Arrival> take(char byte);

  private:
    enum class State : std::uint8_t { outside, content, escaped, first_digit, second_digit };

    void append(char byte);

    State state_ = State::outside;
    std::string content_;
    bool too_long_ = false;
    std::uint8_t sum_ = 0;
    char first_digit_ = 0;
};

// "$content#checksum", with whatever must be escaped.
std::string frame(std::string_view content);

// Two lower-case digits per byte.
std::string to_hex(std::span<const std::byte> bytes);
std::string to_hex(std::string_view text);
// None unless the text is pairs of digits.
std::optional<std::string> from_hex(std::string_view text);

// Takes "1f2," apart: the number in front, which `text` then no longer has. None without a digit, and beyond 64 bits.
std::optional<std::uint64_t> take_number(std::string_view& text);
// Whether `text` begins with it; then it no longer does.
bool take(std::string_view& text, std::string_view beginning);

}  // namespace xenolith::machine::gdb
