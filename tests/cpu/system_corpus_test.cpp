// Every case of the corpus of system instructions, on the interpreter and on a judge we did not write: the host's KVM.
// Both must end in the same state, with the same memory. Where the judge is known to be wrong
// (system_corpus/quirks.cpp), or cannot run a case, that is said and counted.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>

#include "tests/cpu/system_corpus/quirks.hpp"
#include "tests/cpu/system_corpus/runner.hpp"

namespace xenolith::cpu::test {
namespace {

struct FamilyInMode {
    std::string_view family;
    CorpusMode mode;

    std::string name() const { return std::string(family) + "_" + std::string(corpus_mode_name(mode)); }
};
void PrintTo(const FamilyInMode& parameter, std::ostream* out) { *out << parameter.name(); }

std::vector<FamilyInMode> families_in_modes() {
    std::vector<FamilyInMode> found;
    for (const std::string_view family : corpus_families())
        for (const CorpusMode mode : corpus_modes)
            if (std::ranges::any_of(corpus(),
                                    [&](const CorpusCase& c) { return c.family == family && c.mode == mode; }))
                found.push_back({family, mode});
    return found;
}

// What was judged in this process, and what not, by reason.
struct Account {
    unsigned judged = 0, tests = 0;
    std::map<std::string, unsigned, std::less<>> not_judged;
    std::set<const Quirk*> quirks_seen;

    void print() const {
        std::printf("judged: %u cases\n", judged);
        for (const auto& [reason, count] : not_judged) std::printf("not judged: %u cases: %s\n", count, reason.c_str());
    }
};
Account& total() {
    static Account account;
    return account;
}

// After a run of everything: the sum, and no quirk of QEMU's may be there that has not shown.
class Closing final : public testing::Environment {
    void TearDown() override {
        if (total().tests != families_in_modes().size()) return;
        std::printf("In all:\n");
        total().print();
        for (const Quirk& quirk : quirks()) {
            if (quirk.judge != Judge::nested || judge_here() != Judge::nested || quirk.hangs) continue;
            EXPECT_TRUE(total().quirks_seen.contains(&quirk)) << "no case shows this any more: " << quirk.name;
        }
    }
};
const testing::Environment* const closing = testing::AddGlobalTestEnvironment(new Closing);

// Names each case before it is run: to find the one that a judge never returns from.
const bool traced = std::getenv("XENOLITH_TRACE_CASES") != nullptr;

class SystemCorpus : public testing::TestWithParam<FamilyInMode> {
  protected:
    void SetUp() override {
        if (const auto reason = kvm_unavailable()) GTEST_SKIP() << "no judge: " << *reason;
    }

    void judge(const CorpusCase& each);

    Account account_;
};
INSTANTIATE_TEST_SUITE_P(Judged, SystemCorpus, testing::ValuesIn(families_in_modes()),
                         [](const auto& parameter) { return parameter.param.name(); });

void SystemCorpus::judge(const CorpusCase& each) {
    static CorpusRunner interpreter(CorpusRunner::On::interpreter), kvm(CorpusRunner::On::kvm);
    const Judge judge = judge_here();
    const Quirk* const quirk = find_quirk(judge, each);
    if ((each.cr4_set & ~common_model().cr4_bits()) != 0) {
        ++account_.not_judged["the judge's CPU does not have what the case needs in CR4"];
        return;
    }
    if (quirk != nullptr && quirk->hangs) {
        ++account_.not_judged[std::string(quirk->reason)];
        return;
    }
    if (traced) std::fprintf(stderr, "@ %s\n", std::string(each.name).c_str());
    const CorpusRun theirs = kvm.run(each);
    if (!theirs.refusal.empty()) {
        ++account_.not_judged[theirs.refusal.substr(0, theirs.refusal.find(" at "))];
        return;
    }
    // TCG never sets RF in what it pushes.
    const std::string difference = difference_between(each, interpreter.run(each), theirs, judge != Judge::nested);
    if (!difference.empty() && quirk != nullptr) {
        ++account_.not_judged[std::string(quirk->reason)];
        account_.quirks_seen.insert(quirk);
        return;
    }
    ++account_.judged;
    if (!difference.empty()) ADD_FAILURE() << each.name << ", " << corpus_mode_name(each.mode) << ": " << difference;
}

TEST_P(SystemCorpus, EndsAlike) {
    for (const CorpusCase& each : corpus())
        if (each.family == GetParam().family && each.mode == GetParam().mode) judge(each);
    account_.print();
    total().judged += account_.judged;
    ++total().tests;
    for (const auto& [reason, count] : account_.not_judged) total().not_judged[reason] += count;
    total().quirks_seen.merge(account_.quirks_seen);
    if (account_.judged == 0) GTEST_SKIP() << "none of the cases could be judged";
}

// --- Without a judge: the corpus and its world are what they say ------------------------------------------------

TEST(SystemCorpusItself, EndsOnTheInterpreter) {
    CorpusRunner interpreter(CorpusRunner::On::interpreter);
    for (const CorpusCase& each : corpus()) {
        const ExitReason reason = interpreter.run(each).reason;
        EXPECT_TRUE(reason == ExitReason::halted || reason == ExitReason::shutdown)
            << each.name << ", " << corpus_mode_name(each.mode);
    }
}

// Where a case ends shows that descriptors, gates, tables and code lie where corpus.S thinks they do.
TEST(SystemCorpusItself, StandsInItsWorld) {
    struct Expected {
        std::string_view name;
        CorpusMode mode;
        int vector;
    };
    constexpr int at_its_end = -1;
    const Expected table[] = {
        {"interrupt/ud2", CorpusMode::protected32, 6},
        {"interrupt/ud2", CorpusMode::long64, 6},
        {"interrupt/ud2", CorpusMode::user64, 6},
        {"interrupt/ud2", CorpusMode::vm86, 6},
        {"interrupt/int 0x33", CorpusMode::protected32, 11},
        {"segment/mov ds, absent_data + 0", CorpusMode::protected32, 11},
        {"segment/mov ss, absent_data + 0", CorpusMode::protected32, 12},
        {"segment/mov ds, execute_only + 0", CorpusMode::protected32, 13},
        {"segment/mov ds, beyond + 0", CorpusMode::protected32, 13},
        {"segment/mov ds, ldt_data + 0", CorpusMode::protected32, at_its_end},
        {"segment/mov ds, ldt_absent_data + 0", CorpusMode::protected32, 11},
        {"segment/mov ds, udata32 + 0", CorpusMode::protected32, at_its_end},
        {"far/call gate_absent + 0", CorpusMode::protected32, 11},
        {"page/read of page 0", CorpusMode::paged32, at_its_end},
        {"page/read of page 5", CorpusMode::paged32, 14},
        {"page/read of page 6", CorpusMode::pae32, 14},
        {"page/fetch of page 4", CorpusMode::long64, 14},
        {"page/read of page 2", CorpusMode::user64, 14},
        {"port/in al, 0x7f at IOPL 0x0", CorpusMode::user32, 13},
    };
    CorpusRunner interpreter(CorpusRunner::On::interpreter);
    for (const Expected& expected : table) {
        SCOPED_TRACE(std::string(expected.name) + ", " + std::string(corpus_mode_name(expected.mode)));
        const auto found = std::ranges::find_if(
            corpus(), [&](const CorpusCase& c) { return c.name == expected.name && c.mode == expected.mode; });
        ASSERT_NE(found, corpus().end());
        const CorpusRun run = interpreter.run(*found);
        EXPECT_EQ(vector_of(*found, run), expected.vector);
    }
}

}  // namespace
}  // namespace xenolith::cpu::test
