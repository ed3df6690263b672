// The real-time clock: a calendar that rolls over, alarms, the three interrupts, and the memory beside it.
#include "devices/cmos_rtc.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <stdexcept>
#include <string>

#include "machine/clock.hpp"
#include "tests/devices/recording_line.hpp"

namespace xenolith::devices {
namespace {

constexpr unsigned register_a = 0x0a;
constexpr unsigned register_b = 0x0b;
constexpr unsigned register_c = 0x0c;
constexpr unsigned register_d = 0x0d;
constexpr std::uint64_t second = CmosRtc::crystal;  // the test clock runs at the crystal's rate

class RtcTest : public testing::Test {
  protected:
    std::uint8_t read(unsigned index) {
        out(rtc, 0, index);
        return in(rtc, 1);
    }
    void write(unsigned index, unsigned value) {
        out(rtc, 0, index);
        out(rtc, 1, value);
    }
    void wait(std::uint64_t ticks) { clock.advance_to(clock.now() + ticks); }
    // "weekday century year-month-day hour:minute:second", as the registers hold it.
    std::string shown() {
        char text[64];
        std::snprintf(text, sizeof text, "%x %02x%02x-%02x-%02x %02x:%02x:%02x", read(6), read(0x32), read(9), read(8),
                      read(7), read(4), read(2), read(0));
        return text;
    }

    machine::Clock clock{CmosRtc::crystal};
    RecordingLine irq8;
    CmosRtc rtc{clock, irq8, {}};
};

TEST_F(RtcTest, StartsAtAFixedDateAndCountsVirtualSeconds) {
    EXPECT_EQ(shown(), "2 2024-01-01 00:00:00");
    wait(second - 1);
    EXPECT_EQ(read(0), 0x00);
    wait(1);
    EXPECT_EQ(shown(), "2 2024-01-01 00:00:01");
    wait(second * (86'400 * 366 - 1));
    EXPECT_EQ(shown(), "4 2025-01-01 00:00:00");
}

TEST_F(RtcTest, SaysThatItIsValidAndHowItCounts) {
    EXPECT_EQ(read(register_d), 0x80);
    EXPECT_EQ(read(register_a), 0x26);
    EXPECT_EQ(read(register_b), 0x02);
    write(register_c, 0xff);
    write(register_d, 0x00);
    EXPECT_EQ(read(register_c), 0x00);
    EXPECT_EQ(read(register_d), 0x80);
}

TEST(RtcStart, IsConfigurable) {
    struct Case {
        std::uint64_t start;
        const char* shown;
    };
    const Case cases[] = {
        {0, "1970-01-01 00:00:00 5"},
        {951'782'399, "2000-02-28 23:59:59 2"},
        {951'782'400, "2000-02-29 00:00:00 3"},
        {4'107'542'399, "2100-02-28 23:59:59 1"},
        {4'107'542'400, "2100-03-01 00:00:00 2"},
        {253'402'300'799, "9999-12-31 23:59:59 6"},
    };
    for (const Case& c : cases) {
        machine::Clock clock(CmosRtc::crystal);
        RecordingLine irq8;
        CmosRtc rtc(clock, irq8, {.start_seconds = c.start});
        const auto read = [&](unsigned index) {
            out(rtc, 0, index);
            return in(rtc, 1);
        };
        char text[64];
        std::snprintf(text, sizeof text, "%02x%02x-%02x-%02x %02x:%02x:%02x %x", read(0x32), read(9), read(8), read(7),
                      read(4), read(2), read(0), read(6));
        EXPECT_STREQ(text, c.shown);
    }
}

TEST_F(RtcTest, RollsOver) {
    struct Case {
        const char* name;
        unsigned mode;     // register B
        unsigned date[8];  // second, minute, hour, weekday, day, month, year, century as written
        const char* after_one_second;
    };
    const Case cases[] = {
        {"minute", 0x02, {0x59, 0x10, 0x10, 3, 0x05, 0x06, 0x24, 0x20}, "3 2024-06-05 10:11:00"},
        {"day", 0x02, {0x59, 0x59, 0x23, 7, 0x05, 0x06, 0x24, 0x20}, "1 2024-06-06 00:00:00"},
        {"leap day", 0x02, {0x59, 0x59, 0x23, 4, 0x28, 0x02, 0x24, 0x20}, "5 2024-02-29 00:00:00"},
        {"no leap day", 0x02, {0x59, 0x59, 0x23, 4, 0x28, 0x02, 0x23, 0x20}, "5 2023-03-01 00:00:00"},
        {"century", 0x02, {0x59, 0x59, 0x23, 6, 0x31, 0x12, 0x99, 0x19}, "7 2000-01-01 00:00:00"},
        {"last year", 0x02, {0x59, 0x59, 0x23, 6, 0x31, 0x12, 0x99, 0x99}, "7 0000-01-01 00:00:00"},
        {"binary", 0x06, {59, 59, 23, 6, 31, 12, 99, 19}, "7 1400-01-01 00:00:00"},
        {"noon in twelve-hour form", 0x00, {0x59, 0x59, 0x11, 3, 0x05, 0x06, 0x24, 0x20}, "3 2024-06-05 92:00:00"},
        {"one o'clock", 0x00, {0x59, 0x59, 0x92, 3, 0x05, 0x06, 0x24, 0x20}, "3 2024-06-05 81:00:00"},
        {"midnight", 0x00, {0x59, 0x59, 0x91, 3, 0x05, 0x06, 0x24, 0x20}, "4 2024-06-06 12:00:00"},
        {"twelve-hour binary", 0x04, {59, 59, 0x8b, 3, 5, 6, 24, 20}, "4 1418-06-06 0c:00:00"},
    };
    constexpr unsigned registers[] = {0, 2, 4, 6, 7, 8, 9, 0x32};
    for (const Case& c : cases) {
        write(register_b, 0x80 | c.mode);
        for (unsigned place = 0; place < 8; ++place) write(registers[place], c.date[place]);
        write(register_b, c.mode);
        wait(second);
        EXPECT_EQ(shown(), c.after_one_second) << c.name;
    }
}

TEST_F(RtcTest, RegistersThatHoldNoTimeAreBroughtIntoRange) {
    for (const unsigned index : {0u, 2u, 4u, 6u, 7u, 8u, 9u, 0x32u}) write(index, 0xff);
    wait(second);
    wait(second);
    for (const unsigned index : {0u, 2u}) EXPECT_LT(read(index), 0x60);
    EXPECT_LT(read(4), 0x24);
    EXPECT_LE(read(7), 0x31);
    EXPECT_LE(read(8), 0x12);
}

TEST_F(RtcTest, SetHoldsTheClockButNotItsBeat) {
    wait(second / 4);
    write(register_b, 0x82);
    wait(10 * second);
    EXPECT_EQ(read(0), 0x00);
    write(register_b, 0x02);
    wait(second / 4 * 3);
    EXPECT_EQ(read(0), 0x01);
}

TEST_F(RtcTest, ADividerLetGoUpdatesHalfASecondLater) {
    write(register_a, 0x76);
    wait(5 * second + 123);
    EXPECT_EQ(read(0), 0x00);
    write(register_a, 0x26);
    wait(second / 2 - 1);
    EXPECT_EQ(read(0), 0x00);
    wait(1);
    EXPECT_EQ(read(0), 0x01);
    wait(second);
    EXPECT_EQ(read(0), 0x02);
}

TEST_F(RtcTest, UpdateInProgressIsSeenBeforeEachUpdate) {
    wait(second - 74);
    EXPECT_EQ(read(register_a) & 0x80, 0x00);
    wait(1);
    EXPECT_EQ(read(register_a) & 0x80, 0x80);
    wait(72);
    EXPECT_EQ(read(register_a) & 0x80, 0x80);
    EXPECT_EQ(read(0), 0x00);
    wait(1);
    EXPECT_EQ(read(register_a) & 0x80, 0x00);
    EXPECT_EQ(read(0), 0x01);
    wait(second - 10);
    write(register_b, 0x82);
    EXPECT_EQ(read(register_a) & 0x80, 0x00) << "SET ends it";
}

TEST_F(RtcTest, PeriodicInterruptComesAtItsRate) {
    for (unsigned rate = 1; rate < 16; ++rate) {
        const std::uint64_t period = rate == 1 ? 128 : rate == 2 ? 256 : std::uint64_t{1} << (rate - 1);
        write(register_b, 0x02);
        write(register_a, 0x20 | rate);
        read(register_c);
        write(register_b, 0x42);
        irq8.rises = 0;
        for (std::uint64_t passed = 0; passed < 4 * period; ++passed) {
            wait(1);
            if (irq8.level) {
                EXPECT_EQ(read(register_c) & 0xc0, 0xc0);
            }
        }
        EXPECT_EQ(irq8.rises, 4u) << "rate " << rate;
    }
}

TEST_F(RtcTest, FlagsRiseWithoutTheirEnableBitsButDoNotInterrupt) {
    wait(second);
    EXPECT_FALSE(irq8.level);
    EXPECT_EQ(clock.next_deadline(), Scheduler::never) << "nobody waits: no timer";
    EXPECT_EQ(read(register_c), 0x50) << "periodic and update; the alarm registers say midnight";
    EXPECT_EQ(read(register_c), 0x00);
}

TEST_F(RtcTest, TheLineStaysUntilRegisterCIsRead) {
    write(register_b, 0x12);
    wait(second);
    EXPECT_TRUE(irq8.level);
    wait(3 * second);
    EXPECT_EQ(irq8.rises, 1u);
    EXPECT_EQ(read(register_c) & 0x90, 0x90);
    EXPECT_FALSE(irq8.level);
    EXPECT_EQ(read(register_c) & 0x90, 0x00);
    wait(second);
    EXPECT_EQ(irq8.rises, 2u);
}

TEST_F(RtcTest, AlarmsMatchTheirThreeRegistersOrAnything) {
    struct Case {
        const char* name;
        unsigned hour, minute, second_;
        std::uint64_t after;  // seconds from 00:00:00
        unsigned mode;
    };
    const Case cases[] = {
        {"exact", 0x01, 0x02, 0x03, 3723, 0x02},
        {"the same second is a day away", 0x00, 0x00, 0x00, 86'400, 0x02},
        {"every second", 0xff, 0xff, 0xff, 1, 0x02},
        {"every minute", 0xc0, 0xc0, 0x10, 10, 0x02},
        {"every hour", 0xc0, 0x30, 0x00, 1800, 0x02},
        {"any second of an hour", 0x23, 0xc0, 0xc0, 82'800, 0x02},
        {"afternoon in twelve-hour form", 0x81, 0x00, 0x00, 13 * 3600, 0x00},
        {"binary", 10, 59, 59, 11 * 3600 - 1, 0x06},
    };
    for (const Case& c : cases) {
        write(register_b, 0x80 | c.mode);
        for (const unsigned index : {0u, 2u}) write(index, 0);
        write(4, (c.mode & 0x02) != 0 ? 0 : 0x12);
        write(5, c.hour);
        write(3, c.minute);
        write(1, c.second_);
        write(register_b, 0x20 | c.mode);
        read(register_c);
        const std::uint64_t seconds_before = clock.now() / second;
        ASSERT_NE(clock.next_deadline(), Scheduler::never) << c.name;
        clock.advance_to(clock.next_deadline());
        EXPECT_TRUE(irq8.level) << c.name;
        EXPECT_EQ(clock.now() / second - seconds_before, c.after) << c.name;
        read(register_c);
    }
}

TEST_F(RtcTest, AnAlarmThatCanNeverComeArmsNothing) {
    write(5, 0x77);
    write(register_b, 0x22);
    EXPECT_EQ(clock.next_deadline(), Scheduler::never);
}

TEST_F(RtcTest, ResetStopsInterruptsAndKeepsTime) {
    write(register_b, 0x7e);
    write(0x40, 0x5a);
    wait(2 * second);
    rtc.reset();
    EXPECT_FALSE(irq8.level);
    EXPECT_EQ(read(register_b), 0x06);
    EXPECT_EQ(read(register_c), 0x00);
    EXPECT_EQ(read(0x40), 0x5a);
}

TEST_F(RtcTest, TheIndexPortMasksNmiAndCannotBeRead) {
    out(rtc, 0, 0x8d);
    EXPECT_TRUE(rtc.nmi_masked());
    EXPECT_EQ(in(rtc, 1), 0x80);
    EXPECT_EQ(in(rtc, 0), 0xff);
    out(rtc, 0, 0x0d);
    EXPECT_FALSE(rtc.nmi_masked());
}

TEST(RtcMemory, HoldsTheSizesWhereFirmwareLooks) {
    struct Case {
        const char* name;
        std::uint64_t below, above;
        unsigned base, extended, above_16m, above_4g;
    };
    constexpr std::uint64_t mib = 1024 * 1024;
    const Case cases[] = {
        {"nothing", 0, 0, 0, 0, 0, 0},
        {"one megabyte", mib, 0, 640, 0, 0, 0},
        {"64 megabytes", 64 * mib, 0, 640, 63 * 1024, 48 * 16, 0},
        {"8 gigabytes", 3072 * mib, 5120 * mib, 640, 0xffff, 3056 * 16, 5120 * 16},
        {"more than fits", 4096 * mib, ~std::uint64_t{0}, 640, 0xffff, 0xff00, 0xffffff},
    };
    for (const Case& c : cases) {
        machine::Clock clock(CmosRtc::crystal);
        RecordingLine irq8;
        CmosRtc rtc(clock, irq8, {.memory_below_4g = c.below, .memory_above_4g = c.above});
        const auto read = [&](unsigned index) {
            out(rtc, 0, index);
            return unsigned{in(rtc, 1)};
        };
        const auto word = [&](unsigned index) { return read(index) | (read(index + 1) << 8); };
        EXPECT_EQ(word(0x15), c.base) << c.name;
        EXPECT_EQ(word(0x17), c.extended) << c.name;
        EXPECT_EQ(word(0x30), c.extended) << c.name;
        EXPECT_EQ(word(0x34), c.above_16m) << c.name;
        EXPECT_EQ(word(0x5b) | (read(0x5d) << 16), c.above_4g) << c.name;
        unsigned sum = 0;
        for (unsigned index = 0x10; index <= 0x2d; ++index) sum += read(index);
        EXPECT_EQ((read(0x2e) << 8) | read(0x2f), sum) << c.name;
    }
}

TEST_F(RtcTest, FirmwareMayPresetTheUsersMemoryOnly) {
    rtc.set_memory(0x10, 0x40);
    EXPECT_EQ(read(0x10), 0x40);
    EXPECT_THROW(rtc.set_memory(0x0d, 0), std::invalid_argument);
    EXPECT_THROW(rtc.set_memory(0x80, 0), std::invalid_argument);
}

TEST_F(RtcTest, StateIsRestoredWithItsPhaseAndItsNextInterrupt) {
    wait(second / 3);
    write(register_a, 0x76);
    wait(100);
    write(register_a, 0x26);
    write(register_b, 0x52);
    wait(7);
    machine::Clock other_clock(CmosRtc::crystal);
    other_clock.restore(clock.now());
    RecordingLine other_line;
    CmosRtc other(other_clock, other_line, {});
    other.restore(rtc.save());
    EXPECT_EQ(other_clock.next_deadline(), clock.next_deadline());

    CmosRtc::State broken = rtc.save();
    broken.index = 128;
    EXPECT_THROW(other.restore(broken), std::invalid_argument);
}

}  // namespace
}  // namespace xenolith::devices
