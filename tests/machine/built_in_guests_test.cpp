// The built-in guests do the whole job on every engine; two runs of one are equal to the cycle; and the
// timeline as data has every field that is promised.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <regex>

#include "machine/guests/guests.hpp"
#include "machine/machine.hpp"
#include "tests/machine/engine_support.hpp"
#include "xen/blob.hpp"

namespace xenolith::machine::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

struct GuestParameter {
    std::string_view engine;
    const BuiltInGuest* guest;
    GuestMode mode;

    std::string name() const { return identifier(engine) + "_" + identifier(guest->name); }
};
void PrintTo(const GuestParameter& parameter, std::ostream* out) { *out << parameter.name(); }

GuestMode mode_of(const BuiltInGuest& guest) {
    if (guest.name == "real16") return GuestMode::real;
    if (guest.name == "protected32") return GuestMode::protected32;
    if (guest.name == "pae32") return GuestMode::pae32;
    if (guest.name == "long64") return GuestMode::long64;
    if (guest.name == "compatibility32") return GuestMode::compatibility32;
    throw std::logic_error("a built-in guest that these tests do not know");
}

std::vector<GuestParameter> every_guest() {
    std::vector<GuestParameter> parameters;
    for (const std::string_view engine : engine_names()) {
        for (const BuiltInGuest& guest : built_in_guests()) parameters.push_back({engine, &guest, mode_of(guest)});
    }
    return parameters;
}

struct GuestRun {
    RunResult result;
    std::string console;
    std::vector<Event> events;
    json timeline;
};

template <Need... needs>
class GuestTest : public EngineTest<GuestParameter, needs...> {
  protected:
    static constexpr std::uint64_t whole_run = 5'000'000'000;  // cycles; enough where they are a busy host's time

    const BuiltInGuest& guest() const { return *this->GetParam().guest; }
    bool is_long() const { return guest().format == loader::Format::flat64; }
    bool shows_hypercalls() const { return find_engine(this->GetParam().engine)->shows_hypercalls; }

    MachineOptions options() const {
        MachineOptions options;
        options.ram = std::uint64_t{16} << 20;
        options.kvm_route = cpu::KvmRoute::msr_exit;
        options.engine = this->GetParam().engine;
        if (guest().needs_doorbell) options.xen->blob_32 = xen::make_blob(xen::StubKind::doorbell);
        return options;
    }
    // Runs the guest to its end, stopping on the way after every `piece` cycles.
    GuestRun run(MachineOptions options, std::uint64_t piece = whole_run) const {
        GuestRun run;
        options.debug_out = [&](std::uint8_t byte) { run.console += static_cast<char>(byte); };
        Machine machine(options);
        machine.load(guest().image(), {.format = guest().format});
        RunLimits limits;
        do {
            limits.max_cycles = machine.engine().cycles() + piece;
            run.result = machine.run(limits);
        } while (run.result.end == RunEnd::max_cycles && machine.engine().cycles() < whole_run);
        run.events = machine.timeline().events();
        run.timeline = json::parse(timeline_json(machine.timeline(), machine.totals()));
        run.timeline["totals"].erase("seconds");  // the host's time
        run.timeline["totals"].erase("mips");
        return run;
    }
};

class BuiltInGuests : public GuestTest<> {};
INSTANTIATE_TEST_SUITE_P(Engines, BuiltInGuests, testing::ValuesIn(every_guest()), parameter_name<GuestParameter>);

class GuestTimelines : public GuestTest<Need::time, Need::cpuid, Need::hypercalls> {};
INSTANTIATE_TEST_SUITE_P(Engines, GuestTimelines, testing::ValuesIn(every_guest()), parameter_name<GuestParameter>);

void expect_whole_job(const GuestRun& run, const BuiltInGuest& guest) {
    EXPECT_EQ(run.result.end, RunEnd::halted) << run.result.reason;
    EXPECT_EQ(run.console, std::string(guest.name) + ": called through the hypercall page\n");
    std::vector<std::string> copied, answered;
    for (const json& event : run.timeline["events"]) {
        if (event["kind"] == "hypercall-page") copied.push_back(event["result"]);
        if (event["kind"] == "hypercall" && event["answered"] == true) answered.push_back(event["name"]);
    }
    EXPECT_THAT(copied, testing::ElementsAre("copied"));
    EXPECT_THAT(answered, testing::ElementsAre("xen_version", "console_io"));
}

TEST_P(BuiltInGuests, DoTheWholeJobUnderEveryProfile) {
    for (const xen::Profile& profile : xen::profiles()) {
        SCOPED_TRACE(profile.name);
        MachineOptions choice = options();
        choice.xen->profile = &profile;
        expect_whole_job(run(choice), guest());
    }
}

TEST_P(BuiltInGuests, DoItOnEveryModelVendorAndTiming) {
    for (const std::string_view model : cpu::CpuModel::names()) {
        for (const cpu::Vendor vendor : {cpu::Vendor::intel, cpu::Vendor::amd}) {
            for (const cpu::Timing& timing : cpu::timing_presets()) {
                SCOPED_TRACE(std::string(model) + ", " + std::string(timing.name));
                MachineOptions choice = options();
                choice.model = cpu::CpuModel::find(model, vendor);
                choice.timing = &timing;
                const GuestRun done = run(choice);
                expect_whole_job(done, guest());
                for (const json& event : done.timeline["events"]) {
                    if (event["kind"] != "hypercall" || guest().needs_doorbell) continue;
                    EXPECT_EQ(event["through"], !shows_hypercalls()            ? "doorbell"
                                                : vendor == cpu::Vendor::intel ? "vmcall"
                                                                               : "vmmcall");
                }
            }
        }
    }
}

TEST_P(BuiltInGuests, DoItThroughDoorbellsAndGeneratedPages) {
    MachineOptions doorbells = options();
    doorbells.xen->blob_32 = doorbells.xen->blob_64 = xen::make_blob(xen::StubKind::doorbell);
    expect_whole_job(run(doorbells), guest());
    if (guest().needs_doorbell || !shows_hypercalls()) return;
    MachineOptions generated = options();
    generated.xen->intercept_hypercalls = true;
    expect_whole_job(run(generated), guest());
}

// Whole timelines, host time aside; and where a run is interrupted makes no difference to it.
TEST_P(GuestTimelines, AreTheSameToTheCycle) {
    const GuestRun first = run(options());
    EXPECT_GT(first.timeline["events"].size(), 4u);
    EXPECT_EQ(run(options()).timeline, first.timeline);
    for (const std::uint64_t piece : {100u, 1'000u, 4'321u}) {
        SCOPED_TRACE(piece);
        const GuestRun again = run(options(), piece);
        EXPECT_EQ(again.timeline, first.timeline);
        EXPECT_EQ(again.console, first.console);
    }
}

TEST_P(BuiltInGuests, StopWhereTheyAreAskedTo) {
    const auto stop_at = [&](StopAt where) {
        Machine machine(options());
        machine.load(guest().image(), {.format = guest().format});
        RunLimits limits;
        limits.stop_at = where;
        limits.max_cycles = whole_run;
        EXPECT_EQ(machine.run(limits).end, RunEnd::reached);
        return event_kind(machine.timeline().events().back());
    };
    EXPECT_EQ(stop_at(StopAt::hypercall_page), "hypercall-page");
    EXPECT_EQ(stop_at(StopAt::first_hypercall), "hypercall");
}

// --- The timeline as data
// ------------------------------------------------------------------------------------------

bool is_hexadecimal(const json& value) {
    return value.is_string() && std::regex_match(value.get<std::string>(), std::regex("0x(0|[1-9a-f][0-9a-f]{0,15})"));
}
bool is_count(const json& value) { return value.is_number_unsigned(); }

void expect_cost(const json& cost, const cpu::TrapCost& expected) {
    EXPECT_EQ(cost, (json{{"exit", expected.exit},
                          {"dispatch", expected.dispatch},
                          {"copy", expected.copy},
                          {"entry", expected.entry}}));
}

TEST_P(GuestTimelines, HaveEveryField) {
    const GuestRun done = run(options());
    const cpu::Timing& timing = *cpu::find_timing("nehalem");
    ASSERT_TRUE(done.timeline.is_object());
    EXPECT_EQ(done.timeline.size(), 2u);
    std::uint64_t cycles = 0, instructions = 0;
    std::set<std::string> kinds;
    for (const json& event : done.timeline.at("events")) {
        SCOPED_TRACE(event.dump());
        for (const char* count : {"cycles", "instructions", "vcpu"}) EXPECT_TRUE(is_count(event.at(count))) << count;
        for (const char* address : {"cs", "rip"}) EXPECT_TRUE(is_hexadecimal(event.at(address))) << address;
        // The compatibility guest reads its leaves behind a far return, so all its events are in that mode.
        EXPECT_EQ(event.at("mode"), cpu::mode_name(architectural_mode(GetParam().mode)));
        EXPECT_EQ(event.at("vcpu"), 0u);
        EXPECT_GE(event["cycles"], cycles);
        EXPECT_GE(event["instructions"], instructions);
        cycles = event["cycles"];
        instructions = event["instructions"];
        const std::string kind = event.at("kind");
        kinds.insert(kind);
        if (kind == "cpuid-leaf") {
            for (const char* field : {"leaf", "eax", "ebx", "ecx", "edx"}) {
                EXPECT_TRUE(is_hexadecimal(event.at(field))) << field;
            }
            EXPECT_TRUE(is_count(event.at("subleaf")));
        } else if (kind == "hypercall-page") {
            const bool real = guest().name == "real16";
            EXPECT_EQ(event.at("msr"), "0x40000000");
            EXPECT_EQ(event.at("value"), real ? "0x9000" : "0x200000");
            EXPECT_EQ(event.at("address"), event["value"]);
            EXPECT_EQ(event.at("index"), 0u);
            EXPECT_EQ(event.at("blob"), is_long() ? 64u : 32u);
            EXPECT_EQ(event.at("result"), "copied");
            EXPECT_THAT(event.at("reason").get<std::string>(), HasSubstr(is_long() ? "EFER.LMA = 1" : "EFER.LMA = 0"));
            EXPECT_EQ(event.at("generated"), false);
            expect_cost(event.at("cost"), timing.trap);
            EXPECT_THAT(event.at("bytes").get<std::string>(),
                        testing::MatchesRegex("([0-9a-f][0-9a-f] )*[0-9a-f][0-9a-f]"));
        } else if (kind == "hypercall") {
            EXPECT_TRUE(is_count(event.at("number")));
            EXPECT_TRUE(event.at("name").is_string());
            for (const json& argument : event.at("arguments")) EXPECT_TRUE(is_hexadecimal(argument));
            EXPECT_TRUE(event.at("result").is_number_integer());
            EXPECT_EQ(event.at("through"), guest().needs_doorbell ? "doorbell" : "vmcall");
            expect_cost(event.at("cost"), timing.plain_trap());
        } else {
            ADD_FAILURE() << "a kind that this guest should not cause";
        }
    }
    EXPECT_THAT(kinds, testing::ElementsAre("cpuid-leaf", "hypercall", "hypercall-page"));
    const json& totals = done.timeline.at("totals");
    for (const char* count : {"instructions", "cycles", "traps"}) EXPECT_TRUE(is_count(totals.at(count))) << count;
    EXPECT_GE(totals["cycles"], cycles);
    EXPECT_GT(totals["instructions"], instructions);
    EXPECT_EQ(totals["traps"], done.timeline["events"].size());
}

// What the host's time gives is there too, and is a number.
TEST_P(BuiltInGuests, WriteTheHostsTimeIntoTheTotals) {
    Machine machine(options());
    machine.load(guest().image(), {.format = guest().format});
    RunLimits limits;
    limits.max_cycles = whole_run;
    machine.run(limits);
    const json totals = json::parse(timeline_json(machine.timeline(), machine.totals())).at("totals");
    EXPECT_TRUE(totals.at("seconds").is_number_float());
    EXPECT_TRUE(totals.at("mips").is_number_float());
    EXPECT_GT(totals["seconds"], 0.0);
}

// The form for people says what the data says.
TEST_P(GuestTimelines, TellPeopleTheSame) {
    const GuestRun done = run(options());
    std::string text;
    for (const Event& event : done.events) text += format_event(event);
    for (const char* words : {"\"XenVMMXenVMM\"", "hypercall page(s), by MSR 0x40000000", "WRMSR 0x40000000", "index 0",
                              "copied: EFER.LMA = ", "= exit 480 + dispatch 220 + copy 410 + entry 309",
                              "the page begins:", "hypercall 17 xen_version(XENVER_version", "= 0x40011 through ",
                              "hypercall 18 console_io(CONSOLEIO_write"}) {
        EXPECT_THAT(text, HasSubstr(words));
    }
}

}  // namespace
}  // namespace xenolith::machine::test
