// One WRMSR by guest code, in every mode that may make one, under every profile: what the guest and its
// operator see, row by row of trap_case.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "tests/machine/engine_support.hpp"
#include "tests/machine/scenario.hpp"
#include "tests/machine/trap_case.hpp"
#include "xen/error_numbers.hpp"

namespace xenolith::machine::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct WriteParameter {
    std::string_view engine;
    GuestMode mode;
    const WriteRow* row;

    std::string name() const {
        return identifier(engine) + "_" + identifier(guest_mode_name(mode)) + "_" + identifier(row->name);
    }
};
void PrintTo(const WriteParameter& parameter, std::ostream* out) { *out << parameter.name(); }

std::vector<WriteParameter> every_write() {
    std::vector<WriteParameter> parameters;
    for (const std::string_view engine : engine_names()) {
        for (const GuestMode mode : privileged_modes) {
            for (const WriteRow& row : write_rows()) parameters.push_back({engine, mode, &row});
        }
    }
    return parameters;
}

class MsrWrite : public EngineTest<WriteParameter> {
  protected:
    // The general registers as the program has left them when it comes to its WRMSR.
    std::array<std::uint64_t, 16> registers_at_write() const {
        std::array<std::uint64_t, 16> registers;
        const cpu::CpuState entry = entry_state(GetParam().mode, layout::program);
        std::copy_n(entry.registers.begin(), registers.size(), registers.begin());
        registers[cpu::rcx] = row().msr;
        registers[cpu::rax] = row().value & 0xffffffff;
        registers[cpu::rdx] = row().value >> 32;
        return registers;
    }
    const WriteRow& row() const { return *GetParam().row; }

    void expect_registers(const std::array<std::uint64_t, 18>& registers) {
        const auto expected = registers_at_write();
        for (unsigned number = 0; number < 16; ++number) {
            EXPECT_EQ(registers[number], expected[number]) << "register " << number;
        }
    }

    void expect_copied(Scenario& scenario, const Ending& ending);
    void expect_fault(Scenario& scenario, const Ending& ending, std::uint64_t at);
    void expect_failure(Scenario& scenario, const Ending& ending, std::uint64_t at);
    void expect_event(Scenario& scenario, std::string_view result);
};

INSTANTIATE_TEST_SUITE_P(Engines, MsrWrite, testing::ValuesIn(every_write()), parameter_name<WriteParameter>);

void MsrWrite::expect_event(Scenario& scenario, std::string_view result) {
    if (!scenario.sees_writes()) return;
    const auto writes = scenario.page_writes();
    ASSERT_EQ(writes.size(), 1u);
    const HypercallPageWrite& write = *writes[0];
    EXPECT_EQ(write.result, result);
    EXPECT_EQ(write.msr, row().msr);
    EXPECT_EQ(write.value, row().value);
    EXPECT_EQ(write.address, row().value & ~mmu::page_mask);
    EXPECT_EQ(write.index, row().value & mmu::page_mask);
    EXPECT_EQ(write.blob, scenario.blob_width());
    EXPECT_EQ(write.cost,
              result == "copied" ? scenario.machine().timing().trap : scenario.machine().timing().plain_trap());
    EXPECT_EQ(scenario.machine().totals().traps, 1u);
    const Event& event = *scenario.events<HypercallPageWrite>()[0];
    EXPECT_EQ(event.moment.mode, architectural_mode(scenario.mode()));
    EXPECT_EQ(event.instruction, "wrmsr");
}

void MsrWrite::expect_copied(Scenario& scenario, const Ending& ending) {
    ASSERT_TRUE(ending.finished()) << ending.result.reason;
    const std::uint64_t address = row().value & ~mmu::page_mask, index = row().value & mmu::page_mask;
    const auto blob = Scenario::marked_blob(scenario.blob_width(), static_cast<unsigned>(index + 2));
    const auto first = blob.begin() + static_cast<std::ptrdiff_t>(index * mmu::page_size + row().setup.blob_offset);
    EXPECT_EQ(scenario.page(mmu::GuestPhysical{address}),
              std::vector<std::byte>(first, first + static_cast<std::ptrdiff_t>(mmu::page_size)));
    EXPECT_THAT(scenario.changed_pages(), ElementsAre(address / mmu::page_size));
    expect_registers(ending.state.registers);
    expect_event(scenario, "copied");
}

void MsrWrite::expect_fault(Scenario& scenario, const Ending& ending, std::uint64_t at) {
    ASSERT_TRUE(ending.trap) << ending.result.reason;
    const Trap& trap = *ending.trap;
    EXPECT_EQ(trap.vector, 13u);
    EXPECT_EQ(trap.error_code.value_or(0), 0u);
    EXPECT_EQ(trap.rip, at);
    const cpu::CpuState entry = entry_state(scenario.mode(), layout::program);
    EXPECT_EQ(trap.cs, entry.segment(cpu::SegmentName::cs).selector);
    // RF is pushed as 1 for a fault (SDM vol. 3B, 17.3.1.1); real mode pushes 16 bits.
    EXPECT_EQ(trap.rflags & ~cpu::rflags::rf, entry.rflags);
    const auto expected = registers_at_write();
    for (unsigned number = 0; number < (long_mode_active(scenario.mode()) ? 16 : 8); ++number) {
        if (number == cpu::rsp && !long_mode_active(scenario.mode())) continue;
        EXPECT_EQ(trap.registers[number], expected[number]) << "register " << number;
    }
    EXPECT_THAT(scenario.changed_pages(), IsEmpty());
}

void MsrWrite::expect_failure(Scenario& scenario, const Ending& ending, std::uint64_t at) {
    EXPECT_TRUE(ending.failed_with(xen::error_number::efault)) << ending.result.reason;
    EXPECT_EQ(ending.state.rip, at);
    expect_registers(ending.state.registers);
    EXPECT_EQ(ending.state.rflags, entry_state(scenario.mode(), layout::program).rflags);
    EXPECT_THAT(scenario.changed_pages(), IsEmpty());
    expect_event(scenario, "EFAULT");
}

TEST_P(MsrWrite, EndsAsTheProfileSays) {
    const ByProfile& ends = long_mode_active(GetParam().mode) ? row().in_long_mode : row().outside_long_mode;
    for (const xen::Profile& profile : profiles_on(GetParam().engine)) {
        SCOPED_TRACE(profile.name);
        const auto number = static_cast<std::size_t>(&profile - xen::profiles().data());
        MachineSubject subject({.engine = GetParam().engine, .mode = GetParam().mode, .profile = &profile});
        Scenario& scenario = subject.scenario();
        apply(subject, row().setup);  // a refused configuration is part of some rows
        GuestCode program = scenario.code();
        program.write_msr(row().msr, row().value);
        const std::uint64_t at = program.last();
        program.hlt();
        const Ending ending = scenario.run(program);
        // The latch is taken whenever the trap sees the write, however it ends.
        const bool seen = ends[number] != Ends::not_trapped_gp && ends[number] != Ends::cpu_takes_it;
        if (scenario.sees_writes()) {
            EXPECT_EQ(scenario.trap().latched_long_mode(), seen && profile.latches_long_mode
                                                               ? std::optional(long_mode_active(GetParam().mode))
                                                               : std::nullopt);
        }
        switch (ends[number]) {
            case Ends::copied: expect_copied(scenario, ending); break;
            case Ends::refused:
                expect_fault(scenario, ending, at);
                expect_event(scenario, "#GP");
                break;
            case Ends::not_trapped_gp:
                expect_fault(scenario, ending, at);
                EXPECT_THAT(scenario.page_writes(), IsEmpty());
                break;
            case Ends::cpu_takes_it:
                EXPECT_TRUE(ending.finished()) << ending.result.reason;
                EXPECT_EQ(row().msr == cpu::msr::lstar ? ending.state.msr.lstar : ending.state.msr.sysenter_eip,
                          row().value);
                EXPECT_THAT(scenario.changed_pages(), IsEmpty());
                EXPECT_THAT(scenario.page_writes(), IsEmpty());
                break;
            case Ends::run_fails: expect_failure(scenario, ending, at); break;
        }
    }
}

}  // namespace
}  // namespace xenolith::machine::test
