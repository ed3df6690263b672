#include "machine/engines.hpp"

#include <algorithm>
#include <array>

#include "cpu/interpreter/interpreter.hpp"
#include "cpu/kvm/kvm_engine.hpp"

namespace xenolith::machine {

namespace {

std::unique_ptr<cpu::Engine> make_interpreter(const EngineParts& parts) {
    return std::make_unique<cpu::Interpreter>(parts.memory, parts.environment, parts.model, parts.timing, parts.vcpu,
                                              parts.random_seed);
}

std::unique_ptr<cpu::Engine> make_kvm(const EngineParts& parts) {
    return std::make_unique<cpu::KvmEngine>(parts.memory, parts.environment, parts.model, parts.timing, parts.vcpu,
                                            parts.kvm);
}

constexpr std::array choices = {
    EngineChoice{"interpreter", "the reference: one instruction after the other", make_interpreter},
    EngineChoice{.name = "kvm",
                 .description = "the host's KVM: real time, not reproducible",
                 .make = make_kvm,
                 .unavailable = cpu::kvm_unavailable,
                 .shows_cpuid = false,
                 .shows_hypercalls = false,
                 .reproducible = false},
};

}  // namespace

std::span<const EngineChoice> engine_choices() { return choices; }

const EngineChoice* find_engine(std::string_view name) {
    const auto found = std::ranges::find(choices, name, &EngineChoice::name);
    return found == choices.end() ? nullptr : &*found;
}

}  // namespace xenolith::machine
