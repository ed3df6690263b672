// HPET: the register model of its specification, matches at their exact tick, and the ways interrupts go.
#include "devices/hpet.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

#include "devices/pic8259.hpp"
#include "machine/clock.hpp"
#include "tests/devices/recording_line.hpp"

namespace xenolith::devices {
namespace {

constexpr std::uint64_t configuration = 0x10, status = 0x20, counter = 0xf0;
constexpr std::uint64_t enable = 1, legacy = 2;
constexpr std::uint64_t level = 0x02, interrupt = 0x04, periodic = 0x08, value_set = 0x40, mode_32 = 0x100;

constexpr std::uint64_t timer(unsigned number) { return 0x100 + 0x20 * number; }
constexpr std::uint64_t comparator(unsigned number) { return timer(number) + 8; }
constexpr std::uint64_t pin(std::uint64_t number) { return number << 9; }

// The clock runs at the counter's own rate, so a cycle is a tick.
class HpetTest : public testing::Test {
  protected:
    Hpet::Wiring wiring() {
        Hpet::Wiring made{irq0, irq8, {}};
        made.pins[20] = &pin20;
        made.pins[21] = &pin21;
        return made;
    }
    std::uint64_t get(std::uint64_t offset) { return hpet.read(offset, 8); }
    void set(std::uint64_t offset, std::uint64_t value) { hpet.write(offset, 8, value); }
    void tick(std::uint64_t ticks = 1) { clock.advance_to(clock.now() + ticks); }

    machine::Clock clock{Hpet::frequency};
    RecordingLine irq0, irq8, pin20, pin21;
    Hpet hpet{clock, wiring()};
};

TEST_F(HpetTest, TellsWhatItIs) {
    const std::uint64_t capabilities = get(0);
    EXPECT_EQ(capabilities >> 32, 10'000'000u) << "femtoseconds a tick";
    EXPECT_LE(capabilities >> 32, 0x05f5'e100u) << "the longest that the specification allows";
    EXPECT_EQ(capabilities >> 16 & 0xffff, 0x8086u);
    EXPECT_EQ(capabilities & 0xffff, 0xa201u) << "legacy replacement, 64 bits, three timers, revision 1";
    set(0, 0);
    EXPECT_EQ(get(0), capabilities);
    EXPECT_EQ(get(timer(0)), 0x0030'0000'0000'0030u) << "pins 20 and 21; periodic, 64 bits";
    EXPECT_EQ(get(timer(1)), 0x0030'0000'0000'0020u);
    EXPECT_EQ(get(timer(2)), 0x0030'0000'0000'0020u);
    for (unsigned number = 0; number < 3; ++number) EXPECT_EQ(get(comparator(number)), ~std::uint64_t{0});
}

TEST_F(HpetTest, ReservedRegistersAreZeroAndNoAccessIsAnError) {
    for (const std::uint64_t offset : {0x08u, 0x18u, 0x28u, 0xe8u, 0xf8u, 0x110u, 0x160u, 0x3f8u, 0x1000u}) {
        set(offset, ~std::uint64_t{0});
        EXPECT_EQ(get(offset), 0u) << offset;
    }
    hpet.write(configuration, 1, 1);
    hpet.write(configuration, 2, 1);
    hpet.write(configuration + 2, 4, 1);
    EXPECT_EQ(get(configuration), 0u) << "only aligned accesses of 4 and 8 bytes write";
    EXPECT_EQ(hpet.read(2, 2) & 0xffff, 0x8086u);
    EXPECT_EQ(hpet.read(4, 4) & 0xffff'ffff, 10'000'000u);
}

TEST_F(HpetTest, TheCounterCountsWhileEnabledAndIsWrittenWhileHalted) {
    tick(5);
    EXPECT_EQ(get(counter), 0u);
    set(counter, 0xffff'fffe);
    hpet.write(counter + 4, 4, 7);
    set(configuration, enable);
    tick(3);
    EXPECT_EQ(get(counter), 0x8'0000'0001u);
    EXPECT_EQ(hpet.read(counter + 4, 4) & 0xffff'ffff, 8u);
    set(counter, 0);
    EXPECT_EQ(get(counter), 0x8'0000'0001u) << "not while it runs";
    set(configuration, 0);
    tick(100);
    EXPECT_EQ(get(counter), 0x8'0000'0001u);
    hpet.write(configuration + 4, 4, enable);
    EXPECT_EQ(get(configuration), 0u) << "the upper half is reserved";
}

TEST_F(HpetTest, AOneShotInterruptsOnceAtItsTick) {
    set(timer(2), interrupt | pin(20));
    set(comparator(2), 1000);
    set(configuration, enable);
    std::uint64_t rose_at = 0;
    pin20.changed = [&](bool up) {
        if (up) rose_at = clock.now();
    };
    tick(5000);
    EXPECT_EQ(rose_at, 1000u);
    EXPECT_EQ(pin20.rises, 1u);
    EXPECT_EQ(pin21.rises + irq0.rises + irq8.rises, 0u);
    EXPECT_EQ(get(status), 0u) << "no status in edge mode";
    EXPECT_EQ(clock.next_deadline(), Scheduler::never) << "nothing more to come";
    set(comparator(2), 6000);
    tick(1000);
    EXPECT_EQ(pin20.rises, 2u) << "each match is an edge, with nothing to acknowledge";
}

TEST_F(HpetTest, A32BitOneShotComesAgainWhenTheCounterWraps) {
    set(timer(1), interrupt | mode_32 | pin(21));
    EXPECT_EQ(get(comparator(1)), 0xffff'ffffu);
    set(comparator(1), 0xdddd'dddd'0000'0010);
    EXPECT_EQ(get(comparator(1)), 0x10u) << "the upper half is gone";
    set(configuration, enable);
    tick(0x10);
    EXPECT_EQ(pin21.rises, 1u);
    tick(0xffff'ffff);
    EXPECT_EQ(pin21.rises, 1u);
    tick();
    EXPECT_EQ(pin21.rises, 2u);
}

TEST_F(HpetTest, AComparatorInThePastWaitsForTheWrapAndOneAtThePresentMatches) {
    set(timer(0), interrupt | pin(20));
    set(configuration, enable);
    tick(100);
    set(comparator(0), 99);
    tick(1'000'000);
    EXPECT_EQ(pin20.rises, 0u);
    set(comparator(0), 1'000'100);
    EXPECT_EQ(pin20.rises, 1u);
    tick(1000);
    EXPECT_EQ(pin20.rises, 1u);
}

TEST_F(HpetTest, PeriodicByTheSpecificationsSequence) {
    // 2.3.9.2.2: halt, clear the counter, allow the value to be set, write it, enable.
    set(timer(0), interrupt | periodic | value_set | pin(20));
    set(comparator(0), 250);
    EXPECT_EQ(get(timer(0)) & value_set, 0u) << "it clears by itself";
    set(configuration, enable);
    std::vector<std::uint64_t> rose_at;
    pin20.changed = [&](bool up) {
        if (up) rose_at.push_back(clock.now());
    };
    tick(1000);
    EXPECT_EQ(rose_at, (std::vector<std::uint64_t>{250, 500, 750, 1000}));
    EXPECT_EQ(get(comparator(0)), 1250u) << "the comparator has moved on";
    set(comparator(0), 100);
    EXPECT_EQ(get(comparator(0)), 1250u) << "a new period begins behind the old one's end";
    tick(450);
    EXPECT_EQ(rose_at, (std::vector<std::uint64_t>{250, 500, 750, 1000, 1250, 1350, 1450}));
}

TEST_F(HpetTest, PeriodicWithAFirstMatchOfItsOwn) {
    // As Linux does it: the comparator, then with the value-set bit clear again the period.
    set(configuration, enable);
    tick(10'000);
    hpet.write(timer(0), 4, interrupt | periodic | value_set | mode_32 | pin(20));
    hpet.write(comparator(0), 4, 10'300);
    hpet.write(comparator(0), 4, 1000);
    std::vector<std::uint64_t> rose_at;
    pin20.changed = [&](bool up) {
        if (up) rose_at.push_back(clock.now());
    };
    tick(3000);
    EXPECT_EQ(rose_at, (std::vector<std::uint64_t>{10'300, 11'300, 12'300}));
}

TEST_F(HpetTest, APeriodicTimerThatNobodyHearsKeepsStep) {
    set(timer(0), periodic | value_set);
    set(comparator(0), 700);
    set(configuration, enable);
    EXPECT_EQ(clock.next_deadline(), Scheduler::never);
    tick(std::uint64_t{700} * 1'000'000'007 + 3);
    EXPECT_EQ(get(comparator(0)), std::uint64_t{700} * 1'000'000'008);
}

TEST_F(HpetTest, PeriodicIn32BitsWrapsWithItsComparator) {
    set(counter, 0xffff'ff00);
    set(timer(0), interrupt | periodic | value_set | mode_32 | pin(20));
    set(comparator(0), 0xffff'ff80);
    set(comparator(0), 0x100);
    set(configuration, enable);
    tick(0x80);
    EXPECT_EQ(pin20.rises, 1u);
    EXPECT_EQ(get(comparator(0)), 0x80u);
    tick(0x100);
    EXPECT_EQ(pin20.rises, 2u);
}

TEST_F(HpetTest, OnlyTimerZeroIsPeriodic) {
    set(timer(1), periodic | value_set | interrupt | pin(20));
    EXPECT_EQ(get(timer(1)) & (periodic | value_set), 0u);
    set(comparator(1), 200);
    set(configuration, enable);
    tick(1000);
    EXPECT_EQ(pin20.rises, 1u);
}

TEST_F(HpetTest, TooShortAPeriodIsTakenInMultiplesAndNoneIsNoPeriod) {
    set(timer(0), interrupt | periodic | value_set | pin(20));
    set(comparator(0), 30);
    set(configuration, enable);
    tick(30 + 120 * 10);
    EXPECT_EQ(pin20.rises, 11u);
    set(comparator(0), 0);
    tick(1'000'000);
    EXPECT_EQ(pin20.rises, 12u) << "the match that was due, and then none";
}

TEST_F(HpetTest, ALevelStaysUntilItsStatusIsCleared) {
    set(timer(2), interrupt | level | pin(20));
    set(comparator(2), 100);
    set(configuration, enable);
    tick(100);
    EXPECT_TRUE(pin20.level);
    EXPECT_EQ(get(status), 4u);
    set(status, 3);
    EXPECT_TRUE(pin20.level) << "other timers' bits";
    set(status, 4);
    EXPECT_FALSE(pin20.level);
    EXPECT_EQ(get(status), 0u);
}

TEST_F(HpetTest, TheStatusIsSetWithoutTheInterruptAndHeldWhileHalted) {
    set(timer(0), level | pin(20));
    set(comparator(0), 50);
    set(configuration, enable);
    tick(60);
    EXPECT_EQ(get(status), 1u);
    EXPECT_FALSE(pin20.level);
    set(timer(0), level | interrupt | pin(20));
    EXPECT_TRUE(pin20.level);
    set(configuration, 0);
    EXPECT_FALSE(pin20.level) << "halted, it interrupts nobody";
    EXPECT_EQ(get(status), 1u) << "but does not forget";
    set(timer(0), interrupt | pin(20));
    EXPECT_EQ(get(status), 0u) << "an edge has no status";
}

TEST_F(HpetTest, TwoLevelsShareAPin) {
    set(timer(0), interrupt | level | pin(21));
    set(timer(1), interrupt | level | pin(21));
    set(comparator(0), 10);
    set(comparator(1), 20);
    set(configuration, enable);
    tick(30);
    set(status, 1);
    EXPECT_TRUE(pin21.level);
    set(status, 2);
    EXPECT_FALSE(pin21.level);
    EXPECT_EQ(pin21.rises, 1u);
}

TEST_F(HpetTest, ARouteThatIsNotThereIsNotTaken) {
    set(timer(0), pin(21));
    EXPECT_EQ(get(timer(0)) & 0x3e00, pin(21));
    set(timer(0), pin(5));
    EXPECT_EQ(get(timer(0)) & 0x3e00, pin(21)) << "reading back tells";
}

TEST_F(HpetTest, ChangingARouteMakesNoSecondEdge) {
    set(timer(2), interrupt | pin(20));
    set(comparator(2), 10);
    set(configuration, enable);
    tick(20);
    EXPECT_TRUE(pin20.level);
    set(timer(2), interrupt | pin(21));
    EXPECT_FALSE(pin20.level);
    EXPECT_EQ(pin21.rises, 0u);
    set(configuration, 0);
    set(configuration, enable);
    EXPECT_EQ(pin20.rises, 1u);
}

TEST_F(HpetTest, LegacyReplacementTakesTheLinesOfTheIntervalTimerAndTheClock) {
    hpet.interval_timer_input().set(true);
    EXPECT_TRUE(irq0.level) << "the interval timer's, until a guest asks";
    hpet.interval_timer_input().set(false);
    set(timer(0), interrupt | pin(20));
    set(timer(1), interrupt | level | pin(21));
    set(timer(2), interrupt | pin(20));
    set(comparator(0), 100);
    set(comparator(1), 200);
    set(comparator(2), 300);
    set(configuration, legacy);
    hpet.real_time_clock_input().set(true);
    EXPECT_TRUE(irq8.level) << "both bits are needed";
    set(configuration, enable | legacy);
    EXPECT_FALSE(irq8.level);
    hpet.interval_timer_input().set(true);
    EXPECT_FALSE(irq0.level);
    tick(100);
    EXPECT_TRUE(irq0.level);
    EXPECT_FALSE(pin20.level) << "the routes of timers 0 and 1 do not count";
    tick(100);
    EXPECT_TRUE(irq8.level);
    EXPECT_FALSE(pin21.level);
    tick(100);
    EXPECT_TRUE(pin20.level) << "timer 2 goes its own way";
    hpet.real_time_clock_input().set(false);
    set(configuration, enable);
    EXPECT_TRUE(irq0.level) << "the interval timer's again";
    EXPECT_FALSE(irq8.level);
    EXPECT_TRUE(pin21.level) << "a level that is pending follows its route";
}

TEST(HpetWithController, AnEdgeIsStillThereWhenTheProcessorComesToAcknowledgeIt) {
    machine::Clock clock(Hpet::frequency);
    RecordingLine cpu;
    UnconnectedLine irq8;
    Pic8259 pic(cpu);
    for (const auto& [offset, value] : {std::pair{0, 0x11}, {1, 0x20}, {1, 0x04}, {1, 0x01}, {1, 0xfe}}) {
        out(pic.master_ports(), static_cast<std::uint16_t>(offset), static_cast<unsigned>(value));
    }
    Hpet hpet(clock, {pic.line(0), irq8, {}});
    hpet.write(0x100, 8, interrupt | periodic | value_set);
    hpet.write(0x108, 8, 1000);
    hpet.write(configuration, 8, enable | legacy);
    for (unsigned number = 0; number < 3; ++number) {
        clock.advance_to(clock.now() + 1000);
        ASSERT_TRUE(cpu.level) << number;
        EXPECT_EQ(pic.acknowledge(), 0x20);
        out(pic.master_ports(), 0, 0x20);
        EXPECT_FALSE(cpu.level) << "one edge, one interrupt";
    }
}

TEST(HpetTime, InterruptsAtAnAwkwardClockRateDoNotDrift) {
    constexpr std::uint64_t hertz = 2'666'666'667;
    machine::Clock clock(hertz);
    RecordingLine irq0;
    UnconnectedLine irq8;
    Hpet hpet(clock, {irq0, irq8, {}});
    hpet.write(0x100, 8, interrupt | periodic | value_set);
    hpet.write(0x108, 8, 997);
    hpet.write(configuration, 8, enable | legacy);
    std::uint64_t wrong = 0;
    irq0.changed = [&](bool up) {
        if (!up) return;
        const auto exact = static_cast<unsigned __int128>(997 * irq0.rises) * hertz;
        const auto cycle = static_cast<std::uint64_t>((exact + Hpet::frequency - 1) / Hpet::frequency);
        if (clock.now() != cycle) ++wrong;
    };
    for (unsigned number = 0; number < 100'000; ++number) clock.advance_to(clock.next_deadline());
    EXPECT_EQ(irq0.rises, 100'000u);
    EXPECT_EQ(wrong, 0u);
}

TEST_F(HpetTest, ResetStopsEverythingAndLetsTheInputsThrough) {
    hpet.interval_timer_input().set(true);
    set(timer(0), interrupt | level | pin(20));
    set(comparator(0), 5);
    set(configuration, enable | legacy);
    tick(5);
    hpet.reset();
    EXPECT_EQ(get(configuration), 0u);
    EXPECT_EQ(get(counter), 0u);
    EXPECT_EQ(get(status), 0u);
    EXPECT_EQ(get(comparator(0)), ~std::uint64_t{0});
    EXPECT_TRUE(irq0.level);
    EXPECT_EQ(clock.next_deadline(), Scheduler::never);
}

TEST_F(HpetTest, IsRestoredWithItsNextMatchAndRefusedWhenOutOfRange) {
    set(timer(0), interrupt | periodic | value_set | pin(20));
    set(comparator(0), 400);
    set(configuration, enable);
    tick(500);
    const Hpet::State saved = hpet.save();

    machine::Clock second_clock(Hpet::frequency);
    second_clock.restore(500);
    RecordingLine second0, second8, second20;
    Hpet::Wiring second_wiring{second0, second8, {}};
    second_wiring.pins[20] = &second20;
    Hpet second(second_clock, second_wiring);
    second.restore(saved);
    EXPECT_EQ(second_clock.next_deadline(), 800u);
    EXPECT_TRUE(second20.level) << "the edge that was made";
    second_clock.advance_to(800);
    EXPECT_EQ(second20.rises, 2u);

    Hpet::State broken = saved;
    broken.timers[1].configuration = periodic;
    EXPECT_THROW(second.restore(broken), std::invalid_argument);
    broken = saved;
    broken.timers[2].configuration = pin(21);
    EXPECT_THROW(second.restore(broken), std::invalid_argument) << "no such pin here";
    broken = saved;
    broken.tick = 801;
    EXPECT_THROW(second.restore(broken), std::invalid_argument) << "from the future";
    broken = saved;
    broken.status = 8;
    EXPECT_THROW(second.restore(broken), std::invalid_argument);
    broken = saved;
    broken.timers[0].configuration |= mode_32;
    broken.timers[0].comparator = std::uint64_t{1} << 32;
    EXPECT_THROW(second.restore(broken), std::invalid_argument);
}

}  // namespace
}  // namespace xenolith::devices
