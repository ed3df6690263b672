// Delivery reads everything it needs (gate, code segment, task-state segment, stack segment), writes the new
// stack frame, and only then changes registers. So a fault on the way leaves a state from which the next
// event of the chain can be delivered. The pseudo-code followed is that of INT n (SDM vol. 2A).
#include "cpu/exceptions/delivery.hpp"

#include "cpu/exceptions/pending_stack.hpp"
#include "cpu/exceptions/segment_load.hpp"
#include "cpu/exceptions/task_switch.hpp"

namespace xenolith::cpu {

namespace {

constexpr std::uint64_t debug_extension_mask = dr6::bd | dr6::bs | dr6::bt;

bool is_software(Event::Kind kind) { return kind == Event::Kind::software_int || kind == Event::Kind::int3_or_into; }

// EXT: the event came from outside the program (SDM vol. 3A, 6.13).
std::uint32_t external_bit(const Event& event) { return is_software(event.kind) ? 0 : 1; }

std::uint32_t gate_error(const Event& event) { return event.vector * 8u + 2u + external_bit(event); }

// SDM vol. 3B, 17.3.1.1: an instruction breakpoint is the one fault that does not push RF as 1. Between two iterations
// of a string instruction RF is set already.
std::uint64_t flags_to_push(const Processor& processor, const Event& event) {
    const std::uint64_t flags = processor.rflags_value();
    const bool instruction_breakpoint =
        event.vector == static_cast<std::uint8_t>(Vector::debug) && (event.dr6_bits & debug_extension_mask) == 0;
    const bool resumes = event.kind == Event::Kind::fault && !instruction_breakpoint;
    return resumes ? flags | rflags::rf : flags;
}

// What the CPU records of an event before it looks for a handler.
void record(Processor& processor, const Event& event) {
    CpuState& state = processor.state;
    if (event.page_fault_address) state.cr2 = *event.page_fault_address;
    if (event.vector == static_cast<std::uint8_t>(Vector::debug) && event.kind != Event::Kind::software_int) {
        // B0 to B3 tell of this exception; what else DR6 holds only software clears (SDM vol. 3B, 17.2.3).
        if (event.dr6_bits != 0) state.dr6 = (state.dr6 & ~dr6::breakpoints) | event.dr6_bits;
        state.dr7 &= ~dr7::gd;
        state.msr.debugctl &= ~std::uint64_t{1};  // LBR (SDM vol. 3B, 17.4.4)
    }
    if (event.kind == Event::Kind::nmi) state.nmi_blocked = true;
}

void commit_flags(Processor& processor, std::uint64_t cleared) {
    processor.set_rflags_value(processor.rflags_value() & ~cleared);
    processor.state.interrupt_shadow = processor.state.debug_shadow = false;
}

// --- Real mode, and VM86 with redirection
// --------------------------------------------------------------------------

// SDM vol. 3A, 20.1.4. The vector table is 256 far pointers of 16 bits at the IDTR's base; in VM86 it is at
// 0.
void enter_real_handler(Processor& processor, std::uint64_t entry, std::uint64_t flags, std::uint64_t cleared,
                        std::uint32_t error_code) {
    CpuState& state = processor.state;
    const auto offset = processor.load_system<std::uint16_t>(entry);
    const auto selector = processor.load_system<std::uint16_t>(entry + 2);
    PendingStack stack = PendingStack::current(processor, error_code);
    stack.reserve(6);
    const SegmentRegister& code = state.segment(SegmentName::cs);
    if (offset > code.limit) processor.raise(Vector::general_protection, error_code);
    stack.push(static_cast<std::uint16_t>(flags));
    stack.push(code.selector);
    stack.push(static_cast<std::uint16_t>(state.rip));
    load_real_segment(processor, SegmentName::cs, selector);
    processor.set_stack_pointer(stack.pointer());
    state.rip = offset;
    commit_flags(processor, cleared);
    processor.mode_changed();
}

void deliver_in_real_mode(Processor& processor, const Event& event) {
    const CpuState& state = processor.state;
    const std::uint64_t offset = event.vector * std::uint64_t{4};
    if (offset + 3 > state.idtr.limit) processor.raise(Vector::general_protection, gate_error(event));
    enter_real_handler(processor, state.idtr.base + offset, processor.rflags_value(),
                       rflags::if_ | rflags::tf | rflags::ac | rflags::rf, external_bit(event));
}

// Virtual-8086 mode extensions (SDM vol. 3A, 20.3.3 and table 20-2): INT n may stay in VM86. The software
// interrupt redirection bitmap is the 32 bytes below the I/O permission bitmap.
bool redirects_to_vm86(Processor& processor, std::uint8_t vector) {
    const SegmentRegister& task = processor.state.tr;
    constexpr std::uint32_t map_base_offset = 0x66;
    const auto refuse = [&] { processor.raise(Vector::general_protection, 0); };
    if (task.limit < map_base_offset + 1) refuse();
    const auto io_map = processor.load_system<std::uint16_t>(task.base + map_base_offset);
    if (io_map < 32) refuse();
    const std::uint32_t at = io_map - 32u + vector / 8u;
    if (at > task.limit) refuse();
    return (processor.load_system<std::uint8_t>(task.base + at) >> (vector & 7) & 1) == 0;
}

// Methods 5 and 6: beside the interrupt flag TF is cleared, and NT is not.
void deliver_redirected(Processor& processor, const Event& event) {
    const std::uint64_t flags = processor.rflags_value();
    const bool trusted = (flags & rflags::iopl) == rflags::iopl;
    // With IOPL < 3 the program sees VIF as its IF, and IOPL as 3.
    const std::uint64_t seen =
        trusted ? flags : (flags & ~rflags::if_) | rflags::iopl | ((flags & rflags::vif) != 0 ? rflags::if_ : 0);
    enter_real_handler(processor, event.vector * std::uint64_t{4}, seen,
                       rflags::tf | rflags::rf | (trusted ? rflags::if_ : rflags::vif), 0);
}

// --- Protected mode
// ------------------------------------------------------------------------------------------------

struct Gate {
    Descriptor descriptor;
    unsigned width = 4;  // bytes of what it pushes: 2, 4 or 8
    bool clears_interrupts = false;
};

Gate read_gate(Processor& processor, const Event& event) {
    const CpuState& state = processor.state;
    const bool wide = state.in_long_mode();
    const std::uint64_t size = wide ? 16 : 8, offset = event.vector * size;
    const std::uint32_t error = gate_error(event);
    if (offset + size - 1 > state.idtr.limit) processor.raise(Vector::general_protection, error);
    Gate gate;
    gate.descriptor.linear = state.idtr.base + offset;
    gate.descriptor.low = processor.load_system<std::uint64_t>(gate.descriptor.linear);
    const SegmentAttributes attributes = gate.descriptor.attributes();
    const std::uint32_t type = attributes.type();
    const bool legacy_only =
        type == system_type::task_gate || type == system_type::interrupt_gate16 || type == system_type::trap_gate16;
    const bool is_gate =
        type == system_type::interrupt_gate32 || type == system_type::trap_gate32 || (legacy_only && !wide);
    if (!attributes.is_system() || !is_gate) processor.raise(Vector::general_protection, error);
    if (is_software(event.kind) && attributes.dpl() < processor.cpl())
        processor.raise(Vector::general_protection, error);
    if (!attributes.present()) processor.raise(Vector::segment_not_present, error);
    if (wide) gate.descriptor.high = processor.load_system<std::uint64_t>(gate.descriptor.linear + 8) & 0xffffffff;
    gate.width = wide ? 8 : (type & 8) != 0 ? 4 : 2;
    gate.clears_interrupts = type == system_type::interrupt_gate16 || type == system_type::interrupt_gate32;
    return gate;
}

// The handler's code segment, checked against the current privilege level.
struct Handler {
    Descriptor descriptor;
    SegmentRegister code;
    std::uint64_t offset = 0;
    unsigned cpl = 0;
};

Handler find_handler(Processor& processor, const Event& event, const Gate& gate) {
    const std::uint32_t external = external_bit(event);
    const std::uint16_t selector = gate.descriptor.target_selector();
    if (is_null(selector)) processor.raise(Vector::general_protection, external);
    const std::uint32_t error = selector_error(selector, external);
    Handler handler;
    handler.descriptor = fetch_descriptor(processor, selector, Vector::general_protection, external);
    const SegmentAttributes attributes = handler.descriptor.attributes();
    if (!attributes.is_code() || attributes.dpl() > processor.cpl()) processor.raise(Vector::general_protection, error);
    if (gate.width == 8 && (!attributes.long_mode() || attributes.default_big()))
        processor.raise(Vector::general_protection, error);
    if (!attributes.present()) processor.raise(Vector::segment_not_present, error);
    handler.cpl = attributes.conforming() ? processor.cpl() : attributes.dpl();
    // From VM86 a handler runs at CPL 0 or not at all.
    if (processor.state.in_vm86() && (attributes.conforming() || handler.cpl != 0))
        processor.raise(Vector::general_protection, error);
    handler.code = handler.descriptor.as_register(static_cast<std::uint16_t>((selector & 0xfffc) | handler.cpl));
    handler.offset = gate.descriptor.target_offset();
    if (gate.width == 2) handler.offset &= 0xffff;
    check_code_target(processor, handler.code, handler.offset, external);
    return handler;
}

void enter(Processor& processor, const Gate& gate, const Handler& handler) {
    mark_accessed(processor, handler.descriptor);
    processor.state.segment(SegmentName::cs) = handler.code;
    processor.state.rip = handler.offset;
    commit_flags(processor,
                 rflags::tf | rflags::nt | rflags::rf | rflags::vm | (gate.clears_interrupts ? rflags::if_ : 0));
}

// IA-32e mode (SDM vol. 3A, 6.14): SS:RSP is always pushed, the stack is aligned, SS becomes null on a change
// of privilege, and a gate may name one of seven stacks of its own.
void deliver_wide(Processor& processor, const Event& event, const Gate& gate) {
    CpuState& state = processor.state;
    const std::uint32_t external = external_bit(event);
    const Handler handler = find_handler(processor, event, gate);
    const bool inner = handler.cpl != processor.cpl();
    std::uint64_t pointer = state.registers[rsp];
    if (const unsigned number = gate.descriptor.interrupt_stack(); number != 0)
        pointer = interrupt_stack64(processor, number, external);
    else if (inner)
        pointer = inner_stack64(processor, handler.cpl, external);
    const SegmentRegister old_stack = state.segment(SegmentName::ss);
    const SegmentRegister new_stack =
        inner ? null_stack_segment(static_cast<std::uint16_t>(handler.cpl), handler.cpl) : old_stack;

    PendingStack stack(processor, new_stack, pointer & ~std::uint64_t{15}, handler.cpl, true, external);
    stack.push(std::uint64_t{old_stack.selector});
    stack.push(state.registers[rsp]);
    stack.push(flags_to_push(processor, event));
    stack.push(std::uint64_t{state.segment(SegmentName::cs).selector});
    stack.push(state.rip);
    if (event.error_code) stack.push(std::uint64_t{*event.error_code});

    enter(processor, gate, handler);
    state.segment(SegmentName::ss) = new_stack;
    state.registers[rsp] = stack.pointer();
    processor.mode_changed();
}

void push_return(PendingStack& stack, const Processor& processor, const Event& event, unsigned width) {
    stack.push(flags_to_push(processor, event), width);
    stack.push(processor.state.segment(SegmentName::cs).selector, width);
    stack.push(processor.state.rip, width);
    if (event.error_code) stack.push(*event.error_code, width);
}

// SDM vol. 3A, 6.12.1: the same privilege level keeps its stack.
void deliver_same_level(Processor& processor, const Event& event, const Gate& gate, const Handler& handler) {
    PendingStack stack = PendingStack::current(processor, external_bit(event));
    stack.reserve((event.error_code ? 4 : 3) * gate.width);
    push_return(stack, processor, event, gate.width);
    enter(processor, gate, handler);
    processor.set_stack_pointer(stack.pointer());
    processor.mode_changed();
}

// An inner level has its stack in the TSS. From VM86 the data segments are saved too, and come out null.
void deliver_inner_level(Processor& processor, const Event& event, const Gate& gate, const Handler& handler) {
    CpuState& state = processor.state;
    const std::uint32_t external = external_bit(event);
    const bool from_vm86 = state.in_vm86();
    const InnerStack inner = inner_stack(processor, handler.cpl, external);
    if (is_null(inner.selector)) processor.raise(Vector::invalid_tss, external);
    const Descriptor descriptor =
        fetch_stack_segment(processor, inner.selector, handler.cpl, Vector::invalid_tss, external);
    const SegmentRegister new_stack = descriptor.as_register(inner.selector);

    PendingStack stack(processor, new_stack, inner.pointer, handler.cpl, false,
                       selector_error(inner.selector, external));
    stack.reserve(((event.error_code ? 6u : 5u) + (from_vm86 ? 4u : 0u)) * gate.width);
    if (from_vm86) {
        for (const SegmentName name : {SegmentName::gs, SegmentName::fs, SegmentName::ds, SegmentName::es})
            stack.push(state.segment(name).selector, gate.width);
    }
    stack.push(state.segment(SegmentName::ss).selector, gate.width);
    stack.push(state.registers[rsp], gate.width);
    push_return(stack, processor, event, gate.width);

    mark_accessed(processor, descriptor);
    enter(processor, gate, handler);
    if (from_vm86) {
        for (const SegmentName name : {SegmentName::gs, SegmentName::fs, SegmentName::ds, SegmentName::es})
            state.segment(name) = null_segment(0);
    }
    state.segment(SegmentName::ss) = new_stack;
    state.registers[rsp] = inner.pointer;
    processor.mode_changed();
    processor.set_stack_pointer(stack.pointer());
}

void deliver_in_protected_mode(Processor& processor, const Event& event) {
    const Gate gate = read_gate(processor, event);
    if (gate.descriptor.attributes().type() == system_type::task_gate) {
        switch_task(processor, gate.descriptor.target_selector(),
                    {.cause = TaskSwitch::Cause::interrupt,
                     .return_rip = processor.state.rip,
                     .saved_flags = flags_to_push(processor, event),
                     .external = external_bit(event),
                     .error_code = event.error_code});
        return;
    }
    if (gate.width == 8) {
        deliver_wide(processor, event, gate);
        return;
    }
    const Handler handler = find_handler(processor, event, gate);
    if (handler.cpl != processor.cpl())
        deliver_inner_level(processor, event, gate, handler);
    else
        deliver_same_level(processor, event, gate, handler);
}

}  // namespace

Event Event::from(const Fault& fault) {
    Event event{.vector = static_cast<std::uint8_t>(fault.vector), .error_code = fault.error_code};
    if (fault.vector == Vector::page_fault) event.page_fault_address = fault.linear_address;
    event.dr6_bits = fault.dr6_bits;
    return event;
}

void deliver(Processor& processor, const Event& event) {
    const CpuState& state = processor.state;
    record(processor, event);
    if (state.in_real_mode()) {
        deliver_in_real_mode(processor, event);
    } else if (state.in_vm86() && event.kind == Event::Kind::software_int) {
        const bool extended = (state.cr4 & cr4::vme) != 0;
        const bool trusted = (state.rflags & rflags::iopl) == rflags::iopl;
        if (extended && redirects_to_vm86(processor, event.vector))
            deliver_redirected(processor, event);
        else if (trusted)
            deliver_in_protected_mode(processor, event);
        else
            processor.raise(Vector::general_protection, 0);
    } else {
        deliver_in_protected_mode(processor, event);
    }
    processor.charge(processor.timing.interrupt_delivery);
}

// SDM vol. 3A, tables 6-4 and 6-5.
Event combine(const Event& first, const Fault& second) {
    const auto contributory = [](unsigned vector) { return vector == 0 || (vector >= 10 && vector <= 13); };
    constexpr auto page_fault = static_cast<unsigned>(Vector::page_fault);
    constexpr auto double_fault = static_cast<unsigned>(Vector::double_fault);
    const auto next = static_cast<unsigned>(second.vector);
    // Interrupts are benign whatever their vector.
    const bool exception = first.kind == Event::Kind::fault || first.kind == Event::Kind::trap;
    if (exception && first.vector == double_fault && (contributory(next) || next == page_fault)) throw TripleFault{};
    const bool doubles = exception && ((contributory(first.vector) && contributory(next)) ||
                                       (first.vector == page_fault && (contributory(next) || next == page_fault)));
    if (!doubles) return Event::from(second);
    Event event{.vector = static_cast<std::uint8_t>(Vector::double_fault), .error_code = 0};
    if (second.vector == Vector::page_fault) event.page_fault_address = second.linear_address;
    return event;
}

}  // namespace xenolith::cpu
