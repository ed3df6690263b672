#include "tools/xenolith/console.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace xenolith::tools {

Console::Console(bool guest_output) : guest_output_(guest_output), stderr_is_terminal_(::isatty(STDERR_FILENO) == 1) {}

Console::~Console() {
    clear_progress();
    if (!at_line_start_) std::fputc('\n', stdout);
    std::fflush(stdout);
}

void Console::guest_byte(std::uint8_t byte) {
    if (!guest_output_) return;
    clear_progress();
    guest_has_printed_ = true;
    std::fputc(byte, stdout);
    at_line_start_ = byte == '\n';
    if (at_line_start_) std::fflush(stdout);
    last_output_ = now_;
}

void Console::print(std::string_view lines) {
    if (lines.empty()) return;
    clear_progress();
    if (!at_line_start_) std::fputc('\n', stdout);
    fmt::print("{}", lines);
    std::fflush(stdout);
    at_line_start_ = true;
    last_output_ = now_;
}

void Console::show_progress(const machine::Totals& totals) {
    now_ = totals.seconds;
    if (!at_line_start_) std::fflush(stdout);
    if (!stderr_is_terminal_ || guest_has_printed_ || now_ - last_output_ < 1) return;
    fmt::print(stderr, "\r{:.0f} s: {:.0f} million instructions, {:.0f} MIPS ", totals.seconds,
               static_cast<double>(totals.instructions) / 1e6, totals.mips);
    std::fflush(stderr);
    progress_shown_ = true;
}

void Console::clear_progress() {
    if (!progress_shown_) return;
    fmt::print(stderr, "\r\033[K");
    std::fflush(stderr);
    progress_shown_ = false;
}

}  // namespace xenolith::tools
