// What moves elements about: pack, unpack, shuffle, permute, blend, insert, extract, extend (SDM vol. 2).
#include <bit>

#include "cpu/isa/vector_forms.hpp"

namespace xenolith::cpu {

namespace {

// --- Shuffles by immediate
// ------------------------------------------------------------------------------------------

// Two bits of the immediate choose each element of four, from the first or the second source.
__m128i shuffle_singles(__m128i first, __m128i second, unsigned immediate) {
    const Elements<std::uint32_t> a(first), b(second);
    Elements<std::uint32_t> to;
    for (unsigned n = 0; n < 4; ++n) to[n] = (n < 2 ? a : b)[immediate >> n * 2 & 3];
    return to;
}
__m128i shuffle_doubles(__m128i first, __m128i second, unsigned immediate) {
    const Elements<std::uint64_t> a(first), b(second);
    Elements<std::uint64_t> to;
    to[0] = a[immediate & 1];
    to[1] = b[immediate >> 1 & 1];
    return to;
}
__m128i shuffle_doublewords(__m128i, __m128i second, unsigned immediate) {
    return shuffle_singles(second, second, immediate);
}
__m128i permute_doubles(__m128i, __m128i second, unsigned immediate) {
    return shuffle_doubles(second, second, immediate);
}
template <unsigned From>
__m128i shuffle_words(__m128i, __m128i second, unsigned immediate) {
    const Elements<std::uint16_t> a(second);
    Elements<std::uint16_t> to(second);
    for (unsigned n = 0; n < 4; ++n) to[From + n] = a[From + (immediate >> n * 2 & 3)];
    return to;
}
__m128i align_right(__m128i first, __m128i second, unsigned immediate) {
    std::uint8_t row[48] = {};
    std::memcpy(row, &second, 16);
    std::memcpy(row + 16, &first, 16);
    __m128i to = _mm_setzero_si128();
    if (immediate < 32) std::memcpy(&to, row + immediate, 16);
    return to;
}

// --- Permutations by another register, and across the halves of YMM registers
// --------------------------------------------------

__m128i permute_singles_by(__m128i first, __m128i second) {
    const Elements<std::uint32_t> a(first), control(second);
    Elements<std::uint32_t> to;
    for (unsigned n = 0; n < 4; ++n) to[n] = a[control[n] & 3];
    return to;
}
__m128i permute_doubles_by(__m128i first, __m128i second) {
    const Elements<std::uint64_t> a(first), control(second);
    Elements<std::uint64_t> to;
    for (unsigned n = 0; n < 2; ++n) to[n] = a[control[n] >> 1 & 1];
    return to;
}

void permute_four(Vector256& to, const Vector256&, const Vector256& second, std::uint64_t immediate) {
    const Vector256 from = second;
    for (unsigned n = 0; n < 4; ++n) to[n] = from[immediate >> n * 2 & 3];
}
void permute_eight(Vector256& to, const Vector256& first, const Vector256& second, std::uint64_t) {
    using Eight = std::array<std::uint32_t, 8>;
    const auto control = std::bit_cast<Eight>(first), from = std::bit_cast<Eight>(second);
    Eight result;
    for (unsigned n = 0; n < 8; ++n) result[n] = from[control[n] & 7];
    to = std::bit_cast<Vector256>(result);
}
void permute_halves(Vector256& to, const Vector256& first, const Vector256& second, std::uint64_t immediate) {
    const __m128i halves[] = {half_of<0>(first), half_of<1>(first), half_of<0>(second), half_of<1>(second)};
    const auto chosen = [&](std::uint64_t control) {
        return (control & 8) != 0 ? _mm_setzero_si128() : halves[control & 3];
    };
    const __m128i low = chosen(immediate), high = chosen(immediate >> 4);
    set_half<0>(to, low);
    set_half<1>(to, high);
}

// The count of operands is the same for VPERMILPS with a register as control and with an immediate; the
// immediate tells.
constexpr VectorOperations permute_singles = lanes<shuffle_doublewords>,
                           permute_singles_by_register = lanes<permute_singles_by>,
                           permute_doubles_by_bits = lanes_by_bits<permute_doubles, 2>,
                           permute_doubles_by_register = lanes<permute_doubles_by>;

Execute select_permutation(const Shape& shape, const VectorOperations& by_immediate,
                           const VectorOperations& by_register) {
    const ZydisDecodedOperand& last = shape.operands[shape.instruction.operand_count_visible - 1];
    return select_vector(shape, last.type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? by_immediate : by_register);
}
Execute select_permute_singles(const Shape& shape) {
    return select_permutation(shape, permute_singles, permute_singles_by_register);
}
Execute select_permute_doubles(const Shape& shape) {
    return select_permutation(shape, permute_doubles_by_bits, permute_doubles_by_register);
}

// --- Blends: by immediate, and by the sign bits of a third register
// ----------------------------------------------------------

template <class T>
__m128i blend(__m128i first, __m128i second, unsigned immediate) {
    Elements<T> to(first);
    const Elements<T> from(second);
    for (unsigned n = 0; n < to.count; ++n)
        if ((immediate >> n & 1) != 0) to[n] = from[n];
    return to;
}
__m128i blend_bytes_by(__m128i mask, __m128i first, __m128i second) { return _mm_blendv_epi8(first, second, mask); }
__m128i blend_singles_by(__m128i mask, __m128i first, __m128i second) {
    return _mm_blendv_epi8(first, second, _mm_srai_epi32(mask, 31));
}
__m128i blend_doubles_by(__m128i mask, __m128i first, __m128i second) {
    return _mm_blendv_epi8(first, second, _mm_shuffle_epi32(_mm_srai_epi32(mask, 31), 0xf5));
}

// --- Single elements
// ------------------------------------------------------------------------------------------------

template <class T>
__m128i insert(__m128i first, __m128i second, unsigned immediate) {
    Elements<T> to(first);
    to[immediate % to.count] = Elements<T>(second)[0];
    return to;
}
template <class T>
__m128i extract(__m128i, __m128i second, unsigned immediate) {
    const Elements<T> from(second);
    Elements<T> to(_mm_setzero_si128());
    to[0] = from[immediate % from.count];
    return to;
}

// INSERTPS: bits 7:6 choose in a register, 5:4 the place, 3:0 clear.
__m128i insert_and_clear(__m128i first, std::uint32_t inserted, unsigned immediate) {
    Elements<std::uint32_t> to(first);
    to[immediate >> 4 & 3] = inserted;
    for (unsigned n = 0; n < 4; ++n)
        if ((immediate >> n & 1) != 0) to[n] = 0;
    return to;
}
__m128i insert_from_register(__m128i first, __m128i second, unsigned immediate) {
    return insert_and_clear(first, Elements<std::uint32_t>(second)[immediate >> 6 & 3], immediate);
}
__m128i insert_from_memory(__m128i first, __m128i second, unsigned immediate) {
    return insert_and_clear(first, Elements<std::uint32_t>(second)[0], immediate);
}
constexpr VectorOperations insert_single{low_half<insert_from_register>, nullptr, low_half<insert_from_memory>};

// --- Sign and zero extension
// ---------------------------------------------------------------------------------------

template <class To, class From, std::size_t Bytes>
void extend(Vector256& to, const Vector256&, const Vector256& second, std::uint64_t) {
    const auto from = std::bit_cast<std::array<From, 32 / sizeof(From)>>(second);
    std::array<To, 32 / sizeof(To)> result{};
    for (std::size_t n = 0; n < Bytes / sizeof(To); ++n) result[n] = static_cast<To>(from[n]);
    std::memcpy(to.data(), result.data(), Bytes);
}
template <class To, class From>
constexpr VectorOperations extension{extend<To, From, 16>, extend<To, From, 32>};

using S8 = std::int8_t;
using S16 = std::int16_t;
using S32 = std::int32_t;
using S64 = std::int64_t;
using U8 = std::uint8_t;
using U16 = std::uint16_t;
using U32 = std::uint32_t;
using U64 = std::uint64_t;

}  // namespace

std::span<const Row> vector_shuffle_rows() {
    using enum Feature;
    static const std::vector<Row> rows = [] {
        using vector_trait::masked;
        constexpr ZydisMnemonic none = ZYDIS_MNEMONIC_INVALID;
        constexpr CostClass cost = CostClass::vector;
        static constexpr VectorRow table[] = {
            {ZYDIS_MNEMONIC_PACKSSWB, ZYDIS_MNEMONIC_VPACKSSWB, sse2, lanes<_mm_packs_epi16>},
            {ZYDIS_MNEMONIC_PACKSSDW, ZYDIS_MNEMONIC_VPACKSSDW, sse2, lanes<_mm_packs_epi32>},
            {ZYDIS_MNEMONIC_PACKUSWB, ZYDIS_MNEMONIC_VPACKUSWB, sse2, lanes<_mm_packus_epi16>},
            {ZYDIS_MNEMONIC_PACKUSDW, ZYDIS_MNEMONIC_VPACKUSDW, sse4_1, lanes<_mm_packus_epi32>},
            {ZYDIS_MNEMONIC_PUNPCKLBW, ZYDIS_MNEMONIC_VPUNPCKLBW, sse2, lanes<_mm_unpacklo_epi8>},
            {ZYDIS_MNEMONIC_PUNPCKLWD, ZYDIS_MNEMONIC_VPUNPCKLWD, sse2, lanes<_mm_unpacklo_epi16>},
            {ZYDIS_MNEMONIC_PUNPCKLDQ, ZYDIS_MNEMONIC_VPUNPCKLDQ, sse2, lanes<_mm_unpacklo_epi32>},
            {ZYDIS_MNEMONIC_PUNPCKLQDQ, ZYDIS_MNEMONIC_VPUNPCKLQDQ, sse2, lanes<_mm_unpacklo_epi64>},
            {ZYDIS_MNEMONIC_PUNPCKHBW, ZYDIS_MNEMONIC_VPUNPCKHBW, sse2, lanes<_mm_unpackhi_epi8>},
            {ZYDIS_MNEMONIC_PUNPCKHWD, ZYDIS_MNEMONIC_VPUNPCKHWD, sse2, lanes<_mm_unpackhi_epi16>},
            {ZYDIS_MNEMONIC_PUNPCKHDQ, ZYDIS_MNEMONIC_VPUNPCKHDQ, sse2, lanes<_mm_unpackhi_epi32>},
            {ZYDIS_MNEMONIC_PUNPCKHQDQ, ZYDIS_MNEMONIC_VPUNPCKHQDQ, sse2, lanes<_mm_unpackhi_epi64>},
            {ZYDIS_MNEMONIC_UNPCKLPS, ZYDIS_MNEMONIC_VUNPCKLPS, sse, lanes<_mm_unpacklo_epi32>},
            {ZYDIS_MNEMONIC_UNPCKLPD, ZYDIS_MNEMONIC_VUNPCKLPD, sse2, lanes<_mm_unpacklo_epi64>},
            {ZYDIS_MNEMONIC_UNPCKHPS, ZYDIS_MNEMONIC_VUNPCKHPS, sse, lanes<_mm_unpackhi_epi32>},
            {ZYDIS_MNEMONIC_UNPCKHPD, ZYDIS_MNEMONIC_VUNPCKHPD, sse2, lanes<_mm_unpackhi_epi64>},
            // Shuffles and permutations
            {ZYDIS_MNEMONIC_PSHUFB, ZYDIS_MNEMONIC_VPSHUFB, ssse3, lanes<_mm_shuffle_epi8>},
            {ZYDIS_MNEMONIC_PSHUFD, ZYDIS_MNEMONIC_VPSHUFD, sse2, lanes<shuffle_doublewords>},
            {ZYDIS_MNEMONIC_PSHUFLW, ZYDIS_MNEMONIC_VPSHUFLW, sse2, lanes<shuffle_words<0>>},
            {ZYDIS_MNEMONIC_PSHUFHW, ZYDIS_MNEMONIC_VPSHUFHW, sse2, lanes<shuffle_words<4>>},
            {ZYDIS_MNEMONIC_SHUFPS, ZYDIS_MNEMONIC_VSHUFPS, sse, lanes<shuffle_singles>},
            {ZYDIS_MNEMONIC_SHUFPD, ZYDIS_MNEMONIC_VSHUFPD, sse2, lanes_by_bits<shuffle_doubles, 2>},
            {ZYDIS_MNEMONIC_PALIGNR, ZYDIS_MNEMONIC_VPALIGNR, ssse3, lanes<align_right>},
            {none, ZYDIS_MNEMONIC_VPERMQ, base, {nullptr, permute_four}, cost, avx2},
            {none, ZYDIS_MNEMONIC_VPERMPD, base, {nullptr, permute_four}, cost, avx2},
            {none, ZYDIS_MNEMONIC_VPERMD, base, {nullptr, permute_eight}, cost, avx2},
            {none, ZYDIS_MNEMONIC_VPERMPS, base, {nullptr, permute_eight}, cost, avx2},
            {none, ZYDIS_MNEMONIC_VPERM2F128, base, {nullptr, permute_halves}},
            {none, ZYDIS_MNEMONIC_VPERM2I128, base, {nullptr, permute_halves}, cost, avx2},
            // Blends
            {ZYDIS_MNEMONIC_PBLENDW, ZYDIS_MNEMONIC_VPBLENDW, sse4_1, lanes<blend<U16>>},
            {ZYDIS_MNEMONIC_BLENDPS, ZYDIS_MNEMONIC_VBLENDPS, sse4_1, lanes_by_bits<blend<U32>, 4>},
            {ZYDIS_MNEMONIC_BLENDPD, ZYDIS_MNEMONIC_VBLENDPD, sse4_1, lanes_by_bits<blend<U64>, 2>},
            {none, ZYDIS_MNEMONIC_VPBLENDD, base, lanes_by_bits<blend<U32>, 4>, cost, avx2},
            {ZYDIS_MNEMONIC_PBLENDVB, ZYDIS_MNEMONIC_VPBLENDVB, sse4_1, lanes_of_three<blend_bytes_by, masked>},
            {ZYDIS_MNEMONIC_BLENDVPS, ZYDIS_MNEMONIC_VBLENDVPS, sse4_1, lanes_of_three<blend_singles_by, masked>},
            {ZYDIS_MNEMONIC_BLENDVPD, ZYDIS_MNEMONIC_VBLENDVPD, sse4_1, lanes_of_three<blend_doubles_by, masked>},
            // Single elements
            {ZYDIS_MNEMONIC_PINSRB, ZYDIS_MNEMONIC_VPINSRB, sse4_1, narrow<insert<U8>>},
            {ZYDIS_MNEMONIC_PINSRW, ZYDIS_MNEMONIC_VPINSRW, sse2, narrow<insert<U16>>},
            {ZYDIS_MNEMONIC_PINSRD, ZYDIS_MNEMONIC_VPINSRD, sse4_1, narrow<insert<U32>>},
            {ZYDIS_MNEMONIC_PINSRQ, ZYDIS_MNEMONIC_VPINSRQ, sse4_1, narrow<insert<U64>>},
            {ZYDIS_MNEMONIC_PEXTRB, ZYDIS_MNEMONIC_VPEXTRB, sse4_1, narrow<extract<U8>>},
            {ZYDIS_MNEMONIC_PEXTRW, ZYDIS_MNEMONIC_VPEXTRW, sse2, narrow<extract<U16>>},
            {ZYDIS_MNEMONIC_PEXTRD, ZYDIS_MNEMONIC_VPEXTRD, sse4_1, narrow<extract<U32>>},
            {ZYDIS_MNEMONIC_PEXTRQ, ZYDIS_MNEMONIC_VPEXTRQ, sse4_1, narrow<extract<U64>>},
            {ZYDIS_MNEMONIC_EXTRACTPS, ZYDIS_MNEMONIC_VEXTRACTPS, sse4_1, narrow<extract<U32>>},
            {ZYDIS_MNEMONIC_INSERTPS, ZYDIS_MNEMONIC_VINSERTPS, sse4_1, insert_single},
            // Extension
            {ZYDIS_MNEMONIC_PMOVSXBW, ZYDIS_MNEMONIC_VPMOVSXBW, sse4_1, extension<S16, S8>},
            {ZYDIS_MNEMONIC_PMOVSXBD, ZYDIS_MNEMONIC_VPMOVSXBD, sse4_1, extension<S32, S8>},
            {ZYDIS_MNEMONIC_PMOVSXBQ, ZYDIS_MNEMONIC_VPMOVSXBQ, sse4_1, extension<S64, S8>},
            {ZYDIS_MNEMONIC_PMOVSXWD, ZYDIS_MNEMONIC_VPMOVSXWD, sse4_1, extension<S32, S16>},
            {ZYDIS_MNEMONIC_PMOVSXWQ, ZYDIS_MNEMONIC_VPMOVSXWQ, sse4_1, extension<S64, S16>},
            {ZYDIS_MNEMONIC_PMOVSXDQ, ZYDIS_MNEMONIC_VPMOVSXDQ, sse4_1, extension<S64, S32>},
            {ZYDIS_MNEMONIC_PMOVZXBW, ZYDIS_MNEMONIC_VPMOVZXBW, sse4_1, extension<U16, U8>},
            {ZYDIS_MNEMONIC_PMOVZXBD, ZYDIS_MNEMONIC_VPMOVZXBD, sse4_1, extension<U32, U8>},
            {ZYDIS_MNEMONIC_PMOVZXBQ, ZYDIS_MNEMONIC_VPMOVZXBQ, sse4_1, extension<U64, U8>},
            {ZYDIS_MNEMONIC_PMOVZXWD, ZYDIS_MNEMONIC_VPMOVZXWD, sse4_1, extension<U32, U16>},
            {ZYDIS_MNEMONIC_PMOVZXWQ, ZYDIS_MNEMONIC_VPMOVZXWQ, sse4_1, extension<U64, U16>},
            {ZYDIS_MNEMONIC_PMOVZXDQ, ZYDIS_MNEMONIC_VPMOVZXDQ, sse4_1, extension<U64, U32>},
        };
        std::vector<Row> all = rows_of(table);
        all.push_back({ZYDIS_MNEMONIC_VPERMILPS, select_permute_singles, cost, 0, avx});
        all.push_back({ZYDIS_MNEMONIC_VPERMILPD, select_permute_doubles, cost, 0, avx});
        return all;
    }();
    return rows;
}

}  // namespace xenolith::cpu
