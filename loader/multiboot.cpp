// Multiboot Specification 0.6.96: 3.1 (header), 3.2 (machine state), 3.3 (boot information).
#include <algorithm>
#include <filesystem>
#include <string>

#include "loader/boot_record.hpp"
#include "loader/elf.hpp"
#include "loader/formats.hpp"

namespace xenolith::loader {

namespace {

constexpr std::uint32_t header_magic = 0x1badb002, boot_magic = 0x2badb002;
constexpr std::uint64_t search_size = 8192, header_size = 12;

// Header flags (3.1.2). Of the lower half, all that are set must be understood.
constexpr std::uint32_t page_aligned_modules = 1u << 0, memory_wanted = 1u << 1, video_wanted = 1u << 2,
                        has_addresses = 1u << 16;
constexpr std::uint32_t understood = page_aligned_modules | memory_wanted | video_wanted;

// Information flags (3.3).
constexpr std::uint32_t info_memory = 1u << 0, info_command_line = 1u << 2, info_modules = 1u << 3,
                        info_memory_map = 1u << 6, info_loader_name = 1u << 9, info_framebuffer = 1u << 12;

struct RawImage {
    std::uint64_t file_offset, size;  // bytes to copy
    std::uint64_t load, memory_size;
    std::uint64_t entry;
};

// The address fields at offset 12, for images that are not ELF (3.1.3).
RawImage read_addresses(const ImageFile& image, std::uint64_t header) {
    const std::uint64_t header_address = image.u32(header + 12, "the Multiboot header_addr");
    const std::uint64_t load = image.u32(header + 16, "the Multiboot load_addr");
    const std::uint64_t load_end = image.u32(header + 20, "the Multiboot load_end_addr");
    const std::uint64_t bss_end = image.u32(header + 24, "the Multiboot bss_end_addr");
    const std::uint64_t entry = image.u32(header + 28, "the Multiboot entry_addr");
    if (load > header_address || header_address - load > header) {
        image.refuse(LoadFailure::malformed, header + 16,
                     "load_addr from " + hexadecimal(header_address - std::min(header, header_address)) +
                         " to header_addr, " + hexadecimal(header_address),
                     hexadecimal(load));
    }
    const std::uint64_t file_offset = header - (header_address - load);
    const std::uint64_t available = image.size() - file_offset;
    if (load_end != 0 && (load_end < load || load_end - load > available)) {
        image.refuse(
            LoadFailure::malformed, header + 20,
            "load_end_addr of 0 or within the file, " + hexadecimal(load) + " to " + hexadecimal(load + available),
            hexadecimal(load_end));
    }
    const std::uint64_t size = load_end == 0 ? available : load_end - load;
    if (bss_end != 0 && bss_end < load + size) {
        image.refuse(LoadFailure::malformed, header + 24, "bss_end_addr of 0 or at least " + hexadecimal(load + size),
                     hexadecimal(bss_end));
    }
    const std::uint64_t memory_size = bss_end == 0 ? size : bss_end - load;
    if (entry < load || entry - load >= memory_size) {
        image.refuse(
            LoadFailure::malformed, header + 28,
            "entry_addr inside the loaded image, " + hexadecimal(load) + " to " + hexadecimal(load + memory_size),
            hexadecimal(entry));
    }
    return {file_offset, size, load, memory_size, entry};
}

struct Entry {
    std::uint32_t address;
    std::uint64_t image_end;
};

Entry place_raw(LoadJob& job, std::uint64_t header) {
    const RawImage raw = read_addresses(job.image, header);
    const mmu::GuestPhysical start{raw.load};
    if (!job.placement.is_ram(start, raw.memory_size)) {
        job.image.refuse(LoadFailure::does_not_fit, header + 16, "the image inside RAM",
                         hexadecimal(raw.memory_size) + " bytes at " + hexadecimal(raw.load));
    }
    job.placement.write(job.image, start, job.image.range(raw.file_offset, raw.size, "the Multiboot image"));
    job.placement.zero(job.image, start + raw.size, raw.memory_size - raw.size);
    job.placement.claim("image", start, raw.memory_size);
    job.describe("image: " + hexadecimal(raw.size) + " bytes of the file, " + hexadecimal(raw.memory_size) +
                 " in memory, at " + hexadecimal(raw.load));
    return {static_cast<std::uint32_t>(raw.entry), raw.load + raw.memory_size};
}

Entry place_elf(LoadJob& job) {
    const ElfHeaders headers = read_elf_headers(job.image);
    const mmu::GuestPhysical entry = physical_entry(job.image, headers);
    place_elf_segments(job, headers);
    std::uint64_t end = 0;
    for (const ElfSegment& segment : headers.load) {
        end = std::max(end, segment.physical_address + segment.memory_size);
    }
    return {static_cast<std::uint32_t>(entry.value), end};
}

// KiB of usable memory that lie without a gap from `start` on, at most `limit` bytes.
std::uint32_t contiguous_kibibytes(const LoadJob& job, std::uint64_t start, std::uint64_t limit) {
    std::vector<MemoryMapEntry> map = job.placement.memory_map();
    std::sort(map.begin(), map.end(),
              [](const MemoryMapEntry& a, const MemoryMapEntry& b) { return a.start < b.start; });
    std::uint64_t reached = start;
    for (const MemoryMapEntry& entry : map) {
        if (entry.type != MemoryType::usable || entry.start.value > reached) continue;
        reached = std::max(reached, range_end(entry.start, entry.size));
    }
    reached = std::min(reached, start + limit);
    return static_cast<std::uint32_t>((reached - start) / 1024);
}

void write_memory_map(LoadJob& job, const BootArea& area, BootRecord& info) {
    constexpr std::uint32_t size_after_size_field = 20;
    BootRecord record;
    for (const MemoryMapEntry& entry : job.placement.memory_map()) {
        const std::size_t at = record.size();
        record.put32(at, size_after_size_field);
        record.put64(at + 4, entry.start.value);
        record.put64(at + 12, entry.size);
        record.put32(at + 20, static_cast<std::uint32_t>(entry.type));
    }
    job.placement.write(job.image, area.memory_map(), record.bytes());
    info.put32(44, static_cast<std::uint32_t>(record.size()));
    info.put32(48, static_cast<std::uint32_t>(area.memory_map().value));
}

// The module list, then the strings it and the information point to.
void write_modules(LoadJob& job, const BootArea& area, mmu::GuestPhysical above, BootRecord& info) {
    constexpr std::size_t module_entry_size = 16;
    BootRecord record(job.options.modules.size() * module_entry_size);
    const std::size_t loader_name = record.size();
    record.put_text(loader_name, "Xenolith");
    const std::vector<PlacedModule> modules = place_modules(job, above, record, area.modules());
    std::size_t at = 0;
    for (const PlacedModule& module : modules) {
        record.put32(at, static_cast<std::uint32_t>(module.start.value));
        record.put32(at + 4, static_cast<std::uint32_t>(module.start.value + module.size));
        record.put32(at + 8, static_cast<std::uint32_t>(module.string.value));
        at += module_entry_size;
    }
    write_module_page(job, area, record);
    info.put32(20, static_cast<std::uint32_t>(modules.size()));
    info.put32(24, static_cast<std::uint32_t>(area.modules().value));
    info.put32(64, static_cast<std::uint32_t>(area.modules().value + loader_name));
}

// The only screen there is: colour text, 80 by 25 (3.3, framebuffer_type 2).
void describe_text_screen(BootRecord& info) {
    info.put64(88, 0xb8000);
    info.put32(96, 160);  // bytes in a line
    info.put32(100, 80);
    info.put32(104, 25);
    info.put8(108, 16);  // bits in a character cell
    info.put8(109, 2);
}

// Boot loaders put the image's name before what they are asked to pass on, and kernels leave out the first word.
std::string command_line_of(const LoadJob& job) {
    std::string name = std::filesystem::path(job.image.name()).filename().string();
    if (name.empty()) name = "kernel";
    for (char& letter : name)
        if (letter == ' ' || letter == '\t' || letter == '\n') letter = '_';
    return job.options.command_line.empty() ? name : name + " " + job.options.command_line;
}

}  // namespace

std::optional<std::uint64_t> find_multiboot_header(const ImageFile& image) {
    for (std::uint64_t offset = 0; offset + header_size <= search_size && image.holds(offset, header_size);
         offset += 4) {
        if (image.u32(offset, "") != header_magic) continue;
        const std::uint32_t flags = image.u32(offset + 4, ""), checksum = image.u32(offset + 8, "");
        if (header_magic + flags + checksum == 0) return offset;
    }
    return std::nullopt;
}

void load_multiboot(LoadJob& job) {
    const std::optional<std::uint64_t> header = find_multiboot_header(job.image);
    if (!header) {
        job.image.refuse(LoadFailure::malformed, 0, "a Multiboot header with a right checksum in the first 8192 bytes",
                         "none");
    }
    const std::uint32_t flags = job.image.u32(*header + 4, "the Multiboot flags");
    if (const std::uint32_t required = flags & 0xffff & ~understood; required != 0) {
        job.image.refuse(LoadFailure::unsupported, *header + 4,
                         "no required Multiboot flags beyond " + hexadecimal(understood), hexadecimal(flags & 0xffff));
    }
    job.describe("Multiboot image, header at offset " + hexadecimal(*header));
    if ((flags & has_addresses) == 0 && !is_elf(job.image)) {
        job.image.refuse(LoadFailure::malformed, *header + 4,
                         "an ELF file, or Multiboot flag 0x10000 (the header gives load addresses)",
                         "flags " + hexadecimal(flags) + " and no ELF signature");
    }
    const Entry entry = (flags & has_addresses) != 0 ? place_raw(job, *header) : place_elf(job);
    const BootArea area = job.placement.claim_boot_area(job.image);
    write_command_line(job, area, command_line_of(job), BootArea::command_line_size - 1, 0);

    BootRecord info(BootArea::information_size);
    info.put32(0, info_memory | info_command_line | info_memory_map | info_loader_name | info_framebuffer |
                      (job.options.modules.empty() ? 0 : info_modules));
    info.put32(4, contiguous_kibibytes(job, 0, 640 * 1024));
    info.put32(8, contiguous_kibibytes(job, 0x100000, four_gibibytes - 0x100000));
    info.put32(16, static_cast<std::uint32_t>(area.command_line().value));
    write_memory_map(job, area, info);
    write_modules(job, area, {entry.image_end}, info);
    describe_text_screen(info);
    job.placement.write(job.image, area.information(), info.bytes());

    cpu::CpuState state = protected_mode_entry(job.image, job.placement, area, entry.address);
    state.registers[cpu::rax] = boot_magic;
    state.registers[cpu::rbx] = area.information().value;
    job.result.entry_state = state;
    job.describe("32-bit protected mode, entry " + hexadecimal(entry.address) + ", Multiboot information at " +
                 hexadecimal(area.information().value));
}

}  // namespace xenolith::loader
