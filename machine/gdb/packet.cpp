// The form of packets is that of the chapter "GDB Remote Serial Protocol" of gdb's manual, section "Overview".
#include "machine/gdb/packet.hpp"

#include <fmt/format.h>

#include <charconv>

namespace xenolith::machine::gdb {

namespace {

constexpr char interrupt_byte = 0x03, escape_byte = '}', escape_bit = 0x20;

std::optional<unsigned> digit_value(char digit) {
    if (digit >= '0' && digit <= '9') return static_cast<unsigned>(digit - '0');
    if (digit >= 'a' && digit <= 'f') return static_cast<unsigned>(digit - 'a' + 10);
    if (digit >= 'A' && digit <= 'F') return static_cast<unsigned>(digit - 'A' + 10);
    return std::nullopt;
}

}  // namespace

std::optional<Arrival> PacketReader::take(char byte) {
    using Kind = Arrival::Kind;
    switch (state_) {
        case State::outside:
            if (byte == '$') {
                state_ = State::content;
                content_.clear();
                too_long_ = false;
                sum_ = 0;
            }
            if (byte == interrupt_byte) return Arrival{Kind::interrupt};
            if (byte == '+') return Arrival{Kind::acknowledged};
            if (byte == '-') return Arrival{Kind::resend};
            return std::nullopt;
        case State::content:
            if (byte == '#') {
                state_ = State::first_digit;
                return std::nullopt;
            }
            if (byte == '$') {  // the rest of a packet was lost, and this is the next one
                content_.clear();
                too_long_ = false;
                sum_ = 0;
                return std::nullopt;
            }
            sum_ = static_cast<std::uint8_t>(sum_ + static_cast<std::uint8_t>(byte));
            if (byte == escape_byte)
                state_ = State::escaped;
            else
                append(byte);
            return std::nullopt;
        case State::escaped:
            sum_ = static_cast<std::uint8_t>(sum_ + static_cast<std::uint8_t>(byte));
            append(static_cast<char>(byte ^ escape_bit));
            state_ = State::content;
            return std::nullopt;
        case State::first_digit:
            first_digit_ = byte;
            state_ = State::second_digit;
            return std::nullopt;
        case State::second_digit: {
            state_ = State::outside;
            const auto high = digit_value(first_digit_), low = digit_value(byte);
            if (too_long_ || !high || !low || (*high << 4 | *low) != sum_) return Arrival{Kind::damaged};
            return Arrival{Kind::packet, std::move(content_)};
        }
    }
    return std::nullopt;
}

void PacketReader::append(char byte) {
    if (content_.size() < maximum_packet)
        content_ += byte;
    else
        too_long_ = true;
}

std::string frame(std::string_view content) {
    std::string framed = "$";
    unsigned sum = 0;
    const auto add = [&](char byte) {
        framed += byte;
        sum += static_cast<std::uint8_t>(byte);
    };
    for (const char byte : content) {
        // "*" would begin a run-length.
        if (byte == '$' || byte == '#' || byte == escape_byte || byte == '*') {
            add(escape_byte);
            add(static_cast<char>(byte ^ escape_bit));
        } else {
            add(byte);
        }
    }
    return framed + fmt::format("#{:02x}", sum & 0xff);
}

std::string to_hex(std::span<const std::byte> bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    text.reserve(bytes.size() * 2);
    for (const std::byte byte : bytes) {
        text += digits[static_cast<unsigned>(byte >> 4)];
        text += digits[static_cast<unsigned>(byte & std::byte{0xf})];
    }
    return text;
}

std::string to_hex(std::string_view text) { return to_hex(std::as_bytes(std::span(text))); }

std::optional<std::string> from_hex(std::string_view text) {
    if (text.size() % 2 != 0) return std::nullopt;
    std::string bytes;
    for (std::size_t at = 0; at < text.size(); at += 2) {
        const auto high = digit_value(text[at]), low = digit_value(text[at + 1]);
        if (!high || !low) return std::nullopt;
        bytes += static_cast<char>(*high << 4 | *low);
    }
    return bytes;
}

std::optional<std::uint64_t> take_number(std::string_view& text) {
    std::uint64_t value = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (error != std::errc()) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(stop - text.data()));
    return value;
}

bool take(std::string_view& text, std::string_view beginning) {
    if (!text.starts_with(beginning)) return false;
    text.remove_prefix(beginning.size());
    return true;
}

}  // namespace xenolith::machine::gdb
