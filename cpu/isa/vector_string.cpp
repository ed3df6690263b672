// Comparison of packed strings: PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (SDM vol. 1, 12.10; vol. 2B, 4.1).
//
// The immediate says what the elements are (bits 1:0), how they are compared (3:2), what becomes of the
// answer (5:4), and which end of it or what shape counts (6). Strings end where a length says, or at the
// first zero element.
#include <array>
#include <bit>

#include "cpu/isa/floating_point.hpp"
#include "cpu/isa/vector_forms.hpp"
#include "cpu/processor.hpp"

namespace xenolith::cpu {

namespace {

enum class Aggregation : unsigned { equal_any, ranges, equal_each, equal_ordered };

struct Control {
    unsigned immediate;

    bool words() const { return (immediate & 1) != 0; }
    bool is_signed() const { return (immediate & 2) != 0; }
    Aggregation aggregation() const { return static_cast<Aggregation>(immediate >> 2 & 3); }
    bool negative() const { return (immediate & 0x10) != 0; }
    bool only_valid() const { return (immediate & 0x20) != 0; }  // negate within the second string's length only
    bool upper() const { return (immediate & 0x40) != 0; }       // the highest index; whole elements in the mask
    unsigned count() const { return words() ? 8 : 16; }
};

// Up to 16 elements, widened so that signed and unsigned ones compare alike.
struct PackedString {
    std::array<int, 16> at{};
    unsigned length = 0;
};

PackedString elements_of(__m128i value, Control control) {
    PackedString string;
    const Elements<std::uint8_t> bytes(value);
    const Elements<std::uint16_t> words(value);
    for (unsigned n = 0; n < control.count(); ++n) {
        if (control.words()) {
            string.at[n] = control.is_signed() ? static_cast<std::int16_t>(words[n]) : words[n];
        } else {
            string.at[n] = control.is_signed() ? static_cast<std::int8_t>(bytes[n]) : bytes[n];
        }
    }
    return string;
}

void end_at_zero(PackedString& string, Control control) {
    while (string.length < control.count() && string.at[string.length] != 0) ++string.length;
}

// EAX and EDX, or RAX and RDX: the absolute value, saturated at the number of elements.
unsigned explicit_length(std::int64_t value, Control control) {
    const std::uint64_t magnitude =
        value < 0 ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
    return magnitude < control.count() ? static_cast<unsigned>(magnitude) : control.count();
}

// What a comparison with an element behind the end of its string counts as is in table 4-7: either end
// missing is false, but for equal-each, where both missing is true, and equal-ordered, where a missing needle
// is true.
bool matches(const PackedString& first, const PackedString& second, Control control, unsigned n) {
    switch (control.aggregation()) {
        case Aggregation::equal_any:
            for (unsigned k = 0; k < first.length; ++k)
                if (n < second.length && first.at[k] == second.at[n]) return true;
            return false;
        case Aggregation::ranges:
            for (unsigned k = 0; k + 1 < first.length; k += 2)
                if (n < second.length && first.at[k] <= second.at[n] && second.at[n] <= first.at[k + 1]) return true;
            return false;
        case Aggregation::equal_each:
            if (n >= first.length || n >= second.length) return n >= first.length && n >= second.length;
            return first.at[n] == second.at[n];
        case Aggregation::equal_ordered:
        default:
            for (unsigned k = 0; k < first.length && n + k < control.count(); ++k)
                if (n + k >= second.length || first.at[k] != second.at[n + k]) return false;
            return true;
    }
}

struct Answer {
    unsigned bits = 0;
    std::uint64_t flags = 0;
};

Answer compare(const PackedString& first, const PackedString& second, Control control) {
    Answer answer;
    for (unsigned n = 0; n < control.count(); ++n)
        if (matches(first, second, control, n)) answer.bits |= 1u << n;
    if (control.negative()) {
        const unsigned all = (1u << control.count()) - 1;
        answer.bits ^= control.only_valid() ? (1u << second.length) - 1 : all;
    }
    answer.flags = (answer.bits != 0 ? rflags::cf : 0) | (second.length < control.count() ? rflags::zf : 0) |
                   (first.length < control.count() ? rflags::sf : 0) | ((answer.bits & 1) != 0 ? rflags::of : 0);
    return answer;
}

void put_index(Processor& p, unsigned bits, Control control) {
    unsigned index = control.count();
    if (bits != 0)
        index = static_cast<unsigned>(control.upper() ? 31 - std::countl_zero(bits) : std::countr_zero(bits));
    p.set<std::uint32_t>(rcx, index);
}

void put_mask(Processor& p, unsigned bits, Control control) {
    Elements<std::uint8_t> mask(_mm_setzero_si128());
    if (!control.upper()) {
        mask[0] = static_cast<std::uint8_t>(bits);
        mask[1] = static_cast<std::uint8_t>(bits >> 8);
    } else {
        for (unsigned n = 0; n < 16; ++n)
            if ((bits >> (control.words() ? n / 2 : n) & 1) != 0) mask[n] = 0xff;
    }
    set_half(p.state.floating_point.vector[0], mask);
}

template <bool Vex, bool Explicit, bool Mask>
void compare_strings(Processor& p, const Instruction& i) {
    if constexpr (Vex)
        require_avx(p);
    else
        require_sse(p);
    auto& registers = p.state.floating_point.vector;
    Vector256 operand = registers[i.registers[1]];
    if (i.has_memory) p.load_vector<16, false>(i.segment, p.effective_address(i), operand.data());
    const Control control{static_cast<unsigned>(i.immediate)};
    PackedString first = elements_of(half_of(registers[i.registers[0]]), control);
    PackedString second = elements_of(half_of(operand), control);
    if constexpr (Explicit) {
        const auto length = [&](GeneralRegister number) -> std::int64_t {
            return i.stack_width == 8 ? static_cast<std::int64_t>(p.get<std::uint64_t>(number))
                                      : static_cast<std::int32_t>(p.get<std::uint32_t>(number));
        };
        first.length = explicit_length(length(rax), control);
        second.length = explicit_length(length(rdx), control);
    } else {
        end_at_zero(first, control);
        end_at_zero(second, control);
    }
    const Answer answer = compare(first, second, control);
    if constexpr (Mask) {
        put_mask(p, answer.bits, control);
        if constexpr (Vex) registers[0][2] = registers[0][3] = 0;
    } else {
        put_index(p, answer.bits, control);
    }
    p.flags.set_bits(answer.flags);
}

template <bool Explicit, bool Mask>
Execute select_compare(const Shape& shape) {
    switch (shape.instruction.encoding) {
        case ZYDIS_INSTRUCTION_ENCODING_LEGACY: return compare_strings<false, Explicit, Mask>;
        case ZYDIS_INSTRUCTION_ENCODING_VEX: return compare_strings<true, Explicit, Mask>;
        default: return nullptr;
    }
}

}  // namespace

std::span<const Row> vector_string_rows() {
    constexpr CostClass cost = CostClass::vector_long;
    constexpr Feature sse4_2 = Feature::sse4_2, avx = Feature::avx;
    static constexpr std::array rows = {
        Row{ZYDIS_MNEMONIC_PCMPESTRI, select_compare<true, false>, cost, 0, sse4_2},
        Row{ZYDIS_MNEMONIC_PCMPESTRM, select_compare<true, true>, cost, 0, sse4_2},
        Row{ZYDIS_MNEMONIC_PCMPISTRI, select_compare<false, false>, cost, 0, sse4_2},
        Row{ZYDIS_MNEMONIC_PCMPISTRM, select_compare<false, true>, cost, 0, sse4_2},
        Row{ZYDIS_MNEMONIC_VPCMPESTRI, select_compare<true, false>, cost, 0, avx},
        Row{ZYDIS_MNEMONIC_VPCMPESTRM, select_compare<true, true>, cost, 0, avx},
        Row{ZYDIS_MNEMONIC_VPCMPISTRI, select_compare<false, false>, cost, 0, avx},
        Row{ZYDIS_MNEMONIC_VPCMPISTRM, select_compare<false, true>, cost, 0, avx},
    };
    return rows;
}

}  // namespace xenolith::cpu
