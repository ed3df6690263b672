// Moves, extensions, exchanges, conditional moves, byte swaps, flag bits, hints (SDM vol. 2; APM vol. 3).
#include <array>

#include "cpu/isa/forms.hpp"
#include "cpu/isa/row.hpp"
#include "cpu/isa/special_moves.hpp"

namespace xenolith::cpu {

namespace {

// --- MOV
// ---------------------------------------------------------------------------------------------------------

template <std::unsigned_integral T>
struct Move {
    static void rr(Processor& p, const Instruction& i) { p.set<T>(i.registers[0], p.get<T>(i.registers[1])); }
    static void rm(Processor& p, const Instruction& i) { p.set<T>(i.registers[0], p.load<T>(i)); }
    static void mr(Processor& p, const Instruction& i) { p.store<T>(i, p.get<T>(i.registers[1])); }
    static void ri(Processor& p, const Instruction& i) { p.set<T>(i.registers[0], static_cast<T>(i.immediate)); }
    static void mi(Processor& p, const Instruction& i) { p.store<T>(i, static_cast<T>(i.immediate)); }
};

Execute select_move(const Shape& shape) {
    return with_width(shape.width, [&]<class T>() -> Execute {
        switch (shape.form) {
            case form("rr"): return Move<T>::rr;
            case form("rm"): return Move<T>::rm;
            case form("mr"): return Move<T>::mr;
            case form("ri"): return Move<T>::ri;
            case form("mi"): return Move<T>::mi;
            default: return nullptr;
        }
    });
}

bool operand_is(const Shape& shape, unsigned number, ZydisRegisterClass kind) {
    const ZydisDecodedOperand& operand = shape.operands[number];
    return operand.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(operand.reg.value) == kind;
}

// Moves of segment, control and debug registers cost more, and those that write one end their block.
const Row* move_variant(const Row& self, const Shape& shape) {
    using namespace row_flag;
    static const Row to_segment{ZYDIS_MNEMONIC_MOV, select_segment_move, CostClass::segment_load,
                                ends_block | delivery_point};
    static const Row from_segment{ZYDIS_MNEMONIC_MOV, select_segment_move, CostClass::simple};
    static const Row to_control{ZYDIS_MNEMONIC_MOV, select_control_move, CostClass::system,
                                ends_block | delivery_point};
    static const Row from_control{ZYDIS_MNEMONIC_MOV, select_control_move, CostClass::system};
    if (operand_is(shape, 0, ZYDIS_REGCLASS_SEGMENT)) return &to_segment;
    if (operand_is(shape, 1, ZYDIS_REGCLASS_SEGMENT)) return &from_segment;
    for (const ZydisRegisterClass kind : {ZYDIS_REGCLASS_CONTROL, ZYDIS_REGCLASS_DEBUG, ZYDIS_REGCLASS_TEST}) {
        if (operand_is(shape, 0, kind)) return &to_control;
        if (operand_is(shape, 1, kind)) return &from_control;
    }
    return &self;
}

// --- MOVZX, MOVSX, MOVSXD
// ----------------------------------------------------------------------------------------

template <std::unsigned_integral To, std::unsigned_integral From, bool Signed>
struct Extension {
    static To extend(From value) {
        if constexpr (Signed) {
            return static_cast<To>(sign_extend(value));
        } else {
            return static_cast<To>(value);
        }
    }
    static void rr(Processor& p, const Instruction& i) {
        p.set<To>(i.registers[0], extend(p.get<From>(i.registers[1])));
    }
    static void rm(Processor& p, const Instruction& i) { p.set<To>(i.registers[0], extend(p.load<From>(i))); }
};

template <bool Signed>
Execute select_extension(const Shape& shape) {
    return with_wide_width(shape.width, [&]<class To>() {
        return with_width(shape.operands[1].size / 8u, [&]<class From>() -> Execute {
            if constexpr (sizeof(From) <= sizeof(To)) {
                if (shape.form == form("rr")) return Extension<To, From, Signed>::rr;
                if (shape.form == form("rm")) return Extension<To, From, Signed>::rm;
            }
            return nullptr;
        });
    });
}

// --- MOVBE, BSWAP
// ------------------------------------------------------------------------------------------------

template <std::unsigned_integral T>
T reverse_bytes(T value) {
    if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
    if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
    if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
}

template <std::unsigned_integral T>
struct MoveReversed {
    static void rm(Processor& p, const Instruction& i) { p.set<T>(i.registers[0], reverse_bytes(p.load<T>(i))); }
    static void mr(Processor& p, const Instruction& i) { p.store<T>(i, reverse_bytes(p.get<T>(i.registers[1]))); }
};

Execute select_move_reversed(const Shape& shape) {
    return with_wide_width(shape.width, [&]<class T>() -> Execute {
        if (shape.form == form("rm")) return MoveReversed<T>::rm;
        if (shape.form == form("mr")) return MoveReversed<T>::mr;
        return nullptr;
    });
}

struct ByteSwap {
    template <class T>
    static T apply(Processor&, T value) {
        // With a 16-bit operand the result is undefined; CPUs of both vendors give zero.
        if constexpr (sizeof(T) == 2)
            return 0;
        else
            return reverse_bytes(value);
    }
};

Execute select_byte_swap(const Shape& shape) {
    return with_wide_width(
        shape.width, [&]<class T>() -> Execute { return shape.form == form("r") ? Unary<ByteSwap, T>::r : nullptr; });
}

// --- LEA, XCHG, XLAT
// ---------------------------------------------------------------------------------------------

template <std::unsigned_integral T>
void load_effective_address(Processor& p, const Instruction& i) {
    p.set<T>(i.registers[0], static_cast<T>(p.effective_address(i)));
}

Execute select_load_effective_address(const Shape& shape) {
    if (shape.form != form("rm")) return nullptr;
    return with_wide_width(shape.width, []<class T>() -> Execute { return load_effective_address<T>; });
}

template <std::unsigned_integral T>
struct Exchange {
    static void rr(Processor& p, const Instruction& i) {
        const T left = p.get<T>(i.registers[0]), right = p.get<T>(i.registers[1]);
        p.set<T>(i.registers[0], right);
        p.set<T>(i.registers[1], left);
    }
    static void mr(Processor& p, const Instruction& i) {
        const T left = p.begin_modify<T>(i);
        p.end_modify<T>(p.get<T>(i.registers[1]));
        p.set<T>(i.registers[1], left);
    }
};

Execute select_exchange(const Shape& shape) {
    return with_width(shape.width, [&]<class T>() -> Execute {
        if (shape.form == form("rr")) return Exchange<T>::rr;
        if (shape.form == form("mr")) return Exchange<T>::mr;
        return nullptr;
    });
}

void translate_byte(Processor& p, const Instruction& i) {
    const std::uint64_t offset =
        (p.get<std::uint64_t>(rbx) + p.get<std::uint8_t>(rax)) & Processor::address_mask(i.address_size);
    p.set<std::uint8_t>(rax, p.load<std::uint8_t>(i.segment, offset));
}

// --- CMOVcc
// ------------------------------------------------------------------------------------------------------

// The destination is written in any case: a 32-bit move clears the upper half even if the condition is not
// met.
template <unsigned Code, std::unsigned_integral T>
struct ConditionalMove {
    static void rr(Processor& p, const Instruction& i) { move(p, i, p.get<T>(i.registers[1])); }
    static void rm(Processor& p, const Instruction& i) { move(p, i, p.load<T>(i)); }

  private:
    static void move(Processor& p, const Instruction& i, T value) {
        const T old = p.get<T>(i.registers[0]);
        p.set<T>(i.registers[0], p.flags.condition<Code>() ? value : old);
    }
};

template <unsigned Code>
Execute select_conditional_move(const Shape& shape) {
    return with_wide_width(shape.width, [&]<class T>() -> Execute {
        if (shape.form == form("rr")) return ConditionalMove<Code, T>::rr;
        if (shape.form == form("rm")) return ConditionalMove<Code, T>::rm;
        return nullptr;
    });
}

template <unsigned Code>
constexpr Row conditional_move(ZydisMnemonic mnemonic) {
    return {mnemonic, select_conditional_move<Code>, CostClass::simple, 0, Feature::cmov};
}

// --- Sign extension of the accumulator
// -----------------------------------------------------------------------------

// CBW, CWDE, CDQE.
template <class To, class From>
void widen_accumulator(Processor& p, const Instruction&) {
    p.set<To>(rax, static_cast<To>(sign_extend(p.get<From>(rax))));
}

// CWD, CDQ, CQO.
template <class T>
void spread_sign(Processor& p, const Instruction&) {
    p.set<T>(rdx, sign_bit(p.get<T>(rax)) ? static_cast<T>(~T{0}) : T{0});
}

// --- Single flags
// ------------------------------------------------------------------------------------------------

constexpr std::uint8_t ah = 1;  // byte offset in the register file
constexpr std::uint64_t low_flags = rflags::sf | rflags::zf | rflags::af | rflags::pf | rflags::cf;

void load_flags_to_ah(Processor& p, const Instruction&) {
    p.set<std::uint8_t>(ah, static_cast<std::uint8_t>((p.flags.bits() & low_flags) | rflags::fixed_one));
}

void store_ah_to_flags(Processor& p, const Instruction&) {
    p.flags.set_bits((p.flags.bits() & rflags::of) | (p.get<std::uint8_t>(ah) & low_flags));
}

void clear_carry(Processor& p, const Instruction&) { p.flags.set_cf(false); }
void set_carry(Processor& p, const Instruction&) { p.flags.set_cf(true); }
void complement_carry(Processor& p, const Instruction&) { p.flags.set_cf(!p.flags.cf()); }
void clear_direction(Processor& p, const Instruction&) { p.state.rflags &= ~rflags::df; }
void set_direction(Processor& p, const Instruction&) { p.state.rflags |= rflags::df; }

// SALC, which no manual of Intel's listed for long: AL becomes all copies of CF.
void set_al_from_carry(Processor& p, const Instruction&) { p.set<std::uint8_t>(rax, p.flags.cf() ? 0xff : 0); }

// --- Hints
// -------------------------------------------------------------------------------------------------------

// Memory accesses happen in program order here, no hint has an effect, and a hint's operand is never
// accessed.
void do_nothing(Processor&, const Instruction&) {}

// With REX.B the opcode of NOP is XCHG R8, rAX, and on AMD's CPUs stays that behind the prefix of PAUSE.
Execute select_pause(const Shape& shape) {
    if (shape.instruction.raw.rex.B == 0) return do_nothing;
    return with_wide_width(shape.operand_width, []<class T>() -> Execute {
        return [](Processor& p, const Instruction&) {
            if (p.model.vendor() != Vendor::amd) return;
            const T left = p.get<T>(r8), right = p.get<T>(rax);
            p.set<T>(r8, right);
            p.set<T>(rax, left);
        };
    });
}

constexpr Row hint(ZydisMnemonic mnemonic, CostClass cost, Feature feature = Feature::base) {
    return {mnemonic, always<do_nothing>, cost, 0, feature};
}

}  // namespace

std::span<const Row> data_rows() {
    using enum CostClass;
    static const std::array rows = {
        Row{ZYDIS_MNEMONIC_MOV, select_move, simple, 0, Feature::base, JitTreatment::call, move_variant},
        Row{ZYDIS_MNEMONIC_MOVZX, select_extension<false>, simple},
        Row{ZYDIS_MNEMONIC_MOVSX, select_extension<true>, simple},
        Row{ZYDIS_MNEMONIC_MOVSXD, select_extension<true>, simple},
        Row{ZYDIS_MNEMONIC_MOVBE, select_move_reversed, simple, 0, Feature::movbe},
        Row{ZYDIS_MNEMONIC_BSWAP, select_byte_swap, simple},
        Row{ZYDIS_MNEMONIC_LEA, select_load_effective_address, simple},
        Row{ZYDIS_MNEMONIC_XCHG, select_exchange, simple},
        Row{ZYDIS_MNEMONIC_XLAT, always<translate_byte>, simple},
        conditional_move<0x0>(ZYDIS_MNEMONIC_CMOVO),
        conditional_move<0x1>(ZYDIS_MNEMONIC_CMOVNO),
        conditional_move<0x2>(ZYDIS_MNEMONIC_CMOVB),
        conditional_move<0x3>(ZYDIS_MNEMONIC_CMOVNB),
        conditional_move<0x4>(ZYDIS_MNEMONIC_CMOVZ),
        conditional_move<0x5>(ZYDIS_MNEMONIC_CMOVNZ),
        conditional_move<0x6>(ZYDIS_MNEMONIC_CMOVBE),
        conditional_move<0x7>(ZYDIS_MNEMONIC_CMOVNBE),
        conditional_move<0x8>(ZYDIS_MNEMONIC_CMOVS),
        conditional_move<0x9>(ZYDIS_MNEMONIC_CMOVNS),
        conditional_move<0xa>(ZYDIS_MNEMONIC_CMOVP),
        conditional_move<0xb>(ZYDIS_MNEMONIC_CMOVNP),
        conditional_move<0xc>(ZYDIS_MNEMONIC_CMOVL),
        conditional_move<0xd>(ZYDIS_MNEMONIC_CMOVNL),
        conditional_move<0xe>(ZYDIS_MNEMONIC_CMOVLE),
        conditional_move<0xf>(ZYDIS_MNEMONIC_CMOVNLE),
        Row{ZYDIS_MNEMONIC_CBW, always<widen_accumulator<std::uint16_t, std::uint8_t>>, simple},
        Row{ZYDIS_MNEMONIC_CWDE, always<widen_accumulator<std::uint32_t, std::uint16_t>>, simple},
        Row{ZYDIS_MNEMONIC_CDQE, always<widen_accumulator<std::uint64_t, std::uint32_t>>, simple},
        Row{ZYDIS_MNEMONIC_CWD, always<spread_sign<std::uint16_t>>, simple},
        Row{ZYDIS_MNEMONIC_CDQ, always<spread_sign<std::uint32_t>>, simple},
        Row{ZYDIS_MNEMONIC_CQO, always<spread_sign<std::uint64_t>>, simple},
        Row{ZYDIS_MNEMONIC_LAHF, always<load_flags_to_ah>, simple},
        Row{ZYDIS_MNEMONIC_SAHF, always<store_ah_to_flags>, simple},
        Row{ZYDIS_MNEMONIC_CLC, always<clear_carry>, simple},
        Row{ZYDIS_MNEMONIC_STC, always<set_carry>, simple},
        Row{ZYDIS_MNEMONIC_CMC, always<complement_carry>, simple},
        Row{ZYDIS_MNEMONIC_CLD, always<clear_direction>, simple},
        Row{ZYDIS_MNEMONIC_STD, always<set_direction>, simple},
        Row{ZYDIS_MNEMONIC_SALC, always<set_al_from_carry>, simple},
        hint(ZYDIS_MNEMONIC_NOP, free),
        Row{ZYDIS_MNEMONIC_PAUSE, select_pause, free},
        hint(ZYDIS_MNEMONIC_PREFETCH, free),
        hint(ZYDIS_MNEMONIC_PREFETCHW, free),
        hint(ZYDIS_MNEMONIC_PREFETCHWT1, free),
        hint(ZYDIS_MNEMONIC_PREFETCHNTA, free),
        hint(ZYDIS_MNEMONIC_PREFETCHT0, free),
        hint(ZYDIS_MNEMONIC_PREFETCHT1, free),
        hint(ZYDIS_MNEMONIC_PREFETCHT2, free),
        hint(ZYDIS_MNEMONIC_LFENCE, simple, Feature::sse2),
        hint(ZYDIS_MNEMONIC_MFENCE, locked, Feature::sse2),
        hint(ZYDIS_MNEMONIC_SFENCE, simple, Feature::sse),
    };
    return rows;
}

}  // namespace xenolith::cpu
