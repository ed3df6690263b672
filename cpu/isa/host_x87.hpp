// The x87 arithmetic itself, done by the host's own x87 unit: the only place that knows that there is one.
//
// An operation is a few host instructions that find their operands on the host's register stack or in the
// exchange area. run() puts the operands there, sets the guest's control word - precision, rounding and also
// its exception masks - calls the operation, and takes status and results away. With an exception unmasked
// the host then holds just what the guest's CPU would: the untouched operands, or a result with adjusted
// exponent. It becomes a signal only if a waiting instruction follows, so none does until FNCLEX has been
// executed. Moves of 80-bit operands never raise anything, so they may come before and behind.
//
// A host of another kind, or arithmetic in software, would replace `run` and the operations below it.
#pragma once

#include <emmintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cpu/state/cpu_state.hpp"

namespace xenolith::cpu::host_x87 {

// Operands, control word and results of one operation.
struct alignas(16) Exchange {
    X87Register first;        // becomes ST(0)
    X87Register second;       // becomes ST(1)
    X87Register result;       // what was ST(0) then
    X87Register next_result;  // what was ST(1) then
    std::byte memory[16] = {};
    std::uint16_t control = 0x037f;
    std::uint16_t status = 0;  // exception flags of this operation alone, and the condition code
    std::uint16_t host_control = 0;
    std::uint16_t status_before = 0;  // its top of stack counts

    // How far the operation moved the top of the stack, from 0 to 7, beyond its operands.
    unsigned stack_moved(unsigned operands) const { return ((status >> 11) - (status_before >> 11) + operands) & 7u; }
    template <class T>
    void set_memory(T value) {
        std::memcpy(memory, &value, sizeof(value));
    }
    template <class T>
    T get_memory() const {
        T value;
        std::memcpy(&value, memory, sizeof(value));
        return value;
    }
};
static_assert(offsetof(Exchange, second) == 16 && offsetof(Exchange, result) == 32 &&
              offsetof(Exchange, next_result) == 48 && offsetof(Exchange, memory) == 64 &&
              offsetof(Exchange, control) == 80 && offsetof(Exchange, status) == 82 &&
              offsetof(Exchange, host_control) == 84 && offsetof(Exchange, status_before) == 86);

// Called with the address of the exchange area in RDI; changes nothing but x87 registers and its memory.
using Operation = void (*)();

// What an operation finds on the stack, how many results it leaves there, and how many other values.
struct Shape {
    unsigned operands, results, others;
};

template <Shape S>
inline void run(Exchange& exchange, Operation operation) {
    static_assert(S.operands <= 2 && S.results <= 2 && S.others <= 2);
    // The red zone is skipped because the compiler does not see the call. Where an exception is pending the
    // stack may hold more values than expected, so everything is set up anew.
    asm volatile(
        "fnstcw 84(%%rdi)\n\t"
        "fnstsw %%ax\n\t"
        "movw %%ax, 86(%%rdi)\n\t"
        "testb $0x3f, %%al\n\t"
        "jz 1f\n\t"
        "fnclex\n"
        "1:\n\t"
        ".if %c[operands] > 1\n\t"
        "fldt 16(%%rdi)\n\t"
        ".endif\n\t"
        ".if %c[operands] > 0\n\t"
        "fldt (%%rdi)\n\t"
        ".endif\n\t"
        "movzwl 80(%%rdi), %%eax\n\t"
        "cmpw %%ax, 84(%%rdi)\n\t"
        "je 2f\n\t"
        "fldcw 80(%%rdi)\n"
        "2:\n\t"
        "leaq -128(%%rsp), %%rsp\n\t"
        "call *%[operation]\n\t"
        "leaq 128(%%rsp), %%rsp\n\t"
        "fnstsw %%ax\n\t"
        "movw %%ax, 82(%%rdi)\n\t"
        "testb $0x80, %%al\n\t"
        "jz 3f\n\t"
        "fnclex\n"
        "3:\n\t"
        "movzwl 80(%%rdi), %%eax\n\t"
        "cmpw %%ax, 84(%%rdi)\n\t"
        "je 4f\n\t"
        "fldcw 84(%%rdi)\n"
        "4:\n\t"
        ".if %c[results] > 0\n\t"
        "fstpt 32(%%rdi)\n\t"
        ".endif\n\t"
        ".if %c[results] > 1\n\t"
        "fstpt 48(%%rdi)\n\t"
        ".endif\n\t"
        ".if %c[others] > 0\n\t"
        "fstp %%st(0)\n\t"
        ".endif\n\t"
        ".if %c[others] > 1\n\t"
        "fstp %%st(0)\n\t"
        ".endif\n\t"
        "testb $0x80, 82(%%rdi)\n\t"
        "jz 5f\n\t"
        "fninit\n\t"
        "fldcw 84(%%rdi)\n"
        "5:"
        :
        : "D"(&exchange), [operation] "r"(operation), [operands] "i"(S.operands), [results] "i"(S.results),
          [others] "i"(S.others)
        : "rax", "cc", "memory", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");
}

// --- Arithmetic: ST(0) with ST(1), or with the operand in memory. {2, 1, 1} or {1, 1, 0}
struct Add {
    [[gnu::naked]] static void registers() { asm("fadd %st(1), %st\n\tret"); }
    [[gnu::naked]] static void real32() { asm("fadds 64(%rdi)\n\tret"); }
    [[gnu::naked]] static void real64() { asm("faddl 64(%rdi)\n\tret"); }
    [[gnu::naked]] static void integer16() { asm("fiadds 64(%rdi)\n\tret"); }
    [[gnu::naked]] static void integer32() { asm("fiaddl 64(%rdi)\n\tret"); }
};
struct Multiply {
    [[gnu::naked]] static void registers() { asm("fmul %st(1), %st\n\tret"); }
    [[gnu::naked]] static void real32() { asm("fmuls 64(%rdi)\n\tret"); }
    [[gnu::naked]] static void real64() { asm("fmull 64(%rdi)\n\tret"); }
    [[gnu::naked]] static void integer16() { asm("fimuls 64(%rdi)\n\tret"); }
    [[gnu::naked]] static void integer32() { asm("fimull 64(%rdi)\n\tret"); }
};
struct Subtract {
    [[gnu::naked]] static void registers() { asm("fsub %st(1), %st\n\tret"); }
    [[gnu::naked]] static void real32() { asm("fsubs 64(%rdi)\n\tret"); }
    [[gnu::naked]] static void real64() { asm("fsubl 64(%rdi)\n\tret"); }
    [[gnu::naked]] static void integer16() { asm("fisubs 64(%rdi)\n\tret"); }
    [[gnu::naked]] static void integer32() { asm("fisubl 64(%rdi)\n\tret"); }
};
struct SubtractReversed {
    [[gnu::naked]] static void registers() { asm("fsubr %st(1), %st\n\tret"); }
    [[gnu::naked]] static void real32() { asm("fsubrs 64(%rdi)\n\tret"); }
    [[gnu::naked]] static void real64() { asm("fsubrl 64(%rdi)\n\tret"); }
    [[gnu::naked]] static void integer16() { asm("fisubrs 64(%rdi)\n\tret"); }
    [[gnu::naked]] static void integer32() { asm("fisubrl 64(%rdi)\n\tret"); }
};
struct Divide {
    [[gnu::naked]] static void registers() { asm("fdiv %st(1), %st\n\tret"); }
    [[gnu::naked]] static void real32() { asm("fdivs 64(%rdi)\n\tret"); }
    [[gnu::naked]] static void real64() { asm("fdivl 64(%rdi)\n\tret"); }
    [[gnu::naked]] static void integer16() { asm("fidivs 64(%rdi)\n\tret"); }
    [[gnu::naked]] static void integer32() { asm("fidivl 64(%rdi)\n\tret"); }
};
struct DivideReversed {
    [[gnu::naked]] static void registers() { asm("fdivr %st(1), %st\n\tret"); }
    [[gnu::naked]] static void real32() { asm("fdivrs 64(%rdi)\n\tret"); }
    [[gnu::naked]] static void real64() { asm("fdivrl 64(%rdi)\n\tret"); }
    [[gnu::naked]] static void integer16() { asm("fidivrs 64(%rdi)\n\tret"); }
    [[gnu::naked]] static void integer32() { asm("fidivrl 64(%rdi)\n\tret"); }
};

// --- Comparisons, the results in C0, C2 and C3. {2, 0, 2} or {1, 0, 1}
struct Compare {
    [[gnu::naked]] static void registers() { asm("fcom %st(1)\n\tret"); }
    [[gnu::naked]] static void real32() { asm("fcoms 64(%rdi)\n\tret"); }
    [[gnu::naked]] static void real64() { asm("fcoml 64(%rdi)\n\tret"); }
    [[gnu::naked]] static void integer16() { asm("ficoms 64(%rdi)\n\tret"); }
    [[gnu::naked]] static void integer32() { asm("ficoml 64(%rdi)\n\tret"); }
};
struct CompareUnordered {
    [[gnu::naked]] static void registers() { asm("fucom %st(1)\n\tret"); }
};
[[gnu::naked]] inline void test() { asm("ftst\n\tret"); }

// --- Conversions from memory {0, 1, 0} and to memory {1, 0, 0}
[[gnu::naked]] inline void load_real32() { asm("flds 64(%rdi)\n\tret"); }
[[gnu::naked]] inline void load_real64() { asm("fldl 64(%rdi)\n\tret"); }
[[gnu::naked]] inline void load_integer16() { asm("filds 64(%rdi)\n\tret"); }
[[gnu::naked]] inline void load_integer32() { asm("fildl 64(%rdi)\n\tret"); }
[[gnu::naked]] inline void load_integer64() { asm("fildll 64(%rdi)\n\tret"); }
[[gnu::naked]] inline void load_decimal() { asm("fbld 64(%rdi)\n\tret"); }
[[gnu::naked]] inline void store_real32() { asm("fstps 64(%rdi)\n\tret"); }
[[gnu::naked]] inline void store_real64() { asm("fstpl 64(%rdi)\n\tret"); }
[[gnu::naked]] inline void store_integer16() { asm("fistps 64(%rdi)\n\tret"); }
[[gnu::naked]] inline void store_integer32() { asm("fistpl 64(%rdi)\n\tret"); }
[[gnu::naked]] inline void store_integer64() { asm("fistpll 64(%rdi)\n\tret"); }
[[gnu::naked]] inline void truncate_integer16() { asm("fisttps 64(%rdi)\n\tret"); }
[[gnu::naked]] inline void truncate_integer32() { asm("fisttpl 64(%rdi)\n\tret"); }
[[gnu::naked]] inline void truncate_integer64() { asm("fisttpll 64(%rdi)\n\tret"); }
[[gnu::naked]] inline void store_decimal() { asm("fbstp 64(%rdi)\n\tret"); }

// --- Constants, by the rounding mode. {0, 1, 0}
[[gnu::naked]] inline void load_one() { asm("fld1\n\tret"); }
[[gnu::naked]] inline void load_log2_of_10() { asm("fldl2t\n\tret"); }
[[gnu::naked]] inline void load_log2_of_e() { asm("fldl2e\n\tret"); }
[[gnu::naked]] inline void load_pi() { asm("fldpi\n\tret"); }
[[gnu::naked]] inline void load_log10_of_2() { asm("fldlg2\n\tret"); }
[[gnu::naked]] inline void load_ln_of_2() { asm("fldln2\n\tret"); }
[[gnu::naked]] inline void load_zero() { asm("fldz\n\tret"); }

// --- ST(0) becomes a function of itself. {1, 1, 0}
[[gnu::naked]] inline void square_root() { asm("fsqrt\n\tret"); }
[[gnu::naked]] inline void round_to_integer() { asm("frndint\n\tret"); }
[[gnu::naked]] inline void power_of_2_minus_1() { asm("f2xm1\n\tret"); }
[[gnu::naked]] inline void sine() { asm("fsin\n\tret"); }
[[gnu::naked]] inline void cosine() { asm("fcos\n\tret"); }

// --- ST(0) becomes a function of ST(0) and ST(1). {2, 1, 1}
[[gnu::naked]] inline void scale() { asm("fscale\n\tret"); }
[[gnu::naked]] inline void remainder() { asm("fprem\n\tret"); }
[[gnu::naked]] inline void ieee_remainder() { asm("fprem1\n\tret"); }

// --- A function of ST(0) and ST(1) takes the place of both. {2, 1, 0}
[[gnu::naked]] inline void y_log2_x() { asm("fyl2x\n\tret"); }
[[gnu::naked]] inline void y_log2_x_plus_1() { asm("fyl2xp1\n\tret"); }
[[gnu::naked]] inline void arctangent() { asm("fpatan\n\tret"); }

// --- Two results take the place of ST(0). {1, 2, 0}
[[gnu::naked]] inline void tangent() { asm("fptan\n\tret"); }
[[gnu::naked]] inline void sine_and_cosine() { asm("fsincos\n\tret"); }
[[gnu::naked]] inline void extract() { asm("fxtract\n\tret"); }

// --- Conversions between MMX and XMM registers, which share the x87 registers and MXCSR
// `mxcsr` is what they run with, all exceptions masked, and becomes what they leave.
using VectorConversion = std::uint64_t (*)(__m128i from, std::uint32_t& mxcsr);

inline std::uint64_t integers_to_singles(__m128i from, std::uint32_t& mxcsr) {
    const std::uint32_t host_mxcsr = _mm_getcsr();
    std::uint64_t result;
    asm volatile(
        "ldmxcsr %[mxcsr]\n\tmovdq2q %[from], %%mm0\n\tcvtpi2ps %%mm0, %[from]\n\tmovq %[from], "
        "%[result]\n\temms\n\t"
        "stmxcsr %[mxcsr]\n\tldmxcsr %[host_mxcsr]"
        : [result] "=&r"(result), [mxcsr] "+m"(mxcsr), [from] "+x"(from)
        : [host_mxcsr] "m"(host_mxcsr)
        : "mm0", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");
    return result;
}
inline std::uint64_t singles_to_integers(__m128i from, std::uint32_t& mxcsr) {
    const std::uint32_t host_mxcsr = _mm_getcsr();
    std::uint64_t result;
    asm volatile(
        "ldmxcsr %[mxcsr]\n\tcvtps2pi %[from], %%mm0\n\tmovq %%mm0, %[result]\n\temms\n\t"
        "stmxcsr %[mxcsr]\n\tldmxcsr %[host_mxcsr]"
        : [result] "=&r"(result), [mxcsr] "+m"(mxcsr), [from] "+x"(from)
        : [host_mxcsr] "m"(host_mxcsr)
        : "mm0", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");
    return result;
}
inline std::uint64_t singles_to_integers_truncating(__m128i from, std::uint32_t& mxcsr) {
    const std::uint32_t host_mxcsr = _mm_getcsr();
    std::uint64_t result;
    asm volatile(
        "ldmxcsr %[mxcsr]\n\tcvttps2pi %[from], %%mm0\n\tmovq %%mm0, %[result]\n\temms\n\t"
        "stmxcsr %[mxcsr]\n\tldmxcsr %[host_mxcsr]"
        : [result] "=&r"(result), [mxcsr] "+m"(mxcsr), [from] "+x"(from)
        : [host_mxcsr] "m"(host_mxcsr)
        : "mm0", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");
    return result;
}
inline std::uint64_t doubles_to_integers(__m128i from, std::uint32_t& mxcsr) {
    const std::uint32_t host_mxcsr = _mm_getcsr();
    std::uint64_t result;
    asm volatile(
        "ldmxcsr %[mxcsr]\n\tcvtpd2pi %[from], %%mm0\n\tmovq %%mm0, %[result]\n\temms\n\t"
        "stmxcsr %[mxcsr]\n\tldmxcsr %[host_mxcsr]"
        : [result] "=&r"(result), [mxcsr] "+m"(mxcsr), [from] "+x"(from)
        : [host_mxcsr] "m"(host_mxcsr)
        : "mm0", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");
    return result;
}
inline std::uint64_t doubles_to_integers_truncating(__m128i from, std::uint32_t& mxcsr) {
    const std::uint32_t host_mxcsr = _mm_getcsr();
    std::uint64_t result;
    asm volatile(
        "ldmxcsr %[mxcsr]\n\tcvttpd2pi %[from], %%mm0\n\tmovq %%mm0, %[result]\n\temms\n\t"
        "stmxcsr %[mxcsr]\n\tldmxcsr %[host_mxcsr]"
        : [result] "=&r"(result), [mxcsr] "+m"(mxcsr), [from] "+x"(from)
        : [host_mxcsr] "m"(host_mxcsr)
        : "mm0", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");
    return result;
}

}  // namespace xenolith::cpu::host_x87
