// Registers between a CpuState and a debugger: views that are not plain fields, and states that no CPU could hold.
#include "machine/gdb/registers.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/machine/guest_mode.hpp"

namespace xenolith::machine::gdb {
namespace {

using machine::test::entry_state;
using machine::test::GuestMode;
using testing::HasSubstr;
using testing::IsEmpty;

const cpu::CpuModel& model() { return *cpu::CpuModel::find("modern"); }

class Registers : public testing::Test {
  protected:
    Registers() {
        memory.add_ram({0}, 0x200000, "RAM");
        machine::test::write_tables(memory);
    }
    std::uint64_t get(const cpu::CpuState& state, std::string_view name, Architecture architecture) {
        return RegisterFile(architecture, model()).find(name)->get(state).low;
    }
    void set(cpu::CpuState& state, std::string_view name, std::uint64_t value, Architecture architecture) {
        RegisterFile(architecture, model()).find(name)->set(state, {value});
    }
    // Why the state that a 64-bit debugger makes of the mode's entry state is refused.
    std::string refusal(GuestMode mode, std::string_view name, std::uint64_t value) {
        const cpu::CpuState before = entry_state(mode, machine::test::layout::program);
        after = before;
        set(after, name, value, Architecture::x86_64);
        return settle(after, before, model(), memory);
    }
    mmu::GuestMemory memory;
    cpu::CpuState after;
};

TEST(GdbArchitecture, HasTheNamesThatGdbKnows) {
    for (const auto one : {Architecture::i8086, Architecture::i386, Architecture::x86_64})
        EXPECT_EQ(architecture_from_name(architecture_name(one)), one);
    EXPECT_EQ(architecture_from_name("i486"), std::nullopt);
}

TEST_F(Registers, TheProgramCounterIsLinear) {
    cpu::CpuState state = cpu::reset_state();
    EXPECT_EQ(get(state, "pc", Architecture::i8086), 0xfffffff0u);
    EXPECT_EQ(get(state, "ip", Architecture::i8086), 0xfff0u);
    state.segment(cpu::SegmentName::cs) = cpu::real_mode_segment(0x07c0);
    set(state, "$eip", 0x7c05, Architecture::i8086);
    EXPECT_EQ(state.rip, 5u);
    set(state, "ip", 6, Architecture::i8086);
    EXPECT_EQ(get(state, "pc", Architecture::i8086), 0x7c06u);
    // In 64-bit code CS has no base.
    cpu::CpuState wide = entry_state(GuestMode::long64, {0x8000});
    wide.segment(cpu::SegmentName::cs).base = 0x1000;
    set(wide, "rip", 0xffff800000000000, Architecture::x86_64);
    EXPECT_EQ(wide.rip, 0xffff800000000000u);
    EXPECT_EQ(get(wide, "pc", Architecture::x86_64), wide.rip);
}

TEST_F(Registers, NarrowOnesKeepTheUpperHalf) {
    cpu::CpuState state;
    state.registers[cpu::rbx] = 0x1122334455667788;
    set(state, "ebx", 0xffffffff99aabbcc, Architecture::i386);
    EXPECT_EQ(state.registers[cpu::rbx], 0x1122334499aabbccu);
    set(state, "rbx", 1, Architecture::x86_64);
    EXPECT_EQ(state.registers[cpu::rbx], 1u);
}

TEST_F(Registers, StackAndFramePointersAreThoseOfTheArchitecture) {
    cpu::CpuState state;
    state.registers[cpu::rsp] = 0x5000;
    state.registers[cpu::rbp] = 0x6000;
    for (const auto one : {Architecture::i386, Architecture::x86_64}) {
        EXPECT_EQ(get(state, "sp", one), 0x5000u);
        EXPECT_EQ(get(state, "$fp", one), 0x6000u);
    }
}

TEST_F(Registers, ASelectorBringsItsBaseInRealModeAlone) {
    cpu::CpuState real = cpu::reset_state();
    set(real, "ds", 0x1234, Architecture::i8086);
    EXPECT_EQ(real.segment(cpu::SegmentName::ds).base, 0x12340u);
    cpu::CpuState protected_state = entry_state(GuestMode::protected32, {0x8000});
    const cpu::SegmentRegister before = protected_state.segment(cpu::SegmentName::ds);
    set(protected_state, "ds", 0x1234, Architecture::i386);
    EXPECT_EQ(protected_state.segment(cpu::SegmentName::ds).base, before.base);
    EXPECT_EQ(protected_state.segment(cpu::SegmentName::ds).selector, 0x1234u);
}

TEST_F(Registers, X87OnesAreRelativeToTheTopOfTheStack) {
    cpu::CpuState state;
    state.floating_point.status = 6 << 11;
    state.floating_point.registers[6] = {0x8000000000000000, 0x3fff};
    state.floating_point.registers[0] = {0xc000000000000000, 0x4000};
    const RegisterFile file(Architecture::i386, model());
    EXPECT_EQ(file.find("st0")->get(state), (RegisterValue{0x8000000000000000, 0x3fff}));
    EXPECT_EQ(file.find("st2")->get(state), (RegisterValue{0xc000000000000000, 0x4000}));
    file.find("st1")->set(state, {1, 2});
    EXPECT_EQ(state.floating_point.registers[7], (cpu::X87Register{1, 2}));
}

TEST_F(Registers, VectorsComeInHalves) {
    cpu::CpuState state;
    const RegisterFile file(Architecture::x86_64, model());
    file.find("xmm15")->set(state, {1, 2});
    file.find("ymm15h")->set(state, {3, 4});
    EXPECT_EQ(state.floating_point.vector[15], (std::array<std::uint64_t, 4>{1, 2, 3, 4}));
    // A CPU without AVX has no upper halves, and 32-bit code half as many registers.
    EXPECT_EQ(RegisterFile(Architecture::x86_64, *cpu::CpuModel::find("nehalem")).find("ymm0h"), nullptr);
    EXPECT_EQ(RegisterFile(Architecture::i386, model()).find("xmm8"), nullptr);
}

TEST_F(Registers, FlagsKeepWhatNoDebuggerMaySet) {
    cpu::CpuState state = entry_state(GuestMode::vm86, {0x8000});
    set(state, "eflags", 0, Architecture::i8086);
    EXPECT_EQ(state.rflags, cpu::rflags::vm | cpu::rflags::fixed_one);
    set(state, "eflags", 0xffffffff, Architecture::i8086);
    EXPECT_EQ(state.rflags, cpu::rflags::implemented | cpu::rflags::fixed_one);
    EXPECT_EQ(get(state, "eflags", Architecture::i8086), cpu::rflags::implemented);
}

TEST_F(Registers, AStateIsRefusedThatNoCpuCouldHold) {
    struct Case {
        GuestMode mode;
        std::string_view name;
        std::uint64_t value;
        std::string_view why;
    };
    const std::uint64_t not_canonical = 0x800000000000;
    const Case cases[] = {
        {GuestMode::real, "cr0", 0x80000010, "CR0.PG needs CR0.PE"},
        {GuestMode::protected32, "cr0", 0x20000011, "CR0.NW"},
        {GuestMode::protected32, "cr0", 0x11 | 1 << 9, "no such bits"},
        {GuestMode::long64, "cr0", 0x11, "64-bit code"},
        {GuestMode::long64, "cr4", 0, "CR4.PAE"},
        {GuestMode::protected32, "cr4", 1 << 17, "PCIDE"},
        {GuestMode::protected32, "cr4", 1 << 30, "no such bits"},
        {GuestMode::long64, "cr3", not_canonical << 8, "CR3"},
        {GuestMode::long64, "cr8", 16, "CR8"},
        {GuestMode::long64, "efer", 0, "LME"},
        {GuestMode::protected32, "efer", 1 << 14, "no such bits"},
        {GuestMode::long64, "xcr0", 0, "XCR0"},
        {GuestMode::long64, "xcr0", 5, "XCR0"},
        {GuestMode::long64, "gs_base", not_canonical, "canonical"},
        {GuestMode::long64, "gdtr_base", not_canonical, "canonical"},
        {GuestMode::long64, "lstar", not_canonical, "canonical"},
        {GuestMode::long64, "rip", not_canonical, "RIP"},
        {GuestMode::pae32, "cr3", 0x200000000 - 0x1000, "page-directory-pointer"},
    };
    for (const Case& one : cases)
        EXPECT_THAT(refusal(one.mode, one.name, one.value), HasSubstr(std::string(one.why)))
            << one.name << " = " << std::hex << one.value;
    EXPECT_THAT(refusal(GuestMode::long64, "cr8", 15), IsEmpty());
    EXPECT_THAT(refusal(GuestMode::long64, "xcr0", 7), IsEmpty());
    EXPECT_THAT(refusal(GuestMode::protected32, "cr0", 0x60000011), IsEmpty());
}

TEST_F(Registers, WhatFollowsFromAWriteIsBroughtUpToDate) {
    EXPECT_THAT(refusal(GuestMode::long64, "dr7", ~std::uint64_t{0}), IsEmpty());
    EXPECT_EQ(after.dr7, 0xffff27ffu);
    EXPECT_THAT(refusal(GuestMode::long64, "dr6", 0), IsEmpty());
    EXPECT_EQ(after.dr6, cpu::dr6::fixed_ones);
    EXPECT_THAT(refusal(GuestMode::protected32, "cr0", 1), IsEmpty());
    EXPECT_EQ(after.cr0, cpu::cr0::pe | cpu::cr0::et);
    EXPECT_THAT(refusal(GuestMode::long64, "mxcsr", 0xffffffff), IsEmpty());
    EXPECT_EQ(after.floating_point.mxcsr, 0xffffu);
    EXPECT_THAT(refusal(GuestMode::long64, "ds_attributes", ~std::uint64_t{0}), IsEmpty());
    EXPECT_EQ(after.segment(cpu::SegmentName::ds).attributes.bits, 0x1f0ffu);
    // EFER.LMA is nobody's to write.
    EXPECT_THAT(refusal(GuestMode::protected32, "efer", cpu::efer::lma), IsEmpty());
    EXPECT_EQ(after.msr.efer, 0u);
    // The four registers of PAE paging are loaded anew: here from entries that are not present.
    const auto loaded = entry_state(GuestMode::pae32, {0x8000}).pdpte;
    EXPECT_THAT(refusal(GuestMode::pae32, "cr3", 0x100000), IsEmpty());
    EXPECT_NE(after.pdpte, loaded);
    EXPECT_EQ(after.pdpte, (std::array<std::uint64_t, 4>{}));
}

}  // namespace
}  // namespace xenolith::machine::gdb
