// Moves between XMM or YMM registers, memory and general registers (SDM vol. 2: MOV*, VBROADCAST*,
// VINSERTF128 ...).
#include <array>

#include "cpu/isa/forms.hpp"
#include "cpu/isa/vector_forms.hpp"
#include "cpu/processor.hpp"

namespace xenolith::cpu {

namespace {

__m128i copy(__m128i second) { return second; }

// --- Parts of a register
// --------------------------------------------------------------------------------------------

__m128i replace_low32(__m128i first, __m128i second) {
    return _mm_castps_si128(_mm_move_ss(_mm_castsi128_ps(first), _mm_castsi128_ps(second)));
}
__m128i replace_low64(__m128i first, __m128i second) {
    return _mm_castpd_si128(_mm_move_sd(_mm_castsi128_pd(first), _mm_castsi128_pd(second)));
}
__m128i high_of_second(__m128i second) { return _mm_unpackhi_epi64(second, second); }
__m128i high_to_low(__m128i first, __m128i second) { return _mm_unpackhi_epi64(second, first); }
__m128i low_to_high(__m128i first, __m128i second) { return _mm_unpacklo_epi64(first, second); }
__m128i low_twice(__m128i second) { return _mm_unpacklo_epi64(second, second); }
__m128i even_singles_twice(__m128i second) { return _mm_shuffle_epi32(second, 0xa0); }
__m128i odd_singles_twice(__m128i second) { return _mm_shuffle_epi32(second, 0xf5); }

template <auto Replace>
constexpr VectorOperations scalar_move{low_half<Replace>, nullptr, low_half<copy>, low_half<copy>};
constexpr VectorOperations low_move{low_half<replace_low64>, nullptr, nullptr, low_half<copy>};
constexpr VectorOperations high_move{low_half<low_to_high>, nullptr, nullptr, low_half<high_of_second>};

// --- One element to all, and halves of YMM registers
// -----------------------------------------------------------------------

template <class T>
__m128i repeat(__m128i second) {
    Elements<T> all(second);
    for (T& element : all.at) element = all[0];
    return all;
}
template <auto Function>
void low_half_to_both(Vector256& to, const Vector256&, const Vector256& second, std::uint64_t) {
    const __m128i value = Function(half_of(second));
    set_half<0>(to, value);
    set_half<1>(to, value);
}
template <auto Function>
constexpr VectorOperations broadcast{low_half<Function>, low_half_to_both<Function>};

void insert_half(Vector256& to, const Vector256& first, const Vector256& second, std::uint64_t immediate) {
    const __m128i inserted = half_of(second), low = half_of<0>(first), high = half_of<1>(first);
    set_half<0>(to, (immediate & 1) == 0 ? inserted : low);
    set_half<1>(to, (immediate & 1) != 0 ? inserted : high);
}
void extract_half(Vector256& to, const Vector256&, const Vector256& second, std::uint64_t immediate) {
    set_half(to, (immediate & 1) != 0 ? half_of<1>(second) : half_of<0>(second));
}
constexpr VectorOperations insertion{nullptr, insert_half}, extraction{nullptr, extract_half};

// --- MOVNTI: a general register to memory past the cache, which is not modelled
// ---------------------------------------------

template <std::unsigned_integral T>
void store_general(Processor& p, const Instruction& i) {
    p.store<T>(i, p.get<T>(i.registers[1]));
}
Execute select_store_general(const Shape& shape) {
    return with_large_width(shape.width, []<class T>() -> Execute { return store_general<T>; });
}

}  // namespace

std::span<const Row> vector_move_rows() {
    using enum Feature;
    using namespace vector_trait;
    static const std::vector<Row> rows = [] {
        constexpr ZydisMnemonic none = ZYDIS_MNEMONIC_INVALID;
        constexpr CostClass cost = CostClass::vector;
        static constexpr VectorRow table[] = {
            {ZYDIS_MNEMONIC_MOVAPS, ZYDIS_MNEMONIC_VMOVAPS, sse, lanes<copy, aligned>},
            {ZYDIS_MNEMONIC_MOVAPD, ZYDIS_MNEMONIC_VMOVAPD, sse2, lanes<copy, aligned>},
            {ZYDIS_MNEMONIC_MOVDQA, ZYDIS_MNEMONIC_VMOVDQA, sse2, lanes<copy, aligned>},
            {ZYDIS_MNEMONIC_MOVNTPS, ZYDIS_MNEMONIC_VMOVNTPS, sse, lanes<copy, aligned>},
            {ZYDIS_MNEMONIC_MOVNTPD, ZYDIS_MNEMONIC_VMOVNTPD, sse2, lanes<copy, aligned>},
            {ZYDIS_MNEMONIC_MOVNTDQ, ZYDIS_MNEMONIC_VMOVNTDQ, sse2, lanes<copy, aligned>},
            {ZYDIS_MNEMONIC_MOVNTDQA, ZYDIS_MNEMONIC_VMOVNTDQA, sse4_1, lanes<copy, aligned>},
            {ZYDIS_MNEMONIC_MOVUPS, ZYDIS_MNEMONIC_VMOVUPS, sse, lanes<copy, unaligned>},
            {ZYDIS_MNEMONIC_MOVUPD, ZYDIS_MNEMONIC_VMOVUPD, sse2, lanes<copy, unaligned>},
            {ZYDIS_MNEMONIC_MOVDQU, ZYDIS_MNEMONIC_VMOVDQU, sse2, lanes<copy, unaligned>},
            {ZYDIS_MNEMONIC_LDDQU, ZYDIS_MNEMONIC_VLDDQU, sse3, lanes<copy, unaligned>},
            {ZYDIS_MNEMONIC_MOVD, ZYDIS_MNEMONIC_VMOVD, sse2, narrow<copy>},
            {ZYDIS_MNEMONIC_MOVQ, ZYDIS_MNEMONIC_VMOVQ, sse2, narrow<_mm_move_epi64>},
            {ZYDIS_MNEMONIC_MOVSS, ZYDIS_MNEMONIC_VMOVSS, sse, scalar_move<replace_low32>},
            {ZYDIS_MNEMONIC_MOVSD, ZYDIS_MNEMONIC_VMOVSD, sse2, scalar_move<replace_low64>},
            {ZYDIS_MNEMONIC_MOVLPS, ZYDIS_MNEMONIC_VMOVLPS, sse, low_move},
            {ZYDIS_MNEMONIC_MOVLPD, ZYDIS_MNEMONIC_VMOVLPD, sse2, low_move},
            {ZYDIS_MNEMONIC_MOVHPS, ZYDIS_MNEMONIC_VMOVHPS, sse, high_move},
            {ZYDIS_MNEMONIC_MOVHPD, ZYDIS_MNEMONIC_VMOVHPD, sse2, high_move},
            {ZYDIS_MNEMONIC_MOVHLPS, ZYDIS_MNEMONIC_VMOVHLPS, sse, narrow<high_to_low>},
            {ZYDIS_MNEMONIC_MOVLHPS, ZYDIS_MNEMONIC_VMOVLHPS, sse, narrow<low_to_high>},
            {ZYDIS_MNEMONIC_MOVDDUP, ZYDIS_MNEMONIC_VMOVDDUP, sse3, lanes<low_twice>},
            {ZYDIS_MNEMONIC_MOVSLDUP, ZYDIS_MNEMONIC_VMOVSLDUP, sse3, lanes<even_singles_twice>},
            {ZYDIS_MNEMONIC_MOVSHDUP, ZYDIS_MNEMONIC_VMOVSHDUP, sse3, lanes<odd_singles_twice>},
            {none, ZYDIS_MNEMONIC_VBROADCASTSS, base, broadcast<repeat<std::uint32_t>>},
            {none, ZYDIS_MNEMONIC_VBROADCASTSD, base, broadcast<repeat<std::uint64_t>>},
            {none, ZYDIS_MNEMONIC_VBROADCASTF128, base, broadcast<copy>},
            {none, ZYDIS_MNEMONIC_VBROADCASTI128, base, broadcast<copy>, cost, avx2},
            {none, ZYDIS_MNEMONIC_VPBROADCASTB, base, broadcast<repeat<std::uint8_t>>, cost, avx2},
            {none, ZYDIS_MNEMONIC_VPBROADCASTW, base, broadcast<repeat<std::uint16_t>>, cost, avx2},
            {none, ZYDIS_MNEMONIC_VPBROADCASTD, base, broadcast<repeat<std::uint32_t>>, cost, avx2},
            {none, ZYDIS_MNEMONIC_VPBROADCASTQ, base, broadcast<repeat<std::uint64_t>>, cost, avx2},
            {none, ZYDIS_MNEMONIC_VINSERTF128, base, insertion},
            {none, ZYDIS_MNEMONIC_VINSERTI128, base, insertion, cost, avx2},
            {none, ZYDIS_MNEMONIC_VEXTRACTF128, base, extraction},
            {none, ZYDIS_MNEMONIC_VEXTRACTI128, base, extraction, cost, avx2},
        };
        std::vector<Row> all = rows_of(table);
        all.push_back({ZYDIS_MNEMONIC_MOVNTI, select_store_general, cost, 0, sse2});
        return all;
    }();
    return rows;
}

}  // namespace xenolith::cpu
