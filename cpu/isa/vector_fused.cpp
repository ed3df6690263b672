// Fused multiply and add (SDM vol. 1, 14.5). The three digits name the operands that are multiplied and the
// one added.
#include "cpu/isa/vector_exactness.hpp"

namespace xenolith::cpu {

namespace {

template <auto Function, class T, exactness::Order O, exactness::Operation... Operations>
constexpr VectorOperations packed{low_half_fused<Function, T, O, 16 / sizeof(T), Operations...>,
                                  both_halves_fused<Function, T, O, Operations...>, nullptr, nullptr,
                                  vector_trait::floating};
template <auto Function, class T, exactness::Order O, exactness::Operation Of>
constexpr VectorOperations scalar{low_half_fused<Function, T, O, 1, Of>, nullptr, nullptr, nullptr,
                                  vector_trait::floating};

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
        using enum exactness::Order;
        using exactness::add, exactness::subtract;
        static constexpr VectorRow table[] = {
            {none, ZYDIS_MNEMONIC_VFMADD132PS, base, packed<fmadd132ps, float, fused132, add>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMADD132PD, base, packed<fmadd132pd, double, fused132, add>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMADD132SS, base, scalar<fmadd132ss, float, fused132, add>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMADD132SD, base, scalar<fmadd132sd, double, fused132, add>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMADD213PS, base, packed<fmadd213ps, float, fused213, add>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMADD213PD, base, packed<fmadd213pd, double, fused213, add>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMADD213SS, base, scalar<fmadd213ss, float, fused213, add>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMADD213SD, base, scalar<fmadd213sd, double, fused213, add>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMADD231PS, base, packed<fmadd231ps, float, fused231, add>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMADD231PD, base, packed<fmadd231pd, double, fused231, add>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMADD231SS, base, scalar<fmadd231ss, float, fused231, add>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMADD231SD, base, scalar<fmadd231sd, double, fused231, add>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMSUB132PS, base, packed<fmsub132ps, float, fused132, subtract>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMSUB132PD, base, packed<fmsub132pd, double, fused132, subtract>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMSUB132SS, base, scalar<fmsub132ss, float, fused132, subtract>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMSUB132SD, base, scalar<fmsub132sd, double, fused132, subtract>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMSUB213PS, base, packed<fmsub213ps, float, fused213, subtract>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMSUB213PD, base, packed<fmsub213pd, double, fused213, subtract>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMSUB213SS, base, scalar<fmsub213ss, float, fused213, subtract>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMSUB213SD, base, scalar<fmsub213sd, double, fused213, subtract>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMSUB231PS, base, packed<fmsub231ps, float, fused231, subtract>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMSUB231PD, base, packed<fmsub231pd, double, fused231, subtract>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMSUB231SS, base, scalar<fmsub231ss, float, fused231, subtract>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMSUB231SD, base, scalar<fmsub231sd, double, fused231, subtract>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMADD132PS, base, packed<fnmadd132ps, float, fused132, subtract>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMADD132PD, base, packed<fnmadd132pd, double, fused132, subtract>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMADD132SS, base, scalar<fnmadd132ss, float, fused132, subtract>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMADD132SD, base, scalar<fnmadd132sd, double, fused132, subtract>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMADD213PS, base, packed<fnmadd213ps, float, fused213, subtract>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMADD213PD, base, packed<fnmadd213pd, double, fused213, subtract>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMADD213SS, base, scalar<fnmadd213ss, float, fused213, subtract>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMADD213SD, base, scalar<fnmadd213sd, double, fused213, subtract>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMADD231PS, base, packed<fnmadd231ps, float, fused231, subtract>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMADD231PD, base, packed<fnmadd231pd, double, fused231, subtract>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMADD231SS, base, scalar<fnmadd231ss, float, fused231, subtract>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMADD231SD, base, scalar<fnmadd231sd, double, fused231, subtract>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMSUB132PS, base, packed<fnmsub132ps, float, fused132, add>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMSUB132PD, base, packed<fnmsub132pd, double, fused132, add>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMSUB132SS, base, scalar<fnmsub132ss, float, fused132, add>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMSUB132SD, base, scalar<fnmsub132sd, double, fused132, add>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMSUB213PS, base, packed<fnmsub213ps, float, fused213, add>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMSUB213PD, base, packed<fnmsub213pd, double, fused213, add>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMSUB213SS, base, scalar<fnmsub213ss, float, fused213, add>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMSUB213SD, base, scalar<fnmsub213sd, double, fused213, add>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMSUB231PS, base, packed<fnmsub231ps, float, fused231, add>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMSUB231PD, base, packed<fnmsub231pd, double, fused231, add>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMSUB231SS, base, scalar<fnmsub231ss, float, fused231, add>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFNMSUB231SD, base, scalar<fnmsub231sd, double, fused231, add>, cost, fma},
            {none, ZYDIS_MNEMONIC_VFMADDSUB132PS, base, packed<fmaddsub132ps, float, fused132, subtract, add>, cost,
             fma},
            {none, ZYDIS_MNEMONIC_VFMADDSUB132PD, base, packed<fmaddsub132pd, double, fused132, subtract, add>, cost,
             fma},
            {none, ZYDIS_MNEMONIC_VFMADDSUB213PS, base, packed<fmaddsub213ps, float, fused213, subtract, add>, cost,
             fma},
            {none, ZYDIS_MNEMONIC_VFMADDSUB213PD, base, packed<fmaddsub213pd, double, fused213, subtract, add>, cost,
             fma},
            {none, ZYDIS_MNEMONIC_VFMADDSUB231PS, base, packed<fmaddsub231ps, float, fused231, subtract, add>, cost,
             fma},
            {none, ZYDIS_MNEMONIC_VFMADDSUB231PD, base, packed<fmaddsub231pd, double, fused231, subtract, add>, cost,
             fma},
            {none, ZYDIS_MNEMONIC_VFMSUBADD132PS, base, packed<fmsubadd132ps, float, fused132, add, subtract>, cost,
             fma},
            {none, ZYDIS_MNEMONIC_VFMSUBADD132PD, base, packed<fmsubadd132pd, double, fused132, add, subtract>, cost,
             fma},
            {none, ZYDIS_MNEMONIC_VFMSUBADD213PS, base, packed<fmsubadd213ps, float, fused213, add, subtract>, cost,
             fma},
            {none, ZYDIS_MNEMONIC_VFMSUBADD213PD, base, packed<fmsubadd213pd, double, fused213, add, subtract>, cost,
             fma},
            {none, ZYDIS_MNEMONIC_VFMSUBADD231PS, base, packed<fmsubadd231ps, float, fused231, add, subtract>, cost,
             fma},
            {none, ZYDIS_MNEMONIC_VFMSUBADD231PD, base, packed<fmsubadd231pd, double, fused231, add, subtract>, cost,
             fma},
        };
        return rows_of(table);
    }();
    return rows;
}

}  // namespace xenolith::cpu
