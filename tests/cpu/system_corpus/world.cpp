// Descriptors and gates: SDM vol. 3A, 3.4.5, 5.8.3, 6.11 and 6.14.1; task-state segments: 7.2 and 7.7; paging: 4.3
// to 4.5; the bitmaps of a task-state segment: vol. 1, 18.5.2, and vol. 3B, 20.3.3. The addresses are those of
// corpus.S.
#include "tests/cpu/system_corpus/world.hpp"

#include <cstring>

namespace xenolith::cpu::test {
namespace {

constexpr std::uint64_t descriptors = 0x1000, own_task = 0x1400, free_task = 0x1600, busy_task = 0x1700,
                        task16 = 0x1780, local_table = 0x1a00, gates32 = 0x2000, gates64 = 0x3000,
                        kernel_stack = 0x7000, stack1 = 0x7400, stack2 = 0x7800, task_stack = 0x9800,
                        program_stack = 0x9000, interrupt_stack = 0xa000, program = corpus_program, target = 0xd000,
                        data_pages = 0x20000;
constexpr std::uint16_t table_limit = 0x2ff, local_limit = 0x27, task_limit = 0x108;
constexpr unsigned vectors = 0x81;

// Selectors, as corpus.S names them.
constexpr std::uint16_t code32 = 0x08, data32 = 0x10, code64 = 0x18, code16 = 0x20, data16 = 0x28, ucode32 = 0x30,
                        udata32 = 0x38, ucode64 = 0x40, task_selector = 0x50, ldt_selector = 0x60, absent_code = 0xa8,
                        conforming = 0x98, data_dpl1 = 0xb0, data_dpl2 = 0xb8, free_selector = 0x100,
                        task_gate_selector = 0x1f0;

// Page tables: 2-level, PAE and long mode, each with the same low memory and the same pages at 1 GiB.
namespace tables {
constexpr std::uint64_t directory2 = 0x80000, low2 = 0x81000, pointers_pae = 0x82000, directory_pae = 0x83000,
                        pml4 = 0x84000, pointers64 = 0x85000, low_pae = 0x86000, pages2 = 0x87000, pages_pae = 0x88000,
                        high_pae = 0x89000;
}  // namespace tables
constexpr std::uint64_t present = 1, writable = 2, user = 4, accessed = 0x20, dirty = 0x40, large = 0x80,
                        global = 0x100, no_execute = std::uint64_t{1} << 63, reserved = std::uint64_t{1} << 51;

bool is_long(CorpusMode mode) {
    return mode == CorpusMode::long64 || mode == CorpusMode::user64 || mode == CorpusMode::compatibility16 ||
           mode == CorpusMode::compatibility32 || mode == CorpusMode::user_compatibility32;
}
bool is_user(CorpusMode mode) {
    return mode == CorpusMode::user32 || mode == CorpusMode::user64 || mode == CorpusMode::user_compatibility32;
}
unsigned width_of(CorpusMode mode) {
    switch (mode) {
        case CorpusMode::real:
        case CorpusMode::vm86:
        case CorpusMode::protected16:
        case CorpusMode::compatibility16: return 16;
        case CorpusMode::long64:
        case CorpusMode::user64: return 64;
        default: return 32;
    }
}

// Attributes as bits 40 to 55 of a descriptor have them (limit bits left out).
constexpr std::uint64_t descriptor(std::uint64_t base, std::uint64_t limit, unsigned attributes) {
    return (limit & 0xffff) | (base & 0xffffff) << 16 | std::uint64_t{attributes & 0xf0ffu} << 40 |
           (limit >> 16 & 0xf) << 48 | (base >> 24 & 0xff) << 56;
}
constexpr std::uint64_t flat(unsigned attributes) { return descriptor(0, 0xfffff, attributes | 0x8000); }
constexpr std::uint64_t gate(unsigned type_and_dpl, std::uint16_t selector, std::uint64_t offset, unsigned low5 = 0) {
    return (offset & 0xffff) | std::uint64_t{selector} << 16 | std::uint64_t{low5} << 32 |
           std::uint64_t{type_and_dpl} << 40 | (offset >> 16 & 0xffff) << 48;
}

class Builder {
  public:
    explicit Builder(CorpusMode mode)
        : mode_(mode), wide_(is_long(mode)), memory_(corpus_memory_size), kernel_code_(wide_ ? code64 : code32) {
        fill_descriptors();
        fill_system_descriptors();
        fill_gates();
        fill_tasks();
        fill_pages();
        fill_targets();
    }
    std::vector<std::byte> take() { return std::move(memory_); }

  private:
    void put(std::uint64_t at, std::uint64_t value, unsigned size = 8) { std::memcpy(&memory_[at], &value, size); }
    void global_entry(std::uint16_t selector, std::uint64_t low, std::uint64_t high = 0, bool has_high = false) {
        put(descriptors + selector, low);
        if (has_high) put(descriptors + selector + 8, high);
    }
    void system_entry(std::uint16_t selector, std::uint64_t low, std::uint64_t high = 0) {
        global_entry(selector, low, high, true);
    }

    void fill_descriptors();
    void fill_system_descriptors();
    void fill_gates();
    void fill_tasks();
    void fill_task32(std::uint64_t at);
    void fill_pages();
    void fill_targets();

    CorpusMode mode_;
    bool wide_;
    std::vector<std::byte> memory_;
    std::uint16_t kernel_code_;
};

void Builder::fill_descriptors() {
    const std::pair<std::uint16_t, std::uint64_t> plain[] = {
        {code32, flat(0x409b)},
        {data32, flat(0x4093)},
        {code64, flat(0x209b)},
        {code16, descriptor(0, 0xffff, 0x009b)},
        {data16, descriptor(0, 0xffff, 0x0093)},
        {ucode32, flat(0x40fb)},
        {udata32, flat(0x40f3)},
        {ucode64, flat(0x20fb)},
        {0x48, descriptor(0, 0xffff, 0x00fb)},
        {0x70, flat(0x4091)},                   // read-only
        {0x78, flat(0x4013)},                   // absent
        {0x80, descriptor(0, 0xfff, 0x4097)},   // expand-down
        {0x88, descriptor(0, 0x7fff, 0x0097)},  // expand-down, 16-bit
        {0x90, flat(0x4099)},                   // execute-only
        {conforming, flat(0x409f)},
        {0xa0, flat(0x40ff)},  // conforming, DPL 3
        {absent_code, flat(0x401b)},
        {data_dpl1, flat(0x40b3)},
        {data_dpl2, flat(0x40d3)},
        {0xc0, flat(0x40bb)},  // code, DPL 1
        {0xc8, flat(0x4092)},  // not accessed
        {0xd0, flat(0x409a)},  // the same, code
        {0xd8, descriptor(data_pages, 0xff, 0x4093)},
        {0xe0, flat(0x609b)},                   // L = D = 1
        {0xe8, flat(0x40f1)},                   // user, read-only
        {0xf0, descriptor(0, 0xcfff, 0x409b)},  // code that ends in front of `target`
        {0xf8, flat(0x209f)},                   // conforming, 64-bit
    };
    for (const auto& [selector, value] : plain) global_entry(selector, value);
    put(local_table, flat(0x4093));
    put(local_table + 8, wide_ ? flat(0x209b) : flat(0x409b));
    put(local_table + 0x10, flat(0x40f3));
    put(local_table + 0x18, flat(0x4013));
}

void Builder::fill_system_descriptors() {
    constexpr std::uint64_t gate_target = target + 0x100;
    constexpr unsigned call16 = 0x84, call32 = 0x8c, dpl3 = 0x60;
    const std::uint64_t beyond = wide_ ? 0x800000000000 : target;
    system_entry(task_selector, descriptor(own_task, task_limit, 0x8b));
    system_entry(ldt_selector, descriptor(local_table, local_limit, 0x82));
    system_entry(free_selector, descriptor(free_task, 0x67, 0x89));
    system_entry(0x110, descriptor(busy_task, 0x67, 0x8b));
    system_entry(0x120, descriptor(free_task, 0x67, 0x09));
    system_entry(0x130, descriptor(task16, 0x2b, 0x81));
    system_entry(0x140, descriptor(local_table, local_limit, 0x02));
    system_entry(0x150, descriptor(local_table, 0x0f, 0x82));
    system_entry(0x160, gate(call32 | dpl3, kernel_code_, gate_target));
    system_entry(0x170, gate(call32, kernel_code_, gate_target));
    system_entry(0x180, gate((call32 | dpl3) & 0x7f, kernel_code_, gate_target));
    system_entry(0x190, gate(call32 | dpl3, data32, gate_target));
    system_entry(0x1a0, gate(call32 | dpl3, 0, gate_target));
    system_entry(0x1b0, gate(call32 | dpl3, wide_ ? 0xf8 : conforming, gate_target));
    system_entry(0x1c0, gate(call16 | dpl3, kernel_code_, gate_target));
    system_entry(0x1d0, gate(call32 | dpl3, kernel_code_, gate_target, wide_ ? 0 : 3));
    system_entry(0x1e0, gate(call32 | dpl3, absent_code, gate_target));
    system_entry(task_gate_selector, gate(0xe5, free_selector, 0));
    system_entry(0x200, gate(0x65, free_selector, 0));
    constexpr unsigned reserved_types[] = {0x0, 0x8, 0xa, 0xd};
    for (unsigned n = 0; n < 4; ++n)
        system_entry(static_cast<std::uint16_t>(0x210 + n * 0x10), descriptor(0x20000, 0x67, 0x80 | reserved_types[n]));
    system_entry(0x250, gate(0xee, kernel_code_, gate_target));
    system_entry(0x260, gate(call32 | dpl3, wide_ ? ucode64 : ucode32, gate_target));
    system_entry(0x270, descriptor(free_task, 0x66, 0x89));
    system_entry(0x280, gate(call32 | dpl3, kernel_code_, gate_target), beyond >> 32);
    system_entry(0x290, gate(call32 | dpl3, kernel_code_, gate_target), std::uint64_t{0x0c00} << 32);
    system_entry(0x2a0, gate(call32 | dpl3, 0x300, gate_target));
}

void Builder::fill_gates() {
    const auto handler = [](unsigned vector) { return corpus_handlers + vector * 16; };
    constexpr unsigned interrupt = 0x8e, dpl3 = 0x60;
    const auto put_gate = [&](unsigned vector, std::uint64_t value, std::uint64_t high = 0) {
        if (wide_) {
            put(gates64 + vector * 16, value);
            put(gates64 + vector * 16 + 8, high);
        } else {
            put(gates32 + vector * 8, value);
        }
    };
    for (unsigned vector = 0; vector < 256; ++vector) {
        memory_[handler(vector)] = std::byte{0xf4};
        put(vector * 4, handler(vector), 4);
    }
    for (unsigned vector = 0; vector < vectors; ++vector)
        put_gate(vector, gate(interrupt, kernel_code_, handler(vector)));
    put_gate(3, gate(interrupt | dpl3, kernel_code_, handler(3)));
    put_gate(4, gate(interrupt | dpl3, kernel_code_, handler(4)));
    put_gate(0x30, gate(0x8f | dpl3, kernel_code_, handler(0x30)));
    put_gate(0x31, gate(interrupt | dpl3, kernel_code_, handler(0x31)));
    put_gate(0x32, gate(0x85 | dpl3, free_selector, 0));
    put_gate(0x33, gate(0x0e | dpl3, kernel_code_, handler(0x33)));
    put_gate(0x34, gate(interrupt | dpl3, data32, handler(0x34)));
    put_gate(0x35, gate(interrupt | dpl3, 0, handler(0x35)));
    put_gate(0x36, gate(0x86 | dpl3, kernel_code_, handler(0x36)));
    put_gate(0x37, gate(0x87 | dpl3, kernel_code_, handler(0x37)));
    put_gate(0x38, gate(interrupt | dpl3, wide_ ? 0xf8 : conforming, handler(0x38)));
    put_gate(0x39, gate(interrupt | dpl3, wide_ ? ucode64 : ucode32, handler(0x39)));
    put_gate(0x3a, gate(interrupt | dpl3, kernel_code_, handler(0x3a), wide_ ? 1 : 0));
    put_gate(0x3b, gate(0x8c | dpl3, kernel_code_, handler(0x3b)));
    put_gate(0x3c, gate(interrupt | dpl3, absent_code, handler(0x3c)));
    put_gate(0x3d, gate(interrupt | dpl3, kernel_code_, handler(0x3d)), wide_ ? 0x8000 : 0);
    put_gate(0x3e, gate(interrupt | dpl3, 0x300, handler(0x3e)));
    put_gate(0x3f, gate(interrupt | dpl3, code16, handler(0x3f)));
    put_gate(0x40, gate(interrupt | dpl3, kernel_code_, handler(0x40), wide_ ? 2 : 0));
    put_gate(0x41, gate(interrupt | dpl3, 0xc0, handler(0x41)));
    put_gate(0x42, gate(interrupt | dpl3, 0xf0, target));
    put_gate(0x80, gate(interrupt | dpl3, kernel_code_, handler(0x80)));
}

void Builder::fill_task32(std::uint64_t at) {
    put(at + 4, kernel_stack, 4);
    put(at + 8, data32, 4);
    put(at + 0xc, stack1, 4);
    put(at + 0x10, data_dpl1 | 1, 4);
    put(at + 0x14, stack2, 4);
    put(at + 0x18, data_dpl2 | 2, 4);
    const bool pages = mode_ == CorpusMode::paged32 || mode_ == CorpusMode::user32;
    put(at + 0x1c, pages ? tables::directory2 : mode_ == CorpusMode::pae32 ? tables::pointers_pae : 0, 4);
    put(at + 0x20, target + 0x200, 4);
    put(at + 0x24, 0x2, 4);
    for (unsigned n = 0; n < 8; ++n) put(at + 0x28 + n * 4, 0x51515151u + n * 0x01010101u, 4);
    put(at + 0x38, task_stack, 4);
    put(at + 0x48, data32, 2);
    put(at + 0x4c, code32, 2);
    put(at + 0x50, data32, 2);
    put(at + 0x54, udata32, 2);
    put(at + 0x58, data32, 2);
    put(at + 0x5c, 0, 2);
    put(at + 0x60, ldt_selector, 2);
    put(at + 0x66, 0x68, 2);
}

void Builder::fill_tasks() {
    if (wide_) {
        put(own_task + 4, kernel_stack);
        put(own_task + 0xc, stack1);
        put(own_task + 0x14, stack2);
        put(own_task + 0x24, interrupt_stack);
        put(own_task + 0x2c, 0x800000000000);
        put(free_task + 4, kernel_stack);
        put(busy_task + 4, kernel_stack);
    } else {
        fill_task32(own_task);
        fill_task32(free_task);
        fill_task32(busy_task);
        put(task16 + 2, kernel_stack, 2);
        put(task16 + 4, data16, 2);
        put(task16 + 0xe, target + 0x200, 2);
        put(task16 + 0x10, 2, 2);
        for (unsigned n = 0; n < 8; ++n) put(task16 + 0x12 + n * 2, 0x6161 + n * 0x101, 2);
        put(task16 + 0x1a, task_stack, 2);
        put(task16 + 0x22, data16, 2);
        put(task16 + 0x24, code16, 2);
        put(task16 + 0x26, data16, 2);
        put(task16 + 0x28, data16, 2);
        put(task16 + 0x2a, ldt_selector, 2);
    }
    // Interrupts 0x21, 0x23, ... are not redirected; ports 0x80 to 0x8f are open.
    constexpr std::uint64_t port_map = 0x88, redirection_map = port_map - 32;
    for (unsigned n = 0; n < 32; ++n) memory_[own_task + redirection_map + n] = std::byte{0xaa};
    for (unsigned n = 0; n < 0x400 / 8; ++n) memory_[own_task + port_map + n] = std::byte{0xff};
    put(own_task + port_map + 0x80 / 8, 0, 2);
    memory_[own_task + port_map + 0x80] = std::byte{0xff};
    put(own_task + 0x66, port_map, 2);
}

void Builder::fill_pages() {
    const std::uint64_t owner = is_user(mode_) ? user : 0;
    const std::uint64_t table = present | writable | user | accessed, done = present | writable | accessed | dirty;
    constexpr std::uint64_t page_size = 0x1000;
    // Low memory, linear = physical. Of the 2-level tables' PDE only what every CPU uses is set.
    for (std::uint64_t n = 0; n < 512; ++n) {
        put(tables::low2 + n * 4, n * page_size | done | owner, 4);
        put(tables::low_pae + n * 8, n * page_size | done | owner);
    }
    constexpr std::uint64_t rights[] = {
        present | writable | user,
        present | user,
        present | writable,
        present,
        present | writable | user | no_execute,
        0,
        present | writable | user | reserved,
        present | writable | no_execute,
        present | writable | user | accessed,
        present | writable | user | global,
    };
    for (std::uint64_t n = 0; n < std::size(rights); ++n) {
        const std::uint64_t frame = data_pages + n * page_size;
        // 2-level paging has neither NX nor reserved bits in a page's entry.
        put(tables::pages2 + n * 4, (frame | rights[n]) & 0xffffffff, 4);
        put(tables::pages_pae + n * 8, rights[n] == 0 ? 0 : frame | rights[n]);
        put(frame, 0x90f49090);  // NOP; NOP; HLT; NOP
        for (std::uint64_t at = 8; at < page_size; at += 8) put(frame + at, 0x1111111111111111 * (n + 1));
    }
    // From here on by 4 MiB of linear addresses: 1 read-only table, 2 supervisor table, 3 large page, 4 the same with a
    // reserved bit, 5 nothing, 6 a table with NX.
    constexpr std::uint64_t fresh = present | writable | user;
    const std::uint64_t regions[] = {fresh, present | user, present | writable, fresh | large, fresh | large, 0, fresh};
    constexpr std::uint64_t reserved_of_large2 = 1 << 21, reserved_of_large_pae = 1 << 13;
    for (std::uint64_t n = 0; n < std::size(regions); ++n) {
        const bool is_large = (regions[n] & large) != 0;
        std::uint64_t entry2 = regions[n], entry_pae = regions[n];
        if (regions[n] != 0 && !is_large) {
            entry2 |= tables::pages2;
            entry_pae |= tables::pages_pae;
        }
        if (n == 4) entry2 |= reserved_of_large2, entry_pae |= reserved_of_large_pae;
        if (n == 6) entry_pae |= no_execute;
        put(tables::directory2 + (256 + n) * 4, entry2, 4);
        put(tables::high_pae + n * 2 * 8, entry_pae);
    }
    put(tables::directory2, tables::low2 | table, 4);
    put(tables::directory_pae, tables::low_pae | table);
    put(tables::pointers_pae, tables::directory_pae | present);
    put(tables::pointers_pae + 8, tables::high_pae | present);
    put(tables::pml4, tables::pointers64 | table);
    put(tables::pml4 + 2 * 8, tables::pointers64 | table | reserved);
    put(tables::pml4 + 256 * 8, tables::pointers64 | table);
    put(tables::pointers64, tables::directory_pae | table);
    put(tables::pointers64 + 8, tables::high_pae | table);
    put(tables::pointers64 + 3 * 8, fresh | large);
}

void Builder::fill_targets() {
    for (std::uint64_t at = target; at < target + 0x1000; at += 0x100) memory_[at] = std::byte{0xf4};
    put(target + 0x200, 0xf4, 1);
    put(target + 0x300, 0xf4cf, 2);  // IRET; HLT
}

SegmentRegister busy_task_register() {
    return {task_selector, own_task, task_limit, {SegmentAttributes::present_bit | 0xb}};
}

}  // namespace

const std::vector<std::byte>& corpus_memory(CorpusMode mode) {
    static const std::vector<std::vector<std::byte>> by_mode = [] {
        std::vector<std::vector<std::byte>> all;
        for (const CorpusMode each : corpus_modes) all.push_back(Builder(each).take());
        return all;
    }();
    return by_mode[static_cast<unsigned>(mode)];
}

CpuState corpus_state(const CorpusCase& each) {
    const CorpusMode mode = each.mode;
    const bool wide = is_long(mode);
    CpuState state = reset_state();
    for (unsigned number = 0; number < 16; ++number) {
        const std::uint64_t pattern = (0x10 + number) * 0x01010101u;
        state.registers[number] = width_of(mode) == 64 ? pattern << 32 | pattern : number < 8 ? pattern : 0;
    }
    state.registers[rsp] = program_stack;
    state.rip = program;
    state.rflags = rflags::fixed_one | each.flags_set;
    state.gdtr = {descriptors, table_limit};
    state.idtr = {wide ? gates64 : gates32, static_cast<std::uint16_t>(vectors * (wide ? 16 : 8) - 1)};
    state.tr = busy_task_register();
    state.ldtr = {ldt_selector, local_table, local_limit, {SegmentAttributes::present_bit | 0x2}};
    state.cr0 = cr0::pe | cr0::et | cr0::ne;
    state.cr4 = cr4::osfxsr;
    const unsigned level = is_user(mode) ? 3 : 0;
    const auto rpl = [&](std::uint16_t selector) { return static_cast<std::uint16_t>(selector | level); };
    switch (mode) {
        case CorpusMode::real:
        case CorpusMode::vm86:
            for (SegmentRegister& segment : state.segments) segment = real_mode_segment(0);
            if (mode == CorpusMode::vm86) {
                for (SegmentRegister& segment : state.segments) segment.attributes.bits |= SegmentAttributes::dpl_mask;
                state.rflags |= rflags::vm;
            } else {
                state.segment(SegmentName::cs).attributes.bits |= 0x8;  // code
                state.cr0 = cr0::et;
                state.idtr = {0, 0x3ff};
            }
            break;
        case CorpusMode::protected16:
        case CorpusMode::compatibility16:
            for (SegmentRegister& segment : state.segments) {
                segment = real_mode_segment(0);
                segment.selector = data16;
            }
            state.segment(SegmentName::cs) = flat_code_segment(code16, 16);
            break;
        default: {
            for (SegmentRegister& segment : state.segments)
                segment = flat_data_segment(rpl(level == 3 ? udata32 : data32), level);
            const unsigned width = width_of(mode);
            const std::uint16_t code = width == 64 ? (level == 3 ? ucode64 : code64) : (level == 3 ? ucode32 : code32);
            state.segment(SegmentName::cs) = flat_code_segment(rpl(code), width, level);
            break;
        }
    }
    if (wide) {
        state.cr0 |= cr0::pg | cr0::wp;
        state.cr4 |= cr4::pae | cr4::pge;
        state.cr3 = tables::pml4;
        state.msr.efer = efer::lme | efer::lma | efer::sce | efer::nxe;
    } else if (mode == CorpusMode::pae32) {
        state.cr0 |= cr0::pg | cr0::wp;
        state.cr4 |= cr4::pae;
        state.cr3 = tables::pointers_pae;
        state.msr.efer = efer::nxe;
        state.pdpte = {tables::directory_pae | 1, tables::high_pae | 1, 0, 0};
    } else if (mode == CorpusMode::paged32 || mode == CorpusMode::user32) {
        state.cr0 |= cr0::pg | cr0::wp;
        state.cr4 |= cr4::pse;
        state.cr3 = tables::directory2;
    }
    if (width_of(mode) == 64) {
        state.segment(SegmentName::fs).base = data_pages + 0x1000;
        state.segment(SegmentName::gs).base = data_pages + 0x2000;
    }
    state.cr0 ^= each.cr0_changed;
    state.cr4 |= each.cr4_set;
    state.msr.efer ^= each.efer_changed;
    state.msr.star = std::uint64_t{0x00330018} << 32 | target;
    state.msr.lstar = target;
    state.msr.cstar = target + 0x100;
    state.msr.sfmask = 0x4700;
    state.msr.kernel_gs_base = data_pages + 0x3000;
    state.msr.sysenter_cs = code32;
    state.msr.sysenter_esp = kernel_stack;
    state.msr.sysenter_eip = target;
    return state;
}

}  // namespace xenolith::cpu::test
