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

TEST_P(EveryMode, SeesXensLeaves) {
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

TEST(CannotRun, NamesTheEngineTheCaseAndTheReason) {
    const Limitation limitations[] = {
        {"soft-kvm", [](const Case& wanted) { return wanted.mode == GuestMode::pae32; },
         "no paging outside long mode"},
    };
    const Case pae{"some test", GuestMode::pae32}, long_mode{"some test", GuestMode::long64},
        none{"some test"};
    EXPECT_EQ(cannot_run("soft-kvm", pae, limitations),
              "soft-kvm cannot run some test: no paging outside long mode");
    EXPECT_EQ(cannot_run("soft-kvm", long_mode, limitations), std::nullopt);
    EXPECT_EQ(cannot_run("soft-kvm", none, limitations), std::nullopt);
    EXPECT_EQ(cannot_run("interpreter", pae, limitations), std::nullopt);
}

TEST(Engines, AreFoundByName) {
    ASSERT_THAT(engine_names(), testing::Contains("interpreter"));
    for (const std::string_view name : engine_names()) {
        EXPECT_EQ(find_engine(name)->name, name);
        MachineOptions options;
        options.engine = name;
        EXPECT_EQ(Machine(options).engine().name(), name);
    }
    EXPECT_EQ(find_engine("abacus"), nullptr);
}

}  // namespace
}  // namespace xenolith::machine::test
