// One function per family of formats, and what they share. Private to the loader.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "loader/boot_record.hpp"
#include "loader/entry_state.hpp"
#include "loader/loader.hpp"
#include "loader/placement.hpp"

namespace xenolith::loader {

// Everything one load works on.
struct LoadJob {
    const ImageFile& image;
    const LoadOptions& options;
    Placement& placement;
    LoadedImage& result;

    void describe(std::string line) { result.description.push_back(std::move(line)); }
};

void load_flat(LoadJob& job, Format format);
void load_elf(LoadJob& job);
void load_multiboot(LoadJob& job);
void load_pvh(LoadJob& job);
void load_linux(LoadJob& job);

// For the automatic choice.
bool is_linux(const ImageFile& image);
bool is_elf(const ImageFile& image);
// The offset of a Multiboot header with a right checksum.
std::optional<std::uint64_t> find_multiboot_header(const ImageFile& image);
// The file is ELF and has XEN_ELFNOTE_PHYS32_ENTRY. LoadError if its headers or notes are malformed.
bool has_pvh_note(const ImageFile& image);

// Refuses modules and a command line (unsupported): a format without a boot protocol has no way to hand them
// over.
void refuse_boot_protocol_options(const LoadJob& job);
// Refuses a memory map of more entries than the boot area holds.
void check_memory_map(const LoadJob& job);
// Writes a command line to its place in the boot area. LoadError (does_not_fit) if it is longer than
// `limit` bytes (the NUL not counted); `limit_offset` is the field of the image that sets the limit, or 0.
void write_command_line(LoadJob& job, const BootArea& area, const std::string& text, std::uint64_t limit,
                        std::uint64_t limit_offset);

// A module's place in guest memory, and its string's.
struct PlacedModule {
    mmu::GuestPhysical start;
    std::uint64_t size = 0;
    mmu::GuestPhysical string;
};
// Puts the modules, page-aligned, below 4 GiB, at `above` or higher if they fit there, and their strings into
// `strings`, whose first byte will be at guest address `strings_at`.
std::vector<PlacedModule> place_modules(LoadJob& job, mmu::GuestPhysical above, BootRecord& strings,
                                        mmu::GuestPhysical strings_at);
// Writes that list and its strings to their page of the boot area. LoadError (does_not_fit) if they are
// larger.
void write_module_page(LoadJob& job, const BootArea& area, const BootRecord& page);

}  // namespace xenolith::loader
