// Plain data as bytes and back. Numbers are little-endian; a structure is its fields in order, as a list names them
// (machine/state_lists.hpp); whatever is read is checked: a truth value is 0 or 1, and nothing lies past the end.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace xenolith::machine {

// The bytes are not what was expected; what() says what was. `offset` is in bytes from their start.
class CodecError : public std::runtime_error {
  public:
    CodecError(std::uint64_t offset, const std::string& expected) : std::runtime_error(expected), offset_(offset) {}
    std::uint64_t offset() const { return offset_; }

  private:
    std::uint64_t offset_;
};

// A structure or a constant one: what a list of fields takes.
template <class T, class Structure>
concept Of = std::same_as<std::remove_const_t<T>, Structure>;

template <class T>
concept Number = std::is_integral_v<T> || std::is_enum_v<T>;

// A structure that a function list_fields(archive, structure) names the fields of.
template <class Archive, class T>
concept Listed = requires(Archive& archive, T& value) {
    list_fields(archive, value);
};

class Encoder {
  public:
    template <class... Values>
    void operator()(const Values&... values) {
        (put(values), ...);
    }
    const std::vector<std::byte>& bytes() const { return bytes_; }

  private:
    template <Number T>
    void put(T value) {
        auto number = static_cast<std::uint64_t>(value);
        for (std::size_t n = 0; n < sizeof(T); ++n, number >>= 8) bytes_.push_back(static_cast<std::byte>(number));
    }
    void put(std::byte value) { bytes_.push_back(value); }
    template <class T, std::size_t Size>
    void put(const std::array<T, Size>& values) {
        for (const T& value : values) put(value);
    }
    template <class T>
    void put_list(const T& values) {
        put(static_cast<std::uint64_t>(values.size()));
        for (const auto& value : values) put(value);
    }
    template <class T>
    void put(const std::vector<T>& values) {
        put_list(values);
    }
    template <class T>
    void put(const std::deque<T>& values) {
        put_list(values);
    }
    void put(const std::string& text) { put_list(text); }
    template <class T>
    void put(const std::optional<T>& value) {
        put(value.has_value());
        if (value) put(*value);
    }
    template <class Key, class T>
    void put(const std::map<Key, T>& values) {
        put(static_cast<std::uint64_t>(values.size()));
        for (const auto& [key, value] : values) (*this)(key, value);
    }
    template <class T>
    requires Listed<Encoder, const T>
    void put(const T& value) { list_fields(*this, value); }

    std::vector<std::byte> bytes_;
};

class Decoder {
  public:
    explicit Decoder(std::span<const std::byte> bytes) : bytes_(bytes) {}

    template <class... Values>
    void operator()(Values&... values) {
        (get(values), ...);
    }
    std::uint64_t offset() const { return at_; }
    // CodecError if anything is left.
    void expect_end() const {
        if (at_ != bytes_.size()) throw CodecError(at_, "the end of the section");
    }

  private:
    template <Number T>
    void get(T& value) {
        if (bytes_.size() - at_ < sizeof(T)) throw CodecError(at_, std::to_string(sizeof(T)) + " more bytes");
        std::uint64_t number = 0;
        for (std::size_t n = 0; n < sizeof(T); ++n) number |= std::to_integer<std::uint64_t>(bytes_[at_ + n]) << 8 * n;
        if (std::is_same_v<T, bool> && number > 1) throw CodecError(at_, "0 or 1");
        at_ += sizeof(T);
        value = static_cast<T>(number);
    }
    void get(std::byte& value) {
        std::uint8_t number = 0;
        get(number);
        value = static_cast<std::byte>(number);
    }
    template <class T, std::size_t Size>
    void get(std::array<T, Size>& values) {
        for (T& value : values) get(value);
    }
    // How many elements follow: each of them takes a byte at least, so a length beyond the end is refused at once.
    std::uint64_t length() {
        std::uint64_t count = 0;
        get(count);
        if (count > bytes_.size() - at_) throw CodecError(at_, "a length that fits into the section");
        return count;
    }
    template <class T>
    void get_list(T& values) {
        values.clear();
        for (std::uint64_t left = length(); left != 0; --left) {
            typename T::value_type value{};
            get(value);
            values.push_back(value);
        }
    }
    template <class T>
    void get(std::vector<T>& values) {
        get_list(values);
    }
    template <class T>
    void get(std::deque<T>& values) {
        get_list(values);
    }
    void get(std::string& text) { get_list(text); }
    template <class T>
    void get(std::optional<T>& value) {
        bool has = false;
        get(has);
        value.reset();
        if (has) get(value.emplace());
    }
    template <class Key, class T>
    void get(std::map<Key, T>& values) {
        values.clear();
        for (std::uint64_t left = length(); left != 0; --left) {
            Key key{};
            get(key);
            get(values[key]);
        }
    }
    template <class T>
    requires Listed<Decoder, T>
    void get(T& value) { list_fields(*this, value); }

    std::span<const std::byte> bytes_;
    std::uint64_t at_ = 0;
};

// How many fields a plain structure has: a list that names another number is out of date.
struct AnyField {
    template <class T>
    operator T() const;
};
template <class T, class... Fields>
consteval std::size_t field_count() {
    if constexpr (requires { T{Fields{}..., AnyField{}}; })
        return field_count<T, Fields..., AnyField>();
    else
        return sizeof...(Fields);
}

}  // namespace xenolith::machine
