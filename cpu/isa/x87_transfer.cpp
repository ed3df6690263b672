// x87 loads, stores, conversions, constants, and the instructions that only handle the stack (SDM vol.
// 1, 8.3.3, 8.3.4; vol. 2). FNINIT, FNCLEX, FNSTSW and the state images are in cpu/isa/state_image.cpp.
#include <array>

#include "cpu/isa/forms.hpp"
#include "cpu/isa/row.hpp"
#include "cpu/isa/x87_stack.hpp"

namespace xenolith::cpu {

namespace {

namespace host = host_x87;

// An 80-bit operand in memory: a real, or 18 decimal digits and a sign.
using TenBytes = std::array<std::byte, 10>;

TenBytes load_ten_bytes(Processor& p, const Instruction& i) {
    TenBytes bytes;
    p.load_bytes(i.segment, p.effective_address(i), bytes.data(), sizeof(TenBytes));
    return bytes;
}
template <class T>
T load_operand(Processor& p, const Instruction& i) {
    if constexpr (sizeof(T) == sizeof(TenBytes)) {
        return load_ten_bytes(p, i);
    } else {
        return p.load<T>(i);
    }
}
template <class T>
void store_operand(Processor& p, const Instruction& i, const T& value) {
    if constexpr (sizeof(T) == sizeof(TenBytes)) {
        p.store_bytes(i.segment, p.effective_address(i), value.data(), sizeof(TenBytes));
    } else {
        p.store<T>(i, value);
    }
}

TenBytes to_bytes(const X87Register& value) {
    TenBytes bytes;
    std::memcpy(bytes.data(), &value.significand, 8);
    std::memcpy(bytes.data() + 8, &value.sign_exponent, 2);
    return bytes;
}
X87Register from_bytes(const TenBytes& bytes) {
    X87Register value;
    std::memcpy(&value.significand, bytes.data(), 8);
    std::memcpy(&value.sign_exponent, bytes.data() + 8, 2);
    return value;
}

// --- Pushing
// --------------------------------------------------------------------------------------------------------------

// False if there was no room; what follows then has been done.
bool has_room(X87& x87) {
    if (x87.empty(7)) return true;
    if (x87.report_overflow()) x87.push(x87::indefinite);
    return false;
}

template <class T, host::Operation Operation>
void load_converted(Processor& p, const Instruction& i) {
    X87 x87(p, i);
    host::Exchange exchange = x87.exchange();
    exchange.set_memory(load_operand<T>(p, i));
    x87.record();
    if (!has_room(x87)) return;
    host::run<host::Shape{0, 1, 0}>(exchange, Operation);
    // The manual has an unmasked denormal operand not loaded; there are CPUs that load it.
    x87.accept(exchange);
    if (exchange.stack_moved(0) != 0) x87.push(exchange.result);
}

template <host::Operation Operation>
void load_constant(Processor& p, const Instruction& i) {
    X87 x87(p, i);
    x87.record();
    if (!has_room(x87)) return;
    host::Exchange exchange = x87.exchange();
    host::run<host::Shape{0, 1, 0}>(exchange, Operation);
    if (x87.accept(exchange)) x87.push(exchange.result);
}

// An 80-bit real is taken as it is, whatever it is.
void load_real80(Processor& p, const Instruction& i) {
    X87 x87(p, i);
    const X87Register value = from_bytes(load_ten_bytes(p, i));
    x87.record();
    if (!has_room(x87)) return;
    x87.report(0);
    x87.push(value);
}

void load_register(Processor& p, const Instruction& i) {
    X87 x87(p, i);
    x87.record();
    const unsigned from = i.registers[0];
    if (x87.empty(from)) {
        if (x87.report_underflow()) x87.push(x87::indefinite);
        return;
    }
    if (!has_room(x87)) return;
    x87.report(0);
    x87.push(X87Register{x87.st(from)});
}

Execute select_load(const Shape& shape) {
    if (shape.form == form("r")) return load_register;
    switch (shape.width) {
        case 4: return load_converted<std::uint32_t, host::load_real32>;
        case 8: return load_converted<std::uint64_t, host::load_real64>;
        default: return load_real80;
    }
}
Execute select_load_integer(const Shape& shape) {
    switch (shape.width) {
        case 2: return load_converted<std::uint16_t, host::load_integer16>;
        case 4: return load_converted<std::uint32_t, host::load_integer32>;
        default: return load_converted<std::uint64_t, host::load_integer64>;
    }
}

// --- Storing in memory
// ------------------------------------------------------------------------------------------------------

// The answer to a masked invalid operation, by destination (SDM vol. 1, table 8-10).
template <class T>
struct Indefinite;
template <>
struct Indefinite<float> {
    using Operand = std::uint32_t;
    static constexpr Operand value = 0xffc00000;
};
template <>
struct Indefinite<double> {
    using Operand = std::uint64_t;
    static constexpr Operand value = 0xfff8000000000000;
};
template <std::signed_integral T>
struct Indefinite<T> {
    using Operand = std::make_unsigned_t<T>;
    static constexpr Operand value = Operand{1} << (sizeof(T) * 8 - 1);
};
template <>
struct Indefinite<TenBytes> {
    using Operand = TenBytes;
    static constexpr Operand value = {std::byte{0}, std::byte{0}, std::byte{0},    std::byte{0},    std::byte{0},
                                      std::byte{0}, std::byte{0}, std::byte{0xc0}, std::byte{0xff}, std::byte{0xff}};
};

// What an unmasked exception keeps from being stored: AMD's CPUs look whether it could be, Intel's do not.
void check_operand(Processor& p, const Instruction& i, unsigned size) {
    if (p.model.vendor() == Vendor::amd) p.probe_write(i.segment, p.effective_address(i), size);
}

// A store may fault, so it comes before the status changes. With overflow or underflow unmasked there is no
// result that fits the destination: nothing is stored and nothing popped (SDM vol. 1, 8.5.4).
template <class T, host::Operation Operation, bool Pops>
void store_converted(Processor& p, const Instruction& i) {
    using Operand = typename Indefinite<T>::Operand;
    X87 x87(p, i);
    if (x87.empty(0)) {
        const bool respond = !x87.unmasked(x87::invalid);
        if (respond) {
            store_operand<Operand>(p, i, Indefinite<T>::value);
        } else {
            check_operand(p, i, sizeof(Operand));
        }
        x87.record();
        x87.report_underflow();
        if (respond && Pops) x87.pop();
        return;
    }
    host::Exchange exchange = x87.exchange();
    exchange.first = x87.st(0);
    host::run<host::Shape{1, 0, 0}>(exchange, Operation);
    const bool completes = !x87.unmasked(exchange.status & ~unsigned{x87::precision});
    if (completes) {
        store_operand<Operand>(p, i, exchange.get_memory<Operand>());
    } else {
        check_operand(p, i, sizeof(Operand));
    }
    x87.record();
    x87.accept(exchange);
    if (completes && Pops) x87.pop();
}

void store_real80(Processor& p, const Instruction& i) {
    X87 x87(p, i);
    const bool underflow = x87.empty(0), respond = !underflow || !x87.unmasked(x87::invalid);
    if (respond) {
        store_operand(p, i, to_bytes(underflow ? x87::indefinite : x87.st(0)));
    } else {
        check_operand(p, i, sizeof(TenBytes));
    }
    x87.record();
    if (underflow) {
        x87.report_underflow();
    } else {
        x87.report(0);
    }
    if (respond) x87.pop();
}

template <bool Pops>
void store_register(Processor& p, const Instruction& i) {
    X87 x87(p, i);
    x87.record();
    const bool underflow = x87.empty(0);
    if (underflow) {
        if (!x87.report_underflow()) return;
    } else {
        x87.report(0);
    }
    x87.set_st(i.registers[0], underflow ? x87::indefinite : X87Register{x87.st(0)});
    if (Pops) x87.pop();
}

// FSTPNCE does not check for an empty register, which only is popped.
void store_register_unchecked(Processor& p, const Instruction& i) {
    X87 x87(p, i);
    x87.record();
    x87.report(0);
    if (!x87.empty(0)) x87.set_st(i.registers[0], X87Register{x87.st(0)});
    x87.pop();
}

template <bool Pops>
Execute select_store(const Shape& shape) {
    if (shape.form == form("r")) return store_register<Pops>;
    switch (shape.width) {
        case 4: return store_converted<float, host::store_real32, Pops>;
        case 8: return store_converted<double, host::store_real64, Pops>;
        default: return store_real80;
    }
}
template <bool Pops>
Execute select_store_integer(const Shape& shape) {
    switch (shape.width) {
        case 2: return store_converted<std::int16_t, host::store_integer16, Pops>;
        case 4: return store_converted<std::int32_t, host::store_integer32, Pops>;
        default: return store_converted<std::int64_t, host::store_integer64, Pops>;
    }
}
Execute select_truncate(const Shape& shape) {
    switch (shape.width) {
        case 2: return store_converted<std::int16_t, host::truncate_integer16, true>;
        case 4: return store_converted<std::int32_t, host::truncate_integer32, true>;
        default: return store_converted<std::int64_t, host::truncate_integer64, true>;
    }
}

// --- The stack alone
// --------------------------------------------------------------------------------------------------------

// An empty register becomes the indefinite value before it changes places.
void exchange_registers(Processor& p, const Instruction& i) {
    X87 x87(p, i);
    x87.record();
    const unsigned with = i.registers[0];
    if (x87.empty(0) || x87.empty(with)) {
        if (!x87.report_underflow()) return;
        for (const unsigned n : {0u, with})
            if (x87.empty(n)) x87.set_st(n, x87::indefinite);
    } else {
        x87.report(0);
    }
    std::swap(x87.st(0), x87.st(with));
}

template <unsigned By>
void rotate(Processor& p, const Instruction& i) {
    X87 x87(p, i);
    x87.record();
    x87.report(0);
    x87.move_top(By);
}

template <bool Pops>
void release(Processor& p, const Instruction& i) {
    X87 x87(p, i);
    x87.record();
    x87.report(0);
    x87.set_empty(i.registers[0]);
    if (Pops) x87.pop();
}

void no_operation(Processor& p, const Instruction& i) { X87(p, i).record(); }

// What the 8087 and 80287 had for their interrupts and protected mode: does nothing, and does not wait.
void obsolete_control(Processor& p, const Instruction&) { require_x87(p); }

}  // namespace

std::span<const Row> x87_transfer_rows() {
    using CostClass::x87, CostClass::x87_long;
    constexpr Feature fpu = Feature::fpu;
    static constexpr std::array rows = {
        Row{ZYDIS_MNEMONIC_FLD, select_load, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FILD, select_load_integer, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FBLD, always<load_converted<TenBytes, host::load_decimal>>, x87_long, 0, fpu},
        Row{ZYDIS_MNEMONIC_FST, select_store<false>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FSTP, select_store<true>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FSTPNCE, always<store_register_unchecked>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FIST, select_store_integer<false>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FISTP, select_store_integer<true>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FISTTP, select_truncate, x87, 0, Feature::sse3},
        Row{ZYDIS_MNEMONIC_FBSTP, always<store_converted<TenBytes, host::store_decimal, true>>, x87_long, 0, fpu},
        Row{ZYDIS_MNEMONIC_FLD1, always<load_constant<host::load_one>>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FLDL2T, always<load_constant<host::load_log2_of_10>>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FLDL2E, always<load_constant<host::load_log2_of_e>>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FLDPI, always<load_constant<host::load_pi>>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FLDLG2, always<load_constant<host::load_log10_of_2>>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FLDLN2, always<load_constant<host::load_ln_of_2>>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FLDZ, always<load_constant<host::load_zero>>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FXCH, always<exchange_registers>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FINCSTP, always<rotate<1>>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FDECSTP, always<rotate<7>>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FFREE, always<release<false>>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FFREEP, always<release<true>>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FNOP, always<no_operation>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FENI8087_NOP, always<obsolete_control>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FDISI8087_NOP, always<obsolete_control>, x87, 0, fpu},
        Row{ZYDIS_MNEMONIC_FSETPM287_NOP, always<obsolete_control>, x87, 0, fpu},
    };
    return rows;
}

}  // namespace xenolith::cpu
