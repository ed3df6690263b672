// The local APIC's timer through its registers: every mode, to the cycle.
#include "devices/apic_timer.hpp"

#include <gtest/gtest.h>

#include "tests/devices/apic_fixture.hpp"

namespace xenolith::devices {
namespace {

namespace reg = apic_register;

class ApicTimerTest : public testing::Test {
  protected:
    static constexpr std::uint64_t hertz = 1'000'000'000;
    static constexpr std::uint32_t by_1 = 0b1011, by_2 = 0b0000;
    static constexpr unsigned vector = 0x30;

    void start(std::uint32_t mode, std::uint32_t count, std::uint32_t divide = by_1) {
        cpu.write(reg::timer, vector | mode);
        cpu.write(reg::divide_configuration, divide);
        cpu.write(reg::initial_count, count);
    }
    std::uint32_t count() { return cpu.read(reg::current_count); }
    // Takes a waiting interrupt and ends it; false if there is none.
    bool take() {
        if (!cpu.interrupt.level) return false;
        EXPECT_EQ(apic.acknowledge(), vector);
        cpu.end_of_interrupt();
        return true;
    }

    machine::Clock clock{hertz};
    ApicBus bus;
    ApicProcessor cpu{clock, bus, {.bus_frequency = hertz}};
    LocalApic& apic = cpu.apic;
};

TEST_F(ApicTimerTest, OneShotCountsDownOnce) {
    clock.advance_to(50);
    start(0, 1000);
    EXPECT_EQ(clock.next_deadline(), 1050u);
    clock.advance_to(51);
    EXPECT_EQ(count(), 999u);
    clock.advance_to(1049);
    EXPECT_EQ(count(), 1u);
    EXPECT_FALSE(take());
    clock.advance_to(1050);
    EXPECT_EQ(count(), 0u);
    EXPECT_TRUE(take());
    clock.advance_to(10'000);
    EXPECT_FALSE(take());
    EXPECT_EQ(cpu.read(reg::initial_count), 1000u);
}

TEST_F(ApicTimerTest, PeriodicStartsAgainWithoutDrift) {
    start(apic_bit::periodic, 1000);
    for (std::uint64_t period = 1; period <= 5; ++period) {
        clock.advance_to(period * 1000 - 1);
        EXPECT_EQ(count(), 1u);
        EXPECT_FALSE(take());
        clock.advance_to(period * 1000);
        EXPECT_EQ(count(), 1000u);
        EXPECT_TRUE(take());
    }
    clock.advance_to(8500);
    EXPECT_TRUE(take()) << "three that nobody took are one";
    EXPECT_FALSE(take());
    EXPECT_EQ(clock.next_deadline(), 9000u);
    cpu.write(reg::initial_count, 0);
    clock.advance_to(20'000);
    EXPECT_FALSE(take());
    EXPECT_EQ(count(), 0u);
}

TEST_F(ApicTimerTest, EveryDivisor) {
    const unsigned divisors[] = {2, 4, 8, 16, 32, 64, 128, 1};
    for (unsigned index = 0; index < 8; ++index) {
        const std::uint64_t begin = clock.now();
        start(0, 10, (index & 3) | (index & 4) << 1);
        EXPECT_EQ(clock.next_deadline(), begin + 10u * divisors[index]);
        clock.advance_to(begin + 10u * divisors[index] - 1);
        EXPECT_EQ(count(), 1u);
        EXPECT_FALSE(take());
        clock.advance_to(begin + 10u * divisors[index]);
        EXPECT_TRUE(take());
    }
}

TEST_F(ApicTimerTest, CountsTheBusClockNotTheProcessors) {
    // 2.9 GHz and 133 1/3 MHz, rounded: 75 million counts are not a whole number of anything.
    machine::Clock fast(2'900'000'000);
    ApicProcessor other(fast, bus, {.bus_frequency = 133'333'333});
    other.write(reg::timer, vector | apic_bit::periodic);
    other.write(reg::divide_configuration, by_1);
    other.write(reg::initial_count, 133'333'333);
    for (std::uint64_t second = 1; second < 5; ++second) {
        fast.advance_to(second * 2'900'000'000 - 1);
        EXPECT_FALSE(other.interrupt.level);
        fast.advance_to(second * 2'900'000'000);
        EXPECT_TRUE(other.interrupt.level) << "every second, to the cycle";
        EXPECT_EQ(other.apic.acknowledge(), vector);
        other.end_of_interrupt();
    }
}

TEST_F(ApicTimerTest, AMaskedExpiryIsLost) {
    start(apic_bit::masked, 100);
    clock.advance_to(99);
    EXPECT_EQ(count(), 1u);
    clock.advance_to(150);
    cpu.write(reg::timer, vector);
    EXPECT_FALSE(take());
    start(apic_bit::masked | apic_bit::periodic, 100);
    clock.advance_to(1000);
    cpu.write(reg::timer, vector | apic_bit::periodic);
    EXPECT_FALSE(take());
    EXPECT_EQ(clock.next_deadline(), 1050u);
    cpu.write(reg::spurious, 0xff);
    clock.advance_to(1060);
    EXPECT_FALSE(take()) << "disabled by software is masked";
    EXPECT_EQ(count(), 90u) << "but counts";
}

TEST_F(ApicTimerTest, BetweenOneShotAndPeriodicTheCountGoesOn) {
    start(0, 1000);
    clock.advance_to(400);
    cpu.write(reg::timer, vector | apic_bit::periodic);
    EXPECT_EQ(count(), 600u);
    clock.advance_to(1000);
    EXPECT_TRUE(take());
    EXPECT_EQ(count(), 1000u);
    cpu.write(reg::timer, vector);
    clock.advance_to(2000);
    EXPECT_TRUE(take());
    EXPECT_EQ(count(), 0u);
    cpu.write(reg::timer, vector | apic_bit::periodic);
    clock.advance_to(5000);
    EXPECT_FALSE(take()) << "what has stopped does not start by its mode";
}

TEST_F(ApicTimerTest, ADivisorChangesUnderARunningCount) {
    start(0, 1000, by_1);
    clock.advance_to(400);
    cpu.write(reg::divide_configuration, by_2);
    EXPECT_EQ(count(), 600u);
    EXPECT_EQ(clock.next_deadline(), 1600u);
    clock.advance_to(403);
    EXPECT_EQ(count(), 599u);
    cpu.write(reg::divide_configuration, by_1);
    EXPECT_EQ(clock.next_deadline(), 1002u);
}

TEST_F(ApicTimerTest, ShortPeriodsAndPendingInterruptsDoNotCallBack) {
    start(apic_bit::periodic, 1);
    clock.advance_to(1);
    EXPECT_TRUE(cpu.requested(vector));
    EXPECT_EQ(clock.next_deadline(), Scheduler::never) << "it is waiting already";
    clock.advance_to(1'000'000'000'000);
    EXPECT_TRUE(take());
    EXPECT_EQ(clock.next_deadline(), 1'000'000'000'001u);
}

TEST_F(ApicTimerTest, AnIllegalVectorIsAnErrorAtEachExpiry) {
    cpu.write(reg::error, 0x80);
    cpu.write(reg::timer, 0x0f | apic_bit::periodic);
    cpu.write(reg::divide_configuration, by_1);
    cpu.write(reg::initial_count, 10);
    clock.advance_to(35);
    EXPECT_EQ(apic.acknowledge(), 0x80);
    cpu.end_of_interrupt();
    EXPECT_EQ(cpu.errors(), 0x40u);
    EXPECT_EQ(cpu.errors(), 0u);
    clock.advance_to(39);
    EXPECT_FALSE(cpu.interrupt.level);
    clock.advance_to(40);
    EXPECT_TRUE(cpu.interrupt.level);
}

TEST_F(ApicTimerTest, DeadlineModeIsForTheTsc) {
    apic.set_tsc_deadline(500);
    EXPECT_EQ(apic.tsc_deadline(), 0u) << "not in this mode";
    start(0, 300);
    cpu.write(reg::timer, vector | apic_bit::deadline);
    EXPECT_EQ(cpu.read(reg::initial_count), 0u);
    EXPECT_EQ(clock.next_deadline(), Scheduler::never) << "the change of mode disarms";
    cpu.write(reg::initial_count, 100);
    EXPECT_EQ(count(), 0u) << "nothing counts";
    EXPECT_EQ(cpu.read(reg::initial_count), 0u);

    apic.set_tsc_deadline(500);
    EXPECT_EQ(apic.tsc_deadline(), 500u);
    EXPECT_EQ(clock.next_deadline(), 500u);
    clock.advance_to(499);
    EXPECT_FALSE(take());
    clock.advance_to(500);
    EXPECT_EQ(apic.tsc_deadline(), 0u);
    EXPECT_TRUE(take());

    apic.set_tsc_deadline(400);
    EXPECT_TRUE(take()) << "a deadline in the past is now";
    apic.set_tsc_deadline(500);
    EXPECT_TRUE(take()) << "and so is the present";
    apic.set_tsc_deadline(600);
    apic.set_tsc_deadline(0);
    clock.advance_to(700);
    EXPECT_FALSE(take()) << "zero disarms";
    apic.set_tsc_deadline(900);
    cpu.write(reg::timer, vector);
    EXPECT_EQ(apic.tsc_deadline(), 0u);
    clock.advance_to(1000);
    EXPECT_FALSE(take());
}

TEST_F(ApicTimerTest, TheTscMayBeElsewhere) {
    cpu.write(reg::timer, vector | apic_bit::deadline);
    clock.advance_to(100);
    apic.set_tsc_offset(10'000);
    apic.set_tsc_deadline(10'500);
    EXPECT_EQ(clock.next_deadline(), 500u);
    apic.set_tsc_offset(10'100);
    EXPECT_EQ(clock.next_deadline(), 400u);
    apic.set_tsc_offset(std::uint64_t{0} - 100);  // TSC is 0 now
    EXPECT_EQ(clock.next_deadline(), 10'600u);
    EXPECT_FALSE(take());
    apic.set_tsc_offset(20'000);
    EXPECT_TRUE(take()) << "the TSC has jumped over the deadline";
    apic.set_tsc_deadline(Scheduler::never);
    EXPECT_EQ(clock.next_deadline(), Scheduler::never - 20'000);
}

TEST_F(ApicTimerTest, AMaskedDeadlineStillExpires) {
    cpu.write(reg::timer, vector | apic_bit::deadline | apic_bit::masked);
    apic.set_tsc_deadline(100);
    clock.advance_to(99);
    EXPECT_EQ(apic.tsc_deadline(), 100u);
    clock.advance_to(101);
    EXPECT_EQ(apic.tsc_deadline(), 0u);
    cpu.write(reg::timer, vector | apic_bit::deadline);
    EXPECT_FALSE(take());
}

TEST_F(ApicTimerTest, TheReservedModeCountsNothing) {
    start(apic_bit::periodic | apic_bit::deadline, 10);
    apic.set_tsc_deadline(5);
    clock.advance_to(100);
    EXPECT_FALSE(take());
    EXPECT_EQ(count(), 0u);
}

TEST_F(ApicTimerTest, ResetsStopIt) {
    for (const bool power_on : {true, false}) {
        start(0, 100);
        if (power_on) {
            apic.reset();
        } else {
            apic.init_reset();
        }
        EXPECT_EQ(clock.next_deadline(), Scheduler::never);
        EXPECT_EQ(count(), 0u);
        cpu.write(reg::spurious, apic_bit::software_enable | 0xff);
    }
    start(0, 100);
    EXPECT_TRUE(apic.set_base(0xfee00000));
    EXPECT_EQ(clock.next_deadline(), Scheduler::never);
}

TEST_F(ApicTimerTest, TheEndOfTimeIsNoExpiry) {
    clock.advance_to(Scheduler::never - 10);
    start(apic_bit::periodic, 0xffffffff, 0b1010);
    EXPECT_EQ(clock.next_deadline(), Scheduler::never);
    EXPECT_EQ(count(), 0xffffffffu);
    clock.advance_to(Scheduler::never);
    EXPECT_FALSE(take());
}

}  // namespace
}  // namespace xenolith::devices
