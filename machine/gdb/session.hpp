// One debugging session: what gdb asks over a channel, done to a machine.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "machine/gdb/byte_channel.hpp"
#include "machine/gdb/monitor.hpp"
#include "machine/gdb/packet.hpp"
#include "machine/gdb/registers.hpp"
#include "machine/machine.hpp"

namespace xenolith::machine::gdb {

struct SessionOptions {
    // What gdb is told the CPU is. Empty: what it executes when the session begins.
    std::optional<Architecture> architecture = {};
    // Bounds of the whole run; `stop_at` makes a stop of what it asks for, and `progress` may end the session.
    RunLimits limits = {};
    // What gdb is told of an end: the exit code that the program will have.
    std::function<int(const RunResult&, StopAt)> exit_code = [](const RunResult&, StopAt) { return 0; };
};

enum class SessionEnd : std::uint8_t {
    detached,      // the guest is to run on without a debugger
    killed,        // the guest is to end
    guest_ended,   // it has: result() says how
    disconnected,  // the channel closed; the guest stands where it stood
};

class Session {
  public:
    // Both outlive the session. The guest stands still until the debugger says otherwise.
    Session(Machine& machine, ByteChannel& channel, SessionOptions options);

    // Until the session's end. Debug points are gone then.
    SessionEnd serve();

    // How the last stretch of the run ended.
    const RunResult& result() const { return result_; }
    // What is left of it: a stop that came is no longer asked for.
    StopAt stop_at() const { return settings_.stop_at; }

    static constexpr std::size_t maximum_points = 1024;

  private:
    // A breakpoint or watchpoint as the debugger set it: the digit behind Z, and where.
    struct Point {
        char type;
        std::uint64_t address, size;

        bool operator==(const Point&) const = default;
    };

    // The channel.
    std::optional<Arrival> next_arrival(ByteChannel::Wait wait);
    void handle(const Arrival& arrival);
    void send(std::string_view content);
    void print(std::string_view text);

    // The packets, by what they begin with; each gives the answer.
    std::string answer(std::string_view packet);
    std::string answer_query(std::string_view packet);
    std::string answer_set_query(std::string_view packet);
    std::string answer_verb(std::string_view packet);
    std::string answer_monitor(std::string_view command);
    std::string supported(std::string_view offered);
    std::string read_description(std::string_view range);
    std::string thread_list() const;
    std::string select_thread(std::string_view packet);
    std::string read_register(std::string_view packet);
    std::string write_register(std::string_view packet);
    std::string write_registers(std::string_view packet);
    std::string read_memory(std::string_view packet);
    std::string write_memory(std::string_view packet, bool binary);
    std::string change_point(std::string_view packet, bool insert);
    std::string resume_all(std::string_view actions);
    std::string resume_old(std::string_view packet, bool with_signal);

    // The guest.
    std::string run(bool step);
    std::string stop_reply(int signal, std::string_view why = {});
    std::string why_stopped(const cpu::DebugPoint& point) const;
    std::string describe(const RunResult& result);
    std::string end_reply(const RunResult& result);
    std::string change_state(const std::function<bool(cpu::CpuState&)>& change);
    bool set_points();
    cpu::Engine& selected() { return machine_.engine(vcpu_); }
    bool has_thread(std::uint64_t id) const { return id != 0 && id <= machine_.vcpu_count(); }

    Machine& machine_;
    ByteChannel& channel_;
    SessionOptions options_;
    SessionSettings settings_;
    RegisterFile registers_;
    Monitor monitor_;

    PacketReader reader_;
    std::string inbox_;  // bytes received and not yet looked at
    std::size_t inbox_at_ = 0;
    std::optional<Arrival> held_;  // came while the guest ran
    bool acknowledges_ = true;
    std::string last_sent_;
    bool software_stops_ = false, hardware_stops_ = false;  // the debugger knows "swbreak" and "hwbreak"

    unsigned vcpu_ = 0;  // that g, m and their like are about
    std::vector<Point> points_;
    std::string last_stop_;
    bool interrupted_ = false;       // by the debugger, while the guest ran
    std::optional<RunResult> over_;  // the guest cannot go on, and the debugger was told of a stop
    Architecture told_;              // the last that a notice was about
    RunResult result_;
    std::optional<SessionEnd> end_;
};

}  // namespace xenolith::machine::gdb
