// ACPI tables: found by a scan, every checksum right, every pointer leading to what it says, every number the board's.
#include "machine/acpi_tables.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <span>
#include <stdexcept>

#include "devices/acpi_pm.hpp"
#include "devices/pci.hpp"
#include "machine/aml.hpp"

namespace xenolith::machine {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

using Bytes = std::span<const std::byte>;

std::uint64_t number(Bytes bytes, std::size_t offset, unsigned width) {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < width; ++i) value |= std::to_integer<std::uint64_t>(bytes[offset + i]) << (8 * i);
    return value;
}
std::string letters(Bytes bytes, std::size_t offset, std::size_t size) {
    std::string text;
    for (std::size_t i = 0; i < size; ++i) text += std::to_integer<char>(bytes[offset + i]);
    return text;
}
unsigned sum(Bytes bytes) {
    unsigned total = 0;
    for (const std::byte value : bytes) total += std::to_integer<unsigned>(value);
    return total & 0xff;
}

// Goes through the image as a guest does: by scan and pointers, not by the list that comes with it.
class Walk {
  public:
    explicit Walk(const AcpiBoard& board) : image(build_acpi_tables(board)) {
        for (std::size_t at = 0; at + 16 <= image.bytes.size() && rsdp.empty(); at += 16) {
            if (letters(image.bytes, at, 8) == "RSD PTR ") rsdp = Bytes(image.bytes).subspan(at, 36);
        }
    }
    Bytes at(std::uint64_t address) const {
        const std::uint64_t offset = address - image.base.value;
        const Bytes rest = Bytes(image.bytes).subspan(offset);
        return rest.first(number(rest, 4, 4));
    }
    // The tables that a root points to, by signature.
    std::map<std::string, Bytes> children(Bytes root, unsigned width) const {
        std::map<std::string, Bytes> found;
        for (std::size_t offset = 36; offset < root.size(); offset += width) {
            const Bytes table = at(number(root, offset, width));
            found[letters(table, 0, 4)] = table;
        }
        return found;
    }
    Bytes table(const std::string& signature) const { return children(at(number(rsdp, 24, 8)), 8).at(signature); }

    AcpiImage image;
    Bytes rsdp;
};

TEST(AcpiTables, AreFoundByAScanAndAddUp) {
    const Walk walk({.processors = 4});
    ASSERT_EQ(walk.rsdp.size(), 36u);
    EXPECT_EQ(walk.image.rsdp.value % 16, 0u);
    EXPECT_EQ(walk.image.rsdp, memory_map::firmware_area);
    EXPECT_EQ(sum(walk.rsdp.first(20)), 0u);
    EXPECT_EQ(sum(walk.rsdp), 0u);
    EXPECT_EQ(number(walk.rsdp, 15, 1), 2u);
    EXPECT_EQ(number(walk.rsdp, 20, 4), 36u);
    EXPECT_LE(walk.image.bytes.size(), memory_map::firmware_area_size);

    const Bytes rsdt = walk.at(number(walk.rsdp, 16, 4)), xsdt = walk.at(number(walk.rsdp, 24, 8));
    EXPECT_EQ(letters(rsdt, 0, 4), "RSDT");
    EXPECT_EQ(letters(xsdt, 0, 4), "XSDT");
    std::vector<std::string> seen;
    for (const auto& [signature, table] : walk.children(xsdt, 8)) {
        seen.push_back(signature);
        EXPECT_EQ(walk.children(rsdt, 4).at(signature).data(), table.data()) << "both roots know the same tables";
    }
    EXPECT_THAT(seen, UnorderedElementsAre("FACP", "APIC", "HPET"));
    std::uint64_t end = 0;
    for (const AcpiTable& table : walk.image.tables) {
        EXPECT_GE(table.address.value, end) << table.signature << " overlaps what comes before it";
        end = table.address.value + table.size;
        EXPECT_EQ(table.address.value % 16, 0u) << table.signature;
        const Bytes bytes = Bytes(walk.image.bytes).subspan(table.address - walk.image.base, table.size);
        EXPECT_EQ(letters(bytes, 0, table.signature.size()), table.signature);
        if (table.signature == "FACS" || table.signature == "RSD PTR ") continue;
        EXPECT_EQ(sum(bytes), 0u) << table.signature;
        EXPECT_EQ(number(bytes, 4, 4), table.size) << table.signature;
        EXPECT_EQ(letters(bytes, 10, 14), "XENOLIXENOLITH") << table.signature;
    }
}

TEST(AcpiTables, TheFixedDescriptionNamesTheBoardsRegisters) {
    const Walk walk({.power_management = 0xb000, .sci = 11, .pci = 0xcf8});
    const Bytes fadt = walk.table("FACP");
    EXPECT_EQ(fadt.size(), 276u);
    EXPECT_EQ(number(fadt, 8, 1), 6u);
    EXPECT_EQ(number(fadt, 46, 2), 11u) << "SCI_INT";
    EXPECT_EQ(number(fadt, 48, 4), 0xb2u);
    EXPECT_EQ(number(fadt, 52, 1), devices::AcpiPm::acpi_enable);
    EXPECT_EQ(number(fadt, 53, 1), devices::AcpiPm::acpi_disable);
    struct Block {
        std::size_t narrow, length, wide;
        unsigned port, bytes;
    };
    for (const Block& block : {Block{56, 88, 148, 0xb000, 4}, Block{64, 89, 172, 0xb004, 2},
                               Block{76, 91, 208, 0xb008, 4}, Block{80, 92, 220, 0xb010, 4}}) {
        EXPECT_EQ(number(fadt, block.narrow, 4), block.port);
        EXPECT_EQ(number(fadt, block.length, 1), block.bytes);
        EXPECT_EQ(number(fadt, block.wide, 1), 1u) << "in port space";
        EXPECT_EQ(number(fadt, block.wide + 1, 1), 8 * block.bytes);
        EXPECT_EQ(number(fadt, block.wide + 4, 8), block.port);
    }
    EXPECT_EQ(number(fadt, 109, 2), 0x7u) << "legacy devices, an 8042, no VGA";
    EXPECT_EQ(number(fadt, 112, 4), 0x565u) << "a fixed power button, a 32-bit timer, a reset register; not reduced";
    EXPECT_EQ(number(fadt, 116, 4), 0x01'00'08'01u) << "the reset register is a port of one byte";
    EXPECT_EQ(number(fadt, 120, 8), 0xcf9u);
    EXPECT_EQ(number(fadt, 128, 1), 6u);
    EXPECT_GT(number(fadt, 96, 2), 100u) << "no C2";
    EXPECT_GT(number(fadt, 98, 2), 1000u) << "no C3";
    EXPECT_EQ(number(fadt, 108, 1), 0x32u) << "the clock's century";

    const Bytes dsdt = walk.at(number(fadt, 40, 4));
    EXPECT_EQ(letters(dsdt, 0, 4), "DSDT");
    EXPECT_EQ(number(fadt, 140, 8), number(fadt, 40, 4));
    EXPECT_EQ(number(dsdt, 8, 1), 2u) << "integers of 64 bits";
    const std::uint64_t facs = number(fadt, 36, 4);
    EXPECT_EQ(letters(walk.at(facs), 0, 4), "FACS");
    EXPECT_EQ(walk.at(facs).size(), 64u);
    EXPECT_EQ(facs % 64, 0u);
}

TEST(AcpiTables, TheInterruptControllers) {
    const Walk walk({.processors = 3, .io_apic_id = 7});
    const Bytes madt = walk.table("APIC");
    EXPECT_EQ(number(madt, 36, 4), 0xfee0'0000u);
    EXPECT_EQ(number(madt, 40, 4), 1u) << "there are 8259s too";
    std::vector<std::string> entries;
    for (std::size_t offset = 44; offset < madt.size(); offset += number(madt, offset + 1, 1)) {
        std::string entry;
        ASSERT_GE(number(madt, offset + 1, 1), 2u);
        for (std::size_t i = 0; i < number(madt, offset + 1, 1); ++i) {
            char digits[3];
            std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned>(number(madt, offset + i, 1)));
            entry += digits;
        }
        entries.push_back(entry);
    }
    EXPECT_THAT(entries, ElementsAre("0008000001000000", "0008010101000000", "0008020201000000",  //
                                     "010c07000000c0fe00000000",                                  //
                                     "020a0000020000000000",  // IRQ 0 at input 2, as the bus has it
                                     "020a0009090000000d00",  // IRQ 9 level, active high
                                     "0406ff000001"));        // LINT1 of every processor is NMI
}

TEST(AcpiTables, TheEventTimersMayBeMissing) {
    const Walk with({});
    const Bytes hpet = with.table("HPET");
    EXPECT_EQ(hpet.size(), 56u);
    EXPECT_EQ(number(hpet, 36, 4), 0x8086'a201u);
    EXPECT_EQ(number(hpet, 40, 1), 0u) << "in memory";
    EXPECT_EQ(number(hpet, 44, 8), 0xfed0'0000u);
    const Walk without({.hpet = false});
    EXPECT_EQ(without.children(without.at(number(without.rsdp, 24, 8)), 8).count("HPET"), 0u);
    EXPECT_LT(without.image.bytes.size(), with.image.bytes.size());
}

TEST(AcpiTables, BoardsThatCannotBeAreRefused) {
    EXPECT_THROW(build_acpi_tables({.processors = 0}), std::invalid_argument);
    EXPECT_THROW(build_acpi_tables({.processors = 255}), std::invalid_argument);
    EXPECT_THROW(build_acpi_tables({.area = {0xf0010}}), std::invalid_argument);
    EXPECT_THROW(build_acpi_tables({.area = {std::uint64_t{1} << 32}}), std::invalid_argument);
    EXPECT_THROW(build_acpi_tables({.area_size = 0x400}), std::length_error);
    EXPECT_THROW(build_acpi_tables({.timer_input = 24}), std::invalid_argument);
    EXPECT_THROW(build_acpi_tables({.hpet_address = {0xffff'fff0}}), std::invalid_argument);
    EXPECT_THROW(build_acpi_tables({.power_management = 0xfff0}), std::invalid_argument);
    EXPECT_THROW(build_acpi_tables({.sci = 16}), std::invalid_argument);
    EXPECT_THROW(build_acpi_tables({.pci_window_size = 0}), std::invalid_argument);
    EXPECT_THROW(build_acpi_tables({.pci_window_size = 0x1'0000'0000}), std::invalid_argument);
    EXPECT_THROW(build_acpi_tables({.pirq_irqs = {10, 11, 12, 16}}), std::invalid_argument);
    EXPECT_NO_THROW(build_acpi_tables({.processors = 254}));
}

// ---- The machine language, by the examples of its grammar

std::vector<unsigned> bytes(const aml::Code& code) { return {code.bytes.begin(), code.bytes.end()}; }

TEST(Aml, IntegersTakeAsFewBytesAsTheyCan) {
    EXPECT_THAT(bytes(aml::integer(0)), ElementsAre(0x00));
    EXPECT_THAT(bytes(aml::integer(1)), ElementsAre(0x01));
    EXPECT_THAT(bytes(aml::integer(0xff)), ElementsAre(0x0a, 0xff));
    EXPECT_THAT(bytes(aml::integer(0x100)), ElementsAre(0x0b, 0x00, 0x01));
    EXPECT_THAT(bytes(aml::integer(0x1'0000)), ElementsAre(0x0c, 0, 0, 1, 0));
    EXPECT_THAT(bytes(aml::integer(std::uint64_t{1} << 32)), ElementsAre(0x0e, 0, 0, 0, 0, 1, 0, 0, 0));
}

TEST(Aml, PathsAndIdentifiers) {
    EXPECT_THAT(bytes(aml::path("_SB")), ElementsAre('_', 'S', 'B', '_'));
    EXPECT_THAT(bytes(aml::path("\\_SB.PCI0")), ElementsAre('\\', 0x2e, '_', 'S', 'B', '_', 'P', 'C', 'I', '0'));
    EXPECT_EQ(bytes(aml::path("A.B.C")).at(1), 3u);
    for (const char* wrong : {"", "\\", "ABCDE", "a", "0AB", "A..B", "A.", "A B"}) {
        EXPECT_THROW(aml::path(wrong), std::invalid_argument) << wrong;
    }
    EXPECT_THAT(bytes(aml::eisa_id("PNP0A03")), ElementsAre(0x0c, 0x41, 0xd0, 0x0a, 0x03));
    for (const char* wrong : {"", "PNP0A0", "PNP0A031", "pnp0A03", "PNP0a03", "PN00A03"}) {
        EXPECT_THROW(aml::eisa_id(wrong), std::invalid_argument) << wrong;
    }
    EXPECT_THAT(bytes(aml::text("OK")), ElementsAre(0x0d, 'O', 'K', 0));
    EXPECT_THROW(aml::text(std::string_view("a\0b", 3)), std::invalid_argument);
    EXPECT_THROW(aml::text("\xc3\xa4"), std::invalid_argument);
}

TEST(Aml, ALengthCountsItsOwnBytes) {
    const auto length_of = [](std::size_t content) {
        std::vector<unsigned> all = bytes(aml::buffer({std::vector<std::uint8_t>(content)}));
        all.resize(4);
        return all;
    };
    EXPECT_THAT(length_of(60), ElementsAre(0x11, 0x3f, 0x0a, 60)) << "one byte: itself, two of the size, 60";
    EXPECT_THAT(length_of(61), ElementsAre(0x11, 0x41, 0x04, 0x0a)) << "two bytes: 0x41 altogether";
    EXPECT_THAT(length_of(0xfff - 5), ElementsAre(0x11, 0x4f, 0xff, 0x0b)) << "the last of two";
    EXPECT_THAT(length_of(0xfff - 4), ElementsAre(0x11, 0x81, 0x00, 0x01)) << "the first of three";
    EXPECT_THROW(aml::package(std::vector<aml::Code>(256)), std::length_error);
    EXPECT_THROW(aml::method("M", 8, {}), std::invalid_argument);
    EXPECT_THROW(aml::argument(7), std::invalid_argument);
}

TEST(Aml, ResourcesAreABufferWithAnEnd) {
    EXPECT_THAT(bytes(aml::resources({aml::ports(0x3f8, 8), aml::isa_interrupt(4)})),
                ElementsAre(0x11, 16, 0x0a, 13, 0x47, 1, 0xf8, 3, 0xf8, 3, 1, 8, 0x22, 0x10, 0, 0x79, 0));
    EXPECT_THAT(bytes(aml::bus_window(0, 0xff)), ElementsAre(0x88, 13, 0, 2, 0x0c, 0, 0, 0, 0, 0, 0xff, 0, 0, 0, 0, 1));
    EXPECT_THROW(aml::isa_interrupt(16), std::invalid_argument);
}

}  // namespace
}  // namespace xenolith::machine
