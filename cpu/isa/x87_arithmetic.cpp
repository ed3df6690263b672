// x87 arithmetic: FADD to FDIVR in all forms, FSQRT, FRNDINT, FSCALE, FPREM, FXTRACT, signs, and the
// transcendental functions (SDM vol. 1, 8.3.3, 8.3.5, 8.3.7; vol. 2).
#include <array>

#include "cpu/isa/forms.hpp"
#include "cpu/isa/row.hpp"
#include "cpu/isa/x87_stack.hpp"

namespace xenolith::cpu {

namespace {

namespace host = host_x87;

// --- Two operands: Operation is one of host_x87::Add to DivideReversed
// --------------------------------------------------------

// One operand is ST(0); the result may go to either, and the stack may be popped behind it.
template <class Operation, bool Pops>
void on_registers(Processor& p, const Instruction& i) {
    X87 x87(p, i);
    x87.record();
    const unsigned to = i.registers[0], from = i.registers[1];
    bool stored = false;
    if (x87.empty(to) || x87.empty(from)) {
        stored = x87.report_underflow();
        if (stored) x87.set_st(to, x87::indefinite);
    } else {
        host::Exchange exchange = x87.exchange();
        exchange.first = x87.st(to);
        exchange.second = x87.st(from);
        host::run<host::Shape{2, 1, 1}>(exchange, Operation::registers);
        stored = x87.accept(exchange);
        if (stored) x87.set_st(to, exchange.result);
    }
    if (Pops && stored) x87.pop();
}

template <class T, host::Operation Operation>
void with_memory(Processor& p, const Instruction& i) {
    X87 x87(p, i);
    host::Exchange exchange = x87.exchange();
    exchange.set_memory(p.load<T>(i));
    x87.record();
    if (x87.empty(0)) {
        if (x87.report_underflow()) x87.set_st(0, x87::indefinite);
        return;
    }
    exchange.first = x87.st(0);
    host::run<host::Shape{1, 1, 0}>(exchange, Operation);
    if (x87.accept(exchange)) x87.set_st(0, exchange.result);
}

template <class Operation>
Execute select_real(const Shape& shape) {
    if (shape.form == form("rr")) return on_registers<Operation, false>;
    if (shape.form != form("m")) return nullptr;
    return shape.width == 4 ? with_memory<std::uint32_t, Operation::real32>
                            : with_memory<std::uint64_t, Operation::real64>;
}
template <class Operation>
Execute select_integer(const Shape& shape) {
    return shape.width == 2 ? with_memory<std::uint16_t, Operation::integer16>
                            : with_memory<std::uint32_t, Operation::integer32>;
}

// --- Functions of ST(0), and of ST(0) and ST(1)
// -------------------------------------------------------------------------------

template <host::Operation Operation, unsigned Conditions>
void unary(Processor& p, const Instruction& i) {
    X87 x87(p, i);
    x87.record();
    if (x87.empty(0)) {
        if (x87.report_underflow(Conditions)) x87.set_st(0, x87::indefinite);
        return;
    }
    host::Exchange exchange = x87.exchange();
    exchange.first = x87.st(0);
    host::run<host::Shape{1, 1, 0}>(exchange, Operation);
    if (x87.accept(exchange, Conditions)) x87.set_st(0, exchange.result);
}

bool is_nan(const X87Register& value) {
    return (value.sign_exponent & 0x7fff) == 0x7fff && value.significand << 1 != 0;
}

// The result replaces ST(0). What is no quotient's leaves C0 and C3 alone.
template <host::Operation Operation, unsigned Conditions>
void binary(Processor& p, const Instruction& i) {
    X87 x87(p, i);
    x87.record();
    constexpr unsigned if_invalid = Conditions & (x87::c1 | x87::c2);
    if (x87.empty(0) || x87.empty(1)) {
        if (x87.report_underflow(if_invalid)) x87.set_st(0, x87::indefinite);
        return;
    }
    host::Exchange exchange = x87.exchange();
    exchange.first = x87.st(0);
    exchange.second = x87.st(1);
    host::run<host::Shape{2, 1, 1}>(exchange, Operation);
    const bool has_quotient = !x87.unmasked(exchange.status & x87::before_operation) &&
                              (exchange.status & x87::invalid) == 0 && !is_nan(exchange.result);
    if (x87.accept(exchange, has_quotient ? Conditions : if_invalid)) x87.set_st(0, exchange.result);
}

// The result replaces ST(1), and ST(0) is popped.
template <host::Operation Operation>
void binary_pop(Processor& p, const Instruction& i) {
    X87 x87(p, i);
    x87.record();
    if (x87.empty(0) || x87.empty(1)) {
        if (x87.report_underflow()) {
            x87.set_st(1, x87::indefinite);
            x87.pop();
        }
        return;
    }
    host::Exchange exchange = x87.exchange();
    exchange.first = x87.st(0);
    exchange.second = x87.st(1);
    host::run<host::Shape{2, 1, 0}>(exchange, Operation);
    if (x87.accept(exchange)) {
        x87.pop();
        x87.set_st(0, exchange.result);
    }
}

// One result replaces ST(0), another is pushed: FPTAN, FSINCOS, FXTRACT. Where the argument is out of range
// (C2), nothing is pushed.
template <host::Operation Operation, unsigned Conditions>
void unary_push(Processor& p, const Instruction& i) {
    X87 x87(p, i);
    x87.record();
    if (x87.empty(0) || !x87.empty(7)) {
        const bool respond = x87.empty(0) ? x87.report_underflow(Conditions) : x87.report_overflow(Conditions);
        if (respond) {
            x87.set_st(0, x87::indefinite);
            x87.push(x87::indefinite);
        }
        return;
    }
    host::Exchange exchange = x87.exchange();
    exchange.first = x87.st(0);
    host::run<host::Shape{1, 2, 0}>(exchange, Operation);
    if (!x87.accept(exchange, Conditions)) return;
    if ((exchange.status & Conditions & x87::c2) != 0) return;
    x87.set_st(0, exchange.next_result);
    x87.push(exchange.result);
}

// --- Signs: neither NaNs nor unsupported formats matter
// --------------------------------------------------------------------------

template <std::uint16_t Kept, std::uint16_t Flipped>
void change_sign(Processor& p, const Instruction& i) {
    X87 x87(p, i);
    x87.record();
    if (x87.empty(0)) {
        if (x87.report_underflow()) x87.set_st(0, x87::indefinite);
        return;
    }
    x87.report(0);
    std::uint16_t& sign_exponent = x87.st(0).sign_exponent;
    sign_exponent = static_cast<std::uint16_t>((sign_exponent & Kept) ^ Flipped);
}

}  // namespace

std::span<const Row> x87_arithmetic_rows() {
    using CostClass::x87, CostClass::x87_long;
    constexpr Feature fpu = Feature::fpu;
    constexpr unsigned rounded = x87::c1, range = x87::c1 | x87::c2, quotient = x87::all_conditions;
    static constexpr std::array rows = {
        Row{ZYDIS_MNEMONIC_FADD, select_real<host::Add>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FADDP, always<on_registers<host::Add, true>>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FIADD, select_integer<host::Add>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FMUL, select_real<host::Multiply>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FMULP, always<on_registers<host::Multiply, true>>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FIMUL, select_integer<host::Multiply>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FSUB, select_real<host::Subtract>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FSUBP, always<on_registers<host::Subtract, true>>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FISUB, select_integer<host::Subtract>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FSUBR, select_real<host::SubtractReversed>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FSUBRP, always<on_registers<host::SubtractReversed, true>>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FISUBR, select_integer<host::SubtractReversed>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FDIV, select_real<host::Divide>, x87_long, 0, fpu},
        Row{ZYDIS_MNEMONIC_FDIVP, always<on_registers<host::Divide, true>>, x87_long, 0, fpu},
        Row{ZYDIS_MNEMONIC_FIDIV, select_integer<host::Divide>, x87_long, 0, fpu},
        Row{ZYDIS_MNEMONIC_FDIVR, select_real<host::DivideReversed>, x87_long, 0, fpu},
        Row{ZYDIS_MNEMONIC_FDIVRP, always<on_registers<host::DivideReversed, true>>, x87_long, 0, fpu},
        Row{ZYDIS_MNEMONIC_FIDIVR, select_integer<host::DivideReversed>, x87_long, 0, fpu},
        Row{ZYDIS_MNEMONIC_FSQRT, always<unary<host::square_root, rounded>>, x87_long, 0, fpu},
        Row{ZYDIS_MNEMONIC_FRNDINT, always<unary<host::round_to_integer, rounded>>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_F2XM1, always<unary<host::power_of_2_minus_1, rounded>>, x87_long, 0, fpu},
        Row{ZYDIS_MNEMONIC_FSIN, always<unary<host::sine, range>>, x87_long, 0, fpu},
        Row{ZYDIS_MNEMONIC_FCOS, always<unary<host::cosine, range>>, x87_long, 0, fpu},
        Row{ZYDIS_MNEMONIC_FSCALE, always<binary<host::scale, rounded>>, x87_long, 0, fpu},
        Row{ZYDIS_MNEMONIC_FPREM, always<binary<host::remainder, quotient>>, x87_long, 0, fpu},
        Row{ZYDIS_MNEMONIC_FPREM1, always<binary<host::ieee_remainder, quotient>>, x87_long, 0, fpu},
        Row{ZYDIS_MNEMONIC_FYL2X, always<binary_pop<host::y_log2_x>>, x87_long, 0, fpu},
        Row{ZYDIS_MNEMONIC_FYL2XP1, always<binary_pop<host::y_log2_x_plus_1>>, x87_long, 0, fpu},
        Row{ZYDIS_MNEMONIC_FPATAN, always<binary_pop<host::arctangent>>, x87_long, 0, fpu},
        Row{ZYDIS_MNEMONIC_FPTAN, always<unary_push<host::tangent, range>>, x87_long, 0, fpu},
        Row{ZYDIS_MNEMONIC_FSINCOS, always<unary_push<host::sine_and_cosine, range>>, x87_long, 0, fpu},
        Row{ZYDIS_MNEMONIC_FXTRACT, always<unary_push<host::extract, rounded>>, x87_long, 0, fpu},
        Row{ZYDIS_MNEMONIC_FCHS, always<change_sign<0xffff, 0x8000>>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FABS, always<change_sign<0x7fff, 0>>, x87, 0, fpu},
    };
    return rows;
}

}  // namespace xenolith::cpu
