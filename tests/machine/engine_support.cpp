#include "tests/machine/engine_support.hpp"

#include <algorithm>
#include <exception>

#include "tests/machine/scenario.hpp"

namespace xenolith::machine::test {
namespace {

bool meets(const EngineChoice& engine, Need need) {
    switch (need) {
        case Need::cpuid: return engine.shows_cpuid;
        case Need::hypercalls: return engine.shows_hypercalls;
        case Need::time: return engine.reproducible;
    }
    return false;
}

std::string_view why_not(Need need) {
    switch (need) {
        case Need::cpuid: return "it answers CPUID itself";
        case Need::hypercalls: return "VMCALL and VMMCALL do not reach the machine";
        case Need::time: return "its time is the host's";
    }
    return {};
}

}  // namespace

std::optional<std::string> host_refuses(const EngineChoice& engine, GuestMode mode) {
    if (engine.unavailable == nullptr) return std::nullopt;
    try {
        Scenario scenario({.engine = engine.name, .mode = mode});
        GuestCode program = scenario.code();
        program.call(scenario.offset(layout::second_program)).store_al(layout::data.value).undefined();
        GuestCode function = scenario.code(layout::second_program);
        scenario.put(layout::second_program, function.mov_al(0x5a).ret());
        const Ending ending = scenario.run(program);
        if (ending.result.end == RunEnd::host_limit) return ending.result.reason;
        if (!ending.trap || ending.trap->vector != 6) return "it does not end in its handler: " + ending.result.reason;
        const cpu::CpuState entry = entry_state(mode, layout::program);
        if (((ending.trap->rflags ^ entry.rflags) & cpu::rflags::vm) != 0) return "its handler does not find RFLAGS.VM";
    } catch (const std::exception& error) {
        return error.what();
    }
    return std::nullopt;
}

std::optional<std::string> cannot_run(const EngineChoice& engine, const Case& wanted) {
    const auto because = [&](std::string_view reason) {
        return std::string(engine.name) + " cannot run " + std::string(wanted.name) + ": " + std::string(reason);
    };
    if (engine.unavailable != nullptr) {
        if (const auto reason = engine.unavailable()) return because(*reason);
    }
    for (const Need need : wanted.needs) {
        if (!meets(engine, need)) return because(why_not(need));
    }
    if (wanted.mode) {
        if (const auto reason = host_refuses(engine, *wanted.mode)) {
            return because(std::string(guest_mode_name(*wanted.mode)) + " code: " + *reason);
        }
    }
    return std::nullopt;
}

}  // namespace xenolith::machine::test
