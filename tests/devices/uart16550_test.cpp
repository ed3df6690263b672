// The serial port: what a driver probes, interrupt priorities, FIFOs, loopback, and time on the wire.
#include "devices/uart16550.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

#include "machine/clock.hpp"
#include "tests/devices/recording_line.hpp"

namespace xenolith::devices {
namespace {

constexpr std::uint16_t data = 0;
constexpr std::uint16_t ier = 1;
constexpr std::uint16_t iir = 2;
constexpr std::uint16_t fcr = 2;
constexpr std::uint16_t lcr = 3;
constexpr std::uint16_t mcr = 4;
constexpr std::uint16_t lsr = 5;
constexpr std::uint16_t msr = 6;
constexpr std::uint16_t scr = 7;

constexpr unsigned eight_bits = 0x03;
constexpr unsigned out2 = 0x08;
constexpr unsigned loop = 0x10;

constexpr std::uint64_t hertz = Uart16550::crystal;  // one cycle is one tick of the crystal

class UartTest : public testing::Test {
  protected:
    explicit UartTest(Uart16550::Transmission transmission = Uart16550::Transmission::immediate)
        : uart(
              clock, line, [this](std::uint8_t value) { sent += static_cast<char>(value); }, transmission) {
        out(uart, lcr, eight_bits);
        out(uart, mcr, out2);
        in(uart, msr);
    }
    void receive(const std::string& text) {
        for (const char character : text) uart.receive(static_cast<std::uint8_t>(character));
    }
    void divisor(unsigned value) {
        out(uart, lcr, 0x80 | eight_bits);
        out(uart, 0, value & 0xff);
        out(uart, 1, value >> 8);
        out(uart, lcr, eight_bits);
    }
    void wait(std::uint64_t cycles) { clock.advance_to(clock.now() + cycles); }

    machine::Clock clock{hertz};
    RecordingLine line;
    std::string sent;
    Uart16550 uart;
};

class TimedUartTest : public UartTest {
  protected:
    TimedUartTest() : UartTest(Uart16550::Transmission::at_line_rate) {}
    // Ten bits of sixteen ticks for each unit of the divisor.
    static constexpr std::uint64_t character = 160;
};

TEST_F(UartTest, AfterResetHasTheDataSheetsValues) {
    out(uart, ier, 0x0f);
    out(uart, fcr, 0x01);
    uart.reset();
    EXPECT_EQ(in(uart, ier), 0x00);
    EXPECT_EQ(in(uart, iir), 0x01);
    EXPECT_EQ(in(uart, lcr), 0x00);
    EXPECT_EQ(in(uart, mcr), 0x00);
    EXPECT_EQ(in(uart, lsr), 0x60);
    EXPECT_EQ(in(uart, msr), 0xb0);
    EXPECT_FALSE(line.level);
}

TEST_F(UartTest, RegistersKeepTheBitsTheyHave) {
    struct Case {
        const char* name;
        std::uint16_t offset;
        unsigned written;
        unsigned read;
    };
    const Case cases[] = {
        {"interrupt enable", ier, 0xff, 0x0f}, {"line control", lcr, 0x7f, 0x7f}, {"modem control", mcr, 0xff, 0x1f},
        {"scratch", scr, 0xa5, 0xa5},          {"line status", lsr, 0x00, 0x60},
    };
    for (const Case& c : cases) {
        out(uart, c.offset, c.written);
        EXPECT_EQ(in(uart, c.offset), c.read) << c.name;
    }
    EXPECT_EQ(in(uart, 8), 0xff) << "there is no ninth register";
}

TEST_F(UartTest, TheDivisorHidesBehindItsAccessBit) {
    divisor(0x1234);
    EXPECT_EQ(in(uart, ier), 0x00);
    out(uart, lcr, 0x83);
    EXPECT_EQ(uart.read(0, 2), 0x1234u);
    EXPECT_TRUE(sent.empty());
}

// What Linux, FreeBSD and others do to find out which chip it is.
TEST_F(UartTest, IsProbedAsA16550A) {
    out(uart, ier, 0x00);
    EXPECT_EQ(in(uart, ier) & 0x0f, 0x00);
    out(uart, ier, 0x0f);
    EXPECT_EQ(in(uart, ier), 0x0f) << "no sleep or extension bits above";
    out(uart, ier, 0x00);

    out(uart, mcr, loop | 0x0a);
    EXPECT_EQ(in(uart, msr) & 0xf0, 0x90) << "RTS and OUT2 come back as CTS and DCD";
    out(uart, mcr, out2);

    const auto fifo_identity = [this](unsigned control) {
        out(uart, fcr, control);
        return in(uart, iir) >> 5;
    };
    EXPECT_EQ(fifo_identity(0x00), 0) << "no FIFO";
    EXPECT_EQ(fifo_identity(0x01), 6) << "both FIFO bits: not the 16550 without the A";
    EXPECT_EQ(fifo_identity(0x21), 6) << "no 64-byte FIFO of a 16750";
    out(uart, lcr, 0xbf);
    EXPECT_EQ(in(uart, 2), 0xc1) << "no enhanced feature register of a 16650";
    out(uart, lcr, 0x00);
    out(uart, ier, 0x40);
    EXPECT_EQ(in(uart, ier), 0x00) << "no unit enable bit of an XScale";
}

// The start-up test for chips that do not raise the THRE interrupt each time it is enabled.
TEST_F(UartTest, EnablingTheTransmitInterruptRaisesItEachTime) {
    for (int time = 0; time < 3; ++time) {
        out(uart, ier, 0x02);
        EXPECT_TRUE(line.level);
        EXPECT_EQ(in(uart, iir), 0x02) << time;
        EXPECT_FALSE(line.level) << "reading it clears it";
        EXPECT_EQ(in(uart, iir), 0x01);
        out(uart, ier, 0x02);
        EXPECT_FALSE(line.level) << "it was enabled already";
        out(uart, ier, 0x00);
    }
}

TEST_F(UartTest, SendsAtOnceAndEachCharacterIsAnInterruptEdge) {
    out(uart, ier, 0x02);
    const auto before = line.rises;
    for (const char character : std::string("Xen")) {
        out(uart, data, static_cast<unsigned char>(character));
        EXPECT_EQ(in(uart, lsr) & 0x60, 0x60);
    }
    EXPECT_EQ(sent, "Xen");
    EXPECT_EQ(line.rises, before + 3);
}

TEST_F(UartTest, TheWordLengthMasksWhatIsSentAndReceived) {
    const unsigned masks[] = {0x1f, 0x3f, 0x7f, 0xff};
    for (unsigned length = 0; length < 4; ++length) {
        out(uart, lcr, length);
        sent.clear();
        out(uart, data, 0xff);
        EXPECT_EQ(static_cast<unsigned char>(sent.at(0)), masks[length]);
        uart.receive(0xff);
        EXPECT_EQ(in(uart, data), masks[length]);
    }
}

TEST_F(UartTest, InterruptPrioritiesFromHighestToLowest) {
    uart.set_modem_inputs(0);
    out(uart, ier, 0x0f);
    uart.receive('a');
    uart.receive('b');  // without FIFO: an overrun
    EXPECT_EQ(in(uart, iir), 0x06) << "line status";
    EXPECT_EQ(in(uart, lsr) & 0x1f, 0x03);
    EXPECT_EQ(in(uart, iir), 0x04) << "received data";
    EXPECT_EQ(in(uart, data), 'b');
    EXPECT_EQ(in(uart, iir), 0x02) << "transmitter empty";
    EXPECT_EQ(in(uart, iir), 0x00) << "modem status";
    EXPECT_EQ(in(uart, msr), 0x0b);
    EXPECT_EQ(in(uart, iir), 0x01) << "nothing";
    EXPECT_FALSE(line.level);
}

TEST_F(UartTest, EachInterruptNeedsItsEnableBit) {
    struct Case {
        const char* name;
        unsigned enable;
        unsigned identity;
    };
    const Case cases[] = {
        {"none", 0x00, 0x01}, {"received", 0x01, 0x04}, {"transmitter", 0x02, 0x02},
        {"line", 0x04, 0x06}, {"modem", 0x08, 0x00},
    };
    for (const Case& c : cases) {
        uart.reset();
        out(uart, lcr, eight_bits);
        uart.set_modem_inputs(0xf0);
        in(uart, msr);
        uart.set_modem_inputs(0);
        uart.receive('a');
        uart.receive('b');
        out(uart, ier, c.enable);
        EXPECT_EQ(in(uart, iir), c.identity) << c.name;
    }
}

TEST_F(UartTest, TheLineFollowsOnlyWhileOut2IsSetAndNothingLoops) {
    out(uart, ier, 0x01);
    uart.receive('a');
    EXPECT_TRUE(line.level);
    out(uart, mcr, 0);
    EXPECT_FALSE(line.level);
    out(uart, mcr, out2 | loop);
    EXPECT_FALSE(line.level);
    EXPECT_EQ(in(uart, iir), 0x04) << "the chip itself goes on";
    out(uart, mcr, out2);
    EXPECT_TRUE(line.level);
}

TEST_F(UartTest, FifoInterruptsAtItsTriggerLevel) {
    const unsigned levels[] = {1, 4, 8, 14};
    for (unsigned choice = 0; choice < 4; ++choice) {
        out(uart, fcr, 0x07 | (choice << 6));
        out(uart, ier, 0x01);
        for (unsigned number = 1; number <= 16; ++number) {
            uart.receive('x');
            EXPECT_EQ(line.level, number >= levels[choice]) << number << " of " << levels[choice];
        }
        for (unsigned left = 16; left-- > 0;) {
            in(uart, data);
            EXPECT_EQ(line.level, left >= levels[choice]) << left << " of " << levels[choice];
        }
    }
}

TEST_F(UartTest, CharactersBelowTheTriggerLevelAreReportedAfterFourCharacterTimes) {
    divisor(1);
    out(uart, fcr, 0xc1);
    out(uart, ier, 0x01);
    receive("ab");
    wait(4 * 160 - 1);
    EXPECT_FALSE(line.level);
    wait(1);
    EXPECT_TRUE(line.level);
    EXPECT_EQ(in(uart, iir), 0xcc);
    EXPECT_EQ(in(uart, data), 'a');
    EXPECT_FALSE(line.level) << "a read takes it back and starts the wait anew";
    wait(4 * 160);
    EXPECT_EQ(in(uart, iir), 0xcc);
    EXPECT_EQ(in(uart, data), 'b');
    wait(10'000);
    EXPECT_FALSE(line.level) << "an empty FIFO has nothing to report";
}

TEST_F(UartTest, AnotherCharacterPutsTheTimeoutOff) {
    divisor(1);
    out(uart, fcr, 0xc1);
    out(uart, ier, 0x01);
    uart.receive('a');
    wait(600);
    uart.receive('b');
    wait(600);
    EXPECT_FALSE(line.level);
    wait(40);
    EXPECT_TRUE(line.level);
}

TEST_F(UartTest, OverrunKeepsTheFifoAndReplacesTheSingleCharacter) {
    uart.receive('a');
    EXPECT_FALSE(uart.can_receive());
    uart.receive('b');
    EXPECT_EQ(in(uart, lsr), 0x63);
    EXPECT_EQ(in(uart, lsr), 0x61) << "reading clears it";
    EXPECT_EQ(in(uart, data), 'b');

    out(uart, fcr, 0x01);
    receive("0123456789abcdef");
    EXPECT_FALSE(uart.can_receive());
    uart.receive('!');
    EXPECT_EQ(in(uart, lsr) & 0x02, 0x02);
    for (const char expected : std::string("0123456789abcdef")) EXPECT_EQ(in(uart, data), expected);
    EXPECT_EQ(in(uart, lsr), 0x60);
    EXPECT_TRUE(uart.can_receive());
}

TEST_F(UartTest, AnErrorShowsWhenItsCharacterReachesTheTop) {
    out(uart, fcr, 0x01);
    uart.receive('a');
    uart.receive_break();
    EXPECT_EQ(in(uart, lsr), 0xe1) << "somewhere in the FIFO, not yet at the top";
    EXPECT_EQ(in(uart, data), 'a');
    EXPECT_EQ(in(uart, lsr), 0xf9);
    EXPECT_EQ(in(uart, lsr), 0x61) << "once";
    EXPECT_EQ(in(uart, data), 0x00);
}

TEST_F(UartTest, SwitchingOrClearingTheFifosEmptiesThem) {
    for (const unsigned control : {0x00u, 0x03u}) {
        out(uart, fcr, 0x01);
        receive("abc");
        out(uart, fcr, control);
        EXPECT_EQ(in(uart, lsr), 0x60) << control;
    }
}

TEST_F(UartTest, LoopbackReturnsWhatIsSentAndCutsTheWires) {
    out(uart, fcr, 0x01);
    out(uart, mcr, loop);
    EXPECT_FALSE(uart.can_receive());
    uart.receive('x');
    for (const char character : std::string("loop")) out(uart, data, static_cast<unsigned char>(character));
    for (const char character : std::string("loop")) EXPECT_EQ(in(uart, data), character);
    EXPECT_EQ(in(uart, lsr), 0x60);
    EXPECT_TRUE(sent.empty());
}

TEST_F(UartTest, LoopbackWiresModemOutputsToInputs) {
    const unsigned wires[][2] = {{0x01, 0x20}, {0x02, 0x10}, {0x04, 0x40}, {0x08, 0x80}};
    for (const auto& [output, input] : wires) {
        out(uart, mcr, loop | output);
        EXPECT_EQ(in(uart, msr) & 0xf0, input);
    }
}

TEST_F(UartTest, BreakControlInLoopbackIsABreakReceived) {
    out(uart, mcr, loop);
    out(uart, lcr, 0x40 | eight_bits);
    EXPECT_EQ(in(uart, lsr) & 0x1f, 0x19);
}

TEST_F(UartTest, ModemDeltasSayWhatChangedSinceTheLastRead) {
    struct Case {
        const char* name;
        std::uint8_t before, after;
        unsigned delta;
    };
    const Case cases[] = {
        {"clear to send", 0x10, 0x00, 0x01}, {"data set ready", 0x00, 0x20, 0x02}, {"ring begins", 0x00, 0x40, 0x00},
        {"ring ends", 0x40, 0x00, 0x04},     {"carrier", 0x80, 0x00, 0x08},
    };
    for (const Case& c : cases) {
        uart.set_modem_inputs(c.before);
        in(uart, msr);
        uart.set_modem_inputs(c.after);
        EXPECT_EQ(in(uart, msr), c.after | c.delta) << c.name;
        EXPECT_EQ(in(uart, msr), c.after) << c.name;
    }
}

TEST_F(TimedUartTest, ACharacterTakesItsTimeOnTheWire) {
    divisor(12);
    out(uart, data, 'A');
    EXPECT_EQ(in(uart, lsr), 0x20) << "the shift register has it, the holding register is free";
    out(uart, data, 'B');
    EXPECT_EQ(in(uart, lsr), 0x00);
    wait(12 * character - 1);
    EXPECT_EQ(sent, "");
    wait(1);
    EXPECT_EQ(sent, "A");
    EXPECT_EQ(in(uart, lsr), 0x20);
    wait(12 * character);
    EXPECT_EQ(sent, "AB");
    EXPECT_EQ(in(uart, lsr), 0x60);
}

TEST_F(TimedUartTest, TheFrameFormatCounts) {
    struct Case {
        const char* name;
        unsigned format;
        std::uint64_t half_bits;
    };
    const Case cases[] = {
        {"8N1", 0x03, 20}, {"5N1", 0x00, 14}, {"5N1.5", 0x04, 15}, {"7E2", 0x1e, 22}, {"8O1", 0x0b, 22},
    };
    divisor(1);
    for (const Case& c : cases) {
        out(uart, lcr, c.format);
        sent.clear();
        out(uart, data, 1);
        wait(c.half_bits * 8 - 1);
        EXPECT_TRUE(sent.empty()) << c.name;
        wait(1);
        EXPECT_EQ(sent.size(), 1u) << c.name;
    }
}

TEST_F(TimedUartTest, TheTransmitFifoInterruptsWhenItHasRunEmpty) {
    divisor(1);
    out(uart, fcr, 0x01);
    out(uart, ier, 0x02);
    in(uart, iir);
    for (int number = 0; number < 17; ++number) out(uart, data, static_cast<unsigned>('a' + number));
    EXPECT_FALSE(line.level);
    out(uart, data, '!');  // the FIFO is full: lost
    wait(15 * character);
    EXPECT_FALSE(line.level);
    wait(character);
    EXPECT_TRUE(line.level);
    EXPECT_EQ(in(uart, iir), 0xc2);
    wait(character);
    EXPECT_EQ(sent, "abcdefghijklmnopq");
}

TEST_F(TimedUartTest, AGuestThatPollsIsNotKeptWaitingForever) {
    for (const unsigned value : {0u, 0xffffu}) {
        divisor(value);
        sent.clear();
        out(uart, data, 'x');
        while ((in(uart, lsr) & 0x40) == 0) {
            ASSERT_NE(clock.next_deadline(), Scheduler::never);
            clock.advance_to(clock.next_deadline());
        }
        EXPECT_EQ(sent, "x");
    }
}

TEST_F(TimedUartTest, StateCarriesACharacterThatIsUnderWay) {
    divisor(1);
    out(uart, data, 'A');
    wait(100);
    machine::Clock other_clock(hertz);
    other_clock.restore(clock.now());
    RecordingLine other_line;
    std::string other_sent;
    Uart16550 other(
        other_clock, other_line, [&](std::uint8_t value) { other_sent += static_cast<char>(value); },
        Uart16550::Transmission::at_line_rate);
    other.restore(uart.save());
    other_clock.advance_to(159);
    EXPECT_EQ(other_sent, "");
    other_clock.advance_to(160);
    EXPECT_EQ(other_sent, "A");
}

TEST_F(UartTest, AStateOutOfRangeIsRefused) {
    Uart16550::State state = uart.save();
    state.receive_count = 17;
    EXPECT_THROW(uart.restore(state), std::invalid_argument);
    state = uart.save();
    state.transmit_first = 16;
    EXPECT_THROW(uart.restore(state), std::invalid_argument);
    state = uart.save();
    state.transmit_count = 1;
    EXPECT_THROW(uart.restore(state), std::invalid_argument);
}

}  // namespace
}  // namespace xenolith::devices
