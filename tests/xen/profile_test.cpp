// The profile table against the contract, column by column.
#include "xen/profile.hpp"

#include <gtest/gtest.h>

#include "xen/hvm_config.hpp"

namespace xenolith::xen {
namespace {

struct Expectation {
    std::string_view name;
    bool before_cpu_msrs;
    bool unreadable_blob_fails_the_run;
    bool refused_config_is_live;
    bool intercept_allowed;
    bool index_must_be_synthetic;
    bool host_write_triggers;
    bool latches_long_mode;
};

TEST(Profile, TableIsTheContract) {
    constexpr Expectation contract[] = {
        {"linux-2.6.33", false, false, true, false, false, true, false},
        {"linux-5.10", false, true, false, false, false, true, false},
        {"linux-5.12", true, true, false, true, false, true, true},
        {"linux-6.15", true, true, false, true, true, false, true},
    };
    ASSERT_EQ(profiles().size(), std::size(contract));
    for (std::size_t i = 0; i < std::size(contract); ++i) {
        const Profile& profile = profiles()[i];
        const Expectation& expected = contract[i];
        SCOPED_TRACE(expected.name);
        EXPECT_EQ(profile.name, expected.name);
        EXPECT_EQ(profile.before_cpu_msrs, expected.before_cpu_msrs);
        EXPECT_EQ(profile.unreadable_blob == UnreadableBlob::run_fails, expected.unreadable_blob_fails_the_run);
        EXPECT_EQ(profile.refused_config_is_live, expected.refused_config_is_live);
        EXPECT_EQ(profile.flags_allowed, expected.intercept_allowed ? hvm_config_flag::intercept_hcall : 0u);
        EXPECT_EQ(profile.index_must_be_synthetic, expected.index_must_be_synthetic);
        EXPECT_EQ(profile.host_write_triggers, expected.host_write_triggers);
        EXPECT_EQ(profile.latches_long_mode, expected.latches_long_mode);
    }
}

TEST(Profile, IsFoundByName) {
    for (const Profile& profile : profiles()) EXPECT_EQ(find_profile(profile.name), &profile);
    EXPECT_EQ(find_profile("linux-5.11"), nullptr);
    EXPECT_EQ(find_profile(""), nullptr);
    EXPECT_EQ(profile_names(), "linux-2.6.33, linux-5.10, linux-5.12, linux-6.15");
    EXPECT_EQ(default_profile().name, "linux-6.15");
}

}  // namespace
}  // namespace xenolith::xen
