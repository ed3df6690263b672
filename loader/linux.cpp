// bzImage: the Linux/x86 boot protocol (Documentation/arch/x86/boot.rst: "The Real-Mode Kernel Header",
// "32-bit Boot Protocol", "64-bit Boot Protocol") and its zero page (zero-page.rst).
//
// A bzImage is a boot sector and setup code for real mode, which is not run here, followed by the
// protected-mode kernel. The setup code holds a header at 0x1f1 in which kernel and loader tell each other
// what they need. Its copy, with the loader's answers, goes into boot_params at the same offset.
#include <algorithm>

#include "loader/boot_record.hpp"
#include "loader/formats.hpp"

namespace xenolith::loader {

namespace {

// Offsets in the file; those of the header hold in boot_params too.
namespace field {
constexpr std::uint64_t setup_sectors = 0x1f1, system_size = 0x1f4, video_mode = 0x1fa, boot_flag = 0x1fe,
                        header_length = 0x201, signature = 0x202, version = 0x206, kernel_version = 0x20e,
                        loader_type = 0x210, load_flags = 0x211, code32_start = 0x214, ramdisk_image = 0x218,
                        ramdisk_size = 0x21c, command_line = 0x228, initrd_address_max = 0x22c,
                        kernel_alignment = 0x230, relocatable = 0x234, extended_load_flags = 0x236,
                        command_line_size = 0x238, setup_data = 0x250, preferred_address = 0x258, init_size = 0x260;
}  // namespace field

// Offsets in boot_params outside the header.
namespace parameter {
constexpr std::uint64_t video_mode = 0x06, video_columns = 0x07, video_lines = 0x0e, video_is_vga = 0x0f,
                        video_points = 0x10, acpi_rsdp = 0x70, alternative_memory = 0x1e0, e820_entries = 0x1e8,
                        header_end = 0x290, e820_table = 0x2d0, e820_entry_size = 20;
}  // namespace parameter

constexpr std::uint32_t header_signature = 0x53726448;  // "HdrS"
constexpr std::uint16_t boot_flag_value = 0xaa55;
constexpr std::uint16_t version_2_06 = 0x206, version_2_10 = 0x20a, version_2_12 = 0x20c;
constexpr std::uint8_t loaded_high = 1u << 0;
constexpr std::uint16_t has_64bit_entry = 1u << 0;
constexpr std::uint64_t entry64_offset = 0x200;
constexpr std::uint64_t sector = 512;

struct LinuxHeader {
    std::uint16_t version = 0;
    std::uint64_t header_end = 0;     // in the file
    std::uint64_t kernel_offset = 0;  // of the protected-mode kernel in the file
    std::uint64_t kernel_size = 0;
    std::uint64_t initrd_address_max = 0;
    std::uint64_t alignment = 0;
    bool relocatable = false;
    bool offers_64bit_entry = false;
    std::uint64_t command_line_size = 0;
    std::uint64_t preferred_address = 0;  // 0 before version 2.10
    std::uint64_t init_size = 0;          // 0 before version 2.10
    std::string kernel_version;
};

std::string version_text(std::uint16_t version) {
    const std::string minor = std::to_string(version & 0xff);
    return std::to_string(version >> 8) + "." + (minor.size() < 2 ? "0" : "") + minor;
}

std::string read_kernel_version(const ImageFile& image, std::uint64_t setup_size) {
    constexpr std::uint64_t longest = 128;
    const std::uint64_t pointer = image.u16(field::kernel_version, "the kernel version's offset");
    const std::uint64_t start = pointer + 0x200;
    if (pointer == 0 || start >= setup_size) return {};
    const auto bytes = image.range(start, std::min(longest, setup_size - start), "the kernel version");
    std::string text;
    for (const std::byte byte : bytes) {
        if (byte == std::byte{0}) break;
        text.push_back(std::to_integer<char>(byte));
    }
    return printable(text);
}

void check_signature(const ImageFile& image) {
    const std::uint16_t flag = image.u16(field::boot_flag, "the boot sector signature");
    if (flag != boot_flag_value) {
        image.refuse(LoadFailure::malformed, field::boot_flag, "the boot sector signature 0xaa55", hexadecimal(flag));
    }
    const std::uint32_t signature = image.u32(field::signature, "the setup header signature");
    if (signature != header_signature) {
        image.refuse(LoadFailure::malformed, field::signature, "the setup header signature 0x53726448 (\"HdrS\")",
                     hexadecimal(signature));
    }
}

LinuxHeader read_header(const ImageFile& image) {
    check_signature(image);
    LinuxHeader header;
    header.version = image.u16(field::version, "the boot protocol version");
    if (header.version < version_2_06) {
        image.refuse(LoadFailure::unsupported, field::version, "boot protocol 2.06 or later (Linux 2.6.22)",
                     version_text(header.version));
    }
    if ((image.u8(field::load_flags, "the load flags") & loaded_high) == 0) {
        image.refuse(LoadFailure::unsupported, field::load_flags, "load flag 0x1 (a bzImage, loaded high)",
                     "a zImage, loaded low");
    }
    header.header_end = field::signature + image.u8(field::header_length, "the setup header's length");
    const std::uint64_t least_end = field::command_line_size + 4;
    if (header.header_end < least_end || header.header_end > parameter::header_end) {
        image.refuse(
            LoadFailure::malformed, field::header_length,
            "a setup header that ends from " + hexadecimal(least_end) + " to " + hexadecimal(parameter::header_end),
            "its end at " + hexadecimal(header.header_end));
    }

    const std::uint8_t stated_sectors = image.u8(field::setup_sectors, "the setup size");
    const std::uint64_t setup_size = (std::uint64_t{stated_sectors == 0 ? 4u : stated_sectors} + 1) * sector;
    if (setup_size >= image.size()) {
        image.refuse(LoadFailure::malformed, field::setup_sectors, "a kernel behind the setup code",
                     "setup code of " + hexadecimal(setup_size) + " bytes in a file of " + hexadecimal(image.size()));
    }
    header.kernel_offset = setup_size;
    header.kernel_size = image.size() - setup_size;
    // A signed kernel has its signature behind the size it states; a shorter file has been cut off.
    const std::uint64_t stated_size = std::uint64_t{image.u32(field::system_size, "the kernel's size")} * 16;
    if (stated_size != 0) {
        if (stated_size > header.kernel_size + 15) {
            image.refuse(LoadFailure::malformed, field::system_size,
                         "at most the " + hexadecimal(header.kernel_size) +
                             " bytes that follow the setup code (is the file cut off?)",
                         hexadecimal(stated_size));
        }
        header.kernel_size = std::min(header.kernel_size, stated_size);
    }

    header.initrd_address_max = image.u32(field::initrd_address_max, "initrd_addr_max");
    header.alignment = image.u32(field::kernel_alignment, "kernel_alignment");
    header.relocatable = image.u8(field::relocatable, "relocatable_kernel") != 0;
    header.command_line_size = image.u32(field::command_line_size, "cmdline_size");
    if (header.version >= version_2_10) {
        header.preferred_address = image.u64(field::preferred_address, "pref_address");
        header.init_size = image.u32(field::init_size, "init_size");
    }
    if (header.version >= version_2_12) {
        header.offers_64bit_entry = (image.u16(field::extended_load_flags, "xloadflags") & has_64bit_entry) != 0;
    }
    if (header.relocatable && (header.alignment == 0 || (header.alignment & (header.alignment - 1)) != 0)) {
        image.refuse(LoadFailure::malformed, field::kernel_alignment, "a power of two as kernel_alignment",
                     hexadecimal(header.alignment));
    }
    header.kernel_version = read_kernel_version(image, setup_size);
    return header;
}

bool takes_64bit_entry(const LoadJob& job, const LinuxHeader& header) {
    const bool wanted = job.options.linux_entry == LinuxEntry::entry64 ||
                        (job.options.linux_entry == LinuxEntry::automatic && header.offers_64bit_entry);
    if (!wanted) return false;
    if (!header.offers_64bit_entry) {
        job.image.refuse(LoadFailure::unsupported, field::extended_load_flags,
                         "a kernel with a 64-bit entry (boot protocol 2.12, xloadflags bit 0)",
                         "boot protocol " + version_text(header.version) + " without it");
    }
    if (header.kernel_size <= entry64_offset) {
        job.image.refuse(LoadFailure::malformed, field::system_size,
                         "a kernel longer than its 64-bit entry's offset, 0x200", hexadecimal(header.kernel_size));
    }
    return true;
}

// Where the kernel is loaded; claims what it uses before it reads its memory map.
mmu::GuestPhysical place_kernel(LoadJob& job, const LinuxHeader& header) {
    const std::uint64_t need = std::max(header.init_size, header.kernel_size);
    const auto fits = [&](std::uint64_t start, std::uint64_t size) {
        return start < four_gibibytes && size <= four_gibibytes - start && job.placement.is_free({start}, size);
    };
    const auto refuse = [&](std::uint64_t offset, std::uint64_t start, std::uint64_t size) {
        job.image.refuse(LoadFailure::does_not_fit, offset,
                         hexadecimal(size) + " bytes of RAM at " + hexadecimal(start) + " for the kernel",
                         "no RAM, or not enough, there");
    };
    if (!header.relocatable) {
        // Such a kernel is loaded at 1 MiB and moves itself to its preferred address.
        const mmu::GuestPhysical start = high_load_address;
        if (!fits(start.value, header.kernel_size)) refuse(field::relocatable, start.value, header.kernel_size);
        const std::uint64_t runs_at = header.preferred_address == 0 ? start.value : header.preferred_address;
        if (!fits(runs_at, need)) refuse(field::preferred_address, runs_at, need);
        job.placement.claim("kernel", start, header.kernel_size);
        job.placement.claim("kernel, unpacked", {runs_at}, need);
        return start;
    }
    // A kernel not at a multiple of its alignment would move itself up to one, out of what was found free.
    const std::uint64_t preferred = header.preferred_address;
    std::optional<mmu::GuestPhysical> start;
    if (preferred != 0 && preferred % header.alignment == 0 && fits(preferred, need)) {
        start = mmu::GuestPhysical{preferred};
    } else {
        start = job.placement.lowest(need, header.alignment, high_load_address, four_gibibytes);
    }
    if (!start) {
        job.image.refuse(LoadFailure::does_not_fit, header.init_size != 0 ? field::init_size : field::system_size,
                         "free RAM from 1 MiB to 4 GiB for the kernel to unpack itself",
                         "a need of " + hexadecimal(need) + " bytes, aligned to " + hexadecimal(header.alignment));
    }
    job.placement.claim("kernel", *start, need);
    return *start;
}

// The initrd goes as high as the kernel allows, out of the way of what the kernel unpacks.
void place_initrd(LoadJob& job, const LinuxHeader& header, BootRecord& parameters) {
    if (job.options.modules.empty()) return;
    if (job.options.modules.size() > 1) {
        job.image.refuse(LoadFailure::unsupported, 0, "at most one initrd for Linux",
                         std::to_string(job.options.modules.size()));
    }
    const ImageFile& file = job.options.modules.front().file;
    const auto start = job.placement.highest(file.size(), mmu::page_size, header.initrd_address_max + 1);
    if (!start) {
        file.refuse(
            LoadFailure::does_not_fit, 0,
            "an initrd that fits into free RAM up to " + hexadecimal(header.initrd_address_max) + " beside the kernel",
            hexadecimal(file.size()) + " bytes");
    }
    job.placement.write(file, *start, file.bytes());
    job.placement.claim("initrd", *start, file.size());
    parameters.put32(field::ramdisk_image, static_cast<std::uint32_t>(start->value));
    parameters.put32(field::ramdisk_size, static_cast<std::uint32_t>(file.size()));
    job.describe("initrd " + on_one_line(file.name()) + ": " + hexadecimal(file.size()) + " bytes at " +
                 hexadecimal(start->value));
}

void describe_memory(const LoadJob& job, BootRecord& parameters) {
    std::uint64_t at = parameter::e820_table;
    std::uint64_t end_of_low = high_load_address.value;
    for (const MemoryMapEntry& entry : job.placement.memory_map()) {
        parameters.put64(at, entry.start.value);
        parameters.put64(at + 8, entry.size);
        parameters.put32(at + 16, static_cast<std::uint32_t>(entry.type));
        at += parameter::e820_entry_size;
        const bool reaches_1mib = entry.start <= high_load_address;
        if (entry.type == MemoryType::usable && reaches_1mib) {
            end_of_low = std::max(end_of_low, range_end(entry.start, entry.size));
        }
    }
    parameters.put8(parameter::e820_entries, static_cast<std::uint8_t>(job.placement.memory_map().size()));
    // KiB above 1 MiB, for kernels that distrust the table.
    const std::uint64_t kibibytes = (std::min(end_of_low, four_gibibytes) - high_load_address.value) / 1024;
    parameters.put32(parameter::alternative_memory, static_cast<std::uint32_t>(kibibytes));
}

void describe_text_screen(BootRecord& parameters) {
    parameters.put8(parameter::video_mode, 3);
    parameters.put8(parameter::video_columns, 80);
    parameters.put8(parameter::video_lines, 25);
    parameters.put8(parameter::video_is_vga, 1);
    parameters.put16(parameter::video_points, 16);
}

}  // namespace

bool is_linux(const ImageFile& image) {
    return image.holds(field::boot_flag, 2) && image.holds(field::signature, 4) &&
           image.u16(field::boot_flag, "") == boot_flag_value && image.u32(field::signature, "") == header_signature;
}

void load_linux(LoadJob& job) {
    const LinuxHeader header = read_header(job.image);
    const bool in_64bit = takes_64bit_entry(job, header);
    job.result.kernel_version = header.kernel_version;
    job.describe("bzImage, boot protocol " + version_text(header.version) +
                 (header.kernel_version.empty() ? "" : ", kernel version " + header.kernel_version));

    const mmu::GuestPhysical start = place_kernel(job, header);
    const BootArea area = job.placement.claim_boot_area(job.image);
    job.placement.write(job.image, start,
                        job.image.range(header.kernel_offset, header.kernel_size, "the protected-mode kernel"));
    job.describe("kernel: " + hexadecimal(header.kernel_size) + " bytes at " + hexadecimal(start.value));

    BootRecord parameters(BootArea::information_size);
    parameters.put_bytes(
        field::setup_sectors,
        job.image.range(field::setup_sectors, header.header_end - field::setup_sectors, "the setup header"));
    constexpr std::uint16_t normal_video_mode = 0xffff;
    constexpr std::uint8_t unnamed_loader = 0xff;
    parameters.put16(field::video_mode, normal_video_mode);
    parameters.put8(field::loader_type, unnamed_loader);
    parameters.put32(field::code32_start, static_cast<std::uint32_t>(start.value));
    parameters.put32(field::ramdisk_image, 0);
    parameters.put32(field::ramdisk_size, 0);
    parameters.put32(field::command_line, static_cast<std::uint32_t>(area.command_line().value));
    parameters.put64(field::setup_data, 0);
    parameters.put64(parameter::acpi_rsdp, job.options.rsdp.value);
    describe_text_screen(parameters);
    describe_memory(job, parameters);
    write_command_line(job, area, job.options.command_line,
                       std::min(header.command_line_size, BootArea::command_line_size - 1), field::command_line_size);
    place_initrd(job, header, parameters);
    job.placement.write(job.image, area.information(), parameters.bytes());

    const std::uint64_t entry = start.value + (in_64bit ? entry64_offset : 0);
    job.result.entry_state =
        in_64bit ? long_mode_entry(job.image, job.placement, area, entry)
                 : protected_mode_entry(job.image, job.placement, area, static_cast<std::uint32_t>(entry));
    job.result.entry_state.registers[cpu::rsi] = area.information().value;
    job.describe((in_64bit ? "64-bit" : "32-bit") + std::string(" entry at ") + hexadecimal(entry) +
                 ", boot_params at " + hexadecimal(area.information().value));
}

}  // namespace xenolith::loader
