// A debugger's points on the host's KVM: in the CPU's debug registers, or by steps where those do not do.
#include "tests/cpu/kvm_guest.hpp"

namespace xenolith::cpu::test {

namespace {

using Kind = DebugPoint::Kind;
using testing::ElementsAre;

constexpr std::uint64_t code = place::code.value, data = place::data.value;

class KvmDebug : public KvmTest {
  protected:
    // Where the run from `start` stops, from place::code, until it halts; 99 if it does not.
    std::vector<std::uint64_t> stops(const CpuState& start, std::vector<DebugPoint> points, const Budget& budget = {}) {
        std::vector<std::uint64_t> places;
        engine().set_state(start);
        engine().set_debug_points(std::move(points));
        try {
            for (unsigned n = 0; n < 40; ++n) {
                last = engine().run(budget);
                if (last.reason == ExitReason::halted) return places;
                if (last.reason != ExitReason::debug_point) break;
                places.push_back(engine().state().rip - code);
            }
        } catch (const HostLimit& limit) {
            if (limit.kind() != HostLimit::Kind::instruction) throw;
            host_limit = limit.what();
        }
        places.push_back(99);
        return places;
    }
    Exit last;
};

TEST_F(KvmDebug, ExecutePoints) {
    put(place::code, {0xb9, 3, 0, 0, 0, 0xff, 0xc0, 0xe2, 0xfc, 0xf4});  // mov ecx, 3; 1: inc eax; loop 1b; hlt
    EXPECT_THAT(stops(long_state(), {{Kind::execute, code + 5}, {Kind::execute, code + 9}}), ElementsAre(5, 5, 5, 9));
    EXPECT_EQ(last.reason, ExitReason::halted);
    EXPECT_EQ(engine().state().registers[rax], 3u);
    EXPECT_EQ(engine().state().dr6, dr6::fixed_ones) << "the guest sees nothing of it";
    EXPECT_EQ(engine().state().rflags & (rflags::tf | rflags::rf), 0u);
}

TEST_F(KvmDebug, DataPoints) {
    // mov eax, [rdi]; mov [rdi], eax; mov [rdi + 4], eax; hlt
    put(place::code, {0x8b, 0x07, 0x89, 0x07, 0x89, 0x47, 4, 0x90, 0xf4});
    CpuState start = long_state();
    start.registers[rdi] = data;
    EXPECT_THAT(stops(start, {{Kind::write, data, 4}}), ElementsAre(4));
    EXPECT_THAT(stops(start, {{Kind::access, data, 4}}), ElementsAre(2, 4));
    EXPECT_THAT(stops(start, {{Kind::write, data, 8}}), ElementsAre(4, 7));
    EXPECT_EQ(last.reason, ExitReason::halted);
}

TEST_F(KvmDebug, BeginsAtAPoint) {
    put(place::code, {0x90, 0xeb, 0xfd});  // 1: nop; jmp 1b
    const auto places = stops(long_state(), {{Kind::execute, code}});
    EXPECT_EQ(places.size(), 41u);
    EXPECT_EQ(places.front(), 0u);
}

TEST_F(KvmDebug, GuestsOwnStepsStayTheGuests) {
    put(place::code, {0x90, 0x90, 0x90, 0xf4});
    put(place::handler, {0xf4});
    put_gate(1);
    CpuState start = long_state();
    start.rflags |= rflags::tf;
    EXPECT_THAT(stops(start, {{Kind::execute, code + 0x500}}), ElementsAre());
    const CpuState state = engine().state();
    EXPECT_EQ(state.rip, place::handler.value + 1);
    EXPECT_EQ(value_at<std::uint64_t>({state.registers[rsp]}), code + 1);
    EXPECT_NE(state.dr6 & dr6::bs, 0u);
}

// --- By steps

TEST_F(KvmDebug, MoreThanTheCpuHas) {
    put(place::code, {0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xf4});
    std::vector<DebugPoint> points;
    for (unsigned n = 1; n < 8; ++n) points.push_back({Kind::execute, code + 0x400 + n});
    for (unsigned n = 1; n < 8; n += 2) points.push_back({Kind::execute, code + n});
    const auto places = stops(long_state(), points);
    if (!host_limit.empty()) GTEST_SKIP() << host_limit;
    EXPECT_THAT(places, ElementsAre(1, 3, 5, 7));
}

TEST_F(KvmDebug, KindsAndSizesTheCpuHasNot) {
    put(place::code, {0x8b, 0x07,                      // mov eax, [rdi]
                      0x89, 0x47, 9,                   // mov [rdi + 9], eax
                      0x50,                            // push rax
                      0x58,                            // pop rax
                      0xa4,                            // movsb
                      0xe8, 0,    0,    0,    0,       // call the next
                      0x01, 0x05, 0,    0,    0,   0,  // add [rip], eax: the next four bytes
                      0x90, 0x90, 0x90, 0x90, 0xf4});
    CpuState start = long_state();
    start.registers[rdi] = start.registers[rsi] = data;
    start.registers[rax] = 0;
    const auto read = stops(start, {{Kind::read, data, 4}});
    if (!host_limit.empty()) GTEST_SKIP() << host_limit;
    EXPECT_THAT(read, ElementsAre(2, 8));
    EXPECT_THAT(stops(start, {{Kind::write, data - 3, 11}}), ElementsAre(8));
    EXPECT_THAT(stops(start, {{Kind::access, data - 3, 16}}), ElementsAre(2, 5, 8));
    EXPECT_THAT(stops(start, {{Kind::write, place::stack_top - 8, 3}}), ElementsAre(6, 13));
    EXPECT_THAT(stops(start, {{Kind::read, place::stack_top - 8, 8}}), ElementsAre(7));
    EXPECT_THAT(stops(start, {{Kind::read, code + 21, 1}}), ElementsAre(19));
    EXPECT_THAT(stops(start, {{Kind::execute, code + 2, 4}}), ElementsAre(2, 5));
}

TEST_F(KvmDebug, EndOfABudgetAtAPoint) {
    put(place::code, {0x90, 0x90, 0x90, 0x90, 0xf4});
    engine().set_state(long_state());
    engine().set_debug_points({{Kind::execute, code + 2, 2}});
    const auto exit = run_from(long_state(), {.instructions = 2});
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_EQ(exit->reason, ExitReason::debug_point);
    EXPECT_EQ(engine().state().rip, code + 2);
    EXPECT_EQ(engine().instructions(), 2u);
    engine().set_debug_points({});
    EXPECT_EQ(engine().run({}).reason, ExitReason::halted);
}

TEST_F(KvmDebug, TrapThatIsDueIsDelivered) {
    put(place::code, {0x90, 0xf4});
    put(place::handler, {0xf4});
    put_gate(1);
    CpuState start = long_state();
    start.pending_debug = dr6::bs;
    const auto exit = run_from(start);
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_EQ(engine().state().rip, place::handler.value + 1);
    EXPECT_EQ(engine().state().dr6, dr6::fixed_ones | dr6::bs);
    EXPECT_EQ(engine().state().pending_debug, 0u);
}

}  // namespace

}  // namespace xenolith::cpu::test
