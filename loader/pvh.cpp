// PVH: Xen's "x86/HVM direct boot ABI" (docs/misc/pvh) and xen/include/public/arch-x86/hvm/start_info.h.
#include <algorithm>
#include <array>
#include <optional>

#include "loader/boot_record.hpp"
#include "loader/elf.hpp"
#include "loader/formats.hpp"

namespace xenolith::loader {

namespace {

constexpr std::uint32_t note_phys32_entry = 18;  // XEN_ELFNOTE_PHYS32_ENTRY
constexpr std::uint32_t start_info_magic = 0x336ec578, start_info_version = 1;
constexpr std::uint64_t module_entry_size = 32;
// Real note segments are well under a page; this bounds what a hostile file may cost.
constexpr std::uint64_t maximum_notes = std::uint64_t{1} << 20;

struct PvhEntry {
    std::uint64_t address;
    std::uint64_t offset;  // of the note's descriptor in the file
};

// Notes: ELF, chapter 5, "Note Section". Name and descriptor are padded to the segment's alignment, 4 or 8.
std::optional<PvhEntry> find_in_notes(const ImageFile& image, const ElfSegment& segment) {
    const std::uint64_t alignment = segment.alignment == 8 ? 8 : 4;
    const auto padded = [alignment](std::uint64_t size) { return (size + alignment - 1) & ~(alignment - 1); };
    if (segment.file_size > maximum_notes) {
        image.refuse(LoadFailure::unsupported, segment.header_offset, "at most 1 MiB of notes in a segment",
                     hexadecimal(segment.file_size) + " bytes");
    }
    constexpr std::uint64_t header_size = 12;
    std::uint64_t position = 0;
    while (segment.file_size - position >= header_size) {
        const std::uint64_t at = segment.file_offset + position;
        const std::uint64_t name_size = image.u32(at, "a note");
        const std::uint64_t descriptor_size = image.u32(at + 4, "a note");
        const std::uint32_t type = image.u32(at + 8, "a note");
        const std::uint64_t name = header_size;
        const std::uint64_t descriptor = padded(name + name_size);
        const std::uint64_t whole = descriptor + descriptor_size;
        if (whole > segment.file_size - position) {
            image.refuse(
                LoadFailure::malformed, at,
                "a note inside its segment, which ends at " + hexadecimal(segment.file_offset + segment.file_size),
                "a name of " + hexadecimal(name_size) + " and a descriptor of " + hexadecimal(descriptor_size) +
                    " bytes");
        }
        constexpr std::array<std::byte, 4> xen{std::byte{'X'}, std::byte{'e'}, std::byte{'n'}, std::byte{0}};
        const std::span<const std::byte> name_bytes = image.range(at + name, name_size, "a note's name");
        if (type == note_phys32_entry && std::equal(name_bytes.begin(), name_bytes.end(), xen.begin(), xen.end())) {
            if (descriptor_size != 4 && descriptor_size != 8) {
                image.refuse(LoadFailure::malformed, at + 4, "a PHYS32_ENTRY note of 4 or 8 bytes",
                             std::to_string(descriptor_size));
            }
            const std::uint64_t address = descriptor_size == 4 ? image.u32(at + descriptor, "the PVH entry point")
                                                               : image.u64(at + descriptor, "the PVH entry point");
            return PvhEntry{address, at + descriptor};
        }
        if (padded(whole) > segment.file_size - position) break;
        position += padded(whole);
    }
    return std::nullopt;
}

std::optional<PvhEntry> find_entry(const ImageFile& image, const ElfHeaders& headers) {
    for (const ElfSegment& segment : headers.notes) {
        if (const auto entry = find_in_notes(image, segment)) return entry;
    }
    return std::nullopt;
}

void write_memory_map(LoadJob& job, const BootArea& area) {
    BootRecord record;
    for (const MemoryMapEntry& entry : job.placement.memory_map()) {
        const std::size_t at = record.size();
        record.put64(at, entry.start.value);
        record.put64(at + 8, entry.size);
        record.put32(at + 16, static_cast<std::uint32_t>(entry.type));
        record.put32(at + 20, 0);
    }
    job.placement.write(job.image, area.memory_map(), record.bytes());
}

// The module list, then the strings it points to.
void write_modules(LoadJob& job, const BootArea& area, mmu::GuestPhysical above) {
    BootRecord record(job.options.modules.size() * module_entry_size);
    const std::vector<PlacedModule> modules = place_modules(job, above, record, area.modules());
    std::size_t at = 0;
    for (const PlacedModule& module : modules) {
        record.put64(at, module.start.value);
        record.put64(at + 8, module.size);
        record.put64(at + 16, module.string.value);
        at += module_entry_size;
    }
    write_module_page(job, area, record);
}

void write_start_info(LoadJob& job, const BootArea& area) {
    BootRecord info(BootArea::information_size);
    const std::size_t modules = job.options.modules.size();
    info.put32(0, start_info_magic);
    info.put32(4, start_info_version);
    info.put32(12, static_cast<std::uint32_t>(modules));
    info.put64(16, modules > 0 ? area.modules().value : 0);
    info.put64(24, area.command_line().value);
    info.put64(32, job.options.rsdp.value);
    info.put64(40, area.memory_map().value);
    info.put32(48, static_cast<std::uint32_t>(job.placement.memory_map().size()));
    job.placement.write(job.image, area.information(), info.bytes());
}

}  // namespace

bool has_pvh_note(const ImageFile& image) { return find_entry(image, read_elf_headers(image)).has_value(); }

void load_pvh(LoadJob& job) {
    const ElfHeaders headers = read_elf_headers(job.image);
    const std::optional<PvhEntry> entry = find_entry(job.image, headers);
    if (!entry) {
        job.image.refuse(LoadFailure::malformed, 0, "a Xen note of type 18 (PHYS32_ENTRY) in a PT_NOTE segment",
                         headers.notes.empty() ? "no PT_NOTE segment" : "no such note");
    }
    if (entry->address >= four_gibibytes || !holds_physical(headers, entry->address)) {
        job.image.refuse(LoadFailure::malformed, entry->offset, "a PVH entry point below 4 GiB inside a loaded segment",
                         hexadecimal(entry->address));
    }
    job.describe(std::string("PVH image, ") + (headers.is_64bit ? "64-bit ELF" : "32-bit ELF"));
    place_elf_segments(job, headers);
    const BootArea area = job.placement.claim_boot_area(job.image);
    std::uint64_t end = 0;
    for (const ElfSegment& segment : headers.load) {
        end = std::max(end, segment.physical_address + segment.memory_size);
    }
    write_command_line(job, area, job.options.command_line, BootArea::command_line_size - 1, 0);
    write_memory_map(job, area);
    write_modules(job, area, {end});
    write_start_info(job, area);

    cpu::CpuState state =
        protected_mode_entry(job.image, job.placement, area, static_cast<std::uint32_t>(entry->address));
    state.registers[cpu::rbx] = area.information().value;
    state.tr.base = 0;
    job.result.entry_state = state;
    job.describe("32-bit protected mode, entry " + hexadecimal(entry->address) + ", start info at " +
                 hexadecimal(area.information().value));
}

}  // namespace xenolith::loader
