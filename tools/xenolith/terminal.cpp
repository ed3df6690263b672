#include "tools/xenolith/terminal.hpp"

#include <poll.h>
#include <unistd.h>

namespace xenolith::tools {

namespace {

constexpr std::size_t most_pending = 4096;  // characters

bool is_readable() {
    pollfd descriptor{STDIN_FILENO, POLLIN, 0};
    return ::poll(&descriptor, 1, 0) == 1;
}

}  // namespace

Terminal::Terminal(bool interactive) {
    termios settings;
    if (!interactive || ::isatty(STDIN_FILENO) == 0 || ::isatty(STDOUT_FILENO) == 0 ||
        ::tcgetattr(STDIN_FILENO, &settings) != 0)
        return;
    before_ = settings;
    ::cfmakeraw(&settings);
    settings.c_oflag |= OPOST | ONLCR;  // our own lines end in a mere line feed
    ::tcsetattr(STDIN_FILENO, TCSADRAIN, &settings);
}

Terminal::~Terminal() {
    if (before_) ::tcsetattr(STDIN_FILENO, TCSADRAIN, &*before_);
}

bool Terminal::feed(machine::Machine& machine) {
    while (!closed_ && pending_.size() < most_pending && is_readable()) {
        char bytes[256];
        const ssize_t count = ::read(STDIN_FILENO, bytes, sizeof(bytes));
        if (count <= 0) {
            closed_ = true;
            break;
        }
        for (ssize_t n = 0; n < count; ++n) {
            if (is_raw() && bytes[n] == leave_key) return false;
            pending_.push_back(bytes[n]);
        }
    }
    while (!pending_.empty() && machine.serial_in(static_cast<std::uint8_t>(pending_.front()))) pending_.pop_front();
    return true;
}

}  // namespace xenolith::tools
