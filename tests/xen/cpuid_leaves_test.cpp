// Xen's CPUID leaves, leaf by leaf.
#include "xen/cpuid_leaves.hpp"

#include <gtest/gtest.h>

namespace xenolith::xen {
namespace {

CpuidSource source() {
    CpuidSource values;
    values.msr = 0x40000200;
    values.vcpu_id = 3;
    values.domain_id = 7;
    values.tsc_khz = 2'500'000;
    values.tsc_offset = 0x1122'3344'5566'7788;
    values.rdtscp = true;
    return values;
}

struct Leaf {
    std::uint32_t offset, subleaf;
    CpuidResult expected;
};

TEST(CpuidLeaves, HoldWhatTheHeaderSays) {
    const Leaf rows[] = {
        {0, 0, {0x40000005, 0x566e6558, 0x65584d4d, 0x4d4d566e}},
        {0, 9, {0x40000005, 0x566e6558, 0x65584d4d, 0x4d4d566e}},
        {1, 0, {0x00040011, 0, 0, 0}},
        {2, 0, {1, 0x40000200, 0, 0}},
        {3, 0, {6, 0, 2'500'000, 0}},
        {3, 1, {0x55667788, 0x11223344, 0xcccccccc, 0xffffffff}},
        {3, 2, {2'500'000, 0, 0, 0}},
        {3, 3, {}},
        {4, 0, {0x18, 3, 7, 0}},
        {4, 1, {}},
        {5, 0, {}},
    };
    for (const Leaf& row : rows) {
        SCOPED_TRACE("leaf +" + std::to_string(row.offset) + " sub-leaf " + std::to_string(row.subleaf));
        EXPECT_EQ(xen_leaf(source(), 0x40000000 + row.offset, row.subleaf), row.expected);
    }
}

TEST(CpuidLeaves, EndWhereTheyEnd) {
    EXPECT_EQ(xen_leaf(source(), 0x40000006, 0), std::nullopt);
    EXPECT_EQ(xen_leaf(source(), 0x3fffffff, 0), std::nullopt);
    EXPECT_EQ(xen_leaf(source(), 0x40000100, 0), std::nullopt);
    EXPECT_EQ(xen_leaf(source(), 0, 0), std::nullopt);
    EXPECT_EQ(xen_leaf(source(), 0xffffffff, 0), std::nullopt);
}

TEST(CpuidLeaves, MoveWithTheirBase) {
    CpuidSource values = source();
    values.base = 0x40000100;
    EXPECT_EQ(xen_leaf(values, 0x40000000, 0), std::nullopt);
    EXPECT_EQ(xen_leaf(values, 0x40000100, 0)->eax, 0x40000105u);
    EXPECT_EQ(xen_leaf(values, 0x40000102, 0)->ebx, 0x40000200u);
}

TEST(CpuidLeaves, AreAbsentWithoutXen) {
    CpuidSource values = source();
    values.present = false;
    for (std::uint32_t leaf = first_hypervisor_leaf; leaf < hypervisor_scan_end; leaf += hypervisor_scan_step) {
        EXPECT_EQ(xen_leaf(values, leaf, 0), std::nullopt);
    }
}

TEST(CpuidLeaves, HideIdentitiesWhoseBitIsOff) {
    CpuidSource values = source();
    values.hvm_features = hvm_cpuid::apic_access;
    EXPECT_EQ(xen_leaf(values, 0x40000004, 0), (CpuidResult{1, 0, 0, 0}));
}

TEST(CpuidLeaves, HaveNoTimeWithoutAFrequency) {
    CpuidSource values = source();
    values.tsc_khz = 0;
    for (std::uint32_t subleaf = 0; subleaf < 3; ++subleaf) {
        EXPECT_EQ(xen_leaf(values, 0x40000003, subleaf), CpuidResult{});
    }
}

TEST(TimeScale, TurnsTicksIntoNanoseconds) {
    for (const std::uint32_t khz : {1u, 999u, 1000u, 33'333u, 1'000'000u, 1'000'001u, 2'000'000u, 2'000'001u,
                                    2'500'000u, 3'999'999u, 4'294'967'295u}) {
        SCOPED_TRACE(khz);
        const TimeScale scale = time_scale(khz);
        // One second of ticks is one second of nanoseconds, within what 32 bits of fraction and the bits
        // shifted out can hold.
        const std::uint64_t ticks = std::uint64_t{khz} * 1000;
        const std::uint64_t shifted = scale.shift < 0 ? ticks >> -scale.shift : ticks << scale.shift;
        const auto nanoseconds =
            static_cast<std::uint64_t>((static_cast<unsigned __int128>(shifted) * scale.multiplier) >> 32);
        EXPECT_NEAR(static_cast<double>(nanoseconds), 1e9, 2);
        EXPECT_GE(scale.multiplier, 0x7fffffffu);
    }
    EXPECT_EQ(time_scale(0), TimeScale{});
}

}  // namespace
}  // namespace xenolith::xen
