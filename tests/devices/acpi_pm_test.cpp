// ACPI's fixed hardware: events and who hears of them, soft-off, and a timer that never drifts.
#include "devices/acpi_pm.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

#include "machine/clock.hpp"
#include "tests/devices/recording_line.hpp"

namespace xenolith::devices {
namespace {

constexpr std::uint16_t status = 0, enable = 2, control = 4, timer = 8, event_status = 0x10, event_enable = 0x12;
constexpr std::uint32_t timer_bit = 0x0001, power_button = 0x0100;

// A cycle is a tick of the timer.
class AcpiPmTest : public testing::Test {
  protected:
    std::uint32_t get16(std::uint16_t offset) { return pm.read(offset, 2) & 0xffff; }
    void set16(std::uint16_t offset, std::uint32_t value) { pm.write(offset, 2, value); }
    void take_over() { out(pm.smi_command_port(), 0, AcpiPm::acpi_enable); }
    void tick(std::uint64_t ticks = 1) { clock.advance_to(clock.now() + ticks); }

    machine::Clock clock{AcpiPm::timer_frequency};
    RecordingLine sci;
    unsigned power_offs = 0;
    AcpiPm pm{clock, sci, [this] { ++power_offs; }};
};

TEST_F(AcpiPmTest, TheSmiCommandPortHandsTheEventsOver) {
    PortDevice& smi = pm.smi_command_port();
    EXPECT_EQ(get16(control), 0u);
    out(smi, 0, AcpiPm::acpi_enable);
    EXPECT_EQ(get16(control), 1u);
    EXPECT_EQ(in(smi, 0), AcpiPm::acpi_enable);
    out(smi, 1, 0x42);
    EXPECT_EQ(in(smi, 1), 0x42);
    out(smi, 0, 0x77);
    EXPECT_EQ(get16(control), 1u) << "no command of ours";
    set16(control, 0);
    EXPECT_EQ(get16(control), 1u) << "SCI_EN is the hardware's";
    out(smi, 0, AcpiPm::acpi_disable);
    EXPECT_EQ(get16(control), 0u);
    EXPECT_EQ(in(smi, 2), 0xff);
    EXPECT_NE(AcpiPm::acpi_enable, AcpiPm::acpi_disable);
}

TEST_F(AcpiPmTest, ThePowerButtonInterruptsUntilItsStatusIsCleared) {
    take_over();
    pm.press_power_button();
    EXPECT_EQ(get16(status), power_button);
    EXPECT_FALSE(sci.level) << "not enabled";
    set16(enable, power_button);
    EXPECT_TRUE(sci.level);
    set16(status, 0xfeff);
    EXPECT_TRUE(sci.level) << "other bits";
    set16(status, power_button);
    EXPECT_FALSE(sci.level);
    EXPECT_EQ(get16(status), 0u);
    pm.press_power_button();
    EXPECT_TRUE(sci.level);
    out(pm, status + 1, 0x01);
    EXPECT_FALSE(sci.level) << "by its byte";
}

TEST_F(AcpiPmTest, BeforeTheOperatingSystemTakesOverThereIsNoInterrupt) {
    set16(enable, power_button);
    pm.press_power_button();
    EXPECT_FALSE(sci.level);
    take_over();
    EXPECT_TRUE(sci.level);
    out(pm.smi_command_port(), 0, AcpiPm::acpi_disable);
    EXPECT_FALSE(sci.level);
}

TEST_F(AcpiPmTest, GeneralPurposeEvents) {
    take_over();
    pm.raise_event(3);
    pm.raise_event(12);
    pm.raise_event(16);
    EXPECT_EQ(get16(event_status), 0x1008u);
    EXPECT_FALSE(sci.level);
    set16(event_enable, 0x1000);
    EXPECT_TRUE(sci.level);
    out(pm, event_status + 1, 0x10);
    EXPECT_FALSE(sci.level);
    EXPECT_EQ(get16(event_status), 0x0008u);
    EXPECT_EQ(get16(event_enable), 0x1000u);
}

TEST_F(AcpiPmTest, EnableAndControlKeepTheirBitsOnly) {
    set16(enable, 0xffff);
    EXPECT_EQ(get16(enable), 0x0721u);
    set16(control, 0xffff & ~0x2000);
    EXPECT_EQ(get16(control), 0x1c02u) << "sleep type and BM_RLD; GBL_RLS and SLP_EN read as zero";
    EXPECT_EQ(power_offs, 0u);
}

TEST_F(AcpiPmTest, OnlySoftOffSwitchesOff) {
    for (std::uint32_t type = 0; type < 8; ++type) {
        set16(control, type << 10);
        EXPECT_EQ(power_offs, 0u);
        if (type != AcpiPm::soft_off_type) set16(control, type << 10 | 0x2000);
    }
    EXPECT_EQ(power_offs, 0u) << "there are no other sleeping states";
    set16(control, AcpiPm::soft_off_type << 10 | 0x2000);
    EXPECT_EQ(power_offs, 1u);
    EXPECT_EQ(get16(control) & 0x2000, 0u);
    out(pm, control, 0x20);
    EXPECT_EQ(power_offs, 1u) << "bit 5 of the other byte";
    out(pm, control + 1, AcpiPm::soft_off_type << 2 | 0x20);
    EXPECT_EQ(power_offs, 2u) << "by its byte";
}

TEST_F(AcpiPmTest, PortsWithoutARegisterReadAsOnes) {
    for (const std::uint16_t offset : std::initializer_list<std::uint16_t>{6, 7, 0xc, 0xf, 0x14, 0x1f, 0x20, 0xffff}) {
        out(pm, offset, 0);
        EXPECT_EQ(in(pm, offset), 0xff) << offset;
    }
}

TEST_F(AcpiPmTest, TheTimerCountsAndCannotBeWritten) {
    tick(0x1234'5678);
    EXPECT_EQ(pm.read(timer, 4), 0x1234'5678u);
    pm.write(timer, 4, 0);
    EXPECT_EQ(pm.read(timer, 4), 0x1234'5678u);
    EXPECT_EQ(pm.read(timer + 1, 2) & 0xffff, 0x3456u);
    tick(std::uint64_t{1} << 32);
    EXPECT_EQ(pm.read(timer, 4), 0x1234'5678u);
    pm.reset();
    EXPECT_EQ(pm.read(timer, 4), 0x1234'5678u) << "a reset does not stop it";
}

TEST_F(AcpiPmTest, TheTimersHighestBitInterruptsWheneverItChanges) {
    take_over();
    set16(enable, timer_bit);
    tick(0x7fff'ffff);
    EXPECT_FALSE(sci.level);
    tick();
    EXPECT_TRUE(sci.level);
    EXPECT_EQ(clock.next_deadline(), Scheduler::never) << "an asserted line has nothing to wait for";
    set16(status, timer_bit);
    EXPECT_FALSE(sci.level);
    tick(0x7fff'ffff);
    EXPECT_FALSE(sci.level);
    tick();
    EXPECT_TRUE(sci.level) << "back to zero as well";
}

TEST(AcpiPmTimer, TwentyFourBits) {
    machine::Clock clock(AcpiPm::timer_frequency);
    UnconnectedLine sci;
    AcpiPm pm(clock, sci, {}, AcpiPm::TimerWidth::bits_24);
    clock.advance_to(0x7f'ffff);
    EXPECT_EQ(pm.read(status, 2) & timer_bit, 0u);
    clock.advance_to(0x80'0000);
    EXPECT_EQ(pm.read(status, 2) & timer_bit, timer_bit) << "seen without an interrupt";
    clock.advance_to(0x301'2345);
    EXPECT_EQ(pm.read(timer, 4), 0x01'2345u) << "the upper byte is zero";
    pm.write(control, 2, AcpiPm::soft_off_type << 10 | 0x2000);  // with no sink
}

TEST(AcpiPmTimer, IsExactAtAnAwkwardClockRateAfterAYear) {
    constexpr std::uint64_t hertz = 2'666'666'667;
    machine::Clock clock(hertz);
    UnconnectedLine sci;
    AcpiPm pm(clock, sci, {});
    constexpr std::uint64_t seconds = 86'400 * 365;
    clock.advance_to(hertz * seconds);
    EXPECT_EQ(pm.read(timer, 4), static_cast<std::uint32_t>(AcpiPm::timer_frequency * seconds));
    clock.restore(hertz * seconds - 1);
    EXPECT_EQ(pm.read(timer, 4), static_cast<std::uint32_t>(AcpiPm::timer_frequency * seconds - 1));
}

TEST_F(AcpiPmTest, IsRestoredWithItsInterruptsAndRefusedWhenOutOfRange) {
    take_over();
    set16(enable, timer_bit | power_button);
    pm.press_power_button();
    tick(1000);
    const AcpiPm::State saved = pm.save();

    machine::Clock second_clock(AcpiPm::timer_frequency);
    second_clock.restore(1000);
    RecordingLine second_sci;
    AcpiPm second(second_clock, second_sci, {});
    second.restore(saved);
    EXPECT_TRUE(second_sci.level);
    EXPECT_EQ(second_clock.next_deadline(), 0x8000'0000u);

    second.reset();
    EXPECT_FALSE(second_sci.level);
    EXPECT_EQ(second_clock.next_deadline(), Scheduler::never);

    AcpiPm::State broken = saved;
    broken.pm1_control |= 0x2000;
    EXPECT_THROW(second.restore(broken), std::invalid_argument);
    broken = saved;
    broken.pm1_status = 2;
    EXPECT_THROW(second.restore(broken), std::invalid_argument);
    broken = saved;
    broken.timer_seen = 1001;
    EXPECT_THROW(second.restore(broken), std::invalid_argument);
}

}  // namespace
}  // namespace xenolith::devices
