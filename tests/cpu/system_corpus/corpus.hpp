// The corpus of system instructions: short programs in every mode, assembled from corpus.S. A judge and an engine run
// the same case from the same state in the same memory, and must end alike.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace xenolith::cpu::test {

enum class CorpusMode : std::uint8_t {
    real,
    vm86,
    protected16,
    compatibility16,
    protected32,  // no paging
    paged32,
    pae32,
    compatibility32,
    user32,  // with 2-level paging
    user_compatibility32,
    long64,
    user64,
};

inline constexpr std::array corpus_modes = {
    CorpusMode::real,        CorpusMode::vm86,
    CorpusMode::protected16, CorpusMode::compatibility16,
    CorpusMode::protected32, CorpusMode::paged32,
    CorpusMode::pae32,       CorpusMode::compatibility32,
    CorpusMode::user32,      CorpusMode::user_compatibility32,
    CorpusMode::long64,      CorpusMode::user64,
};

constexpr std::string_view corpus_mode_name(CorpusMode mode) {
    constexpr std::string_view names[] = {
        "real",    "vm86",  "protected16",     "compatibility16", "protected32",
        "paged32", "pae32", "compatibility32", "user32",          "user_compatibility32",
        "long64",  "user64"};
    return names[static_cast<unsigned>(mode)];
}

struct CorpusCase {
    std::string_view name;    // "segment/mov ds, null + 3"
    std::string_view family;  // what stands in front of the slash
    CorpusMode mode;
    std::span<const std::byte> code;
    // How the mode's entry state is changed.
    std::uint64_t flags_set, cr0_changed, cr4_set, efer_changed;
};

// Every case in every mode that it names.
std::span<const CorpusCase> corpus();
// In the order in which they come.
std::span<const std::string_view> corpus_families();

}  // namespace xenolith::cpu::test
