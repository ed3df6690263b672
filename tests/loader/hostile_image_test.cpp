// Truncated and mutated images of every kind: a LoadError or a sensible result, never anything else.
#include <gtest/gtest.h>

#include <random>

#include "tests/loader/fuzz_input.hpp"
#include "tests/loader/load_checks.hpp"
#include "tests/loader/test_machine.hpp"

namespace xenolith::loader::testing {
namespace {

class HostileImage : public ::testing::TestWithParam<NamedImage> {};
INSTANTIATE_TEST_SUITE_P(, HostileImage, ::testing::ValuesIn(small_images()), [](const auto& row) {
    std::string name = row.param.name;
    std::erase(name, '-');
    return name;
});

LoadOptions options_for(const NamedImage& image) {
    LoadOptions options;
    if (image.name == "flat") options.format = Format::flat32;
    return options;
}

TEST_P(HostileImage, LoadsWhenUnharmed) {
    TestMemory machine;
    const ImageFile image = file(GetParam().bytes);
    EXPECT_NO_THROW((void)load(image, options_for(GetParam()), machine.memory));
    EXPECT_EQ(load_and_check(image, options_for(GetParam()), machine.memory).wrong, "");
}

TEST_P(HostileImage, TruncatedAtEveryLength) {
    TestMemory machine;
    for (std::size_t length = 0; length < GetParam().bytes.size(); ++length) {
        const Bytes bytes(GetParam().bytes.begin(), GetParam().bytes.begin() + static_cast<std::ptrdiff_t>(length));
        for (unsigned format = 0; format < 8; ++format) {
            const LoadOptions options = fuzz_options(static_cast<std::uint8_t>(format), 0);
            ASSERT_EQ(load_and_check(file(bytes), options, machine.memory).wrong, "")
                << "length " << length << ", format " << format_name(static_cast<Format>(format));
        }
    }
}

TEST_P(HostileImage, ACutOffTailIsNoticed) {
    if (GetParam().name == "flat" || GetParam().name == "multiboot-raw") return;  // any length is a good one
    TestMemory machine;
    Bytes bytes = GetParam().bytes;
    bytes.resize(bytes.size() - 20);
    EXPECT_EQ(error_of(file(bytes), {}, machine.memory).failure(), LoadFailure::malformed);
}

// Bytes replaced, numbers pushed to their edges, pieces moved or repeated.
void mutate(Bytes& bytes, std::mt19937_64& random) {
    constexpr std::uint64_t edges[] = {0,
                                       1,
                                       0x7f,
                                       0x80,
                                       0xff,
                                       0xffff,
                                       0x7fffffff,
                                       0x80000000,
                                       0xfffff000,
                                       0xffffffff,
                                       0x100000000,
                                       UINT64_MAX,
                                       UINT64_MAX - 0xfff,
                                       INT64_MAX};
    constexpr std::size_t widths[] = {1, 2, 4, 8};
    const auto below = [&random](std::size_t bound) { return static_cast<std::size_t>(random() % bound); };
    const std::size_t count = 1 + below(4);
    for (std::size_t i = 0; i < count; ++i) {
        // Half of the changes go to the headers, where they tell.
        const std::size_t reach = below(2) != 0 ? bytes.size() : std::min<std::size_t>(bytes.size(), 0x280);
        const std::size_t offset = below(reach);
        switch (below(4)) {
            case 0: bytes[offset] = static_cast<std::byte>(random()); break;
            case 1: put(bytes, offset, edges[below(std::size(edges))], widths[below(4)]); break;
            case 2: put(bytes, offset, get(bytes, offset, 1) + below(17) - 8, 1); break;
            default: {
                const std::size_t size = std::min(1 + below(32), bytes.size() - offset);
                const Bytes piece(bytes.begin() + static_cast<std::ptrdiff_t>(offset),
                                  bytes.begin() + static_cast<std::ptrdiff_t>(offset + size));
                const std::size_t to = below(bytes.size());
                for (std::size_t j = 0; j < size && to + j < bytes.size(); ++j) bytes[to + j] = piece[j];
            }
        }
    }
}

TEST_P(HostileImage, MutatedTwentyThousandTimes) {
    TestMemory machine;
    std::mt19937_64 random(20090619);
    std::size_t loaded = 0;
    for (unsigned round = 0; round < 20000; ++round) {
        Bytes bytes = GetParam().bytes;
        mutate(bytes, random);
        const auto first = static_cast<std::uint8_t>(random() % 4 == 0 ? random() : 0);
        const auto second = static_cast<std::uint8_t>(random() % 4 == 0 ? random() : 0);
        const CheckedLoad result = load_and_check(file(bytes), fuzz_options(first, second), machine.memory);
        ASSERT_EQ(result.wrong, "") << "round " << round;
        loaded += result.loaded ? 1 : 0;
    }
    EXPECT_GT(loaded, 100u) << "mutants that load, and";
    EXPECT_LT(loaded, 19900u) << "mutants that do not, are both tried";
}

}  // namespace
}  // namespace xenolith::loader::testing
