// `monitor COMMAND` in gdb: what its own commands have no words for.
#pragma once

#include <string>
#include <string_view>

#include "machine/gdb/registers.hpp"
#include "machine/machine.hpp"

namespace xenolith::machine::gdb {

// What monitor commands change about the session.
struct SessionSettings {
    StopAt stop_at = StopAt::nothing;  // as in a run, but a stop: the guest can go on
    // The guest's orderly end, too, is a stop at which one can look around.
    bool stops_at_end = false;
};

class Monitor {
  public:
    // All outlive it.
    Monitor(Machine& machine, const RegisterFile& registers, SessionSettings& settings)
        : machine_(machine), registers_(registers), settings_(settings) {}

    // Whole lines, also where there is no such command.
    std::string execute(std::string_view line, unsigned vcpu);

    // Why this connection shows the registers of another mode than the CPU's, and what to do; empty if it does not.
    static std::string mode_notice(const RegisterFile& registers, const cpu::CpuState& state);

  private:
    // A command line taken apart, on one vCPU.
    struct Request;
    struct Command;
    static const Command commands[];

    std::string help(Request& request);
    std::string architecture(Request& request);
    std::string at_end(Request& request);
    std::string physical(Request& request);
    std::string regions(Request& request);
    std::string set_physical(Request& request);
    std::string state(Request& request);
    std::string timeline(Request& request);
    std::string translate(Request& request);
    std::string until(Request& request);
    std::string walk(Request& request);
    std::string xen(Request& request);

    Machine& machine_;
    const RegisterFile& registers_;
    SessionSettings& settings_;
};

}  // namespace xenolith::machine::gdb
