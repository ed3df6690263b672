// Descriptors and gates: Intel SDM vol. 3A, 3.4.5, 6.11 and 6.14.1; task-state segments: 7.2.1 and 7.7;
// paging: 4.3 to 4.5; virtual-8086 segments: 20.3.1.1.
#include "tests/machine/guest_mode.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "tests/machine/guest_code.hpp"

namespace xenolith::machine::test {
namespace {

using cpu::SegmentAttributes;
using cpu::SegmentName;
using cpu::SegmentRegister;

constexpr std::uint64_t gibibyte = std::uint64_t{1} << 30;
constexpr unsigned vectors = 32;

namespace selector {
constexpr std::uint16_t code32 = 0x08, data32 = 0x10, code64 = 0x18, code16 = 0x20, data16 = 0x28, user_code32 = 0x33,
                        user_data = 0x3b, user_code64 = 0x43, task32 = 0x48, high_code16 = 0x50, task64 = 0x58;
constexpr std::uint16_t table_limit = 0x67;
}  // namespace selector

namespace tables {
constexpr mmu::GuestPhysical directory2 = layout::page_tables, table2 = directory2 + 0x1000,
                             pointers_pae = layout::pae_pointers, directory_pae = directory2 + 0x3000,
                             table_pae = directory2 + 0x4000, pml4 = directory2 + 0x5000,
                             pointers64 = directory2 + 0x6000;
}  // namespace tables

// Handlers: one stub per vector, a set per width.
constexpr mmu::GuestPhysical handlers16 = layout::handlers, handlers32 = layout::handlers + 0x100,
                             handlers64 = layout::handlers + 0x400;
constexpr std::uint64_t stub16 = 8, stub32 = 8, stub64 = 32;

void put(mmu::GuestMemory& memory, mmu::GuestPhysical at, std::uint64_t value, unsigned size = 8) {
    std::array<std::byte, 8> bytes;
    std::memcpy(bytes.data(), &value, sizeof value);
    if (!memory.write(at, std::span(bytes).first(size))) throw std::logic_error("test tables need RAM");
}

std::uint64_t get(const mmu::GuestMemory& memory, mmu::GuestPhysical at, unsigned size) {
    std::array<std::byte, 8> bytes{};
    if (!memory.read(at, std::span(bytes).first(size))) throw std::logic_error("no stack to read");
    std::uint64_t value;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
}

std::uint64_t descriptor(const SegmentRegister& segment) {
    const std::uint64_t limit = segment.attributes.granular() ? segment.limit >> 12 : segment.limit;
    const std::uint64_t attributes = segment.attributes.bits & 0xf0ff;
    return (limit & 0xffff) | (segment.base & 0xffffff) << 16 | attributes << 40 | (limit >> 16 & 0xf) << 48 |
           (segment.base >> 24 & 0xff) << 56;
}

SegmentRegister data16() {
    SegmentRegister segment = cpu::real_mode_segment(0);
    segment.selector = selector::data16;
    return segment;
}

// 16-bit code whose base is the upper mapping.
SegmentRegister high_code16() {
    SegmentRegister segment = cpu::flat_code_segment(selector::high_code16, 16);
    segment.base = gibibyte;
    return segment;
}

SegmentRegister task(std::uint16_t selector, mmu::GuestPhysical base) {
    constexpr std::uint32_t busy = 0xb;
    return {selector, base.value, 0x67, {SegmentAttributes::present_bit | busy}};
}

void write_descriptors(mmu::GuestMemory& memory) {
    const SegmentRegister all[] = {
        cpu::flat_code_segment(selector::code32, 32),
        cpu::flat_data_segment(selector::data32),
        cpu::flat_code_segment(selector::code64, 64),
        cpu::flat_code_segment(selector::code16, 16),
        data16(),
        cpu::flat_code_segment(selector::user_code32, 32, 3),
        cpu::flat_data_segment(selector::user_data, 3),
        cpu::flat_code_segment(selector::user_code64, 64, 3),
        task(selector::task32, layout::task32),
        high_code16(),
        task(selector::task64, layout::task64),
    };
    for (const SegmentRegister& segment : all) {
        put(memory, layout::descriptors + (segment.selector & 0xfff8u), descriptor(segment));
    }
    constexpr std::uint64_t no_port_bitmap = 0x68;
    put(memory, layout::task32 + 4, layout::handler_stack.value, 4);
    put(memory, layout::task32 + 8, selector::data32, 4);
    put(memory, layout::task32 + 0x66, no_port_bitmap, 2);
    put(memory, layout::task64 + 4, layout::handler_stack.value);
    put(memory, layout::task64 + 0x66, no_port_bitmap, 2);
}

void write_page_tables(mmu::GuestMemory& memory) {
    // Present, writable, user, accessed; pages also dirty. Of the pointers of PAE only the first may be set.
    constexpr std::uint64_t table = 0x27, page = 0x67, pae_pointer = 0x1;
    using namespace tables;
    const auto each_gibibyte = [&](mmu::GuestPhysical low, mmu::GuestPhysical high, std::uint64_t entry,
                                   unsigned size) {
        put(memory, low, entry, size);
        put(memory, high, entry, size);
    };
    each_gibibyte(directory2, directory2 + 256 * 4, table2.value | table, 4);
    for (std::uint64_t n = 0; n < 1024; ++n) put(memory, table2 + n * 4, n * mmu::page_size | page, 4);
    each_gibibyte(pointers_pae, pointers_pae + 8, directory_pae.value | pae_pointer, 8);
    put(memory, directory_pae, table_pae.value | table);
    for (std::uint64_t n = 0; n < 512; ++n) put(memory, table_pae + n * 8, n * mmu::page_size | page);
    put(memory, pml4, pointers64.value | table);
    each_gibibyte(pointers64, pointers64 + 8, directory_pae.value | table, 8);
}

bool pushes_error_code(unsigned vector) { return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17; }

// A handler pushes what the CPU did not (a zero for the error code, the vector), then every register, and
// halts. read_trap finds all of it on the stack.
GuestCode handler(unsigned width, std::uint64_t at, unsigned vector) {
    GuestCode code(width, at);
    if (width != 16 && !pushes_error_code(vector)) code.bytes({0x6a, 0});  // push 0
    code.bytes({0x6a, vector});                                            // push vector
    if (width == 64) {
        for (unsigned number = 0; number < 8; ++number) code.bytes({0x50 + number});
        for (unsigned number = 0; number < 8; ++number) code.bytes({0x41, 0x50 + number});
    } else {
        if (width == 16) code.bytes({0x66});
        code.bytes({0x60});  // pushad
    }
    return code.hlt();
}

void write_handlers(mmu::GuestMemory& memory) {
    constexpr std::uint64_t interrupt_gate = 0x8e00;
    const auto write = [&](unsigned width, mmu::GuestPhysical at, unsigned vector) {
        memory.write(at, handler(width, at.value, vector).data());
    };
    for (unsigned vector = 0; vector < vectors; ++vector) {
        const mmu::GuestPhysical at16 = handlers16 + vector * stub16, at32 = handlers32 + vector * stub32,
                                 at64 = handlers64 + vector * stub64;
        write(16, at16, vector);
        write(32, at32, vector);
        write(64, at64, vector);
        put(memory, layout::vectors + vector * 4, at16.value, 4);
        put(memory, layout::gates32 + vector * 8, at32.value | selector::code32 << 16 | interrupt_gate << 32);
        put(memory, layout::gates64 + vector * 16, at64.value | selector::code64 << 16 | interrupt_gate << 32);
    }
}

bool uses_upper_mapping(GuestMode mode) {
    return mode != GuestMode::real && mode != GuestMode::vm86 && mode != GuestMode::protected16 &&
           mode != GuestMode::protected32;
}

SegmentRegister code_segment(GuestMode mode) {
    switch (mode) {
        case GuestMode::protected16: return cpu::flat_code_segment(selector::code16, 16);
        case GuestMode::compatibility16: return high_code16();
        case GuestMode::long64: return cpu::flat_code_segment(selector::code64, 64);
        case GuestMode::user64: return cpu::flat_code_segment(selector::user_code64, 64, 3);
        case GuestMode::user32: return cpu::flat_code_segment(selector::user_code32, 32, 3);
        default: return cpu::flat_code_segment(selector::code32, 32);
    }
}

void enter_real_mode(cpu::CpuState& state) {
    for (SegmentRegister& segment : state.segments) segment = cpu::real_mode_segment(0);
    state.segment(SegmentName::cs).attributes.bits |= 0x8;  // code, as firmware leaves it
    state.cr0 = cpu::cr0::et;
    state.idtr = {layout::vectors.value, 0x3ff};
}

void enter_vm86(cpu::CpuState& state) {
    for (SegmentRegister& segment : state.segments) {
        segment = cpu::real_mode_segment(0);
        segment.attributes.bits |= SegmentAttributes::dpl_mask;
    }
    state.rflags |= cpu::rflags::vm;
}

void enter_protected_mode(cpu::CpuState& state, GuestMode mode) {
    const bool user = !is_privileged(mode);
    const SegmentRegister data = code_width(mode) == 16 ? data16()
                                 : user                 ? cpu::flat_data_segment(selector::user_data, 3)
                                                        : cpu::flat_data_segment(selector::data32);
    for (SegmentRegister& segment : state.segments) segment = data;
    state.segment(SegmentName::cs) = code_segment(mode);
}

void turn_paging_on(cpu::CpuState& state, GuestMode mode) {
    state.cr0 |= cpu::cr0::pg | cpu::cr0::wp;
    if (long_mode_active(mode)) {
        state.cr3 = tables::pml4.value;
        state.cr4 = cpu::cr4::pae;
        state.msr.efer = cpu::efer::lme | cpu::efer::lma;
    } else if (mode == GuestMode::pae32) {
        state.cr3 = tables::pointers_pae.value;
        state.cr4 = cpu::cr4::pae;
        state.pdpte = {tables::directory_pae.value | 1, tables::directory_pae.value | 1, 0, 0};
    } else {
        state.cr3 = tables::directory2.value;
    }
}

// Reads upwards from the stack pointer.
class StackReader {
  public:
    StackReader(const mmu::GuestMemory& memory, std::uint64_t at) : memory_(memory), at_(at) {}
    std::uint64_t take(unsigned size) {
        const std::uint64_t value = get(memory_, mmu::GuestPhysical{at_}, size);
        at_ += size;
        return value;
    }

  private:
    const mmu::GuestMemory& memory_;
    std::uint64_t at_;
};

}  // namespace

unsigned code_width(GuestMode mode) {
    switch (mode) {
        case GuestMode::real:
        case GuestMode::vm86:
        case GuestMode::protected16:
        case GuestMode::compatibility16: return 16;
        case GuestMode::long64:
        case GuestMode::user64: return 64;
        default: return 32;
    }
}

bool long_mode_active(GuestMode mode) {
    return mode == GuestMode::long64 || mode == GuestMode::compatibility32 || mode == GuestMode::compatibility16 ||
           mode == GuestMode::user64;
}

bool is_privileged(GuestMode mode) {
    return mode != GuestMode::vm86 && mode != GuestMode::user32 && mode != GuestMode::user64;
}

cpu::Mode architectural_mode(GuestMode mode) {
    switch (mode) {
        case GuestMode::real: return cpu::Mode::real;
        case GuestMode::vm86: return cpu::Mode::vm86;
        case GuestMode::protected16: return cpu::Mode::protected16;
        case GuestMode::long64:
        case GuestMode::user64: return cpu::Mode::long64;
        case GuestMode::compatibility32:
        case GuestMode::compatibility16: return cpu::Mode::compatibility;
        default: return cpu::Mode::protected32;
    }
}

std::uint64_t linear_address(GuestMode mode, mmu::GuestPhysical physical) {
    return physical.value + (uses_upper_mapping(mode) ? gibibyte : 0);
}

std::uint64_t code_offset(GuestMode mode, mmu::GuestPhysical physical) {
    return mode == GuestMode::compatibility16 ? physical.value : linear_address(mode, physical);
}

void write_tables(mmu::GuestMemory& memory) {
    write_descriptors(memory);
    write_page_tables(memory);
    write_handlers(memory);
}

bool only_accessed_bits(mmu::GuestPhysical page, std::span<const std::byte> before, std::span<const std::byte> now) {
    if (page != layout::pae_pointers) return false;
    constexpr std::size_t entries = 4;
    constexpr std::byte accessed{0x20};
    for (std::size_t at = 0; at < now.size(); ++at) {
        const std::byte changed = before[at] ^ now[at];
        const bool is_flags = at < entries * 8 && at % 8 == 0;
        if (changed != std::byte{0} && (!is_flags || changed != accessed)) return false;
    }
    return true;
}

cpu::CpuState entry_state(GuestMode mode, mmu::GuestPhysical program, mmu::GuestPhysical stack_top) {
    cpu::CpuState state;
    for (unsigned number = 0; number < 16; ++number) {
        const std::uint64_t pattern = (0x10 + number) * 0x01010101u;
        state.registers[number] = code_width(mode) == 64 ? pattern << 32 | pattern : number < 8 ? pattern : 0;
    }
    state.registers[cpu::rsp] = stack_top.value;
    state.rip = code_offset(mode, program);
    state.rflags |= cpu::rflags::arithmetic;
    state.cr0 = cpu::cr0::pe | cpu::cr0::et | cpu::cr0::ne;
    state.ldtr = {0, 0, 0, {SegmentAttributes::unusable_bit}};
    state.gdtr = {layout::descriptors.value, selector::table_limit};
    if (long_mode_active(mode)) {
        state.tr = task(selector::task64, layout::task64);
        state.idtr = {layout::gates64.value, vectors * 16 - 1};
    } else {
        state.tr = task(selector::task32, layout::task32);
        state.idtr = {layout::gates32.value, vectors * 8 - 1};
    }
    if (mode == GuestMode::real) {
        enter_real_mode(state);
    } else if (mode == GuestMode::vm86) {
        enter_vm86(state);
    } else {
        enter_protected_mode(state, mode);
    }
    if (uses_upper_mapping(mode)) turn_paging_on(state, mode);
    return state;
}

std::optional<Trap> read_trap(const mmu::GuestMemory& memory, GuestMode mode, const cpu::CpuState& state) {
    if (mmu::GuestPhysical{state.rip}.page() != layout::handlers) return std::nullopt;
    StackReader stack(memory, state.registers[cpu::rsp]);
    Trap trap;
    if (long_mode_active(mode)) {
        for (unsigned number = 16; number-- > 0;) trap.registers[number] = stack.take(8);
        trap.vector = static_cast<unsigned>(stack.take(8));
        trap.error_code = stack.take(8);
        trap.rip = stack.take(8);
        trap.cs = static_cast<std::uint16_t>(stack.take(8));
        trap.rflags = stack.take(8);
        trap.registers[cpu::rsp] = stack.take(8);
        return trap;
    }
    for (unsigned number = 8; number-- > 0;) trap.registers[number] = stack.take(4);
    const unsigned size = mode == GuestMode::real ? 2 : 4;
    trap.vector = static_cast<unsigned>(stack.take(size));
    if (mode != GuestMode::real) trap.error_code = stack.take(size);
    trap.rip = stack.take(size);
    trap.cs = static_cast<std::uint16_t>(stack.take(size));
    trap.rflags = stack.take(size);
    return trap;
}

}  // namespace xenolith::machine::test
