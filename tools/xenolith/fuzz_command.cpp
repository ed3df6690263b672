// `xenolith fuzz`: the instruction rows against the host's own CPU.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cpu/fuzz/decoder_check.hpp"
#include "cpu/fuzz/engine_subject.hpp"
#include "cpu/fuzz/fuzzer.hpp"
#include "cpu/fuzz/subjects.hpp"
#include "loader/load_error.hpp"
#include "machine/engines.hpp"
#include "tools/xenolith/machine_options.hpp"

namespace xenolith::tools {

namespace options = boost::program_options;
namespace fuzz = cpu::fuzz;

namespace {

constexpr std::string_view examples = R"(
Examples:
  xenolith fuzz --count 10000000
      Ten million tests over every form of every instruction, in 64-, 32- and 16-bit code.
  xenolith fuzz --rows 'ADC*' --mode 64 --seed 7
      Only the forms of one mnemonic.
  xenolith fuzz --reproduce 'mode=long64 code=4811d8 rax=1 rflags=203'
      One test again, from the line that a difference was reported with.

Exit codes: 0 no difference; 1 differences were found; 2 bad command line; 6 the host's CPU cannot judge;
130 interrupted.
)";

// One mode's sides, and what they are made of.
struct Setup {
    std::unique_ptr<fuzz::Subject> theirs, ours;
    std::unique_ptr<cpu::Decoder> decoder;
    fuzz::Sides sides;
};

std::string why_no_native(cpu::DecodeMode mode) {
    return fmt::format("the host cannot run {} code in user mode, or has no AVX", fuzz::mode_name(mode));
}

Setup native_setup(cpu::DecodeMode mode) {
    Setup setup;
    auto host = fuzz::NativeSubject::create(mode);
    if (host == nullptr) throw std::runtime_error(why_no_native(mode));
    setup.sides.layout = host->layout();
    setup.decoder = std::make_unique<cpu::Decoder>(cpu::model_like_the_host(), *cpu::find_timing("modern"));
    setup.ours = std::make_unique<fuzz::RowSubject>(mode, setup.sides.layout);
    setup.theirs = std::move(host);
    return setup;
}

// The interpreter against another engine.
Setup engine_setup(cpu::DecodeMode mode, std::string_view engine) {
    const machine::EngineChoice* const choice = machine::find_engine(engine);
    if (choice->unavailable != nullptr)
        if (const auto reason = choice->unavailable()) throw std::runtime_error(*reason);
    const cpu::CpuModel& model = *cpu::CpuModel::find("modern", cpu::model_like_the_host().vendor());
    const auto make = [](std::string_view name) {
        return [name](mmu::GuestMemory& its_memory, cpu::Environment& world, const cpu::CpuModel& its_model,
                      const cpu::Timing& timing) {
            constexpr std::chrono::milliseconds longest{500};
            machine::EngineParts parts{its_memory, world, its_model, timing};
            parts.kvm.time_limit = longest;
            return machine::find_engine(name)->make(parts);
        };
    };
    Setup setup;
    setup.sides.layout = fuzz::engine_layout(mode);
    setup.sides.judge = fuzz::Judge::engine;
    setup.sides.quirks = engine == "kvm" ? fuzz::kvm_quirks() : std::span<const fuzz::HostQuirk>{};
    setup.decoder = std::make_unique<cpu::Decoder>(model, *cpu::find_timing("modern"));
    setup.ours = std::make_unique<fuzz::EngineSubject>(mode, model, make("interpreter"));
    setup.theirs = std::make_unique<fuzz::EngineSubject>(mode, model, make(engine));
    return setup;
}

Setup setup_of(cpu::DecodeMode mode, std::string_view oracle) {
    Setup setup = oracle == "native" ? native_setup(mode) : engine_setup(mode, oracle);
    setup.sides.mode = mode;
    setup.sides.decoder = setup.decoder.get();
    setup.sides.ours = setup.ours.get();
    setup.sides.theirs = setup.theirs.get();
    return setup;
}

std::string text_of(const options::variables_map& values, const char* name) {
    return values.count(name) != 0 ? values[name].as<std::string>() : std::string();
}

// The modes that an oracle judges.
std::vector<cpu::DecodeMode> modes_of(std::string_view oracle) {
    using enum cpu::DecodeMode;
    if (oracle == "native") return {long64, compatibility32, compatibility16};
    return {long64, protected32, protected16, real16};
}

std::vector<cpu::DecodeMode> modes_from(const std::string& name, std::string_view oracle) {
    const std::vector<cpu::DecodeMode> all = modes_of(oracle);
    if (name.empty()) return all;
    auto mode = fuzz::find_mode(name);
    if (name == "32" && oracle != "native") mode = cpu::DecodeMode::protected32;
    if (name == "16" && oracle != "native") mode = cpu::DecodeMode::protected16;
    if (!mode || std::ranges::find(all, *mode) == all.end()) {
        std::string names;
        for (const cpu::DecodeMode known : all)
            names += (names.empty() ? "" : ", ") + std::string(fuzz::mode_name(known));
        throw UsageError(fmt::format("--mode {}: expected {}", loader::on_one_line(name), names));
    }
    return {*mode};
}

// Takes out the modes that the host cannot judge, and says why, unless none is left.
std::vector<std::string> leave_out(std::vector<cpu::DecodeMode>& modes, std::string_view oracle) {
    std::vector<std::string> reasons;
    if (oracle != "native") return reasons;
    std::vector<cpu::DecodeMode> left;
    for (const cpu::DecodeMode mode : modes) {
        if (fuzz::NativeSubject::create(mode) != nullptr)
            left.push_back(mode);
        else
            reasons.push_back(why_no_native(mode));
    }
    if (left.empty()) throw std::runtime_error(reasons.front());
    modes = std::move(left);
    return reasons;
}

// "2/8"
void shard_from(const std::string& text, fuzz::FuzzOptions& choice) {
    if (text.empty()) return;
    const char* const end = text.data() + text.size();
    const auto [slash, error] = std::from_chars(text.data(), end, choice.shard);
    bool good = error == std::errc() && slash != end && *slash == '/';
    if (good) {
        const auto [stop, second_error] = std::from_chars(slash + 1, end, choice.shards);
        good = second_error == std::errc() && stop == end && choice.shard < choice.shards;
    }
    if (!good)
        throw UsageError(fmt::format("--shard {}: expected I/N with I from 0 to N - 1", loader::on_one_line(text)));
}

// --- The report

std::string summary_of(const fuzz::Report& report) {
    std::map<std::string_view, unsigned> reasons;
    std::map<std::string, std::uint64_t, std::less<>> rows;  // tests
    std::uint64_t fewest = ~std::uint64_t{0};
    for (const fuzz::FormReport& form : report.forms) {
        if (!form.not_judged.empty()) {
            ++reasons[form.not_judged];
            continue;
        }
        rows[form.mnemonic] += form.tests;
        fewest = std::min(fewest, form.tests);
    }
    std::string text;
    const double rate = report.seconds > 0 ? static_cast<double>(report.tests) / report.seconds : 0;
    text += fmt::format("{} tests in {:.1f} s ({:.0f} a second): {} rows, {} forms, each form at least {} times\n",
                        report.tests, report.seconds, rate, rows.size(), report.judged_forms(),
                        report.judged_forms() != 0 ? fewest : 0);
    if (!reasons.empty()) {
        text += "Not judged here:\n";
        for (const auto& [reason, count] : reasons) text += fmt::format("  {:>5} forms: {}\n", count, reason);
    }
    std::string quirk_text, our_text;
    for (const auto& [quirk, times] : report.quirks)
        if (times != 0)
            (quirk->is_ours ? our_text : quirk_text) +=
                fmt::format("  {:>7} tests: {}: {}\n", times, quirk->name, quirk->reason);
    if (!quirk_text.empty()) text += "Differences that are not ours:\n" + quirk_text;
    if (!our_text.empty()) text += "Differences that are known and ours:\n" + our_text;
    if (report.not_repeated != 0)
        text += fmt::format("{} differences did not happen again: the host was interrupted.\n", report.not_repeated);
    text += report.findings.empty()
                ? "No difference.\n"
                : fmt::format("{} differences in {} forms.\n", report.differences(), report.findings.size());
    return text;
}

std::string text_of(const fuzz::Finding& finding) {
    std::string text = fmt::format("{}: {} ({} tests)\n  {}\n", fuzz::mode_name(finding.mode), finding.form,
                                   finding.times, finding.instruction);
    for (const std::string& field : finding.fields) text += fmt::format("    {}\n", field);
    return text + fmt::format("  xenolith fuzz --reproduce '{}'\n", finding.line);
}

std::string coverage_of(const fuzz::Report& report) {
    struct Row {
        std::size_t forms = 0, not_judged = 0;
        std::uint64_t tests = 0, differences = 0;
    };
    std::map<std::string_view, Row> rows;
    for (const fuzz::FormReport& form : report.forms) {
        Row& row = rows[form.mnemonic];
        ++(form.not_judged.empty() ? row.forms : row.not_judged);
        row.tests += form.tests;
        row.differences += form.differences;
    }
    std::string text = fmt::format("{:<18}{:>7}{:>12}{:>12}{:>12}\n", "row", "forms", "not judged", "tests", "differ");
    for (const auto& [name, row] : rows)
        text +=
            fmt::format("{:<18}{:>7}{:>12}{:>12}{:>12}\n", name, row.forms, row.not_judged, row.tests, row.differences);
    return text;
}

std::string json_of(const fuzz::Report& report, std::uint64_t seed, const std::vector<std::string>& modes_left_out) {
    using nlohmann::json;
    json result = {{"seed", seed},
                   {"tests", report.tests},
                   {"seconds", report.seconds},
                   {"modes_left_out", modes_left_out},
                   {"not_repeated", report.not_repeated},
                   {"judged_forms", report.judged_forms()},
                   {"differences", report.differences()}};
    json& forms = result["forms"] = json::array();
    for (const fuzz::FormReport& form : report.forms) {
        json entry = {{"mode", fuzz::mode_name(form.mode)},
                      {"row", form.mnemonic},
                      {"form", form.form},
                      {"tests", form.tests},
                      {"differences", form.differences}};
        if (!form.not_judged.empty()) entry["not_judged"] = form.not_judged;
        forms.push_back(std::move(entry));
    }
    json& findings = result["findings"] = json::array();
    for (const fuzz::Finding& finding : report.findings)
        findings.push_back({{"mode", fuzz::mode_name(finding.mode)},
                            {"form", finding.form},
                            {"instruction", finding.instruction},
                            {"fields", finding.fields},
                            {"times", finding.times},
                            {"line", finding.line}});
    json& quirks = result["quirks"] = json::array();
    for (const auto& [quirk, times] : report.quirks)
        quirks.push_back(
            {{"name", quirk->name}, {"reason", quirk->reason}, {"ours", quirk->is_ours}, {"tests", times}});
    result["without_a_row"] = report.without_a_row;
    return result.dump(1) + "\n";
}

int reproduce_line(const std::string& line, std::string_view oracle) {
    std::unique_ptr<fuzz::Reproducer> reproducer;
    fuzz::Reproduction result;
    try {
        reproducer = fuzz::from_line(line);
        const Setup setup =
            setup_of(modes_from(std::string(fuzz::mode_name(reproducer->mode)), oracle).front(), oracle);
        result = fuzz::reproduce(setup.sides, *reproducer);
    } catch (const std::invalid_argument& error) {
        throw UsageError(fmt::format("--reproduce: {}", loader::on_one_line(error.what())));
    }
    fmt::print("{}\n", result.instruction);
    for (const std::string& field : result.fields) fmt::print("  {}\n", field);
    if (result.fields.empty()) fmt::print("No difference.\n");
    if (!result.quirk.empty()) fmt::print("Not ours: {}.\n", result.quirk);
    return result.fields.empty() || !result.quirk.empty() ? exit_code::success : exit_code::differences;
}

int compare_decoders(const std::vector<cpu::DecodeMode>& modes, std::uint64_t seed, bool as_json) {
    nlohmann::json results = nlohmann::json::array();
    bool differs = false;
    const cpu::Decoder decoder(cpu::model_like_the_host(), *cpu::find_timing("modern"));
    for (const cpu::DecodeMode mode : modes) {
        const auto host = cpu::NativeOracle::create(fuzz::native_mode(mode).value_or(cpu::NativeMode::bits64));
        const fuzz::DecoderReport report = fuzz::check_decoders(fuzz::EncodingReader(decoder, mode), seed, host.get());
        differs = differs || !report.unexplained.empty();
        if (as_json) {
            nlohmann::json entry = {{"mode", fuzz::mode_name(mode)},
                                    {"compared", report.compared},
                                    {"agreed", report.agreed},
                                    {"unexplained", report.unexplained.size()}};
            for (const auto& known : report.known)
                entry["known"].push_back({{"reason", known.reason}, {"times", known.times}});
            results.push_back(std::move(entry));
            continue;
        }
        fmt::print("{}: {} encodings, Zydis and Capstone agree on {}\n", fuzz::mode_name(mode), report.compared,
                   report.agreed);
        for (const auto& known : report.known)
            if (known.times != 0) fmt::print("  {:>7}: {}\n", known.times, known.reason);
        for (const fuzz::DecoderDifference& difference : report.unexplained)
            fmt::print("  {:>7} unexplained: Zydis {}, Capstone {}: {}\n", difference.times, difference.zydis,
                       difference.capstone, difference.example);
    }
    if (as_json) fmt::print("{}\n", results.dump(1));
    return differs ? exit_code::differences : exit_code::success;
}

}  // namespace

int fuzz_command(const Arguments& arguments) {
    const auto value = [] { return options::value<std::string>(); };
    options::options_description visible(
        "Usage: xenolith fuzz [OPTION...]\n\n"
        "Runs every form of every instruction with random states, biased to edge values, on our rows and on "
        "the host's\n"
        "own CPU, and reports where registers, flags, memory or faults differ, each as one line that "
        "reproduces it");
    // clang-format off
    visible.add_options()
        ("count", value()->value_name("N"), "how many tests (default: 1000000)")
        ("seed", value()->value_name("N"), "the same seed gives the same tests (default: 1)")
        ("rows", value()->value_name("PATTERN"), "only rows or forms of that name, with * and ?: 'ADC', 'V*', 'MOV r32*'")
        ("mode", value()->value_name("MODE"), "64, 32 or 16; with an engine also real16 (default: all)")
        ("oracle", value()->value_name("NAME")->default_value("native"), "who judges: native, the host's CPU in user mode; or an engine, as kvm, which judges the interpreter at CPL 0")
        ("shard", value()->value_name("I/N"), "only every N-th form, from the I-th: for several processes at once")
        ("fail-fast", "stop at the first difference")
        ("coverage", "also print a line per row: forms, tests, differences")
        ("json", "print the report as JSON")
        ("decoders", "instead compare our decoder's library, Zydis, with another, Capstone, on length and mnemonic")
        ("reproduce", value()->value_name("LINE"), "run one test, as a difference was reported")
        ("help,h", "this help");
    // clang-format on
    const options::variables_map values = parse_options(arguments, visible, {});
    if (values.count("help") != 0) {
        std::ostringstream text;
        text << visible;
        fmt::print("{}{}", text.str(), examples);
        return exit_code::success;
    }
    const std::string oracle = values["oracle"].as<std::string>();
    if (oracle != "native" && machine::find_engine(oracle) == nullptr)
        throw UsageError(fmt::format("--oracle {}: expected native or an engine's name", loader::on_one_line(oracle)));
    if (values.count("reproduce") != 0) return reproduce_line(text_of(values, "reproduce"), oracle);

    fuzz::FuzzOptions choice;
    choice.seed = 1;
    if (const std::string seed = text_of(values, "seed"); !seed.empty()) choice.seed = parse_number("seed", seed);
    if (const std::string count = text_of(values, "count"); !count.empty()) choice.count = parse_number("count", count);
    if (const std::string pattern = text_of(values, "rows"); !pattern.empty()) choice.pattern = pattern;
    shard_from(text_of(values, "shard"), choice);
    choice.fail_fast = values.count("fail-fast") != 0;
    std::vector<cpu::DecodeMode> modes = modes_from(text_of(values, "mode"), oracle);
    if (values.count("decoders") != 0) return compare_decoders(modes, choice.seed, values.count("json") != 0);
    const bool shows_progress = ::isatty(STDERR_FILENO) != 0;
    if (shows_progress)
        choice.progress = [&](const fuzz::Progress& progress) {
            fmt::print(stderr, "\r\x1b[K{} of {} tests, {} forms differ", progress.tests, choice.count,
                       progress.findings);
        };
    const std::vector<std::string> modes_left_out = leave_out(modes, oracle);
    fuzz::Report report;
    for (std::size_t n = 0; n < modes.size(); ++n) {
        if (choice.fail_fast && !report.findings.empty()) break;
        const Setup setup = setup_of(modes[n], oracle);
        const std::uint64_t share = choice.count * (n + 1) / modes.size() - choice.count * n / modes.size();
        fuzz::run_fuzz(setup.sides, choice, share, report);
    }
    if (shows_progress) fmt::print(stderr, "\r\x1b[K");
    if (report.forms.empty())
        throw UsageError(fmt::format("--rows {}: there is no such row", loader::on_one_line(choice.pattern)));
    if (values.count("json") != 0) {
        fmt::print("{}", json_of(report, choice.seed, modes_left_out));
    } else {
        for (const fuzz::Finding& finding : report.findings) fmt::print("{}\n", text_of(finding));
        if (values.count("coverage") != 0) fmt::print("{}", coverage_of(report));
        for (const std::string& reason : modes_left_out) fmt::print("Left out: {}.\n", reason);
        fmt::print("{}", summary_of(report));
    }
    return report.findings.empty() ? exit_code::success : exit_code::differences;
}

}  // namespace xenolith::tools
