// The engines there are, by name: an engine is one folder under cpu/ and one line here.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "cpu/engine.hpp"
#include "cpu/environment.hpp"
#include "cpu/kvm/kvm_options.hpp"
#include "cpu/model/cpu_model.hpp"
#include "cpu/timing/timing.hpp"
#include "mmu/guest_memory.hpp"

namespace xenolith::machine {

// What an engine is built from; everything outlives it.
struct EngineParts {
    mmu::GuestMemory& memory;
    cpu::Environment& environment;
    const cpu::CpuModel& model;
    const cpu::Timing& timing;
    unsigned vcpu = 0;
    cpu::KvmOptions kvm = {};  // for the engine of that name
    std::uint64_t random_seed = 0;
};

struct EngineChoice {
    std::string_view name;
    std::string_view description;
    std::unique_ptr<cpu::Engine> (*make)(const EngineParts&);
    // Why this host cannot run it, in one line; empty if it can. Null: every host can.
    std::optional<std::string> (*unavailable)() = nullptr;
    // It asks the machine about each CPUID and each VMCALL of the guest. An engine that does not needs hypercall stubs
    // that leave through a port.
    bool shows_cpuid = true, shows_hypercalls = true;
    // Its clock is the timing preset's, so that two runs are the same to the cycle.
    bool reproducible = true;
};

std::span<const EngineChoice> engine_choices();
// Null for an unknown name.
const EngineChoice* find_engine(std::string_view name);

}  // namespace xenolith::machine
