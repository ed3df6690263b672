// Plain ELF executables: placement by physical address, entry states, and every field that can be wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "loader/layout.hpp"
#include "tests/loader/test_machine.hpp"

namespace xenolith::loader::testing {
namespace {

ElfImage two_segments(bool is_64bit) {
    return {is_64bit,
            2,
            0,
            0x100010,
            {{1, pattern(48), 0x100000, 0x100000, 0x2000}, {1, pattern(16, 9), 0x300000, 0x200000}}};
}

class ElfByClass : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(, ElfByClass, ::testing::Bool(),
                         [](const auto& row) { return row.param ? "Elf64" : "Elf32"; });

TEST_P(ElfByClass, SegmentsGoToTheirPhysicalAddresses) {
    TestMemory machine;
    const Bytes dirt(0x3000, std::byte{0xee});
    ASSERT_TRUE(machine.memory.write({0x100000}, dirt));
    const LoadedImage loaded = load(file(two_segments(GetParam()).build()), {}, machine.memory);
    EXPECT_EQ(loaded.format, Format::elf);
    EXPECT_EQ(machine.read(0x100000, 48), pattern(48));
    EXPECT_EQ(machine.read(0x100030, 0x2000 - 48), Bytes(0x2000 - 48)) << "what the file does not fill is zeroed";
    EXPECT_EQ(machine.read(0x102000, 16), Bytes(16, std::byte{0xee})) << "and nothing after it";
    EXPECT_EQ(machine.read(0x200000, 16), pattern(16, 9));
    EXPECT_EQ(loaded.entry_state.rip, 0x100010u);
    EXPECT_EQ(loaded.entry_state.mode(), GetParam() ? cpu::Mode::long64 : cpu::Mode::protected32);
    EXPECT_EQ(loaded.entry_state.registers[cpu::rsp], 0x22000u);
}

TEST_P(ElfByClass, TheEntryIsTranslatedThroughItsSegment) {
    const struct {
        std::uint64_t entry, physical;
    } cases[] = {
        {0x100000, 0x100000},
        {0x101fff, 0x101fff},  // in memory only
        {0x300004, 0x200004},  // a virtual address
        {0x200004, 0x200004},  // only a physical one
    };
    for (const auto& [entry, physical] : cases) {
        TestMemory machine;
        ElfImage image = two_segments(GetParam());
        image.entry = entry;
        EXPECT_EQ(load(file(image.build()), {}, machine.memory).entry_state.rip, physical) << hexadecimal(entry);
    }
}

TEST_P(ElfByClass, AnEntryOutsideEverySegmentIsRefused) {
    for (const std::uint64_t entry : {0x0ull, 0xfffffull, 0x102000ull, 0x200010ull, 0x300010ull, 0xffffffffull}) {
        TestMemory machine;
        ElfImage image = two_segments(GetParam());
        image.entry = entry;
        const LoadError error = error_of(file(image.build()), {}, machine.memory);
        EXPECT_EQ(error.offset(), 24u);
        EXPECT_EQ(error.what(), "test.img: offset 0x18: expected an entry point inside a loaded segment, found " +
                                    hexadecimal(entry));
    }
}

TEST_P(ElfByClass, SharedObjectsLoadWhereTheyStand) {
    TestMemory machine;
    ElfImage image = two_segments(GetParam());
    image.type = 3;
    EXPECT_EQ(load(file(image.build()), {}, machine.memory).entry_state.rip, 0x100010u);
}

TEST_P(ElfByClass, OtherProgramHeadersAreIgnored) {
    TestMemory machine;
    ElfImage image = two_segments(GetParam());
    // PT_PHDR, PT_GNU_STACK, a note of another owner, an empty PT_LOAD at an impossible address.
    image.parts.push_back({6, pattern(4), 0xb0000, 0xb0000, 1 << 20});
    image.parts.push_back({0x6474e551, {}, 0, 0});
    image.parts.push_back({4, note("GNU", 18, pattern(4)), 0, 0});
    image.parts.push_back({1, {}, 0xb0000, 0xb0000});
    const LoadedImage loaded = load(file(image.build()), {}, machine.memory);
    EXPECT_EQ(loaded.format, Format::elf);
    EXPECT_EQ(loaded.placed.size(), 3u);
}

TEST_P(ElfByClass, EveryBadFieldIsNamed) {
    const bool wide = GetParam();
    const ElfImage good = two_segments(wide);
    const std::size_t first = good.program_header(0), second = good.program_header(1);
    const std::size_t sizes = wide ? 52 : 40, word = wide ? 8 : 4;
    const std::size_t file_offset = wide ? 8 : 4, physical = wide ? 24 : 12, file_size = wide ? 32 : 16,
                      memory_size = wide ? 40 : 20;
    const std::uint64_t huge = wide ? UINT64_MAX : UINT32_MAX;
    const struct {
        std::string what;
        std::size_t offset;
        std::uint64_t value;
        std::size_t width;
        LoadFailure failure;
        std::size_t reported_at;
        std::string expected;
    } cases[] = {
        {"signature", 0, 'x', 1, LoadFailure::malformed, 0, "the ELF signature"},
        {"class", 4, 3, 1, LoadFailure::malformed, 4, "ELF class 1 (32-bit) or 2 (64-bit)"},
        {"byte order", 5, 2, 1, LoadFailure::unsupported, 5, "little-endian"},
        {"version", 6, 0, 1, LoadFailure::malformed, 6, "ELF version 1"},
        {"type", 16, 1, 2, LoadFailure::unsupported, 16, "ELF type 2 (executable) or 3 (shared)"},
        {"machine", 18, 40, 2, LoadFailure::unsupported, 18, "ELF machine"},
        {"the other class's machine", 18, wide ? 3u : 62u, 2, LoadFailure::unsupported, 18, "ELF machine"},
        {"table offset", 24 + word, huge, word, LoadFailure::malformed, 24 + word, "the program header table"},
        {"table entry size", sizes + 2, 8, 2, LoadFailure::malformed, sizes + 2, "program headers of at least"},
        {"table entry size past the end", sizes + 2, 0xffff, 2, LoadFailure::malformed, 24 + word,
         "the program header table"},
        {"no headers", sizes + 4, 0, 2, LoadFailure::malformed, sizes + 4, "at least one program header"},
        {"too many headers", sizes + 4, 0xffff, 2, LoadFailure::unsupported, sizes + 4, "at most 256"},
        {"more headers than the file has", sizes + 4, 256, 2, LoadFailure::malformed, 24 + word, "inside the file"},
        {"file offset", first + file_offset, huge, word, LoadFailure::malformed, first + file_offset,
         "program header 0's bytes inside the file"},
        {"file size", second + file_size, huge, word, LoadFailure::malformed, second + file_offset,
         "program header 1's bytes inside the file"},
        {"memory size below file size", first + memory_size, 47, word, LoadFailure::malformed, first + memory_size,
         "program header 0's size in memory to be at least its size in the file, 0x30"},
        {"a hole", second + physical, 0xa0000, word, LoadFailure::does_not_fit, second + physical,
         "program header 1's segment inside RAM"},
        {"half in a hole", second + physical, 0x3fffff8, word, LoadFailure::does_not_fit, second + physical,
         "program header 1's segment inside RAM"},
        {"ROM", second + physical, 0xf0000, word, LoadFailure::does_not_fit, second + physical,
         "program header 1's segment inside RAM"},
        {"the last address", second + physical, huge, word, LoadFailure::does_not_fit, second + physical,
         "program header 1's segment inside RAM"},
        {"memory size", first + memory_size, huge, word, LoadFailure::does_not_fit, first + physical,
         "program header 0's segment inside RAM"},
        {"overlap", second + physical, 0x101fff, word, LoadFailure::malformed, second + physical,
         "program header 1's segment clear of program header 0's"},
        {"overlap from below", second + physical, 0xffff1, word, LoadFailure::does_not_fit, second + physical, "RAM"},
        {"the same place", second + physical, 0x100000, word, LoadFailure::malformed, second + physical, "clear of"},
    };
    for (const auto& row : cases) {
        SCOPED_TRACE(row.what);
        TestMemory machine;
        Bytes bytes = good.build();
        put(bytes, row.offset, row.value, row.width);
        LoadOptions options;
        options.format = Format::elf;
        const LoadError error = error_of(file(bytes), options, machine.memory);
        EXPECT_EQ(error.failure(), row.failure) << error.what();
        EXPECT_EQ(error.offset(), row.reported_at) << error.what();
        EXPECT_THAT(error.expected(), ::testing::HasSubstr(row.expected));
    }
}

TEST(Elf, SegmentsThatTouchDoNotOverlap) {
    TestMemory machine;
    const ElfImage image{
        true, 2, 0, 0x102000, {{1, pattern(16), 0x102000, 0x102000}, {1, pattern(48), 0x100000, 0x100000, 0x2000}}};
    EXPECT_EQ(load(file(image.build()), {}, machine.memory).entry_state.rip, 0x102000u);
}

TEST(Elf, HigherHalfKernelsEnterAtTheirPhysicalAddress) {
    TestMemory machine;
    const ElfImage image{true, 2, 0, 0xffffffff81000008, {{1, pattern(48), 0xffffffff81000000, 0x1000000}}};
    EXPECT_EQ(load(file(image.build()), {}, machine.memory).entry_state.rip, 0x1000008u);
}

TEST(Elf, AnEntryAbove4GibIsRefused) {
    mmu::GuestMemory memory;
    memory.add_ram({0}, 0x100000, "low");
    memory.add_ram({four_gibibytes}, 0x100000, "high");
    const ElfImage image{true, 2, 0, four_gibibytes + 4, {{1, pattern(48), four_gibibytes, four_gibibytes}}};
    EXPECT_EQ(error_of(file(image.build()), {}, memory).failure(), LoadFailure::does_not_fit);
}

TEST(Elf, ALargeBssTouchesNoMemory) {
    mmu::GuestMemory memory;
    memory.add_ram({0}, std::uint64_t{1} << 30, "ram");
    const ElfImage image{false, 2, 0, 0x100000, {{1, pattern(48), 0x100000, 0x100000, 0x3ff00000}}};
    LoadOptions options;
    (void)load(file(image.build()), options, memory);
    EXPECT_LT(memory.take_dirty_pages().size(), 20u);
}

TEST(Elf, TakesNoModulesOrCommandLine) {
    TestMemory machine;
    LoadOptions options;
    options.command_line = "x";
    EXPECT_EQ(error_of(file(two_segments(true).build()), options, machine.memory).failure(), LoadFailure::unsupported);
}

TEST(Elf, DescribesWhatWentWhere) {
    TestMemory machine;
    EXPECT_THAT(load(file(two_segments(false).build()), {}, machine.memory).description,
                ::testing::ElementsAre("32-bit ELF executable",
                                       "program header 0: 0x30 bytes of the file, 0x2000 in memory, at 0x100000",
                                       "program header 1: 0x10 bytes of the file, 0x10 in memory, at 0x200000",
                                       "32-bit protected mode, entry 0x100010, boot tables at 0x10000"));
}

}  // namespace
}  // namespace xenolith::loader::testing
