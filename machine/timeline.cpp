#include "machine/timeline.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "cpu/decode/disassembler.hpp"
#include "xen/blob.hpp"
#include "xen/hypercall_page.hpp"
#include "xen/hypercalls.hpp"

namespace xenolith::machine {

namespace {

using Json = nlohmann::ordered_json;

template <class... Visitors>
struct Overloaded : Visitors... {
    using Visitors::operator()...;
};
template <class... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;  // C++20 can do without, clang 16 cannot

std::string hex(std::uint64_t value) { return fmt::format("{:#x}", value); }

// 1234567 as 1,234,567.
std::string grouped(std::uint64_t value) {
    std::string text = std::to_string(value);
    for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, ",");
    return text;
}

constexpr std::string_view indent = "               ";

void append(std::string& to, std::string_view line) { to += fmt::format("{}{}\n", indent, line); }

// When, where, and the instruction.
std::string format_heading(const Event& event) {
    const cpu::Moment& at = event.moment;
    return fmt::format("{:>14} {} {:04x}:{:x}  {}\n", grouped(at.cycles), cpu::mode_name(at.mode), at.cs, at.rip,
                       event.instruction);
}

// The three registers of a leaf +0 as the text they spell.
std::string signature(const cpu::CpuidLeaf& value) {
    std::string text;
    for (const std::uint32_t part : {value.ebx, value.ecx, value.edx})
        for (unsigned n = 0; n < 4; ++n) {
            const auto letter = static_cast<char>(part >> n * 8 & 0xff);
            text += letter >= 0x20 && letter < 0x7f ? letter : '.';
        }
    return text;
}

std::string explain(const CpuidLeafRead& read) {
    const cpu::CpuidLeaf& value = read.value;
    const std::uint32_t offset = read.leaf & 0xff;
    std::string raw =
        fmt::format("eax={:08x} ebx={:08x} ecx={:08x} edx={:08x}", value.eax, value.ebx, value.ecx, value.edx);
    switch (offset) {
        case 0: return fmt::format("{}  \"{}\", highest leaf {:#x}", raw, signature(value), value.eax);
        case 1: return fmt::format("{}  version {}.{}", raw, value.eax >> 16, value.eax & 0xffff);
        case 2: return fmt::format("{}  {} hypercall page(s), by MSR {:#x}", raw, value.eax, value.ebx);
        case 3: return fmt::format("{}  time, sub-leaf {}", raw, read.subleaf);
        case 4: return fmt::format("{}  HVM features", raw);
        default: return raw;
    }
}

std::string format_cost(const cpu::TrapCost& cost) {
    return fmt::format("cost {} cycles = exit {} + dispatch {} + copy {} + entry {}", grouped(cost.total()), cost.exit,
                       cost.dispatch, cost.copy, cost.entry);
}

Json cost_json(const cpu::TrapCost& cost) {
    return {{"exit", cost.exit}, {"dispatch", cost.dispatch}, {"copy", cost.copy}, {"entry", cost.entry}};
}

// The code width a hypercall page is meant for, so that its bytes can be read.
unsigned page_width(const cpu::Moment& moment) {
    switch (moment.mode) {
        case cpu::Mode::long64: return 64;
        case cpu::Mode::real:
        case cpu::Mode::vm86:
        case cpu::Mode::protected16: return 16;
        default: return 32;
    }
}

void format_page(std::string& text, const HypercallPageWrite& write, unsigned width) {
    append(text, "the page begins:");
    std::span<const std::byte> bytes = write.page_start;
    for (std::size_t at = 0; at < bytes.size() && bytes[at] != std::byte{0xcc};) {
        const cpu::Disassembled line = cpu::disassemble(bytes.subspan(at), width, write.address + at);
        const std::size_t length = std::min<std::size_t>(line.length, bytes.size() - at);
        append(text, fmt::format("  {:#x}  {:<24} {}", write.address + at, xen::hex_bytes(bytes.subspan(at, length)),
                                 line.text));
        at += length;
    }
}

}  // namespace

void Timeline::add(Event event) {
    if (events_.size() >= maximum_events) {
        ++dropped_;
        return;
    }
    events_.push_back(std::move(event));
    if (listener_) listener_(events_.back());
}

std::string_view event_kind(const Event& event) {
    return std::visit(
        Overloaded{[](const CpuidLeafRead&) { return "cpuid-leaf"; },
                   [](const HypercallPageWrite&) { return "hypercall-page"; },
                   [](const HypercallMade&) { return "hypercall"; }, [](const Remark&) { return "remark"; }},
        event.what);
}

std::string format_event(const Event& event) {
    std::string text = format_heading(event);
    std::visit(Overloaded{
                   [&](const CpuidLeafRead& read) {
                       append(text, fmt::format("CPUID leaf {:#x}: {}", read.leaf, explain(read)));
                   },
                   [&](const HypercallPageWrite& write) {
                       const cpu::Moment& at = event.moment;
                       append(text, fmt::format("WRMSR {:#x} = {:#018x}: page at {:#x}, index {}", write.msr,
                                                write.value, write.address, write.index));
                       append(text, fmt::format("{}: {}", write.result, write.reason));
                       append(text, format_cost(write.cost));
                       if (!write.page_start.empty()) format_page(text, write, page_width(at));
                   },
                   [&](const HypercallMade& call) {
                       std::string arguments;
                       for (const std::string& argument : call.argument_texts)
                           arguments += (arguments.empty() ? "" : ", ") + argument;
                       append(text, fmt::format("hypercall {} {}({}) = {}{} through {}", call.number,
                                                call.name.empty() ? "(no such number)" : call.name, arguments,
                                                call.result_text, call.answered ? "" : ", refused", call.through));
                       if (!call.refusal.empty()) append(text, call.refusal);
                       append(text, format_cost(call.cost));
                   },
                   [&](const Remark& remark) { append(text, remark.text); },
               },
               event.what);
    return text;
}

std::string TimelineText::add(const Event& event) {
    const auto* const read = std::get_if<CpuidLeafRead>(&event.what);
    if (read == nullptr || read->value != cpu::CpuidLeaf{}) return finish() + format_event(event);
    ++unanswered_count_;
    if (unanswered_.size() > 1) unanswered_.pop_back();
    unanswered_.push_back(event);
    return {};
}

std::string TimelineText::finish() {
    if (unanswered_.empty()) return {};
    std::string text = format_heading(unanswered_.front());
    const auto leaf = [](const Event& event) { return std::get<CpuidLeafRead>(event.what).leaf; };
    append(text, unanswered_count_ == 1
                     ? fmt::format("CPUID leaf {:#x}: nobody there", leaf(unanswered_.front()))
                     : fmt::format("CPUID leaves {:#x} to {:#x}: {} reads, nobody there", leaf(unanswered_.front()),
                                   leaf(unanswered_.back()), unanswered_count_));
    unanswered_.clear();
    unanswered_count_ = 0;
    return text;
}

std::string format_totals(const Totals& totals) {
    return fmt::format("{} instructions, {} cycles, {} traps; {:.2f} s of host time, {:.0f} MIPS\n",
                       grouped(totals.instructions), grouped(totals.cycles), grouped(totals.traps), totals.seconds,
                       totals.mips);
}

std::string diagnose(const Timeline& timeline) {
    std::uint64_t leaves = 0, copied = 0, calls = 0;
    std::map<std::string, std::uint64_t> refused_writes, refused_calls;
    for (const Event& event : timeline.events()) {
        std::visit(Overloaded{[&](const CpuidLeafRead& read) {
                                  if (read.value != cpu::CpuidLeaf{}) ++leaves;
                              },
                              [&](const HypercallPageWrite& write) {
                                  if (write.result == "copied") {
                                      ++copied;
                                  } else {
                                      ++refused_writes[write.result + ", " + write.reason];
                                  }
                              },
                              [&](const HypercallMade& call) {
                                  ++calls;
                                  if (!call.answered)
                                      ++refused_calls[call.name.empty() ? std::to_string(call.number) : call.name];
                              },
                              [](const Remark&) {}},
                   event.what);
    }
    std::string text;
    const auto say = [&](std::string_view line) { text += fmt::format("  {}\n", line); };
    if (leaves == 0 && copied == 0 && calls == 0) say("The guest has not looked for Xen's CPUID leaves.");
    if (leaves != 0 && copied == 0 && refused_writes.empty() && calls == 0)
        say("The guest has read Xen's CPUID leaves, but neither written the hypercall MSR nor made a hypercall.");
    for (const auto& [why, count] : refused_writes)
        say(fmt::format("{} write(s) of the hypercall MSR failed: {}", count, why));
    if (copied != 0) say(fmt::format("The hypercall page was copied {} time(s).", copied));
    if (copied != 0 && calls == 0) say("The guest has not called through it yet.");
    if (copied == 0 && calls != 0)
        say("The guest made hypercalls without a hypercall page, by the instruction itself.");
    if (calls != 0) say(fmt::format("{} hypercall(s) were made.", calls));
    for (const auto& [name, count] : refused_calls) say(fmt::format("{} time(s) refused: {}", count, name));
    return text;
}

std::string timeline_json(const Timeline& timeline, const Totals& totals) {
    Json events = Json::array();
    for (const Event& event : timeline.events()) {
        const cpu::Moment& at = event.moment;
        Json entry = {{"kind", event_kind(event)},
                      {"cycles", at.cycles},
                      {"instructions", at.instructions},
                      {"vcpu", at.vcpu},
                      {"mode", cpu::mode_name(at.mode)},
                      {"cs", hex(at.cs)},
                      {"rip", hex(at.rip)},
                      {"instruction", event.instruction}};
        std::visit(Overloaded{
                       [&](const CpuidLeafRead& read) {
                           entry["leaf"] = hex(read.leaf);
                           entry["subleaf"] = read.subleaf;
                           entry["eax"] = hex(read.value.eax);
                           entry["ebx"] = hex(read.value.ebx);
                           entry["ecx"] = hex(read.value.ecx);
                           entry["edx"] = hex(read.value.edx);
                       },
                       [&](const HypercallPageWrite& write) {
                           entry["msr"] = hex(write.msr);
                           entry["value"] = hex(write.value);
                           entry["address"] = hex(write.address);
                           entry["index"] = write.index;
                           entry["blob"] = write.blob;
                           entry["generated"] = write.generated;
                           entry["result"] = write.result;
                           entry["reason"] = write.reason;
                           entry["cost"] = cost_json(write.cost);
                           entry["bytes"] = xen::hex_bytes(write.page_start);
                       },
                       [&](const HypercallMade& call) {
                           entry["number"] = call.number;
                           entry["name"] = call.name;
                           entry["arguments"] = Json::array();
                           for (const std::uint64_t argument : call.arguments)
                               entry["arguments"].push_back(hex(argument));
                           entry["result"] = call.result;
                           entry["answered"] = call.answered;
                           entry["through"] = call.through;
                           entry["cost"] = cost_json(call.cost);
                       },
                       [&](const Remark& remark) { entry["text"] = remark.text; },
                   },
                   event.what);
        events.push_back(std::move(entry));
    }
    const Json document = {{"events", std::move(events)},
                           {"totals",
                            {{"instructions", totals.instructions},
                             {"cycles", totals.cycles},
                             {"seconds", totals.seconds},
                             {"mips", totals.mips},
                             {"traps", totals.traps},
                             {"events_dropped", timeline.dropped()}}}};
    return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

void write_atomically(const std::filesystem::path& file, std::string_view text) {
    namespace fs = std::filesystem;
    std::error_code ignored;
    const fs::file_status there = fs::status(file, ignored);
    // A device or a pipe is written as it stands: a file renamed to its name would take its place. Behind a link, what
    // the link leads to is replaced.
    const bool replaces = !fs::exists(there) || fs::is_regular_file(there);
    const fs::path target = fs::is_regular_file(there) ? fs::canonical(file) : file;
    const std::string written_to = replaces ? fmt::format("{}.{}.part", target.string(), ::getpid()) : target.string();
    std::FILE* const out = std::fopen(written_to.c_str(), replaces ? "wbx" : "wb");
    const auto fail = [&](int error) {
        if (out != nullptr && replaces) ::unlink(written_to.c_str());
        throw std::runtime_error(fmt::format("{}: cannot write: {}", file.string(), std::strerror(error)));
    };
    if (out == nullptr) fail(errno);
    const bool written = std::fwrite(text.data(), 1, text.size(), out) == text.size() && std::fflush(out) == 0;
    const int write_error = errno;
    const bool closed = std::fclose(out) == 0;
    if (!written || !closed) fail(written ? errno : write_error);
    if (replaces && std::rename(written_to.c_str(), target.c_str()) != 0) fail(errno);
}

}  // namespace xenolith::machine
