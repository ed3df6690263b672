// The automatic choice of a format, and what the boot protocols have in common.
#include "loader/loader.hpp"

#include <array>
#include <utility>

#include "loader/formats.hpp"

namespace xenolith::loader {

namespace {

constexpr std::array<std::pair<Format, std::string_view>, 8> format_names{{
    {Format::automatic, "auto"},
    {Format::flat16, "flat16"},
    {Format::flat32, "flat32"},
    {Format::flat64, "flat64"},
    {Format::elf, "elf"},
    {Format::multiboot, "multiboot"},
    {Format::pvh, "pvh"},
    {Format::bzimage, "bzimage"},
}};

bool begins_with(const ImageFile& image, std::initializer_list<unsigned> bytes) {
    std::uint64_t offset = 0;
    for (const unsigned byte : bytes) {
        if (!image.holds(offset, 1) || std::to_integer<unsigned>(image.bytes()[offset]) != byte) return false;
        ++offset;
    }
    return true;
}

// What an unknown image looks like, for a message that helps.
std::string_view first_sight(const ImageFile& image) {
    if (begins_with(image, {0x1f, 0x8b})) return "gzip data (unpack it with gunzip first)";
    if (begins_with(image, {0xfd, '7', 'z', 'X', 'Z'})) return "xz data (unpack it with unxz first)";
    if (begins_with(image, {0x28, 0xb5, 0x2f, 0xfd})) return "zstd data (unpack it with unzstd first)";
    if (begins_with(image, {'M', 'Z'})) return "an EFI or DOS program";
    return "none of their signatures";
}

Format choose(const ImageFile& image) {
    if (is_linux(image)) return Format::bzimage;
    const bool multiboot = find_multiboot_header(image).has_value();
    if (multiboot) return Format::multiboot;
    if (is_elf(image)) return has_pvh_note(image) ? Format::pvh : Format::elf;
    image.refuse(LoadFailure::unsupported, 0,
                 "a bzImage, ELF or Multiboot image (for raw code use --format flat16, flat32 or flat64)",
                 first_sight(image));
}

}  // namespace

std::string_view format_name(Format format) {
    for (const auto& [value, name] : format_names) {
        if (value == format) return name;
    }
    return "unknown";
}

std::optional<Format> format_from_name(std::string_view name) {
    for (const auto& [value, text] : format_names) {
        if (text == name) return value;
    }
    return std::nullopt;
}

LoadedImage load(const ImageFile& image, const LoadOptions& options, mmu::GuestMemory& memory) {
    if (image.size() == 0) image.refuse(LoadFailure::cannot_read, 0, "an image", "an empty file");
    for (const BootModule& module : options.modules) {
        if (module.file.size() == 0) module.file.refuse(LoadFailure::cannot_read, 0, "a module", "an empty file");
    }
    LoadedImage result;
    result.format = options.format == Format::automatic ? choose(image) : options.format;
    const bool flat =
        result.format == Format::flat16 || result.format == Format::flat32 || result.format == Format::flat64;
    if (!flat && (options.load_address || options.entry_offset != 0)) {
        image.refuse(LoadFailure::unsupported, 0, "a load address and entry offset only with a flat format",
                     "format " + std::string(format_name(result.format)));
    }
    Placement placement(memory, options.memory_map);
    LoadJob job{image, options, placement, result};
    check_memory_map(job);
    switch (result.format) {
        case Format::flat16:
        case Format::flat32:
        case Format::flat64: load_flat(job, result.format); break;
        case Format::elf: load_elf(job); break;
        case Format::multiboot: load_multiboot(job); break;
        case Format::pvh: load_pvh(job); break;
        case Format::automatic:
        case Format::bzimage: load_linux(job); break;
    }
    result.placed = placement.take_claims();
    return result;
}

void refuse_boot_protocol_options(const LoadJob& job) {
    const std::string found = "format " + std::string(format_name(job.result.format));
    if (!job.options.modules.empty()) {
        job.image.refuse(LoadFailure::unsupported, 0, "a format that can take an initrd or modules", found);
    }
    if (!job.options.command_line.empty()) {
        job.image.refuse(LoadFailure::unsupported, 0, "a format that can take a command line", found);
    }
}

void check_memory_map(const LoadJob& job) {
    const std::size_t count = job.placement.memory_map().size();
    if (count > memory_map_entries) {
        job.image.refuse(LoadFailure::does_not_fit, 0,
                         "a memory map of at most " + std::to_string(memory_map_entries) + " entries",
                         std::to_string(count) + " entries");
    }
}

void write_command_line(LoadJob& job, const BootArea& area, const std::string& text, std::uint64_t limit,
                        std::uint64_t limit_offset) {
    if (text.size() > limit) {
        job.image.refuse(LoadFailure::does_not_fit, limit_offset,
                         "a command line of at most " + std::to_string(limit) + " bytes",
                         std::to_string(text.size()) + " bytes");
    }
    BootRecord record;
    record.put_text(0, text);
    job.placement.write(job.image, area.command_line(), record.bytes());
    job.describe("command line at " + hexadecimal(area.command_line().value) + ": \"" + on_one_line(text) + "\"");
}

std::vector<PlacedModule> place_modules(LoadJob& job, mmu::GuestPhysical above, BootRecord& strings,
                                        mmu::GuestPhysical strings_at) {
    std::vector<PlacedModule> placed;
    for (const BootModule& module : job.options.modules) {
        const std::uint64_t size = module.file.size();
        auto start = job.placement.lowest(size, mmu::page_size, above, four_gibibytes);
        if (!start) start = job.placement.lowest(size, mmu::page_size, {mmu::page_size}, four_gibibytes);
        if (!start) {
            module.file.refuse(LoadFailure::does_not_fit, 0,
                               "at most as many bytes as there is contiguous free RAM below 4 GiB",
                               hexadecimal(size) + " bytes");
        }
        const std::uint64_t string_offset = strings.size();
        strings.put_text(string_offset, module.command_line);
        job.placement.claim("module " + module.file.name(), *start, size);
        job.placement.write(module.file, *start, module.file.bytes());
        job.describe("module " + on_one_line(module.file.name()) + ": " + hexadecimal(size) + " bytes at " +
                     hexadecimal(start->value));
        placed.push_back({*start, size, strings_at + string_offset});
    }
    return placed;
}

void write_module_page(LoadJob& job, const BootArea& area, const BootRecord& page) {
    if (page.size() > BootArea::modules_size) {
        job.image.refuse(
            LoadFailure::does_not_fit, 0,
            "modules whose list and strings take at most " + std::to_string(BootArea::modules_size) + " bytes",
            std::to_string(page.size()) + " bytes");
    }
    job.placement.write(job.image, area.modules(), page.bytes());
}

}  // namespace xenolith::loader
