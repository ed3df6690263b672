// Whether operations are inexact where their results are too large or too small and that is not masked.
//
// With exponents that have no bounds such a result would be the one to round (SDM vol. 1, 4.9.1.4 and 4.9.1.5), and
// MXCSR's flag of an inexact result tells of that rounding. The host's flags tell of a masked operation, whose result
// is inexact whenever it overflows, and mostly when it underflows. So these functions do it again, element by element,
// in a format that is wide enough to be exact: 113 bits hold any product, and no sum or quotient that they do not hold
// fits the destination. All that happens once an exception is known to be raised, so it need not be quick.
#pragma once

#include <emmintrin.h>

#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "cpu/isa/vector_forms.hpp"

namespace xenolith::cpu {

namespace exactness {

using Wide = __float128;

// An element before it is rounded.
struct Result {
    Wide value;
    bool is_exact;  // `value` is all of it
};

inline Result add(Wide first, Wide second) {
    const Wide sum = first + second;
    return {sum, sum - first == second && sum - second == first};
}
inline Result subtract(Wide first, Wide second) { return add(first, -second); }
inline Result multiply(Wide first, Wide second) { return {first * second, true}; }
inline Result divide(Wide first, Wide second) {
    if (second == 0) return {0, true};
    const Wide quotient = first / second;
    return {quotient, quotient * second == first};
}

// A format that results are rounded to.
struct Format {
    int bits;             // of a significand
    int lowest, highest;  // exponents of normal numbers
};
template <class T>
inline constexpr Format format_of{std::numeric_limits<T>::digits, std::numeric_limits<T>::min_exponent - 1,
                                  std::numeric_limits<T>::max_exponent - 1};

// Of 1.x * 2^first; its last bit that is one is 2^last. Results are zero or, in this format, normal numbers.
struct Extent {
    int first, last;

    explicit Extent(Wide value) {
        constexpr int fraction_bits = 112, bias = 16383;
        constexpr unsigned exponent_mask = 0x7fff;
        const auto bits = std::bit_cast<std::array<std::uint64_t, 2>>(value);
        const std::uint64_t high = bits[1] | std::uint64_t{1} << (fraction_bits - 64);
        first = static_cast<int>(bits[1] >> (fraction_bits - 64) & exponent_mask) - bias;
        last = first - fraction_bits + (bits[0] != 0 ? std::countr_zero(bits[0]) : 64 + std::countr_zero(high));
    }
};

inline bool is_inexact(const Result& result, const Format& format, unsigned mxcsr) {
    constexpr unsigned overflow_masked = 0x400, underflow_masked = 0x800, flush_to_zero = 0x8000;
    if (!result.is_exact) return true;
    if (result.value == 0) return false;
    const Extent extent(result.value);
    if (extent.first - extent.last >= format.bits) return true;
    if (extent.first > format.highest) return (mxcsr & overflow_masked) != 0;
    if (extent.first >= format.lowest || (mxcsr & underflow_masked) == 0) return false;
    return (mxcsr & flush_to_zero) != 0 || extent.last <= format.lowest - format.bits;
}

// The operands of a 128-bit operation. The host's MXCSR is the guest's, so what is a denormal is seen in bits.
template <class T>
class Operands {
  public:
    Operands(__m128i value, unsigned mxcsr) : bits_(value), mxcsr_(mxcsr) {}
    bool is_finite(unsigned n) const { return exponent(n) != exponent_mask; }
    Wide operator[](unsigned n) const {
        constexpr unsigned denormals_are_zeros = 0x40;
        if ((mxcsr_ & denormals_are_zeros) != 0 && exponent(n) == 0) return 0;
        return Wide{std::bit_cast<T>(bits_[n])};
    }

  private:
    using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
    static constexpr Bits exponent_mask = Bits{std::numeric_limits<T>::max_exponent} * 2 - 1;

    Bits exponent(unsigned n) const { return bits_[n] >> (std::numeric_limits<T>::digits - 1) & exponent_mask; }

    Elements<Bits> bits_;
    unsigned mxcsr_;
};

using Operation = Result (*)(Wide, Wide);

// Element by element; the first elements alone of a scalar operation.
template <class T, Operation Even, Operation Odd = Even, unsigned Count = 16 / sizeof(T)>
bool each(__m128i first, __m128i second, unsigned mxcsr) {
    const Operands<T> a(first, mxcsr), b(second, mxcsr);
    for (unsigned n = 0; n < Count; ++n)
        if (a.is_finite(n) && b.is_finite(n) &&
            is_inexact(n % 2 == 0 ? Even(a[n], b[n]) : Odd(a[n], b[n]), format_of<T>, mxcsr))
            return true;
    return false;
}
template <class T, Operation Of>
bool first_alone(__m128i first, __m128i second, unsigned mxcsr) {
    return each<T, Of, Of, 1>(first, second, mxcsr);
}

// Neighbours within each source.
template <class T, Operation Of>
bool neighbours(__m128i first, __m128i second, unsigned mxcsr) {
    for (const __m128i source : {first, second}) {
        const Operands<T> from(source, mxcsr);
        for (unsigned n = 0; n < Elements<T>::count; n += 2)
            if (from.is_finite(n) && from.is_finite(n + 1) && is_inexact(Of(from[n], from[n + 1]), format_of<T>, mxcsr))
                return true;
    }
    return false;
}

// Elements of T rounded to a shorter format.
template <class T, unsigned Count>
bool narrowed(__m128i second, const Format& to, unsigned mxcsr) {
    const Operands<T> from(second, mxcsr);
    for (unsigned n = 0; n < Count; ++n)
        if (from.is_finite(n) && is_inexact({from[n], true}, to, mxcsr)) return true;
    return false;
}

// Products that something is added to; the order is that of the digits in the instruction's name.
enum class Order { fused132, fused213, fused231 };
template <class T, Order O, unsigned Count, Operation Even, Operation Odd = Even>
bool fused(__m128i to, __m128i first, __m128i second, unsigned mxcsr) {
    const Operands<T> one(to, mxcsr), two(first, mxcsr), three(second, mxcsr);
    for (unsigned n = 0; n < Count; ++n) {
        if (!one.is_finite(n) || !two.is_finite(n) || !three.is_finite(n)) continue;
        const Wide product = O == Order::fused132   ? one[n] * three[n]
                             : O == Order::fused213 ? two[n] * one[n]
                                                    : two[n] * three[n];
        const Wide addend = O == Order::fused132 ? two[n] : O == Order::fused213 ? three[n] : one[n];
        if (is_inexact(n % 2 == 0 ? Even(product, addend) : Odd(product, addend), format_of<T>, mxcsr)) return true;
    }
    return false;
}

inline void tell() {
    constexpr unsigned inexact = 0x20;
    _mm_setcsr(_mm_getcsr() | inexact);
}

}  // namespace exactness

// Function, which also answers `looks_for_inexactness`. IsInexact is bool(first, second, mxcsr).
template <auto Function, auto IsInexact>
__m128i rounded(__m128i first, __m128i second, unsigned immediate) {
    if ((immediate & looks_for_inexactness) == 0) [[likely]]
        return apply<Function>(first, second, immediate);
    if (IsInexact(first, second, immediate >> mxcsr_shift)) exactness::tell();
    return second;
}

// The same for Function(to, first, second), which multiplies and adds.
template <auto Function, class T, exactness::Order O, unsigned Count, exactness::Operation... Operations>
void low_half_fused(Vector256& to, const Vector256& first, const Vector256& second, std::uint64_t immediate) {
    if ((immediate & looks_for_inexactness) == 0) [[likely]]
        return low_half_of_three<Function>(to, first, second, immediate);
    const auto mxcsr = static_cast<unsigned>(immediate >> mxcsr_shift);
    if (exactness::fused<T, O, Count, Operations...>(half_of(to), half_of(first), half_of(second), mxcsr))
        exactness::tell();
}
template <auto Function, class T, exactness::Order O, exactness::Operation... Operations>
void both_halves_fused(Vector256& to, const Vector256& first, const Vector256& second, std::uint64_t immediate) {
    if ((immediate & looks_for_inexactness) == 0) [[likely]]
        return both_halves_of_three<Function>(to, first, second, immediate);
    const auto mxcsr = static_cast<unsigned>(immediate >> mxcsr_shift);
    constexpr unsigned count = 16 / sizeof(T);
    if (exactness::fused<T, O, count, Operations...>(half_of<0>(to), half_of<0>(first), half_of<0>(second), mxcsr) ||
        exactness::fused<T, O, count, Operations...>(half_of<1>(to), half_of<1>(first), half_of<1>(second), mxcsr))
        exactness::tell();
}

}  // namespace xenolith::cpu
