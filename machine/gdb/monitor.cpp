// Bits of paging-structure entries are those of SDM vol. 3A, 4.3 to 4.5.
#include "machine/gdb/monitor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <stdexcept>

#include "cpu/decode/disassembler.hpp"
#include "cpu/paged_memory.hpp"
#include "machine/gdb/debug_memory.hpp"
#include "machine/gdb/packet.hpp"
#include "xen/blob.hpp"

namespace xenolith::machine::gdb {

namespace {

// A command that cannot be done as it was given: what() is one line.
class Refusal : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

std::vector<std::string> words_of(std::string_view line) {
    std::vector<std::string> words;
    for (std::size_t at = 0; at < line.size();) {
        const std::size_t end = std::min(line.find_first_of(" \t\r\n", at), line.size());
        if (end > at) words.emplace_back(line.substr(at, end - at));
        at = end + 1;
    }
    return words;
}

std::string flag_names(std::uint64_t value, std::span<const std::pair<std::uint64_t, std::string_view>> names) {
    std::string text;
    for (const auto& [bit, name] : names)
        if ((value & bit) != 0) text += (text.empty() ? "" : " ") + std::string(name);
    return text;
}

constexpr std::uint64_t bit(unsigned position) { return std::uint64_t{1} << position; }

std::string entry_flags(const mmu::WalkedEntry& entry) {
    constexpr std::pair<std::uint64_t, std::string_view> names[] = {
        {bit(0), "present"},  {bit(1), "writable"}, {bit(2), "user"},   {bit(3), "write-through"}, {bit(4), "uncached"},
        {bit(5), "accessed"}, {bit(6), "dirty"},    {bit(8), "global"}, {bit(63), "no-execute"}};
    if ((entry.value & 1) == 0) return "not present";
    std::string text = flag_names(entry.value, names);
    // In the last level the bit says how the page is cached.
    if ((entry.value & bit(7)) != 0) text += entry.index_shift == 12 ? " PAT" : " large";
    return text;
}

std::string_view entry_name(std::uint8_t index_shift) {
    switch (index_shift) {
        case 39: return "PML4E";
        case 30: return "PDPTE";
        case 12: return "PTE";
        default: return "PDE";
    }
}

std::string size_name(std::uint64_t bytes) {
    if (bytes >= bit(30)) return fmt::format("{} GiB", bytes >> 30);
    return bytes >= bit(20) ? fmt::format("{} MiB", bytes >> 20) : fmt::format("{} KiB", bytes >> 10);
}

std::string hex_dump(std::uint64_t address, std::span<const std::byte> bytes) {
    std::string text;
    for (std::size_t at = 0; at < bytes.size(); at += 16) {
        const auto row = bytes.subspan(at, std::min<std::size_t>(16, bytes.size() - at));
        std::string letters;
        for (const std::byte byte : row) {
            const auto letter = static_cast<char>(byte);
            letters += letter >= 0x20 && letter < 0x7f ? letter : '.';
        }
        text += fmt::format("{:#x}  {:<47}  {}\n", address + at, xen::hex_bytes(row), letters);
    }
    return text;
}

std::string_view kind_name(mmu::RegionKind kind) {
    constexpr std::string_view names[] = {"RAM", "ROM", "device"};
    return names[static_cast<unsigned>(kind)];
}

std::string_view activity_name(cpu::Activity activity) {
    constexpr std::string_view names[] = {"running", "halted", "waiting for SIPI", "shut down"};
    return names[static_cast<unsigned>(activity)];
}

struct StopName {
    StopAt stop;
    std::string_view name;
};
constexpr StopName stop_names[] = {{StopAt::nothing, "nothing"},
                                   {StopAt::hypercall_page, "hypercall-page"},
                                   {StopAt::first_hypercall, "first-hypercall"}};

}  // namespace

struct Monitor::Request {
    std::vector<std::string> arguments;
    unsigned vcpu = 0;
    cpu::CpuState state;
    const RegisterFile& registers;

    void expect(std::size_t at_least, std::size_t at_most) const {
        if (arguments.size() < at_least || arguments.size() > at_most)
            throw Refusal("that is not how it is written; see monitor help");
    }
    // Decimal, 0x-hexadecimal, or a register's value.
    std::uint64_t number(std::size_t index) const {
        std::string_view text = arguments[index];
        if (text.starts_with('$')) {
            const Register* const one = registers.find(text);
            if (one == nullptr || one->bits > 64) throw Refusal(fmt::format("there is no register {} here", text));
            return one->get(state).low;
        }
        const bool is_hex = take(text, "0x");
        std::uint64_t value = 0;
        const char* const end = text.data() + text.size();
        const auto [stop, error] = std::from_chars(text.data(), end, value, is_hex ? 16 : 10);
        if (error != std::errc() || stop != end)
            throw Refusal(fmt::format("'{}' is no number: expected 123, 0x7b or $rip", arguments[index]));
        return value;
    }
};

struct Monitor::Command {
    std::string_view usage, summary;
    std::string (Monitor::*run)(Request&);

    std::string_view name() const { return usage.substr(0, usage.find(' ')); }
};

const Monitor::Command Monitor::commands[] = {
    {"help", "this list", &Monitor::help},
    {"xen", "the trap's configuration, whether the page was written, hypercalls so far", &Monitor::xen},
    {"timeline [N]", "the last N events (default: 10)", &Monitor::timeline},
    {"until EVENT", "stop at hypercall-page, first-hypercall or nothing, once", &Monitor::until},
    {"state", "mode, privilege, time, and the next instruction", &Monitor::state},
    {"walk ADDRESS", "the page walk of a linear address, entry by entry", &Monitor::walk},
    {"translate ADDRESS", "the physical address of a linear one", &Monitor::translate},
    {"phys ADDRESS [BYTES]", "physical memory (default: 64 bytes, at most 4096)", &Monitor::physical},
    {"set-phys ADDRESS HEX", "write bytes, such as 9090f4, to physical memory", &Monitor::set_physical},
    {"regions", "what lies where in physical memory", &Monitor::regions},
    {"arch", "which registers this connection shows, and what to do when the mode changes", &Monitor::architecture},
    {"end exit|stop", "whether the guest's orderly end ends the session or stops in it", &Monitor::at_end},
};

std::string Monitor::execute(std::string_view line, unsigned vcpu) {
    Request request{words_of(line), vcpu, machine_.engine(vcpu).state(), registers_};
    if (request.arguments.empty()) return help(request);
    const std::string name = request.arguments.front();
    request.arguments.erase(request.arguments.begin());
    const auto found = std::ranges::find_if(commands, [&](const Command& command) { return command.name() == name; });
    if (found == std::end(commands)) return fmt::format("There is no monitor command '{}'; see monitor help.\n", name);
    try {
        return (this->*found->run)(request);
    } catch (const Refusal& refusal) {
        return fmt::format("monitor {}: {}\n", name, refusal.what());
    }
}

std::string Monitor::help(Request&) {
    std::string text;
    for (const Command& command : commands) text += fmt::format("monitor {:<22} {}\n", command.usage, command.summary);
    return text + "An ADDRESS is 123, 0x7b, or a register such as $rip or $cr2.\n";
}

std::string Monitor::mode_notice(const RegisterFile& registers, const cpu::CpuState& state) {
    const Architecture now = architecture_of(state);
    if (now == registers.architecture()) return {};
    return fmt::format(
        "The CPU is in {} mode now, which gdb's architecture {} fits; this connection was told {}.\n"
        "To see it as {}: disconnect, then target remote again. The guest stays where it is.\n",
        cpu::mode_name(state.mode()), architecture_name(now), architecture_name(registers.architecture()),
        architecture_name(now));
}

std::string Monitor::architecture(Request& request) {
    std::string text = fmt::format("mode            {}\nthis connection {}\n", cpu::mode_name(request.state.mode()),
                                   architecture_name(registers_.architecture()));
    const std::string notice = mode_notice(registers_, request.state);
    text += notice.empty() ? "They fit.\n" : notice;
    return text +
           "gdb believes one description per connection. It is made for the CPU's mode when gdb connects, unless\n"
           "--gdb-arch fixes it. Where only the disassembly is wrong, `set architecture i8086` helps if the "
           "connection\n"
           "was told i386, and the other way round. $pc is linear, CS base + IP; $ip is the offset alone.\n";
}

std::string Monitor::at_end(Request& request) {
    request.expect(0, 1);
    if (!request.arguments.empty()) {
        const std::string& what = request.arguments.front();
        if (what != "exit" && what != "stop") throw Refusal("expected exit or stop");
        settings_.stops_at_end = what == "stop";
    }
    return settings_.stops_at_end ? "The guest's end is a stop: look around, then continue to end the session.\n"
                                  : "The guest's orderly end ends the session.\n";
}

std::string Monitor::until(Request& request) {
    request.expect(0, 1);
    if (!request.arguments.empty()) {
        const auto found = std::ranges::find(stop_names, request.arguments.front(), &StopName::name);
        if (found == std::end(stop_names)) throw Refusal("expected hypercall-page, first-hypercall or nothing");
        settings_.stop_at = found->stop;
    }
    return fmt::format("Stops at: {}\n", std::ranges::find(stop_names, settings_.stop_at, &StopName::stop)->name);
}

std::string Monitor::physical(Request& request) {
    request.expect(1, 2);
    const std::uint64_t address = request.number(0);
    const std::uint64_t count = request.arguments.size() > 1 ? request.number(1) : 64;
    if (count == 0 || count > mmu::page_size) throw Refusal("expected 1 to 4096 bytes");
    std::vector<std::byte> bytes(count);
    bytes.resize(read_physical(machine_.memory(), {address}, bytes));
    std::string text = hex_dump(address, bytes);
    if (bytes.size() < count) text += fmt::format("{:#x}  is neither RAM nor ROM\n", address + bytes.size());
    return text;
}

std::string Monitor::set_physical(Request& request) {
    request.expect(2, 2);
    const std::uint64_t address = request.number(0);
    const auto bytes = from_hex(request.arguments[1]);
    if (!bytes || bytes->empty()) throw Refusal("expected pairs of hexadecimal digits, such as 9090f4");
    if (!write_physical(machine_.memory(), {address}, std::as_bytes(std::span(*bytes))))
        throw Refusal(fmt::format("{:#x} and what follows is not all RAM or ROM", address));
    return fmt::format("{} byte(s) written at {:#x}\n", bytes->size(), address);
}

std::string Monitor::regions(Request&) {
    std::string text;
    for (const auto& region : machine_.memory().regions())
        text += fmt::format("{:#x} to {:#x}  {:<6} {}\n", region->start.value, region->start.value + region->size - 1,
                            kind_name(region->kind), region->name);
    return text;
}

std::string Monitor::state(Request& request) {
    const cpu::CpuState& state = request.state;
    const cpu::Engine& engine = machine_.engine(request.vcpu);
    const cpu::SegmentRegister& code = state.segment(cpu::SegmentName::cs);
    std::array<std::byte, 15> bytes{};
    const std::uint64_t linear = program_counter_of(state);
    cpu::PagedMemory memory(machine_.memory(), cpu::paging_context(state, machine_.model()));
    const std::span<const std::byte> read = memory.read_code({linear}, bytes);
    const std::string text = read.empty() ? "(not mapped)" : cpu::disassemble(read, state.code_width(), state.rip).text;
    std::string also;
    if (state.interrupt_shadow) also += ", in an interrupt shadow";
    if (state.nmi_blocked) also += ", NMI blocked";
    if (state.nmi_pending) also += ", NMI pending";
    return fmt::format(
        "vCPU            {} on the engine {}\n"
        "mode            {}, CPL {}, paging {}\n"
        "activity        {}{}\n"
        "clock           {} cycles, {} instructions\n"
        "next            {:04x}:{:x} (linear {:#x})  {}\n",
        request.vcpu, engine.name(), cpu::mode_name(state.mode()), state.cpl(), state.paging() ? "on" : "off",
        activity_name(state.activity), also, engine.cycles(), engine.instructions(), code.selector, state.rip, linear,
        text);
}

std::string Monitor::timeline(Request& request) {
    request.expect(0, 1);
    const std::uint64_t wanted = request.arguments.empty() ? 10 : request.number(0);
    const std::span<const Event> events = machine_.timeline().events();
    const std::size_t count = std::min<std::size_t>(wanted, events.size());
    TimelineText lines;
    std::string text;
    for (const Event& event : events.last(count)) text += lines.add(event);
    text += lines.finish();
    return text + fmt::format("{} of {} event(s).\n", count, events.size());
}

std::string Monitor::translate(Request& request) {
    request.expect(1, 1);
    const std::uint64_t address = request.number(0);
    const DebugMemory memory(machine_.memory(), cpu::paging_context(request.state, machine_.model()));
    mmu::GuestPhysical physical;
    if (!memory.translate({address}, physical)) return fmt::format("{:#x} is not mapped; see monitor walk\n", address);
    const mmu::Region* const region = machine_.memory().find(physical);
    return fmt::format("{:#x} is physical {:#x}: {}\n", address, physical.value,
                       region == nullptr ? "nothing is there" : region->name);
}

std::string Monitor::walk(Request& request) {
    request.expect(1, 1);
    using Ending = mmu::WalkTrace::Ending;
    const mmu::GuestLinear address{request.number(0)};
    const cpu::CpuState& state = request.state;
    const mmu::WalkTrace trace =
        mmu::trace_walk(machine_.memory(), cpu::paging_context(state, machine_.model()), address);
    if (trace.ending == Ending::no_paging)
        return fmt::format("Paging is off: {:#x} is physical {:#x}\n", address.value, trace.physical.value);
    if (state.in_long_mode() && !address.is_canonical())
        return fmt::format("{:#x} is not canonical: no page walk, but #GP or #SS\n", address.value);
    std::string text = fmt::format("CR3    {:#x}\n", state.cr3);
    for (const mmu::WalkedEntry& entry : trace.entries)
        text += fmt::format("{:<6} {:<18} {:#018x}  {}\n", entry_name(entry.index_shift),
                            entry.in_register ? "in a register" : fmt::format("at {:#x}", entry.address.value),
                            entry.value, entry_flags(entry));
    switch (trace.ending) {
        case Ending::not_present: return text + "Not mapped: the last entry is not present.\n";
        case Ending::reserved_bit: return text + "Not mapped: the last entry has a reserved bit set.\n";
        default: break;
    }
    return text + fmt::format("{:#x} is physical {:#x}, in a page of {}: {}, {}, {}\n", address.value,
                              trace.physical.value, size_name(trace.mapping_size), trace.user ? "user" : "supervisor",
                              trace.writable ? "writable" : "read-only",
                              trace.executable ? "executable" : "not executable");
}

std::string Monitor::xen(Request&) {
    const xen::TrapCore* const trap = machine_.trap();
    if (trap == nullptr) return "There is no Xen in this machine (--no-xen).\n";
    const xen::HvmConfig& config = trap->config();
    std::string text = fmt::format("profile         {}\n", trap->profile().name);
    text +=
        config.msr == 0 ? "MSR             0: the trap is off\n" : fmt::format("MSR             {:#x}\n", config.msr);
    text += fmt::format("flags           {}\n", xen::hvm_config_flag_names(config.flags));
    if (trap->intercepts_hypercalls()) {
        text += "pages           generated, not copied from a blob\n";
    } else {
        text +=
            fmt::format("32-bit blob     {} page(s) at user address {:#x}\n", config.blob_size_32, config.blob_addr_32);
        text +=
            fmt::format("64-bit blob     {} page(s) at user address {:#x}\n", config.blob_size_64, config.blob_addr_64);
    }
    if (const auto latched = trap->latched_long_mode())
        text += fmt::format("shared_info     latched as {}-bit by the last write\n", *latched ? 64 : 32);
    std::uint64_t writes = 0, calls = 0;
    const HypercallPageWrite* last = nullptr;
    std::map<std::string, std::uint64_t> by_name;
    for (const Event& event : machine_.timeline().events()) {
        if (const auto* const write = std::get_if<HypercallPageWrite>(&event.what)) {
            ++writes;
            last = write;
        } else if (const auto* const call = std::get_if<HypercallMade>(&event.what)) {
            ++calls;
            ++by_name[call->name.empty() ? fmt::format("number {}", call->number) : call->name];
        }
    }
    text += last == nullptr ? "page            not written yet\n"
                            : fmt::format("page            {} write(s); the last one, to {:#x}, index {}, {}-bit: {}\n",
                                          writes, last->address, last->index, last->blob, last->result);
    text += fmt::format("hypercalls      {}\n", calls);
    for (const auto& [name, count] : by_name) text += fmt::format("                {} {}\n", count, name);
    return text;
}

}  // namespace xenolith::machine::gdb
