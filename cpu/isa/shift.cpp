// Shifts and rotates (SDM vol. 2, SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD, and the BMI2 shifts without
// flags).
//
// Counts are masked to 5 bits, 6 with a 64-bit operand. A masked count of zero changes no flag. OF is defined
// for a count of one alone; for others it is computed by the same rule.
#include <array>
#include <bit>

#include "cpu/isa/forms.hpp"
#include "cpu/isa/row.hpp"

namespace xenolith::cpu {

namespace {

template <class T>
constexpr unsigned count_mask = sizeof(T) == 8 ? 63 : 31;

template <class T>
bool next_to_sign_bit(T value) {
    return (value >> (bits_of<T> - 2) & 1) != 0;
}

// apply() below is called with 0 < count <= count_mask<T>.
struct ShiftLeft {
    template <class T>
    static T apply(Flags& flags, T value, unsigned count) {
        // Through 64 bits: counts beyond the width shift out all bits, and the last one out is a zero.
        T result;
        bool carry;
        if constexpr (sizeof(T) == 8) {
            result = value << count;
            carry = (value >> (64 - count) & 1) != 0;
        } else {
            const std::uint64_t wide = std::uint64_t{value} << count;
            result = static_cast<T>(wide);
            carry = (wide >> bits_of<T> & 1) != 0;
        }
        flags.set_result(result, carry, sign_bit(result) != carry);
        return result;
    }
};

struct ShiftRight {
    template <class T>
    static T apply(Flags& flags, T value, unsigned count) {
        const std::uint64_t before = std::uint64_t{value} >> (count - 1);
        const T result = static_cast<T>(before >> 1);
        // The two top bits of the result differ where the operand was negative and was shifted by one.
        flags.set_result(result, (before & 1) != 0, sign_bit(result) != next_to_sign_bit(result));
        return result;
    }
};

struct ShiftArithmeticRight {
    template <class T>
    static T apply(Flags& flags, T value, unsigned count) {
        const auto before = static_cast<std::int64_t>(sign_extend(value)) >> (count - 1);
        const T result = static_cast<T>(before >> 1);
        flags.set_result(result, (before & 1) != 0, false);
        return result;
    }
};

struct RotateLeft {
    template <class T>
    static T apply(Flags& flags, T value, unsigned count) {
        const T result = std::rotl(value, static_cast<int>(count));
        const bool carry = (result & 1) != 0;
        flags.set_cf(carry);
        flags.set_of(sign_bit(result) != carry);
        return result;
    }
};

struct RotateRight {
    template <class T>
    static T apply(Flags& flags, T value, unsigned count) {
        const T result = std::rotr(value, static_cast<int>(count));
        flags.set_cf(sign_bit(result));
        flags.set_of(sign_bit(result) != next_to_sign_bit(result));
        return result;
    }
};

// A rotation of CF:value, which is one bit wider than the operand.
struct RotateCarryLeft {
    template <class T>
    static T apply(Flags& flags, T value, unsigned count) {
        const unsigned places = count % (bits_of<T> + 1);
        if (places == 0) return value;
        const T carry_in = flags.cf();
        T result = static_cast<T>(carry_in << (places - 1));
        if (places < bits_of<T>) result = static_cast<T>(result | value << places);
        if (places > 1) result = static_cast<T>(result | value >> (bits_of<T> + 1 - places));
        const bool carry = (value >> (bits_of<T> - places) & 1) != 0;
        flags.set_cf(carry);
        flags.set_of(sign_bit(result) != carry);
        return result;
    }
};

struct RotateCarryRight {
    template <class T>
    static T apply(Flags& flags, T value, unsigned count) {
        const unsigned places = count % (bits_of<T> + 1);
        if (places == 0) return value;
        const T carry_in = flags.cf();
        T result = static_cast<T>(carry_in << (bits_of<T> - places));
        if (places < bits_of<T>) result = static_cast<T>(result | value >> places);
        if (places > 1) result = static_cast<T>(result | value << (bits_of<T> + 1 - places));
        flags.set_cf((value >> (places - 1) & 1) != 0);
        flags.set_of(sign_bit(result) != next_to_sign_bit(result));
        return result;
    }
};

// Makes a two-operand operation of a shift; the count may be CL, which is 8 bits whatever the width.
template <class Operation, std::unsigned_integral T>
struct Shift {
    static void rr(Processor& p, const Instruction& i) { on_register(p, i, p.get<std::uint8_t>(i.registers[1])); }
    static void ri(Processor& p, const Instruction& i) { on_register(p, i, static_cast<unsigned>(i.immediate)); }
    static void mr(Processor& p, const Instruction& i) { on_memory(p, i, p.get<std::uint8_t>(i.registers[1])); }
    static void mi(Processor& p, const Instruction& i) { on_memory(p, i, static_cast<unsigned>(i.immediate)); }

  private:
    static void on_register(Processor& p, const Instruction& i, unsigned count) {
        const T value = p.get<T>(i.registers[0]);
        p.set<T>(i.registers[0], shifted(p, value, count));
    }
    static void on_memory(Processor& p, const Instruction& i, unsigned count) {
        const T value = p.begin_modify<T>(i);
        p.end_modify<T>(shifted(p, value, count));
    }
    static T shifted(Processor& p, T value, unsigned count) {
        count &= count_mask<T>;
        if (count == 0) return value;
        return Operation::template apply<T>(p.flags, value, count);
    }
};

template <class Operation>
Execute select_shift(const Shape& shape) {
    return with_width(shape.width, [&]<class T>() -> Execute {
        switch (shape.form) {
            case form("rr"): return Shift<Operation, T>::rr;
            case form("ri"): return Shift<Operation, T>::ri;
            case form("mr"): return Shift<Operation, T>::mr;
            case form("mi"): return Shift<Operation, T>::mi;
            default: return nullptr;
        }
    });
}

// --- SHLD, SHRD
// --------------------------------------------------------------------------------------------------

// With 16-bit operands and counts above 16 the result is undefined; the destination's bits then come in again
// behind the source's, as if the three words destination, source, destination were shifted.
struct ShiftLeftDouble {
    template <class T>
    static T apply(Flags& flags, T value, T fill, unsigned count) {
        T result;
        bool carry;
        if constexpr (sizeof(T) == 2) {
            const std::uint64_t wide = (std::uint64_t{value} << 32 | std::uint64_t{fill} << 16 | value) << count;
            result = static_cast<T>(wide >> 32);
            carry = (wide >> 48 & 1) != 0;
        } else {
            result = static_cast<T>(value << count | fill >> (bits_of<T> - count));
            carry = (value >> (bits_of<T> - count) & 1) != 0;
        }
        flags.set_result(result, carry, sign_bit(static_cast<T>(result ^ value)));
        return result;
    }
};

struct ShiftRightDouble {
    template <class T>
    static T apply(Flags& flags, T value, T fill, unsigned count) {
        T result;
        bool carry;
        if constexpr (sizeof(T) == 2) {
            const std::uint64_t wide = std::uint64_t{value} << 32 | std::uint64_t{fill} << 16 | value;
            result = static_cast<T>(wide >> count);
            carry = (wide >> (count - 1) & 1) != 0;
        } else {
            result = static_cast<T>(value >> count | fill << (bits_of<T> - count));
            carry = (value >> (count - 1) & 1) != 0;
        }
        flags.set_result(result, carry, sign_bit(static_cast<T>(result ^ value)));
        return result;
    }
};

template <class Operation, std::unsigned_integral T>
struct DoubleShift {
    static void rrr(Processor& p, const Instruction& i) { on_register(p, i, p.get<std::uint8_t>(i.registers[2])); }
    static void rri(Processor& p, const Instruction& i) { on_register(p, i, static_cast<unsigned>(i.immediate)); }
    static void mrr(Processor& p, const Instruction& i) { on_memory(p, i, p.get<std::uint8_t>(i.registers[2])); }
    static void mri(Processor& p, const Instruction& i) { on_memory(p, i, static_cast<unsigned>(i.immediate)); }

  private:
    static void on_register(Processor& p, const Instruction& i, unsigned count) {
        p.set<T>(i.registers[0], shifted(p, i, p.get<T>(i.registers[0]), count));
    }
    static void on_memory(Processor& p, const Instruction& i, unsigned count) {
        const T value = p.begin_modify<T>(i);
        p.end_modify<T>(shifted(p, i, value, count));
    }
    static T shifted(Processor& p, const Instruction& i, T value, unsigned count) {
        count &= count_mask<T>;
        if (count == 0) return value;
        return Operation::template apply<T>(p.flags, value, p.get<T>(i.registers[1]), count);
    }
};

template <class Operation>
Execute select_double_shift(const Shape& shape) {
    return with_wide_width(shape.width, [&]<class T>() -> Execute {
        switch (shape.form) {
            case form("rrr"): return DoubleShift<Operation, T>::rrr;
            case form("rri"): return DoubleShift<Operation, T>::rri;
            case form("mrr"): return DoubleShift<Operation, T>::mrr;
            case form("mri"): return DoubleShift<Operation, T>::mri;
            default: return nullptr;
        }
    });
}

// --- BMI2: no flags
// ----------------------------------------------------------------------------------------------

struct RotateRightPlain {
    template <class T>
    static T apply(Processor&, T value, T count) {
        return std::rotr(value, static_cast<int>(count & count_mask<T>));
    }
};

struct ShiftLeftPlain {
    template <class T>
    static T apply(Processor&, T value, T count) {
        return value << (count & count_mask<T>);
    }
};

struct ShiftRightPlain {
    template <class T>
    static T apply(Processor&, T value, T count) {
        return value >> (count & count_mask<T>);
    }
};

struct ShiftArithmeticRightPlain {
    template <class T>
    static T apply(Processor&, T value, T count) {
        return static_cast<T>(static_cast<std::make_signed_t<T>>(value) >> (count & count_mask<T>));
    }
};

}  // namespace

std::span<const Row> shift_rows() {
    using enum CostClass;
    static const std::array rows = {
        Row{ZYDIS_MNEMONIC_SHL, select_shift<ShiftLeft>, simple},
        Row{ZYDIS_MNEMONIC_SHR, select_shift<ShiftRight>, simple},
        Row{ZYDIS_MNEMONIC_SAR, select_shift<ShiftArithmeticRight>, simple},
        Row{ZYDIS_MNEMONIC_ROL, select_shift<RotateLeft>, simple},
        Row{ZYDIS_MNEMONIC_ROR, select_shift<RotateRight>, simple},
        Row{ZYDIS_MNEMONIC_RCL, select_shift<RotateCarryLeft>, shift_double},
        Row{ZYDIS_MNEMONIC_RCR, select_shift<RotateCarryRight>, shift_double},
        Row{ZYDIS_MNEMONIC_SHLD, select_double_shift<ShiftLeftDouble>, shift_double},
        Row{ZYDIS_MNEMONIC_SHRD, select_double_shift<ShiftRightDouble>, shift_double},
        Row{ZYDIS_MNEMONIC_RORX, select_ternary<RotateRightPlain>, simple, 0, Feature::bmi2},
        Row{ZYDIS_MNEMONIC_SHLX, select_ternary<ShiftLeftPlain>, simple, 0, Feature::bmi2},
        Row{ZYDIS_MNEMONIC_SHRX, select_ternary<ShiftRightPlain>, simple, 0, Feature::bmi2},
        Row{ZYDIS_MNEMONIC_SARX, select_ternary<ShiftArithmeticRightPlain>, simple, 0, Feature::bmi2},
    };
    return rows;
}

}  // namespace xenolith::cpu
