// Guest memory: regions, copies, dirty pages and code chunks.
#include "mmu/guest_memory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <stdexcept>

namespace xenolith::mmu {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::InSequence;
using testing::IsEmpty;
using testing::StrictMock;

std::vector<std::byte> bytes_of(std::string_view text) {
    std::vector<std::byte> bytes(text.size());
    std::memcpy(bytes.data(), text.data(), text.size());
    return bytes;
}

std::string text_at(const GuestMemory& memory, GuestPhysical address, std::size_t size) {
    std::string text(size, '?');
    if (!memory.read(address, std::as_writable_bytes(std::span(text)))) return "(refused)";
    return text;
}

// RAM 0-0x3fff | RAM 0x4000-0x5fff | ROM 0x6000-0x6fff | device 0x7000-0x7fff | hole | RAM 0x9000-0x9fff
class GuestMemoryTest : public testing::Test {
  protected:
    GuestMemoryTest() {
        memory.add_ram({0x9000}, 0x1000, "far");
        memory.add_ram({0x4000}, 0x2000, "second");
        memory.add_device({0x7000}, 0x1000, "device");
        memory.add_rom({0x6000}, bytes_of("firmware"), "rom");
        memory.add_ram({0}, 0x4000, "first");
    }

    GuestMemory memory;
};

TEST_F(GuestMemoryTest, FindsTheRegionOfEveryAddress) {
    struct {
        std::uint64_t address;
        const char* region;  // null: a hole
    } const cases[] = {
        {0, "first"},       {0x3fff, "first"},  {0x4000, "second"},
        {0x5fff, "second"}, {0x6000, "rom"},    {0x6fff, "rom"},
        {0x7000, "device"}, {0x7fff, "device"}, {0x8000, nullptr},
        {0x8fff, nullptr},  {0x9000, "far"},    {0x9fff, "far"},
        {0xa000, nullptr},  {~0ull, nullptr},   {GuestMemory::maximum_address, nullptr},
        {0x9fff, "far"},    {0, "first"},  // back and forth: the shortcut to the last hit must not lie
    };
    for (const auto& row : cases) {
        const Region* const region = memory.find({row.address});
        if (row.region == nullptr) {
            EXPECT_EQ(region, nullptr) << std::hex << row.address;
        } else {
            ASSERT_NE(region, nullptr) << std::hex << row.address;
            EXPECT_EQ(region->name, row.region) << std::hex << row.address;
        }
    }
}

TEST(GuestMemory, WithoutRegionsIsOneHole) {
    GuestMemory memory;
    EXPECT_EQ(memory.find({0}), nullptr);
    EXPECT_EQ(memory.readable({0}), nullptr);
    EXPECT_EQ(memory.writable({0}), nullptr);
    EXPECT_FALSE(memory.is_ram({0}, 1));
    EXPECT_THAT(memory.take_dirty_pages(), IsEmpty());
    EXPECT_THAT(memory.regions(), IsEmpty());
}

TEST_F(GuestMemoryTest, ListsRegionsByAddress) {
    std::vector<std::string> names;
    for (const auto& region : memory.regions()) names.push_back(region->name);
    EXPECT_THAT(names, ElementsAre("first", "second", "rom", "device", "far"));
}

TEST(GuestMemory, RegionsStayWhereTheyAre) {
    GuestMemory memory;
    const Region& region = memory.add_ram({0x100000}, 0x1000, "stays");
    std::byte* const host = region.host;
    for (std::uint64_t page = 0; page < 100; ++page) memory.add_device({page * 0x1000}, 0x1000, "device");
    EXPECT_EQ(memory.find({0x100000}), &region);
    EXPECT_EQ(region.host, host);
    EXPECT_EQ(region.name, "stays");
    EXPECT_EQ(memory.readable({0x100123}), host + 0x123);
}

TEST(GuestMemory, MovesADeviceToWhereNothingIs) {
    GuestMemory memory;
    memory.add_ram({0}, 0x4000, "ram");
    const Region& device = memory.add_device({0x8000}, 0x2000, "device");
    memory.add_device({0x20000}, 0x1000, "other");
    ASSERT_EQ(memory.find({0x9000}), &device);
    for (const std::uint64_t to : {0x40000ul, 0x5000ul, 0x6000ul, 0x4000ul, 0x1e000ul}) {
        const GuestPhysical from = device.start;
        ASSERT_TRUE(memory.move_device(from, {to})) << std::hex << to;
        EXPECT_EQ(memory.find({to}), &device);
        EXPECT_EQ(memory.find({to + 0x1fff}), &device);
        EXPECT_EQ(device.start, GuestPhysical{to});
    }
    EXPECT_EQ(memory.find({0x5000}), nullptr);
    std::vector<std::string> names;
    for (const auto& region : memory.regions()) names.push_back(region->name);
    EXPECT_THAT(names, ElementsAre("ram", "device", "other"));

    const GuestPhysical from = device.start;
    constexpr std::uint64_t end = GuestMemory::maximum_address, last_page = ~mmu::page_mask;
    for (const std::uint64_t to :
         {std::uint64_t{0}, 0x3000ul, 0x1f000ul, 0x20000ul, 0x5800ul, end, end - 0x1000, last_page})
        EXPECT_FALSE(memory.move_device(from, {to})) << std::hex << to;
    EXPECT_FALSE(memory.move_device({0}, {0x50000})) << "RAM";
    EXPECT_FALSE(memory.move_device(from + 0x1000, {0x50000})) << "the middle of it";
    EXPECT_FALSE(memory.move_device({0x60000}, {0x50000})) << "a hole";
    EXPECT_EQ(memory.find(from), &device);
}

TEST_F(GuestMemoryTest, HandsOutHostPointersByKind) {
    struct {
        std::uint64_t address;
        bool readable, writable;
    } const cases[] = {
        {0x0123, true, true},   {0x4000, true, true},   {0x6000, true, false},
        {0x7000, false, false}, {0x8000, false, false}, {~0ull, false, false},
    };
    for (const auto& row : cases) {
        EXPECT_EQ(memory.readable({row.address}) != nullptr, row.readable) << std::hex << row.address;
        EXPECT_EQ(memory.writable({row.address}) != nullptr, row.writable) << std::hex << row.address;
    }
    EXPECT_EQ(memory.readable({0x4321}), memory.find({0x4321})->host + 0x321);
}

TEST_F(GuestMemoryTest, RamStartsAsZerosAndTheEndOfTheLastRomPageToo) {
    EXPECT_EQ(text_at(memory, {0x3ff0}, 32), std::string(32, '\0'));
    EXPECT_EQ(text_at(memory, {0x6000}, 12), std::string("firmware\0\0\0\0", 12));
    EXPECT_EQ(memory.find({0x6000})->size, page_size);
}

TEST_F(GuestMemoryTest, CopiesAcrossPagesAndRegions) {
    ASSERT_TRUE(memory.write({0x3ffa}, bytes_of("hello, world")));
    EXPECT_EQ(text_at(memory, {0x3ffa}, 12), "hello, world");
    EXPECT_EQ(std::to_integer<char>(*memory.readable({0x3fff})), ',');
    EXPECT_EQ(std::to_integer<char>(*memory.readable({0x4000})), ' ');
    ASSERT_TRUE(memory.write({0x5ffe}, bytes_of("ab")));
    EXPECT_EQ(text_at(memory, {0x5ffe}, 10), "abfirmware");
}

TEST_F(GuestMemoryTest, CopiesAllOrNothing) {
    struct {
        const char* what;
        std::uint64_t address;
        std::uint64_t size;
        bool read, write, place;
    } const cases[] = {
        {"RAM", 0x1000, 0x2000, true, true, true},
        {"RAM to RAM", 0x3000, 0x3000, true, true, true},
        {"RAM to ROM", 0x5ff0, 0x20, true, false, true},
        {"ROM", 0x6000, 0x1000, true, false, true},
        {"ROM to device", 0x6ff0, 0x20, false, false, false},
        {"device", 0x7000, 1, false, false, false},
        {"device to hole", 0x7ff0, 0x20, false, false, false},
        {"hole", 0x8000, 1, false, false, false},
        {"hole to RAM", 0x8ff0, 0x20, false, false, false},
        {"RAM to hole", 0x9ff0, 0x20, false, false, false},
        {"around the end of the address space", ~0ull - 7, 0x10, false, false, false},
        {"no bytes in RAM", 0x1000, 0, true, true, true},
        {"no bytes in a hole", 0x8000, 0, true, true, true},
    };
    for (const auto& row : cases) {
        SCOPED_TRACE(row.what);
        std::vector<std::byte> to(row.size, std::byte{0xee});
        EXPECT_EQ(memory.read({row.address}, to), row.read);
        if (!row.read) {
            EXPECT_EQ(to, std::vector<std::byte>(row.size, std::byte{0xee}));
        }

        const auto before = text_at(memory, {0}, 0x7000) + text_at(memory, {0x9000}, 0x1000);
        EXPECT_EQ(memory.is_ram({row.address}, row.size), row.write);
        const std::vector<std::byte> from(row.size, std::byte{0x55});
        EXPECT_EQ(memory.write({row.address}, from), row.write);
        if (!row.write) {
            EXPECT_EQ(text_at(memory, {0}, 0x7000) + text_at(memory, {0x9000}, 0x1000), before);
            EXPECT_THAT(memory.take_dirty_pages(), IsEmpty());
        }
        EXPECT_EQ(memory.place({row.address}, from), row.place);
        if (row.place) {
            EXPECT_EQ(text_at(memory, {row.address}, row.size), std::string(row.size, 0x55));
        } else {
            EXPECT_EQ(text_at(memory, {0}, 0x7000) + text_at(memory, {0x9000}, 0x1000), before);
        }
        memory.take_dirty_pages();
    }
}

TEST_F(GuestMemoryTest, CopiesBetweenOverlappingPlaces) {
    ASSERT_TRUE(memory.write({0x1000}, bytes_of("abcdef")));
    ASSERT_TRUE(memory.write({0x1002}, std::span(memory.readable({0x1000}), 6)));
    EXPECT_EQ(text_at(memory, {0x1000}, 8), "ababcdef");
}

struct Refusal {
    const char* name;
    std::function<void(GuestMemory&)> add;
    std::vector<const char*> message_has;
};

class GuestMemoryRefusal : public testing::TestWithParam<Refusal> {};

TEST_P(GuestMemoryRefusal, SaysWhatIsWrongInOneLine) {
    GuestMemory memory;
    memory.add_ram({0x100000}, 0x10000, "low");
    try {
        GetParam().add(memory);
        FAIL() << "was accepted";
    } catch (const std::invalid_argument& error) {
        const std::string message = error.what();
        for (const char* part : GetParam().message_has) EXPECT_THAT(message, HasSubstr(part));
        EXPECT_EQ(message.find('\n'), std::string::npos);
    }
    // And nothing has changed.
    EXPECT_EQ(memory.regions().size(), 1u);
    memory.add_ram({0x200000}, GuestMemory::maximum_ram - 0x10000, "the rest");
}

INSTANTIATE_TEST_SUITE_P(
    All, GuestMemoryRefusal,
    testing::Values(
        Refusal{"OverlapFromBelow",
                [](GuestMemory& memory) { memory.add_ram({0xff000}, 0x2000, "new"); },
                {"'new' (0xff000-0x100fff)", "overlaps", "'low' (0x100000-0x10ffff)"}},
        Refusal{"OverlapFromAbove",
                [](GuestMemory& memory) { memory.add_device({0x10f000}, 0x2000, "new"); },
                {"'new' (0x10f000-0x110fff)", "overlaps", "'low' (0x100000-0x10ffff)"}},
        Refusal{"OverlapInside",
                [](GuestMemory& memory) { memory.add_rom({0x101000}, bytes_of("x"), "new"); },
                {"'new' (0x101000-0x101fff)", "overlaps", "'low' (0x100000-0x10ffff)"}},
        Refusal{"OverlapAround",
                [](GuestMemory& memory) { memory.add_device({0}, 0x200000, "new"); },
                {"'new' (0x0-0x1fffff)", "overlaps", "'low' (0x100000-0x10ffff)"}},
        Refusal{"SameRange",
                [](GuestMemory& memory) { memory.add_ram({0x100000}, 0x10000, "new"); },
                {"'new' (0x100000-0x10ffff)", "overlaps", "'low' (0x100000-0x10ffff)"}},
        Refusal{"StartNotAligned",
                [](GuestMemory& memory) { memory.add_ram({0x800}, 0x1000, "new"); },
                {"'new' (0x800-0x17ff)", "not aligned"}},
        Refusal{"SizeNotAligned",
                [](GuestMemory& memory) { memory.add_device({0x1000}, 0x1001, "new"); },
                {"'new' (0x1000-0x2000)", "not aligned"}},
        Refusal{"EmptyRam", [](GuestMemory& memory) { memory.add_ram({0x1000}, 0, "new"); }, {"'new' (0x1000, empty)"}},
        Refusal{
            "EmptyRom", [](GuestMemory& memory) { memory.add_rom({0x1000}, {}, "new"); }, {"'new' (0x1000, empty)"}},
        Refusal{"EmptyDevice",
                [](GuestMemory& memory) { memory.add_device({0x1000}, 0, "new"); },
                {"'new' (0x1000, empty)"}},
        Refusal{"EndsBeyondTheHighestAddress",
                [](GuestMemory& memory) { memory.add_device({GuestMemory::maximum_address - 0x1000}, 0x2000, "new"); },
                {"'new' (0x3ffffffff000-0x400000000fff)", "beyond", "0x3fffffffffff"}},
        Refusal{"StartsBeyondTheHighestAddress",
                [](GuestMemory& memory) { memory.add_device({GuestMemory::maximum_address + 0x1000}, 0x1000, "new"); },
                {"'new' (0x400000001000-0x400000001fff)", "beyond"}},
        Refusal{"EndsAroundZero",
                [](GuestMemory& memory) { memory.add_ram({0x1000}, ~0ull - 0xfff, "new"); },
                {"'new' (0x1000-", "beyond"}},
        Refusal{"TooMuchRam",
                [](GuestMemory& memory) { memory.add_ram({0x100000000}, GuestMemory::maximum_ram - 0xf000, "new"); },
                {"'new' (0x100000000-0x10ffff0fff)", "0x1000001000 bytes", "maximum of 0x1000000000"}}),
    [](const auto& row) { return row.param.name; });

TEST(GuestMemory, AcceptsNeighboursAndTheHighestPage) {
    GuestMemory memory;
    memory.add_ram({0x2000}, 0x1000, "middle");
    memory.add_device({0x1000}, 0x1000, "below");
    memory.add_device({0x3000}, 0x1000, "above");
    memory.add_ram({GuestMemory::maximum_address - 0x1000}, 0x1000, "top");
    EXPECT_EQ(memory.find({GuestMemory::maximum_address - 1})->name, "top");
    EXPECT_TRUE(memory.write({GuestMemory::maximum_address - 4}, bytes_of("last")));
    EXPECT_FALSE(memory.write({GuestMemory::maximum_address - 4}, bytes_of("beyond")));
}

TEST_F(GuestMemoryTest, RemembersDirtyPagesOnce) {
    EXPECT_THAT(memory.take_dirty_pages(), IsEmpty());
    memory.write({0x9000}, bytes_of("x"));
    memory.writable({0x4fff});
    memory.write({0x1fff}, bytes_of("xy"));
    memory.place({0x6800}, bytes_of("x"));
    EXPECT_THAT(memory.take_dirty_pages(), ElementsAre(1, 2, 4, 6, 9));
    EXPECT_THAT(memory.take_dirty_pages(), IsEmpty());
    memory.write({0x2000}, bytes_of("x"));
    EXPECT_THAT(memory.take_dirty_pages(), ElementsAre(2));
}

TEST_F(GuestMemoryTest, ReadingLeavesPagesClean) {
    text_at(memory, {0}, 0x7000);
    memory.readable({0x1000});
    memory.is_ram({0}, 0x6000);
    memory.write({0x1000}, {});
    memory.writable({0x6000});
    memory.mark_code({0x1000}, 64);
    memory.writable({0x1000});
    EXPECT_THAT(memory.take_dirty_pages(), IsEmpty());
}

TEST(GuestMemory, FindsDirtyPagesFarApart) {
    GuestMemory memory;
    memory.add_ram({0}, std::uint64_t{1} << 30, "ram");
    // Around the borders of the groups in which pages are looked for.
    const std::vector<std::uint64_t> pages = {0, 4095, 4096, 8191, 8192, 262143};
    for (const std::uint64_t page : pages) memory.writable({page * page_size});
    EXPECT_EQ(memory.take_dirty_pages(), pages);
    EXPECT_THAT(memory.take_dirty_pages(), IsEmpty());
    memory.writable({4096 * page_size});
    EXPECT_THAT(memory.take_dirty_pages(), ElementsAre(4096));
}

class ListenerMock : public CodeListener {
  public:
    MOCK_METHOD(void, code_written, (GuestPhysical, std::uint64_t), (override));
    MOCK_METHOD(void, code_page_added, (GuestPhysical), (override));
    MOCK_METHOD(void, remark_code, (GuestPhysical), (override));
};

class CodeTracking : public GuestMemoryTest {
  protected:
    CodeTracking() { memory.add_listener(&listener); }

    StrictMock<ListenerMock> listener;
};

TEST_F(CodeTracking, MarksTheChunksThatARangeTouches) {
    struct {
        std::uint64_t start, size;
        std::uint64_t chunks;
    } const cases[] = {
        {0x1000, 1, 1},  {0x103f, 1, 1},          {0x103f, 2, 3},          {0x1040, 64, 2},
        {0x1041, 64, 6}, {0x1fff, 1, 1ull << 63}, {0x1000, 0x1000, ~0ull}, {0x1000, 0, 0},
    };
    for (const auto& row : cases) {
        EXPECT_CALL(listener, code_page_added(GuestPhysical{0x1000})).Times(row.size == 0 ? 0 : 1);
        memory.mark_code({row.start}, row.size);
        EXPECT_EQ(memory.code_chunks({0x1000}), row.chunks) << std::hex << row.start;
        EXPECT_EQ(memory.is_code_page({0x1abc}), row.size != 0);
        EXPECT_FALSE(memory.is_code_page({0x0fff}));
        EXPECT_FALSE(memory.is_code_page({0x2000}));
        memory.clear_code({0x1000});
        EXPECT_EQ(memory.code_chunks({0x1000}), 0u);
        EXPECT_FALSE(memory.is_code_page({0x1000}));
        testing::Mock::VerifyAndClearExpectations(&listener);
    }
}

TEST_F(CodeTracking, TellsOfAPageOnceAndAgainAfterItWasCleared) {
    EXPECT_CALL(listener, code_page_added(GuestPhysical{0x3000})).Times(2);
    EXPECT_CALL(listener, code_page_added(GuestPhysical{0x4000})).Times(1);
    memory.mark_code({0x3ff0}, 0x20);  // over the border of two regions
    memory.mark_code({0x3100}, 0x20);
    memory.clear_code({0x3000});
    memory.mark_code({0x3100}, 0x20);
    EXPECT_EQ(memory.code_chunks({0x3000}), 1ull << 4);
    EXPECT_EQ(memory.code_chunks({0x4000}), 1ull);
}

TEST_F(CodeTracking, NeverHandsOutACodePageAsWritable) {
    EXPECT_CALL(listener, code_page_added);
    EXPECT_NE(memory.writable({0x2000}), nullptr);
    memory.mark_code({0x2800}, 1);
    EXPECT_EQ(memory.writable({0x2000}), nullptr);
    EXPECT_NE(memory.readable({0x2000}), nullptr);
    EXPECT_NE(memory.writable({0x1000}), nullptr);
    memory.clear_code({0x2fff});
    EXPECT_NE(memory.writable({0x2000}), nullptr);
}

TEST_F(CodeTracking, TellsOnlyOfWritesThatTouchMarkedChunks) {
    EXPECT_CALL(listener, code_page_added).Times(2);
    memory.mark_code({0x2040}, 64);
    memory.mark_code({0x6000}, 8);
    struct {
        std::uint64_t address, size;
        bool told;
    } const cases[] = {
        {0x203f, 1, false}, {0x2080, 1, false}, {0x2000, 0x40, false}, {0x3040, 64, false},    {0x2040, 0, false},
        {0x2040, 1, true},  {0x207f, 1, true},  {0x203f, 2, true},     {0x2000, 0x1000, true},
    };
    for (const auto& row : cases) {
        EXPECT_CALL(listener, code_written(GuestPhysical{row.address}, row.size)).Times(row.told ? 1 : 0);
        EXPECT_TRUE(memory.write({row.address}, std::vector<std::byte>(row.size)));
        testing::Mock::VerifyAndClearExpectations(&listener);
    }
    // The guest cannot change ROM, so nobody is told; a loader can.
    EXPECT_FALSE(memory.write({0x6000}, bytes_of("x")));
    EXPECT_CALL(listener, code_written(GuestPhysical{0x6004}, 1));
    EXPECT_TRUE(memory.place({0x6004}, bytes_of("x")));
}

TEST_F(CodeTracking, TellsPagesOneByOneAfterAllBytesHaveChanged) {
    EXPECT_CALL(listener, code_page_added).Times(3);
    memory.mark_code({0x1fff}, 1);
    memory.mark_code({0x2800}, 1);
    memory.mark_code({0x3000}, 1);
    const auto all_changed = [this] {
        EXPECT_EQ(text_at(memory, {0x1ffe}, 0x1004), std::string(0x1004, 'n'));
        EXPECT_THAT(memory.take_dirty_pages(), testing::AnyOf(ElementsAre(1, 2, 3), IsEmpty()));
    };
    {
        InSequence in_order;
        EXPECT_CALL(listener, code_written(GuestPhysical{0x1ffe}, 2)).WillOnce(all_changed);
        EXPECT_CALL(listener, code_written(GuestPhysical{0x2000}, 0x1000)).WillOnce(all_changed);
        EXPECT_CALL(listener, code_written(GuestPhysical{0x3000}, 2)).WillOnce(all_changed);
    }
    EXPECT_TRUE(memory.write({0x1ffe}, bytes_of(std::string(0x1004, 'n'))));
}

TEST_F(CodeTracking, TellsEveryListenerEvenIfTheFirstClearsThePage) {
    StrictMock<ListenerMock> second;
    memory.add_listener(&second);
    memory.add_listener(&second);  // twice is once
    memory.add_listener(nullptr);
    EXPECT_CALL(listener, code_page_added);
    EXPECT_CALL(second, code_page_added);
    memory.mark_code({0x1000}, 64);
    EXPECT_CALL(listener, code_written).WillOnce([this](GuestPhysical at, std::uint64_t) {
        memory.clear_code(at.page());
    });
    EXPECT_CALL(second, code_written);
    memory.write({0x1000}, bytes_of("x"));
    memory.write({0x1000}, bytes_of("x"));  // no longer code
    memory.remove_listener(&second);
    EXPECT_CALL(listener, code_page_added);
    memory.mark_code({0x1000}, 64);
    memory.remove_listener(&second);
}

TEST_F(CodeTracking, MarksAnewWhatTheListenersStillHold) {
    StrictMock<ListenerMock> second;
    memory.add_listener(&second);
    EXPECT_CALL(listener, code_page_added).Times(1);  // it stays a code page all the while
    EXPECT_CALL(second, code_page_added).Times(1);
    memory.mark_code({0x1000}, 0x1000);
    EXPECT_CALL(listener, remark_code(GuestPhysical{0x1000})).WillOnce([this](GuestPhysical) {
        memory.mark_code({0x1040}, 1);
    });
    EXPECT_CALL(second, remark_code(GuestPhysical{0x1000})).WillOnce([this](GuestPhysical) {
        memory.mark_code({0x10c0}, 1);
    });
    memory.remark_code({0x1234});
    EXPECT_EQ(memory.code_chunks({0x1000}), 0b1010u);
    EXPECT_EQ(memory.writable({0x1000}), nullptr);

    // Nobody holds anything: an ordinary page again.
    EXPECT_CALL(listener, remark_code);
    EXPECT_CALL(second, remark_code);
    memory.remark_code({0x1000});
    EXPECT_FALSE(memory.is_code_page({0x1000}));
    EXPECT_NE(memory.writable({0x1000}), nullptr);

    // One engine had cleared the page, another still holds code of it.
    EXPECT_CALL(listener, remark_code);
    EXPECT_CALL(second, remark_code).WillOnce([this](GuestPhysical page) { memory.mark_code(page, 1); });
    EXPECT_CALL(listener, code_page_added(GuestPhysical{0x1000}));
    EXPECT_CALL(second, code_page_added(GuestPhysical{0x1000}));
    memory.remark_code({0x1000});
    EXPECT_EQ(memory.code_chunks({0x1000}), 1u);
}

TEST_F(CodeTracking, LetsAListenerLeaveWhileItIsTold) {
    StrictMock<ListenerMock> second;
    memory.add_listener(&second);
    EXPECT_CALL(listener, code_page_added).WillOnce([this](GuestPhysical) { memory.remove_listener(&listener); });
    EXPECT_CALL(second, code_page_added).Times(testing::AtMost(1));
    memory.mark_code({0x1000}, 64);
    EXPECT_CALL(second, code_written);
    memory.write({0x1000}, bytes_of("x"));
}

TEST_F(CodeTracking, KnowsNoCodeOutsideMemory) {
    memory.mark_code({0x7000}, 0x2000);  // device and hole
    memory.mark_code({GuestMemory::maximum_address - 1}, 0x2000);
    memory.clear_code({0x7000});
    memory.clear_code({0x8000});
    memory.remark_code({0x7000});
    memory.remark_code({0x8000});
    for (const std::uint64_t address : {std::uint64_t{0x7000}, std::uint64_t{0x8000}, ~std::uint64_t{0}}) {
        EXPECT_FALSE(memory.is_code_page({address}));
        EXPECT_EQ(memory.code_chunks({address}), 0u);
    }
}

}  // namespace
}  // namespace xenolith::mmu
