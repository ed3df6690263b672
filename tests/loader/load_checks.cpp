#include "tests/loader/load_checks.hpp"

#include <algorithm>
#include <regex>

namespace xenolith::loader::testing {

namespace {

bool overlap(const PlacedRange& a, const PlacedRange& b) {
    return a.start.value < b.end().value && b.start.value < a.end().value;
}

std::string check_loaded(const LoadedImage& loaded, const mmu::GuestMemory& memory) {
    const cpu::CpuState& state = loaded.entry_state;
    if (loaded.format == Format::automatic) return "the format was left automatic";
    if (loaded.description.empty()) return "no description";
    for (const std::string& line : loaded.description) {
        if (line.find('\n') != std::string::npos) return "a description of several lines";
    }
    if (state.rflags != cpu::rflags::fixed_one) return "RFLAGS is not 2";
    const std::uint64_t entry = state.segment(cpu::SegmentName::cs).base + state.rip;
    const auto holds_entry = [entry](const PlacedRange& range) {
        return entry >= range.start.value && entry < range.end().value;
    };
    if (std::none_of(loaded.placed.begin(), loaded.placed.end(), holds_entry)) return "the entry is outside the image";
    for (std::size_t i = 0; i < loaded.placed.size(); ++i) {
        const PlacedRange& range = loaded.placed[i];
        if (range.size == 0) return range.what + " is empty";
        // flat images may lie in ROM
        const mmu::Region* const region = memory.find(range.start);
        if (!memory.is_ram(range.start, range.size) && (!region || region->kind != mmu::RegionKind::rom)) {
            return range.what + " is outside memory";
        }
        for (std::size_t j = 0; j < i; ++j) {
            const PlacedRange& other = loaded.placed[j];
            // A kernel that cannot be relocated unpacks itself over its own image.
            const bool unpacks = range.what == "kernel, unpacked" && other.what == "kernel";
            if (overlap(range, other) && !unpacks) return range.what + " overlaps " + other.what;
        }
    }
    return {};
}

}  // namespace

std::string check_message(const LoadError& error) {
    static const std::regex form(
        "[^\\x00-\\x1f]*: offset 0x[0-9a-f]+: expected [^\\x00-\\x1f]+, found [^\\x00-\\x1f]+");
    const std::string message = error.what();
    if (!std::regex_match(message, form)) return "a message of another form: " + message;
    return {};
}

CheckedLoad load_and_check(const ImageFile& image, const LoadOptions& options, mmu::GuestMemory& memory) {
    try {
        return {true, check_loaded(load(image, options, memory), memory)};
    } catch (const LoadError& error) {
        return {false, check_message(error)};
    }
}

}  // namespace xenolith::loader::testing
