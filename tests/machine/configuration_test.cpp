// Configurations that are refused, changed while the guest runs, and blobs that change: what the guest's
// writes then do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/machine/engine_support.hpp"
#include "tests/machine/scenario.hpp"
#include "xen/error_numbers.hpp"

namespace xenolith::machine::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::uint32_t other_msr = 0x40000200;
constexpr std::uint64_t target = layout::target.value;

// Long mode and its opposite.
constexpr std::array two_modes = {GuestMode::protected32, GuestMode::long64};

class Configuration : public EngineTest<InMode> {
  protected:
    Scenario make(const xen::Profile& profile) const {
        return Scenario({.engine = GetParam().engine, .mode = GetParam().mode, .profile = &profile});
    }
    // A fresh run of one WRMSR.
    static Ending write_once(Scenario& scenario, std::uint32_t msr, std::uint64_t value) {
        GuestCode program = scenario.code();
        program.write_msr(msr, value).hlt();
        return scenario.run(program);
    }
};
INSTANTIATE_TEST_SUITE_P(Engines, Configuration, in_modes(two_modes), parameter_name<InMode>);

bool refuses(const xen::Profile& profile, std::uint32_t flag) {
    const bool knows_intercept = profile.name == "linux-5.12" || profile.name == "linux-6.15";
    return !(flag == xen::hvm_config_flag::intercept_hcall && knows_intercept);
}

// Bits 0 and 2..8 are only reported by the capability; the others do not exist.
TEST_P(Configuration, WithARefusedFlagIsLiveOnlyInTheOldestProfile) {
    for (const xen::Profile& profile : profiles_on(GetParam().engine)) {
        for (unsigned bit = 0; bit < 32; ++bit) {
            const std::uint32_t flag = std::uint32_t{1} << bit;
            if (!refuses(profile, flag)) continue;
            SCOPED_TRACE(std::string(profile.name) + ", bit " + std::to_string(bit));
            Scenario scenario = make(profile);
            xen::HvmConfig config = scenario.trap().config();
            config.flags = flag;
            config.msr = other_msr;
            ASSERT_EQ(scenario.trap().configure(config), xen::error_number::einval);
            const bool is_live = profile.name == "linux-2.6.33";
            const Ending with_new = write_once(scenario, other_msr, target);
            EXPECT_EQ(with_new.finished(), is_live) << with_new.result.reason;
            const Ending with_old = write_once(scenario, Scenario::msr, target);
            EXPECT_EQ(with_old.finished(), !is_live) << with_old.result.reason;
        }
    }
}

TEST_P(Configuration, OfInterceptHcallTakesNoBlobs) {
    for (const xen::Profile& profile : profiles_on(GetParam().engine)) {
        if (refuses(profile, xen::hvm_config_flag::intercept_hcall)) continue;
        SCOPED_TRACE(profile.name);
        struct Row {
            const char* field;
            void (*set)(xen::HvmConfig&);
        };
        const Row fields[] = {
            {"blob_addr_32", [](xen::HvmConfig& config) { config.blob_addr_32 = 0x1000; }},
            {"blob_addr_64", [](xen::HvmConfig& config) { config.blob_addr_64 = 0x1000; }},
            {"blob_size_32", [](xen::HvmConfig& config) { config.blob_size_32 = 1; }},
            {"blob_size_64", [](xen::HvmConfig& config) { config.blob_size_64 = 1; }},
        };
        for (const Row& row : fields) {
            SCOPED_TRACE(row.field);
            Scenario scenario = make(profile);
            xen::HvmConfig config{.flags = xen::hvm_config_flag::intercept_hcall, .msr = other_msr};
            row.set(config);
            ASSERT_EQ(scenario.trap().configure(config), xen::error_number::einval);
            EXPECT_TRUE(write_once(scenario, Scenario::msr, target).finished());  // the old one is still in force
            EXPECT_EQ(scenario.byte(layout::target + 1), scenario.mark(0));
            EXPECT_TRUE(write_once(scenario, other_msr, target).trap);
        }
    }
}

struct IndexRow {
    std::uint32_t msr;
    bool accepted_by_the_newest;
};

TEST_P(Configuration, HasAnIndexInTheSyntheticRangeInTheNewestProfile) {
    constexpr IndexRow rows[] = {
        {0x1234, false},    {0x3fffffff, false}, {0x40000000, true},  {0x40000001, true},
        {0x4fffffff, true}, {0x50000000, false}, {0xc0000082, false}, {0xffffffff, false},
    };
    for (const xen::Profile& profile : profiles_on(GetParam().engine)) {
        for (const IndexRow& row : rows) {
            SCOPED_TRACE(std::string(profile.name) + ", index " + std::to_string(row.msr));
            Scenario scenario = make(profile);
            xen::HvmConfig config = scenario.trap().config();
            config.msr = row.msr;
            const bool accepted = profile.name != "linux-6.15" || row.accepted_by_the_newest;
            ASSERT_EQ(scenario.trap().configure(config), accepted ? 0 : xen::error_number::einval);
            const bool is_the_cpus = row.msr == cpu::msr::lstar && profile.name != "linux-5.12";
            write_once(scenario, row.msr, target);
            const bool copied = scenario.byte(layout::target + 1) == scenario.mark(0);
            EXPECT_EQ(copied, accepted && !is_the_cpus);
        }
    }
}

// The operator's ioctl comes while the guest is in the middle of its program.
TEST_P(Configuration, ChangesWhileTheGuestRuns) {
    for (const xen::Profile& profile : profiles_on(GetParam().engine)) {
        SCOPED_TRACE(profile.name);
        Scenario scenario = make(profile);
        unsigned changes = 0;
        scenario.on_debug_byte([&](std::uint8_t) {
            xen::HvmConfig config = scenario.trap().config();
            ++changes;
            config.msr = changes == 3 ? 0 : other_msr;
            if (changes == 2) {  // each mode's blob begins one page later
                config.blob_addr_32 += mmu::page_size;
                config.blob_addr_64 += mmu::page_size;
            }
            EXPECT_EQ(scenario.trap().configure(config), 0);
        });
        GuestCode program = scenario.code();
        program.write_msr(Scenario::msr, target).out_al(debug_port);
        program.write_msr(other_msr, target + 0x1000).out_al(debug_port);
        program.write_msr(other_msr, target + 0x2000).out_al(debug_port);
        program.write_msr(other_msr, target + 0x3000);
        const std::uint64_t refused_at = program.last();
        program.hlt();
        const Ending ending = scenario.run(program);
        EXPECT_EQ(changes, 3u);
        ASSERT_TRUE(ending.trap) << ending.result.reason;
        EXPECT_EQ(ending.trap->vector, 13u);
        EXPECT_EQ(ending.trap->rip, refused_at);
        EXPECT_EQ(scenario.byte(layout::target + 1), scenario.mark(0));
        EXPECT_EQ(scenario.byte(layout::target + 0x1001), scenario.mark(0));
        EXPECT_EQ(scenario.byte(layout::target + 0x2001), scenario.mark(1));
        EXPECT_EQ(scenario.byte(layout::target + 0x3001), 0);
    }
}

// The blob is read at each write.
TEST_P(Configuration, BlobChangesBetweenTwoWrites) {
    for (const xen::Profile& profile : profiles_on(GetParam().engine)) {
        SCOPED_TRACE(profile.name);
        Scenario scenario = make(profile);
        scenario.on_debug_byte([&](std::uint8_t) {
            const std::byte changed[] = {std::byte{0xaa}};
            EXPECT_TRUE(
                scenario.machine().blob_memory().write(Scenario::blob_address(scenario.blob_width()) + 0x10, changed));
        });
        GuestCode program = scenario.code();
        program.write_msr(Scenario::msr, target).out_al(debug_port).write_msr(Scenario::msr, target + 0x1000).hlt();
        ASSERT_TRUE(scenario.run(program).finished());
        EXPECT_EQ(scenario.byte(layout::target + 0x10), scenario.mark(0));
        EXPECT_EQ(scenario.byte(layout::target + 0x1010), 0xaa);
    }
}

// A run that failed goes on once the operator has repaired its cause.
TEST_P(Configuration, FailedRunCompletesOnceTheBlobIsThere) {
    for (const xen::Profile& profile : profiles_on(GetParam().engine)) {
        if (profile.unreadable_blob == xen::UnreadableBlob::general_protection) continue;
        SCOPED_TRACE(profile.name);
        Scenario scenario = make(profile);
        scenario.unmap_blobs();
        GuestCode program = scenario.code();
        program.write_msr(Scenario::msr, target);
        const std::uint64_t at = program.last();
        program.mov(ebx, 0x12345678).hlt();
        const Ending first = scenario.run(program);
        ASSERT_TRUE(first.failed_with(xen::error_number::efault)) << first.result.reason;
        EXPECT_THAT(first.result.reason, testing::HasSubstr("EFAULT"));
        EXPECT_EQ(first.state.rip, at);

        const Ending second = scenario.run_on();  // nothing was repaired: the same again
        ASSERT_TRUE(second.failed_with(xen::error_number::efault)) << second.result.reason;
        EXPECT_EQ(second.state.rip, first.state.rip);
        EXPECT_EQ(second.state.rflags, first.state.rflags);
        EXPECT_EQ(second.state.registers, first.state.registers);
        EXPECT_EQ(second.result.totals.instructions, first.result.totals.instructions);
        EXPECT_THAT(scenario.changed_pages(), IsEmpty());

        for (const unsigned width : {32u, 64u}) {
            scenario.machine().blob_memory().map(Scenario::blob_address(width), Scenario::marked_blob(width, 2));
        }
        const Ending third = scenario.run_on();
        ASSERT_TRUE(third.finished()) << third.result.reason;
        EXPECT_EQ(third.state.registers[cpu::rbx], 0x12345678u);
        EXPECT_EQ(scenario.byte(layout::target + 1), scenario.mark(0));
        EXPECT_THAT(scenario.changed_pages(), ElementsAre(layout::target.page_number()));
    }
}

TEST_P(Configuration, TakesSeveralPagesOverAndOver) {
    for (const xen::Profile& profile : profiles_on(GetParam().engine)) {
        SCOPED_TRACE(profile.name);
        Scenario scenario = make(profile);
        GuestCode program = scenario.code();
        constexpr unsigned rounds = 50;
        program.mov(ebp, rounds);
        const std::uint64_t loop = program.here();
        program.write_msr(Scenario::msr, target).write_msr(Scenario::msr, (target + 0x1000) | 1);
        program.write_msr(Scenario::msr, (target + 0x2000) | 1).write_msr(Scenario::msr, target + 0x2000);
        program.decrement_and_jump(ebp, loop).hlt();
        ASSERT_TRUE(scenario.run(program).finished());
        EXPECT_EQ(scenario.byte(layout::target + 1), scenario.mark(0));
        EXPECT_EQ(scenario.byte(layout::target + 0x1001), scenario.mark(1));
        EXPECT_EQ(scenario.byte(layout::target + 0x2001), scenario.mark(0));
        const unsigned seen = scenario.sees_writes() ? rounds * 4 : 0;
        EXPECT_EQ(scenario.page_writes().size(), seen);
        EXPECT_EQ(scenario.machine().totals().traps, seen);
    }
}

// All 255 pages of the largest blob, each to a page of its own, by one loop.
TEST_P(Configuration, LaysOutTheLargestBlobPageByPage) {
    Scenario scenario = make(xen::default_profile());
    constexpr unsigned pages = 255;
    const auto blob = Scenario::marked_blob(scenario.blob_width(), pages);
    scenario.set_blobs(blob);
    GuestCode program = scenario.code();
    program.mov(ebp, pages).mov(ecx, Scenario::msr).mov(edx, 0).mov(esi, 0x100000).mov(edi, 0x1001);
    const std::uint64_t loop = program.here();
    program.mov(eax, esi).wrmsr().add(esi, edi).decrement_and_jump(ebp, loop).hlt();
    const Ending ending = scenario.run(program);
    ASSERT_TRUE(ending.finished()) << ending.result.reason;
    std::vector<std::byte> copied(blob.size());
    ASSERT_TRUE(scenario.machine().memory().read(mmu::GuestPhysical{0x100000}, copied));
    EXPECT_TRUE(copied == blob);
    EXPECT_EQ(scenario.changed_pages().size(), pages);
}

// The layout of shared_info follows the last write, even one that fails.
TEST_P(Configuration, LatchFollowsTheLastWrite) {
    for (const xen::Profile& profile : profiles_on(GetParam().engine)) {
        SCOPED_TRACE(profile.name);
        Scenario scenario = make(profile);
        const bool long_mode = long_mode_active(GetParam().mode);
        const auto expected = profile.latches_long_mode ? std::optional(long_mode) : std::nullopt;
        scenario.trap().write_msr({.index = Scenario::msr, .value = target, .long_mode_active = !long_mode});
        EXPECT_TRUE(write_once(scenario, Scenario::msr, layout::hole.value).trap);
        if (scenario.sees_writes()) {
            EXPECT_EQ(scenario.trap().latched_long_mode(), expected);
        }
        EXPECT_EQ(profile.latches_long_mode, profile.name == "linux-5.12" || profile.name == "linux-6.15");
    }
}

}  // namespace
}  // namespace xenolith::machine::test
