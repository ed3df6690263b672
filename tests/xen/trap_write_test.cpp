// One WRMSR after another: section 3 of the contract, for every profile, as far as it needs no CPU.
#include "tests/xen/trap_fixture.hpp"

namespace xenolith::xen {
namespace {

using testing::HasSubstr;
using testing::NiceMock;

using TrapWrite = TrapFixture;
INSTANTIATE_TEST_SUITE_P(Profiles, TrapWrite, every_profile(), profile_test_name);

TEST_P(TrapWrite, CopiesOnePageAndNoMore) {
    ASSERT_EQ(trap.configure(blob_config()), 0);
    const WriteOutcome outcome = trap.write_msr(guest_write(ram.value + page));
    EXPECT_EQ(outcome.result, WriteResult::copied);
    EXPECT_EQ(outcome.result_name(), "copied");
    EXPECT_EQ(outcome.address, ram + page);
    EXPECT_EQ(outcome.index, 0u);
    EXPECT_EQ(outcome.blob_address, blob64);
    EXPECT_EQ(page_value(ram), untouched);
    EXPECT_EQ(page_value(ram + page), 0x64);
    EXPECT_EQ(page_value(ram + 2 * page), untouched);
}

struct Index {
    std::uint64_t index;
    bool long_mode;
    int copied;  // the value the page is full of, or -1 for #GP
};

TEST_P(TrapWrite, TakesThePageThatTheLowBitsName) {
    const Index rows[] = {
        {0, false, 0x32}, {pages32 - 1, false, 0x33}, {pages32, false, -1}, {255, false, -1}, {4095, false, -1},
        {0, true, 0x64},  {pages64 - 1, true, 0x66},  {pages64, true, -1},  {255, true, -1},  {4095, true, -1},
    };
    ASSERT_EQ(trap.configure(blob_config()), 0);
    mmu::GuestPhysical to = ram;
    for (const Index& row : rows) {
        SCOPED_TRACE("index " + std::to_string(row.index) + (row.long_mode ? " in long mode" : ""));
        const WriteOutcome outcome = trap.write_msr(guest_write(to.value | row.index, row.long_mode));
        EXPECT_EQ(outcome.address, to);
        EXPECT_EQ(outcome.index, row.index);
        EXPECT_EQ(outcome.source, row.long_mode ? PageSource::blob_64 : PageSource::blob_32);
        if (row.copied < 0) {
            EXPECT_EQ(outcome.result, WriteResult::general_protection);
            EXPECT_EQ(outcome.result_name(), "#GP");
            EXPECT_THAT(outcome.reason, HasSubstr("index " + std::to_string(row.index) + " is not below the blob's " +
                                                  (row.long_mode ? "3" : "2") + " pages"));
            EXPECT_EQ(page_value(to), untouched);
        } else {
            EXPECT_EQ(outcome.result, WriteResult::copied);
            EXPECT_EQ(page_value(to), row.copied);
        }
        to = to + page;
    }
}

TEST_P(TrapWrite, Holds255Pages) {
    HvmConfig config = blob_config();
    config.blob_size_64 = 255;
    blobs.map(blob64 + 254 * page, full(0xfe));
    ASSERT_EQ(trap.configure(config), 0);
    EXPECT_EQ(trap.write_msr(guest_write(ram.value | 254)).result, WriteResult::copied);
    EXPECT_EQ(page_value(ram), 0xfe);
    EXPECT_EQ(trap.write_msr(guest_write(ram.value | 255)).result, WriteResult::general_protection);
    EXPECT_EQ(page_value(ram), 0xfe);
}

TEST_P(TrapWrite, HasNoPageInABlobOfSizeZero) {
    HvmConfig config = blob_config();
    config.blob_size_32 = 0;
    ASSERT_EQ(trap.configure(config), 0);
    const WriteOutcome outcome = trap.write_msr(guest_write(ram.value, false));
    EXPECT_EQ(outcome.result, WriteResult::general_protection);
    EXPECT_THAT(outcome.reason, HasSubstr("index 0 is not below the blob's 0 pages"));
    EXPECT_TRUE(guest_memory_untouched());
    EXPECT_EQ(trap.write_msr(guest_write(ram.value, true)).result, WriteResult::copied);
}

struct Unreadable {
    const char* what;
    std::uint64_t blob_address;
    std::uint64_t index;
};

TEST_P(TrapWrite, FailsByTheProfileIfTheBlobCannotBeRead) {
    const Unreadable rows[] = {
        {"null", 0, 0},
        {"nothing there", 0x1000, 0},
        {"kernel half", 0xffff'8880'0000'0000, 0},
        {"not canonical", 0x8000'0000'0000'0000, 0},
        {"last page unmapped", blob64, 2},
        {"unaligned, and so reaching into the unmapped page", blob64 + 1, 1},
        {"wraps to null", 0xffff'ffff'ffff'f000, 1},
    };
    blobs.unmap(blob64 + 2 * page, page);
    const bool run_fails = profile().name != "linux-2.6.33";
    for (const Unreadable& row : rows) {
        SCOPED_TRACE(row.what);
        HvmConfig config = blob_config();
        config.blob_addr_64 = row.blob_address;
        ASSERT_EQ(trap.configure(config), 0);
        const WriteOutcome outcome = trap.write_msr(guest_write(ram.value | row.index));
        EXPECT_EQ(outcome.result, run_fails ? WriteResult::run_failed : WriteResult::general_protection);
        EXPECT_EQ(outcome.error, run_fails ? EFAULT : 0);
        EXPECT_EQ(outcome.result_name(), run_fails ? "EFAULT" : "#GP");
        EXPECT_THAT(outcome.reason, HasSubstr("cannot be read at user address 0x"));
        EXPECT_TRUE(guest_memory_untouched());
    }
}

TEST_P(TrapWrite, CopiesFromAnUnalignedBlob) {
    HvmConfig config = blob_config();
    config.blob_addr_64 = blob64 + 0x800;
    ASSERT_EQ(trap.configure(config), 0);
    ASSERT_EQ(trap.write_msr(guest_write(ram.value)).result, WriteResult::copied);
    std::array<std::byte, page> copied;
    ASSERT_TRUE(memory.read(ram, copied));
    EXPECT_EQ(copied[0x7ff], std::byte{0x64});
    EXPECT_EQ(copied[0x800], std::byte{0x65});
}

TEST_P(TrapWrite, ReadsTheBlobAtEachWrite) {
    ASSERT_EQ(trap.configure(blob_config()), 0);
    trap.write_msr(guest_write(ram.value));
    ASSERT_TRUE(blobs.write(blob64, full(0x99)));
    EXPECT_EQ(page_value(ram), 0x64) << "a page once copied is the guest's";
    trap.write_msr(guest_write(ram.value + page));
    EXPECT_EQ(page_value(ram + page), 0x99);
    blobs.unmap(blob64, page);
    EXPECT_NE(trap.write_msr(guest_write(ram.value)).result, WriteResult::copied);
    blobs.map(blob64, full(0x77));
    EXPECT_EQ(trap.write_msr(guest_write(ram.value)).result, WriteResult::copied);
    EXPECT_EQ(page_value(ram), 0x77);
}

struct Destination {
    const char* what;
    std::uint64_t address;
    const char* why;  // null: the copy works
};

TEST_P(TrapWrite, WritesRamAndNothingElse) {
    const Destination rows[] = {
        {"RAM above 4 GiB", high_ram.value, nullptr},
        {"the last page of RAM", ram.value + ram_size - page, nullptr},
        {"read-only memory", rom.value, "read-only memory (firmware)"},
        {"a device", device.value, "a device (lapic)"},
        {"a hole", hole.value, "nothing at that address"},
        {"behind the last page of RAM", ram.value + ram_size, "nothing at that address"},
        {"in front of RAM", ram.value - page, "nothing at that address"},
        {"EDX not zero, as from a 32-bit guest", 0x10'0000'0000 | ram.value, "nothing at that address"},
        {"the last page below 2^46", 0x3fff'ffff'f000, "nothing at that address"},
        {"above 2^46", 0x4000'0000'0000 | ram.value, "nothing at that address"},
        {"above MAXPHYADDR of any CPU", 0x10'0000'0000'0000 | ram.value, "nothing at that address"},
        {"all ones", 0xffff'ffff'ffff'f000, "nothing at that address"},
    };
    ASSERT_EQ(trap.configure(blob_config()), 0);
    for (const Destination& row : rows) {
        for (const bool long_mode : {false, true}) {
            SCOPED_TRACE(std::string(row.what) + (long_mode ? " in long mode" : ""));
            const WriteOutcome outcome = trap.write_msr(guest_write(row.address, long_mode));
            EXPECT_EQ(outcome.address.value, row.address);
            if (row.why == nullptr) {
                EXPECT_EQ(outcome.result, WriteResult::copied);
                EXPECT_EQ(page_value({row.address}), long_mode ? 0x64 : 0x32);
                memory.write({row.address}, full(untouched));
                continue;
            }
            EXPECT_EQ(outcome.result, WriteResult::general_protection);
            EXPECT_EQ(outcome.error, 0);
            EXPECT_THAT(outcome.reason, HasSubstr("is not writable RAM"));
            EXPECT_THAT(outcome.reason, HasSubstr(row.why));
            EXPECT_TRUE(guest_memory_untouched());
        }
    }
}

// Two things wrong at once show the order of the checks.
TEST_P(TrapWrite, ChecksIndexThenBlobThenDestination) {
    HvmConfig config = blob_config();
    config.blob_addr_64 = 0;
    ASSERT_EQ(trap.configure(config), 0);
    EXPECT_THAT(trap.write_msr(guest_write(hole.value | pages64)).reason, HasSubstr("is not below"));
    EXPECT_EQ(trap.write_msr(guest_write(hole.value | pages64)).result, WriteResult::general_protection);
    EXPECT_THAT(trap.write_msr(guest_write(hole.value)).reason, HasSubstr("cannot be read"));
    EXPECT_EQ(trap.write_msr(guest_write(hole.value)).result,
              profile().name == "linux-2.6.33" ? WriteResult::general_protection : WriteResult::run_failed);
}

TEST_P(TrapWrite, IsOffWithIndexZero) {
    HvmConfig config = blob_config();
    config.msr = 0;
    ASSERT_EQ(trap.configure(config), 0);
    for (const std::uint32_t index : {0u, 1u, msr}) {
        MsrWrite write = guest_write(ram.value);
        write.index = index;
        EXPECT_EQ(trap.write_msr(write).result, WriteResult::not_ours);
        EXPECT_FALSE(trap.watches(index, false));
    }
    EXPECT_TRUE(guest_memory_untouched());
}

TEST_P(TrapWrite, LeavesTheNeighboursAlone) {
    HvmConfig config = blob_config();
    config.msr = 0x40000100;
    ASSERT_EQ(trap.configure(config), 0);
    for (const std::uint32_t index : {0x400000ffu, 0x40000101u, 0x40000000u, 0u, 0xffffffffu, 0x00000100u}) {
        MsrWrite write = guest_write(ram.value);
        write.index = index;
        EXPECT_EQ(trap.write_msr(write).result, WriteResult::not_ours);
    }
    EXPECT_TRUE(guest_memory_untouched());
    EXPECT_EQ(trap.latched_long_mode(), std::nullopt);
}

TEST_P(TrapWrite, NeverAnswersReads) {
    ASSERT_EQ(trap.configure(blob_config()), 0);
    EXPECT_EQ(trap.read_msr(msr), std::nullopt);
}

// The configured index is an MSR that the CPU has itself.
TEST_P(TrapWrite, WinsOrLosesAgainstTheCpusOwnMsr) {
    ASSERT_EQ(trap.configure(blob_config()), 0);
    MsrWrite write = guest_write(ram.value);
    write.cpu_implements = true;
    const bool wins = profile().name == "linux-5.12" || profile().name == "linux-6.15";
    EXPECT_EQ(trap.watches(msr, true), wins);
    EXPECT_TRUE(trap.watches(msr, false));
    const WriteOutcome outcome = trap.write_msr(write);
    EXPECT_EQ(outcome.result, wins ? WriteResult::copied : WriteResult::not_ours);
    EXPECT_EQ(page_value(ram), wins ? 0x64 : untouched);
    if (!wins) {
        EXPECT_THAT(outcome.reason, HasSubstr("the CPU implements this MSR itself"));
    }
}

TEST_P(TrapWrite, CountsHostWritesByTheProfile) {
    ASSERT_EQ(trap.configure(blob_config()), 0);
    MsrWrite write = guest_write(ram.value);
    write.initiator = Initiator::host;
    const bool counts = profile().name != "linux-6.15";
    EXPECT_EQ(trap.write_msr(write).result, counts ? WriteResult::copied : WriteResult::not_ours);
    EXPECT_EQ(page_value(ram), counts ? 0x64 : untouched);
    if (!counts) {
        EXPECT_EQ(trap.latched_long_mode(), std::nullopt);
    }
}

TEST_P(TrapWrite, LatchesLongModeEvenIfItFails) {
    const bool latches = profile().name == "linux-5.12" || profile().name == "linux-6.15";
    const auto expected = [&](bool long_mode) { return latches ? std::optional(long_mode) : std::nullopt; };
    ASSERT_EQ(trap.configure(blob_config()), 0);
    trap.write_msr(guest_write(ram.value, true));
    EXPECT_EQ(trap.latched_long_mode(), expected(true));
    trap.write_msr(guest_write(hole.value, false));  // #GP
    EXPECT_EQ(trap.latched_long_mode(), expected(false));
    trap.write_msr(guest_write(ram.value | 4095, true));  // #GP
    EXPECT_EQ(trap.latched_long_mode(), expected(true));
    blobs.unmap(blob32, page);
    trap.write_msr(guest_write(ram.value, false));  // unreadable
    EXPECT_EQ(trap.latched_long_mode(), expected(false));
}

TEST_P(TrapWrite, ServesTwoVcpusInDifferentModes) {
    ASSERT_EQ(trap.configure(blob_config()), 0);
    MsrWrite first = guest_write(ram.value, true);
    MsrWrite second = guest_write(ram.value + page, false);
    second.vcpu = 1;
    EXPECT_EQ(trap.write_msr(first).blob_width(), 64u);
    EXPECT_EQ(trap.write_msr(second).blob_width(), 32u);
    EXPECT_EQ(page_value(ram), 0x64);
    EXPECT_EQ(page_value(ram + page), 0x32);
}

TEST_P(TrapWrite, CopiesSeveralPagesAndOverAndOver) {
    ASSERT_EQ(trap.configure(blob_config()), 0);
    for (int round = 0; round < 2; ++round) {
        for (unsigned index = 0; index < pages64; ++index) {
            EXPECT_EQ(trap.write_msr(guest_write((ram + index * page).value | index)).result, WriteResult::copied);
        }
        for (unsigned index = 0; index < pages64; ++index) {
            EXPECT_EQ(page_value(ram + index * page), static_cast<int>(0x64 + index));
        }
        memory.write(ram, full(untouched));
    }
}

TEST_P(TrapWrite, FollowsAReconfiguration) {
    ASSERT_EQ(trap.configure(blob_config()), 0);
    HvmConfig moved = blob_config();
    moved.msr = 0x40000200;
    std::swap(moved.blob_addr_32, moved.blob_addr_64);
    ASSERT_EQ(trap.configure(moved), 0);
    EXPECT_EQ(trap.write_msr(guest_write(ram.value)).result, WriteResult::not_ours);
    MsrWrite write = guest_write(ram.value);
    write.index = 0x40000200;
    EXPECT_EQ(trap.write_msr(write).result, WriteResult::copied);
    EXPECT_EQ(page_value(ram), 0x32);
    ASSERT_EQ(trap.configure({}), 0);
    EXPECT_EQ(trap.write_msr(write).result, WriteResult::not_ours);
}

class MockListener : public mmu::CodeListener {
  public:
    MOCK_METHOD(void, code_written, (mmu::GuestPhysical start, std::uint64_t size), (override));
    MOCK_METHOD(void, code_page_added, (mmu::GuestPhysical page), (override));
};

// Also the page that holds the WRMSR itself: the engine hears of it before it fetches the next instruction.
TEST_P(TrapWrite, TellsEnginesAboutCodeItCovers) {
    ASSERT_EQ(trap.configure(blob_config()), 0);
    NiceMock<MockListener> listener;
    memory.add_listener(&listener);
    memory.mark_code(ram + 0x100, 16);
    EXPECT_CALL(listener, code_written(testing::_, testing::_)).Times(testing::AtLeast(1));
    trap.write_msr(guest_write(ram.value));
    memory.remove_listener(&listener);
}

TEST_P(TrapWrite, MarksThePageDirty) {
    ASSERT_EQ(trap.configure(blob_config()), 0);
    memory.take_dirty_pages();
    trap.write_msr(guest_write(hole.value));
    EXPECT_TRUE(memory.take_dirty_pages().empty());
    trap.write_msr(guest_write(ram.value));
    EXPECT_EQ(memory.take_dirty_pages(), std::vector{ram.page_number()});
}

// The rest concerns the profiles that generate pages.
class TrapIntercept : public TrapFixture {};
INSTANTIATE_TEST_SUITE_P(Profiles, TrapIntercept,
                         testing::Values(find_profile("linux-5.12"), find_profile("linux-6.15")), profile_test_name);

TEST_P(TrapIntercept, GeneratesThePage) {
    for (const HypercallInstruction instruction : {HypercallInstruction::vmcall, HypercallInstruction::vmmcall}) {
        for (const bool long_mode : {false, true}) {
            TrapCore core(profile(), memory, blobs, instruction);
            ASSERT_EQ(core.configure(intercept_config()), 0);
            const WriteOutcome outcome = core.write_msr(guest_write(ram.value, long_mode));
            EXPECT_EQ(outcome.result, WriteResult::copied);
            EXPECT_EQ(outcome.source, PageSource::generated);
            EXPECT_THAT(outcome.reason, HasSubstr(std::string(instruction_name(instruction))));
            EXPECT_EQ(core.latched_long_mode(), long_mode);
            HypercallPage copied;
            ASSERT_TRUE(memory.read(ram, copied));
            EXPECT_EQ(copied, generated_page(instruction));
        }
    }
}

TEST_P(TrapIntercept, HasIndexZeroOnly) {
    ASSERT_EQ(trap.configure(intercept_config()), 0);
    for (const std::uint64_t index : {1u, 255u, 4095u}) {
        const WriteOutcome outcome = trap.write_msr(guest_write(ram.value | index));
        EXPECT_EQ(outcome.result, WriteResult::general_protection);
        EXPECT_THAT(outcome.reason, HasSubstr("a generated page has index 0, not " + std::to_string(index)));
    }
    EXPECT_TRUE(guest_memory_untouched());
    EXPECT_EQ(trap.latched_long_mode(), true);
}

TEST_P(TrapIntercept, NeedsRamAsABlobDoes) {
    ASSERT_EQ(trap.configure(intercept_config()), 0);
    for (const mmu::GuestPhysical address : {rom, device, hole}) {
        EXPECT_EQ(trap.write_msr(guest_write(address.value)).result, WriteResult::general_protection);
    }
    EXPECT_TRUE(guest_memory_untouched());
}

}  // namespace
}  // namespace xenolith::xen
