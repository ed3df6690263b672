// The arithmetic flags, kept as the operands that made them and worked out only when asked for.
//
// Almost every instruction sets the six flags and almost none reads them. So three words are stored instead:
//   result   the result, sign-extended to 64 bits: gives ZF, SF and PF;
//   history  for each bit the carry into it, XORed with `result`; bit 63 is different: it is OF XOR the result's sign.
//            So AF is bit 4 and OF is bit 63 of (history ^ result);
//   carry    bit 0 is CF; bit 1 inverts PF and bit 2 inverts SF, for POPF and SAHF can load values that no result has.
// An instruction that writes all flags writes all three words; one that keeps CF (INC, DEC) writes two and masks one.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <type_traits>

#include "cpu/state/registers.hpp"

namespace xenolith::cpu {

template <std::unsigned_integral T>
inline constexpr unsigned bits_of = sizeof(T) * 8;

// Sign-extends to 64 bits.
template <std::unsigned_integral T>
constexpr std::uint64_t sign_extend(T value) {
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::make_signed_t<T>>(value)));
}

template <std::unsigned_integral T>
constexpr bool sign_bit(T value) {
    return (value >> (bits_of<T> - 1)) != 0;
}

class Flags {
  public:
    bool cf() const { return (carry_ & 1) != 0; }
    bool pf() const { return ((std::popcount(static_cast<std::uint8_t>(result_)) & 1) != 0) == inverts(1); }
    bool af() const { return ((history_ ^ result_) >> 4 & 1) != 0; }
    bool zf() const { return result_ == 0; }
    bool sf() const { return (result_ >> 63 != 0) != inverts(2); }
    bool of() const { return (history_ ^ result_) >> 63 != 0; }

    // result = left + right (+ carry_in), `carry_out` the carry out of the top bit.
    template <std::unsigned_integral T>
    void set_add(T left, T right, T result, bool carry_out) {
        result_ = sign_extend(result);
        history_ = (sign_extend(static_cast<T>(left ^ right))) ^ top(carry_out);
        carry_ = carry_out;
    }
    // result = left - right (- borrow_in).
    template <std::unsigned_integral T>
    void set_subtract(T left, T right, T result, bool borrow_out) {
        set_add(left, right, result, borrow_out);
    }
    // AND, OR, XOR, TEST: CF, OF and the undefined AF are cleared.
    template <std::unsigned_integral T>
    void set_logic(T result) {
        result_ = history_ = sign_extend(result);
        carry_ = 0;
    }
    // INC, DEC: as an addition or subtraction of 1, but CF stays.
    template <std::unsigned_integral T>
    void set_keep_carry(T left, T result, bool carry_out) {
        result_ = sign_extend(result);
        history_ = sign_extend(static_cast<T>(left ^ T{1})) ^ top(carry_out);
        carry_ &= 1;
    }
    // SF, ZF and PF from the result, the others as given: shifts, multiplications, bit tests and BCD.
    template <std::unsigned_integral T>
    void set_result(T result, bool carry, bool overflow, bool adjust = false) {
        result_ = sign_extend(result);
        history_ = result_ ^ top(overflow) ^ static_cast<std::uint64_t>(adjust) << 4;
        carry_ = carry;
    }
    void set_cf(bool value) { carry_ = (carry_ & ~std::uint64_t{1}) | static_cast<std::uint64_t>(value); }
    void set_of(bool value) { history_ = ((history_ ^ (of() != value ? top(true) : 0))); }
    void set_zf(bool value) { set_bits(value ? bits() | rflags::zf : bits() & ~rflags::zf); }

    // The six arithmetic flags at their places in RFLAGS.
    std::uint64_t bits() const {
        return (cf() ? rflags::cf : 0) | (pf() ? rflags::pf : 0) | (af() ? rflags::af : 0) | (zf() ? rflags::zf : 0) |
               (sf() ? rflags::sf : 0) | (of() ? rflags::of : 0);
    }
    void set_bits(std::uint64_t value) {
        // A result of 1 has SF = 0, ZF = 0, PF = 0; of 0 has ZF = 1 and PF = 1. What differs is inverted.
        const bool zero = (value & rflags::zf) != 0, parity = (value & rflags::pf) != 0;
        result_ = zero ? 0 : 1;
        carry_ =
            ((value & rflags::cf) != 0 ? 1u : 0u) | (parity != zero ? 2u : 0u) | ((value & rflags::sf) != 0 ? 4u : 0u);
        history_ = result_ ^ top((value & rflags::of) != 0) ^ ((value & rflags::af) != 0 ? 0x10u : 0u);
    }

    // Condition codes as Jcc, SETcc and CMOVcc encode them (SDM vol. 1, appendix B).
    template <unsigned Code>
    bool condition() const {
        constexpr unsigned pair = Code >> 1;
        bool met = false;
        if constexpr (pair == 0) met = of();
        if constexpr (pair == 1) met = cf();
        if constexpr (pair == 2) met = zf();
        if constexpr (pair == 3) met = cf() || zf();
        if constexpr (pair == 4) met = sf();
        if constexpr (pair == 5) met = pf();
        if constexpr (pair == 6) met = sf() != of();
        if constexpr (pair == 7) met = zf() || sf() != of();
        return met != ((Code & 1) != 0);
    }

  private:
    static constexpr std::uint64_t top(bool value) { return static_cast<std::uint64_t>(value) << 63; }
    bool inverts(unsigned bit) const { return (carry_ >> bit & 1) != 0; }

    std::uint64_t result_ = 1;
    std::uint64_t history_ = 1;
    std::uint64_t carry_ = 0;
};

}  // namespace xenolith::cpu
