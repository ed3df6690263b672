// What guest memory may cost: 64 GiB of RAM are free until touched, and no access allocates.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <new>
#include <vector>

#include "mmu/guest_memory.hpp"

namespace {

std::size_t allocations = 0;  // calls of operator new in this program

void* allocate(std::size_t size) noexcept {
    ++allocations;
    return std::malloc(size);
}

}  // namespace

void* operator new(std::size_t size) {
    if (void* const memory = allocate(size)) return memory;
    throw std::bad_alloc();
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
// Not inlined: else the compiler sees free() on one side of a pair and operator new on the other, and warns.
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }

namespace xenolith::mmu {
namespace {

std::uint64_t resident_bytes() {
    std::ifstream statm("/proc/self/statm");
    std::uint64_t total = 0;
    std::uint64_t resident = 0;
    statm >> total >> resident;
    return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

constexpr std::uint64_t gigabyte = std::uint64_t{1} << 30;
constexpr std::uint64_t megabyte = std::uint64_t{1} << 20;

TEST(GuestMemoryCost, SixtyFourGigabytesAreFreeUntilTouched) {
    const std::uint64_t before = resident_bytes();
    GuestMemory memory;
    memory.add_ram({0}, 3 * gigabyte, "low");
    memory.add_ram({4 * gigabyte}, GuestMemory::maximum_ram - 3 * gigabyte, "high");
    EXPECT_TRUE(memory.is_ram({4 * gigabyte}, 61 * gigabyte));
    EXPECT_TRUE(memory.take_dirty_pages().empty());
    EXPECT_LT(resident_bytes() - before, 4 * megabyte);

    std::vector<std::uint64_t> touched;
    for (std::uint64_t address = 0; address < 65 * gigabyte; address += gigabyte / 2) {
        std::byte* const host = memory.writable({address});
        if (host == nullptr) continue;
        EXPECT_EQ(*host, std::byte{0});
        *host = std::byte{1};
        memory.mark_code({address}, 64);
        touched.push_back(address / page_size);
    }
    EXPECT_EQ(touched.size(), 128u);
    EXPECT_EQ(memory.take_dirty_pages(), touched);
    // 128 pages, and as many pages of flags and masks; far more only if huge pages are always on.
    EXPECT_LT(resident_bytes() - before, 128 * 3 * 2 * megabyte);
}

TEST(GuestMemoryCost, NoAccessAllocates) {
    GuestMemory memory;
    memory.add_ram({0}, GuestMemory::maximum_ram, "ram");
    memory.add_device({GuestMemory::maximum_ram}, page_size, "device");
    std::array<std::byte, 64> bytes{};

    const std::size_t before = allocations;
    bool good = true;
    std::uint64_t address = 0x123456789;
    for (int round = 0; round < 1000; ++round) {
        address = (address * 6364136223846793005u + 1442695040888963407u) % (GuestMemory::maximum_ram - 64);
        good = good && memory.find({address}) != nullptr;
        good = good && memory.writable({address}) == memory.readable({address});
        good = good && memory.write({address}, bytes) && memory.read({address}, bytes);
        good = good && memory.is_ram({address}, 64);
        memory.mark_code({address}, 64);
        good = good && memory.is_code_page({address}) && memory.code_chunks({address}) != 0;
        good = good && memory.place({address}, bytes);
        memory.clear_code({address});
        memory.clear_code(GuestPhysical{address} + 63);
        good = good && !memory.is_code_page({address});
        good = good && memory.writable({GuestMemory::maximum_ram}) == nullptr;
    }
    EXPECT_EQ(allocations, before);
    EXPECT_TRUE(good);

    const std::size_t before_listing = allocations;
    EXPECT_GT(memory.take_dirty_pages().size(), 900u);
    EXPECT_GT(allocations, before_listing) << "the counter does not count";
}

}  // namespace
}  // namespace xenolith::mmu
