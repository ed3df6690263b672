// `xenolith run`: the main job; and `xenolith gdb`, the same with a debugger.
#include <fmt/format.h>
#include <csignal>
#include <optional>
#include <sstream>

#include "loader/loader.hpp"
#include "machine/guests/guests.hpp"
#include "machine/input_script.hpp"
#include "machine/snapshot.hpp"
#include "tools/xenolith/console.hpp"
#include "tools/xenolith/gdb_server.hpp"
#include "tools/xenolith/image_options.hpp"
#include "tools/xenolith/machine_options.hpp"
#include "tools/xenolith/terminal.hpp"
#include "xen/blob.hpp"
#include "xen/hypercall_page.hpp"

namespace xenolith::tools {

namespace options = boost::program_options;

namespace {

struct CommandText {
    const char* usage;
    std::string_view examples;
};

constexpr CommandText run_text = {
    "Usage: xenolith run KERNEL [OPTION...]\n\n"
    "Runs a kernel or a flat image and prints, as it happens, what it does about Xen: leaves\n"
    "read, the MSR written, the page copied, hypercalls made",
    R"(
Examples:
  xenolith run vmlinuz-5.10.0-32-amd64 --until first-hypercall
      Run a Debian kernel until its first hypercall, and show how it got there.
  xenolith run vmlinuz-5.10.0-32-686-pae --timeline page.json --until hypercall-page
      The same for a 32-bit kernel; also write the timeline as JSON.
  xenolith run --guest long64 --blob64 doorbell
      Run a built-in guest with stubs that leave through a port.
  xenolith run boot.bin --format flat16 --max-cycles 1000000
      Run a boot sector at 0:7c00.
  xenolith run vmlinuz-6.1.0-50-amd64 --initrd initrd.img --append console=ttyS0 --no-xen --realtime
      Boot a kernel to its shell on this terminal. Ctrl-] ends the run; Ctrl-C goes to the guest.
  xenolith run vmlinuz --gdb unix:socket
      Wait for gdb before the first instruction: gdb -ex 'target remote socket'.

Exit codes: 0 the run ended as asked, or the guest switched itself off; 1 the guest ended badly or too early; 2 bad command line; 3 bad file;
4 the run failed as KVM_RUN would; 5 a limit ended the run; 6 the host lacks something; 130 interrupted;
otherwise the status the guest wrote to the debug-exit port.
)"};

constexpr CommandText gdb_text = {
    "Usage: xenolith gdb KERNEL [OPTION...]\n\n"
    "Runs a guest as `xenolith run` does, and waits for gdb before the first instruction. gdb breaks,\n"
    "steps, watches, reads and writes memory and system registers, as docs/debugging.md tells;\n"
    "`monitor help` lists what else there is",
    R"(
Examples:
  xenolith gdb vmlinuz-5.10.0-32-amd64 --gdb-arch i386:x86-64
      Wait on 127.0.0.1:1234. In another terminal:
        gdb vmlinux -ex 'target remote :1234' -ex 'hbreak start_kernel' -ex continue
  xenolith gdb --guest long64 --gdb 0 --until hypercall-page
      Wait on a free port, which is printed; `continue` then stops where the page was copied:
        gdb -ex 'target remote :PORT' -ex continue -ex 'monitor xen' -ex 'x/3i 0x200000'
  xenolith gdb boot.bin --format flat16 --gdb unix:boot.socket
      A boot sector, by a socket that only you can use; $pc is CS base + IP:
        gdb -ex 'target remote boot.socket' -ex 'x/5i $pc' -ex stepi -ex 'info registers system'

In gdb: `detach` lets the guest run on, `kill` and `quit` end it, `disconnect` leaves it standing for the next
`target remote`. Ctrl-C stops it.

Exit codes: as of `xenolith run`; 0 too if the debugger ended the guest.
)"};

volatile std::sig_atomic_t interrupt_seen = 0;

void on_interrupt(int) { interrupt_seen = 1; }

// A snapshot says what the machine is; only what executes it may be chosen anew.
void refuse_with_snapshot(const options::variables_map& values) {
    for (const char* name : {"kernel", "guest", "format", "load-address", "entry-offset", "linux-entry", "initrd",
                             "append", "memory", "cpu", "vendor", "timing", "random-seed", "no-xen", "abi", "xen-msr",
                             "blob32", "blob64", "intercept-hypercalls"})
        if (values.count(name) != 0)
            throw UsageError(fmt::format("--load: the snapshot says what the machine is; there is no {} beside it",
                                         std::string_view(name) == "kernel" ? "KERNEL" : "--" + std::string(name)));
}

constexpr std::string_view default_gdb_address = "1234";

std::optional<machine::gdb::Architecture> gdb_architecture_from(const options::variables_map& values, bool debugs) {
    if (values.count("gdb-arch") == 0) return std::nullopt;
    if (!debugs) throw UsageError("--gdb-arch needs --gdb");
    const std::string name = values["gdb-arch"].as<std::string>();
    const auto architecture = machine::gdb::architecture_from_name(name);
    if (!architecture && name != "auto")
        throw UsageError(
            fmt::format("--gdb-arch {}: expected auto, i8086, i386 or i386:x86-64", loader::on_one_line(name)));
    return architecture;
}

int run_guest(const Arguments& arguments, const CommandText& command, bool waits_for_gdb) {
    const auto value = [] { return options::value<std::string>(); };
    // clang-format off
    options::options_description output("Output");
    output.add_options()
        ("timeline", value()->value_name("FILE"), "write the timeline as JSON")
        ("json", "print the timeline as JSON on standard output instead of text")
        ("quiet", "print neither timeline nor totals, only what the guest prints")
        ("no-console", "do not print what the guest prints")
        ("save", value()->value_name("FILE"), "when the run ends, save the whole machine in a snapshot")
        ("load", value()->value_name("FILE"), "go on from a snapshot: no kernel, no guest, and of the machine's options only --engine")
        ("input-script", value()->value_name("FILE"), "type at the serial console what the script says: lines of wait \"TEXT\" and send \"TEXT\"; standard input is not read")
        ("help,h", "this help");
    options::options_description debugger("Debugger");
    debugger.add_options()
        ("gdb", value()->implicit_value(std::string(default_gdb_address))->value_name("ADDRESS"),
         "wait for gdb before the first instruction, on a port of this host (127.0.0.1:1234, or 0 for one that is "
         "free) or on unix:PATH (default: 127.0.0.1:1234)")
        ("gdb-arch", value()->value_name("NAME"),
         "what gdb is told the CPU is: i8086, i386, i386:x86-64, or auto, which is by the mode that the CPU is in "
         "when gdb connects (default: auto)");
    options::options_description hidden;
    hidden.add_options()("kernel", value());
    // clang-format on
    options::options_description visible(command.usage);
    visible.add(image_options_description())
        .add(machine_options_description())
        .add(limit_options_description())
        .add(debugger)
        .add(output);
    options::options_description all;
    all.add(visible).add(hidden);
    const options::variables_map values =
        parse_options(join_gdb_address(arguments), all, options::positional_options_description().add("kernel", 1));
    if (values.count("timeline") != 0 && values["timeline"].as<std::string>().empty())
        throw UsageError("--timeline: expected a file's name");
    if (values.count("help") != 0) {
        std::ostringstream text;
        text << visible;
        fmt::print("{}{}", text.str(), command.examples);
        return exit_code::success;
    }

    std::optional<machine::Snapshot> snapshot;
    if (values.count("load") != 0) {
        refuse_with_snapshot(values);
        snapshot = machine::Snapshot::read(values["load"].as<std::string>());
    }
    const bool debugs = waits_for_gdb || values.count("gdb") != 0;
    const GdbAddress gdb_address =
        values.count("gdb") != 0 ? parse_gdb_address(values["gdb"].as<std::string>()) : GdbAddress{};
    const auto gdb_architecture = gdb_architecture_from(values, debugs);
    loader::LoadOptions load_options = load_options_from(values);
    const machine::BuiltInGuest* guest = nullptr;
    std::optional<loader::ImageFile> file;
    if (!snapshot) file = image_from(values, load_options, guest);
    const bool json = values.count("json") != 0, quiet = values.count("quiet") != 0 || json;

    std::optional<GdbListener> listener;
    if (debugs) listener.emplace(gdb_address);
    Console console(values.count("no-console") == 0 && !json);
    machine::MachineOptions machine_choice = machine_options(values);
    if (snapshot) {
        const std::string_view engine = machine_choice.engine;
        machine_choice = snapshot->options();
        machine_choice.engine = engine;
    }
    if (guest != nullptr) prepare_for(*guest, machine_choice);
    std::optional<machine::InputScript> script;
    if (values.count("input-script") != 0)
        script = machine::InputScript::read(values["input-script"].as<std::string>());
    const std::string until = values.count("until-output") != 0 ? values["until-output"].as<std::string>() : "";
    if (until.empty() && values.count("until-output") != 0) throw UsageError("--until-output: expected a text");
    machine::TextWatch watch;
    machine::Machine* typed_at = nullptr;
    const auto type = [&](std::uint8_t key) { typed_at->serial_in(key); };
    machine_choice.debug_out = [&](std::uint8_t byte) { console.guest_byte(byte); };
    machine_choice.serial_out = [&](std::uint8_t byte) {
        console.guest_byte(byte);
        if (script) script->output(byte, type);
        if (!until.empty() && watch.sees(byte, until)) typed_at->end_run("the guest printed what was waited for");
    };
    machine::RunLimits limits = run_limits(values);
    machine::TimelineText text;
    machine::Machine machine(machine_choice);
    typed_at = &machine;
    loader::LoadedImage loaded;
    if (snapshot)
        snapshot->restore(machine);
    else
        loaded = machine.load(*file, load_options);
    if (!quiet) {
        for (const std::string& line : loaded.description) console.print(line + "\n");
        if (snapshot) console.print(fmt::format("Going on from cycle {}.\n", machine.engine().cycles()));
        console.print(fmt::format("{:>14} {}\n", "cycles", "mode cs:rip  instruction"));
        machine.timeline().set_listener([&](const machine::Event& event) { console.print(text.add(event)); });
    }
    if (script) script->start(type);
    interrupt_seen = 0;
    std::signal(SIGINT, on_interrupt);
    machine::RunResult result;
    {
        Terminal terminal(!script && !debugs && values.count("no-console") == 0 && !json);
        if (terminal.is_raw() && !quiet) console.print("Ctrl-] ends the run.\n");
        limits.progress = [&](const machine::Totals& totals) {
            console.show_progress(totals);
            return (script || terminal.feed(machine)) && interrupt_seen == 0;
        };
        limits.waits_for_input = !script && terminal.is_raw();
        if (debugs) {
            DebuggedRun run =
                run_under_gdb(machine, limits, *listener, gdb_architecture, [] { return interrupt_seen != 0; });
            result = std::move(run.result);
            limits.stop_at = run.stop_at;
        } else {
            result = machine.run(limits);
        }
    }
    std::signal(SIGINT, SIG_DFL);
    if (!quiet)
        console.print(fmt::format("{}End: {}.\n{}{}", text.finish(), result.reason,
                                  machine_choice.xen ? machine::diagnose(machine.timeline()) : "",
                                  machine::format_totals(result.totals)));
    if (json || values.count("timeline") != 0) {
        const std::string document = machine::timeline_json(machine.timeline(), result.totals);
        if (json) console.print(document);
        if (values.count("timeline") != 0) machine::write_atomically(values["timeline"].as<std::string>(), document);
    }
    if (values.count("save") != 0) machine::save_snapshot(machine, values["save"].as<std::string>());
    return exit_code_of(result, limits.stop_at);
}

}  // namespace

int run_command(const Arguments& arguments) { return run_guest(arguments, run_text, false); }

int gdb_command(const Arguments& arguments) { return run_guest(arguments, gdb_text, true); }

}  // namespace xenolith::tools
