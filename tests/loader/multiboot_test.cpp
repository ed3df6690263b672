// Multiboot 1: header search, both ways to load, the information structure, the entry state.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "loader/layout.hpp"
#include "tests/loader/test_machine.hpp"

namespace xenolith::loader::testing {
namespace {

using cpu::SegmentName;

constexpr std::uint64_t information = 0x17000;

// A raw image with its header at `header_offset`, loaded at 1 MiB.
Bytes raw_image(std::size_t header_offset, std::uint32_t flags = 0) {
    Bytes bytes = pattern(header_offset);
    const auto header_address = static_cast<std::uint32_t>(0x100000 + header_offset);
    append(bytes, multiboot_header(flags, {header_address, 0x100000, 0, 0, 0x100000}));
    append(bytes, pattern(16));
    return bytes;
}

ElfImage elf_image() {
    Bytes code = multiboot_header(3);
    append(code, pattern(32));
    return {false, 2, 0, 0x10000c, {{1, code, 0x100000, 0x100000, 0x3000}}};
}

TEST(Multiboot, EntersAsTheSpecificationSays) {
    TestMemory machine;
    const LoadedImage loaded = load(file(elf_image().build()), {}, machine.memory);
    const cpu::CpuState& state = loaded.entry_state;
    EXPECT_EQ(loaded.format, Format::multiboot);
    EXPECT_EQ(state.registers[cpu::rax], 0x2badb002u);
    EXPECT_EQ(state.registers[cpu::rbx], information);
    EXPECT_EQ(state.rip, 0x10000cu);
    EXPECT_EQ(state.mode(), cpu::Mode::protected32);
    EXPECT_FALSE(state.paging());
    EXPECT_EQ(state.rflags & (cpu::rflags::vm | cpu::rflags::if_), 0u);
    EXPECT_EQ(state.segment(SegmentName::cs), cpu::flat_code_segment(0x10, 32));
    for (const SegmentName name :
         {SegmentName::ds, SegmentName::es, SegmentName::ss, SegmentName::fs, SegmentName::gs}) {
        EXPECT_EQ(state.segment(name), cpu::flat_data_segment(0x18));
    }
}

TEST(Multiboot, InformationDescribesMemory) {
    TestMemory machine;
    LoadOptions options;
    options.memory_map = {{{0}, 0x9fc00, MemoryType::usable},          {{0x9fc00}, 0x400, MemoryType::reserved},
                          {{0x100000}, 0x1000000, MemoryType::usable}, {{0x1100000}, 0x1000000, MemoryType::usable},
                          {{0x2200000}, 0x1000, MemoryType::acpi_nvs}, {{0x2201000}, 0x1000000, MemoryType::usable}};
    (void)load(file(elf_image().build()), options, machine.memory);
    EXPECT_EQ(machine.number(information, 4),
              0x1245u);  // memory, command line, map, loader name, framebuffer
    EXPECT_EQ(machine.number(information + 4, 4), 639u);
    EXPECT_EQ(machine.number(information + 8, 4), 0x2000000u / 1024) << "two entries that touch are one";
    const std::uint64_t length = machine.number(information + 44, 4), map = machine.number(information + 48, 4);
    ASSERT_EQ(length, options.memory_map.size() * 24);
    for (std::size_t i = 0; i < options.memory_map.size(); ++i) {
        const std::uint64_t at = map + i * 24;
        EXPECT_EQ(machine.number(at, 4), 20u);
        EXPECT_EQ(machine.number(at + 4, 8), options.memory_map[i].start.value);
        EXPECT_EQ(machine.number(at + 12, 8), options.memory_map[i].size);
        EXPECT_EQ(machine.number(at + 20, 4), static_cast<std::uint32_t>(options.memory_map[i].type));
    }
}

TEST(Multiboot, MemorySizesStayInTheirLimits) {
    const struct {
        std::uint64_t first_size, lower, upper;
    } cases[] = {
        {0x50000, 320, 0},
        {0xa0000, 640, 0},
        {0x200000, 640, 1024},
        {std::uint64_t{5} << 30, 640, 4 * 1024 * 1024 - 1024},
    };
    for (const auto& row : cases) {
        SCOPED_TRACE(hexadecimal(row.first_size));
        TestMemory machine;
        LoadOptions options;
        options.memory_map = {{{0}, row.first_size, MemoryType::usable}};
        (void)load(file(elf_image().build()), options, machine.memory);
        EXPECT_EQ(machine.number(information + 4, 4), row.lower);
        EXPECT_EQ(machine.number(information + 8, 4), row.upper);
    }
}

TEST(Multiboot, WithoutAMapTheRamRegionsAreIt) {
    TestMemory machine;
    (void)load(file(elf_image().build()), {}, machine.memory);
    EXPECT_EQ(machine.number(information + 44, 4), 2u * 24);
    EXPECT_EQ(machine.number(information + 4, 4), 640u);
    EXPECT_EQ(machine.number(information + 8, 4), 63u * 1024);
}

TEST(Multiboot, CommandLineAndLoaderName) {
    TestMemory machine;
    LoadOptions options;
    options.command_line = "console=com1 -v";
    (void)load(file(elf_image().build()), options, machine.memory);
    EXPECT_EQ(machine.string(machine.number(information + 16, 4)), "test.img console=com1 -v");
    (void)load(file(elf_image().build(), "a folder/my kernel"), {}, machine.memory);
    EXPECT_EQ(machine.string(machine.number(information + 16, 4)), "my_kernel");
    EXPECT_EQ(machine.string(machine.number(information + 64, 4)), "Xenolith");
}

TEST(Multiboot, TheTextScreenIsDescribed) {
    TestMemory machine;
    (void)load(file(elf_image().build()), {}, machine.memory);
    EXPECT_EQ(machine.number(information + 88, 8), 0xb8000u);
    EXPECT_EQ(machine.number(information + 96, 4), 160u);
    EXPECT_EQ(machine.number(information + 100, 4), 80u);
    EXPECT_EQ(machine.number(information + 104, 4), 25u);
    EXPECT_EQ(machine.number(information + 109, 1), 2u);
}

TEST(Multiboot, ModulesArePageAlignedAboveTheImage) {
    TestMemory machine;
    LoadOptions options;
    options.modules.push_back({file(pattern(0x1001), "first"), "first one"});
    options.modules.push_back({file(pattern(5, 50), "second"), ""});
    (void)load(file(elf_image().build()), options, machine.memory);
    EXPECT_EQ(machine.number(information, 4) & 8, 8u);
    ASSERT_EQ(machine.number(information + 20, 4), 2u);
    const std::uint64_t list = machine.number(information + 24, 4);
    EXPECT_EQ(machine.number(list, 4), 0x103000u);
    EXPECT_EQ(machine.number(list + 4, 4), 0x104001u);
    EXPECT_EQ(machine.string(machine.number(list + 8, 4)), "first one");
    EXPECT_EQ(machine.read(0x103000, 0x1001), pattern(0x1001));
    EXPECT_EQ(machine.number(list + 16, 4), 0x105000u);
    EXPECT_EQ(machine.number(list + 20, 4), 0x105005u);
    EXPECT_EQ(machine.string(machine.number(list + 24, 4)), "");
    EXPECT_EQ(machine.read(0x105000, 5), pattern(5, 50));
    EXPECT_EQ(machine.string(machine.number(information + 64, 4)), "Xenolith");
}

TEST(Multiboot, AModuleWithoutRoomIsRefusedByItsName) {
    TestMemory machine;
    LoadOptions options;
    options.modules.push_back({file(Bytes(0x3f00000), "big.img"), ""});
    const LoadError error = error_of(file(elf_image().build()), options, machine.memory);
    EXPECT_EQ(error.file(), "big.img");
    EXPECT_EQ(error.failure(), LoadFailure::does_not_fit);
}

TEST(Multiboot, ModuleStringsHaveALimit) {
    TestMemory machine;
    LoadOptions options;
    options.modules.push_back({file(pattern(5)), std::string(4096 - 16 - 9 - 1, 'x')});
    EXPECT_NO_THROW((void)load(file(elf_image().build()), options, machine.memory));
    options.modules[0].command_line += 'x';
    EXPECT_EQ(error_of(file(elf_image().build()), options, machine.memory).failure(), LoadFailure::does_not_fit);
}

TEST(Multiboot, CommandLinesHaveALimit) {
    TestMemory machine;
    LoadOptions options;
    const std::string name = "test.img ";
    options.command_line.assign(0x3fff - name.size(), 'x');
    EXPECT_NO_THROW((void)load(file(elf_image().build()), options, machine.memory));
    EXPECT_EQ(machine.string(0x1a000).size(), 0x3fffu);
    options.command_line += 'x';
    EXPECT_EQ(error_of(file(elf_image().build()), options, machine.memory).failure(), LoadFailure::does_not_fit);
}

TEST(MultibootHeader, IsSearchedInTheFirst8192Bytes) {
    for (const std::size_t offset : {std::size_t{0}, std::size_t{4}, std::size_t{8192 - 12}}) {
        TestMemory machine;
        const LoadedImage loaded = load(file(raw_image(offset)), {}, machine.memory);
        EXPECT_EQ(loaded.format, Format::multiboot) << offset;
        EXPECT_EQ(loaded.entry_state.rip, 0x100000u);
    }
    for (const std::size_t offset : {std::size_t{2}, std::size_t{8192 - 8}, std::size_t{8192}}) {
        TestMemory machine;
        LoadOptions options;
        options.format = Format::multiboot;
        const LoadError error = error_of(file(raw_image(offset)), options, machine.memory);
        EXPECT_EQ(error.failure(), LoadFailure::malformed) << offset;
        EXPECT_EQ(error.expected(), "a Multiboot header with a right checksum in the first 8192 bytes");
    }
}

TEST(MultibootHeader, NeedsItsChecksum) {
    TestMemory machine;
    Bytes bytes = raw_image(0);
    put(bytes, 8, get(bytes, 8, 4) + 1, 4);
    EXPECT_EQ(error_of(file(bytes), {}, machine.memory).failure(), LoadFailure::unsupported);
    LoadOptions options;
    options.format = Format::multiboot;
    EXPECT_EQ(error_of(file(bytes), options, machine.memory).failure(), LoadFailure::malformed);
}

TEST(MultibootHeader, RequiredFlagsMustBeUnderstood) {
    for (unsigned bit = 0; bit < 32; ++bit) {
        TestMemory machine;
        const Bytes bytes = raw_image(16, 1u << bit);
        if (bit <= 2 || bit >= 16) {
            EXPECT_EQ(load(file(bytes), {}, machine.memory).format, Format::multiboot) << bit;
        } else {
            const LoadError error = error_of(file(bytes), {}, machine.memory);
            EXPECT_EQ(error.failure(), LoadFailure::unsupported) << bit;
            EXPECT_EQ(error.offset(), 20u) << bit;
        }
    }
}

TEST(MultibootHeader, WithoutAddressesTheFileMustBeElf) {
    TestMemory machine;
    Bytes bytes = multiboot_header(0);
    append(bytes, pattern(64));
    const LoadError error = error_of(file(bytes), {}, machine.memory);
    EXPECT_EQ(error.failure(), LoadFailure::malformed);
    EXPECT_EQ(error.offset(), 4u);
}

TEST(MultibootAddresses, SayWhatIsLoadedAndZeroed) {
    TestMemory machine;
    ASSERT_TRUE(machine.memory.write({0x200000}, Bytes(0x2000, std::byte{0xee})));
    Bytes bytes = pattern(0x20);  // 16 bytes in front of what is loaded
    append(bytes, multiboot_header(0, {0x200010, 0x200000, 0x200040, 0x201000, 0x200030}));
    append(bytes, pattern(64, 7));
    const LoadedImage loaded = load(file(bytes), {}, machine.memory);
    EXPECT_EQ(machine.read(0x200000, 0x40), Bytes(bytes.begin() + 0x10, bytes.begin() + 0x50));
    EXPECT_EQ(machine.read(0x200040, 0xfc0), Bytes(0xfc0));
    EXPECT_EQ(machine.read(0x201000, 1), Bytes(1, std::byte{0xee}));
    EXPECT_EQ(loaded.entry_state.rip, 0x200030u);
}

TEST(MultibootAddresses, TakePrecedenceOverElf) {
    TestMemory machine;
    ElfImage image = elf_image();
    image.parts[0].bytes = multiboot_header(0, {0x200000 + 0x54, 0x200000, 0, 0, 0x200060});
    EXPECT_EQ(load(file(image.build()), {}, machine.memory).entry_state.rip, 0x200060u);
}

TEST(MultibootAddresses, EveryBadFieldIsNamed) {
    const std::size_t header = 16;  // in the file; 16 + 32 + 16 bytes in all
    const struct {
        std::string what;
        std::size_t offset;
        std::uint32_t value;
        LoadFailure failure;
        std::size_t reported_at;
    } cases[] = {
        {"load_addr above header_addr", 16, 0x100011, LoadFailure::malformed, 16},
        {"load_addr before the file", 16, 0xfffff, LoadFailure::malformed, 16},
        {"header_addr before the file", 12, 0x100011, LoadFailure::malformed, 16},
        {"load_end_addr past the file", 20, 0x100041, LoadFailure::malformed, 20},
        {"load_end_addr below load_addr", 20, 0xfffff, LoadFailure::malformed, 20},
        {"bss_end_addr below load_end_addr", 24, 0x10003f, LoadFailure::malformed, 24},
        {"bss_end_addr outside RAM", 24, 0xffffffff, LoadFailure::does_not_fit, 16},
        {"entry_addr below", 28, 0xfffff, LoadFailure::malformed, 28},
        {"entry_addr above", 28, 0x100040, LoadFailure::malformed, 28},
    };
    for (const auto& row : cases) {
        SCOPED_TRACE(row.what);
        TestMemory machine;
        Bytes bytes = raw_image(header);
        put(bytes, header + row.offset, row.value, 4);
        const LoadError error = error_of(file(bytes), {}, machine.memory);
        EXPECT_EQ(error.failure(), row.failure) << error.what();
        EXPECT_EQ(error.offset(), header + row.reported_at) << error.what();
    }
}

TEST(MultibootAddresses, OutsideRamIsRefused) {
    TestMemory machine;
    Bytes bytes = multiboot_header(0, {0xa0000, 0xa0000, 0, 0, 0xa0000});
    append(bytes, pattern(16));
    const LoadError error = error_of(file(bytes), {}, machine.memory);
    EXPECT_EQ(error.failure(), LoadFailure::does_not_fit);
    EXPECT_STREQ(error.what(), "test.img: offset 0x10: expected the image inside RAM, found 0x30 bytes at 0xa0000");
}

}  // namespace
}  // namespace xenolith::loader::testing
