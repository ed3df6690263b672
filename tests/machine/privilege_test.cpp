// VM86 and CPL 3: the #GP of WRMSR comes before the trap is asked. And RDMSR of the index, which no KVM
// answers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/machine/engine_support.hpp"
#include "tests/machine/scenario.hpp"

namespace xenolith::machine::test {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

void expect_general_protection(const Ending& ending, std::uint64_t at) {
    ASSERT_TRUE(ending.trap) << ending.result.reason;
    EXPECT_EQ(ending.trap->vector, 13u);
    EXPECT_EQ(ending.trap->error_code.value_or(0), 0u);
    EXPECT_EQ(ending.trap->rip, at);
}

class Unprivileged : public EngineTest<InMode> {};
INSTANTIATE_TEST_SUITE_P(Engines, Unprivileged, in_modes(unprivileged_modes), parameter_name<InMode>);

TEST_P(Unprivileged, WriteNeverReachesTheTrap) {
    struct Row {
        const char* name;
        std::uint64_t value;
        bool blob_mapped;
    };
    constexpr Row rows[] = {
        {"a good value", layout::target.value, true},
        {"an index beyond the blob", layout::target.value | 255, true},
        {"a hole", layout::hole.value, true},
        {"an unreadable blob", layout::target.value, false},  // EFAULT would end the run
    };
    for (const xen::Profile& profile : profiles_on(GetParam().engine)) {
        for (const Row& row : rows) {
            SCOPED_TRACE(std::string(profile.name) + ", " + row.name);
            Scenario scenario({.engine = GetParam().engine, .mode = GetParam().mode, .profile = &profile});
            if (!row.blob_mapped) scenario.unmap_blobs();
            GuestCode program = scenario.code();
            program.write_msr(Scenario::msr, row.value);
            const std::uint64_t at = program.last();
            const Ending ending = scenario.run(program);
            expect_general_protection(ending, at);
            EXPECT_EQ(ending.trap->registers[cpu::rcx], Scenario::msr);
            EXPECT_EQ(ending.trap->registers[cpu::rax], row.value & 0xffffffff);
            EXPECT_EQ(ending.trap->registers[cpu::rdx], row.value >> 32);
            EXPECT_EQ(scenario.trap().latched_long_mode(), std::nullopt);
            EXPECT_THAT(scenario.page_writes(), IsEmpty());
            EXPECT_EQ(scenario.machine().totals().traps, 0u);
            EXPECT_THAT(scenario.changed_pages(), IsEmpty());
        }
    }
}

TEST_P(Unprivileged, ReadIsRefusedToo) {
    Scenario scenario({.engine = GetParam().engine, .mode = GetParam().mode});
    GuestCode program = scenario.code();
    program.mov(ecx, Scenario::msr).rdmsr();
    const std::uint64_t at = program.last();
    expect_general_protection(scenario.run(program), at);
    EXPECT_THAT(scenario.remarks(), IsEmpty());
}

class UnprivilegedHypercall : public EngineTest<InMode, Need::hypercalls> {};
INSTANTIATE_TEST_SUITE_P(Engines, UnprivilegedHypercall, in_modes(unprivileged_modes), parameter_name<InMode>);

TEST_P(UnprivilegedHypercall, IsAnsweredWithEperm) {
    Scenario scenario({.engine = GetParam().engine, .mode = GetParam().mode});
    GuestCode program = scenario.code();
    program.mov(eax, 17).mov(ebx, 0).mov(edi, 0).vmcall().undefined();
    const Ending ending = scenario.run(program);
    ASSERT_TRUE(ending.trap) << ending.result.reason;
    EXPECT_EQ(ending.trap->vector, 6u);  // the program's own end
    const std::uint64_t minus_one = code_width(GetParam().mode) == 64 ? ~std::uint64_t{0} : 0xffffffff;
    EXPECT_EQ(ending.trap->registers[cpu::rax], minus_one);
    const auto calls = scenario.events<HypercallMade>();
    ASSERT_EQ(calls.size(), 1u);
    EXPECT_FALSE(std::get<HypercallMade>(calls[0]->what).answered);
    EXPECT_THAT(std::get<HypercallMade>(calls[0]->what).refusal, HasSubstr("CPL"));
}

class Privileged : public EngineTest<InMode> {};
INSTANTIATE_TEST_SUITE_P(Engines, Privileged, in_modes(privileged_modes), parameter_name<InMode>);

TEST_P(Privileged, ReadOfTheIndexIsAFaultInEveryProfile) {
    for (const xen::Profile& profile : profiles_on(GetParam().engine)) {
        SCOPED_TRACE(profile.name);
        Scenario scenario({.engine = GetParam().engine, .mode = GetParam().mode, .profile = &profile});
        GuestCode program = scenario.code();
        program.write_msr(Scenario::msr, layout::target.value).rdmsr();
        const std::uint64_t at = program.last();
        const Ending ending = scenario.run(program);
        expect_general_protection(ending, at);
        EXPECT_EQ(ending.trap->registers[cpu::rax], layout::target.value);
        EXPECT_EQ(ending.trap->registers[cpu::rdx], 0u);
        if (scenario.sees_writes()) {
            EXPECT_THAT(scenario.remarks(), testing::ElementsAre(HasSubstr("RDMSR 0x40000000")));
        }
    }
}

TEST_P(Privileged, WriteIsAFaultWithoutXen) {
    Scenario scenario({.engine = GetParam().engine, .mode = GetParam().mode, .xen = false});
    GuestCode program = scenario.code();
    program.write_msr(Scenario::msr, layout::target.value);
    const std::uint64_t at = program.last();
    expect_general_protection(scenario.run(program), at);
    EXPECT_THAT(scenario.page_writes(), IsEmpty());
    EXPECT_THAT(scenario.changed_pages(), IsEmpty());
}

class WithoutXen : public EngineTest<InMode, Need::cpuid, Need::hypercalls> {};
INSTANTIATE_TEST_SUITE_P(Engines, WithoutXen, in_modes(privileged_modes), parameter_name<InMode>);

TEST_P(WithoutXen, ThereIsNothingToBeFound) {
    const auto end_of = [&](auto add) {
        Scenario scenario({.engine = GetParam().engine, .mode = GetParam().mode, .xen = false});
        GuestCode program = scenario.code();
        add(program);
        Ending ending = scenario.run(program.hlt());
        EXPECT_THAT(scenario.machine().timeline().events(), IsEmpty());
        return ending;
    };
    for (const bool intel : {true, false}) {
        const Ending call = end_of([&](GuestCode& code) { intel ? code.vmcall() : code.vmmcall(); });
        ASSERT_TRUE(call.trap) << call.result.reason;
        EXPECT_EQ(call.trap->vector, 6u);
    }
    const Ending leaf = end_of([](GuestCode& code) { code.mov(eax, 0x40000000).mov(ecx, 0).cpuid(); });
    EXPECT_TRUE(leaf.finished());
    EXPECT_NE(leaf.state.registers[cpu::rbx], 0x566e6558u);
    const Ending features = end_of([](GuestCode& code) { code.mov(eax, 1).mov(ecx, 0).cpuid(); });
    EXPECT_EQ(features.state.registers[cpu::rcx] >> 31 & 1, 0u);
}

}  // namespace
}  // namespace xenolith::machine::test
