// The points of a debugger outside the guest: where they stop it, how it goes on, and that it sees nothing of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "tests/cpu/debug_guest.hpp"

namespace xenolith::test {

namespace {

using namespace cpu;
using Guest = DebugGuest;
using Kind = DebugPoint::Kind;

class DebugPoints : public testing::TestWithParam<Pace> {
  protected:
    Pace pace() const { return GetParam(); }
};

INSTANTIATE_TEST_SUITE_P(Paces, DebugPoints, testing::Values(Pace::whole, Pace::budget, Pace::single), pace_name);

TEST_P(DebugPoints, ExecutePointStopsBeforeTheInstruction) {
    for (const Start start : {Start::real, Start::vm86, Start::kernel16, Start::kernel32, Start::user32,
                              Start::kernel64, Start::user64, Start::compatible32}) {
        SCOPED_TRACE(static_cast<int>(start));
        Guest guest(start);
        const DebugPoint point{Kind::execute, guest.first_byte() + 2};
        guest.engine.set_debug_points({{Kind::execute, 0x5000}, point});
        const std::uint64_t begin = guest.state.rip;
        const Exit exit = guest.go(pace(), {0xb0, 1, 0xb0, 2, 0xcd, 0x50});  // mov al, 1; mov al, 2; int 0x50
        EXPECT_EQ(exit.reason, ExitReason::debug_point);
        EXPECT_EQ(exit.point, point);
        EXPECT_EQ(guest.state.rip, begin + 2);
        EXPECT_EQ(guest.state.registers[rax], 1u);
        EXPECT_EQ(guest.engine.instructions(), 1u);
        EXPECT_EQ(guest.state.dr6, dr6::fixed_ones);
        EXPECT_EQ(guest.state.rflags & (rflags::rf | rflags::tf), 0u);
        EXPECT_EQ(guest.go_on(pace()).reason, ExitReason::halted);
        EXPECT_EQ(guest.state.registers[rax], 2u);
        EXPECT_EQ(guest.vector(), 0x50);
    }
}

TEST_P(DebugPoints, EachTimeRoundALoop) {
    Guest guest(Start::kernel64);
    guest.engine.set_debug_points({{Kind::execute, Guest::code}});
    guest.state.registers[rcx] = 4;
    guest.place(Guest::code, {0xff, 0xc0, 0xe2, 0xfc, 0xf4});  // 1: inc eax; loop 1b; hlt
    Exit exit = guest.go(pace());
    for (std::uint64_t left = 3; left > 0; --left) {
        EXPECT_EQ(exit.reason, ExitReason::debug_point);
        EXPECT_EQ(guest.state.rip, Guest::code);
        EXPECT_EQ(guest.state.registers[rcx], left);
        exit = guest.go_on(pace());
    }
    EXPECT_EQ(exit.reason, ExitReason::halted);
}

TEST_P(DebugPoints, InstructionThatJumpsToItself) {
    Guest guest(Start::kernel64);
    guest.engine.set_debug_points({{Kind::execute, Guest::code}});
    guest.place(Guest::code, {0xeb, 0xfe});
    guest.go(pace());
    for (unsigned n = 2; n < 6; ++n) {
        EXPECT_EQ(guest.go_on(pace()).reason, ExitReason::debug_point);
        EXPECT_EQ(guest.engine.instructions(), n);
    }
}

TEST_P(DebugPoints, ManyPointsInOneBlock) {
    Guest guest(Start::kernel64);
    std::vector<DebugPoint> points;
    for (unsigned n = 0; n < 200; ++n) {
        guest.place(Guest::code + n, {0x90});
        if (n % 3 == 1) points.push_back({Kind::execute, Guest::code + n});
    }
    guest.place(Guest::code + 200, {0xf4});
    guest.engine.set_debug_points(points);
    Exit exit = guest.go(pace());
    for (const DebugPoint& point : points) {
        ASSERT_EQ(exit.reason, ExitReason::debug_point);
        EXPECT_EQ(exit.point, point);
        EXPECT_EQ(guest.state.rip, point.linear);
        exit = guest.go_on(pace());
    }
    EXPECT_EQ(exit.reason, ExitReason::halted);
    EXPECT_EQ(guest.engine.instructions(), 201u);
}

TEST_P(DebugPoints, RangeOfInstructions) {
    Guest guest(Start::kernel64);
    guest.engine.set_debug_points({{Kind::execute, Guest::code + 2, 5}});
    std::vector<std::uint64_t> stops;
    for (Exit exit = guest.go(pace(), {0xb0, 1, 0xb8, 1, 0, 0, 0, 0xb0, 3, 0xf4}); exit.reason != ExitReason::halted;
         exit = guest.go_on(pace()))
        stops.push_back(guest.state.rip - Guest::code);
    EXPECT_THAT(stops, testing::ElementsAre(2));
}

TEST_P(DebugPoints, SetAndTakenAwayBetweenRuns) {
    Guest guest(Start::kernel64);
    guest.place(Guest::code, {0xff, 0xc0, 0xff, 0xc3, 0xeb, 0xfa});  // 1: inc eax; inc ebx; jmp 1b
    guest.engine.set_state(guest.state);
    const auto run = [&] {
        const Exit exit = guest.engine.run({.until_cycles = guest.engine.cycles() + 1000});
        return exit.reason == ExitReason::debug_point ? guest.engine.state().rip - Guest::code : 99;
    };
    EXPECT_EQ(run(), 99u);  // the code is cached by now
    guest.engine.set_debug_points({{Kind::execute, Guest::code + 2}});
    EXPECT_EQ(run(), 2u);
    EXPECT_EQ(run(), 2u);
    guest.engine.set_debug_points({{Kind::execute, Guest::code + 4}});
    EXPECT_EQ(run(), 4u);
    guest.engine.set_debug_points({});
    EXPECT_EQ(run(), 99u);
}

TEST_P(DebugPoints, FirstInstructionOfAHandler) {
    Guest guest(Start::user64);
    guest.engine.set_debug_points({{Kind::execute, guest.handler(13)}});
    EXPECT_EQ(guest.go(pace(), {0xf4}).reason, ExitReason::debug_point);
    EXPECT_EQ(guest.state.rip, guest.handler(13));
    EXPECT_EQ(guest.state.cpl(), 0u);
}

TEST_P(DebugPoints, CodeThatCannotBeFetched) {
    Guest guest(Start::kernel64);
    guest.engine.set_debug_points({{Kind::execute, 0x40000000}});
    guest.state.registers[rax] = 0x40000000;
    EXPECT_EQ(guest.go(pace(), {0xff, 0xe0}).reason, ExitReason::debug_point);
    EXPECT_EQ(guest.state.rip, 0x40000000u);
    guest.go_on(pace());
    EXPECT_EQ(guest.vector(), 14);
}

// A fault restarts the instruction with RF set: it is the same arrival.
TEST_P(DebugPoints, RestartedInstructionStopsOnce) {
    Guest guest(Start::kernel64);
    guest.engine.set_debug_points({{Kind::execute, Guest::code}, {Kind::execute, Guest::code + 2}});
    guest.place(guest.handler(0), {0xb9, 1, 0, 0, 0, 0x48, 0xcf});  // mov ecx, 1; iretq
    guest.state.registers[rcx] = guest.state.registers[rdx] = 0;
    guest.go(pace(), {0xf7, 0xf1, 0x90, 0xf4});  // div ecx; nop; hlt
    EXPECT_EQ(guest.state.rip, Guest::code + 2);
}

TEST_P(DebugPoints, RepeatedStringStopsOnceAtItsStart) {
    Guest guest(Start::kernel64);
    guest.engine.set_debug_points({{Kind::execute, Guest::code + 1}});
    guest.state.registers[rdi] = Guest::data;
    guest.state.registers[rcx] = 0x9000;
    EXPECT_EQ(guest.go(pace(), {0x90, 0xf3, 0xaa, 0xf4}).reason, ExitReason::debug_point);
    EXPECT_EQ(guest.state.registers[rcx], 0x9000u);
    EXPECT_EQ(guest.go_on(pace()).reason, ExitReason::halted);
}

// --- A run that ends where a point is

TEST(DebugPointAtTheEnd, OfABudgetOfInstructions) {
    Guest guest(Start::kernel64);
    guest.place(Guest::code, {0x90, 0x90, 0x90, 0xf4});
    guest.engine.set_debug_points({{Kind::execute, Guest::code + 2}});
    guest.engine.set_state(guest.state);
    EXPECT_EQ(guest.engine.run({.instructions = 2}).reason, ExitReason::debug_point);
    EXPECT_EQ(guest.engine.state().rip, Guest::code + 2);
    EXPECT_EQ(guest.engine.run({.instructions = 1}).reason, ExitReason::instructions);
    EXPECT_EQ(guest.engine.state().rip, Guest::code + 3);
}

TEST(DebugPointAtTheEnd, OfTimeAndOfAStop) {
    Guest guest(Start::kernel64);
    guest.place(Guest::code, {0x90, 0xeb, 0xfd});  // 1: nop; jmp 1b
    guest.engine.set_debug_points({{Kind::execute, Guest::code}});
    guest.engine.set_state(guest.state);
    EXPECT_EQ(guest.engine.run({.until_cycles = 1}).reason, ExitReason::debug_point);
    guest.engine.request_stop();
    EXPECT_EQ(guest.engine.run({}).reason, ExitReason::stopped) << "it begins there";
    EXPECT_EQ(guest.engine.run({.until_cycles = guest.engine.cycles()}).reason, ExitReason::deadline);
    EXPECT_EQ(guest.engine.run({}).reason, ExitReason::debug_point);
}

// --- Data

TEST_P(DebugPoints, KindsOfAccess) {
    struct Case {
        std::initializer_list<unsigned> code;
        bool reads, writes;
    };
    const Case cases[] = {
        {{0x8b, 0x07}, true, false},  // mov eax, [rdi]
        {{0x89, 0x07}, false, true},  // mov [rdi], eax
        {{0x01, 0x07}, true, true},   // add [rdi], eax
        {{0x87, 0x07}, true, true},   // xchg [rdi], eax
        {{0xa5}, true, true},         // movsd, from and to the same place
        {{0xab}, false, true},        // stosd
        {{0x8d, 0x07}, false, false},
    };
    for (const Case& test : cases) {
        for (const Kind kind : {Kind::read, Kind::write, Kind::access}) {
            Guest guest(Start::kernel64);
            const DebugPoint point{kind, Guest::data + 3, 1};
            guest.engine.set_debug_points({point});
            guest.state.registers[rdi] = guest.state.registers[rsi] = Guest::data;
            guest.place(Guest::code, {0x0f, 0x1f, 0x07});  // nop [rdi]
            guest.place(Guest::code + 3, test.code);
            guest.place(Guest::code + 3 + test.code.size(), {0x90, 0xf4});
            const bool hits = (kind != Kind::write && test.reads) || (kind != Kind::read && test.writes);
            const Exit exit = guest.go(pace());
            ASSERT_EQ(exit.reason, hits ? ExitReason::debug_point : ExitReason::halted);
            if (!hits) continue;
            EXPECT_EQ(exit.point, point);
            EXPECT_EQ(guest.state.rip, Guest::code + 3 + test.code.size()) << "behind the instruction";
            EXPECT_EQ(guest.go_on(pace()).reason, ExitReason::halted);
        }
    }
}

TEST_P(DebugPoints, DataOfAnySize) {
    struct Case {
        DebugPoint point;
        bool hits;
    };
    const Case cases[] = {
        {{Kind::write, 0, ~std::uint64_t{0}}, true},        {{Kind::write, Guest::data - 100, 101}, true},
        {{Kind::write, Guest::data - 100, 100}, false},     {{Kind::write, Guest::data + 7, 4096}, true},
        {{Kind::write, Guest::data + 8, 4096}, false},      {{Kind::write, Guest::data, 0}, false},
        {{Kind::write, ~std::uint64_t{0} - 2, 100}, false},
    };
    for (const Case& test : cases) {
        Guest guest(Start::kernel64);
        guest.engine.set_debug_points({{Kind::execute, 1}, test.point});
        guest.state.registers[rdi] = Guest::data;
        const Exit exit = guest.go(pace(), {0x48, 0x89, 0x07, 0x90, 0xf4});
        EXPECT_EQ(exit.reason, test.hits ? ExitReason::debug_point : ExitReason::halted);
    }
}

// The TLB knows the page already, and opens it again.
TEST_P(DebugPoints, PageThatWasQuickBefore) {
    Guest guest(Start::kernel64);
    guest.place(Guest::code, {0x89, 0x07, 0x8b, 0x07, 0xff, 0xc0, 0xeb, 0xf8});  // 1: store; load; inc eax; jmp 1b
    guest.state.registers[rdi] = Guest::data;
    guest.engine.set_state(guest.state);
    const auto run = [&] {
        const Exit exit = guest.engine.run({.until_cycles = guest.engine.cycles() + 1000});
        return exit.reason == ExitReason::debug_point ? guest.engine.state().rip - Guest::code : 99;
    };
    EXPECT_EQ(run(), 99u);
    guest.engine.set_debug_points({{Kind::read, Guest::data}});
    EXPECT_EQ(run(), 4u);
    EXPECT_EQ(run(), 4u);
    guest.engine.set_debug_points({{Kind::write, Guest::data}});
    EXPECT_EQ(run(), 2u);
    guest.engine.set_debug_points({{Kind::write, Guest::data + 100}});
    EXPECT_EQ(run(), 99u);
}

TEST_P(DebugPoints, RepeatedStringStopsBehindTheIterationThatWrites) {
    Guest guest(Start::kernel64);
    guest.engine.set_debug_points({{Kind::write, Guest::data + 0x1234}});
    guest.state.registers[rdi] = Guest::data;
    guest.state.registers[rcx] = 0x3000;
    EXPECT_EQ(guest.go(pace(), {0xf3, 0xaa, 0xf4}).reason, ExitReason::debug_point);
    EXPECT_EQ(guest.state.registers[rdi], Guest::data + 0x1235);
    EXPECT_EQ(guest.state.rip, Guest::code);
    EXPECT_EQ(guest.go_on(pace()).reason, ExitReason::halted);
}

// What the CPU does on its own account is seen too: the frame of an exception, the accessed bit of a descriptor.
TEST_P(DebugPoints, AccessesOfTheCpuItself) {
    Guest guest(Start::user32);
    guest.descriptor(Guest::user_data32, raw::user_data32 & ~(1ull << 40));
    guest.engine.set_debug_points(
        {{Kind::write, Guest::kernel_stack - 4, 4}, {Kind::write, Guest::gdt + Guest::user_data32, 8}});
    guest.state.registers[rax] = Guest::user_data32 | 3;
    Exit exit = guest.go(pace(), {0x8e, 0xd8, 0xcd, 0x50});  // mov ds, eax; int 0x50
    EXPECT_EQ(exit.reason, ExitReason::debug_point);
    EXPECT_EQ(guest.state.rip, Guest::code + 2);
    exit = guest.go_on(pace());
    EXPECT_EQ(exit.reason, ExitReason::debug_point);
    EXPECT_EQ(guest.state.rip, guest.handler(0x50));
    EXPECT_EQ(guest.go_on(pace()).reason, ExitReason::halted);
}

// --- With the guest's own

TEST_P(DebugPoints, DebuggerComesBeforeTheGuestsHandler) {
    Guest guest(Start::kernel64);
    guest.engine.set_debug_points({{Kind::execute, Guest::code}, {Kind::write, Guest::data, 4}});
    arm(guest.state, 0, Guest::data, Condition::write, 4);
    arm(guest.state, 1, Guest::code + 2, Condition::execute);
    guest.engine.set_debug_points({{Kind::write, Guest::data, 4}, {Kind::execute, Guest::code + 2}});
    guest.place(guest.handler(1), {0xff, 0xc3, 0x80, 0x4c, 0x24, 18, 1, 0x48, 0xcf});
    // inc ebx; or byte [rsp + 18], 1; iretq
    guest.state.registers[rdi] = Guest::data;
    guest.state.registers[rbx] = 0;
    EXPECT_EQ(guest.go(pace(), {0x89, 0x07, 0x90, 0xf4}).point.kind, Kind::write);
    EXPECT_EQ(guest.state.rip, Guest::code + 2);
    EXPECT_EQ(guest.state.registers[rbx], 0u);
    EXPECT_EQ(guest.state.pending_debug, 1u) << "the guest's trap is still to come";
    EXPECT_EQ(guest.state.dr6, dr6::fixed_ones);
    // Its handler sets RF, which hides the instruction from both.
    EXPECT_EQ(guest.go_on(pace()).reason, ExitReason::halted);
    EXPECT_EQ(guest.state.registers[rbx], 1u);
}

TEST_P(DebugPoints, BothAtOneInstruction) {
    Guest guest(Start::kernel64);
    arm(guest.state, 1, Guest::code + 1, Condition::execute);
    guest.engine.set_debug_points({{Kind::execute, Guest::code + 1}});
    EXPECT_EQ(guest.go(pace(), {0x90, 0x90, 0xf4}).reason, ExitReason::debug_point);
    EXPECT_EQ(guest.state.rip, Guest::code + 1);
    EXPECT_EQ(guest.go_on(pace()).reason, ExitReason::halted);
    EXPECT_EQ(guest.vector(), 1);
    EXPECT_EQ(guest.pushed_rip(), Guest::code + 1);
}

// --- What the guest sees of it

// A guest with interrupts, string instructions, single steps and its own breakpoint ends the same to the cycle,
// wherever it is watched and however it is run.
CpuState end_state(Pace pace, std::vector<DebugPoint> points, std::uint64_t& cycles, unsigned& stops) {
    Guest guest(Start::kernel64);
    guest.place(Guest::code, {0xb9, 0,    0x15, 0,    0,              // mov ecx, 0x1500
                              0xbf, 0,    0,    2,    0,              // mov edi, data
                              0xf3, 0xaa,                             // rep stosb
                              0xff, 0x05, 0xee, 0xff, 0, 0,           // inc dword [rip + 0xffee]: in the data
                              0x41, 0xff, 0xc0,                       // inc r8d
                              0x9c, 0x80, 0x4c, 0x24, 1, 1,           // pushf; or byte [rsp + 1], 1
                              0x9d, 0x90, 0x90,                       // popf; nop; nop
                              0x9c, 0x80, 0x64, 0x24, 1, 0xfe, 0x9d,  // and it off again
                              0xb9, 40,   0,    0,    0});            // mov ecx, 40
    const std::uint64_t inner = Guest::code + 42;
    for (unsigned n = 0; n < 30; ++n) guest.place(inner + n, {0x90});
    guest.place(inner + 30, {0xe2, 0xe0,                          // loop back to the NOPs
                             0x0f, 0xa2,                          // cpuid
                             0x41, 0x83, 0xf8, 5,                 // cmp r8d, 5
                             0x0f, 0x85, 0xaa, 0xff, 0xff, 0xff,  // jne to the start
                             0xcd, 0x50});
    guest.place(guest.handler(1), {0x41, 0xff, 0xc1, 0x48, 0xcf});  // inc r9d; iretq
    // Where interrupts come shows too: imul r10, r10, 3; add r10, [rsp]; iretq.
    guest.place(guest.handler(0), {0x4d, 0x6b, 0xd2, 3, 0x4c, 0x03, 0x14, 0x24, 0x48, 0xcf});
    guest.state.registers[r8] = guest.state.registers[r9] = guest.state.registers[r10] = 0;
    arm(guest.state, 0, Guest::data + 0x1003, Condition::write, 1);
    guest.engine.set_debug_points(std::move(points));
    guest.engine.set_state(guest.state);
    // The line is up for a while now and then, which comes in the middle of things.
    std::uint64_t next = 333;
    bool line = false;
    stops = 0;
    for (;;) {
        Budget budget{.until_cycles = next};
        if (pace != Pace::whole) budget.instructions = pace == Pace::single ? 1 : 7;
        const Exit exit = guest.engine.run(budget);
        if (exit.reason == ExitReason::debug_point) ++stops;
        if (exit.reason == ExitReason::halted) break;
        if (exit.reason != ExitReason::deadline) continue;
        line = !line;
        guest.engine.set_interrupt_line(line);
        next += line ? 70 : 333;
    }
    cycles = guest.engine.cycles();
    return guest.engine.state();
}

TEST_P(DebugPoints, GuestSeesNothing) {
    std::uint64_t cycles = 0, watched_cycles = 0;
    unsigned stops = 0;
    const CpuState plain = end_state(Pace::whole, {}, cycles, stops);
    EXPECT_EQ(stops, 0u);
    EXPECT_GT(plain.registers[r9], 10u);
    EXPECT_GT(plain.registers[r10], Guest::code);
    const std::vector<std::vector<DebugPoint>> choices = {
        {},
        {{Kind::execute, Guest::code, 0x20}, {Kind::execute, Guest::code + 0x38}},
        {{Kind::execute, Guest::code + 10}, {Kind::execute, Guest::code + 12}},
        {{Kind::access, Guest::data, 0x2000}},
        {{Kind::write, Guest::program_stack - 64, 64}},
        {{Kind::execute, 0, 1 << 20}, {Kind::access, 0, 1 << 20}},
    };
    for (const auto& points : choices) {
        const CpuState watched = end_state(pace(), points, watched_cycles, stops);
        EXPECT_EQ(stops > 0, !points.empty());
        EXPECT_EQ(watched_cycles, cycles);
        EXPECT_TRUE(watched == plain);
    }
}

}  // namespace

}  // namespace xenolith::test
