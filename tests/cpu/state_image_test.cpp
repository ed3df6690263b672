// State images against the host's own: the same image is loaded by the host's FXRSTOR or XRSTOR and by the
// guest's, and what both save again must be the same bytes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <random>
#include <sstream>
#include <string>

#include "tests/cpu/system_guest.hpp"

namespace xenolith::test {

namespace {

using namespace cpu;
using Guest = SystemGuest;

constexpr std::size_t area = 1024, legacy = 512;
struct alignas(64) Image {
    std::array<std::uint8_t, area> bytes{};

    template <class T>
    T get(std::size_t at) const {
        T value;
        std::memcpy(&value, bytes.data() + at, sizeof(T));
        return value;
    }
    template <class T>
    void set(std::size_t at, T value) {
        std::memcpy(bytes.data() + at, &value, sizeof(T));
    }
};

// A state FXRSTOR takes: masked and unmasked exceptions, any top, any tags, any registers.
Image random_image(std::mt19937_64& random) {
    Image image;
    for (std::size_t at = 0; at < legacy; at += 8) image.set(at, random());
    image.set<std::uint16_t>(0, static_cast<std::uint16_t>(random() & 0x1f3f));
    image.set<std::uint8_t>(5, 0);
    image.set<std::uint16_t>(6, static_cast<std::uint16_t>(random() & 0x7ff));
    // Code and data pointers of the 32-bit form, without selectors, which modern processors do not keep.
    image.set<std::uint64_t>(8, random() & 0xffffffff);
    image.set<std::uint64_t>(16, random() & 0xffffffff);
    image.set<std::uint32_t>(24, static_cast<std::uint32_t>(random() & 0xffff));
    for (unsigned n = 0; n < 8; ++n) {
        if (random() % 3 != 0) continue;  // edge values of the tag word
        constexpr std::uint64_t significands[] = {0, 1, 1ull << 63, ~0ull};
        constexpr std::uint16_t exponents[] = {0, 1, 0x3fff, 0x7fff, 0x8000, 0xffff};
        image.set(32 + n * 16, significands[random() % 4]);
        image.set<std::uint64_t>(40 + n * 16, exponents[random() % 6]);
    }
    return image;
}

void prepare(Guest& guest, const Image& image) {
    guest.state.cr4 |= cr4::osfxsr | cr4::osxsave;
    guest.state.xcr0 = 3;
    guest.state.registers[rbx] = Guest::data;
    guest.state.registers[rsi] = Guest::data + 0x1000;
    for (std::size_t n = 0; n < area; ++n) guest.write(Guest::data + n, image.bytes[n]);
    for (std::size_t n = 0; n < area; ++n) guest.write(Guest::data + 0x1000 + n, std::uint8_t{0xcc});
}

Image result(const Guest& guest) {
    Image image;
    for (std::size_t n = 0; n < area; ++n) image.bytes[n] = guest.read<std::uint8_t>(Guest::data + 0x1000 + n);
    return image;
}

Image filled() {
    Image image;
    image.bytes.fill(0xcc);
    return image;
}

// What processors of one kind store and others do not: the mask's bit for misaligned accesses (AMD), and the
// pointers to the last instruction while no exception is pending (AMD clears them, APM vol. 2, 11.4.4).
Image comparable(const Image& saved, std::size_t at = 0) {
    Image image = saved;
    image.set<std::uint16_t>(at + 30, 0);
    const bool pending = (image.get<std::uint16_t>(at + 2) & 0x80) != 0;
    if (__builtin_cpu_is("amd") == 0 || pending) return image;
    image.set<std::uint16_t>(at + 6, 0);
    image.set<std::uint64_t>(at + 8, 0);
    image.set<std::uint64_t>(at + 16, 0);
    return image;
}

// "+512: 2, the host has 3" and so on.
std::string difference(const Image& ours, const Image& hosts) {
    std::ostringstream text;
    text << std::hex;
    for (std::size_t n = 0; n < area; ++n)
        if (ours.bytes[n] != hosts.bytes[n])
            text << " +" << std::dec << n << std::hex << ": " << int{ours.bytes[n]} << ", the host has "
                 << int{hosts.bytes[n]};
    return text.str();
}

// Runs `between` with the image loaded, and puts the host's own state back.
template <class Between>
void with_host_state(const Image& image, const Between& between) {
    alignas(64) Image own;
    asm volatile("fxsave64 %0" : "=m"(own));
    asm volatile("fxrstor64 %0" : : "m"(image));
    between();
    asm volatile("fxrstor64 %0" : : "m"(own));
}

class StateImage : public testing::TestWithParam<unsigned> {
  protected:
    std::mt19937_64 random{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Seeds, StateImage, testing::Range(0u, 200u));

TEST_P(StateImage, FxsaveMatchesTheHost) {
    const Image image = random_image(random);
    Guest guest(Start::kernel64);
    prepare(guest, image);
    guest.run({0x48, 0x0f, 0xae, 0x0b, 0x48, 0x0f, 0xae, 0x06, 0xf4});  // fxrstor64 [rbx]; fxsave64 [rsi]; hlt
    Image host = filled();
    with_host_state(image, [&] { asm volatile("fxsave64 %0" : "+m"(host)); });
    EXPECT_EQ(difference(comparable(result(guest)), comparable(host)), "");
}

TEST_P(StateImage, FnsaveMatchesTheHost) {
    const Image image = random_image(random);
    Guest guest(Start::kernel64);
    prepare(guest, image);
    guest.run({0x48, 0x0f, 0xae, 0x0b, 0xdd, 0x36, 0x0f, 0xae, 0x86, 0x00, 0x02, 0x00, 0x00, 0xf4});
    Image host = filled();
    with_host_state(image, [&] { asm volatile("fnsave (%0); fxsave 512(%0)" : : "r"(host.bytes.data()) : "memory"); });
    Image own = result(guest);
    // The selectors: processors that keep none store zero.
    own.set<std::uint16_t>(16, 0), host.set<std::uint16_t>(16, 0);
    own.set<std::uint16_t>(24, 0), host.set<std::uint16_t>(24, 0);
    EXPECT_EQ(difference(comparable(own, 512), comparable(host, 512)), "");
}

TEST_P(StateImage, FrstorMatchesTheHost) {
    Image image = random_image(random);
    Guest guest(Start::kernel64);
    prepare(guest, image);
    // A 108-byte image: control, status, tag and registers at random.
    image.set<std::uint16_t>(4, static_cast<std::uint16_t>(random()));
    image.set<std::uint16_t>(8, static_cast<std::uint16_t>(random()));
    for (std::size_t n = 0; n < 108; ++n) guest.write(Guest::data + n, image.bytes[n]);
    guest.run({0xdd, 0x23, 0x48, 0x0f, 0xae, 0x06, 0xf4});  // frstor [rbx]; fxsave64 [rsi]; hlt
    Image host = filled();
    Image zero;
    zero.set<std::uint32_t>(24, 0x1f80);
    with_host_state(zero, [&] {
        asm volatile("frstor (%0); fxsave64 %1" : : "r"(image.bytes.data()), "m"(host) : "memory");
    });
    Image own = comparable(result(guest));
    host = comparable(host);
    for (Image* each : {&own, &host}) each->set<std::uint16_t>(12, 0), each->set<std::uint16_t>(20, 0);
    for (Image* each : {&own, &host}) std::fill(each->bytes.begin() + 160, each->bytes.end(), std::uint8_t{0});
    EXPECT_EQ(difference(own, host), "");
}

TEST_P(StateImage, XsaveMatchesTheHost) {
    if (__builtin_cpu_supports("avx") == 0) GTEST_SKIP() << "the host has no XSAVE";
    Image image = random_image(random);
    image.set<std::uint64_t>(legacy, random() & 3);
    const std::uint32_t restored = random() & 3, saved = random() & 3;
    Guest guest(Start::kernel64);
    prepare(guest, image);
    guest.write(Guest::data + 0x1000 + legacy, std::uint64_t{0x3});
    guest.state.floating_point.mxcsr = 0x1f80;
    guest.state.registers[rax] = restored;
    guest.state.registers[rdi] = saved;
    guest.state.registers[rdx] = 0;
    // fninit; xrstor64 [rbx]; mov eax, edi; xsave64 [rsi]; hlt
    guest.run({0xdb, 0xe3, 0x48, 0x0f, 0xae, 0x2b, 0x89, 0xf8, 0x48, 0x0f, 0xae, 0x26, 0xf4});
    Image host = filled();
    host.set<std::uint64_t>(legacy, 3);
    Image zero;
    zero.set<std::uint16_t>(0, 0x37f);
    zero.set<std::uint32_t>(24, 0x1f80);
    with_host_state(zero, [&] {
        asm volatile("fninit; xrstor64 (%0); mov %3, %%eax; xsave64 (%2)"
                     :
                     : "r"(image.bytes.data()), "a"(restored), "r"(host.bytes.data()), "r"(saved), "d"(0)
                     : "memory");
    });
    // A component in its initial state may be taken for used (SDM vol. 1, 13.6): Intel's CPUs do that unless XRSTOR has
    // initialized it.
    const Image own = result(guest);
    if (__builtin_cpu_is("intel") != 0)
        host.set<std::uint64_t>(
            legacy, host.get<std::uint64_t>(legacy) & (own.get<std::uint64_t>(legacy) | ~std::uint64_t{saved}));
    EXPECT_EQ(difference(comparable(own), comparable(host)), "") << "restored " << restored << " saved " << saved;
}

TEST(StateImageFaults, FollowControlRegisters) {
    struct Case {
        std::uint64_t cr0, cr4;
        std::initializer_list<unsigned> bytes;
        int vector;
    };
    constexpr std::uint64_t all = cr4::osfxsr | cr4::osxsave;
    const Case cases[] = {
        {cr0::ts, all, {0x0f, 0xae, 0x03}, 7},      // fxsave
        {cr0::em, all, {0x0f, 0xae, 0x03}, 6},      //
        {0, all, {0x0f, 0xae, 0x43, 0x08}, 13},     // not aligned
        {cr0::em, all, {0xdb, 0xe3}, 7},            // fninit
        {cr0::ts, all, {0xd9, 0x3b}, 7},            // fnstcw
        {cr0::ts, all, {0x9b, 0xf4}, -1},           // fwait without MP
        {cr0::ts | cr0::mp, all, {0x9b, 0xf4}, 7},  //
        {0, 0, {0x0f, 0xae, 0x13}, 6},              // ldmxcsr without OSFXSR
        {0, cr4::osfxsr, {0x0f, 0xae, 0x23}, 6},    // xsave without OSXSAVE
        {cr0::ts, all, {0x0f, 0xae, 0x23}, 7},      //
        {0, all, {0x0f, 0xae, 0x63, 0x10}, 13},     // not aligned to 64
        {cr0::em, all, {0x0f, 0x77}, 6},            // emms
        {0, 0, {0x0f, 0x01, 0xd0}, 6},              // xgetbv without OSXSAVE
    };
    for (const Case& test : cases) {
        Guest guest(Start::kernel64);
        guest.state.cr0 |= test.cr0;
        guest.state.cr4 |= test.cr4;
        guest.state.registers[rbx] = Guest::data;
        guest.run(test.bytes);
        EXPECT_EQ(guest.vector(), test.vector) << testing::PrintToString(test.bytes);
    }
}

// The linear address is what must be aligned, not the offset in its segment.
TEST(StateImageFaults, TheSegmentsBaseCountsForAlignment) {
    struct Case {
        std::uint64_t offset;
        std::initializer_list<unsigned> bytes;
        bool accepted;
    };
    const Case cases[] = {
        {0x38, {0x65, 0x0f, 0xae, 0x03, 0xf4}, true},   // fxsave gs:[rbx]
        {0x30, {0x65, 0x0f, 0xae, 0x03, 0xf4}, false},  //
        {0x38, {0x65, 0x0f, 0xae, 0x0b, 0xf4}, true},   // fxrstor
        {0x40, {0x65, 0x0f, 0xae, 0x0b, 0xf4}, false},  //
        {0x38, {0x65, 0x0f, 0xae, 0x23, 0xf4}, true},   // xsave
        {0x40, {0x65, 0x0f, 0xae, 0x23, 0xf4}, false},  //
        {0x38, {0x65, 0x0f, 0xae, 0x2b, 0xf4}, true},   // xrstor
        {0x40, {0x65, 0x0f, 0xae, 0x2b, 0xf4}, false},  //
        {0x38, {0x65, 0x0f, 0xc7, 0x23, 0xf4}, true},   // xsavec
        {0x40, {0x65, 0x0f, 0xc7, 0x23, 0xf4}, false},  //
    };
    for (const Case& test : cases) {
        Guest guest(Start::kernel64);
        guest.state.cr4 |= cr4::osfxsr | cr4::osxsave;
        guest.state.segment(SegmentName::gs).base = Guest::data + 8;
        guest.state.registers[rax] = 1;
        guest.state.registers[rdx] = 0;
        guest.state.registers[rbx] = test.offset;
        guest.run(test.bytes);
        EXPECT_EQ(guest.vector(), test.accepted ? -1 : 13) << testing::PrintToString(test.bytes) << test.offset;
    }
}

TEST(StateImageFaults, ReservedBitsAreRefused) {
    Guest mxcsr(Start::kernel64);
    prepare(mxcsr, Image{});
    mxcsr.write(Guest::data, std::uint32_t{0x10000});
    mxcsr.run({0x0f, 0xae, 0x13});
    EXPECT_EQ(mxcsr.vector(), 13);
    for (const std::size_t at : {legacy + 0, legacy + 8, legacy + 16}) {
        Guest header(Start::kernel64);
        prepare(header, Image{});
        header.state.registers[rax] = 3;
        header.write(Guest::data + at, std::uint64_t{8});
        header.run({0x0f, 0xae, 0x2b});
        EXPECT_EQ(header.vector(), 13);
    }
}

TEST(ExtendedControl, TakesOnlyWhatTheModelHas) {
    for (const std::uint64_t value : {1ull, 3ull, 0ull, 2ull, 1ull << 9 | 1}) {
        Guest guest(Start::kernel64);
        guest.state.cr4 |= cr4::osxsave;
        guest.state.registers[rax] = value;
        guest.state.registers[rcx] = guest.state.registers[rdx] = 0;
        guest.run({0x0f, 0x01, 0xd1, 0xf4});
        EXPECT_EQ(guest.vector(), value == 1 || value == 3 ? -1 : 13) << value;
    }
}

}  // namespace

}  // namespace xenolith::test
