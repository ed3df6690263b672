// `xenolith blob`: makes hypercall pages as files, and shows what is in one.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "cpu/decode/disassembler.hpp"
#include "loader/load_error.hpp"
#include "machine/timeline.hpp"
#include "tools/xenolith/machine_options.hpp"
#include "xen/blob.hpp"
#include "xen/hypercall_page.hpp"

namespace xenolith::tools {

namespace options = boost::program_options;

namespace {

constexpr std::string_view help_text = R"(Usage: xenolith blob make KIND FILE [--pages N]
       xenolith blob show FILE [--width 16|32|64] [--json]

A blob is what a hypercall page is copied from: 1 to 255 pages of 4096 bytes, with a stub every 32 bytes.
`make` writes a built-in one: KIND is vmcall, vmmcall or doorbell. `show` disassembles a file.

Options:
  --pages N    pages to make, 1 to 255 (default: 1)
  --width N    read the code as 16-, 32- or 64-bit code (default: 64)
  --json       print slots as JSON
  -h, --help   this help

Examples:
  xenolith blob make doorbell page.bin
  xenolith blob show page.bin --width 32
)";

xen::FormattedInstruction format_instruction(std::span<const std::byte> bytes, unsigned width, std::uint64_t rip) {
    const cpu::Disassembled line = cpu::disassemble(bytes, width, rip);
    return line.text == "(bad)" ? xen::FormattedInstruction{} : xen::FormattedInstruction{line.text, line.length};
}

int make(const std::string& kind_name, const std::string& file, const options::variables_map& values) {
    const auto kind = xen::find_stub_kind(kind_name);
    if (!kind)
        throw UsageError(
            fmt::format("blob make {}: expected vmcall, vmmcall or doorbell", loader::on_one_line(kind_name)));
    std::uint64_t pages = 1;
    if (values.count("pages") != 0) {
        const std::string text = values["pages"].as<std::string>();
        pages = parse_number("pages", text);
        if (pages < 1 || pages > xen::maximum_blob_pages)
            throw UsageError(fmt::format("--pages {}: expected 1 to {}", text, xen::maximum_blob_pages));
    }
    const std::vector<std::byte> blob = xen::make_blob(*kind, static_cast<unsigned>(pages));
    machine::write_atomically(file, {reinterpret_cast<const char*>(blob.data()), blob.size()});
    fmt::print("{}: {} page(s) of {} stubs\n", file, pages, kind_name);
    return exit_code::success;
}

int show(const std::string& file, const options::variables_map& values) {
    const std::string width_text = values.count("width") != 0 ? values["width"].as<std::string>() : "64";
    if (width_text != "16" && width_text != "32" && width_text != "64")
        throw UsageError(fmt::format("--width {}: expected 16, 32 or 64", loader::on_one_line(width_text)));
    const std::vector<std::byte> blob = xen::load_blob(file);
    const auto slots = xen::describe_blob(blob, static_cast<unsigned>(std::stoul(width_text)), format_instruction);
    if (values.count("json") != 0) {
        nlohmann::ordered_json document = {
            {"file", file}, {"pages", xen::blob_pages(blob)}, {"slots", nlohmann::ordered_json::array()}};
        for (const xen::BlobSlot& slot : slots) {
            nlohmann::ordered_json entry = {{"number", slot.number},
                                            {"name", slot.name},
                                            {"offset", slot.offset},
                                            {"instructions", nlohmann::ordered_json::array()}};
            for (const auto& line : slot.instructions)
                entry["instructions"].push_back({{"bytes", xen::hex_bytes(line.bytes)}, {"text", line.text}});
            document["slots"].push_back(std::move(entry));
        }
        fmt::print("{}\n", document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
        return exit_code::success;
    }
    fmt::print("{}: {} page(s)\n", file, xen::blob_pages(blob));
    for (const xen::BlobSlot& slot : slots) {
        fmt::print("{:5} {}\n", slot.number, slot.name);
        for (const auto& line : slot.instructions)
            fmt::print("      {:#06x}  {:<24} {}\n", line.offset, xen::hex_bytes(line.bytes), line.text);
    }
    return exit_code::success;
}

}  // namespace

int blob_command(const Arguments& arguments) {
    options::options_description all;
    // clang-format off
    all.add_options()
        ("action", options::value<std::string>())
        ("operands", options::value<std::vector<std::string>>())
        ("pages", options::value<std::string>())
        ("width", options::value<std::string>())
        ("json", "")
        ("help,h", "");
    // clang-format on
    const options::variables_map values =
        parse_options(arguments, all, options::positional_options_description().add("action", 1).add("operands", -1));
    if (values.count("help") != 0) {
        fmt::print("{}", help_text);
        return exit_code::success;
    }
    const std::string action = values.count("action") != 0 ? values["action"].as<std::string>() : "";
    const auto operands =
        values.count("operands") != 0 ? values["operands"].as<std::vector<std::string>>() : std::vector<std::string>();
    if (action == "make" && operands.size() == 2) return make(operands[0], operands[1], values);
    if (action == "show" && operands.size() == 1) return show(operands[0], values);
    throw UsageError("expected `blob make KIND FILE` or `blob show FILE`; see xenolith blob --help");
}

}  // namespace xenolith::tools
