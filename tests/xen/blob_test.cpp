// Blob files: made, checked, read back, described.
#include "xen/blob.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdlib.h>  // mkdtemp

#include <filesystem>
#include <fstream>

namespace xenolith::xen {
namespace {

using testing::HasSubstr;

constexpr std::size_t page = mmu::page_size;

// A folder of this test's own, gone when the test is.
class BlobFileTest : public testing::Test {
  protected:
    BlobFileTest() {
        std::string name = (std::filesystem::temp_directory_path() / "xenolith-blob-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
        folder = name;
    }
    ~BlobFileTest() override { std::filesystem::remove_all(folder); }

    std::filesystem::path file_of(std::size_t size) const {
        const std::filesystem::path file = folder / "blob";
        std::ofstream(file, std::ios::binary) << std::string(size, 'x');
        return file;
    }
    static std::string error_of(const std::filesystem::path& file) {
        try {
            load_blob(file);
        } catch (const BlobError& error) {
            return error.what();
        }
        return "no error";
    }
    std::filesystem::path folder;
};

TEST(Blob, IsMadeOfPagesWithContinuingNumbers) {
    const std::vector<std::byte> blob = make_blob(StubKind::vmcall, 3);
    ASSERT_EQ(blob.size(), 3 * page);
    EXPECT_EQ(blob_pages(blob), 3);
    EXPECT_EQ(hex_bytes(std::span(blob).subspan(2 * page, 9)), "b8 00 01 00 00 0f 01 c1 c3");
    EXPECT_EQ(make_blob(StubKind::doorbell, 255).size(), 255 * page);
    EXPECT_THROW(make_blob(StubKind::vmcall, 0), std::invalid_argument);
    EXPECT_THROW(make_blob(StubKind::vmcall, 256), std::invalid_argument);
}

TEST_F(BlobFileTest, SurvivesTheFile) {
    const std::vector<std::byte> blob = make_blob(StubKind::doorbell, 2);
    save_blob(folder / "blob", blob);
    EXPECT_EQ(load_blob(folder / "blob"), blob);
}

TEST_F(BlobFileTest, AcceptsOneTo255Pages) {
    EXPECT_EQ(load_blob(file_of(page)).size(), page);
    EXPECT_EQ(load_blob(file_of(255 * page)).size(), 255 * page);
}

struct BadSize {
    std::size_t size;
    std::string_view message;
};

TEST_F(BlobFileTest, RefusesOtherSizesWithOffsetAndExpectation) {
    const BadSize rows[] = {
        {0, ": offset 0: expected a whole page of 4096 bytes, found 0"},
        {1, ": offset 0: expected a whole page of 4096 bytes, found 1"},
        {page - 1, ": offset 0: expected a whole page of 4096 bytes, found 4095"},
        {page + 1, ": offset 4096: expected a whole page of 4096 bytes, found 1"},
        {255 * page + 1, ": offset 1044480: expected the end of the file: a blob has at most 255 pages of 4096 bytes"},
        {256 * page, ": offset 1044480: expected the end of the file: a blob has at most 255 pages of 4096 bytes"},
        {600 * page, ": offset 1044480: expected the end of the file: a blob has at most 255 pages of 4096 bytes"},
    };
    for (const BadSize& row : rows) {
        SCOPED_TRACE(row.size);
        const std::filesystem::path file = file_of(row.size);
        EXPECT_EQ(error_of(file), file.string() + std::string(row.message));
    }
}

TEST_F(BlobFileTest, SaysWhyAFileCannotBeRead) {
    EXPECT_THAT(error_of(folder / "absent"), HasSubstr("absent: offset 0: expected a readable file: No such file"));
    EXPECT_THAT(error_of(folder), HasSubstr("found a directory"));
    EXPECT_THAT(error_of("/dev/zero"), HasSubstr("/dev/zero: offset 1044480: expected the end of the file"));
    EXPECT_THAT(error_of("/dev/null"), HasSubstr("/dev/null: offset 0: expected a whole page"));
}

TEST_F(BlobFileTest, WritesOnlyWhatItWouldRead) {
    EXPECT_THROW(save_blob(folder / "blob", std::vector<std::byte>(5)), BlobError);
    EXPECT_FALSE(std::filesystem::exists(folder / "blob"));
    EXPECT_THROW(save_blob(folder / "no" / "folder", make_blob(StubKind::vmcall)), BlobError);
}

// A formatter that takes two bytes at a time and cannot read 0x0b.
FormattedInstruction pairs(std::span<const std::byte> bytes, unsigned width, std::uint64_t rip) {
    if (bytes[0] == std::byte{0x0b} || bytes.size() < 2) return {};
    return {std::to_string(width) + "@" + std::to_string(rip) + " " + hex_bytes(bytes.first(2)), 2};
}

TEST(BlobDescription, ShowsEverySlotThatHoldsSomething) {
    std::vector<std::byte> blob(page, std::byte{0xcc});
    const auto put = [&](std::size_t at, std::initializer_list<unsigned> bytes) {
        for (const unsigned byte : bytes) blob[at++] = std::byte(byte);
    };
    put(17 * slot_size, {0x01, 0x02, 0xcc, 0x03});
    put(99 * slot_size, {0x0b});
    const std::vector<BlobSlot> slots = describe_blob(blob, 32, pairs, 0x10000);

    ASSERT_EQ(slots.size(), 2u);
    EXPECT_EQ(slots[0].number, 17u);
    EXPECT_EQ(slots[0].name, "xen_version");
    EXPECT_EQ(slots[0].offset, 17 * slot_size);
    EXPECT_EQ(slots[0].bytes.size(), slot_size);
    ASSERT_EQ(slots[0].instructions.size(), 2u);
    EXPECT_EQ(slots[0].instructions[0].text, "32@66080 01 02");
    EXPECT_EQ(slots[0].instructions[1].text, "32@66082 cc 03");
    EXPECT_EQ(slots[0].instructions[1].offset, 17 * slot_size + 2);

    EXPECT_EQ(slots[1].number, 99u);
    EXPECT_EQ(slots[1].name, "");
    ASSERT_EQ(slots[1].instructions.size(), 1u);
    EXPECT_EQ(slots[1].instructions[0].text, "(bad)");
    EXPECT_EQ(hex_bytes(slots[1].instructions[0].bytes), "0b");
}

TEST(BlobDescription, SurvivesAnyBytesAndAnyFormatter) {
    // 255 pages, an odd tail, and a formatter that claims too much.
    const std::vector<std::byte> blob(255 * page + 5, std::byte{0x90});
    const auto slots = describe_blob(blob, 64, [](std::span<const std::byte>, unsigned, std::uint64_t) {
        return FormattedInstruction{"?", 1000};
    });
    ASSERT_EQ(slots.size(), 255 * slots_per_page + 1);
    EXPECT_EQ(slots.back().instructions.size(), 5u);
    EXPECT_TRUE(describe_blob({}, 64, pairs).empty());
}

}  // namespace
}  // namespace xenolith::xen
