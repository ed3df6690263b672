// One face for everything that can run guest code: interpreter, JIT, KVM. Nothing above knows which it is.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "cpu/debug/debug_point.hpp"
#include "cpu/state/cpu_state.hpp"
#include "mmu/address.hpp"
#include "mmu/tlb.hpp"

namespace xenolith::cpu {

enum class ExitReason : std::uint8_t {
    deadline,      // the clock reached Budget::until_cycles
    instructions,  // Budget::instructions were executed
    halted,        // HLT; an interrupt line, an NMI or the caller's patience ends it
    shutdown,      // a triple fault
    stopped,       // request_stop
    hypercall,     // the Environment answered `leave`; RIP is at the instruction
    failed,        // the Environment answered `stop`; RIP is at the instruction
    debug_point,   // RIP is at the instruction of an execute point, or behind the one that accessed the data
};

struct Exit {
    ExitReason reason = ExitReason::deadline;
    int error_number = 0;   // with `failed`
    DebugPoint point = {};  // with `debug_point`: the one that was met; of several, the first
};

// Both bounds hold. A guest can fault for ever without completing an instruction: only cycles bound every run.
struct Budget {
    std::uint64_t until_cycles = std::numeric_limits<std::uint64_t>::max();  // absolute, on the virtual clock
    std::uint64_t instructions = std::numeric_limits<std::uint64_t>::max();
};

// What an engine remembers beside the CPU's state, as far as it decides what a guest's time comes to.
struct EngineMemory {
    std::uint64_t cycles = 0, instructions = 0;
    std::vector<mmu::Tlb::State> translations;
    std::uint64_t fetch_page = 1;  // linear page whose translation is at hand; 1 for none
};

// One logical processor. Interrupts and deadlines are taken at delivery points, which belong to the guest's code and
// not to the engine: after a control transfer, a REP iteration that yields, an instruction that asks the Environment
// or changes system state, and where execution crosses into another page. Every engine has the same ones, so that
// runs are equal to the cycle.
class Engine {
  public:
    virtual ~Engine() = default;

    virtual std::string_view name() const = 0;

    // Runs until the budget or an exit. State is precise at every exit.
    virtual Exit run(const Budget& budget) = 0;

    virtual CpuState state() const = 0;
    virtual void set_state(const CpuState& state) = 0;

    // The virtual clock and the count of completed instructions; right inside Environment calls too.
    virtual std::uint64_t cycles() const = 0;
    virtual std::uint64_t instructions() const = 0;
    // For snapshots: recalled by an engine that has run nothing yet, behind set_state, a run goes on as if it had not
    // been interrupted. An engine that keeps no such memory takes over the two counts. std::invalid_argument if it
    // cannot have been an engine's.
    virtual EngineMemory remember() const = 0;
    virtual void recall(const EngineMemory& memory) = 0;
    // Moves the clock forward while the CPU is halted. Never backwards.
    virtual void advance_to(std::uint64_t cycles) = 0;
    // Brings the running budget's until_cycles nearer: a device armed a timer. Takes effect at the next delivery point.
    virtual void shorten_deadline(std::uint64_t cycles) = 0;

    // Guest memory changed behind the engine's back, other than through GuestMemory::write.
    virtual void memory_changed(mmu::GuestPhysical start, std::uint64_t size) = 0;
    // The memory map changed: cached host addresses are no longer good.
    virtual void memory_map_changed() = 0;

    // The level of the INTR pin; sampled at delivery points while RFLAGS.IF = 1.
    virtual void set_interrupt_line(bool asserted) = 0;
    virtual void raise_nmi() = 0;
    // CR8, 0 to 15: the guest wrote the local APIC's task priority by other ways.
    virtual void set_task_priority(std::uint8_t cr8) = 0;
    // What a debugger watches for, instead of what it did before. Data points count every access of the CPU by linear
    // address; what it reads of page tables, and what the Environment copies, they do not. A run that starts at an
    // execute point does not stop there at once, so that a debugger can go on; one that comes to stand at it for any
    // other reason says debug_point.
    virtual void set_debug_points(std::vector<DebugPoint> points) = 0;

    // Ends run() at the next delivery point. May be called from a signal handler or another thread.
    virtual void request_stop() = 0;
};

}  // namespace xenolith::cpu
