// Floating-point arithmetic of XMM and YMM registers (SDM vol. 1, 10.4, 11.4, 12.4; vol. 2).
#include "cpu/isa/vector_exactness.hpp"

namespace xenolith::cpu {

namespace {

using vector_trait::floating;

// --- Rounding to integers and dot products: instructions whose immediate the host needs as a constant
// -----------------------

// ROUNDPS and its like use four bits of the immediate.
__m128i round_singles(__m128i first, __m128i second, unsigned immediate) {
    return by_constant<16>(first, second, immediate, []<unsigned N>(__m128i, __m128i b) {
        asm("roundps %1, %0, %0" : "+x"(b) : "i"(N));
        return b;
    });
}
__m128i round_doubles(__m128i first, __m128i second, unsigned immediate) {
    return by_constant<16>(first, second, immediate, []<unsigned N>(__m128i, __m128i b) {
        asm("roundpd %1, %0, %0" : "+x"(b) : "i"(N));
        return b;
    });
}
__m128i round_single(__m128i first, __m128i second, unsigned immediate) {
    return by_constant<16>(first, second, immediate, []<unsigned N>(__m128i a, __m128i b) {
        asm("roundss %2, %1, %0" : "+x"(a) : "x"(b), "i"(N));
        return a;
    });
}
__m128i round_double(__m128i first, __m128i second, unsigned immediate) {
    return by_constant<16>(first, second, immediate, []<unsigned N>(__m128i a, __m128i b) {
        asm("roundsd %2, %1, %0" : "+x"(a) : "x"(b), "i"(N));
        return a;
    });
}

// Elements of the sources that do not take part count as zero, and so do elements of the result that are not
// wanted.
template <class T>
__m128i only(__m128i value, unsigned elements) {
    Elements<T> kept(value);
    for (unsigned n = 0; n < kept.count; ++n)
        if ((elements >> n & 1) == 0) kept[n] = 0;
    return kept;
}
__m128i dot_product_of_singles(__m128i first, __m128i second, unsigned immediate) {
    __m128i sum = only<std::uint32_t>(first, immediate >> 4);
    const __m128i other = only<std::uint32_t>(second, immediate >> 4);
    asm("dpps $0xff, %1, %0" : "+x"(sum) : "x"(other));
    return only<std::uint32_t>(sum, immediate & 0xf);
}
__m128i dot_product_of_doubles(__m128i first, __m128i second, unsigned immediate) {
    __m128i sum = only<std::uint64_t>(first, immediate >> 4 & 3);
    const __m128i other = only<std::uint64_t>(second, immediate >> 4 & 3);
    asm("dppd $0x33, %1, %0" : "+x"(sum) : "x"(other));
    return only<std::uint64_t>(sum, immediate & 3);
}

// --- The rest, as the host does it
// ----------------------------------------------------------------------------------

__m128i addps(__m128i a, __m128i b) {
    asm("addps %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i addpd(__m128i a, __m128i b) {
    asm("addpd %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i addss(__m128i a, __m128i b) {
    asm("addss %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i addsd(__m128i a, __m128i b) {
    asm("addsd %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i subps(__m128i a, __m128i b) {
    asm("subps %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i subpd(__m128i a, __m128i b) {
    asm("subpd %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i subss(__m128i a, __m128i b) {
    asm("subss %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i subsd(__m128i a, __m128i b) {
    asm("subsd %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i mulps(__m128i a, __m128i b) {
    asm("mulps %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i mulpd(__m128i a, __m128i b) {
    asm("mulpd %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i mulss(__m128i a, __m128i b) {
    asm("mulss %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i mulsd(__m128i a, __m128i b) {
    asm("mulsd %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i divps(__m128i a, __m128i b) {
    asm("divps %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i divpd(__m128i a, __m128i b) {
    asm("divpd %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i divss(__m128i a, __m128i b) {
    asm("divss %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i divsd(__m128i a, __m128i b) {
    asm("divsd %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i minps(__m128i a, __m128i b) {
    asm("minps %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i minpd(__m128i a, __m128i b) {
    asm("minpd %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i minss(__m128i a, __m128i b) {
    asm("minss %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i minsd(__m128i a, __m128i b) {
    asm("minsd %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i maxps(__m128i a, __m128i b) {
    asm("maxps %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i maxpd(__m128i a, __m128i b) {
    asm("maxpd %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i maxss(__m128i a, __m128i b) {
    asm("maxss %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i maxsd(__m128i a, __m128i b) {
    asm("maxsd %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i sqrtps(__m128i b) {
    asm("sqrtps %0, %0" : "+x"(b));
    return b;
}
__m128i sqrtpd(__m128i b) {
    asm("sqrtpd %0, %0" : "+x"(b));
    return b;
}
__m128i sqrtss(__m128i a, __m128i b) {
    asm("sqrtss %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i sqrtsd(__m128i a, __m128i b) {
    asm("sqrtsd %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i addsubps(__m128i a, __m128i b) {
    asm("addsubps %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i addsubpd(__m128i a, __m128i b) {
    asm("addsubpd %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i haddps(__m128i a, __m128i b) {
    asm("haddps %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i haddpd(__m128i a, __m128i b) {
    asm("haddpd %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i hsubps(__m128i a, __m128i b) {
    asm("hsubps %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i hsubpd(__m128i a, __m128i b) {
    asm("hsubpd %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i rcpps(__m128i b) {
    asm("rcpps %0, %0" : "+x"(b));
    return b;
}
__m128i rcpss(__m128i a, __m128i b) {
    asm("rcpss %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i rsqrtps(__m128i b) {
    asm("rsqrtps %0, %0" : "+x"(b));
    return b;
}
__m128i rsqrtss(__m128i a, __m128i b) {
    asm("rsqrtss %1, %0" : "+x"(a) : "x"(b));
    return a;
}

}  // namespace

std::span<const Row> vector_float_rows() {
    using enum Feature;
    static const std::vector<Row> rows = [] {
        constexpr CostClass slow = CostClass::vector_long;
        using namespace exactness;
        static constexpr VectorRow table[] = {
            {ZYDIS_MNEMONIC_ADDPS, ZYDIS_MNEMONIC_VADDPS, sse, lanes<rounded<addps, each<float, add>>, floating>},
            {ZYDIS_MNEMONIC_ADDPD, ZYDIS_MNEMONIC_VADDPD, sse2, lanes<rounded<addpd, each<double, add>>, floating>},
            {ZYDIS_MNEMONIC_ADDSS, ZYDIS_MNEMONIC_VADDSS, sse,
             narrow<rounded<addss, first_alone<float, add>>, floating>},
            {ZYDIS_MNEMONIC_ADDSD, ZYDIS_MNEMONIC_VADDSD, sse2,
             narrow<rounded<addsd, first_alone<double, add>>, floating>},
            {ZYDIS_MNEMONIC_SUBPS, ZYDIS_MNEMONIC_VSUBPS, sse, lanes<rounded<subps, each<float, subtract>>, floating>},
            {ZYDIS_MNEMONIC_SUBPD, ZYDIS_MNEMONIC_VSUBPD, sse2,
             lanes<rounded<subpd, each<double, subtract>>, floating>},
            {ZYDIS_MNEMONIC_SUBSS, ZYDIS_MNEMONIC_VSUBSS, sse,
             narrow<rounded<subss, first_alone<float, subtract>>, floating>},
            {ZYDIS_MNEMONIC_SUBSD, ZYDIS_MNEMONIC_VSUBSD, sse2,
             narrow<rounded<subsd, first_alone<double, subtract>>, floating>},
            {ZYDIS_MNEMONIC_MULPS, ZYDIS_MNEMONIC_VMULPS, sse, lanes<rounded<mulps, each<float, multiply>>, floating>},
            {ZYDIS_MNEMONIC_MULPD, ZYDIS_MNEMONIC_VMULPD, sse2,
             lanes<rounded<mulpd, each<double, multiply>>, floating>},
            {ZYDIS_MNEMONIC_MULSS, ZYDIS_MNEMONIC_VMULSS, sse,
             narrow<rounded<mulss, first_alone<float, multiply>>, floating>},
            {ZYDIS_MNEMONIC_MULSD, ZYDIS_MNEMONIC_VMULSD, sse2,
             narrow<rounded<mulsd, first_alone<double, multiply>>, floating>},
            {ZYDIS_MNEMONIC_DIVPS, ZYDIS_MNEMONIC_VDIVPS, sse, lanes<rounded<divps, each<float, divide>>, floating>,
             slow},
            {ZYDIS_MNEMONIC_DIVPD, ZYDIS_MNEMONIC_VDIVPD, sse2, lanes<rounded<divpd, each<double, divide>>, floating>,
             slow},
            {ZYDIS_MNEMONIC_DIVSS, ZYDIS_MNEMONIC_VDIVSS, sse,
             narrow<rounded<divss, first_alone<float, divide>>, floating>, slow},
            {ZYDIS_MNEMONIC_DIVSD, ZYDIS_MNEMONIC_VDIVSD, sse2,
             narrow<rounded<divsd, first_alone<double, divide>>, floating>, slow},
            {ZYDIS_MNEMONIC_MINPS, ZYDIS_MNEMONIC_VMINPS, sse, lanes<minps, floating>},
            {ZYDIS_MNEMONIC_MINPD, ZYDIS_MNEMONIC_VMINPD, sse2, lanes<minpd, floating>},
            {ZYDIS_MNEMONIC_MINSS, ZYDIS_MNEMONIC_VMINSS, sse, narrow<minss, floating>},
            {ZYDIS_MNEMONIC_MINSD, ZYDIS_MNEMONIC_VMINSD, sse2, narrow<minsd, floating>},
            {ZYDIS_MNEMONIC_MAXPS, ZYDIS_MNEMONIC_VMAXPS, sse, lanes<maxps, floating>},
            {ZYDIS_MNEMONIC_MAXPD, ZYDIS_MNEMONIC_VMAXPD, sse2, lanes<maxpd, floating>},
            {ZYDIS_MNEMONIC_MAXSS, ZYDIS_MNEMONIC_VMAXSS, sse, narrow<maxss, floating>},
            {ZYDIS_MNEMONIC_MAXSD, ZYDIS_MNEMONIC_VMAXSD, sse2, narrow<maxsd, floating>},
            {ZYDIS_MNEMONIC_SQRTPS, ZYDIS_MNEMONIC_VSQRTPS, sse, lanes<sqrtps, floating>, slow},
            {ZYDIS_MNEMONIC_SQRTPD, ZYDIS_MNEMONIC_VSQRTPD, sse2, lanes<sqrtpd, floating>, slow},
            {ZYDIS_MNEMONIC_SQRTSS, ZYDIS_MNEMONIC_VSQRTSS, sse, narrow<sqrtss, floating>, slow},
            {ZYDIS_MNEMONIC_SQRTSD, ZYDIS_MNEMONIC_VSQRTSD, sse2, narrow<sqrtsd, floating>, slow},
            {ZYDIS_MNEMONIC_ADDSUBPS, ZYDIS_MNEMONIC_VADDSUBPS, sse3,
             lanes<rounded<addsubps, each<float, subtract, add>>, floating>},
            {ZYDIS_MNEMONIC_ADDSUBPD, ZYDIS_MNEMONIC_VADDSUBPD, sse3,
             lanes<rounded<addsubpd, each<double, subtract, add>>, floating>},
            {ZYDIS_MNEMONIC_HADDPS, ZYDIS_MNEMONIC_VHADDPS, sse3,
             lanes<rounded<haddps, neighbours<float, add>>, floating>},
            {ZYDIS_MNEMONIC_HADDPD, ZYDIS_MNEMONIC_VHADDPD, sse3,
             lanes<rounded<haddpd, neighbours<double, add>>, floating>},
            {ZYDIS_MNEMONIC_HSUBPS, ZYDIS_MNEMONIC_VHSUBPS, sse3,
             lanes<rounded<hsubps, neighbours<float, subtract>>, floating>},
            {ZYDIS_MNEMONIC_HSUBPD, ZYDIS_MNEMONIC_VHSUBPD, sse3,
             lanes<rounded<hsubpd, neighbours<double, subtract>>, floating>},
            {ZYDIS_MNEMONIC_RCPPS, ZYDIS_MNEMONIC_VRCPPS, sse, lanes<rcpps>},
            {ZYDIS_MNEMONIC_RCPSS, ZYDIS_MNEMONIC_VRCPSS, sse, narrow<rcpss>},
            {ZYDIS_MNEMONIC_RSQRTPS, ZYDIS_MNEMONIC_VRSQRTPS, sse, lanes<rsqrtps>},
            {ZYDIS_MNEMONIC_RSQRTSS, ZYDIS_MNEMONIC_VRSQRTSS, sse, narrow<rsqrtss>},
            {ZYDIS_MNEMONIC_ROUNDPS, ZYDIS_MNEMONIC_VROUNDPS, sse4_1, lanes<round_singles, floating>},
            {ZYDIS_MNEMONIC_ROUNDPD, ZYDIS_MNEMONIC_VROUNDPD, sse4_1, lanes<round_doubles, floating>},
            {ZYDIS_MNEMONIC_ROUNDSS, ZYDIS_MNEMONIC_VROUNDSS, sse4_1, narrow<round_single, floating>},
            {ZYDIS_MNEMONIC_ROUNDSD, ZYDIS_MNEMONIC_VROUNDSD, sse4_1, narrow<round_double, floating>},
            {ZYDIS_MNEMONIC_DPPS, ZYDIS_MNEMONIC_VDPPS, sse4_1, lanes<dot_product_of_singles, floating>, slow},
            {ZYDIS_MNEMONIC_DPPD, ZYDIS_MNEMONIC_VDPPD, sse4_1, narrow<dot_product_of_doubles, floating>, slow},
        };
        return rows_of(table);
    }();
    return rows;
}

}  // namespace xenolith::cpu
