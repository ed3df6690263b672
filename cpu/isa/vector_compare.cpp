// Floating-point comparisons: masks by a predicate, and flags (SDM vol. 2: CMPPS, COMISS, UCOMISS and their
// like).
#include "cpu/isa/vector_forms.hpp"
#include "cpu/state/registers.hpp"

namespace xenolith::cpu {

namespace {

using vector_trait::floating, vector_trait::sets_flags;

// --- Masks: eight predicates, or 32 with VEX
// -------------------------------------------------------------------------

__m128i cmpps(__m128i first, __m128i second, unsigned immediate) {
    return by_constant<8>(first, second, immediate, []<unsigned N>(__m128i a, __m128i b) {
        asm("cmpps %2, %1, %0" : "+x"(a) : "x"(b), "i"(N));
        return a;
    });
}
__m128i vcmpps(__m128i first, __m128i second, unsigned immediate) {
    return by_constant<32>(first, second, immediate, []<unsigned N>(__m128i a, __m128i b) {
        asm("vcmpps %2, %1, %0, %0" : "+x"(a) : "x"(b), "i"(N));
        return a;
    });
}
__m128i cmppd(__m128i first, __m128i second, unsigned immediate) {
    return by_constant<8>(first, second, immediate, []<unsigned N>(__m128i a, __m128i b) {
        asm("cmppd %2, %1, %0" : "+x"(a) : "x"(b), "i"(N));
        return a;
    });
}
__m128i vcmppd(__m128i first, __m128i second, unsigned immediate) {
    return by_constant<32>(first, second, immediate, []<unsigned N>(__m128i a, __m128i b) {
        asm("vcmppd %2, %1, %0, %0" : "+x"(a) : "x"(b), "i"(N));
        return a;
    });
}
__m128i cmpss(__m128i first, __m128i second, unsigned immediate) {
    return by_constant<8>(first, second, immediate, []<unsigned N>(__m128i a, __m128i b) {
        asm("cmpss %2, %1, %0" : "+x"(a) : "x"(b), "i"(N));
        return a;
    });
}
__m128i vcmpss(__m128i first, __m128i second, unsigned immediate) {
    return by_constant<32>(first, second, immediate, []<unsigned N>(__m128i a, __m128i b) {
        asm("vcmpss %2, %1, %0, %0" : "+x"(a) : "x"(b), "i"(N));
        return a;
    });
}
__m128i cmpsd(__m128i first, __m128i second, unsigned immediate) {
    return by_constant<8>(first, second, immediate, []<unsigned N>(__m128i a, __m128i b) {
        asm("cmpsd %2, %1, %0" : "+x"(a) : "x"(b), "i"(N));
        return a;
    });
}
__m128i vcmpsd(__m128i first, __m128i second, unsigned immediate) {
    return by_constant<32>(first, second, immediate, []<unsigned N>(__m128i a, __m128i b) {
        asm("vcmpsd %2, %1, %0, %0" : "+x"(a) : "x"(b), "i"(N));
        return a;
    });
}

// --- Flags: unordered sets ZF, PF and CF
// -----------------------------------------------------------------------------

std::uint64_t as_flags(bool zero, bool parity, bool carry) {
    return (zero ? rflags::zf : 0) | (parity ? rflags::pf : 0) | (carry ? rflags::cf : 0);
}
void comiss(Vector256& to, const Vector256& first, const Vector256& second, std::uint64_t) {
    bool zero, parity, carry;
    asm("comiss %4, %3" : "=@ccz"(zero), "=@ccp"(parity), "=@ccc"(carry) : "x"(half_of(first)), "x"(half_of(second)));
    to[0] = as_flags(zero, parity, carry);
}
void comisd(Vector256& to, const Vector256& first, const Vector256& second, std::uint64_t) {
    bool zero, parity, carry;
    asm("comisd %4, %3" : "=@ccz"(zero), "=@ccp"(parity), "=@ccc"(carry) : "x"(half_of(first)), "x"(half_of(second)));
    to[0] = as_flags(zero, parity, carry);
}
void ucomiss(Vector256& to, const Vector256& first, const Vector256& second, std::uint64_t) {
    bool zero, parity, carry;
    asm("ucomiss %4, %3" : "=@ccz"(zero), "=@ccp"(parity), "=@ccc"(carry) : "x"(half_of(first)), "x"(half_of(second)));
    to[0] = as_flags(zero, parity, carry);
}
void ucomisd(Vector256& to, const Vector256& first, const Vector256& second, std::uint64_t) {
    bool zero, parity, carry;
    asm("ucomisd %4, %3" : "=@ccz"(zero), "=@ccp"(parity), "=@ccc"(carry) : "x"(half_of(first)), "x"(half_of(second)));
    to[0] = as_flags(zero, parity, carry);
}
template <auto Function>
constexpr VectorOperations flags_of{Function, nullptr, nullptr, nullptr, floating | sets_flags};

}  // namespace

std::span<const Row> vector_compare_rows() {
    using enum Feature;
    static const std::vector<Row> rows = [] {
        constexpr ZydisMnemonic none = ZYDIS_MNEMONIC_INVALID;
        static constexpr VectorRow table[] = {
            {ZYDIS_MNEMONIC_CMPPS, none, sse, lanes<cmpps, floating>},
            {none, ZYDIS_MNEMONIC_VCMPPS, base, lanes<vcmpps, floating>},
            {ZYDIS_MNEMONIC_CMPPD, none, sse2, lanes<cmppd, floating>},
            {none, ZYDIS_MNEMONIC_VCMPPD, base, lanes<vcmppd, floating>},
            {ZYDIS_MNEMONIC_CMPSS, none, sse, narrow<cmpss, floating>},
            {none, ZYDIS_MNEMONIC_VCMPSS, base, narrow<vcmpss, floating>},
            {ZYDIS_MNEMONIC_CMPSD, none, sse2, narrow<cmpsd, floating>},
            {none, ZYDIS_MNEMONIC_VCMPSD, base, narrow<vcmpsd, floating>},
            {ZYDIS_MNEMONIC_COMISS, ZYDIS_MNEMONIC_VCOMISS, sse, flags_of<comiss>},
            {ZYDIS_MNEMONIC_COMISD, ZYDIS_MNEMONIC_VCOMISD, sse2, flags_of<comisd>},
            {ZYDIS_MNEMONIC_UCOMISS, ZYDIS_MNEMONIC_VUCOMISS, sse, flags_of<ucomiss>},
            {ZYDIS_MNEMONIC_UCOMISD, ZYDIS_MNEMONIC_VUCOMISD, sse2, flags_of<ucomisd>},
        };
        return rows_of(table);
    }();
    return rows;
}

}  // namespace xenolith::cpu
