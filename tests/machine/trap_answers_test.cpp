// The trap against a KVM we did not write: trap_answers.json holds what Linux 6.12's answers in every edge case of the
// contract (recorded by trap_answers.py). The interpreter must answer the same, or as recorded beside it with a reason.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/machine/engine_support.hpp"
#include "tests/machine/trap_case.hpp"

namespace xenolith::machine::test {
namespace {

using nlohmann::json;

json from_file(const std::string& name) {
    std::ifstream file(XENOLITH_TRAP_ANSWERS + name);
    return json::parse(file);
}

const json& recording() {
    static const json all = from_file("trap_answers.json")["cases"];
    return all;
}

using Place = std::pair<std::string, std::string>;  // case, mode

// The line of the recording that holds the case in the mode.
const std::map<Place, const json*>& places() {
    static const std::map<Place, const json*> all = [] {
        std::map<Place, const json*> found;
        for (const json& line : recording())
            for (const json& mode : line["modes"]) found[{line["case"], mode}] = &line;
        return found;
    }();
    return all;
}

TrapAnswer answer_from(const json& recorded) {
    TrapAnswer answer{recorded["answer"], std::nullopt};
    if (recorded.contains("latched")) answer.latched = recorded["latched"].get<bool>();
    return answer;
}

constexpr std::string_view profiles_compared[] = {"linux-6.15", "linux-5.12"};

struct AnswerParameter {
    const TrapCase* trap_case;
    std::size_t number;

    std::string name() const { return std::to_string(number) + "_" + identifier(trap_case->name); }
};
void PrintTo(const AnswerParameter& parameter, std::ostream* out) { *out << parameter.name(); }

std::vector<AnswerParameter> every_case() {
    std::vector<AnswerParameter> all;
    for (const TrapCase& trap_case : trap_cases()) all.push_back({&trap_case, all.size()});
    return all;
}

class TrapAnswers : public testing::TestWithParam<AnswerParameter> {};
INSTANTIATE_TEST_SUITE_P(Recorded, TrapAnswers, testing::ValuesIn(every_case()), parameter_name<AnswerParameter>);

TEST_P(TrapAnswers, AreTheInterpretersToo) {
    const TrapCase& trap_case = *GetParam().trap_case;
    for (const GuestMode mode : trap_case.modes) {
        const auto found = places().find({trap_case.name, modes_text(trap_case, mode)});
        ASSERT_NE(found, places().end()) << "not recorded: " << modes_text(trap_case, mode);
        const json& line = *found->second;
        EXPECT_EQ(line["configured"], setup_text(trap_case.setup));
        for (const std::string_view name : profiles_compared) {
            SCOPED_TRACE(std::string(name) + ", " + modes_text(trap_case, mode));
            MachineSubject subject({.engine = "interpreter",
                                    .mode = mode,
                                    .profile = xen::find_profile(name),
                                    .vendor = cpu::Vendor::amd});
            const std::string key(name);
            EXPECT_EQ(answer_of(subject, trap_case, mode), answer_from(line[line.contains(key) ? key : "kernel"]));
        }
    }
}

TEST(TrapRecording, HoldsNothingElse) {
    std::size_t count = 0;
    for (const TrapCase& trap_case : trap_cases()) count += trap_case.modes.size();
    EXPECT_EQ(places().size(), count);
    std::size_t recorded = 0;
    for (const json& line : recording()) recorded += line["modes"].size();
    EXPECT_EQ(recorded, count) << "a case and mode is there twice";
}

// Every difference between the kernel and anything of ours has its reason, and no reason is without a difference.
TEST(TrapRecording, DifferencesAreExplained) {
    std::set<std::pair<std::string, std::string>> explained, found;  // subject, case
    for (const json& entry : from_file("trap_differences.json")) {
        EXPECT_FALSE(entry["reason"].get<std::string>().empty());
        for (const json& name : entry["cases"]) {
            for (const json& subject : entry["subjects"])
                EXPECT_TRUE(explained.emplace(subject, name).second) << subject << ", " << name;
            if (!entry.contains("answered_by")) continue;
            for (const json& line : recording())
                EXPECT_FALSE(line["case"] == name && line.contains(entry["answered_by"].get<std::string>())) << name;
        }
    }
    for (const json& line : recording())
        for (const char* const subject : {"ioctl", "msr-exit", "linux-6.15", "linux-5.12"})
            if (line.contains(subject)) found.emplace(subject, line["case"]);
    EXPECT_EQ(found, explained);
}

}  // namespace
}  // namespace xenolith::machine::test
