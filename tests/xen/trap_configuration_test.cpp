// What each kernel accepts as a configuration, and what is in force after it refused one.
#include "tests/xen/trap_fixture.hpp"

namespace xenolith::xen {
namespace {

using TrapConfiguration = TrapFixture;
INSTANTIATE_TEST_SUITE_P(Profiles, TrapConfiguration, every_profile(), profile_test_name);

// Which profiles refuse a row with EINVAL.
enum Refused { never, always, before_5_12, only_6_15 };

struct Row {
    const char* what;
    HvmConfig config;
    Refused refused;
};

HvmConfig with(std::uint32_t flags, std::uint32_t msr) {
    HvmConfig config;
    config.flags = flags;
    config.msr = msr;
    return config;
}

HvmConfig intercept_with(void (*change)(HvmConfig&)) {
    HvmConfig config = with(hvm_config_flag::intercept_hcall, 0x40000000);
    change(config);
    return config;
}

std::vector<Row> rows() {
    std::vector<Row> all{
        {"all zero: off", {}, never},
        {"Xen's own index", with(0, 0x40000000), never},
        {"the last synthetic index", with(0, 0x4fffffff), never},
        {"below the synthetic range", with(0, 0x3fffffff), only_6_15},
        {"above the synthetic range", with(0, 0x50000000), only_6_15},
        {"a real MSR: IA32_TSC", with(0, 0x10), only_6_15},
        {"a real MSR: EFER", with(0, 0xc0000080), only_6_15},
        {"the highest index", with(0, 0xffffffff), only_6_15},
        {"INTERCEPT_HCALL", with(hvm_config_flag::intercept_hcall, 0x40000000), before_5_12},
        {"INTERCEPT_HCALL, off", with(hvm_config_flag::intercept_hcall, 0), before_5_12},
        {"INTERCEPT_HCALL with blob_addr_32", intercept_with([](HvmConfig& c) { c.blob_addr_32 = 1; }), always},
        {"INTERCEPT_HCALL with blob_addr_64", intercept_with([](HvmConfig& c) { c.blob_addr_64 = 1; }), always},
        {"INTERCEPT_HCALL with blob_size_32", intercept_with([](HvmConfig& c) { c.blob_size_32 = 1; }), always},
        {"INTERCEPT_HCALL with blob_size_64", intercept_with([](HvmConfig& c) { c.blob_size_64 = 1; }), always},
        {"padding is ignored", intercept_with([](HvmConfig& c) {
             c.flags = 0;
             c.pad2[29] = 1;
         }),
         never},
        {"all flags", with(0xffffffff, 0x40000000), always},
    };
    static const char* const bits[] = {"bit 0", nullptr, "bit 2", "bit 3", "bit 4", "bit 5", "bit 6", "bit 7", "bit 8"};
    for (unsigned bit = 0; bit < std::size(bits); ++bit) {
        if (bits[bit] != nullptr) all.push_back({bits[bit], with(1u << bit, 0x40000000), always});
    }
    all.push_back({"bit 31", with(1u << 31, 0x40000000), always});
    return all;
}

bool is_refused(const Profile& profile, Refused refused) {
    switch (refused) {
        case never: return false;
        case always: return true;
        case before_5_12: return profile.name == "linux-2.6.33" || profile.name == "linux-5.10";
        case only_6_15: return profile.name == "linux-6.15";
    }
    return false;
}

TEST_P(TrapConfiguration, IsAcceptedOrRefusedAsTheKernelDoes) {
    for (const Row& row : rows()) {
        SCOPED_TRACE(row.what);
        TrapCore core(profile(), memory, blobs);
        ASSERT_EQ(core.configure(blob_config()), 0);
        const bool refused = is_refused(profile(), row.refused);
        EXPECT_EQ(core.configure(row.config), refused ? EINVAL : 0);
        // 2.6.33 copies before it checks; later kernels keep the old configuration.
        const bool live = !refused || profile().name == "linux-2.6.33";
        EXPECT_EQ(core.config(), live ? row.config : blob_config());
    }
}

TEST_P(TrapConfiguration, RefusedConfigurationWorksIn2_6_33Only) {
    ASSERT_EQ(trap.configure(blob_config()), 0);
    HvmConfig refused = blob_config();
    refused.flags = hvm_config_flag::shared_info;
    refused.msr = 0x40000001;
    refused.blob_addr_64 = blob32;
    ASSERT_EQ(trap.configure(refused), EINVAL);

    MsrWrite to_new = guest_write(ram.value);
    to_new.index = 0x40000001;
    const bool live = profile().name == "linux-2.6.33";
    EXPECT_EQ(trap.write_msr(to_new).ours(), live);
    EXPECT_EQ(page_value(ram), live ? 0x32 : untouched);
    EXPECT_EQ(trap.write_msr(guest_write(ram.value)).ours(), !live);
}

TEST_P(TrapConfiguration, InterceptsOnlyWhereTheKernelKnowsHow) {
    EXPECT_FALSE(trap.intercepts_hypercalls());
    trap.configure(intercept_config());
    const bool knows = profile().name == "linux-5.12" || profile().name == "linux-6.15";
    EXPECT_EQ(trap.intercepts_hypercalls(), knows);

    HvmConfig off = intercept_config();
    off.msr = 0;
    trap.configure(off);
    EXPECT_FALSE(trap.intercepts_hypercalls());
}

TEST_P(TrapConfiguration, StartsOff) {
    EXPECT_EQ(trap.config(), HvmConfig{});
    EXPECT_FALSE(trap.watches(0, false));
    EXPECT_FALSE(trap.watches(msr, false));
    EXPECT_EQ(trap.latched_long_mode(), std::nullopt);
}

}  // namespace
}  // namespace xenolith::xen
