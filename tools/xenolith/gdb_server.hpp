// Where gdb connects: a socket that only this host's users reach, and the sessions that come over it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "loader/file_descriptor.hpp"
#include "machine/gdb/registers.hpp"
#include "machine/gdb/session.hpp"
#include "machine/machine.hpp"
#include "tools/xenolith/commands.hpp"

namespace xenolith::tools {

struct GdbAddress {
    std::uint16_t port = 1234;  // of 127.0.0.1; 0: any that is free
    std::string path;           // of a Unix socket; empty: TCP
};

// "1234", ":1234", "127.0.0.1:1234", "localhost:1234" or "unix:PATH". UsageError for anything else: a debugger may do
// what it likes to the guest, so nobody from outside is let in.
GdbAddress parse_gdb_address(const std::string& text);
// Whether the text is meant as an address and not as a file's name.
bool looks_like_gdb_address(const std::string& text);
// "--gdb ADDRESS" with the two made one, so that the value may also be left out.
Arguments join_gdb_address(const Arguments& arguments);

class GdbListener {
  public:
    // std::runtime_error names the address and the reason.
    explicit GdbListener(const GdbAddress& address);
    ~GdbListener();
    GdbListener(const GdbListener&) = delete;
    GdbListener& operator=(const GdbListener&) = delete;

    // What to tell gdb: `target remote TARGET`.
    const std::string& target() const { return target_; }
    bool has_caller() const;
    // Waits until somebody connects; not open if `interrupted` says that nobody should wait any more.
    loader::FileDescriptor accept(const std::function<bool()>& interrupted) const;

  private:
    void listen_on_path(const std::string& path);
    void listen_on_port(std::uint16_t port);

    loader::FileDescriptor socket_;
    std::string target_, path_;
};

struct DebuggedRun {
    machine::RunResult result;
    machine::StopAt stop_at = machine::StopAt::nothing;  // what had been asked for and did not come
};

// Runs the machine as debuggers say, one after the other: from before its first instruction to its end, or theirs.
// `limits` bound the whole run; `interrupted` says that the person at the terminal wants it to end.
DebuggedRun run_under_gdb(machine::Machine& machine, machine::RunLimits limits, const GdbListener& listener,
                          std::optional<machine::gdb::Architecture> architecture,
                          const std::function<bool()>& interrupted);

}  // namespace xenolith::tools
