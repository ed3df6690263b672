// ELF: System V ABI, "Object files" (chapter 4: ELF header; chapter 5: program header), with the i386 and
// AMD64 supplements. Only what a program's loader needs is read; sections are not.
#include "loader/elf.hpp"

#include <algorithm>

namespace xenolith::loader {

namespace {

constexpr std::uint32_t magic = 0x464c457f;
constexpr std::uint8_t class32 = 1, class64 = 2, little_endian = 1, current_version = 1;
constexpr std::uint16_t type_executable = 2, type_shared = 3;
constexpr std::uint16_t machine_386 = 3, machine_x86_64 = 62;
constexpr std::uint32_t segment_load = 1, segment_note = 4;
// No kernel comes near; it keeps hostile files from being costly.
constexpr std::uint16_t maximum_program_headers = 256;

std::string header_name(const ElfSegment& segment) { return "program header " + std::to_string(segment.index); }

struct ProgramHeader {
    std::uint32_t type;
    ElfSegment segment;
};

ProgramHeader read_program_header(const ImageFile& image, bool is_64bit, std::uint64_t offset, unsigned index) {
    ElfSegment segment;
    segment.index = index;
    segment.header_offset = offset;
    const std::string what = header_name(segment);
    const std::uint32_t type = image.u32(offset, what);
    if (is_64bit) {
        segment.file_offset = image.u64(offset + 8, what);
        segment.virtual_address = image.u64(offset + 16, what);
        segment.physical_address = image.u64(offset + 24, what);
        segment.file_size = image.u64(offset + 32, what);
        segment.memory_size = image.u64(offset + 40, what);
        segment.alignment = image.u64(offset + 48, what);
    } else {
        segment.file_offset = image.u32(offset + 4, what);
        segment.virtual_address = image.u32(offset + 8, what);
        segment.physical_address = image.u32(offset + 12, what);
        segment.file_size = image.u32(offset + 16, what);
        segment.memory_size = image.u32(offset + 20, what);
        segment.alignment = image.u32(offset + 28, what);
    }
    return {type, segment};
}

void check_in_file(const ImageFile& image, bool is_64bit, const ElfSegment& segment) {
    if (image.holds(segment.file_offset, segment.file_size)) return;
    image.refuse(LoadFailure::malformed, segment.header_offset + (is_64bit ? 8 : 4),
                 header_name(segment) + "'s bytes inside the file (" + hexadecimal(image.size()) + " bytes)",
                 hexadecimal(segment.file_size) + " bytes at " + hexadecimal(segment.file_offset));
}

// Checks e_ident and e_machine; returns whether the file is 64-bit.
bool read_class(const ImageFile& image) {
    const std::uint32_t signature = image.u32(0, "an ELF header");
    if (signature != magic)
        image.refuse(LoadFailure::malformed, 0, "the ELF signature 0x464c457f", hexadecimal(signature));
    const std::uint8_t file_class = image.u8(4, "the ELF class");
    if (file_class != class32 && file_class != class64) {
        image.refuse(LoadFailure::malformed, 4, "ELF class 1 (32-bit) or 2 (64-bit)", std::to_string(file_class));
    }
    const std::uint8_t order = image.u8(5, "the ELF byte order");
    if (order != little_endian) {
        image.refuse(LoadFailure::unsupported, 5, "ELF byte order 1 (little-endian)", std::to_string(order));
    }
    const std::uint8_t version = image.u8(6, "the ELF version");
    if (version != current_version) {
        image.refuse(LoadFailure::malformed, 6, "ELF version 1", std::to_string(version));
    }
    const std::uint16_t type = image.u16(16, "the ELF type");
    if (type != type_executable && type != type_shared) {
        image.refuse(LoadFailure::unsupported, 16, "ELF type 2 (executable) or 3 (shared)", std::to_string(type));
    }
    const bool is_64bit = file_class == class64;
    const std::uint16_t machine = image.u16(18, "the ELF machine");
    if (machine != (is_64bit ? machine_x86_64 : machine_386)) {
        image.refuse(LoadFailure::unsupported, 18,
                     is_64bit ? "ELF machine 62 (x86-64) in a 64-bit file" : "ELF machine 3 (i386) in a 32-bit file",
                     std::to_string(machine));
    }
    return is_64bit;
}

void check_no_overlap(const ImageFile& image, const ElfHeaders& headers) {
    std::vector<const ElfSegment*> sorted;
    sorted.reserve(headers.load.size());
    for (const ElfSegment& segment : headers.load) sorted.push_back(&segment);
    std::sort(sorted.begin(), sorted.end(),
              [](const ElfSegment* a, const ElfSegment* b) { return a->physical_address < b->physical_address; });
    for (std::size_t i = 1; i < sorted.size(); ++i) {
        const ElfSegment &below = *sorted[i - 1], &above = *sorted[i];
        if (above.physical_address - below.physical_address >= below.memory_size) continue;
        image.refuse(LoadFailure::malformed, above.header_offset + headers.physical_address_field(),
                     header_name(above) + "'s segment clear of " + header_name(below) + "'s",
                     "an overlap at " + hexadecimal(above.physical_address));
    }
}

}  // namespace

bool is_elf(const ImageFile& image) { return image.holds(0, 4) && image.u32(0, "") == magic; }

ElfHeaders read_elf_headers(const ImageFile& image) {
    ElfHeaders headers;
    headers.is_64bit = read_class(image);
    const bool is_64bit = headers.is_64bit;
    headers.entry_offset = 24;
    headers.entry = is_64bit ? image.u64(24, "the ELF entry point") : image.u32(24, "the ELF entry point");
    const std::uint64_t table_field = is_64bit ? 32 : 28;
    const std::uint64_t table = is_64bit ? image.u64(table_field, "the program header table's offset")
                                         : image.u32(table_field, "the program header table's offset");
    const std::uint64_t size_field = is_64bit ? 54 : 42;
    const std::uint16_t entry_size = image.u16(size_field, "the size of a program header");
    const std::uint16_t count = image.u16(size_field + 2, "the number of program headers");
    const std::uint16_t least = is_64bit ? 56 : 32;
    if (count == 0) image.refuse(LoadFailure::malformed, size_field + 2, "at least one program header", "none");
    if (count > maximum_program_headers) {
        image.refuse(LoadFailure::unsupported, size_field + 2,
                     "at most " + std::to_string(maximum_program_headers) + " program headers", std::to_string(count));
    }
    if (entry_size < least) {
        image.refuse(LoadFailure::malformed, size_field,
                     "program headers of at least " + std::to_string(least) + " bytes", std::to_string(entry_size));
    }
    if (!image.holds(table, std::uint64_t{entry_size} * count)) {
        image.refuse(LoadFailure::malformed, table_field,
                     "the program header table (" + std::to_string(entry_size * count) + " bytes) inside the file",
                     "its offset " + hexadecimal(table));
    }
    for (unsigned index = 0; index < count; ++index) {
        const auto [type, segment] =
            read_program_header(image, is_64bit, table + std::uint64_t{entry_size} * index, index);
        if (type == segment_note) {
            check_in_file(image, is_64bit, segment);
            headers.notes.push_back(segment);
        }
        if (type != segment_load || segment.memory_size == 0) continue;
        check_in_file(image, is_64bit, segment);
        if (segment.file_size > segment.memory_size) {
            image.refuse(LoadFailure::malformed, segment.header_offset + headers.memory_size_field(),
                         header_name(segment) + "'s size in memory to be at least its size in the file, " +
                             hexadecimal(segment.file_size),
                         hexadecimal(segment.memory_size));
        }
        headers.load.push_back(segment);
    }
    if (headers.load.empty()) {
        image.refuse(LoadFailure::malformed, table, "a segment to load among the program headers", "none");
    }
    return headers;
}

void place_elf_segments(LoadJob& job, const ElfHeaders& headers) {
    for (const ElfSegment& segment : headers.load) {
        if (job.placement.is_ram({segment.physical_address}, segment.memory_size)) continue;
        job.image.refuse(LoadFailure::does_not_fit, segment.header_offset + headers.physical_address_field(),
                         header_name(segment) + "'s segment inside RAM",
                         hexadecimal(segment.memory_size) + " bytes at " + hexadecimal(segment.physical_address));
    }
    check_no_overlap(job.image, headers);
    for (const ElfSegment& segment : headers.load) {
        const mmu::GuestPhysical start{segment.physical_address};
        job.placement.write(job.image, start,
                            job.image.range(segment.file_offset, segment.file_size, header_name(segment)));
        job.placement.zero(job.image, start + segment.file_size, segment.memory_size - segment.file_size);
        job.placement.claim(header_name(segment), start, segment.memory_size);
        job.describe(header_name(segment) + ": " + hexadecimal(segment.file_size) + " bytes of the file, " +
                     hexadecimal(segment.memory_size) + " in memory, at " + hexadecimal(start.value));
    }
}

bool holds_physical(const ElfHeaders& headers, std::uint64_t address) {
    return std::any_of(headers.load.begin(), headers.load.end(), [address](const ElfSegment& segment) {
        return address >= segment.physical_address && address - segment.physical_address < segment.memory_size;
    });
}

mmu::GuestPhysical physical_entry(const ImageFile& image, const ElfHeaders& headers) {
    std::uint64_t entry = headers.entry;
    const auto holder = std::find_if(headers.load.begin(), headers.load.end(), [entry](const ElfSegment& segment) {
        return entry >= segment.virtual_address && entry - segment.virtual_address < segment.memory_size;
    });
    if (holder != headers.load.end()) {
        entry = holder->physical_address + (entry - holder->virtual_address);
    } else if (!holds_physical(headers, entry)) {
        // Linux's vmlinux states its entry as a physical address although its segments are linked elsewhere.
        image.refuse(LoadFailure::malformed, headers.entry_offset, "an entry point inside a loaded segment",
                     hexadecimal(entry));
    }
    if (entry >= four_gibibytes) {
        image.refuse(LoadFailure::does_not_fit, headers.entry_offset, "an entry point below 4 GiB in memory",
                     hexadecimal(entry));
    }
    return {entry};
}

void load_elf(LoadJob& job) {
    refuse_boot_protocol_options(job);
    const ElfHeaders headers = read_elf_headers(job.image);
    job.describe(headers.is_64bit ? "64-bit ELF executable" : "32-bit ELF executable");
    const mmu::GuestPhysical entry = physical_entry(job.image, headers);
    place_elf_segments(job, headers);
    const BootArea area = job.placement.claim_boot_area(job.image);
    if (headers.is_64bit) {
        job.result.entry_state = long_mode_entry(job.image, job.placement, area, entry.value);
    } else {
        job.result.entry_state =
            protected_mode_entry(job.image, job.placement, area, static_cast<std::uint32_t>(entry.value));
    }
    job.describe((headers.is_64bit ? "64-bit mode" : "32-bit protected mode") + std::string(", entry ") +
                 hexadecimal(entry.value) + ", boot tables at " + hexadecimal(area.base.value));
}

}  // namespace xenolith::loader
