// The calls the domain answers, the ones it refuses, and guests that pass bad pointers.
#include "xen/domain.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <optional>

#include "xen/error_numbers.hpp"

namespace xenolith::xen {
namespace {

using testing::HasSubstr;

// A guest's linear address space: one range of memory, and a read-only one behind it.
class Memory : public GuestLinearMemory {
  public:
    static constexpr std::uint64_t start = 0xffff'8880'0000'0000;
    static constexpr std::uint64_t size = 8192;
    static constexpr std::uint64_t read_only = 16384;

    bool read(mmu::GuestLinear address, std::span<std::byte> to) override {
        if (!contains(address, to.size(), read_only)) return false;
        std::memcpy(to.data(), &bytes[address.value - start], to.size());
        return true;
    }
    bool write(mmu::GuestLinear address, std::span<const std::byte> from) override {
        if (!contains(address, from.size(), size)) return false;
        std::memcpy(&bytes[address.value - start], from.data(), from.size());
        written = from.size();
        return true;
    }
    std::string_view text() const { return bytes.data(); }
    std::string bytes = std::string(read_only, '#');
    std::size_t written = 0;  // bytes by the last write

  private:
    static bool contains(mmu::GuestLinear address, std::size_t count, std::uint64_t end) {
        const std::uint64_t offset = address.value - start;
        return offset <= end && count <= end - offset;
    }
};

class DomainTest : public testing::Test {
  protected:
    static Hypercall make(std::uint64_t number, std::array<std::uint64_t, 6> arguments, bool long_mode = true) {
        Hypercall call;
        call.vcpu = 1;
        call.number = number;
        call.arguments = arguments;
        call.long_mode_code = long_mode;
        return call;
    }
    std::int64_t result(std::uint64_t number, std::array<std::uint64_t, 6> arguments) {
        return domain.answer(make(number, arguments), memory).result;
    }
    std::int64_t version(std::uint64_t command, std::uint64_t pointer = Memory::start) {
        return result(17, {command, pointer});
    }

    Memory memory;
    std::string console;
    std::optional<std::pair<unsigned, ShutdownReason>> stopped;
    unsigned yields = 0;
    Domain domain{DomainIdentity{},
                  {[this](std::string_view bytes) { console += bytes; }, [this](unsigned) { ++yields; },
                   [this](unsigned vcpu, ShutdownReason reason) {
                       stopped = {vcpu, reason};
                   }}};
};

TEST_F(DomainTest, TellsItsVersion) {
    EXPECT_EQ(version(0, 0), 0x40011);
    const HypercallAnswer answer = domain.answer(make(17, {0}), memory);
    EXPECT_TRUE(answer.handled);
    EXPECT_EQ(answer.rax, 0x40011u);
    EXPECT_EQ(answer.refusal, "");
}

struct VersionRow {
    const char* what;
    std::uint64_t command;
    std::size_t size;  // bytes written
    std::string_view text;
};

TEST_F(DomainTest, TellsTheRestOfXenVersion) {
    const VersionRow rows[] = {
        {"extraversion", 1, 16, ".0-xenolith"},
        {"compile_info", 2, 144, "gcc"},
        {"capabilities", 3, 1024, "hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 "},
        {"changeset", 4, 64, "unavailable"},
        {"commandline", 9, 1024, "<denied>"},
    };
    for (const VersionRow& row : rows) {
        SCOPED_TRACE(row.what);
        memory = {};
        EXPECT_EQ(version(row.command), 0);
        EXPECT_EQ(memory.written, row.size);
        EXPECT_EQ(memory.text(), row.text);
        EXPECT_EQ(memory.bytes[row.size], '#');
        EXPECT_EQ(version(row.command, Memory::start + Memory::size - row.size + 1), -EFAULT);
        EXPECT_EQ(version(row.command, 0), -EFAULT);
    }
}

TEST_F(DomainTest, CutsLongTexts) {
    DomainIdentity identity;
    identity.extra_version = std::string(5000, 'v');
    Domain long_winded(identity);
    EXPECT_EQ(long_winded.answer(make(17, {1, Memory::start}), memory).result, 0);
    EXPECT_EQ(memory.text(), std::string(15, 'v'));
    EXPECT_EQ(memory.bytes[16], '#');
}

TEST_F(DomainTest, GivesPlatformParametersInTheCallersWidth) {
    EXPECT_EQ(version(5), 0);
    std::uint64_t start = 0;
    std::memcpy(&start, memory.bytes.data(), 8);
    EXPECT_EQ(start, 0xffff'8000'0000'0000);
    EXPECT_EQ(memory.written, 8u);
    domain.answer(make(17, {5, Memory::start}, false), memory);
    EXPECT_EQ(memory.written, 4u);
}

TEST_F(DomainTest, GivesFeaturesOfSubmapZero) {
    const std::uint32_t request[2] = {0, 0xffffffff};
    std::memcpy(memory.bytes.data(), request, 8);
    EXPECT_EQ(version(6), 0);
    std::uint32_t reply[2];
    std::memcpy(reply, memory.bytes.data(), 8);
    EXPECT_EQ(reply[0], 0u);
    EXPECT_EQ(reply[1], domain.identity().features);

    const std::uint32_t other[2] = {1, 0};
    std::memcpy(memory.bytes.data(), other, 8);
    EXPECT_EQ(version(6), -EINVAL);
    EXPECT_EQ(version(6, 0), -EFAULT);
    // Readable but not writable.
    std::memset(&memory.bytes[Memory::size], 0, 8);
    EXPECT_EQ(version(6, Memory::start + Memory::size), -EFAULT);
}

TEST_F(DomainTest, AnswersTheSmallOnes) {
    EXPECT_EQ(version(7, 0), 4096);
    EXPECT_EQ(version(7, Memory::start), -EINVAL);
    EXPECT_EQ(version(8), 0);
    EXPECT_EQ(memory.written, 16u);
    EXPECT_EQ(version(10), -EPERM);
    EXPECT_EQ(version(11), -ENOSYS);
    EXPECT_EQ(version(0xffffffff), -ENOSYS);
    EXPECT_EQ(version(0x1'0000'0000, 0), 0x40011) << "a command is an int";
}

TEST_F(DomainTest, WritesTheConsole) {
    memory.bytes.replace(0, 6, "hello\n");
    EXPECT_EQ(result(18, {0, 6, Memory::start}), 0);
    EXPECT_EQ(console, "hello\n");
    EXPECT_EQ(result(18, {0, 0, 0x123}), -EFAULT);
    EXPECT_EQ(result(18, {0, 1, 0}), -EFAULT);
    EXPECT_EQ(result(18, {0, Domain::maximum_console_write + 1, Memory::start}), -EINVAL);
    EXPECT_EQ(result(18, {0, 0xffffffff, Memory::start}), -EINVAL);
    EXPECT_EQ(result(18, {1, 1, Memory::start}), -ENOSYS);
    EXPECT_EQ(console, "hello\n");
}

struct ShutdownRow {
    std::uint32_t code;
    ShutdownReason reason;
    std::string_view name;
};

TEST_F(DomainTest, ShutsDown) {
    const ShutdownRow rows[] = {
        {0, ShutdownReason::power_off, "poweroff"}, {1, ShutdownReason::reboot, "reboot"},
        {2, ShutdownReason::suspend, "suspend"},    {3, ShutdownReason::crash, "crash"},
        {4, ShutdownReason::watchdog, "watchdog"},  {5, ShutdownReason::soft_reset, "soft_reset"},
        {6, ShutdownReason::unknown, "unknown"},    {255, ShutdownReason::unknown, "unknown"},
    };
    for (const ShutdownRow& row : rows) {
        std::memcpy(memory.bytes.data(), &row.code, 4);
        EXPECT_EQ(result(29, {2, Memory::start}), 0);
        ASSERT_TRUE(stopped.has_value());
        EXPECT_EQ(stopped->first, 1u);
        EXPECT_EQ(stopped->second, row.reason);
        EXPECT_EQ(shutdown_reason_name(row.reason), row.name);
    }
    stopped.reset();
    EXPECT_EQ(result(29, {2, 0}), -EFAULT);
    EXPECT_EQ(stopped, std::nullopt);
}

TEST_F(DomainTest, Yields) {
    EXPECT_EQ(result(29, {0, 0}), 0);
    EXPECT_EQ(yields, 1u);
    EXPECT_EQ(result(29, {1, 0}), -ENOSYS);
    EXPECT_EQ(result(29, {99, 0}), -ENOSYS);
}

TEST_F(DomainTest, RefusesByName) {
    const HypercallAnswer known = domain.answer(make(34, {1, 0}, false), memory);
    EXPECT_EQ(known.result, -ENOSYS);
    EXPECT_EQ(known.rax, 0xffffffdau);
    EXPECT_FALSE(known.handled);
    EXPECT_EQ(known.refusal, "hvm_op is not implemented");

    const HypercallAnswer unknown = domain.answer(make(1000, {}), memory);
    EXPECT_EQ(unknown.result, -ENOSYS);
    EXPECT_EQ(unknown.rax, 0xffff'ffff'ffff'ffda);
    EXPECT_EQ(unknown.refusal, "Xen has no hypercall 1000");
}

TEST_F(DomainTest, RefusesUserCodeBeforeAnythingElse) {
    for (const std::uint64_t number : {17ull, 34ull, 1000ull}) {
        Hypercall call = make(number, {1, Memory::start});
        call.cpl = 3;
        const HypercallAnswer answer = domain.answer(call, memory);
        EXPECT_EQ(answer.result, -EPERM);
        EXPECT_THAT(answer.refusal, HasSubstr("CPL 3"));
    }
    EXPECT_EQ(memory.written, 0u);
}

TEST_F(DomainTest, NeedsNoCallbacks) {
    Domain silent;
    std::memset(memory.bytes.data(), 0, 4);
    EXPECT_EQ(silent.answer(make(18, {0, 1, Memory::start}), memory).result, 0);
    EXPECT_EQ(silent.answer(make(29, {0}), memory).result, 0);
    EXPECT_EQ(silent.answer(make(29, {2, Memory::start}), memory).result, 0);
}

}  // namespace
}  // namespace xenolith::xen
