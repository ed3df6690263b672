// Jumps, calls, returns, loops, software interrupts (SDM vol. 2: Jcc, JMP, CALL, RET, LOOP, INT n, IRET,
// BOUND, UD).
//
// A near branch checks its target before anything else changes: a CALL whose target is bad pushes nothing,
// and a LOOP whose target is bad has not counted. RIP itself may be written early, since undoing an
// instruction restores it.
#include <array>

#include "cpu/exceptions/delivery.hpp"
#include "cpu/exceptions/far_transfer.hpp"
#include "cpu/exceptions/interrupt_return.hpp"
#include "cpu/isa/forms.hpp"
#include "cpu/isa/row.hpp"
#include "cpu/processor.hpp"

namespace xenolith::cpu {

namespace {

// T is as wide as the operand size: with 16 bits, IP is truncated whatever the code segment's size.
template <std::unsigned_integral T>
T relative_target(const Processor& p, const Instruction& i) {
    return static_cast<T>(p.next_rip(i) + i.immediate);
}

void take(Processor& p, std::uint64_t target) {
    p.jump(target);
    p.charge(p.timing.branch_taken);
}

// The operand size of a branch is not that of its operand: a short displacement has 8 bits.
template <class Choose>
Execute with_operand_size(const Shape& shape, const Choose& choose) {
    return with_wide_width(shape.operand_width, choose);
}

// --- Jcc, JCXZ, LOOP
// -----------------------------------------------------------------------------------------------

template <unsigned Code, std::unsigned_integral T>
void jump_if(Processor& p, const Instruction& i) {
    if (p.flags.condition<Code>())
        take(p, relative_target<T>(p, i));
    else
        p.fall_through(i);
}

template <unsigned Code>
Execute select_jump_if(const Shape& shape) {
    return with_operand_size(shape, []<class T>() -> Execute { return jump_if<Code, T>; });
}

template <std::unsigned_integral Counter, std::unsigned_integral T>
void jump_if_counter_zero(Processor& p, const Instruction& i) {
    if (p.get<Counter>(rcx) == 0)
        take(p, relative_target<T>(p, i));
    else
        p.fall_through(i);
}

template <std::unsigned_integral Counter>
Execute select_jump_if_counter_zero(const Shape& shape) {
    return with_operand_size(shape, []<class T>() -> Execute { return jump_if_counter_zero<Counter, T>; });
}

enum class Until { zero, equal, not_equal };  // LOOP, LOOPNE, LOOPE

template <Until Condition, std::unsigned_integral Counter, std::unsigned_integral T>
void loop(Processor& p, const Instruction& i) {
    const auto count = static_cast<Counter>(p.get<Counter>(rcx) - 1);
    bool again = count != 0;
    if constexpr (Condition == Until::equal) again = again && !p.flags.zf();
    if constexpr (Condition == Until::not_equal) again = again && p.flags.zf();
    if (again)
        take(p, relative_target<T>(p, i));
    else
        p.fall_through(i);
    p.set<Counter>(rcx, count);
}

// The counter is as wide as an address.
template <Until Condition>
Execute select_loop(const Shape& shape) {
    return with_operand_size(shape, [&]<class T>() -> Execute {
        switch (shape.address_size) {
            case AddressSize::bits16: return loop<Condition, std::uint16_t, T>;
            case AddressSize::bits32: return loop<Condition, std::uint32_t, T>;
            case AddressSize::bits64: return loop<Condition, std::uint64_t, T>;
        }
        return nullptr;
    });
}

// --- JMP, CALL, RET: near
// -------------------------------------------------------------------------------------------

template <std::unsigned_integral T>
struct Near {
    static void jump_relative(Processor& p, const Instruction& i) { take(p, relative_target<T>(p, i)); }
    static void jump_register(Processor& p, const Instruction& i) { take(p, p.get<T>(i.registers[0])); }
    static void jump_memory(Processor& p, const Instruction& i) { take(p, p.load<T>(i)); }

    static void call(Processor& p, T target) {
        const auto behind = static_cast<T>(p.next_rip());
        take(p, target);
        p.push<T>(behind);
    }
    static void call_relative(Processor& p, const Instruction& i) { call(p, relative_target<T>(p, i)); }
    static void call_register(Processor& p, const Instruction& i) { call(p, p.get<T>(i.registers[0])); }
    static void call_memory(Processor& p, const Instruction& i) { call(p, p.load<T>(i)); }

    static void return_releasing(Processor& p, const Instruction& i) {
        take(p, p.peek<T>(0));
        p.set_stack_pointer(p.stack_pointer() + sizeof(T) + i.immediate);
    }
};

Execute select_near_jump(const Shape& shape) {
    return with_operand_size(shape, [&]<class T>() -> Execute {
        switch (shape.form) {
            case form("i"): return Near<T>::jump_relative;
            case form("r"): return Near<T>::jump_register;
            case form("m"): return Near<T>::jump_memory;
            default: return nullptr;
        }
    });
}

Execute select_near_call(const Shape& shape) {
    return with_operand_size(shape, [&]<class T>() -> Execute {
        switch (shape.form) {
            case form("i"): return Near<T>::call_relative;
            case form("r"): return Near<T>::call_register;
            case form("m"): return Near<T>::call_memory;
            default: return nullptr;
        }
    });
}

Execute select_near_return(const Shape& shape) {
    return with_operand_size(shape, []<class T>() -> Execute { return Near<T>::return_releasing; });
}

// --- JMP, CALL, RET: far
// ---------------------------------------------------------------------------------------------

using FarTransfer = void (*)(Processor&, std::uint16_t selector, std::uint64_t offset, unsigned width);

template <FarTransfer Transfer>
void far_direct(Processor& p, const Instruction& i) {
    Transfer(p, static_cast<std::uint16_t>(i.immediate >> 32), i.immediate & 0xffffffff, i.stack_width);
}

template <FarTransfer Transfer>
void far_memory(Processor& p, const Instruction& i) {
    // AMD's processors have no m16:64: REX.W does nothing (APM vol. 3, JMP far).
    const unsigned width = i.stack_width == 8 && p.model.vendor() == Vendor::amd ? 4u : i.stack_width;
    const std::uint64_t at = p.effective_address(i);
    const std::uint64_t offset = width == 8   ? p.load<std::uint64_t>(i.segment, at)
                                 : width == 4 ? p.load<std::uint32_t>(i.segment, at)
                                              : p.load<std::uint16_t>(i.segment, at);
    const auto selector = p.load<std::uint16_t>(i.segment, (at + width) & Processor::address_mask(i.address_size));
    Transfer(p, selector, offset, width);
}

template <FarTransfer Transfer>
Execute select_far(const Shape& shape) {
    if (shape.form == form("i")) return far_direct<Transfer>;
    if (shape.form == form("m")) return far_memory<Transfer>;
    return nullptr;
}

void return_far(Processor& p, const Instruction& i) {
    far_return(p, i.stack_width, static_cast<unsigned>(i.immediate));
}

// JMP, CALL and RET are near or far by their encoding.
template <FarTransfer Transfer, ZydisMnemonic Mnemonic>
const Row* near_or_far(const Row& self, const Shape& shape) {
    static const Row far{Mnemonic, select_far<Transfer>, CostClass::far_transfer, row_flag::transfers_control};
    return shape.instruction.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR ? &far : &self;
}

const Row* near_or_far_return(const Row& self, const Shape& shape) {
    static const Row far{ZYDIS_MNEMONIC_RET, always<return_far>, CostClass::far_transfer, row_flag::transfers_control};
    return shape.instruction.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR ? &far : &self;
}

// --- Software interrupts
// ----------------------------------------------------------------------------------------------

// The address behind the instruction is what the handler returns to.
void interrupt(Processor& p, std::uint8_t vector, Event::Kind kind) {
    p.state.rip = p.code64() ? p.next_rip() : p.next_rip() & 0xffffffff;
    deliver(p, {.vector = vector, .kind = kind});
    // The trap flag is clear by now: the handler's first instruction is not stepped over (SDM vol. 3B, 17.3.1.4).
    p.settle_single_step(false);
}

void interrupt_n(Processor& p, const Instruction& i) {
    interrupt(p, static_cast<std::uint8_t>(i.immediate), Event::Kind::software_int);
}
void interrupt3(Processor& p, const Instruction&) {
    interrupt(p, static_cast<std::uint8_t>(Vector::breakpoint), Event::Kind::int3_or_into);
}
void interrupt1(Processor& p, const Instruction&) {
    interrupt(p, static_cast<std::uint8_t>(Vector::debug), Event::Kind::icebp);
}
void interrupt_on_overflow(Processor& p, const Instruction& i) {
    if (p.flags.of())
        interrupt(p, static_cast<std::uint8_t>(Vector::overflow), Event::Kind::int3_or_into);
    else
        p.fall_through(i);
}

void return_from_interrupt(Processor& p, const Instruction& i) { interrupt_return(p, i.stack_width); }

// SDM vol. 2A, BOUND: the bounds are signed and belong to the range. To Intel's CPUs an index below the lower one is
// enough: then they do not read the upper.
template <std::unsigned_integral T>
void bound(Processor& p, const Instruction& i) {
    using Signed = std::make_signed_t<T>;
    const std::uint64_t at = p.effective_address(i);
    const auto index = static_cast<Signed>(p.get<T>(i.registers[0]));
    const auto lower = static_cast<Signed>(p.load<T>(i.segment, at));
    if (index < lower && p.model.vendor() == Vendor::intel) p.raise(Vector::bound_range);
    const auto upper =
        static_cast<Signed>(p.load<T>(i.segment, (at + sizeof(T)) & Processor::address_mask(i.address_size)));
    if (index < lower || index > upper) p.raise(Vector::bound_range);
}

Execute select_bound(const Shape& shape) {
    if (shape.operand_width == 2) return bound<std::uint16_t>;
    return shape.operand_width == 4 ? bound<std::uint32_t> : nullptr;
}

void undefined(Processor& p, const Instruction&) { p.raise(Vector::invalid_opcode); }

}  // namespace

std::span<const Row> branch_rows() {
    using enum CostClass;
    constexpr std::uint16_t transfers = row_flag::transfers_control;
    static constexpr std::array rows = {
        Row{ZYDIS_MNEMONIC_JO, select_jump_if<0>, branch, transfers},
        Row{ZYDIS_MNEMONIC_JNO, select_jump_if<1>, branch, transfers},
        Row{ZYDIS_MNEMONIC_JB, select_jump_if<2>, branch, transfers},
        Row{ZYDIS_MNEMONIC_JNB, select_jump_if<3>, branch, transfers},
        Row{ZYDIS_MNEMONIC_JZ, select_jump_if<4>, branch, transfers},
        Row{ZYDIS_MNEMONIC_JNZ, select_jump_if<5>, branch, transfers},
        Row{ZYDIS_MNEMONIC_JBE, select_jump_if<6>, branch, transfers},
        Row{ZYDIS_MNEMONIC_JNBE, select_jump_if<7>, branch, transfers},
        Row{ZYDIS_MNEMONIC_JS, select_jump_if<8>, branch, transfers},
        Row{ZYDIS_MNEMONIC_JNS, select_jump_if<9>, branch, transfers},
        Row{ZYDIS_MNEMONIC_JP, select_jump_if<10>, branch, transfers},
        Row{ZYDIS_MNEMONIC_JNP, select_jump_if<11>, branch, transfers},
        Row{ZYDIS_MNEMONIC_JL, select_jump_if<12>, branch, transfers},
        Row{ZYDIS_MNEMONIC_JNL, select_jump_if<13>, branch, transfers},
        Row{ZYDIS_MNEMONIC_JLE, select_jump_if<14>, branch, transfers},
        Row{ZYDIS_MNEMONIC_JNLE, select_jump_if<15>, branch, transfers},
        Row{ZYDIS_MNEMONIC_JCXZ, select_jump_if_counter_zero<std::uint16_t>, branch, transfers},
        Row{ZYDIS_MNEMONIC_JECXZ, select_jump_if_counter_zero<std::uint32_t>, branch, transfers},
        Row{ZYDIS_MNEMONIC_JRCXZ, select_jump_if_counter_zero<std::uint64_t>, branch, transfers},
        Row{ZYDIS_MNEMONIC_LOOP, select_loop<Until::zero>, branch, transfers},
        Row{ZYDIS_MNEMONIC_LOOPE, select_loop<Until::not_equal>, branch, transfers},
        Row{ZYDIS_MNEMONIC_LOOPNE, select_loop<Until::equal>, branch, transfers},
        Row{ZYDIS_MNEMONIC_JMP, select_near_jump, branch, transfers, Feature::base, JitTreatment::call,
            near_or_far<far_jump, ZYDIS_MNEMONIC_JMP>},
        Row{ZYDIS_MNEMONIC_CALL, select_near_call, call_return, transfers, Feature::base, JitTreatment::call,
            near_or_far<far_call, ZYDIS_MNEMONIC_CALL>},
        Row{ZYDIS_MNEMONIC_RET, select_near_return, call_return, transfers, Feature::base, JitTreatment::call,
            near_or_far_return},
        // Delivery charges what entering a handler costs.
        Row{ZYDIS_MNEMONIC_INT, always<interrupt_n>, branch, transfers},
        Row{ZYDIS_MNEMONIC_INT3, always<interrupt3>, branch, transfers},
        Row{ZYDIS_MNEMONIC_INT1, always<interrupt1>, branch, transfers},
        Row{ZYDIS_MNEMONIC_INTO, always<interrupt_on_overflow>, branch, transfers},
        Row{ZYDIS_MNEMONIC_IRET, always<return_from_interrupt>, CostClass::interrupt, transfers},
        Row{ZYDIS_MNEMONIC_IRETD, always<return_from_interrupt>, CostClass::interrupt, transfers},
        Row{ZYDIS_MNEMONIC_IRETQ, always<return_from_interrupt>, CostClass::interrupt, transfers},
        Row{ZYDIS_MNEMONIC_BOUND, select_bound, simple},
        Row{ZYDIS_MNEMONIC_UD0, always<undefined>, simple, transfers},
        Row{ZYDIS_MNEMONIC_UD1, always<undefined>, simple, transfers},
        Row{ZYDIS_MNEMONIC_UD2, always<undefined>, simple, transfers},
    };
    return rows;
}

}  // namespace xenolith::cpu
