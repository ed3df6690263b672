// PUSH, POP, frames, and flags by way of the stack (SDM vol. 2; vol. 1, 6.2 and 6.5).
#include <array>

#include "cpu/exceptions/segment_load.hpp"
#include "cpu/isa/forms.hpp"
#include "cpu/isa/row.hpp"

namespace xenolith::cpu {

namespace {

SegmentName segment_operand(ZydisRegister name) {
    switch (name) {
        case ZYDIS_REGISTER_ES: return SegmentName::es;
        case ZYDIS_REGISTER_CS: return SegmentName::cs;
        case ZYDIS_REGISTER_SS: return SegmentName::ss;
        case ZYDIS_REGISTER_DS: return SegmentName::ds;
        case ZYDIS_REGISTER_FS: return SegmentName::fs;
        default: return SegmentName::gs;
    }
}

bool is_segment_operand(const Shape& shape) {
    const ZydisDecodedOperand& operand = shape.operands[0];
    return operand.type == ZYDIS_OPERAND_TYPE_REGISTER &&
           ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_SEGMENT;
}

template <class Choose>
Execute with_segment(ZydisRegister name, const Choose& choose) {
    switch (segment_operand(name)) {
        case SegmentName::es: return choose.template operator()<SegmentName::es>();
        case SegmentName::cs: return choose.template operator()<SegmentName::cs>();
        case SegmentName::ss: return choose.template operator()<SegmentName::ss>();
        case SegmentName::ds: return choose.template operator()<SegmentName::ds>();
        case SegmentName::fs: return choose.template operator()<SegmentName::fs>();
        case SegmentName::gs: return choose.template operator()<SegmentName::gs>();
    }
    return nullptr;
}

// --- PUSH
// --------------------------------------------------------------------------------------------------------

template <std::unsigned_integral T>
struct Push {
    static void r(Processor& p, const Instruction& i) { p.push<T>(p.get<T>(i.registers[0])); }
    static void m(Processor& p, const Instruction& i) { p.push<T>(p.load<T>(i)); }
    static void i(Processor& p, const Instruction& i) { p.push<T>(static_cast<T>(i.immediate)); }
    // A 32-bit push of a selector writes only 16 bits of the four bytes on Intel's CPUs (SDM), all of them on
    // AMD's.
    template <SegmentName Segment>
    static void segment(Processor& p, const Instruction&) {
        const std::uint16_t selector = p.state.segment(Segment).selector;
        if (sizeof(T) == 4 && p.model.vendor() == Vendor::intel) {
            const std::uint64_t top = (p.stack_pointer() - sizeof(T)) & p.stack_mask();
            p.store<std::uint16_t>(SegmentName::ss, top, selector);
            p.set_stack_pointer(top);
        } else {
            p.push<T>(selector);
        }
    }
};

Execute select_push(const Shape& shape) {
    return with_wide_width(shape.operand_width, [&]<class T>() -> Execute {
        if (is_segment_operand(shape)) {
            return with_segment(shape.operands[0].reg.value,
                                []<SegmentName Segment>() -> Execute { return Push<T>::template segment<Segment>; });
        }
        switch (shape.form) {
            case form("r"): return Push<T>::r;
            case form("m"): return Push<T>::m;
            case form("i"): return Push<T>::i;
            default: return nullptr;
        }
    });
}

// --- POP
// ---------------------------------------------------------------------------------------------------------

// RSP as it is after popping `bytes`.
std::uint64_t stack_pointer_after(Processor& p, unsigned bytes) {
    const std::uint64_t before = p.state.registers[rsp];
    p.set_stack_pointer(p.stack_pointer() + bytes);
    const std::uint64_t after = p.state.registers[rsp];
    p.state.registers[rsp] = before;
    return after;
}

template <std::unsigned_integral T>
struct Pop {
    static void r(Processor& p, const Instruction& i) { p.set<T>(i.registers[0], p.pop<T>()); }
    // The address of the destination is computed with the stack pointer already moved.
    static void m(Processor& p, const Instruction& i) {
        const T value = p.peek<T>(0);
        const std::uint64_t before = p.state.registers[rsp], after = stack_pointer_after(p, sizeof(T));
        p.state.registers[rsp] = after;
        const std::uint64_t offset = p.effective_address(i);
        p.state.registers[rsp] = before;
        p.store<T>(i.segment, offset, value);
        p.state.registers[rsp] = after;
    }
    template <SegmentName Segment>
    static void segment(Processor& p, const Instruction&) {
        const T value = p.peek<T>(0);
        const std::uint64_t after = stack_pointer_after(p, sizeof(T));
        load_segment(p, Segment, static_cast<std::uint16_t>(value));
        p.state.registers[rsp] = after;
        if constexpr (Segment == SegmentName::ss) p.shadow_interrupts(true);
    }
};

Execute select_pop(const Shape& shape) {
    return with_wide_width(shape.operand_width, [&]<class T>() -> Execute {
        if (shape.form == form("r")) return Pop<T>::r;
        if (shape.form == form("m")) return Pop<T>::m;
        return nullptr;
    });
}

Execute select_pop_segment(const Shape& shape) {
    return with_wide_width(shape.operand_width, [&]<class T>() {
        return with_segment(shape.operands[0].reg.value, []<SegmentName Segment>() -> Execute {
            if constexpr (Segment == SegmentName::cs) {
                return nullptr;
            } else {
                return Pop<T>::template segment<Segment>;
            }
        });
    });
}

const Row* pop_variant(const Row& self, const Shape& shape) {
    static const Row segment{ZYDIS_MNEMONIC_POP, select_pop_segment, CostClass::segment_load,
                             row_flag::ends_block | row_flag::delivery_point};
    return is_segment_operand(shape) ? &segment : &self;
}

// --- PUSHA, POPA
// -------------------------------------------------------------------------------------------------

// Each element goes to its own offset, since the stack may wrap around within; all are probed before any is
// stored.
template <std::unsigned_integral T>
void push_all(Processor& p, const Instruction&) {
    const auto offset = [&](unsigned n) { return (p.stack_pointer() - (n + 1) * sizeof(T)) & p.stack_mask(); };
    for (unsigned n = 0; n < 8; ++n) p.probe_write(SegmentName::ss, offset(n), sizeof(T));
    for (unsigned n = 0; n < 8; ++n) p.store<T>(SegmentName::ss, offset(n), p.get<T>(static_cast<GeneralRegister>(n)));
    p.set_stack_pointer(offset(7));
}

template <std::unsigned_integral T>
void pop_all(Processor& p, const Instruction&) {
    std::array<T, 8> values;
    for (unsigned n = 0; n < 8; ++n) values[n] = p.peek<T>(n);
    p.set_stack_pointer(p.stack_pointer() + 8 * sizeof(T));
    for (unsigned n = 0; n < 8; ++n) {
        const auto number = static_cast<GeneralRegister>(7 - n);
        if (number != rsp) p.set<T>(number, values[n]);
    }
}

// --- PUSHF, POPF
// -------------------------------------------------------------------------------------------------

bool has_virtual_mode_extensions(const Processor& p) { return (p.state.cr4 & cr4::vme) != 0; }
unsigned io_privilege(const Processor& p) {
    return static_cast<unsigned>((p.state.rflags & rflags::iopl) >> rflags::iopl_shift);
}
// In virtual-8086 mode below IOPL 3 the instruction is the monitor's business, unless VME takes it.
bool is_sensitive(const Processor& p) { return p.state.in_vm86() && io_privilege(p) < 3; }

template <std::unsigned_integral T>
void push_flags(Processor& p, const Instruction&) {
    std::uint64_t image = p.rflags_value() & ~(rflags::vm | rflags::rf);
    if (is_sensitive(p)) {
        if (sizeof(T) != 2 || !has_virtual_mode_extensions(p)) p.raise(Vector::general_protection, 0);
        // SDM vol. 3B, 20.3: the program sees IOPL 3 and its virtual interrupt flag.
        image = (image & ~rflags::if_) | rflags::iopl | ((image & rflags::vif) != 0 ? rflags::if_ : 0);
    }
    p.push<T>(static_cast<T>(image));
}

// Which flags may change depends on privilege (SDM vol. 2, POPF, table 4-16); VM, VIF and VIP never do.
template <std::unsigned_integral T>
void pop_flags(Processor& p, const Instruction&) {
    const std::uint64_t popped = p.peek<T>(0);
    const std::uint64_t old = p.rflags_value();
    std::uint64_t writable = rflags::arithmetic | rflags::tf | rflags::df | rflags::nt;
    std::uint64_t image = popped;
    if (is_sensitive(p)) {
        if (sizeof(T) != 2 || !has_virtual_mode_extensions(p)) p.raise(Vector::general_protection, 0);
        const bool enables = (popped & rflags::if_) != 0;
        if ((popped & rflags::tf) != 0 || (enables && (old & rflags::vip) != 0)) p.raise(Vector::general_protection, 0);
        writable |= rflags::vif;
        image = (popped & ~rflags::vif) | (enables ? rflags::vif : 0);
    } else {
        if (p.cpl() <= io_privilege(p)) writable |= rflags::if_;
        if (p.cpl() == 0) writable |= rflags::iopl;
        // RF is popped as zero.
        if (sizeof(T) > 2) {
            writable |= rflags::ac | rflags::id | rflags::rf;
            image &= ~rflags::rf;
        }
    }
    p.set_stack_pointer(p.stack_pointer() + sizeof(T));
    p.set_rflags_value((old & ~writable) | (image & writable));
}

// --- ENTER, LEAVE
// ------------------------------------------------------------------------------------------------

template <std::unsigned_integral T>
void enter(Processor& p, const Instruction& i) {
    const std::uint64_t size = i.immediate & 0xffff;
    const unsigned level = static_cast<unsigned>(i.immediate >> 16) & 31;
    const std::uint64_t mask = p.stack_mask();
    std::uint64_t top = p.stack_pointer();
    const auto push = [&](T value) {
        top = (top - sizeof(T)) & mask;
        p.store<T>(SegmentName::ss, top, value);
    };
    push(p.get<T>(rbp));
    const std::uint64_t frame = (p.state.registers[rsp] & ~mask) | top;
    if (level > 0) {
        // The enclosing frames' pointers, then this one's own.
        std::uint64_t outer = p.state.registers[rbp];
        for (unsigned n = 1; n < level; ++n) {
            outer = (outer - sizeof(T)) & mask;
            push(p.load<T>(SegmentName::ss, outer));
        }
        push(static_cast<T>(frame));
    }
    // The instruction faults if a write at the final stack pointer would.
    top = (top - size) & mask;
    p.probe_write(SegmentName::ss, top, sizeof(T));
    // With a 16-bit operand in 64-bit mode Intel's CPUs set all of RBP (SDM), AMD's BP alone.
    if (p.code64() && p.model.vendor() == Vendor::intel) {
        p.set<std::uint64_t>(rbp, frame);
    } else {
        p.set<T>(rbp, static_cast<T>(frame));
    }
    p.set_stack_pointer(top);
}

template <std::unsigned_integral T>
void leave(Processor& p, const Instruction&) {
    const std::uint64_t frame = p.state.registers[rbp] & p.stack_mask();
    const T value = p.load<T>(SegmentName::ss, frame);
    p.set_stack_pointer(frame + sizeof(T));
    p.set<T>(rbp, value);
}

Execute select_enter(const Shape& shape) {
    return with_wide_width(shape.operand_width, []<class T>() -> Execute { return enter<T>; });
}

Execute select_leave(const Shape& shape) {
    return with_wide_width(shape.operand_width, []<class T>() -> Execute { return leave<T>; });
}

// POPF may enable interrupts, start single-stepping, or change what SMAP lets through.
template <std::unsigned_integral T>
constexpr Row pop_flags_row(ZydisMnemonic mnemonic) {
    return {mnemonic, always<pop_flags<T>>, CostClass::stack, row_flag::ends_block | row_flag::delivery_point};
}

}  // namespace

std::span<const Row> stack_rows() {
    using enum CostClass;
    static const std::array rows = {
        Row{ZYDIS_MNEMONIC_PUSH, select_push, stack},
        Row{ZYDIS_MNEMONIC_POP, select_pop, stack, 0, Feature::base, JitTreatment::call, pop_variant},
        Row{ZYDIS_MNEMONIC_PUSHA, always<push_all<std::uint16_t>>, stack},
        Row{ZYDIS_MNEMONIC_PUSHAD, always<push_all<std::uint32_t>>, stack},
        Row{ZYDIS_MNEMONIC_POPA, always<pop_all<std::uint16_t>>, stack},
        Row{ZYDIS_MNEMONIC_POPAD, always<pop_all<std::uint32_t>>, stack},
        Row{ZYDIS_MNEMONIC_PUSHF, always<push_flags<std::uint16_t>>, stack},
        Row{ZYDIS_MNEMONIC_PUSHFD, always<push_flags<std::uint32_t>>, stack},
        Row{ZYDIS_MNEMONIC_PUSHFQ, always<push_flags<std::uint64_t>>, stack},
        pop_flags_row<std::uint16_t>(ZYDIS_MNEMONIC_POPF),
        pop_flags_row<std::uint32_t>(ZYDIS_MNEMONIC_POPFD),
        pop_flags_row<std::uint64_t>(ZYDIS_MNEMONIC_POPFQ),
        Row{ZYDIS_MNEMONIC_ENTER, select_enter, stack},
        Row{ZYDIS_MNEMONIC_LEAVE, select_leave, stack},
    };
    return rows;
}

}  // namespace xenolith::cpu
