// What a guest on KVM does, and what it asks: ports, memory, HLT, budgets, limits, stops.
#include <x86intrin.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "tests/cpu/kvm_guest.hpp"

namespace xenolith::cpu::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

class KvmRun : public KvmTest {};

TEST_F(KvmRun, HaltEndsTheRunBehindTheInstruction) {
    put(place::code, {0xb8, 0x34, 0x12, 0x00, 0x00,  // mov eax, 0x1234
                      0xf4});                        // hlt
    const auto exit = run_from(long_state());
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_EQ(exit->reason, ExitReason::halted);
    const CpuState state = engine().state();
    EXPECT_EQ(state.registers[rax], 0x1234u);
    EXPECT_EQ(state.rip, place::code.value + 6);
    EXPECT_EQ(state.activity, Activity::halted);
    EXPECT_EQ(engine().run({}).reason, ExitReason::halted) << "and it stays halted";
}

TEST_F(KvmRun, RealModeRuns) {
    put(place::code, {0xb8, 0x34, 0x12,  // mov ax, 0x1234
                      0xe6, 0x80,        // out 0x80, al
                      0xf4});            // hlt
    const auto exit = run_from(real_state());
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_EQ(exit->reason, ExitReason::halted);
    ASSERT_THAT(world.port_writes, SizeIs(1));
    EXPECT_EQ(world.port_writes[0].value, 0x34u);
    EXPECT_EQ(world.port_writes[0].moment.mode, Mode::real);
    EXPECT_EQ(world.port_writes[0].moment.rip, 3u);
}

TEST_F(KvmRun, PortsOfEveryWidth) {
    put(place::code, {0xe4, 0x60,              // in al, 0x60
                      0xe7, 0x61,              // out 0x61, eax
                      0x66, 0xba, 0x34, 0x12,  // mov dx, 0x1234
                      0x66, 0xed,              // in ax, dx
                      0x66, 0xef,              // out dx, ax
                      0xed,                    // in eax, dx
                      0xee,                    // out dx, al
                      0xf4});
    world.answer = [](std::uint64_t port) { return port == 0x60 ? 0x99u : 0xa1b2c3d4u; };
    CpuState start = long_state();
    start.registers[rax] = 0xffffffff00000000;
    const auto exit = run_from(start);
    SKIP_WHAT_KVM_CANNOT(exit);
    ASSERT_EQ(exit->reason, ExitReason::halted);
    ASSERT_THAT(world.port_reads, SizeIs(3));
    EXPECT_EQ(world.port_reads[0].width, 1u);
    EXPECT_EQ(world.port_reads[1].width, 2u);
    EXPECT_EQ(world.port_reads[2].width, 4u);
    EXPECT_EQ(world.port_reads[1].moment.rip, place::code.value + 8);
    ASSERT_THAT(world.port_writes, SizeIs(3));
    EXPECT_EQ(world.port_writes[0].where, 0x61u);
    EXPECT_EQ(world.port_writes[0].width, 4u);
    EXPECT_EQ(world.port_writes[0].value, 0x99u);
    EXPECT_EQ(world.port_writes[0].moment.rip, place::code.value + 2);
    EXPECT_EQ(world.port_writes[1].where, 0x1234u);
    EXPECT_EQ(world.port_writes[1].width, 2u);
    EXPECT_EQ(world.port_writes[1].value, 0xc3d4u);
    EXPECT_EQ(world.port_writes[1].moment.rip, place::code.value + 10);
    EXPECT_EQ(world.port_writes[2].value, 0xd4u);
    EXPECT_EQ(world.port_writes[2].moment.rip, place::code.value + 13);
    EXPECT_EQ(engine().state().registers[rax], 0xa1b2c3d4u);
}

TEST_F(KvmRun, RepeatedPortInstructions) {
    put(place::code, {0xf3, 0x6e,        // rep outsb
                      0xb9, 3, 0, 0, 0,  // mov ecx, 3
                      0xf3, 0x6c,        // rep insb
                      0xf4});
    CpuState start = long_state();
    start.registers[rcx] = 4;
    start.registers[rdx] = 0x55;
    start.registers[rsi] = place::data.value;
    start.registers[rdi] = place::data.value + 0x100;
    put(place::data, {1, 2, 3, 4});
    unsigned next = 0x10;
    world.answer = [&](std::uint64_t) { return next++; };
    const auto exit = run_from(start);
    SKIP_WHAT_KVM_CANNOT(exit);
    ASSERT_EQ(exit->reason, ExitReason::halted);
    std::vector<std::uint64_t> written;
    for (const auto& access : world.port_writes) written.push_back(access.value);
    EXPECT_THAT(written, ElementsAre(1, 2, 3, 4));
    EXPECT_EQ(value_at<std::uint32_t>(place::data + 0x100), 0x00121110u);
    EXPECT_EQ(engine().state().registers[rcx], 0u);
    EXPECT_EQ(engine().state().rip, place::code.value + 10);
}

// A doorbell: the world reads arguments from the state and memory, and answers in RAX.
TEST_F(KvmRun, APortWriteMayChangeTheState) {
    put(place::code, {0xb8, 0x11, 0, 0, 0,  // mov eax, 17
                      0xe7, 0xe0,           // out 0xe0, eax
                      0x48, 0x89, 0xc3,     // mov rbx, rax
                      0xf4});
    put(place::data, {0x42});
    world.on_port_write = [](CpuState& state, LinearMemory& linear) {
        std::byte byte{};
        EXPECT_TRUE(linear.read_linear({state.registers[rdi]}, std::span(&byte, 1)));
        EXPECT_EQ(byte, std::byte{0x42});
        const std::byte answer{0x43};
        EXPECT_TRUE(linear.write_linear({state.registers[rdi] + 1}, std::span(&answer, 1)));
        EXPECT_FALSE(linear.read_linear({0x40000000}, std::span(&byte, 1))) << "nothing is mapped there";
        EXPECT_EQ(state.rip, place::code.value + 5);
        state.registers[rax] = 0xfffffffffffffff0;
        state.floating_point.vector[3][0] = 77;
    };
    CpuState start = long_state();
    start.registers[rdi] = place::data.value;
    const auto exit = run_from(start);
    SKIP_WHAT_KVM_CANNOT(exit);
    ASSERT_EQ(exit->reason, ExitReason::halted);
    EXPECT_THAT(world.port_writes, SizeIs(1)) << "it is not executed again";
    const CpuState state = engine().state();
    EXPECT_EQ(state.registers[rbx], 0xfffffffffffffff0u);
    EXPECT_EQ(state.floating_point.vector[3][0], 77u);
    EXPECT_EQ(value_at<std::uint8_t>(place::data + 1), 0x43);
}

TEST_F(KvmRun, APortWriteMayMoveTheGuest) {
    put(place::code, {0xe6, 0x80, 0xf4, 0x90, 0x90, 0xb3, 0x07, 0xf4});  // out; hlt; nop; nop; mov bl, 7; hlt
    world.on_port_write = [](CpuState& state, LinearMemory&) { state.rip += 5; };
    const auto exit = run_from(long_state());
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_EQ(exit->reason, ExitReason::halted);
    EXPECT_EQ(engine().state().registers[rbx], 7u);
    EXPECT_EQ(engine().state().rip, place::code.value + 8);
}

// Two OUTs of the same form in a row: whether RIP is before or behind the one that exits must not be
// mistaken.
TEST_F(KvmRun, EqualPortWritesInARowAreToldApart) {
    put(place::code, {0xe6, 0x80, 0xe6, 0x80, 0xe6, 0x80, 0xf4});
    std::vector<std::uint64_t> seen;
    world.on_port_write = [&](CpuState& state, LinearMemory&) { seen.push_back(state.rip); };
    const auto exit = run_from(long_state());
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_THAT(seen, ElementsAre(place::code.value, place::code.value + 2, place::code.value + 4));
}

TEST_F(KvmRun, DeviceMemory) {
    put(place::code, {0x48, 0x8b, 0x07,        // mov rax, [rdi]
                      0x88, 0x47, 0x10,        // mov [rdi + 16], al
                      0x66, 0x89, 0x47, 0x20,  // mov [rdi + 32], ax
                      0x89, 0x47, 0x30,        // mov [rdi + 48], eax
                      0x48, 0x89, 0x47, 0x40,  // mov [rdi + 64], rax
                      0x0f, 0xb6, 0x4f, 0x50,  // movzx ecx, byte [rdi + 80]
                      0xf4});
    world.answer = [](std::uint64_t) { return 0x1122334455667788u; };
    CpuState start = long_state();
    start.registers[rdi] = place::device.value;
    const auto exit = run_from(start);
    SKIP_WHAT_KVM_CANNOT(exit);
    ASSERT_EQ(exit->reason, ExitReason::halted);
    const CpuState state = engine().state();
    EXPECT_EQ(state.registers[rax], 0x1122334455667788u);
    EXPECT_EQ(state.registers[rcx], 0x88u);
    ASSERT_THAT(world.memory_writes, SizeIs(4));
    const std::uint64_t values[] = {0x88, 0x7788, 0x55667788, 0x1122334455667788};
    for (unsigned n = 0; n < 4; ++n) {
        EXPECT_EQ(world.memory_writes[n].where, place::device.value + (n + 1) * 16);
        EXPECT_EQ(world.memory_writes[n].width, 1u << n);
        EXPECT_EQ(world.memory_writes[n].value, values[n]);
    }
}

TEST_F(KvmRun, HolesReadAsOnesAndRomDropsWrites) {
    put(place::code, {0x8b, 0x07,  // mov eax, [rdi]
                      0x89, 0x1f,  // mov [rdi], ebx
                      0x8b, 0x0e,  // mov ecx, [rsi]
                      0x89, 0x1e,  // mov [rsi], ebx
                      0x8b, 0x16,  // mov edx, [rsi]
                      0xf4});
    CpuState start = long_state();
    start.registers[rdi] = place::hole.value;
    start.registers[rsi] = place::rom.value;
    start.registers[rbx] = 0x12345678;
    const auto exit = run_from(start);
    SKIP_WHAT_KVM_CANNOT(exit);
    ASSERT_EQ(exit->reason, ExitReason::halted);
    const CpuState state = engine().state();
    EXPECT_EQ(state.registers[rax], 0xffffffffu);
    EXPECT_EQ(state.registers[rcx], 0x77777777u);
    EXPECT_EQ(state.registers[rdx], 0x77777777u);
    EXPECT_EQ(value_at<std::uint32_t>(place::rom), 0x77777777u);
    EXPECT_THAT(world.memory_reads, SizeIs(0));
    EXPECT_THAT(world.memory_writes, SizeIs(0));
}

TEST_F(KvmRun, ATripleFaultIsShutdown) {
    put(place::code, {0x0f, 0x0b});  // ud2
    CpuState start = long_state();
    start.idtr.limit = 0;
    const auto exit = run_from(start);
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_EQ(exit->reason, ExitReason::shutdown);
    EXPECT_EQ(engine().state().activity, Activity::shutdown);
    EXPECT_EQ(engine().run({}).reason, ExitReason::shutdown);
}

TEST_F(KvmRun, AnEndlessLoopEndsAtTheDeadline) {
    put(place::code, {0xeb, 0xfe});  // jmp $
    const std::uint64_t five_milliseconds = find_timing("nehalem")->frequency / 200;
    const auto exit = run_from(long_state(), {.until_cycles = five_milliseconds});
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_EQ(exit->reason, ExitReason::deadline);
    EXPECT_GE(engine().cycles(), five_milliseconds);
    EXPECT_LT(engine().cycles(), five_milliseconds * 200) << "a second late";
    EXPECT_EQ(engine().state().rip, place::code.value);
}

TEST_F(KvmRun, AnEndlessLoopWithoutDeadlineEndsAtTheLimit) {
    put(place::code, {0xeb, 0xfe});
    KvmOptions options;
    options.time_limit = std::chrono::milliseconds(20);
    make(std::move(options));
    engine().set_state(long_state());
    try {
        engine().run({});
        FAIL() << "it ended";
    } catch (const HostLimit& limit) {
        EXPECT_EQ(limit.kind(), HostLimit::Kind::time);
        EXPECT_THAT(limit.what(), HasSubstr("20 ms"));
    }
    EXPECT_EQ(engine().state().rip, place::code.value);
    // And it can go on.
    EXPECT_EQ(engine().run({.until_cycles = engine().cycles() + 1000}).reason, ExitReason::deadline);
}

TEST_F(KvmRun, AnotherThreadStopsTheRun) {
    put(place::code, {0xff, 0x07,    // loop: inc dword [rdi]
                      0xeb, 0xfc});  // jmp loop
    CpuState start = long_state();
    start.registers[rdi] = place::data.value;
    engine().set_state(start);
    for (unsigned round = 0; round < 20; ++round) {
        const std::uint32_t before = value_at<std::uint32_t>(place::data);
        std::atomic<bool> done = false;
        std::thread stopper([&] {
            // As soon as the guest is seen to run; and at any moment at all in the odd rounds.
            const auto* const counter =
                reinterpret_cast<volatile std::uint32_t*>(memory.find(place::data)->host + place::data.value);
            while (round % 2 == 0 && *counter == before && !done) {
            }
            engine().request_stop();
        });
        const Exit exit = engine().run({});
        done = true;
        stopper.join();
        ASSERT_EQ(exit.reason, ExitReason::stopped);
    }
}

TEST_F(KvmRun, AStopAskedForDuringAnExitEndsTheRunBehindTheInstruction) {
    put(place::code, {0xe4, 0x60, 0xe6, 0x61, 0xeb, 0xfe});
    world.answer = [&](std::uint64_t) {
        engine().request_stop();
        return 0x42u;
    };
    const auto exit = run_from(long_state());
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_EQ(exit->reason, ExitReason::stopped);
    EXPECT_EQ(engine().state().rip, place::code.value + 2);
    EXPECT_EQ(engine().state().registers[rax] & 0xff, 0x42u);
    EXPECT_THAT(world.port_writes, SizeIs(0));
}

TEST_F(KvmRun, AShortenedDeadlineEndsTheRun) {
    put(place::code, {0xe6, 0x61, 0xeb, 0xfe});
    world.on_port_write = [&](CpuState&, LinearMemory&) { engine().shorten_deadline(engine().cycles() + 1000); };
    const auto exit = run_from(long_state());
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_EQ(exit->reason, ExitReason::deadline);
    EXPECT_EQ(engine().state().rip, place::code.value + 2);
}

TEST_F(KvmRun, MemoryThatIsAddedLaterIsThere) {
    put(place::code, {0x8b, 0x07, 0xf4});  // mov eax, [rdi]; hlt
    CpuState start = long_state();
    start.registers[rdi] = 0x100000;
    auto exit = run_from(start);
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_EQ(engine().state().registers[rax], 0xffffffffu);
    memory.add_ram({0x100000}, mmu::page_size, "more");
    put_value<std::uint32_t>({0x100000}, 0xcafe);
    engine().memory_map_changed();
    exit = run_from(start);
    ASSERT_TRUE(exit);
    EXPECT_EQ(engine().state().registers[rax], 0xcafeu);
}

TEST_F(KvmRun, PagesTheGuestWritesAreDirtyIfThatIsTracked) {
    put(place::code, {0x89, 0x07, 0x89, 0x87, 0, 0x20, 0, 0, 0xf4});  // mov [rdi], eax; mov [rdi + 0x2000], eax; hlt
    CpuState start = long_state();
    start.registers[rdi] = place::data.value;
    KvmOptions options;
    options.track_dirty_pages = true;
    make(std::move(options));
    engine().set_state(start);
    memory.take_dirty_pages();
    const auto exit = run_from(start);
    SKIP_WHAT_KVM_CANNOT(exit);
    const auto pages = memory.take_dirty_pages();
    EXPECT_THAT(pages, testing::IsSupersetOf({place::data.page_number(), place::data.page_number() + 2}));
    EXPECT_THAT(pages, testing::Not(testing::Contains(place::data.page_number() + 1)));
}

TEST_F(KvmRun, TimeMovesInTheRunAndByAdvanceOnly) {
    put(place::code, {0x0f, 0x31, 0xf4});  // rdtsc; hlt
    CpuState start = long_state();
    engine().set_state(start);
    engine().advance_to(1'000'000'000'000);
    EXPECT_EQ(engine().cycles(), 1'000'000'000'000u);
    engine().advance_to(5);
    EXPECT_EQ(engine().cycles(), 1'000'000'000'000u) << "never backwards";
    start.msr.tsc_offset = 0;
    const auto exit = run_from(start);
    SKIP_WHAT_KVM_CANNOT(exit);
    const std::uint64_t after = engine().cycles();
    EXPECT_GT(after, 1'000'000'000'000u);
    EXPECT_EQ(engine().cycles(), after);
    const CpuState state = engine().state();
    const std::uint64_t tsc = state.registers[rdx] << 32 | state.registers[rax];
    const std::uint64_t host = __rdtsc();
    if (tsc <= host && host - tsc < 10'000'000'000) GTEST_SKIP() << "this KVM shows the guest the host's own TSC";
    EXPECT_GE(tsc, 1'000'000'000'000u);
    EXPECT_LT(tsc, 1'010'000'000'000u) << "within a few seconds of the virtual clock";
}

TEST_F(KvmRun, CpuidComesFromTheModelAndTheWorld) {
    put(place::code, {0x0f, 0xa2,                    // cpuid
                      0x89, 0x1f, 0x89, 0x4f, 0x04,  // mov [rdi], ebx; mov [rdi + 4], ecx
                      0xf4});
    world.on_cpuid = [](std::uint32_t leaf, std::uint32_t, CpuidLeaf model) {
        if (leaf == 0x40000000) return CpuidLeaf{0x40000001, 0x566e6558, 0x65584d4d, 0x4d4d566e};
        if (leaf == 0x40000001) return CpuidLeaf{0x40011, 1, 2, 3};
        if (leaf == 1) model.ecx |= 1u << 31;
        return model;
    };
    struct Case {
        std::uint32_t leaf;
        std::uint32_t ebx, ecx_bits;
    };
    for (const Case& one : {Case{0, 0x756e6547, 0x6c65746e}, Case{0x40000000, 0x566e6558, 0x65584d4d},
                            Case{0x40000001, 1, 2}, Case{1, 0x00010800, 1u << 31}}) {
        CpuState start = long_state();
        start.registers[rax] = one.leaf;
        start.registers[rcx] = 0;
        start.registers[rdi] = place::data.value;
        const auto exit = run_from(start);
        SKIP_WHAT_KVM_CANNOT(exit);
        EXPECT_EQ(value_at<std::uint32_t>(place::data), one.ebx) << std::hex << one.leaf;
        EXPECT_EQ(value_at<std::uint32_t>(place::data + 4) & one.ecx_bits, one.ecx_bits) << std::hex << one.leaf;
    }
    RecordProperty("hidden_features", static_cast<int>(engine().hidden_features().size()));
    for (const std::string& text : engine().hidden_features()) std::printf("host: %s\n", text.c_str());
}

// Whatever it is that this KVM cannot execute is named, with its bytes; a KVM that can do all of these passes
// too.
TEST_F(KvmRun, WhatKvmCannotExecuteIsNamed) {
    struct Case {
        std::initializer_list<unsigned> code;
        const char* name;
    };
    unsigned refused = 0;
    for (const Case& one : {Case{{0x0f, 0x01, 0xd0, 0xf4}, "xgetbv"}, Case{{0xd9, 0xeb, 0xf4}, "fldpi"},
                            Case{{0xf2, 0x0f, 0x58, 0xc1, 0xf4}, "addsd"}}) {
        put(place::code, one.code);
        engine().set_state(long_state());
        try {
            engine().run({.until_cycles = engine().cycles() + 100'000'000});
        } catch (const HostLimit& limit) {
            ++refused;
            EXPECT_EQ(limit.kind(), HostLimit::Kind::instruction) << limit.what();
            EXPECT_THAT(limit.what(), HasSubstr(one.name));
            EXPECT_THAT(limit.what(), HasSubstr("10000"));
            ASSERT_GE(limit.instruction().size(), 2u);
            EXPECT_EQ(engine().state().rip, place::code.value);
            std::printf("host: %s\n", limit.what());
        }
    }
    RecordProperty("refused_instructions", static_cast<int>(refused));
}

TEST_F(KvmRun, TwoEnginesShareMemory) {
    put(place::code, {0xff, 0x07, 0xf4});  // inc dword [rdi]; hlt
    CpuState start = long_state();
    start.registers[rdi] = place::data.value;
    const auto exit = run_from(start);
    SKIP_WHAT_KVM_CANNOT(exit);
    KvmEngine second(memory, world, *CpuModel::find("nehalem"), *find_timing("nehalem"), 1);
    second.set_state(start);
    EXPECT_EQ(second.run({}).reason, ExitReason::halted);
    EXPECT_EQ(value_at<std::uint32_t>(place::data), 2u);
}

}  // namespace
}  // namespace xenolith::cpu::test
