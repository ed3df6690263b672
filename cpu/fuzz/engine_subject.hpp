// A side of a comparison that runs each instruction on a whole engine, at CPL 0 in a small machine of its own: for
// modes that the host's CPU cannot be in, and for engines as judges.
//
// A test ends in a HLT: behind the instruction, where it branches to, or in the handler of an exception. Handlers find
// the stack that the test left them, so what an exception pushes is part of the outcome like any other store.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "cpu/engine.hpp"
#include "cpu/environment.hpp"
#include "cpu/fuzz/trial.hpp"
#include "cpu/model/cpu_model.hpp"
#include "cpu/timing/timing.hpp"
#include "mmu/guest_memory.hpp"

namespace xenolith::cpu::fuzz {

using MakeEngine =
    std::function<std::unique_ptr<Engine>(mmu::GuestMemory&, Environment&, const CpuModel&, const Timing&)>;

inline constexpr unsigned not_halted = no_fault - 1;  // in the place of a vector: a triple fault, or a run without end

// Where everything is in a machine of that mode. Modes: real16, protected16, protected32, long64.
Layout engine_layout(DecodeMode mode);

class EngineSubject final : public Subject {
  public:
    // HostLimit if the host cannot run such an engine, or it cannot be in that mode.
    EngineSubject(DecodeMode mode, const CpuModel& model, const MakeEngine& make);
    ~EngineSubject() override;

    void prepare(const Encoding& encoding) override;
    // HostLimit if the host cannot run the instruction; the next run starts anew.
    void run(const State& start, Outcome& outcome) override;
    std::span<std::byte, memory_size> memory() override;

  private:
    struct Machine;
    std::unique_ptr<Machine> machine_;
};

}  // namespace xenolith::cpu::fuzz
