// Conversions between floating-point formats and integers (SDM vol. 1, 4.9, 11.4.1.6, 14.4.1; vol. 2: CVT*,
// VCVT*).
#include "cpu/isa/vector_exactness.hpp"

namespace xenolith::cpu {

namespace {

using vector_trait::floating, vector_trait::integer64, vector_trait::unchecked;

// --- Within XMM registers
// -------------------------------------------------------------------------------------------

__m128i cvtps2pd(__m128i b) {
    asm("cvtps2pd %0, %0" : "+x"(b));
    return b;
}
__m128i cvtdq2pd(__m128i b) {
    asm("cvtdq2pd %0, %0" : "+x"(b));
    return b;
}
__m128i cvtpd2ps(__m128i b) {
    asm("cvtpd2ps %0, %0" : "+x"(b));
    return b;
}
__m128i cvtpd2dq(__m128i b) {
    asm("cvtpd2dq %0, %0" : "+x"(b));
    return b;
}
__m128i cvttpd2dq(__m128i b) {
    asm("cvttpd2dq %0, %0" : "+x"(b));
    return b;
}
__m128i cvtdq2ps(__m128i b) {
    asm("cvtdq2ps %0, %0" : "+x"(b));
    return b;
}
__m128i cvtps2dq(__m128i b) {
    asm("cvtps2dq %0, %0" : "+x"(b));
    return b;
}
__m128i cvttps2dq(__m128i b) {
    asm("cvttps2dq %0, %0" : "+x"(b));
    return b;
}
__m128i cvtph2ps(__m128i b) {
    asm("vcvtph2ps %0, %0" : "+x"(b));
    return b;
}
__m128i cvtss2sd(__m128i a, __m128i b) {
    asm("cvtss2sd %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i cvtsd2ss(__m128i a, __m128i b) {
    asm("cvtsd2ss %1, %0" : "+x"(a) : "x"(b));
    return a;
}

// VCVTPS2PH uses three bits of the immediate, which the host needs as a constant.
__m128i cvtps2ph(__m128i first, __m128i second, unsigned immediate) {
    const __m128i result = by_constant<8>(first, second, immediate, []<unsigned N>(__m128i, __m128i b) {
        asm("vcvtps2ph %1, %0, %0" : "+x"(b) : "i"(N));
        return b;
    });
    // Alone of all it does not flush to zero, so tiny results are looked for here.
    if ((immediate & looks_for_tininess) != 0) {
        constexpr unsigned sign = 0x8000, smallest_normal = 0x0400, underflow = 0x10;
        const Elements<std::uint16_t> halves(result);
        for (unsigned n = 0; n < 4; ++n) {
            const unsigned magnitude = halves[n] & ~sign;
            if (magnitude != 0 && magnitude < smallest_normal) _mm_setcsr(_mm_getcsr() | underflow);
        }
    }
    return result;
}

bool doubles_as_singles(__m128i, __m128i second, unsigned mxcsr) {
    return exactness::narrowed<double, 2>(second, exactness::format_of<float>, mxcsr);
}
bool double_as_single(__m128i, __m128i second, unsigned mxcsr) {
    return exactness::narrowed<double, 1>(second, exactness::format_of<float>, mxcsr);
}
// Never flushes, and to Intel's CPUs any denormal is inexact.
bool singles_as_halves(__m128i, __m128i second, unsigned mxcsr) {
    constexpr unsigned flush_to_zero = 0x8000;
    constexpr exactness::Format half_precision{11, -14, 15};
    constexpr exactness::Wide smallest_normal = 0x1p-126;
    const exactness::Operands<float> from(second, mxcsr);
    for (unsigned n = 0; n < 4; ++n) {
        if (!from.is_finite(n)) continue;
        const exactness::Wide value = from[n];
        const bool is_denormal = value != 0 && value < smallest_normal && value > -smallest_normal;
        if (is_denormal || exactness::is_inexact({value, true}, half_precision, mxcsr & ~flush_to_zero)) return true;
    }
    return false;
}

// --- To and from integers of 32 and 64 bits
// --------------------------------------------------------------------------

void cvtsi2ssl(Vector256& to, const Vector256& first, const Vector256& second, std::uint64_t) {
    __m128i result = half_of(first);
    asm("cvtsi2ssl %1, %0" : "+x"(result) : "r"(static_cast<std::uint32_t>(second[0])));
    set_half(to, result);
}
void cvtsi2ssq(Vector256& to, const Vector256& first, const Vector256& second, std::uint64_t) {
    __m128i result = half_of(first);
    asm("cvtsi2ssq %1, %0" : "+x"(result) : "r"(static_cast<std::uint64_t>(second[0])));
    set_half(to, result);
}
void cvtsi2sdl(Vector256& to, const Vector256& first, const Vector256& second, std::uint64_t) {
    __m128i result = half_of(first);
    asm("cvtsi2sdl %1, %0" : "+x"(result) : "r"(static_cast<std::uint32_t>(second[0])));
    set_half(to, result);
}
void cvtsi2sdq(Vector256& to, const Vector256& first, const Vector256& second, std::uint64_t) {
    __m128i result = half_of(first);
    asm("cvtsi2sdq %1, %0" : "+x"(result) : "r"(static_cast<std::uint64_t>(second[0])));
    set_half(to, result);
}
void cvtss2sil(Vector256& to, const Vector256&, const Vector256& second, std::uint64_t) {
    std::uint32_t result;
    asm("cvtss2si %1, %0" : "=r"(result) : "x"(half_of(second)));
    to[0] = result;
}
void cvtss2siq(Vector256& to, const Vector256&, const Vector256& second, std::uint64_t) {
    std::uint64_t result;
    asm("cvtss2si %1, %0" : "=r"(result) : "x"(half_of(second)));
    to[0] = result;
}
void cvttss2sil(Vector256& to, const Vector256&, const Vector256& second, std::uint64_t) {
    std::uint32_t result;
    asm("cvttss2si %1, %0" : "=r"(result) : "x"(half_of(second)));
    to[0] = result;
}
void cvttss2siq(Vector256& to, const Vector256&, const Vector256& second, std::uint64_t) {
    std::uint64_t result;
    asm("cvttss2si %1, %0" : "=r"(result) : "x"(half_of(second)));
    to[0] = result;
}
void cvtsd2sil(Vector256& to, const Vector256&, const Vector256& second, std::uint64_t) {
    std::uint32_t result;
    asm("cvtsd2si %1, %0" : "=r"(result) : "x"(half_of(second)));
    to[0] = result;
}
void cvtsd2siq(Vector256& to, const Vector256&, const Vector256& second, std::uint64_t) {
    std::uint64_t result;
    asm("cvtsd2si %1, %0" : "=r"(result) : "x"(half_of(second)));
    to[0] = result;
}
void cvttsd2sil(Vector256& to, const Vector256&, const Vector256& second, std::uint64_t) {
    std::uint32_t result;
    asm("cvttsd2si %1, %0" : "=r"(result) : "x"(half_of(second)));
    to[0] = result;
}
void cvttsd2siq(Vector256& to, const Vector256&, const Vector256& second, std::uint64_t) {
    std::uint64_t result;
    asm("cvttsd2si %1, %0" : "=r"(result) : "x"(half_of(second)));
    to[0] = result;
}

template <auto Narrow, auto Wide>
constexpr VectorOperations by_integer{Narrow, Wide, nullptr, nullptr, floating | integer64};

}  // namespace

std::span<const Row> vector_convert_rows() {
    using enum Feature;
    static const std::vector<Row> rows = [] {
        constexpr ZydisMnemonic none = ZYDIS_MNEMONIC_INVALID;
        constexpr CostClass cost = CostClass::vector;
        static constexpr VectorRow table[] = {
            {ZYDIS_MNEMONIC_CVTPS2PD, ZYDIS_MNEMONIC_VCVTPS2PD, sse2, widening<cvtps2pd, floating>},
            {ZYDIS_MNEMONIC_CVTDQ2PD, ZYDIS_MNEMONIC_VCVTDQ2PD, sse2, widening<cvtdq2pd, floating>},
            {ZYDIS_MNEMONIC_CVTPD2PS, ZYDIS_MNEMONIC_VCVTPD2PS, sse2,
             narrowing<rounded<cvtpd2ps, doubles_as_singles>, floating>},
            {ZYDIS_MNEMONIC_CVTPD2DQ, ZYDIS_MNEMONIC_VCVTPD2DQ, sse2, narrowing<cvtpd2dq, floating>},
            {ZYDIS_MNEMONIC_CVTTPD2DQ, ZYDIS_MNEMONIC_VCVTTPD2DQ, sse2, narrowing<cvttpd2dq, floating>},
            {ZYDIS_MNEMONIC_CVTDQ2PS, ZYDIS_MNEMONIC_VCVTDQ2PS, sse2, lanes<cvtdq2ps, floating>},
            {ZYDIS_MNEMONIC_CVTPS2DQ, ZYDIS_MNEMONIC_VCVTPS2DQ, sse2, lanes<cvtps2dq, floating>},
            {ZYDIS_MNEMONIC_CVTTPS2DQ, ZYDIS_MNEMONIC_VCVTTPS2DQ, sse2, lanes<cvttps2dq, floating>},
            {ZYDIS_MNEMONIC_CVTSS2SD, ZYDIS_MNEMONIC_VCVTSS2SD, sse2, narrow<cvtss2sd, floating>},
            {ZYDIS_MNEMONIC_CVTSD2SS, ZYDIS_MNEMONIC_VCVTSD2SS, sse2,
             narrow<rounded<cvtsd2ss, double_as_single>, floating>},
            {ZYDIS_MNEMONIC_CVTSI2SS, ZYDIS_MNEMONIC_VCVTSI2SS, sse, by_integer<cvtsi2ssl, cvtsi2ssq>},
            {ZYDIS_MNEMONIC_CVTSI2SD, ZYDIS_MNEMONIC_VCVTSI2SD, sse2, by_integer<cvtsi2sdl, cvtsi2sdq>},
            {ZYDIS_MNEMONIC_CVTSS2SI, ZYDIS_MNEMONIC_VCVTSS2SI, sse, by_integer<cvtss2sil, cvtss2siq>},
            {ZYDIS_MNEMONIC_CVTTSS2SI, ZYDIS_MNEMONIC_VCVTTSS2SI, sse, by_integer<cvttss2sil, cvttss2siq>},
            {ZYDIS_MNEMONIC_CVTSD2SI, ZYDIS_MNEMONIC_VCVTSD2SI, sse2, by_integer<cvtsd2sil, cvtsd2siq>},
            {ZYDIS_MNEMONIC_CVTTSD2SI, ZYDIS_MNEMONIC_VCVTTSD2SI, sse2, by_integer<cvttsd2sil, cvttsd2siq>},
            {none, ZYDIS_MNEMONIC_VCVTPH2PS, base, widening<cvtph2ps, floating | unchecked>, cost, f16c},
            {none, ZYDIS_MNEMONIC_VCVTPS2PH, base, narrowing<rounded<cvtps2ph, singles_as_halves>, floating>, cost,
             f16c},
        };
        return rows_of(table);
    }();
    return rows;
}

}  // namespace xenolith::cpu
