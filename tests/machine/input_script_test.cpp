// What is typed by a script, and when.
#include "machine/input_script.hpp"

#include <gmock/gmock.h>

#include "loader/load_error.hpp"

namespace xenolith::machine {

namespace {

// What the script types while the guest prints that.
std::string typed(InputScript& script, std::string_view output) {
    std::string keys;
    for (const char letter : output)
        script.output(static_cast<std::uint8_t>(letter), [&](std::uint8_t key) { keys += static_cast<char>(key); });
    return keys;
}

std::string typed_at_start(InputScript& script) {
    std::string keys;
    script.start([&](std::uint8_t key) { keys += static_cast<char>(key); });
    return keys;
}

}  // namespace

TEST(InputScript, TypesWhenTheTextHasCome) {
    InputScript script =
        InputScript::parse("s", "# a comment\n\nwait \"login: \"\nsend \"root\\n\"\nwait \"# \"\nsend \"x\"\n");
    EXPECT_EQ(typed_at_start(script), "");
    EXPECT_EQ(script.waits_for(), "login: ");
    EXPECT_EQ(typed(script, "Debian\nlogin:"), "");
    EXPECT_EQ(typed(script, " "), "root\n");
    EXPECT_FALSE(script.is_done());
    EXPECT_EQ(typed(script, "# # "), "x");
    EXPECT_TRUE(script.is_done());
    EXPECT_EQ(typed(script, "# # "), "");
}

TEST(InputScript, TypesAtOnceWhatWaitsForNothing) {
    InputScript script = InputScript::parse("s", "send \"a\"\nsend \"b\"\nwait \"c\"\n");
    EXPECT_EQ(typed_at_start(script), "ab");
}

// A match takes what it matched: the same output does not answer two waits.
TEST(InputScript, EachWaitNeedsOutputOfItsOwn) {
    InputScript script = InputScript::parse("s", "wait \"aa\"\nsend \"1\"\nwait \"aa\"\nsend \"2\"\n");
    EXPECT_EQ(typed(script, "aaa"), "1");
    EXPECT_EQ(typed(script, "a"), "2");
}

TEST(InputScript, FindsATextWhoseStartComesTwice) {
    InputScript script = InputScript::parse("s", "wait \"aab\"\nsend \"1\"\n");
    EXPECT_EQ(typed(script, "aaab"), "1");
}

TEST(InputScript, KnowsEscapes) {
    InputScript script = InputScript::parse("s", R"(send "\n\r\t\e\\\"\x03\xff")");
    EXPECT_EQ(typed_at_start(script), "\n\r\t\x1b\\\"\x03\xff");
}

TEST(InputScript, RefusesWhatItCannotRead) {
    const std::string too_long = "send \"" + std::string(InputScript::longest_text + 1, 'a') + "\"";
    for (const std::string& line : std::vector<std::string>{
             "sleep 5", "send", "send \"", "send \"\"", "send x", "send \"a\"b\"", "send \"\\q\"", "send \"\\x1\"",
             "send \"\\xg0\"", "send \"\\\"", "wait 'a'", "wait\"a\"", too_long}) {
        SCOPED_TRACE(line);
        try {
            InputScript::parse("keys", "send \"a\"\n" + line + "\n");
            ADD_FAILURE() << "accepted";
        } catch (const loader::LoadError& error) {
            EXPECT_EQ(error.offset(), 9u);
            EXPECT_THAT(error.what(), ::testing::StartsWith("keys: offset 0x9: expected wait"));
        }
    }
}

}  // namespace xenolith::machine
