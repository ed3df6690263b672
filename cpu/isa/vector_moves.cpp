// Moves between XMM or MMX registers, memory and general registers, and the bitwise operations (SDM vol. 2).
// The upper halves of YMM registers stay as they are, as they do for every instruction without a VEX prefix.
#include <array>

#include "cpu/isa/floating_point.hpp"
#include "cpu/isa/forms.hpp"
#include "cpu/isa/row.hpp"
#include "cpu/processor.hpp"

namespace xenolith::cpu {

namespace {

struct Wide {
    std::uint64_t low = 0, high = 0;
};

Wide get_xmm(const Processor& p, std::uint8_t number) {
    const auto& vector = p.state.floating_point.vector[number];
    return {vector[0], vector[1]};
}
void set_xmm(Processor& p, std::uint8_t number, Wide value) {
    auto& vector = p.state.floating_point.vector[number];
    vector[0] = value.low;
    vector[1] = value.high;
}

enum class Alignment { any, natural };

void check_alignment(Processor& p, std::uint64_t linear) {
    if ((linear & 15) != 0) p.raise(Vector::general_protection, 0);
}

bool in_one_page(std::uint64_t linear) { return (linear & mmu::page_mask) <= mmu::page_size - 16; }

template <Alignment Needed>
Wide load_wide(Processor& p, const Instruction& i) {
    const std::uint64_t at = p.effective_address(i);
    const std::uint64_t linear = p.linear_for_read(i.segment, at, 16);
    if constexpr (Needed == Alignment::natural) check_alignment(p, linear);
    if (in_one_page(linear)) {
        const auto low = p.load_linear<std::uint64_t>(linear, i.segment);
        return {low, p.load_linear<std::uint64_t>(linear + 8, i.segment)};
    }
    Wide value;
    p.load_bytes(i.segment, at, &value, 16);
    return value;
}

template <Alignment Needed>
void store_wide(Processor& p, const Instruction& i, Wide value) {
    const std::uint64_t at = p.effective_address(i);
    const std::uint64_t linear = p.linear_for_write(i.segment, at, 16);
    if constexpr (Needed == Alignment::natural) check_alignment(p, linear);
    if (in_one_page(linear)) {
        p.store_linear<std::uint64_t>(linear, value.low, i.segment);
        p.store_linear<std::uint64_t>(linear + 8, value.high, i.segment);
    } else {
        p.store_bytes(i.segment, at, &value, 16);
    }
}

// --- Whole XMM registers
// ----------------------------------------------------------------------------------------------

template <Alignment Needed>
struct Move {
    static void rr(Processor& p, const Instruction& i) {
        require_sse(p);
        set_xmm(p, i.registers[0], get_xmm(p, i.registers[1]));
    }
    static void rm(Processor& p, const Instruction& i) {
        require_sse(p);
        set_xmm(p, i.registers[0], load_wide<Needed>(p, i));
    }
    static void mr(Processor& p, const Instruction& i) {
        require_sse(p);
        store_wide<Needed>(p, i, get_xmm(p, i.registers[1]));
    }
};

template <Alignment Needed>
Execute select_move(const Shape& shape) {
    switch (shape.form) {
        case form("rr"):
            return Move<Needed>::rr;
        case form("rm"):
            return Move<Needed>::rm;
        case form("mr"):
            return Move<Needed>::mr;
        default:
            return nullptr;
    }
}

// --- MMX registers are the significands of the x87 registers (SDM vol. 1, 9.2.1)
// -------------------------------------------

bool is_mmx(const ZydisDecodedOperand& operand) {
    return operand.type == ZYDIS_OPERAND_TYPE_REGISTER &&
           ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_MMX;
}
bool is_xmm(const ZydisDecodedOperand& operand) {
    return operand.type == ZYDIS_OPERAND_TYPE_REGISTER &&
           ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_XMM;
}

// Any MMX instruction but EMMS makes all registers valid and puts the top at 0 (SDM vol. 1, 9.5.1).
std::uint64_t& mmx_register(Processor& p, std::uint8_t number) {
    return p.state.floating_point.registers[number].significand;
}
void enter_mmx(Processor& p) {
    FloatingPointState& fp = p.state.floating_point;
    fp.status &= static_cast<std::uint16_t>(~(7 << 11));
    fp.tag = 0;
}
void set_mmx(Processor& p, std::uint8_t number, std::uint64_t value) {
    enter_mmx(p);
    mmx_register(p, number) = value;
    p.state.floating_point.registers[number].sign_exponent = 0xffff;
}

// --- MOVD and MOVQ: T is the width moved, the rest of the destination is cleared
// -------------------------------------------

template <std::unsigned_integral T>
struct Scalar {
    static void xmm_from_register(Processor& p, const Instruction& i) {
        require_sse(p);
        set_xmm(p, i.registers[0], {p.get<T>(i.registers[1]), 0});
    }
    static void xmm_from_memory(Processor& p, const Instruction& i) {
        require_sse(p);
        set_xmm(p, i.registers[0], {p.load<T>(i), 0});
    }
    static void register_from_xmm(Processor& p, const Instruction& i) {
        require_sse(p);
        p.set<T>(i.registers[0], static_cast<T>(get_xmm(p, i.registers[1]).low));
    }
    static void memory_from_xmm(Processor& p, const Instruction& i) {
        require_sse(p);
        p.store<T>(i, static_cast<T>(get_xmm(p, i.registers[1]).low));
    }
    static void mmx_from_register(Processor& p, const Instruction& i) {
        require_mmx(p);
        set_mmx(p, i.registers[0], p.get<T>(i.registers[1]));
    }
    static void mmx_from_memory(Processor& p, const Instruction& i) {
        require_mmx(p);
        set_mmx(p, i.registers[0], p.load<T>(i));
    }
    static void register_from_mmx(Processor& p, const Instruction& i) {
        require_mmx(p);
        enter_mmx(p);
        p.set<T>(i.registers[0], static_cast<T>(mmx_register(p, i.registers[1])));
    }
    static void memory_from_mmx(Processor& p, const Instruction& i) {
        require_mmx(p);
        p.store<T>(i, static_cast<T>(mmx_register(p, i.registers[1])));
        enter_mmx(p);
    }
};

void xmm_from_xmm(Processor& p, const Instruction& i) {
    require_sse(p);
    set_xmm(p, i.registers[0], {get_xmm(p, i.registers[1]).low, 0});
}
void mmx_from_mmx(Processor& p, const Instruction& i) {
    require_mmx(p);
    set_mmx(p, i.registers[0], mmx_register(p, i.registers[1]));
}

template <std::unsigned_integral T>
Execute select_scalar(const Shape& shape) {
    const ZydisDecodedOperand &first = shape.operands[0], &second = shape.operands[1];
    if (is_xmm(first) && is_xmm(second)) return xmm_from_xmm;
    if (is_mmx(first) && is_mmx(second)) return mmx_from_mmx;
    if (is_xmm(first))
        return shape.form == form("rm") ? Scalar<T>::xmm_from_memory : Scalar<T>::xmm_from_register;
    if (is_xmm(second))
        return shape.form == form("mr") ? Scalar<T>::memory_from_xmm : Scalar<T>::register_from_xmm;
    if (is_mmx(first))
        return shape.form == form("rm") ? Scalar<T>::mmx_from_memory : Scalar<T>::mmx_from_register;
    if (is_mmx(second))
        return shape.form == form("mr") ? Scalar<T>::memory_from_mmx : Scalar<T>::register_from_mmx;
    return nullptr;
}

// --- One half of an XMM register and memory: MOVLPS, MOVHPS
// ------------------------------------------------------------------

template <std::uint64_t Wide::*Half>
struct HalfMove {
    static void rm(Processor& p, const Instruction& i) {
        require_sse(p);
        Wide value = get_xmm(p, i.registers[0]);
        value.*Half = p.load<std::uint64_t>(i);
        set_xmm(p, i.registers[0], value);
    }
    static void mr(Processor& p, const Instruction& i) {
        require_sse(p);
        p.store<std::uint64_t>(i, get_xmm(p, i.registers[1]).*Half);
    }
};

template <std::uint64_t Wide::*Half>
Execute select_half(const Shape& shape) {
    return shape.form == form("rm")   ? HalfMove<Half>::rm
           : shape.form == form("mr") ? HalfMove<Half>::mr
                                      : nullptr;
}

void move_high_to_low(Processor& p, const Instruction& i) {
    require_sse(p);
    set_xmm(p, i.registers[0], {get_xmm(p, i.registers[1]).high, get_xmm(p, i.registers[0]).high});
}
void move_low_to_high(Processor& p, const Instruction& i) {
    require_sse(p);
    set_xmm(p, i.registers[0], {get_xmm(p, i.registers[0]).low, get_xmm(p, i.registers[1]).low});
}

// --- MOVNTI: a general register to memory past the cache, which is not modelled
// ---------------------------------------------

template <std::unsigned_integral T>
void store_general(Processor& p, const Instruction& i) {
    p.store<T>(i, p.get<T>(i.registers[1]));
}
Execute select_store_general(const Shape& shape) {
    return with_large_width(shape.width, []<class T>() -> Execute { return store_general<T>; });
}

// --- Bitwise operations
// ---------------------------------------------------------------------------------------------------

struct And {
    static std::uint64_t apply(std::uint64_t left, std::uint64_t right) { return left & right; }
};
struct AndNot {
    static std::uint64_t apply(std::uint64_t left, std::uint64_t right) { return ~left & right; }
};
struct Or {
    static std::uint64_t apply(std::uint64_t left, std::uint64_t right) { return left | right; }
};
struct Xor {
    static std::uint64_t apply(std::uint64_t left, std::uint64_t right) { return left ^ right; }
};

template <class Operation>
struct Bitwise {
    static void to_xmm(Processor& p, const Instruction& i, Wide right) {
        const Wide left = get_xmm(p, i.registers[0]);
        set_xmm(p, i.registers[0],
                {Operation::apply(left.low, right.low), Operation::apply(left.high, right.high)});
    }
    static void rr(Processor& p, const Instruction& i) {
        require_sse(p);
        to_xmm(p, i, get_xmm(p, i.registers[1]));
    }
    static void rm(Processor& p, const Instruction& i) {
        require_sse(p);
        to_xmm(p, i, load_wide<Alignment::natural>(p, i));
    }
    static void mmx_rr(Processor& p, const Instruction& i) {
        require_mmx(p);
        set_mmx(p, i.registers[0],
                Operation::apply(mmx_register(p, i.registers[0]), mmx_register(p, i.registers[1])));
    }
    static void mmx_rm(Processor& p, const Instruction& i) {
        require_mmx(p);
        const auto right = p.load<std::uint64_t>(i);
        set_mmx(p, i.registers[0], Operation::apply(mmx_register(p, i.registers[0]), right));
    }
};

template <class Operation>
Execute select_bitwise(const Shape& shape) {
    const bool mmx = is_mmx(shape.operands[0]);
    if (shape.form == form("rr")) return mmx ? Bitwise<Operation>::mmx_rr : Bitwise<Operation>::rr;
    if (shape.form == form("rm")) return mmx ? Bitwise<Operation>::mmx_rm : Bitwise<Operation>::rm;
    return nullptr;
}

}  // namespace

std::span<const Row> vector_move_rows() {
    using CostClass::vector;
    constexpr Alignment any = Alignment::any, natural = Alignment::natural;
    constexpr Feature sse = Feature::sse, sse2 = Feature::sse2;
    static constexpr std::array rows = {
        Row{ZYDIS_MNEMONIC_MOVAPS, select_move<natural>, vector, 0, sse},
        Row{ZYDIS_MNEMONIC_MOVAPD, select_move<natural>, vector, 0, sse2},
        Row{ZYDIS_MNEMONIC_MOVDQA, select_move<natural>, vector, 0, sse2},
        Row{ZYDIS_MNEMONIC_MOVUPS, select_move<any>, vector, 0, sse},
        Row{ZYDIS_MNEMONIC_MOVUPD, select_move<any>, vector, 0, sse2},
        Row{ZYDIS_MNEMONIC_MOVDQU, select_move<any>, vector, 0, sse2},
        Row{ZYDIS_MNEMONIC_MOVNTPS, select_move<natural>, vector, 0, sse},
        Row{ZYDIS_MNEMONIC_MOVNTPD, select_move<natural>, vector, 0, sse2},
        Row{ZYDIS_MNEMONIC_MOVNTDQ, select_move<natural>, vector, 0, sse2},
        Row{ZYDIS_MNEMONIC_MOVNTI, select_store_general, vector, 0, sse2},
        Row{ZYDIS_MNEMONIC_MOVD, select_scalar<std::uint32_t>, vector, 0, Feature::mmx},
        Row{ZYDIS_MNEMONIC_MOVQ, select_scalar<std::uint64_t>, vector, 0, Feature::mmx},
        Row{ZYDIS_MNEMONIC_MOVLPS, select_half<&Wide::low>, vector, 0, sse},
        Row{ZYDIS_MNEMONIC_MOVLPD, select_half<&Wide::low>, vector, 0, sse2},
        Row{ZYDIS_MNEMONIC_MOVHPS, select_half<&Wide::high>, vector, 0, sse},
        Row{ZYDIS_MNEMONIC_MOVHPD, select_half<&Wide::high>, vector, 0, sse2},
        Row{ZYDIS_MNEMONIC_MOVHLPS, always<move_high_to_low>, vector, 0, sse},
        Row{ZYDIS_MNEMONIC_MOVLHPS, always<move_low_to_high>, vector, 0, sse},
        Row{ZYDIS_MNEMONIC_ANDPS, select_bitwise<And>, vector, 0, sse},
        Row{ZYDIS_MNEMONIC_ANDPD, select_bitwise<And>, vector, 0, sse2},
        Row{ZYDIS_MNEMONIC_PAND, select_bitwise<And>, vector, 0, Feature::mmx},
        Row{ZYDIS_MNEMONIC_ANDNPS, select_bitwise<AndNot>, vector, 0, sse},
        Row{ZYDIS_MNEMONIC_ANDNPD, select_bitwise<AndNot>, vector, 0, sse2},
        Row{ZYDIS_MNEMONIC_PANDN, select_bitwise<AndNot>, vector, 0, Feature::mmx},
        Row{ZYDIS_MNEMONIC_ORPS, select_bitwise<Or>, vector, 0, sse},
        Row{ZYDIS_MNEMONIC_ORPD, select_bitwise<Or>, vector, 0, sse2},
        Row{ZYDIS_MNEMONIC_POR, select_bitwise<Or>, vector, 0, Feature::mmx},
        Row{ZYDIS_MNEMONIC_XORPS, select_bitwise<Xor>, vector, 0, sse},
        Row{ZYDIS_MNEMONIC_XORPD, select_bitwise<Xor>, vector, 0, sse2},
        Row{ZYDIS_MNEMONIC_PXOR, select_bitwise<Xor>, vector, 0, Feature::mmx},
    };
    return rows;
}

}  // namespace xenolith::cpu
