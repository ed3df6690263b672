// The ground the other tests stand on: code runs in every mode, a fault is recorded as it was, and an engine
// that cannot run a case is heard.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/machine/engine_support.hpp"
#include "tests/machine/scenario.hpp"

namespace xenolith::machine::test {
namespace {

using testing::IsEmpty;

class EveryMode : public EngineTest<InMode> {};
INSTANTIATE_TEST_SUITE_P(Engines, EveryMode, in_modes(every_mode), parameter_name<InMode>);

TEST_P(EveryMode, RunsItsProgramAndWritesMemory) {
    Scenario scenario({.engine = GetParam().engine, .mode = GetParam().mode});
    GuestCode program = scenario.code();
    program.mov(ecx, 3).mov(eax, 0);
    const std::uint64_t loop = program.here();
    program.add(eax, 5).decrement_and_jump(ecx, loop).call(scenario.offset(layout::second_program));
    program.store_al(layout::data.value).undefined();
    GuestCode function = scenario.code(layout::second_program);
    function.add(eax, 1).ret();
    scenario.put(layout::second_program, function);
    const Ending ending = scenario.run(program);
    ASSERT_TRUE(ending.trap) << ending.result.reason;
    EXPECT_EQ(ending.trap->vector, 6u);
    EXPECT_EQ(scenario.byte(layout::data), 16);
    EXPECT_THAT(scenario.changed_pages(), testing::ElementsAre(layout::data.page_number()));
}

TEST_P(EveryMode, RecordsAFaultAsItWas) {
    Scenario scenario({.engine = GetParam().engine, .mode = GetParam().mode});
    GuestCode program = scenario.code();
    program.nop();
    const std::uint64_t at = program.here();
    program.undefined();
    const Ending ending = scenario.run(program);
    ASSERT_TRUE(ending.trap) << ending.result.reason;
    const cpu::CpuState entry = entry_state(GetParam().mode, layout::program);
    EXPECT_EQ(entry.mode(), architectural_mode(GetParam().mode));
    EXPECT_EQ(entry.cpl() == 0, is_privileged(GetParam().mode));
    EXPECT_EQ(ending.trap->vector, 6u);
    EXPECT_EQ(ending.trap->rip, at);
    EXPECT_EQ(ending.trap->cs, entry.segment(cpu::SegmentName::cs).selector);
    EXPECT_EQ(ending.trap->rflags & ~cpu::rflags::rf, entry.rflags);
    EXPECT_EQ(ending.trap->registers[cpu::rdi], entry.registers[cpu::rdi]);
    EXPECT_THAT(scenario.changed_pages(), IsEmpty());
}

class EveryModesLeaves : public EngineTest<InMode, Need::cpuid> {};
INSTANTIATE_TEST_SUITE_P(Engines, EveryModesLeaves, in_modes(every_mode), parameter_name<InMode>);

TEST_P(EveryModesLeaves, AreXens) {
    Scenario scenario({.engine = GetParam().engine, .mode = GetParam().mode});
    GuestCode program = scenario.code();
    program.mov(eax, 0x40000000).mov(ecx, 0).cpuid().undefined();
    const Ending ending = scenario.run(program);
    ASSERT_TRUE(ending.trap) << ending.result.reason;
    EXPECT_EQ(ending.trap->registers[cpu::rbx], 0x566e6558u);
    EXPECT_EQ(ending.trap->registers[cpu::rcx], 0x65584d4du);
    EXPECT_EQ(ending.trap->registers[cpu::rdx], 0x4d4d566eu);
    const auto leaves = scenario.events<CpuidLeafRead>();
    ASSERT_EQ(leaves.size(), 1u);
    EXPECT_EQ(leaves[0]->moment.mode, architectural_mode(GetParam().mode));
    EXPECT_EQ(leaves[0]->instruction, "cpuid");
}

// An engine that does not exist, on a host that lacks what it would need.
TEST(CannotRun, NamesTheEngineTheTestAndTheReason) {
    constexpr Need all_needs[] = {Need::cpuid, Need::hypercalls, Need::time};
    const Case plain{.name = "Test"}, needy{.name = "Test", .needs = all_needs};
    EngineChoice engine = *find_engine("interpreter");
    engine.name = "abacus";
    EXPECT_EQ(cannot_run(engine, needy), std::nullopt);
    engine.reproducible = false;
    EXPECT_EQ(cannot_run(engine, needy), "abacus cannot run Test: its time is the host's");
    engine.shows_hypercalls = false;
    EXPECT_EQ(cannot_run(engine, needy), "abacus cannot run Test: VMCALL and VMMCALL do not reach the machine");
    engine.shows_cpuid = false;
    EXPECT_EQ(cannot_run(engine, needy), "abacus cannot run Test: it answers CPUID itself");
    EXPECT_EQ(cannot_run(engine, plain), std::nullopt);
    engine.unavailable = [] { return std::optional<std::string>("no beads"); };
    EXPECT_EQ(cannot_run(engine, plain), "abacus cannot run Test: no beads");
    // A host that has the engine, but not for this mode: here, because no engine has that name.
    engine.unavailable = []() -> std::optional<std::string> { return std::nullopt; };
    EXPECT_EQ(cannot_run(engine, plain), std::nullopt);
    EXPECT_THAT(*cannot_run(engine, {.name = "Test", .mode = GuestMode::pae32}),
                testing::StartsWith("abacus cannot run Test: pae32 code: "));
}

// What a host refuses is skipped. It may not refuse these, or a broken engine could hide behind it.
TEST(Engines, RunTheBasicModesWhereverTheyRun) {
    for (const EngineChoice& engine : engine_choices()) {
        if (cannot_run(engine, {.name = "anything"})) continue;
        for (const GuestMode mode : {GuestMode::real, GuestMode::protected32, GuestMode::long64, GuestMode::user64}) {
            EXPECT_EQ(host_refuses(engine, mode), std::nullopt) << engine.name << ", " << guest_mode_name(mode);
        }
    }
}

TEST(Engines, AreFoundByName) {
    ASSERT_THAT(engine_names(), testing::Contains("interpreter"));
    for (const std::string_view name : engine_names()) {
        EXPECT_EQ(find_engine(name)->name, name);
        if (cannot_run(*find_engine(name), {.name = "anything"})) continue;
        MachineOptions options;
        options.engine = name;
        EXPECT_EQ(Machine(options).engine().name(), name);
    }
    EXPECT_EQ(find_engine("abacus"), nullptr);
}

}  // namespace
}  // namespace xenolith::machine::test
