#include "cpu/exceptions/interrupt_return.hpp"

#include "cpu/exceptions/segment_load.hpp"
#include "cpu/exceptions/task_switch.hpp"

namespace xenolith::cpu {

namespace {

constexpr std::uint64_t low_flags = rflags::arithmetic | rflags::tf | rflags::df | rflags::nt;
constexpr std::uint64_t high_flags = rflags::rf | rflags::ac | rflags::id;
constexpr std::uint64_t virtual_interrupts = rflags::vif | rflags::vip;

std::uint64_t frame(Processor& processor, unsigned width, unsigned index) {
    if (width == 2) return processor.peek<std::uint16_t>(index);
    if (width == 4) return processor.peek<std::uint32_t>(index);
    return processor.peek<std::uint64_t>(index);
}

void release(Processor& processor, unsigned width, unsigned count) {
    processor.set_stack_pointer(processor.stack_pointer() + count * width);
}

// The flags of RFLAGS that `writable` names come from `popped`.
void replace_flags(Processor& processor, std::uint64_t popped, std::uint64_t writable, unsigned width) {
    if (width == 2) writable &= 0xffff;
    processor.set_rflags_value((processor.rflags_value() & ~writable) | (popped & writable));
}

void enter_real_code(Processor& processor, std::uint16_t selector, std::uint64_t offset) {
    load_real_segment(processor, SegmentName::cs, selector);
    processor.state.rip = offset;
    processor.mode_changed();
}

void return_in_real_mode(Processor& processor, unsigned width) {
    const std::uint64_t offset = frame(processor, width, 0), flags = frame(processor, width, 2);
    const auto selector = static_cast<std::uint16_t>(frame(processor, width, 1));
    if (offset > processor.state.segment(SegmentName::cs).limit) processor.raise(Vector::general_protection, 0);
    release(processor, width, 3);
    enter_real_code(processor, selector, offset);
    replace_flags(processor, flags, low_flags | rflags::if_ | rflags::iopl | high_flags, width);
}

// SDM vol. 2A, IRET, RETURN-FROM-VIRTUAL-8086-MODE, and vol. 3A, 20.3.
void return_in_vm86(Processor& processor, unsigned width) {
    const CpuState& state = processor.state;
    const bool trusted = (state.rflags & rflags::iopl) == rflags::iopl;
    const bool extended = (state.cr4 & cr4::vme) != 0 && width == 2;
    if (!trusted && !extended) processor.raise(Vector::general_protection, 0);
    const std::uint64_t offset = frame(processor, width, 0), flags = frame(processor, width, 2);
    const auto selector = static_cast<std::uint16_t>(frame(processor, width, 1));
    if (!trusted && ((flags & rflags::tf) != 0 || ((flags & rflags::if_) != 0 && (state.rflags & rflags::vip) != 0)))
        processor.raise(Vector::general_protection, 0);
    if (offset > state.segment(SegmentName::cs).limit) processor.raise(Vector::general_protection, 0);
    release(processor, width, 3);
    enter_real_code(processor, selector, offset);
    if (trusted) {
        replace_flags(processor, flags, low_flags | rflags::if_ | high_flags, width);
        return;
    }
    // The program's IF is VIF.
    const std::uint64_t writable = low_flags | rflags::vif;
    const std::uint64_t value = (flags & 0xffff & ~rflags::vif) | ((flags & rflags::if_) != 0 ? rflags::vif : 0);
    processor.set_rflags_value((processor.rflags_value() & ~writable) | (value & writable));
}

void return_to_vm86(Processor& processor, std::uint64_t offset, std::uint16_t selector, std::uint64_t flags) {
    CpuState& state = processor.state;
    std::array<std::uint64_t, 6> rest{};  // ESP, SS, ES, DS, FS, GS
    for (unsigned n = 0; n < 6; ++n) rest[n] = frame(processor, 4, 3 + n);
    // The limit of VM86 code is always 0FFFFH.
    if (offset > 0xffff) processor.raise(Vector::general_protection, 0);
    processor.set_rflags_value(flags);
    constexpr SegmentName order[] = {SegmentName::ss, SegmentName::es, SegmentName::ds, SegmentName::fs,
                                     SegmentName::gs};
    for (unsigned n = 0; n < 5; ++n) load_real_segment(processor, order[n], static_cast<std::uint16_t>(rest[n + 1]));
    state.registers[rsp] = rest[0];
    enter_real_code(processor, selector, offset);
}

void return_from_task(Processor& processor) {
    const CpuState& state = processor.state;
    if (state.in_long_mode()) processor.raise(Vector::general_protection, 0);
    const auto link = processor.load_system<std::uint16_t>(state.tr.base);
    switch_task(processor, link,
                {.cause = TaskSwitch::Cause::interrupt_return,
                 .return_rip = processor.next_rip(),
                 .saved_flags = processor.rflags_value()});
}

// Which flags the code that returns may change depends on its own privilege (SDM vol. 3A, 6.8.1).
std::uint64_t writable_flags(const Processor& processor) {
    std::uint64_t writable = low_flags | high_flags;
    const auto iopl = static_cast<unsigned>((processor.state.rflags & rflags::iopl) >> rflags::iopl_shift);
    if (processor.cpl() <= iopl) writable |= rflags::if_;
    if (processor.cpl() == 0) writable |= rflags::iopl | virtual_interrupts;
    return writable;
}

void return_to_protected(Processor& processor, std::uint64_t offset, std::uint16_t selector, std::uint64_t flags,
                         unsigned width) {
    CpuState& state = processor.state;
    const std::uint32_t error = selector_error(selector);
    if (is_null(selector)) processor.raise(Vector::general_protection, 0);
    const Descriptor descriptor = fetch_descriptor(processor, selector, Vector::general_protection);
    const SegmentAttributes attributes = descriptor.attributes();
    const unsigned old_cpl = processor.cpl(), new_cpl = requested_privilege(selector);
    const bool allowed = attributes.is_code() && new_cpl >= old_cpl &&
                         (attributes.conforming() ? attributes.dpl() <= new_cpl : attributes.dpl() == new_cpl) &&
                         !has_reserved_code_size(processor, attributes);
    if (!allowed) processor.raise(Vector::general_protection, error);
    if (!attributes.present()) processor.raise(Vector::segment_not_present, error);
    const SegmentRegister code = descriptor.as_register(selector);

    // 64-bit code always finds SS:RSP in its frame; elsewhere they are there when the return is to an outer
    // level.
    const bool outer = new_cpl != old_cpl, pops_stack = outer || processor.code64();
    const std::uint64_t writable = writable_flags(processor);
    std::uint64_t new_pointer = 0;
    SegmentRegister new_stack = state.segment(SegmentName::ss);
    if (pops_stack) {
        new_pointer = frame(processor, width, 3);
        const auto stack_selector = static_cast<std::uint16_t>(frame(processor, width, 4));
        if (is_null(stack_selector)) {
            const bool to_wide = state.in_long_mode() && attributes.long_mode();
            if (!to_wide || new_cpl == 3 || requested_privilege(stack_selector) != new_cpl)
                processor.raise(Vector::general_protection, 0);
            new_stack = null_stack_segment(stack_selector, new_cpl);
            check_code_target(processor, code, offset, 0);
        } else {
            const Descriptor stack_descriptor =
                fetch_stack_segment(processor, stack_selector, new_cpl, Vector::general_protection);
            new_stack = stack_descriptor.as_register(stack_selector);
            check_code_target(processor, code, offset, 0);
            mark_accessed(processor, stack_descriptor);
        }
    } else {
        check_code_target(processor, code, offset, 0);
    }
    mark_accessed(processor, descriptor);

    if (!pops_stack) release(processor, width, 3);
    state.segment(SegmentName::cs) = code;
    state.segment(SegmentName::ss) = new_stack;
    state.rip = offset;
    processor.mode_changed();
    if (pops_stack) processor.set_stack_pointer(new_pointer);
    replace_flags(processor, flags, writable, width);
    if (outer) drop_privileged_segments(processor, new_cpl);
    processor.mode_changed();
}

}  // namespace

void interrupt_return(Processor& processor, unsigned width) {
    CpuState& state = processor.state;
    // An NMI that waited comes once this instruction is over, even if the return itself faults.
    state.nmi_blocked = false;
    if (state.nmi_pending) processor.request_attention();
    if (state.in_real_mode()) {
        return_in_real_mode(processor, width);
        return;
    }
    if (state.in_vm86()) {
        return_in_vm86(processor, width);
        return;
    }
    if ((state.rflags & rflags::nt) != 0) {
        return_from_task(processor);
        return;
    }
    const std::uint64_t offset = frame(processor, width, 0), flags = frame(processor, width, 2);
    const auto selector = static_cast<std::uint16_t>(frame(processor, width, 1));
    const bool to_vm86 = width == 4 && (flags & rflags::vm) != 0 && processor.cpl() == 0 && !state.in_long_mode();
    if (to_vm86)
        return_to_vm86(processor, offset, selector, flags);
    else
        return_to_protected(processor, offset, selector, flags, width);
}

}  // namespace xenolith::cpu
