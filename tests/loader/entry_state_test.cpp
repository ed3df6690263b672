// Entry states of the formats without a boot protocol, and the tables behind them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "loader/layout.hpp"
#include "mmu/page_walk.hpp"
#include "tests/loader/test_machine.hpp"

namespace xenolith::loader::testing {
namespace {

using cpu::SegmentName;
using mmu::GuestPhysical;

LoadOptions flat(Format format) {
    LoadOptions options;
    options.format = format;
    return options;
}

TEST(Flat16, IsABootSectorByDefault) {
    TestMemory machine;
    const LoadedImage loaded = load(file(pattern(512)), flat(Format::flat16), machine.memory);
    const cpu::CpuState& state = loaded.entry_state;
    EXPECT_EQ(machine.read(0x7c00, 512), pattern(512));
    EXPECT_EQ(state.mode(), cpu::Mode::real);
    EXPECT_EQ(state.rip, 0x7c00u);
    EXPECT_EQ(state.segment(SegmentName::cs).selector, 0u);
    EXPECT_EQ(state.segment(SegmentName::cs).base, 0u);
    EXPECT_EQ(state.segment(SegmentName::ds), cpu::real_mode_segment(0));
    EXPECT_EQ(state.segment(SegmentName::ss), cpu::real_mode_segment(0));
    EXPECT_EQ(state.registers[cpu::rsp], 0x7c00u);
    EXPECT_EQ(state.rflags, cpu::rflags::fixed_one);
    EXPECT_EQ(state.cr0, cpu::cr0::et);
    EXPECT_EQ(state.idtr, (cpu::DescriptorTable{0, 0x3ff}));
    EXPECT_THAT(loaded.description, ::testing::ElementsAre("flat16 image: 0x200 bytes at 0x7c00",
                                                           "real mode, entry 0x0:0x7c00, stack 0x0:0x7c00"));
}

TEST(Flat16, AddressesAndStacks) {
    const struct {
        std::uint64_t address, size, entry_offset;
        std::uint16_t code, instruction, stack, stack_pointer;
    } cases[] = {
        {0x7c00, 512, 0x10, 0, 0x7c10, 0, 0x7c00},
        {0x1000, 0x7000, 0, 0, 0x1000, 0, 0xfff0},                 // covers the usual stack
        {0x1000, 0x1f000, 0xefff, 0, 0xffff, 0x9000, 0xf000},      // the last offset of segment 0; covers two stacks
        {0x1000, 0x1f000, 0xf000, 0x100, 0xf000, 0x9000, 0xf000},  // one more takes a segment of its own
        {0x20000, 0x100, 0, 0x2000, 0, 0, 0x7c00},
        {0x20008, 0x100, 3, 0x2000, 0xb, 0, 0x7c00},            // not at a segment's start
        {0xf0000, 0x10000, 0xfff0, 0xf000, 0xfff0, 0, 0x7c00},  // a firmware image, into ROM
    };
    for (const auto& row : cases) {
        SCOPED_TRACE(hexadecimal(row.address) + " " + hexadecimal(row.entry_offset));
        TestMemory machine;
        LoadOptions options = flat(Format::flat16);
        options.load_address = GuestPhysical{row.address};
        options.entry_offset = row.entry_offset;
        const cpu::CpuState state = load(file(pattern(row.size)), options, machine.memory).entry_state;
        EXPECT_EQ(state.segment(SegmentName::cs).selector, row.code);
        EXPECT_EQ(state.segment(SegmentName::cs).base, row.code * 16u);
        EXPECT_EQ(state.segment(SegmentName::ds).selector, row.code);
        EXPECT_EQ(state.rip, row.instruction);
        EXPECT_EQ(state.segment(SegmentName::ss).selector, row.stack);
        EXPECT_EQ(state.registers[cpu::rsp], row.stack_pointer);
        EXPECT_EQ(machine.read(row.address, row.size), pattern(row.size));
    }
}

TEST(Flat16, RefusesWhatRealModeCannotReach) {
    const struct {
        std::uint64_t address, size, entry_offset;
        LoadFailure failure;
    } cases[] = {
        {0x100000, 0x100, 0, LoadFailure::does_not_fit},         // segment 0x10000
        {0x20000, 0x20000, 0x10000, LoadFailure::does_not_fit},  // more than 64 KiB into the segment
        {0x7c00, 0x100, 0x100, LoadFailure::malformed},          // the entry is past the end of the file
        {0xb0000, 0x100, 0, LoadFailure::does_not_fit},          // a hole
        {0x9ffff, 2, 0, LoadFailure::does_not_fit},              // the last byte in a hole
        {UINT64_MAX, 2, 0, LoadFailure::does_not_fit},
    };
    for (const auto& row : cases) {
        SCOPED_TRACE(hexadecimal(row.address));
        TestMemory machine;
        LoadOptions options = flat(Format::flat16);
        options.load_address = GuestPhysical{row.address};
        options.entry_offset = row.entry_offset;
        EXPECT_EQ(error_of(file(pattern(row.size)), options, machine.memory).failure(), row.failure);
    }
}

void expect_flat_segments(const cpu::CpuState& state, unsigned width) {
    EXPECT_EQ(state.segment(SegmentName::cs), cpu::flat_code_segment(0x10, width));
    for (const SegmentName name :
         {SegmentName::ds, SegmentName::es, SegmentName::ss, SegmentName::fs, SegmentName::gs}) {
        EXPECT_EQ(state.segment(name), cpu::flat_data_segment(0x18));
    }
    EXPECT_TRUE(state.ldtr.attributes.unusable());
    EXPECT_EQ(state.tr.selector, 0x20u);
    EXPECT_EQ(state.tr.attributes.type(), 0xbu);  // busy, 32-bit or 64-bit
    EXPECT_TRUE(state.tr.attributes.present());
    EXPECT_EQ(state.tr.limit, 0x67u);
    EXPECT_EQ(state.idtr.limit, 0u);
    EXPECT_EQ(state.rflags, cpu::rflags::fixed_one);
}

TEST(Flat32, IsProtectedModeWithoutPaging) {
    TestMemory machine;
    LoadOptions options = flat(Format::flat32);
    options.entry_offset = 4;
    const cpu::CpuState state = load(file(pattern(100)), options, machine.memory).entry_state;
    EXPECT_EQ(machine.read(0x100000, 100), pattern(100));
    EXPECT_EQ(state.mode(), cpu::Mode::protected32);
    EXPECT_EQ(state.rip, 0x100004u);
    EXPECT_EQ(state.cr0, cpu::cr0::pe | cpu::cr0::et);
    EXPECT_EQ(state.cr4, 0u);
    EXPECT_EQ(state.msr.efer, 0u);
    EXPECT_EQ(state.registers[cpu::rsp], 0x22000u);
    expect_flat_segments(state, 32);
}

// The descriptors as the manual lays them out, so that a reload of any segment register gives what it has.
TEST(Flat32, TheDescriptorTableReloadsTheSameSegments) {
    TestMemory machine;
    const cpu::CpuState state = load(file(pattern(100)), flat(Format::flat32), machine.memory).entry_state;
    EXPECT_EQ(state.gdtr, (cpu::DescriptorTable{0x10000, 0x3f}));
    const std::uint64_t expected[8] = {
        0, 0x00cf9b000000ffff, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00008b0101000067,
        0, 0x00009b000000ffff, 0x000093000000ffff,
    };
    for (unsigned i = 0; i < 8; ++i) EXPECT_EQ(machine.number(0x10000 + i * 8, 8), expected[i]) << "descriptor " << i;
    EXPECT_EQ(state.tr.base, 0x10100u);
    EXPECT_EQ(machine.number(0x10100 + 0x66, 2), 0x68u);
}

TEST(Flat64, IsLongMode) {
    TestMemory machine;
    const cpu::CpuState state = load(file(pattern(100)), flat(Format::flat64), machine.memory).entry_state;
    EXPECT_EQ(state.mode(), cpu::Mode::long64);
    EXPECT_EQ(state.rip, 0x100000u);
    EXPECT_EQ(state.cr0, cpu::cr0::pe | cpu::cr0::pg | cpu::cr0::et | cpu::cr0::ne);
    EXPECT_EQ(state.cr4, cpu::cr4::pae);
    EXPECT_EQ(state.msr.efer, cpu::efer::lme | cpu::efer::lma);
    EXPECT_EQ(state.cpl(), 0u);
    expect_flat_segments(state, 64);
    EXPECT_EQ(machine.number(0x10010, 8), 0x00af9b000000ffffu);  // CS: L = 1, D = 0
}

TEST(Flat64, TheFirstFourGibibytesAreIdentityMapped) {
    TestMemory machine;
    const cpu::CpuState state = load(file(pattern(100)), flat(Format::flat64), machine.memory).entry_state;
    mmu::PagingContext context;
    context.cr0 = state.cr0;
    context.cr3 = state.cr3;
    context.cr4 = state.cr4;
    context.efer = state.msr.efer;
    for (std::uint64_t address = 0x123; address < four_gibibytes; address += 0x200000) {
        for (const mmu::Privilege privilege : {mmu::Privilege::supervisor, mmu::Privilege::user}) {
            const auto result = mmu::walk(machine.memory, context, {address}, mmu::Access::write, privilege);
            ASSERT_TRUE(std::holds_alternative<mmu::Translation>(result)) << hexadecimal(address);
            const auto& translation = std::get<mmu::Translation>(result);
            ASSERT_EQ(translation.physical.value, address);
            ASSERT_EQ(translation.mapping_size, 0x200000u);
            ASSERT_TRUE(translation.execute_allowed);
        }
    }
    const auto outside =
        mmu::walk(machine.memory, context, {four_gibibytes}, mmu::Access::read, mmu::Privilege::supervisor);
    EXPECT_TRUE(std::holds_alternative<mmu::PageFaultInformation>(outside));
}

TEST(BootTables, MakeWayForTheImage) {
    const struct {
        std::uint64_t address, size, tables;
    } cases[] = {
        {0x22000, 0x1000, 0x10000},  // just above: they stay
        {0xf000, 0x1000, 0x10000},   // just below
        {0x21fff, 0x1000, 0x1000},   // one byte in: the lowest place above the real-mode vectors
        {0x8000, 0x9000, 0x11000},  {0x1000, 0x80000, 0x81000}, {0x1000, 0x90000, 0x100000},  // no room below 640 KiB
    };
    for (const auto& row : cases) {
        SCOPED_TRACE(hexadecimal(row.address));
        TestMemory machine;
        LoadOptions options = flat(Format::flat64);
        options.load_address = GuestPhysical{row.address};
        const LoadedImage loaded = load(file(pattern(row.size)), options, machine.memory);
        EXPECT_EQ(machine.read(row.address, row.size), pattern(row.size));
        EXPECT_EQ(loaded.entry_state.gdtr.base, row.tables);
        EXPECT_EQ(loaded.entry_state.cr3, row.tables + 0x1000);
        EXPECT_EQ(loaded.placed.back().what, "boot tables");
        EXPECT_EQ(loaded.placed.back().start.value, row.tables);
    }
}

TEST(BootTables, AvoidWhatTheMemoryMapReserves) {
    TestMemory machine;
    LoadOptions options = flat(Format::flat32);
    options.memory_map = {{{0}, 0x11000, MemoryType::usable},
                          {{0x11000}, 0x1000, MemoryType::reserved},
                          {{0x12000}, 0x8e000, MemoryType::usable},
                          {{0x100000}, 0x3f00000, MemoryType::usable}};
    EXPECT_EQ(load(file(pattern(100)), options, machine.memory).entry_state.gdtr.base, 0x12000u);
}

TEST(BootTables, NoRoomIsAnError) {
    mmu::GuestMemory memory;
    memory.add_ram({0}, 0x20000, "small");
    LoadOptions options = flat(Format::flat32);
    options.load_address = GuestPhysical{0xe000};
    EXPECT_STREQ(error_of(file(pattern(100)), options, memory).what(),
                 "test.img: offset 0x0: expected 0x12000 bytes of free RAM below 4 GiB for boot tables, found none "
                 "beside the image");
}

TEST(FlatImages, TakeNoModulesOrCommandLine) {
    TestMemory machine;
    LoadOptions options = flat(Format::flat32);
    options.command_line = "x";
    EXPECT_EQ(error_of(file(pattern(4)), options, machine.memory).failure(), LoadFailure::unsupported);
    options.command_line.clear();
    options.modules.push_back({file(pattern(4), "initrd")});
    EXPECT_EQ(error_of(file(pattern(4)), options, machine.memory).failure(), LoadFailure::unsupported);
}

TEST(Formats, HaveNames) {
    for (const Format format : {Format::automatic, Format::flat16, Format::flat32, Format::flat64, Format::elf,
                                Format::multiboot, Format::pvh, Format::bzimage}) {
        EXPECT_EQ(format_from_name(format_name(format)), format) << format_name(format);
    }
    EXPECT_EQ(format_from_name("BZIMAGE"), std::nullopt);
}

TEST(AutomaticFormat, KnowsEachSmallImage) {
    const struct {
        std::string name;
        Format format;
    } cases[] = {
        {"elf32", Format::elf},
        {"elf64", Format::elf},
        {"multiboot-elf", Format::multiboot},
        {"multiboot-raw", Format::multiboot},
        {"pvh32", Format::pvh},
        {"pvh64", Format::pvh},
        {"bzimage64", Format::bzimage},
        {"bzimage32", Format::bzimage},
    };
    for (const NamedImage& image : small_images()) {
        TestMemory machine;
        for (const auto& [name, format] : cases) {
            if (name != image.name) continue;
            EXPECT_EQ(load(file(image.bytes), {}, machine.memory).format, format) << name;
        }
    }
}

TEST(AutomaticFormat, AsksForAFlatFormatOtherwise) {
    const struct {
        Bytes bytes;
        std::string found;
    } cases[] = {
        {pattern(600), "none of their signatures"},
        {{std::byte{0x1f}, std::byte{0x8b}}, "gzip data (unpack it with gunzip first)"},
        {text("MZ......"), "an EFI or DOS program"},
        {{std::byte{1}}, "none of their signatures"},
    };
    for (const auto& [bytes, found] : cases) {
        TestMemory machine;
        const LoadError error = error_of(file(bytes), {}, machine.memory);
        EXPECT_EQ(error.failure(), LoadFailure::unsupported);
        EXPECT_THAT(error.expected(), ::testing::HasSubstr("--format flat16, flat32 or flat64"));
        EXPECT_EQ(error.found(), found);
    }
}

TEST(AutomaticFormat, AddressesAreForFlatImagesOnly) {
    TestMemory machine;
    LoadOptions options;
    options.load_address = GuestPhysical{0x200000};
    EXPECT_EQ(error_of(file(LinuxImage{}.build()), options, machine.memory).failure(), LoadFailure::unsupported);
}

TEST(AnyFormat, RefusesEmptyFilesAndLongMemoryMaps) {
    TestMemory machine;
    EXPECT_EQ(error_of(file({}), {}, machine.memory).failure(), LoadFailure::cannot_read);
    LoadOptions options;
    options.modules.push_back({file({}, "initrd")});
    const LoadError error = error_of(file(LinuxImage{}.build()), options, machine.memory);
    EXPECT_EQ(error.failure(), LoadFailure::cannot_read);
    EXPECT_EQ(error.file(), "initrd");

    options = {};
    options.memory_map.assign(129, {{0x5000000}, 0x1000, MemoryType::reserved});
    options.memory_map[0] = {{0}, 0x4000000, MemoryType::usable};
    EXPECT_STREQ(error_of(file(LinuxImage{}.build()), options, machine.memory).what(),
                 "test.img: offset 0x0: expected a memory map of at most 128 entries, found 129 entries");
}

}  // namespace
}  // namespace xenolith::loader::testing
