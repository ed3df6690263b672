// Which engine can run which test. Every test body is the same for all engines; one that cannot run a case
// says so here, and the test is then skipped by name, with the reason printed: never a silent pass.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tests/machine/guest_mode.hpp"
#include "machine/engines.hpp"

namespace xenolith::machine::test {

// What a test asks of an engine.
struct Case {
    std::string_view name;                         // of the row or the test
    std::optional<GuestMode> mode = std::nullopt;  // the mode its guest code begins in, if there is one
};

// One thing that one engine cannot do.
struct Limitation {
    std::string_view engine;
    bool (*applies)(const Case&);
    std::string_view reason;
};

// The interpreter is the reference, and has none.
inline std::span<const Limitation> known_limitations() { return {}; }

// Why the engine cannot run the case; empty if it can.
inline std::optional<std::string> cannot_run(std::string_view engine, const Case& wanted,
                                             std::span<const Limitation> limitations = known_limitations()) {
    for (const Limitation& limitation : limitations) {
        if (limitation.engine == engine && limitation.applies(wanted)) {
            return std::string(engine) + " cannot run " + std::string(wanted.name) + ": " +
                   std::string(limitation.reason);
        }
    }
    return std::nullopt;
}

inline std::vector<std::string_view> engine_names() {
    std::vector<std::string_view> names;
    for (const EngineChoice& choice : engine_choices()) names.push_back(choice.name);
    return names;
}

// What a name of a parameterised test may consist of.
inline std::string identifier(std::string_view text) {
    std::string name(text);
    for (char& letter : name) {
        const bool fits = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
                          (letter >= '0' && letter <= '9');
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
template <class Parameter>
class EngineTest : public testing::TestWithParam<Parameter> {
  protected:
    void SetUp() override {
        const testing::TestInfo* const info = testing::UnitTest::GetInstance()->current_test_info();
        Case wanted{.name = info->name()};
        if constexpr (requires(const Parameter& p) { p.mode; }) wanted.mode = this->GetParam().mode;
        if (const auto reason = cannot_run(this->GetParam().engine, wanted)) GTEST_SKIP() << *reason;
    }
};

}  // namespace xenolith::machine::test
