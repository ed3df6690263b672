// Two machines step by step: what counts as a difference, where it is found, and what is taken over.
#include "machine/lockstep.hpp"

#include <gmock/gmock.h>

#include <memory>

#include "loader/loader.hpp"
#include "machine/guests/guests.hpp"
#include "tests/machine/engine_support.hpp"
#include "xen/blob.hpp"
#include "xen/hypercall_page.hpp"

namespace xenolith::machine::test {

namespace {

using ::testing::Contains;
using ::testing::Field;
using ::testing::HasSubstr;

constexpr mmu::GuestPhysical program{0x100000};

std::vector<std::byte> bytes_of(std::initializer_list<unsigned> list) {
    std::vector<std::byte> bytes;
    for (const unsigned byte : list) bytes.push_back(static_cast<std::byte>(byte));
    return bytes;
}

// Two machines of the interpreter with the same flat32 program.
class Lockstep : public testing::Test {
  protected:
    void load(std::initializer_list<unsigned> code) {
        const loader::ImageFile image("program", bytes_of(code));
        for (auto& machine : machines) {
            MachineOptions options;
            options.ram = std::uint64_t{4} << 20;
            options.xen.reset();
            machine = std::make_unique<Machine>(options);
            machine->load(image, {.format = loader::Format::flat32});
        }
    }
    void patch_second(std::uint64_t offset, unsigned byte) {
        const std::byte value{static_cast<unsigned char>(byte)};
        ASSERT_TRUE(machines[1]->memory().write(program + offset, std::span(&value, 1)));
    }
    LockstepResult run(const LockstepOptions& options = {}) {
        return run_lockstep(*machines[0], *machines[1], options);
    }

    std::unique_ptr<Machine> machines[2];
};

}  // namespace

TEST_F(Lockstep, TheSameProgramComesToTheSameEnd) {
    load({0xb8, 5, 0, 0, 0, 0x40, 0xfa, 0xf4});  // mov eax, 5; inc eax; cli; hlt
    const LockstepResult result = run();
    EXPECT_EQ(result.end, LockstepEnd::same);
    EXPECT_EQ(result.first.registers[cpu::rax], 6u);
    EXPECT_TRUE(result.differences.empty());
}

TEST_F(Lockstep, ADifferenceIsFoundBehindTheInstructionThatMadeIt) {
    load({0x90, 0xb8, 5, 0, 0, 0, 0x40, 0xfa, 0xf4});  // nop; mov eax, 5; inc eax; cli; hlt
    patch_second(2, 7);
    const LockstepResult result = run();
    ASSERT_EQ(result.end, LockstepEnd::state);
    EXPECT_EQ(result.steps, 2u);
    ASSERT_EQ(result.differences.size(), 1u);
    EXPECT_EQ(result.differences[0].name, "rax");
    EXPECT_EQ(result.differences[0].first, 5u);
    EXPECT_EQ(result.differences[0].second, 7u);
    EXPECT_EQ(result.before.rip, program.value + 1);
    EXPECT_THAT(result.executed.back(), HasSubstr("mov eax, 0x05"));
    EXPECT_THAT(result.next_first.front(), HasSubstr("inc eax"));
}

TEST_F(Lockstep, AStrideLooksLessOften) {
    load({0x90, 0xb8, 5, 0, 0, 0, 0x40, 0x40, 0xfa, 0xf4});
    patch_second(2, 7);
    const LockstepResult result = run({.stride = 3});
    ASSERT_EQ(result.end, LockstepEnd::state);
    EXPECT_EQ(result.steps, 3u);
    EXPECT_EQ(result.differences[0].first, 6u);
}

TEST_F(Lockstep, MemoryThatDiffersIsFoundAtTheEnd) {
    load({0xc6, 0x05, 0x00, 0x20, 0x10, 0x00, 0x11, 0xfa, 0xf4});  // mov byte [0x102000], 0x11; cli; hlt
    patch_second(6, 0x22);
    patch_second(0x3000, 0);
    const LockstepResult result = run();
    ASSERT_EQ(result.end, LockstepEnd::memory);
    // The first difference is the program itself.
    EXPECT_EQ(result.memory_address, program.value + 6);
    EXPECT_EQ(result.memory_first, 0x11);
    EXPECT_EQ(result.memory_second, 0x22);
}

TEST_F(Lockstep, OneThatEndsAloneIsADifference) {
    load({0x90, 0x90, 0xfa, 0xf4});
    patch_second(3, 0x90);
    patch_second(4, 0x90);
    const LockstepResult result = run({.max_steps = 10});
    ASSERT_EQ(result.end, LockstepEnd::ends);
    EXPECT_THAT(result.end_first, HasSubstr("halted"));
    EXPECT_EQ(result.end_second, "");
}

TEST(CompareStates, IgnoresFlagsThatDoNotCount) {
    cpu::CpuState first = cpu::reset_state(), second = first;
    second.rflags |= cpu::rflags::cf | cpu::rflags::rf;
    EXPECT_EQ(compare_states(first, second, 0).size(), 1u);
    EXPECT_TRUE(compare_states(first, second, cpu::rflags::cf).empty());
    second.rflags |= cpu::rflags::zf;
    EXPECT_EQ(compare_states(first, second, cpu::rflags::cf).size(), 1u);
}

TEST_F(Lockstep, TimeStampsAreTakenOver) {
    load({0x0f, 0x31, 0x90, 0xfa, 0xf4});  // rdtsc; nop; cli; hlt
    machines[1]->engine().advance_to(1'000'000);
    const LockstepResult result = run();
    EXPECT_NE(result.end, LockstepEnd::state);
    EXPECT_EQ(result.first.registers[cpu::rax], result.second.registers[cpu::rax]);
    ASSERT_EQ(result.excused.size(), 1u);
    EXPECT_THAT(result.excused.begin()->first, HasSubstr("time stamps"));
}

TEST_F(Lockstep, GoesFromDeviceAccessToDeviceAccess) {
    load({0xb0, 1, 0xe6, 0x80, 0xb0, 2, 0xe6, 0x80, 0xfa, 0xf4});  // mov al, 1; out 0x80, al; twice
    patch_second(5, 3);
    const LockstepResult result = run({.stride = 0});
    ASSERT_EQ(result.end, LockstepEnd::state);
    EXPECT_EQ(result.steps, 2u);
    EXPECT_EQ(result.differences[0].name, "rax");
}

TEST_F(Lockstep, TheLimitEndsIt) {
    load({0xeb, 0xfe});  // jmp $
    EXPECT_EQ(run({.max_steps = 1000}).end, LockstepEnd::limit);
}

// Every built-in guest, on the interpreter and on each engine.
class LockstepGuests : public testing::TestWithParam<OnEngine> {};

TEST_P(LockstepGuests, HaveNoDifference) {
    const EngineChoice& other = *find_engine(GetParam().engine);
    unsigned done = 0;
    for (const BuiltInGuest& guest : built_in_guests()) {
        SCOPED_TRACE(guest.name);
        if (const auto reason = cannot_run(other, {.name = guest.name})) {
            std::printf("%s: %s\n", std::string(guest.name).c_str(), reason->c_str());
            continue;
        }
        std::unique_ptr<Machine> machines[2];
        for (unsigned n = 0; n < 2; ++n) {
            MachineOptions options;
            options.ram = std::uint64_t{16} << 20;
            options.kvm_route = cpu::KvmRoute::msr_exit;
            if (n == 1) options.engine = other.name;
            options.xen->blob_32 = options.xen->blob_64 = xen::make_blob(xen::StubKind::doorbell);
            machines[n] = std::make_unique<Machine>(options);
            machines[n]->load(guest.image(), {.format = guest.format});
        }
        const LockstepResult result = run_lockstep(*machines[0], *machines[1], {});
        if (result.end == LockstepEnd::host_limit) {
            std::printf("%s: %s\n", std::string(guest.name).c_str(), result.end_second.c_str());
            continue;
        }
        EXPECT_EQ(result.end, LockstepEnd::same);
        for (const StateDifference& difference : result.differences)
            ADD_FAILURE() << difference.name << std::hex << ": " << difference.first << ", " << difference.second;
        ++done;
    }
    if (done == 0) GTEST_SKIP() << "the host can run none of the guests on " << other.name;
}

INSTANTIATE_TEST_SUITE_P(Engines, LockstepGuests, on_every_engine(), parameter_name<OnEngine>);

}  // namespace xenolith::machine::test
