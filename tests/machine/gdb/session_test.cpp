// A debugging session as a debugger has it: packets in, packets out, on a guest in every mode and on every engine.
#include "machine/gdb/session.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>

#include "tests/machine/engine_support.hpp"
#include "tests/machine/gdb/scripted_channel.hpp"
#include "tests/machine/scenario.hpp"

namespace xenolith::machine::gdb::test {
namespace {

using namespace machine::test;
using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::Not;
using testing::StartsWith;

using Packets = std::vector<std::string>;

// The same in the order in which the protocol sends a number's bytes.
std::string bytes_of(std::uint64_t value, unsigned bits) {
    return to_hex(std::as_bytes(std::span(&value, 1)).first(bits / 8));
}

// --- What does not depend on a mode ------------------------------------------------------------------------------

class GdbSession : public testing::Test {
  protected:
    Scenario scenario{{.engine = "interpreter"}};
    Machine& machine() { return scenario.machine(); }

    GdbSession() {
        GuestCode program = scenario.code();
        program.mov_al(1).nop().nop().hlt();
        scenario.put(layout::program, program);
        scenario.engine().set_state(entry_state(scenario.mode(), layout::program));
    }
    std::string sent_for(std::string_view bytes) {
        ScriptedChannel channel;
        channel.add(bytes);
        Session(machine(), channel, {}).serve();
        return channel.sent();
    }
};

TEST_F(GdbSession, AcknowledgesUntilItIsToldNotTo) {
    EXPECT_EQ(sent_for(frame("qAttached")), "+$0#30");
    EXPECT_EQ(sent_for("$qAttached#00"), "-");
    EXPECT_EQ(sent_for(frame("qAttached") + "-"), "+$0#30$0#30");
    EXPECT_EQ(sent_for(frame("QStartNoAckMode") + "+" + frame("qAttached") + "-$qAttached#00"), "+$OK#9a$0#30");
}

TEST_F(GdbSession, AnswersByAnEmptyPacketWhatItDoesNotKnow) {
    const Packets unknown = {"",          "!", "A",  "B", "i",        "I",      "j", "Y",
                             "Z9,0,1",    "z", "qX", "Q", "QNonStop", "vFlash", "v", "vMustReplyEmpty",
                             "qSymbol::", "bc"};
    const Conversation talk = converse(machine(), unknown);
    EXPECT_THAT(talk.answers, AllOf(Each(IsEmpty()), testing::SizeIs(unknown.size())));
}

TEST_F(GdbSession, RefusesWhatIsMalformed) {
    const Packets malformed = {"p",
                               "pzz",
                               "pffff",
                               "p0x",
                               "P0",
                               "P0=",
                               "P0=1",
                               "P0=zz",
                               "Pffff=00",
                               "G",
                               "G00",
                               "Gzz",
                               "m",
                               "m0",
                               "m0,",
                               "m0,x",
                               "mx,1",
                               "m0,1x",
                               "M0,1",
                               "M0,1:",
                               "M0,1:0",
                               "M0,1:zz",
                               "M0,2:00",
                               "X0,1:",
                               "X0,1",
                               "H",
                               "Hg",
                               "Hgx",
                               "Hg9",
                               "T",
                               "T0",
                               "T9",
                               "Tx",
                               "Z0",
                               "Z0,",
                               "Z0,x,1",
                               "Z2,0,0",
                               "Z2,0,1001",
                               "Z2,ffffffffffffffff,2",
                               "cx",
                               "C",
                               "Cx",
                               "C05;x",
                               "s-",
                               "vCont;",
                               "vCont;x",
                               "vCont;c:x",
                               "vCont;C",
                               "vCont;c:9",
                               "qRcmd,0",
                               "qRcmd,zz",
                               "qThreadExtraInfo,9",
                               "qXfer:features:read:target.xml:",
                               "qXfer:features:read:other.xml:0,10",
                               "qXfer:features:read:target.xml:fffff,1",
                               "vRun;",
                               "m500000000000,4"};
    for (const std::string& packet : malformed)
        EXPECT_THAT(last_answer(machine(), {packet}), StartsWith("E")) << packet;
    EXPECT_EQ(machine().engine().instructions(), 0u);
}

TEST_F(GdbSession, OffersWhatItHas) {
    const std::string offer = last_answer(machine(), {"qSupported:multiprocess+;swbreak+;hwbreak+"});
    for (const std::string_view feature :
         {"PacketSize=4000", "QStartNoAckMode+", "qXfer:features:read+", "swbreak+", "hwbreak+", "vContSupported+"})
        EXPECT_THAT(offer, HasSubstr(std::string(feature)));
    EXPECT_EQ(last_answer(machine(), {"vCont?"}), "vCont;c;C;s;S;t");
}

TEST_F(GdbSession, ShowsVcpusAsThreads) {
    machine().add_vcpu().set_state(entry_state(GuestMode::real, layout::second_program));
    const Conversation talk = converse(machine(), {"qfThreadInfo", "qsThreadInfo", "qC", "T1", "T2", "T3", "Hg2", "qC",
                                                   "p10", "Hg0", "Hg1", "p10", "qThreadExtraInfo,2", "vCont;s:2"});
    const std::string program = bytes_of(linear_address(GuestMode::long64, layout::program), 64);
    EXPECT_THAT(talk.answers, ElementsAre("m1,2", "l", "QC1", "OK", "OK", "E01", "OK", "QC2",
                                          bytes_of(layout::second_program.value, 64), "OK", "OK", program,
                                          to_hex("vCPU 1, real mode"), "E01"));
}

TEST_F(GdbSession, EndsAsTheDebuggerSays) {
    EXPECT_EQ(converse(machine(), {"D"}).end, SessionEnd::detached);
    EXPECT_EQ(converse(machine(), {"D;1"}).end, SessionEnd::detached);
    EXPECT_EQ(converse(machine(), {"k", "g"}).end, SessionEnd::killed);
    EXPECT_THAT(converse(machine(), {"k", "g"}).answers, IsEmpty());
    EXPECT_EQ(converse(machine(), {"vKill;1"}).end, SessionEnd::killed);
    EXPECT_THAT(converse(machine(), {"vKill;1"}).answers, ElementsAre("OK"));
    EXPECT_EQ(converse(machine(), {"?"}).end, SessionEnd::disconnected);
    EXPECT_EQ(machine().engine().instructions(), 0u);
}

TEST_F(GdbSession, TellsTheGuestsEnd) {
    Conversation talk = converse(machine(), {"c"}, {.exit_code = [](const RunResult&, StopAt) { return 0x25; }});
    EXPECT_THAT(talk.answers, ElementsAre("W25"));
    EXPECT_EQ(talk.end, SessionEnd::guest_ended);
    EXPECT_EQ(talk.result.end, RunEnd::halted);
}

TEST_F(GdbSession, StopsInTheGuestsEndWhereAsked) {
    const Conversation talk = converse(machine(), {"qRcmd," + to_hex("end stop"), "c", "p10", "c"});
    ASSERT_EQ(talk.answers.size(), 4u);
    EXPECT_THAT(talk.answers[1], StartsWith("T05"));
    EXPECT_THAT(talk.texts, HasSubstr("halted"));
    EXPECT_EQ(talk.answers[3], "W00");
    EXPECT_EQ(talk.result.end, RunEnd::halted);
}

TEST_F(GdbSession, StopsInATripleFaultAndThenEnds) {
    GuestCode program = scenario.code();
    program.undefined();
    scenario.put(layout::program, program);
    cpu::CpuState state = entry_state(scenario.mode(), layout::program);
    state.idtr.limit = 0;
    scenario.engine().set_state(state);
    const Conversation talk = converse(machine(), {"c", "p10", "vCont;c"});
    ASSERT_EQ(talk.answers.size(), 3u);
    EXPECT_THAT(talk.answers[0], StartsWith("T0b"));
    EXPECT_EQ(talk.answers[1], bytes_of(linear_address(scenario.mode(), layout::program), 64));
    EXPECT_EQ(talk.answers[2], "X06");
    EXPECT_THAT(talk.texts, HasSubstr("triple fault"));
    EXPECT_EQ(talk.result.end, RunEnd::shutdown);
}

TEST_F(GdbSession, GoesOnAfterARunThatFailedOnceTheCauseIsGone) {
    scenario.unmap_blobs();
    GuestCode program = scenario.code();
    program.write_msr(Scenario::msr, layout::target.value);
    const std::uint64_t at = program.last();
    program.hlt();
    scenario.put(layout::program, program);
    if (machine().trap()->profile().unreadable_blob != xen::UnreadableBlob::run_fails) GTEST_SKIP() << "gets #GP";
    const Conversation talk = converse(machine(), {"c",
                                                   "P10=" + bytes_of(linear_address(scenario.mode(), layout::program) +
                                                                         (at + 2 - scenario.offset(layout::program)),
                                                                     64),
                                                   "c"});
    ASSERT_EQ(talk.answers.size(), 3u);
    EXPECT_THAT(talk.answers[0], StartsWith("T06"));
    EXPECT_THAT(talk.texts, HasSubstr("EFAULT"));
    EXPECT_EQ(talk.answers[2], "W00");
}

TEST_F(GdbSession, StopsWhereUntilSays) {
    GuestCode program = scenario.code();
    program.write_msr(Scenario::msr, layout::target.value);
    const std::uint64_t behind = program.here();
    program.write_msr(Scenario::msr, layout::target.value).hlt();  // which was not asked for
    scenario.put(layout::program, program);
    const Conversation talk = converse(machine(), {"c", "p10", "c"}, {.limits = {.stop_at = StopAt::hypercall_page}});
    ASSERT_EQ(talk.answers.size(), 3u);
    EXPECT_THAT(talk.answers[0], StartsWith("T05"));
    EXPECT_EQ(talk.answers[1], bytes_of(behind, 64));
    EXPECT_EQ(talk.answers[2], "W00");
    EXPECT_THAT(talk.texts, HasSubstr("the hypercall page was copied"));
}

TEST_F(GdbSession, ReachesMemoryWhateverItsRights) {
    const std::string rom = fmt::format("{:x}", layout::rom.value), hole = fmt::format("{:x}", layout::hole.value);
    const std::string device = fmt::format("{:x}", layout::device.value);
    const Conversation talk = converse(
        machine(), {"M" + rom + ",1:77", "m" + rom + ",2", "M" + hole + ",1:77", "m" + hole + ",1", "m" + device + ",1",
                    // As far as there is memory, and nothing is written if not all of it is there.
                    "m9fffe,4", "M9ffff,2:7777", "m9ffff,1", "m40008000,1", "m1000040008000,1"});
    EXPECT_THAT(talk.answers, ElementsAre("OK", "775a", "E0e", "E0e", "E0e", "0000", "E0e", "00", "b0", "E0e"));
}

TEST_F(GdbSession, KeepsTheLimitsOfTheRun) {
    GuestCode program = scenario.code();
    program.jump(program.here());
    scenario.put(layout::program, program);
    const std::uint64_t limit = machine().engine().cycles() + 1000;
    const Conversation talk = converse(machine(), {"c"}, {.limits = {.max_cycles = limit}});
    EXPECT_THAT(talk.answers, ElementsAre("W00"));
    EXPECT_EQ(talk.result.end, RunEnd::max_cycles);
}

TEST_F(GdbSession, IsInterruptedWhileTheGuestRuns) {
    GuestCode program = scenario.code();
    program.jump(program.here());
    scenario.put(layout::program, program);
    const auto run = [&](std::string_view while_running) {
        ScriptedChannel channel;
        channel.add(frame("vCont;c"));
        channel.add_while_running(while_running);
        Session(machine(), channel, {}).serve();
        return channel.packets();
    };
    EXPECT_THAT(run("\x03"), ElementsAre(StartsWith("T02")));
    // Anything else that it sends, too, and is answered then.
    EXPECT_THAT(run(frame("qAttached")), ElementsAre(StartsWith("T02"), "0"));
    EXPECT_GT(machine().engine().instructions(), 1000u);
}

// A debugger that never stops talking while the guest runs.
class FloodChannel final : public ByteChannel {
  public:
    explicit FloodChannel(char flood) : flood_(flood), start_(frame("vCont;c")) {}
    std::size_t read(std::span<char> to, Wait wait) override {
        if (wait == Wait::no) {
            std::ranges::fill(to, flood_);
            return to.size();
        }
        const std::size_t count = std::min(to.size(), start_.size());
        std::copy_n(start_.begin(), count, to.begin());
        start_.erase(0, count);
        return count;
    }
    void write(std::string_view) override {}
    bool is_open() const override { return true; }

  private:
    char flood_;
    std::string start_;
};

TEST_F(GdbSession, LetsNoFloodHoldTheGuestUp) {
    GuestCode program = scenario.code();
    program.jump(program.here());
    scenario.put(layout::program, program);
    for (const char flood : {'+', 'x'}) {
        FloodChannel channel(flood);
        const std::uint64_t limit = machine().engine().cycles() + 1'000'000;
        Session session(machine(), channel, {.limits = {.max_cycles = limit}});
        EXPECT_EQ(session.serve(), SessionEnd::guest_ended) << flood;
        EXPECT_EQ(session.result().end, RunEnd::max_cycles) << flood;
    }
}

TEST_F(GdbSession, AnswersAnInterruptThatComesWhileTheGuestStands) {
    ScriptedChannel channel;
    channel.add("\x03");
    Session(machine(), channel, {}).serve();
    EXPECT_THAT(channel.packets(), ElementsAre(StartsWith("T02")));
}

TEST_F(GdbSession, EndsWithTheCallersPatience) {
    GuestCode program = scenario.code();
    program.jump(program.here());
    scenario.put(layout::program, program);
    const Conversation talk = converse(machine(), {"c"}, {.limits = {.progress = [](const Totals&) { return false; }}});
    EXPECT_THAT(talk.answers, ElementsAre("X02"));
    EXPECT_EQ(talk.end, SessionEnd::guest_ended);
}

TEST_F(GdbSession, TakesABoundedNumberOfPoints) {
    Packets packets;
    for (std::size_t n = 0; n <= Session::maximum_points; ++n) packets.push_back(fmt::format("Z0,{:x},1", 0x9000 + n));
    packets.push_back("z0,9000,1");
    packets.push_back("Z0,c000,1");
    packets.push_back("z0,1,1");  // was never set
    const std::vector<std::string> answers = converse(machine(), packets).answers;
    EXPECT_EQ(answers[Session::maximum_points - 1], "OK");
    EXPECT_EQ(answers[Session::maximum_points], "E1c");
    EXPECT_EQ(answers[Session::maximum_points + 2], "OK");
    EXPECT_EQ(answers.back(), "OK");
}

TEST_F(GdbSession, LeavesNoPointsBehind) {
    converse(machine(), {fmt::format("Z0,{:x},1", linear_address(scenario.mode(), layout::program) + 2), "D"});
    EXPECT_EQ(machine().run({}).end, RunEnd::halted);
}

TEST_F(GdbSession, SaysWhenTheDescriptionNoLongerFits) {
    // From long mode to compatibility code, by a far return.
    Scenario other{{.engine = "interpreter"}};
    other.engine().set_state(entry_state(GuestMode::compatibility32, layout::program));
    GuestCode program(32, code_offset(GuestMode::compatibility32, layout::program));
    program.nop().hlt();
    other.put(layout::program, program);
    const Conversation told = converse(other.machine(), {"s", "s"}, {.architecture = std::nullopt});
    EXPECT_THAT(told.texts, IsEmpty());
    ScriptedChannel channel;
    Session session(other.machine(), channel, {});
    other.engine().set_state(entry_state(GuestMode::long64, layout::program));
    GuestCode wide = GuestCode(64, code_offset(GuestMode::long64, layout::program));
    wide.nop().nop().hlt();
    other.put(layout::program, wide);
    channel.add(frame("s"));
    channel.add(frame("s"));
    session.serve();
    std::string texts;
    for (const std::string& packet : channel.packets())
        if (packet.starts_with("O")) texts += from_hex(packet.substr(1)).value_or("");
    EXPECT_THAT(texts, AllOf(HasSubstr("told i386"), HasSubstr("i386:x86-64")));
    EXPECT_EQ(texts.find("told i386"), texts.rfind("told i386")) << "said twice";
}

// --- Every mode, every engine ------------------------------------------------------------------------------------

template <Need... needs>
class ModeTest : public EngineTest<InMode, needs...> {
  protected:
    GuestMode mode() const { return this->GetParam().mode; }
    void prepare() override {
        scenario.emplace(ScenarioOptions{.engine = this->GetParam().engine, .mode = mode()});
        GuestCode program = scenario->code();
        program.mov_al(0x11);
        second = linear(program.here());
        program.store_al(data_offset());
        third = linear(program.here());
        program.mov_al(0x22);
        program.nop();
        scenario->put(layout::program, program);
        scenario->engine().set_state(entry_state(mode(), layout::program));
    }
    Machine& machine() { return scenario->machine(); }
    bool wide() const { return architecture_of(entry_state(mode(), layout::program)) == Architecture::x86_64; }
    unsigned width() const { return wide() ? 64 : 32; }
    std::string pc_number() const { return wide() ? "10" : "8"; }
    // Of an offset in CS.
    std::uint64_t linear(std::uint64_t offset) const {
        return linear_address(mode(), layout::program) + (offset - scenario->offset(layout::program));
    }
    std::uint64_t first() const { return linear_address(mode(), layout::program); }
    std::uint64_t data_offset() const { return layout::data.value; }
    // Of what `store_al` writes: DS has no base in these modes but VM86's and real mode's, which is 0 too.
    std::uint64_t data() const {
        const cpu::CpuState state = entry_state(mode(), layout::program);
        return state.in_64bit_code() ? data_offset() : state.segment(cpu::SegmentName::ds).base + data_offset();
    }
    std::string pc(std::uint64_t address) const { return bytes_of(address, width()); }
    // Some hosts' KVM has a step of user code end in the guest's own handler of #DB.
    std::optional<std::string> cannot_step() {
        if (machine().engine().name() != "kvm" || is_privileged(mode())) return std::nullopt;
        RunLimits limits;
        limits.max_instructions = 1;
        machine().run(limits);
        const bool left = machine().engine().state().cpl() == 0;
        machine().engine().set_state(entry_state(mode(), layout::program));
        if (!left) return std::nullopt;
        return "the host's KVM cannot step user code: the step ends in the guest's handler";
    }
    std::optional<Scenario> scenario;
    std::uint64_t second = 0, third = 0;
};

class GdbInMode : public ModeTest<> {};
INSTANTIATE_TEST_SUITE_P(Engines, GdbInMode, in_modes(every_mode), parameter_name<InMode>);

class GdbPointsInMode : public ModeTest<> {
  protected:
    // The engine may have to reach a point, or leave it, by steps.
    void prepare() override {
        ModeTest::prepare();
        if (const auto why = cannot_step()) GTEST_SKIP() << *why;
    }
};
INSTANTIATE_TEST_SUITE_P(Engines, GdbPointsInMode, in_modes(every_mode), parameter_name<InMode>);

TEST_P(GdbInMode, SeesTheGuestBeforeItsFirstInstruction) {
    const Conversation talk = converse(machine(), {"?", "p" + pc_number(), fmt::format("m{:x},2", first())});
    EXPECT_THAT(talk.answers, ElementsAre(AllOf(StartsWith("T05"), HasSubstr(pc_number() + ":" + pc(first()) + ";"),
                                                HasSubstr("thread:1;")),
                                          pc(first()), "b011"));
    EXPECT_EQ(machine().engine().instructions(), 0u);
}

// The description names, in order, as many bits as `g` sends, and its architecture is the mode's.
TEST_P(GdbInMode, DescribesTheRegistersItSends) {
    std::string description, all;
    for (char more = 'm'; more == 'm';) {
        const Conversation talk =
            converse(machine(), {fmt::format("qXfer:features:read:target.xml:{:x},1ff", description.size()), "g"});
        ASSERT_EQ(talk.answers.size(), 2u);
        more = talk.answers[0].front();
        description += talk.answers[0].substr(1);
        all = talk.answers[1];
    }
    const std::string architecture = wide() ? "i386:x86-64" : code_width(mode()) == 32 ? "i386" : "i8086";
    EXPECT_THAT(description, HasSubstr("<architecture>" + architecture + "</architecture>"));
    const std::regex entry("<reg name=\"([a-z0-9_]+)\" bitsize=\"([0-9]+)\"");
    std::size_t digits = 0, number = 0;
    for (std::sregex_iterator at(description.begin(), description.end(), entry), end; at != end; ++at, ++number) {
        const std::size_t size = std::stoul((*at)[2]) / 4;
        EXPECT_EQ(last_answer(machine(), {fmt::format("p{:x}", number)}), all.substr(digits, size)) << (*at)[1];
        digits += size;
    }
    EXPECT_EQ(all.size(), digits);
    EXPECT_THAT(last_answer(machine(), {fmt::format("p{:x}", number)}), StartsWith("E"));
}

TEST_P(GdbInMode, StepsOneInstructionAtATime) {
    if (const auto why = cannot_step()) GTEST_SKIP() << *why;
    const std::uint64_t before = machine().engine().instructions();
    const Conversation talk = converse(machine(), {"vCont;s:1", "p" + pc_number(), "s", "p" + pc_number(), "S05",
                                                   fmt::format("m{:x},1", data()), "p0"});
    ASSERT_EQ(talk.answers.size(), 7u);
    EXPECT_THAT(talk.answers[0], StartsWith("T05"));
    EXPECT_EQ(talk.answers[1], pc(second));
    EXPECT_EQ(talk.answers[3], pc(third));
    EXPECT_EQ(talk.answers[5], "11");
    EXPECT_THAT(talk.answers[6], StartsWith("22"));
    EXPECT_EQ(machine().engine().instructions(), before + 3);
}

TEST_P(GdbInMode, WritesRegisters) {
    if (const auto why = cannot_step()) GTEST_SKIP() << *why;
    const std::string value = bytes_of(0x1122334455667788, width());
    const Conversation talk =
        converse(machine(), {"P0=" + value, "p0", "P" + pc_number() + "=" + pc(third), "p" + pc_number(), "s", "p0"});
    ASSERT_EQ(talk.answers.size(), 6u);
    EXPECT_EQ(talk.answers[0], "OK");
    EXPECT_EQ(talk.answers[1], value);
    EXPECT_EQ(talk.answers[3], pc(third));
    EXPECT_EQ(talk.answers[5], "22" + value.substr(2));
    EXPECT_EQ(machine().engine().state().rip, scenario->offset(layout::program) + (third - first()) + 2);
}

TEST_P(GdbInMode, WritesAllRegistersBackWithoutChangingAny) {
    const std::string all = last_answer(machine(), {"g"});
    const cpu::CpuState before = machine().engine().state();
    EXPECT_EQ(last_answer(machine(), {"G" + all}), "OK");
    EXPECT_EQ(machine().engine().state(), before);
    std::string changed = all;
    changed.replace(0, 2, all.starts_with("5a") ? "5b" : "5a");
    EXPECT_EQ(last_answer(machine(), {"G" + changed, "g"}), changed);
    // Of two views of one register, $pc and $ip, the one that differs from what it was counts.
    const std::size_t at = wide() ? 16 * 16 : 8 * 8;
    changed.replace(at, pc(third).size(), pc(third));
    EXPECT_EQ(last_answer(machine(), {"G" + changed, "p" + pc_number()}), pc(third));
}

TEST_P(GdbInMode, WritesMemoryAndCodeThatWasExecuted) {
    // The same instruction again, after its immediate has changed.
    const Conversation talk =
        converse(machine(), {"s", fmt::format("M{:x},1:33", first() + 1), "P" + pc_number() + "=" + pc(first()), "s",
                             "p0", fmt::format("X{:x},3:#$}}", data()), fmt::format("m{:x},3", data()),
                             fmt::format("X{:x},0:", data()), fmt::format("m{:x},0", data())});
    ASSERT_EQ(talk.answers.size(), 9u);
    EXPECT_EQ(talk.answers[1], "OK");
    EXPECT_THAT(talk.answers[4], StartsWith("33"));
    EXPECT_EQ(talk.answers[5], "OK");
    EXPECT_EQ(talk.answers[6], "23247d");
    EXPECT_EQ(talk.answers[7], "OK");
    EXPECT_EQ(talk.answers[8], "");
}

TEST_P(GdbPointsInMode, StopsAtBreakpoints) {
    const Conversation talk =
        converse(machine(), {"qSupported:swbreak+;hwbreak+", fmt::format("Z0,{:x},1", third), "c", "p" + pc_number(),
                             fmt::format("z0,{:x},1", third), fmt::format("Z1,{:x},1", third + 2), "vCont;c", "s"});
    ASSERT_EQ(talk.answers.size(), 8u);
    EXPECT_THAT(talk.answers[2], AllOf(StartsWith("T05"), HasSubstr("swbreak:;")));
    EXPECT_EQ(talk.answers[3], pc(third));
    EXPECT_THAT(talk.answers[6], AllOf(StartsWith("T05"), HasSubstr("hwbreak:;")));
    // It goes on from where it stands without being told twice.
    EXPECT_THAT(talk.answers[7], AllOf(StartsWith("T05"), Not(HasSubstr("break"))));
}

TEST_P(GdbPointsInMode, SaysNoMoreThanTheDebuggerUnderstands) {
    EXPECT_THAT(last_answer(machine(), {fmt::format("Z0,{:x},1", third), "c"}), Not(HasSubstr("break")));
}

TEST_P(GdbPointsInMode, StopsBehindWatchedAccesses) {
    struct Watch {
        char type;
        std::string_view field;
    };
    for (const Watch& watch : {Watch{'2', "watch"}, Watch{'4', "awatch"}}) {
        machine().engine().set_state(entry_state(mode(), layout::program));
        const Conversation talk =
            converse(machine(), {fmt::format("Z{},{:x},4", watch.type, data()), "c", fmt::format("m{:x},1", data())});
        ASSERT_EQ(talk.answers.size(), 3u);
        EXPECT_THAT(talk.answers[1], AllOf(HasSubstr(fmt::format(";{}:{:x};", watch.field, data())),
                                           HasSubstr(pc_number() + ":" + pc(third))));
        EXPECT_EQ(talk.answers[2], "11");
    }
}

}  // namespace
}  // namespace xenolith::machine::gdb::test
