// The clock: exact conversions, timers in order, and time that a timer sees.
#include "machine/clock.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <stdexcept>
#include <utility>
#include <vector>

namespace xenolith::machine {
namespace {

using devices::Scheduler;
using testing::ElementsAre;

class CallingTimer final : public devices::Timer {
  public:
    CallingTimer(Scheduler& scheduler, std::function<void()> call) : Timer(scheduler), call_(std::move(call)) {}
    void expired() override { call_(); }

  private:
    std::function<void()> call_;
};

TEST(Conversion, RoundsDownAndUpExactly) {
    struct Case {
        std::uint64_t count, from, to, floor, ceiling;
    };
    constexpr std::uint64_t most = ~std::uint64_t{0};
    const Case cases[] = {
        {0, 7, 3, 0, 0},
        {7, 7, 3, 3, 3},
        {8, 7, 3, 3, 4},
        {1'000'000'000'000'000'000, 3'000'000'000, 1'000'000'000, 333'333'333'333'333'333, 333'333'333'333'333'334},
        {most, 1, 1, most, most},
        {most, 1, 2, most, most},  // saturates
        {most, 2, 1, most / 2, most / 2 + 1},
    };
    for (const Case& c : cases) {
        EXPECT_EQ(devices::convert_floor(c.count, c.from, c.to), c.floor) << c.count;
        EXPECT_EQ(devices::convert_ceiling(c.count, c.from, c.to), c.ceiling) << c.count;
    }
}

TEST(Conversion, ATickIsCountedFromItsFirstCycleOn) {
    Clock clock(2'666'666'667);
    for (const std::uint64_t tick :
         {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{1'193'182}, std::uint64_t{123'456'789'012}}) {
        const std::uint64_t cycle = clock.cycle_of_tick(tick, 1'193'182);
        clock.advance_to(cycle - 1);
        EXPECT_EQ(clock.ticks(1'193'182), tick - 1);
        clock.advance_to(cycle);
        EXPECT_EQ(clock.ticks(1'193'182), tick);
    }
}

TEST(Clock, RefusesAFrequencyOfZero) { EXPECT_THROW(Clock(0), std::invalid_argument); }

TEST(Clock, CountsNanoseconds) {
    Clock clock(3'000'000'000);
    clock.advance_to(10);
    EXPECT_EQ(clock.nanoseconds(), 3u);
    clock.advance_to(std::uint64_t{3'000'000'000} * 86'400);
    EXPECT_EQ(clock.nanoseconds(), 86'400'000'000'000u);
}

TEST(Clock, ExpiresInOrderOfDeadlineThenOfAge) {
    Clock clock(1'000'000);
    std::vector<std::pair<char, std::uint64_t>> seen;
    CallingTimer a(clock, [&] { seen.emplace_back('a', clock.now()); });
    CallingTimer b(clock, [&] { seen.emplace_back('b', clock.now()); });
    CallingTimer c(clock, [&] { seen.emplace_back('c', clock.now()); });
    clock.at(20, c);
    clock.at(10, b);
    clock.at(20, a);
    EXPECT_EQ(clock.next_deadline(), 10u);
    clock.advance_to(9);
    EXPECT_TRUE(seen.empty());
    clock.advance_to(25);
    EXPECT_THAT(seen, ElementsAre(std::pair{'b', 10u}, std::pair{'a', 20u}, std::pair{'c', 20u}));
    EXPECT_EQ(clock.now(), 25u);
    EXPECT_EQ(clock.next_deadline(), Scheduler::never);
}

TEST(Clock, ArmingAgainReplacesTheDeadlineAndNeverDisarms) {
    Clock clock(1'000'000);
    int expirations = 0;
    CallingTimer timer(clock, [&] { ++expirations; });
    clock.at(10, timer);
    clock.at(30, timer);
    clock.advance_to(20);
    EXPECT_EQ(expirations, 0);
    clock.advance_to(30);
    EXPECT_EQ(expirations, 1);
    clock.at(40, timer);
    clock.at(Scheduler::never, timer);
    clock.advance_to(50);
    clock.at(60, timer);
    clock.cancel(timer);
    clock.advance_to(Scheduler::never);
    EXPECT_EQ(expirations, 1);
}

TEST(Clock, ATimerThatArmsItselfExpiresWithinOneAdvance) {
    Clock clock(1'000'000);
    std::vector<std::uint64_t> times;
    CallingTimer timer(clock, [&] {
        times.push_back(clock.now());
        clock.at(clock.now() + 7, timer);
    });
    clock.at(7, timer);
    clock.advance_to(30);
    EXPECT_THAT(times, ElementsAre(7u, 14u, 21u, 28u));
    EXPECT_EQ(clock.next_deadline(), 35u);
}

TEST(Clock, AnOverdueTimerExpiresAtTheNextAdvanceAndTimeDoesNotGoBack) {
    Clock clock(1'000'000);
    clock.advance_to(100);
    std::uint64_t seen = 0;
    CallingTimer timer(clock, [&] { seen = clock.now(); });
    clock.at(50, timer);
    clock.advance_to(90);
    EXPECT_EQ(seen, 100u);
    EXPECT_EQ(clock.now(), 100u);
}

TEST(Clock, RestoringSetsTheTimeAndDisarms) {
    Clock clock(1'000'000);
    clock.advance_to(100);
    CallingTimer timer(clock, [] { FAIL() << "disarmed by restore"; });
    clock.at(110, timer);
    clock.restore(40);
    EXPECT_EQ(clock.now(), 40u);
    clock.advance_to(200);
}

}  // namespace
}  // namespace xenolith::machine
