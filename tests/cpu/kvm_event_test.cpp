// Interrupts, NMIs and single steps on KVM.
#include "tests/cpu/kvm_guest.hpp"

namespace xenolith::cpu::test {
namespace {

using testing::SizeIs;

class KvmEvent : public KvmTest {
  protected:
    static constexpr std::uint8_t vector = 0x20, nmi = 2;

    void SetUp() override {
        KvmTest::SetUp();
        if (IsSkipped()) return;
        put_gate(vector);
        put_gate(nmi);
        put(place::handler, {0xff, 0x07, 0xf4});  // inc dword [rdi]; hlt
        // The line falls when the interrupt is acknowledged.
        world.on_acknowledge = [this] { engine().set_interrupt_line(false); };
    }
    static CpuState counting() {
        CpuState state = long_state();
        state.registers[rdi] = place::data.value;
        return state;
    }
    std::uint32_t count() const { return value_at<std::uint32_t>(place::data); }
};

TEST_F(KvmEvent, AnInterruptEndsAnEndlessLoop) {
    put(place::code, {0xeb, 0xfe});
    CpuState start = counting();
    start.rflags |= rflags::if_;
    engine().set_interrupt_line(true);
    const auto exit = run_from(start);
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_EQ(exit->reason, ExitReason::halted);
    EXPECT_EQ(world.acknowledged, 1u);
    EXPECT_EQ(count(), 1u);
    const CpuState state = engine().state();
    EXPECT_EQ(state.rflags & rflags::if_, 0u) << "an interrupt gate";
    EXPECT_EQ(value_at<std::uint64_t>({state.registers[rsp]}), place::code.value);
}

TEST_F(KvmEvent, AnInterruptWaitsUntilTheGuestTakesIt) {
    put(place::code, {0x90, 0xe6, 0x80,  // nop; out 0x80, al
                      0xfb, 0x90,        // sti; nop
                      0xeb, 0xfe});
    engine().set_interrupt_line(true);
    unsigned acknowledged_at_out = 99;
    world.on_port_write = [&](CpuState&, LinearMemory&) { acknowledged_at_out = world.acknowledged; };
    const auto exit = run_from(counting());
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_EQ(exit->reason, ExitReason::halted);
    EXPECT_EQ(acknowledged_at_out, 0u);
    EXPECT_EQ(world.acknowledged, 1u);
    EXPECT_EQ(count(), 1u);
    EXPECT_GE(value_at<std::uint64_t>({engine().state().registers[rsp]}), place::code.value + 4)
        << "STI shields the instruction behind it";
}

TEST_F(KvmEvent, AnInterruptWakesAHaltedCpu) {
    put(place::code, {0xfb, 0xf4, 0xeb, 0xfe});  // sti; hlt; jmp $
    auto exit = run_from(counting());
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_EQ(exit->reason, ExitReason::halted);
    EXPECT_EQ(engine().state().rip, place::code.value + 2);
    engine().set_interrupt_line(true);
    EXPECT_EQ(engine().run({}).reason, ExitReason::halted) << "in the handler";
    EXPECT_EQ(count(), 1u);
    EXPECT_EQ(engine().state().rip, place::handler.value + 3);
    EXPECT_EQ(value_at<std::uint64_t>({engine().state().registers[rsp]}), place::code.value + 2);
}

TEST_F(KvmEvent, AHaltWithInterruptsOffStaysHalted) {
    put(place::code, {0xf4, 0xeb, 0xfe});
    engine().set_interrupt_line(true);
    const auto exit = run_from(counting());
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_EQ(exit->reason, ExitReason::halted);
    EXPECT_EQ(engine().run({}).reason, ExitReason::halted);
    EXPECT_EQ(world.acknowledged, 0u);
}

TEST_F(KvmEvent, AnInterruptRaisedByADeviceComesBehindTheInstruction) {
    put(place::code, {0xe6, 0x80, 0x90, 0xeb, 0xfe});
    world.on_port_write = [&](CpuState&, LinearMemory&) { engine().set_interrupt_line(true); };
    CpuState start = counting();
    start.rflags |= rflags::if_;
    const auto exit = run_from(start);
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_EQ(count(), 1u);
    EXPECT_EQ(value_at<std::uint64_t>({engine().state().registers[rsp]}), place::code.value + 2);
}

TEST_F(KvmEvent, AnNmiComesWhateverTheFlags) {
    put(place::code, {0xf4, 0xeb, 0xfe});
    auto exit = run_from(counting());
    SKIP_WHAT_KVM_CANNOT(exit);
    ASSERT_EQ(exit->reason, ExitReason::halted);
    engine().raise_nmi();
    EXPECT_EQ(engine().run({}).reason, ExitReason::halted);
    EXPECT_EQ(count(), 1u);
    EXPECT_EQ(engine().state().rip, place::handler.value + 3);
    EXPECT_TRUE(engine().state().nmi_blocked);
    EXPECT_EQ(world.acknowledged, 0u);
}

// --- Steps ------------------------------------------------------------------------------------------------

class KvmStep : public KvmTest {
  protected:
    // The address behind each of the first steps.
    std::vector<std::uint64_t> steps(const CpuState& start, unsigned count) {
        std::vector<std::uint64_t> places;
        engine().set_state(start);
        try {
            for (unsigned n = 0; n < count; ++n) {
                const Exit exit = engine().run({.instructions = 1});
                places.push_back(engine().state().rip - place::code.value);
                if (exit.reason != ExitReason::instructions) break;
            }
        } catch (const HostLimit& limit) {
            if (limit.kind() != HostLimit::Kind::instruction) throw;
            host_limit = limit.what();
        }
        return places;
    }
};

TEST_F(KvmStep, OneInstructionAtATime) {
    put(place::code, {0xb8, 1,    0, 0, 0,  // mov eax, 1
                      0x01, 0xc0,           // add eax, eax
                      0xe6, 0x80,           // out 0x80, al
                      0xe4, 0x81,           // in al, 0x81
                      0x8a, 0x07,           // mov al, [rdi] (a device)
                      0x88, 0x07,           // mov [rdi], al
                      0x0f, 0xa2,           // cpuid
                      0xeb, 0x00,           // jmp +0
                      0xf4});
    CpuState start = long_state();
    start.registers[rdi] = place::device.value;
    const auto places = steps(start, 9);
    if (!host_limit.empty()) GTEST_SKIP() << host_limit;
    EXPECT_THAT(places, testing::ElementsAre(5, 7, 9, 11, 13, 15, 17, 19, 20));
    EXPECT_EQ(engine().instructions(), 9u);
    EXPECT_EQ(engine().state().activity, Activity::halted);
    EXPECT_EQ(engine().state().rflags & rflags::tf, 0u) << "the step is not the guest's to see";
    EXPECT_THAT(world.port_writes, SizeIs(1));
    EXPECT_THAT(world.memory_reads, SizeIs(1));
    EXPECT_THAT(world.memory_writes, SizeIs(1));
}

TEST_F(KvmStep, ABudgetOfSeveral) {
    put(place::code, {0x90, 0x90, 0x90, 0x90, 0x90, 0xf4});
    const auto exit = run_from(long_state(), {.instructions = 4});
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_EQ(exit->reason, ExitReason::instructions);
    EXPECT_EQ(engine().state().rip, place::code.value + 4);
    EXPECT_EQ(engine().instructions(), 4u);
    EXPECT_EQ(engine().run({}).reason, ExitReason::halted) << "and on without steps";
    EXPECT_EQ(engine().instructions(), 4u);
    EXPECT_EQ(engine().state().rip, place::code.value + 6);
}

TEST_F(KvmStep, ARepeatedStringInstructionIsOne) {
    put(place::code, {0xf3, 0xa4, 0x90, 0xf4});  // rep movsb; nop; hlt
    CpuState start = long_state();
    start.registers[rcx] = 300;
    start.registers[rsi] = place::code.value;
    start.registers[rdi] = place::data.value;
    const auto places = steps(start, 2);
    if (!host_limit.empty()) GTEST_SKIP() << host_limit;
    EXPECT_THAT(places, testing::ElementsAre(2, 3));
    EXPECT_EQ(engine().state().registers[rcx], 0u);
}

TEST_F(KvmStep, ALoopOfOneInstructionCounts) {
    put(place::code, {0xeb, 0xfe});
    const auto places = steps(long_state(), 3);
    if (!host_limit.empty()) GTEST_SKIP() << host_limit;
    EXPECT_THAT(places, testing::ElementsAre(0, 0, 0));
    EXPECT_EQ(engine().instructions(), 3u);
}

TEST_F(KvmStep, TheGuestsOwnTrapFlagStillTraps) {
    put(place::code, {0x90, 0x90, 0x90, 0xf4});
    put(place::handler, {0x90, 0xf4});
    put_gate(1);
    CpuState start = long_state();
    start.rflags |= rflags::tf;
    const auto exit = run_from(start, {.instructions = 5});
    SKIP_WHAT_KVM_CANNOT(exit);
    const CpuState state = engine().state();
    EXPECT_EQ(state.rip, place::handler.value + 2);
    EXPECT_EQ(value_at<std::uint64_t>({state.registers[rsp]}), place::code.value + 1);
    EXPECT_NE(value_at<std::uint64_t>({state.registers[rsp] + 16}) & rflags::tf, 0u);
    EXPECT_NE(state.dr6 & dr6::bs, 0u);
}

TEST_F(KvmStep, TheTrapFlagTrapsWithoutSteps) {
    put(place::code, {0x90, 0x90, 0x90, 0xf4});
    put(place::handler, {0x90, 0xf4});
    put_gate(1);
    CpuState start = long_state();
    start.rflags |= rflags::tf;
    const auto exit = run_from(start);
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_EQ(engine().state().rip, place::handler.value + 2);
    EXPECT_EQ(value_at<std::uint64_t>({engine().state().registers[rsp]}), place::code.value + 1);
}

}  // namespace
}  // namespace xenolith::cpu::test
