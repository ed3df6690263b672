// The packets are those of the chapter "GDB Remote Serial Protocol" of gdb's manual. Whatever is not known is answered
// by an empty packet, which is how a debugger finds out what there is.
//
// A stop is answered in the middle of `run`: the guest runs inside the call, which looks at the channel a few times a
// second. Whatever the debugger sends meanwhile ends the stretch, Ctrl-C by its own signal.
#include "machine/gdb/session.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "cpu/host_limit.hpp"
#include "cpu/paged_memory.hpp"
#include "machine/gdb/debug_memory.hpp"

namespace xenolith::machine::gdb {

namespace {

// Signals by the numbers that gdb gives them.
constexpr int signal_none = 0, signal_interrupt = 2, signal_trap = 5, signal_abort = 6, signal_segment = 11;

constexpr std::string_view ok = "OK";
// Errno-like numbers, which is all that old answers have room for.
constexpr std::string_view bad_request = "E16", bad_address = "E0e", too_many = "E1c", refused = "E01";

std::optional<cpu::DebugPoint::Kind> kind_of(char type) {
    using Kind = cpu::DebugPoint::Kind;
    switch (type) {
        case '0':
        case '1': return Kind::execute;
        case '2': return Kind::write;
        case '3': return Kind::read;
        case '4': return Kind::access;
        default: return std::nullopt;
    }
}

// "ADDRESS,LENGTH" in front of `text`.
struct Range {
    std::uint64_t address, length;
};
std::optional<Range> take_range(std::string_view& text) {
    const auto address = take_number(text);
    if (!address || !take(text, ",")) return std::nullopt;
    const auto length = take_number(text);
    if (!length) return std::nullopt;
    return Range{*address, *length};
}

// Ends as a guest means them to be, and bounds of the run: the session is over.
bool is_orderly(RunEnd end) {
    switch (end) {
        case RunEnd::halted:
        case RunEnd::guest_exit:
        case RunEnd::max_cycles:
        case RunEnd::max_seconds: return true;
        default: return false;
    }
}

}  // namespace

Session::Session(Machine& machine, ByteChannel& channel, SessionOptions options)
    : machine_(machine),
      channel_(channel),
      options_(std::move(options)),
      settings_{.stop_at = options_.limits.stop_at},
      registers_(options_.architecture.value_or(architecture_of(machine.engine().state())), machine.model()),
      monitor_(machine_, registers_, settings_),
      told_(registers_.architecture()) {
    last_stop_ = stop_reply(signal_trap);
}

SessionEnd Session::serve() {
    while (!end_) {
        if (auto arrival = next_arrival(ByteChannel::Wait::yes))
            handle(*arrival);
        else
            end_ = SessionEnd::disconnected;
    }
    points_.clear();
    set_points();
    return *end_;
}

// --- The channel -------------------------------------------------------------------------------------------------

// None: having waited, that nothing will come; else that nothing has.
std::optional<Arrival> Session::next_arrival(ByteChannel::Wait wait) {
    if (held_) return std::exchange(held_, std::nullopt);
    // While the guest runs, one look at a debugger that sends without end is not endless.
    constexpr unsigned most_reads = 16;
    for (unsigned reads = 0;; ++reads) {
        while (inbox_at_ < inbox_.size())
            if (auto arrival = reader_.take(inbox_[inbox_at_++])) return arrival;
        if (wait == ByteChannel::Wait::no && reads == most_reads) return std::nullopt;
        inbox_.resize(4096);
        inbox_at_ = 0;
        inbox_.resize(channel_.read(inbox_, wait));
        if (inbox_.empty()) return std::nullopt;
    }
}

void Session::handle(const Arrival& arrival) {
    switch (arrival.kind) {
        case Arrival::Kind::acknowledged: return;
        case Arrival::Kind::interrupt:  // the guest stands already, and the debugger waits to be told
            if (acknowledges_) channel_.write("+");
            return send(last_stop_ = stop_reply(signal_interrupt));
        case Arrival::Kind::resend:
            if (acknowledges_) channel_.write(last_sent_);
            return;
        case Arrival::Kind::damaged:
            if (acknowledges_) channel_.write("-");
            return;
        case Arrival::Kind::packet: break;
    }
    if (acknowledges_) channel_.write("+");
    if (arrival.content.starts_with('k')) {  // has no answer
        end_ = SessionEnd::killed;
        return;
    }
    send(answer(arrival.content));
    if (arrival.content == "QStartNoAckMode") acknowledges_ = false;
}

void Session::send(std::string_view content) {
    last_sent_ = frame(content);
    channel_.write(last_sent_);
}

// Text for the person at the debugger.
void Session::print(std::string_view text) {
    constexpr std::size_t piece = maximum_packet / 2 - 16;
    for (; !text.empty(); text.remove_prefix(std::min(piece, text.size()))) send("O" + to_hex(text.substr(0, piece)));
}

// --- Packets -----------------------------------------------------------------------------------------------------

std::string Session::answer(std::string_view packet) {
    if (packet.empty()) return {};
    std::string_view rest = packet.substr(1);
    switch (packet.front()) {
        case '?': return last_stop_;
        case 'c':
        case 's': return resume_old(packet, false);
        case 'C':
        case 'S': return resume_old(packet, true);
        case 'D': end_ = SessionEnd::detached; return std::string(ok);
        case 'g': return registers_.read_all(selected().state());
        case 'G': return write_registers(rest);
        case 'p': return read_register(rest);
        case 'P': return write_register(rest);
        case 'H': return select_thread(rest);
        case 'T': {
            const auto id = take_number(rest);
            return std::string(id && rest.empty() && has_thread(*id) ? ok : refused);
        }
        case 'm': return read_memory(rest);
        case 'M': return write_memory(rest, false);
        case 'X': return write_memory(rest, true);
        case 'Z': return change_point(rest, true);
        case 'z': return change_point(rest, false);
        case 'q': return answer_query(packet);
        case 'Q': return answer_set_query(packet);
        case 'v': return answer_verb(packet);
        default: return {};
    }
}

std::string Session::answer_query(std::string_view packet) {
    if (take(packet, "qSupported")) return supported(packet);
    if (take(packet, "qXfer:features:read:target.xml:")) return read_description(packet);
    if (packet.starts_with("qXfer:features:read:")) return "E00";  // no such document
    // The guest was made for the debugger: it ends with it, unless it is detached.
    if (packet == "qAttached" || packet.starts_with("qAttached:")) return "0";
    if (packet == "qC") return fmt::format("QC{:x}", vcpu_ + 1);
    if (packet == "qfThreadInfo") return thread_list();
    if (packet == "qsThreadInfo") return "l";
    if (take(packet, "qThreadExtraInfo,")) {
        const auto id = take_number(packet);
        if (!id || !has_thread(*id)) return std::string(refused);
        const cpu::CpuState state = machine_.engine(static_cast<unsigned>(*id - 1)).state();
        return to_hex(fmt::format("vCPU {}, {} mode", *id - 1, cpu::mode_name(state.mode())));
    }
    if (take(packet, "qRcmd,")) return answer_monitor(packet);
    return {};
}

std::string Session::answer_set_query(std::string_view packet) {
    return std::string(packet == "QStartNoAckMode" ? ok : "");
}

std::string Session::answer_verb(std::string_view packet) {
    if (packet == "vCont?") return "vCont;c;C;s;S;t";
    if (take(packet, "vCont;")) return resume_all(packet);
    if (packet == "vKill" || packet.starts_with("vKill;")) {
        end_ = SessionEnd::killed;
        return std::string(ok);
    }
    if (packet.starts_with("vRun;")) return "E.xenolith runs one guest, from its command line: start it again there";
    return {};
}

std::string Session::supported(std::string_view offered) {
    software_stops_ = offered.find("swbreak+") != std::string_view::npos;
    hardware_stops_ = offered.find("hwbreak+") != std::string_view::npos;
    return fmt::format("PacketSize={:x};QStartNoAckMode+;qXfer:features:read+;vContSupported+;swbreak+;hwbreak+",
                       maximum_packet);
}

std::string Session::read_description(std::string_view text) {
    const auto range = take_range(text);
    const std::string& all = registers_.description();
    if (!range || !text.empty() || range->address > all.size()) return std::string(bad_request);
    // With every byte escaped it would still fit.
    const std::uint64_t length = std::min<std::uint64_t>(range->length, maximum_packet / 2 - 1);
    const std::string piece = all.substr(range->address, length);
    return (range->address + piece.size() < all.size() ? "m" : "l") + piece;
}

std::string Session::thread_list() const {
    std::string list = "m1";
    for (unsigned id = 2; id <= machine_.vcpu_count(); ++id) list += fmt::format(",{:x}", id);
    return list;
}

std::string Session::select_thread(std::string_view packet) {
    if (packet.empty()) return std::string(bad_request);
    const char operation = packet.front();
    packet.remove_prefix(1);
    std::uint64_t id = 0;
    if (packet != "-1") {
        const auto given = take_number(packet);
        if (!given || !packet.empty()) return std::string(bad_request);
        id = *given;
    }
    if (id != 0 && !has_thread(id)) return std::string(refused);
    // What is to run is said by vCont.
    if (operation == 'g' && id != 0) vcpu_ = static_cast<unsigned>(id - 1);
    return std::string(ok);
}

std::string Session::answer_monitor(std::string_view command) {
    const auto text = from_hex(command);
    if (!text) return std::string(bad_request);
    print(monitor_.execute(*text, vcpu_));
    return std::string(ok);
}

// --- Registers and memory ----------------------------------------------------------------------------------------

// Makes the change if the CPU can hold what comes of it.
std::string Session::change_state(const std::function<bool(cpu::CpuState&)>& change) {
    const cpu::CpuState before = selected().state();
    cpu::CpuState after = before;
    if (!change(after)) return std::string(bad_request);
    if (const std::string why = settle(after, before, machine_.model(), machine_.memory()); !why.empty())
        return "E.xenolith: " + why;
    try {
        selected().set_state(after);
    } catch (const cpu::HostLimit& limit) {
        selected().set_state(before);
        return fmt::format("E.xenolith: {}", limit.what());
    }
    over_.reset();
    return std::string(ok);
}

std::string Session::read_register(std::string_view packet) {
    const auto number = take_number(packet);
    if (!number || !packet.empty() || *number >= registers_.count()) return std::string(bad_request);
    return registers_.read(selected().state(), *number);
}

std::string Session::write_register(std::string_view packet) {
    const auto number = take_number(packet);
    if (!number || !take(packet, "=") || *number >= registers_.count()) return std::string(bad_request);
    const auto value = from_hex(packet);
    if (!value) return std::string(bad_request);
    return change_state([&](cpu::CpuState& state) { return registers_.write(state, *number, *value); });
}

std::string Session::write_registers(std::string_view packet) {
    const auto bytes = from_hex(packet);
    if (!bytes) return std::string(bad_request);
    return change_state([&](cpu::CpuState& state) { return registers_.write_all(state, *bytes); });
}

std::string Session::read_memory(std::string_view packet) {
    const auto range = take_range(packet);
    if (!range || !packet.empty()) return std::string(bad_request);
    std::vector<std::byte> bytes(std::min<std::uint64_t>(range->length, maximum_packet / 2 - 1));
    const DebugMemory memory(machine_.memory(), cpu::paging_context(selected().state(), machine_.model()));
    const std::size_t count = memory.read({range->address}, bytes);
    if (count == 0 && range->length != 0) return std::string(bad_address);
    return to_hex(std::span(bytes).first(count));
}

std::string Session::write_memory(std::string_view packet, bool binary) {
    const auto range = take_range(packet);
    if (!range || !take(packet, ":")) return std::string(bad_request);
    const std::optional<std::string> bytes = binary ? std::string(packet) : from_hex(packet);
    if (!bytes || bytes->size() != range->length) return std::string(bad_request);
    DebugMemory memory(machine_.memory(), cpu::paging_context(selected().state(), machine_.model()));
    return std::string(memory.write({range->address}, std::as_bytes(std::span(*bytes))) ? ok : bad_address);
}

// --- Breakpoints and watchpoints ---------------------------------------------------------------------------------

std::string Session::change_point(std::string_view packet, bool insert) {
    if (packet.empty()) return {};
    const char type = packet.front();
    if (!kind_of(type)) return {};
    packet.remove_prefix(1);
    if (!take(packet, ",")) return std::string(bad_request);
    // Conditions and commands that may follow were not offered.
    const auto range = take_range(packet);
    if (!range) return std::string(bad_request);
    const bool executes = *kind_of(type) == cpu::DebugPoint::Kind::execute;
    const Point point{type, range->address, executes ? 1 : range->length};
    if (point.size == 0 || point.size > mmu::page_size || point.address + (point.size - 1) < point.address)
        return std::string(bad_request);
    const auto found = std::ranges::find(points_, point);
    const bool is_there = found != points_.end();
    if (insert == is_there) return std::string(ok);
    if (insert && points_.size() >= maximum_points) return std::string(too_many);
    if (insert)
        points_.push_back(point);
    else
        points_.erase(found);
    if (set_points()) return std::string(ok);
    if (insert) {
        points_.pop_back();
        set_points();
    }
    return std::string(refused);
}

// False if the engine does not take them.
bool Session::set_points() {
    std::vector<cpu::DebugPoint> points;
    points.reserve(points_.size());
    for (const Point& point : points_) points.push_back({*kind_of(point.type), point.address, point.size});
    try {
        for (unsigned vcpu = 0; vcpu < machine_.vcpu_count(); ++vcpu) machine_.engine(vcpu).set_debug_points(points);
    } catch (const cpu::HostLimit&) {
        return false;
    }
    return true;
}

// --- The guest runs ----------------------------------------------------------------------------------------------

// "ACTION[:THREAD];...": the first that fits a thread is its own. The machine drives the first vCPU, whose action
// counts.
std::string Session::resume_all(std::string_view actions) {
    std::optional<char> chosen;
    while (!actions.empty()) {
        std::string_view action = actions.substr(0, actions.find(';'));
        actions.remove_prefix(std::min(action.size() + 1, actions.size()));
        if (action.empty()) return std::string(bad_request);
        const char verb = action.front();
        action.remove_prefix(1);
        if (verb == 'C' || verb == 'S') {  // a guest has no signals
            if (!take_number(action)) return std::string(bad_request);
        } else if (verb != 'c' && verb != 's' && verb != 't') {
            return std::string(bad_request);
        }
        bool fits = true;
        if (take(action, ":") && action != "-1") {
            const auto id = take_number(action);
            if (!id || !action.empty()) return std::string(bad_request);
            fits = *id <= 1;
        } else if (!action.empty() && action != "-1") {
            return std::string(bad_request);
        }
        if (fits && !chosen) chosen = verb;
    }
    if (!chosen) return std::string(refused);
    if (*chosen == 't') return last_stop_ = stop_reply(signal_none);
    return run(*chosen == 's' || *chosen == 'S');
}

// "c", "s", "C", "S", with an address to go on from.
std::string Session::resume_old(std::string_view packet, bool with_signal) {
    const bool step = packet.front() == 's' || packet.front() == 'S';
    packet.remove_prefix(1);
    if (with_signal) {
        if (!take_number(packet)) return std::string(bad_request);
        if (!packet.empty() && !take(packet, ";")) return std::string(bad_request);
    }
    if (!packet.empty()) {
        const auto address = take_number(packet);
        if (!address || !packet.empty()) return std::string(bad_request);
        std::string changed = change_state([&](cpu::CpuState& state) {
            registers_.at(registers_.program_counter()).set(state, {*address});
            return true;
        });
        if (changed != ok) return changed;
    }
    return run(step);
}

std::string Session::run(bool step) {
    if (over_) {
        result_ = *over_;
        return end_reply(result_);
    }
    interrupted_ = false;
    const auto look_at_channel = [&] {
        if (held_ || interrupted_) return false;
        // Acknowledgements of what was sent before are nothing new; there is a bounded number of them in one look.
        for (unsigned looks = 0; looks < 4096; ++looks) {
            auto arrival = next_arrival(ByteChannel::Wait::no);
            if (!arrival) break;
            if (arrival->kind == Arrival::Kind::acknowledged) continue;
            interrupted_ = true;
            if (arrival->kind != Arrival::Kind::interrupt) held_ = std::move(arrival);
            return false;
        }
        return channel_.is_open();
    };
    if (!look_at_channel()) return last_stop_ = stop_reply(signal_interrupt);

    RunLimits limits = options_.limits;
    limits.stop_at = settings_.stop_at;
    if (step) limits.max_instructions = 1;
    if (limits.max_seconds > 0) {
        const double left = limits.max_seconds - machine_.totals().seconds;
        limits.max_seconds = std::max(left, 1e-9);
    }
    bool ends = false;
    limits.progress = [&](const Totals& totals) {
        if (options_.limits.progress && !options_.limits.progress(totals)) ends = true;
        return !ends && look_at_channel();
    };
    result_ = machine_.run(limits);
    if (ends) return end_reply(result_);
    return describe(result_);
}

// The field of a stop reply that says which point was met.
std::string Session::why_stopped(const cpu::DebugPoint& point) const {
    using Kind = cpu::DebugPoint::Kind;
    switch (point.kind) {
        case Kind::write: return fmt::format("watch:{:x};", point.linear);
        case Kind::read: return fmt::format("rwatch:{:x};", point.linear);
        case Kind::access: return fmt::format("awatch:{:x};", point.linear);
        case Kind::execute: break;
    }
    const bool is_software = std::ranges::find(points_, Point{'0', point.linear, 1}) != points_.end();
    if (is_software) return software_stops_ ? "swbreak:;" : "";
    return hardware_stops_ ? "hwbreak:;" : "";
}

std::string Session::describe(const RunResult& result) {
    const cpu::CpuState state = machine_.engine().state();
    vcpu_ = 0;
    if (const Architecture now = architecture_of(state); now != told_ && !options_.architecture) {
        told_ = now;
        print(Monitor::mode_notice(registers_, state));
    }
    switch (result.end) {
        case RunEnd::max_instructions: return last_stop_ = stop_reply(signal_trap);
        case RunEnd::interrupted: return last_stop_ = stop_reply(signal_interrupt);
        case RunEnd::debug_point: return last_stop_ = stop_reply(signal_trap, why_stopped(result.debug_point));
        case RunEnd::reached:
            settings_.stop_at = StopAt::nothing;
            print(fmt::format("xenolith: {}\n", result.reason));
            return last_stop_ = stop_reply(signal_trap);
        default: break;
    }
    if (is_orderly(result.end) && !settings_.stops_at_end) return end_reply(result);
    over_ = result;
    print(fmt::format("xenolith: {}. To continue ends the session.\n", result.reason));
    const bool orderly = is_orderly(result.end);
    return last_stop_ = stop_reply(orderly                          ? signal_trap
                                   : result.end == RunEnd::shutdown ? signal_segment
                                                                    : signal_abort);
}

std::string Session::end_reply(const RunResult& result) {
    end_ = SessionEnd::guest_ended;
    if (is_orderly(result.end)) return fmt::format("W{:02x}", options_.exit_code(result, settings_.stop_at) & 0xff);
    return fmt::format("X{:02x}", result.end == RunEnd::interrupted ? signal_interrupt : signal_abort);
}

// With the registers that a debugger looks at first. `why` is a field of its own.
std::string Session::stop_reply(int signal, std::string_view why) {
    const cpu::CpuState state = machine_.engine().state();
    std::string reply = fmt::format("T{:02x}", signal);
    for (const std::size_t number :
         {registers_.frame_pointer(), registers_.stack_pointer(), registers_.program_counter()})
        reply += fmt::format("{:x}:{};", number, registers_.read(state, number));
    return reply + fmt::format("{}thread:1;", why);
}

}  // namespace xenolith::machine::gdb
