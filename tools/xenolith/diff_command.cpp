// `xenolith diff`: the same guest on two engines, up to the first difference.
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "loader/load_error.hpp"
#include "machine/engines.hpp"
#include "machine/lockstep.hpp"
#include "tools/xenolith/image_options.hpp"
#include "tools/xenolith/machine_options.hpp"
#include "xen/blob.hpp"
#include "xen/hypercall_page.hpp"

namespace xenolith::tools {

namespace options = boost::program_options;

namespace {

constexpr std::string_view examples = R"(
Examples:
  xenolith diff --guest long64
      A built-in guest on the interpreter and on the host's KVM, instruction by instruction.
  xenolith diff vmlinuz-5.10.0-32-amd64 --max-instructions 200000 --stride 100
      A kernel, with a look at both every hundred instructions.
  xenolith diff --engines interpreter,interpreter --guest pae32
      An engine against itself.

Devices' interrupts are held back. Answers that are the engine's own (time stamps, CPUID, ports, MSRs) and flags that the
manual leaves undefined are no differences: the second machine takes over the first one's; the report counts them, if
the stride is one.

Exit codes: 0 no difference; 1 a difference; 2 bad command line; 3 bad file; 6 the host cannot run one of the engines;
130 interrupted.
)";

std::array<std::string, 2> engines_from(const options::variables_map& values) {
    const std::string text = values["engines"].as<std::string>();
    const std::size_t comma = text.find(',');
    const std::array<std::string, 2> names{text.substr(0, comma),
                                           comma == std::string::npos ? "" : text.substr(comma + 1)};
    for (const std::string& name : names) {
        const machine::EngineChoice* const choice = machine::find_engine(name);
        if (choice == nullptr) {
            std::string known;
            for (const auto& entry : machine::engine_choices())
                known += (known.empty() ? "" : ", ") + std::string(entry.name);
            throw UsageError(fmt::format("--engines {}: expected two of {} with a comma between them",
                                         loader::on_one_line(text), known));
        }
        if (choice->unavailable != nullptr)
            if (const auto reason = choice->unavailable()) throw std::runtime_error(*reason);
    }
    return names;
}

// Both machines get the same hypercall pages: stubs that every engine can answer.
void use_common_stubs(const std::array<std::string, 2>& engines, machine::MachineOptions& choice) {
    const bool all_show =
        machine::find_engine(engines[0])->shows_hypercalls && machine::find_engine(engines[1])->shows_hypercalls;
    if (all_show || !choice.xen || choice.xen->intercept_hypercalls) return;
    if (choice.xen->blob_32.empty()) choice.xen->blob_32 = xen::make_blob(xen::StubKind::doorbell);
    if (choice.xen->blob_64.empty()) choice.xen->blob_64 = xen::make_blob(xen::StubKind::doorbell);
}

std::string hexadecimal(std::uint64_t value) { return fmt::format("{:x}", value); }

// Both states side by side: all that a person looks for first, and what differs wherever it is.
std::string side_by_side(const machine::LockstepResult& result, const std::array<std::string, 2>& engines) {
    std::set<std::string_view> marked;
    for (const machine::StateDifference& difference : result.differences) marked.insert(difference.name);
    const auto before = machine::state_fields(result.before), first = machine::state_fields(result.first),
               second = machine::state_fields(result.second);
    constexpr std::size_t always_shown = 18;  // RIP, general registers, RFLAGS
    std::string text = fmt::format("  {:<18} {:>18} {:>18} {:>18}\n", "", "before", engines[0], engines[1]);
    for (std::size_t n = 0; n < first.size(); ++n) {
        const bool differs = marked.contains(first[n].name);
        if (!differs && n >= always_shown) continue;
        text += fmt::format("{} {:<18} {:>18} {:>18} {:>18}\n", differs ? '>' : ' ', first[n].name,
                            hexadecimal(before[n].value), hexadecimal(first[n].value), hexadecimal(second[n].value));
    }
    return text;
}

std::string_view summary(machine::LockstepEnd end) {
    switch (end) {
        case machine::LockstepEnd::same: return "No difference: both came to the same end.";
        case machine::LockstepEnd::limit: return "No difference.";
        case machine::LockstepEnd::interrupted: return "Interrupted; no difference so far.";
        case machine::LockstepEnd::state: return "The states differ.";
        case machine::LockstepEnd::memory: return "The memories differ, and no register does.";
        case machine::LockstepEnd::ends: return "The guests ended differently.";
        case machine::LockstepEnd::host_limit: return "The host cannot go on.";
    }
    return {};
}

std::string report_of(const machine::LockstepResult& result, const std::array<std::string, 2>& engines,
                      std::uint64_t stride) {
    std::string text = fmt::format("{} {} on {} and {}.\n", result.steps, stride == 0 ? "exits" : "instructions",
                                   engines[0], engines[1]);
    for (const auto& [reason, count] : result.excused)
        text += fmt::format("  {:>7} answers taken over: {}\n", count, reason);
    const bool shows_states = result.end == machine::LockstepEnd::state || result.end == machine::LockstepEnd::ends ||
                              result.end == machine::LockstepEnd::host_limit;
    if (shows_states) {
        text += stride == 1 ? "Executed:\n" : "The last steps began with:\n";
        for (const std::string& line : result.executed) text += fmt::format("  {}\n", line);
        text += side_by_side(result, engines);
        const bool together = result.next_first == result.next_second;
        text += together ? "Next:\n" : fmt::format("Next on {}:\n", engines[0]);
        for (const std::string& line : result.next_first) text += fmt::format("  {}\n", line);
        if (!together) text += fmt::format("Next on {}:\n", engines[1]);
        if (!together)
            for (const std::string& line : result.next_second) text += fmt::format("  {}\n", line);
    }
    if (result.end == machine::LockstepEnd::memory)
        text += fmt::format("First at guest-physical {:x}: {:02x} on {}, {:02x} on {}\n", result.memory_address,
                            result.memory_first, engines[0], result.memory_second, engines[1]);
    if (!result.end_first.empty()) text += fmt::format("{} ended: {}\n", engines[0], result.end_first);
    if (!result.end_second.empty()) text += fmt::format("{} ended: {}\n", engines[1], result.end_second);
    return text + std::string(summary(result.end)) + "\n";
}

std::string_view end_name(machine::LockstepEnd end) {
    constexpr std::string_view names[] = {"same", "limit", "interrupted", "state", "memory", "ends", "host-limit"};
    return names[static_cast<unsigned>(end)];
}

std::string json_of(const machine::LockstepResult& result, const std::array<std::string, 2>& engines,
                    std::uint64_t stride, const std::string& again) {
    using nlohmann::json;
    json differences = json::array();
    for (const machine::StateDifference& difference : result.differences)
        differences.push_back(
            {{"field", difference.name}, {"values", {hexadecimal(difference.first), hexadecimal(difference.second)}}});
    const auto fields_of = [](const cpu::CpuState& state) {
        json object = json::object();
        for (const machine::StateField& field : machine::state_fields(state))
            object[field.name] = hexadecimal(field.value);
        return object;
    };
    json text = {{"engines", engines},
                 {"end", end_name(result.end)},
                 {stride == 0 ? "exits" : "instructions", result.steps},
                 {"excused", result.excused},
                 {"executed", result.executed},
                 {"next", {result.next_first, result.next_second}},
                 {"ended", {result.end_first, result.end_second}},
                 {"differences", differences},
                 {"before", fields_of(result.before)},
                 {"after", {fields_of(result.first), fields_of(result.second)}}};
    if (result.end == machine::LockstepEnd::memory)
        text["memory"] = {{"address", hexadecimal(result.memory_address)},
                          {"values", {result.memory_first, result.memory_second}}};
    if (!again.empty()) text["again"] = again;
    return text.dump(1) + "\n";
}

// Ends with the difference, and looks at every step.
std::string command_line(const Arguments& arguments, const machine::LockstepOptions& choice, std::uint64_t steps) {
    std::string text = "xenolith diff";
    bool skips = false;
    for (const std::string& argument : arguments) {
        const bool is_limit = argument.starts_with("--max-instructions") || argument.starts_with("--stride");
        if (!skips && !is_limit) text += " '" + argument + "'";
        skips = is_limit && argument.find('=') == std::string::npos;
    }
    return text + fmt::format("{} --max-instructions {}", choice.stride == 0 ? "" : " --stride 1", steps);
}

int exit_code_of(machine::LockstepEnd end) {
    switch (end) {
        case machine::LockstepEnd::same:
        case machine::LockstepEnd::limit: return exit_code::success;
        case machine::LockstepEnd::interrupted: return exit_code::interrupted;
        case machine::LockstepEnd::host_limit: return exit_code::unavailable;
        default: return exit_code::differences;
    }
}

}  // namespace

int diff_command(const Arguments& arguments) {
    const auto value = [] { return options::value<std::string>(); };
    options::options_description visible(
        "Usage: xenolith diff KERNEL [OPTION...]\n\n"
        "Runs the same guest on two engines in lockstep and shows the first difference: both states side by\n"
        "side, what was executed, and what comes next");
    options::options_description lockstep("Lockstep");
    // clang-format off
    lockstep.add_options()
        ("engines", value()->value_name("A,B")->default_value("interpreter,kvm"), "the two engines")
        ("per", value()->value_name("WHAT")->default_value("instruction"), "look at both after each instruction, or after each exit: an access to a device")
        ("stride", value()->value_name("N"), "with --per instruction: instructions between two looks (default: 1)")
        ("max-instructions", value()->value_name("N"), "stop after N instructions, or with --per exit after N exits (default: 1000000)")
        ("max-seconds", value()->value_name("N"), "stop after N seconds of the host's time")
        ("json", "print the result as JSON")
        ("help,h", "this help");
    options::options_description hidden;
    hidden.add_options()("kernel", value());
    // clang-format on
    visible.add(lockstep).add(image_options_description()).add(machine_options_description());
    options::options_description all;
    all.add(visible).add(hidden);
    const options::variables_map values =
        parse_options(arguments, all, options::positional_options_description().add("kernel", 1));
    if (values.count("help") != 0) {
        std::ostringstream text;
        text << visible;
        fmt::print("{}{}", text.str(), examples);
        return exit_code::success;
    }
    if (values.count("engine") != 0) throw UsageError("--engine: diff takes two, by --engines A,B");
    const std::array<std::string, 2> engines = engines_from(values);
    machine::LockstepOptions choice;
    if (values.count("stride") != 0) choice.stride = parse_number("stride", values["stride"].as<std::string>());
    if (choice.stride == 0) throw UsageError("--stride 0: expected at least one instruction");
    const std::string per = values["per"].as<std::string>();
    if (per != "instruction" && per != "exit")
        throw UsageError(fmt::format("--per {}: expected instruction or exit", loader::on_one_line(per)));
    if (per == "exit") {
        if (values.count("stride") != 0) throw UsageError("--stride makes no sense with --per exit");
        choice.stride = 0;
    }
    if (values.count("max-instructions") != 0)
        choice.max_steps = parse_number("max-instructions", values["max-instructions"].as<std::string>());
    if (values.count("max-seconds") != 0)
        choice.max_seconds = static_cast<double>(parse_number("max-seconds", values["max-seconds"].as<std::string>()));

    loader::LoadOptions load_options = load_options_from(values);
    const machine::BuiltInGuest* guest = nullptr;
    const loader::ImageFile file = image_from(values, load_options, guest);
    machine::MachineOptions machine_choice = machine_options(values);
    if (guest != nullptr) prepare_for(*guest, machine_choice);
    use_common_stubs(engines, machine_choice);
    machine_choice.engine = engines[0];
    machine::Machine first(machine_choice);
    machine_choice.engine = engines[1];
    machine::Machine second(machine_choice);
    first.load(file, load_options);
    second.load(file, load_options);
    const bool shows_progress = ::isatty(STDERR_FILENO) != 0;
    if (shows_progress)
        choice.progress = [&](std::uint64_t steps) {
            fmt::print(stderr, "\r\x1b[K{} steps, no difference", steps);
            return true;
        };
    const machine::LockstepResult result = machine::run_lockstep(first, second, choice);
    if (shows_progress) fmt::print(stderr, "\r\x1b[K");
    const int code = exit_code_of(result.end);
    const std::string again =
        code == exit_code::differences ? command_line(arguments, choice, result.steps) : std::string();
    if (values.count("json") != 0) {
        fmt::print("{}", json_of(result, engines, choice.stride, again));
        return code;
    }
    fmt::print("{}", report_of(result, engines, choice.stride));
    if (!again.empty()) fmt::print("Again: {}\n", again);
    return code;
}

}  // namespace xenolith::tools
