// Builds tiny images of every format, field by field, for the loader's tests and as seeds of its fuzzer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace xenolith::loader::testing {

using Bytes = std::vector<std::byte>;

// Little-endian, over what stands there; grows the bytes if need be.
void put(Bytes& bytes, std::size_t offset, std::uint64_t value, std::size_t width);
std::uint64_t get(const Bytes& bytes, std::size_t offset, std::size_t width);
// `size` bytes that tell places apart: 1, 2, 3, ...
Bytes pattern(std::size_t size, unsigned first = 1);
Bytes text(std::string_view characters);
void append(Bytes& bytes, const Bytes& more);

struct ElfPart {
    std::uint32_t type = 1;  // PT_LOAD
    Bytes bytes = {};
    std::uint64_t virtual_address = 0, physical_address = 0;
    std::uint64_t memory_size = 0;  // 0: as many as there are bytes
    std::uint64_t alignment = 4;
};

struct ElfImage {
    bool is_64bit = false;
    std::uint16_t type = 2;     // ET_EXEC
    std::uint16_t machine = 0;  // 0: the right one
    std::uint64_t entry = 0;
    std::vector<ElfPart> parts = {};

    Bytes build() const;
    std::size_t header_size() const { return is_64bit ? 64 : 52; }
    std::size_t program_header_size() const { return is_64bit ? 56 : 32; }
    // Offset of a part's program header.
    std::size_t program_header(std::size_t index) const { return header_size() + index * program_header_size(); }
};

// One ELF note, name and descriptor padded.
Bytes note(std::string_view name, std::uint32_t type, const Bytes& descriptor, std::size_t alignment = 4);
// XEN_ELFNOTE_PHYS32_ENTRY with a descriptor of 4 or 8 bytes.
Bytes pvh_note(std::uint64_t entry, std::size_t width = 4, std::size_t alignment = 4);

// The twelve bytes of a Multiboot header.
Bytes multiboot_header(std::uint32_t flags);
struct MultibootAddresses {
    std::uint32_t header = 0, load = 0, load_end = 0, bss_end = 0, entry = 0;
};
// The header with flag 16 and its five addresses.
Bytes multiboot_header(std::uint32_t flags, const MultibootAddresses& addresses);

struct LinuxImage {
    std::uint16_t version = 0x20f;
    std::uint8_t setup_sectors = 2;
    std::uint8_t load_flags = 1;
    std::uint32_t initrd_address_max = 0x7fffffff;
    std::uint32_t alignment = 0x200000;
    bool relocatable = true;
    std::uint16_t extended_load_flags = 1;  // XLF_KERNEL_64
    std::uint32_t command_line_size = 2047;
    std::uint64_t preferred_address = 0x1000000;
    std::uint32_t init_size = 0x300000;
    std::string kernel_version = "6.1.0-test (builder) #1";
    Bytes kernel = pattern(0x300);

    Bytes build() const;
};

// A good image of each kind, with the format it is of.
struct NamedImage {
    std::string name;
    Bytes bytes;
};
std::vector<NamedImage> small_images();

}  // namespace xenolith::loader::testing
