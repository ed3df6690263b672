// Where things are in the machine's physical address and port spaces: the one place that says so.
#pragma once

#include <array>
#include <cstdint>

#include "mmu/address.hpp"

namespace xenolith::machine::memory_map {

// RAM from 0, with the PC's gap for video memory and firmware; what does not fit below the device gap goes above 4 GiB.
inline constexpr mmu::GuestPhysical low_ram{0};
inline constexpr std::uint64_t low_ram_size = 0xa0000;
inline constexpr mmu::GuestPhysical extended_ram{0x100000};
inline constexpr mmu::GuestPhysical device_gap{0xc0000000};
inline constexpr mmu::GuestPhysical high_ram{0x100000000};

inline constexpr std::uint64_t smallest_ram = std::uint64_t{2} << 20;
inline constexpr std::uint64_t default_ram = std::uint64_t{512} << 20;

// Device registers above the gap's PCI window.
inline constexpr mmu::GuestPhysical pci_window{0xc0000000};
inline constexpr std::uint64_t pci_window_size = 0x3ec00000;
inline constexpr mmu::GuestPhysical io_apic{0xfec00000};
inline constexpr mmu::GuestPhysical hpet{0xfed00000};
inline constexpr mmu::GuestPhysical local_apic{0xfee00000};

// The topmost 64 KiB below 1 MiB hold what firmware leaves there for the guest: ACPI tables.
inline constexpr mmu::GuestPhysical firmware_area{0xf0000};
inline constexpr std::uint64_t firmware_area_size = 0x10000;

// The last KiB below video memory is kept for an extended BIOS data area, as firmware does.
inline constexpr std::uint64_t ebda_size = 0x400;
inline constexpr mmu::GuestPhysical ebda{low_ram_size - ebda_size};
inline constexpr mmu::GuestPhysical bios_data_area{0x400};

namespace port {
inline constexpr std::uint16_t pic_master = 0x20, pit = 0x40, keyboard_data = 0x60, system_control_b = 0x61,
                               keyboard_command = 0x64, cmos = 0x70, post_code = 0x80, system_control_a = 0x92,
                               pic_slave = 0xa0, debug_console = 0xe9, debug_exit = 0xf4, serial1 = 0x3f8,
                               pic_edge_level = 0x4d0, smi_command = 0xb2, fw_cfg = 0x510, power_management = 0x600,
                               pci = 0xcf8;
}  // namespace port

namespace irq {
inline constexpr unsigned timer = 0, keyboard = 1, serial1 = 4, cmos = 8, acpi = 9;
inline constexpr std::array<unsigned, 4> pirq{10, 11, 10, 11};
}  // namespace irq

// ISA interrupts have the inputs of their own numbers, but for the interval timer.
namespace io_apic_input {
inline constexpr unsigned timer = 2;
inline constexpr std::array<unsigned, 4> pirq{16, 17, 18, 19};
inline constexpr std::array<unsigned, 4> hpet{20, 21, 22, 23};
}  // namespace io_apic_input

}  // namespace xenolith::machine::memory_map
