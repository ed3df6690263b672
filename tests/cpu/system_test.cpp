// Control registers, model-specific registers, segment loads and descriptor questions, system calls, ports.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cpu/exceptions/segment_load.hpp"
#include "cpu/isa/control_registers.hpp"
#include "cpu/isa/io_permission.hpp"
#include "cpu/isa/model_specific.hpp"
#include "tests/cpu/system_guest.hpp"

namespace xenolith::test {

namespace {

using namespace cpu;
using Guest = SystemGuest;

// The Processor of a guest in the mode asked for, for direct calls.
Processor& processor_of(Guest& guest) {
    guest.engine.set_state(guest.state);
    return guest.engine.processor();
}

template <class Action>
std::optional<Fault> fault_of(const Action& action) {
    try {
        action();
    } catch (const Fault& fault) {
        return fault;
    }
    return std::nullopt;
}

constexpr std::uint64_t always_set = cr0::et;

// --- Control registers
// -----------------------------------------------------------------------------------------------

struct Write {
    const char* name;
    Start start;
    void (*prepare)(CpuState&);
    void (*write)(Processor&, std::uint64_t);
    std::uint64_t value;
    bool accepted;
};

class ControlRegister : public testing::TestWithParam<Write> {};

TEST_P(ControlRegister, TakesOrRefuses) {
    const Write& test = GetParam();
    Guest guest(test.start);
    test.prepare(guest.state);
    Processor& p = processor_of(guest);
    const CpuState before = p.state;
    const auto fault = fault_of([&] { test.write(p, test.value); });
    EXPECT_EQ(!fault.has_value(), test.accepted);
    if (fault) {
        EXPECT_EQ(fault->vector, Vector::general_protection);
        EXPECT_EQ(fault->error_code, 0u);
        EXPECT_EQ(p.state, before) << "nothing changes when it is refused";
    }
}

void as_is(CpuState&) {}
void with_lme(CpuState& s) {
    s.msr.efer |= efer::lme;
    s.cr4 |= cr4::pae;
    s.cr3 = 0x8000;
}
constexpr std::uint64_t enabled = cr0::pe | cr0::pg | cr0::et | cr0::ne;

INSTANTIATE_TEST_SUITE_P(
    Rules, ControlRegister,
    testing::Values(Write{"paging_needs_protection", Start::real, as_is, write_cr0, cr0::pg, false},
                    Write{"nw_needs_cd", Start::kernel32, as_is, write_cr0, cr0::pe | cr0::nw, false},
                    Write{"nw_with_cd", Start::kernel32, as_is, write_cr0, cr0::pe | cr0::nw | cr0::cd, true},
                    Write{"upper_half_of_cr0", Start::kernel64, as_is, write_cr0, enabled | 1ull << 32, false},
                    Write{"reserved_bits_of_cr0_are_ignored", Start::kernel32, as_is, write_cr0, cr0::pe | 0x1000,
                          true},
                    Write{"long_mode_on", Start::kernel32, with_lme, write_cr0, enabled, true},
                    Write{"long_mode_needs_pae", Start::kernel32,
                          [](CpuState& s) {
                              with_lme(s);
                              s.cr4 = 0;
                          },
                          write_cr0, enabled, false},
                    Write{"long_mode_not_with_narrow_task", Start::kernel32,
                          [](CpuState& s) {
                              with_lme(s);
                              s.tr.attributes.bits = 0x83;
                          },
                          write_cr0, enabled, false},
                    Write{"long_mode_not_from_code_with_l", Start::kernel32,
                          [](CpuState& s) {
                              with_lme(s);
                              s.segment(SegmentName::cs).attributes.bits |= SegmentAttributes::l;
                          },
                          write_cr0, enabled, false},
                    Write{"paging_off_in_64_bit_code", Start::kernel64, as_is, write_cr0, cr0::pe, false},
                    Write{"paging_off_in_compatibility_code", Start::compatible32, as_is, write_cr0, cr0::pe, true},
                    Write{"paging_off_with_pcid", Start::compatible32, [](CpuState& s) { s.cr4 |= cr4::pcide; },
                          write_cr0, cr0::pe, false},
                    Write{"pdpte_reserved_bits", Start::kernel32,
                          [](CpuState& s) {
                              s.cr4 |= cr4::pae;
                              s.cr3 = Guest::gdt;  // descriptors make no page-directory pointers
                          },
                          write_cr0, enabled, false},
                    Write{"cr3_above_physical_addresses", Start::kernel64, as_is, write_cr3, 1ull << 46, false},
                    Write{"cr3_bit_63_without_pcid", Start::kernel64, as_is, write_cr3, 1ull << 63 | 0xf0000, false},
                    Write{"cr3_bit_63_with_pcid", Start::kernel64, [](CpuState& s) { s.cr4 |= cr4::pcide; }, write_cr3,
                          1ull << 63 | 0xf0005, true},
                    Write{"cr4_reserved", Start::kernel32, as_is, write_cr4, 1ull << 14, false},
                    Write{"cr4_vmxe", Start::kernel32, as_is, write_cr4, 1ull << 13, false},
                    Write{"cr4_pae_off_in_long_mode", Start::kernel64, as_is, write_cr4, 0, false},
                    Write{"cr4_pcide_in_long_mode", Start::kernel64, as_is, write_cr4, cr4::pae | cr4::pcide, true},
                    Write{"cr4_pcide_with_pcid", Start::kernel64, [](CpuState& s) { s.cr3 |= 1; }, write_cr4,
                          cr4::pae | cr4::pcide, false},
                    Write{"cr4_pcide_in_legacy_mode", Start::kernel32, as_is, write_cr4, cr4::pae | cr4::pcide, false},
                    Write{"cr8", Start::kernel64, as_is, write_cr8, 15, true},
                    Write{"cr8_reserved", Start::kernel64, as_is, write_cr8, 16, false}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(ControlRegister, ActivatingLongMode) {
    Guest guest(Start::kernel32);
    with_lme(guest.state);
    Processor& p = processor_of(guest);
    write_cr0(p, enabled);
    EXPECT_EQ(p.state.msr.efer & efer::lma, efer::lma);
    EXPECT_EQ(p.state.mode(), Mode::compatibility);
    write_cr0(p, cr0::pe);
    EXPECT_EQ(p.state.msr.efer & efer::lma, 0u);
    EXPECT_EQ(p.state.cr0, cr0::pe | always_set);
}

TEST(ControlRegister, LmswCannotClearPe) {
    Guest guest(Start::kernel32);
    guest.run({0x31, 0xc0, 0x0f, 0x01, 0xf0, 0x0f, 0x01, 0xe3, 0xf4});  // xor eax, eax; lmsw ax; smsw ebx; hlt
    EXPECT_EQ(guest.state.cr0 & cr0::pe, cr0::pe);
    EXPECT_EQ(guest.state.registers[rbx], guest.state.cr0);
}

// --- Debug registers
// ---------------------------------------------------------------------------------------------------

TEST(DebugRegister, FixedBitsAliasesAndGeneralDetect) {
    Guest guest(Start::kernel64);
    Processor& p = processor_of(guest);
    write_debug_register(p, 7, 0xffffffff & ~dr7::gd);
    EXPECT_EQ(read_debug_register(p, 5), 0xffff07ffu);
    write_debug_register(p, 4, 0);
    EXPECT_EQ(read_debug_register(p, 6), 0xffff0ff0u);
    EXPECT_EQ(fault_of([&] { write_debug_register(p, 6, 1ull << 32); })->vector, Vector::general_protection);
    p.state.cr4 |= cr4::de;
    EXPECT_EQ(fault_of([&] { read_debug_register(p, 4); })->vector, Vector::invalid_opcode);
    p.state.dr7 |= dr7::gd;
    const auto fault = fault_of([&] { read_debug_register(p, 0); });
    ASSERT_TRUE(fault);
    EXPECT_EQ(fault->vector, Vector::debug);
    EXPECT_EQ(fault->dr6_bits, dr6::bd);
}

TEST(DebugRegister, GeneralDetectIsClearedByTheException) {
    Guest guest(Start::kernel64);
    guest.state.dr7 |= dr7::gd;
    guest.run({0x0f, 0x21, 0xc0});
    EXPECT_EQ(guest.vector(), 1);
    EXPECT_EQ(guest.state.dr6 & dr6::bd, dr6::bd);
    EXPECT_EQ(guest.state.dr7 & dr7::gd, 0u);
    EXPECT_EQ(guest.stack<std::uint64_t>(0), Guest::code);
}

// --- Model-specific registers
// --------------------------------------------------------------------------------------------

struct MsrWrite {
    std::uint32_t index;
    std::uint64_t value;
    bool accepted;
};

TEST(ModelSpecific, RefusesReservedValues) {
    constexpr MsrWrite writes[] = {
        {msr::efer, efer::sce | efer::lme | efer::lma | efer::nxe, true},
        {msr::efer, 1ull << 1, false},
        {msr::efer, 1ull << 12, false},  // SVME
        {msr::lstar, 0x7fffffffffff, true},
        {msr::lstar, 0x800000000000, false},
        {msr::fs_base, 0xffff800000000000, true},
        {msr::gs_base, 1ull << 60, false},
        {msr::kernel_gs_base, 1ull << 47, false},
        {msr::sysenter_eip, 1ull << 47, false},
        {msr::pat, 0x0007040600070406, true},
        {msr::pat, 2, false},
        {msr::pat, 8ull << 56, false},
        {msr::mtrr_def_type, 0xc06, true},
        {msr::mtrr_def_type, 0xc07, false},
        {msr::mtrr_phys_base0, 0x80000006, true},
        {msr::mtrr_phys_base0, 0x80000002, false},
        {msr::mtrr_phys_base0 + 1, 1ull << 46, false},
        {msr::mtrr_fix64k, 0x0606060606060606, true},
        {msr::mtrr_fix4k_f8000, 3, false},
        {msr::mtrr_cap, 0, false},
        {msr::apic_base, 0xfed00900, true},
        {msr::apic_base, 0xfee00500, false},  // x2APIC mode of an APIC that is off
        {msr::misc_enable, 1, true},
        {msr::misc_enable, 1 << 22, false},
        {msr::tsc_aux, 1ull << 32, false},
        {msr::star, ~0ull, true},
        {0x12345, 0, false},
        {0xc0010015, 0, false},  // AMD's
    };
    for (const MsrWrite& write : writes) {
        Guest guest(Start::kernel64);
        Processor& p = processor_of(guest);
        const CpuState before = p.state;
        EXPECT_EQ(write_msr(p, write.index, write.value), write.accepted)
            << std::hex << write.index << " " << write.value;
        if (write.accepted)
            EXPECT_EQ(read_msr(p, write.index), write.value) << std::hex << write.index;
        else
            EXPECT_EQ(p.state, before);
    }
}

// SDM vol. 3A, 10.12.5.1.
TEST(ModelSpecific, TheApicComesToX2apicModeFromXapicModeOnly) {
    constexpr std::uint64_t base = 0xfee00100, working = 0x800, x2apic = 0x400;
    Guest guest(Start::kernel64);
    Processor& p = processor_of(guest);
    EXPECT_TRUE(write_msr(p, msr::apic_base, base));
    EXPECT_FALSE(write_msr(p, msr::apic_base, base | working | x2apic));
    EXPECT_TRUE(write_msr(p, msr::apic_base, base | working));
    EXPECT_TRUE(write_msr(p, msr::apic_base, base | working | x2apic));
    EXPECT_FALSE(write_msr(p, msr::apic_base, base | working));
    EXPECT_TRUE(write_msr(p, msr::apic_base, base));
}

TEST(ModelSpecific, MachineChecksOfThePentiumReadAsNone) {
    for (const std::uint32_t index : {msr::p5_mc_addr, msr::p5_mc_type}) {
        Guest guest(Start::kernel64);
        guest.state.registers[rcx] = index;
        guest.state.registers[rax] = guest.state.registers[rdx] = 0x55;
        guest.run({0x0f, 0x32, 0xf4});
        EXPECT_EQ(guest.state.registers[rax] | guest.state.registers[rdx], 0u) << index;
        EXPECT_FALSE(write_msr(processor_of(guest), index, 0)) << index;
    }
}

TEST(ModelSpecific, EveryFixedRangeIsItsOwn) {
    Guest guest(Start::kernel64);
    Processor& p = processor_of(guest);
    std::vector<std::uint32_t> all = {msr::mtrr_fix64k, msr::mtrr_fix16k_80000, msr::mtrr_fix16k_a0000};
    for (std::uint32_t index = msr::mtrr_fix4k_c0000; index <= msr::mtrr_fix4k_f8000; ++index) all.push_back(index);
    constexpr std::uint64_t types[] = {1, 4, 5, 6};
    for (std::size_t n = 0; n < all.size(); ++n) EXPECT_TRUE(write_msr(p, all[n], types[n % 4] | types[n / 4] << 8));
    for (std::size_t n = 0; n < all.size(); ++n) EXPECT_EQ(read_msr(p, all[n]), types[n % 4] | types[n / 4] << 8);
}

TEST(ModelSpecific, LongModeEnableIsFixedWhilePagingIsOn) {
    Guest guest(Start::kernel64);
    Processor& p = processor_of(guest);
    EXPECT_FALSE(write_msr(p, msr::efer, 0));
    EXPECT_TRUE(write_msr(p, msr::efer, efer::lme)) << "LMA is not written";
    EXPECT_EQ(read_msr(p, msr::efer), efer::lme | efer::lma);
}

TEST(ModelSpecific, TimeStampAndItsAdjustmentMoveTogether) {
    Guest guest(Start::kernel64);
    Processor& p = processor_of(guest);
    EXPECT_TRUE(write_msr(p, msr::tsc, 1'000'000));
    EXPECT_EQ(p.tsc(), 1'000'000u);
    EXPECT_TRUE(write_msr(p, msr::tsc_adjust, 0));
    EXPECT_EQ(p.tsc(), p.now());
}

TEST(ModelSpecific, InstructionsFaultOutsideRingZeroAndForUnknownIndices) {
    for (const auto& [start, index] : {std::pair{Start::user64, msr::efer}, {Start::kernel64, 0x12345u}}) {
        for (const unsigned opcode : {0x30u, 0x32u}) {
            Guest guest(start);
            guest.state.registers[rcx] = index;
            guest.run({0x0f, opcode});
            EXPECT_EQ(guest.vector(), 13);
            EXPECT_EQ(guest.stack<std::uint64_t>(0), 0u);
        }
    }
}

// --- Segment loads
// ---------------------------------------------------------------------------------------------------------

struct Load {
    const char* name;
    Start start;
    SegmentName segment;
    std::uint16_t selector;
    std::optional<Vector> vector;
    std::uint32_t error_code = 0;
};

class SegmentLoad : public testing::TestWithParam<Load> {};

TEST_P(SegmentLoad, ChecksTheDescriptor) {
    const Load& test = GetParam();
    Guest guest(test.start);
    guest.descriptor(Guest::spare, raw::absent_data);
    guest.descriptor(Guest::spare + 8, raw::read_only_data);
    guest.descriptor(Guest::spare2, raw::execute_only);
    guest.descriptor(Guest::spare2 + 8, raw::data32 & ~(1ull << 40));
    Processor& p = processor_of(guest);
    const CpuState before = p.state;
    const auto fault = fault_of([&] { load_segment(p, test.segment, test.selector); });
    ASSERT_EQ(fault.has_value(), test.vector.has_value());
    if (fault) {
        EXPECT_EQ(fault->vector, *test.vector);
        EXPECT_EQ(fault->error_code, test.error_code);
        EXPECT_EQ(p.state, before);
    } else {
        EXPECT_EQ(p.state.segment(test.segment).selector, test.selector);
    }
}

constexpr auto gp = Vector::general_protection, np = Vector::segment_not_present, stack = Vector::stack_fault;

INSTANTIATE_TEST_SUITE_P(
    Rules, SegmentLoad,
    testing::Values(Load{"null_data", Start::kernel32, SegmentName::ds, 3, std::nullopt},
                    Load{"null_stack", Start::kernel32, SegmentName::ss, 0, gp},
                    Load{"null_stack_64", Start::kernel64, SegmentName::ss, 0, std::nullopt},
                    Load{"null_stack_64_rpl", Start::kernel64, SegmentName::ss, 1, gp},
                    Load{"null_stack_user_64", Start::user64, SegmentName::ss, 3, gp},
                    Load{"beyond", Start::kernel32, SegmentName::ds, 0x100, gp, 0x100},
                    Load{"local", Start::kernel32, SegmentName::ds, 0x14, gp, 0x14},
                    Load{"absent", Start::kernel32, SegmentName::ds, Guest::spare, np, Guest::spare},
                    Load{"absent_stack", Start::kernel32, SegmentName::ss, Guest::spare, stack, Guest::spare},
                    Load{"read_only", Start::kernel32, SegmentName::ds, Guest::spare + 8, std::nullopt},
                    Load{"read_only_stack", Start::kernel32, SegmentName::ss, Guest::spare + 8, gp, Guest::spare + 8},
                    Load{"execute_only", Start::kernel32, SegmentName::ds, Guest::spare2, gp, Guest::spare2},
                    Load{"readable_code", Start::kernel32, SegmentName::ds, Guest::code32, std::nullopt},
                    Load{"system", Start::kernel32, SegmentName::ds, Guest::task, gp, Guest::task},
                    Load{"inner_data", Start::user32, SegmentName::ds, Guest::data32 | 3, gp, Guest::data32},
                    Load{"conforming_from_user", Start::user32, SegmentName::ds, Guest::conforming32 | 3, std::nullopt},
                    Load{"rpl_of_data", Start::kernel32, SegmentName::ds, Guest::data32 | 3, gp, Guest::data32},
                    Load{"outer_stack", Start::kernel32, SegmentName::ss, Guest::user_data32 | 3, gp,
                         Guest::user_data32}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(SegmentLoad, SetsTheAccessedBit) {
    Guest guest(Start::kernel32);
    guest.descriptor(Guest::spare, raw::data32 & ~(1ull << 40));
    Processor& p = processor_of(guest);
    load_segment(p, SegmentName::es, Guest::spare);
    EXPECT_EQ(guest.read<std::uint8_t>(Guest::gdt + Guest::spare + 5), 0x93);
    EXPECT_TRUE(p.state.segment(SegmentName::es).attributes.accessed());
}

TEST(SegmentLoad, TaskRegisterBecomesBusyAndLdtIsUsed) {
    Guest guest(Start::kernel32);
    guest.descriptor(Guest::spare, Guest::system_descriptor(0x89, 0x1500, 0x67));
    guest.descriptor(Guest::local_table, Guest::system_descriptor(0x82, Guest::ldt, 0x0f));
    guest.write(Guest::ldt + 8, raw::data32);
    Processor& p = processor_of(guest);
    load_tr(p, Guest::spare);
    EXPECT_EQ(guest.read<std::uint8_t>(Guest::gdt + Guest::spare + 5), 0x8b);
    EXPECT_EQ(p.state.tr.attributes.type(), system_type::tss32_busy);
    EXPECT_EQ(fault_of([&] { load_tr(p, Guest::spare); })->vector, gp) << "busy now";
    load_ldtr(p, Guest::local_table);
    load_segment(p, SegmentName::ds, 0xc);
    EXPECT_EQ(p.state.segment(SegmentName::ds).selector, 0xc);
    EXPECT_EQ(fault_of([&] { load_segment(p, SegmentName::ds, 0x14); })->error_code, 0x14u);
}

TEST(SegmentLoad, SystemDescriptorsHaveSixteenBytesInLongMode) {
    Guest guest(Start::kernel64);
    guest.descriptor(Guest::spare, Guest::system_descriptor(0x89, 0x12345678, 0x67));
    guest.write(Guest::gdt + Guest::spare + 8, std::uint64_t{0xffff8000});
    Processor& p = processor_of(guest);
    load_tr(p, Guest::spare);
    EXPECT_EQ(p.state.tr.base, 0xffff800012345678u);
    guest.descriptor(Guest::spare2, Guest::system_descriptor(0x82, 0, 0x67));
    guest.write(Guest::gdt + Guest::spare2 + 8, std::uint64_t{0x8000});
    EXPECT_EQ(fault_of([&] { load_ldtr(p, Guest::spare2); })->error_code, Guest::spare2 + 0u) << "not canonical";
}

TEST(DescriptorQuestions, FollowPrivilegeAndType) {
    Guest guest(Start::user32);
    guest.descriptor(Guest::spare, Guest::gate(0xec, Guest::code32, 0));
    Processor& p = processor_of(guest);
    EXPECT_EQ(access_rights(p, Guest::user_code32 | 3), 0x00cffb00u);
    EXPECT_EQ(access_rights(p, Guest::code32), std::nullopt);
    EXPECT_EQ(access_rights(p, Guest::conforming32 | 3), 0x00cf9f00u);
    EXPECT_EQ(access_rights(p, Guest::spare | 3), 0x0000ec00u);
    EXPECT_EQ(access_rights(p, 0), std::nullopt);
    EXPECT_EQ(segment_limit(p, Guest::user_data32), 0xffffffffu);
    EXPECT_EQ(segment_limit(p, Guest::spare | 3), std::nullopt) << "a gate has no limit";
    EXPECT_TRUE(may_read_segment(p, Guest::user_code32 | 3));
    EXPECT_FALSE(may_write_segment(p, Guest::user_code32 | 3));
    EXPECT_TRUE(may_write_segment(p, Guest::user_data32 | 3));
    EXPECT_FALSE(may_read_segment(p, Guest::data32));
}

TEST(DescriptorTables, WidthsFollowTheMode) {
    Guest wide(Start::kernel64);
    wide.write(Guest::data, std::uint16_t{0x1234});
    wide.write(Guest::data + 2, std::uint64_t{0xffff800000001000});
    wide.state.registers[rbx] = Guest::data;
    wide.run({0x66, 0x0f, 0x01, 0x13, 0x0f, 0x01, 0x43, 0x10, 0xf4});  // lgdt [rbx]; sgdt [rbx+16]
    EXPECT_EQ(wide.state.gdtr, (DescriptorTable{0xffff800000001000, 0x1234}));
    EXPECT_EQ(wide.read<std::uint64_t>(Guest::data + 18), 0xffff800000001000u);

    Guest narrow(Start::kernel32);
    narrow.write(Guest::data, std::uint64_t{0xffffaabbccdd1234});
    narrow.state.registers[rbx] = Guest::data;
    narrow.run({0x66, 0x0f, 0x01, 0x1b, 0xf4});  // o16 lidt [ebx]
    EXPECT_EQ(narrow.state.idtr, (DescriptorTable{0xbbccdd, 0x1234}));
}

TEST(UserModeInstructionPrevention, HidesTables) {
    for (const bool prevents : {false, true}) {
        Guest guest(Start::user64);
        if (prevents) guest.state.cr4 |= cr4::umip;
        guest.state.registers[rbx] = Guest::data;
        guest.run({0x0f, 0x01, 0x03, 0x0f, 0x0b});  // sgdt [rbx]; ud2
        EXPECT_EQ(guest.vector(), prevents ? 13 : 6);
    }
}

TEST(Gs, SwapAndBases) {
    Guest guest(Start::kernel64);
    guest.state.cr4 |= cr4::fsgsbase;
    guest.state.msr.kernel_gs_base = 0xffff800000000000;
    guest.state.registers[rax] = 0x12345000;
    // wrgsbase rax; swapgs; rdgsbase rbx; hlt
    guest.run({0xf3, 0x48, 0x0f, 0xae, 0xd8, 0x0f, 0x01, 0xf8, 0xf3, 0x48, 0x0f, 0xae, 0xcb, 0xf4});
    EXPECT_EQ(guest.state.registers[rbx], 0xffff800000000000u);
    EXPECT_EQ(guest.state.msr.kernel_gs_base, 0x12345000u);
}

// --- System calls
// --------------------------------------------------------------------------------------------------------------

void set_system_call(CpuState& s) {
    s.msr.star = std::uint64_t{Guest::user_code32 - 0u} << 48 | std::uint64_t{Guest::code64} << 32;
    s.msr.lstar = Guest::data;
    s.msr.sfmask = rflags::if_ | rflags::df;
}

TEST(SystemCall, EntersAndReturns) {
    Guest guest(Start::user64);
    set_system_call(guest.state);
    guest.state.rflags |= rflags::df;
    guest.place(Guest::data, {0x48, 0x0f, 0x07});
    guest.run({0x0f, 0x05}, 1);
    EXPECT_EQ(guest.state.rip, Guest::data);
    EXPECT_EQ(guest.state.cpl(), 0u);
    EXPECT_EQ(guest.state.segment(SegmentName::cs).selector, Guest::code64);
    EXPECT_EQ(guest.state.segment(SegmentName::ss).selector, Guest::code64 + 8);
    EXPECT_EQ(guest.state.registers[rcx], Guest::code + 2);
    EXPECT_EQ(guest.state.registers[r11], 0x602u);
    EXPECT_EQ(guest.state.rflags, 2u);
    guest.resume(1);
    EXPECT_EQ(guest.state.rip, Guest::code + 2);
    EXPECT_EQ(guest.state.cpl(), 3u);
    EXPECT_EQ(guest.state.rflags, 0x602u);
    EXPECT_EQ(guest.state.segment(SegmentName::cs).selector, (Guest::user_code32 + 16) | 3u);
    EXPECT_EQ(guest.state.segment(SegmentName::ss).selector, (Guest::user_code32 + 8) | 3u);
}

TEST(SystemCall, VendorsDiffer) {
    for (const Vendor vendor : {Vendor::intel, Vendor::amd}) {
        const bool amd = vendor == Vendor::amd;
        Guest compatible(Start::user_compatible32, "modern", vendor);
        set_system_call(compatible.state);
        compatible.state.msr.cstar = Guest::data + 0x100;
        compatible.place(Guest::data + 0x100, {0xf4});
        compatible.run({0x0f, 0x05});
        if (amd)
            EXPECT_EQ(compatible.state.rip, Guest::data + 0x101);
        else
            EXPECT_EQ(compatible.vector(), 6);

        Guest enter(Start::user_compatible32, "modern", vendor);
        enter.state.msr.sysenter_cs = Guest::code32;
        enter.state.msr.sysenter_eip = Guest::data;
        enter.state.msr.sysenter_esp = Guest::kernel_stack;
        enter.place(Guest::data, {0xf4});
        enter.run({0x0f, 0x34});
        if (amd)
            EXPECT_EQ(enter.vector(), 6);
        else
            EXPECT_EQ(enter.state.rip, Guest::data + 1);

        Guest stray(Start::kernel64, "modern", vendor);
        set_system_call(stray.state);
        stray.state.registers[rcx] = 0x800000000000;
        stray.state.registers[r11] = 2;
        stray.run({0x48, 0x0f, 0x07}, 2);
        stray.resume();
        EXPECT_EQ(stray.vector(), 13);
        EXPECT_EQ(stray.stack<std::uint64_t>(1), amd ? 0x800000000000 : Guest::code);
    }
}

TEST(SystemEnter, EntersAndExits) {
    Guest guest(Start::user32);
    guest.state.msr.sysenter_cs = Guest::code32;
    guest.state.msr.sysenter_eip = Guest::data;
    guest.state.msr.sysenter_esp = Guest::kernel_stack;
    guest.place(Guest::data, {0x0f, 0x35});
    guest.run({0x0f, 0x34}, 1);
    EXPECT_EQ(guest.state.cpl(), 0u);
    EXPECT_EQ(guest.state.registers[rsp], Guest::kernel_stack);
    EXPECT_EQ(guest.state.rflags & rflags::if_, 0u);
    guest.state.registers[rdx] = Guest::code + 2;
    guest.state.registers[rcx] = Guest::program_stack;
    guest.resume(1);
    EXPECT_EQ(guest.state.cpl(), 3u);
    EXPECT_EQ(guest.state.rip, Guest::code + 2);
    EXPECT_EQ(guest.state.segment(SegmentName::cs).selector, (Guest::code32 + 16) | 3u);

    Guest unset(Start::kernel32);
    unset.run({0x0f, 0x34});
    EXPECT_EQ(unset.vector(), 13);
}

// In real mode they are known and refused; in virtual-8086 mode SYSENTER works.
TEST(SystemEnter, ExistsInRealAndVirtual8086Code) {
    for (const Vendor vendor : {Vendor::intel, Vendor::amd}) {
        for (const unsigned last : {0x34u, 0x35u}) {
            Guest real(Start::real, "modern", vendor);
            real.state.msr.sysenter_cs = Guest::code32;
            real.run({0x0f, last});
            EXPECT_EQ(real.vector(), 13);
        }
        Guest enter(Start::vm86, "modern", vendor);
        enter.state.msr.sysenter_cs = Guest::code32;
        enter.state.msr.sysenter_eip = Guest::data;
        enter.state.msr.sysenter_esp = Guest::kernel_stack;
        enter.run({0x0f, 0x34}, 1);
        EXPECT_EQ(enter.state.rip, Guest::data);
        EXPECT_EQ(enter.state.cpl(), 0u);
        EXPECT_EQ(enter.state.rflags & (rflags::vm | rflags::if_), 0u);

        Guest exit(Start::vm86, "modern", vendor);
        exit.state.msr.sysenter_cs = Guest::code32;
        exit.run({0x0f, 0x35});
        EXPECT_EQ(exit.vector(), 13);

        // SYSRET: to Intel's CPUs unknown outside 64-bit code, to AMD's only refused.
        Guest back(Start::real, "modern", vendor);
        back.state.msr.efer = efer::sce;
        back.run({0x0f, 0x07});
        EXPECT_EQ(back.vector(), vendor == Vendor::amd ? 13 : 6);
    }
}

// --- Ports
// -----------------------------------------------------------------------------------------------------------------------

TEST(PortPermission, BitmapDecidesForUserCode) {
    Guest guest(Start::user32);
    guest.state.tr.limit = 0x88;
    guest.write(Guest::task_state + 0x68 + 2, std::uint8_t{0x80});  // port 17H
    Processor& p = processor_of(guest);
    EXPECT_FALSE(fault_of([&] { check_io_permission(p, 0x16, 1); }));
    EXPECT_TRUE(fault_of([&] { check_io_permission(p, 0x16, 2); }));
    EXPECT_TRUE(fault_of([&] { check_io_permission(p, 0x17, 1); }));
    EXPECT_FALSE(fault_of([&] { check_io_permission(p, 0xf7, 1); }));
    EXPECT_TRUE(fault_of([&] { check_io_permission(p, 0x100, 1); })) << "the second byte is beyond the limit";
    p.state.rflags |= rflags::iopl;
    EXPECT_FALSE(fault_of([&] { check_io_permission(p, 0x17, 4); }));
    p.state.rflags |= rflags::vm;
    EXPECT_TRUE(fault_of([&] { check_io_permission(p, 0x17, 4); })) << "VM86 always asks the bitmap";
}

// --- Interrupt flag
// -----------------------------------------------------------------------------------------------------------------

TEST(InterruptFlag, FollowsPrivilege) {
    struct Case {
        Start start;
        std::uint64_t cr4, flags;
        int vector;
        std::uint64_t expected;
    };
    constexpr std::uint64_t both = rflags::if_ | rflags::vif;
    constexpr Case cases[] = {
        {Start::kernel32, 0, rflags::if_, -1, 0},
        {Start::user32, 0, rflags::if_, 13, 0},
        {Start::user32, 0, rflags::if_ | rflags::iopl, 13, 0},  // HLT's own #GP comes after CLI
        {Start::user32, cr4::pvi, both, 13, rflags::if_},
    };
    for (const Case& test : cases) {
        Guest guest(test.start);
        guest.state.cr4 |= test.cr4;
        guest.state.rflags = rflags::fixed_one | test.flags;
        guest.run({0xfa, 0xf4});
        EXPECT_EQ(guest.vector(), test.vector);
        if (test.vector >= 0 && (test.cr4 != 0 || (test.flags & rflags::iopl) != 0)) {
            EXPECT_EQ(guest.stack<std::uint32_t>(1), Guest::code + 1) << "CLI has happened";
            EXPECT_EQ(guest.stack<std::uint32_t>(3) & both, test.expected);
        }
    }
}

TEST(InvalidOpcodes, ProtectedModeInstructionsInRealMode) {
    for (const auto& bytes : {std::initializer_list<unsigned>{0x0f, 0x00, 0xd8},
                              {0x0f, 0x02, 0xc3},
                              {0x63, 0xc3},
                              {0x0f, 0x00, 0xe0},
                              {0x0f, 0x00, 0xc0}}) {
        Guest guest(Start::real);
        guest.run(bytes);
        EXPECT_EQ(guest.vector(), 6);
    }
}

}  // namespace

}  // namespace xenolith::test
