// The edge cases of the contract as data: what is configured, what the guest does, in which modes. The unit tests, the
// recorder of a real KVM's answers and the check against that recording all go by these.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tests/machine/guest_mode.hpp"
#include "tests/machine/trap_subject.hpp"

namespace xenolith::machine::test {

// A configuration, and the blobs behind it. Without change: both blobs marked (Scenario::marked_blob), of 2 pages for
// 32 bits and 3 for 64.
struct TrapSetup {
    enum class Unmapped : std::uint8_t { nothing, last_page, everything };
    enum class Content : std::uint8_t {
        marked,
        changed,  // marked, with another byte at changed_offset of page 0
        slide,    // a page of NOP that ends in MOV AL, slide_mark; HLT
    };
    static constexpr std::uint64_t changed_offset = 0x10;
    static constexpr std::uint8_t slide_mark = 0x77;

    std::uint32_t msr = xen::default_xen_msr;
    std::uint32_t flags = 0;
    std::optional<std::uint8_t> pages = std::nullopt;          // of both blobs; what is mapped follows if it is more
    std::optional<std::uint64_t> blob_address = std::nullopt;  // of both; else where they are mapped
    std::uint64_t blob_offset = 0;                             // bytes, added to where they are mapped
    Unmapped unmapped = Unmapped::nothing;
    Content content = Content::marked;
    bool has_blobs = true;  // false: no blob field is set
};

// "msr 40000000, blobs of 2 and 3 pages": the configuration in words.
std::string setup_text(const TrapSetup& setup);
// The blob of that width as the set-up maps it first, whatever is then unmapped.
std::vector<std::byte> blob_bytes(const TrapSetup& setup, unsigned width);
void map_blobs(TrapSubject& subject, const TrapSetup& setup);
// Maps the blobs and configures: what KVM_XEN_HVM_CONFIG answers, 0 or an errno.
int apply(TrapSubject& subject, const TrapSetup& setup);

// --- One write ---------------------------------------------------------------------------------------------------

enum class Ends : std::uint8_t {
    copied,          // the page is in place, the program goes on
    refused,         // the trap answers #GP(0)
    not_trapped_gp,  // the trap does not see it; to the CPU the index is unknown: #GP(0)
    cpu_takes_it,    // the trap does not see it; the CPU has the register
    run_fails,       // the run fails with EFAULT, RIP at the WRMSR
};

// One result per profile, oldest first.
using ByProfile = std::array<Ends, 4>;

// Section 3 of the contract, as far as one write shows it, in any mode that may make one.
struct WriteRow {
    std::string_view name;
    std::uint64_t value;  // EDX:EAX
    ByProfile outside_long_mode, in_long_mode;
    TrapSetup setup = {};
    std::uint32_t msr = xen::default_xen_msr;
};

std::span<const WriteRow> write_rows();

// --- Whole programs ----------------------------------------------------------------------------------------------

struct TrapStep {
    enum class Kind : std::uint8_t {
        write,      // WRMSR: msr, value
        read,       // RDMSR: msr
        call,       // a near call to the physical address `value`; AL is noted when it returns
        vmcall,     // xen_version
        vmmcall,    // the same
        stub,       // xen_version through the page at `value`
        configure,  // the host configures anew
        map_blobs,  // the host changes the blobs and tells nobody
        host_write  // the host writes the MSR: msr, value
    };
    Kind kind;
    std::uint64_t value = 0;
    std::uint32_t msr = xen::default_xen_msr;
    TrapSetup setup = {};
};

struct TrapCase {
    std::string name;
    std::vector<GuestMode> modes;
    TrapSetup setup = {};
    std::vector<TrapStep> steps = {};
    mmu::GuestPhysical program_at = layout::program;
    bool runs_on = false;  // no end of its own: the program runs into what it has copied, and AL is noted
    std::optional<TrapSetup> repair = std::nullopt;  // applied after a run that failed; the guest is then run on
    // Another vCPU, which makes its steps after the first has ended.
    std::optional<GuestMode> second_mode = std::nullopt;
    std::vector<TrapStep> second_steps = {};
};

// Every write row, and everything that takes more than one write.
const std::vector<TrapCase>& trap_cases();
// "long64" or, with two vCPUs, "long64 and real".
std::string modes_text(const TrapCase& trap_case, GuestMode mode);

// What the subject, which nobody has used yet, makes of the case: one line, the same for the same behaviour.
struct TrapAnswer {
    std::string text;
    std::optional<bool> latched;  // the write has latched the mode's layout of shared_info; empty if that is not seen

    bool operator==(const TrapAnswer&) const = default;
};
inline std::ostream& operator<<(std::ostream& out, const TrapAnswer& answer) {
    return out << answer.text << (answer.latched.value_or(false) ? " (latched)" : "");
}
TrapAnswer answer_of(TrapSubject& subject, const TrapCase& trap_case, GuestMode mode);

}  // namespace xenolith::machine::test
