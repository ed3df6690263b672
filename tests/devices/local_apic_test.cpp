// The local APIC: registers, priorities, local vectors, errors, modes and saved state.
#include "devices/local_apic.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "tests/devices/apic_fixture.hpp"

namespace xenolith::devices {
namespace {

using testing::ElementsAre;
namespace reg = apic_register;

class LocalApicTest : public testing::Test {
  protected:
    static constexpr std::uint64_t hertz = 1'000'000'000;
    machine::Clock clock{hertz};
    ApicBus bus;
    ApicProcessor cpu{clock, bus, {.id = 3, .bus_frequency = hertz}};
    LocalApic& apic = cpu.apic;
};

// ---- Registers (10.4.7.1, table 10-1)

TEST_F(LocalApicTest, PowerOnValues) {
    apic.reset();
    EXPECT_EQ(apic.base(), 0xfee00900u);
    EXPECT_EQ(cpu.read(reg::id), 0x03000000u);
    EXPECT_EQ(cpu.read(reg::version), 0x01050014u);
    EXPECT_EQ(cpu.read(reg::spurious), 0xffu);
    EXPECT_EQ(cpu.read(reg::destination_format), 0xffffffffu);
    for (const unsigned offset :
         {reg::task_priority, reg::processor_priority, reg::logical_destination, reg::error_status, reg::command_low,
          reg::command_high, reg::initial_count, reg::current_count, reg::divide_configuration}) {
        EXPECT_EQ(cpu.read(offset), 0u) << std::hex << offset;
    }
    for (unsigned offset = reg::in_service; offset < reg::error_status; offset += 16) EXPECT_EQ(cpu.read(offset), 0u);
    for (unsigned offset = reg::timer; offset <= reg::error; offset += 16) EXPECT_EQ(cpu.read(offset), 0x10000u);
    EXPECT_FALSE(cpu.interrupt.level);
}

TEST_F(LocalApicTest, EveryRegisterKeepsItsWritableBits) {
    struct Case {
        unsigned offset;
        std::uint32_t ones;
    };
    const Case cases[] = {{reg::id, 0xff000000},
                          {reg::version, 0x01050014},
                          {reg::task_priority, 0xff},
                          {reg::logical_destination, 0xff000000},
                          {reg::destination_format, 0xffffffff},
                          {reg::spurious, 0x11ff},
                          {reg::command_high, 0xff000000},
                          {reg::timer, 0x700ff},
                          {reg::thermal, 0x107ff},
                          {reg::performance, 0x107ff},
                          {reg::lint0, 0x1a7ff},
                          {reg::lint1, 0x1a7ff},
                          {reg::error, 0x100ff},
                          {reg::divide_configuration, 0xb}};
    for (const Case& c : cases) {
        cpu.write(c.offset, 0xffffffff);
        EXPECT_EQ(cpu.read(c.offset), c.ones) << std::hex << c.offset;
    }
    cpu.write(reg::destination_format, 0);
    EXPECT_EQ(cpu.read(reg::destination_format), 0x0fffffffu);
    cpu.write(reg::command_low, 0xffffffff);  // the reserved delivery mode 7: nothing is sent
    EXPECT_EQ(cpu.read(reg::command_low), 0xccfffu & ~0x1000u) << "the delivery status is idle";
}

TEST_F(LocalApicTest, OnlyAlignedDoublewordsReachRegisters) {
    MemoryDevice& page = apic.registers();
    cpu.write(reg::task_priority, 0x20);
    for (const unsigned width : {1u, 2u, 8u}) {
        page.write(reg::task_priority, width, 0x30);
        EXPECT_EQ(page.read(reg::task_priority, width), ~std::uint64_t{0}) << width;
    }
    page.write(reg::task_priority + 4, 4, 0x30);
    EXPECT_EQ(page.read(reg::task_priority + 4, 4), ~std::uint64_t{0});
    page.write(LocalApic::page_size + reg::task_priority, 4, 0x30);
    EXPECT_EQ(page.read(LocalApic::page_size + reg::task_priority, 4), ~std::uint64_t{0});
    EXPECT_EQ(cpu.read(reg::task_priority), 0x20u);
    EXPECT_EQ(cpu.errors(), 0u);
}

TEST_F(LocalApicTest, HasTwoPins) {
    EXPECT_NO_THROW(apic.lint(1));
    EXPECT_THROW(apic.lint(2), std::invalid_argument);
}

// ---- Priorities (10.8.3)

TEST_F(LocalApicTest, AVectorGoesFromRequestToServiceToTheEnd) {
    cpu.interrupt_self(0x51);
    EXPECT_TRUE(cpu.interrupt.level);
    EXPECT_TRUE(cpu.requested(0x51));
    EXPECT_EQ(apic.acknowledge(), 0x51);
    EXPECT_FALSE(cpu.interrupt.level);
    EXPECT_FALSE(cpu.requested(0x51));
    EXPECT_TRUE(cpu.in_service(0x51));
    EXPECT_EQ(cpu.read(reg::processor_priority), 0x50u);
    cpu.end_of_interrupt();
    EXPECT_FALSE(cpu.in_service(0x51));
    EXPECT_EQ(cpu.read(reg::processor_priority), 0u);
}

TEST_F(LocalApicTest, EveryLegalVectorIsDelivered) {
    for (unsigned vector = 16; vector < 256; ++vector) {
        cpu.interrupt_self(vector);
        ASSERT_TRUE(cpu.interrupt.level) << vector;
        ASSERT_EQ(apic.acknowledge(), vector);
        ASSERT_TRUE(cpu.in_service(vector));
        cpu.end_of_interrupt();
    }
}

TEST_F(LocalApicTest, AHigherClassPreemptsAndEndsNest) {
    cpu.interrupt_self(0x45);
    EXPECT_EQ(apic.acknowledge(), 0x45);
    cpu.interrupt_self(0x4f);
    EXPECT_FALSE(cpu.interrupt.level) << "a higher vector of the same class waits";
    cpu.interrupt_self(0x50);
    EXPECT_TRUE(cpu.interrupt.level);
    EXPECT_EQ(apic.acknowledge(), 0x50);
    cpu.interrupt_self(0x31);
    EXPECT_FALSE(cpu.interrupt.level);
    cpu.end_of_interrupt();
    EXPECT_FALSE(cpu.in_service(0x50)) << "the highest in service ends first";
    EXPECT_TRUE(cpu.in_service(0x45));
    EXPECT_FALSE(cpu.interrupt.level);
    cpu.end_of_interrupt();
    EXPECT_EQ(apic.acknowledge(), 0x4f);
    cpu.end_of_interrupt();
    EXPECT_EQ(apic.acknowledge(), 0x31);
    cpu.end_of_interrupt();
    cpu.end_of_interrupt();  // one too many is nothing
    EXPECT_FALSE(cpu.interrupt.level);
}

TEST_F(LocalApicTest, AVectorCanWaitOnceWhileItIsServed) {
    cpu.interrupt_self(0x60);
    cpu.interrupt_self(0x60);
    EXPECT_EQ(apic.acknowledge(), 0x60);
    cpu.interrupt_self(0x60);
    cpu.interrupt_self(0x60);
    cpu.end_of_interrupt();
    EXPECT_EQ(apic.acknowledge(), 0x60);
    cpu.end_of_interrupt();
    EXPECT_FALSE(cpu.interrupt.level);
}

TEST_F(LocalApicTest, ProcessorPriorityIsTheHigherOfTaskAndService) {
    struct Case {
        std::uint32_t task;
        unsigned service;
        std::uint32_t priority;
    };
    const Case cases[] = {{0x00, 0x73, 0x70}, {0x6f, 0x73, 0x70}, {0x7a, 0x73, 0x7a}, {0x81, 0x73, 0x81}};
    for (const Case& c : cases) {
        cpu.write(reg::task_priority, 0);
        cpu.interrupt_self(c.service);
        EXPECT_EQ(apic.acknowledge(), c.service);
        cpu.write(reg::task_priority, c.task);
        EXPECT_EQ(cpu.read(reg::processor_priority), c.priority) << std::hex << c.task;
        cpu.end_of_interrupt();
    }
}

TEST_F(LocalApicTest, TaskPriorityHoldsItsClassBackAndAllBelow) {
    cpu.write(reg::task_priority, 0x51);
    cpu.interrupt_self(0x5f);
    EXPECT_FALSE(cpu.interrupt.level);
    cpu.write(reg::task_priority, 0x4f);
    EXPECT_TRUE(cpu.interrupt.level);
    cpu.write(reg::task_priority, 0xf0);
    EXPECT_FALSE(cpu.interrupt.level);
}

TEST_F(LocalApicTest, ARequestThatHasGoneIsSpurious) {
    cpu.write(reg::spurious, apic_bit::software_enable | 0xdf);
    cpu.interrupt_self(0x40);
    EXPECT_TRUE(cpu.interrupt.level);
    cpu.write(reg::task_priority, 0x40);
    EXPECT_EQ(apic.acknowledge(), 0xdf);
    EXPECT_FALSE(cpu.in_service(0xdf)) << "it needs no end of interrupt";
    EXPECT_TRUE(cpu.requested(0x40));
}

TEST_F(LocalApicTest, Cr8IsTheUpperHalfOfTheTaskPriority) {
    cpu.write(reg::task_priority, 0x53);
    EXPECT_EQ(apic.cr8(), 5);
    cpu.write(reg::task_priority, 0x5f);
    apic.set_cr8(9);
    EXPECT_EQ(cpu.read(reg::task_priority), 0x90u);
    cpu.write(reg::task_priority, 0x20);
    apic.init_reset();
    EXPECT_THAT(cpu.priorities, ElementsAre(5, 2, 0)) << "told of changes of its own bits that it did not make itself";

    cpu.write(reg::spurious, apic_bit::software_enable | 0xff);
    cpu.interrupt_self(0x71);
    apic.set_cr8(7);
    EXPECT_FALSE(cpu.interrupt.level);
    apic.set_cr8(6);
    EXPECT_TRUE(cpu.interrupt.level);
}

// ---- Local vectors and pins (10.5.1)

TEST_F(LocalApicTest, PinsDeliverAsTheirVectorsSay) {
    const auto pulse = [&](unsigned pin) {
        apic.lint(pin).set(true);
        apic.lint(pin).set(false);
    };
    pulse(0);
    EXPECT_FALSE(cpu.interrupt.level) << "masked";
    for (const unsigned pin : {0u, 1u}) {
        const unsigned offset = pin == 0 ? reg::lint0 : reg::lint1;
        cpu.write(offset, 0x41);
        pulse(pin);
        EXPECT_EQ(apic.acknowledge(), 0x41);
        EXPECT_FALSE(cpu.level(0x41));
        cpu.end_of_interrupt();
        cpu.write(offset, apic_bit::non_maskable);
        pulse(pin);
        cpu.write(offset, apic_bit::system_management);
        pulse(pin);
        cpu.write(offset, apic_bit::initialize);
        pulse(pin);
        cpu.write(offset, 3u << 8);  // reserved
        pulse(pin);
        EXPECT_EQ(cpu.non_maskable, pin + 1);
        EXPECT_EQ(cpu.system_management, pin + 1);
        EXPECT_EQ(cpu.initialize, pin + 1);
    }
    EXPECT_FALSE(cpu.interrupt.level);
}

TEST_F(LocalApicTest, ALevelOnLint0InterruptsUntilItEnds) {
    cpu.write(reg::lint0, 0x62 | apic_bit::level);
    apic.lint(0).set(true);
    EXPECT_EQ(cpu.read(reg::lint0), 0x62u | apic_bit::level | apic_bit::remote_request);
    EXPECT_TRUE(cpu.level(0x62));
    EXPECT_EQ(apic.acknowledge(), 0x62);
    cpu.write(reg::lint0, 0x62 | apic_bit::level);
    EXPECT_FALSE(cpu.requested(0x62)) << "writing the vector again does not end it";
    cpu.end_of_interrupt();
    EXPECT_EQ(apic.acknowledge(), 0x62) << "still asserted";
    apic.lint(0).set(false);
    cpu.end_of_interrupt();
    EXPECT_FALSE(cpu.interrupt.level);
    EXPECT_EQ(cpu.read(reg::lint0), 0x62u | apic_bit::level);
}

TEST_F(LocalApicTest, AMaskedLevelIsDeliveredWhenUnmaskedAndAMaskedEdgeIsLost) {
    cpu.write(reg::lint0, 0x62 | apic_bit::level | apic_bit::masked);
    apic.lint(0).set(true);
    EXPECT_FALSE(cpu.interrupt.level);
    cpu.write(reg::lint0, 0x62);
    EXPECT_FALSE(cpu.interrupt.level);
    cpu.write(reg::lint0, 0x62 | apic_bit::level);
    EXPECT_TRUE(cpu.interrupt.level);
}

TEST_F(LocalApicTest, Lint1IsAnEdgeWhateverItsTriggerModeSays) {
    cpu.write(reg::lint1, 0x62 | apic_bit::level);
    apic.lint(1).set(true);
    EXPECT_EQ(apic.acknowledge(), 0x62);
    cpu.end_of_interrupt();
    EXPECT_FALSE(cpu.interrupt.level);
}

TEST_F(LocalApicTest, PassesThe8259AThrough) {
    cpu.write(reg::lint0, apic_bit::external);
    cpu.write(reg::task_priority, 0xff);
    apic.lint(0).set(true);
    EXPECT_TRUE(cpu.interrupt.level) << "the task priority is not asked";
    cpu.external_vector = 0x08;
    EXPECT_EQ(apic.acknowledge(), 0x08) << "even a vector that would be illegal in the APIC";
    EXPECT_EQ(cpu.acknowledges, 1u);
    EXPECT_FALSE(cpu.in_service(0x08));
    EXPECT_TRUE(cpu.interrupt.level) << "the 8259A has not lowered it";
    apic.lint(0).set(false);
    EXPECT_FALSE(cpu.interrupt.level);
    apic.lint(0).set(true);
    cpu.write(reg::lint0, apic_bit::external | apic_bit::masked);
    EXPECT_FALSE(cpu.interrupt.level);
}

TEST_F(LocalApicTest, VirtualWireModeIsWhatFirmwareLeaves) {
    apic.reset();
    apic.enter_virtual_wire_mode();
    EXPECT_EQ(cpu.read(reg::spurious), 0x1ffu);
    EXPECT_EQ(cpu.read(reg::lint0), 0x700u);
    EXPECT_EQ(cpu.read(reg::lint1), 0x400u);
    apic.lint(0).set(true);
    EXPECT_TRUE(cpu.interrupt.level);
    apic.lint(1).set(true);
    EXPECT_EQ(cpu.non_maskable, 1u);
}

// ---- Disabled (10.4.3, 10.4.7.2)

TEST_F(LocalApicTest, DisabledBySoftwareItHoldsWhatItHasAndMasksItsVectors) {
    cpu.interrupt_self(0x44);
    cpu.write(reg::lint0, 0x50);
    cpu.write(reg::spurious, 0xff);
    EXPECT_TRUE(cpu.interrupt.level);
    EXPECT_EQ(cpu.read(reg::lint0), 0x10050u);
    cpu.write(reg::lint0, 0x50);
    EXPECT_EQ(cpu.read(reg::lint0), 0x10050u) << "the mask cannot be cleared";
    cpu.interrupt_self(0x80);
    EXPECT_FALSE(cpu.requested(0x80));
    EXPECT_EQ(apic.acknowledge(), 0x44);
    cpu.end_of_interrupt();
    EXPECT_TRUE(apic.deliver({.delivery_mode = DeliveryMode::non_maskable}));
    EXPECT_TRUE(apic.deliver({.delivery_mode = DeliveryMode::initialize}));
    EXPECT_TRUE(apic.deliver({.vector = 0x9a, .delivery_mode = DeliveryMode::startup}));
    EXPECT_EQ(cpu.non_maskable, 1u);
    EXPECT_EQ(cpu.initialize, 1u);
    EXPECT_THAT(cpu.startups, ElementsAre(0x9a));
    cpu.write(reg::spurious, apic_bit::software_enable | 0xff);
    EXPECT_EQ(cpu.read(reg::lint0), 0x10050u) << "enabling unmasks nothing";
}

TEST_F(LocalApicTest, DisabledAltogetherItsPinsAreTheProcessors) {
    cpu.interrupt_self(0x44);
    ASSERT_TRUE(apic.set_base(0xfee00000));
    EXPECT_EQ(apic.base(), 0xfee00100u) << "the bootstrap bit stays";
    EXPECT_FALSE(cpu.interrupt.level);
    EXPECT_EQ(cpu.read(reg::version), 0xffffffffu);
    EXPECT_FALSE(apic.deliver({.delivery_mode = DeliveryMode::non_maskable}));
    EXPECT_FALSE(apic.is_addressed_by({.destination = InterruptMessage::everybody}));
    apic.lint(0).set(true);
    EXPECT_TRUE(cpu.interrupt.level);
    EXPECT_EQ(apic.acknowledge(), 0x08);
    apic.lint(1).set(true);
    apic.lint(1).set(true);
    EXPECT_EQ(cpu.non_maskable, 1u);
    ASSERT_TRUE(apic.set_base(0xfee00800));
    EXPECT_EQ(cpu.read(reg::spurious), 0xffu) << "what was programmed is lost";
    EXPECT_FALSE(cpu.interrupt.level) << "LINT0 is masked";
}

// ---- Errors (10.5.3)

TEST_F(LocalApicTest, ErrorsShowAfterAWriteAndInterruptOncePerWrite) {
    cpu.write(reg::error, 0xe0);
    cpu.interrupt_self(0x0f);
    EXPECT_EQ(cpu.read(reg::error_status), 0u) << "not before a write";
    EXPECT_EQ(apic.acknowledge(), 0xe0);
    cpu.end_of_interrupt();
    cpu.read(0x40);
    EXPECT_FALSE(cpu.interrupt.level) << "the interrupt is not armed again";
    EXPECT_EQ(cpu.errors(), 0xe0u) << "sent and received an illegal vector, illegal register";
    EXPECT_EQ(cpu.read(reg::error_status), 0xe0u);
    EXPECT_EQ(cpu.errors(), 0u);
    cpu.write(0x3f0, 0);  // no self interrupt in xAPIC mode
    EXPECT_TRUE(cpu.interrupt.level);
    EXPECT_EQ(cpu.errors(), 0x80u);
}

TEST_F(LocalApicTest, IllegalVectorsAreErrorsFromWhereverTheyCome) {
    cpu.write(reg::lint0, 0x0f);
    apic.lint(0).set(true);
    EXPECT_EQ(cpu.errors(), 0x40u);
    EXPECT_FALSE(apic.deliver({.vector = 3}));
    EXPECT_EQ(cpu.errors(), 0x40u);
    cpu.write(reg::command_high, 0x55000000);  // nobody
    cpu.write(reg::command_low, 0x0f);
    EXPECT_EQ(cpu.errors(), 0x20u);
    cpu.write(reg::command_low, 0x0f | apic_bit::non_maskable);
    EXPECT_EQ(cpu.errors(), 0u) << "an NMI has no vector";
    cpu.write(reg::error, 0x01);
    cpu.read(0x2f0);
    EXPECT_EQ(cpu.errors(), 0xc0u) << "the error interrupt's own vector";
}

TEST_F(LocalApicTest, WhichRegistersAreIllegal) {
    for (unsigned offset = 0; offset < LocalApic::page_size; offset += 16) {
        const bool exists = offset == 0x20 || offset == 0x30 || (offset >= 0x80 && offset <= 0x280) ||
                            (offset >= 0x300 && offset <= 0x390) || offset == 0x3e0;
        cpu.read(offset);
        EXPECT_EQ(cpu.errors(), exists ? 0u : 0x80u) << std::hex << offset;
        if (exists) continue;
        cpu.write(offset, 0);
        EXPECT_EQ(cpu.errors(), 0x80u) << std::hex << offset;
    }
}

// ---- x2APIC mode (10.12)

TEST_F(LocalApicTest, BaseTransitions) {
    constexpr std::uint64_t off = 0xfee00000, xapic = off | 0x800, x2apic = off | 0xc00, invalid = off | 0x400;
    const auto reach = [&](std::uint64_t state) {
        apic.reset();
        if (state == off) return apic.set_base(off);
        return state == xapic || apic.set_base(x2apic);
    };
    struct Case {
        std::uint64_t from, to;
        bool allowed;
    };
    const Case cases[] = {{off, off, true},       {off, xapic, true},      {off, x2apic, false},
                          {off, invalid, false},  {xapic, off, true},      {xapic, xapic, true},
                          {xapic, x2apic, true},  {xapic, invalid, false}, {x2apic, off, true},
                          {x2apic, xapic, false}, {x2apic, x2apic, true},  {x2apic, invalid, false}};
    for (const Case& c : cases) {
        ASSERT_TRUE(reach(c.from));
        EXPECT_EQ(apic.set_base(c.to), c.allowed) << std::hex << c.from << " to " << c.to;
        EXPECT_EQ(apic.base(), (c.allowed ? c.to : c.from) | 0x100);
    }
}

TEST_F(LocalApicTest, BaseReservedBits) {
    for (const unsigned bit : {0u, 7u, 9u, 46u, 63u}) {
        EXPECT_FALSE(apic.set_base(0xfee00800 | std::uint64_t{1} << bit)) << bit;
    }
    EXPECT_TRUE(apic.set_base(std::uint64_t{1} << 45 | 0x800)) << "below 2^46";
    ApicProcessor old(clock, bus, {.bootstrap = false, .x2apic = false, .tsc_deadline = false});
    EXPECT_EQ(old.apic.base(), 0xfee00800u);
    EXPECT_FALSE(old.apic.set_base(0xfee00c00)) << "x2APIC mode is not offered";
    old.write(reg::timer, 0xffffffff);
    EXPECT_EQ(old.read(reg::timer), 0x300ffu) << "nor is the deadline mode";
}

TEST_F(LocalApicTest, OutsideX2apicModeItsRegistersFault) {
    for (std::uint32_t index = 0x800; index <= 0x8ff; ++index) {
        EXPECT_FALSE(apic.read_msr(index).has_value());
        EXPECT_FALSE(apic.write_msr(index, 0));
    }
}

TEST_F(LocalApicTest, InX2apicModeThePageIsGone) {
    ASSERT_TRUE(cpu.enter_x2apic());
    EXPECT_EQ(apic.registers().read(reg::version, 4), ~std::uint64_t{0});
    cpu.write(reg::task_priority, 0x40);
    EXPECT_EQ(apic.cr8(), 0);
}

TEST_F(LocalApicTest, WhichX2apicRegistersCanBeReadAndWritten) {
    ASSERT_TRUE(cpu.enter_x2apic());
    enum Access { none, read, write, both };
    const auto access = [](std::uint32_t index) {
        if (index >= 0x810 && index <= 0x827) return read;
        if (index >= 0x832 && index <= 0x838) return both;
        switch (index) {
            case 0x802:
            case 0x803:
            case 0x80a:
            case 0x80d:
            case 0x839: return read;
            case 0x80b:
            case 0x83f: return write;
            case 0x808:
            case 0x80f:
            case 0x828:
            case 0x830:
            case 0x83e: return both;
            default: return none;
        }
    };
    for (std::uint32_t index = 0x7ff; index <= 0x900; ++index) {
        const Access expected = access(index);
        EXPECT_EQ(apic.read_msr(index).has_value(), expected == read || expected == both) << std::hex << index;
        EXPECT_EQ(apic.write_msr(index, 0), expected == write || expected == both) << std::hex << index;
        EXPECT_FALSE(index != 0x830 && apic.write_msr(index, std::uint64_t{1} << 32)) << std::hex << index;
    }
}

TEST_F(LocalApicTest, X2apicReservedBitsFault) {
    ASSERT_TRUE(cpu.enter_x2apic());
    struct Case {
        unsigned offset;
        std::uint64_t allowed;
    };
    const Case cases[] = {{reg::task_priority, 0xff},
                          {reg::end_of_interrupt, 0},
                          {reg::spurious, 0x11ff},
                          {reg::error_status, 0},
                          {reg::command_low, 0xffffffff'000cdfff},
                          {reg::timer, 0x710ff},
                          {reg::thermal, 0x117ff},
                          {reg::performance, 0x117ff},
                          {reg::lint0, 0x1f7ff},
                          {reg::lint1, 0x1f7ff},
                          {reg::error, 0x110ff},
                          {reg::initial_count, 0xffffffff},
                          {reg::divide_configuration, 0xb},
                          {reg::self_interrupt, 0xff}};
    for (const Case& c : cases) {
        for (unsigned bit = 0; bit < 64; ++bit) {
            const std::uint64_t value = std::uint64_t{1} << bit;
            EXPECT_EQ(cpu.write_msr(c.offset, value), (value & c.allowed) != 0)
                << std::hex << c.offset << " bit " << bit;
        }
    }
}

TEST_F(LocalApicTest, X2apicIdentityIsFixed) {
    ApicProcessor big(clock, bus, {.id = 0x12345});
    big.write(reg::id, 0x77000000);
    EXPECT_EQ(big.read(reg::id), 0x77000000u);
    ASSERT_TRUE(big.enter_x2apic());
    EXPECT_EQ(big.read_msr(reg::id), 0x12345u);
    EXPECT_EQ(big.read_msr(reg::logical_destination), 0x12340020u);
    EXPECT_EQ(big.read_msr(reg::version), 0x01050014u);
}

TEST_F(LocalApicTest, EnteringX2apicModeKeepsWhatIsGoingOn) {
    cpu.interrupt_self(0x61);
    cpu.write(reg::lint1, apic_bit::non_maskable);
    cpu.write(reg::command_high, 0x05000000);
    ASSERT_TRUE(cpu.enter_x2apic());
    EXPECT_EQ(cpu.read_msr(reg::command_low), 0x61u | apic_bit::to_self) << "but not the destination";
    EXPECT_EQ(apic.acknowledge(), 0x61);
    EXPECT_EQ(cpu.read_msr(reg::in_service + 0x30), 2u);
    EXPECT_EQ(cpu.read_msr(reg::lint1), 0x400u);
    EXPECT_TRUE(cpu.write_msr(reg::end_of_interrupt, 0));
    EXPECT_EQ(cpu.read_msr(reg::in_service + 0x30), 0u);
}

TEST_F(LocalApicTest, SelfInterrupt) {
    ASSERT_TRUE(cpu.enter_x2apic());
    EXPECT_TRUE(cpu.write_msr(reg::self_interrupt, 0x99));
    EXPECT_EQ(apic.acknowledge(), 0x99);
    EXPECT_TRUE(cpu.write_msr(reg::end_of_interrupt, 0));
    EXPECT_TRUE(cpu.write_msr(reg::self_interrupt, 0x09));
    EXPECT_FALSE(cpu.interrupt.level);
    EXPECT_TRUE(cpu.write_msr(reg::error_status, 0));
    EXPECT_EQ(cpu.read_msr(reg::error_status), 0x60u);
}

// ---- Reset and saved state

TEST_F(LocalApicTest, AnInitKeepsModeBaseAndIdentity) {
    cpu.write(reg::id, 0x09000000);
    cpu.write(reg::task_priority, 0x80);
    cpu.interrupt_self(0x90);
    apic.init_reset();
    EXPECT_EQ(cpu.read(reg::id), 0x09000000u);
    EXPECT_EQ(cpu.read(reg::spurious), 0xffu);
    EXPECT_EQ(cpu.read(reg::task_priority), 0u);
    EXPECT_FALSE(cpu.interrupt.level);
    ASSERT_TRUE(cpu.enter_x2apic());
    apic.init_reset();
    EXPECT_TRUE(apic.is_x2apic());
    apic.reset();
    EXPECT_FALSE(apic.is_x2apic());
    EXPECT_EQ(cpu.read(reg::id), 0x03000000u);
}

TEST_F(LocalApicTest, ASavedStateGoesOnInMidFlight) {
    cpu.write(reg::timer, 0xb0 | apic_bit::periodic);
    cpu.write(reg::divide_configuration, 0b0011);  // by 16
    cpu.write(reg::initial_count, 100);
    clock.advance_to(2005);
    cpu.write(reg::lint0, 0x50 | apic_bit::level);
    apic.lint(0).set(true);
    EXPECT_EQ(apic.acknowledge(), 0xb0);
    cpu.interrupt_self(0xb5);
    const LocalApic::State saved = apic.save();

    machine::Clock other_clock(hertz);
    other_clock.restore(clock.now());
    ApicBus other_bus;
    ApicProcessor other(other_clock, other_bus, {.id = 3, .bus_frequency = hertz});
    other.apic.restore(saved);
    EXPECT_EQ(other_clock.next_deadline(), 3200u);
    EXPECT_EQ(other_clock.next_deadline(), clock.next_deadline());
    for (auto [processor, time] : {std::pair{&cpu, &clock}, std::pair{&other, &other_clock}}) {
        EXPECT_FALSE(processor->interrupt.level);
        EXPECT_TRUE(processor->in_service(0xb0));
        EXPECT_EQ(processor->read(reg::current_count), 75u);
        time->advance_to(2016);
        EXPECT_EQ(processor->read(reg::current_count), 74u);
        processor->end_of_interrupt();
        EXPECT_EQ(processor->apic.acknowledge(), 0xb5);
        processor->end_of_interrupt();
        EXPECT_EQ(processor->apic.acknowledge(), 0x50);
        time->advance_to(3199);
        EXPECT_FALSE(processor->requested(0xb0));
        time->advance_to(3200);
        EXPECT_EQ(processor->apic.acknowledge(), 0xb0);
    }
}

TEST_F(LocalApicTest, AStateOutOfRangeIsRefused) {
    const LocalApic::State good = apic.save();
    const auto refused = [&](auto change) {
        LocalApic::State state = good;
        change(state);
        EXPECT_THROW(apic.restore(state), std::invalid_argument);
    };
    refused([](auto& s) { s.base = 0xfee00400; });
    refused([](auto& s) { s.base |= std::uint64_t{1} << 50; });
    refused([](auto& s) { s.spurious = 0x200; });
    refused([](auto& s) { s.spurious = 0xff, s.local_vectors[3] = 0; });
    refused([](auto& s) { s.local_vectors[5] |= 0x700; });
    refused([](auto& s) { s.local_vectors[4] |= apic_bit::level | apic_bit::remote_request; });
    refused([](auto& s) { s.local_vectors[0] |= apic_bit::periodic; });
    refused([](auto& s) { s.requests[0] = 1; });
    refused([](auto& s) { s.errors = 1; });
    refused([](auto& s) { s.destination_format = 0; });
    refused([](auto& s) { s.command = 1u << 12; });
    refused([](auto& s) { s.timer.divide_configuration = 4; });
    refused([](auto& s) { s.timer.count = 1; });
    refused([](auto& s) { s.timer.tsc_deadline = 1; });
    refused([](auto& s) { s.timer.count = s.timer.initial_count = 1, s.timer.tick = 1; });
    EXPECT_NO_THROW(apic.restore(good));
    EXPECT_THROW(ApicProcessor(clock, bus, {.bus_frequency = 0}), std::invalid_argument);
}

}  // namespace
}  // namespace xenolith::devices
