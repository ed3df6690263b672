// Multiplication, division and decimal adjustment (SDM vol. 2).
#include <array>
#include <limits>
#include <type_traits>

#include "cpu/isa/forms.hpp"
#include "cpu/isa/row.hpp"

namespace xenolith::cpu {

namespace {

// An integer of twice the width, where a double-width product or dividend fits.
template <class T>
struct Doubled;
template <>
struct Doubled<std::uint8_t> {
    using Unsigned = std::uint16_t;
    using Signed = std::int16_t;
};
template <>
struct Doubled<std::uint16_t> {
    using Unsigned = std::uint32_t;
    using Signed = std::int32_t;
};
template <>
struct Doubled<std::uint32_t> {
    using Unsigned = std::uint64_t;
    using Signed = std::int64_t;
};
template <>
struct Doubled<std::uint64_t> {
    using Unsigned = unsigned __int128;
    using Signed = __int128;
};
template <class T>
using Wide = typename Doubled<T>::Unsigned;
template <class T>
using WideSigned = typename Doubled<T>::Signed;
template <class T>
using Narrow = std::make_signed_t<T>;

// DX:AX, EDX:EAX, RDX:RAX; for bytes AX.
template <class T>
Wide<T> accumulator_pair(const Processor& p) {
    if constexpr (sizeof(T) == 1) {
        return p.get<std::uint16_t>(rax);
    } else {
        return static_cast<Wide<T>>(static_cast<Wide<T>>(p.get<T>(rdx)) << bits_of<T> | p.get<T>(rax));
    }
}

template <class T>
void set_accumulator_pair(Processor& p, Wide<T> value) {
    if constexpr (sizeof(T) == 1) {
        p.set<std::uint16_t>(rax, value);
    } else {
        p.set<T>(rax, static_cast<T>(value));
        p.set<T>(rdx, static_cast<T>(value >> bits_of<T>));
    }
}

// Low half to AL, AX, EAX, RAX; high half to AH, DX, EDX, RDX.
template <class T>
void set_quotient_remainder(Processor& p, T quotient, T remainder) {
    if constexpr (sizeof(T) == 1) {
        p.set<std::uint16_t>(rax, static_cast<std::uint16_t>(quotient | remainder << 8));
    } else {
        p.set<T>(rax, quotient);
        p.set<T>(rdx, remainder);
    }
}

template <class T>
WideSigned<T> as_signed(T value) {
    return static_cast<Narrow<T>>(value);
}

// The whole product, as a bit pattern.
template <class T>
Wide<T> signed_product(T left, T right) {
    if constexpr (sizeof(T) == 8) {
        // |left| and |right| are at most 2^63, so the product of two 64-bit integers never overflows 128.
        return static_cast<Wide<T>>(as_signed(left) * as_signed(right));
    } else {
        return static_cast<Wide<T>>(static_cast<std::int64_t>(as_signed(left)) * as_signed(right));
    }
}

// CF and OF say that the product does not fit the low half; the rest is undefined.
template <class T>
bool exceeds_low_half(Wide<T> product) {
    return static_cast<Wide<T>>(as_signed(static_cast<T>(product))) != product;
}

struct Multiply {
    template <class T>
    static void apply(Processor& p, T source) {
        const auto product = static_cast<Wide<T>>(static_cast<Wide<T>>(p.get<T>(rax)) * source);
        set_accumulator_pair<T>(p, product);
        const bool high = product >> bits_of<T> != 0;
        p.flags.set_result(static_cast<T>(product), high, high);
    }
};

struct MultiplySigned {
    template <class T>
    static void apply(Processor& p, T source) {
        const Wide<T> product = signed_product(p.get<T>(rax), source);
        set_accumulator_pair<T>(p, product);
        const bool high = exceeds_low_half<T>(product);
        p.flags.set_result(static_cast<T>(product), high, high);
    }
};

struct Divide {
    template <class T>
    static void apply(Processor& p, T divisor) {
        const Wide<T> dividend = accumulator_pair<T>(p);
        if (static_cast<T>(dividend >> bits_of<T>) >= divisor) p.raise(Vector::divide_error);
        if constexpr (sizeof(T) == 8) {
            // Most dividends fit one half, and a 128-bit division is a long call.
            if (dividend >> 64 == 0) {
                const auto low = static_cast<std::uint64_t>(dividend);
                set_quotient_remainder<T>(p, low / divisor, low % divisor);
                return;
            }
        }
        set_quotient_remainder<T>(p, static_cast<T>(dividend / divisor), static_cast<T>(dividend % divisor));
    }
};

struct DivideSigned {
    template <class T>
    static void apply(Processor& p, T source) {
        const auto dividend = static_cast<WideSigned<T>>(accumulator_pair<T>(p));
        const WideSigned<T> divisor = as_signed(source);
        // The one quotient that even the double width cannot hold.
        constexpr auto lowest = static_cast<WideSigned<T>>(Wide<T>{1} << (bits_of<T> * 2 - 1));
        if (divisor == 0 || (divisor == -1 && dividend == lowest)) p.raise(Vector::divide_error);
        const auto quotient = static_cast<WideSigned<T>>(dividend / divisor);
        if (quotient != static_cast<Narrow<T>>(quotient)) p.raise(Vector::divide_error);
        set_quotient_remainder<T>(p, static_cast<T>(quotient), static_cast<T>(dividend % divisor));
    }
};

// An operand beside the accumulator.
template <class Operation, std::unsigned_integral T>
struct WithAccumulator {
    static void r(Processor& p, const Instruction& i) { Operation::template apply<T>(p, p.get<T>(i.registers[0])); }
    static void m(Processor& p, const Instruction& i) { Operation::template apply<T>(p, p.load<T>(i)); }
};

template <class Operation>
Execute select_with_accumulator(const Shape& shape) {
    return with_width(shape.width, [&]<class T>() -> Execute {
        if (shape.form == form("r")) return WithAccumulator<Operation, T>::r;
        if (shape.form == form("m")) return WithAccumulator<Operation, T>::m;
        return nullptr;
    });
}

// Division by 64 bits has its own cost class.
const Row* division_variant(const Row& self, const Shape& shape) {
    static const Row large[] = {
        {ZYDIS_MNEMONIC_DIV, select_with_accumulator<Divide>, CostClass::divide_large},
        {ZYDIS_MNEMONIC_IDIV, select_with_accumulator<DivideSigned>, CostClass::divide_large},
    };
    if (shape.operands[0].size != 64) return &self;
    return &large[self.mnemonic == ZYDIS_MNEMONIC_DIV ? 0 : 1];
}

// IMUL with two and three operands: the product truncated.
struct MultiplyTruncated {
    static constexpr bool stores = true;
    template <class T>
    static T apply(Processor& p, T left, T right) {
        const Wide<T> product = signed_product(left, right);
        const T result = static_cast<T>(product);
        const bool high = exceeds_low_half<T>(product);
        p.flags.set_result(result, high, high);
        return result;
    }
};

Execute select_signed_multiply(const Shape& shape) {
    if (shape.form == form("r") || shape.form == form("m")) return select_with_accumulator<MultiplySigned>(shape);
    return with_wide_width(shape.width, [&]<class T>() -> Execute {
        switch (shape.form) {
            case form("rr"):
            case form("rm"): return binary_form<MultiplyTruncated, T>(shape.form);
            case form("rri"):
            case form("rmi"): return ternary_form<MultiplyTruncated, T>(shape.form);
            default: return nullptr;
        }
    });
}

// MULX: no flags; where both destinations are one register it gets the high half.
template <std::unsigned_integral T>
struct MultiplyWithoutFlags {
    static void rrr(Processor& p, const Instruction& i) { apply(p, i, p.get<T>(i.registers[2])); }
    static void rrm(Processor& p, const Instruction& i) { apply(p, i, p.load<T>(i)); }

  private:
    static void apply(Processor& p, const Instruction& i, T source) {
        const Wide<T> product = static_cast<Wide<T>>(p.get<T>(rdx)) * source;
        p.set<T>(i.registers[1], static_cast<T>(product));
        p.set<T>(i.registers[0], static_cast<T>(product >> bits_of<T>));
    }
};

Execute select_multiply_without_flags(const Shape& shape) {
    return with_large_width(shape.width, [&]<class T>() -> Execute {
        if (shape.form == form("rrr")) return MultiplyWithoutFlags<T>::rrr;
        if (shape.form == form("rrm")) return MultiplyWithoutFlags<T>::rrm;
        return nullptr;
    });
}

// --- Decimal adjustment
// ------------------------------------------------------------------------------------------

// DAA and DAS: Sign is +1 after an addition, -1 after a subtraction.
template <int Sign>
void decimal_adjust(Processor& p, const Instruction&) {
    const auto old = p.get<std::uint8_t>(rax);
    const bool old_carry = p.flags.cf();
    const bool adjust = (old & 0xf) > 9 || p.flags.af();
    unsigned result = old;
    bool carry = false;
    if (adjust) {
        const unsigned sum = Sign > 0 ? result + 6 : result - 6;
        carry = old_carry || sum > 0xff;
        result = sum & 0xff;
    }
    if (old > 0x99 || old_carry) {
        result = (Sign > 0 ? result + 0x60 : result - 0x60) & 0xff;
        carry = true;
    }
    const auto adjusted = static_cast<std::uint8_t>(result);
    p.set<std::uint8_t>(rax, adjusted);
    p.flags.set_result(adjusted, carry, false, adjust);
}

// AAA and AAS.
template <int Sign>
void ascii_adjust(Processor& p, const Instruction&) {
    const auto old = p.get<std::uint16_t>(rax);
    const bool adjust = (old & 0xf) > 9 || p.flags.af();
    unsigned result = old;
    if (adjust) result = Sign > 0 ? result + 0x106 : result - 0x106;
    p.set<std::uint16_t>(rax, static_cast<std::uint16_t>(result & 0xff0f));
    p.flags.set_result(static_cast<std::uint8_t>(result & 0x0f), adjust, false, adjust);
}

void ascii_adjust_after_multiply(Processor& p, const Instruction& i) {
    const auto base = static_cast<std::uint8_t>(i.immediate);
    if (base == 0) p.raise(Vector::divide_error);
    const auto al = p.get<std::uint8_t>(rax);
    const auto remainder = static_cast<std::uint8_t>(al % base);
    p.set<std::uint16_t>(rax, static_cast<std::uint16_t>(al / base << 8 | remainder));
    p.flags.set_result(remainder, false, false);
}

void ascii_adjust_before_divide(Processor& p, const Instruction& i) {
    const auto ax = p.get<std::uint16_t>(rax);
    const auto sum = static_cast<std::uint8_t>(ax + (ax >> 8) * static_cast<std::uint8_t>(i.immediate));
    p.set<std::uint16_t>(rax, sum);
    p.flags.set_result(sum, false, false);
}

}  // namespace

std::span<const Row> multiply_rows() {
    using enum CostClass;
    using enum JitTreatment;
    static const std::array rows = {
        Row{ZYDIS_MNEMONIC_MUL, select_with_accumulator<Multiply>, multiply},
        Row{ZYDIS_MNEMONIC_IMUL, select_signed_multiply, multiply},
        Row{ZYDIS_MNEMONIC_MULX, select_multiply_without_flags, multiply, 0, Feature::bmi2},
        Row{ZYDIS_MNEMONIC_DIV, select_with_accumulator<Divide>, divide_small, 0, Feature::base, call,
            division_variant},
        Row{ZYDIS_MNEMONIC_IDIV, select_with_accumulator<DivideSigned>, divide_small, 0, Feature::base, call,
            division_variant},
        Row{ZYDIS_MNEMONIC_DAA, always<decimal_adjust<+1>>, bcd},
        Row{ZYDIS_MNEMONIC_DAS, always<decimal_adjust<-1>>, bcd},
        Row{ZYDIS_MNEMONIC_AAA, always<ascii_adjust<+1>>, bcd},
        Row{ZYDIS_MNEMONIC_AAS, always<ascii_adjust<-1>>, bcd},
        Row{ZYDIS_MNEMONIC_AAM, always<ascii_adjust_after_multiply>, bcd},
        Row{ZYDIS_MNEMONIC_AAD, always<ascii_adjust_before_divide>, bcd},
    };
    return rows;
}

}  // namespace xenolith::cpu
