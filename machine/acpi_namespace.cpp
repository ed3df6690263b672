// The DSDT: ACPI Specification 6.3, 5.3 "ACPI namespace", 5.8.1 "_PIC method", 6.1 and 6.2 device identification and
// configuration objects, 6.2.13 "_PRT (PCI routing table)", 7.4.2 "\_Sx states".
#include "devices/acpi_pm.hpp"
#include "devices/fw_cfg.hpp"
#include "devices/pci.hpp"
#include "machine/acpi_tables.hpp"
#include "machine/aml.hpp"

namespace xenolith::machine {

namespace {

using namespace aml;
namespace port = memory_map::port;
namespace irq = memory_map::irq;

constexpr unsigned isa_bridge_device = 1;
constexpr std::uint64_t present_but_hidden = 0x0b;  // _STA: present, enabled, working, not shown to users

std::uint32_t address_32(mmu::GuestPhysical address) { return static_cast<std::uint32_t>(address.value); }

Code plug_and_play(std::string_view of, std::string_view identifier, const Code& settings) {
    return device(of, {name("_HID", eisa_id(identifier)), name("_CRS", settings)});
}

// One entry for each pin of each device but the bridges: address, pin from 0, no link device, global interrupt.
Code routing_table(const std::array<unsigned, 4>& interrupts) {
    using devices::PciBus;
    std::vector<Code> entries;
    for (unsigned number = 1; number < PciBus::device_count; ++number) {
        for (unsigned pin = 1; pin <= PciBus::line_count; ++pin) {
            const unsigned interrupt = interrupts[PciBus::line_of(number, pin)];
            entries.push_back(
                package({integer(number << 16 | 0xffff), integer(pin - 1), integer(0), integer(interrupt)}));
        }
    }
    return package(entries);
}

Code isa_devices(const AcpiBoard& board) {
    Code found = plug_and_play("PIC", "PNP0000",
                               resources({ports(port::pic_master, 2), ports(port::pic_slave, 2),
                                          ports(port::pic_edge_level, 2), isa_interrupt(2)}));
    found += plug_and_play("TIMR", "PNP0100", resources({ports(port::pit, 4), isa_interrupt(irq::timer)}));
    found += plug_and_play("RTC", "PNP0B00", resources({ports(port::cmos, 2), isa_interrupt(irq::cmos)}));
    found += plug_and_play("SPKR", "PNP0800", resources({ports(port::system_control_b, 1)}));
    found += plug_and_play(
        "KBD", "PNP0303",
        resources({ports(port::keyboard_data, 1), ports(port::keyboard_command, 1), isa_interrupt(irq::keyboard)}));
    if (board.serial1) {
        found += device("COM1", {name("_HID", eisa_id("PNP0501")), name("_UID", integer(1)),
                                 name("_CRS", resources({ports(port::serial1, 8), isa_interrupt(irq::serial1)}))});
    }
    if (board.fw_cfg) {
        found += device("FWCF", {name("_HID", text("QEMU0002")), name("_STA", integer(present_but_hidden)),
                                 name("_CRS", resources({ports(port::fw_cfg, devices::FwCfg::port_count)}))});
    }
    return found;
}

// What is taken though no driver asks for it.
Code board_resources(const AcpiBoard& board) {
    return device("MBRS", {name("_HID", eisa_id("PNP0C02")), name("_UID", integer(0)),
                           name("_CRS", resources({ports(port::post_code, 1), ports(port::system_control_a, 1),
                                                   ports(board.smi_command, devices::AcpiPm::smi_port_count),
                                                   ports(board.power_management, devices::AcpiPm::port_count),
                                                   memory(address_32(board.io_apic), mmu::page_size),
                                                   memory(address_32(board.local_apic), mmu::page_size)}))});
}

Code pci_root(const AcpiBoard& board) {
    constexpr std::uint16_t last_port = 0xffff;
    Code windows = bus_window(0, 0xff) + ports(board.pci, devices::PciPorts::port_count) +
                   port_window(0, static_cast<std::uint16_t>(board.pci - 1)) +
                   port_window(static_cast<std::uint16_t>(board.pci + devices::PciPorts::port_count), last_port);
    if (board.vga) windows += memory_window(0xa0000, 0xbffff);
    windows += memory_window(address_32(board.pci_window),
                             static_cast<std::uint32_t>(board.pci_window.value + board.pci_window_size - 1));
    return device(
        "PCI0",
        {name("_HID", eisa_id("PNP0A03")), name("_UID", integer(0)), name("_CRS", resources({windows})),
         name("PPRT", routing_table(board.pirq_irqs)), name("APRT", routing_table(board.pirq_inputs)),
         method("_PRT", 0, {if_true(path("\\PICM"), {give_back(path("APRT"))}), give_back(path("PPRT"))}),
         device("ISA", {name("_ADR", integer(isa_bridge_device << 16)), isa_devices(board), board_resources(board)})});
}

Code processors(const AcpiBoard& board) {
    static constexpr std::string_view digits = "0123456789ABCDEF";
    Code found;
    for (unsigned number = 0; number < board.processors; ++number) {
        const char segment[] = {'C', digits[number >> 8 & 0xf], digits[number >> 4 & 0xf], digits[number & 0xf]};
        found += device({segment, sizeof segment}, {name("_HID", text("ACPI0007")), name("_UID", integer(number))});
    }
    return found;
}

}  // namespace

std::vector<std::uint8_t> build_acpi_namespace(const AcpiBoard& board) {
    // The guest says how it takes interrupts: by the 8259s until it says otherwise.
    Code block = name("\\PICM", integer(0));
    block += method("\\_PIC", 1, {store(argument(0), "\\PICM")});
    block += name("\\_S5", package({integer(devices::AcpiPm::soft_off_type), integer(0), integer(0), integer(0)}));
    Code system = pci_root(board) + processors(board);
    if (board.hpet) {
        system +=
            device("HPET", {name("_HID", eisa_id("PNP0103")), name("_UID", integer(0)),
                            name("_CRS", resources({memory(address_32(board.hpet_address), devices::Hpet::size)}))});
    }
    block += scope("\\_SB", {system});
    return block.bytes;
}

}  // namespace xenolith::machine
