// A task switch has a point of no return (SDM vol. 3A, 7.3). Before it, everything that can fault in the old
// task is tried: the new TSS is read whole, and what will be written is probed. Behind it the new task's
// registers are in place, its segments are loaded one by one, and what goes wrong is the new task's fault, at
// its first instruction.
#include "cpu/exceptions/task_switch.hpp"

#include <algorithm>

#include "cpu/exceptions/delivery.hpp"
#include "cpu/exceptions/pending_stack.hpp"
#include "cpu/exceptions/segment_load.hpp"

namespace xenolith::cpu {

namespace {

constexpr std::uint64_t local_breakpoints = 0x155;  // L0 to L3 and LE of DR7 (SDM vol. 3B, 17.2.4)
constexpr std::uint32_t busy = 2, wide_tss = 8;     // in a TSS descriptor's type field

// Where a TSS keeps what (SDM vol. 3A, figures 7-2 and 7-10). Registers are in encoding order, selectors too.
struct Layout {
    unsigned size;      // bytes; the limit is at least one less
    unsigned slot;      // bytes of a register
    std::uint32_t cr3;  // 0 where there is none
    std::uint32_t instruction_pointer;
    std::uint32_t flags;
    std::uint32_t registers;
    std::uint32_t selectors;
    unsigned selector_count;
    std::uint32_t ldt;
    std::uint32_t trap;  // 0 where there is none
};
constexpr Layout layout32{0x68, 4, 0x1c, 0x20, 0x24, 0x28, 0x48, 6, 0x60, 0x64};
constexpr Layout layout16{0x2c, 2, 0, 0x0e, 0x10, 0x12, 0x22, 4, 0x2a, 0};

const Layout& layout_of(const SegmentAttributes& attributes) {
    return (attributes.type() & wide_tss) != 0 ? layout32 : layout16;
}

std::uint32_t load_slot(Processor& processor, std::uint64_t linear, unsigned width) {
    return width == 4 ? processor.load_system<std::uint32_t>(linear) : processor.load_system<std::uint16_t>(linear);
}

void store_slot(Processor& processor, std::uint64_t linear, unsigned width, std::uint64_t value) {
    if (width == 4)
        processor.store_system<std::uint32_t>(linear, static_cast<std::uint32_t>(value));
    else
        processor.store_system<std::uint16_t>(linear, static_cast<std::uint16_t>(value));
}

// What a TSS holds of a suspended task.
struct Task {
    std::uint32_t cr3 = 0, instruction_pointer = 0, flags = 0;
    std::array<std::uint32_t, 8> registers{};
    std::array<std::uint16_t, 6> selectors{};  // by SegmentName
    std::uint16_t ldt = 0;
    bool trap = false;
};

Task read_task(Processor& processor, const SegmentRegister& tss) {
    const Layout& layout = layout_of(tss.attributes);
    Task task;
    if (layout.cr3 != 0) task.cr3 = processor.load_system<std::uint32_t>(tss.base + layout.cr3);
    task.instruction_pointer = load_slot(processor, tss.base + layout.instruction_pointer, layout.slot);
    task.flags = load_slot(processor, tss.base + layout.flags, layout.slot);
    for (unsigned n = 0; n < 8; ++n)
        task.registers[n] = load_slot(processor, tss.base + layout.registers + n * layout.slot, layout.slot);
    for (unsigned n = 0; n < layout.selector_count; ++n)
        task.selectors[n] = processor.load_system<std::uint16_t>(tss.base + layout.selectors + n * layout.slot);
    task.ldt = processor.load_system<std::uint16_t>(tss.base + layout.ldt);
    if (layout.trap != 0) task.trap = (processor.load_system<std::uint16_t>(tss.base + layout.trap) & 1) != 0;
    return task;
}

void save_task(Processor& processor, const TaskSwitch& request, std::uint64_t flags) {
    const CpuState& state = processor.state;
    const std::uint64_t base = state.tr.base;
    const Layout& layout = layout_of(state.tr.attributes);
    store_slot(processor, base + layout.instruction_pointer, layout.slot, request.return_rip);
    store_slot(processor, base + layout.flags, layout.slot, flags);
    for (unsigned n = 0; n < 8; ++n)
        store_slot(processor, base + layout.registers + n * layout.slot, layout.slot, state.registers[n]);
    for (unsigned n = 0; n < layout.selector_count; ++n)
        processor.store_system<std::uint16_t>(base + layout.selectors + n * layout.slot, state.segments[n].selector);
}

// The dynamic part of the old TSS, from the instruction pointer to the last selector, can be written.
void probe_save(Processor& processor) {
    const SegmentRegister& old = processor.state.tr;
    const Layout& layout = layout_of(old.attributes);
    processor.probe_system_write(old.base + layout.instruction_pointer,
                                 layout.selectors + layout.selector_count * layout.slot - layout.instruction_pointer);
}

Descriptor fetch_task(Processor& processor, std::uint16_t selector, const TaskSwitch& request) {
    const bool returns = request.cause == TaskSwitch::Cause::interrupt_return;
    const Vector bad = returns ? Vector::invalid_tss : Vector::general_protection;
    const std::uint32_t error = selector_error(selector, request.external);
    if (is_null(selector) || in_local_table(selector)) processor.raise(bad, error);
    const Descriptor descriptor = fetch_descriptor(processor, selector, bad, request.external);
    const SegmentAttributes attributes = descriptor.attributes();
    // A task that is entered must not be busy; one that is returned to has been since it was left.
    if (!descriptor.is_tss() || ((attributes.type() & busy) != 0) != returns) processor.raise(bad, error);
    if (!attributes.present()) processor.raise(Vector::segment_not_present, error);
    if (descriptor.limit() < layout_of(attributes).size - 1) processor.raise(Vector::invalid_tss, error);
    return descriptor;
}

// --- The new task's segments (SDM vol. 3A, table 7-1)
// -----------------------------------------------------------------

void load_task_ldt(Processor& processor, std::uint16_t selector, std::uint32_t external) {
    if (is_null(selector)) return;
    const std::uint32_t error = selector_error(selector, external);
    if (in_local_table(selector)) processor.raise(Vector::invalid_tss, error);
    const Descriptor descriptor = fetch_descriptor(processor, selector, Vector::invalid_tss, external);
    const SegmentAttributes attributes = descriptor.attributes();
    if (!attributes.is_system() || attributes.type() != system_type::ldt || !attributes.present())
        processor.raise(Vector::invalid_tss, error);
    processor.state.ldtr = descriptor.as_register(selector);
}

void load_task_code(Processor& processor, std::uint16_t selector, std::uint32_t external) {
    const std::uint32_t error = selector_error(selector, external);
    if (is_null(selector)) processor.raise(Vector::invalid_tss, error);
    const Descriptor descriptor = fetch_descriptor(processor, selector, Vector::invalid_tss, external);
    const SegmentAttributes attributes = descriptor.attributes();
    const unsigned rpl = requested_privilege(selector);
    const bool allowed =
        attributes.is_code() && (attributes.conforming() ? attributes.dpl() <= rpl : attributes.dpl() == rpl);
    if (!allowed) processor.raise(Vector::invalid_tss, error);
    if (!attributes.present()) processor.raise(Vector::segment_not_present, error);
    mark_accessed(processor, descriptor);
    processor.state.segment(SegmentName::cs) = descriptor.as_register(selector);
    processor.mode_changed();
}

void load_task_stack(Processor& processor, std::uint16_t selector, std::uint32_t external) {
    if (is_null(selector)) processor.raise(Vector::invalid_tss, external);
    const Descriptor descriptor =
        fetch_stack_segment(processor, selector, processor.cpl(), Vector::invalid_tss, external);
    mark_accessed(processor, descriptor);
    processor.state.segment(SegmentName::ss) = descriptor.as_register(selector);
    processor.mode_changed();
}

void load_task_data(Processor& processor, SegmentName name, std::uint16_t selector, std::uint32_t external) {
    if (is_null(selector)) return;
    const std::uint32_t error = selector_error(selector, external);
    const Descriptor descriptor = fetch_descriptor(processor, selector, Vector::invalid_tss, external);
    const SegmentAttributes attributes = descriptor.attributes();
    const bool readable = attributes.is_data() || (attributes.is_code() && attributes.code_readable());
    const bool anyone = attributes.is_code() && attributes.conforming();
    if (!readable || (!anyone && std::max(processor.cpl(), requested_privilege(selector)) > attributes.dpl()))
        processor.raise(Vector::invalid_tss, error);
    if (!attributes.present()) processor.raise(Vector::segment_not_present, error);
    mark_accessed(processor, descriptor);
    processor.state.segment(name) = descriptor.as_register(selector);
    processor.segment_changed(name);
}

void load_task_segments(Processor& processor, const Task& task, std::uint32_t external) {
    constexpr SegmentName data[] = {SegmentName::es, SegmentName::ds, SegmentName::fs, SegmentName::gs};
    const auto selector = [&](SegmentName name) { return task.selectors[static_cast<unsigned>(name)]; };
    load_task_ldt(processor, task.ldt, external);
    if (processor.state.in_vm86()) {
        for (unsigned n = 0; n < 6; ++n) load_real_segment(processor, static_cast<SegmentName>(n), task.selectors[n]);
        processor.mode_changed();
        return;
    }
    load_task_code(processor, selector(SegmentName::cs), external);
    load_task_stack(processor, selector(SegmentName::ss), external);
    for (const SegmentName name : data) load_task_data(processor, name, selector(name), external);
}

// Registers as the new TSS has them, segment registers with their selectors only.
void become(Processor& processor, const Task& task, const SegmentRegister& tss, std::uint64_t flags,
            const std::array<std::uint64_t, 4>& pdpte) {
    CpuState& state = processor.state;
    state.tr = tss;
    state.tr.attributes.bits |= busy;
    state.cr0 |= cr0::ts;
    state.dr7 &= ~local_breakpoints;
    if (state.paging() && layout_of(tss.attributes).cr3 != 0) {
        state.cr3 = task.cr3;
        state.pdpte = pdpte;
        processor.flush_translations_except_global();
    }
    for (unsigned n = 0; n < 8; ++n) state.registers[n] = task.registers[n];
    const unsigned cpl =
        (flags & rflags::vm) != 0 ? 3 : requested_privilege(task.selectors[static_cast<unsigned>(SegmentName::cs)]);
    for (unsigned n = 0; n < 6; ++n) state.segments[n] = null_segment(task.selectors[n]);
    state.segment(SegmentName::ss) = null_stack_segment(task.selectors[static_cast<unsigned>(SegmentName::ss)], cpl);
    state.ldtr = null_segment(task.ldt);
    state.interrupt_shadow = state.debug_shadow = false;
    state.rip = task.instruction_pointer;
    // A fault from here on is undone to the new task's first instruction.
    state.registers[CpuState::rip_slot] = state.rip - processor.current().start;
    processor.set_rflags_value(flags);
    processor.mode_changed();
    processor.debug_registers_changed();
}

}  // namespace

void switch_task(Processor& processor, std::uint16_t selector, const TaskSwitch& request) {
    using Cause = TaskSwitch::Cause;
    CpuState& state = processor.state;
    const bool nests = request.cause == Cause::call || request.cause == Cause::interrupt;
    const bool returns = request.cause == Cause::interrupt_return;
    const Descriptor descriptor = fetch_task(processor, selector, request);
    const SegmentRegister tss = descriptor.as_register(selector);
    const Task task = read_task(processor, tss);
    std::optional<Descriptor> old;
    if (!is_null(state.tr.selector)) old = find_descriptor(processor, state.tr.selector);

    std::array<std::uint64_t, 4> pdpte = state.pdpte;
    const bool loads_cr3 = state.paging() && layout_of(tss.attributes).cr3 != 0;
    if (loads_cr3 && (state.cr4 & cr4::pae) != 0 &&
        !mmu::load_pdptes(processor.memory, task.cr3, processor.model.physical_address_bits(), pdpte))
        processor.raise(Vector::general_protection, request.external);
    probe_save(processor);
    if (nests) processor.probe_system_write(tss.base, 2);
    if (!returns) processor.probe_system_write(descriptor.linear + 5, 1);
    if (!nests && old) processor.probe_system_write(old->linear + 5, 1);

    save_task(processor, request, returns ? request.saved_flags & ~rflags::nt : request.saved_flags);
    if (nests) processor.store_system<std::uint16_t>(tss.base, state.tr.selector);
    if (!nests && old) mark_busy(processor, *old, false);
    if (!returns) mark_busy(processor, descriptor, true);
    become(processor, task, tss, nests ? task.flags | rflags::nt : task.flags, pdpte);

    load_task_segments(processor, task, request.external);
    check_code_target(processor, state.segment(SegmentName::cs), state.rip, request.external);
    if (request.error_code) {
        PendingStack stack = PendingStack::current(processor, request.external);
        stack.push(*request.error_code, layout_of(tss.attributes).slot);
        processor.set_stack_pointer(stack.pointer());
    }
    processor.request_attention();
    if (task.trap) {
        deliver(processor,
                {.vector = static_cast<std::uint8_t>(Vector::debug), .kind = Event::Kind::trap, .dr6_bits = dr6::bt});
    }
}

// SDM vol. 2A, INT n: where the pseudo-code looks for a new stack.
InnerStack inner_stack(Processor& processor, unsigned cpl, std::uint32_t external) {
    const SegmentRegister& tss = processor.state.tr;
    const bool wide = (tss.attributes.type() & wide_tss) != 0;
    const std::uint32_t offset = wide ? cpl * 8 + 4 : cpl * 4 + 2, pointer_size = wide ? 4 : 2;
    if (offset + pointer_size + 1 > tss.limit)
        processor.raise(Vector::invalid_tss, selector_error(tss.selector, external));
    InnerStack stack;
    stack.pointer = load_slot(processor, tss.base + offset, pointer_size);
    stack.selector = processor.load_system<std::uint16_t>(tss.base + offset + pointer_size);
    return stack;
}

namespace {
std::uint64_t stack_at(Processor& processor, std::uint32_t offset, std::uint32_t external) {
    const SegmentRegister& tss = processor.state.tr;
    if (offset + 7 > tss.limit) processor.raise(Vector::invalid_tss, selector_error(tss.selector, external));
    const auto pointer = processor.load_system<std::uint64_t>(tss.base + offset);
    if (!mmu::GuestLinear{pointer}.is_canonical()) processor.raise(Vector::stack_fault, external);
    return pointer;
}
}  // namespace

std::uint64_t inner_stack64(Processor& processor, unsigned cpl, std::uint32_t external) {
    return stack_at(processor, cpl * 8 + 4, external);
}

std::uint64_t interrupt_stack64(Processor& processor, unsigned number, std::uint32_t external) {
    return stack_at(processor, number * 8 + 0x1c, external);
}

}  // namespace xenolith::cpu
