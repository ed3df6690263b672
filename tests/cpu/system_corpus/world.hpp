// The world that the corpus runs in: descriptors of every kind, gates, tasks, pages with every combination of rights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpu/model/cpu_model.hpp"
#include "cpu/state/cpu_state.hpp"
#include "tests/cpu/system_corpus/corpus.hpp"

namespace xenolith::cpu::test {

inline constexpr std::uint64_t corpus_memory_size = 0xa0000;  // RAM from 0

inline constexpr std::uint64_t corpus_program = 0xc000;  // where a case's code is put, and begins

// Guest memory as it is when a case of the mode begins, but for its code.
const std::vector<std::byte>& corpus_memory(CorpusMode mode);
CpuState corpus_state(const CorpusCase& each);

// Linear address of the handler of vector 0; each is a HLT, 16 bytes behind the one before.
inline constexpr std::uint64_t corpus_handlers = 0x4000;

}  // namespace xenolith::cpu::test
