// One description of an instruction: a row per mnemonic, from which decoder, engines, fuzzer and examples read.
#pragma once

#include <Zydis/Zydis.h>

#include <cstdint>
#include <span>

#include "cpu/isa/instruction.hpp"

namespace xenolith::cpu {

// The kinds of the visible operands in order, one hexadecimal digit each from the left: r, m, i.
using Form = std::uint32_t;
constexpr Form form(const char* kinds) {
    Form result = 0;
    for (; *kinds != 0; ++kinds) result = result << 4 | (*kinds == 'r' ? 1u : *kinds == 'm' ? 2u : 3u);
    return result;
}

struct Row;

// What a row's `select` sees of one encoding.
struct Shape {
    const ZydisDecodedInstruction& instruction;
    const ZydisDecodedOperand* operands;  // the visible ones come first
    Instruction& out;                     // nearly complete: `select` may set what only it knows (a vector operation)
    const Row* row = nullptr;
    Form form = 0;
    unsigned width = 0;  // bytes of the first visible operand, or of the operand size if there is none: 1, 2, 4, 8...
    unsigned operand_width = 0;  // bytes of the effective operand size: 2, 4 or 8
    AddressSize address_size = AddressSize::bits32;
};

// How the JIT takes an instruction: call `execute`, re-encode the guest's own, or special code.
enum class JitTreatment : std::uint8_t { call, reencode, custom };

// Classes of base cost; cpu/timing gives each a number of cycles.
enum class CostClass : std::uint8_t {
    free,          // NOP and prefixes
    simple,        // moves, additions, logic, LEA
    shift_double,  // SHLD, SHRD, rotate through carry
    multiply,
    divide_small,  // 8, 16 and 32 bits
    divide_large,  // 64 bits
    bcd,
    branch,
    call_return,
    stack,
    string,  // start-up; each iteration is charged as it happens
    locked,  // read-modify-write on the bus
    segment_load,
    far_transfer,
    interrupt,
    system,     // moves to and from CR, DR, descriptor-table registers
    serialize,  // CPUID, flushes, WRMSR of a register the CPU itself has
    time_stamp,
    x87,
    x87_long,  // divide, square root, transcendental
    vector,
    vector_long,
    state_save,  // FXSAVE, XSAVE and their counterparts
    count,
};

// Properties of a row that the decoder and the engines need.
namespace row_flag {
inline constexpr std::uint16_t transfers_control = 1 << 0;  // writes RIP; ends a block; a delivery point
inline constexpr std::uint16_t ends_block = 1 << 1;         // may change mode, mapping or segment state
inline constexpr std::uint16_t delivery_point = 1 << 2;  // asks the Environment or changes system state; ends a block
inline constexpr std::uint16_t amd_only = 1 << 3;
inline constexpr std::uint16_t not_in_real_mode = 1 << 4;  // #UD in real mode and VM86
inline constexpr std::uint16_t repeatable = 1 << 5;  // a string instruction: with REP it behaves as transfers_control
// For encodings with an MMX register, where others of the mnemonic (PADDB of XMM registers) have another row; and for
// those with an XMM or YMM register, of mnemonics that name something else too (MOVSD and CMPSD of strings).
inline constexpr std::uint16_t mmx_operand = 1 << 6;
inline constexpr std::uint16_t vector_operand = 1 << 7;
}  // namespace row_flag

// Chooses the execute function for an encoding; null means the encoding raises #UD.
using Select = Execute (*)(const Shape&);

// CPUID features a row depends on; cpu/model maps them to leaf bits. `base` is what every model has.
enum class Feature : std::uint8_t {
    base,
    tsc,
    msr,
    cx8,
    sep,
    cmov,
    clfsh,
    fxsr,
    mmx,
    sse,
    sse2,
    sse3,
    ssse3,
    sse4_1,
    sse4_2,
    popcnt,
    cx16,
    movbe,
    xsave,
    xsaveopt,
    xsavec,
    xsaves,
    aes,
    pclmulqdq,
    rdrand,
    rdseed,
    avx,
    avx2,
    bmi1,
    bmi2,
    lzcnt,
    fma,
    f16c,
    adx,
    sha,
    rdtscp,
    lahf_lm,
    syscall,
    long_mode,
    nx,
    page1gb,
    pse,
    pse36,
    pae,
    pge,
    pat,
    pcid,
    invpcid,
    smep,
    smap,
    umip,
    fsgsbase,
    erms,
    x2apic,
    tsc_deadline,
    monitor,
    clflushopt,
    clwb,
    rdpid,
    vme,
    de,
    mce,
    mca,
    mtrr,
    apic,
    acpi,
    ss,
    htt,
    invariant_tsc,
    fpu,
    prefetchw,
    svm,
    vmx,
    tsc_adjust,
    arch_capabilities,
    // What makes x87 pointers less than they were (SDM vol. 1, 8.1.8): the data pointer is that of the last unmasked
    // exception; there are no selectors.
    fdp_exception_only,
    no_fcs_fds,
    count,
};

// What the rows of vector instructions compute; cpu/isa/vector_forms.hpp says more. Null where there is no such form.
struct VectorOperations {
    VectorOperation narrow = nullptr;       // 128 bits, or a scalar
    VectorOperation wide = nullptr;         // where an operand is a YMM or 64-bit general register
    VectorOperation from_memory = nullptr;  // instead of `narrow`, where a memory source means something else
    VectorOperation to_memory = nullptr;    // the same for a memory destination
    std::uint8_t traits = 0;
};

struct Row {
    ZydisMnemonic mnemonic;
    Select select;
    CostClass cost;
    std::uint16_t flags = 0;
    Feature feature = Feature::base;
    JitTreatment jit = JitTreatment::call;
    // The row that stands in for this one for some encodings (MOV to a control register), or the row itself; null
    // where all encodings are alike. Operands are known, `form` and the widths are not yet.
    const Row* (*variant)(const Row& self, const Shape&) = nullptr;
    VectorOperations vector = {};
};

// The families; each lives in cpu/isa/<family>.cpp.
std::span<const Row> data_rows();            // MOV, LEA, XCHG, CMOVcc, MOVZX, BSWAP, XLAT, CBW ...
std::span<const Row> arithmetic_rows();      // ADD ... NEG, logic, CMP, TEST, INC, DEC, XADD, CMPXCHG ...
std::span<const Row> multiply_rows();        // MUL, IMUL, DIV, IDIV, BCD
std::span<const Row> shift_rows();           // shifts, rotates, SHLD, SHRD
std::span<const Row> bit_rows();             // BT*, BSF, BSR, SETcc, POPCNT, TZCNT, LZCNT, BMI
std::span<const Row> string_rows();          // MOVS, CMPS, SCAS, LODS, STOS, INS, OUTS
std::span<const Row> stack_rows();           // PUSH, POP, PUSHA, PUSHF, ENTER, LEAVE, LAHF, SAHF, CLC ...
std::span<const Row> branch_rows();          // Jcc, JMP, CALL, RET, LOOP, JCXZ, BOUND, INT n, IRET, far transfers
std::span<const Row> segment_rows();         // MOV Sreg, LDS ..., LAR, LSL, VERR, ARPL, LLDT, LTR, SGDT ...
std::span<const Row> system_rows();          // CR, DR, MSR, CPUID, RDTSC, HLT, IN, OUT, SYSCALL, VMCALL, INVLPG ...
std::span<const Row> state_rows();           // FNINIT, FXSAVE, XSAVE, LDMXCSR and what x87/SSE set-up needs
std::span<const Row> x87_arithmetic_rows();  // FADD ... FDIVR, FSQRT, FPREM, FSIN ...
std::span<const Row> x87_compare_rows();     // FCOM, FCOMI, FTST, FXAM, FCMOVcc
std::span<const Row> x87_transfer_rows();    // FLD, FST, FILD, FIST, FBLD, constants, FXCH, FFREE ...
std::span<const Row> mmx_rows();             // everything on MMX registers but EMMS
std::span<const Row> random_rows();          // RDRAND, RDSEED
std::span<const Row> vector_move_rows();     // moves of XMM and YMM registers
std::span<const Row> vector_integer_rows();  // integer arithmetic, comparisons and shifts of XMM and YMM registers
std::span<const Row> vector_shuffle_rows();  // what moves elements about: pack, unpack, shuffle, insert, extract, blend
std::span<const Row> vector_float_rows();    // floating-point arithmetic
std::span<const Row> vector_fused_rows();    // fused multiply and add
std::span<const Row> vector_compare_rows();  // floating-point comparisons
std::span<const Row> vector_convert_rows();  // between floating-point formats and integers
std::span<const Row> vector_crypto_rows();   // AES, SHA, carry-less multiplication
std::span<const Row> vector_string_rows();   // PCMPESTRI and its like
std::span<const Row> vector_masked_rows();   // masked loads and stores, gathers, VZEROALL

// The row of a mnemonic, or null: then the instruction raises #UD. `operand_flag` is row_flag::mmx_operand or
// row_flag::vector_operand if a visible operand is such a register, else 0; a row with that flag comes first.
const Row* find_row(ZydisMnemonic mnemonic, std::uint16_t operand_flag = 0);

}  // namespace xenolith::cpu
