// The ACPI tables that firmware would hand to the guest: what the board has, and where.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "devices/hpet.hpp"
#include "machine/memory_map.hpp"
#include "mmu/address.hpp"

namespace xenolith::machine {

// What the tables tell. Processor n has local APIC n. Lengths and registers within a device are the device's own.
struct AcpiBoard {
    unsigned processors = 1;  // 1 to 254

    // Where the tables go. The guest looks for them below 1 MiB, and writes to one: it is to be memory.
    mmu::GuestPhysical area = memory_map::firmware_area;
    std::uint64_t area_size = memory_map::firmware_area_size;

    mmu::GuestPhysical local_apic = memory_map::local_apic;
    mmu::GuestPhysical io_apic = memory_map::io_apic;
    std::uint8_t io_apic_id = 0;
    // The interval timer's input; every other ISA interrupt has the input of its own number.
    unsigned timer_input = memory_map::io_apic_input::timer;

    bool hpet = true;
    mmu::GuestPhysical hpet_address = memory_map::hpet;
    std::uint32_t hpet_block_id = static_cast<std::uint32_t>(devices::Hpet::capabilities);

    std::uint16_t power_management = memory_map::port::power_management;
    std::uint16_t smi_command = memory_map::port::smi_command;
    unsigned sci = memory_map::irq::acpi;  // an ISA interrupt, level-triggered, active high

    std::uint16_t pci = memory_map::port::pci;
    mmu::GuestPhysical pci_window = memory_map::pci_window;
    std::uint64_t pci_window_size = memory_map::pci_window_size;
    // PIRQA# to PIRQD#: I/O APIC inputs, and the ISA interrupts of a guest that uses the 8259s.
    std::array<unsigned, 4> pirq_inputs = memory_map::io_apic_input::pirq;
    std::array<unsigned, 4> pirq_irqs = memory_map::irq::pirq;

    bool serial1 = true;
    bool vga = false;
    bool fw_cfg = true;
};

struct AcpiTable {
    std::string signature;
    mmu::GuestPhysical address;
    std::uint64_t size = 0;  // bytes
};

struct AcpiImage {
    mmu::GuestPhysical base;       // where the bytes go
    std::vector<std::byte> bytes;  // all tables
    mmu::GuestPhysical rsdp;       // the root pointer, on a 16-byte boundary
    std::vector<AcpiTable> tables;
};

// std::invalid_argument if the board cannot be: no processor or too many, an interrupt or address out of range.
// std::length_error if the area is too small.
AcpiImage build_acpi_tables(const AcpiBoard& board);

// The definition block of the DSDT, without its header.
std::vector<std::uint8_t> build_acpi_namespace(const AcpiBoard& board);

}  // namespace xenolith::machine
