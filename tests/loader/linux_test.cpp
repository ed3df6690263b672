// bzImage: header checks, placement of kernel and initrd, boot_params, both entries.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "loader/layout.hpp"
#include "tests/loader/test_machine.hpp"

namespace xenolith::loader::testing {
namespace {

using cpu::SegmentName;

constexpr std::uint64_t parameters = 0x17000;

LoadedImage load_linux(const LinuxImage& image, const LoadOptions& options, TestMemory& machine) {
    return load(file(image.build()), options, machine.memory);
}

TEST(Linux, TheSixtyFourBitEntry) {
    TestMemory machine;
    const LoadedImage loaded = load_linux({}, {}, machine);
    const cpu::CpuState& state = loaded.entry_state;
    EXPECT_EQ(loaded.format, Format::bzimage);
    EXPECT_EQ(state.mode(), cpu::Mode::long64);
    EXPECT_EQ(state.rip, 0x1000200u);
    EXPECT_EQ(state.registers[cpu::rsi], parameters);
    EXPECT_EQ(state.segment(SegmentName::cs), cpu::flat_code_segment(0x10, 64));
    EXPECT_EQ(state.segment(SegmentName::ss), cpu::flat_data_segment(0x18));
    EXPECT_EQ(state.rflags, cpu::rflags::fixed_one);
    EXPECT_EQ(machine.read(0x1000000, 0x300), pattern(0x300));
    EXPECT_EQ(loaded.kernel_version, "6.1.0-test (builder) #1");
    EXPECT_THAT(loaded.description,
                ::testing::ElementsAre("bzImage, boot protocol 2.15, kernel version 6.1.0-test (builder) #1",
                                       "kernel: 0x300 bytes at 0x1000000", "command line at 0x1a000: \"\"",
                                       "64-bit entry at 0x1000200, boot_params at 0x17000"));
}

TEST(Linux, TheThirtyTwoBitEntry) {
    TestMemory machine;
    LoadOptions options;
    options.linux_entry = LinuxEntry::entry32;
    const cpu::CpuState state = load_linux({}, options, machine).entry_state;
    EXPECT_EQ(state.mode(), cpu::Mode::protected32);
    EXPECT_FALSE(state.paging());
    EXPECT_EQ(state.rip, 0x1000000u);
    EXPECT_EQ(state.registers[cpu::rsi], parameters);
    for (const auto name : {cpu::rbp, cpu::rdi, cpu::rbx}) EXPECT_EQ(state.registers[name], 0u);
    EXPECT_EQ(state.segment(SegmentName::cs), cpu::flat_code_segment(0x10, 32));
    EXPECT_EQ(state.segment(SegmentName::ds), cpu::flat_data_segment(0x18));
}

TEST(Linux, TheEntryFollowsWhatTheKernelOffers) {
    const struct {
        std::uint16_t version, flags;
        LinuxEntry wanted;
        cpu::Mode mode;
        bool refused;
    } cases[] = {
        {0x20f, 1, LinuxEntry::automatic, cpu::Mode::long64, false},
        {0x20f, 1, LinuxEntry::entry64, cpu::Mode::long64, false},
        {0x20f, 0, LinuxEntry::automatic, cpu::Mode::protected32, false},
        {0x20f, 0, LinuxEntry::entry64, cpu::Mode::long64, true},
        {0x20b, 1, LinuxEntry::automatic, cpu::Mode::protected32, false},  // the flags are newer than this
        {0x20b, 1, LinuxEntry::entry64, cpu::Mode::long64, true},
    };
    for (const auto& row : cases) {
        TestMemory machine;
        LoadOptions options;
        options.linux_entry = row.wanted;
        const LinuxImage image{.version = row.version, .extended_load_flags = row.flags};
        if (row.refused) {
            const LoadError error = error_of(file(image.build()), options, machine.memory);
            EXPECT_EQ(error.failure(), LoadFailure::unsupported);
            EXPECT_EQ(error.offset(), 0x236u);
        } else {
            EXPECT_EQ(load_linux(image, options, machine).entry_state.mode(), row.mode);
        }
    }
}

TEST(Linux, BootParametersHoldTheHeaderWithTheLoadersAnswers) {
    TestMemory machine;
    LoadOptions options;
    options.command_line = "console=ttyS0 quiet";
    options.rsdp = {0xe0010};
    const LinuxImage image;
    (void)load_linux(image, options, machine);
    const auto number = [&](std::uint64_t offset, std::size_t width) {
        return machine.number(parameters + offset, width);
    };
    EXPECT_EQ(number(0x202, 4), 0x53726448u);
    EXPECT_EQ(number(0x206, 2), 0x20fu);
    EXPECT_EQ(number(0x1fa, 2), 0xffffu);  // vid_mode: normal
    EXPECT_EQ(number(0x210, 1), 0xffu);    // type_of_loader
    EXPECT_EQ(number(0x211, 1), 1u);
    EXPECT_EQ(number(0x214, 4), 0x1000000u);  // code32_start
    EXPECT_EQ(number(0x218, 8), 0u);          // no initrd
    EXPECT_EQ(machine.string(number(0x228, 4)), "console=ttyS0 quiet");
    EXPECT_EQ(number(0x258, 8), 0x1000000u);
    EXPECT_EQ(number(0x260, 4), 0x300000u);
    EXPECT_EQ(number(0x250, 8), 0u);
    EXPECT_EQ(number(0x70, 8), 0xe0010u);
    EXPECT_EQ(number(0x1ef, 1), 0u) << "the sentinel tells the kernel that the rest was cleared";
    EXPECT_EQ(machine.read(parameters + 0x26c, 0x2d0 - 0x26c), Bytes(0x2d0 - 0x26c)) << "nothing behind the header";
    // Text screen: mode 3, 80 columns, 25 lines, VGA.
    EXPECT_EQ(number(0x06, 1), 3u);
    EXPECT_EQ(number(0x07, 1), 80u);
    EXPECT_EQ(number(0x0e, 1), 25u);
    EXPECT_EQ(number(0x0f, 1), 1u);
}

TEST(Linux, SetupDataInTheFileIsNotBelieved) {
    TestMemory machine;
    Bytes bytes = LinuxImage{}.build();
    put(bytes, 0x250, 0x123456789, 8);
    put(bytes, 0x218, 0x55555555, 4);
    put(bytes, 0x21c, 0x66666666, 4);
    (void)load(file(bytes), {}, machine.memory);
    EXPECT_EQ(machine.number(parameters + 0x250, 8), 0u);
    EXPECT_EQ(machine.number(parameters + 0x218, 8), 0u);
}

TEST(Linux, TheMemoryMapIsAnE820Table) {
    TestMemory machine;
    LoadOptions options;
    options.memory_map = {{{0}, 0x9fc00, MemoryType::usable},
                          {{0x9fc00}, 0x60400, MemoryType::reserved},
                          {{0x100000}, 0x3f00000, MemoryType::usable},
                          {{0xfeffc000}, 0x4000, MemoryType::acpi_nvs}};
    (void)load_linux({}, options, machine);
    ASSERT_EQ(machine.number(parameters + 0x1e8, 1), 4u);
    for (std::size_t i = 0; i < 4; ++i) {
        const std::uint64_t at = parameters + 0x2d0 + i * 20;
        EXPECT_EQ(machine.number(at, 8), options.memory_map[i].start.value);
        EXPECT_EQ(machine.number(at + 8, 8), options.memory_map[i].size);
        EXPECT_EQ(machine.number(at + 16, 4), static_cast<std::uint32_t>(options.memory_map[i].type));
    }
    EXPECT_EQ(machine.number(parameters + 0x1e0, 4), 63u * 1024);
}

TEST(Linux, AFullMemoryMapFits) {
    TestMemory machine;
    LoadOptions options;
    options.memory_map.assign(128, {{0x5000000}, 0x1000, MemoryType::reserved});
    options.memory_map[0] = {{0}, 0x4000000, MemoryType::usable};
    (void)load_linux({}, options, machine);
    EXPECT_EQ(machine.number(parameters + 0x1e8, 1), 128u);
    EXPECT_EQ(machine.number(parameters + 0x2d0 + 127 * 20, 8), 0x5000000u);
}

TEST(LinuxKernel, GoesWhereItPrefersOrElseWhereItFits) {
    const struct {
        std::string what;
        LinuxImage image;
        std::vector<MemoryMapEntry> map;
        std::uint64_t start;
    } cases[] = {
        {"preferred", {}, {}, 0x1000000},
        {"no preference: the lowest aligned place", {.preferred_address = 0}, {}, 0x200000},
        {"an older protocol states none", {.version = 0x209}, {}, 0x200000},
        {"alignment", {.alignment = 0x800000, .preferred_address = 0}, {}, 0x800000},
        {"an unaligned preference", {.alignment = 0x200000, .preferred_address = 0x1001000}, {}, 0x200000},
        {"the preference is above RAM", {.preferred_address = 0x100000000}, {}, 0x200000},
        {"the preference overflows", {.preferred_address = 0xffffffffffe00000}, {}, 0x200000},
        {"init_size reaches past RAM", {.preferred_address = 0x3e00000}, {}, 0x200000},
        {"the preference is reserved",
         {},
         {{{0}, 0x1000000, MemoryType::usable}, {{0x1400000}, 0x2c00000, MemoryType::usable}},
         0x200000},
        {"only higher memory has room",
         {},
         {{{0}, 0x400000, MemoryType::usable}, {{0x1400000}, 0x2c00000, MemoryType::usable}},
         0x1400000},
    };
    for (const auto& row : cases) {
        SCOPED_TRACE(row.what);
        TestMemory machine;
        LoadOptions options;
        options.memory_map = row.map;
        const LoadedImage loaded = load_linux(row.image, options, machine);
        const std::uint64_t offset = loaded.entry_state.in_long_mode() ? 0x200 : 0;
        EXPECT_EQ(loaded.entry_state.rip, row.start + offset);
        EXPECT_EQ(machine.number(parameters + 0x214, 4), row.start);
        EXPECT_EQ(machine.read(row.start, 0x300), pattern(0x300));
        EXPECT_EQ(loaded.placed[0].start.value, row.start);
    }
}

TEST(LinuxKernel, ThatCannotMoveIsLoadedAtOneMebibyte) {
    TestMemory machine;
    const LinuxImage image{.relocatable = false, .preferred_address = 0x1000000};
    const LoadedImage loaded = load_linux(image, {}, machine);
    EXPECT_EQ(loaded.entry_state.rip, 0x100200u);
    ASSERT_GE(loaded.placed.size(), 2u);
    EXPECT_EQ(loaded.placed[1].what, "kernel, unpacked");
    EXPECT_EQ(loaded.placed[1].start.value, 0x1000000u);
    EXPECT_EQ(loaded.placed[1].size, 0x300000u);
}

TEST(LinuxKernel, WithoutRoomIsRefused) {
    const struct {
        LinuxImage image;
        std::uint64_t reported_at;
    } cases[] = {
        {{.init_size = 0x3f00000}, 0x260},  // as large as all RAM, but not aligned
        {{.init_size = 0xffffffff}, 0x260},
        {{.alignment = 0x80000000}, 0x260},
        {{.relocatable = false, .preferred_address = 0x100000, .init_size = 0x4000000}, 0x258},
        {{.relocatable = false, .preferred_address = 0xfffffffffffff000}, 0x258},
    };
    for (const auto& row : cases) {
        TestMemory machine;
        const LoadError error = error_of(file(row.image.build()), {}, machine.memory);
        EXPECT_EQ(error.failure(), LoadFailure::does_not_fit) << error.what();
        EXPECT_EQ(error.offset(), row.reported_at) << error.what();
    }
    mmu::GuestMemory memory;
    memory.add_ram({0}, 0x100000, "one mebibyte");
    EXPECT_EQ(error_of(file(LinuxImage{.relocatable = false}.build()), {}, memory).offset(), 0x234u);
}

TEST(LinuxInitrd, GoesAsHighAsAllowed) {
    const struct {
        std::string what;
        std::uint32_t limit;
        std::uint64_t size, start;
    } cases[] = {
        {"below the top of RAM", 0x7fffffff, 0x1800, 0x3ffe000},
        {"below initrd_addr_max", 0x2ffffff, 0x1000, 0x2fff000},
        {"initrd_addr_max inside a page", 0x2fff7ff, 0x1000, 0x2ffe000},
        {"below the kernel", 0x12fffff, 0x1000, 0xfff000},
        {"in low memory, above the boot tables", 0xfffff, 0x7e000, 0x22000},
    };
    for (const auto& row : cases) {
        SCOPED_TRACE(row.what);
        TestMemory machine;
        LoadOptions options;
        options.modules.push_back({file(pattern(row.size), "initrd")});
        (void)load_linux({.initrd_address_max = row.limit}, options, machine);
        EXPECT_EQ(machine.number(parameters + 0x218, 4), row.start);
        EXPECT_EQ(machine.number(parameters + 0x21c, 4), row.size);
        EXPECT_EQ(machine.read(row.start, row.size), pattern(row.size));
    }
}

TEST(LinuxInitrd, WithoutRoomIsRefusedByItsName) {
    TestMemory machine;
    LoadOptions options;
    options.modules.push_back({file(Bytes(0x3000000), "initrd.gz")});
    const LoadError error = error_of(file(LinuxImage{}.build()), options, machine.memory);
    EXPECT_EQ(error.failure(), LoadFailure::does_not_fit);
    EXPECT_EQ(error.file(), "initrd.gz");
    EXPECT_EQ(error.found(), "0x3000000 bytes");
}

TEST(LinuxInitrd, ThereIsOnlyOne) {
    TestMemory machine;
    LoadOptions options;
    options.modules.assign(2, {file(pattern(4), "initrd")});
    EXPECT_EQ(error_of(file(LinuxImage{}.build()), options, machine.memory).failure(), LoadFailure::unsupported);
}

TEST(LinuxCommandLine, IsAsLongAsTheKernelAllows) {
    TestMemory machine;
    LoadOptions options;
    options.command_line.assign(2047, 'x');
    (void)load_linux({}, options, machine);
    EXPECT_EQ(machine.string(0x1a000).size(), 2047u);
    options.command_line += 'x';
    EXPECT_STREQ(error_of(file(LinuxImage{}.build()), options, machine.memory).what(),
                 "test.img: offset 0x238: expected a command line of at most 2047 bytes, found 2048 bytes");
}

TEST(LinuxCommandLine, AHugeStatedLimitIsCutToTheBootAreas) {
    TestMemory machine;
    LoadOptions options;
    options.command_line.assign(0x4000, 'x');
    EXPECT_EQ(error_of(file(LinuxImage{.command_line_size = UINT32_MAX}.build()), options, machine.memory).failure(),
              LoadFailure::does_not_fit);
}

TEST(LinuxHeader, EveryBadFieldIsNamed) {
    const struct {
        std::string what;
        std::size_t offset;
        std::uint64_t value;
        std::size_t width;
        LoadFailure failure;
        std::size_t reported_at;
        std::string expected;
    } cases[] = {
        {"boot flag", 0x1fe, 0, 2, LoadFailure::malformed, 0x1fe, "0xaa55"},
        {"signature", 0x202, 0, 4, LoadFailure::malformed, 0x202, "HdrS"},
        {"version", 0x206, 0x205, 2, LoadFailure::unsupported, 0x206, "boot protocol 2.06 or later"},
        {"zImage", 0x211, 0, 1, LoadFailure::unsupported, 0x211, "loaded high"},
        {"short header", 0x201, 0x39, 1, LoadFailure::malformed, 0x201, "a setup header that ends from 0x23c to 0x290"},
        {"long header", 0x201, 0x8f, 1, LoadFailure::malformed, 0x201, "a setup header that ends"},
        {"setup sectors", 0x1f1, 4, 1, LoadFailure::malformed, 0x1f1, "a kernel behind the setup code"},
        {"no setup sectors mean 4", 0x1f1, 0, 1, LoadFailure::malformed, 0x1f1, "a kernel behind the setup code"},
        {"kernel size", 0x1f4, 0x31, 4, LoadFailure::malformed, 0x1f4, "at most the 0x300 bytes"},
        {"huge kernel size", 0x1f4, 0xffffffff, 4, LoadFailure::malformed, 0x1f4, "at most the 0x300 bytes"},
        {"no alignment", 0x230, 0, 4, LoadFailure::malformed, 0x230, "a power of two"},
        {"odd alignment", 0x230, 0x300000, 4, LoadFailure::malformed, 0x230, "a power of two"},
        {"kernel shorter than its entry", 0x1f4, 0x20, 4, LoadFailure::malformed, 0x1f4, "64-bit entry"},
    };
    for (const auto& row : cases) {
        SCOPED_TRACE(row.what);
        TestMemory machine;
        Bytes bytes = LinuxImage{}.build();
        put(bytes, row.offset, row.value, row.width);
        LoadOptions options;
        options.format = Format::bzimage;
        const LoadError error = error_of(file(bytes), options, machine.memory);
        EXPECT_EQ(error.failure(), row.failure) << error.what();
        EXPECT_EQ(error.offset(), row.reported_at) << error.what();
        EXPECT_THAT(error.expected(), ::testing::HasSubstr(row.expected));
    }
}

TEST(LinuxHeader, WhatFollowsTheStatedSizeIsNotLoaded) {
    TestMemory machine;
    Bytes bytes = LinuxImage{}.build();
    append(bytes, Bytes(64, std::byte{0xee}));  // a signature
    (void)load(file(bytes), {}, machine.memory);
    EXPECT_EQ(machine.read(0x1000300, 64), Bytes(64));
}

TEST(LinuxHeader, KernelVersionsMayBeAbsentOrHostile) {
    const struct {
        std::uint64_t pointer;
        std::string text, version;
    } cases[] = {
        {0, "x", ""},
        {0x400, "x", ""},   // at the end of the setup code
        {0xffff, "x", ""},  // past it
        {0x3ff, "x", "x"},  // its last byte, and no NUL
        {0x100, "6.1\n\xff", "6.1??"},
        {0x100, std::string(200, 'v'), std::string(128, 'v')},
    };
    for (const auto& row : cases) {
        TestMemory machine;
        LinuxImage image;
        image.kernel_version.clear();
        Bytes bytes = image.build();
        put(bytes, 0x20e, row.pointer, 2);
        const Bytes characters = text(row.text);
        for (std::size_t i = 0; i < characters.size() && row.pointer + 0x200 + i < 0x600; ++i) {
            bytes[row.pointer + 0x200 + i] = characters[i];
        }
        EXPECT_EQ(load(file(bytes), {}, machine.memory).kernel_version, row.version);
    }
}

}  // namespace
}  // namespace xenolith::loader::testing
