// Reading files: limits, things that are not files, and the form of the message.
#include "loader/image_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/loader/load_checks.hpp"
#include "tests/loader/test_machine.hpp"

namespace xenolith::loader::testing {
namespace {

class ImageFileTest : public ::testing::Test {
  protected:
    ImageFileTest() {
        std::string name = (std::filesystem::temp_directory_path() / "xenolith-loader-XXXXXX").string();
        folder_ = ::mkdtemp(name.data());
    }
    ~ImageFileTest() override {
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }
    std::filesystem::path write(const std::string& name, std::size_t size) {
        const std::filesystem::path path = folder_ / name;
        const Bytes bytes = pattern(size);
        std::ofstream(path, std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(size));
        return path;
    }
    static LoadError read_error(const std::filesystem::path& path, std::uint64_t limit = ImageFile::default_limit) {
        try {
            (void)ImageFile::read(path, limit);
        } catch (const LoadError& error) {
            return error;
        }
        ADD_FAILURE() << path << " was read";
        return {LoadFailure::malformed, "", 0, "", ""};
    }
    std::filesystem::path folder_;
};

TEST_F(ImageFileTest, ReadsAWholeFile) {
    for (const std::size_t size : {std::size_t{1}, std::size_t{4096}, std::size_t{3 << 20}}) {
        const ImageFile image = ImageFile::read(write("image", size));
        const Bytes expected = pattern(size);
        EXPECT_TRUE(std::equal(image.bytes().begin(), image.bytes().end(), expected.begin(), expected.end())) << size;
    }
}

TEST_F(ImageFileTest, FollowsASymbolicLink) {
    std::filesystem::create_symlink(write("image", 10), folder_ / "link");
    EXPECT_EQ(ImageFile::read(folder_ / "link").size(), 10u);
}

TEST_F(ImageFileTest, TheLimitIsInclusive) {
    const auto path = write("image", 100);
    EXPECT_EQ(ImageFile::read(path, 100).size(), 100u);
    const LoadError error = read_error(path, 99);
    EXPECT_EQ(error.failure(), LoadFailure::cannot_read);
    EXPECT_EQ(error.what(), path.string() + ": offset 0x0: expected at most 99 bytes, found 100 bytes");
}

TEST_F(ImageFileTest, AFileThatStatesNoSizeStillHasALimit) {
    // Files of /proc state a size of 0.
    EXPECT_GT(ImageFile::read("/proc/self/maps").size(), 0u);
    EXPECT_EQ(read_error("/proc/self/maps", 1).found(), "more");
}

TEST_F(ImageFileTest, RefusesWhatIsNotAFile) {
    ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
    write("empty", 0);
    const struct {
        std::filesystem::path path;
        std::string expected, found;
    } cases[] = {
        {folder_, "a regular file", "a directory"},
        {folder_ / "pipe", "a regular file", "a pipe"},
        {"/dev/zero", "a regular file", "a character device"},
        {folder_ / "absent", "a readable file", "No such file or directory"},
        {folder_ / "empty", "an image", "an empty file"},
    };
    for (const auto& [path, expected, found] : cases) {
        const LoadError error = read_error(path);
        EXPECT_EQ(error.failure(), LoadFailure::cannot_read) << path;
        EXPECT_EQ(error.what(), path.string() + ": offset 0x0: expected " + expected + ", found " + found);
    }
}

TEST_F(ImageFileTest, RefusesAnUnreadableFile) {
    if (::geteuid() == 0) GTEST_SKIP() << "root reads every file";
    const auto path = write("secret", 10);
    std::filesystem::permissions(path, std::filesystem::perms::none);
    EXPECT_EQ(read_error(path).found(), "Permission denied");
}

TEST(ImageFileNumbers, AreLittleEndianAndEndWithTheFile) {
    const ImageFile image = file(pattern(8));
    EXPECT_EQ(image.u8(0, "x"), 0x01u);
    EXPECT_EQ(image.u16(1, "x"), 0x0302u);
    EXPECT_EQ(image.u32(4, "x"), 0x08070605u);
    EXPECT_EQ(image.u64(0, "x"), 0x0807060504030201u);
    for (const std::uint64_t offset : {std::uint64_t{5}, std::uint64_t{8}, std::uint64_t{9}, UINT64_MAX - 1}) {
        EXPECT_THROW((void)image.u32(offset, "x"), LoadError) << offset;
        EXPECT_FALSE(image.holds(offset, 4)) << offset;
    }
    EXPECT_TRUE(image.holds(8, 0));
    EXPECT_FALSE(image.holds(1, UINT64_MAX));
}

TEST(ImageFileNumbers, TheErrorNamesTheField) {
    try {
        (void)file(pattern(6)).u32(4, "the number of things");
        FAIL();
    } catch (const LoadError& error) {
        EXPECT_STREQ(error.what(),
                     "test.img: offset 0x4: expected the number of things (4 bytes), found the end of the "
                     "file at 0x6");
        EXPECT_EQ(error.failure(), LoadFailure::malformed);
        EXPECT_EQ(error.offset(), 4u);
    }
}

TEST(LoadErrorMessage, StaysOneLineWhateverTheNames) {
    const LoadError error(LoadFailure::malformed, "a\nb\x1b[31m\x7f", 0x1f, "x\r", "y\ty");
    EXPECT_STREQ(error.what(), "a?b?[31m?: offset 0x1f: expected x?, found y?y");
    EXPECT_EQ(check_message(error), "");
}

TEST(LoadErrorMessage, TextFromImagesIsPrintable) {
    EXPECT_EQ(printable("6.1\n\xff\x80\x7f ok~"), "6.1???? ok~");
    EXPECT_EQ(on_one_line("na\xc3\xafve\n"), "na\xc3\xafve?");
}

}  // namespace
}  // namespace xenolith::loader::testing
