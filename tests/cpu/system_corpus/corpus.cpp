#include "tests/cpu/system_corpus/corpus.hpp"

#include <algorithm>

namespace xenolith::cpu::test {
namespace {

// As corpus.S writes it.
struct CorpusRecord {
    const char* name;
    const std::byte* begin;
    const std::byte* end;
    std::uint64_t cr4_set;
    std::uint32_t modes, flags_set, cr0_changed, efer_changed;
};
static_assert(sizeof(CorpusRecord) == 48);

// The linker's names for the ends of the section.
extern "C" const CorpusRecord __start_system_corpus[], __stop_system_corpus[];

std::vector<CorpusCase> make_corpus() {
    std::vector<CorpusCase> cases;
    for (const CorpusRecord* record = __start_system_corpus; record != __stop_system_corpus; ++record) {
        const std::string_view name = record->name;
        for (const CorpusMode mode : corpus_modes) {
            if ((record->modes >> static_cast<unsigned>(mode) & 1) == 0) continue;
            cases.push_back({.name = name,
                             .family = name.substr(0, name.find('/')),
                             .mode = mode,
                             .code = {record->begin, record->end},
                             .flags_set = record->flags_set,
                             .cr0_changed = record->cr0_changed,
                             .cr4_set = record->cr4_set,
                             .efer_changed = record->efer_changed});
        }
    }
    return cases;
}

}  // namespace

std::span<const CorpusCase> corpus() {
    static const std::vector<CorpusCase> cases = make_corpus();
    return cases;
}

std::span<const std::string_view> corpus_families() {
    static const std::vector<std::string_view> families = [] {
        std::vector<std::string_view> found;
        for (const CorpusCase& each : corpus())
            if (std::ranges::find(found, each.family) == found.end()) found.push_back(each.family);
        return found;
    }();
    return families;
}

}  // namespace xenolith::cpu::test
