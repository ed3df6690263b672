// An ELF file's headers, checked once: what to load where, and its notes. Private to the loader.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "loader/formats.hpp"
#include "loader/image_file.hpp"
#include "mmu/address.hpp"

namespace xenolith::loader {

struct ElfSegment {
    unsigned index = 0;               // of its program header
    std::uint64_t header_offset = 0;  // of its program header in the file
    std::uint64_t file_offset = 0, file_size = 0;
    std::uint64_t virtual_address = 0, physical_address = 0, memory_size = 0;
    std::uint64_t alignment = 0;
};

struct ElfHeaders {
    bool is_64bit = false;
    std::uint64_t entry = 0;         // e_entry, as it stands in the file
    std::uint64_t entry_offset = 0;  // where it stands
    std::vector<ElfSegment> load;    // PT_LOAD with a size in memory, in file order
    std::vector<ElfSegment> notes;   // PT_NOTE

    // Offsets of p_paddr and p_memsz inside a program header of this class.
    std::uint64_t physical_address_field() const { return is_64bit ? 24 : 12; }
    std::uint64_t memory_size_field() const { return is_64bit ? 40 : 20; }
};

// LoadError (malformed, unsupported) unless the file is an x86 executable whose headers agree with
// themselves.
ElfHeaders read_elf_headers(const ImageFile& image);

// Copies the segments to their physical addresses, zeroes what the file does not fill, and claims them.
// LoadError (does_not_fit) for a segment outside RAM, (malformed) for two that overlap.
void place_elf_segments(LoadJob& job, const ElfHeaders& headers);

// The physical address of an entry point given as a virtual or a physical one. LoadError (malformed) if no
// segment holds it, (does_not_fit) if it is not below 4 GiB.
mmu::GuestPhysical physical_entry(const ImageFile& image, const ElfHeaders& headers);

// True if a loaded segment holds the physical address.
bool holds_physical(const ElfHeaders& headers, std::uint64_t address);

}  // namespace xenolith::loader
