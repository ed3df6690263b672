// Far jumps, calls and returns, call gates, and hardware task switches.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/cpu/system_guest.hpp"

namespace xenolith::test {

namespace {

using namespace cpu;
using Guest = SystemGuest;

constexpr std::uint64_t target = Guest::data;

void loop_at_target(Guest& guest) { guest.place(target, {0xeb, 0xfe}); }

// JMP or CALL ptr16:32 to a selector and the target.
void far_direct(Guest& guest, unsigned opcode, std::uint16_t selector, std::uint64_t instructions = 2,
                std::uint32_t offset = static_cast<std::uint32_t>(target)) {
    guest.run({opcode, offset & 0xff, offset >> 8 & 0xff, offset >> 16 & 0xff, offset >> 24, selector & 0xffu,
               static_cast<unsigned>(selector >> 8)},
              instructions);
}

constexpr unsigned jmp = 0xea, call = 0x9a;

TEST(FarJump, RealModeKeepsUnrealLimits) {
    Guest guest(Start::real);
    guest.state.segment(SegmentName::ds).limit = 0xffffffff;
    guest.state.segment(SegmentName::ds).attributes.bits |= SegmentAttributes::g;
    guest.place(0x20010, {0xb8, 0x00, 0x30, 0x8e, 0xd8, 0xf4});  // mov ax, 3000h; mov ds, ax; hlt
    guest.run({0xea, 0x10, 0x00, 0x00, 0x20});
    EXPECT_EQ(guest.state.segment(SegmentName::cs).selector, 0x2000);
    EXPECT_EQ(guest.state.segment(SegmentName::cs).base, 0x20000u);
    EXPECT_EQ(guest.state.segment(SegmentName::ds).base, 0x30000u);
    EXPECT_EQ(guest.state.segment(SegmentName::ds).limit, 0xffffffffu);
}

TEST(FarJump, SetsCodeSegmentAndAccessedBit) {
    Guest guest(Start::kernel32);
    loop_at_target(guest);
    guest.descriptor(Guest::spare, raw::code32 & ~(1ull << 40));
    far_direct(guest, jmp, Guest::spare);
    EXPECT_EQ(guest.state.rip, target);
    EXPECT_EQ(guest.state.segment(SegmentName::cs).selector, Guest::spare);
    EXPECT_EQ(guest.read<std::uint8_t>(Guest::gdt + Guest::spare + 5), 0x9b);
}

struct Refusal {
    const char* name;
    Start start;
    std::uint16_t selector;
    void (*prepare)(Guest&);
    int vector;
    std::uint32_t error_code;
    std::uint32_t offset = static_cast<std::uint32_t>(target);
};

class FarJumpRefusal : public testing::TestWithParam<Refusal> {};

TEST_P(FarJumpRefusal, RaisesWithErrorCode) {
    for (const unsigned opcode : {jmp, call}) {
        const Refusal& refusal = GetParam();
        Guest guest(refusal.start);
        refusal.prepare(guest);
        far_direct(guest, opcode, refusal.selector, 100, refusal.offset);
        EXPECT_EQ(guest.vector(), refusal.vector);
        EXPECT_EQ(guest.state.in_64bit_code() ? guest.stack<std::uint64_t>(0) : guest.stack<std::uint32_t>(0),
                  refusal.error_code);
    }
}

void nothing(Guest&) {}

INSTANTIATE_TEST_SUITE_P(
    Targets, FarJumpRefusal,
    testing::Values(
        Refusal{"null", Start::kernel32, 3, nothing, 13, 0},
        Refusal{"beyond_the_table", Start::kernel32, 0x1000, nothing, 13, 0x1000},
        Refusal{"local_without_table", Start::kernel32, 0xc, nothing, 13, 0xc},
        Refusal{"data", Start::kernel32, Guest::data32, nothing, 13, Guest::data32},
        Refusal{"outer_code", Start::kernel32, Guest::user_code32, nothing, 13, Guest::user_code32},
        Refusal{"inner_code", Start::user32, Guest::code32, nothing, 13, Guest::code32},
        Refusal{"rpl", Start::kernel32, Guest::code32 | 1, nothing, 13, Guest::code32},
        Refusal{"absent", Start::kernel32, Guest::spare, [](Guest& g) { g.descriptor(Guest::spare, raw::absent_code); },
                11, Guest::spare},
        Refusal{"offset_beyond_limit", Start::kernel32, Guest::code16, nothing, 13, 0, 0x10000},
        Refusal{"busy_task", Start::kernel32, Guest::task, nothing, 13, Guest::task},
        Refusal{"interrupt_gate", Start::kernel32, Guest::spare,
                [](Guest& g) { g.descriptor(Guest::spare, Guest::gate(0xee, Guest::code32, 0)); }, 13, Guest::spare},
        Refusal{"gate_privilege", Start::user32, Guest::spare,
                [](Guest& g) { g.descriptor(Guest::spare, Guest::gate(0x8c, Guest::code32, 0)); }, 13, Guest::spare},
        Refusal{"gate_absent", Start::kernel32, Guest::spare,
                [](Guest& g) { g.descriptor(Guest::spare, Guest::gate(0x6c, Guest::code32, 0)); }, 11, Guest::spare},
        Refusal{"gate_to_null", Start::kernel32, Guest::spare,
                [](Guest& g) { g.descriptor(Guest::spare, Guest::gate(0xec, 0, 0)); }, 13, 0},
        Refusal{"gate_to_data", Start::kernel32, Guest::spare,
                [](Guest& g) { g.descriptor(Guest::spare, Guest::gate(0xec, Guest::data32, 0)); }, 13, Guest::data32},
        Refusal{"both_sizes", Start::compatible32, Guest::spare,
                [](Guest& g) { g.descriptor(Guest::spare, raw::code64 | 0x40ull << 48); }, 13, Guest::spare},
        Refusal{"task_in_long_mode", Start::compatible32, Guest::spare,
                [](Guest& g) { g.descriptor(Guest::spare, Guest::system_descriptor(0x89, 0x1500, 0x67)); }, 13,
                Guest::spare}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(FarCall, PushesAndReturns) {
    Guest guest(Start::kernel32);
    guest.place(target, {0xcb});
    far_direct(guest, call, Guest::conforming32, 1);
    EXPECT_EQ(guest.stack<std::uint32_t>(0), Guest::code + 7);
    EXPECT_EQ(guest.stack<std::uint32_t>(1), Guest::code32);
    guest.resume(1);
    EXPECT_EQ(guest.state.rip, Guest::code + 7);
    EXPECT_EQ(guest.state.segment(SegmentName::cs).selector, Guest::code32);
    EXPECT_EQ(guest.state.registers[rsp], Guest::program_stack);
}

TEST(FarCall, GateToInnerLevelCopiesParameters) {
    Guest guest(Start::user32);
    guest.descriptor(Guest::spare, Guest::gate(0xec, Guest::code32, target, 2));
    guest.state.segment(SegmentName::ds) = flat_data_segment(0x1003, 3);  // not to be mistaken for SS
    guest.write(Guest::program_stack - 8, std::uint32_t{0x11111111});
    guest.write(Guest::program_stack - 4, std::uint32_t{0x22222222});
    guest.state.registers[rsp] -= 8;
    guest.place(target, {0xca, 8, 0});
    far_direct(guest, call, Guest::spare | 3, 1);
    EXPECT_EQ(guest.state.rip, target);
    EXPECT_EQ(guest.state.cpl(), 0u);
    EXPECT_EQ(guest.state.registers[rsp], Guest::kernel_stack - 24);
    EXPECT_EQ(guest.stack<std::uint32_t>(0), Guest::code + 7);
    EXPECT_EQ(guest.stack<std::uint32_t>(1), Guest::user_code32 | 3u);
    EXPECT_EQ(guest.stack<std::uint32_t>(2), 0x11111111u);
    EXPECT_EQ(guest.stack<std::uint32_t>(3), 0x22222222u);
    EXPECT_EQ(guest.stack<std::uint32_t>(4), Guest::program_stack - 8);
    EXPECT_EQ(guest.stack<std::uint32_t>(5), Guest::user_data32 | 3u);
    guest.state.segment(SegmentName::ds) = flat_data_segment(Guest::data32);
    guest.resume(1);  // RETF 8
    EXPECT_EQ(guest.state.rip, Guest::code + 7);
    EXPECT_EQ(guest.state.cpl(), 3u);
    EXPECT_EQ(guest.state.registers[rsp], Guest::program_stack) << "parameters are released from both stacks";
    EXPECT_TRUE(guest.state.segment(SegmentName::ds).attributes.unusable());
}

TEST(FarCall, GateInLongMode) {
    Guest guest(Start::user_compatible32);
    guest.descriptor(Guest::spare, Guest::gate(0xec, Guest::code64, target));
    guest.write(Guest::gdt + Guest::spare + 8, std::uint64_t{0});
    guest.place(target, {0x48, 0xcb});
    far_direct(guest, call, Guest::spare | 3, 1);
    EXPECT_EQ(guest.state.mode(), Mode::long64);
    EXPECT_EQ(guest.state.cpl(), 0u);
    EXPECT_EQ(guest.state.segment(SegmentName::ss).selector, 0);
    EXPECT_EQ(guest.stack<std::uint64_t>(0), Guest::code + 7);
    EXPECT_EQ(guest.stack<std::uint64_t>(2), Guest::program_stack);
    guest.resume(1);
    EXPECT_EQ(guest.state.mode(), Mode::compatibility);
    EXPECT_EQ(guest.state.cpl(), 3u);
    EXPECT_EQ(guest.state.rip, Guest::code + 7);
}

TEST(FarReturn, RefusesToReturnInward) {
    Guest guest(Start::user32);
    guest.state.registers[rsp] -= 8;
    guest.write(Guest::program_stack - 8, std::uint32_t{target});
    guest.write(Guest::program_stack - 4, std::uint32_t{Guest::code32});
    guest.run({0xcb});
    EXPECT_EQ(guest.vector(), 13);
    EXPECT_EQ(guest.stack<std::uint32_t>(0), Guest::code32);
}

TEST(FarJump, CompatibilityToLongAndBack) {
    Guest guest(Start::compatible32);
    // In 64-bit code: JMP far [rip+0] to m16:32.
    guest.place(target, {0xff, 0x2d, 0, 0, 0, 0, 0x00, 0x00, 0x03, 0x00, Guest::code32, 0x00});
    guest.place(0x30000, {0xf4});
    far_direct(guest, jmp, Guest::code64, 10);
    EXPECT_EQ(guest.state.mode(), Mode::compatibility);
    EXPECT_EQ(guest.state.rip, 0x30001u);
}

// --- Near branches
// ------------------------------------------------------------------------------------------------------

TEST(NearCall, BadTargetPushesNothing) {
    Guest guest(Start::kernel16);
    guest.state.segment(SegmentName::cs).limit = 0xfff;
    guest.run({0xe8, 0x00, 0x20});
    EXPECT_EQ(guest.vector(), 13);
    EXPECT_EQ(guest.state.registers[rsp], Guest::program_stack - 16) << "error code, EIP, CS and EFLAGS alone";
}

TEST(NearJump, SixteenBitOperandTruncates) {
    Guest guest(Start::kernel32);
    guest.place(0x10, {0xf4});
    guest.run({0x66, 0xe9, 0x0c, 0x00});  // to (10004h + 0Ch) AND FFFFH
    EXPECT_EQ(guest.state.rip, 0x11u);
}

TEST(Loop, CounterFollowsAddressSize) {
    Guest guest(Start::kernel64);
    guest.state.registers[rcx] = 0x100000003;
    guest.run({0x67, 0xe2, 0xfd, 0xf4});  // loop $ with ECX
    EXPECT_EQ(guest.state.registers[rcx], 0u);
    EXPECT_EQ(guest.state.rip, Guest::code + 4);
}

// --- Tasks
// ------------------------------------------------------------------------------------------------------------------

constexpr std::uint64_t other = Guest::other_task_state;

// A second 32-bit task in the spare descriptor, ready to run at the target in ring 0.
void add_task(Guest& guest, unsigned type_and_dpl = 0x89) {
    guest.descriptor(Guest::spare, Guest::system_descriptor(type_and_dpl, other, 0x67));
    guest.write(other + 0x20, static_cast<std::uint32_t>(target));
    guest.write(other + 0x24, std::uint32_t{2});
    guest.write(other + 0x28, std::uint32_t{0x12345678});           // EAX
    guest.write(other + 0x38, static_cast<std::uint32_t>(0x8800));  // ESP
    const std::uint16_t selectors[] = {Guest::data32, Guest::code32, Guest::data32, Guest::data32, 0, 0};
    for (unsigned n = 0; n < 6; ++n) guest.write(other + 0x48 + n * 4, selectors[n]);
}

std::uint8_t task_type(const Guest& guest, std::uint16_t selector) {
    return guest.read<std::uint8_t>(Guest::gdt + selector + 5);
}

TEST(TaskSwitch, JumpSavesAndLoads) {
    Guest guest(Start::kernel32);
    add_task(guest);
    loop_at_target(guest);
    guest.state.registers[rbx] = 0xb0b0b0b0;
    far_direct(guest, jmp, Guest::spare, 1);
    EXPECT_EQ(guest.state.rip, target);
    EXPECT_EQ(guest.state.registers[rax], 0x12345678u);
    EXPECT_EQ(guest.state.registers[rsp], 0x8800u);
    EXPECT_EQ(guest.state.tr.selector, Guest::spare);
    EXPECT_EQ(guest.state.cr0 & cr0::ts, cr0::ts);
    EXPECT_EQ(guest.state.rflags, 2u);
    EXPECT_EQ(task_type(guest, Guest::task), 0x89);
    EXPECT_EQ(task_type(guest, Guest::spare), 0x8b);
    EXPECT_EQ(guest.read<std::uint32_t>(Guest::task_state + 0x20), Guest::code + 7);
    EXPECT_EQ(guest.read<std::uint32_t>(Guest::task_state + 0x34), 0xb0b0b0b0u);
    EXPECT_EQ(guest.read<std::uint16_t>(Guest::task_state + 0x4c), Guest::code32);
}

TEST(TaskSwitch, CallNestsAndInterruptReturnComesBack) {
    Guest guest(Start::kernel32);
    add_task(guest);
    guest.place(target, {0xcf});
    far_direct(guest, call, Guest::spare, 1);
    EXPECT_EQ(guest.state.rflags & rflags::nt, rflags::nt);
    EXPECT_EQ(guest.read<std::uint16_t>(other), Guest::task);
    EXPECT_EQ(task_type(guest, Guest::task), 0x8b);
    guest.resume(1);
    EXPECT_EQ(guest.state.rip, Guest::code + 7);
    EXPECT_EQ(guest.state.tr.selector, Guest::task);
    EXPECT_EQ(guest.state.rflags & rflags::nt, 0u);
    EXPECT_EQ(task_type(guest, Guest::spare), 0x89);
    EXPECT_EQ(guest.read<std::uint32_t>(other + 0x24) & rflags::nt, 0u);
}

TEST(TaskSwitch, InterruptThroughTaskGatePushesErrorCode) {
    Guest guest(Start::user32);
    add_task(guest);
    loop_at_target(guest);
    guest.interrupt_gate(13, Guest::gate(0x85, Guest::spare, 0));
    guest.run({0xf4}, 1);  // HLT in ring 3
    guest.resume(1);
    EXPECT_EQ(guest.state.rip, target);
    EXPECT_EQ(guest.state.registers[rsp], 0x8800u - 4);
    EXPECT_EQ(guest.stack<std::uint32_t>(0), 0u);
    EXPECT_EQ(guest.read<std::uint32_t>(Guest::task_state + 0x20), Guest::code);
    EXPECT_EQ(guest.read<std::uint32_t>(Guest::task_state + 0x24) & rflags::rf, rflags::rf);
    EXPECT_EQ(guest.read<std::uint16_t>(other), Guest::task);
}

TEST(TaskSwitch, TrapBitRaisesDebugTrap) {
    Guest guest(Start::kernel32);
    add_task(guest);
    guest.write(other + 0x64, std::uint16_t{1});
    far_direct(guest, jmp, Guest::spare, 100);
    EXPECT_EQ(guest.vector(), 1);
    EXPECT_EQ(guest.state.dr6 & dr6::bt, dr6::bt);
    EXPECT_EQ(guest.stack<std::uint32_t>(0), target);
}

// A segment the new task cannot have is the new task's fault.
TEST(TaskSwitch, BadStackIsTheNewTasksFault) {
    Guest guest(Start::kernel32);
    add_task(guest);
    guest.write(other + 0x50, std::uint16_t{Guest::user_data32});  // SS
    guest.interrupt_gate(10, Guest::gate(0x85, Guest::spare2, 0));
    // The handler is a third task, since the second has no stack.
    guest.descriptor(Guest::spare2, Guest::system_descriptor(0x89, 0x1700, 0x67));
    for (unsigned n = 0; n < 0x68; ++n) guest.write(0x1700 + n, guest.read<std::uint8_t>(other + n));
    guest.write(0x1700 + 0x20, static_cast<std::uint32_t>(guest.handler(10)));
    guest.write(0x1700 + 0x50, std::uint16_t{Guest::data32});
    far_direct(guest, jmp, Guest::spare, 100);
    EXPECT_EQ(guest.vector(), 10);
    EXPECT_EQ(guest.stack<std::uint32_t>(0), Guest::user_data32);
    EXPECT_EQ(guest.read<std::uint16_t>(0x1700), Guest::spare) << "the link leads to the second task";
    EXPECT_EQ(guest.read<std::uint32_t>(other + 0x20), target) << "which has not moved";
    EXPECT_EQ(task_type(guest, Guest::task), 0x89) << "and the first is left for good";
}

TEST(TaskSwitch, ShortTaskStateIsTheOldTasksFault) {
    Guest guest(Start::kernel32);
    add_task(guest);
    guest.descriptor(Guest::spare, Guest::system_descriptor(0x89, other, 0x66));
    far_direct(guest, jmp, Guest::spare, 100);
    EXPECT_EQ(guest.vector(), 10);
    EXPECT_EQ(guest.stack<std::uint32_t>(0), Guest::spare);
    EXPECT_EQ(guest.stack<std::uint32_t>(1), Guest::code);
    EXPECT_EQ(guest.state.tr.selector, Guest::task);
}

TEST(TaskSwitch, SixteenBitTask) {
    Guest guest(Start::kernel32);
    guest.descriptor(Guest::spare, Guest::system_descriptor(0x81, other, 0x2b));
    guest.write(other + 0x0e, std::uint16_t{0x4444});
    guest.write(other + 0x10, std::uint16_t{0x202});
    guest.write(other + 0x12, std::uint16_t{0xaaaa});
    guest.write(other + 0x1a, std::uint16_t{0x8800});
    const std::uint16_t selectors[] = {Guest::data16, Guest::code16, Guest::data16, Guest::data16};
    for (unsigned n = 0; n < 4; ++n) guest.write(other + 0x22 + n * 2, selectors[n]);
    guest.place(0x4444, {0xeb, 0xfe});
    far_direct(guest, jmp, Guest::spare, 1);
    EXPECT_EQ(guest.state.rip, 0x4444u);
    EXPECT_EQ(guest.state.mode(), Mode::protected16);
    EXPECT_EQ(guest.state.registers[rax] & 0xffff, 0xaaaau);
    EXPECT_EQ(guest.state.rflags, 0x202u);
    EXPECT_TRUE(guest.state.segment(SegmentName::fs).attributes.unusable());
}

}  // namespace

}  // namespace xenolith::test
