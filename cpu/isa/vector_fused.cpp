// Fused multiply and add (SDM vol. 1, 14.5). The three digits name the operands that are multiplied and the
// one added.
#include "cpu/isa/vector_forms.hpp"

namespace xenolith::cpu {

namespace {

using vector_trait::floating;

__m128i fmadd132ps(__m128i to, __m128i a, __m128i b) {
    asm("vfmadd132ps %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmadd132pd(__m128i to, __m128i a, __m128i b) {
    asm("vfmadd132pd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmadd132ss(__m128i to, __m128i a, __m128i b) {
    asm("vfmadd132ss %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmadd132sd(__m128i to, __m128i a, __m128i b) {
    asm("vfmadd132sd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmadd213ps(__m128i to, __m128i a, __m128i b) {
    asm("vfmadd213ps %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmadd213pd(__m128i to, __m128i a, __m128i b) {
    asm("vfmadd213pd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmadd213ss(__m128i to, __m128i a, __m128i b) {
    asm("vfmadd213ss %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmadd213sd(__m128i to, __m128i a, __m128i b) {
    asm("vfmadd213sd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmadd231ps(__m128i to, __m128i a, __m128i b) {
    asm("vfmadd231ps %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmadd231pd(__m128i to, __m128i a, __m128i b) {
    asm("vfmadd231pd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmadd231ss(__m128i to, __m128i a, __m128i b) {
    asm("vfmadd231ss %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmadd231sd(__m128i to, __m128i a, __m128i b) {
    asm("vfmadd231sd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmsub132ps(__m128i to, __m128i a, __m128i b) {
    asm("vfmsub132ps %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmsub132pd(__m128i to, __m128i a, __m128i b) {
    asm("vfmsub132pd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmsub132ss(__m128i to, __m128i a, __m128i b) {
    asm("vfmsub132ss %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmsub132sd(__m128i to, __m128i a, __m128i b) {
    asm("vfmsub132sd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmsub213ps(__m128i to, __m128i a, __m128i b) {
    asm("vfmsub213ps %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmsub213pd(__m128i to, __m128i a, __m128i b) {
    asm("vfmsub213pd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmsub213ss(__m128i to, __m128i a, __m128i b) {
    asm("vfmsub213ss %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmsub213sd(__m128i to, __m128i a, __m128i b) {
    asm("vfmsub213sd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmsub231ps(__m128i to, __m128i a, __m128i b) {
    asm("vfmsub231ps %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmsub231pd(__m128i to, __m128i a, __m128i b) {
    asm("vfmsub231pd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmsub231ss(__m128i to, __m128i a, __m128i b) {
    asm("vfmsub231ss %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmsub231sd(__m128i to, __m128i a, __m128i b) {
    asm("vfmsub231sd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fnmadd132ps(__m128i to, __m128i a, __m128i b) {
    asm("vfnmadd132ps %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fnmadd132pd(__m128i to, __m128i a, __m128i b) {
    asm("vfnmadd132pd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fnmadd132ss(__m128i to, __m128i a, __m128i b) {
    asm("vfnmadd132ss %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fnmadd132sd(__m128i to, __m128i a, __m128i b) {
    asm("vfnmadd132sd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fnmadd213ps(__m128i to, __m128i a, __m128i b) {
    asm("vfnmadd213ps %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fnmadd213pd(__m128i to, __m128i a, __m128i b) {
    asm("vfnmadd213pd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fnmadd213ss(__m128i to, __m128i a, __m128i b) {
    asm("vfnmadd213ss %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fnmadd213sd(__m128i to, __m128i a, __m128i b) {
    asm("vfnmadd213sd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fnmadd231ps(__m128i to, __m128i a, __m128i b) {
    asm("vfnmadd231ps %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fnmadd231pd(__m128i to, __m128i a, __m128i b) {
    asm("vfnmadd231pd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fnmadd231ss(__m128i to, __m128i a, __m128i b) {
    asm("vfnmadd231ss %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fnmadd231sd(__m128i to, __m128i a, __m128i b) {
    asm("vfnmadd231sd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fnmsub132ps(__m128i to, __m128i a, __m128i b) {
    asm("vfnmsub132ps %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fnmsub132pd(__m128i to, __m128i a, __m128i b) {
    asm("vfnmsub132pd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fnmsub132ss(__m128i to, __m128i a, __m128i b) {
    asm("vfnmsub132ss %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fnmsub132sd(__m128i to, __m128i a, __m128i b) {
    asm("vfnmsub132sd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fnmsub213ps(__m128i to, __m128i a, __m128i b) {
    asm("vfnmsub213ps %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fnmsub213pd(__m128i to, __m128i a, __m128i b) {
    asm("vfnmsub213pd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fnmsub213ss(__m128i to, __m128i a, __m128i b) {
    asm("vfnmsub213ss %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fnmsub213sd(__m128i to, __m128i a, __m128i b) {
    asm("vfnmsub213sd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fnmsub231ps(__m128i to, __m128i a, __m128i b) {
    asm("vfnmsub231ps %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fnmsub231pd(__m128i to, __m128i a, __m128i b) {
    asm("vfnmsub231pd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fnmsub231ss(__m128i to, __m128i a, __m128i b) {
    asm("vfnmsub231ss %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fnmsub231sd(__m128i to, __m128i a, __m128i b) {
    asm("vfnmsub231sd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmaddsub132ps(__m128i to, __m128i a, __m128i b) {
    asm("vfmaddsub132ps %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmaddsub132pd(__m128i to, __m128i a, __m128i b) {
    asm("vfmaddsub132pd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmaddsub213ps(__m128i to, __m128i a, __m128i b) {
    asm("vfmaddsub213ps %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmaddsub213pd(__m128i to, __m128i a, __m128i b) {
    asm("vfmaddsub213pd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmaddsub231ps(__m128i to, __m128i a, __m128i b) {
    asm("vfmaddsub231ps %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmaddsub231pd(__m128i to, __m128i a, __m128i b) {
    asm("vfmaddsub231pd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmsubadd132ps(__m128i to, __m128i a, __m128i b) {
    asm("vfmsubadd132ps %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmsubadd132pd(__m128i to, __m128i a, __m128i b) {
    asm("vfmsubadd132pd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmsubadd213ps(__m128i to, __m128i a, __m128i b) {
    asm("vfmsubadd213ps %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmsubadd213pd(__m128i to, __m128i a, __m128i b) {
    asm("vfmsubadd213pd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmsubadd231ps(__m128i to, __m128i a, __m128i b) {
    asm("vfmsubadd231ps %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}
__m128i fmsubadd231pd(__m128i to, __m128i a, __m128i b) {
    asm("vfmsubadd231pd %2, %1, %0" : "+x"(to) : "x"(a), "x"(b));
    return to;
}

}  // namespace

std::span<const Row> vector_fused_rows() {
    using enum Feature;
    static const std::vector<Row> rows = [] {
        constexpr ZydisMnemonic none = ZYDIS_MNEMONIC_INVALID;
        constexpr CostClass cost = CostClass::vector;
        static constexpr VectorRow table[] = {
            {none, ZYDIS_MNEMONIC_VFMADD132PS, base, lanes_of_three<fmadd132ps, floating>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMADD132PD, base, lanes_of_three<fmadd132pd, floating>, cost, fma},
            {none,
             ZYDIS_MNEMONIC_VFMADD132SS,
             base,
             {low_half_of_three<fmadd132ss>, nullptr, nullptr, nullptr, floating},
             cost,
             fma},
            {none,
             ZYDIS_MNEMONIC_VFMADD132SD,
             base,
             {low_half_of_three<fmadd132sd>, nullptr, nullptr, nullptr, floating},
             cost,
             fma},
            {none, ZYDIS_MNEMONIC_VFMADD213PS, base, lanes_of_three<fmadd213ps, floating>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMADD213PD, base, lanes_of_three<fmadd213pd, floating>, cost, fma},
            {none,
             ZYDIS_MNEMONIC_VFMADD213SS,
             base,
             {low_half_of_three<fmadd213ss>, nullptr, nullptr, nullptr, floating},
             cost,
             fma},
            {none,
             ZYDIS_MNEMONIC_VFMADD213SD,
             base,
             {low_half_of_three<fmadd213sd>, nullptr, nullptr, nullptr, floating},
             cost,
             fma},
            {none, ZYDIS_MNEMONIC_VFMADD231PS, base, lanes_of_three<fmadd231ps, floating>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMADD231PD, base, lanes_of_three<fmadd231pd, floating>, cost, fma},
            {none,
             ZYDIS_MNEMONIC_VFMADD231SS,
             base,
             {low_half_of_three<fmadd231ss>, nullptr, nullptr, nullptr, floating},
             cost,
             fma},
            {none,
             ZYDIS_MNEMONIC_VFMADD231SD,
             base,
             {low_half_of_three<fmadd231sd>, nullptr, nullptr, nullptr, floating},
             cost,
             fma},
            {none, ZYDIS_MNEMONIC_VFMSUB132PS, base, lanes_of_three<fmsub132ps, floating>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMSUB132PD, base, lanes_of_three<fmsub132pd, floating>, cost, fma},
            {none,
             ZYDIS_MNEMONIC_VFMSUB132SS,
             base,
             {low_half_of_three<fmsub132ss>, nullptr, nullptr, nullptr, floating},
             cost,
             fma},
            {none,
             ZYDIS_MNEMONIC_VFMSUB132SD,
             base,
             {low_half_of_three<fmsub132sd>, nullptr, nullptr, nullptr, floating},
             cost,
             fma},
            {none, ZYDIS_MNEMONIC_VFMSUB213PS, base, lanes_of_three<fmsub213ps, floating>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMSUB213PD, base, lanes_of_three<fmsub213pd, floating>, cost, fma},
            {none,
             ZYDIS_MNEMONIC_VFMSUB213SS,
             base,
             {low_half_of_three<fmsub213ss>, nullptr, nullptr, nullptr, floating},
             cost,
             fma},
            {none,
             ZYDIS_MNEMONIC_VFMSUB213SD,
             base,
             {low_half_of_three<fmsub213sd>, nullptr, nullptr, nullptr, floating},
             cost,
             fma},
            {none, ZYDIS_MNEMONIC_VFMSUB231PS, base, lanes_of_three<fmsub231ps, floating>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMSUB231PD, base, lanes_of_three<fmsub231pd, floating>, cost, fma},
            {none,
             ZYDIS_MNEMONIC_VFMSUB231SS,
             base,
             {low_half_of_three<fmsub231ss>, nullptr, nullptr, nullptr, floating},
             cost,
             fma},
            {none,
             ZYDIS_MNEMONIC_VFMSUB231SD,
             base,
             {low_half_of_three<fmsub231sd>, nullptr, nullptr, nullptr, floating},
             cost,
             fma},
            {none, ZYDIS_MNEMONIC_VFNMADD132PS, base, lanes_of_three<fnmadd132ps, floating>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMADD132PD, base, lanes_of_three<fnmadd132pd, floating>, cost, fma},
            {none,
             ZYDIS_MNEMONIC_VFNMADD132SS,
             base,
             {low_half_of_three<fnmadd132ss>, nullptr, nullptr, nullptr, floating},
             cost,
             fma},
            {none,
             ZYDIS_MNEMONIC_VFNMADD132SD,
             base,
             {low_half_of_three<fnmadd132sd>, nullptr, nullptr, nullptr, floating},
             cost,
             fma},
            {none, ZYDIS_MNEMONIC_VFNMADD213PS, base, lanes_of_three<fnmadd213ps, floating>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMADD213PD, base, lanes_of_three<fnmadd213pd, floating>, cost, fma},
            {none,
             ZYDIS_MNEMONIC_VFNMADD213SS,
             base,
             {low_half_of_three<fnmadd213ss>, nullptr, nullptr, nullptr, floating},
             cost,
             fma},
            {none,
             ZYDIS_MNEMONIC_VFNMADD213SD,
             base,
             {low_half_of_three<fnmadd213sd>, nullptr, nullptr, nullptr, floating},
             cost,
             fma},
            {none, ZYDIS_MNEMONIC_VFNMADD231PS, base, lanes_of_three<fnmadd231ps, floating>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMADD231PD, base, lanes_of_three<fnmadd231pd, floating>, cost, fma},
            {none,
             ZYDIS_MNEMONIC_VFNMADD231SS,
             base,
             {low_half_of_three<fnmadd231ss>, nullptr, nullptr, nullptr, floating},
             cost,
             fma},
            {none,
             ZYDIS_MNEMONIC_VFNMADD231SD,
             base,
             {low_half_of_three<fnmadd231sd>, nullptr, nullptr, nullptr, floating},
             cost,
             fma},
            {none, ZYDIS_MNEMONIC_VFNMSUB132PS, base, lanes_of_three<fnmsub132ps, floating>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMSUB132PD, base, lanes_of_three<fnmsub132pd, floating>, cost, fma},
            {none,
             ZYDIS_MNEMONIC_VFNMSUB132SS,
             base,
             {low_half_of_three<fnmsub132ss>, nullptr, nullptr, nullptr, floating},
             cost,
             fma},
            {none,
             ZYDIS_MNEMONIC_VFNMSUB132SD,
             base,
             {low_half_of_three<fnmsub132sd>, nullptr, nullptr, nullptr, floating},
             cost,
             fma},
            {none, ZYDIS_MNEMONIC_VFNMSUB213PS, base, lanes_of_three<fnmsub213ps, floating>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMSUB213PD, base, lanes_of_three<fnmsub213pd, floating>, cost, fma},
            {none,
             ZYDIS_MNEMONIC_VFNMSUB213SS,
             base,
             {low_half_of_three<fnmsub213ss>, nullptr, nullptr, nullptr, floating},
             cost,
             fma},
            {none,
             ZYDIS_MNEMONIC_VFNMSUB213SD,
             base,
             {low_half_of_three<fnmsub213sd>, nullptr, nullptr, nullptr, floating},
             cost,
             fma},
            {none, ZYDIS_MNEMONIC_VFNMSUB231PS, base, lanes_of_three<fnmsub231ps, floating>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMSUB231PD, base, lanes_of_three<fnmsub231pd, floating>, cost, fma},
            {none,
             ZYDIS_MNEMONIC_VFNMSUB231SS,
             base,
             {low_half_of_three<fnmsub231ss>, nullptr, nullptr, nullptr, floating},
             cost,
             fma},
            {none,
             ZYDIS_MNEMONIC_VFNMSUB231SD,
             base,
             {low_half_of_three<fnmsub231sd>, nullptr, nullptr, nullptr, floating},
             cost,
             fma},
            {none, ZYDIS_MNEMONIC_VFMADDSUB132PS, base, lanes_of_three<fmaddsub132ps, floating>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMADDSUB132PD, base, lanes_of_three<fmaddsub132pd, floating>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMADDSUB213PS, base, lanes_of_three<fmaddsub213ps, floating>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMADDSUB213PD, base, lanes_of_three<fmaddsub213pd, floating>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMADDSUB231PS, base, lanes_of_three<fmaddsub231ps, floating>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMADDSUB231PD, base, lanes_of_three<fmaddsub231pd, floating>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMSUBADD132PS, base, lanes_of_three<fmsubadd132ps, floating>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMSUBADD132PD, base, lanes_of_three<fmsubadd132pd, floating>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMSUBADD213PS, base, lanes_of_three<fmsubadd213ps, floating>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMSUBADD213PD, base, lanes_of_three<fmsubadd213pd, floating>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMSUBADD231PS, base, lanes_of_three<fmsubadd231ps, floating>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMSUBADD231PD, base, lanes_of_three<fmsubadd231pd, floating>, cost, fma},
        };
        return rows_of(table);
    }();
    return rows;
}

}  // namespace xenolith::cpu
