// The fuzzer itself, and a short run of it: what it tells has to be true, and can be told again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>
#include <stdexcept>

#include "cpu/fuzz/catalogue.hpp"
#include "cpu/fuzz/comparison.hpp"
#include "cpu/fuzz/decoder_check.hpp"
#include "cpu/fuzz/fuzzer.hpp"
#include "cpu/fuzz/reproducer.hpp"
#include "cpu/fuzz/subjects.hpp"
#include "cpu/isa/row.hpp"
#include "cpu/native/row_bench.hpp"

namespace xenolith::test {

namespace {

using namespace cpu;
using namespace cpu::fuzz;
using testing::HasSubstr;

// A row that is wrong on purpose: it runs the right one, and then changes something.
class Spoiled final : public Subject {
  public:
    using Spoil = void (*)(const State& start, Outcome& outcome);
    Spoiled(Subject& right, Spoil spoil) : right_(right), spoil_(spoil) {}

    void prepare(const Encoding& encoding) override { right_.prepare(encoding); }
    void run(const State& start, Outcome& outcome) override {
        right_.run(start, outcome);
        spoil_(start, outcome);
    }
    std::span<std::byte, memory_size> memory() override { return right_.memory(); }

  private:
    Subject& right_;
    Spoil spoil_;
};

class Fuzz : public testing::TestWithParam<DecodeMode> {
  protected:
    void SetUp() override {
        theirs_ = NativeSubject::create(GetParam());
        if (theirs_ == nullptr) GTEST_SKIP() << "the host's CPU cannot run such code in user mode, or has no AVX";
        sides_ = {.mode = GetParam(), .layout = theirs_->layout()};
        ours_ = std::make_unique<RowSubject>(GetParam(), sides_.layout);
        sides_.decoder = &ours_->decoder();
        sides_.ours = ours_.get();
        sides_.theirs = theirs_.get();
    }

    Report run(const FuzzOptions& options) {
        Report report;
        run_fuzz(sides_, options, options.count, report);
        return report;
    }
    Report run_spoiled(std::string_view pattern, Spoiled::Spoil spoil) {
        Spoiled spoiled(*ours_, spoil);
        sides_.ours = &spoiled;
        return run({.seed = 3, .count = 20'000, .pattern = std::string(pattern)});
    }

    std::unique_ptr<NativeSubject> theirs_;
    std::unique_ptr<RowSubject> ours_;
    Sides sides_;
};

TEST_P(Fuzz, FindsNoDifferenceThatIsNotExplained) {
    const Report report = run({.seed = 1, .count = 100'000});
    for (const Finding& finding : report.findings)
        ADD_FAILURE() << finding.form << ": " << finding.instruction << ": " << testing::PrintToString(finding.fields)
                      << "\n  xenolith fuzz --reproduce '" << finding.line << "'";
    EXPECT_GE(report.tests, 99'000u);
    EXPECT_GT(report.judged_forms(), 1500u);
}

TEST_P(Fuzz, RunsEveryFormThatItSaysItJudges) {
    const Report report = run({.seed = 2, .count = 20'000});
    std::set<std::string> names;
    for (const FormReport& form : report.forms) {
        EXPECT_TRUE(names.insert(form.form).second) << form.form << " is there twice";
        EXPECT_EQ(form.tests == 0, !form.not_judged.empty()) << form.form;
    }
}

TEST_P(Fuzz, TheSameSeedGivesTheSameTests) {
    const FuzzOptions options{.seed = 5, .count = 4000, .pattern = "ADC"};
    const auto outcome = [&] {
        std::vector<std::uint64_t> tests;
        for (const FormReport& form : run(options).forms) tests.push_back(form.tests);
        return tests;
    };
    EXPECT_EQ(outcome(), outcome());
}

TEST_P(Fuzz, ShardsShareTheForms) {
    const std::size_t whole = run({.seed = 5, .count = 1, .pattern = "S*"}).forms.size();
    std::size_t sum = 0;
    for (unsigned n = 0; n < 3; ++n)
        sum += run({.seed = 5, .count = 1, .shard = n, .shards = 3, .pattern = "S*"}).forms.size();
    EXPECT_GT(whole, 30u);
    EXPECT_EQ(sum, whole);
}

// A wrong carry, in one of sixteen results.
void forget_carry(const State&, Outcome& outcome) {
    if ((outcome.cpu.registers.general[rax] & 15) == 0) outcome.cpu.registers.rflags &= ~rflags::cf;
}

TEST_P(Fuzz, MakesADifferenceSmall) {
    const Report report = run_spoiled("ADC r32, i8", forget_carry);
    ASSERT_EQ(report.findings.size(), 1u);
    const Finding& finding = report.findings.front();
    EXPECT_THAT(finding.fields, testing::ElementsAre(HasSubstr("rflags")));
    const auto reproducer = from_line(finding.line);
    unsigned set = 0;
    for (const std::uint64_t value : reproducer->state.registers.general) set += value != 0 ? 1 : 0;
    EXPECT_LE(set, 1u) << finding.line;
    for (const std::byte byte : reproducer->memory) ASSERT_EQ(byte, std::byte{0}) << finding.line;
}

TEST_P(Fuzz, TheLineOfADifferenceReproducesIt) {
    Spoiled spoiled(*ours_, forget_carry);
    const Report report = run_spoiled("SBB m32, r32*", forget_carry);
    ASSERT_FALSE(report.findings.empty());
    for (const Finding& finding : report.findings) {
        const auto reproducer = from_line(finding.line);
        EXPECT_EQ(to_line(*reproducer), finding.line);
        sides_.ours = &spoiled;
        EXPECT_EQ(reproduce(sides_, *reproducer).fields, finding.fields);
        sides_.ours = ours_.get();
        EXPECT_THAT(reproduce(sides_, *reproducer).fields, testing::IsEmpty());
    }
}

TEST_P(Fuzz, SeesAnyPartOfTheState) {
    struct Case {
        std::string_view pattern;
        Spoiled::Spoil spoil;
        std::string_view field;
    };
    const Case cases[] = {
        {"MOV r32, r32", [](const State&, Outcome& outcome) { outcome.cpu.registers.general[rsi] ^= 1; }, "rsi"},
        {"MOV r32, r32", [](const State&, Outcome& outcome) { outcome.cpu.rip += 1; }, "rip"},
        {"MOV r32, r32", [](const State&, Outcome& outcome) { outcome.cpu.fault = NativeFault{.vector = 6}; }, "fault"},
        {"FADD*", [](const State&, Outcome& outcome) { outcome.floating_point.status ^= 0x100; }, "x87 status"},
        {"PADDB*", [](const State&, Outcome& outcome) { outcome.floating_point.vector[7][1] ^= 1; }, "ymm7 word 1"},
        {"ADDPS*", [](const State&, Outcome& outcome) { outcome.floating_point.mxcsr ^= 0x20; }, "mxcsr"},
    };
    for (const Case& wanted : cases) {
        SCOPED_TRACE(wanted.field);
        const Report report = run_spoiled(wanted.pattern, wanted.spoil);
        ASSERT_FALSE(report.findings.empty());
        EXPECT_THAT(testing::PrintToString(report.findings.front().fields), HasSubstr(wanted.field));
    }
}

INSTANTIATE_TEST_SUITE_P(, Fuzz,
                         testing::Values(DecodeMode::long64, DecodeMode::compatibility32, DecodeMode::compatibility16),
                         [](const auto& information) { return std::string(mode_name(information.param)); });

TEST(Catalogue, HasFormsOfEveryRow) {
    const Decoder decoder(model_like_the_host(), *find_timing("modern"));
    std::set<unsigned> mnemonics;
    for (const DecodeMode mode : {DecodeMode::long64, DecodeMode::compatibility32, DecodeMode::compatibility16})
        for (const fuzz::Form& form : make_catalogue(EncodingReader(decoder, mode), {.seed = 1}).forms)
            mnemonics.insert(form.key.mnemonic);
    for (unsigned n = 1; n <= ZYDIS_MNEMONIC_MAX_VALUE; ++n) {
        const auto mnemonic = static_cast<ZydisMnemonic>(n);
        const bool has_row =
            std::ranges::any_of(std::array<std::uint16_t, 3>{0, row_flag::mmx_operand, row_flag::vector_operand},
                                [&](std::uint16_t flag) { return find_row(mnemonic, flag) != nullptr; });
        EXPECT_TRUE(!has_row || mnemonics.contains(n)) << mnemonic_name(mnemonic);
    }
}

TEST(Decoders, ZydisAndCapstoneAgreeButForWhatIsListed) {
    const Decoder decoder(model_like_the_host(), *find_timing("modern"));
    for (const DecodeMode mode : {DecodeMode::long64, DecodeMode::compatibility32, DecodeMode::compatibility16}) {
        const auto host = NativeOracle::create(native_mode(mode).value());
        const DecoderReport report = check_decoders(EncodingReader(decoder, mode), 1, host.get());
        EXPECT_GT(report.compared, 200'000u);
        for (const DecoderDifference& difference : report.unexplained)
            ADD_FAILURE() << "Zydis " << difference.zydis << ", Capstone " << difference.capstone << ": "
                          << difference.example;
    }
}

TEST(Reproducer, EveryPartSurvivesTheRoundTrip) {
    auto reproducer = std::make_unique<Reproducer>(Reproducer::blank());
    reproducer->mode = DecodeMode::compatibility32;
    reproducer->code = {0x0f, 0x01, 0xf8};
    reproducer->state.registers.general[r15] = 0xfedcba9876543210;
    reproducer->state.registers.rflags = 0x246;
    FloatingPointState& fp = reproducer->state.floating_point;
    fp.control = 0x40;
    fp.status = 0x3801;
    fp.tag = 0x5aaa;
    fp.opcode = 0x123;
    fp.instruction_pointer = 5;
    fp.data_pointer = 6;
    fp.mxcsr = 0x9fc0;
    fp.registers[7] = {0x8000000000000001, 0xffff};
    fp.vector[15] = {1, 2, 3, 4};
    reproducer->memory[memory_size - 1] = std::byte{0xab};
    const std::string line = to_line(*reproducer);
    const auto again = from_line(line);
    EXPECT_EQ(to_line(*again), line);
    EXPECT_EQ(again->mode, reproducer->mode);
    EXPECT_EQ(again->code, reproducer->code);
    EXPECT_EQ(again->state.registers, reproducer->state.registers);
    EXPECT_EQ(again->state.floating_point, fp);
    EXPECT_EQ(again->memory, reproducer->memory);
}

TEST(Reproducer, SaysWhatIsWrongWithALine) {
    for (const std::string_view line : {"", "code=9", "code=90 rax", "code=90 rax=g", "code=90 m3=1", "code=90 m4000=1",
                                        "code=90 ymm1=1", "code=90 mode=8", "code=90 x87r8=1:1",
                                        "code=00112233445566778899aabbccddeeff00", "code=90 rax=11112222333344445"})
        EXPECT_THROW(from_line(line), std::invalid_argument) << line;
}

TEST(Patterns, AreThoseOfAShell) {
    EXPECT_TRUE(matches("*", ""));
    EXPECT_TRUE(matches("ADC", "adc"));
    EXPECT_TRUE(matches("v*ps", "vaddps"));
    EXPECT_TRUE(matches("MOV r??, *", "mov r32, m32 addr64"));
    EXPECT_FALSE(matches("ADC", "adcx"));
    EXPECT_FALSE(matches("?", ""));
}

}  // namespace

}  // namespace xenolith::test
