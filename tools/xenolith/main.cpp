// `xenolith`: chooses the subcommand and turns errors into one line and an exit code.
#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <new>
#include <stdexcept>

#include "loader/load_error.hpp"
#include "tools/xenolith/commands.hpp"
#include "xen/blob.hpp"

namespace xenolith::tools {
namespace {

struct Command {
    std::string_view name, summary;
    int (*run)(const Arguments&);
};

constexpr Command commands[] = {
    {"run", "run a kernel or a flat image and show what it does about Xen", run_command},
    {"gdb", "run a guest under gdb, from before its first instruction", gdb_command},
    {"demo", "run the built-in guests, one per operating mode", demo_command},
    {"blob", "make or show hypercall pages", blob_command},
    {"diff", "run a guest on two engines and show the first difference", diff_command},
    {"fuzz", "check every instruction against the host's own CPU", fuzz_command},
};

std::string help() {
    std::string text =
        "xenolith - a full-system x86 emulator for Xen hypercall set-up\n"
        "\n"
        "Usage: xenolith COMMAND [ARGUMENT...]\n"
        "\n"
        "Commands:\n";
    for (const Command& command : commands) text += fmt::format("  {:<8} {}\n", command.name, command.summary);
    text +=
        "\n"
        "  xenolith COMMAND --help   says more, with examples\n"
        "  xenolith --version        prints the version\n"
        "\n"
        "Examples:\n"
        "  xenolith demo\n"
        "  xenolith run vmlinuz-5.10.0-32-amd64 --until first-hypercall\n"
        "  xenolith blob show page.bin\n";
    return text;
}

int dispatch(const Arguments& arguments) {
    if (arguments.empty()) {
        fmt::print(stderr, "{}", help());
        return exit_code::usage;
    }
    const std::string& name = arguments.front();
    if (name == "--help" || name == "-h" || name == "help") {
        fmt::print("{}", help());
        return exit_code::success;
    }
    if (name == "--version") {
        fmt::print("xenolith {}\n", XENOLITH_VERSION);
        return exit_code::success;
    }
    for (const Command& command : commands)
        if (command.name == name) return command.run({arguments.begin() + 1, arguments.end()});
    throw UsageError(fmt::format("there is no command '{}'; see xenolith --help", loader::on_one_line(name)));
}

// One line, whatever a file's name holds.
int complain(int code, std::string_view message) {
    fmt::print(stderr, "xenolith: {}\n", loader::on_one_line(message));
    return code;
}

constexpr std::string_view unwritable_output = "standard output cannot be written";

// An earlier failure to write shows in the stream's error flag.
bool output_is_written() { return std::fflush(stdout) == 0 && std::ferror(stdout) == 0; }

int guarded(const Arguments& arguments) {
    try {
        const int code = dispatch(arguments);
        if (!output_is_written()) return complain(exit_code::unavailable, unwritable_output);
        return code;
    } catch (const UsageError& error) {
        return complain(exit_code::usage, error.what());
    } catch (const std::invalid_argument& error) {  // a machine that cannot be built as asked
        return complain(exit_code::usage, error.what());
    } catch (const loader::LoadError& error) {
        return complain(exit_code::bad_file, error.what());
    } catch (const xen::BlobError& error) {
        return complain(exit_code::bad_file, error.what());
    } catch (const std::bad_alloc&) {
        return complain(exit_code::unavailable, "the host has not enough memory");
    } catch (const std::exception& error) {
        if (!output_is_written()) return complain(exit_code::unavailable, unwritable_output);
        return complain(exit_code::unavailable, error.what());
    }
}

}  // namespace
}  // namespace xenolith::tools

int main(int count, char** values) { return xenolith::tools::guarded({values + (count > 0 ? 1 : 0), values + count}); }
