#include "cpu/kvm/instruction_bytes.hpp"

#include <algorithm>
#include <iterator>

namespace xenolith::cpu {

namespace {

bool is_repeat_prefix(unsigned byte) { return byte == 0xf2 || byte == 0xf3; }

// Prefixes of SDM vol. 2A, 2.1.1, and REX in 64-bit code.
bool is_prefix(unsigned byte, bool code64) {
    constexpr unsigned legacy[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3};
    return std::ranges::find(legacy, byte) != std::end(legacy) || (code64 && (byte & ~0xfu) == 0x40);
}

// INS, OUTS, MOVS, CMPS, STOS, LODS and SCAS.
bool is_string_opcode(unsigned byte) {
    return (byte >= 0x6c && byte <= 0x6f) || (byte >= 0xa4 && byte <= 0xa7) || (byte >= 0xaa && byte <= 0xaf);
}

constexpr unsigned out_immediate_byte = 0xe6, out_immediate = 0xe7, out_dx_byte = 0xee, out_dx = 0xef, outs_byte = 0x6e,
                   outs = 0x6f;

std::size_t skip_prefixes(const std::vector<std::byte>& code, bool code64) {
    std::size_t at = 0;
    while (at < code.size() && is_prefix(byte_of(code, at), code64)) ++at;
    return at;
}

}  // namespace

unsigned byte_of(const std::vector<std::byte>& code, std::size_t at) {
    return at < code.size() ? std::to_integer<unsigned>(code[at]) : 0x100u;
}

bool is_repeated_string_instruction(const std::vector<std::byte>& code) {
    // No opcode of a string instruction looks like REX, nor does any prefix: the mode need not be known.
    const std::size_t opcode = skip_prefixes(code, true);
    const auto repeats = [](std::byte byte) { return is_repeat_prefix(std::to_integer<unsigned>(byte)); };
    return std::any_of(code.begin(), code.begin() + static_cast<std::ptrdiff_t>(opcode), repeats) &&
           is_string_opcode(byte_of(code, opcode));
}

std::size_t length_of_halt(const std::vector<std::byte>& code) {
    constexpr unsigned halt = 0xf4;
    const std::size_t opcode = skip_prefixes(code, false);
    return byte_of(code, opcode) == halt ? opcode + 1 : 0;
}

std::size_t length_of_wrmsr(const std::vector<std::byte>& code, bool code64) {
    const std::size_t opcode = skip_prefixes(code, code64);
    return byte_of(code, opcode) == 0x0f && byte_of(code, opcode + 1) == 0x30 ? opcode + 2 : 0;
}

bool begins_with_out(const std::vector<std::byte>& code, std::uint16_t port, unsigned width, std::uint16_t dx,
                     bool code64) {
    const std::size_t at = skip_prefixes(code, code64);
    switch (byte_of(code, at)) {
        case out_immediate_byte: return width == 1 && byte_of(code, at + 1) == port;
        case out_immediate: return width != 1 && byte_of(code, at + 1) == port;
        case out_dx_byte:
        case outs_byte: return width == 1 && dx == port;
        case out_dx:
        case outs: return width != 1 && dx == port;
        default: return false;
    }
}

unsigned length_of_out_before(const std::vector<std::byte>& code, std::uint16_t port, unsigned width, std::uint16_t dx,
                              bool with_prefix) {
    unsigned length = 0;
    const std::size_t end = code.size();
    if (end >= 2 && byte_of(code, end - 2) == (width == 1 ? out_immediate_byte : out_immediate) &&
        byte_of(code, end - 1) == port)
        length = 2;
    else if (end >= 1 && byte_of(code, end - 1) == (width == 1 ? out_dx_byte : out_dx) && dx == port)
        length = 1;
    else
        return 0;
    if (with_prefix && end > length && byte_of(code, end - length - 1) == 0x66) ++length;
    return length;
}

}  // namespace xenolith::cpu
