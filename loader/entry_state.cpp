// Descriptors follow Intel SDM vol. 3A, 3.4.5 and 7.2.3; the identity map follows 4.5 (4-level paging).
#include "loader/entry_state.hpp"

#include "loader/boot_record.hpp"

namespace xenolith::loader {

namespace {

using cpu::SegmentAttributes;
using cpu::SegmentName;
using cpu::SegmentRegister;

constexpr std::uint32_t tss_limit = BootArea::tss_size - 1;
constexpr std::uint32_t busy_tss_type = 0xb;

// The first eight bytes of the descriptor that loads as this segment register.
std::uint64_t descriptor(const SegmentRegister& segment) {
    const std::uint64_t limit = segment.attributes.granular() ? segment.limit >> 12 : segment.limit;
    const std::uint64_t attributes = segment.attributes.bits & 0xf0ff;
    return (limit & 0xffff) | (segment.base & 0xffffff) << 16 | attributes << 40 | (limit >> 16 & 0xf) << 48 |
           (segment.base >> 24 & 0xff) << 56;
}

SegmentRegister task_register(mmu::GuestPhysical tss) {
    return {boot_selector::task, tss.value, tss_limit, {SegmentAttributes::present_bit | busy_tss_type}};
}

SegmentRegister no_local_table() { return {0, 0, 0, {SegmentAttributes::unusable_bit}}; }

void write_descriptor_tables(const ImageFile& image, Placement& placement, const BootArea& area, unsigned code_width) {
    BootRecord gdt(BootArea::gdt_size);
    const SegmentRegister task = task_register(area.tss());
    gdt.put64(boot_selector::code32, descriptor(cpu::flat_code_segment(boot_selector::code32, 32)));
    gdt.put64(boot_selector::code, descriptor(cpu::flat_code_segment(boot_selector::code, code_width)));
    gdt.put64(boot_selector::data, descriptor(cpu::flat_data_segment(boot_selector::data)));
    gdt.put64(boot_selector::task, descriptor(task));
    gdt.put64(boot_selector::task + 8, task.base >> 32);
    gdt.put64(boot_selector::code16, descriptor(cpu::flat_code_segment(boot_selector::code16, 16)));
    gdt.put64(boot_selector::data16, descriptor(cpu::real_mode_segment(0)));
    placement.write(image, area.gdt(), gdt.bytes());

    BootRecord tss(BootArea::tss_size);
    tss.put16(0x66, BootArea::tss_size);  // I/O map base, past the limit
    placement.write(image, area.tss(), tss.bytes());
}

void write_identity_page_tables(const ImageFile& image, Placement& placement, const BootArea& area) {
    // Present, writable, for user code too: a flat guest may then try ring 3 without tables of its own.
    constexpr std::uint64_t table = 0x7, page_2mib = 0x87;
    constexpr std::uint64_t gibibytes = 4, entries = 512;
    const std::uint64_t pml4 = area.page_tables().value;
    BootRecord tables(BootArea::page_tables_size);
    tables.put64(0, (pml4 + 0x1000) | table);
    for (std::uint64_t gibibyte = 0; gibibyte < gibibytes; ++gibibyte) {
        tables.put64(0x1000 + gibibyte * 8, (pml4 + 0x2000 + gibibyte * 0x1000) | table);
    }
    for (std::uint64_t i = 0; i < gibibytes * entries; ++i) tables.put64(0x2000 + i * 8, i << 21 | page_2mib);
    placement.write(image, area.page_tables(), tables.bytes());
}

cpu::CpuState flat_entry(const BootArea& area, unsigned code_width, std::uint64_t instruction_pointer) {
    cpu::CpuState state;
    for (SegmentRegister& segment : state.segments) segment = cpu::flat_data_segment(boot_selector::data);
    state.segment(SegmentName::cs) = cpu::flat_code_segment(boot_selector::code, code_width);
    state.ldtr = no_local_table();
    state.tr = task_register(area.tss());
    state.gdtr = {area.gdt().value, static_cast<std::uint16_t>(BootArea::gdt_size - 1)};
    state.idtr = {0, 0};
    state.cr0 = cpu::cr0::pe | cpu::cr0::et;
    state.rip = instruction_pointer;
    state.registers[cpu::rsp] = area.stack_top().value;
    return state;
}

}  // namespace

cpu::CpuState real_mode_entry(std::uint16_t code_selector, std::uint16_t instruction_pointer,
                              std::uint16_t stack_selector, std::uint16_t stack_pointer) {
    cpu::CpuState state = cpu::reset_state();
    state.registers = {};
    state.cr0 = cpu::cr0::et;  // firmware has turned the caches on
    const SegmentAttributes code_attributes = state.segment(SegmentName::cs).attributes;
    for (SegmentRegister& segment : state.segments) segment = cpu::real_mode_segment(code_selector);
    state.segment(SegmentName::cs).attributes = code_attributes;
    state.segment(SegmentName::fs) = cpu::real_mode_segment(0);
    state.segment(SegmentName::gs) = cpu::real_mode_segment(0);
    state.segment(SegmentName::ss) = cpu::real_mode_segment(stack_selector);
    state.idtr = {0, 0x3ff};
    state.rip = instruction_pointer;
    state.registers[cpu::rsp] = stack_pointer;
    return state;
}

cpu::CpuState protected_mode_entry(const ImageFile& image, Placement& placement, const BootArea& area,
                                   std::uint32_t instruction_pointer) {
    write_descriptor_tables(image, placement, area, 32);
    return flat_entry(area, 32, instruction_pointer);
}

cpu::CpuState long_mode_entry(const ImageFile& image, Placement& placement, const BootArea& area,
                              std::uint64_t instruction_pointer) {
    write_descriptor_tables(image, placement, area, 64);
    write_identity_page_tables(image, placement, area);
    cpu::CpuState state = flat_entry(area, 64, instruction_pointer);
    state.cr0 |= cpu::cr0::pg | cpu::cr0::ne;
    state.cr3 = area.page_tables().value;
    state.cr4 = cpu::cr4::pae;
    state.msr.efer = cpu::efer::lme | cpu::efer::lma;
    return state;
}

}  // namespace xenolith::loader
