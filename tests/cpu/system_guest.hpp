// A whole small machine for tests of system code: descriptor tables, task-state segments, page tables and a
// handler per vector, around an interpreter that runs the bytes a test gives it. Every handler is a HLT of
// its own, so where the CPU halted says which vector was delivered, and the stack shows the frame.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <initializer_list>
#include <ostream>
#include <span>
#include <vector>

#include "cpu/interpreter/interpreter.hpp"
#include "tests/cpu/row_bench.hpp"

namespace xenolith::test {

enum class Start : std::uint8_t {
    real,
    vm86,
    kernel32,
    user32,
    kernel16,
    kernel64,
    user64,
    compatible32,
    user_compatible32
};

// Descriptor values by what they describe. Limits are 4 GiB, bases 0, unless the name says else.
namespace raw {
inline constexpr std::uint64_t code32 = 0x00cf9b000000ffff, data32 = 0x00cf93000000ffff,
                               user_code32 = 0x00cffb000000ffff, user_data32 = 0x00cff3000000ffff,
                               code16 = 0x00009b000000ffff, data16 = 0x000093000000ffff,
                               conforming32 = 0x00cf9f000000ffff, code64 = 0x00af9b000000ffff,
                               user_code64 = 0x00affb000000ffff, read_only_data = 0x00cf91000000ffff,
                               absent_data = 0x00cf13000000ffff, absent_code = 0x00cf1b000000ffff,
                               execute_only = 0x00cf99000000ffff;
}  // namespace raw

class SystemGuest {
  public:
    // Selectors, RPL 0.
    static constexpr std::uint16_t code32 = 0x08, data32 = 0x10, user_code32 = 0x18, user_data32 = 0x20, code16 = 0x28,
                                   data16 = 0x30, conforming32 = 0x38, code64 = 0x40, user_code64 = 0x48, task = 0x50,
                                   spare = 0x60, spare2 = 0x70, spare3 = 0x80, local_table = 0x90, last = 0xf8;
    static constexpr std::uint64_t gdt = 0x1000, task_state = 0x1400, other_task_state = 0x1500, ldt = 0x1600,
                                   gates = 0x2000, handlers = 0x4000, kernel_stack = 0x7000, program_stack = 0x9000,
                                   interrupt_stack = 0xa000, code = 0x10000, data = 0x20000;

    explicit SystemGuest(Start start, std::string_view model = "modern", cpu::Vendor vendor = cpu::Vendor::intel)
        : engine(memory, world, *cpu::CpuModel::find(model, vendor), *cpu::find_timing("modern"), 0) {
        bytes_ = memory.add_ram({0}, 1 << 20, "memory").host;
        fill_descriptors(start);
        fill_gates(start);
        fill_task(start);
        fill_pages();
        state = start_state(start);
    }

    template <class T>
    T read(std::uint64_t address) const {
        T value;
        std::memcpy(&value, bytes_ + address, sizeof(T));
        return value;
    }
    template <class T>
    void write(std::uint64_t address, T value) {
        std::memcpy(bytes_ + address, &value, sizeof(T));
    }
    void place(std::uint64_t address, std::initializer_list<unsigned> list) {
        for (const unsigned byte : list) bytes_[address++] = static_cast<std::byte>(byte);
    }
    void descriptor(std::uint16_t selector, std::uint64_t value) { write(gdt + (selector & 0xfff8u), value); }
    // An 8-byte gate; `type_and_dpl` is its byte 5.
    static constexpr std::uint64_t gate(unsigned type_and_dpl, std::uint16_t selector, std::uint64_t offset,
                                        unsigned parameters = 0) {
        return (offset & 0xffff) | std::uint64_t{selector} << 16 | std::uint64_t{parameters} << 32 |
               std::uint64_t{type_and_dpl} << 40 | (offset >> 16 & 0xffff) << 48;
    }
    static constexpr std::uint64_t system_descriptor(unsigned type_and_dpl, std::uint64_t base, std::uint32_t limit) {
        return (limit & 0xffffu) | (base & 0xffffff) << 16 | std::uint64_t{type_and_dpl} << 40 |
               (base >> 24 & 0xff) << 56;
    }
    void interrupt_gate(unsigned vector, std::uint64_t low) { write(gates + vector * (wide_ ? 16 : 8), low); }
    std::uint64_t handler(unsigned vector) const { return handlers + vector * 16; }

    // Runs the bytes at CS:RIP until the CPU halts, at most so many instructions.
    cpu::ExitReason run(std::initializer_list<unsigned> list, std::uint64_t instructions = 1000) {
        place(state.segment(cpu::SegmentName::cs).base * (state.in_64bit_code() ? 0 : 1) + state.rip, list);
        return resume(instructions);
    }
    cpu::ExitReason resume(std::uint64_t instructions = 1000) {
        engine.set_state(state);
        const cpu::Exit exit = engine.run({.instructions = instructions});
        state = engine.state();
        return exit.reason;
    }
    // The vector whose handler halted, or -1.
    int vector() const {
        const std::uint64_t at = state.rip - 1 - handlers;
        return state.activity == cpu::Activity::halted && at % 16 == 0 && at / 16 < 256 ? static_cast<int>(at / 16)
                                                                                        : -1;
    }
    // The item `n` up from the top of the stack.
    template <class T>
    T stack(unsigned n) const {
        const auto& segment = state.segment(cpu::SegmentName::ss);
        const bool flat = state.in_64bit_code(), big = segment.attributes.default_big();
        const std::uint64_t mask = flat ? ~std::uint64_t{0} : big ? 0xffffffff : 0xffff;
        return read<T>((flat ? 0 : segment.base) + ((state.registers[cpu::rsp] + n * sizeof(T)) & mask));
    }

    mmu::GuestMemory memory;
    EmptyWorld world;
    cpu::Interpreter engine;
    cpu::CpuState state;

  private:
    static constexpr std::uint64_t tables = 0xf0000;  // of pages: identity for the first 2 MiB, user and writable

    static bool is_wide(Start start) { return start >= Start::kernel64; }

    void fill_descriptors(Start start) {
        wide_ = is_wide(start);
        descriptor(code32, raw::code32);
        descriptor(data32, raw::data32);
        descriptor(user_code32, raw::user_code32);
        descriptor(user_data32, raw::user_data32);
        descriptor(code16, raw::code16);
        descriptor(data16, raw::data16);
        descriptor(conforming32, raw::conforming32);
        descriptor(code64, raw::code64);
        descriptor(user_code64, raw::user_code64);
        descriptor(task, system_descriptor(0x8b, task_state, 0x67));
    }
    void fill_gates(Start start) {
        for (unsigned n = 0; n < 256; ++n) {
            place(handler(n), {0xf4});
            if (start == Start::real) {
                write(n * 4, static_cast<std::uint16_t>(handler(n)));
                write(n * 4 + 2, std::uint16_t{0});
            } else {
                interrupt_gate(n, gate(0xee, wide_ ? code64 : code32, handler(n)));
                if (wide_) write(gates + n * 16 + 8, std::uint64_t{0});
            }
        }
    }
    void fill_task(Start) {
        if (wide_) {
            write(task_state + 4, kernel_stack);
            write(task_state + 0x24, interrupt_stack);  // IST1
        } else {
            write(task_state + 4, static_cast<std::uint32_t>(kernel_stack));
            write(task_state + 8, data32);
        }
        write(task_state + 0x66, std::uint16_t{0x68});
    }
    void fill_pages() {
        write(tables, (tables + 0x1000) | 7);
        write(tables + 0x1000, (tables + 0x2000) | 7);
        write(tables + 0x2000, std::uint64_t{0x87});
    }
    cpu::CpuState start_state(Start start) const {
        using namespace cpu;
        CpuState s = reset_state();
        s.gdtr = {gdt, 0xff};
        s.idtr = {gates, static_cast<std::uint16_t>(wide_ ? 0xfff : 0x7ff)};
        s.registers[rsp] = program_stack;
        s.rip = code;
        s.rflags = rflags::fixed_one | rflags::if_;
        s.cr0 = cr0::pe | cr0::et | cr0::ne;
        s.tr = {task, task_state, 0x67, {0x8b}};
        s.ldtr = {0, 0, 0, {SegmentAttributes::unusable_bit}};
        if (wide_) {
            s.cr3 = tables;
            s.cr4 = cr4::pae;
            s.cr0 |= cr0::pg | cr0::wp;
            s.msr.efer = efer::lme | efer::lma | efer::sce | efer::nxe;
        }
        const auto flat = [&](std::uint16_t code_selector, unsigned width, std::uint16_t data_selector, unsigned dpl) {
            const auto rpl = [&](std::uint16_t selector) { return static_cast<std::uint16_t>(selector | dpl); };
            for (SegmentRegister& segment : s.segments) segment = flat_data_segment(rpl(data_selector), dpl);
            s.segment(SegmentName::cs) = flat_code_segment(rpl(code_selector), width, dpl);
        };
        switch (start) {
            case Start::real:
            case Start::vm86:
                for (SegmentRegister& segment : s.segments) segment = real_mode_segment(0);
                s.segment(SegmentName::cs) = real_mode_segment(code >> 4);
                s.rip = 0;
                if (start == Start::real) {
                    s.cr0 = cr0::et | cr0::ne;
                    s.idtr = {0, 0x3ff};
                } else {
                    for (SegmentRegister& segment : s.segments) segment.attributes.bits |= SegmentAttributes::dpl_mask;
                    s.rflags |= rflags::vm | rflags::iopl;
                }
                break;
            case Start::kernel32: flat(code32, 32, data32, 0); break;
            case Start::user32: flat(user_code32, 32, user_data32, 3); break;
            case Start::kernel16:
                flat(code16, 16, data16, 0);
                s.segment(SegmentName::cs).base = code;
                s.segment(SegmentName::ss) = real_mode_segment(0);
                s.segment(SegmentName::ss).selector = data16;
                s.rip = 0;
                break;
            case Start::kernel64: flat(code64, 64, data32, 0); break;
            case Start::user64: flat(user_code64, 64, user_data32, 3); break;
            case Start::compatible32: flat(code32, 32, data32, 0); break;
            case Start::user_compatible32: flat(user_code32, 32, user_data32, 3); break;
        }
        return s;
    }

    std::byte* bytes_ = nullptr;
    bool wide_ = false;
};

}  // namespace xenolith::test
