#include "machine/input_script.hpp"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "loader/image_file.hpp"
#include "loader/load_error.hpp"

namespace xenolith::machine {

namespace {

constexpr std::uint64_t largest_script = std::uint64_t{1} << 20;  // bytes

std::optional<char> simple_escape(char letter) {
    switch (letter) {
        case 'n': return '\n';
        case 'r': return '\r';
        case 't': return '\t';
        case 'e': return '\x1b';
        case '\\': return '\\';
        case '"': return '"';
        default: return std::nullopt;
    }
}

// The text in quotes that a line's rest is; empty if it is none.
std::optional<std::string> quoted(std::string_view rest) {
    if (rest.size() < 2 || rest.front() != '"' || rest.back() != '"') return std::nullopt;
    rest = rest.substr(1, rest.size() - 2);
    std::string text;
    for (std::size_t at = 0; at < rest.size(); ++at) {
        if (rest[at] == '"') return std::nullopt;
        if (rest[at] != '\\') {
            text += rest[at];
            continue;
        }
        if (++at == rest.size()) return std::nullopt;
        if (const auto letter = simple_escape(rest[at])) {
            text += *letter;
            continue;
        }
        if (rest[at] != 'x' || at + 2 >= rest.size()) return std::nullopt;
        unsigned value = 0;
        const char* const digits = rest.data() + at + 1;
        if (std::from_chars(digits, digits + 2, value, 16).ptr != digits + 2) return std::nullopt;
        text += static_cast<char>(value);
        at += 2;
    }
    return text;
}

std::string_view trimmed(std::string_view line) {
    constexpr std::string_view blanks = " \t\r";
    const std::size_t first = line.find_first_not_of(blanks);
    if (first == std::string_view::npos) return {};
    return line.substr(first, line.find_last_not_of(blanks) - first + 1);
}

}  // namespace

InputScript InputScript::read(const std::filesystem::path& path) {
    const loader::ImageFile file = loader::ImageFile::read(path, largest_script);
    const std::span<const std::byte> bytes = file.bytes();
    return parse(file.name(), {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

InputScript InputScript::parse(std::string_view name, std::string_view text) {
    InputScript script;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        const std::string_view line = trimmed(text.substr(at, end - at));
        if (!line.empty() && line.front() != '#') {
            const std::size_t blank = std::min(line.find_first_of(" \t"), line.size());
            const std::string_view verb = line.substr(0, blank);
            const auto words = quoted(trimmed(line.substr(blank)));
            const bool is_verb = verb == "wait" || verb == "send";
            if (!is_verb || !words || words->empty() || words->size() > longest_text)
                throw loader::LoadError(loader::LoadFailure::malformed, std::string(name), at,
                                        "wait \"TEXT\" or send \"TEXT\"", std::string(line));
            script.steps_.push_back({verb == "wait", *words});
        }
        at = end + 1;
    }
    return script;
}

void InputScript::start(const std::function<void(std::uint8_t)>& type) {
    while (!is_done() && !steps_[next_].waits) {
        for (const char letter : steps_[next_].text) type(static_cast<std::uint8_t>(letter));
        ++next_;
    }
}

void InputScript::output(std::uint8_t byte, const std::function<void(std::uint8_t)>& type) {
    if (is_done() || !watch_.sees(byte, steps_[next_].text)) return;
    ++next_;
    start(type);
}

}  // namespace xenolith::machine
