// `xenolith demo`: every built-in guest, and whether each did the whole job.
#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "cpu/host_limit.hpp"
#include "machine/guests/guests.hpp"
#include "tools/xenolith/console.hpp"
#include "tools/xenolith/machine_options.hpp"
#include "xen/blob.hpp"
#include "xen/hypercall_page.hpp"

namespace xenolith::tools {

namespace options = boost::program_options;

namespace {

// Enough for an engine whose cycles are the host's time.
constexpr std::uint64_t cycle_limit = 5'000'000'000;

bool did_the_job(machine::Machine& machine) {
    const auto& events = machine.timeline().events();
    const auto has = [&](auto&& test) { return std::ranges::any_of(events, test); };
    return has([](const machine::Event& event) {
               const auto* write = std::get_if<machine::HypercallPageWrite>(&event.what);
               return write != nullptr && write->result == "copied";
           }) &&
           has([](const machine::Event& event) {
               const auto* call = std::get_if<machine::HypercallMade>(&event.what);
               return call != nullptr && call->answered;
           });
}

}  // namespace

int demo_command(const Arguments& arguments) {
    options::options_description visible(
        "Usage: xenolith demo [OPTION...]\n\n"
        "Runs the built-in guests, one per operating mode. Each finds Xen's CPUID leaves, writes the\n"
        "MSR, gets its hypercall page and calls through it");
    visible.add(machine_options_description());
    options::options_description output("Output");
    output.add_options()("help,h", "this help");
    visible.add(output);
    const options::variables_map values = parse_options(arguments, visible, {});
    if (values.count("help") != 0) {
        std::ostringstream text;
        text << visible;
        fmt::print("{}\nExamples:\n  xenolith demo\n  xenolith demo --abi linux-5.10 --timing modern\n", text.str());
        return exit_code::success;
    }
    const machine::MachineOptions chosen = machine_options(values);
    std::string summary;
    unsigned failed = 0, impossible = 0;
    for (const machine::BuiltInGuest& guest : machine::built_in_guests()) {
        Console console(true);
        machine::MachineOptions machine_choice = chosen;
        if (guest.needs_doorbell && machine_choice.xen && machine_choice.xen->blob_32.empty() &&
            !machine_choice.xen->intercept_hypercalls)
            machine_choice.xen->blob_32 = xen::make_blob(xen::StubKind::doorbell);
        machine_choice.serial_out = machine_choice.debug_out = [&](std::uint8_t byte) { console.guest_byte(byte); };
        machine::TimelineText text;
        machine::Machine machine(machine_choice);
        const std::string title = fmt::format("  {:<16} {:<42} ", guest.name, guest.description);
        const auto note_impossible = [&](std::string_view why) {
            ++impossible;
            summary += fmt::format("{}not possible on this host: {}\n", title, why);
        };
        try {
            machine.load(guest.image(), {.format = guest.format});
        } catch (const cpu::HostLimit& limit) {
            console.print(fmt::format("== {}: {}\nEnd: {}.\n\n", guest.name, guest.description, limit.what()));
            note_impossible(limit.what());
            continue;
        }
        machine::RunLimits limits;
        limits.max_cycles = cycle_limit;
        console.print(fmt::format("== {}: {}\n", guest.name, guest.description));
        machine.timeline().set_listener([&](const machine::Event& event) { console.print(text.add(event)); });
        const machine::RunResult result = machine.run(limits);
        console.print(
            fmt::format("{}End: {}.\n{}\n", text.finish(), result.reason, machine::format_totals(result.totals)));
        if (result.end == machine::RunEnd::host_limit) {
            note_impossible(result.reason);
            continue;
        }
        const bool done = did_the_job(machine);
        failed += done ? 0 : 1;
        summary += fmt::format("{}{}\n", title, done ? "page copied, hypercalls answered" : "DID NOT FINISH");
    }
    fmt::print("{}", summary);
    if (impossible != 0)
        fmt::print("{} of {} guests were not possible on this host\n", impossible, machine::built_in_guests().size());
    if (failed != 0) return exit_code::guest_ended_badly;
    return impossible != 0 ? exit_code::unavailable : exit_code::success;
}

}  // namespace xenolith::tools
