// Turns an operation on integers into execute functions, one per operand form and width.
//
// An operation is a struct with a static member template, `apply<T>(processor, left, right)` for two operands
// or `apply<T>(processor, value)` for one, which returns the result and updates the flags. `stores` says
// whether the result goes back to the first operand. Which form and width an encoding has is known when it is
// decoded, so each execute function is straight code for one of them.
//
// Memory comes first: whatever can fault happens before the operation touches flags or registers. After
// begin_modify nothing can fault any more, so the operation may run between it and end_modify.
#pragma once

#include <concepts>
#include <cstdint>

#include "cpu/isa/instruction.hpp"
#include "cpu/isa/row.hpp"
#include "cpu/processor.hpp"

namespace xenolith::cpu {

// Calls choose.operator()<T>() with the unsigned integer of that many bytes; null for a width there is none
// of.
template <class Choose>
Execute with_width(unsigned width, const Choose& choose) {
    switch (width) {
        case 1: return choose.template operator()<std::uint8_t>();
        case 2: return choose.template operator()<std::uint16_t>();
        case 4: return choose.template operator()<std::uint32_t>();
        case 8: return choose.template operator()<std::uint64_t>();
        default: return nullptr;
    }
}

// The same for instructions that have no 8-bit form.
template <class Choose>
Execute with_wide_width(unsigned width, const Choose& choose) {
    switch (width) {
        case 2: return choose.template operator()<std::uint16_t>();
        case 4: return choose.template operator()<std::uint32_t>();
        case 8: return choose.template operator()<std::uint64_t>();
        default: return nullptr;
    }
}

// The same for instructions of 32 and 64 bits only.
template <class Choose>
Execute with_large_width(unsigned width, const Choose& choose) {
    switch (width) {
        case 4: return choose.template operator()<std::uint32_t>();
        case 8: return choose.template operator()<std::uint64_t>();
        default: return nullptr;
    }
}

// --- One operand: read, perhaps written
// ------------------------------------------------------------------------------

template <class Operation, std::unsigned_integral T>
struct Unary {
    static void r(Processor& p, const Instruction& i) {
        p.set<T>(i.registers[0], Operation::template apply<T>(p, p.get<T>(i.registers[0])));
    }
    static void m(Processor& p, const Instruction& i) {
        p.end_modify<T>(Operation::template apply<T>(p, p.begin_modify<T>(i)));
    }
};

template <class Operation>
Execute select_unary(const Shape& shape) {
    return with_width(shape.width, [&]<class T>() -> Execute {
        switch (shape.form) {
            case form("r"): return Unary<Operation, T>::r;
            case form("m"): return Unary<Operation, T>::m;
            default: return nullptr;
        }
    });
}

// --- Two operands: the first is read, and written if the operation stores
// ----------------------------------------------

template <class Operation, std::unsigned_integral T>
struct Binary {
    static void rr(Processor& p, const Instruction& i) { on_register(p, i, p.get<T>(i.registers[1])); }
    static void rm(Processor& p, const Instruction& i) { on_register(p, i, p.load<T>(i)); }
    static void ri(Processor& p, const Instruction& i) { on_register(p, i, static_cast<T>(i.immediate)); }
    static void mr(Processor& p, const Instruction& i) { on_memory(p, i, p.get<T>(i.registers[1])); }
    static void mi(Processor& p, const Instruction& i) { on_memory(p, i, static_cast<T>(i.immediate)); }

  private:
    static void on_register(Processor& p, const Instruction& i, T right) {
        const T left = p.get<T>(i.registers[0]);
        if constexpr (Operation::stores) {
            p.set<T>(i.registers[0], Operation::template apply<T>(p, left, right));
        } else {
            Operation::template apply<T>(p, left, right);
        }
    }
    static void on_memory(Processor& p, const Instruction& i, T right) {
        if constexpr (Operation::stores) {
            const T left = p.begin_modify<T>(i);
            p.end_modify<T>(Operation::template apply<T>(p, left, right));
        } else {
            Operation::template apply<T>(p, p.load<T>(i), right);
        }
    }
};

template <class Operation, std::unsigned_integral T>
Execute binary_form(Form form_of_operands) {
    switch (form_of_operands) {
        case form("rr"): return Binary<Operation, T>::rr;
        case form("rm"): return Binary<Operation, T>::rm;
        case form("ri"): return Binary<Operation, T>::ri;
        case form("mr"): return Binary<Operation, T>::mr;
        case form("mi"): return Binary<Operation, T>::mi;
        default: return nullptr;
    }
}

template <class Operation>
Execute select_binary(const Shape& shape) {
    return with_width(shape.width, [&]<class T>() { return binary_form<Operation, T>(shape.form); });
}

// --- A register becomes a function of another operand: apply<T>(processor, source)
// ---------------------------------------

template <class Operation, std::unsigned_integral T>
struct Conversion {
    static void rr(Processor& p, const Instruction& i) {
        p.set<T>(i.registers[0], Operation::template apply<T>(p, p.get<T>(i.registers[1])));
    }
    static void rm(Processor& p, const Instruction& i) {
        p.set<T>(i.registers[0], Operation::template apply<T>(p, p.load<T>(i)));
    }
};

// Widths of 2, 4 and 8 bytes.
template <class Operation>
Execute select_conversion(const Shape& shape) {
    return with_wide_width(shape.width, [&]<class T>() -> Execute {
        switch (shape.form) {
            case form("rr"): return Conversion<Operation, T>::rr;
            case form("rm"): return Conversion<Operation, T>::rm;
            default: return nullptr;
        }
    });
}

// --- A register becomes a function of two others, as BMI instructions do: apply<T>(processor, second, third)
// ------------- Either source may be memory; the last may be an immediate.

template <class Operation, std::unsigned_integral T>
struct Ternary {
    static void rrr(Processor& p, const Instruction& i) {
        to(p, i, p.get<T>(i.registers[1]), p.get<T>(i.registers[2]));
    }
    static void rrm(Processor& p, const Instruction& i) { to(p, i, p.get<T>(i.registers[1]), p.load<T>(i)); }
    static void rmr(Processor& p, const Instruction& i) { to(p, i, p.load<T>(i), p.get<T>(i.registers[2])); }
    static void rri(Processor& p, const Instruction& i) {
        to(p, i, p.get<T>(i.registers[1]), static_cast<T>(i.immediate));
    }
    static void rmi(Processor& p, const Instruction& i) { to(p, i, p.load<T>(i), static_cast<T>(i.immediate)); }

  private:
    static void to(Processor& p, const Instruction& i, T second, T third) {
        p.set<T>(i.registers[0], Operation::template apply<T>(p, second, third));
    }
};

template <class Operation, std::unsigned_integral T>
Execute ternary_form(Form form_of_operands) {
    switch (form_of_operands) {
        case form("rrr"): return Ternary<Operation, T>::rrr;
        case form("rrm"): return Ternary<Operation, T>::rrm;
        case form("rmr"): return Ternary<Operation, T>::rmr;
        case form("rri"): return Ternary<Operation, T>::rri;
        case form("rmi"): return Ternary<Operation, T>::rmi;
        default: return nullptr;
    }
}

// Widths of 4 and 8 bytes.
template <class Operation>
Execute select_ternary(const Shape& shape) {
    return with_large_width(shape.width, [&]<class T>() { return ternary_form<Operation, T>(shape.form); });
}

// --- No visible operand, one behaviour
// -----------------------------------------------------------------------------------

template <auto Function>
Execute always(const Shape&) {
    return Function;
}

}  // namespace xenolith::cpu
