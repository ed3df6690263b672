// The state both ways: what set_state is given, state() gives back.
#include "cpu/kvm/kvm_registers.hpp"
#include "tests/cpu/kvm_guest.hpp"

namespace xenolith::cpu::test {
namespace {

class KvmState : public KvmTest {};

// A long-mode state in which every field that KVM holds has a value of its own.
CpuState full_state(CpuState state) {
    for (unsigned n = 0; n < 16; ++n) state.registers[n] = 0x0101010101010101 * (n + 1);
    state.rip = 0x12345;
    state.rflags = rflags::fixed_one | rflags::cf | rflags::zf | rflags::df | rflags::iopl | rflags::ac | rflags::id;
    unsigned number = 0;
    for (const SegmentName name : {SegmentName::ds, SegmentName::es, SegmentName::ss}) {
        state.segment(name) = flat_data_segment(static_cast<std::uint16_t>(0x10 + 8 * number++));
    }
    state.segment(SegmentName::fs).base = 0x7fff12345000;
    state.segment(SegmentName::gs).base = 0xffff800000001000;
    state.segment(SegmentName::gs).selector = 0x2b;
    state.ldtr = {0x58, 0x123000, 0x7ff, {SegmentAttributes::present_bit | 2}};
    state.tr = {0x40, 0x456000, 0x67, {SegmentAttributes::present_bit | 0xb}};
    state.gdtr = {0x111000, 0x7f};
    state.idtr = {0x222000, 0xfff};
    state.cr2 = 0xdeadbeef000;
    state.cr8 = 5;
    state.debug_address = {0x1000, 0x2000, 0x3000, 0x4000};
    state.dr6 = dr6::fixed_ones | 5;
    state.dr7 = dr7::fixed_one | 0x000d0002;
    state.msr.star = 0x0023001000000000;
    state.msr.lstar = 0xffffffff81000000;
    state.msr.cstar = 0xffffffff81000100;
    state.msr.sfmask = 0x47700;
    state.msr.kernel_gs_base = 0xffff888000000000;
    state.msr.sysenter_cs = 0x10;
    state.msr.sysenter_esp = 0xffff888000001000;
    state.msr.sysenter_eip = 0xffffffff81000200;
    state.msr.pat = 0x0007010600070106;
    state.msr.tsc_offset = 0x123456789;
    FloatingPointState& unit = state.floating_point;
    unit.control = 0x037f;
    unit.status = 5 << 11 | 0x0041;  // top of stack 5
    unit.opcode = 0x2ab;
    unit.instruction_pointer = 0x123456;
    unit.data_pointer = 0x654321;
    unit.mxcsr = 0x1fa0;
    unit.tag = 0;
    for (unsigned n = 0; n < 8; ++n)
        unit.registers[n] = {0x8000000000000000 | n, static_cast<std::uint16_t>(0x3fff + n)};
    unit.registers[1] = {0, 0};                        // zero
    unit.registers[2] = {0x8000000000000000, 0x7fff};  // infinity
    unit.registers[3] = {1, 0};                        // denormal
    unit.tag = 1u << 2 | 2u << 4 | 2u << 6 | 3u << 12;
    for (unsigned n = 0; n < 16; ++n) unit.vector[n] = {n + 1, 0x100u + n, 0x200u + n, 0x300u + n};
    return state;
}

void expect_same_segment(const SegmentRegister& got, const SegmentRegister& wanted, const char* name) {
    EXPECT_EQ(got.selector, wanted.selector) << name;
    EXPECT_EQ(got.base, wanted.base) << name;
    EXPECT_EQ(got.limit, wanted.limit) << name;
    EXPECT_EQ(got.attributes.bits, wanted.attributes.bits) << name;
}

// Field by field, so that a difference names itself.
void expect_same(const CpuState& got, const CpuState& wanted) {
    for (unsigned n = 0; n < 16; ++n) EXPECT_EQ(got.registers[n], wanted.registers[n]) << "register " << n;
    EXPECT_EQ(got.rip, wanted.rip);
    EXPECT_EQ(got.rflags, wanted.rflags);
    constexpr const char* names[] = {"es", "cs", "ss", "ds", "fs", "gs"};
    for (unsigned n = 0; n < 6; ++n) expect_same_segment(got.segments[n], wanted.segments[n], names[n]);
    expect_same_segment(got.ldtr, wanted.ldtr, "ldtr");
    expect_same_segment(got.tr, wanted.tr, "tr");
    EXPECT_EQ(got.gdtr, wanted.gdtr);
    EXPECT_EQ(got.idtr, wanted.idtr);
    EXPECT_EQ(got.cr0, wanted.cr0);
    EXPECT_EQ(got.cr2, wanted.cr2);
    EXPECT_EQ(got.cr3, wanted.cr3);
    EXPECT_EQ(got.cr4, wanted.cr4);
    EXPECT_EQ(got.cr8, wanted.cr8);
    EXPECT_EQ(got.xcr0, wanted.xcr0);
    EXPECT_EQ(got.debug_address, wanted.debug_address);
    EXPECT_EQ(got.dr6, wanted.dr6);
    EXPECT_EQ(got.dr7, wanted.dr7);
    EXPECT_EQ(got.msr.efer, wanted.msr.efer);
    EXPECT_EQ(got.msr.star, wanted.msr.star);
    EXPECT_EQ(got.msr.lstar, wanted.msr.lstar);
    EXPECT_EQ(got.msr.cstar, wanted.msr.cstar);
    EXPECT_EQ(got.msr.sfmask, wanted.msr.sfmask);
    EXPECT_EQ(got.msr.kernel_gs_base, wanted.msr.kernel_gs_base);
    EXPECT_EQ(got.msr.sysenter_cs, wanted.msr.sysenter_cs);
    EXPECT_EQ(got.msr.sysenter_esp, wanted.msr.sysenter_esp);
    EXPECT_EQ(got.msr.sysenter_eip, wanted.msr.sysenter_eip);
    EXPECT_EQ(got.msr.tsc_offset, wanted.msr.tsc_offset);
    EXPECT_EQ(got.msr.apic_base, wanted.msr.apic_base);
    EXPECT_EQ(got.msr.pat, wanted.msr.pat);
    EXPECT_EQ(got.msr, wanted.msr) << "another MSR";
    const FloatingPointState &unit = got.floating_point, &expected = wanted.floating_point;
    EXPECT_EQ(unit.registers, expected.registers);
    EXPECT_EQ(unit.control, expected.control);
    EXPECT_EQ(unit.status, expected.status);
    EXPECT_EQ(unit.tag, expected.tag);
    EXPECT_EQ(unit.opcode, expected.opcode);
    EXPECT_EQ(unit.instruction_pointer, expected.instruction_pointer);
    EXPECT_EQ(unit.data_pointer, expected.data_pointer);
    EXPECT_EQ(unit.mxcsr, expected.mxcsr);
    EXPECT_EQ(unit.vector, expected.vector);
    EXPECT_EQ(got.activity, wanted.activity);
    EXPECT_EQ(got.interrupt_shadow, wanted.interrupt_shadow);
    EXPECT_EQ(got.nmi_blocked, wanted.nmi_blocked);
    EXPECT_EQ(got.nmi_pending, wanted.nmi_pending);
}

TEST_F(KvmState, LongModeComesBackAsItWasGiven) {
    const CpuState wanted = full_state(long_state());
    engine().set_state(wanted);
    expect_same(engine().state(), wanted);
    EXPECT_EQ(engine().state(), wanted);
}

TEST_F(KvmState, ResetComesBackAsItWasGiven) {
    engine().set_state(reset_state());
    expect_same(engine().state(), reset_state());
}

TEST_F(KvmState, AnEngineStartsInTheResetState) { expect_same(engine().state(), reset_state()); }

TEST_F(KvmState, RealModeComesBackAsItWasGiven) {
    CpuState wanted = real_state();
    wanted.segment(SegmentName::ds) = real_mode_segment(0x1234);
    engine().set_state(wanted);
    expect_same(engine().state(), wanted);
}

TEST_F(KvmState, ProtectedModeComesBackAsItWasGiven) {
    CpuState wanted = long_state();
    wanted.cr0 = cr0::pe | cr0::et | cr0::ne;
    wanted.cr4 = 0;
    wanted.msr.efer = 0;
    wanted.segment(SegmentName::cs) = flat_code_segment(0x08, 32);
    engine().set_state(wanted);
    expect_same(engine().state(), wanted);
}

// Some KVMs take paging outside long mode and then cannot run the guest. The engine knows beforehand, and
// says so.
TEST_F(KvmState, PagingOutsideLongModeIsEitherRunOrRefused) {
    constexpr std::uint32_t present_writable = 3, table = 0x20000;
    put_value<std::uint32_t>({place::data.value + 0x1000}, table + present_writable);  // the directory
    for (std::uint32_t n = 0; n < 128; ++n) put_value<std::uint32_t>({table + n * 4}, n * 4096 + present_writable);
    put(place::code, {0x8b, 0x07, 0xf4});  // mov eax, [edi]; hlt
    put_value<std::uint32_t>(place::data, 0x1234);
    CpuState start = long_state();
    start.cr0 = cr0::pe | cr0::et | cr0::ne | cr0::pg;
    start.cr3 = place::data.value + 0x1000;
    start.cr4 = 0;
    start.msr.efer = 0;
    start.segment(SegmentName::cs) = flat_code_segment(0x08, 32);
    start.registers[rdi] = place::data.value;
    try {
        engine().set_state(start);
    } catch (const HostLimit& limit) {
        EXPECT_EQ(limit.kind(), HostLimit::Kind::state);
        GTEST_SKIP() << limit.what();
    }
    EXPECT_EQ(engine().run({}).reason, ExitReason::halted);
    EXPECT_EQ(engine().state().registers[rax], 0x1234u);
}

// The same if the guest turns it on itself: no triple fault of its own making.
TEST_F(KvmState, PagingThatTheGuestTurnsOnIsEitherRunOrRefused) {
    put(place::code, {0x0f, 0x22, 0xc0, 0xf4});  // mov cr0, eax; hlt
    constexpr std::uint32_t present_writable = 3, table = 0x20000;
    put_value<std::uint32_t>({place::data.value + 0x1000}, table + present_writable);
    for (std::uint32_t n = 0; n < 128; ++n) put_value<std::uint32_t>({table + n * 4}, n * 4096 + present_writable);
    CpuState start = long_state();
    start.cr0 = cr0::pe | cr0::et | cr0::ne;
    start.cr3 = place::data.value + 0x1000;
    start.cr4 = 0;
    start.msr.efer = 0;
    start.idtr.limit = 0;
    start.segment(SegmentName::cs) = flat_code_segment(0x08, 32);
    start.registers[rax] = start.cr0 | cr0::pg;
    const auto exit = run_from(start);
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_EQ(exit->reason, ExitReason::halted);
    EXPECT_TRUE(engine().state().paging());
}

TEST_F(KvmState, EventsThatWaitComeBack) {
    CpuState wanted = long_state();
    wanted.nmi_blocked = true;
    wanted.nmi_pending = true;
    wanted.interrupt_shadow = true;
    wanted.rflags |= rflags::if_;
    engine().set_state(wanted);
    expect_same(engine().state(), wanted);
    wanted.nmi_blocked = wanted.nmi_pending = wanted.interrupt_shadow = false;
    engine().set_state(wanted);
    expect_same(engine().state(), wanted);
}

TEST_F(KvmState, EveryTopOfStackKeepsRegistersByTheirNumber) {
    for (unsigned top = 0; top < 8; ++top) {
        CpuState wanted = full_state(long_state());
        wanted.floating_point.status = static_cast<std::uint16_t>(top << 11);
        engine().set_state(wanted);
        EXPECT_EQ(engine().state().floating_point.registers, wanted.floating_point.registers) << top;
        EXPECT_EQ(engine().state().floating_point.tag, wanted.floating_point.tag) << top;
    }
}

TEST_F(KvmState, AStateThatNoCpuHasIsRefusedInOneLine) {
    CpuState bad = long_state();
    bad.cr4 = ~std::uint64_t{0};
    try {
        engine().set_state(bad);
        FAIL() << "it was taken";
    } catch (const HostLimit& limit) {
        EXPECT_EQ(limit.kind(), HostLimit::Kind::state);
        EXPECT_THAT(limit.what(), testing::StartsWith("KVM_SET_SREGS"));
        EXPECT_THAT(limit.what(), testing::Not(testing::HasSubstr("\n")));
    }
    engine().set_state(long_state());
    expect_same(engine().state(), long_state());
}

// ST(0) is the register that the top of the stack names. The guest's own image is the judge: reading back
// would hide a mistake that is made both ways.
TEST_F(KvmState, TheGuestSeesTheStackWhereItsTopIs) {
    put(place::code, {0x48, 0x0f, 0xae, 0x07, 0xf4});  // fxsave64 [rdi]; hlt
    CpuState start = full_state(long_state());
    start.rip = place::code.value;
    start.rflags = rflags::fixed_one;
    start.segment(SegmentName::ss) = start.segment(SegmentName::ds) = flat_data_segment(0x10);
    start.gdtr = {place::descriptors.value, 0x37};
    start.idtr = {place::gates.value, 0xfff};
    start.dr7 = dr7::fixed_one;
    start.registers[rdi] = place::data.value;
    const auto exit = run_from(start);
    SKIP_WHAT_KVM_CANNOT(exit);
    ASSERT_EQ(exit->reason, ExitReason::halted);
    constexpr std::uint64_t first_register = 32, register_size = 16;
    for (unsigned n = 0; n < 8; ++n) {
        const mmu::GuestPhysical at = place::data + first_register + n * register_size;
        EXPECT_EQ(value_at<std::uint64_t>(at), start.floating_point.registers[(5 + n) & 7].significand) << n;
    }
    constexpr std::uint64_t abridged_tag = 4;
    EXPECT_EQ(value_at<std::uint8_t>(place::data + abridged_tag), 0xbf) << "register 6 is empty";
}

TEST_F(KvmState, TheGuestSeesWhatItWasGiven) {
    // movups [rdi], xmm5; mov rax, cr2; mov rbx, dr1; hlt
    put(place::code, {0x0f, 0x11, 0x2f, 0x0f, 0x20, 0xd0, 0x0f, 0x21, 0xcb, 0xf4});
    CpuState start = long_state();
    start.floating_point.vector[5] = {0x1111, 0x2222, 0, 0};
    start.cr2 = 0xabc000;
    start.debug_address[1] = 0x4444;
    start.registers[rdi] = place::data.value;
    const auto exit = run_from(start);
    SKIP_WHAT_KVM_CANNOT(exit);
    EXPECT_EQ(value_at<std::uint64_t>(place::data), 0x1111u);
    EXPECT_EQ(value_at<std::uint64_t>(place::data + 8), 0x2222u);
    EXPECT_EQ(engine().state().registers[rax], 0xabc000u);
    EXPECT_EQ(engine().state().registers[rbx], 0x4444u);
}

}  // namespace
}  // namespace xenolith::cpu::test
