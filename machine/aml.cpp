// ACPI Specification 6.3, 20 "ACPI machine language (AML) specification": 20.2 "AML grammar definition"; 6.4 "Resource
// data types for ACPI".
#include "machine/aml.hpp"

#include <numeric>
#include <stdexcept>
#include <string>

namespace xenolith::machine::aml {

namespace {

// 20.3 "AML byte stream byte values".
constexpr std::uint8_t zero_op = 0x00, one_op = 0x01, name_op = 0x08, byte_prefix = 0x0a, word_prefix = 0x0b,
                       dword_prefix = 0x0c, string_prefix = 0x0d, qword_prefix = 0x0e, scope_op = 0x10,
                       buffer_op = 0x11, package_op = 0x12, method_op = 0x14, dual_name_prefix = 0x2e,
                       multi_name_prefix = 0x2f, extended_prefix = 0x5b, root_char = 0x5c, arg0_op = 0x68,
                       store_op = 0x70, device_op = 0x82, if_op = 0xa0, return_op = 0xa4;

// 6.4.2 small and 6.4.3 large resource data types.
constexpr std::uint8_t irq_descriptor = 0x22, port_descriptor = 0x47, end_tag = 0x79, fixed_memory_descriptor = 0x86,
                       dword_window = 0x87, word_window = 0x88;
constexpr std::uint8_t decodes_16_bits = 0x01, read_write = 0x01;
constexpr std::uint8_t memory_range = 0, port_range = 1, bus_range = 2;
constexpr std::uint8_t fixed_limits = 0x0c;      // general flags: both, and a producer that decodes positively
constexpr std::uint8_t all_port_aliases = 0x03;  // type-specific flags

Code raw(std::uint64_t value, unsigned width) {
    Code code;
    for (unsigned i = 0; i < width; ++i) code.bytes.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
    return code;
}
Code byte(std::uint64_t value) { return raw(value, 1); }
Code word(std::uint64_t value) { return raw(value, 2); }
Code dword(std::uint64_t value) { return raw(value, 4); }

Code join(std::span<const Code> codes) { return std::accumulate(codes.begin(), codes.end(), Code{}); }
Code join(Codes codes) { return join(std::span(codes.begin(), codes.size())); }

// 20.2.4: the length counts its own bytes. One byte says up to 63; else the first byte says how many more there are,
// and holds the lowest four bits.
Code with_length(const Code& content) {
    const std::size_t size = content.bytes.size();
    if (size + 1 < 0x40) return byte(size + 1) + content;
    for (unsigned more = 1; more <= 3; ++more) {
        const std::size_t length = size + 1 + more;
        if (length >> (4 + 8 * more) != 0) continue;
        return byte(more << 6 | (length & 0xf)) + raw(length >> 4, more) + content;
    }
    throw std::length_error("AML: a package of 256 MiB or more");
}

// 20.2.2: names of one to four characters, filled up.
Code segment(std::string_view of) {
    constexpr std::string_view leading = "ABCDEFGHIJKLMNOPQRSTUVWXYZ_", digits = "0123456789";
    bool good = !of.empty() && of.size() <= 4 && leading.find(of.front()) != std::string_view::npos;
    Code code;
    for (const char letter : of) {
        good =
            good && (leading.find(letter) != std::string_view::npos || digits.find(letter) != std::string_view::npos);
        code.bytes.push_back(static_cast<std::uint8_t>(letter));
    }
    if (!good) throw std::invalid_argument("AML: no name segment: '" + std::string(of) + "'");
    code.bytes.resize(4, '_');
    return code;
}

// 6.4.3.5: granularity 0, no translation.
Code window(std::uint8_t tag, std::uint8_t type, std::uint8_t type_flags, std::uint64_t first, std::uint64_t last) {
    const unsigned width = tag == word_window ? 2 : 4;
    return byte(tag) + word(3 + 5 * width) + byte(type) + byte(fixed_limits) + byte(type_flags) + raw(0, width) +
           raw(first, width) + raw(last, width) + raw(0, width) + raw(last - first + 1, width);
}

}  // namespace

Code integer(std::uint64_t value) {
    if (value == 0) return byte(zero_op);
    if (value == 1) return byte(one_op);
    if (value <= 0xff) return byte(byte_prefix) + byte(value);
    if (value <= 0xffff) return byte(word_prefix) + word(value);
    if (value <= 0xffff'ffff) return byte(dword_prefix) + dword(value);
    return byte(qword_prefix) + raw(value, 8);
}

Code text(std::string_view ascii) {
    Code code = byte(string_prefix);
    for (const char letter : ascii) {
        if (letter < 1) throw std::invalid_argument("AML: text is ASCII");
        code.bytes.push_back(static_cast<std::uint8_t>(letter));
    }
    return code + byte(0);
}

// 19.6, EISAID: five bits a letter, four a digit, the first letter in the lowest byte's upper bits.
Code eisa_id(std::string_view identifier) {
    std::uint32_t value = 0;
    bool good = identifier.size() == 7;
    for (std::size_t i = 0; good && i < identifier.size(); ++i) {
        const char letter = identifier[i];
        if (i < 3) {
            good = letter >= 'A' && letter <= 'Z';
            value = value << 5 | static_cast<std::uint32_t>(letter - 'A' + 1);
        } else {
            const std::size_t digit = std::string_view("0123456789ABCDEF").find(letter);
            good = digit != std::string_view::npos;
            value = value << 4 | static_cast<std::uint32_t>(digit & 0xf);
        }
    }
    if (!good) throw std::invalid_argument("AML: no Plug and Play identifier: '" + std::string(identifier) + "'");
    return integer(value >> 24 | (value >> 8 & 0xff00) | (value & 0xff00) << 8 | (value & 0xff) << 24);
}

Code package(std::span<const Code> elements) {
    if (elements.size() > 0xff) throw std::length_error("AML: a package of more than 255 elements");
    return byte(package_op) + with_length(byte(elements.size()) + join(elements));
}

Code package(Codes elements) { return package(std::span(elements.begin(), elements.size())); }

Code buffer(const Code& content) { return byte(buffer_op) + with_length(integer(content.bytes.size()) + content); }

Code path(std::string_view of) {
    Code code;
    if (of.starts_with('\\')) {
        code = byte(root_char);
        of.remove_prefix(1);
    }
    std::vector<Code> segments;
    for (std::size_t dot = 0; dot != std::string_view::npos;) {
        dot = of.find('.');
        segments.push_back(segment(of.substr(0, dot)));
        if (dot != std::string_view::npos) of.remove_prefix(dot + 1);
    }
    if (segments.size() > 0xff) throw std::invalid_argument("AML: a path of more than 255 segments");
    if (segments.size() == 2) code += byte(dual_name_prefix);
    if (segments.size() > 2) code += byte(multi_name_prefix) + byte(segments.size());
    return code + join(segments);
}

Code name(std::string_view of, const Code& value) { return byte(name_op) + path(of) + value; }

Code scope(std::string_view of, Codes content) { return byte(scope_op) + with_length(path(of) + join(content)); }

Code device(std::string_view of, Codes content) {
    return byte(extended_prefix) + byte(device_op) + with_length(path(of) + join(content));
}

Code method(std::string_view of, unsigned arguments, Codes content) {
    if (arguments > 7) throw std::invalid_argument("AML: a method of more than seven arguments");
    return byte(method_op) + with_length(path(of) + byte(arguments) + join(content));
}

Code argument(unsigned number) {
    if (number > 6) throw std::invalid_argument("AML: arguments are 0 to 6");
    return byte(arg0_op + number);
}

Code store(const Code& value, std::string_view to) { return byte(store_op) + value + path(to); }

Code if_true(const Code& condition, Codes content) { return byte(if_op) + with_length(condition + join(content)); }

Code give_back(const Code& value) { return byte(return_op) + value; }

// 6.4.2.9: a checksum of zero in the end tag is always right.
Code resources(Codes descriptors) { return buffer(join(descriptors) + byte(end_tag) + byte(0)); }

Code ports(std::uint16_t first, std::uint8_t count) {
    return byte(port_descriptor) + byte(decodes_16_bits) + word(first) + word(first) + byte(1) + byte(count);
}

Code isa_interrupt(unsigned irq) {
    if (irq > 15) throw std::invalid_argument("AML: ISA interrupts are 0 to 15");
    return byte(irq_descriptor) + word(1u << irq);
}

Code memory(std::uint32_t start, std::uint32_t size) {
    return byte(fixed_memory_descriptor) + word(9) + byte(read_write) + dword(start) + dword(size);
}

Code bus_window(std::uint8_t first, std::uint8_t last) { return window(word_window, bus_range, 0, first, last); }

Code port_window(std::uint16_t first, std::uint16_t last) {
    return window(word_window, port_range, all_port_aliases, first, last);
}

Code memory_window(std::uint32_t first, std::uint32_t last) {
    return window(dword_window, memory_range, read_write, first, last);
}

}  // namespace xenolith::machine::aml
