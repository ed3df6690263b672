// PCI: what a guest's enumeration finds, base addresses as they are sized and moved, interrupts from pin to line.
#include "devices/pci.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "devices/pci_bridges.hpp"
#include "tests/devices/recording_line.hpp"

namespace xenolith::devices {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

using Kind = PciBaseAddress::Kind;

constexpr PciIdentity test_identity{.vendor = 0x1af4,
                                    .device = 0x1000,
                                    .class_code = 0x02'03'04,
                                    .revision = 5,
                                    .subsystem_vendor = 0x1234,
                                    .subsystem = 0x5678,
                                    .interrupt_pin = 1,
                                    .master = true};

class PciTest : public testing::Test {
  protected:
    PciTest() {
        bus.attach(0, 0, host);
        bus.attach(1, 0, isa);
        bus.attach(3, 2, function);
        ports.attach(0, bus);
    }
    static PciFunction::BaseAddresses base_addresses() {
        return {{{Kind::io, false, 32},
                 {Kind::memory_32, false, 4096},
                 {Kind::memory_64, true, std::uint64_t{8} << 30},
                 {}}};
    }
    void told(unsigned index, std::optional<std::uint64_t> start) {
        windows.push_back(std::to_string(index) + ":" + (start ? std::to_string(*start) : "none"));
    }
    static std::uint32_t address(unsigned device, unsigned number, unsigned offset) {
        return 0x8000'0000 | device << 11 | number << 8 | offset;
    }
    std::uint32_t get(unsigned device, unsigned number, unsigned offset, unsigned width = 4) {
        ports.write(0, 4, address(device, number, offset & ~3u));
        const std::uint32_t value = ports.read(static_cast<std::uint16_t>(4 + (offset & 3)), width);
        return width == 4 ? value : value & ((1u << (8 * width)) - 1);
    }
    void set(unsigned device, unsigned number, unsigned offset, std::uint32_t value, unsigned width = 4) {
        ports.write(0, 4, address(device, number, offset & ~3u));
        ports.write(static_cast<std::uint16_t>(4 + (offset & 3)), width, value);
    }

    std::array<RecordingLine, 4> lines;
    std::vector<std::string> windows;
    std::vector<bool> resets;
    PciBus bus{{&lines[0], &lines[1], &lines[2], &lines[3]}};
    PciPorts ports{[this](bool hard) { resets.push_back(hard); }};
    PciHostBridge host;
    PciIsaBridge isa{{}};
    PciFunction function{test_identity, base_addresses(),
                         [this](unsigned index, std::optional<std::uint64_t> start) { told(index, start); }};
};

TEST_F(PciTest, TheBoardIsEnumerated) {
    std::vector<std::string> found;
    for (unsigned device = 0; device < 32; ++device) {
        for (unsigned number = 0; number < 8; ++number) {
            const std::uint32_t id = get(device, number, 0);
            if (id == 0xffff'ffff) continue;
            char text[64];
            std::snprintf(text, sizeof text, "%u.%u %04x:%04x %06x", device, number, id & 0xffff, id >> 16,
                          get(device, number, 8) >> 8);
            found.emplace_back(text);
        }
    }
    EXPECT_THAT(found, ElementsAre("0.0 8086:1237 060000", "1.0 8086:7000 060100", "3.2 1af4:1000 020304"));
    EXPECT_EQ(get(0, 0, 0x0e, 1), 0x00u);
    EXPECT_EQ(get(1, 0, 0x0e, 1), 0x80u) << "there may be more functions";
}

TEST_F(PciTest, TheHeaderSaysWhoItIsAndCannotBeChanged) {
    for (unsigned offset = 0; offset < 256; offset += 4) set(3, 2, offset, 0xffff'ffff);
    EXPECT_EQ(get(3, 2, 0x00), 0x1000'1af4u);
    EXPECT_EQ(get(3, 2, 0x08), 0x0203'0405u);
    EXPECT_EQ(get(3, 2, 0x2c), 0x5678'1234u);
    EXPECT_EQ(get(3, 2, 0x04), 0x0000'0407u) << "ports, memory, bus master, no INTx; nothing in the status";
    EXPECT_EQ(get(3, 2, 0x0c), 0x0000'f8ffu) << "latency in steps of eight, cache line size";
    EXPECT_EQ(get(3, 2, 0x3c), 0x0000'01ffu) << "INTA#; the interrupt line is the guest's to note";
    for (const unsigned offset : {0x20u, 0x24u, 0x30u, 0x34u, 0x40u, 0xfcu}) EXPECT_EQ(get(3, 2, offset), 0u) << offset;
}

TEST_F(PciTest, BytesAndWordsLieWhereTheyBelong) {
    const std::uint8_t expected[] = {0x05, 0x04, 0x03, 0x02};
    for (unsigned i = 0; i < 4; ++i) EXPECT_EQ(get(3, 2, 8 + i, 1), expected[i]);
    for (unsigned i = 0; i < 3; ++i) EXPECT_EQ(get(3, 2, 8 + i, 2), expected[i] | expected[i + 1] << 8);
    set(3, 2, 0x3c, 0x0b, 1);
    set(3, 2, 0x05, 0x04, 1);
    EXPECT_EQ(get(3, 2, 0x3c, 1), 0x0bu);
    EXPECT_EQ(get(3, 2, 0x04, 2), 0x0400u) << "a byte leaves its neighbours alone";
}

TEST_F(PciTest, WithoutTheEnableBitOrAFunctionAllBitsAreOnes) {
    ports.write(0, 4, 0x0000'1a00);
    EXPECT_EQ(ports.read(4, 4), 0xffff'ffffu);
    ports.write(0, 4, 0x8001'0000);
    EXPECT_EQ(ports.read(4, 4), 0xffff'ffffu) << "no bus 1";
    ports.write(4, 4, 0);
    EXPECT_EQ(get(0, 1, 0), 0xffff'ffffu);
    EXPECT_EQ(get(31, 7, 0xfc), 0xffff'ffffu);
    EXPECT_EQ(get(3, 0, 0), 0xffff'ffffu) << "function 2 alone does not make a function 0";
}

TEST_F(PciTest, TheAddressRegisterTakesDoubleWordsOnly) {
    ports.write(0, 4, 0xffff'ffff);
    EXPECT_EQ(ports.read(0, 4), 0x80ff'fffcu);
    ports.write(0, 4, 0x8000'0000);
    out(ports, 0, 0x12);
    out(ports, 3, 0x12);
    ports.write(2, 2, 0x1212);
    EXPECT_EQ(ports.read(0, 4), 0x8000'0000u);
    EXPECT_EQ(in(ports, 0), 0xff);
    EXPECT_EQ(in(ports, 3), 0xff);
    EXPECT_EQ(ports.read(2, 4), 0x8086'ffffu) << "two ports without a register, and two of the data";
}

TEST_F(PciTest, TheResetControlRegisterResetsOnARisingBit) {
    out(ports, 1, 0x02);
    EXPECT_EQ(in(ports, 1), 0x02);
    EXPECT_THAT(resets, IsEmpty());
    out(ports, 1, 0x06);
    EXPECT_THAT(resets, ElementsAre(true));
    out(ports, 1, 0x06);
    EXPECT_EQ(in(ports, 1), 0x06);
    EXPECT_THAT(resets, ElementsAre(true)) << "no new edge";
    out(ports, 1, 0x00);
    out(ports, 1, 0xf5);
    EXPECT_EQ(in(ports, 1), 0x04) << "bits that are not there";
    EXPECT_THAT(resets, ElementsAre(true, false)) << "the CPU alone";
    ports.write(0, 4, 0x8000'0600);
    EXPECT_EQ(resets.size(), 2u) << "an address is not a reset";
    EXPECT_EQ(PciPorts::full_reset, 0x06);
}

TEST_F(PciTest, ABaseAddressTellsItsSize) {
    struct Case {
        unsigned offset;
        std::uint32_t sized;
    };
    for (const Case& c : {Case{0x10, 0xffff'ffe1}, Case{0x14, 0xffff'f000}, Case{0x18, 0x0000'000c},
                          Case{0x1c, 0xffff'fffe}, Case{0x20, 0}, Case{0x24, 0}}) {
        set(3, 2, c.offset, 0xffff'ffff);
        EXPECT_EQ(get(3, 2, c.offset), c.sized) << c.offset;
    }
    set(3, 2, 0x10, 0);
    EXPECT_EQ(get(3, 2, 0x10), 1u) << "the kind stays";
}

TEST_F(PciTest, WindowsComeWithTheCommandRegisterAndMoveWithTheirAddress) {
    set(3, 2, 0x10, 0xc001);
    set(3, 2, 0x14, 0xfebf'0000);
    EXPECT_THAT(windows, IsEmpty());
    set(3, 2, 0x04, 0x0001, 2);
    EXPECT_THAT(windows, ElementsAre("0:49152"));
    windows.clear();
    set(3, 2, 0x04, 0x0003, 2);
    EXPECT_THAT(windows, ElementsAre("1:4273930240")) << "the 64-bit one has no address yet";
    windows.clear();
    set(3, 2, 0x11, 0xd0, 1);
    EXPECT_THAT(windows, ElementsAre("0:none", "0:53248")) << "what moves goes away first";
    EXPECT_EQ(function.window(0), 0xd000u);
    windows.clear();
    set(3, 2, 0x1c, 2);
    EXPECT_THAT(windows, ElementsAre("2:8589934592"));
    windows.clear();
    set(3, 2, 0x04, 0x0407, 2);
    EXPECT_THAT(windows, IsEmpty()) << "other bits of the command register";
    EXPECT_TRUE(function.may_master());
    set(3, 2, 0x04, 0, 2);
    EXPECT_THAT(windows, ElementsAre("0:none", "1:none", "2:none"));
    EXPECT_FALSE(function.may_master());
}

TEST_F(PciTest, SizingWhileDecodingShowsNoWindowAtTheTop) {
    set(3, 2, 0x04, 0x0003, 2);
    set(3, 2, 0x10, 0xffff'ffff);
    set(3, 2, 0x14, 0xffff'ffff);
    set(3, 2, 0x18, 0xffff'ffff);
    set(3, 2, 0x1c, 0xffff'ffff);
    EXPECT_THAT(windows, IsEmpty());
    set(3, 2, 0x10, 0x1'0000);
    EXPECT_THAT(windows, IsEmpty()) << "no port has this number";
}

TEST_F(PciTest, AnInterruptGoesByDeviceAndPin) {
    EXPECT_EQ(PciBus::line_of(0, 1), 0u);
    EXPECT_EQ(PciBus::line_of(3, 1), 3u);
    EXPECT_EQ(PciBus::line_of(3, 2), 0u);
    function.set_interrupt(true);
    EXPECT_TRUE(lines[3].level);
    EXPECT_EQ(get(3, 2, 0x06, 2), 0x0008u) << "interrupt status";
    set(3, 2, 0x04, 0x0400, 2);
    EXPECT_FALSE(lines[3].level) << "interrupt disable";
    EXPECT_EQ(get(3, 2, 0x06, 2), 0x0008u) << "the status stays";
    set(3, 2, 0x04, 0x0000, 2);
    EXPECT_TRUE(lines[3].level);
    function.set_interrupt(false);
    EXPECT_FALSE(lines[3].level);
    EXPECT_EQ(lines[0].rises + lines[1].rises + lines[2].rises, 0u);
}

TEST_F(PciTest, ALineIsSharedByLevel) {
    PciFunction neighbour({.vendor = 1, .device = 2, .interrupt_pin = 4});
    bus.attach(4, 0, neighbour);  // pin D of device 4 and pin A of device 3
    function.set_interrupt(true);
    neighbour.set_interrupt(true);
    function.set_interrupt(false);
    EXPECT_TRUE(lines[3].level);
    neighbour.set_interrupt(false);
    EXPECT_FALSE(lines[3].level);
    EXPECT_EQ(lines[3].rises, 1u);
}

TEST_F(PciTest, WithoutAPinThereIsNoInterrupt) {
    host.set_interrupt(true);
    EXPECT_EQ(get(0, 0, 0x06, 2), 0x0280u);
    for (const RecordingLine& line : lines) EXPECT_FALSE(line.level);
}

TEST_F(PciTest, SeveralBuses) {
    PciBus second({});
    PciFunction far_away({.vendor = 0x1111, .device = 0x2222, .interrupt_pin = 1});
    second.attach(31, 7, far_away);
    ports.attach(0x80, second);
    ports.write(0, 4, 0x8080'ff00);
    EXPECT_EQ(ports.read(4, 4), 0x2222'1111u);
    far_away.set_interrupt(true);
    EXPECT_THROW(ports.attach(0x80, second), std::invalid_argument);
    EXPECT_THROW(ports.attach(256, second), std::invalid_argument);
}

TEST_F(PciTest, PlacesAndDescriptionsThatCannotBeAreRefused) {
    PciFunction other({.vendor = 1, .device = 2});
    EXPECT_THROW(bus.attach(3, 2, other), std::invalid_argument);
    EXPECT_THROW(bus.attach(32, 0, other), std::invalid_argument);
    EXPECT_THROW(bus.attach(0, 8, other), std::invalid_argument);
    EXPECT_EQ(bus.find(32, 0), nullptr);
    const PciIdentity good{.vendor = 1, .device = 2};
    EXPECT_THROW(PciFunction({}), std::invalid_argument) << "a vendor of all ones is nobody";
    EXPECT_THROW(PciFunction({.vendor = 1, .interrupt_pin = 5}), std::invalid_argument);
    EXPECT_THROW(PciFunction(good, {{{Kind::io, false, 24}}}), std::invalid_argument);
    EXPECT_THROW(PciFunction(good, {{{Kind::io, false, 512}}}), std::invalid_argument);
    EXPECT_THROW(PciFunction(good, {{{Kind::memory_32, false, 8}}}), std::invalid_argument);
    EXPECT_THROW(PciFunction(good, {{{Kind::memory_32, false, std::uint64_t{1} << 32}}}), std::invalid_argument);
    EXPECT_THROW(PciFunction(good, {{{}, {}, {}, {}, {}, {Kind::memory_64, false, 4096}}}), std::invalid_argument);
    EXPECT_THROW(PciFunction(good, {{{Kind::memory_64, false, 4096}, {Kind::io, false, 4}}}), std::invalid_argument);
}

TEST_F(PciTest, ResetAndRestoreBringWindowsAndInterruptsBack) {
    set(3, 2, 0x10, 0xc001);
    set(3, 2, 0x3c, 11, 1);
    set(3, 2, 0x04, 0x0005, 2);
    function.set_interrupt(true);
    const PciFunction::State saved = function.save();
    const PciPorts::State saved_ports = ports.save();
    windows.clear();
    function.reset();
    ports.reset();
    EXPECT_THAT(windows, ElementsAre("0:none"));
    EXPECT_EQ(ports.read(0, 4), 0u);
    EXPECT_EQ(get(3, 2, 0x3c), 0x100u);
    EXPECT_TRUE(lines[3].level) << "the device itself has not been reset";
    function.set_interrupt(false);
    windows.clear();
    function.restore(saved);
    ports.restore(saved_ports);
    EXPECT_THAT(windows, ElementsAre("0:49152"));
    EXPECT_TRUE(lines[3].level);
    EXPECT_EQ(ports.read(0, 4), address(3, 2, 4));
    EXPECT_THROW(function.restore(host.save()), std::invalid_argument);
    EXPECT_THROW(host.restore(saved), std::invalid_argument);
    EXPECT_THROW(ports.restore({.address = 0x0100'0000}), std::invalid_argument);
    EXPECT_THROW(ports.restore({.reset_control = 1}), std::invalid_argument);
}

class IsaRouting : public testing::Test {
  protected:
    IsaRouting() {
        PciIsaBridge::Wiring wiring;
        wiring.irqs[10] = &irq10;
        wiring.irqs[11] = &irq11;
        wiring.irqs[8] = &irq8;
        wiring.direct[2] = &pin18;
        isa = std::make_unique<PciIsaBridge>(wiring);
    }
    RecordingLine irq8, irq10, irq11, pin18;
    std::unique_ptr<PciIsaBridge> isa;
};

TEST_F(IsaRouting, FollowsTheRouteRegisters) {
    const auto pirq = isa->pirq_lines();
    EXPECT_EQ(isa->read(0x60, 4), 0x8080'8080u) << "nothing is routed";
    pirq[2]->set(true);
    EXPECT_TRUE(pin18.level) << "whatever the route";
    EXPECT_FALSE(irq10.level);
    isa->write(0x62, 1, 0x0a);
    EXPECT_TRUE(irq10.level);
    isa->write(0x60, 1, 0x0a);
    pirq[0]->set(true);
    pirq[2]->set(false);
    EXPECT_TRUE(irq10.level) << "shared by level";
    EXPECT_FALSE(pin18.level);
    isa->write(0x60, 1, 0x7b);
    EXPECT_EQ(isa->read(0x60, 1), 0x0bu);
    EXPECT_FALSE(irq10.level);
    EXPECT_TRUE(irq11.level);
    isa->write(0x60, 1, 0x08);
    EXPECT_FALSE(irq8.level) << "reserved: the clock's";
    EXPECT_FALSE(irq11.level);
}

TEST_F(IsaRouting, IsRestoredAndReset) {
    const auto pirq = isa->pirq_lines();
    isa->write(0x60, 1, 0x0b);
    pirq[0]->set(true);
    const PciFunction::State saved = isa->save();
    isa->reset();
    EXPECT_FALSE(irq11.level);
    isa->restore(saved);
    EXPECT_TRUE(irq11.level);
}

}  // namespace
}  // namespace xenolith::devices
