// Addition, subtraction, logic, comparison, and the instructions built on them (SDM vol. 2).
#include <array>

#include "cpu/isa/forms.hpp"
#include "cpu/isa/row.hpp"

namespace xenolith::cpu {

namespace {

template <class T>
T add_with_carry(Flags& flags, T left, T right, bool carry_in) {
    T sum, result;
    const bool first = __builtin_add_overflow(left, right, &sum);
    const bool second = __builtin_add_overflow(sum, static_cast<T>(carry_in), &result);
    flags.set_add(left, right, result, first || second);
    return result;
}

template <class T>
T subtract_with_borrow(Flags& flags, T left, T right, bool borrow_in) {
    T difference, result;
    const bool first = __builtin_sub_overflow(left, right, &difference);
    const bool second = __builtin_sub_overflow(difference, static_cast<T>(borrow_in), &result);
    flags.set_subtract(left, right, result, first || second);
    return result;
}

template <class T>
T subtract(Flags& flags, T left, T right) {
    const T result = static_cast<T>(left - right);
    flags.set_subtract(left, right, result, left < right);
    return result;
}

struct Add {
    static constexpr bool stores = true;
    template <class T>
    static T apply(Processor& p, T left, T right) {
        const T result = static_cast<T>(left + right);
        p.flags.set_add(left, right, result, result < left);
        return result;
    }
};

struct AddWithCarry {
    static constexpr bool stores = true;
    template <class T>
    static T apply(Processor& p, T left, T right) {
        return add_with_carry(p.flags, left, right, p.flags.cf());
    }
};

struct Subtract {
    static constexpr bool stores = true;
    template <class T>
    static T apply(Processor& p, T left, T right) {
        return subtract(p.flags, left, right);
    }
};

struct SubtractWithBorrow {
    static constexpr bool stores = true;
    template <class T>
    static T apply(Processor& p, T left, T right) {
        return subtract_with_borrow(p.flags, left, right, p.flags.cf());
    }
};

struct Compare : Subtract {
    static constexpr bool stores = false;
};

struct And {
    static constexpr bool stores = true;
    template <class T>
    static T apply(Processor& p, T left, T right) {
        const T result = left & right;
        p.flags.set_logic(result);
        return result;
    }
};

struct Test : And {
    static constexpr bool stores = false;
};

struct Or {
    static constexpr bool stores = true;
    template <class T>
    static T apply(Processor& p, T left, T right) {
        const T result = left | right;
        p.flags.set_logic(result);
        return result;
    }
};

struct ExclusiveOr {
    static constexpr bool stores = true;
    template <class T>
    static T apply(Processor& p, T left, T right) {
        const T result = left ^ right;
        p.flags.set_logic(result);
        return result;
    }
};

struct Increment {
    template <class T>
    static T apply(Processor& p, T value) {
        const T result = static_cast<T>(value + 1);
        p.flags.set_keep_carry(value, result, result == 0);
        return result;
    }
};

struct Decrement {
    template <class T>
    static T apply(Processor& p, T value) {
        const T result = static_cast<T>(value - 1);
        p.flags.set_keep_carry(value, result, value == 0);
        return result;
    }
};

struct Negate {
    template <class T>
    static T apply(Processor& p, T value) {
        return subtract(p.flags, T{0}, value);
    }
};

struct Not {
    template <class T>
    static T apply(Processor&, T value) {
        return static_cast<T>(~value);
    }
};

// ADCX and ADOX: addition with one flag alone as carry.
struct AddWithCarryOnly {
    static constexpr bool stores = true;
    template <class T>
    static T apply(Processor& p, T left, T right) {
        Flags scratch;
        const T result = add_with_carry(scratch, left, right, p.flags.cf());
        p.flags.set_cf(scratch.cf());
        return result;
    }
};

struct AddWithOverflowOnly {
    static constexpr bool stores = true;
    template <class T>
    static T apply(Processor& p, T left, T right) {
        Flags scratch;
        const T result = add_with_carry(scratch, left, right, p.flags.of());
        p.flags.set_of(scratch.cf());
        return result;
    }
};

template <class Operation>
Execute select_carry_chain(const Shape& shape) {
    return with_large_width(shape.width, [&]<class T>() -> Execute {
        if (shape.form == form("rr")) return Binary<Operation, T>::rr;
        if (shape.form == form("rm")) return Binary<Operation, T>::rm;
        return nullptr;
    });
}

// --- XADD, CMPXCHG
// -----------------------------------------------------------------------------------------------

template <std::unsigned_integral T>
struct ExchangeAdd {
    static void rr(Processor& p, const Instruction& i) {
        const T left = p.get<T>(i.registers[0]), right = p.get<T>(i.registers[1]);
        const T sum = Add::apply<T>(p, left, right);
        // The sum wins where both operands are the same register.
        p.set<T>(i.registers[1], left);
        p.set<T>(i.registers[0], sum);
    }
    static void mr(Processor& p, const Instruction& i) {
        const T left = p.begin_modify<T>(i);
        p.end_modify<T>(Add::apply<T>(p, left, p.get<T>(i.registers[1])));
        p.set<T>(i.registers[1], left);
    }
};

Execute select_exchange_add(const Shape& shape) {
    return with_width(shape.width, [&]<class T>() -> Execute {
        if (shape.form == form("rr")) return ExchangeAdd<T>::rr;
        if (shape.form == form("mr")) return ExchangeAdd<T>::mr;
        return nullptr;
    });
}

template <std::unsigned_integral T>
struct CompareExchange {
    static void rr(Processor& p, const Instruction& i) {
        const T accumulator = p.get<T>(rax), destination = p.get<T>(i.registers[0]);
        const T source = p.get<T>(i.registers[1]);
        subtract(p.flags, accumulator, destination);
        // Only one of the two is written: where the other is a 32-bit register, it keeps its upper half.
        if (accumulator == destination) {
            p.set<T>(i.registers[0], source);
        } else {
            p.set<T>(rax, destination);
        }
    }
    // The memory operand is written in any case, so the access must be allowed to write.
    static void mr(Processor& p, const Instruction& i) {
        const T destination = p.begin_modify<T>(i);
        const T accumulator = p.get<T>(rax);
        const bool equal = accumulator == destination;
        p.end_modify<T>(equal ? p.get<T>(i.registers[1]) : destination);
        subtract(p.flags, accumulator, destination);
        if (!equal) p.set<T>(rax, destination);
    }
};

Execute select_compare_exchange(const Shape& shape) {
    return with_width(shape.width, [&]<class T>() -> Execute {
        if (shape.form == form("rr")) return CompareExchange<T>::rr;
        if (shape.form == form("mr")) return CompareExchange<T>::mr;
        return nullptr;
    });
}

void compare_exchange_8_bytes(Processor& p, const Instruction& i) {
    const std::uint64_t destination = p.begin_modify<std::uint64_t>(i);
    const auto pair = [&](GeneralRegister high, GeneralRegister low) {
        return std::uint64_t{p.get<std::uint32_t>(high)} << 32 | p.get<std::uint32_t>(low);
    };
    const bool equal = pair(rdx, rax) == destination;
    p.end_modify<std::uint64_t>(equal ? pair(rcx, rbx) : destination);
    p.flags.set_zf(equal);
    if (!equal) {
        p.set<std::uint32_t>(rax, static_cast<std::uint32_t>(destination));
        p.set<std::uint32_t>(rdx, static_cast<std::uint32_t>(destination >> 32));
    }
}

void compare_exchange_16_bytes(Processor& p, const Instruction& i) {
    const std::uint64_t offset = p.effective_address(i);
    p.require_aligned(i.segment, offset, 16, mmu::Access::write);
    p.probe_write(i.segment, offset, 16);
    std::array<std::uint64_t, 2> destination;
    p.load_bytes(i.segment, offset, destination.data(), 16);
    const std::array old{p.get<std::uint64_t>(rax), p.get<std::uint64_t>(rdx)};
    const std::array replacement{p.get<std::uint64_t>(rbx), p.get<std::uint64_t>(rcx)};
    const bool equal = destination == old;
    p.store_bytes(i.segment, offset, equal ? replacement.data() : destination.data(), 16);
    p.flags.set_zf(equal);
    if (!equal) {
        p.set<std::uint64_t>(rax, destination[0]);
        p.set<std::uint64_t>(rdx, destination[1]);
    }
}

}  // namespace

std::span<const Row> arithmetic_rows() {
    using enum CostClass;
    static const std::array rows = {
        Row{ZYDIS_MNEMONIC_ADD, select_binary<Add>, simple},
        Row{ZYDIS_MNEMONIC_OR, select_binary<Or>, simple},
        Row{ZYDIS_MNEMONIC_ADC, select_binary<AddWithCarry>, simple},
        Row{ZYDIS_MNEMONIC_SBB, select_binary<SubtractWithBorrow>, simple},
        Row{ZYDIS_MNEMONIC_AND, select_binary<And>, simple},
        Row{ZYDIS_MNEMONIC_SUB, select_binary<Subtract>, simple},
        Row{ZYDIS_MNEMONIC_XOR, select_binary<ExclusiveOr>, simple},
        Row{ZYDIS_MNEMONIC_CMP, select_binary<Compare>, simple},
        Row{ZYDIS_MNEMONIC_TEST, select_binary<Test>, simple},
        Row{ZYDIS_MNEMONIC_INC, select_unary<Increment>, simple},
        Row{ZYDIS_MNEMONIC_DEC, select_unary<Decrement>, simple},
        Row{ZYDIS_MNEMONIC_NEG, select_unary<Negate>, simple},
        Row{ZYDIS_MNEMONIC_NOT, select_unary<Not>, simple},
        Row{ZYDIS_MNEMONIC_ADCX, select_carry_chain<AddWithCarryOnly>, simple, 0, Feature::adx},
        Row{ZYDIS_MNEMONIC_ADOX, select_carry_chain<AddWithOverflowOnly>, simple, 0, Feature::adx},
        Row{ZYDIS_MNEMONIC_XADD, select_exchange_add, simple},
        Row{ZYDIS_MNEMONIC_CMPXCHG, select_compare_exchange, simple},
        Row{ZYDIS_MNEMONIC_CMPXCHG8B, always<compare_exchange_8_bytes>, simple, 0, Feature::cx8},
        Row{ZYDIS_MNEMONIC_CMPXCHG16B, always<compare_exchange_16_bytes>, simple, 0, Feature::cx16},
    };
    return rows;
}

}  // namespace xenolith::cpu
