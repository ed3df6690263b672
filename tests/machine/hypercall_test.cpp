// Calls: through a copied page, through a generated one, through a doorbell, and by guests that need no page
// at all.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "tests/machine/engine_support.hpp"
#include "tests/machine/scenario.hpp"
#include "xen/blob.hpp"
#include "xen/hypercall_page.hpp"

namespace xenolith::machine::test {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::uint64_t target = layout::target.value;
constexpr std::uint64_t xen_version = 17;
constexpr std::uint64_t version_4_17 = 4 << 16 | 17;

mmu::GuestPhysical slot(std::uint64_t number) { return layout::target + number * xen::slot_size; }

std::span<const xen::Profile> intercepting_profiles(std::string_view engine) {
    const auto profiles = profiles_on(engine);
    return profiles.last(std::min<std::size_t>(profiles.size(), 2));
}
// The vendor whose instruction a generated page holds: the model's or, where the kernel makes the page, the host's.
cpu::Vendor vendor_of_stubs(std::string_view engine, cpu::Vendor model) {
    if (!kernel_lays_pages(engine)) return model;
    return __builtin_cpu_is("amd") != 0 ? cpu::Vendor::amd : cpu::Vendor::intel;
}

// xen_version(XENVER_version), by the register of either convention.
void prepare_version_call(GuestCode& code) { code.mov(ebx, 0).mov(edi, 0); }

const HypercallMade& only_call(const Scenario& scenario) {
    const auto calls = scenario.events<HypercallMade>();
    if (calls.size() != 1) throw std::logic_error("one hypercall was expected, not " + std::to_string(calls.size()));
    return std::get<HypercallMade>(calls[0]->what);
}

constexpr std::array vendors = {cpu::Vendor::intel, cpu::Vendor::amd};

ScenarioOptions options(const InMode& parameter, cpu::Vendor vendor,
                        const xen::Profile& profile = xen::default_profile(), bool intercept = false) {
    return {.engine = parameter.engine,
            .mode = parameter.mode,
            .profile = &profile,
            .vendor = vendor,
            .intercept_hypercalls = intercept};
}

class Hypercalls : public EngineTest<InMode, Need::hypercalls> {};
INSTANTIATE_TEST_SUITE_P(Engines, Hypercalls, in_modes(privileged_modes), parameter_name<InMode>);

class HypercallPages : public EngineTest<InMode> {};
INSTANTIATE_TEST_SUITE_P(Engines, HypercallPages, in_modes(privileged_modes), parameter_name<InMode>);

// As Linux after XSA-466 does: the instruction follows the CPU's vendor.
TEST_P(Hypercalls, AreMadeWithoutAPage) {
    for (const xen::Profile& profile : xen::profiles()) {
        for (const cpu::Vendor vendor : vendors) {
            SCOPED_TRACE(profile.name);
            const bool intel = vendor == cpu::Vendor::intel;
            Scenario scenario(options(GetParam(), vendor, profile));
            GuestCode program = scenario.code();
            prepare_version_call(program);
            program.mov(eax, xen_version);
            const std::uint64_t at = program.here();
            intel ? program.vmcall() : program.vmmcall();
            const Ending ending = scenario.run(program.hlt());
            ASSERT_TRUE(ending.finished()) << ending.result.reason;
            EXPECT_EQ(ending.state.registers[cpu::rax], version_4_17);
            const HypercallMade& call = only_call(scenario);
            EXPECT_EQ(call.name, "xen_version");
            EXPECT_EQ(call.through, intel ? "vmcall" : "vmmcall");
            EXPECT_TRUE(call.answered);
            const Event& event = *scenario.events<HypercallMade>()[0];
            EXPECT_EQ(event.moment.rip, at);
            EXPECT_EQ(event.moment.mode, architectural_mode(GetParam().mode));
            EXPECT_EQ(event.instruction, call.through);
            EXPECT_THAT(scenario.remarks(), testing::ElementsAre(HasSubstr("has not written the hypercall MSR")));
            EXPECT_THAT(scenario.page_writes(), IsEmpty());
            EXPECT_THAT(scenario.changed_pages(), IsEmpty());
        }
    }
}

TEST_P(Hypercalls, AreRefusedByNameAndByNumber) {
    Scenario scenario(options(GetParam(), cpu::Vendor::intel));
    GuestCode program = scenario.code();
    program.mov(eax, 32).vmcall().mov(ebp, eax).mov(eax, 9999).vmcall();
    const Ending ending = scenario.run(program.hlt());
    ASSERT_TRUE(ending.finished()) << ending.result.reason;
    constexpr std::uint32_t minus_enosys = static_cast<std::uint32_t>(-38);
    EXPECT_EQ(static_cast<std::uint32_t>(ending.state.registers[cpu::rbp]), minus_enosys);
    EXPECT_EQ(static_cast<std::uint32_t>(ending.state.registers[cpu::rax]), minus_enosys);
    const auto calls = scenario.events<HypercallMade>();
    ASSERT_EQ(calls.size(), 2u);
    EXPECT_EQ(std::get<HypercallMade>(calls[0]->what).name, "event_channel_op");
    EXPECT_EQ(std::get<HypercallMade>(calls[1]->what).name, "");
    for (const Event* call : calls) EXPECT_FALSE(std::get<HypercallMade>(call->what).answered);
    EXPECT_EQ(scenario.remarks().size(), 1u);  // said once
}

// A doorbell works in 16-bit code and on every engine. Xen's own stub means something else in 16-bit code,
// and needs an engine whose VMCALL reaches the machine.
TEST_P(HypercallPages, OfEveryKindAreCalledThrough) {
    for (const xen::StubKind kind : {xen::StubKind::vmcall, xen::StubKind::vmmcall, xen::StubKind::doorbell}) {
        const bool needs_more = kind != xen::StubKind::doorbell;
        if (needs_more && (code_width(GetParam().mode) == 16 || !find_engine(GetParam().engine)->shows_hypercalls))
            continue;
        SCOPED_TRACE(xen::stub_kind_name(kind));
        Scenario scenario(options(GetParam(), cpu::Vendor::intel));
        scenario.set_blobs(xen::make_blob(kind));
        GuestCode program = scenario.code();
        program.write_msr(Scenario::msr, target);
        prepare_version_call(program);
        const Ending ending = scenario.run(program.call(scenario.offset(slot(xen_version))).hlt());
        ASSERT_TRUE(ending.finished()) << ending.result.reason;
        EXPECT_EQ(static_cast<std::uint32_t>(ending.state.registers[cpu::rax]), version_4_17);
        EXPECT_EQ(only_call(scenario).through, xen::stub_kind_name(kind));
        EXPECT_EQ(only_call(scenario).number, xen_version);
        EXPECT_THAT(scenario.remarks(), IsEmpty());
    }
}

TEST_P(HypercallPages, BuiltInHaveNoIret) {
    Scenario scenario(options(GetParam(), cpu::Vendor::intel));
    scenario.set_blobs(xen::make_blob(xen::StubKind::doorbell));
    GuestCode program = scenario.code();
    program.write_msr(Scenario::msr, target).call(scenario.offset(slot(23)));
    const Ending ending = scenario.run(program);
    ASSERT_TRUE(ending.trap) << ending.result.reason;
    EXPECT_EQ(ending.trap->vector, 6u);
    EXPECT_EQ(ending.trap->rip, scenario.offset(slot(23)));
}

// --- INTERCEPT_HCALL
// ---------------------------------------------------------------------------------------------

TEST_P(HypercallPages, GeneratedHaveAStubInEverySlot) {
    for (const xen::Profile& profile : intercepting_profiles(GetParam().engine)) {
        for (const cpu::Vendor vendor : vendors) {
            SCOPED_TRACE(profile.name);
            const cpu::Vendor stubs = vendor_of_stubs(GetParam().engine, vendor);
            Scenario scenario(options(GetParam(), vendor, profile, true));
            GuestCode program = scenario.code();
            const Ending ending = scenario.run(program.write_msr(Scenario::msr, target).hlt());
            ASSERT_TRUE(ending.finished()) << ending.result.reason;
            const std::vector<std::byte> page = scenario.page(layout::target);
            for (std::uint32_t number = 0; number < xen::slots_per_page; ++number) {
                // b8 imm32; 0f 01 c1 or 0f 01 d9; c3; the rest cc
                std::array<std::byte, xen::slot_size> expected;
                expected.fill(std::byte{0xcc});
                expected[0] = std::byte{0xb8};
                std::memcpy(&expected[1], &number, sizeof number);
                expected[5] = std::byte{0x0f};
                expected[6] = std::byte{0x01};
                expected[7] = stubs == cpu::Vendor::intel ? std::byte{0xc1} : std::byte{0xd9};
                expected[8] = std::byte{0xc3};
                EXPECT_EQ(std::memcmp(&page[number * xen::slot_size], expected.data(), expected.size()), 0)
                    << "slot " << number;
            }
            if (!scenario.sees_writes()) continue;
            ASSERT_EQ(scenario.page_writes().size(), 1u);
            EXPECT_TRUE(scenario.page_writes()[0]->generated);
            EXPECT_EQ(scenario.page_writes()[0]->blob, scenario.blob_width());
            EXPECT_EQ(scenario.trap().latched_long_mode(), long_mode_active(GetParam().mode));
        }
    }
}

TEST_P(HypercallPages, GeneratedAreCalledThrough) {
    if (code_width(GetParam().mode) == 16) return;  // its stubs are no 16-bit code
    const bool by_kernel = kernel_lays_pages(GetParam().engine);
    if (!by_kernel && !find_engine(GetParam().engine)->shows_hypercalls)
        GTEST_SKIP() << "VMCALL and VMMCALL do not reach the machine";
    for (const xen::Profile& profile : intercepting_profiles(GetParam().engine)) {
        for (const cpu::Vendor vendor : vendors) {
            SCOPED_TRACE(profile.name);
            const bool vmcall = vendor_of_stubs(GetParam().engine, vendor) == cpu::Vendor::intel;
            Scenario scenario(options(GetParam(), vendor, profile, true));
            GuestCode program = scenario.code();
            program.write_msr(Scenario::msr, target);
            prepare_version_call(program);
            const Ending ending = scenario.run(program.call(scenario.offset(slot(xen_version))).hlt());
            ASSERT_TRUE(ending.finished()) << ending.result.reason;
            EXPECT_EQ(ending.state.registers[cpu::rax], version_4_17);
            EXPECT_EQ(only_call(scenario).through, vmcall ? "vmcall" : "vmmcall");
        }
    }
}

TEST_P(HypercallPages, GeneratedHaveIndexZeroAndNeedRam) {
    struct Row {
        const char* name;
        std::uint64_t value;
    };
    constexpr Row rows[] = {
        {"index 1", target | 1},
        {"index 255", target | 255},
        {"index 4095", target | 4095},
        {"hole", layout::hole.value},
        {"device", layout::device.value},
        {"ROM", layout::rom.value},
        {"above MAXPHYADDR", std::uint64_t{1} << 40},
    };
    for (const xen::Profile& profile : intercepting_profiles(GetParam().engine)) {
        for (const Row& row : rows) {
            SCOPED_TRACE(std::string(profile.name) + ", " + row.name);
            Scenario scenario(options(GetParam(), cpu::Vendor::intel, profile, true));
            GuestCode program = scenario.code();
            program.write_msr(Scenario::msr, row.value);
            const std::uint64_t at = program.last();
            const Ending ending = scenario.run(program);
            ASSERT_TRUE(ending.trap) << ending.result.reason;
            EXPECT_EQ(ending.trap->vector, 13u);
            EXPECT_EQ(ending.trap->error_code.value_or(0), 0u);
            EXPECT_EQ(ending.trap->rip, at);
            EXPECT_THAT(scenario.changed_pages(), IsEmpty());
            if (scenario.sees_writes()) {
                EXPECT_EQ(scenario.trap().latched_long_mode(), long_mode_active(GetParam().mode));
            }
        }
    }
}

}  // namespace
}  // namespace xenolith::machine::test
