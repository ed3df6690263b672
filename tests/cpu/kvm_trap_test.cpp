// MSR exits, and the trap by both routes.
#include "tests/cpu/kvm_guest.hpp"

namespace xenolith::cpu::test {
namespace {

using testing::SizeIs;

constexpr std::initializer_list<unsigned> wrmsr_and_halt = {0x0f, 0x30,  // wrmsr
                                                            0xf4};       // hlt
using Kind = MsrOutcome::Kind;

class KvmTrap : public KvmTest {
  protected:
    void SetUp() override {
        KvmTest::SetUp();
        if (IsSkipped()) return;
        try {
            resolve_route(KvmDevice(), KvmRoute::msr_exit);
        } catch (const HostLimit& limit) {
            GTEST_SKIP() << limit.what();
        }
        make_trapping();
    }

    static CpuState writing(std::uint32_t index, std::uint64_t value) {
        CpuState state = long_state();
        state.registers[rcx] = index;
        state.registers[rax] = value & 0xffffffff;
        state.registers[rdx] = value >> 32;
        return state;
    }
    // #GP(0) ends in a handler that pops the error code and halts.
    void put_handler(unsigned vector) {
        put_gate(vector);
        put(place::handler, {0x5b, 0xf4});  // pop rbx; hlt
    }
};

TEST_F(KvmTrap, TheWriteReachesTheWorldAndGoesOn) {
    put(place::code, wrmsr_and_halt);
    world.on_msr = [](std::uint32_t) { return MsrOutcome{.kind = Kind::done}; };
    const auto exit = run_from(writing(trapped_msr, 0x123456789abc));
    SKIP_WHAT_KVM_CANNOT(exit);
    ASSERT_EQ(exit->reason, ExitReason::halted);
    ASSERT_THAT(world.msr_writes, SizeIs(1));
    EXPECT_EQ(world.msr_writes[0].where, trapped_msr);
    EXPECT_EQ(world.msr_writes[0].value, 0x123456789abcu);
    EXPECT_EQ(world.msr_writes[0].moment.rip, place::code.value);
    EXPECT_EQ(world.msr_writes[0].moment.mode, Mode::long64);
    EXPECT_FALSE(world.msr_implemented[0]);
    EXPECT_EQ(engine().state().rip, place::code.value + 3);
    EXPECT_EQ(engine().route(), KvmRoute::msr_exit);
}

TEST_F(KvmTrap, GeneralProtectionReachesTheGuest) {
    put(place::code, wrmsr_and_halt);
    put_handler(13);
    world.on_msr = [](std::uint32_t) { return MsrOutcome{.kind = Kind::general_protection}; };
    const auto exit = run_from(writing(trapped_msr, 1));
    SKIP_WHAT_KVM_CANNOT(exit);
    ASSERT_EQ(exit->reason, ExitReason::halted);
    const CpuState state = engine().state();
    EXPECT_EQ(state.rip, place::handler.value + 2);
    EXPECT_EQ(state.registers[rbx], 0u) << "the error code";
    EXPECT_EQ(value_at<std::uint64_t>({state.registers[rsp]}), place::code.value) << "the instruction itself";
}

TEST_F(KvmTrap, AStopLeavesTheGuestBeforeTheInstruction) {
    put(place::code, wrmsr_and_halt);
    world.on_msr = [](std::uint32_t) { return MsrOutcome{.kind = Kind::stop, .error_number = 14}; };
    const CpuState start = writing(trapped_msr, 0x5000);
    auto exit = run_from(start);
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_EQ(exit->reason, ExitReason::failed);
    EXPECT_EQ(exit->error_number, 14);
    CpuState state = engine().state();
    EXPECT_EQ(state.rip, place::code.value);
    EXPECT_EQ(state.registers, start.registers);
    // Nothing of the #GP that ended it is left: the same write succeeds when the world has changed its mind.
    world.on_msr = [](std::uint32_t) { return MsrOutcome{.kind = Kind::done}; };
    const Exit second = engine().run({});
    EXPECT_EQ(second.reason, ExitReason::halted);
    EXPECT_EQ(engine().state().rip, place::code.value + 3);
    EXPECT_THAT(world.msr_writes, SizeIs(2));
}

// The page may land on the WRMSR itself. What runs next is what lies behind it now, whatever the new bytes before mean.
TEST_F(KvmTrap, AWriteThatIsOverwrittenGoesOnBehindItself) {
    for (const unsigned filler : {0x90u, 0xccu, 0x0fu, 0x48u}) {  // nop, int3, and the starts of longer instructions
        put(place::code, {0x3e, 0x0f, 0x30, 0xf4, 0xf4, 0xf4});   // ds wrmsr; hlt
        world.on_msr = [&](std::uint32_t) {
            put(place::code, {filler, filler, filler, 0xb3, 0x07, 0xf4});  // ...; mov bl, 7; hlt
            return MsrOutcome{.kind = Kind::done};
        };
        const auto exit = run_from(writing(trapped_msr, 1));
        SKIP_WHAT_KVM_CANNOT(exit);
        EXPECT_EQ(exit->reason, ExitReason::halted);
        EXPECT_EQ(engine().state().registers[rbx], 7u) << std::hex << filler;
        EXPECT_EQ(engine().state().rip, place::code.value + 6) << std::hex << filler;
    }
}

TEST_F(KvmTrap, AnMsrThatNobodyHasIsAskedForAndFaults) {
    put(place::code, wrmsr_and_halt);
    put_handler(13);
    constexpr std::uint32_t unknown = 0x4fff1234;
    const auto exit = run_from(writing(unknown, 1));
    SKIP_WHAT_KVM_CANNOT(exit);
    ASSERT_THAT(world.msr_writes, SizeIs(1));
    EXPECT_EQ(world.msr_writes[0].where, unknown);
    EXPECT_EQ(engine().state().rip, place::handler.value + 2);
}

TEST_F(KvmTrap, AReadOfTheIndexFaultsUnlessTheWorldAnswers) {
    put(place::code, {0x0f, 0x32, 0xf4});  // rdmsr; hlt
    put_handler(13);
    auto exit = run_from(writing(trapped_msr, 0));
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_THAT(world.msr_reads, SizeIs(1));
    EXPECT_EQ(engine().state().rip, place::handler.value + 2);
    world.on_msr = [](std::uint32_t) { return MsrOutcome{.kind = Kind::done, .value = 0x1122334455667788}; };
    exit = run_from(writing(trapped_msr, 0));
    SKIP_WHAT_KVM_CANNOT(exit);
    const CpuState state = engine().state();
    EXPECT_EQ(state.registers[rax], 0x55667788u);
    EXPECT_EQ(state.registers[rdx], 0x11223344u);
}

// An index that the CPU implements itself: the world is asked first, and KVM writes it if the world does not
// want it.
TEST_F(KvmTrap, ARealMsrCanBeTheTrap) {
    put(place::code, wrmsr_and_halt);
    trap.msr = msr::lstar;
    auto exit = run_from(writing(msr::lstar, 0xffffffff81000000));
    SKIP_WHAT_KVM_CANNOT(exit);
    ASSERT_EQ(exit->reason, ExitReason::halted);
    ASSERT_THAT(world.msr_implemented, testing::ElementsAre(true));
    EXPECT_EQ(engine().state().msr.lstar, 0xffffffff81000000u);
    world.on_msr = [](std::uint32_t) { return MsrOutcome{.kind = Kind::done}; };
    exit = run_from(writing(msr::lstar, 0x1000));
    ASSERT_TRUE(exit);
    EXPECT_THAT(world.msr_writes, SizeIs(2));
    EXPECT_EQ(engine().state().msr.lstar, 0u) << "the world took it, and set_state had put 0 there";
}

TEST_F(KvmTrap, TheTrapMayMoveDuringARun) {
    put(place::code, {0xe6, 0x80,  // out 0x80, al
                      0x0f, 0x30,  // wrmsr
                      0xf4});
    trap.msr = 0;
    world.on_port_write = [&](CpuState&, LinearMemory&) { trap.msr = msr::cstar; };
    world.on_msr = [](std::uint32_t) { return MsrOutcome{.kind = Kind::done}; };
    const auto exit = run_from(writing(msr::cstar, 0x1000));
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_THAT(world.msr_writes, SizeIs(1));
    EXPECT_EQ(engine().state().msr.cstar, 0u);
}

// Without KVM's Xen part a VMCALL is KVM's own: it answers, and nobody else hears of it. (It may first write
// the other vendor's instruction over it.)
TEST_F(KvmTrap, ADirectHypercallDoesNotReachTheWorld) {
    trap.intercept_hypercalls = true;
    for (const unsigned last_byte : {0xc1u, 0xd9u}) {  // vmcall, vmmcall
        put(place::code, {0x0f, 0x01, last_byte, 0xf4});
        put_handler(6);
        CpuState start = long_state();
        start.registers[rax] = 17;
        engine().set_state(start);
        const auto exit = run_from(start, {.until_cycles = engine().cycles() + 100'000'000});
        SKIP_WHAT_KVM_CANNOT(exit);
        EXPECT_THAT(world.hypercalls, SizeIs(0));
        if (exit->reason == ExitReason::deadline) {
            std::printf("host: this KVM never gets past 0f 01 %02x\n", last_byte);
            EXPECT_EQ(engine().state().rip, place::code.value);
            continue;
        }
        EXPECT_EQ(exit->reason, ExitReason::halted);
        EXPECT_EQ(static_cast<std::int64_t>(engine().state().registers[rax]), -1000);
    }
}

// --- The ioctl route: only on a KVM with Xen support ------------------------------------------------------

class KvmIoctlTrap : public KvmTest {
  protected:
    void SetUp() override {
        KvmTest::SetUp();
        if (IsSkipped()) return;
        try {
            resolve_route(KvmDevice(), KvmRoute::ioctl);
        } catch (const HostLimit& limit) {
            GTEST_SKIP() << limit.what();
        }
        blob_64.assign(2 * mmu::page_size, 0x64);
        blob_32.assign(mmu::page_size, 0x32);
        trap.blob_address_64 = reinterpret_cast<std::uint64_t>(blob_64.data());
        trap.blob_address_32 = reinterpret_cast<std::uint64_t>(blob_32.data());
        trap.blob_pages_64 = 2;
        trap.blob_pages_32 = 1;
        KvmOptions options;
        options.route = KvmRoute::ioctl;
        options.trap = [this] { return trap; };
        make(std::move(options));
        put(place::code, wrmsr_and_halt);
    }
    static CpuState writing(std::uint64_t value) {
        CpuState state = long_state();
        state.registers[rcx] = trapped_msr;
        state.registers[rax] = value;
        return state;
    }

    std::vector<std::uint8_t> blob_32, blob_64;
};

TEST_F(KvmIoctlTrap, KvmCopiesThePage) {
    blob_64[mmu::page_size + 5] = 0x99;
    const auto exit = run_from(writing(place::data.value | 1));
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_EQ(exit->reason, ExitReason::halted);
    EXPECT_EQ(value_at<std::uint8_t>(place::data), 0x64);
    EXPECT_EQ(value_at<std::uint8_t>(place::data + 5), 0x99);
    EXPECT_THAT(world.msr_writes, SizeIs(0)) << "the kernel does it alone";
}

TEST_F(KvmIoctlTrap, RealModeGetsThe32BitBlob) {
    CpuState state = real_state();
    state.registers[rcx] = trapped_msr;
    state.registers[rax] = place::data.value;
    const auto exit = run_from(state);
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_EQ(value_at<std::uint8_t>(place::data + 4095), 0x32);
}

TEST_F(KvmIoctlTrap, AnIndexBeyondTheBlobIsAFault) {
    put_gate(13);
    put(place::handler, {0x5b, 0xf4});
    const auto exit = run_from(writing(place::data.value | 2));
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_EQ(engine().state().rip, place::handler.value + 2);
    EXPECT_EQ(value_at<std::uint8_t>(place::data), 0);
}

TEST_F(KvmIoctlTrap, AnUnreadableBlobFailsTheRun) {
    trap.blob_address_64 = 0x1000;
    auto exit = run_from(writing(place::data.value));
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_EQ(exit->reason, ExitReason::failed);
    EXPECT_EQ(exit->error_number, EFAULT);
    EXPECT_EQ(engine().state().rip, place::code.value);
    trap.blob_address_64 = reinterpret_cast<std::uint64_t>(blob_64.data());
    EXPECT_EQ(engine().run({}).reason, ExitReason::halted);
    EXPECT_EQ(value_at<std::uint8_t>(place::data), 0x64);
}

TEST_F(KvmIoctlTrap, InterceptedHypercallsReachTheWorld) {
    if (xen_capability(KvmDevice()) < 2) GTEST_SKIP() << "this KVM does not offer INTERCEPT_HCALL";
    trap = {.msr = trapped_msr, .intercept_hypercalls = true};
    // wrmsr; call [page + 17 * 32]; mov rbx, rax; hlt
    put(place::code, {0x0f, 0x30, 0xbf, 0x20, 0x22, 0x01, 0x00, 0xff, 0xd7, 0x48, 0x89, 0xc3, 0xf4});
    world.on_hypercall = [] { return HypercallOutcome{.kind = HypercallOutcome::Kind::done, .result = 0x40011}; };
    auto exit = run_from(writing(place::data.value));
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_EQ(exit->reason, ExitReason::halted);
    EXPECT_THAT(world.hypercalls, SizeIs(1));
    EXPECT_EQ(engine().state().registers[rbx], 0x40011u);

    world.on_hypercall = [] { return HypercallOutcome{.kind = HypercallOutcome::Kind::leave}; };
    exit = run_from(writing(place::data.value));
    ASSERT_TRUE(exit);
    EXPECT_EQ(exit->reason, ExitReason::hypercall);
    EXPECT_EQ(engine().state().rip, place::data.value + 0x220 + 5) << "at the VMCALL, behind MOV EAX";

    put_gate(6);
    put(place::handler, {0xf4});
    world.on_hypercall = [] { return HypercallOutcome{}; };
    exit = run_from(writing(place::data.value));
    ASSERT_TRUE(exit);
    EXPECT_EQ(engine().state().rip, place::handler.value + 1) << "#UD";
}

}  // namespace
}  // namespace xenolith::cpu::test
