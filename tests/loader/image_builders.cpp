#include "tests/loader/image_builders.hpp"

#include <span>

namespace xenolith::loader::testing {

void put(Bytes& bytes, std::size_t offset, std::uint64_t value, std::size_t width) {
    if (bytes.size() < offset + width) bytes.resize(offset + width);
    for (std::size_t i = 0; i < width; ++i) bytes[offset + i] = static_cast<std::byte>(value >> (8 * i));
}

std::uint64_t get(const Bytes& bytes, std::size_t offset, std::size_t width) {
    std::uint64_t value = 0;
    for (std::size_t i = width; i-- > 0;) value = value << 8 | std::to_integer<std::uint64_t>(bytes.at(offset + i));
    return value;
}

Bytes pattern(std::size_t size, unsigned first) {
    Bytes bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(first + i);
    return bytes;
}

Bytes text(std::string_view characters) {
    const auto bytes = std::as_bytes(std::span(characters));
    return {bytes.begin(), bytes.end()};
}

void append(Bytes& bytes, const Bytes& more) { bytes.insert(bytes.end(), more.begin(), more.end()); }

Bytes ElfImage::build() const {
    const std::size_t word = is_64bit ? 8 : 4;
    Bytes bytes(program_header(parts.size()));
    put(bytes, 0, 0x464c457f, 4);
    put(bytes, 4, is_64bit ? 2 : 1, 1);
    put(bytes, 5, 1, 1);
    put(bytes, 6, 1, 1);
    put(bytes, 16, type, 2);
    put(bytes, 18, machine != 0 ? machine : is_64bit ? 62u : 3u, 2);
    put(bytes, 20, 1, 4);
    put(bytes, 24, entry, word);
    put(bytes, 24 + word, header_size(), word);
    const std::size_t sizes = is_64bit ? 52 : 40;
    put(bytes, sizes, header_size(), 2);
    put(bytes, sizes + 2, program_header_size(), 2);
    put(bytes, sizes + 4, parts.size(), 2);
    for (std::size_t i = 0; i < parts.size(); ++i) {
        const ElfPart& part = parts[i];
        const std::size_t at = program_header(i), file_offset = bytes.size();
        const std::uint64_t memory_size = part.memory_size != 0 ? part.memory_size : part.bytes.size();
        put(bytes, at, part.type, 4);
        if (is_64bit) {
            put(bytes, at + 4, 7, 4);
            put(bytes, at + 8, file_offset, 8);
            put(bytes, at + 16, part.virtual_address, 8);
            put(bytes, at + 24, part.physical_address, 8);
            put(bytes, at + 32, part.bytes.size(), 8);
            put(bytes, at + 40, memory_size, 8);
            put(bytes, at + 48, part.alignment, 8);
        } else {
            put(bytes, at + 4, file_offset, 4);
            put(bytes, at + 8, part.virtual_address, 4);
            put(bytes, at + 12, part.physical_address, 4);
            put(bytes, at + 16, part.bytes.size(), 4);
            put(bytes, at + 20, memory_size, 4);
            put(bytes, at + 24, 7, 4);
            put(bytes, at + 28, part.alignment, 4);
        }
        append(bytes, part.bytes);
        bytes.resize((bytes.size() + 3) & ~std::size_t{3});
    }
    return bytes;
}

Bytes note(std::string_view name, std::uint32_t type, const Bytes& descriptor, std::size_t alignment) {
    const auto pad = [alignment](Bytes& bytes) {
        bytes.resize((bytes.size() + alignment - 1) / alignment * alignment);
    };
    Bytes bytes;
    put(bytes, 0, name.size() + 1, 4);
    put(bytes, 4, descriptor.size(), 4);
    put(bytes, 8, type, 4);
    append(bytes, text(name));
    bytes.push_back(std::byte{0});
    pad(bytes);
    append(bytes, descriptor);
    pad(bytes);
    return bytes;
}

Bytes pvh_note(std::uint64_t entry, std::size_t width, std::size_t alignment) {
    Bytes descriptor;
    put(descriptor, 0, entry, width);
    return note("Xen", 18, descriptor, alignment);
}

Bytes multiboot_header(std::uint32_t flags) {
    Bytes bytes;
    put(bytes, 0, 0x1badb002, 4);
    put(bytes, 4, flags, 4);
    put(bytes, 8, 0u - 0x1badb002u - flags, 4);
    return bytes;
}

Bytes multiboot_header(std::uint32_t flags, const MultibootAddresses& addresses) {
    Bytes bytes = multiboot_header(flags | 0x10000);
    put(bytes, 12, addresses.header, 4);
    put(bytes, 16, addresses.load, 4);
    put(bytes, 20, addresses.load_end, 4);
    put(bytes, 24, addresses.bss_end, 4);
    put(bytes, 28, addresses.entry, 4);
    return bytes;
}

Bytes LinuxImage::build() const {
    constexpr std::size_t version_text = 0x300;
    Bytes bytes((std::size_t{setup_sectors} + 1) * 512);
    put(bytes, 0x1f1, setup_sectors, 1);
    put(bytes, 0x1f4, (kernel.size() + 15) / 16, 4);
    put(bytes, 0x1fa, 0x1234, 2);
    put(bytes, 0x1fe, 0xaa55, 2);
    put(bytes, 0x200, 0x6aeb, 2);  // a jump over the header: it ends at 0x26c
    put(bytes, 0x202, 0x53726448, 4);
    put(bytes, 0x206, version, 2);
    put(bytes, 0x20e, version_text - 0x200, 2);
    put(bytes, 0x211, load_flags, 1);
    put(bytes, 0x214, 0x100000, 4);
    put(bytes, 0x22c, initrd_address_max, 4);
    put(bytes, 0x230, alignment, 4);
    put(bytes, 0x234, relocatable ? 1 : 0, 1);
    put(bytes, 0x235, 21, 1);
    put(bytes, 0x236, extended_load_flags, 2);
    put(bytes, 0x238, command_line_size, 4);
    put(bytes, 0x258, preferred_address, 8);
    put(bytes, 0x260, init_size, 4);
    const Bytes version_bytes = text(kernel_version);
    for (std::size_t i = 0; i < version_bytes.size(); ++i) bytes.at(version_text + i) = version_bytes[i];
    append(bytes, kernel);
    return bytes;
}

std::vector<NamedImage> small_images() {
    Bytes multiboot_code = multiboot_header(3);
    append(multiboot_code, pattern(32));
    Bytes multiboot_raw = pattern(16);
    append(multiboot_raw, multiboot_header(7, {0x100010, 0x100000, 0, 0x101000, 0x100000}));
    append(multiboot_raw, pattern(16));
    const ElfPart code{1, pattern(48), 0x100000, 0x100000, 0x2000};
    const ElfPart high_half{1, pattern(48), 0xffffffff80100000, 0x100000, 0x2000};
    const ElfPart more{1, pattern(16, 9), 0x200000, 0x200000};
    return {
        {"flat", pattern(64)},
        {"elf32", ElfImage{false, 2, 0, 0x100010, {code, more}}.build()},
        {"elf64", ElfImage{true, 3, 0, 0xffffffff80100010, {high_half, more}}.build()},
        {"multiboot-elf", ElfImage{false, 2, 0, 0x10000c, {{1, multiboot_code, 0x100000, 0x100000}}}.build()},
        {"multiboot-raw", multiboot_raw},
        {"pvh32", ElfImage{false, 2, 0, 0x100010, {code, {4, pvh_note(0x100004)}}}.build()},
        {"pvh64", ElfImage{true, 2, 0, 0x100010, {high_half, {4, pvh_note(0x100004, 8)}}}.build()},
        {"bzimage64", LinuxImage{}.build()},
        {"bzimage32",
         LinuxImage{.version = 0x20a, .relocatable = false, .extended_load_flags = 0, .preferred_address = 0x100000}
             .build()},
    };
}

}  // namespace xenolith::loader::testing
