// Two logical processors in different modes share memory, blobs and the trap core.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/machine/engine_support.hpp"
#include "tests/machine/scenario.hpp"
#include "xen/error_numbers.hpp"

namespace xenolith::machine::test {
namespace {

constexpr std::uint64_t target = layout::target.value;
constexpr mmu::GuestPhysical second_stack = layout::data + 0x1000;

struct Pair {
    std::string_view engine;
    GuestMode mode, second;  // of vCPU 0 and vCPU 1

    std::string name() const {
        return identifier(engine) + "_" + identifier(guest_mode_name(mode)) + "_" + identifier(guest_mode_name(second));
    }
};
void PrintTo(const Pair& parameter, std::ostream* out) { *out << parameter.name(); }

std::vector<Pair> every_pair() {
    constexpr GuestMode pairs[][2] = {
        {GuestMode::long64, GuestMode::protected32}, {GuestMode::protected32, GuestMode::long64},
        {GuestMode::long64, GuestMode::real},        {GuestMode::real, GuestMode::compatibility32},
        {GuestMode::pae32, GuestMode::paged32},      {GuestMode::compatibility32, GuestMode::long64},
        {GuestMode::long64, GuestMode::long64},
    };
    std::vector<Pair> parameters;
    for (const std::string_view engine : engine_names()) {
        for (const auto& pair : pairs) parameters.push_back({engine, pair[0], pair[1]});
    }
    return parameters;
}

class TwoVcpus : public EngineTest<Pair> {
  protected:
    void prepare() override {
        const EngineChoice& engine = *find_engine(GetParam().engine);
        if (const auto reason = host_refuses(engine, GetParam().second)) GTEST_SKIP() << *reason;
        scenario.emplace(ScenarioOptions{.engine = GetParam().engine, .mode = GetParam().mode});
        other = &scenario->machine().add_vcpu();
    }

    GuestCode second_code(mmu::GuestPhysical at = layout::second_program) const {
        return {code_width(GetParam().second), code_offset(GetParam().second, at)};
    }
    std::uint64_t second_offset(mmu::GuestPhysical at) const { return code_offset(GetParam().second, at); }
    // Both stand at the beginning of their programs.
    void enter(const GuestCode& first, const GuestCode& second) {
        scenario->put(layout::program, first);
        scenario->put(layout::second_program, second);
        scenario->engine().set_state(entry_state(GetParam().mode, layout::program));
        other->set_state(entry_state(GetParam().second, layout::second_program, second_stack));
    }
    static unsigned width(GuestMode mode) { return long_mode_active(mode) ? 64 : 32; }
    static std::uint64_t al(const cpu::Engine& engine) { return engine.state().registers[cpu::rax] & 0xff; }

    std::optional<Scenario> scenario;
    cpu::Engine* other = nullptr;
};
INSTANTIATE_TEST_SUITE_P(Engines, TwoVcpus, testing::ValuesIn(every_pair()), parameter_name<Pair>);

TEST_P(TwoVcpus, GetThePagesOfTheirOwnModes) {
    GuestCode first = scenario->code(), second = second_code();
    first.write_msr(Scenario::msr, target).hlt();
    second.write_msr(Scenario::msr, target + 0x1000).hlt();
    enter(first, second);
    EXPECT_EQ(scenario->engine().run({}).reason, cpu::ExitReason::halted);
    if (scenario->sees_writes()) {
        EXPECT_EQ(scenario->trap().latched_long_mode(), long_mode_active(GetParam().mode));
    }
    EXPECT_EQ(other->run({}).reason, cpu::ExitReason::halted);
    if (scenario->sees_writes()) {
        EXPECT_EQ(scenario->trap().latched_long_mode(), long_mode_active(GetParam().second));
    }
    EXPECT_EQ(scenario->byte(layout::target + 1), Scenario::mark(width(GetParam().mode), 0));
    EXPECT_EQ(scenario->byte(layout::after_target + 1), Scenario::mark(width(GetParam().second), 0));
    if (!scenario->sees_writes()) return;
    const auto writes = scenario->events<HypercallPageWrite>();
    ASSERT_EQ(writes.size(), 2u);
    for (unsigned vcpu = 0; vcpu < 2; ++vcpu) {
        const GuestMode mode = vcpu == 0 ? GetParam().mode : GetParam().second;
        EXPECT_EQ(writes[vcpu]->moment.vcpu, vcpu);
        EXPECT_EQ(writes[vcpu]->moment.mode, architectural_mode(mode));
        EXPECT_EQ(writes[vcpu]->instruction, "wrmsr");
        EXPECT_EQ(std::get<HypercallPageWrite>(writes[vcpu]->what).blob, width(mode));
    }
}

// One has decoded the page's code in its mode; the other lays its page over it; the first runs the new bytes.
TEST_P(TwoVcpus, RunWhatTheOtherHasWritten) {
    GuestCode old = scenario->code(layout::target);
    scenario->put(layout::target, old.mov_al(0x11).ret());
    GuestCode first = scenario->code(), second = second_code();
    first.call(scenario->offset(layout::target)).hlt().call(scenario->offset(layout::target)).hlt();
    second.call(second_offset(layout::target)).hlt().write_msr(Scenario::msr, target | 1).hlt();
    second.call(second_offset(layout::target)).hlt();
    enter(first, second);
    const auto run = [](cpu::Engine& engine) {
        ASSERT_EQ(engine.run({}).reason, cpu::ExitReason::halted);
        cpu::CpuState state = engine.state();
        state.activity = cpu::Activity::running;  // as an interrupt would
        engine.set_state(state);
    };
    run(scenario->engine());
    run(*other);
    EXPECT_EQ(al(scenario->engine()), 0x11u);
    EXPECT_EQ(al(*other), 0x11u);
    run(*other);  // writes the page
    run(scenario->engine());
    run(*other);
    const std::uint8_t mark = Scenario::mark(width(GetParam().second), 1);
    EXPECT_EQ(al(scenario->engine()), mark);
    EXPECT_EQ(al(*other), mark);
}

// Taking turns after every few instructions, they lay pages over each other's in turn.
TEST_P(TwoVcpus, TakeTurns) {
    constexpr unsigned rounds = 40;
    const auto program = [](GuestCode code, std::uint64_t call_at) {
        code.mov(ebp, rounds).mov(edi, 0);
        const std::uint64_t loop = code.here();
        code.write_msr(Scenario::msr, target).mov(eax, 0).call(call_at).add(edi, eax);
        return code.decrement_and_jump(ebp, loop).hlt();
    };
    enter(program(scenario->code(), scenario->offset(layout::target)),
          program(second_code(), second_offset(layout::target)));
    for (const std::uint64_t turn : {1u, 2u, 3u, 7u}) {
        SCOPED_TRACE(turn);
        scenario->engine().set_state(entry_state(GetParam().mode, layout::program));
        other->set_state(entry_state(GetParam().second, layout::second_program, second_stack));
        // What a call returned belongs to one of the two blobs, and both programs come to their end.
        bool ended[2] = {};
        for (unsigned count = 0; !(ended[0] && ended[1]) && count < 100'000; ++count) {
            cpu::Engine& engine = count % 2 == 0 ? scenario->engine() : *other;
            if (ended[count % 2]) continue;
            const cpu::Exit exit = engine.run({.instructions = turn});
            ended[count % 2] = exit.reason == cpu::ExitReason::halted;
            if (!ended[count % 2]) {
                ASSERT_EQ(exit.reason, cpu::ExitReason::instructions);
            }
        }
        ASSERT_TRUE(ended[0] && ended[1]);
        const std::uint64_t low = Scenario::mark(32, 0), high = Scenario::mark(64, 0);
        for (const cpu::Engine* engine : {&scenario->engine(), other}) {
            const std::uint64_t sum = engine->state().registers[cpu::rdi] & 0xffffffff;
            EXPECT_GE(sum, rounds * low);
            EXPECT_LE(sum, rounds * high);
            EXPECT_EQ((sum - rounds * low) % (high - low), 0u);
        }
    }
}

// The EFAULT of one is not the other's.
TEST_P(TwoVcpus, FailAlone) {
    if (width(GetParam().mode) == width(GetParam().second)) return;  // they share a blob, and fail together
    scenario->machine().blob_memory().unmap(Scenario::blob_address(width(GetParam().mode)), mmu::page_size);
    GuestCode first = scenario->code(), second = second_code();
    first.write_msr(Scenario::msr, target);
    const std::uint64_t at = first.last();
    second.write_msr(Scenario::msr, target + 0x1000).hlt();
    enter(first.hlt(), second);
    const cpu::Exit exit = scenario->engine().run({});
    EXPECT_EQ(exit.reason, cpu::ExitReason::failed);
    EXPECT_EQ(exit.error_number, xen::error_number::efault);
    EXPECT_EQ(scenario->engine().state().rip, at);
    EXPECT_EQ(other->run({}).reason, cpu::ExitReason::halted);
    EXPECT_EQ(scenario->byte(layout::after_target + 1), Scenario::mark(width(GetParam().second), 0));
}

}  // namespace
}  // namespace xenolith::machine::test
