// Where a judge of the corpus is known to be wrong, or no judge: what it says there does not count.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "tests/cpu/system_corpus/corpus.hpp"

namespace xenolith::cpu::test {

enum class Judge : std::uint8_t {
    host,    // the KVM of the machine that the tests run on
    nested,  // the KVM inside tests/cpu/nested_machine.py: its CPU is QEMU's TCG
};
Judge judge_here();  // `nested` if the environment variable XENOLITH_JUDGE says so

struct Quirk {
    Judge judge;
    bool hangs;             // the judge is not even asked
    std::string_view name;  // of the case; a * stands for anything
    std::uint32_t modes;    // a bit for each CorpusMode
    std::string_view reason;

    bool covers(const CorpusCase& each) const;
};

std::span<const Quirk> quirks();
// Null if the judge is believed.
const Quirk* find_quirk(Judge judge, const CorpusCase& each);

}  // namespace xenolith::cpu::test
