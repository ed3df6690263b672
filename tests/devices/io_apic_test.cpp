// The I/O APIC, and the way of messages to one, some or all of several processors.
#include "devices/io_apic.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

#include "devices/pic8259.hpp"
#include "tests/devices/apic_fixture.hpp"

namespace xenolith::devices {
namespace {

namespace reg = apic_register;

// Which of the processors (bit n: processor n) were asked for `vector`, which is then over.
class ProcessorsTest : public testing::Test {
  protected:
    static constexpr std::uint64_t hertz = 1'000'000'000;

    unsigned take(unsigned vector) {
        unsigned taken = 0;
        for (unsigned number = 0; number < 4; ++number) {
            ApicProcessor& processor = *processors[number];
            if (!processor.interrupt.level) continue;
            EXPECT_EQ(processor.apic.acknowledge(), vector);
            processor.apic.registers().write(reg::end_of_interrupt, 4, 0);
            processor.apic.write_msr(0x80b, 0);
            taken |= 1u << number;
        }
        return taken;
    }
    void send(std::uint32_t destination, std::uint32_t low, unsigned from = 0) {
        processors[from]->write(reg::command_high, destination << 24);
        processors[from]->write(reg::command_low, low);
    }

    machine::Clock clock{hertz};
    ApicBus bus;
    ApicProcessor first{clock, bus, {.id = 0}};
    ApicProcessor second{clock, bus, {.id = 1, .bootstrap = false}};
    ApicProcessor third{clock, bus, {.id = 2, .bootstrap = false}};
    ApicProcessor fourth{clock, bus, {.id = 0x13, .bootstrap = false}};
    ApicProcessor* processors[4] = {&first, &second, &third, &fourth};
};

// ---- Destinations (10.6.2)

TEST_F(ProcessorsTest, PhysicalDestinations) {
    for (const auto& [destination, expected] :
         {std::pair{0u, 1u}, {1u, 2u}, {2u, 4u}, {0x13u, 8u}, {3u, 0u}, {0xffu, 15u}}) {
        send(destination, 0x40);
        EXPECT_EQ(take(0x40), expected) << destination;
    }
    second.write(reg::id, 0x07000000);
    send(7, 0x40);
    EXPECT_EQ(take(0x40), 2u) << "xAPIC mode's identity can be written";
}

TEST_F(ProcessorsTest, Shorthands) {
    send(0, 0x40 | apic_bit::to_self, 1);
    EXPECT_EQ(take(0x40), 2u);
    send(0, 0x40 | apic_bit::to_everybody, 1);
    EXPECT_EQ(take(0x40), 15u);
    send(0, 0x40 | apic_bit::to_everybody_else, 1);
    EXPECT_EQ(take(0x40), 13u);
}

TEST_F(ProcessorsTest, FlatLogicalDestinations) {
    for (unsigned number = 0; number < 4; ++number) {
        processors[number]->write(reg::logical_destination, 1u << (24 + number));
    }
    for (const auto& [destination, expected] : {std::pair{0x01u, 1u}, {0x06u, 6u}, {0x30u, 0u}, {0x0fu, 15u}}) {
        send(destination, 0x40 | apic_bit::logical);
        EXPECT_EQ(take(0x40), expected) << destination;
    }
    third.write(reg::logical_destination, 0);
    send(0x0f, 0x40 | apic_bit::logical);
    EXPECT_EQ(take(0x40), 11u);
    send(0xff, 0x40 | apic_bit::logical);
    EXPECT_EQ(take(0x40), 15u) << "all ones are everybody";
}

TEST_F(ProcessorsTest, ClusterLogicalDestinations) {
    const unsigned logical[] = {0x11, 0x12, 0x21, 0x28};
    for (unsigned number = 0; number < 4; ++number) {
        processors[number]->write(reg::destination_format, 0);
        processors[number]->write(reg::logical_destination, logical[number] << 24);
    }
    for (const auto& [destination, expected] :
         {std::pair{0x11u, 1u}, {0x13u, 3u}, {0x2fu, 12u}, {0x28u, 8u}, {0x01u, 0u}, {0x14u, 0u}, {0xffu, 15u}}) {
        send(destination, 0x40 | apic_bit::logical);
        EXPECT_EQ(take(0x40), expected) << destination;
    }
}

TEST_F(ProcessorsTest, X2apicDestinations) {
    for (ApicProcessor* processor : processors) ASSERT_TRUE(processor->enter_x2apic());
    const auto command = [&](std::uint64_t destination, std::uint64_t low) {
        EXPECT_TRUE(third.write_msr(reg::command_low, destination << 32 | low));
    };
    for (const auto& [destination, expected] :
         {std::pair{0u, 1u}, {2u, 4u}, {0x13u, 8u}, {0xffu, 0u}, {0x100u, 0u}, {0xffffffffu, 15u}}) {
        command(destination, 0x40);
        EXPECT_EQ(take(0x40), expected) << destination;
    }
    // Logical identities follow from the others: cluster 0, bits 0, 1, 2, and cluster 1, bit 3.
    for (const auto& [destination, expected] :
         {std::pair{0x00003u, 3u}, {0x00007u, 7u}, {0x1ffffu, 8u}, {0x10007u, 0u}, {0xffffffffu, 15u}}) {
        command(destination, 0x40 | apic_bit::logical);
        EXPECT_EQ(take(0x40), expected) << destination;
    }
    command(0, 0x40 | apic_bit::to_everybody_else);
    EXPECT_EQ(take(0x40), 11u);
    EXPECT_EQ(third.read_msr(reg::command_low), 0x40u | apic_bit::to_everybody_else);
}

TEST_F(ProcessorsTest, LowestPriorityIsOneOfThoseAddressed) {
    for (unsigned number = 0; number < 4; ++number) {
        processors[number]->write(reg::logical_destination, 1u << (24 + number));
        processors[number]->write(reg::task_priority, 0x10 * (4 - number));
    }
    constexpr std::uint32_t lowest = 0x90 | apic_bit::logical | apic_bit::lowest_priority;
    send(0x0f, lowest);
    EXPECT_EQ(take(0x90), 8u);
    send(0x07, lowest);
    EXPECT_EQ(take(0x90), 4u);
    third.interrupt_self(0x80);
    EXPECT_EQ(third.apic.acknowledge(), 0x80);
    send(0x07, lowest);
    EXPECT_EQ(take(0x90), 2u) << "what is in service counts";
    second.write(reg::task_priority, 0x40);
    send(0x03, lowest);
    EXPECT_EQ(take(0x90), 1u) << "among equals, the first";
    fourth.write(reg::spurious, 0xff);
    send(0x08, lowest);
    EXPECT_EQ(take(0x90), 0u) << "who is disabled by software is not asked";
}

TEST_F(ProcessorsTest, WakingASecondProcessor) {
    send(1, apic_bit::initialize | apic_bit::asserted | apic_bit::level);
    EXPECT_EQ(second.initialize, 1u);
    send(1, apic_bit::initialize | apic_bit::level);
    EXPECT_EQ(second.initialize, 1u) << "the de-assert is ignored";
    send(1, apic_bit::initialize);
    EXPECT_EQ(second.initialize, 2u) << "an edge is not";
    send(0, apic_bit::startup | 0x9f | apic_bit::to_everybody_else);
    EXPECT_EQ(second.startups, std::vector<unsigned>{0x9f});
    EXPECT_EQ(first.startups, std::vector<unsigned>{});
    send(0xff, apic_bit::non_maskable);
    EXPECT_EQ(first.non_maskable + second.non_maskable + third.non_maskable, 3u);
    send(2, apic_bit::system_management);
    EXPECT_EQ(third.system_management, 1u);
    EXPECT_EQ(first.errors(), 0u);
}

TEST_F(ProcessorsTest, IpisAreEdgesWhateverTheirTriggerModeSays) {
    send(1, 0x40 | apic_bit::level);
    EXPECT_FALSE(second.level(0x40));
    EXPECT_EQ(take(0x40), 2u);
}

TEST_F(ProcessorsTest, OneThatIsGoneHearsNothing) {
    {
        ApicProcessor visitor(clock, bus, {.id = 9});
        send(9, 0x40);
        EXPECT_TRUE(visitor.interrupt.level);
    }
    send(9, 0x40);
    send(0xff, 0x40);
    EXPECT_EQ(take(0x40), 15u);
}

// ---- I/O APIC

class IoApicTest : public ProcessorsTest {
  protected:
    std::uint32_t read(unsigned index) {
        io.write(0, 4, index);
        return static_cast<std::uint32_t>(io.read(0x10, 4));
    }
    void write(unsigned index, std::uint32_t value) {
        io.write(0, 4, index);
        io.write(0x10, 4, value);
    }
    void redirect(unsigned pin, std::uint32_t low, std::uint32_t destination = 0) {
        write(0x11 + 2 * pin, destination << 24);
        write(0x10 + 2 * pin, low);
    }
    void pulse(unsigned pin) {
        io.line(pin).set(true);
        io.line(pin).set(false);
    }
    bool remote_request(unsigned pin) { return (read(0x10 + 2 * pin) & apic_bit::remote_request) != 0; }

    IoApic io{bus};
};

TEST_F(IoApicTest, Registers) {
    EXPECT_EQ(read(0), 0u);
    EXPECT_EQ(read(1), 0x00170020u);
    EXPECT_EQ(read(2), 0u);
    write(0, 0xffffffff);
    EXPECT_EQ(read(0), 0x0f000000u);
    EXPECT_EQ(read(2), 0x0f000000u);
    write(1, 0);
    write(2, 0);
    EXPECT_EQ(read(1), 0x00170020u);
    EXPECT_EQ(read(2), 0x0f000000u);
    for (unsigned index = 0x10; index < 0x40; index += 2) {
        EXPECT_EQ(read(index), 0x10000u) << index;
        EXPECT_EQ(read(index + 1), 0u) << index;
        write(index, 0xffffffff);
        write(index + 1, 0xffffffff);
        EXPECT_EQ(read(index), 0x1afffu) << "all but the two read-only bits";
        EXPECT_EQ(read(index + 1), 0xff000000u);
    }
    for (const unsigned index : {0x03u, 0x0fu, 0x40u, 0xffu}) {
        write(index, 0x1234);
        EXPECT_EQ(read(index), 0xffffffffu) << index;
    }
    write(0x1ff, 0);  // the select register has eight bits
    EXPECT_EQ(io.read(0, 4), 0xffu);
    io.reset();
    EXPECT_EQ(read(0x3e), 0x10000u);
    EXPECT_EQ(read(0), 0u);
}

TEST_F(IoApicTest, WidthsAndOffsets) {
    io.write(0, 1, 0x12);
    EXPECT_EQ(io.read(0, 1) & 0xff, 0x12u);
    io.write(0x10, 1, 0x55);
    io.write(0x10, 8, 0x55);
    io.write(0x14, 4, 0x55);
    io.write(0, 8, 0x13);
    EXPECT_EQ(io.read(0x10, 4), 0x10000u);
    for (const unsigned offset : {0x04u, 0x14u, 0x20u, 0x40u, 0xffcu}) EXPECT_EQ(io.read(offset, 4), ~std::uint64_t{0});
    EXPECT_EQ(io.read(0x10, 2), ~std::uint64_t{0});
    EXPECT_THROW(io.line(24), std::invalid_argument);
}

TEST_F(IoApicTest, AnEdgeIsSentOnceToItsDestination) {
    redirect(4, 0x34, 2);
    io.line(4).set(true);
    io.line(4).set(true);
    EXPECT_EQ(take(0x34), 4u);
    EXPECT_FALSE(third.level(0x34));
    EXPECT_FALSE(remote_request(4));
    io.line(4).set(false);
    EXPECT_EQ(take(0x34), 0u);
    pulse(4);
    EXPECT_EQ(take(0x34), 4u);
    redirect(4, 0x34, 0xff);
    pulse(4);
    EXPECT_EQ(take(0x34), 15u);
}

TEST_F(IoApicTest, AnEdgeOnAMaskedPinIsLost) {
    redirect(4, 0x34 | apic_bit::masked);
    io.line(4).set(true);
    redirect(4, 0x34);
    EXPECT_EQ(take(0x34), 0u);
}

TEST_F(IoApicTest, ALevelGoesRoundUntilItIsLowered) {
    redirect(17, 0x51 | apic_bit::level, 1);
    io.line(17).set(true);
    EXPECT_TRUE(remote_request(17));
    EXPECT_TRUE(second.level(0x51));
    EXPECT_EQ(second.apic.acknowledge(), 0x51);
    io.line(17).set(false);
    io.line(17).set(true);
    EXPECT_FALSE(second.requested(0x51)) << "nothing is sent before the end of the first";
    second.end_of_interrupt();
    EXPECT_TRUE(remote_request(17));
    EXPECT_EQ(second.apic.acknowledge(), 0x51) << "still asserted: once more";
    io.line(17).set(false);
    second.end_of_interrupt();
    EXPECT_FALSE(remote_request(17));
    EXPECT_FALSE(second.interrupt.level);
}

TEST_F(IoApicTest, AMaskedLevelIsSentWhenUnmasked) {
    redirect(17, 0x51 | apic_bit::level | apic_bit::masked, 1);
    io.line(17).set(true);
    EXPECT_FALSE(second.interrupt.level);
    redirect(17, 0x51 | apic_bit::level, 1);
    EXPECT_TRUE(second.interrupt.level);
}

TEST_F(IoApicTest, ALevelThatNobodyTakesIsNotRemote) {
    second.write(reg::spurious, 0xff);
    redirect(17, 0x51 | apic_bit::level, 1);
    io.line(17).set(true);
    EXPECT_FALSE(remote_request(17));
    write(0x10 + 2 * 17, 0x0f | apic_bit::level);
    redirect(17, 0x0f | apic_bit::level, 0);
    EXPECT_FALSE(remote_request(17)) << "an illegal vector";
    EXPECT_EQ(first.errors(), 0x40u);
    redirect(17, 0x51 | apic_bit::level, 0);
    EXPECT_TRUE(remote_request(17));
}

TEST_F(IoApicTest, PinsThatShareAVectorEndTogether) {
    redirect(17, 0x51 | apic_bit::level);
    redirect(18, 0x51 | apic_bit::level);
    redirect(19, 0x52 | apic_bit::level);
    for (const unsigned pin : {17u, 18u, 19u}) io.line(pin).set(true);
    EXPECT_EQ(first.apic.acknowledge(), 0x52);
    io.line(17).set(false);
    io.line(19).set(false);
    first.end_of_interrupt();
    EXPECT_FALSE(remote_request(19));
    EXPECT_TRUE(remote_request(17));
    EXPECT_EQ(first.apic.acknowledge(), 0x51);
    first.end_of_interrupt();
    EXPECT_FALSE(remote_request(17));
    EXPECT_EQ(first.apic.acknowledge(), 0x51) << "18 is asserted still";
}

TEST_F(IoApicTest, TheEndOfAnEdgeIsNotBroadcast) {
    redirect(17, 0x51 | apic_bit::level, 1);
    io.line(17).set(true);
    first.interrupt_self(0x51);
    EXPECT_EQ(first.apic.acknowledge(), 0x51);
    io.line(17).set(false);
    first.end_of_interrupt();
    EXPECT_TRUE(remote_request(17));
    EXPECT_EQ(second.apic.acknowledge(), 0x51);
    second.end_of_interrupt();
    EXPECT_FALSE(remote_request(17));
}

TEST_F(IoApicTest, TheEndCanBeDirectedInsteadOfBroadcast) {
    first.write(reg::spurious, apic_bit::software_enable | apic_bit::suppress_broadcast | 0xff);
    redirect(17, 0x51 | apic_bit::level);
    io.line(17).set(true);
    EXPECT_EQ(first.apic.acknowledge(), 0x51);
    first.end_of_interrupt();
    EXPECT_TRUE(remote_request(17));
    EXPECT_FALSE(first.interrupt.level);
    io.write(0x40, 4, 0x52);
    EXPECT_TRUE(remote_request(17)) << "another's vector";
    io.write(0x40, 4, 0x51);
    EXPECT_TRUE(first.interrupt.level) << "asserted: again";
    EXPECT_EQ(first.apic.acknowledge(), 0x51);
    first.end_of_interrupt();
    io.line(17).set(false);
    redirect(17, 0x51 | apic_bit::masked);
    EXPECT_FALSE(remote_request(17)) << "what systems do that know no EOI register: an edge has no remote request";
    redirect(17, 0x51 | apic_bit::level);
    io.line(17).set(true);
    EXPECT_TRUE(first.interrupt.level);
}

TEST_F(IoApicTest, OtherDeliveryModesAreEdges) {
    redirect(3, apic_bit::non_maskable | apic_bit::level, 1);
    io.line(3).set(true);
    EXPECT_EQ(second.non_maskable, 1u);
    EXPECT_FALSE(remote_request(3));
    redirect(5, apic_bit::initialize | apic_bit::level, 1);
    pulse(5);
    EXPECT_EQ(second.initialize, 1u);
    redirect(6, apic_bit::system_management, 1);
    pulse(6);
    EXPECT_EQ(second.system_management, 1u);
    redirect(7, apic_bit::startup | 0x10, 1);
    pulse(7);
    EXPECT_TRUE(second.startups.empty()) << "reserved here";
    redirect(8, 0x61 | apic_bit::lowest_priority | apic_bit::logical, 0x03);
    first.write(reg::logical_destination, 0x01000000);
    second.write(reg::logical_destination, 0x02000000);
    first.write(reg::task_priority, 0x20);
    pulse(8);
    EXPECT_EQ(take(0x61), 2u);
}

TEST_F(IoApicTest, PassesThe8259AThroughAsAMessage) {
    redirect(0, apic_bit::external);
    io.line(0).set(true);
    EXPECT_TRUE(first.interrupt.level);
    EXPECT_EQ(first.apic.acknowledge(), first.external_vector);
    EXPECT_FALSE(first.interrupt.level);
    EXPECT_EQ(first.acknowledges, 1u);
}

TEST_F(IoApicTest, ReachesX2apicProcessorsByItsEightBits) {
    ASSERT_TRUE(second.enter_x2apic());
    redirect(4, 0x34, 1);
    pulse(4);
    EXPECT_EQ(take(0x34), 2u);
    redirect(4, 0x34 | apic_bit::logical, 2);
    pulse(4);
    EXPECT_EQ(take(0x34), 2u);
    redirect(4, 0x34, 0xff);
    pulse(4);
    EXPECT_EQ(take(0x34), 15u);
}

TEST_F(IoApicTest, ASavedStateGoesOnInMidFlight) {
    redirect(17, 0x51 | apic_bit::level, 1);
    io.line(17).set(true);
    EXPECT_EQ(second.apic.acknowledge(), 0x51);
    const IoApic::State saved = io.save();
    const LocalApic::State processor = second.apic.save();

    ApicBus other_bus;
    IoApic other(other_bus);
    ApicProcessor restored(clock, other_bus, {.id = 1, .bootstrap = false});
    other.restore(saved);
    EXPECT_FALSE(restored.interrupt.level) << "restoring sends nothing";
    restored.apic.restore(processor);
    restored.end_of_interrupt();
    EXPECT_EQ(restored.apic.acknowledge(), 0x51) << "the line is remembered";

    const auto refused = [&](auto change) {
        IoApic::State state = saved;
        change(state);
        EXPECT_THROW(other.restore(state), std::invalid_argument);
    };
    refused([](auto& s) { s.id = 16; });
    refused([](auto& s) { s.arbitration = 16; });
    refused([](auto& s) { s.lines = 1u << 24; });
    refused([](auto& s) { s.entries[0] |= 1u << 12; });
    refused([](auto& s) { s.entries[0] |= 1u << 14; });
}

// ---- With the 8259A pair, as a PC has it

TEST(VirtualWire, An8259AInterruptPassesThroughTheApic) {
    machine::Clock clock(1'000'000'000);
    ApicBus bus;
    RecordingLine interrupt;
    RecordingLine pic_output;
    Pic8259 pic(pic_output);
    LocalApic apic(clock, bus, {},
                   {.interrupt = interrupt,
                    .non_maskable = {},
                    .system_management = {},
                    .initialize = {},
                    .startup = {},
                    .task_priority_changed = {},
                    .acknowledge_external = [&] { return pic.acknowledge(); }});
    pic_output.changed = [&](bool level) { apic.lint(0).set(level); };
    apic.enter_virtual_wire_mode();
    for (const unsigned word : {0x20u, 0x04u, 0x01u}) {
        if (word == 0x20) out(pic.master_ports(), 0, 0x11);
        out(pic.master_ports(), 1, word);
    }
    for (const bool enabled : {true, false}) {
        EXPECT_TRUE(apic.set_base(enabled ? 0xfee00800 : 0xfee00000));
        pic.line(4).set(true);
        EXPECT_TRUE(interrupt.level);
        EXPECT_EQ(apic.acknowledge(), 0x24);
        EXPECT_FALSE(interrupt.level);
        out(pic.master_ports(), 0, 0x20);
        pic.line(4).set(false);
    }
    // Wires that end nowhere.
    EXPECT_TRUE(apic.set_base(0xfee00800));
    for (const auto mode : {DeliveryMode::non_maskable, DeliveryMode::system_management, DeliveryMode::initialize,
                            DeliveryMode::startup}) {
        EXPECT_TRUE(apic.deliver({.delivery_mode = mode}));
    }
}

}  // namespace
}  // namespace xenolith::devices
