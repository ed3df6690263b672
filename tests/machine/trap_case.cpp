#include "tests/machine/trap_case.hpp"

#include <algorithm>
#include <cstdio>

#include "xen/blob.hpp"

namespace xenolith::machine::test {
namespace {

using Unmapped = TrapSetup::Unmapped;
using Content = TrapSetup::Content;
using Kind = TrapStep::Kind;

constexpr ByProfile all(Ends ends) { return {ends, ends, ends, ends}; }
constexpr ByProfile copied = all(Ends::copied), refused = all(Ends::refused), not_trapped = all(Ends::not_trapped_gp);
constexpr ByProfile unreadable = {Ends::refused, Ends::run_fails, Ends::run_fails, Ends::run_fails};
// An index the CPU has: the older two ask the CPU first; the newest does not accept it as an index at all.
constexpr ByProfile of_the_cpu = {Ends::cpu_takes_it, Ends::cpu_takes_it, Ends::copied, Ends::cpu_takes_it};

constexpr std::uint32_t msr = xen::default_xen_msr, other_msr = 0x40000200;
constexpr std::uint64_t target = layout::target.value;
constexpr std::uint64_t maximum_physical = std::uint64_t{1} << 40;  // of the model these tests run on
constexpr std::uint32_t lstar = cpu::msr::lstar, sysenter_eip = cpu::msr::sysenter_eip;
constexpr std::uint64_t kernel_half = 0xffff'8880'0000'0000, not_canonical = 0x8000'0000'0000'0000;

constexpr WriteRow rows[] = {
    // The index, in the low 12 bits: the blobs have 2 pages (32) and 3 pages (64).
    {"index 0", target, copied, copied},
    {"index 1, the last of the 32-bit blob", target | 1, copied, copied},
    {"index 2, the last of the 64-bit blob", target | 2, refused, copied},
    {"index 3, the size of the 64-bit blob", target | 3, refused, refused},
    {"index 255", target | 255, refused, refused},
    {"index 4095", target | 4095, refused, refused},
    {"index 254 of 255 pages", target | 254, copied, copied, {.pages = 255}},
    {"index 255 of 255 pages", target | 255, refused, refused, {.pages = 255}},
    {"index 4095 of 255 pages", target | 4095, refused, refused, {.pages = 255}},
    {"size 0", target, refused, refused, {.pages = 0}},
    {"size 0, index 1", target | 1, refused, refused, {.pages = 0}},

    // The blob, in user memory.
    {"blob null", target, unreadable, unreadable, {.blob_address = 0}},
    {"blob in the kernel's half", target, unreadable, unreadable, {.blob_address = kernel_half}},
    {"blob not canonical", target, unreadable, unreadable, {.blob_address = not_canonical}},
    {"blob unmapped", target, unreadable, unreadable, {.unmapped = Unmapped::everything}},
    {"blob unaligned", target, copied, copied, {.blob_offset = 0x123}},
    {"blob unaligned by a byte", target, copied, copied, {.blob_offset = 1}},
    {"blob unaligned, reaching past its end", target | 1, unreadable, copied, {.blob_offset = 0xfff}},
    {"last page unmapped, first page wanted", target, copied, copied, {.unmapped = Unmapped::last_page}},
    {"last page unmapped and wanted", target | 1, unreadable, copied, {.unmapped = Unmapped::last_page}},
    {"last page of the 64-bit blob unmapped and wanted",
     target | 2,
     refused,
     unreadable,
     {.unmapped = Unmapped::last_page}},

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
    {"trap off", target, not_trapped, not_trapped, {.msr = 0}},
    {"neighbour below", target, not_trapped, not_trapped, {}, msr - 1},
    {"neighbour above", target, not_trapped, not_trapped, {}, msr + 1},
    {"another index in the range", target, not_trapped, not_trapped, {}, other_msr},
    {"moved index", target, copied, copied, {.msr = other_msr}, other_msr},
    {"old index after a move", target, not_trapped, not_trapped, {.msr = other_msr}},
    {"highest index of the range", target, copied, copied, {.msr = 0x4fffffff}, 0x4fffffff},
    {"index of LSTAR", target, of_the_cpu, of_the_cpu, {.msr = lstar}, lstar},
    {"index of SYSENTER_EIP", target, of_the_cpu, of_the_cpu, {.msr = sysenter_eip}, sysenter_eip},
    {"LSTAR, not configured", target, all(Ends::cpu_takes_it), all(Ends::cpu_takes_it), {}, lstar},
};

std::string hex(std::uint64_t value) {
    char text[2 + 16 + 1];
    std::snprintf(text, sizeof text, "%llx", static_cast<unsigned long long>(value));
    return text;
}

unsigned pages_mapped(const TrapSetup& setup, unsigned width) {
    if (setup.content == Content::slide) return 1;
    const unsigned least = width == 64 ? Scenario::pages_64 : Scenario::pages_32;
    return std::max<unsigned>(setup.pages.value_or(0), least);
}

std::uint8_t pages_configured(const TrapSetup& setup, unsigned width) {
    return setup.pages.value_or(static_cast<std::uint8_t>(pages_mapped(setup, width)));
}

const std::vector<GuestMode> privileged(privileged_modes.begin(), privileged_modes.end());
const std::vector<GuestMode> unprivileged(unprivileged_modes.begin(), unprivileged_modes.end());
const std::vector<GuestMode> every(every_mode.begin(), every_mode.end());
// Long mode and its opposite, where nothing else can matter.
const std::vector<GuestMode> two_modes = {GuestMode::protected32, GuestMode::long64};

TrapStep write(std::uint64_t value, std::uint32_t index = msr) {
    return {.kind = Kind::write, .value = value, .msr = index};
}
TrapStep configure(const TrapSetup& setup) { return {.kind = Kind::configure, .setup = setup}; }
TrapStep map(const TrapSetup& setup) { return {.kind = Kind::map_blobs, .setup = setup}; }
TrapStep call(mmu::GuestPhysical at) { return {.kind = Kind::call, .value = at.value}; }

void add_configurations(std::vector<TrapCase>& cases) {
    for (const unsigned bit : {0u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 9u, 16u, 31u})
        cases.push_back({"flag " + std::to_string(bit) + ", and what is then in force",
                         two_modes,
                         {},
                         {configure({.msr = other_msr, .flags = 1u << bit}), write(target), write(target, other_msr)}});
    const std::uint32_t intercept = xen::hvm_config_flag::intercept_hcall;
    const TrapSetup no_blobs{.flags = intercept, .has_blobs = false};
    cases.push_back({"INTERCEPT_HCALL with blobs",
                     two_modes,
                     {},
                     {configure({.msr = other_msr, .flags = intercept}), write(target), write(target, other_msr)}});
    cases.push_back({"INTERCEPT_HCALL with sizes only",
                     two_modes,
                     {},
                     {configure({.flags = intercept, .blob_address = 0}), write(target)}});
    cases.push_back({"INTERCEPT_HCALL with addresses only",
                     two_modes,
                     {},
                     {configure({.flags = intercept, .pages = 0}), write(target)}});
    cases.push_back({"INTERCEPT_HCALL and another flag",
                     two_modes,
                     {},
                     {configure({.flags = intercept | 1, .has_blobs = false}), write(target)}});
    for (const std::uint32_t index :
         {0x10u, 0x1234u, 0x3fffffffu, 0x40000001u, 0x40000020u, 0x4b564d00u, 0x4b564d01u, 0x50000000u, 0xffffffffu})
        cases.push_back({"index " + hex(index) + " configured", two_modes, {.msr = index}, {write(target, index)}});
    cases.push_back({"configured anew between two writes",
                     privileged,
                     {},
                     {write(target), configure({.msr = other_msr, .blob_offset = mmu::page_size}),
                      write(target + 0x1000, other_msr), write(target + 0x2000)}});
    cases.push_back({"switched off between two writes",
                     two_modes,
                     {},
                     {write(target), configure({.msr = 0}), write(target + 0x1000)}});
    cases.push_back(
        {"size 0 between two writes", two_modes, {}, {write(target), configure({.pages = 0}), write(target + 0x1000)}});
    cases.push_back({"blob changed between two writes",
                     privileged,
                     {},
                     {write(target), map({.content = Content::changed}), write(target + 0x1000)}});
    cases.push_back({"blob unmapped between two writes",
                     two_modes,
                     {},
                     {write(target), map({.unmapped = Unmapped::everything}), write(target + 0x1000)}});
    TrapCase repaired{"blob unmapped, then mapped", privileged, {.unmapped = Unmapped::everything}, {write(target)}};
    repaired.repair = TrapSetup{};
    cases.push_back(repaired);
    cases.push_back({"several pages, each more than once",
                     privileged,
                     {},
                     {write(target), write((target + 0x1000) | 1), write((target + 0x2000) | 1), write(target),
                      write(target + 0x2000)}});
    cases.push_back({"written by the host", two_modes, {}, {{.kind = Kind::host_write, .value = target}}});

    // Generated pages.
    cases.push_back({"generated page", privileged, no_blobs, {write(target)}});
    for (const std::uint64_t index : {1u, 255u, 4095u})
        cases.push_back(
            {"generated page, index " + std::to_string(index), two_modes, no_blobs, {write(target | index)}});
    cases.push_back({"generated page, in a hole", two_modes, no_blobs, {write(layout::hole.value)}});
    cases.push_back({"generated page, in device memory", two_modes, no_blobs, {write(layout::device.value)}});
    cases.push_back({"generated page, in ROM", two_modes, no_blobs, {write(layout::rom.value)}});
    cases.push_back({"generated page, above MAXPHYADDR", two_modes, no_blobs, {write(maximum_physical | target)}});
    cases.push_back(
        {"generated page, called through",
         {GuestMode::protected32, GuestMode::paged32, GuestMode::pae32, GuestMode::long64, GuestMode::compatibility32},
         no_blobs,
         {write(target), {.kind = Kind::stub, .value = target}}});
}

void add_guests(std::vector<TrapCase>& cases) {
    const TrapSetup no_blobs{.flags = xen::hvm_config_flag::intercept_hcall, .has_blobs = false};
    cases.push_back({"write without privilege", unprivileged, {}, {write(target)}});
    cases.push_back({"write without privilege, index beyond the blob", unprivileged, {}, {write(target | 255)}});
    cases.push_back({"write without privilege, of a hole", unprivileged, {}, {write(layout::hole.value)}});
    cases.push_back(
        {"write without privilege, blob unmapped", unprivileged, {.unmapped = Unmapped::everything}, {write(target)}});
    cases.push_back({"read", every, {}, {{.kind = Kind::read}}});
    cases.push_back({"read after a write", privileged, {}, {write(target), {.kind = Kind::read}}});
    cases.push_back({"read, generated page", two_modes, no_blobs, {{.kind = Kind::read}}});
    cases.push_back({"neighbours read", two_modes, {}, {{.kind = Kind::read, .msr = msr + 1}}});

    // A guest that never writes the MSR.
    for (const auto& [kind, name] : {std::pair{Kind::vmcall, "VMCALL"}, std::pair{Kind::vmmcall, "VMMCALL"}}) {
        cases.push_back({std::string(name) + " without a page, with blobs", every, {}, {{.kind = kind}}});
        cases.push_back({std::string(name) + " without a page, intercepted", every, no_blobs, {{.kind = kind}}});
    }

    // Code that has run, and its own page.
    cases.push_back(
        {"page of code that has run",
         privileged,
         {},
         {call(layout::target), write(target | 1), call(layout::target), write(target), call(layout::target)}});
    TrapCase covers{"page that holds the WRMSR", privileged, {.content = Content::slide}, {write(target)}};
    covers.program_at = layout::target + 0x100;
    covers.runs_on = true;
    cases.push_back(covers);

    constexpr GuestMode pairs[][2] = {
        {GuestMode::long64, GuestMode::protected32}, {GuestMode::protected32, GuestMode::long64},
        {GuestMode::long64, GuestMode::real},        {GuestMode::real, GuestMode::compatibility32},
        {GuestMode::pae32, GuestMode::paged32},      {GuestMode::compatibility32, GuestMode::long64},
    };
    for (const auto& [first, second] : pairs) {
        TrapCase both{"two vCPUs", {first}, {}, {write(target)}};
        both.second_mode = second;
        both.second_steps = {write(target + 0x1000)};
        cases.push_back(both);
    }
}

std::vector<TrapCase> make_cases() {
    std::vector<TrapCase> cases;
    for (const WriteRow& row : rows)
        cases.push_back({std::string(row.name), privileged, row.setup, {write(row.value, row.msr)}});
    add_configurations(cases);
    add_guests(cases);
    return cases;
}

xen::HvmConfig config_of(const TrapSubject& subject, const TrapSetup& setup) {
    xen::HvmConfig config{.flags = setup.flags, .msr = setup.msr};
    if (!setup.has_blobs) return config;
    config.blob_addr_32 = setup.blob_address.value_or(subject.blob_address(32) + setup.blob_offset);
    config.blob_addr_64 = setup.blob_address.value_or(subject.blob_address(64) + setup.blob_offset);
    config.blob_size_32 = pages_configured(setup, 32);
    config.blob_size_64 = pages_configured(setup, 64);
    return config;
}

}  // namespace

std::span<const WriteRow> write_rows() { return rows; }

const std::vector<TrapCase>& trap_cases() {
    static const std::vector<TrapCase> cases = make_cases();
    return cases;
}

std::string modes_text(const TrapCase& trap_case, GuestMode mode) {
    std::string text(guest_mode_name(mode));
    if (trap_case.second_mode) text += " and " + std::string(guest_mode_name(*trap_case.second_mode));
    return text;
}

std::string setup_text(const TrapSetup& setup) {
    std::string text = setup.msr == 0 ? "off" : "msr " + hex(setup.msr);
    if (setup.flags != 0) text += ", flags " + hex(setup.flags);
    if (!setup.has_blobs) return text + ", no blobs";
    text += ", blobs of " + std::to_string(pages_configured(setup, 32)) + " and " +
            std::to_string(pages_configured(setup, 64)) + " pages";
    if (setup.blob_address) text += " at " + hex(*setup.blob_address);
    if (setup.blob_offset != 0) text += " from offset " + hex(setup.blob_offset);
    constexpr std::string_view unmapped[] = {"", ", the last one unmapped", ", unmapped"};
    text += unmapped[static_cast<unsigned>(setup.unmapped)];
    constexpr std::string_view content[] = {"", ", changed", ", of NOP"};
    return text + std::string(content[static_cast<unsigned>(setup.content)]);
}

std::vector<std::byte> blob_bytes(const TrapSetup& setup, unsigned width) {
    if (setup.content == Content::slide) {
        std::vector<std::byte> page(mmu::page_size, std::byte{0x90});
        constexpr std::byte end[] = {std::byte{0xb0}, std::byte{TrapSetup::slide_mark}, std::byte{0xf4}};
        std::ranges::copy(end, page.end() - std::size(end));
        return page;
    }
    std::vector<std::byte> bytes = Scenario::marked_blob(width, pages_mapped(setup, width));
    if (setup.content == Content::changed) bytes[TrapSetup::changed_offset] = std::byte{0xaa};
    return bytes;
}

void map_blobs(TrapSubject& subject, const TrapSetup& setup) {
    for (const unsigned width : {32u, 64u}) {
        const unsigned pages = pages_mapped(setup, width);
        subject.map_blob(width, blob_bytes(setup, width));
        if (setup.unmapped == Unmapped::everything) subject.unmap_blob(width, 0, pages);
        if (setup.unmapped == Unmapped::last_page) subject.unmap_blob(width, pages - 1, 1);
    }
}

int apply(TrapSubject& subject, const TrapSetup& setup) {
    map_blobs(subject, setup);
    return subject.configure(config_of(subject, setup));
}

}  // namespace xenolith::machine::test
