// What the host's CPU cannot be asked in user mode: flags and privilege, wrapping stacks, yielding and
// interrupted string instructions, ports.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <vector>

#include "tests/cpu/row_bench.hpp"

namespace xenolith::test {

namespace {

using namespace cpu;
using testing::ElementsAre;
using testing::ElementsAreArray;

struct PortAccess {
    std::uint16_t port;
    unsigned width;
    std::uint32_t value;

    bool operator==(const PortAccess&) const = default;
};

// Ports that remember writes, and answer reads with 1, 2, 3 and so on.
class CountingPorts final : public EmptyWorld {
  public:
    std::uint32_t port_read(const Moment&, std::uint16_t, unsigned) override { return ++reads; }
    void port_write(const Moment&, std::uint16_t port, unsigned width, std::uint32_t value, CpuState&,
                    LinearMemory&) override {
        writes.push_back({port, width, value});
    }
    std::uint32_t reads = 0;
    std::vector<PortAccess> writes;
};

// One megabyte of memory and a Processor without paging, in the mode a test asks for.
class Guest {
  public:
    static constexpr std::uint64_t code = 0x8000;

    explicit Guest(const CpuState& state, Vendor vendor = Vendor::intel)
        : decoder_(model_with_everything(vendor), *find_timing("modern")),
          processor(memory, ports, model_with_everything(vendor), *find_timing("modern"), 0) {
        bytes = memory.add_ram({0}, 1 << 20, "memory").host;
        processor.load_state(state);
    }

    // Executes one instruction once; the fault's vector if it raised one.
    std::optional<Vector> execute(std::initializer_list<unsigned> encoding) {
        std::vector<std::byte> instruction_bytes;
        for (const unsigned byte : encoding) instruction_bytes.push_back(static_cast<std::byte>(byte));
        instruction = {};
        EXPECT_EQ(decoder_.decode(instruction_bytes, decode_mode(processor.state), instruction), Decoder::Result::ok);
        processor.current_ = &instruction;
        processor.state.registers[CpuState::rip_slot] = code;
        processor.state.rip = code + instruction.length;
        fault = {};
        try {
            instruction.execute(processor, instruction);
        } catch (const Fault& raised) {
            fault = raised;
            return raised.vector;
        }
        return {};
    }
    bool yielded() const { return processor.state.rip == code; }
    std::uint64_t& reg(GeneralRegister number) { return processor.state.registers[number]; }
    template <class T>
    T peek(std::uint64_t address) const {
        T value;
        std::memcpy(&value, bytes + address, sizeof(T));
        return value;
    }
    template <class T>
    void poke(std::uint64_t address, T value) {
        std::memcpy(bytes + address, &value, sizeof(T));
    }

    mmu::GuestMemory memory;
    CountingPorts ports;

  private:
    Decoder decoder_;

  public:
    Processor processor;
    std::byte* bytes = nullptr;
    Instruction instruction;
    std::optional<Fault> fault;
};

CpuState real_mode() {
    CpuState state = reset_state();
    for (SegmentRegister& segment : state.segments) segment = real_mode_segment(0);
    state.rip = Guest::code;
    return state;
}

CpuState protected_mode(unsigned cpl, unsigned stack_width = 32) {
    CpuState state = reset_state();
    state.cr0 |= cr0::pe;
    for (SegmentRegister& segment : state.segments) segment = flat_data_segment(0x10, cpl);
    state.segment(SegmentName::cs) = flat_code_segment(0x08, 32, cpl);
    if (stack_width == 16) state.segment(SegmentName::ss).attributes.bits &= ~SegmentAttributes::db;
    state.rip = Guest::code;
    return state;
}

CpuState virtual_8086_mode(unsigned iopl) {
    CpuState state = real_mode();
    state.cr0 |= cr0::pe;
    state.rflags |= rflags::vm | std::uint64_t{iopl} << rflags::iopl_shift;
    for (SegmentRegister& segment : state.segments) segment.attributes.bits |= SegmentAttributes::dpl_mask;
    return state;
}

// --- POPF and PUSHF
// ------------------------------------------------------------------------------------------------

struct PopFlags {
    const char* name;
    unsigned cpl;
    std::uint64_t before;
    std::uint64_t popped;
    std::uint64_t after;
};

class PopFlagsByPrivilege : public testing::TestWithParam<PopFlags> {};

TEST_P(PopFlagsByPrivilege, ChangesWhatMayChange) {
    const PopFlags& row = GetParam();
    CpuState state = protected_mode(row.cpl);
    state.rflags = row.before;
    Guest guest(state);
    guest.reg(rsp) = 0x1000;
    guest.poke<std::uint32_t>(0x1000, static_cast<std::uint32_t>(row.popped));
    EXPECT_EQ(guest.execute({0x9d}), std::nullopt);
    EXPECT_EQ(guest.processor.rflags_value(), row.after);
    EXPECT_EQ(guest.reg(rsp), 0x1004u);
    EXPECT_TRUE(guest.instruction.delivery_point);
}

constexpr std::uint64_t all_flags = rflags::implemented | rflags::fixed_one;
constexpr std::uint64_t never_popped = rflags::vm | rflags::vif | rflags::vip | rflags::rf;

INSTANTIATE_TEST_SUITE_P(
    , PopFlagsByPrivilege,
    testing::Values(PopFlags{"SupervisorSetsAllButTheVirtualOnes", 0, 2, 0xffffffff, all_flags & ~never_popped},
                    PopFlags{"SupervisorClearsAll", 0, all_flags & ~never_popped, 0, 2},
                    PopFlags{"UserKeepsInterruptFlagAndIopl", 3, 2, 0xffffffff,
                             all_flags & ~(never_popped | rflags::iopl | rflags::if_)},
                    PopFlags{"UserCannotClearThemEither", 3, 2 | rflags::if_ | 1u << rflags::iopl_shift, 0,
                             2 | rflags::if_ | 1u << rflags::iopl_shift},
                    PopFlags{"UserAtIopl3ChangesTheInterruptFlag", 3, 2 | rflags::iopl, rflags::if_,
                             2 | rflags::iopl | rflags::if_},
                    PopFlags{"ResumeFlagBecomesZero", 0, 2 | rflags::rf, rflags::rf, 2}),
    [](const auto& information) { return information.param.name; });

TEST(FlagsInVirtual8086Mode, FaultBelowIopl3) {
    for (const unsigned opcode : {0x9cu, 0x9du}) {
        Guest guest(virtual_8086_mode(2));
        guest.reg(rsp) = 0x1000;
        EXPECT_EQ(guest.execute({opcode}), Vector::general_protection);
        EXPECT_EQ(guest.reg(rsp), 0x1000u);
    }
}

TEST(FlagsInVirtual8086Mode, AtIopl3TheInterruptFlagIsReal) {
    Guest guest(virtual_8086_mode(3));
    guest.reg(rsp) = 0x1000;
    guest.poke<std::uint16_t>(0x1000, rflags::if_);
    EXPECT_EQ(guest.execute({0x9d}), std::nullopt);
    EXPECT_EQ(guest.processor.rflags_value(), 2 | rflags::vm | rflags::iopl | rflags::if_);
    EXPECT_EQ(guest.execute({0x9c}), std::nullopt);
    EXPECT_EQ(guest.peek<std::uint16_t>(0x1000), 2 | rflags::iopl | rflags::if_);
}

TEST(FlagsInVirtual8086Mode, WithVirtualModeExtensionsTheInterruptFlagIsVirtual) {
    CpuState state = virtual_8086_mode(0);
    state.cr4 |= cr4::vme;
    Guest guest(state);
    guest.reg(rsp) = 0x1000;
    guest.poke<std::uint16_t>(0x1000, rflags::if_ | rflags::cf);
    EXPECT_EQ(guest.execute({0x9d}), std::nullopt);
    EXPECT_EQ(guest.processor.rflags_value(), 2 | rflags::vm | rflags::vif | rflags::cf);
    EXPECT_EQ(guest.execute({0x9c}), std::nullopt);
    EXPECT_EQ(guest.peek<std::uint16_t>(0x1000), 2 | rflags::iopl | rflags::if_ | rflags::cf);
    // An interrupt that waits for the program to enable them is the monitor's business, and so is
    // single-stepping.
    guest.processor.state.rflags |= rflags::vip;
    EXPECT_EQ(guest.execute({0x9d}), Vector::general_protection);
    // So are 32-bit operands.
    EXPECT_EQ(guest.execute({0x66, 0x9c}), Vector::general_protection);
}

// --- Stacks
// ----------------------------------------------------------------------------------------------------------

TEST(Stack, PushAllWrapsAroundA16BitStack) {
    Guest guest(protected_mode(0, 16));
    guest.reg(rsp) = 0xabcd0004;
    guest.reg(rax) = 0x11111111;
    guest.reg(rdi) = 0x77777777;
    EXPECT_EQ(guest.execute({0x60}), std::nullopt);
    EXPECT_EQ(guest.reg(rsp), 0xabcdffe4u);
    EXPECT_EQ(guest.peek<std::uint32_t>(0x0000), 0x11111111u);
    EXPECT_EQ(guest.peek<std::uint32_t>(0xfff0), 0xabcd0004u) << "the stack pointer as it was";
    EXPECT_EQ(guest.peek<std::uint32_t>(0xffe4), 0x77777777u);
    guest.reg(rax) = guest.reg(rdi) = 0;
    EXPECT_EQ(guest.execute({0x61}), std::nullopt);
    EXPECT_EQ(guest.reg(rsp), 0xabcd0004u);
    EXPECT_EQ(guest.reg(rax), 0x11111111u);
    EXPECT_EQ(guest.reg(rdi), 0x77777777u);
}

TEST(Stack, PushAllBeyondTheLimitChangesNothing) {
    CpuState state = protected_mode(0);
    state.segment(SegmentName::ss).limit = 0x1fff;
    Guest guest(state);
    guest.reg(rsp) = 0x2008;
    EXPECT_EQ(guest.execute({0x60}), Vector::stack_fault);
    EXPECT_EQ(guest.reg(rsp), 0x2008u);
}

TEST(Stack, PushOfASelectorWritesTwoOrFourBytesByVendor) {
    for (const Vendor vendor : {Vendor::intel, Vendor::amd}) {
        Guest guest(protected_mode(0), vendor);
        guest.reg(rsp) = 0x2000;
        guest.poke<std::uint32_t>(0x1ffc, 0xaaaaaaaa);
        EXPECT_EQ(guest.execute({0x06}), std::nullopt);
        EXPECT_EQ(guest.reg(rsp), 0x1ffcu);
        EXPECT_EQ(guest.peek<std::uint32_t>(0x1ffc), vendor == Vendor::intel ? 0xaaaa0010u : 0x00000010u);
    }
}

TEST(RepeatedString, FlagsOfAComparisonThatFaultsDifferByVendor) {
    for (const Vendor vendor : {Vendor::intel, Vendor::amd}) {
        CpuState state = protected_mode(0);
        state.segment(SegmentName::es).limit = 0xffff;
        Guest guest(state, vendor);
        guest.reg(rcx) = 4;
        guest.reg(rdi) = 0xffff;
        EXPECT_EQ(guest.execute({0xf3, 0xae}), Vector::general_protection);
        EXPECT_EQ(guest.reg(rcx), 3u);
        EXPECT_EQ(guest.processor.flags.zf(), vendor == Vendor::amd);
    }
}

TEST(Stack, PopIntoMemoryFaultsWithTheStackPointerUnmoved) {
    CpuState state = protected_mode(0);
    state.segment(SegmentName::ds).limit = 0xfff;
    Guest guest(state);
    guest.reg(rsp) = 0x2000;
    guest.reg(rbx) = 0xffe;
    EXPECT_EQ(guest.execute({0x8f, 0x03}), Vector::general_protection);
    EXPECT_EQ(guest.reg(rsp), 0x2000u);
}

TEST(Stack, EnterCopiesTheFramesOfEnclosingProcedures) {
    Guest guest(protected_mode(0));
    guest.reg(rsp) = 0x2000;
    guest.reg(rbp) = 0x3000;
    guest.poke<std::uint32_t>(0x2ffc, 0x1111);
    guest.poke<std::uint32_t>(0x2ff8, 0x2222);
    EXPECT_EQ(guest.execute({0xc8, 0x10, 0x00, 0x03}), std::nullopt);
    EXPECT_EQ(guest.reg(rbp), 0x1ffcu);
    EXPECT_EQ(guest.reg(rsp), 0x1ff0u - 0x10u);
    EXPECT_EQ(guest.peek<std::uint32_t>(0x1ffc), 0x3000u);
    EXPECT_EQ(guest.peek<std::uint32_t>(0x1ff8), 0x1111u);
    EXPECT_EQ(guest.peek<std::uint32_t>(0x1ff4), 0x2222u);
    EXPECT_EQ(guest.peek<std::uint32_t>(0x1ff0), 0x1ffcu);
    EXPECT_EQ(guest.execute({0xc9}), std::nullopt);
    EXPECT_EQ(guest.reg(rsp), 0x2000u);
    EXPECT_EQ(guest.reg(rbp), 0x3000u);
}

TEST(Stack, EnterFaultsIfTheNewFrameIsOutOfReach) {
    CpuState state = protected_mode(0);
    // Expand-down: offsets up to 1000H are outside.
    state.segment(SegmentName::ss).attributes.bits |= 4;
    state.segment(SegmentName::ss).limit = 0x1000;
    Guest guest(state);
    guest.reg(rsp) = 0x2000;
    guest.reg(rbp) = 0x3000;
    EXPECT_EQ(guest.execute({0xc8, 0x00, 0x10, 0x00}), Vector::stack_fault);
    EXPECT_EQ(guest.reg(rsp), 0x2000u);
    EXPECT_EQ(guest.reg(rbp), 0x3000u);
    EXPECT_EQ(guest.execute({0xc8, 0xf0, 0x0f, 0x00}), std::nullopt);
}

TEST(Stack, PopOfTheStackSegmentInhibitsInterruptsAndEndsTheBlock) {
    Guest guest(real_mode());
    guest.reg(rsp) = 0x1000;
    guest.poke<std::uint16_t>(0x1000, 0x1234);
    EXPECT_EQ(guest.execute({0x17}), std::nullopt);
    EXPECT_EQ(guest.processor.state.segment(SegmentName::ss).selector, 0x1234);
    EXPECT_EQ(guest.processor.state.segment(SegmentName::ss).base, 0x12340u);
    EXPECT_EQ(guest.reg(rsp), 0x1002u);
    EXPECT_TRUE(guest.processor.state.interrupt_shadow);
    EXPECT_TRUE(guest.instruction.last);
}

// --- Strings
// ---------------------------------------------------------------------------------------------------------

TEST(RepeatedString, YieldsAfterABoundedNumberOfElements) {
    Guest guest(protected_mode(0));
    guest.reg(rcx) = 10000;
    guest.reg(rdi) = 0x10000;
    guest.reg(rax) = 0x5a;
    unsigned turns = 0;
    do {
        EXPECT_EQ(guest.execute({0xf3, 0xaa}), std::nullopt);
        ++turns;
        EXPECT_EQ(guest.reg(rdi) - 0x10000, 10000 - guest.reg(rcx));
    } while (guest.yielded());
    EXPECT_EQ(turns, 3u);
    EXPECT_EQ(guest.reg(rcx), 0u);
    EXPECT_EQ(guest.peek<std::uint8_t>(0x10000 + 9999), 0x5a);
    EXPECT_EQ(guest.peek<std::uint8_t>(0x10000 + 10000), 0);
    EXPECT_TRUE(guest.instruction.transfers_control);
}

TEST(RepeatedString, OnceIsNotATransferOfControl) {
    Guest guest(protected_mode(0));
    guest.execute({0xaa});
    EXPECT_FALSE(guest.instruction.transfers_control);
    EXPECT_FALSE(guest.instruction.last);
}

TEST(RepeatedString, DoesOneElementAtATimeUnderTheTrapFlag) {
    Guest guest(protected_mode(0));
    guest.processor.state.rflags |= rflags::tf;
    guest.reg(rcx) = 2;
    guest.reg(rsi) = 0x10000;
    guest.reg(rdi) = 0x20000;
    for (const std::uint64_t left : {1u, 0u}) {
        guest.execute({0xf3, 0xa5});
        EXPECT_EQ(guest.reg(rcx), left);
        EXPECT_EQ(guest.yielded(), left != 0);
    }
}

TEST(RepeatedString, StopsPreciselyAtAFault) {
    CpuState state = protected_mode(0);
    state.segment(SegmentName::es).limit = 0x10000 + 9;
    Guest guest(state);
    guest.reg(rcx) = 8;
    guest.reg(rsi) = 0x20000;
    guest.reg(rdi) = 0x10000;
    EXPECT_EQ(guest.execute({0xf3, 0xa5}), Vector::general_protection);
    EXPECT_EQ(guest.reg(rcx), 6u);
    EXPECT_EQ(guest.reg(rsi), 0x20008u);
    EXPECT_EQ(guest.reg(rdi), 0x10008u);
}

TEST(RepeatedString, WrapsAroundA16BitOffset) {
    Guest guest(real_mode());
    guest.reg(rcx) = 0xaaaa0004;
    guest.reg(rdi) = 0xbbbbfffe;
    guest.reg(rax) = 0x11;
    EXPECT_EQ(guest.execute({0xf3, 0xaa}), std::nullopt);
    EXPECT_EQ(guest.reg(rcx), 0xaaaa0000u);
    EXPECT_EQ(guest.reg(rdi), 0xbbbb0002u);
    EXPECT_EQ(guest.peek<std::uint16_t>(0xfffe), 0x1111);
    EXPECT_EQ(guest.peek<std::uint16_t>(0x0000), 0x1111);
    EXPECT_EQ(guest.peek<std::uint8_t>(0x10000), 0);
}

TEST(RepeatedString, CostsByTheElementWhateverWayItGoes) {
    const auto cost_of = [](std::uint64_t flags) {
        Guest guest(protected_mode(0));
        guest.processor.state.rflags |= flags;
        guest.reg(rcx) = 1000;
        guest.reg(rsi) = 0x12000;
        guest.reg(rdi) = 0x22000;
        const auto elements = [&] {
            guest.reg(rcx) = 1000;
            guest.reg(rsi) = 0x12000;
            guest.reg(rdi) = 0x22000;
            const std::uint64_t before = guest.processor.cycles_;
            guest.execute({0xf3, 0xa4});
            return guest.processor.cycles_ - before;
        };
        elements();  // the translations are there from now on
        return elements();
    };
    const std::uint64_t each = find_timing("modern")->string_iteration;
    EXPECT_EQ(cost_of(0), 1000 * each);
    EXPECT_EQ(cost_of(rflags::df), 1000 * each);
}

TEST(PortString, OutputsEachElement) {
    Guest guest(protected_mode(0));
    guest.reg(rcx) = 3;
    guest.reg(rdx) = 0x3f8;
    guest.reg(rsi) = 0x10000;
    guest.poke<std::uint32_t>(0x10000, 0x00636261);
    EXPECT_EQ(guest.execute({0xf3, 0x6e}), std::nullopt);
    EXPECT_THAT(guest.ports.writes,
                ElementsAre(PortAccess{0x3f8, 1, 0x61}, PortAccess{0x3f8, 1, 0x62}, PortAccess{0x3f8, 1, 0x63}));
    EXPECT_EQ(guest.reg(rsi), 0x10003u);
}

TEST(PortString, InputStoresEachElement) {
    Guest guest(protected_mode(0));
    guest.reg(rcx) = 2;
    guest.reg(rdx) = 0x1f0;
    guest.reg(rdi) = 0x10000;
    EXPECT_EQ(guest.execute({0x66, 0xf3, 0x6d}), std::nullopt);
    EXPECT_EQ(guest.peek<std::uint32_t>(0x10000), 0x00020001u);
    EXPECT_EQ(guest.reg(rdi), 0x10004u);
}

TEST(PortString, APortIsNotReadForAValueThatCannotBeStored) {
    CpuState state = protected_mode(0);
    state.segment(SegmentName::es).limit = 0xffff;
    Guest guest(state);
    guest.reg(rdx) = 0x1f0;
    guest.reg(rdi) = 0x10000;
    EXPECT_EQ(guest.execute({0x6c}), Vector::general_protection);
    EXPECT_EQ(guest.ports.reads, 0u);
    EXPECT_EQ(guest.reg(rdi), 0x10000u);
}

// --- The decoder's view
// ------------------------------------------------------------------------------------------------

TEST(Moves, OfControlRegistersEndTheirBlock) {
    Guest guest(protected_mode(0));
    guest.reg(rax) = guest.processor.state.cr0;
    EXPECT_EQ(guest.execute({0x0f, 0x22, 0xc0}), std::nullopt);  // MOV CR0, EAX
    EXPECT_TRUE(guest.instruction.last);
    EXPECT_EQ(guest.execute({0x89, 0xc3}), std::nullopt);  // MOV EBX, EAX
    EXPECT_FALSE(guest.instruction.last);
}

}  // namespace

}  // namespace xenolith::test
