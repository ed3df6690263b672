// KVM_EXIT_XEN as an engine shows it: an Environment that answers `leave` ends the run at the instruction,
// and whoever called run() answers and re-enters.
#include <gtest/gtest.h>

#include "tests/machine/engine_support.hpp"
#include "tests/machine/guest_code.hpp"
#include "tests/machine/guest_mode.hpp"
#include "xen/hypercall_exit.hpp"
#include "xen/hypercall_page.hpp"

namespace xenolith::machine::test {
namespace {

// A world with nothing in it, where every hypercall leaves.
class LeavingWorld final : public cpu::Environment {
  public:
    std::uint32_t port_read(const cpu::Moment&, std::uint16_t, unsigned) override { return 0; }
    void port_write(const cpu::Moment&, std::uint16_t, unsigned, std::uint32_t, cpu::CpuState&,
                    cpu::LinearMemory&) override {}
    std::uint64_t mmio_read(const cpu::Moment&, mmu::GuestPhysical, unsigned) override { return 0; }
    void mmio_write(const cpu::Moment&, mmu::GuestPhysical, unsigned, std::uint64_t) override {}
    cpu::MsrOutcome msr_read(const cpu::Moment&, std::uint32_t, bool) override { return {}; }
    cpu::MsrOutcome msr_write(const cpu::Moment&, std::uint32_t, std::uint64_t, bool, const cpu::CpuState&) override {
        return {};
    }
    cpu::CpuidLeaf cpuid(const cpu::Moment&, std::uint32_t, std::uint32_t, cpu::CpuidLeaf model) override {
        return model;
    }
    cpu::HypercallOutcome hypercall(const cpu::Moment& moment, cpu::HypercallInstruction, const cpu::CpuState& state,
                                    cpu::LinearMemory&) override {
        xen::HypercallRegisters registers;
        std::copy_n(state.registers.begin(), registers.general.size(), registers.general.begin());
        registers.long_mode_code = state.in_64bit_code();
        registers.cpl = state.cpl();
        registers.vm86 = state.in_vm86();
        exit = xen::make_hypercall_exit(xen::decode_hypercall(moment.vcpu, registers));
        return {.kind = cpu::HypercallOutcome::Kind::leave};
    }
    std::uint8_t acknowledge_interrupt(const cpu::Moment&) override { return 0; }

    xen::HypercallExit exit;
};

class HypercallExits : public EngineTest<InMode, Need::hypercalls, Need::time> {
  protected:
    void prepare() override {
        memory.add_ram(mmu::GuestPhysical{0}, std::uint64_t{2} << 20, "RAM");
        write_tables(memory);
        const cpu::CpuModel& model = *cpu::CpuModel::find("nehalem");
        const cpu::Timing& timing = *cpu::find_timing("nehalem");
        engine = find_engine(GetParam().engine)->make({memory, world, model, timing});
        GuestCode program(code_width(GetParam().mode), code_offset(GetParam().mode, layout::program));
        program.mov(eax, 29).mov(ebx, 1).mov(ecx, 2).mov(edx, 3).mov(esi, 4).mov(edi, 5).mov(ebp, 6);
        at = program.here();
        program.vmcall().mov(ebx, 0x77).undefined();
        memory.write(layout::program, program.data());
        engine->set_state(entry_state(GetParam().mode, layout::program));
    }

    mmu::GuestMemory memory;
    LeavingWorld world;
    std::unique_ptr<cpu::Engine> engine;
    std::uint64_t at = 0;
};
INSTANTIATE_TEST_SUITE_P(Engines, HypercallExits, in_modes(every_mode), parameter_name<InMode>);

TEST_P(HypercallExits, StandAtTheInstruction) {
    const cpu::Exit exit = engine->run({});
    ASSERT_EQ(exit.reason, cpu::ExitReason::hypercall);
    EXPECT_EQ(engine->state().rip, at);
    EXPECT_EQ(engine->state().registers[cpu::rax] & 0xffffffff, 29u);
    EXPECT_EQ(engine->instructions(), 7u);
    EXPECT_EQ(world.exit.type, 1u);
    EXPECT_EQ(world.exit.input, 29u);
    EXPECT_EQ(world.exit.longmode, code_width(GetParam().mode) == 64 ? 1u : 0u);
    EXPECT_EQ(world.exit.cpl, is_privileged(GetParam().mode) ? 0u : 3u);
    const std::uint64_t first_two[] = {world.exit.params[0], world.exit.params[1]};
    if (code_width(GetParam().mode) == 64) {  // RDI, RSI, RDX, ...
        EXPECT_EQ(first_two[0], 5u);
        EXPECT_EQ(first_two[1], 4u);
    } else {  // EBX, ECX, EDX, ESI, EDI, EBP
        EXPECT_EQ(world.exit.params, (std::array<std::uint64_t, 6>{1, 2, 3, 4, 5, 6}));
    }
    // Until it is answered, the guest does not move.
    const cpu::CpuState before = engine->state();
    EXPECT_EQ(engine->run({}).reason, cpu::ExitReason::hypercall);
    EXPECT_EQ(engine->state(), before);
}

TEST_P(HypercallExits, CompleteOnReEntry) {
    ASSERT_EQ(engine->run({}).reason, cpu::ExitReason::hypercall);
    const mmu::GuestLinear left{engine->state().rip};
    cpu::CpuState state = engine->state();
    ASSERT_TRUE(xen::hypercall_completes(left, mmu::GuestLinear{state.rip}));
    state.registers[cpu::rax] = 0x1234;
    state.rip += xen::hypercall_instruction_length;
    engine->set_state(state);
    EXPECT_EQ(engine->run({}).reason, cpu::ExitReason::halted);
    const auto trap = read_trap(memory, GetParam().mode, engine->state());
    ASSERT_TRUE(trap);
    EXPECT_EQ(trap->vector, 6u);  // the program's own end
    EXPECT_EQ(trap->registers[cpu::rax], 0x1234u);
    EXPECT_EQ(trap->registers[cpu::rbx], 0x77u);
}

// If the vCPU was put elsewhere meanwhile, the answer is dropped: RAX stays and RIP does not step.
TEST_P(HypercallExits, DropTheAnswerIfTheGuestWasMoved) {
    ASSERT_EQ(engine->run({}).reason, cpu::ExitReason::hypercall);
    const mmu::GuestLinear left{engine->state().rip};
    cpu::CpuState state = engine->state();
    state.rip = at + xen::hypercall_instruction_length;
    EXPECT_FALSE(xen::hypercall_completes(left, mmu::GuestLinear{state.rip}));
    engine->set_state(state);
    EXPECT_EQ(engine->run({}).reason, cpu::ExitReason::halted);
    const auto trap = read_trap(memory, GetParam().mode, engine->state());
    ASSERT_TRUE(trap);
    EXPECT_EQ(trap->registers[cpu::rax] & 0xffffffff, 29u);
}

}  // namespace
}  // namespace xenolith::machine::test
