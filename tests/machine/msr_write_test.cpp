// One WRMSR by guest code, in every mode that may make one, under every profile: what the guest and its
// operator see. The rows are section 3 of the contract, as far as one write shows it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "tests/machine/engine_support.hpp"
#include "tests/machine/scenario.hpp"
#include "xen/error_numbers.hpp"

namespace xenolith::machine::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

enum class Ends : std::uint8_t {
    copied,          // the page is in place, the program goes on
    refused,         // the trap answers #GP(0)
    not_trapped_gp,  // the trap does not see it; to the CPU the index is unknown: #GP(0)
    cpu_takes_it,    // the trap does not see it; the CPU has the register
    run_fails,       // the run fails with EFAULT, RIP at the WRMSR
};

// One result per profile, oldest first.
using ByProfile = std::array<Ends, 4>;
constexpr ByProfile all(Ends ends) { return {ends, ends, ends, ends}; }
constexpr ByProfile copied = all(Ends::copied), refused = all(Ends::refused), not_trapped = all(Ends::not_trapped_gp);
constexpr ByProfile unreadable = {Ends::refused, Ends::run_fails, Ends::run_fails, Ends::run_fails};
// An index the CPU has: the older two ask the CPU first; the newest does not accept it as an index at all.
constexpr ByProfile of_the_cpu = {Ends::cpu_takes_it, Ends::cpu_takes_it, Ends::copied, Ends::cpu_takes_it};

struct Row {
    std::string_view name;
    std::uint64_t value;  // EDX:EAX
    ByProfile outside_long_mode, in_long_mode;
    void (*prepare)(Scenario&) = nullptr;
    std::uint32_t msr = Scenario::msr;
    std::uint64_t blob_offset = 0;  // bytes from the marked blob's start to where the configured blob starts
};

// The ioctl; a refused configuration is part of some rows.
template <class Change>
void reconfigure(Scenario& scenario, Change change) {
    xen::HvmConfig config = scenario.trap().config();
    change(config);
    scenario.trap().configure(config);
}
template <std::uint32_t Index>
void trap_index(Scenario& scenario) {
    reconfigure(scenario, [](xen::HvmConfig& config) { config.msr = Index; });
}
template <std::uint8_t Pages>
void blob_size(Scenario& scenario) {
    reconfigure(scenario, [](xen::HvmConfig& config) { config.blob_size_32 = config.blob_size_64 = Pages; });
}
void map_255_pages(Scenario& scenario) {
    for (const unsigned width : {32u, 64u}) {
        scenario.machine().blob_memory().map(Scenario::blob_address(width), Scenario::marked_blob(width, 255));
    }
    blob_size<255>(scenario);
}
template <std::uint64_t Address>
void blob_at(Scenario& scenario) {
    reconfigure(scenario, [](xen::HvmConfig& config) { config.blob_addr_32 = config.blob_addr_64 = Address; });
}
template <std::uint64_t Bytes>
void move_blob(Scenario& scenario) {
    reconfigure(scenario, [](xen::HvmConfig& config) {
        config.blob_addr_32 += Bytes;
        config.blob_addr_64 += Bytes;
    });
}
void unmap_the_last_page(Scenario& scenario) {
    scenario.machine().blob_memory().unmap(Scenario::blob_address(32) + mmu::page_size, mmu::page_size);
    scenario.machine().blob_memory().unmap(Scenario::blob_address(64) + 2 * mmu::page_size, mmu::page_size);
}

constexpr std::uint64_t target = layout::target.value;
constexpr std::uint64_t maximum_physical = std::uint64_t{1} << 40;  // of the model these tests run on
constexpr std::uint32_t lstar = cpu::msr::lstar, sysenter_eip = cpu::msr::sysenter_eip;

constexpr Row rows[] = {
    // The index, in the low 12 bits: the blobs have 2 pages (32) and 3 pages (64).
    {"index 0", target, copied, copied},
    {"index 1, the last of the 32-bit blob", target | 1, copied, copied},
    {"index 2, the last of the 64-bit blob", target | 2, refused, copied},
    {"index 3, the size of the 64-bit blob", target | 3, refused, refused},
    {"index 255", target | 255, refused, refused},
    {"index 4095", target | 4095, refused, refused},
    {"index 254 of 255 pages", target | 254, copied, copied, map_255_pages},
    {"index 255 of 255 pages", target | 255, refused, refused, map_255_pages},
    {"index 4095 of 255 pages", target | 4095, refused, refused, map_255_pages},
    {"size 0", target, refused, refused, blob_size<0>},
    {"size 0, index 1", target | 1, refused, refused, blob_size<0>},

    // The blob, in user memory.
    {"blob null", target, unreadable, unreadable, blob_at<0>},
    {"blob in the kernel's half", target, unreadable, unreadable, blob_at<0xffff'8880'0000'0000>},
    {"blob not canonical", target, unreadable, unreadable, blob_at<0x8000'0000'0000'0000>},
    {"blob unmapped", target, unreadable, unreadable, [](Scenario& scenario) { scenario.unmap_blobs(); }},
    {"blob unaligned", target, copied, copied, move_blob<0x123>, Scenario::msr, 0x123},
    {"blob unaligned by a byte", target, copied, copied, move_blob<1>, Scenario::msr, 1},
    {"blob unaligned, reaching past its end", target | 1, unreadable, copied, move_blob<0xfff>, Scenario::msr, 0xfff},
    {"last page unmapped, first page wanted", target, copied, copied, unmap_the_last_page},
    {"last page unmapped and wanted", target | 1, unreadable, copied, unmap_the_last_page},
    {"last page of the 64-bit blob unmapped and wanted", target | 2, refused, unreadable, unmap_the_last_page},

    // The guest page.
    {"high RAM, by EDX", layout::high_ram.value, copied, copied},
    {"high RAM, by EDX, index 1", (layout::high_ram + 0x3000).value | 1, copied, copied},
    {"last page of high RAM", layout::high_ram.value + layout::high_ram_size - mmu::page_size, copied, copied},
    {"behind high RAM", (layout::high_ram + layout::high_ram_size).value, refused, refused},
    {"EDX where nothing is", 0x12'0000'0000 | target, refused, refused},
    {"above MAXPHYADDR", maximum_physical | target, refused, refused},
    {"bit 51", std::uint64_t{1} << 51 | target, refused, refused},
    {"bit 63", std::uint64_t{1} << 63 | target, refused, refused},
    {"all ones", ~mmu::page_mask, refused, refused},
    {"hole", layout::hole.value, refused, refused},
    {"last page in front of the hole", layout::hole.value - mmu::page_size, copied, copied},
    {"device memory", layout::device.value, refused, refused},
    {"ROM", layout::rom.value, refused, refused},
    {"page 0", 0, copied, copied},

    // The index of the MSR.
    {"trap off", target, not_trapped, not_trapped, trap_index<0>},
    {"neighbour below", target, not_trapped, not_trapped, nullptr, Scenario::msr - 1},
    {"neighbour above", target, not_trapped, not_trapped, nullptr, Scenario::msr + 1},
    {"another index in the range", target, not_trapped, not_trapped, nullptr, 0x40000200},
    {"moved index", target, copied, copied, trap_index<0x40000200>, 0x40000200},
    {"old index after a move", target, not_trapped, not_trapped, trap_index<0x40000200>},
    {"highest index of the range", target, copied, copied, trap_index<0x4fffffff>, 0x4fffffff},
    {"index of LSTAR", target, of_the_cpu, of_the_cpu, trap_index<lstar>, lstar},
    {"index of SYSENTER_EIP", target, of_the_cpu, of_the_cpu, trap_index<sysenter_eip>, sysenter_eip},
    {"LSTAR, not configured", target, all(Ends::cpu_takes_it), all(Ends::cpu_takes_it), nullptr, lstar},
};

struct WriteParameter {
    std::string_view engine;
    GuestMode mode;
    const Row* row;

    std::string name() const {
        return identifier(engine) + "_" + identifier(guest_mode_name(mode)) + "_" + identifier(row->name);
    }
};
void PrintTo(const WriteParameter& parameter, std::ostream* out) { *out << parameter.name(); }

std::vector<WriteParameter> every_write() {
    std::vector<WriteParameter> parameters;
    for (const std::string_view engine : engine_names()) {
        for (const GuestMode mode : privileged_modes) {
            for (const Row& row : rows) parameters.push_back({engine, mode, &row});
        }
    }
    return parameters;
}

class MsrWrite : public EngineTest<WriteParameter> {
  protected:
    // The general registers as the program has left them when it comes to its WRMSR.
    std::array<std::uint64_t, 16> registers_at_write() const {
        std::array<std::uint64_t, 16> registers;
        const cpu::CpuState entry = entry_state(GetParam().mode, layout::program);
        std::copy_n(entry.registers.begin(), registers.size(), registers.begin());
        registers[cpu::rcx] = row().msr;
        registers[cpu::rax] = row().value & 0xffffffff;
        registers[cpu::rdx] = row().value >> 32;
        return registers;
    }
    const Row& row() const { return *GetParam().row; }

    void expect_registers(const std::array<std::uint64_t, 18>& registers) {
        const auto expected = registers_at_write();
        for (unsigned number = 0; number < 16; ++number) {
            EXPECT_EQ(registers[number], expected[number]) << "register " << number;
        }
    }

    void expect_copied(Scenario& scenario, const Ending& ending);
    void expect_fault(Scenario& scenario, const Ending& ending, std::uint64_t at);
    void expect_failure(Scenario& scenario, const Ending& ending, std::uint64_t at);
    void expect_event(Scenario& scenario, std::string_view result);
};

INSTANTIATE_TEST_SUITE_P(Engines, MsrWrite, testing::ValuesIn(every_write()), parameter_name<WriteParameter>);

void MsrWrite::expect_event(Scenario& scenario, std::string_view result) {
    const auto writes = scenario.page_writes();
    ASSERT_EQ(writes.size(), 1u);
    const HypercallPageWrite& write = *writes[0];
    EXPECT_EQ(write.result, result);
    EXPECT_EQ(write.msr, row().msr);
    EXPECT_EQ(write.value, row().value);
    EXPECT_EQ(write.address, row().value & ~mmu::page_mask);
    EXPECT_EQ(write.index, row().value & mmu::page_mask);
    EXPECT_EQ(write.blob, scenario.blob_width());
    EXPECT_EQ(write.cost,
              result == "copied" ? scenario.machine().timing().trap : scenario.machine().timing().plain_trap());
    EXPECT_EQ(scenario.machine().totals().traps, 1u);
    const Event& event = *scenario.events<HypercallPageWrite>()[0];
    EXPECT_EQ(event.moment.mode, architectural_mode(scenario.mode()));
    EXPECT_EQ(event.instruction, "wrmsr");
}

void MsrWrite::expect_copied(Scenario& scenario, const Ending& ending) {
    ASSERT_TRUE(ending.finished()) << ending.result.reason;
    const std::uint64_t address = row().value & ~mmu::page_mask, index = row().value & mmu::page_mask;
    const auto blob = Scenario::marked_blob(scenario.blob_width(), static_cast<unsigned>(index + 2));
    const auto first = blob.begin() + static_cast<std::ptrdiff_t>(index * mmu::page_size + row().blob_offset);
    EXPECT_EQ(scenario.page(mmu::GuestPhysical{address}),
              std::vector<std::byte>(first, first + static_cast<std::ptrdiff_t>(mmu::page_size)));
    EXPECT_THAT(scenario.changed_pages(), ElementsAre(address / mmu::page_size));
    expect_registers(ending.state.registers);
    expect_event(scenario, "copied");
}

void MsrWrite::expect_fault(Scenario& scenario, const Ending& ending, std::uint64_t at) {
    ASSERT_TRUE(ending.trap) << ending.result.reason;
    const Trap& trap = *ending.trap;
    EXPECT_EQ(trap.vector, 13u);
    EXPECT_EQ(trap.error_code.value_or(0), 0u);
    EXPECT_EQ(trap.rip, at);
    const cpu::CpuState entry = entry_state(scenario.mode(), layout::program);
    EXPECT_EQ(trap.cs, entry.segment(cpu::SegmentName::cs).selector);
    // RF is pushed as 1 for a fault (SDM vol. 3B, 17.3.1.1); real mode pushes 16 bits.
    EXPECT_EQ(trap.rflags & ~cpu::rflags::rf, entry.rflags);
    const auto expected = registers_at_write();
    for (unsigned number = 0; number < (long_mode_active(scenario.mode()) ? 16 : 8); ++number) {
        if (number == cpu::rsp && !long_mode_active(scenario.mode())) continue;
        EXPECT_EQ(trap.registers[number], expected[number]) << "register " << number;
    }
    EXPECT_THAT(scenario.changed_pages(), IsEmpty());
}

void MsrWrite::expect_failure(Scenario& scenario, const Ending& ending, std::uint64_t at) {
    EXPECT_TRUE(ending.failed_with(xen::error_number::efault)) << ending.result.reason;
    EXPECT_EQ(ending.state.rip, at);
    expect_registers(ending.state.registers);
    EXPECT_EQ(ending.state.rflags, entry_state(scenario.mode(), layout::program).rflags);
    EXPECT_THAT(scenario.changed_pages(), IsEmpty());
    expect_event(scenario, "EFAULT");
}

TEST_P(MsrWrite, EndsAsTheProfileSays) {
    const ByProfile& ends = long_mode_active(GetParam().mode) ? row().in_long_mode : row().outside_long_mode;
    for (std::size_t number = 0; number < xen::profiles().size(); ++number) {
        const xen::Profile& profile = xen::profiles()[number];
        SCOPED_TRACE(profile.name);
        Scenario scenario({.engine = GetParam().engine, .mode = GetParam().mode, .profile = &profile});
        if (row().prepare != nullptr) row().prepare(scenario);
        GuestCode program = scenario.code();
        program.write_msr(row().msr, row().value);
        const std::uint64_t at = program.last();
        program.hlt();
        const Ending ending = scenario.run(program);
        // The latch is taken whenever the trap sees the write, however it ends.
        const bool seen = ends[number] != Ends::not_trapped_gp && ends[number] != Ends::cpu_takes_it;
        EXPECT_EQ(scenario.trap().latched_long_mode(),
                  seen && profile.latches_long_mode ? std::optional(long_mode_active(GetParam().mode)) : std::nullopt);
        switch (ends[number]) {
            case Ends::copied: expect_copied(scenario, ending); break;
            case Ends::refused:
                expect_fault(scenario, ending, at);
                expect_event(scenario, "#GP");
                break;
            case Ends::not_trapped_gp:
                expect_fault(scenario, ending, at);
                EXPECT_THAT(scenario.page_writes(), IsEmpty());
                break;
            case Ends::cpu_takes_it:
                EXPECT_TRUE(ending.finished()) << ending.result.reason;
                EXPECT_EQ(row().msr == lstar ? ending.state.msr.lstar : ending.state.msr.sysenter_eip, row().value);
                EXPECT_THAT(scenario.changed_pages(), IsEmpty());
                EXPECT_THAT(scenario.page_writes(), IsEmpty());
                break;
            case Ends::run_fails: expect_failure(scenario, ending, at); break;
        }
    }
}

}  // namespace
}  // namespace xenolith::machine::test
