// Packets from bytes and bytes from packets, however the bytes are cut, and whatever they are.
#include "machine/gdb/packet.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace xenolith::machine::gdb {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Kind = Arrival::Kind;

struct Seen {
    Kind kind;
    std::string content;
    bool operator==(const Seen&) const = default;
};
void PrintTo(const Seen& seen, std::ostream* out) {
    *out << static_cast<int>(seen.kind) << " \"" << seen.content << '"';
}

std::vector<Seen> read(std::string_view bytes) {
    PacketReader reader;
    std::vector<Seen> seen;
    for (const char byte : bytes)
        if (auto arrival = reader.take(byte)) seen.push_back({arrival->kind, std::move(arrival->content)});
    return seen;
}
Seen packet(std::string content) { return {Kind::packet, std::move(content)}; }

TEST(GdbPacket, IsFramedAsTheManualHasIt) {
    EXPECT_EQ(frame(""), "$#00");
    EXPECT_EQ(frame("OK"), "$OK#9a");
    // Escaped: an exclusive or with 20H, and the checksum is that of what is sent.
    EXPECT_EQ(frame("a#b"),
              "$a}\x03"
              "b#43");
    EXPECT_EQ(frame("*"), "$}\x0a#87");
}

TEST(GdbPacket, IsFoundBetweenAcknowledgementsAndInterrupts) {
    EXPECT_THAT(read("+$OK#9a-\x03$#00"), ElementsAre(Seen{Kind::acknowledged, ""}, packet("OK"),
                                                      Seen{Kind::resend, ""}, Seen{Kind::interrupt, ""}, packet("")));
    EXPECT_THAT(read("noise$OK#9Anoise"), ElementsAre(packet("OK")));
}

TEST(GdbPacket, HoldsAnInterruptByteAsContent) { EXPECT_THAT(read("$\x03#03"), ElementsAre(packet("\x03"))); }

TEST(GdbPacket, WithAWrongChecksumIsDamaged) {
    for (const std::string_view bytes : {"$OK#9b", "$OL#9a", "$OK#zz", "$OK# 9", "$OK##$"})
        EXPECT_THAT(read(bytes), ElementsAre(Seen{Kind::damaged, ""})) << bytes;
}

TEST(GdbPacket, BeginsAnewWhereTheRestOfOneWasLost) { EXPECT_THAT(read("$m100$OK#9a"), ElementsAre(packet("OK"))); }

TEST(GdbPacket, HasABoundedLength) {
    const std::string longest(maximum_packet, 'a');
    EXPECT_THAT(read(frame(longest)), ElementsAre(packet(longest)));
    EXPECT_THAT(read(frame(longest + "a")), ElementsAre(Seen{Kind::damaged, ""}));
    EXPECT_THAT(read(frame(std::string(maximum_packet * 8, 'a')) + "$OK#9a"),
                ElementsAre(Seen{Kind::damaged, ""}, packet("OK")));
}

TEST(GdbPacket, ComesBackAsItWasWhateverItHolds) {
    std::mt19937 random(1);
    for (unsigned round = 0; round < 500; ++round) {
        std::string content(random() % 40, '\0');
        for (char& byte : content) byte = static_cast<char>(random());
        EXPECT_THAT(read(frame(content)), ElementsAre(packet(content)));
    }
}

TEST(GdbNumber, IsTakenFromTheFront) {
    std::string_view text = "1fG2,";
    EXPECT_EQ(take_number(text), 0x1fu);
    EXPECT_EQ(text, "G2,");
    for (const std::string_view none : {"", "x", "-1", "+1", "0x1", "10000000000000000"}) {
        text = none;
        const auto number = take_number(text);
        EXPECT_TRUE(!number || text == "x1") << none;
    }
    text = "ffffffffffffffff";
    EXPECT_EQ(take_number(text), ~std::uint64_t{0});
}

TEST(GdbHex, IsPairsOfDigits) {
    EXPECT_EQ(to_hex(std::string_view("\x00\x7f\xff", 3)), "007fff");
    EXPECT_EQ(from_hex("007Fff"), std::string("\x00\x7f\xff", 3));
    EXPECT_EQ(from_hex(""), "");
    for (const std::string_view bad : {"0", "0g", "g0", " 0"}) EXPECT_EQ(from_hex(bad), std::nullopt) << bad;
}

}  // namespace
}  // namespace xenolith::machine::gdb
