// Integer arithmetic, comparisons, shifts and bitwise operations of XMM and YMM registers (SDM vol. 2: P*,
// VP*).
#include <bit>

#include "cpu/isa/vector_forms.hpp"
#include "cpu/state/registers.hpp"

namespace xenolith::cpu {

namespace {

__m128i and_not(__m128i first, __m128i second) { return _mm_andnot_si128(first, second); }

// --- Shifts by one count, and by a count for each element
// -------------------------------------------------------------------

std::uint64_t low_word(__m128i value) { return static_cast<std::uint64_t>(_mm_cvtsi128_si64(value)); }

// PSLLDQ and PSRLDQ, by bytes.
__m128i shift_bytes_left(__m128i first, __m128i count) {
    const Elements<std::uint8_t> from(first);
    Elements<std::uint8_t> to(_mm_setzero_si128());
    for (std::uint64_t n = low_word(count); n < 16; ++n) to[n] = from[n - low_word(count)];
    return to;
}
__m128i shift_bytes_right(__m128i first, __m128i count) {
    const Elements<std::uint8_t> from(first);
    Elements<std::uint8_t> to(_mm_setzero_si128());
    for (std::uint64_t n = low_word(count); n < 16; ++n) to[n - low_word(count)] = from[n];
    return to;
}

template <class T>
__m128i shift_each_left(__m128i first, __m128i second) {
    Elements<T> values(first);
    const Elements<T> counts(second);
    for (unsigned n = 0; n < values.count; ++n) values[n] = counts[n] < sizeof(T) * 8 ? values[n] << counts[n] : 0;
    return values;
}
template <class T>
__m128i shift_each_right(__m128i first, __m128i second) {
    Elements<T> values(first);
    const Elements<T> counts(second);
    for (unsigned n = 0; n < values.count; ++n) values[n] = counts[n] < sizeof(T) * 8 ? values[n] >> counts[n] : 0;
    return values;
}
__m128i shift_each_right_arithmetic(__m128i first, __m128i second) {
    Elements<std::int32_t> values(first);
    const Elements<std::uint32_t> counts(second);
    for (unsigned n = 0; n < 4; ++n) values[n] >>= counts[n] < 31 ? counts[n] : 31;
    return values;
}

// --- Sums of absolute differences at eight places (MPSADBW)
// -----------------------------------------------------------------

__m128i sums_at_eight_places(__m128i first, __m128i second, unsigned immediate) {
    const Elements<std::uint8_t> sliding(first), fixed(second);
    Elements<std::uint16_t> sums;
    const unsigned from = (immediate >> 2 & 1) * 4, block = (immediate & 3) * 4;
    for (unsigned n = 0; n < 8; ++n) {
        int sum = 0;
        for (unsigned k = 0; k < 4; ++k) {
            const int difference = sliding[from + n + k] - fixed[block + k];
            sum += difference < 0 ? -difference : difference;
        }
        sums[n] = static_cast<std::uint16_t>(sum);
    }
    return sums;
}

// --- PTEST, VTESTPS, VTESTPD: ZF of AND, CF of AND NOT, of the bits that count
// ----------------------------------------------

template <unsigned Words, std::uint64_t Bits>
void test(Vector256& to, const Vector256& first, const Vector256& second, std::uint64_t) {
    std::uint64_t both = 0, second_only = 0;
    for (unsigned n = 0; n < Words; ++n) {
        both |= first[n] & second[n];
        second_only |= ~first[n] & second[n];
    }
    to[0] = ((both & Bits) == 0 ? rflags::zf : 0) | ((second_only & Bits) == 0 ? rflags::cf : 0);
}
template <std::uint64_t Bits>
constexpr VectorOperations testing{test<2, Bits>, test<4, Bits>, nullptr, nullptr, vector_trait::sets_flags};

// --- Sign bits to a general register
// ----------------------------------------------------------------------------------

std::uint64_t byte_signs(__m128i value) { return static_cast<std::uint64_t>(_mm_movemask_epi8(value)); }
std::uint64_t single_signs(__m128i value) {
    return static_cast<std::uint64_t>(_mm_movemask_ps(_mm_castsi128_ps(value)));
}
std::uint64_t double_signs(__m128i value) {
    return static_cast<std::uint64_t>(_mm_movemask_pd(_mm_castsi128_pd(value)));
}
template <auto Signs>
void signs_narrow(Vector256& to, const Vector256&, const Vector256& second, std::uint64_t) {
    to[0] = Signs(half_of(second));
}
template <auto Signs, unsigned Bits>
void signs_wide(Vector256& to, const Vector256&, const Vector256& second, std::uint64_t) {
    to[0] = Signs(half_of<0>(second)) | Signs(half_of<1>(second)) << Bits;
}
template <auto Signs, unsigned Bits>
constexpr VectorOperations signs{signs_narrow<Signs>, signs_wide<Signs, Bits>};

}  // namespace

std::span<const Row> vector_integer_rows() {
    using enum Feature;
    static const std::vector<Row> rows = [] {
        constexpr ZydisMnemonic none = ZYDIS_MNEMONIC_INVALID;
        constexpr CostClass cost = CostClass::vector;
        static constexpr VectorRow table[] = {
            // Addition and subtraction: wrapping, then saturating
            {ZYDIS_MNEMONIC_PADDB, ZYDIS_MNEMONIC_VPADDB, sse2, lanes<_mm_add_epi8>},
            {ZYDIS_MNEMONIC_PADDW, ZYDIS_MNEMONIC_VPADDW, sse2, lanes<_mm_add_epi16>},
            {ZYDIS_MNEMONIC_PADDD, ZYDIS_MNEMONIC_VPADDD, sse2, lanes<_mm_add_epi32>},
            {ZYDIS_MNEMONIC_PADDQ, ZYDIS_MNEMONIC_VPADDQ, sse2, lanes<_mm_add_epi64>},
            {ZYDIS_MNEMONIC_PSUBB, ZYDIS_MNEMONIC_VPSUBB, sse2, lanes<_mm_sub_epi8>},
            {ZYDIS_MNEMONIC_PSUBW, ZYDIS_MNEMONIC_VPSUBW, sse2, lanes<_mm_sub_epi16>},
            {ZYDIS_MNEMONIC_PSUBD, ZYDIS_MNEMONIC_VPSUBD, sse2, lanes<_mm_sub_epi32>},
            {ZYDIS_MNEMONIC_PSUBQ, ZYDIS_MNEMONIC_VPSUBQ, sse2, lanes<_mm_sub_epi64>},
            {ZYDIS_MNEMONIC_PADDSB, ZYDIS_MNEMONIC_VPADDSB, sse2, lanes<_mm_adds_epi8>},
            {ZYDIS_MNEMONIC_PADDSW, ZYDIS_MNEMONIC_VPADDSW, sse2, lanes<_mm_adds_epi16>},
            {ZYDIS_MNEMONIC_PADDUSB, ZYDIS_MNEMONIC_VPADDUSB, sse2, lanes<_mm_adds_epu8>},
            {ZYDIS_MNEMONIC_PADDUSW, ZYDIS_MNEMONIC_VPADDUSW, sse2, lanes<_mm_adds_epu16>},
            {ZYDIS_MNEMONIC_PSUBSB, ZYDIS_MNEMONIC_VPSUBSB, sse2, lanes<_mm_subs_epi8>},
            {ZYDIS_MNEMONIC_PSUBSW, ZYDIS_MNEMONIC_VPSUBSW, sse2, lanes<_mm_subs_epi16>},
            {ZYDIS_MNEMONIC_PSUBUSB, ZYDIS_MNEMONIC_VPSUBUSB, sse2, lanes<_mm_subs_epu8>},
            {ZYDIS_MNEMONIC_PSUBUSW, ZYDIS_MNEMONIC_VPSUBUSW, sse2, lanes<_mm_subs_epu16>},
            {ZYDIS_MNEMONIC_PHADDW, ZYDIS_MNEMONIC_VPHADDW, ssse3, lanes<_mm_hadd_epi16>},
            {ZYDIS_MNEMONIC_PHADDD, ZYDIS_MNEMONIC_VPHADDD, ssse3, lanes<_mm_hadd_epi32>},
            {ZYDIS_MNEMONIC_PHADDSW, ZYDIS_MNEMONIC_VPHADDSW, ssse3, lanes<_mm_hadds_epi16>},
            {ZYDIS_MNEMONIC_PHSUBW, ZYDIS_MNEMONIC_VPHSUBW, ssse3, lanes<_mm_hsub_epi16>},
            {ZYDIS_MNEMONIC_PHSUBD, ZYDIS_MNEMONIC_VPHSUBD, ssse3, lanes<_mm_hsub_epi32>},
            {ZYDIS_MNEMONIC_PHSUBSW, ZYDIS_MNEMONIC_VPHSUBSW, ssse3, lanes<_mm_hsubs_epi16>},
            // Multiplication
            {ZYDIS_MNEMONIC_PMULLW, ZYDIS_MNEMONIC_VPMULLW, sse2, lanes<_mm_mullo_epi16>},
            {ZYDIS_MNEMONIC_PMULHW, ZYDIS_MNEMONIC_VPMULHW, sse2, lanes<_mm_mulhi_epi16>},
            {ZYDIS_MNEMONIC_PMULHUW, ZYDIS_MNEMONIC_VPMULHUW, sse2, lanes<_mm_mulhi_epu16>},
            {ZYDIS_MNEMONIC_PMULHRSW, ZYDIS_MNEMONIC_VPMULHRSW, ssse3, lanes<_mm_mulhrs_epi16>},
            {ZYDIS_MNEMONIC_PMULLD, ZYDIS_MNEMONIC_VPMULLD, sse4_1, lanes<_mm_mullo_epi32>},
            {ZYDIS_MNEMONIC_PMULUDQ, ZYDIS_MNEMONIC_VPMULUDQ, sse2, lanes<_mm_mul_epu32>},
            {ZYDIS_MNEMONIC_PMULDQ, ZYDIS_MNEMONIC_VPMULDQ, sse4_1, lanes<_mm_mul_epi32>},
            {ZYDIS_MNEMONIC_PMADDWD, ZYDIS_MNEMONIC_VPMADDWD, sse2, lanes<_mm_madd_epi16>},
            {ZYDIS_MNEMONIC_PMADDUBSW, ZYDIS_MNEMONIC_VPMADDUBSW, ssse3, lanes<_mm_maddubs_epi16>},
            // Averages, differences, signs, extremes
            {ZYDIS_MNEMONIC_PSADBW, ZYDIS_MNEMONIC_VPSADBW, sse2, lanes<_mm_sad_epu8>},
            {ZYDIS_MNEMONIC_MPSADBW, ZYDIS_MNEMONIC_VMPSADBW, sse4_1, lanes_by_bits<sums_at_eight_places, 3>},
            {ZYDIS_MNEMONIC_PAVGB, ZYDIS_MNEMONIC_VPAVGB, sse2, lanes<_mm_avg_epu8>},
            {ZYDIS_MNEMONIC_PAVGW, ZYDIS_MNEMONIC_VPAVGW, sse2, lanes<_mm_avg_epu16>},
            {ZYDIS_MNEMONIC_PABSB, ZYDIS_MNEMONIC_VPABSB, ssse3, lanes<_mm_abs_epi8>},
            {ZYDIS_MNEMONIC_PABSW, ZYDIS_MNEMONIC_VPABSW, ssse3, lanes<_mm_abs_epi16>},
            {ZYDIS_MNEMONIC_PABSD, ZYDIS_MNEMONIC_VPABSD, ssse3, lanes<_mm_abs_epi32>},
            {ZYDIS_MNEMONIC_PSIGNB, ZYDIS_MNEMONIC_VPSIGNB, ssse3, lanes<_mm_sign_epi8>},
            {ZYDIS_MNEMONIC_PSIGNW, ZYDIS_MNEMONIC_VPSIGNW, ssse3, lanes<_mm_sign_epi16>},
            {ZYDIS_MNEMONIC_PSIGND, ZYDIS_MNEMONIC_VPSIGND, ssse3, lanes<_mm_sign_epi32>},
            {ZYDIS_MNEMONIC_PMINSB, ZYDIS_MNEMONIC_VPMINSB, sse4_1, lanes<_mm_min_epi8>},
            {ZYDIS_MNEMONIC_PMINSW, ZYDIS_MNEMONIC_VPMINSW, sse2, lanes<_mm_min_epi16>},
            {ZYDIS_MNEMONIC_PMINSD, ZYDIS_MNEMONIC_VPMINSD, sse4_1, lanes<_mm_min_epi32>},
            {ZYDIS_MNEMONIC_PMINUB, ZYDIS_MNEMONIC_VPMINUB, sse2, lanes<_mm_min_epu8>},
            {ZYDIS_MNEMONIC_PMINUW, ZYDIS_MNEMONIC_VPMINUW, sse4_1, lanes<_mm_min_epu16>},
            {ZYDIS_MNEMONIC_PMINUD, ZYDIS_MNEMONIC_VPMINUD, sse4_1, lanes<_mm_min_epu32>},
            {ZYDIS_MNEMONIC_PMAXSB, ZYDIS_MNEMONIC_VPMAXSB, sse4_1, lanes<_mm_max_epi8>},
            {ZYDIS_MNEMONIC_PMAXSW, ZYDIS_MNEMONIC_VPMAXSW, sse2, lanes<_mm_max_epi16>},
            {ZYDIS_MNEMONIC_PMAXSD, ZYDIS_MNEMONIC_VPMAXSD, sse4_1, lanes<_mm_max_epi32>},
            {ZYDIS_MNEMONIC_PMAXUB, ZYDIS_MNEMONIC_VPMAXUB, sse2, lanes<_mm_max_epu8>},
            {ZYDIS_MNEMONIC_PMAXUW, ZYDIS_MNEMONIC_VPMAXUW, sse4_1, lanes<_mm_max_epu16>},
            {ZYDIS_MNEMONIC_PMAXUD, ZYDIS_MNEMONIC_VPMAXUD, sse4_1, lanes<_mm_max_epu32>},
            {ZYDIS_MNEMONIC_PHMINPOSUW, ZYDIS_MNEMONIC_VPHMINPOSUW, sse4_1, narrow<_mm_minpos_epu16>},
            // Comparison
            {ZYDIS_MNEMONIC_PCMPEQB, ZYDIS_MNEMONIC_VPCMPEQB, sse2, lanes<_mm_cmpeq_epi8>},
            {ZYDIS_MNEMONIC_PCMPEQW, ZYDIS_MNEMONIC_VPCMPEQW, sse2, lanes<_mm_cmpeq_epi16>},
            {ZYDIS_MNEMONIC_PCMPEQD, ZYDIS_MNEMONIC_VPCMPEQD, sse2, lanes<_mm_cmpeq_epi32>},
            {ZYDIS_MNEMONIC_PCMPEQQ, ZYDIS_MNEMONIC_VPCMPEQQ, sse4_1, lanes<_mm_cmpeq_epi64>},
            {ZYDIS_MNEMONIC_PCMPGTB, ZYDIS_MNEMONIC_VPCMPGTB, sse2, lanes<_mm_cmpgt_epi8>},
            {ZYDIS_MNEMONIC_PCMPGTW, ZYDIS_MNEMONIC_VPCMPGTW, sse2, lanes<_mm_cmpgt_epi16>},
            {ZYDIS_MNEMONIC_PCMPGTD, ZYDIS_MNEMONIC_VPCMPGTD, sse2, lanes<_mm_cmpgt_epi32>},
            {ZYDIS_MNEMONIC_PCMPGTQ, ZYDIS_MNEMONIC_VPCMPGTQ, sse4_2, lanes<_mm_cmpgt_epi64>},
            {ZYDIS_MNEMONIC_PTEST, ZYDIS_MNEMONIC_VPTEST, sse4_1, testing<~std::uint64_t{0}>},
            {none, ZYDIS_MNEMONIC_VTESTPS, base, testing<0x8000000080000000>},
            {none, ZYDIS_MNEMONIC_VTESTPD, base, testing<0x8000000000000000>},
            {ZYDIS_MNEMONIC_PMOVMSKB, ZYDIS_MNEMONIC_VPMOVMSKB, sse2, signs<byte_signs, 16>},
            {ZYDIS_MNEMONIC_MOVMSKPS, ZYDIS_MNEMONIC_VMOVMSKPS, sse, signs<single_signs, 4>},
            {ZYDIS_MNEMONIC_MOVMSKPD, ZYDIS_MNEMONIC_VMOVMSKPD, sse2, signs<double_signs, 2>},
            // Bitwise operations
            {ZYDIS_MNEMONIC_PAND, ZYDIS_MNEMONIC_VPAND, sse2, lanes<_mm_and_si128>},
            {ZYDIS_MNEMONIC_ANDPS, ZYDIS_MNEMONIC_VANDPS, sse, lanes<_mm_and_si128>},
            {ZYDIS_MNEMONIC_ANDPD, ZYDIS_MNEMONIC_VANDPD, sse2, lanes<_mm_and_si128>},
            {ZYDIS_MNEMONIC_PANDN, ZYDIS_MNEMONIC_VPANDN, sse2, lanes<and_not>},
            {ZYDIS_MNEMONIC_ANDNPS, ZYDIS_MNEMONIC_VANDNPS, sse, lanes<and_not>},
            {ZYDIS_MNEMONIC_ANDNPD, ZYDIS_MNEMONIC_VANDNPD, sse2, lanes<and_not>},
            {ZYDIS_MNEMONIC_POR, ZYDIS_MNEMONIC_VPOR, sse2, lanes<_mm_or_si128>},
            {ZYDIS_MNEMONIC_ORPS, ZYDIS_MNEMONIC_VORPS, sse, lanes<_mm_or_si128>},
            {ZYDIS_MNEMONIC_ORPD, ZYDIS_MNEMONIC_VORPD, sse2, lanes<_mm_or_si128>},
            {ZYDIS_MNEMONIC_PXOR, ZYDIS_MNEMONIC_VPXOR, sse2, lanes<_mm_xor_si128>},
            {ZYDIS_MNEMONIC_XORPS, ZYDIS_MNEMONIC_VXORPS, sse, lanes<_mm_xor_si128>},
            {ZYDIS_MNEMONIC_XORPD, ZYDIS_MNEMONIC_VXORPD, sse2, lanes<_mm_xor_si128>},
            // Shifts
            {ZYDIS_MNEMONIC_PSLLW, ZYDIS_MNEMONIC_VPSLLW, sse2, lanes_by_count<_mm_sll_epi16>},
            {ZYDIS_MNEMONIC_PSLLD, ZYDIS_MNEMONIC_VPSLLD, sse2, lanes_by_count<_mm_sll_epi32>},
            {ZYDIS_MNEMONIC_PSLLQ, ZYDIS_MNEMONIC_VPSLLQ, sse2, lanes_by_count<_mm_sll_epi64>},
            {ZYDIS_MNEMONIC_PSLLDQ, ZYDIS_MNEMONIC_VPSLLDQ, sse2, lanes_by_count<shift_bytes_left>},
            {ZYDIS_MNEMONIC_PSRLW, ZYDIS_MNEMONIC_VPSRLW, sse2, lanes_by_count<_mm_srl_epi16>},
            {ZYDIS_MNEMONIC_PSRLD, ZYDIS_MNEMONIC_VPSRLD, sse2, lanes_by_count<_mm_srl_epi32>},
            {ZYDIS_MNEMONIC_PSRLQ, ZYDIS_MNEMONIC_VPSRLQ, sse2, lanes_by_count<_mm_srl_epi64>},
            {ZYDIS_MNEMONIC_PSRLDQ, ZYDIS_MNEMONIC_VPSRLDQ, sse2, lanes_by_count<shift_bytes_right>},
            {ZYDIS_MNEMONIC_PSRAW, ZYDIS_MNEMONIC_VPSRAW, sse2, lanes_by_count<_mm_sra_epi16>},
            {ZYDIS_MNEMONIC_PSRAD, ZYDIS_MNEMONIC_VPSRAD, sse2, lanes_by_count<_mm_sra_epi32>},
            {none, ZYDIS_MNEMONIC_VPSLLVD, base, lanes<shift_each_left<std::uint32_t>>, cost, avx2},
            {none, ZYDIS_MNEMONIC_VPSLLVQ, base, lanes<shift_each_left<std::uint64_t>>, cost, avx2},
            {none, ZYDIS_MNEMONIC_VPSRLVD, base, lanes<shift_each_right<std::uint32_t>>, cost, avx2},
            {none, ZYDIS_MNEMONIC_VPSRLVQ, base, lanes<shift_each_right<std::uint64_t>>, cost, avx2},
            {none, ZYDIS_MNEMONIC_VPSRAVD, base, lanes<shift_each_right_arithmetic>, cost, avx2},
        };
        return rows_of(table);
    }();
    return rows;
}

}  // namespace xenolith::cpu
