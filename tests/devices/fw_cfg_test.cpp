// fw_cfg: items as firmware reads them, by number and by name.
#include "devices/fw_cfg.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

#include "tests/devices/recording_line.hpp"

namespace xenolith::devices {
namespace {

using testing::ElementsAre;

class FwCfgTest : public testing::Test {
  protected:
    void select(unsigned key) { fw_cfg.write(0, 2, key); }
    std::string text(unsigned key, std::size_t size) {
        select(key);
        std::string read;
        for (std::size_t i = 0; i < size; ++i) read += static_cast<char>(in(fw_cfg, 1));
        return read;
    }
    std::uint64_t next(unsigned width) {
        std::uint64_t value = 0;
        for (unsigned i = 0; i < width; ++i) value |= std::uint64_t{in(fw_cfg, 1)} << (8 * i);
        return value;
    }
    std::uint64_t number(unsigned key, unsigned width) {
        select(key);
        return next(width);
    }
    std::uint64_t next_big_endian(unsigned width) {
        std::uint64_t value = 0;
        for (unsigned i = 0; i < width; ++i) value = value << 8 | in(fw_cfg, 1);
        return value;
    }
    static std::vector<std::byte> bytes(std::string_view of) {
        std::vector<std::byte> made;
        for (const char letter : of) made.push_back(static_cast<std::byte>(letter));
        return made;
    }

    FwCfg fw_cfg{std::uint64_t{5} << 30, 3};
};

TEST_F(FwCfgTest, TellsWhatItIsAndWhatTheMachineHas) {
    EXPECT_EQ(text(0x00, 4), "QEMU");
    EXPECT_EQ(number(0x01, 4), 1u) << "no DMA";
    EXPECT_EQ(number(0x03, 8), std::uint64_t{5} << 30);
    EXPECT_EQ(number(0x05, 2), 3u);
    EXPECT_EQ(number(0x0f, 2), 3u);
}

TEST_F(FwCfgTest, BeyondTheEndAndWithoutAnItemThereAreZeros) {
    EXPECT_EQ(text(0x00, 7), std::string("QEMU\0\0\0", 7));
    EXPECT_EQ(number(0x02, 8), 0u);
    EXPECT_EQ(number(0x8000, 8), 0u);
    EXPECT_EQ(number(0x7fff, 8), 0u);
}

TEST_F(FwCfgTest, SelectingBeginsAnew) {
    EXPECT_EQ(text(0x00, 2), "QE");
    EXPECT_EQ(text(0x00, 4), "QEMU");
    EXPECT_EQ(text(0x4000, 4), "QEMU") << "bit 14 asks to write, and chooses no other item";
    EXPECT_EQ(text(0x8000, 4), std::string(4, '\0')) << "bit 15 does";
}

TEST_F(FwCfgTest, PortsTakeTheirOwnWidth) {
    select(0x00);
    EXPECT_EQ(fw_cfg.read(1, 4), 0xffff'ff51u) << "a byte";
    EXPECT_EQ(fw_cfg.read(0, 2), 0xffff'ffffu) << "the selector cannot be read";
    fw_cfg.write(0, 1, 0x03);
    fw_cfg.write(0, 4, 0x03);
    fw_cfg.write(1, 1, 0x03);
    fw_cfg.write(1, 2, 0x03);
    EXPECT_EQ(in(fw_cfg, 1), 'E') << "still the same item";
    EXPECT_EQ(in(fw_cfg, 2), 0xff);
}

TEST_F(FwCfgTest, AKernelToStart) {
    fw_cfg.set_kernel({0x10'0000, bytes("kernel")}, 0x10'0010);
    fw_cfg.set_setup({0x1'0000, bytes("setup")});
    fw_cfg.set_initrd({0x700'0000, bytes("initial RAM disk")});
    fw_cfg.set_command_line(0x2'0000, "console=ttyS0");
    EXPECT_EQ(number(0x07, 4), 0x10'0000u);
    EXPECT_EQ(number(0x08, 4), 6u);
    EXPECT_EQ(number(0x10, 4), 0x10'0010u);
    EXPECT_EQ(text(0x11, 6), "kernel");
    EXPECT_EQ(number(0x0a, 4), 0x700'0000u);
    EXPECT_EQ(number(0x0b, 4), 16u);
    EXPECT_EQ(text(0x12, 16), "initial RAM disk");
    EXPECT_EQ(number(0x13, 4), 0x2'0000u);
    EXPECT_EQ(number(0x14, 4), 14u) << "with its NUL";
    EXPECT_EQ(text(0x15, 14), std::string("console=ttyS0\0", 14));
    EXPECT_EQ(number(0x16, 4), 0x1'0000u);
    EXPECT_EQ(number(0x17, 4), 5u);
    EXPECT_EQ(text(0x18, 5), "setup");
}

TEST_F(FwCfgTest, FilesAreFoundByName) {
    EXPECT_EQ(number(0x19, 4), 0u) << "an empty directory";
    fw_cfg.add_file("etc/acpi/rsdp", bytes("pointer"));
    fw_cfg.add_file(std::string(55, 'n'), bytes(""));
    select(0x19);
    EXPECT_EQ(next_big_endian(4), 2u);
    EXPECT_EQ(next_big_endian(4), 7u);
    const auto key = static_cast<unsigned>(next_big_endian(2));
    EXPECT_EQ(key, 0x20u);
    EXPECT_EQ(next_big_endian(2), 0u);
    std::string name;
    for (unsigned i = 0; i < 56; ++i) name += static_cast<char>(in(fw_cfg, 1));
    EXPECT_EQ(name, "etc/acpi/rsdp" + std::string(43, '\0'));
    EXPECT_EQ(next_big_endian(4), 0u);
    EXPECT_EQ(next_big_endian(2), 0x21u);
    EXPECT_EQ(text(key, 8), std::string("pointer\0", 8));
}

TEST_F(FwCfgTest, NamesAndKeysThatCannotBeAreRefused) {
    fw_cfg.add_file("twice", {});
    EXPECT_THROW(fw_cfg.add_file("twice", {}), std::invalid_argument);
    EXPECT_THROW(fw_cfg.add_file("", {}), std::invalid_argument);
    EXPECT_THROW(fw_cfg.add_file(std::string(56, 'n'), {}), std::invalid_argument);
    EXPECT_THROW(fw_cfg.set_item(0x20, {}), std::invalid_argument) << "a file's";
    EXPECT_THROW(fw_cfg.set_item16(0x4002, 1), std::invalid_argument);
    fw_cfg.set_item16(0x8002, 0x1234);
    EXPECT_EQ(number(0x8002, 2), 0x1234u);
    fw_cfg.set_item16(0x8002, 0x4321);
    EXPECT_EQ(number(0x8002, 2), 0x4321u);
}

TEST_F(FwCfgTest, IsRestoredWhereItWasRead) {
    EXPECT_EQ(text(0x00, 2), "QE");
    const FwCfg::State saved = fw_cfg.save();
    fw_cfg.reset();
    EXPECT_EQ(in(fw_cfg, 1), 'Q');
    fw_cfg.restore(saved);
    EXPECT_EQ(next(2), 0x554du);
    fw_cfg.restore({.selector = 0, .offset = ~std::uint64_t{0}});
    EXPECT_EQ(in(fw_cfg, 1), 0);
}

}  // namespace
}  // namespace xenolith::devices
