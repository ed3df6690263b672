// A walk that is only looked at tells what the walk would find, and changes nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/mmu/page_tables.hpp"

namespace xenolith::mmu {
namespace {

using namespace test;
using testing::IsEmpty;
using Ending = WalkTrace::Ending;

class WalkTraces : public testing::TestWithParam<Paging> {
  protected:
    WalkTrace trace() const { return trace_walk(tables.memory, tables.context, tables.linear); }
    bool is_pae() const { return GetParam() == Paging::pae_4k || GetParam() == Paging::pae_2m; }
    // Of the entries that lie in memory, from the root.
    std::size_t first_in_memory() const { return is_pae() ? 1 : 0; }
    PageTables tables{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(PageWalk, WalkTraces, testing::ValuesIn(every_paging),
                         [](const auto& row) { return name_of(row.param); });

TEST_P(WalkTraces, NameEveryEntryFromTheRoot) {
    const WalkTrace seen = trace();
    EXPECT_EQ(seen.ending, Ending::mapped);
    EXPECT_EQ(seen.physical, tables.physical);
    EXPECT_EQ(seen.mapping_size, tables.mapping_size);
    ASSERT_EQ(seen.entries.size(), tables.length() + first_in_memory());
    if (is_pae()) {
        EXPECT_TRUE(seen.entries[0].in_register);
        EXPECT_EQ(seen.entries[0].value, tables.context.pdpte[tables.linear.value >> 30 & 3]);
        EXPECT_EQ(seen.entries[0].index_shift, 30);
    }
    for (std::size_t above_leaf = 0; above_leaf < tables.length(); ++above_leaf) {
        const WalkedEntry& entry = seen.entries[seen.entries.size() - 1 - above_leaf];
        EXPECT_EQ(entry.address, tables.address_of(above_leaf));
        EXPECT_EQ(entry.value, tables.get(above_leaf));
        EXPECT_FALSE(entry.in_register);
    }
    // The leaf's index is what lies above the page's own bits.
    EXPECT_EQ(bit(seen.entries.back().index_shift), tables.mapping_size);
    const std::uint8_t root = is_two_level(GetParam()) ? 22 : is_pae() ? 30 : 39;
    EXPECT_EQ(seen.entries.front().index_shift, root);
}

TEST_P(WalkTraces, ChangeNothing) {
    trace();
    EXPECT_THAT(tables.memory.take_dirty_pages(), IsEmpty());
    EXPECT_EQ(tables.get(0) & (entry::accessed | entry::dirty), 0u);
}

TEST_P(WalkTraces, EndWhereTheWalkEnds) {
    for (std::size_t above_leaf = 0; above_leaf < tables.length(); ++above_leaf) {
        PageTables broken(GetParam());
        broken.clear(above_leaf, entry::present);
        const WalkTrace seen = trace_walk(broken.memory, broken.context, broken.linear);
        EXPECT_EQ(seen.ending, Ending::not_present);
        EXPECT_EQ(seen.entries.size(), broken.length() + first_in_memory() - above_leaf);
        EXPECT_EQ(seen.entries.back().address, broken.address_of(above_leaf));
    }
    if (is_two_level(GetParam())) return;
    tables.set(0, bit(51));  // beyond MAXPHYADDR
    EXPECT_EQ(trace().ending, Ending::reserved_bit);
}

TEST_P(WalkTraces, TellTheRightsThatAllEntriesGrant) {
    EXPECT_TRUE(trace().user && trace().writable && trace().executable);
    const std::size_t root = tables.length() - 1;
    tables.clear(root, entry::user);
    EXPECT_FALSE(trace().user);
    tables.clear(0, entry::writable);
    EXPECT_FALSE(trace().writable);
    if (is_two_level(GetParam())) return;
    tables.context.efer |= efer::nxe;
    tables.set(root, entry::no_execute);
    EXPECT_FALSE(trace().executable);
}

TEST(WalkTrace, WithoutAPdpteRegisterEndsThere) {
    PageTables tables(Paging::pae_4k);
    tables.context.pdpte = {};
    const WalkTrace seen = trace_walk(tables.memory, tables.context, tables.linear);
    EXPECT_EQ(seen.ending, Ending::not_present);
    EXPECT_EQ(seen.entries.size(), 1u);
}

TEST(WalkTrace, WithoutPagingIsTheAddressItself) {
    const GuestMemory memory;
    const WalkTrace seen = trace_walk(memory, {}, {0x123456789});
    EXPECT_EQ(seen.ending, Ending::no_paging);
    EXPECT_EQ(seen.physical.value, 0x23456789u);
    EXPECT_THAT(seen.entries, IsEmpty());
}

}  // namespace
}  // namespace xenolith::mmu
