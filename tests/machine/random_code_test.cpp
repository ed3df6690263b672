// Random bytes as code in every mode: bounded, repeatable, and never a crash.
#include "tests/machine/random_code.hpp"

#include <gtest/gtest.h>

#include <random>

namespace xenolith::machine::test {

TEST(RandomCode, EndsAndCanBeRepeated) {
    constexpr std::uint64_t most_cycles = 300'000;
    std::mt19937 random(20'261'126);
    for (unsigned n = 0; n < 400; ++n) {
        std::vector<std::uint8_t> input(1 + 16 + random() % 200);
        for (std::uint8_t& byte : input) byte = static_cast<std::uint8_t>(random());
        // Half of them with instructions that reach devices strewn in: IN, OUT, WRMSR, RDMSR, CPUID, HLT.
        if (n % 2 == 1) {
            constexpr std::uint8_t reaching[][2] = {{0xec, 0x90}, {0xef, 0x90}, {0xe6, 0x43}, {0xe4, 0x71},
                                                    {0x0f, 0x30}, {0x0f, 0x32}, {0x0f, 0xa2}, {0xfb, 0xf4}};
            for (std::size_t at = 1; at + 2 < input.size(); at += 3 + random() % 6) {
                const auto& pair = reaching[random() % std::size(reaching)];
                input[at] = pair[0];
                input[at + 1] = pair[1];
            }
        }
        const RunResult first = run_random_code(input, most_cycles), second = run_random_code(input, most_cycles);
        ASSERT_EQ(first.end, second.end) << n;
        ASSERT_EQ(first.totals.cycles, second.totals.cycles) << n;
        ASSERT_EQ(first.totals.instructions, second.totals.instructions) << n;
        // One instruction may be long, but not without a bound.
        ASSERT_LT(first.totals.cycles, most_cycles + 1'000'000) << n;
    }
}

}  // namespace xenolith::machine::test
