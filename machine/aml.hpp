// ACPI machine language: functions that put a definition block together, written much as ASL is.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

namespace xenolith::machine::aml {

// A piece of code or data, encoded.
struct Code {
    std::vector<std::uint8_t> bytes;

    Code& operator+=(const Code& more) {
        bytes.insert(bytes.end(), more.bytes.begin(), more.bytes.end());
        return *this;
    }
    friend Code operator+(Code first, const Code& second) { return first += second; }
};
using Codes = std::initializer_list<Code>;

// Data. Integers take as few bytes as they can.
Code integer(std::uint64_t value);
Code text(std::string_view ascii);
// A Plug and Play identifier, three capitals and four hexadecimal digits; std::invalid_argument if it is none.
Code eisa_id(std::string_view identifier);
Code package(std::span<const Code> elements);  // up to 255; std::length_error
Code package(Codes elements);
Code buffer(const Code& content);

// A name or a path: `\_SB.PCI0`, with segments of up to four capitals, digits or underscores, filled up with
// underscores. std::invalid_argument if it is none.
Code path(std::string_view of);

// Objects.
Code name(std::string_view of, const Code& value);
Code scope(std::string_view of, Codes content);
Code device(std::string_view of, Codes content);
Code method(std::string_view of, unsigned arguments, Codes content);

// Statements and terms.
Code argument(unsigned number);
Code store(const Code& value, std::string_view to);
Code if_true(const Code& condition, Codes content);
Code give_back(const Code& value);

// Resource descriptors, and the buffer that they make up.
Code resources(Codes descriptors);
Code ports(std::uint16_t first, std::uint8_t count);
Code isa_interrupt(unsigned irq);  // edge-triggered
Code memory(std::uint32_t start, std::uint32_t size);
// What a bridge passes on to its secondary side; `last` is still part of it.
Code bus_window(std::uint8_t first, std::uint8_t last);
Code port_window(std::uint16_t first, std::uint16_t last);
Code memory_window(std::uint32_t first, std::uint32_t last);

}  // namespace xenolith::machine::aml
