// Interrupts and exceptions: which handler, which frame, which error code, and what a failed delivery
// becomes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cpu/exceptions/delivery.hpp"
#include "tests/cpu/system_guest.hpp"

namespace xenolith::test {

namespace {

using namespace cpu;
using Guest = SystemGuest;

constexpr std::uint64_t start_flags = rflags::fixed_one | rflags::if_;

// --- Frames
// ---------------------------------------------------------------------------------------------------------

TEST(Delivery, RealModePushesThreeWords) {
    Guest guest(Start::real);
    guest.run({0xcd, 0x21});
    EXPECT_EQ(guest.vector(), 0x21);
    EXPECT_EQ(guest.stack<std::uint16_t>(0), 2);
    EXPECT_EQ(guest.stack<std::uint16_t>(1), Guest::code >> 4);
    EXPECT_EQ(guest.stack<std::uint16_t>(2), start_flags);
    EXPECT_EQ(guest.state.rflags & rflags::if_, 0u);
}

TEST(Delivery, RealModeVectorBeyondTheTableIsShutdownInTheEnd) {
    Guest guest(Start::real);
    guest.state.idtr.limit = 0x1f;  // not even #DF has an entry
    EXPECT_EQ(guest.run({0xcd, 0x21}), ExitReason::shutdown);
}

TEST(Delivery, SameLevelKeepsTheStack) {
    Guest guest(Start::kernel32);
    guest.run({0x0f, 0x0b});
    EXPECT_EQ(guest.vector(), 6);
    EXPECT_EQ(guest.state.registers[rsp], Guest::program_stack - 12);
    EXPECT_EQ(guest.stack<std::uint32_t>(0), Guest::code);
    EXPECT_EQ(guest.stack<std::uint32_t>(1), Guest::code32);
    EXPECT_EQ(guest.stack<std::uint32_t>(2), start_flags | rflags::rf);
}

TEST(Delivery, InnerLevelChangesTheStack) {
    Guest guest(Start::user32);
    guest.run({0xcd, 0x80});
    EXPECT_EQ(guest.vector(), 0x80);
    EXPECT_EQ(guest.state.cpl(), 0u);
    EXPECT_EQ(guest.state.segment(SegmentName::ss).selector, Guest::data32);
    EXPECT_EQ(guest.state.registers[rsp], Guest::kernel_stack - 20);
    EXPECT_EQ(guest.stack<std::uint32_t>(0), Guest::code + 2);
    EXPECT_EQ(guest.stack<std::uint32_t>(1), Guest::user_code32 | 3u);
    EXPECT_EQ(guest.stack<std::uint32_t>(2), start_flags);
    EXPECT_EQ(guest.stack<std::uint32_t>(3), Guest::program_stack);
    EXPECT_EQ(guest.stack<std::uint32_t>(4), Guest::user_data32 | 3u);
}

TEST(Delivery, TrapGateKeepsInterruptsEnabled) {
    Guest guest(Start::kernel32);
    guest.interrupt_gate(0x80, Guest::gate(0xef, Guest::code32, guest.handler(0x80)));
    guest.run({0xcd, 0x80});
    EXPECT_EQ(guest.state.rflags & rflags::if_, rflags::if_);
}

TEST(Delivery, SixteenBitGatePushesWords) {
    Guest guest(Start::kernel32);
    guest.interrupt_gate(0x80, Guest::gate(0xe6, Guest::code32, 0xdead0000 | guest.handler(0x80)));
    guest.run({0xcd, 0x80});
    EXPECT_EQ(guest.vector(), 0x80);
    EXPECT_EQ(guest.state.registers[rsp], Guest::program_stack - 6);
    EXPECT_EQ(guest.stack<std::uint16_t>(1), Guest::code32);
}

TEST(Delivery, ConformingHandlerRunsAtTheCallersLevel) {
    Guest guest(Start::user32);
    guest.interrupt_gate(0x80, Guest::gate(0xee, Guest::conforming32, Guest::data));
    guest.place(Guest::data, {0xeb, 0xfe});
    guest.run({0xcd, 0x80}, 3);
    EXPECT_EQ(guest.state.rip, Guest::data);
    EXPECT_EQ(guest.state.cpl(), 3u);
    EXPECT_EQ(guest.state.segment(SegmentName::cs).selector, Guest::conforming32 | 3u);
    EXPECT_EQ(guest.stack<std::uint32_t>(0), Guest::code + 2);
}

TEST(Delivery, LongModeAlignsTheStackAndPushesItAlways) {
    Guest guest(Start::kernel64);
    guest.state.registers[rsp] = Guest::program_stack - 3;
    guest.run({0xcd, 0x80});
    EXPECT_EQ(guest.vector(), 0x80);
    EXPECT_EQ(guest.state.registers[rsp], ((Guest::program_stack - 3) & ~15ull) - 40);
    EXPECT_EQ(guest.stack<std::uint64_t>(0), Guest::code + 2);
    EXPECT_EQ(guest.stack<std::uint64_t>(1), Guest::code64);
    EXPECT_EQ(guest.stack<std::uint64_t>(3), Guest::program_stack - 3);
    EXPECT_EQ(guest.stack<std::uint64_t>(4), Guest::data32);
    EXPECT_EQ(guest.state.segment(SegmentName::ss).selector, Guest::data32);
}

TEST(Delivery, LongModeInnerLevelHasNullStackSegment) {
    for (const Start start : {Start::user64, Start::user_compatible32}) {
        Guest guest(start);
        guest.run({0xcd, 0x80});
        EXPECT_EQ(guest.vector(), 0x80);
        EXPECT_EQ(guest.state.mode(), Mode::long64);
        EXPECT_EQ(guest.state.cpl(), 0u);
        EXPECT_EQ(guest.state.segment(SegmentName::ss).selector, 0);
        EXPECT_TRUE(guest.state.segment(SegmentName::ss).attributes.unusable());
        EXPECT_EQ(guest.state.registers[rsp], Guest::kernel_stack - 40);
        EXPECT_EQ(guest.stack<std::uint64_t>(4), Guest::user_data32 | 3u);
    }
}

TEST(Delivery, InterruptStackTableIsUsedEvenAtTheSameLevel) {
    Guest guest(Start::kernel64);
    guest.interrupt_gate(0x80, Guest::gate(0xee, Guest::code64, guest.handler(0x80), 1));
    guest.run({0xcd, 0x80});
    EXPECT_EQ(guest.state.registers[rsp], Guest::interrupt_stack - 40);
    EXPECT_EQ(guest.state.segment(SegmentName::ss).selector, Guest::data32);
}

TEST(Delivery, Vm86SavesAndClearsDataSegments) {
    Guest guest(Start::vm86);
    guest.state.segment(SegmentName::ds) = real_mode_segment(0x1111);
    guest.state.segment(SegmentName::gs) = real_mode_segment(0x2222);
    guest.run({0xcd, 0x21});
    EXPECT_EQ(guest.vector(), 0x21);
    EXPECT_EQ(guest.state.mode(), Mode::protected32);
    EXPECT_EQ(guest.state.registers[rsp], Guest::kernel_stack - 36);
    EXPECT_EQ(guest.stack<std::uint32_t>(0), 2u);
    EXPECT_EQ(guest.stack<std::uint32_t>(1), Guest::code >> 4);
    EXPECT_EQ(guest.stack<std::uint32_t>(2), start_flags | rflags::vm | rflags::iopl);
    EXPECT_EQ(guest.stack<std::uint32_t>(6), 0x1111u);
    EXPECT_EQ(guest.stack<std::uint32_t>(8), 0x2222u);
    EXPECT_EQ(guest.state.segment(SegmentName::ds).selector, 0);
    EXPECT_TRUE(guest.state.segment(SegmentName::ds).attributes.unusable());
}

TEST(Delivery, Vm86InterruptNeedsInputOutputPrivilege) {
    Guest guest(Start::vm86);
    guest.state.rflags &= ~rflags::iopl;
    guest.run({0xcd, 0x21});
    EXPECT_EQ(guest.vector(), 13);
    EXPECT_EQ(guest.stack<std::uint32_t>(0), 0u);  // error code
    EXPECT_EQ(guest.stack<std::uint32_t>(1), 0u);  // IP of the INT itself
}

TEST(Delivery, Vm86RedirectsThroughTheBitmap) {
    Guest guest(Start::vm86);
    guest.state.cr4 |= cr4::vme;
    guest.state.rflags = (guest.state.rflags & ~rflags::iopl) | rflags::vif;
    guest.state.tr.limit = 0x200;
    guest.write(Guest::task_state + 0x66, std::uint16_t{0x88});  // 32 clear bytes of redirection map below it
    guest.write(0x21 * 4, std::uint32_t{0x20000000});
    guest.place(0x20000, {0xeb, 0xfe});
    guest.run({0xcd, 0x21}, 3);
    EXPECT_EQ(guest.state.mode(), Mode::vm86);
    EXPECT_EQ(guest.state.segment(SegmentName::cs).selector, 0x2000);
    EXPECT_EQ(guest.stack<std::uint16_t>(2) & (rflags::if_ | rflags::iopl), rflags::if_ | rflags::iopl);
    EXPECT_EQ(guest.state.rflags & (rflags::vif | rflags::if_), rflags::if_);
}

// SDM vol. 3B, 20.3.3.4 and 20.3.3.5: what happens to the flags.
TEST(Delivery, Vm86RedirectionLeavesTheNestedTaskFlag) {
    for (const std::uint64_t level : {std::uint64_t{0}, rflags::iopl}) {
        Guest guest(Start::vm86);
        guest.state.cr4 |= cr4::vme;
        guest.state.rflags = (guest.state.rflags & ~rflags::iopl) | level | rflags::vif | rflags::nt;
        guest.state.tr.limit = 0x200;
        guest.write(Guest::task_state + 0x66, std::uint16_t{0x88});
        guest.write(0x21 * 4, std::uint32_t{0x20000000});
        guest.place(0x20000, {0xeb, 0xfe});
        guest.run({0xcd, 0x21}, 3);
        constexpr std::uint64_t shown = rflags::nt | rflags::vif | rflags::if_;
        EXPECT_EQ(guest.state.segment(SegmentName::cs).selector, 0x2000);
        EXPECT_EQ(guest.stack<std::uint16_t>(2) & shown, rflags::nt | rflags::if_);
        EXPECT_EQ(guest.state.rflags & shown, rflags::nt | (level == 0 ? rflags::if_ : rflags::vif));
    }
}

// --- What a bad gate, segment or stack raises (SDM vol. 2A, INT n)
// --------------------------------------------------------

struct Refusal {
    const char* name;
    Start start;
    void (*prepare)(Guest&);
    int vector;
    std::uint32_t error_code;
    bool external = false;  // #UD instead of INT 80H: EXT is set
};

std::ostream& operator<<(std::ostream& out, const Refusal& refusal) { return out << refusal.name; }

class DeliveryRefusal : public testing::TestWithParam<Refusal> {};

TEST_P(DeliveryRefusal, RaisesWithErrorCode) {
    const Refusal& refusal = GetParam();
    Guest guest(refusal.start);
    refusal.prepare(guest);
    if (refusal.external)
        guest.run({0x0f, 0x0b});
    else
        guest.run({0xcd, 0x80});
    EXPECT_EQ(guest.vector(), refusal.vector);
    const bool wide = guest.state.in_64bit_code();
    EXPECT_EQ(wide ? guest.stack<std::uint64_t>(0) : guest.stack<std::uint32_t>(0), refusal.error_code);
    EXPECT_EQ(wide ? guest.stack<std::uint64_t>(1) : guest.stack<std::uint32_t>(1), Guest::code);
}

void set_gate(Guest& guest, std::uint64_t value) {
    guest.interrupt_gate(0x80, value);
    guest.interrupt_gate(6, value);
}

constexpr std::uint32_t named_80 = 0x80 * 8 + 2, named_6 = 6 * 8 + 2 + 1;

INSTANTIATE_TEST_SUITE_P(
    Gates, DeliveryRefusal,
    testing::Values(
        Refusal{"beyond_the_limit", Start::kernel32, [](Guest& g) { g.state.idtr.limit = 0x7f * 8; }, 13, named_80},
        Refusal{"not_a_gate", Start::kernel32, [](Guest& g) { set_gate(g, raw::code32); }, 13, named_80},
        Refusal{"not_a_gate_external", Start::kernel32, [](Guest& g) { set_gate(g, raw::code32); }, 13, named_6, true},
        Refusal{"not_present", Start::kernel32, [](Guest& g) { set_gate(g, Guest::gate(0x6e, Guest::code32, 0)); }, 11,
                named_80},
        Refusal{"privilege", Start::user32, [](Guest& g) { set_gate(g, Guest::gate(0x8e, Guest::code32, 0)); }, 13,
                named_80},
        Refusal{"null_code", Start::kernel32, [](Guest& g) { set_gate(g, Guest::gate(0xee, 0, 0)); }, 13, 0},
        Refusal{"null_code_external", Start::kernel32, [](Guest& g) { set_gate(g, Guest::gate(0xee, 0, 0)); }, 13, 1,
                true},
        Refusal{"code_beyond_table", Start::kernel32, [](Guest& g) { set_gate(g, Guest::gate(0xee, 0x1000, 0)); }, 13,
                0x1000},
        Refusal{"data_as_code", Start::kernel32, [](Guest& g) { set_gate(g, Guest::gate(0xee, Guest::data32, 0)); }, 13,
                Guest::data32},
        Refusal{"outer_code", Start::kernel32, [](Guest& g) { set_gate(g, Guest::gate(0xee, Guest::user_code32, 0)); },
                13, Guest::user_code32},
        Refusal{"absent_code", Start::kernel32,
                [](Guest& g) {
                    g.descriptor(Guest::spare, raw::absent_code);
                    set_gate(g, Guest::gate(0xee, Guest::spare, 0));
                },
                11, Guest::spare},
        Refusal{"offset_beyond_limit", Start::kernel32,
                [](Guest& g) { set_gate(g, Guest::gate(0xee, Guest::code16, 0x10000)); }, 13, 0},
        Refusal{"narrow_code_in_long_mode", Start::kernel64,
                [](Guest& g) { set_gate(g, Guest::gate(0xee, Guest::code32, 0)); }, 13, Guest::code32},
        Refusal{"narrow_gate_in_long_mode", Start::kernel64,
                [](Guest& g) { set_gate(g, Guest::gate(0xe6, Guest::code64, 0)); }, 13, named_80},
        Refusal{"offset_not_canonical", Start::kernel64,
                [](Guest& g) { g.write(Guest::gates + 0x80 * 16 + 8, std::uint64_t{0x8000}); }, 13, 0}),
    [](const auto& test) { return std::string(test.param.name); });

// The stack of an inner level is refused with #TS or #SS; the handlers of those run on a good one, through a
// task whose other stacks stay usable: ring 1's bad stack is entered from ring 3.
struct StackRefusal {
    const char* name;
    void (*prepare)(Guest&);
    std::uint16_t selector;
    int vector;
    std::uint32_t error_code;
};

class InnerStackRefusal : public testing::TestWithParam<StackRefusal> {};

TEST_P(InnerStackRefusal, RaisesWithErrorCode) {
    const StackRefusal& refusal = GetParam();
    Guest guest(Start::user32);
    guest.descriptor(Guest::spare, 0x00cfbb000000ffff);  // code, DPL 1
    guest.interrupt_gate(0x80, Guest::gate(0xee, Guest::spare, 0x100));
    guest.write(Guest::task_state + 12, std::uint32_t{0x7800});
    guest.write(Guest::task_state + 16, refusal.selector);
    refusal.prepare(guest);
    guest.run({0xcd, 0x80});
    EXPECT_EQ(guest.vector(), refusal.vector);
    EXPECT_EQ(guest.stack<std::uint32_t>(0), refusal.error_code);
    EXPECT_EQ(guest.stack<std::uint32_t>(1), Guest::code);
    EXPECT_EQ(guest.stack<std::uint32_t>(4), Guest::program_stack);
}

constexpr std::uint64_t data_dpl1 = 0x00cfb3000000ffff;

INSTANTIATE_TEST_SUITE_P(
    Stacks, InnerStackRefusal,
    testing::Values(StackRefusal{"null", [](Guest&) {}, 0, 10, 0},
                    StackRefusal{"beyond_the_table", [](Guest&) {}, 0x1001, 10, 0x1000},
                    StackRefusal{"wrong_rpl", [](Guest& g) { g.descriptor(Guest::spare2, data_dpl1); },
                                 Guest::spare2 | 2, 10, Guest::spare2},
                    StackRefusal{"wrong_dpl", [](Guest&) {}, Guest::data32 | 1, 10, Guest::data32},
                    StackRefusal{"read_only", [](Guest& g) { g.descriptor(Guest::spare2, data_dpl1 & ~(2ull << 40)); },
                                 Guest::spare2 | 1, 10, Guest::spare2},
                    StackRefusal{"absent", [](Guest& g) { g.descriptor(Guest::spare2, data_dpl1 & ~(0x80ull << 40)); },
                                 Guest::spare2 | 1, 12, Guest::spare2},
                    StackRefusal{"no_room",
                                 [](Guest& g) {
                                     g.descriptor(Guest::spare2, data_dpl1 & ~(0x80ull << 48));
                                     g.write(Guest::task_state + 12, std::uint32_t{8});
                                 },
                                 Guest::spare2 | 1, 12, Guest::spare2},
                    StackRefusal{"task_limit", [](Guest& g) { g.state.tr.limit = 16; }, Guest::spare2 | 1, 10,
                                 Guest::task}),
    [](const auto& test) { return std::string(test.param.name); });

// --- Chains
// ---------------------------------------------------------------------------------------------------------------

TEST(Delivery, PageFaultSetsCr2AndErrorCode) {
    Guest guest(Start::kernel64);
    guest.state.registers[rax] = 0x200123;
    guest.run({0x88, 0x00});  // mov [rax], al
    EXPECT_EQ(guest.vector(), 14);
    EXPECT_EQ(guest.state.cr2, 0x200123u);
    EXPECT_EQ(guest.stack<std::uint64_t>(0), 2u);
}

TEST(Delivery, NmiBlocksNmiUntilInterruptReturn) {
    Guest guest(Start::kernel64);
    guest.place(guest.handler(2), {0x90, 0x48, 0xcf});  // nop; iretq
    guest.place(Guest::code, {0x90, 0x90, 0xf4});
    guest.engine.set_state(guest.state);
    guest.engine.raise_nmi();
    guest.engine.run({.instructions = 1});
    EXPECT_TRUE(guest.engine.state().nmi_blocked);
    guest.engine.raise_nmi();
    guest.engine.run({.instructions = 1});
    EXPECT_FALSE(guest.engine.state().nmi_blocked);
    guest.engine.run({.instructions = 1});
    EXPECT_TRUE(guest.engine.state().nmi_blocked);
}

Event exception(unsigned vector) { return {.vector = static_cast<std::uint8_t>(vector), .kind = Event::Kind::fault}; }
Fault fault(unsigned vector) { return {static_cast<Vector>(vector), std::nullopt}; }

// SDM vol. 3A, table 6-5.
TEST(Combination, FollowsTheTable) {
    constexpr unsigned benign[] = {1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19}, contributory[] = {0, 10, 11, 12, 13};
    for (const unsigned second : contributory) {
        for (const unsigned first : benign) EXPECT_EQ(combine(exception(first), fault(second)).vector, second);
        for (const unsigned first : contributory) EXPECT_EQ(combine(exception(first), fault(second)).vector, 8);
        EXPECT_EQ(combine(exception(14), fault(second)).vector, 8);
        EXPECT_THROW(combine(exception(8), fault(second)), TripleFault);
    }
    for (const unsigned first : contributory) EXPECT_EQ(combine(exception(first), fault(14)).vector, 14);
    EXPECT_EQ(combine(exception(14), fault(14)).vector, 8);
    EXPECT_EQ(combine(exception(14), fault(14)).error_code, 0u);
    EXPECT_THROW(combine(exception(8), fault(14)), TripleFault);
    for (const unsigned second : benign) {
        EXPECT_EQ(combine(exception(13), fault(second)).vector, second);
        EXPECT_EQ(combine(exception(14), fault(second)).vector, second);
    }
    const Event interrupt{.vector = 13, .kind = Event::Kind::external};
    EXPECT_EQ(combine(interrupt, fault(13)).vector, 13) << "an interrupt is benign, whatever its vector";
}

TEST(Delivery, DoubleFaultThenShutdown) {
    Guest guest(Start::kernel64);
    guest.interrupt_gate(6, 0);   // #UD cannot be delivered: #GP, benign first
    guest.interrupt_gate(13, 0);  // #GP neither: #GP on #GP is a double fault
    guest.run({0x0f, 0x0b});
    EXPECT_EQ(guest.vector(), 8);
    EXPECT_EQ(guest.stack<std::uint64_t>(0), 0u);
    Guest lost(Start::kernel64);
    for (const unsigned vector : {6u, 13u, 8u}) lost.interrupt_gate(vector, 0);
    EXPECT_EQ(lost.run({0x0f, 0x0b}), ExitReason::shutdown);
}

// --- IRET
// -----------------------------------------------------------------------------------------------------------------

template <class T>
void push_frame(Guest& guest, std::initializer_list<std::uint64_t> from_top) {
    guest.state.registers[rsp] = Guest::program_stack - 0x100;
    std::uint64_t at = guest.state.registers[rsp];
    for (const std::uint64_t item : from_top) {
        guest.write(at, static_cast<T>(item));
        at += sizeof(T);
    }
}

TEST(InterruptReturn, ToOuterLevelDropsPrivilegedSegments) {
    Guest guest(Start::kernel32);
    guest.state.segment(SegmentName::ds) = flat_data_segment(Guest::data32, 0);
    guest.state.segment(SegmentName::es) = flat_data_segment(Guest::user_data32 | 3, 3);
    push_frame<std::uint32_t>(guest, {Guest::data, Guest::user_code32 | 3u, 0x3202, 0x8800, Guest::user_data32 | 3u});
    guest.place(Guest::data, {0xeb, 0xfe});
    guest.run({0xcf}, 2);
    EXPECT_EQ(guest.state.rip, Guest::data);
    EXPECT_EQ(guest.state.cpl(), 3u);
    EXPECT_EQ(guest.state.registers[rsp], 0x8800u);
    EXPECT_EQ(guest.state.rflags, 0x3202u);
    EXPECT_TRUE(guest.state.segment(SegmentName::ds).attributes.unusable());
    EXPECT_EQ(guest.state.segment(SegmentName::es).selector, Guest::user_data32 | 3u);
}

TEST(InterruptReturn, UserCannotRaiseItsPrivilegeThroughFlags) {
    Guest guest(Start::user32);
    push_frame<std::uint32_t>(guest, {Guest::data, Guest::user_code32 | 3u, 0x3402});
    guest.place(Guest::data, {0xeb, 0xfe});
    guest.run({0xcf}, 2);
    EXPECT_EQ(guest.state.rflags, 0x602u) << "IF and IOPL keep, DF changes";
}

TEST(InterruptReturn, ToVm86AndTheTripBack) {
    Guest guest(Start::kernel32);
    push_frame<std::uint32_t>(guest, {0x10, 0x2000, 0x23202, 0x800, 0x3000, 0x4000, 0x5000, 0x6000, 0x7000});
    guest.place(0x20010, {0xcd, 0x30});
    guest.run({0xcf});
    EXPECT_EQ(guest.vector(), 0x30);
    EXPECT_EQ(guest.stack<std::uint32_t>(0), 0x12u);
    EXPECT_EQ(guest.stack<std::uint32_t>(1), 0x2000u);
    EXPECT_EQ(guest.stack<std::uint32_t>(3), 0x800u);
    EXPECT_EQ(guest.stack<std::uint32_t>(4), 0x3000u);
    EXPECT_EQ(guest.stack<std::uint32_t>(5), 0x4000u);
    EXPECT_EQ(guest.stack<std::uint32_t>(6), 0x5000u);
    EXPECT_EQ(guest.stack<std::uint32_t>(7), 0x6000u);
    EXPECT_EQ(guest.stack<std::uint32_t>(8), 0x7000u);
}

TEST(InterruptReturn, LongModeToCompatibilityAndNullStack) {
    Guest compatible(Start::kernel64);
    push_frame<std::uint64_t>(compatible,
                              {Guest::data, Guest::user_code32 | 3u, 0x202, 0x8800, Guest::user_data32 | 3u});
    compatible.place(Guest::data, {0xeb, 0xfe});
    compatible.run({0x48, 0xcf}, 2);
    EXPECT_EQ(compatible.state.mode(), Mode::compatibility);
    EXPECT_EQ(compatible.state.rip, Guest::data);

    Guest null(Start::kernel64);
    push_frame<std::uint64_t>(null, {Guest::data, Guest::code64, 0x202, 0x8800, 0});
    null.place(Guest::data, {0xeb, 0xfe});
    null.run({0x48, 0xcf}, 2);
    EXPECT_EQ(null.state.rip, Guest::data);
    EXPECT_EQ(null.state.cpl(), 0u);

    Guest user(Start::kernel64);
    push_frame<std::uint64_t>(user, {Guest::data, Guest::user_code64 | 3u, 0x202, 0x8800, 3});
    user.run({0x48, 0xcf});
    EXPECT_EQ(user.vector(), 13);
}

TEST(InterruptReturn, RefusesAddressesThatAreNotCanonical) {
    Guest guest(Start::kernel64);
    push_frame<std::uint64_t>(guest, {0x800000000000, Guest::code64, 0x202, 0x8800, Guest::data32});
    guest.run({0x48, 0xcf});
    EXPECT_EQ(guest.vector(), 13);
    EXPECT_EQ(guest.stack<std::uint64_t>(0), 0u);
    EXPECT_EQ(guest.stack<std::uint64_t>(1), Guest::code);
}

}  // namespace

}  // namespace xenolith::test
