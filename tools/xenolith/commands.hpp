// The subcommands of `xenolith`, and the exit codes they share.
#pragma once

#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace xenolith::tools {

// docs/command-line.md tells users what these mean.
namespace exit_code {
inline constexpr int success = 0;
inline constexpr int guest_ended_badly = 1;  // a triple fault, or the end came before what --until asked for
inline constexpr int differences = 1;        // fuzz and diff: something differs
inline constexpr int usage = 2;              // a bad command line
inline constexpr int bad_file = 3;           // an image, initrd or blob cannot be read or is malformed
inline constexpr int run_failed = 4;         // the run failed with an error number, as KVM_RUN would
inline constexpr int limit = 5;              // --max-cycles or --max-seconds ended the run
inline constexpr int unavailable = 6;        // an output file cannot be written, or the host lacks something
inline constexpr int interrupted = 130;
}  // namespace exit_code

// A bad command line: what() is one line.
class UsageError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

using Arguments = std::vector<std::string>;

// Each gives the process's exit code. They throw UsageError, loader::LoadError, xen::BlobError and
// std::runtime_error, which main() turns into one line on stderr.
int run_command(const Arguments& arguments);
int gdb_command(const Arguments& arguments);
int demo_command(const Arguments& arguments);
int blob_command(const Arguments& arguments);
int diff_command(const Arguments& arguments);
int fuzz_command(const Arguments& arguments);

}  // namespace xenolith::tools
