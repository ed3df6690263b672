// Which device answers where: overlaps are refused by name, wide accesses go where their bytes belong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "machine/bus.hpp"

namespace xenolith::machine {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Writes down what it is asked, as "offset/width".
class RecordingPorts final : public devices::PortDevice {
  public:
    std::uint32_t read(std::uint16_t offset, unsigned width) override {
        log.push_back("read " + std::to_string(offset) + "/" + std::to_string(width));
        return answer;
    }
    void write(std::uint16_t offset, unsigned width, std::uint32_t value) override {
        log.push_back("write " + std::to_string(offset) + "/" + std::to_string(width) + " " + std::to_string(value));
    }
    std::vector<std::string> log;
    std::uint32_t answer = 0x44332211;
};

class RecordingMemory final : public devices::MemoryDevice {
  public:
    std::uint64_t read(std::uint64_t offset, unsigned width) override {
        log.push_back("read " + std::to_string(offset) + "/" + std::to_string(width));
        return 0x8877665544332211;
    }
    void write(std::uint64_t offset, unsigned width, std::uint64_t value) override {
        log.push_back("write " + std::to_string(offset) + "/" + std::to_string(width) + " " + std::to_string(value));
    }
    std::vector<std::string> log;
};

std::string refusal(const std::function<void()>& attach) {
    try {
        attach();
    } catch (const std::invalid_argument& error) {
        return error.what();
    }
    return "accepted";
}

class BusTest : public testing::Test {
  protected:
    mmu::GuestMemory memory;
    Bus bus{memory};
    RecordingPorts ports, more_ports;
    RecordingMemory device, other_device;
};

TEST_F(BusTest, GivesOffsetsNotAddresses) {
    bus.attach("first", 0x100, 4, ports);
    EXPECT_EQ(bus.read_port(0x100, 4), 0x44332211u);
    EXPECT_EQ(bus.read_port(0x102, 1), 0x11u);
    bus.write_port(0x103, 1, 0x5a);
    bus.write_port(0x102, 2, 0xffff1234);
    EXPECT_THAT(ports.log, ElementsAre("read 0/4", "read 2/1", "write 3/1 90", "write 2/2 4660"));
}

TEST_F(BusTest, RefusesOverlapsAndNamesBoth) {
    bus.attach("first", 0x100, 4, ports);
    struct Row {
        std::uint16_t start;
        std::uint32_t count;
    };
    for (const Row row : {Row{0x100, 4}, Row{0x103, 1}, Row{0x103, 8}, Row{0xff, 2}, Row{0, 0x10000}, Row{0x101, 2}}) {
        EXPECT_THAT(refusal([&] { bus.attach("second", row.start, row.count, more_ports); }),
                    AllOf(HasSubstr("second"), HasSubstr("first"), HasSubstr("overlap")));
    }
    EXPECT_EQ(refusal([&] { bus.attach("below", 0xff, 1, more_ports); }), "accepted");
    EXPECT_EQ(refusal([&] { bus.attach("above", 0x104, 1, more_ports); }), "accepted");
    // A refused one is not there.
    EXPECT_EQ(bus.read_port(0x105, 1), 0xffu);
}

TEST_F(BusTest, RefusesPortsThatDoNotExist) {
    EXPECT_THAT(refusal([&] { bus.attach("none", 0x10, 0, ports); }), HasSubstr("none"));
    EXPECT_THAT(refusal([&] { bus.attach("too many", 0xfff0, 0x11, ports); }), HasSubstr("too many"));
    EXPECT_THAT(refusal([&] { bus.attach("far too many", 1, 0xffffffff, ports); }), HasSubstr("far too many"));
    EXPECT_EQ(refusal([&] { bus.attach("the last", 0xfff0, 0x10, ports); }), "accepted");
    EXPECT_EQ(bus.read_port(0xffff, 1), 0x11u);
}

TEST_F(BusTest, ReadsOnesWhereNobodyAnswers) {
    bus.attach("first", 0x100, 4, ports);
    EXPECT_EQ(bus.read_port(0x200, 1), 0xffu);
    EXPECT_EQ(bus.read_port(0x200, 2), 0xffffu);
    EXPECT_EQ(bus.read_port(0x200, 4), 0xffffffffu);
    bus.write_port(0x200, 4, 1);
    EXPECT_THAT(ports.log, IsEmpty());
}

TEST_F(BusTest, SplitsWhatRunsBeyondADevice) {
    bus.attach("first", 0x100, 4, ports);
    bus.attach("second", 0x104, 1, more_ports);
    more_ports.answer = 0xee;
    EXPECT_EQ(bus.read_port(0x103, 4), 0xffffee11u);  // its byte, the neighbour's, and nobody's two
    bus.write_port(0x103, 4, 0x04030201);
    EXPECT_THAT(ports.log, ElementsAre("read 3/1", "write 3/1 1"));
    EXPECT_THAT(more_ports.log, ElementsAre("read 0/1", "write 0/1 2"));
    EXPECT_EQ(bus.read_port(0xff, 2), 0x11ffu);  // begins in front of the device
}

TEST_F(BusTest, WrapsAtTheEndOfPortSpace) {
    bus.attach("zero", 0, 1, ports);
    bus.attach("last", 0xffff, 1, more_ports);
    more_ports.answer = 0xee;
    EXPECT_EQ(bus.read_port(0xffff, 2), 0x11eeu);
}

TEST_F(BusTest, GivesMemoryDevicesOffsetsAndWidths) {
    bus.attach("device", mmu::GuestPhysical{0xfee00000}, 0x2000, device);
    EXPECT_EQ(bus.read_memory(mmu::GuestPhysical{0xfee00000}, 8), 0x8877665544332211u);
    EXPECT_EQ(bus.read_memory(mmu::GuestPhysical{0xfee01ffc}, 4), 0x44332211u);
    bus.write_memory(mmu::GuestPhysical{0xfee00010}, 2, 0xabcd1234);
    EXPECT_THAT(device.log, ElementsAre("read 0/8", "read 8188/4", "write 16/2 4660"));
    EXPECT_EQ(memory.find(mmu::GuestPhysical{0xfee00000})->kind, mmu::RegionKind::device);
}

TEST_F(BusTest, RefusesMemoryThatOverlapsMemory) {
    memory.add_ram(mmu::GuestPhysical{0}, 0x100000, "RAM");
    bus.attach("device", mmu::GuestPhysical{0xfee00000}, 0x2000, device);
    EXPECT_THAT(refusal([&] { bus.attach("on RAM", mmu::GuestPhysical{0xff000}, 0x2000, other_device); }),
                AllOf(HasSubstr("on RAM"), HasSubstr("RAM")));
    EXPECT_THAT(refusal([&] { bus.attach("second", mmu::GuestPhysical{0xfee01000}, 0x1000, other_device); }),
                AllOf(HasSubstr("second"), HasSubstr("device")));
    EXPECT_NE(refusal([&] { bus.attach("unaligned", mmu::GuestPhysical{0xfed00800}, 0x1000, other_device); }),
              "accepted");
    EXPECT_NE(refusal([&] { bus.attach("empty", mmu::GuestPhysical{0xfed00000}, 0, other_device); }), "accepted");
}

TEST_F(BusTest, AMovedDeviceAnswersAtItsNewPlaceOnly) {
    memory.add_ram(mmu::GuestPhysical{0}, 0x100000, "RAM");
    bus.attach("device", mmu::GuestPhysical{0xfee00000}, 0x1000, device);
    EXPECT_FALSE(bus.move(other_device, mmu::GuestPhysical{0xfed40000})) << "not attached";
    EXPECT_FALSE(bus.move(device, mmu::GuestPhysical{0x80000})) << "RAM is there";
    EXPECT_EQ(bus.read_memory(mmu::GuestPhysical{0xfee00010}, 4), 0x44332211u);
    EXPECT_TRUE(bus.move(device, mmu::GuestPhysical{0xfed40000}));
    EXPECT_TRUE(bus.move(device, mmu::GuestPhysical{0xfed40000})) << "where it is";
    EXPECT_EQ(bus.read_memory(mmu::GuestPhysical{0xfee00010}, 4), 0xffffffffu);
    EXPECT_EQ(bus.read_memory(mmu::GuestPhysical{0xfed40010}, 4), 0x44332211u);
    EXPECT_EQ(memory.find(mmu::GuestPhysical{0xfee00000}), nullptr);
    EXPECT_THAT(device.log, ElementsAre("read 16/4", "read 16/4"));
}

TEST_F(BusTest, ReadsOnesFromMemoryNobodyHas) {
    bus.attach("device", mmu::GuestPhysical{0xfee00000}, 0x1000, device);
    EXPECT_EQ(bus.read_memory(mmu::GuestPhysical{0xfee01000}, 1), 0xffu);
    EXPECT_EQ(bus.read_memory(mmu::GuestPhysical{0xfedfffff}, 8), ~std::uint64_t{0});
    bus.write_memory(mmu::GuestPhysical{0xfee01000}, 8, 1);
    EXPECT_THAT(device.log, IsEmpty());
}

}  // namespace
}  // namespace xenolith::machine
