// Runs a case of the corpus on one engine, and says where two runs differ.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "cpu/engine.hpp"
#include "cpu/kvm/kvm_engine.hpp"
#include "cpu/native/row_bench.hpp"
#include "mmu/guest_memory.hpp"
#include "tests/cpu/system_corpus/corpus.hpp"

namespace xenolith::cpu::test {

struct CorpusRun {
    ExitReason reason = ExitReason::halted;
    CpuState state;
    std::span<const std::byte> memory;  // the runner's own: good until its next run
    std::string refusal;                // why the engine's host could not run it; the rest is then meaningless
};

// The exception whose handler a case has ended in, as its frame is on the stack; -1 if it has ended elsewhere.
int vector_of(const CorpusCase& each, const CorpusRun& run);

// "rax 5 and 6, [8ff8] 1 and 0": one text for everything that differs; empty if nothing does. What no manual promises
// is not compared: accessed bits of page tables after a page fault, and the base of a null FS or GS.
std::string difference_between(const CorpusCase& each, const CorpusRun& ours, const CorpusRun& judged,
                               bool resume_flag_counts = true);

// The "modern" model, without what this host's KVM, if there is one, does not have: so that both sides offer the guest
// the same.
const CpuModel& common_model();

class CorpusRunner {
  public:
    enum class On : std::uint8_t { interpreter, kvm };

    explicit CorpusRunner(On on) : on_(on) {}
    CorpusRun run(const CorpusCase& each);

  private:
    void make_engine();

    On on_;
    std::unique_ptr<mmu::GuestMemory> memory_;
    std::byte* host_ = nullptr;  // where its bytes are
    EmptyWorld world_;
    std::unique_ptr<Engine> engine_;
};

}  // namespace xenolith::cpu::test
