// Flat images: the file's bytes are the memory's bytes, and the format says only in which mode they run.
#include <algorithm>
#include <array>

#include "loader/formats.hpp"

namespace xenolith::loader {

namespace {

struct RealModeAddress {
    std::uint16_t selector, offset;
};

// Somewhere with 4 KiB of RAM below it that the image does not use, by preference where boot sectors have
// their stack.
RealModeAddress real_mode_stack(const LoadJob& job) {
    constexpr std::uint64_t room = 0x1000;
    constexpr std::array<RealModeAddress, 4> candidates{{{0, 0x7c00}, {0, 0xfff0}, {0x1000, 0xfff0}, {0x9000, 0xf000}}};
    for (const RealModeAddress& top : candidates) {
        const mmu::GuestPhysical start{top.selector * std::uint64_t{16} + top.offset - room};
        if (job.placement.is_free(start, room)) return top;
    }
    job.image.refuse(LoadFailure::does_not_fit, 0, "4 KiB of RAM beside the image for a real-mode stack", "none");
}

void enter_real_mode(LoadJob& job, std::uint64_t load_address) {
    const std::uint64_t entry = load_address + job.options.entry_offset;
    const std::uint64_t selector = entry < 0x10000 ? 0 : load_address / 16;
    const std::uint64_t offset = entry - selector * 16;
    if (selector > 0xffff || offset > 0xffff) {
        job.image.refuse(LoadFailure::does_not_fit, 0,
                         "a real-mode address below 1 MiB, within 64 KiB of the load address",
                         "the entry at " + hexadecimal(entry));
    }
    const RealModeAddress stack = real_mode_stack(job);
    job.result.entry_state = real_mode_entry(static_cast<std::uint16_t>(selector), static_cast<std::uint16_t>(offset),
                                             stack.selector, stack.offset);
    job.describe("real mode, entry " + hexadecimal(selector) + ":" + hexadecimal(offset) + ", stack " +
                 hexadecimal(stack.selector) + ":" + hexadecimal(stack.offset));
}

}  // namespace

void load_flat(LoadJob& job, Format format) {
    refuse_boot_protocol_options(job);
    const mmu::GuestPhysical start =
        job.options.load_address.value_or(format == Format::flat16 ? flat16_load_address : high_load_address);
    const std::uint64_t size = job.image.size();
    if (job.options.entry_offset >= size) {
        job.image.refuse(LoadFailure::malformed, job.options.entry_offset, "the entry inside the image",
                         "the end of the file at " + hexadecimal(size));
    }
    job.placement.write_image(job.image, start, job.image.bytes());
    job.placement.claim("image", start, size);
    job.describe(std::string(format_name(format)) + " image: " + hexadecimal(size) + " bytes at " +
                 hexadecimal(start.value));
    if (format == Format::flat16) {
        enter_real_mode(job, start.value);
        return;
    }
    const std::uint64_t entry = start.value + job.options.entry_offset;
    if (entry >= four_gibibytes) {
        job.image.refuse(LoadFailure::does_not_fit, job.options.entry_offset, "an entry below 4 GiB",
                         hexadecimal(entry));
    }
    const BootArea area = job.placement.claim_boot_area(job.image);
    if (format == Format::flat32) {
        job.result.entry_state =
            protected_mode_entry(job.image, job.placement, area, static_cast<std::uint32_t>(entry));
    } else {
        job.result.entry_state = long_mode_entry(job.image, job.placement, area, entry);
    }
    job.describe((format == Format::flat32 ? "32-bit protected mode" : "64-bit mode") + std::string(", entry ") +
                 hexadecimal(entry) + ", boot tables at " + hexadecimal(area.base.value));
}

}  // namespace xenolith::loader
