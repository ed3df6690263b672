// User memory as the kernel would see it through copy_from_user.
#include "xen/blob_memory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>
#include <utility>
#include <vector>

namespace xenolith::xen {
namespace {

constexpr std::uint64_t base = 0x7f00'0000'0000;
constexpr std::uint64_t page = mmu::page_size;

std::vector<std::byte> filled(std::size_t size, unsigned value) { return std::vector(size, std::byte(value)); }

class HostBlobMemoryTest : public testing::Test {
  protected:
    HostBlobMemoryTest() {
        memory.map(base, filled(page, 1));
        memory.map(base + page, filled(100, 2));  // the rest of the page is zero
    }
    // The bytes of [address, address + size), or nothing.
    std::vector<std::byte> at(std::uint64_t address, std::size_t size) const {
        std::vector<std::byte> bytes(size);
        if (!memory.read(address, bytes)) return {};
        return bytes;
    }
    HostBlobMemory memory;
};

TEST_F(HostBlobMemoryTest, ReadsAcrossPages) {
    EXPECT_EQ(at(base, page), filled(page, 1));
    // The first 3 bytes are cut off, and 3 of the second page stand behind.
    std::vector<std::byte> both = filled(page, 1);
    std::fill(both.end() - 3, both.end(), std::byte{2});
    EXPECT_EQ(at(base + 3, page), both);
    // 100 bytes of the second page were given; the rest is zero.
    EXPECT_EQ(at(base + page + 99, 2), (std::vector{std::byte{2}, std::byte{0}}));
}

struct Unreadable {
    const char* what;
    std::uint64_t address;
    std::size_t size;
};

TEST_F(HostBlobMemoryTest, RefusesWhatIsNotMapped) {
    const Unreadable rows[] = {
        {"null", 0, page},
        {"in front", base - 1, 2},
        {"behind", base + 2 * page - 1, 2},
        {"non-canonical", 0x8000'0000'0000'0000, page},
        {"wraps", ~std::uint64_t{0}, 2},
        {"last byte", ~std::uint64_t{0}, 1},
    };
    for (const Unreadable& row : rows) {
        SCOPED_TRACE(row.what);
        EXPECT_TRUE(at(row.address, row.size).empty());
    }
}

TEST_F(HostBlobMemoryTest, UnmapsWholePages) {
    memory.unmap(base + page + 50, 1);
    EXPECT_TRUE(at(base + page, 1).empty());
    EXPECT_EQ(at(base, page), filled(page, 1));
    memory.unmap(base, 0);
    EXPECT_EQ(at(base, page), filled(page, 1));
    memory.unmap(1, ~std::uint64_t{0});
    EXPECT_TRUE(at(base, 1).empty());
}

TEST_F(HostBlobMemoryTest, WritesInPlaceOrNotAtAll) {
    EXPECT_TRUE(memory.write(base + page - 1, filled(2, 9)));
    EXPECT_EQ(at(base + page - 1, 2), filled(2, 9));
    EXPECT_FALSE(memory.write(base + 2 * page - 1, filled(2, 7)));
    EXPECT_EQ(at(base + 2 * page - 1, 1), filled(1, 0));
}

TEST_F(HostBlobMemoryTest, MapsWholePagesOnly) {
    EXPECT_THROW(memory.map(0, filled(page, 1)), std::invalid_argument);
    EXPECT_THROW(memory.map(base + 1, filled(page, 1)), std::invalid_argument);
    EXPECT_THROW(memory.map(~std::uint64_t{0} << 12, filled(page + 1, 1)), std::invalid_argument);
    EXPECT_NO_THROW(memory.map(~std::uint64_t{0} << 12, filled(page, 3)));
    EXPECT_EQ(at(~std::uint64_t{0}, 1), filled(1, 3));
}

TEST_F(HostBlobMemoryTest, GenerationGoesUpWithEveryChange) {
    std::uint64_t before = memory.generation();
    const auto changed = [&] { return std::exchange(before, memory.generation()) != memory.generation(); };
    EXPECT_FALSE(changed());
    EXPECT_TRUE(memory.write(base, filled(1, 9)));
    EXPECT_TRUE(changed());
    EXPECT_FALSE(memory.write(base - 1, filled(1, 9)));
    EXPECT_FALSE(changed());
    memory.map(base + 4 * page, filled(page, 3));
    EXPECT_TRUE(changed());
    memory.unmap(base + 4 * page, page);
    EXPECT_TRUE(changed());
}

}  // namespace
}  // namespace xenolith::xen
