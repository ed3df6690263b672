// Which engine can run which test. Every test body is the same for all engines; what one cannot run, by its
// nature or on this host, is skipped by name, with the reason printed and counted: never a silent pass.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "machine/engines.hpp"
#include "tests/machine/guest_mode.hpp"

namespace xenolith::machine::test {

// What a test asks of an engine beside running the guest's code.
enum class Need : std::uint8_t {
    cpuid,       // the machine is asked about each CPUID
    hypercalls,  // VMCALL and VMMCALL reach the machine
    time,        // the clock is the timing preset's, instructions are counted, and runs are the same to the cycle
};

struct Case {
    std::string_view name;                         // of the test
    std::optional<GuestMode> mode = std::nullopt;  // the mode its guest code begins in, if there is one
    std::span<const Need> needs = {};
};

// Why this host does not let the engine run code in the mode: it is tried with a small program, which ends in
// a handler. Empty if it does, as it always does for engines that lean on nothing of the host's.
std::optional<std::string> host_refuses(const EngineChoice& engine, GuestMode mode);

// Why the engine cannot run the case; empty if it can.
std::optional<std::string> cannot_run(const EngineChoice& engine, const Case& wanted);

inline std::vector<std::string_view> engine_names() {
    std::vector<std::string_view> names;
    for (const EngineChoice& choice : engine_choices()) names.push_back(choice.name);
    return names;
}

// What a name of a parameterised test may consist of.
inline std::string identifier(std::string_view text) {
    std::string name(text);
    for (char& letter : name) {
        const bool fits =
            (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') || (letter >= '0' && letter <= '9');
        if (!fits) letter = '_';
    }
    return name;
}

// A parameter for tests that run on every engine.
struct OnEngine {
    std::string_view engine;

    std::string name() const { return identifier(engine); }
};

// A parameter for tests that run on every engine, in several modes.
struct InMode {
    std::string_view engine;
    GuestMode mode;

    std::string name() const { return identifier(engine) + "_" + identifier(guest_mode_name(mode)); }
};

template <class Parameter>
std::string parameter_name(const testing::TestParamInfo<Parameter>& info) {
    return info.param.name();
}
inline void PrintTo(const OnEngine& parameter, std::ostream* out) { *out << parameter.name(); }
inline void PrintTo(const InMode& parameter, std::ostream* out) { *out << parameter.name(); }

inline auto on_every_engine() {
    std::vector<OnEngine> all;
    for (const std::string_view engine : engine_names()) all.push_back({engine});
    return testing::ValuesIn(all);
}
inline auto in_modes(std::span<const GuestMode> modes) {
    std::vector<InMode> all;
    for (const std::string_view engine : engine_names()) {
        for (const GuestMode mode : modes) all.push_back({engine, mode});
    }
    return testing::ValuesIn(all);
}

// Tests derive from this: it skips, with the reason, what an engine cannot run.
template <class Parameter, Need... needs>
class EngineTest : public testing::TestWithParam<Parameter> {
  protected:
    void SetUp() override {
        static constexpr std::array<Need, sizeof...(needs)> all_needs = {needs...};
        const testing::TestInfo* const info = testing::UnitTest::GetInstance()->current_test_info();
        Case wanted{.name = info->name(), .needs = all_needs};
        if constexpr (requires(const Parameter& p) { p.mode; }) wanted.mode = this->GetParam().mode;
        if (const auto reason = cannot_run(*find_engine(this->GetParam().engine), wanted)) GTEST_SKIP() << *reason;
        prepare();
    }
    // What a fixture sets up once it is known that the engine can.
    virtual void prepare() {}
};

}  // namespace xenolith::machine::test
