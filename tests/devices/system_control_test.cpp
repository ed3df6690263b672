// The small ports: A20 and reset, POST code, keyboard controller, debug console and debug exit.
#include "devices/system_control.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "devices/debug_console.hpp"
#include "devices/debug_exit.hpp"
#include "devices/keyboard_controller.hpp"
#include "tests/devices/recording_line.hpp"

namespace xenolith::devices {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;

TEST(A20, IsOpenWhileEitherSourceAsksForIt) {
    std::vector<bool> told;
    A20Gate gate([&](bool open) { told.push_back(open); });
    EXPECT_TRUE(gate.is_open()) << "as firmware leaves it";
    gate.request(A20Gate::Source::port_92, true);
    gate.request(A20Gate::Source::keyboard_controller, false);
    EXPECT_TRUE(gate.is_open());
    gate.request(A20Gate::Source::port_92, false);
    EXPECT_FALSE(gate.is_open());
    gate.request(A20Gate::Source::port_92, true);
    EXPECT_THAT(told, ElementsAre(false, true));
}

TEST(PortA, ResetsOnARisingBitAndDrivesA20) {
    A20Gate gate({});
    gate.request(A20Gate::Source::keyboard_controller, false);
    int resets = 0;
    SystemControlPortA port(gate, [&] { ++resets; });
    out(port, 0, 0x02);
    EXPECT_TRUE(gate.is_open());
    EXPECT_EQ(in(port, 0), 0x02);
    EXPECT_EQ(resets, 0);
    out(port, 0, 0x03);
    EXPECT_EQ(resets, 1);
    out(port, 0, 0x03);
    EXPECT_EQ(resets, 1) << "no new edge";
    out(port, 0, 0x00);
    EXPECT_FALSE(gate.is_open());
    out(port, 1, 0xff);
    EXPECT_EQ(in(port, 1), 0xff);
    EXPECT_EQ(resets, 1);
}

TEST(PostCode, IsKept) {
    PostCodePort port;
    out(port, 0, 0x42);
    EXPECT_EQ(port.last(), 0x42);
    EXPECT_EQ(in(port, 0), 0x42);
    EXPECT_EQ(port.read(0, 4), 0xffffff42u);
}

TEST(DebugConsole, ShowsWhatIsWrittenAndSaysThatItIsThere) {
    std::string shown;
    DebugConsole console([&](std::uint8_t byte) { shown += static_cast<char>(byte); });
    EXPECT_EQ(in(console, 0), 0xe9);
    for (const char character : std::string("Xen")) out(console, 0, static_cast<unsigned char>(character));
    console.write(0, 2, 0x4142);  // the high byte goes to the next port, which is not there
    EXPECT_EQ(shown, "XenB");
}

TEST(DebugExit, StatusIsTwiceTheValueAndOne) {
    struct Case {
        unsigned width;
        std::uint32_t value, status;
    };
    const Case cases[] = {
        {1, 0x00, 0x01}, {1, 0x31, 0x63}, {1, 0x1ff, 0x1ff}, {2, 0x1234, 0x2469}, {4, 0x80000001, 0x00000003},
    };
    for (const Case& c : cases) {
        std::vector<std::uint32_t> statuses;
        DebugExit device([&](std::uint32_t status) { statuses.push_back(status); });
        device.write(0, c.width, c.value);
        device.write(1, c.width, c.value);
        EXPECT_THAT(statuses, ElementsAre(c.status));
    }
}

class KeyboardTest : public testing::Test {
  protected:
    // Everything that can be fetched, but no more than could be there.
    std::vector<unsigned> answers() {
        std::vector<unsigned> result;
        while ((status() & 0x01) != 0 && result.size() < 40) result.push_back(in(data, 0));
        return result;
    }
    unsigned status() { return in(command, 0); }
    void raw_mode() {
        out(command, 0, 0x60);
        out(data, 0, 0x04);  // no translation, no interrupts
    }

    RecordingLine irq1;
    A20Gate a20{{}};
    int resets = 0;
    KeyboardController controller{irq1, a20, [this] { ++resets; }};
    PortDevice& data = controller.data_port();
    PortDevice& command = controller.command_port();
};

TEST_F(KeyboardTest, ControllerCommandsAnswer) {
    struct Case {
        const char* name;
        unsigned command;
        std::vector<unsigned> answer;
    };
    const Case cases[] = {
        {"self test", 0xaa, {0x55}},
        {"keyboard interface test", 0xab, {0x00}},
        {"auxiliary interface test", 0xa9, {0x01}},
        {"read command byte", 0x20, {0x64}},
        {"read input port", 0xc0, {0x80}},
        {"read output port", 0xd0, {0x03}},
        {"test inputs", 0xe0, {0x00}},
        {"disable keyboard", 0xad, {}},
        {"enable keyboard", 0xae, {}},
        {"unknown", 0x00, {}},
    };
    for (const Case& c : cases) {
        out(command, 0, c.command);
        EXPECT_EQ(status() & 0x0a, 0x08u) << c.name << ": input buffer empty, last byte was a command";
        EXPECT_THAT(answers(), ElementsAreArray(c.answer)) << c.name;
    }
}

TEST_F(KeyboardTest, KeyboardCommandsAnswer) {
    struct Case {
        const char* name;
        std::vector<unsigned> sent;
        std::vector<unsigned> answer;
    };
    const Case cases[] = {
        {"reset", {0xff}, {0xfa, 0xaa}},
        {"identify", {0xf2}, {0xfa, 0xab, 0x83}},
        {"echo", {0xee}, {0xee}},
        {"lamps", {0xed, 0x07}, {0xfa, 0xfa}},
        {"repeat rate", {0xf3, 0x00}, {0xfa, 0xfa}},
        {"enable", {0xf4}, {0xfa}},
        {"disable", {0xf5}, {0xfa}},
        {"defaults", {0xf6}, {0xfa}},
        {"which scan code set", {0xf0, 0x00}, {0xfa, 0xfa, 0x02}},
        {"set scan code set", {0xf0, 0x03, 0xf0, 0x00}, {0xfa, 0xfa, 0xfa, 0xfa, 0x03}},
        {"no such scan code set", {0xf0, 0x09}, {0xfa, 0xfe}},
        {"unknown", {0x12}, {0xfe}},
        {"say again", {0xee, 0xfe}, {0xee, 0xee}},
    };
    raw_mode();
    for (const Case& c : cases) {
        for (const unsigned value : c.sent) out(data, 0, value);
        EXPECT_THAT(answers(), ElementsAreArray(c.answer)) << c.name;
    }
}

TEST_F(KeyboardTest, TranslationChangesTheIdentity) {
    out(data, 0, 0xf2);
    EXPECT_THAT(answers(), ElementsAre(0xfau, 0xabu, 0x41u));
}

TEST_F(KeyboardTest, EachByteIsAnInterruptEdgeWhenEnabled) {
    out(command, 0, 0x60);
    out(data, 0, 0x05);
    out(data, 0, 0xff);
    EXPECT_TRUE(irq1.level);
    EXPECT_EQ(irq1.rises, 1u);
    EXPECT_EQ(in(data, 0), 0xfa);
    EXPECT_EQ(irq1.rises, 2u);
    EXPECT_EQ(in(data, 0), 0xaa);
    EXPECT_FALSE(irq1.level);
}

TEST_F(KeyboardTest, ADisabledKeyboardKeepsItsAnswerBack) {
    out(data, 0, 0xff);
    EXPECT_EQ(in(data, 0), 0xfa);
    EXPECT_EQ(in(data, 0), 0xaa);
    out(data, 0, 0xff);
    out(command, 0, 0xad);
    EXPECT_THAT(answers(), ElementsAre(0xfau)) << "was already there";
    out(command, 0, 0xae);
    EXPECT_THAT(answers(), ElementsAre(0xaau));
}

TEST_F(KeyboardTest, ThereIsNoMouse) {
    out(command, 0, 0xd3);
    out(data, 0, 0x5a);
    EXPECT_EQ(status() & 0x01, 0x00u) << "the auxiliary loop does not come back";
    out(command, 0, 0xd4);
    out(data, 0, 0xff);
    EXPECT_EQ(status() & 0x61, 0x61u) << "time-out, from the auxiliary port";
    EXPECT_EQ(in(data, 0), 0xfe);
    EXPECT_FALSE(irq1.level);
}

TEST_F(KeyboardTest, TheOutputBufferCanBeWritten) {
    out(command, 0, 0xd2);
    out(data, 0, 0x5a);
    EXPECT_THAT(answers(), ElementsAre(0x5au));
}

TEST_F(KeyboardTest, ItsMemoryIsReadAndWritten) {
    out(command, 0, 0x65);
    out(data, 0, 0x99);
    out(command, 0, 0x25);
    EXPECT_THAT(answers(), ElementsAre(0x99u));
}

TEST_F(KeyboardTest, TheOutputPortDrivesA20AndReset) {
    out(command, 0, 0xd1);
    out(data, 0, 0x01);
    EXPECT_FALSE(a20.is_open());
    out(command, 0, 0xd1);
    out(data, 0, 0x03);
    EXPECT_TRUE(a20.is_open());
    EXPECT_EQ(resets, 0);
    for (const unsigned pulse : {0xfeu, 0xf0u}) out(command, 0, pulse);
    EXPECT_EQ(resets, 2);
    for (const unsigned pulse : {0xffu, 0xf1u}) out(command, 0, pulse);
    EXPECT_EQ(resets, 2) << "bit 0 not pulsed";
    out(command, 0, 0xd1);
    out(data, 0, 0x02);
    EXPECT_EQ(resets, 3);
}

TEST_F(KeyboardTest, AFloodOfCommandsIsBounded) {
    for (int number = 0; number < 1000; ++number) out(data, 0, 0xf2);
    EXPECT_LE(answers().size(), KeyboardController::queue_size + 1);
    out(data, 0, 0xff);
    EXPECT_EQ(answers().back(), 0xaau);
}

TEST_F(KeyboardTest, StateIsRestoredAndRefusedWhenOutOfRange) {
    raw_mode();
    out(data, 0, 0xf2);
    RecordingLine line;
    A20Gate gate({});
    KeyboardController other(line, gate, {});
    other.restore(controller.save());
    EXPECT_EQ(in(other.data_port(), 0), 0xfa);
    EXPECT_EQ(in(other.data_port(), 0), 0xab);
    KeyboardController::State broken = controller.save();
    broken.queue_count = 17;
    EXPECT_THROW(other.restore(broken), std::invalid_argument);
    broken = controller.save();
    broken.scan_code_set = 0;
    EXPECT_THROW(other.restore(broken), std::invalid_argument);
}

}  // namespace
}  // namespace xenolith::devices
