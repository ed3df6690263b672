// The engines there are, by name: an engine is one folder under cpu/ and one line here.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "cpu/engine.hpp"
#include "cpu/environment.hpp"
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
};

struct EngineChoice {
    std::string_view name;
    std::string_view description;
    std::unique_ptr<cpu::Engine> (*make)(const EngineParts&);
};

std::span<const EngineChoice> engine_choices();
// Null for an unknown name.
const EngineChoice* find_engine(std::string_view name);

}  // namespace xenolith::machine
