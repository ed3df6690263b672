// A debugger that sends nonsense harms nobody, and the same nonsense gets the same answers.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "tests/machine/gdb/random_packets.hpp"

namespace xenolith::machine::gdb::test {
namespace {

// Beginnings of packets that lead somewhere, and digits to go with them.
std::vector<std::uint8_t> nonsense(std::mt19937& random) {
    static constexpr std::string_view beginnings[] = {"c",
                                                      "s",
                                                      "g",
                                                      "G",
                                                      "p",
                                                      "P",
                                                      "m",
                                                      "M",
                                                      "X",
                                                      "Z0,",
                                                      "Z2,",
                                                      "z3,",
                                                      "Z4,",
                                                      "H",
                                                      "T",
                                                      "vCont;",
                                                      "vCont;s:1",
                                                      "qRcmd,",
                                                      "qXfer:features:read:target.xml:",
                                                      "qRcmd,77616c6b20",
                                                      "qRcmd,7068797320",
                                                      "?",
                                                      "qSupported:swbreak+;hwbreak+",
                                                      "D;",
                                                      "P10=",
                                                      "P8=",
                                                      "P11="};
    static constexpr std::string_view letters = "0123456789abcdef,:;=-#$}*";
    std::vector<std::uint8_t> input = {static_cast<std::uint8_t>(random())};
    for (unsigned record = 0; record < 24; ++record) {
        std::string content(beginnings[random() % std::size(beginnings)]);
        if (random() % 3 == 0) {  // a register that is there, and as many digits as most have
            content = fmt::format("P{:x}=", random() % 140);
            for (std::size_t count = random() % 2 == 0 ? 8 : 16; count > 0; --count)
                content += random() % 3 == 0 ? letters[random() % 16] : '0';
        } else {
            for (std::size_t count = random() % 24; count > 0; --count) content += letters[random() % letters.size()];
        }
        const bool raw = random() % 8 == 0;
        input.push_back(static_cast<std::uint8_t>((content.size() & 0x7f) | (raw ? 0x80 : 0)));
        input.insert(input.end(), content.begin(), content.end());
    }
    return input;
}

TEST(GdbNonsense, IsAnsweredTheSameEachTime) {
    std::mt19937 random(7);
    for (unsigned round = 0; round < 300; ++round) {
        const std::vector<std::uint8_t> input = nonsense(random);
        EXPECT_EQ(sent_for(input), sent_for(input)) << round;
    }
}

}  // namespace
}  // namespace xenolith::machine::gdb::test
