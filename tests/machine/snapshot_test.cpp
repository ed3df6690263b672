// A machine saved and resumed goes on as if nothing had been; a bad file is refused in one line.
#include "machine/snapshot.hpp"

#include <gmock/gmock.h>
#include <unistd.h>
#include <zlib.h>

#include <cstring>
#include <memory>
#include <random>

#include "devices/local_apic.hpp"
#include "loader/load_error.hpp"
#include "loader/loader.hpp"

namespace xenolith::machine {

namespace {

using ::testing::HasSubstr;

// A 32-bit program that keeps every sort of state busy: paging with a page directory of its own making, the timer's
// interrupts counted by a handler, memory written far and wide, port reads mixed into a sum.
constexpr unsigned char program[] = {
    // page directory at 0x200000: entries n -> 4 MiB pages, identity
    0xbf, 0x00, 0x00, 0x20, 0x00,  // mov edi, 0x200000
    0xb8, 0x83, 0x00, 0x00, 0x00,  // mov eax, 0x83
    0xb9, 0x00, 0x04, 0x00, 0x00,  // mov ecx, 1024
    0xab,                          // stosd
    0x05, 0x00, 0x00, 0x40, 0x00,  // add eax, 0x400000
    0xe2, 0xf8,                    // loop
    0x0f, 0x20, 0xe0,              // mov eax, cr4
    0x83, 0xc8, 0x10,              // or eax, 0x10
    0x0f, 0x22, 0xe0,              // mov cr4, eax
    0xb8, 0x00, 0x00, 0x20, 0x00,  // mov eax, 0x200000
    0x0f, 0x22, 0xd8,              // mov cr3, eax
    0x0f, 0x20, 0xc0,              // mov eax, cr0
    0x0d, 0x00, 0x00, 0x00, 0x80,  // or eax, 0x80000000
    0x0f, 0x22, 0xc0,              // mov cr0, eax
    // the interval timer, counter 0, mode 2, 500 ticks
    0xb0, 0x34, 0xe6, 0x43, 0xb0, 0xf4, 0xe6, 0x40, 0xb0, 0x01, 0xe6, 0x40,
    // forever: read the counter, add it up, write it to a page that moves on
    0x31, 0xdb,                                      // xor ebx, ebx
    0xb0, 0x00, 0xe6, 0x43,                          // out 0x43, 0: latch
    0xe4, 0x40, 0x0f, 0xb6, 0xc0,                    // in al, 0x40; movzx eax, al
    0x01, 0xc3,                                      // add ebx, eax
    0xe4, 0x40,                                      // in al, 0x40
    0x89, 0xda, 0x81, 0xe2, 0xff, 0x0f, 0x00, 0x00,  // mov edx, ebx; and edx, 0xfff
    0xc1, 0xe2, 0x0c,                                // shl edx, 12
    0x01, 0x9a, 0x00, 0x00, 0x40, 0x00,              // add [edx + 0x400000], ebx
    0xeb, 0xe0,                                      // jmp
};

std::unique_ptr<Machine> make_machine(const MachineOptions& options) { return std::make_unique<Machine>(options); }

std::unique_ptr<Machine> started() {
    MachineOptions options;
    options.ram = std::uint64_t{32} << 20;
    auto machine = make_machine(options);
    std::vector<std::byte> bytes;
    for (const unsigned char byte : program) bytes.push_back(static_cast<std::byte>(byte));
    machine->load(loader::ImageFile("program", bytes), {.format = loader::Format::flat32});
    return machine;
}

void run_until(Machine& machine, std::uint64_t cycles) {
    RunLimits limits;
    limits.max_cycles = cycles;
    ASSERT_EQ(machine.run(limits).end, RunEnd::max_cycles);
}

class SnapshotTest : public testing::Test {
  protected:
    SnapshotTest() : path(std::filesystem::temp_directory_path() / ("snapshot." + std::to_string(::getpid()))) {}
    ~SnapshotTest() override { std::filesystem::remove(path); }

    std::vector<std::byte> bytes() const {
        const loader::ImageFile file = loader::ImageFile::read(path);
        return {file.bytes().begin(), file.bytes().end()};
    }
    std::string refusal(std::vector<std::byte> changed, bool mend_checksum) const {
        if (mend_checksum && changed.size() >= 16) {
            const uLong sum = crc32_z(0, reinterpret_cast<const Bytef*>(changed.data() + 16), changed.size() - 16);
            for (unsigned n = 0; n < 4; ++n) changed[12 + n] = static_cast<std::byte>(sum >> 8 * n);
        }
        try {
            const Snapshot snapshot = Snapshot::parse(loader::ImageFile("file", std::move(changed)));
            snapshot.restore(*make_machine(snapshot.options()));
        } catch (const loader::LoadError& error) {
            return error.what();
        } catch (const std::invalid_argument& error) {  // a machine that cannot be built
            return error.what();
        }
        return "accepted";
    }

    const std::filesystem::path path;
};

}  // namespace

TEST_F(SnapshotTest, ARunThatIsResumedIsTheSameToTheCycle) {
    const auto whole = started();
    for (const std::uint64_t saved_at : {1'000u, 123'456u, 2'000'000u}) {
        SCOPED_TRACE(saved_at);
        const auto first = started();
        run_until(*first, saved_at);
        save_snapshot(*first, path);
        const Snapshot snapshot = Snapshot::read(path);
        const auto second = make_machine(snapshot.options());
        snapshot.restore(*second);
        EXPECT_EQ(second->engine().cycles(), first->engine().cycles());
        const std::uint64_t end = first->engine().cycles() + 3'000'000;
        run_until(*first, end);
        run_until(*second, end);
        EXPECT_EQ(second->engine().state(), first->engine().state());
        EXPECT_EQ(second->engine().cycles(), first->engine().cycles());
        EXPECT_EQ(second->engine().instructions(), first->engine().instructions());
        EXPECT_EQ(second->totals().traps, first->totals().traps);
        for (const auto& region : first->memory().regions()) {
            if (region->host != nullptr) {
                EXPECT_EQ(std::memcmp(region->host, second->memory().find(region->start)->host, region->size), 0);
            }
        }
    }
    // Saving changed nothing either.
    const auto saved = started();
    run_until(*saved, 100'000);
    save_snapshot(*saved, path);
    run_until(*saved, 1'000'000);
    run_until(*whole, 1'000'000);
    EXPECT_EQ(saved->engine().state(), whole->engine().state());
    EXPECT_EQ(saved->engine().cycles(), whole->engine().cycles());
}

TEST_F(SnapshotTest, SaysWhatTheMachineIsMadeOf) {
    MachineOptions options;
    options.ram = std::uint64_t{4} << 20;
    options.model = cpu::CpuModel::find("modern", cpu::Vendor::amd);
    options.timing = cpu::find_timing("modern");
    options.random_seed = 7;
    options.xen->msr = 0x40000200;
    options.xen->blob_64.assign(8192, std::byte{0x5a});
    save_snapshot(*make_machine(options), path);
    const MachineOptions read = Snapshot::read(path).options();
    EXPECT_EQ(read.ram, options.ram);
    EXPECT_EQ(read.model, options.model);
    EXPECT_EQ(read.timing, options.timing);
    EXPECT_EQ(read.random_seed, 7u);
    ASSERT_TRUE(read.xen.has_value());
    EXPECT_EQ(read.xen->msr, 0x40000200u);
    EXPECT_EQ(read.xen->blob_64, options.xen->blob_64);
    EXPECT_TRUE(read.xen->blob_32.empty());
    options.xen.reset();
    save_snapshot(*make_machine(options), path);
    EXPECT_FALSE(Snapshot::read(path).options().xen.has_value());
}

TEST_F(SnapshotTest, ABadFileIsRefused) {
    const auto machine = started();
    run_until(*machine, 10'000);
    save_snapshot(*machine, path);
    const std::vector<std::byte> good = bytes();
    EXPECT_EQ(refusal(good, false), "accepted");
    const auto with = [&](std::size_t at, unsigned value) {
        std::vector<std::byte> changed = good;
        changed[at] = static_cast<std::byte>(value);
        return changed;
    };
    EXPECT_THAT(refusal(with(0, 'Y'), false), HasSubstr("file: offset 0x0: expected a snapshot"));
    EXPECT_THAT(refusal(with(8, 99), false), HasSubstr("offset 0x8: expected version 1, found version 99"));
    EXPECT_THAT(refusal(with(100, 0xee), false), HasSubstr("offset 0xc: expected the checksum"));
    EXPECT_THAT(refusal(with(16, 'X'), true), HasSubstr("offset 0x10: expected the section MACH"));
    EXPECT_THAT(refusal({good.begin(), good.begin() + 12}, false), HasSubstr("expected a snapshot"));
    for (const std::size_t size : {16u, 20u, 40u, 1000u})
        EXPECT_NE(refusal({good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size)}, true), "accepted") << size;
    std::vector<std::byte> longer = good;
    longer.push_back(std::byte{0});
    EXPECT_THAT(refusal(longer, true), HasSubstr("expected the end of the file"));
}

// With a right checksum, so that every reader behind it is reached. Nothing may crash; most must be refused.
TEST_F(SnapshotTest, RandomDamageIsRefusedOrHarmless) {
    const auto machine = started();
    run_until(*machine, 10'000);
    save_snapshot(*machine, path);
    const std::vector<std::byte> good = bytes();
    std::mt19937 random(1);
    for (unsigned n = 0; n < 300; ++n) {
        std::vector<std::byte> changed = good;
        const std::size_t from = 16, end = std::min<std::size_t>(changed.size(), n % 2 == 0 ? 300 : changed.size());
        for (unsigned flips = 1 + random() % 4; flips != 0; --flips)
            changed[from + random() % (end - from)] = static_cast<std::byte>(random());
        refusal(std::move(changed), true);
    }
}

}  // namespace xenolith::machine
