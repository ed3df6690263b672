// x87 comparisons and conditional moves: FCOM, FUCOM, FCOMI, FTST, FXAM, FCMOVcc (SDM vol. 1, 8.3.6
// and 8.3.3).
#include <array>

#include "cpu/isa/forms.hpp"
#include "cpu/isa/row.hpp"
#include "cpu/isa/x87_stack.hpp"

namespace xenolith::cpu {

namespace {

namespace host = host_x87;

constexpr unsigned unordered = x87::c0 | x87::c2 | x87::c3;

// Where the outcome of a comparison goes.
enum class Outcome { condition_code, flags };

// ZF, PF and CF take the outcome as C3, C2 and C0 would; the other arithmetic flags become 0.
void set_flags(Processor& p, unsigned conditions) {
    p.flags.set_bits(((conditions & x87::c3) != 0 ? rflags::zf : 0) | ((conditions & x87::c2) != 0 ? rflags::pf : 0) |
                     ((conditions & x87::c0) != 0 ? rflags::cf : 0));
}

// True if the stack may be popped. An invalid operation is unordered, unmasked too: the manual leaves the outcome of
// that one unset (SDM vol. 2, FCOM and FCOMI), the CPUs of both vendors set it.
template <Outcome To>
bool finish(Processor& p, X87& x87, unsigned status) {
    const bool completes = !x87.unmasked(status & x87::before_operation);
    if (x87.unmasked(status & x87::invalid)) status |= unordered;
    if constexpr (To == Outcome::condition_code) {
        x87.report(status, x87::all_conditions);
    } else {
        // C1 tells only of an empty register.
        x87.report(status & ~unsigned{x87::all_conditions}, (status & x87::stack_fault) != 0 ? x87::c1 : 0);
        set_flags(p, status);
    }
    return completes;
}

template <class Operation, Outcome To, unsigned Pops>
void compare_registers(Processor& p, const Instruction& i, unsigned with) {
    X87 x87(p, i);
    x87.record();
    unsigned status = x87::invalid | x87::stack_fault | unordered;
    if (!x87.empty(0) && !x87.empty(with)) {
        host::Exchange exchange = x87.exchange();
        exchange.first = x87.st(0);
        exchange.second = x87.st(with);
        host::run<host::Shape{2, 0, 2}>(exchange, Operation::registers);
        status = exchange.status & ~unsigned{x87::stack_fault};
    }
    if (!finish<To>(p, x87, status)) return;
    for (unsigned n = 0; n < Pops; ++n) x87.pop();
}
// The register is the only visible operand, or follows ST(0), or is always ST(1).
template <class Operation, Outcome To, unsigned Pops, unsigned Position>
void compare_operand(Processor& p, const Instruction& i) {
    compare_registers<Operation, To, Pops>(p, i, i.registers[Position]);
}
template <class Operation>
void compare_pop_both(Processor& p, const Instruction& i) {
    compare_registers<Operation, Outcome::condition_code, 2>(p, i, 1);
}

template <class T, host::Operation Operation, bool Pops>
void compare_memory(Processor& p, const Instruction& i) {
    X87 x87(p, i);
    host::Exchange exchange = x87.exchange();
    exchange.set_memory(p.load<T>(i));
    x87.record();
    unsigned status = x87::invalid | x87::stack_fault | unordered;
    if (!x87.empty(0)) {
        exchange.first = x87.st(0);
        host::run<host::Shape{1, 0, 1}>(exchange, Operation);
        status = exchange.status & ~unsigned{x87::stack_fault};
    }
    if (finish<Outcome::condition_code>(p, x87, status) && Pops) x87.pop();
}

template <bool Pops>
Execute select_compare(const Shape& shape) {
    constexpr unsigned pops = Pops ? 1 : 0;
    if (shape.form == form("r")) return compare_operand<host::Compare, Outcome::condition_code, pops, 0>;
    return shape.width == 4 ? compare_memory<std::uint32_t, host::Compare::real32, Pops>
                            : compare_memory<std::uint64_t, host::Compare::real64, Pops>;
}
template <bool Pops>
Execute select_compare_integer(const Shape& shape) {
    return shape.width == 2 ? compare_memory<std::uint16_t, host::Compare::integer16, Pops>
                            : compare_memory<std::uint32_t, host::Compare::integer32, Pops>;
}
template <bool Pops>
Execute select_compare_unordered(const Shape& shape) {
    constexpr unsigned pops = Pops ? 1 : 0;
    return shape.form == form("r") ? compare_operand<host::CompareUnordered, Outcome::condition_code, pops, 0>
                                   : compare_operand<host::CompareUnordered, Outcome::condition_code, pops, 1>;
}

// With +0.0.
void test(Processor& p, const Instruction& i) {
    X87 x87(p, i);
    x87.record();
    unsigned status = x87::invalid | x87::stack_fault | unordered;
    if (!x87.empty(0)) {
        host::Exchange exchange = x87.exchange();
        exchange.first = x87.st(0);
        host::run<host::Shape{1, 0, 1}>(exchange, host::test);
        status = exchange.status & ~unsigned{x87::stack_fault};
    }
    finish<Outcome::condition_code>(p, x87, status);
}

// SDM vol. 2, table of FXAM. C1 is the sign whatever the class.
unsigned class_of(const X87Register& value) {
    const unsigned exponent = value.sign_exponent & 0x7fff;
    const bool integer_bit = value.significand >> 63 != 0;
    constexpr unsigned nan = x87::c0, normal = x87::c2, infinity = x87::c2 | x87::c0, zero = x87::c3,
                       denormal = x87::c3 | x87::c2, unsupported = 0;
    if (exponent == 0) return value.significand == 0 ? zero : denormal;
    if (!integer_bit) return unsupported;
    if (exponent != 0x7fff) return normal;
    return value.significand << 1 == 0 ? infinity : nan;
}

void examine(Processor& p, const Instruction& i) {
    X87 x87(p, i);
    x87.record();
    constexpr unsigned empty = x87::c3 | x87::c0;
    const unsigned sign = x87.st(0).sign_exponent >> 15 != 0 ? x87::c1 : 0;
    x87.report(sign | (x87.empty(0) ? empty : class_of(x87.st(0))), x87::all_conditions);
}

// An empty register is an error whether the condition holds or not.
template <std::uint64_t Flags, bool Wanted>
void move_if(Processor& p, const Instruction& i) {
    X87 x87(p, i);
    x87.record();
    const unsigned from = i.registers[1];
    if (x87.empty(0) || x87.empty(from)) {
        if (x87.report_underflow()) x87.set_st(0, x87::indefinite);
        return;
    }
    if (((p.flags.bits() & Flags) != 0) == Wanted) x87.set_st(0, x87.st(from));
}

}  // namespace

std::span<const Row> x87_compare_rows() {
    using CostClass::x87;
    constexpr Feature fpu = Feature::fpu, cmov = Feature::cmov;
    constexpr Outcome flags = Outcome::flags;
    constexpr std::uint64_t cf = rflags::cf, zf = rflags::zf, pf = rflags::pf;
    static constexpr std::array rows = {
        Row{ZYDIS_MNEMONIC_FCOM, select_compare<false>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FCOMP, select_compare<true>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FCOMPP, always<compare_pop_both<host::Compare>>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FICOM, select_compare_integer<false>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FICOMP, select_compare_integer<true>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FUCOM, select_compare_unordered<false>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FUCOMP, select_compare_unordered<true>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FUCOMPP, always<compare_pop_both<host::CompareUnordered>>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FCOMI, always<compare_operand<host::Compare, flags, 0, 1>>, x87, 0, cmov},
        Row{ZYDIS_MNEMONIC_FCOMIP, always<compare_operand<host::Compare, flags, 1, 1>>, x87, 0, cmov},
        Row{ZYDIS_MNEMONIC_FUCOMI, always<compare_operand<host::CompareUnordered, flags, 0, 1>>, x87, 0, cmov},
        Row{ZYDIS_MNEMONIC_FUCOMIP, always<compare_operand<host::CompareUnordered, flags, 1, 1>>, x87, 0, cmov},
        Row{ZYDIS_MNEMONIC_FTST, always<test>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FXAM, always<examine>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FCMOVB, always<move_if<cf, true>>, x87, 0, cmov},
        Row{ZYDIS_MNEMONIC_FCMOVE, always<move_if<zf, true>>, x87, 0, cmov},
        Row{ZYDIS_MNEMONIC_FCMOVBE, always<move_if<cf | zf, true>>, x87, 0, cmov},
        Row{ZYDIS_MNEMONIC_FCMOVU, always<move_if<pf, true>>, x87, 0, cmov},
        Row{ZYDIS_MNEMONIC_FCMOVNB, always<move_if<cf, false>>, x87, 0, cmov},
        Row{ZYDIS_MNEMONIC_FCMOVNE, always<move_if<zf, false>>, x87, 0, cmov},
        Row{ZYDIS_MNEMONIC_FCMOVNBE, always<move_if<cf | zf, false>>, x87, 0, cmov},
        Row{ZYDIS_MNEMONIC_FCMOVNU, always<move_if<pf, false>>, x87, 0, cmov},
    };
    return rows;
}

}  // namespace xenolith::cpu
