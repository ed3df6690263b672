// PVH: finding the note, the start info, the entry state.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/loader/test_machine.hpp"

namespace xenolith::loader::testing {
namespace {

using cpu::SegmentName;

constexpr std::uint64_t start_info = 0x17000;

ElfImage pvh_image(const Bytes& notes, bool is_64bit = false, std::uint64_t alignment = 4) {
    return {is_64bit, 2, 0, 0x100010, {{1, pattern(48), 0x100000, 0x100000, 0x2000}, {4, notes, 0, 0, 0, alignment}}};
}

TEST(Pvh, EntersAsTheBootInterfaceSays) {
    TestMemory machine;
    const LoadedImage loaded = load(file(pvh_image(pvh_note(0x100004)).build()), {}, machine.memory);
    const cpu::CpuState& state = loaded.entry_state;
    EXPECT_EQ(loaded.format, Format::pvh);
    EXPECT_EQ(state.rip, 0x100004u) << "the note's entry, not e_entry";
    EXPECT_EQ(state.registers[cpu::rbx], start_info);
    EXPECT_EQ(state.mode(), cpu::Mode::protected32);
    EXPECT_EQ(state.cr0, cpu::cr0::pe | cpu::cr0::et);
    EXPECT_EQ(state.cr4, 0u);
    EXPECT_EQ(state.msr.efer, 0u);
    EXPECT_EQ(state.rflags, cpu::rflags::fixed_one);
    EXPECT_EQ(state.segment(SegmentName::cs), cpu::flat_code_segment(0x10, 32));
    for (const SegmentName name : {SegmentName::ds, SegmentName::es, SegmentName::ss}) {
        EXPECT_EQ(state.segment(name), cpu::flat_data_segment(0x18));
    }
    EXPECT_EQ(state.tr.base, 0u);
    EXPECT_EQ(state.tr.limit, 0x67u);
    EXPECT_EQ(state.tr.attributes.type(), 0xbu);
}

TEST(Pvh, StartInfoHoldsEverything) {
    TestMemory machine;
    LoadOptions options;
    options.command_line = "console=hvc0";
    options.rsdp = {0xf1230};
    options.modules.push_back({file(pattern(0x1234), "initrd"), "the module"});
    options.memory_map = {{{0}, 0xa0000, MemoryType::usable},
                          {{0xf0000}, 0x10000, MemoryType::reserved},
                          {{0x100000}, 0x3f00000, MemoryType::usable},
                          {{0x4000000}, 0x1000, MemoryType::acpi_reclaimable}};
    (void)load(file(pvh_image(pvh_note(0x100004)).build()), options, machine.memory);
    EXPECT_EQ(machine.number(start_info, 4), 0x336ec578u);
    EXPECT_EQ(machine.number(start_info + 4, 4), 1u);
    EXPECT_EQ(machine.number(start_info + 8, 4), 0u);
    EXPECT_EQ(machine.number(start_info + 12, 4), 1u);
    EXPECT_EQ(machine.string(machine.number(start_info + 24, 8)), "console=hvc0");
    EXPECT_EQ(machine.number(start_info + 32, 8), 0xf1230u);

    const std::uint64_t modules = machine.number(start_info + 16, 8);
    EXPECT_EQ(machine.number(modules, 8), 0x102000u);
    EXPECT_EQ(machine.number(modules + 8, 8), 0x1234u);
    EXPECT_EQ(machine.string(machine.number(modules + 16, 8)), "the module");
    EXPECT_EQ(machine.number(modules + 24, 8), 0u);
    EXPECT_EQ(machine.read(0x102000, 0x1234), pattern(0x1234));

    const std::uint64_t map = machine.number(start_info + 40, 8);
    ASSERT_EQ(machine.number(start_info + 48, 4), 4u);
    for (std::size_t i = 0; i < 4; ++i) {
        EXPECT_EQ(machine.number(map + i * 24, 8), options.memory_map[i].start.value);
        EXPECT_EQ(machine.number(map + i * 24 + 8, 8), options.memory_map[i].size);
        EXPECT_EQ(machine.number(map + i * 24 + 16, 4), static_cast<std::uint32_t>(options.memory_map[i].type));
        EXPECT_EQ(machine.number(map + i * 24 + 20, 4), 0u);
    }
}

TEST(Pvh, WithoutModulesThereIsNoList) {
    TestMemory machine;
    (void)load(file(pvh_image(pvh_note(0x100004)).build()), {}, machine.memory);
    EXPECT_EQ(machine.number(start_info + 12, 4), 0u);
    EXPECT_EQ(machine.number(start_info + 16, 8), 0u);
}

TEST(PvhNote, IsFoundAmongOthers) {
    Bytes padded = note("GNU", 3, pattern(20));
    append(padded, note("Xenolith", 18, pattern(4)));
    append(padded, note("Xen", 6, text("linux")));
    append(padded, pvh_note(0x100020));
    append(padded, pvh_note(0x100030));
    Bytes wide = note("GNU", 5, pattern(12), 8);
    append(wide, pvh_note(0x100020, 8, 8));
    const struct {
        std::string what;
        Bytes notes;
        bool is_64bit;
        std::uint64_t alignment;
    } cases[] = {
        {"behind others; the first counts", padded, false, 4},
        {"eight bytes", pvh_note(0x100020, 8), true, 4},
        {"four bytes in a 64-bit file", pvh_note(0x100020, 4), true, 4},
        {"alignment 8", wide, true, 8},
        {"alignment 0 means 4", pvh_note(0x100020), false, 0},
    };
    for (const auto& row : cases) {
        SCOPED_TRACE(row.what);
        TestMemory machine;
        const LoadedImage loaded =
            load(file(pvh_image(row.notes, row.is_64bit, row.alignment).build()), {}, machine.memory);
        EXPECT_EQ(loaded.format, Format::pvh);
        EXPECT_EQ(loaded.entry_state.rip, 0x100020u);
    }
}

TEST(PvhNote, OfAnotherOwnerOrTypeDoesNotCount) {
    for (const Bytes& notes : {note("XEN", 18, pattern(4)), note("Xen2", 18, pattern(4)), note("Xe", 18, pattern(4)),
                               note("Xen", 17, pattern(4)), Bytes(11), Bytes{}}) {
        TestMemory machine;
        EXPECT_EQ(load(file(pvh_image(notes).build()), {}, machine.memory).format, Format::elf);
        LoadOptions options;
        options.format = Format::pvh;
        const LoadError error = error_of(file(pvh_image(notes).build()), options, machine.memory);
        EXPECT_EQ(error.failure(), LoadFailure::malformed);
        EXPECT_THAT(error.expected(), ::testing::HasSubstr("PHYS32_ENTRY"));
    }
}

TEST(PvhNote, MalformedOnesAreRefused) {
    const std::size_t notes_at = ElfImage{}.header_size() + 2 * 32 + 48;
    Bytes long_name = pvh_note(0x100004), long_descriptor = pvh_note(0x100004);
    put(long_name, 0, 0xffffffff, 4);
    put(long_descriptor, 4, 0xffffffff, 4);
    Bytes second_too_long = note("GNU", 3, pattern(20));
    append(second_too_long, pvh_note(0x100004));
    put(second_too_long, 36 + 4, 24, 4);  // less than the segment has in all, more than is left of it
    const struct {
        std::string what;
        Bytes notes;
        LoadFailure failure;
        std::size_t reported_at;
    } cases[] = {
        {"name", long_name, LoadFailure::malformed, notes_at},
        {"descriptor", long_descriptor, LoadFailure::malformed, notes_at},
        {"descriptor of a later note", second_too_long, LoadFailure::malformed, notes_at + 36},
        {"descriptor size", note("Xen", 18, pattern(5)), LoadFailure::malformed, notes_at + 4},
        {"entry outside", pvh_note(0x102000), LoadFailure::malformed, notes_at + 16},
        {"entry above 4 GiB", pvh_note(0x100100004, 8), LoadFailure::malformed, notes_at + 16},
        {"larger than 1 MiB", Bytes(0x100001), LoadFailure::unsupported, ElfImage{}.program_header(1)},
    };
    for (const auto& row : cases) {
        SCOPED_TRACE(row.what);
        TestMemory machine;
        const LoadError error = error_of(file(pvh_image(row.notes).build()), {}, machine.memory);
        EXPECT_EQ(error.failure(), row.failure) << error.what();
        EXPECT_EQ(error.offset(), row.reported_at) << error.what();
    }
}

TEST(Pvh, PlainElfStaysPossible) {
    TestMemory machine;
    LoadOptions options;
    options.format = Format::elf;
    EXPECT_EQ(load(file(pvh_image(pvh_note(0x100004)).build()), options, machine.memory).entry_state.rip, 0x100010u);
}

}  // namespace
}  // namespace xenolith::loader::testing
