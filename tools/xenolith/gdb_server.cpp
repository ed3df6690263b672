#include "tools/xenolith/gdb_server.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <stdexcept>
#include <system_error>

#include "loader/load_error.hpp"
#include "tools/xenolith/machine_options.hpp"

namespace xenolith::tools {

using loader::FileDescriptor;

namespace {

constexpr std::string_view unix_prefix = "unix:";
// How soon a wait notices that it should end.
constexpr int patience = 200;  // milliseconds
// A debugger that takes nothing for so long is gone.
constexpr int longest_write = 10'000;  // milliseconds

// Of a run whose time is over already.
constexpr double shortest_run = 1e-9;  // seconds

bool is_ready(int descriptor, short events, int milliseconds) {
    pollfd entry{descriptor, events, 0};
    return ::poll(&entry, 1, milliseconds) == 1;
}

bool is_digits(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](char letter) { return letter >= '0' && letter <= '9'; });
}

[[noreturn]] void fail(const std::string& target, int error) {
    throw std::runtime_error(fmt::format("--gdb {}: cannot listen: {}", loader::on_one_line(target),
                                         std::generic_category().message(error)));
}

class SocketChannel final : public machine::gdb::ByteChannel {
  public:
    SocketChannel(FileDescriptor socket, std::function<bool()> interrupted)
        : socket_(std::move(socket)), interrupted_(std::move(interrupted)) {}

    std::size_t read(std::span<char> to, Wait wait) override {
        while (open_ && !(wait == Wait::yes && interrupted_())) {
            if (is_ready(socket_.number(), POLLIN, wait == Wait::yes ? patience : 0)) {
                const ssize_t count = ::recv(socket_.number(), to.data(), to.size(), MSG_DONTWAIT);
                if (count > 0) return static_cast<std::size_t>(count);
                const bool nothing_yet = count < 0 && (errno == EAGAIN || errno == EINTR);
                if (!nothing_yet) open_ = false;
            }
            if (wait == Wait::no) break;
        }
        return 0;
    }

    void write(std::string_view bytes) override {
        while (open_ && !bytes.empty()) {
            const ssize_t count = ::send(socket_.number(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
            if (count >= 0)
                bytes.remove_prefix(static_cast<std::size_t>(count));
            else if (errno == EAGAIN)
                open_ = is_ready(socket_.number(), POLLOUT, longest_write);
            else if (errno != EINTR)
                open_ = false;
        }
    }

    bool is_open() const override { return open_; }

  private:
    FileDescriptor socket_;
    std::function<bool()> interrupted_;
    bool open_ = true;
};

sockaddr_un path_address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    return address;
}

template <class Address>
const sockaddr* generic(const Address& address) {
    return reinterpret_cast<const sockaddr*>(&address);
}

}  // namespace

bool looks_like_gdb_address(const std::string& text) {
    const std::size_t colon = text.rfind(':');
    return text.starts_with(unix_prefix) || is_digits(text) ||
           (colon != std::string::npos && is_digits(std::string_view(text).substr(colon + 1)));
}

Arguments join_gdb_address(const Arguments& arguments) {
    Arguments joined;
    for (const std::string& argument : arguments) {
        if (!joined.empty() && joined.back() == "--gdb" && looks_like_gdb_address(argument))
            joined.back() += "=" + argument;
        else
            joined.push_back(argument);
    }
    return joined;
}

GdbAddress parse_gdb_address(const std::string& text) {
    GdbAddress address;
    const auto refuse = [&](std::string_view expected) {
        throw UsageError(fmt::format("--gdb {}: expected {}", loader::on_one_line(text), expected));
    };
    if (text.starts_with(unix_prefix)) {
        address.path = text.substr(unix_prefix.size());
        if (address.path.empty() || address.path.size() >= sizeof(sockaddr_un::sun_path) ||
            address.path.find('\0') != std::string::npos)
            refuse("a path of 1 to 107 bytes");
        return address;
    }
    std::string_view port = text;
    if (const std::size_t colon = text.rfind(':'); colon != std::string::npos) {
        const std::string_view host = port.substr(0, colon);
        if (!host.empty() && host != "127.0.0.1" && host != "localhost")
            refuse("127.0.0.1:PORT or unix:PATH; other hosts are not let in");
        port.remove_prefix(colon + 1);
    }
    const auto [stop, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
    if (!is_digits(port) || error != std::errc()) refuse("127.0.0.1:PORT with a port from 0 to 65535, or unix:PATH");
    return address;
}

GdbListener::GdbListener(const GdbAddress& address) {
    if (address.path.empty())
        listen_on_port(address.port);
    else
        listen_on_path(address.path);
}

GdbListener::~GdbListener() {
    if (!path_.empty()) ::unlink(path_.c_str());
}

void GdbListener::listen_on_port(std::uint16_t port) {
    target_ = fmt::format("127.0.0.1:{}", port);
    socket_ = FileDescriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket_.is_open()) fail(target_, errno);
    const int yes = 1;
    ::setsockopt(socket_.number(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(socket_.number(), generic(address), sizeof(address)) != 0 || ::listen(socket_.number(), 1) != 0)
        fail(target_, errno);
    socklen_t size = sizeof(address);
    if (::getsockname(socket_.number(), reinterpret_cast<sockaddr*>(&address), &size) != 0) fail(target_, errno);
    target_ = fmt::format("127.0.0.1:{}", ntohs(address.sin_port));
}

void GdbListener::listen_on_path(const std::string& path) {
    target_ = path;
    const sockaddr_un address = path_address(path);
    // One that a killed process has left behind is in nobody's way.
    struct stat there {};
    if (::lstat(path.c_str(), &there) == 0) {
        if (!S_ISSOCK(there.st_mode)) fail(path, EEXIST);
        const FileDescriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (::connect(probe.number(), generic(address), sizeof(address)) == 0 || errno != ECONNREFUSED)
            fail(path, EADDRINUSE);
        ::unlink(path.c_str());
    }
    socket_ = FileDescriptor(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    // Linux gives the file the socket's own mode, so that at no time others may connect.
    if (!socket_.is_open() || ::fchmod(socket_.number(), S_IRUSR | S_IWUSR) != 0 ||
        ::bind(socket_.number(), generic(address), sizeof(address)) != 0)
        fail(path, errno);
    path_ = path;
    if (::listen(socket_.number(), 1) != 0) fail(path, errno);
}

bool GdbListener::has_caller() const { return is_ready(socket_.number(), POLLIN, 0); }

FileDescriptor GdbListener::accept(const std::function<bool()>& interrupted) const {
    while (!interrupted()) {
        if (!is_ready(socket_.number(), POLLIN, patience)) continue;
        FileDescriptor caller(::accept4(socket_.number(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!caller.is_open()) continue;
        // Packets are small, and each waits for the one before it. A Unix socket has no such delay, and refuses.
        const int yes = 1;
        ::setsockopt(caller.number(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
        return caller;
    }
    return FileDescriptor();
}

DebuggedRun run_under_gdb(machine::Machine& machine, machine::RunLimits limits, const GdbListener& listener,
                          std::optional<machine::gdb::Architecture> architecture,
                          const std::function<bool()>& interrupted) {
    using machine::gdb::SessionEnd;
    std::string_view what = "waiting for gdb";
    const auto ended = [&](machine::RunEnd end, std::string reason) {
        machine::RunResult result;
        result.end = end;
        result.reason = std::move(reason);
        result.totals = machine.totals();
        return DebuggedRun{result, limits.stop_at};
    };
    for (;;) {
        fmt::print(stderr, "xenolith: {}: target remote {}\n", what, listener.target());
        FileDescriptor caller = listener.accept(interrupted);
        if (!caller.is_open()) return ended(machine::RunEnd::interrupted, "interrupted");
        SocketChannel channel(std::move(caller), interrupted);
        machine::gdb::Session session(machine, channel,
                                      {.architecture = architecture, .limits = limits, .exit_code = exit_code_of});
        const SessionEnd end = session.serve();
        limits.stop_at = session.stop_at();
        if (interrupted()) return ended(machine::RunEnd::interrupted, "interrupted");
        switch (end) {
            case SessionEnd::guest_ended: return {session.result(), limits.stop_at};
            case SessionEnd::killed: return ended(machine::RunEnd::reached, "the debugger ended it");
            case SessionEnd::disconnected: what = "the debugger has gone, the guest stands; waiting for gdb"; break;
            case SessionEnd::detached: {
                machine::RunLimits detached = limits;
                if (limits.max_seconds > 0)
                    detached.max_seconds = std::max(limits.max_seconds - machine.totals().seconds, shortest_run);
                detached.progress = [&](const machine::Totals& totals) {
                    return (!limits.progress || limits.progress(totals)) && !listener.has_caller();
                };
                machine::RunResult result = machine.run(detached);
                const bool by_caller = result.end == machine::RunEnd::interrupted && !interrupted();
                if (!by_caller) return {std::move(result), limits.stop_at};
                what = "the guest stands again; waiting for gdb";
            }
        }
    }
}

}  // namespace xenolith::tools
