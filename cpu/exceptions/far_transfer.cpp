// The pseudo-code followed is that of JMP, CALL and RET (SDM vol. 2). A far JMP or CALL names a descriptor,
// and the descriptor's type says what happens: a code segment is entered at the offset given; a call gate has
// its own offset, and for CALL may lead to an inner privilege level with another stack; a TSS or a task gate
// switches tasks.
#include "cpu/exceptions/far_transfer.hpp"

#include <algorithm>

#include "cpu/exceptions/pending_stack.hpp"
#include "cpu/exceptions/segment_load.hpp"
#include "cpu/exceptions/task_switch.hpp"

namespace xenolith::cpu {

namespace {

bool uses_real_segments(const Processor& processor) {
    return processor.state.in_real_mode() || processor.state.in_vm86();
}

std::uint64_t truncate(std::uint64_t offset, unsigned width) {
    return width == 2 ? offset & 0xffff : width == 4 ? offset & 0xffffffff : offset;
}

void enter_code(Processor& processor, const SegmentRegister& code, std::uint64_t offset) {
    processor.state.segment(SegmentName::cs) = code;
    processor.state.rip = offset;
    processor.mode_changed();
}

void enter_real_code(Processor& processor, std::uint16_t selector, std::uint64_t offset) {
    load_real_segment(processor, SegmentName::cs, selector);
    processor.state.rip = offset;
    processor.mode_changed();
}

// The address behind the instruction, as a push of `width` bytes and an outer code width see it.
std::uint64_t return_address(const Processor& processor) { return processor.next_rip(); }

void push_return(PendingStack& stack, const Processor& processor, unsigned width) {
    stack.push(processor.state.segment(SegmentName::cs).selector, width);
    stack.push(return_address(processor), width);
}

// A code segment as the target of a direct far JMP or CALL (SDM vol. 3A, 5.8.1).
SegmentRegister direct_code(Processor& processor, std::uint16_t selector, const Descriptor& descriptor) {
    const SegmentAttributes attributes = descriptor.attributes();
    const std::uint32_t error = selector_error(selector);
    const unsigned cpl = processor.cpl();
    const bool allowed = attributes.conforming() ? attributes.dpl() <= cpl
                                                 : attributes.dpl() == cpl && requested_privilege(selector) <= cpl;
    if (!allowed || has_reserved_code_size(processor, attributes)) processor.raise(Vector::general_protection, error);
    if (!attributes.present()) processor.raise(Vector::segment_not_present, error);
    return descriptor.as_register(static_cast<std::uint16_t>((selector & 0xfffc) | cpl));
}

// What a call gate leads to (SDM vol. 3A, 5.8.3 and 5.8.4).
struct GateTarget {
    Descriptor descriptor;
    SegmentRegister code;
    std::uint64_t offset = 0;
    unsigned cpl = 0;
    unsigned width = 4;  // bytes of each item the gate pushes
};

GateTarget read_call_gate(Processor& processor, std::uint16_t selector, Descriptor gate, bool is_call) {
    const bool wide = processor.state.in_long_mode();
    const SegmentAttributes attributes = gate.attributes();
    const std::uint32_t error = selector_error(selector);
    if (attributes.dpl() < std::max(processor.cpl(), requested_privilege(selector)))
        processor.raise(Vector::general_protection, error);
    if (wide && !read_upper_half(processor, selector, gate)) processor.raise(Vector::general_protection, error);
    if (!attributes.present()) processor.raise(Vector::segment_not_present, error);

    GateTarget target;
    const std::uint16_t code_selector = gate.target_selector();
    const std::uint32_t code_error = selector_error(code_selector);
    if (is_null(code_selector)) processor.raise(Vector::general_protection, 0);
    target.descriptor = fetch_descriptor(processor, code_selector, Vector::general_protection);
    const SegmentAttributes code = target.descriptor.attributes();
    const bool inner = code.dpl() < processor.cpl() && !code.conforming();
    if (!code.is_code() || code.dpl() > processor.cpl() || (inner && !is_call))
        processor.raise(Vector::general_protection, code_error);
    if (wide && (!code.long_mode() || code.default_big())) processor.raise(Vector::general_protection, code_error);
    if (!code.present()) processor.raise(Vector::segment_not_present, code_error);

    target.cpl = inner ? code.dpl() : processor.cpl();
    target.width = wide ? 8 : attributes.type() == system_type::call_gate16 ? 2 : 4;
    target.code = target.descriptor.as_register(static_cast<std::uint16_t>((code_selector & 0xfffc) | target.cpl));
    target.offset = truncate(gate.target_offset(), target.width);
    check_code_target(processor, target.code, target.offset, 0);
    return target;
}

// CALL through a gate to an inner level, IA-32e mode: the new SS is null, no parameters are copied.
void call_inner64(Processor& processor, const GateTarget& target) {
    CpuState& state = processor.state;
    const SegmentRegister new_stack = null_stack_segment(static_cast<std::uint16_t>(target.cpl), target.cpl);
    PendingStack stack(processor, new_stack, inner_stack64(processor, target.cpl, 0), target.cpl, true, 0);
    stack.push(std::uint64_t{state.segment(SegmentName::ss).selector});
    stack.push(state.registers[rsp]);
    push_return(stack, processor, 8);
    mark_accessed(processor, target.descriptor);
    state.segment(SegmentName::ss) = new_stack;
    state.registers[rsp] = stack.pointer();
    enter_code(processor, target.code, target.offset);
}

void call_inner(Processor& processor, const Descriptor& gate, const GateTarget& target) {
    CpuState& state = processor.state;
    const InnerStack inner = inner_stack(processor, target.cpl, 0);
    if (is_null(inner.selector)) processor.raise(Vector::invalid_tss, 0);
    const Descriptor descriptor = fetch_stack_segment(processor, inner.selector, target.cpl, Vector::invalid_tss);
    const SegmentRegister new_stack = descriptor.as_register(inner.selector);
    PendingStack stack(processor, new_stack, inner.pointer, target.cpl, false, selector_error(inner.selector));
    const unsigned count = gate.parameter_count();
    stack.reserve((count + 4) * target.width);
    stack.push(state.segment(SegmentName::ss).selector, target.width);
    stack.push(state.registers[rsp], target.width);
    for (unsigned n = count; n-- > 0;) {
        if (target.width == 2)
            stack.push(processor.peek<std::uint16_t>(n));
        else
            stack.push(processor.peek<std::uint32_t>(n));
    }
    push_return(stack, processor, target.width);
    mark_accessed(processor, descriptor);
    mark_accessed(processor, target.descriptor);
    state.segment(SegmentName::ss) = new_stack;
    state.registers[rsp] = inner.pointer;
    enter_code(processor, target.code, target.offset);
    processor.set_stack_pointer(stack.pointer());
}

void call_same_level(Processor& processor, const Descriptor& descriptor, const SegmentRegister& code,
                     std::uint64_t offset, unsigned width) {
    PendingStack stack = PendingStack::current(processor, 0);
    stack.reserve(2 * width);
    push_return(stack, processor, width);
    mark_accessed(processor, descriptor);
    // The pointer first: its width is the old code's.
    processor.set_stack_pointer(stack.pointer());
    enter_code(processor, code, offset);
}

void transfer_to_task(Processor& processor, std::uint16_t selector, const Descriptor& descriptor, bool is_call) {
    const SegmentAttributes attributes = descriptor.attributes();
    const std::uint32_t error = selector_error(selector);
    if (attributes.dpl() < std::max(processor.cpl(), requested_privilege(selector)))
        processor.raise(Vector::general_protection, error);
    const TaskSwitch request{.cause = is_call ? TaskSwitch::Cause::call : TaskSwitch::Cause::jump,
                             .return_rip = return_address(processor),
                             .saved_flags = processor.rflags_value()};
    if (attributes.type() != system_type::task_gate) {
        switch_task(processor, selector, request);
        return;
    }
    if (!attributes.present()) processor.raise(Vector::segment_not_present, error);
    switch_task(processor, descriptor.target_selector(), request);
}

void transfer(Processor& processor, std::uint16_t selector, std::uint64_t offset, unsigned width, bool is_call) {
    if (is_null(selector)) processor.raise(Vector::general_protection, 0);
    const Descriptor descriptor = fetch_descriptor(processor, selector, Vector::general_protection);
    const SegmentAttributes attributes = descriptor.attributes();
    if (attributes.is_code()) {
        const SegmentRegister code = direct_code(processor, selector, descriptor);
        const std::uint64_t target = truncate(offset, width);
        check_code_target(processor, code, target, 0);
        if (is_call) {
            call_same_level(processor, descriptor, code, target, width);
        } else {
            mark_accessed(processor, descriptor);
            enter_code(processor, code, target);
        }
        return;
    }
    const bool wide = processor.state.in_long_mode();
    const std::uint32_t type = attributes.type();
    const bool is_call_gate = type == system_type::call_gate32 || (!wide && type == system_type::call_gate16);
    const bool is_task = !wide && (type == system_type::task_gate || descriptor.is_tss());
    if (attributes.is_system() && is_call_gate) {
        const GateTarget target = read_call_gate(processor, selector, descriptor, is_call);
        if (!is_call) {
            mark_accessed(processor, target.descriptor);
            enter_code(processor, target.code, target.offset);
        } else if (target.cpl == processor.cpl()) {
            call_same_level(processor, target.descriptor, target.code, target.offset, target.width);
        } else if (wide) {
            call_inner64(processor, target);
        } else {
            call_inner(processor, descriptor, target);
        }
    } else if (attributes.is_system() && is_task) {
        transfer_to_task(processor, selector, descriptor, is_call);
    } else {
        processor.raise(Vector::general_protection, selector_error(selector));
    }
}

// SDM vol. 2B, RET, real-address and virtual-8086 mode.
void return_to_real(Processor& processor, std::uint64_t offset, std::uint16_t selector, unsigned width,
                    unsigned bytes) {
    if (offset > processor.state.segment(SegmentName::cs).limit) processor.raise(Vector::general_protection, 0);
    processor.set_stack_pointer(processor.stack_pointer() + 2 * width + bytes);
    enter_real_code(processor, selector, offset);
}

std::uint64_t peek(Processor& processor, unsigned width, std::uint64_t above) {
    const std::uint64_t offset = (processor.stack_pointer() + above) & processor.stack_mask();
    if (width == 2) return processor.load<std::uint16_t>(SegmentName::ss, offset);
    if (width == 4) return processor.load<std::uint32_t>(SegmentName::ss, offset);
    return processor.load<std::uint64_t>(SegmentName::ss, offset);
}

}  // namespace

void far_jump(Processor& processor, std::uint16_t selector, std::uint64_t offset, unsigned width) {
    if (!uses_real_segments(processor)) {
        transfer(processor, selector, offset, width, false);
        return;
    }
    const std::uint64_t target = truncate(offset, width);
    if (target > processor.state.segment(SegmentName::cs).limit) processor.raise(Vector::general_protection, 0);
    enter_real_code(processor, selector, target);
}

void far_call(Processor& processor, std::uint16_t selector, std::uint64_t offset, unsigned width) {
    if (!uses_real_segments(processor)) {
        transfer(processor, selector, offset, width, true);
        return;
    }
    PendingStack stack = PendingStack::current(processor, 0);
    stack.reserve(2 * width);
    const std::uint64_t target = truncate(offset, width);
    if (target > processor.state.segment(SegmentName::cs).limit) processor.raise(Vector::general_protection, 0);
    push_return(stack, processor, width);
    processor.set_stack_pointer(stack.pointer());
    enter_real_code(processor, selector, target);
}

void far_return(Processor& processor, unsigned width, unsigned bytes) {
    CpuState& state = processor.state;
    const std::uint64_t offset = peek(processor, width, 0);
    const auto selector = static_cast<std::uint16_t>(peek(processor, width, width));
    if (uses_real_segments(processor)) {
        return_to_real(processor, offset, selector, width, bytes);
        return;
    }
    const std::uint32_t error = selector_error(selector);
    if (is_null(selector)) processor.raise(Vector::general_protection, 0);
    const Descriptor descriptor = fetch_descriptor(processor, selector, Vector::general_protection);
    const SegmentAttributes attributes = descriptor.attributes();
    const unsigned new_cpl = requested_privilege(selector);
    const bool allowed = attributes.is_code() && new_cpl >= processor.cpl() &&
                         (attributes.conforming() ? attributes.dpl() <= new_cpl : attributes.dpl() == new_cpl) &&
                         !has_reserved_code_size(processor, attributes);
    if (!allowed) processor.raise(Vector::general_protection, error);
    if (!attributes.present()) processor.raise(Vector::segment_not_present, error);
    const SegmentRegister code = descriptor.as_register(selector);

    if (new_cpl == processor.cpl()) {
        check_code_target(processor, code, offset, 0);
        mark_accessed(processor, descriptor);
        processor.set_stack_pointer(processor.stack_pointer() + 2 * width + bytes);
        enter_code(processor, code, offset);
        return;
    }
    const std::uint64_t new_pointer = peek(processor, width, 2 * width + bytes);
    const auto stack_selector = static_cast<std::uint16_t>(peek(processor, width, 3 * width + bytes));
    const bool to_wide = state.in_long_mode() && attributes.long_mode();
    SegmentRegister new_stack;
    if (is_null(stack_selector)) {
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
    mark_accessed(processor, descriptor);
    state.segment(SegmentName::ss) = new_stack;
    enter_code(processor, code, offset);
    processor.set_stack_pointer(new_pointer + bytes);
    drop_privileged_segments(processor, new_cpl);
    processor.mode_changed();
}

}  // namespace xenolith::cpu
