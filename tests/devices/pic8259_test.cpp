// The interrupt controllers: initialization, every priority and end-of-interrupt mode, cascade and spurious
// interrupts.
#include "devices/pic8259.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

#include "tests/devices/recording_line.hpp"

namespace xenolith::devices {
namespace {

constexpr unsigned end_of_interrupt = 0x20;
constexpr unsigned specific_end = 0x60;
constexpr unsigned rotate_on_end = 0xa0;
constexpr unsigned rotate_on_specific_end = 0xe0;
constexpr unsigned set_lowest_priority = 0xc0;
constexpr unsigned rotate_on_automatic_end = 0x80;
constexpr unsigned stop_rotating_on_automatic_end = 0x00;
constexpr unsigned poll = 0x0c;
constexpr unsigned read_request = 0x0a;
constexpr unsigned read_service = 0x0b;
constexpr unsigned special_mask_on = 0x68;
constexpr unsigned special_mask_off = 0x48;

constexpr unsigned automatic_end = 0x02;
constexpr unsigned special_fully_nested = 0x10;

class PicTest : public testing::Test {
  protected:
    PicTest() { initialize(); }

    // The usual way: edge-triggered, cascaded, master's vectors from 0x20, slave's from 0x28, nothing masked.
    void initialize(unsigned master_word4 = 0, unsigned slave_word4 = 0, unsigned word1 = 0x11) {
        for (const unsigned word : {0x20u, 0x04u, 0x01u | master_word4}) {
            if (word == 0x20) out(master, 0, word1);
            out(master, 1, word);
        }
        for (const unsigned word : {0x28u, 0x02u, 0x01u | slave_word4}) {
            if (word == 0x28) out(slave, 0, word1);
            out(slave, 1, word);
        }
    }
    void raise(unsigned irq) { pic.line(irq).set(true); }
    void lower(unsigned irq) { pic.line(irq).set(false); }
    void pulse_and_hold(unsigned irq) {
        lower(irq);
        raise(irq);
    }
    unsigned requests(PortDevice& chip) {
        out(chip, 0, read_request);
        return in(chip, 0);
    }
    unsigned services(PortDevice& chip) {
        out(chip, 0, read_service);
        return in(chip, 0);
    }

    RecordingLine cpu;
    Pic8259 pic{cpu};
    PortDevice& master = pic.master_ports();
    PortDevice& slave = pic.slave_ports();
    PortDevice& edge_level = pic.edge_level_ports();
};

TEST_F(PicTest, HasInputsForEveryIrqButTheCascade) {
    for (unsigned irq = 0; irq < 16; ++irq) {
        if (irq == 2) {
            EXPECT_THROW(pic.line(irq), std::invalid_argument);
        } else {
            EXPECT_NO_THROW(pic.line(irq));
        }
    }
    EXPECT_THROW(pic.line(16), std::invalid_argument);
}

TEST_F(PicTest, EveryIrqHasItsVector) {
    for (unsigned irq = 0; irq < 16; ++irq) {
        if (irq == 2) continue;
        raise(irq);
        ASSERT_TRUE(cpu.level) << irq;
        EXPECT_EQ(pic.acknowledge(), 0x20 + irq);
        EXPECT_FALSE(cpu.level) << irq;
        EXPECT_EQ(services(master), irq < 8 ? 1u << irq : 0x04u);
        EXPECT_EQ(services(slave), irq < 8 ? 0u : 1u << (irq - 8));
        if (irq >= 8) out(slave, 0, end_of_interrupt);
        out(master, 0, end_of_interrupt);
        EXPECT_EQ(services(master) | services(slave), 0u);
        lower(irq);
    }
}

TEST_F(PicTest, NothingIsRequestedBeforeOrDuringInitialization) {
    RecordingLine line;
    Pic8259 fresh(line);
    fresh.line(1).set(true);
    EXPECT_FALSE(line.level);
    out(fresh.master_ports(), 0, 0x11);
    fresh.line(3).set(true);
    out(fresh.master_ports(), 1, 0x20);
    out(fresh.master_ports(), 1, 0x04);
    EXPECT_FALSE(line.level);
    out(fresh.master_ports(), 1, 0x01);
    EXPECT_TRUE(line.level) << "an edge after word 1 counts";
    EXPECT_EQ(fresh.acknowledge(), 0x23) << "an edge before word 1 does not";
}

TEST_F(PicTest, TheFirstWordDecidesHowManyFollow) {
    struct Case {
        const char* name;
        unsigned word1;
        std::vector<unsigned> words;
    };
    const Case cases[] = {
        {"cascaded, word 4", 0x11, {0x40, 0x04, 0x01}},
        {"cascaded, no word 4", 0x10, {0x40, 0x04}},
        {"single, word 4", 0x13, {0x40, 0x01}},
        {"single, no word 4", 0x12, {0x40}},
    };
    for (const Case& c : cases) {
        out(master, 0, c.word1);
        for (const unsigned word : c.words) out(master, 1, word);
        EXPECT_EQ(in(master, 1), 0) << c.name << ": word 1 clears the mask";
        out(master, 1, 0xa5);
        EXPECT_EQ(in(master, 1), 0xa5) << c.name << ": the next byte is the mask";
        out(master, 1, 0);
        pulse_and_hold(4);
        EXPECT_EQ(pic.acknowledge(), 0x44) << c.name;
    }
}

TEST_F(PicTest, InSingleModeInputTwoHasItsOwnVector) {
    out(master, 0, 0x13);
    out(master, 1, 0x20);
    out(master, 1, 0x01);
    raise(8);
    EXPECT_EQ(pic.acknowledge(), 0x22);
    EXPECT_EQ(services(slave), 0u);
}

TEST_F(PicTest, ASlaveWithAnotherIdentityLeavesTheBusFloating) {
    out(slave, 0, 0x11);
    for (const unsigned word : {0x28u, 0x03u, 0x01u}) out(slave, 1, word);
    raise(8);
    EXPECT_EQ(pic.acknowledge(), 0xff);
}

TEST_F(PicTest, FullyNestedPrioritiesPutTheSlaveBetweenOneAndThree) {
    for (unsigned irq = 0; irq < 16; ++irq) {
        if (irq != 2) raise(irq);
    }
    for (const unsigned irq : {0u, 1u, 8u, 9u, 10u, 11u, 12u, 13u, 14u, 15u, 3u, 4u, 5u, 6u, 7u}) {
        ASSERT_TRUE(cpu.level);
        EXPECT_EQ(pic.acknowledge(), 0x20 + irq);
        if (irq >= 8) out(slave, 0, end_of_interrupt);
        out(master, 0, end_of_interrupt);
    }
    EXPECT_FALSE(cpu.level);
}

TEST_F(PicTest, OnlyAHigherPriorityInterruptsAService) {
    raise(4);
    EXPECT_EQ(pic.acknowledge(), 0x24);
    raise(5);
    EXPECT_FALSE(cpu.level) << "lower";
    pulse_and_hold(4);
    EXPECT_FALSE(cpu.level) << "equal";
    raise(3);
    EXPECT_TRUE(cpu.level) << "higher";
    EXPECT_EQ(pic.acknowledge(), 0x23);
    out(master, 0, end_of_interrupt);  // of 3, the highest in service
    EXPECT_EQ(services(master), 0x10u);
    EXPECT_FALSE(cpu.level);
    out(master, 0, end_of_interrupt);
    EXPECT_EQ(pic.acknowledge(), 0x24);
}

TEST_F(PicTest, AMaskedRequestWaitsUntilItIsUnmasked) {
    out(master, 1, 0x08);
    raise(3);
    EXPECT_FALSE(cpu.level);
    EXPECT_EQ(requests(master), 0x08u);
    out(master, 1, 0x00);
    EXPECT_TRUE(cpu.level);
}

TEST_F(PicTest, AnEdgeIsOneInterruptAndALevelIsManyUntilItFalls) {
    struct Case {
        const char* name;
        unsigned word1;
        unsigned control;
        bool again;
    };
    const Case cases[] = {
        {"edge", 0x11, 0x00, false},
        {"level by the edge/level register", 0x11, 0x20, true},
        {"level by word 1", 0x19, 0x00, true},
    };
    for (const Case& c : cases) {
        lower(5);
        initialize(0, 0, c.word1);
        out(edge_level, 0, c.control);
        raise(5);
        EXPECT_EQ(pic.acknowledge(), 0x25) << c.name;
        out(master, 0, end_of_interrupt);
        EXPECT_EQ(cpu.level, c.again) << c.name;
        lower(5);
        EXPECT_FALSE(cpu.level) << c.name;
    }
}

TEST_F(PicTest, SwitchingAHighInputToLevelRequestsAtOnce) {
    raise(5);
    pic.acknowledge();
    out(master, 0, end_of_interrupt);
    EXPECT_FALSE(cpu.level);
    out(edge_level, 0, 0x20);
    EXPECT_TRUE(cpu.level);
}

TEST_F(PicTest, TheEdgeLevelRegisterKeepsTheFixedInputsOnEdge) {
    edge_level.write(0, 2, 0xffff);
    EXPECT_EQ(edge_level.read(0, 2), 0xdef8u);
    EXPECT_EQ(in(edge_level, 2), 0xff);
}

TEST_F(PicTest, ARequestThatWentAwayIsSpurious) {
    raise(3);
    lower(3);
    EXPECT_FALSE(cpu.level);
    EXPECT_EQ(pic.acknowledge(), 0x27);
    EXPECT_EQ(services(master), 0u) << "a spurious interrupt is not in service";
}

// On the real bus a slave can lose its request between the two acknowledge cycles. Here a request is
// withdrawn from both chips at once, so the race is put together as a state.
TEST_F(PicTest, ASpuriousSlaveInterruptIsInServiceInTheMasterOnly) {
    raise(10);
    Pic8259::State state = pic.save();
    state.slave.interrupt_request = 0;
    pic.restore(state);
    EXPECT_TRUE(cpu.level);
    EXPECT_EQ(pic.acknowledge(), 0x2f);
    EXPECT_EQ(services(master), 0x04u);
    EXPECT_EQ(services(slave), 0x00u);
    EXPECT_FALSE(cpu.level);
}

TEST_F(PicTest, AWithdrawnSlaveRequestIsWithdrawnFromTheMaster) {
    raise(10);
    lower(10);
    EXPECT_FALSE(cpu.level);
    EXPECT_EQ(pic.acknowledge(), 0x27);
}

TEST_F(PicTest, EndOfInterruptCommands) {
    struct Case {
        const char* name;
        unsigned command;
        unsigned left_in_service;
        unsigned highest_afterwards;  // of the master's inputs but 2, when all ask at once
    };
    const Case cases[] = {
        {"non-specific ends the highest", end_of_interrupt, 0x40, 0},
        {"specific ends the one named", specific_end | 6, 0x10, 0},
        {"specific, not in service", specific_end | 1, 0x50, 0},
        {"rotate on non-specific", rotate_on_end, 0x40, 5},
        {"rotate on specific", rotate_on_specific_end | 6, 0x10, 7},
        {"set priority", set_lowest_priority | 3, 0x50, 4},
        {"no operation", 0x40, 0x50, 0},
    };
    for (const Case& c : cases) {
        initialize();
        pulse_and_hold(6);
        ASSERT_EQ(pic.acknowledge(), 0x26);
        pulse_and_hold(4);
        ASSERT_EQ(pic.acknowledge(), 0x24);
        out(master, 0, c.command);
        EXPECT_EQ(services(master), c.left_in_service) << c.name;
        // With nothing in service any more, the order of priorities shows.
        out(master, 0, specific_end | 4);
        out(master, 0, specific_end | 6);
        for (const unsigned irq : {0u, 1u, 3u, 4u, 5u, 6u, 7u}) pulse_and_hold(irq);
        EXPECT_EQ(pic.acknowledge(), 0x20 + c.highest_afterwards) << c.name;
        for (const unsigned irq : {0u, 1u, 3u, 4u, 5u, 6u, 7u}) lower(irq);
    }
}

TEST_F(PicTest, AutomaticEndLeavesNothingInService) {
    initialize(automatic_end);
    raise(4);
    EXPECT_EQ(pic.acknowledge(), 0x24);
    EXPECT_EQ(services(master), 0u);
    pulse_and_hold(4);
    EXPECT_TRUE(cpu.level);
}

TEST_F(PicTest, AutomaticEndCanRotate) {
    initialize(automatic_end);
    out(master, 0, rotate_on_automatic_end);
    const auto burst = [this] {
        for (const unsigned irq : {3u, 4u, 5u}) pulse_and_hold(irq);
    };
    burst();
    EXPECT_EQ(pic.acknowledge(), 0x23);
    burst();
    EXPECT_EQ(pic.acknowledge(), 0x24) << "3 is the lowest now";
    burst();
    EXPECT_EQ(pic.acknowledge(), 0x25);
    burst();
    EXPECT_EQ(pic.acknowledge(), 0x23);
    out(master, 0, stop_rotating_on_automatic_end);
    burst();
    EXPECT_EQ(pic.acknowledge(), 0x24);
    burst();
    EXPECT_EQ(pic.acknowledge(), 0x24) << "3 stays the lowest";
}

TEST_F(PicTest, InSpecialMaskModeAMaskedServiceHoldsNothingBack) {
    raise(4);
    pic.acknowledge();
    raise(6);
    EXPECT_FALSE(cpu.level);
    out(master, 1, 0x10);
    EXPECT_FALSE(cpu.level) << "masking alone does not help";
    out(master, 0, special_mask_on);
    EXPECT_TRUE(cpu.level);
    EXPECT_EQ(pic.acknowledge(), 0x26);
    EXPECT_EQ(services(master), 0x50u);
    out(master, 0, end_of_interrupt);
    EXPECT_EQ(services(master), 0x10u) << "the masked one is passed over";
    out(master, 0, end_of_interrupt);
    EXPECT_EQ(services(master), 0x10u);
    out(master, 0, special_mask_off);
    out(master, 0, end_of_interrupt);
    EXPECT_EQ(services(master), 0u);
}

TEST_F(PicTest, OnlyInSpecialFullyNestedModeDoesTheSlaveInterruptItself) {
    for (const bool special : {false, true}) {
        lower(12);
        lower(8);
        initialize(special ? special_fully_nested : 0);
        raise(12);
        EXPECT_EQ(pic.acknowledge(), 0x2c);
        raise(8);
        EXPECT_EQ(cpu.level, special);
        if (special) {
            EXPECT_EQ(pic.acknowledge(), 0x28);
        }
    }
}

TEST_F(PicTest, APollIsAnAcknowledge) {
    out(master, 0, poll);
    EXPECT_EQ(in(master, 0) & 0x80, 0) << "nothing to report";
    raise(5);
    out(master, 0, poll);
    EXPECT_EQ(in(master, 0), 0x85);
    EXPECT_EQ(services(master), 0x20u);
    EXPECT_FALSE(cpu.level);
    EXPECT_EQ(in(master, 1), 0x00) << "a poll is for one read";
}

TEST_F(PicTest, APollOfTheSlaveWithdrawsItsRequest) {
    raise(9);
    out(slave, 0, poll);
    EXPECT_EQ(in(slave, 1), 0x81) << "at either port";
    EXPECT_FALSE(cpu.level);
    EXPECT_EQ(services(slave), 0x02u);
}

// The master latches edges: the slave's INT has to fall at each acknowledge, even with the next request
// waiting.
TEST_F(PicTest, ASlaveWithAutomaticEndAsksAgainAtOnce) {
    for (const bool polled : {false, true}) {
        lower(8);
        lower(9);
        initialize(0, automatic_end);
        raise(8);
        raise(9);
        if (polled) {
            out(master, 0, poll);
            EXPECT_EQ(in(master, 0), 0x82);
            out(slave, 0, poll);
            EXPECT_EQ(in(slave, 0), 0x80);
        } else {
            EXPECT_EQ(pic.acknowledge(), 0x28);
        }
        out(master, 0, end_of_interrupt);
        EXPECT_TRUE(cpu.level);
        EXPECT_EQ(pic.acknowledge(), 0x29);
        out(master, 0, end_of_interrupt);
        EXPECT_FALSE(cpu.level);
    }
}

TEST_F(PicTest, ReadRegisterCommandsStayInForce) {
    raise(3);
    out(master, 0, read_request);
    EXPECT_EQ(in(master, 0), 0x08);
    EXPECT_EQ(in(master, 0), 0x08);
    pic.acknowledge();
    out(master, 0, read_service);
    EXPECT_EQ(in(master, 0), 0x08);
    out(master, 0, 0x08);  // neither bit: no change
    EXPECT_EQ(in(master, 0), 0x08);
    out(master, 0, read_request);
    EXPECT_EQ(in(master, 0), 0x00);
}

TEST_F(PicTest, TheSecondSlaveRequestReachesTheCpuAfterBothEnds) {
    raise(8);
    raise(9);
    EXPECT_EQ(pic.acknowledge(), 0x28);
    EXPECT_FALSE(cpu.level);
    out(slave, 0, end_of_interrupt);
    EXPECT_FALSE(cpu.level) << "the master still serves the slave";
    out(master, 0, end_of_interrupt);
    EXPECT_TRUE(cpu.level);
    EXPECT_EQ(pic.acknowledge(), 0x29);
}

TEST_F(PicTest, ResetKeepsTheWiresAndForgetsTheRest) {
    raise(3);
    pic.reset();
    EXPECT_FALSE(cpu.level);
    EXPECT_EQ(pic.save().master.lines, 0x08);
    initialize();
    EXPECT_FALSE(cpu.level) << "the wire was high before: no edge";
}

TEST_F(PicTest, StateIsRestoredAndRefusedWhenOutOfRange) {
    raise(3);
    raise(12);
    pic.acknowledge();
    RecordingLine line;
    Pic8259 other(line);
    other.restore(pic.save());
    EXPECT_TRUE(line.level == cpu.level);
    out(other.slave_ports(), 0, end_of_interrupt);
    out(other.master_ports(), 0, end_of_interrupt);
    EXPECT_EQ(other.acknowledge(), 0x23);

    Pic8259::State broken = pic.save();
    broken.master.lowest_priority = 8;
    EXPECT_THROW(other.restore(broken), std::invalid_argument);
    broken = pic.save();
    broken.slave.expected_word = 1;
    EXPECT_THROW(other.restore(broken), std::invalid_argument);
}

}  // namespace
}  // namespace xenolith::devices
