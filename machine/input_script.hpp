// Keys typed by a script: what to wait for in the guest's output, and what to type then. Each key is sent at the cycle
// at which the output came that it waited for, so that two runs with the same script are the same.
//
//     # a comment
//     wait "login: "
//     send "root\n"
//
// Texts are in double quotes, with \n, \r, \t, \e (escape), \\, \" and \xNN.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "machine/text_watch.hpp"

namespace xenolith::machine {

class InputScript {
  public:
    struct Step {
        bool waits = false;  // for the text; else types it
        std::string text;
    };

    static constexpr std::size_t longest_text = 4096;  // bytes

    // loader::LoadError names the file, the offset of the line in bytes, and what was expected.
    static InputScript read(const std::filesystem::path& path);
    static InputScript parse(std::string_view name, std::string_view text);

    const std::vector<Step>& steps() const { return steps_; }
    // Types what comes before the first wait; and after each byte of output, what has become due.
    void start(const std::function<void(std::uint8_t)>& type);
    void output(std::uint8_t byte, const std::function<void(std::uint8_t)>& type);
    bool is_done() const { return next_ == steps_.size(); }
    // The text that it waits for now; empty if it is done.
    std::string_view waits_for() const { return is_done() ? std::string_view() : steps_[next_].text; }

  private:
    std::vector<Step> steps_;
    std::size_t next_ = 0;
    TextWatch watch_;
};

}  // namespace xenolith::machine
