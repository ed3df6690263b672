// Standard input as the guest's serial line.
#pragma once

#include <termios.h>

#include <deque>
#include <optional>

#include "machine/machine.hpp"

namespace xenolith::tools {

// What is typed goes to the serial port, without waiting for it. If standard input and output are a terminal, it is
// switched to raw mode: every key is the guest's, but for Ctrl-], which ends the run. The terminal is put back when
// this goes away.
class Terminal {
  public:
    static constexpr char leave_key = 0x1d;  // Ctrl-]

    // With `interactive` off the terminal stays as it is.
    explicit Terminal(bool interactive);
    ~Terminal();
    Terminal(const Terminal&) = delete;
    Terminal& operator=(const Terminal&) = delete;

    bool is_raw() const { return before_.has_value(); }
    // Passes on what has been typed; false once the leave key was.
    bool feed(machine::Machine& machine);

  private:
    std::optional<termios> before_;
    std::deque<char> pending_;
    bool closed_ = false;
};

}  // namespace xenolith::tools
