// MMX instructions, and those that SSE, SSE2 and SSSE3 added on MMX registers (SDM vol. 1, chapter 9; vol.
// 2).
//
// An MMX register is the significand of the x87 register of the same number. Every one of these instructions
// makes all x87 registers valid and R0 the top of the stack; a written register gets an exponent of all ones.
// The host's XMM registers do the arithmetic, so that the host's x87 state stays out of it: where an
// operation looks at whole registers, its operands are first brought together as it would see them in 64
// bits. Only conversions, whose exceptions are their own, are done as they are.
#include <immintrin.h>

#include <array>

#include "cpu/isa/floating_point.hpp"
#include "cpu/isa/forms.hpp"
#include "cpu/isa/host_x87.hpp"
#include "cpu/isa/row.hpp"
#include "cpu/processor.hpp"

namespace xenolith::cpu {

namespace {

// --- Registers
// --------------------------------------------------------------------------------------------------------------

std::uint64_t mmx(const Processor& p, std::uint8_t number) {
    return p.state.floating_point.registers[number].significand;
}
// SDM vol. 1, 9.5.1.
void enter_mmx(Processor& p) {
    FloatingPointState& fp = p.state.floating_point;
    fp.status &= static_cast<std::uint16_t>(~(7u << 11));
    fp.tag = 0;
}
void set_mmx(Processor& p, std::uint8_t number, std::uint64_t value) {
    enter_mmx(p);
    p.state.floating_point.registers[number] = {value, 0xffff};
}

__m128i wide(std::uint64_t value) { return _mm_cvtsi64_si128(static_cast<long long>(value)); }
__m128i pair(std::uint64_t low, std::uint64_t high) { return _mm_unpacklo_epi64(wide(low), wide(high)); }
std::uint64_t low_half(__m128i value) { return static_cast<std::uint64_t>(_mm_cvtsi128_si64(value)); }
std::uint64_t high_half(__m128i value) { return low_half(_mm_unpackhi_epi64(value, value)); }

// --- Two operands: Function is std::uint64_t(std::uint64_t first, std::uint64_t second)
// -----------------------------------------------

using Function = std::uint64_t (*)(std::uint64_t, std::uint64_t);

template <Function F, class Operand>
struct TwoOperands {
    static void rr(Processor& p, const Instruction& i) {
        require_mmx(p);
        set_mmx(p, i.registers[0], F(mmx(p, i.registers[0]), mmx(p, i.registers[1])));
    }
    static void rm(Processor& p, const Instruction& i) {
        require_mmx(p);
        const std::uint64_t second = p.load<Operand>(i);
        set_mmx(p, i.registers[0], F(mmx(p, i.registers[0]), second));
    }
    static void ri(Processor& p, const Instruction& i) {
        require_mmx(p);
        set_mmx(p, i.registers[0], F(mmx(p, i.registers[0]), i.immediate & 0xff));
    }
};

template <Function F, class Operand = std::uint64_t>
Execute select(const Shape& shape) {
    switch (shape.form) {
        case form("rr"): return TwoOperands<F, Operand>::rr;
        case form("rm"): return TwoOperands<F, Operand>::rm;
        case form("ri"): return TwoOperands<F, Operand>::ri;
        default: return nullptr;
    }
}

// Element by element: the operation on XMM registers, their upper halves unused.
template <auto Intrinsic>
std::uint64_t lanes(std::uint64_t first, std::uint64_t second) {
    return low_half(Intrinsic(wide(first), wide(second)));
}
// Operations that gather from both operands: first's elements, then second's.
template <auto Intrinsic>
std::uint64_t gather(std::uint64_t first, std::uint64_t second) {
    const __m128i both = pair(first, second);
    return low_half(Intrinsic(both, both));
}
template <auto Intrinsic>
std::uint64_t interleave_high(std::uint64_t first, std::uint64_t second) {
    return high_half(Intrinsic(wide(first), wide(second)));
}
template <auto Intrinsic>
std::uint64_t second_only(std::uint64_t, std::uint64_t second) {
    return low_half(Intrinsic(wide(second)));
}
std::uint64_t and_not(std::uint64_t first, std::uint64_t second) { return ~first & second; }
// Bit 7 of an index clears, bits 2:0 choose, the others are ignored.
std::uint64_t shuffle_bytes(std::uint64_t first, std::uint64_t second) {
    return low_half(_mm_shuffle_epi8(wide(first), wide(second & 0x8787878787878787)));
}

// --- Three operands: the last is an immediate
// -----------------------------------------------------------------------------------

using FunctionOfThree = std::uint64_t (*)(std::uint64_t, std::uint64_t, unsigned);

template <FunctionOfThree F>
struct WithImmediate {
    static void rri(Processor& p, const Instruction& i) {
        require_mmx(p);
        set_mmx(p, i.registers[0], F(mmx(p, i.registers[0]), mmx(p, i.registers[1]), immediate(i)));
    }
    static void rmi(Processor& p, const Instruction& i) {
        require_mmx(p);
        const auto second = p.load<std::uint64_t>(i);
        set_mmx(p, i.registers[0], F(mmx(p, i.registers[0]), second, immediate(i)));
    }
    static Execute select(const Shape& shape) {
        return shape.form == form("rri") ? rri : shape.form == form("rmi") ? rmi : nullptr;
    }

  private:
    static unsigned immediate(const Instruction& i) { return static_cast<unsigned>(i.immediate & 0xff); }
};

std::uint64_t shuffle_words(std::uint64_t, std::uint64_t from, unsigned order) {
    std::uint64_t result = 0;
    for (unsigned n = 0; n < 4; ++n) result |= (from >> (order >> n * 2 & 3) * 16 & 0xffff) << n * 16;
    return result;
}
std::uint64_t align_right(std::uint64_t high, std::uint64_t low, unsigned bytes) {
    if (bytes >= 16) return 0;
    if (bytes >= 8) return high >> (bytes - 8) * 8;
    return bytes == 0 ? low : low >> bytes * 8 | high << (8 - bytes) * 8;
}

// --- Single elements and general registers
// ------------------------------------------------------------------------------------

std::uint64_t with_word(std::uint64_t into, std::uint16_t value, std::uint64_t place) {
    const unsigned shift = static_cast<unsigned>(place & 3) * 16;
    return (into & ~(std::uint64_t{0xffff} << shift)) | std::uint64_t{value} << shift;
}
void insert_word_from_register(Processor& p, const Instruction& i) {
    require_mmx(p);
    const auto value = p.get<std::uint16_t>(i.registers[1]);
    set_mmx(p, i.registers[0], with_word(mmx(p, i.registers[0]), value, i.immediate));
}
void insert_word_from_memory(Processor& p, const Instruction& i) {
    require_mmx(p);
    const auto value = p.load<std::uint16_t>(i);
    set_mmx(p, i.registers[0], with_word(mmx(p, i.registers[0]), value, i.immediate));
}
Execute select_insert_word(const Shape& shape) {
    return shape.form == form("rri")   ? insert_word_from_register
           : shape.form == form("rmi") ? insert_word_from_memory
                                       : nullptr;
}

// The destination is a general register, whose upper bits are cleared at any operand size.
void extract_word(Processor& p, const Instruction& i) {
    require_mmx(p);
    enter_mmx(p);
    const unsigned shift = static_cast<unsigned>(i.immediate & 3) * 16;
    p.set<std::uint32_t>(i.registers[0], mmx(p, i.registers[1]) >> shift & 0xffff);
}
void move_byte_mask(Processor& p, const Instruction& i) {
    require_mmx(p);
    enter_mmx(p);
    const int mask = _mm_movemask_epi8(wide(mmx(p, i.registers[1])));
    p.set<std::uint32_t>(i.registers[0], static_cast<std::uint32_t>(mask));
}

// --- Moves
// ----------------------------------------------------------------------------------------------------------------

template <std::unsigned_integral T>
struct Move {
    static void from_general(Processor& p, const Instruction& i) {
        require_mmx(p);
        set_mmx(p, i.registers[0], p.get<T>(i.registers[1]));
    }
    static void from_memory(Processor& p, const Instruction& i) {
        require_mmx(p);
        set_mmx(p, i.registers[0], p.load<T>(i));
    }
    static void to_general(Processor& p, const Instruction& i) {
        require_mmx(p);
        enter_mmx(p);
        p.set<T>(i.registers[0], static_cast<T>(mmx(p, i.registers[1])));
    }
    static void to_memory(Processor& p, const Instruction& i) {
        require_mmx(p);
        p.store<T>(i, static_cast<T>(mmx(p, i.registers[1])));
        enter_mmx(p);
    }
};
void move_register(Processor& p, const Instruction& i) {
    require_mmx(p);
    set_mmx(p, i.registers[0], mmx(p, i.registers[1]));
}

bool is_mmx(const ZydisDecodedOperand& operand) {
    return operand.type == ZYDIS_OPERAND_TYPE_REGISTER &&
           ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_MMX;
}

template <std::unsigned_integral T>
Execute select_move(const Shape& shape) {
    const bool to = is_mmx(shape.operands[0]), from = is_mmx(shape.operands[1]);
    switch (shape.form) {
        case form("rr"): return to && from ? move_register : to ? Move<T>::from_general : Move<T>::to_general;
        case form("rm"): return Move<T>::from_memory;
        case form("mr"): return Move<T>::to_memory;
        default: return nullptr;
    }
}

// MASKMOVQ: the bytes whose mask has bit 7 set go to DS:rDI. As on AMD's CPUs all eight have to be writable
// whatever the mask (Intel leaves that open), and a page fault finds the MMX registers valid already.
void store_masked(Processor& p, const Instruction& i) {
    require_mmx(p);
    enter_mmx(p);
    const std::uint64_t from = mmx(p, i.registers[0]), mask = mmx(p, i.registers[1]);
    const std::uint64_t selected = (mask >> 7 & 0x0101010101010101) * 0xff;
    const std::uint64_t at = p.get<std::uint64_t>(rdi) & Processor::address_mask(i.address_size);
    const auto old = p.begin_modify<std::uint64_t>(i.segment, at);
    p.end_modify<std::uint64_t>((old & ~selected) | (from & selected));
}

// --- Between MMX and XMM registers
// ------------------------------------------------------------------------------------------

void require_both(Processor& p) {
    require_sse(p);
    require_no_pending_x87_error(p);
}

void move_to_xmm(Processor& p, const Instruction& i) {
    require_both(p);
    enter_mmx(p);
    auto& vector = p.state.floating_point.vector[i.registers[0]];
    vector[0] = mmx(p, i.registers[1]);
    vector[1] = 0;
}
void move_from_xmm(Processor& p, const Instruction& i) {
    require_both(p);
    set_mmx(p, i.registers[0], p.state.floating_point.vector[i.registers[1]][0]);
}

// The operation with the guest's rounding mode and nothing unmasked, on the host. Raises #XM, or #UD, for
// what the guest has not masked (SDM vol. 1, 11.5).
template <host_x87::VectorConversion Operation>
std::uint64_t convert(Processor& p, __m128i from) {
    constexpr std::uint32_t flags = 0x3f, masks = 0x1f80;
    std::uint32_t& mxcsr = p.state.floating_point.mxcsr;
    std::uint32_t during = (mxcsr & ~flags) | masks;
    const std::uint64_t result = Operation(from, during);
    // An unmasked exception found before the operation leaves nothing to be found behind it.
    constexpr std::uint32_t before_operation = 7;
    const std::uint32_t unmasked = during & flags & ~(mxcsr >> 7);
    mxcsr |= during & ((unmasked & before_operation) != 0 ? before_operation : flags);
    if (unmasked != 0) p.raise((p.state.cr4 & cr4::osxmmexcpt) != 0 ? Vector::simd_error : Vector::invalid_opcode);
    return result;
}

// From memory these have nothing to do with MMX registers; Intel's manual says otherwise of CVTPI2PS, its CPUs do not.
std::uint64_t load_integers(Processor& p, const Instruction& i) {
    if (i.has_memory) {
        require_sse(p);
        return p.load<std::uint64_t>(i);
    }
    require_both(p);
    enter_mmx(p);
    return mmx(p, i.registers[1]);
}

void integers_to_singles(Processor& p, const Instruction& i) {
    const std::uint64_t from = load_integers(p, i);
    const std::uint64_t result = convert<host_x87::integers_to_singles>(p, wide(from));
    p.state.floating_point.vector[i.registers[0]][0] = result;
}

// Exact, so MXCSR does not matter.
void integers_to_doubles(Processor& p, const Instruction& i) {
    const __m128i result = _mm_castpd_si128(_mm_cvtepi32_pd(wide(load_integers(p, i))));
    auto& vector = p.state.floating_point.vector[i.registers[0]];
    vector[0] = low_half(result);
    vector[1] = high_half(result);
}

// A #XM leaves the MMX registers valid already.
template <host_x87::VectorConversion Operation>
void to_integers(Processor& p, const Instruction& i, __m128i from) {
    enter_mmx(p);
    set_mmx(p, i.registers[0], convert<Operation>(p, from));
}

template <host_x87::VectorConversion Operation>
void singles_to_integers(Processor& p, const Instruction& i) {
    require_both(p);
    const std::uint64_t from =
        i.has_memory ? p.load<std::uint64_t>(i) : p.state.floating_point.vector[i.registers[1]][0];
    to_integers<Operation>(p, i, wide(from));
}

// A memory operand of 16 bytes has to be aligned.
template <host_x87::VectorConversion Operation>
void doubles_to_integers(Processor& p, const Instruction& i) {
    require_both(p);
    std::array<std::uint64_t, 2> from{};
    if (i.has_memory) {
        const std::uint64_t at = p.effective_address(i);
        p.load_vector<16, true>(i.segment, at, from.data());
    } else {
        const auto& vector = p.state.floating_point.vector[i.registers[1]];
        from = {vector[0], vector[1]};
    }
    to_integers<Operation>(p, i, pair(from[0], from[1]));
}

}  // namespace

std::span<const Row> mmx_rows() {
    using CostClass::vector;
    constexpr Feature mmx = Feature::mmx, sse = Feature::sse, sse2 = Feature::sse2, ssse3 = Feature::ssse3;
    constexpr std::uint16_t flag = row_flag::mmx_operand;
    using std::uint32_t;
    static constexpr std::array rows = {
        Row{ZYDIS_MNEMONIC_MOVD, select_move<uint32_t>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_MOVQ, select_move<std::uint64_t>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_MOVNTQ, select_move<std::uint64_t>, vector, flag, sse},
        Row{ZYDIS_MNEMONIC_PADDB, select<lanes<_mm_add_epi8>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PSUBB, select<lanes<_mm_sub_epi8>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PADDW, select<lanes<_mm_add_epi16>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PSUBW, select<lanes<_mm_sub_epi16>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PADDD, select<lanes<_mm_add_epi32>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PSUBD, select<lanes<_mm_sub_epi32>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PADDQ, select<lanes<_mm_add_epi64>>, vector, flag, sse2},
        Row{ZYDIS_MNEMONIC_PSUBQ, select<lanes<_mm_sub_epi64>>, vector, flag, sse2},
        Row{ZYDIS_MNEMONIC_PADDSB, select<lanes<_mm_adds_epi8>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PADDUSB, select<lanes<_mm_adds_epu8>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PSUBSB, select<lanes<_mm_subs_epi8>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PSUBUSB, select<lanes<_mm_subs_epu8>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PADDSW, select<lanes<_mm_adds_epi16>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PADDUSW, select<lanes<_mm_adds_epu16>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PSUBSW, select<lanes<_mm_subs_epi16>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PSUBUSW, select<lanes<_mm_subs_epu16>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PCMPEQB, select<lanes<_mm_cmpeq_epi8>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PCMPGTB, select<lanes<_mm_cmpgt_epi8>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PCMPEQW, select<lanes<_mm_cmpeq_epi16>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PCMPGTW, select<lanes<_mm_cmpgt_epi16>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PCMPEQD, select<lanes<_mm_cmpeq_epi32>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PCMPGTD, select<lanes<_mm_cmpgt_epi32>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PMULLW, select<lanes<_mm_mullo_epi16>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PMULHW, select<lanes<_mm_mulhi_epi16>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PMULHUW, select<lanes<_mm_mulhi_epu16>>, vector, flag, sse},
        Row{ZYDIS_MNEMONIC_PMULUDQ, select<lanes<_mm_mul_epu32>>, vector, flag, sse2},
        Row{ZYDIS_MNEMONIC_PMADDWD, select<lanes<_mm_madd_epi16>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PMADDUBSW, select<lanes<_mm_maddubs_epi16>>, vector, flag, ssse3},
        Row{ZYDIS_MNEMONIC_PMULHRSW, select<lanes<_mm_mulhrs_epi16>>, vector, flag, ssse3},
        Row{ZYDIS_MNEMONIC_PAND, select<lanes<_mm_and_si128>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PANDN, select<and_not>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_POR, select<lanes<_mm_or_si128>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PXOR, select<lanes<_mm_xor_si128>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PSLLW, select<lanes<_mm_sll_epi16>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PSRLW, select<lanes<_mm_srl_epi16>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PSRAW, select<lanes<_mm_sra_epi16>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PSLLD, select<lanes<_mm_sll_epi32>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PSRLD, select<lanes<_mm_srl_epi32>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PSRAD, select<lanes<_mm_sra_epi32>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PSLLQ, select<lanes<_mm_sll_epi64>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PSRLQ, select<lanes<_mm_srl_epi64>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PACKSSWB, select<gather<_mm_packs_epi16>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PACKSSDW, select<gather<_mm_packs_epi32>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PACKUSWB, select<gather<_mm_packus_epi16>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PUNPCKLBW, select<lanes<_mm_unpacklo_epi8>, uint32_t>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PUNPCKHBW, select<interleave_high<_mm_unpacklo_epi8>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PUNPCKLWD, select<lanes<_mm_unpacklo_epi16>, uint32_t>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PUNPCKHWD, select<interleave_high<_mm_unpacklo_epi16>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PUNPCKLDQ, select<lanes<_mm_unpacklo_epi32>, uint32_t>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PUNPCKHDQ, select<interleave_high<_mm_unpacklo_epi32>>, vector, flag, mmx},
        Row{ZYDIS_MNEMONIC_PAVGB, select<lanes<_mm_avg_epu8>>, vector, flag, sse},
        Row{ZYDIS_MNEMONIC_PAVGW, select<lanes<_mm_avg_epu16>>, vector, flag, sse},
        Row{ZYDIS_MNEMONIC_PMINUB, select<lanes<_mm_min_epu8>>, vector, flag, sse},
        Row{ZYDIS_MNEMONIC_PMAXUB, select<lanes<_mm_max_epu8>>, vector, flag, sse},
        Row{ZYDIS_MNEMONIC_PMINSW, select<lanes<_mm_min_epi16>>, vector, flag, sse},
        Row{ZYDIS_MNEMONIC_PMAXSW, select<lanes<_mm_max_epi16>>, vector, flag, sse},
        Row{ZYDIS_MNEMONIC_PSADBW, select<lanes<_mm_sad_epu8>>, vector, flag, sse},
        Row{ZYDIS_MNEMONIC_PSHUFW, WithImmediate<shuffle_words>::select, vector, flag, sse},
        Row{ZYDIS_MNEMONIC_PINSRW, select_insert_word, vector, flag, sse},
        Row{ZYDIS_MNEMONIC_PEXTRW, always<extract_word>, vector, flag, sse},
        Row{ZYDIS_MNEMONIC_PMOVMSKB, always<move_byte_mask>, vector, flag, sse},
        Row{ZYDIS_MNEMONIC_MASKMOVQ, always<store_masked>, vector, flag, sse},
        Row{ZYDIS_MNEMONIC_PSHUFB, select<shuffle_bytes>, vector, flag, ssse3},
        Row{ZYDIS_MNEMONIC_PALIGNR, WithImmediate<align_right>::select, vector, flag, ssse3},
        Row{ZYDIS_MNEMONIC_PHADDW, select<gather<_mm_hadd_epi16>>, vector, flag, ssse3},
        Row{ZYDIS_MNEMONIC_PHADDD, select<gather<_mm_hadd_epi32>>, vector, flag, ssse3},
        Row{ZYDIS_MNEMONIC_PHADDSW, select<gather<_mm_hadds_epi16>>, vector, flag, ssse3},
        Row{ZYDIS_MNEMONIC_PHSUBW, select<gather<_mm_hsub_epi16>>, vector, flag, ssse3},
        Row{ZYDIS_MNEMONIC_PHSUBD, select<gather<_mm_hsub_epi32>>, vector, flag, ssse3},
        Row{ZYDIS_MNEMONIC_PHSUBSW, select<gather<_mm_hsubs_epi16>>, vector, flag, ssse3},
        Row{ZYDIS_MNEMONIC_PSIGNB, select<lanes<_mm_sign_epi8>>, vector, flag, ssse3},
        Row{ZYDIS_MNEMONIC_PABSB, select<second_only<_mm_abs_epi8>>, vector, flag, ssse3},
        Row{ZYDIS_MNEMONIC_PSIGNW, select<lanes<_mm_sign_epi16>>, vector, flag, ssse3},
        Row{ZYDIS_MNEMONIC_PABSW, select<second_only<_mm_abs_epi16>>, vector, flag, ssse3},
        Row{ZYDIS_MNEMONIC_PSIGND, select<lanes<_mm_sign_epi32>>, vector, flag, ssse3},
        Row{ZYDIS_MNEMONIC_PABSD, select<second_only<_mm_abs_epi32>>, vector, flag, ssse3},
        Row{ZYDIS_MNEMONIC_MOVQ2DQ, always<move_to_xmm>, vector, flag, sse2},
        Row{ZYDIS_MNEMONIC_MOVDQ2Q, always<move_from_xmm>, vector, flag, sse2},
        Row{ZYDIS_MNEMONIC_CVTPI2PS, always<integers_to_singles>, vector, 0, sse},
        Row{ZYDIS_MNEMONIC_CVTPI2PD, always<integers_to_doubles>, vector, 0, sse2},
        Row{ZYDIS_MNEMONIC_CVTPS2PI, always<singles_to_integers<host_x87::singles_to_integers>>, vector, flag, sse},
        Row{ZYDIS_MNEMONIC_CVTTPS2PI, always<singles_to_integers<host_x87::singles_to_integers_truncating>>, vector,
            flag, sse},
        Row{ZYDIS_MNEMONIC_CVTPD2PI, always<doubles_to_integers<host_x87::doubles_to_integers>>, vector, flag, sse2},
        Row{ZYDIS_MNEMONIC_CVTTPD2PI, always<doubles_to_integers<host_x87::doubles_to_integers_truncating>>, vector,
            flag, sse2},
    };
    return rows;
}

}  // namespace xenolith::cpu
