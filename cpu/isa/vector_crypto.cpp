// AES, carry-less multiplication and SHA, as the host does them (SDM vol. 1, 12.13; vol. 2: AES*, PCLMULQDQ,
// SHA*).
#include "cpu/isa/vector_forms.hpp"

namespace xenolith::cpu {

namespace {

__m128i aesenc(__m128i a, __m128i b) {
    asm("aesenc %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i aesenclast(__m128i a, __m128i b) {
    asm("aesenclast %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i aesdec(__m128i a, __m128i b) {
    asm("aesdec %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i aesdeclast(__m128i a, __m128i b) {
    asm("aesdeclast %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i sha1nexte(__m128i a, __m128i b) {
    asm("sha1nexte %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i sha1msg1(__m128i a, __m128i b) {
    asm("sha1msg1 %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i sha1msg2(__m128i a, __m128i b) {
    asm("sha1msg2 %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i sha256msg1(__m128i a, __m128i b) {
    asm("sha256msg1 %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i sha256msg2(__m128i a, __m128i b) {
    asm("sha256msg2 %1, %0" : "+x"(a) : "x"(b));
    return a;
}
__m128i aesimc(__m128i b) {
    asm("aesimc %0, %0" : "+x"(b));
    return b;
}

// The round constant is added to the second and the fourth element.
__m128i aeskeygenassist(__m128i, __m128i b, unsigned immediate) {
    asm("aeskeygenassist $0, %0, %0" : "+x"(b));
    const auto constant = static_cast<int>(immediate);
    return _mm_xor_si128(b, _mm_set_epi32(constant, 0, constant, 0));
}

// Bits 0 and 4 choose a half of each source.
__m128i carryless_product(__m128i a, __m128i b, unsigned immediate) {
    if ((immediate & 0x01) != 0) a = _mm_unpackhi_epi64(a, a);
    if ((immediate & 0x10) != 0) b = _mm_unpackhi_epi64(b, b);
    asm("pclmulqdq $0, %1, %0" : "+x"(a) : "x"(b));
    return a;
}

__m128i sha1rnds4(__m128i a, __m128i b, unsigned immediate) {
    switch (immediate & 3) {
        case 0: asm("sha1rnds4 $0, %1, %0" : "+x"(a) : "x"(b)); break;
        case 1: asm("sha1rnds4 $1, %1, %0" : "+x"(a) : "x"(b)); break;
        case 2: asm("sha1rnds4 $2, %1, %0" : "+x"(a) : "x"(b)); break;
        default: asm("sha1rnds4 $3, %1, %0" : "+x"(a) : "x"(b)); break;
    }
    return a;
}

// XMM0 is the third source, here and in the host.
__m128i sha256rnds2(__m128i third, __m128i a, __m128i b) {
    asm("sha256rnds2 %%xmm0, %1, %0" : "+x"(a) : "x"(b), "Yz"(third));
    return a;
}
constexpr VectorOperations two_rounds{low_half_of_three<sha256rnds2>, nullptr, nullptr, nullptr, vector_trait::masked};

}  // namespace

std::span<const Row> vector_crypto_rows() {
    using enum Feature;
    static const std::vector<Row> rows = [] {
        constexpr ZydisMnemonic none = ZYDIS_MNEMONIC_INVALID;
        constexpr CostClass cost = CostClass::vector;
        static constexpr VectorRow table[] = {
            {ZYDIS_MNEMONIC_AESENC, ZYDIS_MNEMONIC_VAESENC, aes, narrow<aesenc>, cost, aes},
            {ZYDIS_MNEMONIC_AESENCLAST, ZYDIS_MNEMONIC_VAESENCLAST, aes, narrow<aesenclast>, cost, aes},
            {ZYDIS_MNEMONIC_AESDEC, ZYDIS_MNEMONIC_VAESDEC, aes, narrow<aesdec>, cost, aes},
            {ZYDIS_MNEMONIC_AESDECLAST, ZYDIS_MNEMONIC_VAESDECLAST, aes, narrow<aesdeclast>, cost, aes},
            {ZYDIS_MNEMONIC_AESIMC, ZYDIS_MNEMONIC_VAESIMC, aes, narrow<aesimc>, cost, aes},
            {ZYDIS_MNEMONIC_AESKEYGENASSIST, ZYDIS_MNEMONIC_VAESKEYGENASSIST, aes, narrow<aeskeygenassist>, cost, aes},
            {ZYDIS_MNEMONIC_PCLMULQDQ, ZYDIS_MNEMONIC_VPCLMULQDQ, Feature::pclmulqdq, narrow<carryless_product>, cost,
             Feature::pclmulqdq},
            {ZYDIS_MNEMONIC_SHA1RNDS4, none, sha, narrow<sha1rnds4>},
            {ZYDIS_MNEMONIC_SHA1NEXTE, none, sha, narrow<sha1nexte>},
            {ZYDIS_MNEMONIC_SHA1MSG1, none, sha, narrow<sha1msg1>},
            {ZYDIS_MNEMONIC_SHA1MSG2, none, sha, narrow<sha1msg2>},
            {ZYDIS_MNEMONIC_SHA256MSG1, none, sha, narrow<sha256msg1>},
            {ZYDIS_MNEMONIC_SHA256MSG2, none, sha, narrow<sha256msg2>},
            {ZYDIS_MNEMONIC_SHA256RNDS2, none, sha, two_rounds},
        };
        return rows_of(table);
    }();
    return rows;
}

}  // namespace xenolith::cpu
