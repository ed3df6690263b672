#include "mmu/tlb.hpp"

#include <gtest/gtest.h>

namespace xenolith::mmu {
namespace {

constexpr std::uint64_t megabyte = 1 << 20;

Translation mapped(std::uint64_t physical, std::uint64_t size, bool global = false) {
    return {{physical}, size, 3, true, false, global};
}

bool knows(Tlb& tlb, std::uint64_t linear) { return tlb.find({linear}, Access::read) != nullptr; }

void learn(Tlb& tlb, std::uint64_t linear, std::uint64_t size, bool global = false) {
    tlb.insert({linear}, mapped(linear & 0xfffffff000, size, global), Access::read);
}

struct LargePage {
    std::uint64_t start, size;
};

class LargePages : public testing::TestWithParam<LargePage> {};

INSTANTIATE_TEST_SUITE_P(Tlb, LargePages,
                         testing::Values(LargePage{2 * megabyte, 2 * megabyte}, LargePage{4 * megabyte, 4 * megabyte},
                                         LargePage{1024 * megabyte, 1024 * megabyte},
                                         LargePage{0xffff888000200000, 2 * megabyte}));

// SDM vol. 3A, 4.10.4.1: whatever a processor keeps of a large page goes at once.
TEST_P(LargePages, GoWholeWithAnyOfTheirAddresses) {
    const auto [start, size] = GetParam();
    const std::uint64_t inside[] = {start, start + 0x3000, start + size / 2, start + size - page_size};
    for (const std::uint64_t named : inside) {
        Tlb tlb;
        for (const std::uint64_t linear : inside) learn(tlb, linear, size);
        learn(tlb, start - page_size, page_size);
        learn(tlb, start + size, size);
        tlb.flush_page({named + 0x123});
        for (const std::uint64_t linear : inside) EXPECT_FALSE(knows(tlb, linear)) << std::hex << named << linear;
        EXPECT_TRUE(knows(tlb, start - page_size));
        EXPECT_TRUE(knows(tlb, start + size));
    }
}

TEST_P(LargePages, GoWholeByAnAddressOfWhichNothingIsKnown) {
    const auto [start, size] = GetParam();
    Tlb tlb;
    learn(tlb, start, size);
    tlb.flush_page({start + size - page_size});
    EXPECT_FALSE(knows(tlb, start));
}

TEST_P(LargePages, GoWholeAfterTheirSizeWasSaved) {
    const auto [start, size] = GetParam();
    Tlb first, second;
    learn(first, start, size);
    second.restore(first.save());
    EXPECT_TRUE(knows(second, start));
    second.flush_page({start + page_size});
    EXPECT_FALSE(knows(second, start));
}

TEST_P(LargePages, ThatAreGlobalGoWholeAfterTheOthersHaveGone) {
    const auto [start, size] = GetParam();
    Tlb tlb;
    learn(tlb, start, size, true);
    tlb.flush_except_global();
    EXPECT_TRUE(knows(tlb, start));
    tlb.flush_page({start + page_size});
    EXPECT_FALSE(knows(tlb, start));
}

TEST_P(LargePages, GoWithWhatTheVictimBufferHas) {
    const auto [start, size] = GetParam();
    Tlb tlb;
    learn(tlb, start, size);
    // A page of another gigabyte that belongs in the same slot.
    std::uint64_t rival = start + 4096 * megabyte;
    while (Tlb::slot(rival) != Tlb::slot(start)) rival += page_size;
    learn(tlb, rival, page_size);
    tlb.flush_page({start + page_size});
    EXPECT_FALSE(knows(tlb, start));
    EXPECT_TRUE(knows(tlb, rival));
}

TEST(Tlb, FlushesASmallPageAlone) {
    Tlb tlb;
    learn(tlb, 0x200000, page_size);
    learn(tlb, 0x201000, page_size);
    learn(tlb, 0x400000, 2 * megabyte);
    tlb.flush_page({0x200fff});
    EXPECT_FALSE(knows(tlb, 0x200000));
    EXPECT_TRUE(knows(tlb, 0x201000));
    EXPECT_TRUE(knows(tlb, 0x400000));
}

}  // namespace
}  // namespace xenolith::mmu
