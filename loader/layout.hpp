// Where the loader puts what a boot protocol hands to a guest: one block, the boot area, the same for all
// formats.
//
// The boot area lies at 0x10000 unless the image is there, or no RAM is; then it is the lowest free block of
// RAM from 0x1000 up, below 4 GiB. LoadedImage::placed says where it went. flat16 does not use it.
//
//   offset   size     what
//   0x00000  0x0040   GDT of eight descriptors; boot_selector below names them
//   0x00100  0x0068   TSS that TR holds; zeros, with its I/O bitmap past its limit
//   0x01000  0x6000   page tables of a 64-bit entry: PML4, PDPT, four page directories
//   0x07000  0x1000   Linux boot_params, Multiboot information or PVH start info
//   0x08000  0x1000   memory map (Multiboot, PVH)
//   0x09000  0x1000   module list, the modules' strings, boot loader name (Multiboot, PVH)
//   0x0a000  0x4000   command line, ended by a NUL
//   0x0e000  0x4000   stack; the stack pointer starts at its end
#pragma once

#include <cstdint>

#include "mmu/address.hpp"

namespace xenolith::loader {

struct BootArea {
    static constexpr mmu::GuestPhysical usual_base{0x10000};
    static constexpr std::uint64_t size = 0x12000;  // bytes

    static constexpr std::uint64_t gdt_offset = 0, gdt_size = 0x40;
    static constexpr std::uint64_t tss_offset = 0x100, tss_size = 0x68;
    static constexpr std::uint64_t page_tables_offset = 0x1000, page_tables_size = 0x6000;
    static constexpr std::uint64_t information_offset = 0x7000, information_size = 0x1000;
    static constexpr std::uint64_t memory_map_offset = 0x8000, memory_map_size = 0x1000;
    static constexpr std::uint64_t modules_offset = 0x9000, modules_size = 0x1000;
    static constexpr std::uint64_t command_line_offset = 0xa000, command_line_size = 0x4000;
    static constexpr std::uint64_t stack_offset = 0xe000, stack_size = 0x4000;

    mmu::GuestPhysical base = usual_base;

    constexpr mmu::GuestPhysical gdt() const { return base + gdt_offset; }
    constexpr mmu::GuestPhysical tss() const { return base + tss_offset; }
    constexpr mmu::GuestPhysical page_tables() const { return base + page_tables_offset; }
    constexpr mmu::GuestPhysical information() const { return base + information_offset; }
    constexpr mmu::GuestPhysical memory_map() const { return base + memory_map_offset; }
    constexpr mmu::GuestPhysical modules() const { return base + modules_offset; }
    constexpr mmu::GuestPhysical command_line() const { return base + command_line_offset; }
    constexpr mmu::GuestPhysical stack_top() const { return base + (stack_offset + stack_size); }
};

// Selectors in that GDT, all of DPL 0.
namespace boot_selector {
inline constexpr std::uint16_t code32 = 0x08;  // 32-bit code, flat
inline constexpr std::uint16_t code = 0x10;    // code of the entry's own width, flat: Linux's __BOOT_CS
inline constexpr std::uint16_t data = 0x18;    // data, flat: Linux's __BOOT_DS
inline constexpr std::uint16_t task = 0x20;    // the busy TSS, 16 bytes
inline constexpr std::uint16_t code16 = 0x30;  // 16-bit code, base 0, limit 64 KiB
inline constexpr std::uint16_t data16 = 0x38;  // 16-bit data, likewise
}  // namespace boot_selector

// Where images go when nothing else says so.
inline constexpr mmu::GuestPhysical flat16_load_address{0x7c00};  // as a PC BIOS loads a boot sector
inline constexpr mmu::GuestPhysical high_load_address{0x100000};  // flat 32 and 64, and a bzImage that cannot move
inline constexpr std::uint64_t four_gibibytes = std::uint64_t{1} << 32;

// More entries than this are refused: Linux's boot_params holds no more (setup header, e820_table).
inline constexpr std::uint64_t memory_map_entries = 128;

}  // namespace xenolith::loader
