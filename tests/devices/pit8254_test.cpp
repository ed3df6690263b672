// The interval timer, tick by tick: the waveforms of the 82C54 data sheet, reading back, and no drift.
//
// The test clock runs at the timer's own rate, so that one cycle is one tick.
#include "devices/pit8254.hpp"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <stdexcept>
#include <string>

#include "devices/system_control.hpp"
#include "machine/clock.hpp"
#include "tests/devices/recording_line.hpp"

namespace xenolith::devices {
namespace {

class PitTest : public testing::Test {
  protected:
    void control(unsigned value) { out(pit, 3, value); }
    void count(unsigned counter, unsigned value) { out(pit, static_cast<std::uint16_t>(counter), value); }
    void word(unsigned counter, unsigned value) {
        count(counter, value & 0xff);
        count(counter, value >> 8);
    }
    std::uint8_t read(unsigned counter) { return in(pit, static_cast<std::uint16_t>(counter)); }
    unsigned read_word(unsigned counter) {
        const unsigned low = read(counter);
        return low | (unsigned{read(counter)} << 8);
    }
    void tick(std::uint64_t ticks = 1) { clock.advance_to(clock.now() + ticks); }

    machine::Clock clock{Pit8254::frequency};
    RecordingLine irq0;
    Pit8254 pit{clock, irq0};
};

// What a test does to counter 2 before a tick.
struct Action {
    enum Kind { write_count, gate_low, gate_high } kind;
    unsigned value = 0;
};

struct Waveform {
    const char* name;
    unsigned mode;
    bool bcd = false;
    unsigned first_count;  // written before tick 1, least significant byte only
    bool gate_at_start = true;
    std::multimap<unsigned, Action> actions;  // done just before the tick of this number
    std::string out;                          // OUT after ticks 1, 2, ...: H or L
    std::vector<unsigned> counts;             // what reading gives after each tick, as its low byte; may be shorter
};

class PitWaveform : public PitTest, public testing::WithParamInterface<Waveform> {};

TEST_P(PitWaveform, IsThatOfTheDataSheet) {
    const Waveform& expected = GetParam();
    pit.set_gate2(expected.gate_at_start);
    control(0x90 | (expected.mode << 1) | (expected.bcd ? 1 : 0));
    count(2, expected.first_count);
    std::string seen;
    for (unsigned number = 1; number <= expected.out.size(); ++number) {
        const auto [first, last] = expected.actions.equal_range(number);
        for (auto action = first; action != last; ++action) {
            switch (action->second.kind) {
                case Action::write_count: count(2, action->second.value); break;
                case Action::gate_low: pit.set_gate2(false); break;
                case Action::gate_high: pit.set_gate2(true); break;
            }
        }
        tick();
        seen += pit.output(2) ? 'H' : 'L';
        if (number <= expected.counts.size()) {
            EXPECT_EQ(read(2), expected.counts[number - 1]) << "tick " << number;
        }
    }
    EXPECT_EQ(seen, expected.out);
}

// Figures 15 to 20 of the data sheet, and the rules in the text around them.
INSTANTIATE_TEST_SUITE_P(
    Modes, PitWaveform,
    testing::Values(
        Waveform{"mode0", 0, false, 4, true, {}, "LLLLHHH", {4, 3, 2, 1, 0, 0xff, 0xfe}},
        Waveform{"mode0_gate_holds",
                 0,
                 false,
                 3,
                 true,
                 {{3, {Action::gate_low}}, {5, {Action::gate_high}}},
                 "LLLLLHH",
                 {3, 2, 2, 2, 1, 0, 0xff}},
        Waveform{
            "mode0_new_count", 0, false, 3, true, {{4, {Action::write_count, 2}}}, "LLLLLHH", {3, 2, 1, 2, 1, 0, 0xff}},
        Waveform{"mode0_count_again_lowers", 0, false, 1, true, {{4, {Action::write_count, 2}}}, "LHHLLHH", {}},
        Waveform{"mode0_loads_without_gate", 0, false, 2, false, {{3, {Action::gate_high}}}, "LLLHH", {2, 2, 1, 0}},
        Waveform{"mode1", 1, false, 3, false, {{3, {Action::gate_high}}}, "HHLLLHHH", {0, 0, 3, 2, 1, 0, 0xff, 0xfe}},
        Waveform{"mode1_retrigger",
                 1,
                 false,
                 3,
                 false,
                 {{1, {Action::gate_high}}, {2, {Action::gate_low}}, {3, {Action::gate_high}}},
                 "LLLLLHH",
                 {3, 2, 3, 2, 1, 0, 0xff}},
        Waveform{"mode1_new_count_waits_for_trigger",
                 1,
                 false,
                 2,
                 false,
                 {{1, {Action::gate_high}},
                  {2, {Action::write_count, 4}},
                  {2, {Action::gate_low}},
                  {5, {Action::gate_high}}},
                 "LLHHLLLLH",
                 {2, 1, 0, 0xff, 4, 3, 2, 1, 0}},
        Waveform{"mode2", 2, false, 3, true, {}, "HHLHHLHHL", {3, 2, 1, 3, 2, 1, 3}},
        Waveform{"mode2_gate_restarts",
                 2,
                 false,
                 3,
                 true,
                 {{3, {Action::gate_low}}, {5, {Action::gate_high}}},
                 "HHHHHHLHHL",
                 {3, 2, 2, 2, 3, 2, 1, 3}},
        Waveform{"mode2_gate_raises_out",
                 2,
                 false,
                 3,
                 true,
                 {{4, {Action::gate_low}}, {5, {Action::gate_high}}},
                 "HHLHHHLH",
                 {3, 2, 1, 1, 3, 2, 1, 3}},
        Waveform{"mode2_new_count_after_period",
                 2,
                 false,
                 4,
                 true,
                 {{3, {Action::write_count, 5}}},
                 "HHHLHHHHLH",
                 {4, 3, 2, 1, 5, 4, 3, 2, 1, 5}},
        Waveform{"mode2_one_is_two", 2, false, 1, true, {}, "HLHLHL", {2, 1, 2, 1}},
        Waveform{"mode3_even", 3, false, 4, true, {}, "HHLLHHLL", {4, 2, 4, 2, 4, 2}},
        Waveform{"mode3_odd", 3, false, 5, true, {}, "HHHLLHHHLL", {4, 2, 0, 4, 2, 4, 2, 0, 4, 2}},
        Waveform{"mode3_smallest", 3, false, 2, true, {}, "HLHLHL", {2, 2, 2}},
        Waveform{"mode3_three", 3, false, 3, true, {}, "HHLHHL", {2, 0, 2, 2, 0, 2}},
        Waveform{"mode3_gate_restarts",
                 3,
                 false,
                 4,
                 true,
                 {{4, {Action::gate_low}}, {6, {Action::gate_high}}},
                 "HHLHHHHLLH",
                 {4, 2, 4, 4, 4, 4, 2, 4, 2}},
        Waveform{"mode3_new_count_after_half", 3, false, 4, true, {{2, {Action::write_count, 6}}}, "HHLLLHHHLLL", {}},
        Waveform{"mode4", 4, false, 3, true, {}, "HHHLHHH", {3, 2, 1, 0, 0xff, 0xfe}},
        Waveform{"mode4_gate_holds",
                 4,
                 false,
                 3,
                 true,
                 {{2, {Action::gate_low}}, {4, {Action::gate_high}}},
                 "HHHHHLH",
                 {3, 3, 3, 2, 1, 0}},
        Waveform{"mode4_new_count",
                 4,
                 false,
                 3,
                 true,
                 {{4, {Action::write_count, 2}}},
                 "HHHHHLHH",
                 {3, 2, 1, 2, 1, 0, 0xff}},
        Waveform{"mode5", 5, false, 3, false, {{3, {Action::gate_high}}}, "HHHHHLHH", {0, 0, 3, 2, 1, 0, 0xff}},
        Waveform{"mode5_retrigger",
                 5,
                 false,
                 3,
                 false,
                 {{1, {Action::gate_high}}, {2, {Action::gate_low}}, {3, {Action::gate_high}}},
                 "HHHHHLH",
                 {3, 2, 3, 2, 1, 0, 0xff}},
        Waveform{"bcd",
                 0,
                 true,
                 0x11,
                 true,
                 {},
                 "LLLLLLLLLLLHH",
                 {0x11, 0x10, 0x09, 0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, 0x00, 0x99}}),
    [](const auto& suite) { return suite.param.name; });

// The status shows it all the same: the mode exactly as it was written (data sheet, read-back command).
TEST_F(PitTest, ModeBitTwoIsIgnoredForModesTwoAndThree) {
    for (const unsigned mode : {2u, 3u}) {
        std::array<std::string, 2> waves;
        for (const unsigned ignored : {0u, 4u}) {
            control(0x30 | (mode + ignored) << 1);
            control(0xe2);  // read back status of counter 0
            EXPECT_EQ(read(0) >> 1 & 7, mode + ignored);
            word(0, 5);
            for (unsigned n = 0; n < 13; ++n) {
                tick();
                waves[ignored / 4] += pit.output(0) ? 'H' : 'L';
            }
        }
        EXPECT_EQ(waves[0], waves[1]);
        EXPECT_NE(waves[0].find('L'), std::string::npos);
    }
}

TEST_F(PitTest, TheAccessModeChoosesTheBytes) {
    struct Case {
        const char* name;
        unsigned access;
        std::vector<unsigned> written;
        unsigned count_after_load;
        std::vector<unsigned> read;
    };
    const Case cases[] = {
        {"low byte only", 1, {0x34}, 0x0034, {0x34, 0x34}},
        {"high byte only", 2, {0x12}, 0x1200, {0x12, 0x12}},
        {"both", 3, {0x34, 0x12}, 0x1234, {0x34, 0x12, 0x34}},
        {"zero is the modulus", 3, {0, 0}, 0x0000, {0, 0}},
    };
    for (const Case& c : cases) {
        control(0x80 | (c.access << 4));
        pit.set_gate2(false);
        for (const unsigned value : c.written) count(2, value);
        tick();
        for (const unsigned value : c.read) EXPECT_EQ(read(2), value) << c.name;
    }
}

TEST_F(PitTest, ReadsAndWritesOfBothBytesMayBeInterleaved) {
    control(0x30);
    word(0, 0x1234);
    tick();
    EXPECT_EQ(read(0), 0x34);
    count(0, 0x78);
    EXPECT_EQ(read(0), 0x12);
    count(0, 0x56);
    tick();
    EXPECT_EQ(read_word(0), 0x5678u);
}

TEST_F(PitTest, InModeZeroTheFirstOfTwoBytesStopsTheCountAndLowersOut) {
    control(0xb0);
    pit.set_gate2(true);
    word(2, 2);
    tick(3);
    EXPECT_TRUE(pit.output(2));
    const unsigned before = read_word(2);
    count(2, 0x10);
    EXPECT_FALSE(pit.output(2));
    tick(5);
    EXPECT_EQ(read_word(2), before);
    count(2, 0x00);
    tick();
    EXPECT_EQ(read_word(2), 0x10u);
    tick(15);
    EXPECT_FALSE(pit.output(2));
    tick();
    EXPECT_TRUE(pit.output(2));
}

TEST_F(PitTest, ALatchHoldsUntilReadAndASecondLatchIsIgnored) {
    control(0x34);
    word(0, 1000);
    tick(11);
    control(0x00);
    tick(10);
    control(0x00);
    EXPECT_EQ(read_word(0), 990u);
    EXPECT_EQ(read_word(0), 980u);
}

TEST_F(PitTest, ReadBackLatchesStatusThenCountOfSeveralCounters) {
    control(0x34);
    word(0, 1000);
    control(0xb6);
    pit.set_gate2(true);
    word(2, 500);
    tick(11);
    control(0xca);  // status and count of counters 0 and 2
    tick(7);
    EXPECT_EQ(read(0), 0x80 | 0x34);
    EXPECT_EQ(read_word(0), 990u);
    EXPECT_EQ(read(2), 0x80 | 0x36);
    EXPECT_EQ(read_word(2), 480u);
    EXPECT_EQ(read_word(0), 983u);
}

TEST_F(PitTest, NullCountIsSetUntilTheCountIsLoaded) {
    control(0x34);
    control(0xe2);
    EXPECT_EQ(read(0) & 0x40, 0x40) << "after the control word";
    word(0, 3);
    control(0xe2);
    EXPECT_EQ(read(0) & 0x40, 0x40) << "after the count";
    tick();
    control(0xe2);
    EXPECT_EQ(read(0) & 0x40, 0) << "after the clock that loads it";
    word(0, 9);
    tick(2);
    control(0xe2);
    EXPECT_EQ(read(0) & 0x40, 0x40) << "until the period ends";
    tick();
    control(0xe2);
    EXPECT_EQ(read(0) & 0x40, 0);
}

TEST_F(PitTest, TheControlWordRegisterCannotBeRead) { EXPECT_EQ(in(pit, 3), 0xff); }

TEST_F(PitTest, BcdCountsTenThousandWhenZeroIsWritten) {
    control(0x35);
    word(0, 0);
    tick(2);
    EXPECT_EQ(read_word(0), 0x9999u);
    tick(9998);
    EXPECT_EQ(read_word(0), 0x0001u);
    EXPECT_FALSE(pit.output(0));
    tick();
    EXPECT_EQ(read_word(0), 0u);
    EXPECT_TRUE(pit.output(0));
}

TEST_F(PitTest, BcdDigitsAboveNineStayWithinFourDigits) {
    control(0x31);
    word(0, 0xffff);
    tick();
    EXPECT_EQ(read_word(0), 0x6665u) << "15 * 1111, modulo 10000";
    tick(6665);
    EXPECT_TRUE(pit.output(0));
}

TEST_F(PitTest, ProgrammingCounterZeroThePeriodicWayMakesNoEdge) {
    const auto before = irq0.rises;
    control(0x34);
    word(0, 100);
    tick(99);
    EXPECT_TRUE(irq0.level);
    tick();
    EXPECT_FALSE(irq0.level);
    tick();
    EXPECT_EQ(irq0.rises, before + 1);
}

TEST_F(PitTest, TheInterruptOfAOneShotComesCountPlusOneTicksAfterTheWrite) {
    control(0x30);
    word(0, 1000);
    std::uint64_t rose_at = 0;
    irq0.changed = [&](bool level) {
        if (level) rose_at = clock.now();
    };
    tick(5000);
    EXPECT_EQ(rose_at, 1001u);
    EXPECT_EQ(clock.next_deadline(), Scheduler::never) << "nothing more to come";
}

TEST_F(PitTest, AYearOfTicksCostsNothingAndLosesNothing) {
    control(0xb4);
    pit.set_gate2(true);
    word(2, 7);
    const std::uint64_t year = Pit8254::frequency * 86'400 * 365;
    clock.advance_to(year);
    // Loaded at tick 1; OUT is low when the count is 1, the last tick of seven.
    EXPECT_EQ(read_word(2), 7 - (year - 1) % 7);
    EXPECT_EQ(pit.output(2), (year - 1) % 7 != 6);
}

TEST(PitTime, AMillionInterruptsAtAnAwkwardClockRateDoNotDrift) {
    constexpr std::uint64_t hertz = 2'666'666'667;
    machine::Clock clock(hertz);
    RecordingLine irq0;
    Pit8254 pit(clock, irq0);
    out(pit, 3, 0x34);
    out(pit, 0, 1193 & 0xff);
    out(pit, 0, 1193 >> 8);
    irq0.rises = 0;
    std::uint64_t wrong = 0;
    irq0.changed = [&](bool level) {
        if (!level) return;
        // Interrupt n comes with tick 1 + 1193 n, at the first cycle of that tick.
        const std::uint64_t tick = 1 + 1193 * irq0.rises;
        const auto exact = static_cast<unsigned __int128>(tick) * hertz;
        const auto cycle = static_cast<std::uint64_t>((exact + Pit8254::frequency - 1) / Pit8254::frequency);
        if (clock.now() != cycle) ++wrong;
    };
    while (irq0.rises < 1'000'000) clock.advance_to(clock.next_deadline());
    EXPECT_EQ(wrong, 0u);
}

TEST(PitTime, AClockSlowerThanTheTimerStillSeesAnEdge) {
    machine::Clock clock(1000);
    RecordingLine irq0;
    Pit8254 pit(clock, irq0);
    out(pit, 3, 0x34);
    out(pit, 0, 2);
    out(pit, 0, 0);
    irq0.rises = 0;
    clock.advance_to(10);
    EXPECT_GE(irq0.rises, 9u);
}

TEST(PitState, IsRestoredWithItsNextInterruptAndRefusedWhenOutOfRange) {
    machine::Clock clock(Pit8254::frequency);
    RecordingLine first_line;
    Pit8254 first(clock, first_line);
    out(first, 3, 0x34);
    out(first, 0, 100);
    out(first, 0, 0);
    clock.advance_to(150);
    const Pit8254::State saved = first.save();

    machine::Clock second_clock(Pit8254::frequency);
    second_clock.restore(150);
    RecordingLine second_line;
    Pit8254 second(second_clock, second_line);
    second.restore(saved);
    EXPECT_EQ(second_clock.next_deadline(), clock.next_deadline());
    second_clock.advance_to(201);
    EXPECT_TRUE(second_line.level);

    Pit8254::State broken = saved;
    broken.counters[1].mode = 8;
    EXPECT_THROW(second.restore(broken), std::invalid_argument);
    broken = saved;
    broken.counters[0].period = 0;
    EXPECT_THROW(second.restore(broken), std::invalid_argument);
}

TEST_F(PitTest, PortBGatesTimerTwoAndShowsItsOutput) {
    SystemControlPortB port(pit);
    control(0xb0);
    word(2, 100);
    tick(200);
    EXPECT_EQ(in(port, 0) & 0x20, 0) << "the gate is closed: nothing is counted";
    out(port, 0, 0x01);
    tick(99);
    EXPECT_EQ(in(port, 0) & 0x20, 0);
    tick();
    EXPECT_EQ(in(port, 0) & 0x21, 0x21);
    EXPECT_FALSE(port.speaker());
    out(port, 0, 0x03);
    EXPECT_TRUE(port.speaker());
}

TEST_F(PitTest, TheRefreshBitTogglesEveryEighteenTicks) {
    SystemControlPortB port(pit);
    unsigned toggles = 0;
    bool last = (in(port, 0) & 0x10) != 0;
    for (unsigned number = 0; number < 1800; ++number) {
        tick();
        const bool now = (in(port, 0) & 0x10) != 0;
        toggles += now != last ? 1 : 0;
        last = now;
    }
    EXPECT_EQ(toggles, 100u);
}

TEST_F(PitTest, PortBKeepsItsFourWritableBits) {
    SystemControlPortB port(pit);
    out(port, 0, 0xff);
    EXPECT_EQ(in(port, 0) & 0xcf, 0x0f);
}

}  // namespace
}  // namespace xenolith::devices
