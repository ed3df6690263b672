// Guest code reaches the board's devices, and their interrupts reach guest code: the wiring, seen from the CPU.
#include <gmock/gmock.h>

#include "devices/local_apic.hpp"
#include "devices/pit8254.hpp"
#include "machine/machine_state.hpp"
#include "tests/machine/engine_support.hpp"
#include "tests/machine/scenario.hpp"

namespace xenolith::machine::test {

namespace {

using cpu::rax;

// Vectors for which write_tables has a handler.
constexpr unsigned vector = 30, other_vector = 31;
constexpr std::uint32_t local_apic_page = 0xfee00000, io_apic_page = 0xfec00000;

class BoardTest : public EngineTest<InMode> {
  protected:
    void prepare() override {
        scenario.emplace(ScenarioOptions{.engine = GetParam().engine, .mode = GetParam().mode, .model = "modern"});
        code.emplace(scenario->code());
    }
    // For 32-bit code without paging: MOV DWORD [address], value.
    void store(std::uint32_t address, std::uint32_t value) {
        code->bytes({0xc7, 0x05});
        for (const std::uint32_t word : {address, value})
            code->bytes({word & 0xff, word >> 8 & 0xff, word >> 16 & 0xff, word >> 24});
    }
    // MOV EAX, [address].
    void load(std::uint32_t address) {
        code->bytes({0xa1, address & 0xff, address >> 8 & 0xff, address >> 16 & 0xff, address >> 24});
    }
    void out(std::uint8_t port, std::uint8_t value) { code->mov_al(value).out_al(port); }
    // OUT DX, AX, or EAX with `wide`.
    void out_dx(std::uint16_t port, std::uint32_t value, bool wide) {
        code->mov(cpu::rdx, port).mov(rax, value);
        const bool prefix = wide == (code_width(GetParam().mode) == 16);
        if (prefix) code->bytes({0x66});
        code->bytes({0xef});
    }
    // Counter 0 of the interval timer rises once, `ticks` from now.
    void start_interval_timer(std::uint16_t ticks) {
        out(0x43, 0x30);
        out(0x40, static_cast<std::uint8_t>(ticks));
        out(0x40, static_cast<std::uint8_t>(ticks >> 8));
    }
    void mask_8259s() {
        out(0x21, 0xff);
        out(0xa1, 0xff);
    }
    void wait_for_interrupt() { code->bytes({0xfb}).hlt(); }  // STI; HLT
    void expect_interrupt(unsigned expected) {
        const Ending ending = scenario->run(*code);
        ASSERT_TRUE(ending.trap.has_value()) << ending.result.reason;
        EXPECT_EQ(ending.trap->vector, expected);
    }
    std::uint64_t rax_at_end() {
        code->bytes({0xfa}).hlt();
        const Ending ending = scenario->run(*code);
        EXPECT_TRUE(ending.finished()) << ending.result.reason;
        return ending.state.registers[rax] & 0xffffffff;
    }

    std::optional<Scenario> scenario;
    std::optional<GuestCode> code;
};

constexpr std::array flat_modes = {GuestMode::protected32};
constexpr std::array some_modes = {GuestMode::real, GuestMode::protected32, GuestMode::long64};
constexpr std::array long_modes = {GuestMode::long64};

class BoardInSomeModes : public BoardTest {};
class BoardByMemory : public BoardTest {};
class BoardByMsr : public BoardTest {};
INSTANTIATE_TEST_SUITE_P(Engines, BoardInSomeModes, in_modes(some_modes), parameter_name<InMode>);
INSTANTIATE_TEST_SUITE_P(Engines, BoardByMemory, in_modes(flat_modes), parameter_name<InMode>);
INSTANTIATE_TEST_SUITE_P(Engines, BoardByMsr, in_modes(long_modes), parameter_name<InMode>);

}  // namespace

// As a system without APICs has it: timer, HPET's pass-through, 8259, the local APIC's LINT0.
TEST_P(BoardInSomeModes, TheTimerInterruptsThroughThe8259) {
    out(0x20, 0x11);
    out(0x21, 24);
    out(0x21, 0x04);
    out(0x21, 0x01);
    out(0x21, 0xfe);
    start_interval_timer(100);
    wait_for_interrupt();
    expect_interrupt(24);
}

TEST_P(BoardInSomeModes, SoftOffEndsTheRun) {
    out_dx(0x604, 0x2000 | 5 << 10, false);
    code->bytes({0xfa}).hlt();
    EXPECT_EQ(scenario->run(*code).result.end, RunEnd::powered_off);
}

TEST_P(BoardInSomeModes, TheResetRegisterEndsTheRun) {
    out_dx(0xcf8, 0x80000000, true);
    code->mov(cpu::rdx, 0xcf9).mov_al(0x06).bytes({0xee, 0xfa}).hlt();
    EXPECT_EQ(scenario->run(*code).result.end, RunEnd::reset);
}

TEST_P(BoardInSomeModes, TheHostBridgeIsFoundByItsPorts) {
    out_dx(0xcf8, 0x80000000, true);
    code->mov(cpu::rdx, 0xcfc);
    if (code_width(GetParam().mode) == 16) code->bytes({0x66});
    code->bytes({0xed});  // in eax, dx
    EXPECT_EQ(rax_at_end(), 0x12378086u);
}

TEST_P(BoardInSomeModes, TheFirmwareConfigurationSaysWhoItIs) {
    out_dx(0x510, 0, false);
    code->mov(cpu::rdx, 0x511).mov(rax, 0).bytes({0xec});
    EXPECT_EQ(rax_at_end(), static_cast<std::uint64_t>('Q'));
}

// Pin 2, as the MADT says.
TEST_P(BoardByMemory, TheTimerInterruptsThroughTheIoApic) {
    mask_8259s();
    store(local_apic_page + 0xf0, 0x1ff);
    store(io_apic_page, 0x15);
    store(io_apic_page + 0x10, 0);
    store(io_apic_page, 0x14);
    store(io_apic_page + 0x10, vector);
    start_interval_timer(100);
    wait_for_interrupt();
    expect_interrupt(vector);
}

// A CPU that has halted with interrupts disabled is not dead while a timer may still reach it by an NMI.
TEST_P(BoardByMemory, ATimerWakesTheCpuByAnNmi) {
    mask_8259s();
    store(local_apic_page + 0xf0, 0x1ff);
    store(io_apic_page, 0x14);
    store(io_apic_page + 0x10, 0x400);
    start_interval_timer(100);
    code->bytes({0xfa}).hlt();
    expect_interrupt(2);
}

TEST_P(BoardByMemory, TheTimerWakesTheCpuByAnNmiThroughThe8259) {
    out(0x20, 0x11);
    out(0x21, 24);
    out(0x21, 0x04);
    out(0x21, 0x01);
    out(0x21, 0xfe);
    store(local_apic_page + 0xf0, 0x1ff);
    store(local_apic_page + 0x350, 0x400);
    start_interval_timer(100);
    code->bytes({0xfa}).hlt();
    expect_interrupt(2);
}

TEST_P(BoardByMemory, WithoutAWayForNmisTheCpuHaltsForGood) {
    mask_8259s();
    store(io_apic_page, 0x14);
    store(io_apic_page + 0x10, 0x10400);  // masked
    start_interval_timer(100);
    code->bytes({0xfa}).hlt();
    EXPECT_TRUE(scenario->run(*code).finished());
}

TEST_P(BoardByMemory, TheLocalApicsTimerInterrupts) {
    mask_8259s();
    store(local_apic_page + 0xf0, 0x1ff);
    store(local_apic_page + 0x3e0, 0xb);
    store(local_apic_page + 0x320, vector);
    store(local_apic_page + 0x380, 1000);
    wait_for_interrupt();
    expect_interrupt(vector);
}

// A write of the task priority in memory is what CR8 would show, and holds interrupts back.
TEST_P(BoardByMemory, ATaskPriorityHoldsInterruptsBack) {
    mask_8259s();
    store(local_apic_page + 0xf0, 0x1ff);
    store(local_apic_page + 0x80, 0x10);
    store(local_apic_page + 0x300, 0x4401f);  // to itself: vector 31
    code->bytes({0xfb}).nop().nop().nop();
    const std::uint64_t lowered = code->here();
    store(local_apic_page + 0x80, 0);
    code->nop().hlt();
    const Ending ending = scenario->run(*code);
    ASSERT_TRUE(ending.trap.has_value()) << ending.result.reason;
    EXPECT_EQ(ending.trap->vector, other_vector);
    EXPECT_GT(ending.trap->rip, lowered);
}

// IA32_APIC_BASE says where the local APIC's page is; nobody answers where it was.
TEST_P(BoardByMemory, TheLocalApicsPageCanBeMoved) {
    code->write_msr(cpu::msr::apic_base, 0xfed40900);
    load(0xfed40030);
    code->mov(cpu::rbx, rax);
    load(local_apic_page + 0x30);
    EXPECT_EQ(rax_at_end(), 0xffffffffu);
    EXPECT_EQ(scenario->engine().state().registers[cpu::rbx], devices::LocalApic::version);
}

TEST_P(BoardByMemory, TheLocalApicsPageComesBack) {
    code->write_msr(cpu::msr::apic_base, 0xfed40900).write_msr(cpu::msr::apic_base, 0xfee00900);
    load(0xfed40030);
    code->mov(cpu::rbx, rax);
    load(local_apic_page + 0x30);
    EXPECT_EQ(rax_at_end(), devices::LocalApic::version);
    EXPECT_EQ(scenario->engine().state().registers[cpu::rbx], 0xffffffffu);
}

TEST_P(BoardByMemory, ARestoredMachineHasTheLocalApicsPageWhereItWas) {
    constexpr mmu::GuestPhysical moved{0xfed40000}, at_reset{local_apic_page};
    const MachineState before = scenario->machine().save();
    code->write_msr(cpu::msr::apic_base, moved.value | 0x900).bytes({0xfa}).hlt();
    ASSERT_TRUE(scenario->run(*code).finished());
    const MachineState after = scenario->machine().save();
    Scenario other({.engine = GetParam().engine, .mode = GetParam().mode, .model = "modern"});
    for (const bool is_moved : {true, false, true}) {
        other.machine().restore(is_moved ? after : before);
        EXPECT_EQ(other.machine().memory().find(moved) != nullptr, is_moved);
        EXPECT_EQ(other.machine().memory().find(at_reset) != nullptr, !is_moved);
    }
}

// Other devices and memory are not hidden: the page stays where it is at reset.
TEST_P(BoardByMemory, TheLocalApicsPageDoesNotMoveOntoAnotherDevice) {
    code->write_msr(cpu::msr::apic_base, 0xfed40900).write_msr(cpu::msr::apic_base, io_apic_page | 0x900);
    load(local_apic_page + 0x30);
    EXPECT_EQ(rax_at_end(), devices::LocalApic::version);
}

TEST_P(BoardInSomeModes, FirmwareLeavesTheSerialPortWithEightBits) {
    code->mov(cpu::rdx, 0x3fb).mov(rax, 0).bytes({0xec});
    EXPECT_EQ(rax_at_end(), 3u);
}

TEST_P(BoardByMsr, X2apicModeIsReachedByMsrsAlone) {
    code->write_msr(cpu::msr::apic_base, 0xfee00d00);
    code->mov(cpu::rcx, 0x803).rdmsr();
    EXPECT_EQ(rax_at_end(), devices::LocalApic::version);
}

TEST_P(BoardByMsr, X2apicRegistersOutsideTheModeAreNotThere) {
    code->mov(cpu::rcx, 0x803);
    const std::uint64_t at = code->here();
    code->rdmsr().hlt();
    const Ending ending = scenario->run(*code);
    ASSERT_TRUE(ending.trap.has_value());
    EXPECT_EQ(ending.trap->vector, 13u);
    EXPECT_EQ(ending.trap->rip, at);
}

TEST_P(BoardByMsr, Cr8IsTheTaskPriority) {
    mask_8259s();
    code->write_msr(cpu::msr::apic_base, 0xfee00d00).write_msr(0x80f, 0x1ff);
    code->mov(rax, 2).bytes({0x44, 0x0f, 0x22, 0xc0});  // mov cr8, rax
    code->write_msr(0x83f, other_vector);               // to itself
    code->mov(cpu::rcx, 0x808).rdmsr().mov(cpu::rbx, rax);
    code->bytes({0xfb}).nop().nop();
    const std::uint64_t lowered = code->here();
    code->write_msr(0x808, 0).nop().bytes({0x44, 0x0f, 0x20, 0xc0}).hlt();
    const Ending ending = scenario->run(*code);
    ASSERT_TRUE(ending.trap.has_value()) << ending.result.reason;
    EXPECT_EQ(ending.trap->vector, other_vector);
    EXPECT_GT(ending.trap->rip, lowered);
    EXPECT_EQ(ending.trap->registers[cpu::rbx], 0x20u);
    EXPECT_EQ(scenario->engine().state().cr8, 0u);
}

TEST_P(BoardByMsr, TheDeadlineOfTheTimeStampInterrupts) {
    mask_8259s();
    code->write_msr(cpu::msr::apic_base, 0xfee00d00).write_msr(0x80f, 0x1ff);
    code->write_msr(0x832, 2u << 17 | vector);
    code->rdtsc().bytes({0x05, 0x00, 0x00, 0x10, 0x00}).bytes({0x83, 0xd2, 0x00});  // add eax, 100000h; adc edx, 0
    code->mov(cpu::rcx, cpu::msr::tsc_deadline).wrmsr();
    wait_for_interrupt();
    expect_interrupt(vector);
}

}  // namespace xenolith::machine::test
