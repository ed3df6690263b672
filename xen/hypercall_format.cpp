// How a hypercall reads to a person.
#include <algorithm>
#include <cstdio>

#include "xen/error_numbers.hpp"
#include "xen/hypercalls.hpp"

namespace xenolith::xen {
namespace {

std::string format_number(std::uint64_t value) {
    if (value < 4096) return std::to_string(value);
    char text[2 + 16 + 1];
    std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
    return text;
}

}  // namespace

std::vector<std::string> format_arguments(const Hypercall& call) {
    const HypercallRow* row = find_hypercall(call.number);
    // Nothing is known of a number without a row: all that could be an argument is shown.
    std::size_t count = call.arguments.size();
    if (row != nullptr) count = call.long_mode_code ? row->arguments_64 : row->arguments_32;

    std::vector<std::string> texts;
    for (std::size_t i = 0; i < std::min(count, call.arguments.size()); ++i) {
        std::string text = format_number(call.arguments[i]);
        if (i == 0 && row != nullptr) {
            const auto name = std::ranges::find(row->subcommands, call.arguments[0], &Subcommand::value);
            if (name != row->subcommands.end()) text = name->name;
        }
        texts.push_back(std::move(text));
    }
    return texts;
}

std::string format_hypercall(const Hypercall& call) {
    const std::string_view name = hypercall_name(call.number);
    std::string text = name.empty() ? "hypercall " + format_number(call.number) : std::string(name);
    text += '(';
    std::string_view separator;
    for (const std::string& argument : format_arguments(call)) {
        text += separator;
        text += argument;
        separator = ", ";
    }
    return text + ')';
}

std::string format_result(std::int64_t result) {
    constexpr std::int64_t last_error = -4095;
    if (result >= 0) return format_number(static_cast<std::uint64_t>(result));
    if (result >= last_error) {
        const std::string_view name = error_name(static_cast<int>(-result));
        if (!name.empty()) return "-" + std::string(name);
    }
    return std::to_string(result);
}

}  // namespace xenolith::xen
