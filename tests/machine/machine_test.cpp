// Machines that cannot be built say why; runs end for the reasons there are, and say which; files are whole
// or absent.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <stdexcept>

#include "tests/machine/engine_support.hpp"
#include "tests/machine/scenario.hpp"

namespace xenolith::machine::test {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

std::string refusal(const MachineOptions& options) {
    try {
        const Machine machine(options);
    } catch (const std::invalid_argument& error) {
        return error.what();
    }
    return "built";
}

TEST(MachineOptions, ThatCannotBeAreRefusedInWords) {
    const std::uint64_t sizes[] = {0,
                                   1,
                                   4096,
                                   memory_map::smallest_ram - mmu::page_size,
                                   memory_map::smallest_ram + 1,
                                   mmu::GuestMemory::maximum_ram + mmu::page_size,
                                   ~std::uint64_t{0},
                                   ~std::uint64_t{0} & ~mmu::page_mask};
    for (const std::uint64_t size : sizes) {
        MachineOptions options;
        options.ram = size;
        EXPECT_THAT(refusal(options), HasSubstr(std::to_string(size))) << size;
    }
    MachineOptions engine;
    engine.engine = "abacus";
    EXPECT_THAT(refusal(engine), HasSubstr("abacus"));
}

TEST(MachineOptions, RefuseAConfigurationAsTheProfileDoes) {
    for (const xen::Profile& profile : xen::profiles()) {
        SCOPED_TRACE(profile.name);
        MachineOptions index, intercept;
        index.xen->profile = intercept.xen->profile = &profile;
        index.xen->msr = 0x1234;
        intercept.xen->intercept_hypercalls = true;
        const auto expected = [&](bool refused) {
            return refused ? testing::Matcher<std::string>(
                                 testing::AllOf(HasSubstr(std::string(profile.name)), HasSubstr("EINVAL")))
                           : testing::Matcher<std::string>(testing::StrEq("built"));
        };
        EXPECT_THAT(refusal(index), expected(profile.name == "linux-6.15"));
        EXPECT_THAT(refusal(intercept), expected(profile.name == "linux-2.6.33" || profile.name == "linux-5.10"));
    }
}

TEST(MachineMemory, HasThePcsGapAndGoesOnAboveFourGibibytes) {
    MachineOptions options;
    options.ram = std::uint64_t{5} << 30;
    Machine machine(options);
    const auto is_ram = [&](std::uint64_t address) { return machine.memory().is_ram(mmu::GuestPhysical{address}, 1); };
    EXPECT_TRUE(is_ram(0x9ffff));
    EXPECT_FALSE(is_ram(0xa0000));
    EXPECT_TRUE(is_ram(0x100000));
    EXPECT_TRUE(is_ram(0xbfffffff));
    EXPECT_FALSE(is_ram(0xc0000000));
    EXPECT_TRUE(is_ram(0x100000000));
    EXPECT_TRUE(is_ram(0x17fffffff));
    EXPECT_FALSE(is_ram(0x180000000));
    std::uint64_t usable = 0;
    for (const loader::MemoryMapEntry& entry : machine.firmware_memory_map()) {
        if (entry.type == loader::MemoryType::usable) usable += entry.size;
    }
    // All of it, but for the hole below 1 MiB and the extended BIOS data area.
    EXPECT_EQ(usable, options.ram - 0x60000 - memory_map::ebda_size);
}

template <Need... needs>
class RunTest : public EngineTest<OnEngine, needs...> {
  protected:
    void prepare() override { scenario.emplace(ScenarioOptions{.engine = this->GetParam().engine}); }
    RunResult run(const GuestCode& program, RunLimits limits) {
        scenario->put(layout::program, program);
        scenario->engine().set_state(entry_state(GuestMode::long64, layout::program));
        return scenario->machine().run(limits);
    }
    GuestCode endless() {
        GuestCode program = scenario->code();
        return program.jump(program.here());
    }
    std::optional<Scenario> scenario;
};

class MachineRun : public RunTest<> {};
INSTANTIATE_TEST_SUITE_P(Engines, MachineRun, on_every_engine(), parameter_name<OnEngine>);

class TimedRun : public RunTest<Need::time> {};
INSTANTIATE_TEST_SUITE_P(Engines, TimedRun, on_every_engine(), parameter_name<OnEngine>);

class HypercallRun : public RunTest<Need::hypercalls> {};
INSTANTIATE_TEST_SUITE_P(Engines, HypercallRun, on_every_engine(), parameter_name<OnEngine>);

TEST_P(TimedRun, EndsAtTheCycleLimit) {
    RunLimits limits;
    limits.max_cycles = 12'345;
    const RunResult result = run(endless(), limits);
    EXPECT_EQ(result.end, RunEnd::max_cycles);
    EXPECT_THAT(result.reason, HasSubstr("12345 cycles"));
    EXPECT_GE(result.totals.cycles, limits.max_cycles);
    EXPECT_LT(result.totals.cycles, limits.max_cycles + 1000);
    limits.max_cycles = 0;
    EXPECT_EQ(scenario->machine().run(limits).end, RunEnd::max_cycles);
}

TEST_P(MachineRun, EndsAtTheTimeLimit) {
    RunLimits limits;
    limits.max_seconds = 0.01;
    EXPECT_EQ(run(endless(), limits).end, RunEnd::max_seconds);
}

TEST_P(MachineRun, EndsWhenItsCallerSaysSo) {
    RunLimits limits;
    unsigned calls = 0;
    limits.progress = [&](const Totals& totals) {
        EXPECT_GT(totals.cycles, 0u);
        return ++calls < 2;
    };
    EXPECT_EQ(run(endless(), limits).end, RunEnd::interrupted);
    EXPECT_EQ(calls, 2u);
}

TEST_P(MachineRun, EndsInATripleFault) {
    GuestCode program = scenario->code();
    program.undefined();
    scenario->put(layout::program, program);
    cpu::CpuState state = entry_state(GuestMode::long64, layout::program);
    state.idtr.limit = 0;
    scenario->engine().set_state(state);
    const RunResult result = scenario->machine().run({});
    EXPECT_EQ(result.end, RunEnd::shutdown);
    // An AMD host's KVM has nothing left to say where.
    EXPECT_THAT(result.reason, testing::AnyOf(HasSubstr("triple fault at long"), HasSubstr("where is not known")));
}

TEST_P(MachineRun, EndsByTheDebugExitPort) {
    GuestCode program = scenario->code();
    program.mov_al(42).out_al(0xf4).hlt();
    const RunResult result = run(program, {});
    EXPECT_EQ(result.end, RunEnd::guest_exit);
    EXPECT_EQ(result.status, 42u * 2 + 1);  // never 0, which would mean success
}

TEST_P(HypercallRun, EndsByACallThatShutsDown) {
    GuestCode program = scenario->code();
    program.mov(eax, 29).mov(edi, 2).mov(esi, 0).mov(edx, 0).vmcall().hlt();
    const RunResult result = run(program, {});
    EXPECT_EQ(result.end, RunEnd::guest_exit) << result.reason;
}

TEST_P(MachineRun, EndsByAResetRequest) {
    GuestCode program = scenario->code();
    program.mov_al(1).out_al(0x92).hlt();
    EXPECT_EQ(run(program, {}).end, RunEnd::reset);
}

TEST_P(MachineRun, TellsTheGuestTheIndexByItsLeaf) {
    GuestCode program = scenario->code();
    program.mov(eax, 0x40000002).mov(ecx, 0).cpuid().hlt();
    run(program, {});
    const cpu::CpuState state = scenario->engine().state();
    EXPECT_EQ(state.registers[cpu::rax], 1u);
    EXPECT_EQ(state.registers[cpu::rbx], Scenario::msr);
}

class WrittenFile : public testing::Test {
  protected:
    WrittenFile()
        : folder(std::filesystem::path(testing::TempDir()) /
                 testing::UnitTest::GetInstance()->current_test_info()->name()) {
        std::filesystem::remove_all(folder);
        std::filesystem::create_directory(folder);
    }
    ~WrittenFile() override { std::filesystem::remove_all(folder); }
    std::vector<std::string> names() const {
        std::vector<std::string> found;
        for (const auto& entry : std::filesystem::directory_iterator(folder)) found.push_back(entry.path().filename());
        return found;
    }
    std::filesystem::path folder;
};

TEST_F(WrittenFile, IsWholeAndAlone) {
    write_atomically(folder / "timeline.json", "first");
    write_atomically(folder / "timeline.json", "second");
    EXPECT_THAT(names(), testing::ElementsAre("timeline.json"));
    std::ifstream file(folder / "timeline.json");
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "second");
}

TEST_F(WrittenFile, LeavesNothingBehindWhereItCannotBe) {
    std::filesystem::create_directory(folder / "taken");
    for (const std::filesystem::path& file : {folder / "taken", folder / "no such folder" / "file"}) {
        try {
            write_atomically(file, "text");
            ADD_FAILURE() << file << " was written";
        } catch (const std::runtime_error& error) {
            EXPECT_THAT(error.what(), HasSubstr(file.string()));
        }
    }
    EXPECT_THAT(names(), testing::ElementsAre("taken"));
    EXPECT_TRUE(std::filesystem::is_empty(folder / "taken"));
}

}  // namespace
}  // namespace xenolith::machine::test
