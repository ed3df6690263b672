// Guest code measures its own traps: between two RDTSC lies exactly what the timing preset says, and not a
// cycle more.
//
// RDTSC gives the time at its own start. So a pair reads the cost of the first RDTSC and of what stands
// between the two; everything between is register moves of one known class, and the instruction measured.
#include <gtest/gtest.h>

#include "tests/machine/engine_support.hpp"
#include "tests/machine/scenario.hpp"

namespace xenolith::machine::test {
namespace {

constexpr std::array time_modes = {GuestMode::real, GuestMode::protected32, GuestMode::long64};

struct TimeParameter {
    std::string_view engine;
    GuestMode mode;
    const cpu::Timing* timing;

    std::string name() const {
        return identifier(engine) + "_" + identifier(guest_mode_name(mode)) + "_" + identifier(timing->name);
    }
};
void PrintTo(const TimeParameter& parameter, std::ostream* out) { *out << parameter.name(); }

std::vector<TimeParameter> every_preset() {
    std::vector<TimeParameter> parameters;
    for (const std::string_view engine : engine_names()) {
        for (const GuestMode mode : time_modes) {
            for (const cpu::Timing& timing : cpu::timing_presets()) parameters.push_back({engine, mode, &timing});
        }
    }
    return parameters;
}

class TimeStamps : public EngineTest<TimeParameter, Need::time, Need::cpuid, Need::hypercalls> {
  protected:
    const cpu::Timing& timing() const { return *GetParam().timing; }
    Scenario make() const {
        return Scenario({.engine = GetParam().engine, .mode = GetParam().mode, .timing = &timing()});
    }

    // Cycles between two RDTSC around four moves, which save EAX and load EAX, ECX and EDX, and what `add`
    // adds.
    template <class Add>
    std::uint64_t measured(std::uint32_t eax_value, std::uint32_t ecx_value, Add add) const {
        Scenario scenario = make();
        GuestCode program = scenario.code();
        program.rdtsc().mov(esi, eax).mov(eax, eax_value).mov(ecx, ecx_value).mov(edx, 0);
        add(program);
        program.rdtsc().hlt();
        const Ending ending = scenario.run(program);
        EXPECT_TRUE(ending.finished()) << ending.result.reason;
        return (ending.state.registers[cpu::rax] - ending.state.registers[cpu::rsi]) & 0xffffffff;
    }
    std::uint64_t frame() const {
        return timing().cost_of(cpu::CostClass::time_stamp) + 4u * timing().cost_of(cpu::CostClass::simple);
    }
};
INSTANTIATE_TEST_SUITE_P(Engines, TimeStamps, testing::ValuesIn(every_preset()), parameter_name<TimeParameter>);

constexpr auto nothing = [](GuestCode&) {};

TEST_P(TimeStamps, AroundMovesReadTheirClasses) {
    EXPECT_EQ(measured(layout::target.value, Scenario::msr, nothing), frame());
}

TEST_P(TimeStamps, AroundTheWrmsrReadTheConfiguredSum) {
    const cpu::TrapCost& cost = timing().trap;
    const std::uint64_t around = measured(layout::target.value, Scenario::msr, [](GuestCode& code) { code.wrmsr(); });
    EXPECT_EQ(around - frame(), cost.exit + cost.dispatch + cost.copy + cost.entry);
    EXPECT_GT(cost.exit, 0u);
    EXPECT_GT(cost.dispatch, 0u);
    EXPECT_GT(cost.copy, 0u);
    EXPECT_GT(cost.entry, 0u);
}

TEST_P(TimeStamps, AroundThreeWrmsrReadThreeTimesTheSum) {
    const std::uint64_t around =
        measured(layout::target.value, Scenario::msr, [](GuestCode& code) { code.wrmsr().wrmsr().wrmsr(); });
    EXPECT_EQ(around - frame(), 3 * timing().trap.total());
}

TEST_P(TimeStamps, AroundOtherTrapsReadTheSumWithoutACopy) {
    const std::uint64_t plain = timing().plain_trap().total();
    EXPECT_EQ(plain, timing().trap.total() - timing().trap.copy);
    EXPECT_EQ(measured(17, 0, [](GuestCode& code) { code.vmcall(); }) - frame(), plain);
    EXPECT_EQ(measured(0x40000000, 0, [](GuestCode& code) { code.cpuid(); }) - frame(), plain);
    EXPECT_EQ(measured('x', 0, [](GuestCode& code) { code.out_al(debug_port); }) - frame(), plain);
}

TEST_P(TimeStamps, AroundARegisterTheCpuHasReadItsClass) {
    const std::uint64_t around =
        measured(layout::target.value, cpu::msr::sysenter_eip, [](GuestCode& code) { code.wrmsr(); });
    EXPECT_EQ(around - frame(), timing().cost_of(cpu::CostClass::serialize));
}

// A refused write has left the guest and come back too, without a copy.
TEST_P(TimeStamps, ChargeARefusedWriteAsATrap) {
    const auto cycles_to_the_handlers_halt = [&](std::uint32_t index) {
        Scenario scenario = make();
        GuestCode program = scenario.code();
        program.write_msr(index, layout::target.value | 255);
        const Ending ending = scenario.run(program);
        EXPECT_TRUE(ending.trap) << ending.result.reason;
        return ending.result.totals.cycles;
    };
    EXPECT_EQ(cycles_to_the_handlers_halt(Scenario::msr) - cycles_to_the_handlers_halt(Scenario::msr + 1),
              timing().plain_trap().total());
}

// The clock that stamps events is the guest's.
TEST_P(TimeStamps, AgreeWithTheTimeline) {
    Scenario scenario = make();
    GuestCode program = scenario.code();
    program.write_msr(Scenario::msr, layout::target.value).rdtsc().hlt();
    const Ending ending = scenario.run(program);
    ASSERT_TRUE(ending.finished()) << ending.result.reason;
    const auto writes = scenario.events<HypercallPageWrite>();
    ASSERT_EQ(writes.size(), 1u);
    EXPECT_EQ(ending.state.registers[cpu::rax], writes[0]->moment.cycles + timing().trap.total());
    EXPECT_EQ(writes[0]->moment.instructions, 3u);
    EXPECT_EQ(ending.result.totals.instructions, 6u);
}

}  // namespace
}  // namespace xenolith::machine::test
