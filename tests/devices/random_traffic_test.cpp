// 200 000 random operations over all devices: nothing crashes or hangs, a run can be repeated, and a saved
// board goes on as if nothing had happened.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/devices/traffic.hpp"

namespace xenolith::devices {
namespace {

constexpr std::size_t operations_per_seed = 25'000;

std::vector<std::uint8_t> random_bytes(std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<std::uint8_t> bytes(operations_per_seed * Board::bytes_per_operation);
    std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<std::uint8_t>(random() >> 56); });
    return bytes;
}

class RandomTraffic : public testing::TestWithParam<std::uint64_t> {};

TEST_P(RandomTraffic, IsSafeRepeatableAndSurvivesASnapshot) {
    const std::vector<std::uint8_t> bytes = random_bytes(GetParam());
    const std::span<const std::uint8_t> all(bytes);
    const std::size_t half = operations_per_seed / 2 * Board::bytes_per_operation;

    Board first;
    first.run(all.first(half));
    const Board::State middle = first.save();
    first.seen.clear();
    first.run(all.subspan(half));

    Board again;
    again.run(all.first(half));
    again.seen.clear();
    again.run(all.subspan(half));
    EXPECT_EQ(again.seen, first.seen) << "the same bytes, the same run; and saving changes nothing";

    Board restored;
    restored.restore(middle);
    restored.seen.clear();
    restored.run(all.subspan(half));
    EXPECT_EQ(restored.seen, first.seen) << "a restored board is the board that was saved";
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomTraffic, testing::Range<std::uint64_t>(1, 9));

}  // namespace
}  // namespace xenolith::devices
