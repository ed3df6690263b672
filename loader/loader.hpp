// Loads an image file into guest memory and gives the state in which a CPU enters it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cpu/state/cpu_state.hpp"
#include "loader/image_file.hpp"
#include "loader/load_error.hpp"
#include "mmu/guest_memory.hpp"

namespace xenolith::loader {

enum class Format : std::uint8_t { automatic, flat16, flat32, flat64, elf, multiboot, pvh, bzimage };

// The names users type: "auto", "flat16", "flat32", "flat64", "elf", "multiboot", "pvh", "bzimage".
std::string_view format_name(Format format);
std::optional<Format> format_from_name(std::string_view name);

// Which of a bzImage's entry points is taken; automatic is the 64-bit one where the kernel has it.
enum class LinuxEntry : std::uint8_t { automatic, entry32, entry64 };

// Types as the ACPI specification numbers them (6.5, 15); Linux, Multiboot and PVH use the same numbers.
enum class MemoryType : std::uint32_t {
    usable = 1,
    reserved = 2,
    acpi_reclaimable = 3,
    acpi_nvs = 4,
    defective = 5,
};

struct MemoryMapEntry {
    mmu::GuestPhysical start;
    std::uint64_t size = 0;  // bytes
    MemoryType type = MemoryType::usable;
};

// A file handed to the guest beside its image: Linux calls it an initrd.
struct BootModule {
    ImageFile file;
    std::string command_line = {};  // Multiboot and PVH only
};

struct LoadOptions {
    Format format = Format::automatic;

    // Flat images only. Without an address: 0x7c00 for flat16, 1 MiB for flat32 and flat64.
    std::optional<mmu::GuestPhysical> load_address = {};
    std::uint64_t entry_offset = 0;  // bytes from the load address to the first instruction

    // Multiboot, PVH and bzImage (at most one module) only: elsewhere nothing could tell the guest about
    // them, and they are refused.
    std::vector<BootModule> modules = {};
    std::string command_line = {};

    LinuxEntry linux_entry = LinuxEntry::automatic;
    mmu::GuestPhysical rsdp{};  // ACPI root pointer for Linux and PVH; 0 if there is none

    // What the guest is told of memory, at most 128 entries. Empty: every RAM region, as usable.
    std::vector<MemoryMapEntry> memory_map = {};
};

// Something the loader put into guest memory, or keeps free for the image to unpack itself into.
struct PlacedRange {
    std::string what;
    mmu::GuestPhysical start;
    std::uint64_t size = 0;  // bytes

    mmu::GuestPhysical end() const { return start + size; }
};

struct LoadedImage {
    cpu::CpuState entry_state;
    Format format = Format::automatic;     // the one that was used: never automatic
    std::string kernel_version;            // as a bzImage states it; empty if the image does not say
    std::vector<std::string> description;  // lines for people: what was loaded where, and how it is entered
    std::vector<PlacedRange> placed;
};

// Writes the image, and what its boot protocol hands over, into `memory`, whose regions must be set up
// already. Throws LoadError; memory may then hold part of the image. With Format::automatic the choice is: a
// bzImage; an ELF file with a Multiboot header; with a PVH note; any other ELF file; a Multiboot header
// elsewhere; otherwise the image is refused and the message asks for one of the flat formats.
//
// Entry states (interrupts off, no paging unless it says so; loader/layout.hpp has the tables' places):
//   flat16     real mode. CS = DS = ES = 0, IP = the address, if that is below 64 KiB; else CS = DS = ES =
//              address / 16. SS:SP has 4 KiB below it: 0:7c00 if the image is not there.
//   flat32     32-bit protected mode, flat segments, ESP = a 16 KiB stack.
//   flat64     64-bit long mode, the first 4 GiB identity-mapped with 2 MiB pages (user-accessible), RSP
//   likewise. elf        as flat32 (ELF32) or flat64 (ELF64), at e_entry as a physical address. multiboot
//   Multiboot 0.6.96, 3.2: 32-bit protected mode, EAX = 2badb002h, EBX = information. pvh        Xen's
//   x86/HVM direct boot ABI: 32-bit protected mode, EBX = start info, TR base 0 limit 67h. bzimage    the
//   Linux/x86 boot protocol's 32-bit (ESI = boot_params) or 64-bit (RSI) entry.
LoadedImage load(const ImageFile& image, const LoadOptions& options, mmu::GuestMemory& memory);

}  // namespace xenolith::loader
