// Why an image was refused: one line that names the file, the offset, what was expected and what was found.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace xenolith::loader {

enum class LoadFailure : std::uint8_t {
    cannot_read,   // the file is not there, not a regular file, not readable, empty, or over the size limit
    malformed,     // the bytes contradict the format they claim to be
    unsupported,   // well-formed, but it asks for something this loader (or the chosen format) does not do
    does_not_fit,  // the image, or what must be handed to it, does not fit into the guest's RAM
};

// what() is exactly one line: `FILE: offset 0xNN: expected X, found Y`. Control characters in a file name or
// in text that came from a file are shown as '?', so that a hostile name cannot forge a second line.
class LoadError : public std::runtime_error {
  public:
    // `offset` is in bytes from the start of the file: the field that was judged, or 0 if it is the whole
    // file.
    LoadError(LoadFailure failure, std::string_view file, std::uint64_t offset, std::string_view expected,
              std::string_view found);

    LoadFailure failure() const { return failure_; }
    const std::string& file() const { return file_; }
    std::uint64_t offset() const { return offset_; }
    const std::string& expected() const { return expected_; }
    const std::string& found() const { return found_; }

  private:
    LoadFailure failure_;
    std::string file_;
    std::uint64_t offset_;
    std::string expected_;
    std::string found_;
};

// "0x" and lower-case digits, without leading zeros.
std::string hexadecimal(std::uint64_t value);
// The text with every control character as '?'; bytes of UTF-8 sequences stay.
std::string on_one_line(std::string_view text);
// Like on_one_line, for text out of an image: everything that is not printable ASCII becomes '?'.
std::string printable(std::string_view text);

}  // namespace xenolith::loader
