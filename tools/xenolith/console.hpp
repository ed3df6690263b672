// The terminal: guest output and the timeline share standard output without breaking each other's lines.
#pragma once

#include <cstdint>
#include <string_view>

#include "machine/machine.hpp"

namespace xenolith::tools {

class Console {
  public:
    // With `guest_output` off, what the guest prints is dropped.
    explicit Console(bool guest_output);
    ~Console();
    Console(const Console&) = delete;
    Console& operator=(const Console&) = delete;

    // A byte the guest printed.
    void guest_byte(std::uint8_t byte);
    // Whole lines of our own: begins a new line if the guest is in the middle of one.
    void print(std::string_view lines);
    // A status line on stderr while nothing else was printed for a second; only if stderr is a terminal, and until the
    // guest prints something of its own.
    void show_progress(const machine::Totals& totals);

  private:
    void clear_progress();

    bool guest_output_;
    bool at_line_start_ = true;
    bool progress_shown_ = false;
    bool guest_has_printed_ = false;
    bool stderr_is_terminal_;
    double last_output_ = 0;  // seconds of the host's run time
    double now_ = 0;
};

}  // namespace xenolith::tools
