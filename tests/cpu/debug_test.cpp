// Debug exceptions: breakpoints in DR0 to DR3, single steps, RF, and which comes before which (SDM vol. 3B, 17.2, 17.3;
// vol. 3A, 6.8.3 and table 6-2).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/cpu/debug_guest.hpp"

namespace xenolith::test {

namespace {

using namespace cpu;
using Guest = DebugGuest;

constexpr int debug_vector = 1;
constexpr std::uint64_t bit0 = 1, bit1 = 2, bit2 = 4, bit3 = 8;

class Debug : public testing::TestWithParam<Pace> {
  protected:
    Pace pace() const { return GetParam(); }
};

INSTANTIATE_TEST_SUITE_P(Paces, Debug, testing::Values(Pace::whole, Pace::budget, Pace::single), pace_name);

// --- Instruction breakpoints

TEST_P(Debug, InstructionBreakpointComesBeforeTheInstruction) {
    for (const Start start : {Start::real, Start::vm86, Start::kernel16, Start::kernel32, Start::user32,
                              Start::kernel64, Start::user64, Start::compatible32, Start::user_compatible32}) {
        SCOPED_TRACE(static_cast<int>(start));
        Guest guest(start);
        guest.state.registers[rax] = 0;
        arm(guest.state, 1, guest.first_byte() + 2, Condition::execute);
        const std::uint64_t begin = guest.state.rip;
        guest.go(pace(), {0xb0, 1, 0xb0, 2, 0xf4});  // mov al, 1; mov al, 2; hlt
        EXPECT_EQ(guest.vector(), debug_vector);
        EXPECT_EQ(guest.pushed_rip(), begin + 2);
        EXPECT_EQ(guest.pushed_flags() & rflags::rf, 0u) << "the handler has to set it";
        EXPECT_EQ(guest.debug_status(), bit1);
        EXPECT_EQ(guest.state.registers[rax], 1u);
    }
}

TEST_P(Debug, ResumeFlagCoversOneInstruction) {
    Guest guest(Start::kernel64);
    arm(guest.state, 0, Guest::code, Condition::execute);
    arm(guest.state, 3, Guest::code + 1, Condition::execute, 1, true);
    guest.state.rflags |= rflags::rf;
    guest.go(pace(), {0x90, 0x90, 0xf4});
    EXPECT_EQ(guest.vector(), debug_vector);
    EXPECT_EQ(guest.debug_status(), bit3);
    EXPECT_EQ(guest.pushed_rip(), Guest::code + 1);
}

// The handler sets RF in the image and returns; the loop comes by again.
TEST_P(Debug, HandlerReturnsWithTheResumeFlag) {
    for (const Start start : {Start::kernel32, Start::kernel64, Start::user64}) {
        Guest guest(start);
        arm(guest.state, 0, Guest::code + 2, Condition::execute);
        if (start == Start::kernel32)  // inc dword [data]; or byte [esp + 10], 1; iret
            guest.place(guest.handler(1), {0xff, 0x05, 0, 0, 2, 0, 0x80, 0x4c, 0x24, 10, 1, 0xcf});
        else  // inc dword [data]; or byte [rsp + 18], 1; iretq
            guest.place(guest.handler(1), {0xff, 0x04, 0x25, 0, 0, 2, 0, 0x80, 0x4c, 0x24, 18, 1, 0x48, 0xcf});
        guest.state.registers[rcx] = 5;
        guest.go(pace(),
                 {0x31, 0xc0, 0xff, 0xc0, 0xe2, 0xfc, 0xcd, 0x50});  // xor eax, eax; 1: inc eax; loop 1b; int 0x50
        EXPECT_EQ(guest.vector(), 0x50);
        EXPECT_EQ(guest.state.registers[rax], 5u);
        EXPECT_EQ(guest.read<std::uint32_t>(Guest::data), 5u);
    }
}

// Handler 2 is not the debugger's: the instruction is restarted with RF set, and does not break twice.
TEST_P(Debug, FaultsPushTheResumeFlag) {
    Guest guest(Start::kernel64);
    arm(guest.state, 0, Guest::code, Condition::execute);
    guest.place(guest.handler(1), {0x80, 0x4c, 0x24, 18, 1, 0x48, 0xcf});          // or byte [rsp + 18], 1; iretq
    guest.place(guest.handler(0), {0xb9, 1, 0, 0, 0, 0x80, 0xcf, 1, 0x48, 0xcf});  // mov ecx, 1; or bh, 1; iretq
    guest.state.registers[rcx] = guest.state.registers[rdx] = 0;
    guest.state.registers[rax] = 7;
    guest.go(pace(), {0xf7, 0xf1, 0xcd, 0x50});  // div ecx; int 0x50
    EXPECT_EQ(guest.vector(), 0x50);
    EXPECT_EQ(guest.state.registers[rax], 7u);
    EXPECT_EQ(guest.state.registers[rbx] >> 8 & 1, 1u);
    EXPECT_EQ(guest.debug_status(), bit0);
}

TEST_P(Debug, WhatIsNotEnabledOrHasALengthMeetsNothing) {
    Guest guest(Start::kernel64);
    arm(guest.state, 0, Guest::code + 1, Condition::execute);
    guest.state.dr7 &= ~std::uint64_t{3};
    arm(guest.state, 1, Guest::code + 1, Condition::execute, 2);
    arm(guest.state, 2, Guest::code + 2, Condition::execute);   // no instruction begins there
    arm(guest.state, 3, Guest::code + 1, Condition::write, 8);  // it is fetched, and not accessed
    guest.go(pace(), {0x90, 0xb0, 1, 0xf4});
    EXPECT_EQ(guest.vector(), -1);
    EXPECT_EQ(guest.debug_status(), 0u);
}

TEST_P(Debug, SeveralAtOneInstruction) {
    Guest guest(Start::kernel32);
    for (const unsigned n : {0u, 2u}) arm(guest.state, n, Guest::code + 1, Condition::execute, 1, n == 2);
    guest.go(pace(), {0x90, 0x90, 0xf4});
    EXPECT_EQ(guest.debug_status(), bit0 | bit2);
}

// Table 6-2: the breakpoint first, then the fault of the fetch.
TEST_P(Debug, InstructionBreakpointComesBeforeTheFetch) {
    Guest guest(Start::kernel64);
    arm(guest.state, 0, 0x40000000, Condition::execute);
    guest.state.registers[rax] = 0x40000000;
    guest.go(pace(), {0xff, 0xe0});
    EXPECT_EQ(guest.vector(), debug_vector);
    EXPECT_EQ(guest.pushed_rip(), 0x40000000u);
}

TEST_P(Debug, InstructionBreakpointOnAnInstructionThatCrossesAPage) {
    Guest guest(Start::kernel64);
    guest.state.rip = 0x10ffc;
    arm(guest.state, 0, 0x10ffe, Condition::execute);
    guest.go(pace(), {0x90, 0x90, 0xb8, 1, 2, 3, 4, 0xf4});
    EXPECT_EQ(guest.vector(), debug_vector);
    EXPECT_EQ(guest.pushed_rip(), 0x10ffeu);
}

TEST_P(Debug, ArmedByTheGuestItself) {
    Guest guest(Start::kernel64);
    guest.state.registers[rax] = Guest::code + 8;
    guest.state.registers[rbx] = dr7::fixed_one | 2;
    guest.go(pace(), {0xeb, 6, 0x0f, 0x23, 0xc0, 0x0f, 0x23, 0xfb, 0x90, 0x50, 0x58, 0xeb, 0xf5});
    // jmp 1f; 2: mov dr0, rax; mov dr7, rbx; 1: nop; push rax; pop rax; jmp 2b
    EXPECT_EQ(guest.vector(), debug_vector);
    EXPECT_EQ(guest.pushed_rip(), Guest::code + 8);
    EXPECT_EQ(guest.debug_status(), bit0);
}

// --- Data breakpoints

struct DataCase {
    const char* name;
    std::initializer_list<unsigned> code;  // the last byte is not part of the instruction
    Condition condition;
    std::uint64_t offset, length;  // of the breakpoint from `data`
    bool hits;
};

// RDI = RSI = data, RAX = 0x1111, RCX = 1. The instruction is followed by HLT.
const DataCase data_cases[] = {
    {"write", {0x89, 0x07}, Condition::write, 0, 4, true},  // mov [rdi], eax
    {"write_below", {0x89, 0x07}, Condition::write, 4, 4, false},
    {"write_into_the_last_byte", {0x89, 0x47, 1}, Condition::write, 4, 1, true},  // mov [rdi + 1], eax
    {"write_short_of_it", {0x89, 0x07}, Condition::write, 4, 1, false},
    {"read_of_written", {0x8b, 0x07}, Condition::write, 0, 4, false},  // mov eax, [rdi]
    {"read", {0x8b, 0x07}, Condition::access, 0, 4, true},
    {"read_of_8", {0x48, 0x8b, 0x07}, Condition::access, 7, 1, true},
    {"write_in_8", {0x88, 0x47, 5}, Condition::write, 0, 8, true},  // mov [rdi + 5], al
    {"address_is_aligned_down", {0x88, 0x07}, Condition::write, 3, 4, true},
    {"address_is_aligned_down_by_8", {0x88, 0x07}, Condition::write, 7, 8, true},
    {"address_is_not_aligned_up", {0x88, 0x47, 4}, Condition::write, 3, 4, false},
    {"modify", {0x01, 0x07}, Condition::write, 0, 4, true},  // add [rdi], eax
    {"compare_only_reads", {0x39, 0x07}, Condition::write, 0, 4, false},
    {"compare", {0x39, 0x07}, Condition::access, 0, 4, true},
    {"failed_exchange_writes", {0x0f, 0xb1, 0x0f}, Condition::write, 0, 4, true},  // cmpxchg [rdi], ecx
    {"push", {0x50}, Condition::write, Guest::program_stack - Guest::data - 8, 8, true},
    {"pop", {0x58}, Condition::access, Guest::program_stack - Guest::data, 1, true},
    {"call", {0xe8, 0, 0, 0, 0}, Condition::write, Guest::program_stack - Guest::data - 1, 1, true},
    {"vector_store", {0x0f, 0x11, 0x07}, Condition::write, 12, 4, true},   // movups [rdi], xmm0
    {"vector_load", {0x0f, 0x10, 0x07}, Condition::access, 12, 2, true},   // movups xmm0, [rdi]
    {"x87_store", {0xdb, 0x3f}, Condition::write, 9, 1, true},             // fstp tbyte [rdi]
    {"state_image", {0x0f, 0xae, 0x07}, Condition::write, 0x40, 4, true},  // fxsave [rdi]
    {"movsb", {0xa4}, Condition::write, 0, 1, true},
    {"enter", {0xc8, 0, 0, 0}, Condition::write, Guest::program_stack - Guest::data - 8, 1, true},
    {"across_pages", {0x89, 0x87, 0xfe, 0x0f, 0, 0}, Condition::write, 0x1001, 1, true},
    {"flags_of_a_bit", {0x0f, 0xab, 0x07}, Condition::write, 0x222, 1, true},  // bts [rdi], eax: bit 0x1111
    {"prefetch_is_no_access", {0x0f, 0x18, 0x0f}, Condition::access, 0, 4, false},
    {"lea_is_no_access", {0x8d, 0x07}, Condition::access, 0, 4, false},
};

TEST_P(Debug, DataBreakpoints) {
    for (const DataCase& test : data_cases) {
        SCOPED_TRACE(test.name);
        Guest guest(Start::kernel64);
        arm(guest.state, 2, Guest::data + test.offset, test.condition, test.length);
        guest.state.cr4 |= cr4::osfxsr;
        guest.state.registers[rdi] = guest.state.registers[rsi] = Guest::data;
        guest.state.registers[rax] = 0x1111;
        guest.state.registers[rcx] = 1;
        guest.place(Guest::code, {0x90});
        guest.place(Guest::code + 1, test.code);
        const std::uint64_t end = Guest::code + 1 + test.code.size();
        guest.place(end, {0xf4});
        guest.go(pace());
        EXPECT_EQ(guest.vector(), test.hits ? debug_vector : -1);
        EXPECT_EQ(guest.debug_status(), test.hits ? bit2 : 0u);
        if (!test.hits) continue;
        EXPECT_EQ(guest.pushed_rip(), end) << "a trap: behind the instruction";
        EXPECT_EQ(guest.pushed_flags() & rflags::rf, 0u);
    }
}

TEST_P(Debug, DataBreakpointsInEveryMode) {
    for (const Start start : {Start::real, Start::vm86, Start::kernel16, Start::kernel32, Start::user32,
                              Start::kernel64, Start::user64, Start::compatible32}) {
        SCOPED_TRACE(static_cast<int>(start));
        Guest guest(start);
        // A data segment whose base shows that linear addresses count.
        const bool flat = guest.state.in_64bit_code();
        const std::uint64_t base = flat ? 0 : 0x8000;
        guest.state.segment(SegmentName::ds).base = base;
        arm(guest.state, 0, base + 0x4100, Condition::write, 2);
        guest.state.registers[rbx] = guest.state.registers[rdi] = 0x4100;
        const std::uint64_t begin = guest.state.rip;
        guest.go(pace(), {0x88, 0x07, 0x90, 0xf4});  // mov [bx] or [rdi], al; nop; hlt
        EXPECT_EQ(guest.vector(), debug_vector);
        EXPECT_EQ(guest.pushed_rip(), begin + 2);
    }
}

// The rest of the block runs on behind the handler, and other data of the page is not watched.
TEST_P(Debug, ProgramGoesOnBehindTheTrap) {
    Guest guest(Start::kernel64);
    arm(guest.state, 0, Guest::data, Condition::write, 4);
    guest.place(guest.handler(1), {0x48, 0xff, 0xc3, 0x48, 0xcf});  // inc rbx; iretq
    guest.state.registers[rdi] = Guest::data;
    guest.state.registers[rbx] = 0;
    guest.state.registers[rcx] = 3;
    guest.go(pace(), {0x89, 0x47, 4, 0x89, 0x07, 0x89, 0x47, 8, 0xff, 0xc0, 0xe2, 0xf4, 0xcd, 0x50});
    // 1: mov [rdi + 4], eax; mov [rdi], eax; mov [rdi + 8], eax; inc eax; loop 1b; int 0x50
    EXPECT_EQ(guest.vector(), 0x50);
    EXPECT_EQ(guest.state.registers[rbx], 3u);
    EXPECT_EQ(guest.read<std::uint32_t>(Guest::data + 8), guest.read<std::uint32_t>(Guest::data));
}

TEST_P(Debug, AddressesAboveFourGigabytesAreNotCompatibilityCodes) {
    Guest guest(Start::compatible32);
    arm(guest.state, 0, 1ull << 32 | Guest::data, Condition::write, 4);
    guest.state.registers[rdi] = Guest::data;
    guest.go(pace(), {0x89, 0x07, 0xf4});
    EXPECT_EQ(guest.vector(), -1);
}

// An instruction that faults has not met what it touched on the way.
TEST_P(Debug, FaultsForgetTheAccess) {
    Guest guest(Start::kernel64);
    arm(guest.state, 0, Guest::data, Condition::access, 8);
    guest.state.registers[rsi] = Guest::data;
    guest.state.registers[rdi] = 0x40000000;
    guest.go(pace(), {0xa5, 0xf4});  // movsd
    EXPECT_EQ(guest.vector(), 14);
    EXPECT_EQ(guest.debug_status(), 0u);
}

// What delivery itself pushes counts as well: the trap comes before the handler's first instruction.
TEST_P(Debug, FrameOfAnExceptionIsData) {
    Guest guest(Start::kernel64);
    arm(guest.state, 0, Guest::program_stack - 16, Condition::write, 8);  // RSP of the frame
    guest.go(pace(), {0x0f, 0x0b});
    EXPECT_EQ(guest.vector(), debug_vector);
    EXPECT_EQ(guest.pushed_rip(), guest.handler(6));
    EXPECT_EQ(guest.debug_status(), bit0);
}

// A handler whose own frame is watched is entered for ever, without an instruction: only cycles end that.
TEST_P(Debug, TrapThatCausesItselfEndsWithTheBudget) {
    Guest guest(Start::kernel64);
    guest.interrupt_gate(1, Guest::gate(0xee, Guest::code64, guest.handler(1)) | 1ull << 32);  // IST1
    arm(guest.state, 0, Guest::interrupt_stack - 8, Condition::write, 8);
    arm(guest.state, 1, Guest::data, Condition::write, 8);
    guest.state.registers[rdi] = Guest::data;
    const Exit exit = guest.go(pace(), {0x89, 0x07, 0xf4});
    EXPECT_EQ(exit.reason, ExitReason::deadline);
    EXPECT_EQ(guest.state.rip, guest.handler(1));
}

// --- Repeated string instructions

TEST_P(Debug, RepeatedStringStopsBehindTheIteration) {
    for (const bool backward : {false, true}) {
        Guest guest(Start::kernel64);
        arm(guest.state, 0, Guest::data + 16, Condition::write, 4);
        guest.state.registers[rdi] = Guest::data + (backward ? 36 : 0);
        guest.state.registers[rcx] = 10;
        if (backward) guest.state.rflags |= rflags::df;
        guest.go(pace(), {0xf3, 0xab, 0xf4});  // rep stosd
        EXPECT_EQ(guest.vector(), debug_vector);
        EXPECT_EQ(guest.pushed_rip(), Guest::code) << "it goes on";
        EXPECT_EQ(guest.pushed_flags() & rflags::rf, rflags::rf);
        EXPECT_EQ(guest.state.registers[rcx], backward ? 4u : 5u);
        EXPECT_EQ(guest.debug_status(), bit0);
    }
}

TEST_P(Debug, LastIterationIsTheEndOfTheInstruction) {
    Guest guest(Start::kernel32);
    arm(guest.state, 0, Guest::data + 9, Condition::access, 1);
    guest.state.registers[rsi] = Guest::data;
    guest.state.registers[rcx] = 10;
    guest.go(pace(), {0xf3, 0xac, 0xf4});  // rep lodsb
    EXPECT_EQ(guest.vector(), debug_vector);
    EXPECT_EQ(guest.pushed_rip(), Guest::code + 2);
    EXPECT_EQ(guest.pushed_flags() & rflags::rf, 0u);
    EXPECT_EQ(guest.state.registers[rcx], 0u);
}

// The instruction breakpoint is met once, however often the string instruction is left and gone on with.
TEST_P(Debug, BreakpointOnARepeatedStringIsMetOnce) {
    Guest guest(Start::kernel64);
    arm(guest.state, 0, Guest::code + 1, Condition::execute);
    arm(guest.state, 1, Guest::data + 0x8000, Condition::write, 1);
    // inc rbx; mov rax, dr6; test al, 1; jz 1f; or byte [rsp + 18], 1; 1: xor eax, eax; mov dr6, rax; iretq
    guest.place(0x11000, {0x48, 0xff, 0xc3, 0x0f, 0x21, 0xf0, 0xa8, 1,    0x74, 5,    0x80,
                          0x4c, 0x24, 18,   1,    0x31, 0xc0, 0x0f, 0x23, 0xf0, 0x48, 0xcf});
    guest.interrupt_gate(1, Guest::gate(0xee, Guest::code64, 0x11000));
    guest.state.registers[rbx] = 0;
    guest.state.registers[rdi] = Guest::data;
    guest.state.registers[rcx] = 0x9000;
    guest.go(pace(), {0x90, 0xf3, 0xaa, 0xcd, 0x50});
    EXPECT_EQ(guest.vector(), 0x50);
    EXPECT_EQ(guest.state.registers[rbx], 2u);
    EXPECT_EQ(guest.state.registers[rcx], 0u);
}

// An interrupt between iterations finds RF set, one behind the last does not.
TEST(DebugRepeat, InterruptBetweenIterationsPushesTheResumeFlag) {
    for (const std::uint64_t count : {4096u, 5000u}) {
        Guest guest(Start::kernel64);
        guest.state.registers[rdi] = Guest::data;
        guest.state.registers[rcx] = count;
        guest.place(Guest::code, {0xf3, 0xaa, 0x90, 0xf4});
        guest.engine.set_state(guest.state);
        EXPECT_EQ(guest.engine.run({.until_cycles = 1}).reason, ExitReason::deadline);
        EXPECT_EQ(guest.engine.state().registers[rcx], count - 4096);
        guest.engine.raise_nmi();
        guest.go_on(Pace::whole);
        EXPECT_EQ(guest.vector(), 2);
        const bool done = count == 4096;
        EXPECT_EQ(guest.pushed_rip(), Guest::code + (done ? 2 : 0));
        EXPECT_EQ(guest.pushed_flags() & rflags::rf, done ? 0 : rflags::rf);
    }
}

TEST_P(Debug, SingleStepsOfARepeatedString) {
    Guest guest(Start::kernel64);
    guest.state.rflags |= rflags::tf;
    guest.state.registers[rdi] = Guest::data;
    guest.state.registers[rbx] = 0;
    guest.state.registers[rcx] = 3;
    // inc ebx; mov edx, [rsp + 16]; shr edx, 16; and edx, 1; add eax, edx; iretq: counts steps, and RF in their images
    guest.place(0x11000, {0xff, 0xc3, 0x8b, 0x54, 0x24, 0x10, 0xc1, 0xea, 0x10, 0x83, 0xe2, 1, 0x01, 0xd0, 0x48, 0xcf});
    guest.interrupt_gate(1, Guest::gate(0xee, Guest::code64, 0x11000));
    guest.state.registers[rax] = 0;
    guest.go(pace(), {0xf3, 0xaa, 0xcd, 0x50});
    EXPECT_EQ(guest.state.registers[rbx], 3u) << "one for each iteration";
    EXPECT_EQ(guest.state.registers[rax], 2u) << "RF in all but the last";
}

// --- Ports

TEST_P(Debug, PortBreakpoints) {
    struct Case {
        std::initializer_list<unsigned> code;
        std::uint64_t port, length;
        bool extensions, hits;
    };
    const Case cases[] = {
        {{0xe4, 0x80}, 0x80, 1, true, true},    // in al, 0x80
        {{0xe6, 0x80}, 0x80, 1, true, true},    // out 0x80, al
        {{0xe6, 0x80}, 0x80, 1, false, false},  // R/W = 10B means nothing without CR4.DE
        {{0xe6, 0x81}, 0x80, 1, true, false},   //
        {{0xe6, 0x83}, 0x80, 4, true, true},    // within the length
        {{0xe7, 0x7e}, 0x80, 1, true, true},    // out 0x7e, eax: four ports
        {{0xe6, 0x82}, 0x83, 2, true, true},    // the port is aligned down
        {{0x6e}, 0x83, 2, true, false},         // outsb to DX = 0x1080
        {{0x6e}, 0x1080, 2, true, true},        //
        {{0x6c}, 0x1080, 1, true, true},        // insb
        {{0xec}, 0x1080, 1, true, true},        // in al, dx
    };
    for (const Case& test : cases) {
        SCOPED_TRACE(test.port);
        Guest guest(Start::kernel32);
        if (test.extensions) guest.state.cr4 |= cr4::de;
        guest.state.registers[rdx] = 0x1080;
        guest.state.registers[rsi] = guest.state.registers[rdi] = Guest::data;
        arm(guest.state, 3, test.port, Condition::port, test.length);
        guest.place(Guest::code, test.code);
        guest.place(Guest::code + test.code.size(), {0x90, 0xf4});
        guest.go(pace());
        EXPECT_EQ(guest.vector(), test.hits ? debug_vector : -1);
        if (test.hits) {
            EXPECT_EQ(guest.pushed_rip(), Guest::code + test.code.size());
            EXPECT_EQ(guest.debug_status(), bit3);
        }
    }
}

TEST_P(Debug, RepeatedPortAccessStopsBehindTheIteration) {
    Guest guest(Start::kernel32);
    guest.state.cr4 |= cr4::de;
    arm(guest.state, 0, 0x1080, Condition::port);
    guest.state.registers[rdx] = 0x1080;
    guest.state.registers[rcx] = 5;
    guest.state.registers[rsi] = Guest::data;
    guest.go(pace(), {0xf3, 0x6e, 0xf4});
    EXPECT_EQ(guest.vector(), debug_vector);
    EXPECT_EQ(guest.pushed_rip(), Guest::code);
    EXPECT_EQ(guest.state.registers[rcx], 4u);
}

// --- Single steps

TEST_P(Debug, StepAndDataBreakpointAreOneException) {
    Guest guest(Start::kernel64);
    arm(guest.state, 1, Guest::data, Condition::write, 4);
    guest.state.rflags |= rflags::tf;
    guest.state.registers[rdi] = Guest::data;
    guest.go(pace(), {0x89, 0x07, 0xf4});
    EXPECT_EQ(guest.vector(), debug_vector);
    EXPECT_EQ(guest.debug_status(), bit1 | dr6::bs);
    EXPECT_EQ(guest.pushed_rip(), Guest::code + 2);
    EXPECT_EQ(guest.pushed_flags() & rflags::tf, rflags::tf);
    EXPECT_EQ(guest.state.rflags & rflags::tf, 0u);
    EXPECT_EQ(guest.state.registers[rsp], Guest::program_stack - 40) << "one frame";
}

// B0 to B3 are of this exception, the other bits stay until software clears them.
TEST_P(Debug, StatusKeepsAllButTheBreakpointBits) {
    Guest guest(Start::kernel64);
    guest.state.dr6 |= bit2 | dr6::bt;
    guest.state.rflags |= rflags::tf;
    guest.go(pace(), {0x90, 0xf4});
    EXPECT_EQ(guest.debug_status(), dr6::bt | dr6::bs);
}

// The trap flag is gone before the handler runs: nothing steps into it.
TEST_P(Debug, SoftwareInterruptsAreNotSteppedInto) {
    for (const std::initializer_list<unsigned> code : {std::initializer_list<unsigned>{0xcd, 0x50}, {0xcc}}) {
        Guest guest(Start::kernel64);
        guest.state.rflags |= rflags::tf;
        guest.place(Guest::code, code);
        guest.go(pace());
        EXPECT_EQ(guest.vector(), code.size() == 2 ? 0x50 : 3);
        EXPECT_EQ(guest.debug_status(), 0u);
        EXPECT_EQ(guest.pushed_flags() & rflags::tf, rflags::tf);
    }
    Guest guest(Start::kernel32);
    guest.state.rflags |= rflags::tf | rflags::of;
    guest.go(pace(), {0xce});  // into
    EXPECT_EQ(guest.vector(), 4);
}

TEST_P(Debug, IntoThatDoesNothingIsAStep) {
    Guest guest(Start::kernel32);
    guest.state.rflags |= rflags::tf;
    guest.go(pace(), {0xce, 0xf4});
    EXPECT_EQ(guest.vector(), debug_vector);
    EXPECT_EQ(guest.debug_status(), dr6::bs);
}

// INT1 is a #DB like any other, but says nothing in DR6 and asks for no privilege.
TEST_P(Debug, Int1) {
    Guest guest(Start::user64);
    guest.interrupt_gate(1, Guest::gate(0x8e, Guest::code64, guest.handler(1)));
    guest.state.dr6 |= bit3;
    guest.state.dr7 |= dr7::gd;
    guest.go(pace(), {0xf1});
    EXPECT_EQ(guest.vector(), debug_vector);
    EXPECT_EQ(guest.debug_status(), bit3);
    EXPECT_EQ(guest.state.dr7 & dr7::gd, 0u);
    EXPECT_EQ(guest.pushed_rip(), Guest::code + 1);
}

TEST_P(Debug, PopfSetsTheTrapFlagForTheNextInstruction) {
    Guest guest(Start::kernel64);
    guest.write(Guest::program_stack, std::uint64_t{rflags::fixed_one | rflags::tf | rflags::rf});
    arm(guest.state, 0, Guest::code + 2, Condition::execute);
    guest.go(pace(), {0x9d, 0x90, 0x90, 0xf4});
    EXPECT_EQ(guest.pushed_rip(), Guest::code + 2);
    EXPECT_EQ(guest.debug_status(), dr6::bs) << "the trap of one instruction comes before the breakpoint of the next";
}

TEST_P(Debug, PopfNeverSetsTheResumeFlag) {
    Guest guest(Start::kernel64);
    guest.write(Guest::program_stack, std::uint64_t{rflags::fixed_one | rflags::rf});
    arm(guest.state, 0, Guest::code + 1, Condition::execute);
    guest.go(pace(), {0x9d, 0x90, 0xf4});
    EXPECT_EQ(guest.vector(), debug_vector);
    EXPECT_EQ(guest.pushed_rip(), Guest::code + 1);
}

TEST_P(Debug, PopfThatClearsTheTrapFlagStillTraps) {
    Guest guest(Start::kernel64);
    guest.state.rflags |= rflags::tf;
    guest.write(Guest::program_stack, std::uint64_t{rflags::fixed_one});
    guest.go(pace(), {0x9d, 0x90, 0xf4});
    EXPECT_EQ(guest.pushed_rip(), Guest::code + 1);
    EXPECT_EQ(guest.pushed_flags() & rflags::tf, 0u);
}

// IRET that was itself covered by RF leaves RF as it popped it.
TEST_P(Debug, IretSetsTheResumeFlag) {
    for (const bool with_flag : {false, true}) {
        Guest guest(Start::kernel32);
        guest.state.rflags |= rflags::rf;
        guest.state.registers[rsp] -= 12;
        const auto top = static_cast<std::uint64_t>(guest.state.registers[rsp]);
        guest.write(top, static_cast<std::uint32_t>(Guest::code + 1));
        guest.write(top + 4, std::uint32_t{Guest::code32});
        guest.write(top + 8, static_cast<std::uint32_t>(rflags::fixed_one | (with_flag ? rflags::rf : 0)));
        arm(guest.state, 0, Guest::code + 1, Condition::execute);
        guest.go(pace(), {0xcf, 0x90, 0xf4});
        EXPECT_EQ(guest.vector(), with_flag ? -1 : debug_vector);
    }
}

TEST_P(Debug, HaltIsAStepToo) {
    Guest guest(Start::kernel64);
    guest.state.rflags |= rflags::tf;
    guest.go(pace(), {0xf4, 0x90});
    EXPECT_EQ(guest.vector(), debug_vector);
    EXPECT_EQ(guest.pushed_rip(), Guest::code + 1);
}

// SYSCALL and SYSRET look at the trap flag as they leave it.
TEST_P(Debug, SystemCallIsNotSteppedIntoIfTheFlagIsMasked) {
    for (const bool masked : {false, true}) {
        Guest guest(Start::user64);
        guest.state.rflags |= rflags::tf;
        guest.state.msr.star = std::uint64_t{Guest::code64} << 32;
        guest.state.msr.lstar = 0x11000;
        guest.state.msr.sfmask = masked ? rflags::tf : 0;
        guest.place(0x11000, {0x90, 0xf4});
        guest.go(pace(), {0x0f, 0x05});
        EXPECT_EQ(guest.vector(), masked ? -1 : debug_vector);
        EXPECT_TRUE(masked || guest.pushed_rip() == 0x11000);
    }
}

TEST_P(Debug, SystemReturnThatSetsTheFlagTrapsAtOnce) {
    Guest guest(Start::kernel64);
    guest.state.msr.star = std::uint64_t{Guest::user_data32 - 8} << 48;
    guest.state.registers[rcx] = 0x11000;
    guest.state.registers[r11] = rflags::fixed_one | rflags::tf;
    guest.place(0x11000, {0x90, 0xf4});
    guest.go(pace(), {0x48, 0x0f, 0x07});
    EXPECT_EQ(guest.vector(), debug_vector);
    EXPECT_EQ(guest.pushed_rip(), 0x11000u);
    EXPECT_EQ(guest.debug_status(), dr6::bs);
}

// --- MOV SS and POP SS (SDM vol. 3A, 6.8.3)

TEST_P(Debug, StackSegmentLoadSwallowsTheStep) {
    for (const std::initializer_list<unsigned> load : {std::initializer_list<unsigned>{0x8e, 0xd0}, {0x17}}) {
        Guest guest(Start::kernel32);
        guest.state.rflags |= rflags::tf;
        guest.state.registers[rax] = Guest::data32;
        guest.write(Guest::program_stack, std::uint32_t{Guest::data32});
        guest.place(Guest::code, load);
        guest.place(Guest::code + load.size(), {0x90, 0x90, 0xf4});
        guest.go(pace());
        EXPECT_EQ(guest.vector(), debug_vector);
        EXPECT_EQ(guest.pushed_rip(), Guest::code + load.size() + 1);
    }
}

// It is lost, not late: INT n behind it is not stepped into.
TEST_P(Debug, SwallowedStepDoesNotComeBack) {
    Guest guest(Start::kernel32);
    guest.state.rflags |= rflags::tf;
    guest.state.registers[rax] = Guest::data32;
    guest.go(pace(), {0x8e, 0xd0, 0xcd, 0x50});
    EXPECT_EQ(guest.vector(), 0x50);
    EXPECT_EQ(guest.debug_status(), 0u);
}

TEST_P(Debug, StackSegmentLoadPostponesTheDataBreakpoint) {
    Guest guest(Start::kernel32);
    arm(guest.state, 0, Guest::data, Condition::access, 2);
    arm(guest.state, 1, Guest::code + 2, Condition::execute);  // shadowed, and never reported
    guest.state.registers[rdi] = Guest::data;
    guest.write(Guest::data, std::uint16_t{Guest::data32});
    guest.go(pace(), {0x8e, 0x17, 0x90, 0x90, 0xf4});  // mov ss, [edi]
    EXPECT_EQ(guest.vector(), debug_vector);
    EXPECT_EQ(guest.debug_status(), bit0);
    EXPECT_EQ(guest.pushed_rip(), Guest::code + 3);
}

// The trap of MOV SS comes behind INT n: at the handler's first instruction.
TEST_P(Debug, PostponedBehindASoftwareInterrupt) {
    Guest guest(Start::kernel32);
    arm(guest.state, 0, Guest::data, Condition::access, 2);
    guest.state.registers[rdi] = Guest::data;
    guest.write(Guest::data, std::uint16_t{Guest::data32});
    guest.go(pace(), {0x8e, 0x17, 0xcd, 0x50});
    EXPECT_EQ(guest.vector(), debug_vector);
    EXPECT_EQ(guest.pushed_rip(), guest.handler(0x50));
    EXPECT_EQ(guest.debug_status(), bit0);
}

TEST_P(Debug, StiShadowsNoStep) {
    Guest guest(Start::kernel32);
    guest.state.rflags = (guest.state.rflags | rflags::tf) & ~rflags::if_;
    guest.go(pace(), {0xfb, 0x90, 0xf4});
    EXPECT_EQ(guest.pushed_rip(), Guest::code + 1);
}

// --- Order

// Table 6-2: the trap of the last instruction, then NMI.
TEST_P(Debug, TrapComesBeforeNmi) {
    Guest guest(Start::kernel64);
    guest.state.pending_debug = dr6::bs;
    guest.state.nmi_pending = true;
    guest.go(pace(), {0x90, 0xf4});
    EXPECT_EQ(guest.vector(), 2);
    EXPECT_EQ(guest.pushed_rip(), guest.handler(1)) << "NMI interrupts the handler's beginning";
    EXPECT_EQ(guest.debug_status(), dr6::bs);
}

TEST_P(Debug, NmiComesBeforeTheInstructionBreakpoint) {
    Guest guest(Start::kernel64);
    arm(guest.state, 0, Guest::code, Condition::execute);
    guest.state.nmi_pending = true;
    guest.go(pace(), {0x90, 0xf4});
    EXPECT_EQ(guest.vector(), 2);
    EXPECT_EQ(guest.debug_status(), 0u);
}

TEST_P(Debug, DataTrapComesBeforeTheNextInstructionsBreakpoint) {
    Guest guest(Start::kernel64);
    arm(guest.state, 0, Guest::code + 2, Condition::execute);
    arm(guest.state, 1, Guest::data, Condition::write, 4);
    guest.state.registers[rdi] = Guest::data;
    guest.go(pace(), {0x89, 0x07, 0x90, 0xf4});
    EXPECT_EQ(guest.vector(), debug_vector);
    EXPECT_EQ(guest.debug_status(), bit1);
}

TEST_P(Debug, TaskSwitchClearsLocalBreakpoints) {
    Guest guest(Start::kernel32);
    constexpr std::uint64_t target = 0x12000;
    for (unsigned n = 0; n < 0x68; ++n) guest.write(Guest::other_task_state + n, std::uint8_t{0});
    guest.descriptor(Guest::spare, Guest::system_descriptor(0x89, Guest::other_task_state, 0x67));
    const auto set = [&](unsigned at, std::uint32_t value) { guest.write(Guest::other_task_state + at, value); };
    set(0x20, static_cast<std::uint32_t>(target));
    set(0x24, 2);
    set(0x38, 0x8800);
    for (const unsigned at : {0x48u, 0x50u, 0x54u, 0x58u, 0x5cu}) set(at, Guest::data32);
    set(0x4c, Guest::code32);
    guest.place(target, {0x90, 0x90, 0xf4});
    arm(guest.state, 0, target, Condition::execute);
    arm(guest.state, 1, target + 1, Condition::execute, 1, true);
    guest.go(pace(), {0xea, 0, 0, 0, 0, Guest::spare, 0});
    EXPECT_EQ(guest.vector(), debug_vector);
    EXPECT_EQ(guest.debug_status(), bit1);
    EXPECT_EQ(guest.state.dr7 & 0xff, 8u);
}

}  // namespace

}  // namespace xenolith::test
