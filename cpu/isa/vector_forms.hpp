// Rows of vector instructions from operations of the host: a table line names an instruction and what
// computes it.
//
// What an instruction computes and where its operands are have nothing to do with each other. So an operation
// is a plain function of two sources and a destination (VectorOperation in cpu/isa/instruction.hpp), and
// select_vector() picks an execute function that fetches the sources, calls the operation and puts the result
// away. One operation serves the encoding without VEX prefix, which keeps the upper half of a YMM register;
// the one with it and 128 bits, which clears that half; and registers, memory and immediates as sources.
//
// Nearly every 256-bit instruction does the same on both halves. `lanes` makes both operations from one
// function of 128 bits, so that the host needs no AVX for the guest's AVX.
//
// Floating-point operations run with the guest's rounding and denormal modes in the host's MXCSR and all
// exceptions masked; the flags they raise decide afterwards whether the instruction faults. They are written
// in assembler: a compiler takes an addition to be commutative, but of two NaNs the first operand's is the
// result.
#pragma once

#include <immintrin.h>

#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "cpu/isa/row.hpp"

namespace xenolith::cpu {

// VectorOperations::traits.
namespace vector_trait {
inline constexpr std::uint8_t floating = 1;     // runs under MXCSR and may raise #XM
inline constexpr std::uint8_t unaligned = 2;    // memory of 16 bytes needs no alignment without VEX either
inline constexpr std::uint8_t aligned = 4;      // memory must be aligned even with VEX
inline constexpr std::uint8_t sets_flags = 8;   // the result is the arithmetic flags; both operands are sources
inline constexpr std::uint8_t counts = 16;      // an immediate is the second source: a shift count
inline constexpr std::uint8_t masked = 32;      // a third source is the destination's value before the operation
inline constexpr std::uint8_t integer64 = 64;   // `wide` is for a general register or integer of 64 bits
inline constexpr std::uint8_t unchecked = 128;  // Intel's CPUs do not check the alignment of memory of 8 bytes
}  // namespace vector_trait

// For rows whose `vector` is set, and for rows that have to choose among operations themselves. Null for
// encodings that the operations do not serve.
Execute select_vector(const Shape& shape);
Execute select_vector(const Shape& shape, const VectorOperations& operations);

// An instruction without and with VEX prefix; ZYDIS_MNEMONIC_INVALID where there is none.
struct VectorRow {
    ZydisMnemonic plain;
    ZydisMnemonic vex;
    Feature feature;
    VectorOperations operations;
    CostClass cost = CostClass::vector;
    Feature vex_feature = Feature::avx;
};

std::vector<Row> rows_of(std::span<const VectorRow> table);

// --- Runs of floating-point operations, for execute functions of other shapes
// ----------------------------------------

// Calls the operation under the guest's MXCSR. Raises #XM, or #UD if CR4.OSXMMEXCPT is clear, with the flags
// set and `result` of no meaning (SDM vol. 1, 11.5).
// With an unmasked underflow the operation may be run once more, flushing to zero, to see if its result is
// tiny; the immediate then has this bit.
inline constexpr std::uint64_t looks_for_tininess = 0x100;
// With an unmasked overflow or underflow it is run for the flag of an inexact result alone: with this bit and, above
// it, the guest's MXCSR (cpu/isa/vector_exactness.hpp).
inline constexpr std::uint64_t looks_for_inexactness = 0x200;
inline constexpr unsigned mxcsr_shift = 16;
void run_floating(Processor& p, VectorOperation operation, Vector256& result, const Vector256& first,
                  const Vector256& second, std::uint64_t immediate);

// --- Between registers of the guest and of the host
// -----------------------------------------------------------------

template <unsigned Half = 0>
inline __m128i half_of(const Vector256& value) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(value.data() + Half * 2));
}
template <unsigned Half = 0>
inline void set_half(Vector256& to, __m128i value) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to.data() + Half * 2), value);
}

// An XMM register as elements of T, for operations in plain C++.
template <class T>
struct Elements {
    static constexpr unsigned count = 16 / sizeof(T);
    T at[count];

    Elements() = default;
    explicit Elements(__m128i value) { std::memcpy(at, &value, 16); }
    operator __m128i() const {
        __m128i value;
        std::memcpy(&value, at, 16);
        return value;
    }
    T& operator[](std::size_t n) { return at[n]; }
    const T& operator[](std::size_t n) const { return at[n]; }
};

// --- Operations from functions of 128 bits
// --------------------------------------------------------------------------

// Function is F(second), F(first, second) or F(first, second, immediate), each __m128i and the result too.
template <auto Function>
__m128i apply(__m128i first, __m128i second, std::uint64_t immediate) {
    if constexpr (requires { Function(first, second, unsigned{}); }) {
        return Function(first, second, static_cast<unsigned>(immediate));
    } else if constexpr (requires { Function(first, second); }) {
        return Function(first, second);
    } else {
        return Function(second);
    }
}

// For instructions whose immediate the host needs as a constant: Operation's call operator is a template on
// it, with `Count` values.
template <class Operation, unsigned N>
__m128i with_constant(__m128i first, __m128i second) {
    return Operation{}.template operator()<N>(first, second);
}
template <class Operation, unsigned... N>
__m128i choose_constant(__m128i first, __m128i second, unsigned immediate, std::integer_sequence<unsigned, N...>) {
    static constexpr __m128i (*choices[])(__m128i, __m128i) = {with_constant<Operation, N>...};
    return choices[immediate % sizeof...(N)](first, second);
}
template <unsigned Count, class Operation>
__m128i by_constant(__m128i first, __m128i second, unsigned immediate, Operation) {
    return choose_constant<Operation>(first, second, immediate, std::make_integer_sequence<unsigned, Count>{});
}

template <auto Function>
void low_half(Vector256& to, const Vector256& first, const Vector256& second, std::uint64_t immediate) {
    set_half(to, apply<Function>(half_of(first), half_of(second), immediate));
}

template <auto Function>
void both_halves(Vector256& to, const Vector256& first, const Vector256& second, std::uint64_t immediate) {
    const __m128i low = apply<Function>(half_of<0>(first), half_of<0>(second), immediate);
    const __m128i high = apply<Function>(half_of<1>(first), half_of<1>(second), immediate);
    set_half<0>(to, low);
    set_half<1>(to, high);
}

// The second source is an XMM register or a count whatever the width of the first.
template <auto Function>
void both_halves_by_one(Vector256& to, const Vector256& first, const Vector256& second, std::uint64_t immediate) {
    const __m128i count = half_of(second);
    const __m128i low = apply<Function>(half_of<0>(first), count, immediate);
    const __m128i high = apply<Function>(half_of<1>(first), count, immediate);
    set_half<0>(to, low);
    set_half<1>(to, high);
}

// The high half takes its immediate from the bits above the low half's.
template <auto Function, unsigned Bits>
void both_halves_by_bits(Vector256& to, const Vector256& first, const Vector256& second, std::uint64_t immediate) {
    const __m128i low = apply<Function>(half_of<0>(first), half_of<0>(second), immediate);
    const __m128i high = apply<Function>(half_of<1>(first), half_of<1>(second), immediate >> Bits);
    set_half<0>(to, low);
    set_half<1>(to, high);
}

// Function(third, first, second): the third source is what the destination holds.
template <auto Function>
void low_half_of_three(Vector256& to, const Vector256& first, const Vector256& second, std::uint64_t) {
    set_half(to, Function(half_of(to), half_of(first), half_of(second)));
}
template <auto Function>
void both_halves_of_three(Vector256& to, const Vector256& first, const Vector256& second, std::uint64_t) {
    const __m128i low = Function(half_of<0>(to), half_of<0>(first), half_of<0>(second));
    const __m128i high = Function(half_of<1>(to), half_of<1>(first), half_of<1>(second));
    set_half<0>(to, low);
    set_half<1>(to, high);
}

// Function makes 128 bits of the low 64 (second); the wide operation does so with each half of an XMM
// register.
template <auto Function>
void widen_low(Vector256& to, const Vector256&, const Vector256& second, std::uint64_t immediate) {
    const __m128i source = half_of(second), upper = _mm_unpackhi_epi64(source, source);
    const __m128i low = apply<Function>(source, source, immediate), high = apply<Function>(upper, upper, immediate);
    set_half<0>(to, low);
    set_half<1>(to, high);
}
// Function makes 64 bits of 128.
template <auto Function>
void narrow_both(Vector256& to, const Vector256&, const Vector256& second, std::uint64_t immediate) {
    const __m128i low = apply<Function>(half_of<0>(second), half_of<0>(second), immediate);
    const __m128i high = apply<Function>(half_of<1>(second), half_of<1>(second), immediate);
    set_half(to, _mm_unpacklo_epi64(low, high));
}

template <auto Function, std::uint8_t Traits = 0>
inline constexpr VectorOperations lanes{low_half<Function>, both_halves<Function>, nullptr, nullptr, Traits};

template <auto Function, std::uint8_t Traits = 0>
inline constexpr VectorOperations lanes_by_count{low_half<Function>, both_halves_by_one<Function>, nullptr, nullptr,
                                                 static_cast<std::uint8_t>(Traits | vector_trait::counts)};

template <auto Function, unsigned Bits>
inline constexpr VectorOperations lanes_by_bits{low_half<Function>, both_halves_by_bits<Function, Bits>};

template <auto Function, std::uint8_t Traits>
inline constexpr VectorOperations lanes_of_three{low_half_of_three<Function>, both_halves_of_three<Function>, nullptr,
                                                 nullptr, Traits};

template <auto Function, std::uint8_t Traits = 0>
inline constexpr VectorOperations widening{low_half<Function>, widen_low<Function>, nullptr, nullptr, Traits};

template <auto Function, std::uint8_t Traits = 0>
inline constexpr VectorOperations narrowing{low_half<Function>, narrow_both<Function>, nullptr, nullptr, Traits};

// XMM registers only.
template <auto Function, std::uint8_t Traits = 0>
inline constexpr VectorOperations narrow{low_half<Function>, nullptr, nullptr, nullptr, Traits};

}  // namespace xenolith::cpu
