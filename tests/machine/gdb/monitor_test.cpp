// What `monitor` says, and what it does, in gdb.
#include "machine/gdb/monitor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/machine/scenario.hpp"

namespace xenolith::machine::gdb {
namespace {

using namespace machine::test;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class GdbMonitor : public testing::Test {
  protected:
    explicit GdbMonitor(GuestMode mode = GuestMode::long64) : scenario({.engine = "interpreter", .mode = mode}) {
        scenario.engine().set_state(entry_state(mode, layout::program));
    }
    std::string say(std::string_view line) { return Monitor(scenario.machine(), registers, settings).execute(line, 0); }
    Scenario scenario;
    RegisterFile registers{architecture_of(entry_state(scenario.mode(), layout::program)), scenario.machine().model()};
    SessionSettings settings;
};

TEST_F(GdbMonitor, ExplainsItself) {
    const std::string help = say("help");
    for (const std::string_view name :
         {"xen", "timeline", "until", "state", "walk", "translate", "phys", "set-phys", "regions", "arch", "end"})
        EXPECT_THAT(help, HasSubstr("monitor " + std::string(name)));
    EXPECT_EQ(say(""), help);
    EXPECT_EQ(say(" \t "), help);
    EXPECT_THAT(say("frobnicate"), AllOf(HasSubstr("frobnicate"), HasSubstr("monitor help")));
}

TEST_F(GdbMonitor, RefusesBadArgumentsInOneLine) {
    for (const std::string_view line : {"walk",
                                        "walk x",
                                        "walk 0x",
                                        "walk 1 2",
                                        "walk $nonsense",
                                        "walk $xmm0",
                                        "walk 0x10000000000000000",
                                        "walk -1",
                                        "translate",
                                        "phys",
                                        "phys 0 0",
                                        "phys 0 4097",
                                        "phys 0 1 2",
                                        "set-phys 0",
                                        "set-phys 0 9",
                                        "set-phys 0 xx",
                                        "set-phys 0xa0000 00",
                                        "set-phys 0xd0000 00",
                                        "until never",
                                        "end of",
                                        "timeline x"}) {
        const std::string answer = say(line);
        EXPECT_EQ(std::count(answer.begin(), answer.end(), '\n'), 1) << line << ": " << answer;
        EXPECT_THAT(answer, HasSubstr(std::string("monitor ") + std::string(line.substr(0, line.find(' '))))) << line;
    }
}

TEST_F(GdbMonitor, WalksPageTablesEntryByEntry) {
    // write_tables maps 1 GiB to physical 0, by 4-KiB or larger pages.
    const std::string walk = say("walk 0x40008123");
    EXPECT_THAT(walk, AllOf(HasSubstr("CR3"), HasSubstr("PML4E"), HasSubstr("PDPTE"), HasSubstr("PDE"),
                            HasSubstr("present"), HasSubstr("0x40008123 is physical 0x8123")));
    EXPECT_THAT(say("walk 0x7f0000000000"), HasSubstr("Not mapped: the last entry is not present"));
    EXPECT_THAT(say("walk 0x800000000000"), HasSubstr("not canonical"));
    EXPECT_THAT(say("walk $pc"), HasSubstr("is physical 0x8000"));
}

TEST_F(GdbMonitor, Translates) {
    EXPECT_THAT(say("translate 0x40008123"), AllOf(HasSubstr("physical 0x8123"), HasSubstr("RAM")));
    EXPECT_THAT(say("translate 0x7f0000000000"), HasSubstr("not mapped"));
    EXPECT_THAT(say("translate 0x1000040008123"), HasSubstr("not mapped")) << "not canonical";
}

TEST_F(GdbMonitor, ReadsAndWritesPhysicalMemory) {
    EXPECT_THAT(say("set-phys 0xe000 48690a"), HasSubstr("3 byte(s)"));
    EXPECT_THAT(say("phys 0xe000 4"), AllOf(HasSubstr("0xe000  48 69 0a 00"), HasSubstr("Hi..")));
    EXPECT_THAT(say("phys 57344 17"), AllOf(HasSubstr("0xe010  00"), Not(HasSubstr("0xe011"))));
    // As far as there is memory; devices are not asked.
    EXPECT_THAT(say("phys 0x9fff8 16"), AllOf(HasSubstr("0x9fff8"), HasSubstr("0xa0000  is neither RAM nor ROM")));
    EXPECT_THAT(say("phys 0xd0000"), HasSubstr("neither RAM nor ROM"));
    EXPECT_THAT(say("set-phys 0xe0000 11"), HasSubstr("1 byte(s)")) << "ROM is no obstacle to a debugger";
    EXPECT_THAT(say("phys 0xe0000 2"), HasSubstr("11 5a"));
}

TEST_F(GdbMonitor, ListsRegions) {
    EXPECT_THAT(say("regions"),
                AllOf(HasSubstr("0x0 to 0x9ffff  RAM"), HasSubstr("0xe0000 to 0xe0fff  ROM"), HasSubstr("device")));
}

TEST_F(GdbMonitor, ShowsTheState) {
    GuestCode program = scenario.code();
    program.cpuid();
    scenario.put(layout::program, program);
    EXPECT_THAT(say("state"), AllOf(HasSubstr("long, CPL 0, paging on"), HasSubstr("running"), HasSubstr("cpuid"),
                                    HasSubstr("interpreter")));
}

TEST_F(GdbMonitor, ShowsWhatBecameOfTheHypercallPage) {
    EXPECT_THAT(say("xen"), AllOf(HasSubstr("0x40000000"), HasSubstr("2 page(s)"), HasSubstr("3 page(s)"),
                                  HasSubstr("not written yet"), HasSubstr("hypercalls      0")));
    GuestCode program = scenario.code();
    program.write_msr(Scenario::msr, layout::target.value | 1).mov(eax, 17).mov(edi, 0).mov(esi, 0).vmcall().hlt();
    scenario.run(program);
    EXPECT_THAT(say("xen"), AllOf(HasSubstr("to 0xc000, index 1, 64-bit: copied"), HasSubstr("hypercalls      1"),
                                  HasSubstr("1 xen_version")));
    EXPECT_THAT(say("timeline"), AllOf(HasSubstr("WRMSR"), HasSubstr("xen_version"), HasSubstr("2 of 2")));
    EXPECT_THAT(say("timeline 1"), AllOf(Not(HasSubstr("WRMSR")), HasSubstr("xen_version"), HasSubstr("1 of 2")));
    EXPECT_THAT(say("timeline 0"), HasSubstr("0 of 2"));
    EXPECT_THAT(say("timeline 99999999999"), HasSubstr("2 of 2"));
}

TEST_F(GdbMonitor, ChangesWhatTheSessionStopsAt) {
    say("until hypercall-page");
    EXPECT_EQ(settings.stop_at, StopAt::hypercall_page);
    EXPECT_THAT(say("until"), HasSubstr("hypercall-page"));
    say("until nothing");
    EXPECT_EQ(settings.stop_at, StopAt::nothing);
    say("end stop");
    EXPECT_TRUE(settings.stops_at_end);
    say("end exit");
    EXPECT_FALSE(settings.stops_at_end);
}

TEST_F(GdbMonitor, SaysWhatToDoWhenTheModeHasChanged) {
    EXPECT_THAT(say("arch"), AllOf(HasSubstr("i386:x86-64"), HasSubstr("They fit")));
    scenario.engine().set_state(entry_state(GuestMode::real, layout::program));
    EXPECT_THAT(say("arch"), AllOf(HasSubstr("real mode"), HasSubstr("i8086"), HasSubstr("disconnect")));
}

TEST(GdbMonitorWithoutXen, SaysSo) {
    Scenario scenario({.engine = "interpreter", .xen = false});
    const RegisterFile registers(Architecture::x86_64, scenario.machine().model());
    SessionSettings settings;
    EXPECT_THAT(Monitor(scenario.machine(), registers, settings).execute("xen", 0), HasSubstr("no Xen"));
}

class GdbMonitorPae : public GdbMonitor {
  protected:
    GdbMonitorPae() : GdbMonitor(GuestMode::pae32) {}
};

TEST_F(GdbMonitorPae, ShowsTheRegistersThatThePageWalkStartsWith) {
    EXPECT_THAT(say("walk 0x40008123"), AllOf(HasSubstr("PDPTE  in a register"), HasSubstr("physical 0x8123")));
    EXPECT_THAT(say("walk 0xc0000000"), HasSubstr("Not mapped"));
}

class GdbMonitorReal : public GdbMonitor {
  protected:
    GdbMonitorReal() : GdbMonitor(GuestMode::real) {}
};

TEST_F(GdbMonitorReal, HasNoPagesToWalk) {
    EXPECT_THAT(say("walk 0x8123"), AllOf(HasSubstr("Paging is off"), HasSubstr("0x8123")));
    EXPECT_THAT(say("translate 0x100008123"), HasSubstr("physical 0x8123")) << "32 bits of linear address";
}

}  // namespace
}  // namespace xenolith::machine::gdb
