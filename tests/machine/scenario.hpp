// A machine made for one test: memory of every kind, tables for every mode, blobs with marked pages, and a
// program.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "machine/machine.hpp"
#include "tests/machine/guest_code.hpp"
#include "tests/machine/guest_mode.hpp"

namespace xenolith::machine::test {

// Where tests find memory of each kind, beside the 2 MiB of RAM at 0.
namespace layout {
inline constexpr mmu::GuestPhysical hole{0xa0000}, device{0xd0000}, rom{0xf0000};
inline constexpr mmu::GuestPhysical high_ram{0x1'0000'0000};  // needs EDX
inline constexpr std::uint64_t high_ram_size = 0x10000;
}  // namespace layout

struct ScenarioOptions {
    std::string_view engine;
    GuestMode mode = GuestMode::long64;
    const xen::Profile* profile = &xen::default_profile();
    cpu::Vendor vendor = cpu::Vendor::intel;
    const cpu::Timing* timing = nullptr;
    bool xen = true;
    bool intercept_hypercalls = false;
    // Who lays the page on the engine `kvm`. Empty: route_of_tests().
    std::optional<cpu::KvmRoute> route = std::nullopt;
};

// By the environment variable XENOLITH_KVM_ROUTE, `ioctl` or `msr-exit`; without it the latter, by which the profile's
// behaviour counts and not the host kernel's.
cpu::KvmRoute route_of_tests();
// The host's KVM lays the page itself: there the kernel's behaviour counts, and what it does is not seen.
bool kernel_lays_pages(std::string_view engine);
// Profiles that guest code can tell apart on the engine: all, or the newest where the kernel decides.
std::span<const xen::Profile> profiles_on(std::string_view engine);

// How a program ended: by its own HLT, in an exception handler, or with the run.
struct Ending {
    RunResult result;
    cpu::CpuState state;
    std::optional<Trap> trap;

    // The program came to its own HLT.
    bool finished() const { return result.end == RunEnd::halted && !trap; }
    // By which the engine returned before the instruction at `rip` happened.
    bool failed_with(int error) const { return result.end == RunEnd::run_failed && result.error_number == error; }
};

class Scenario {
  public:
    static constexpr std::uint32_t msr = xen::default_xen_msr;
    static constexpr std::uint8_t pages_32 = 2, pages_64 = 3;

    explicit Scenario(const ScenarioOptions& options);
    Scenario(const Scenario&) = delete;
    Scenario& operator=(const Scenario&) = delete;

    // Memory of every kind, as a scenario's machine has it, for a memory that has no regions yet.
    static void add_regions(mmu::GuestMemory& memory);

    Machine& machine() { return *machine_; }
    xen::TrapCore& trap() { return *machine_->trap(); }
    const xen::TrapCore& trap() const { return *machine_->trap(); }
    cpu::Engine& engine() { return machine_->engine(); }
    GuestMode mode() const { return mode_; }
    // Writes of the hypercall MSR reach the trap core, and so the timeline.
    bool sees_writes() const { return sees_writes_; }

    // An assembler for code of the mode, to be put at that place.
    GuestCode code(mmu::GuestPhysical at = layout::program) const;
    std::uint64_t offset(mmu::GuestPhysical at) const { return code_offset(mode_, at); }
    void put(mmu::GuestPhysical at, const GuestCode& program) { put(at, program.data()); }
    void put(mmu::GuestPhysical at, std::span<const std::byte> bytes);
    std::vector<std::byte> page(mmu::GuestPhysical at) const;
    std::uint8_t byte(mmu::GuestPhysical at) const;

    // The blob of that width as it was mapped at first: each page marks its width and its number, and begins
    // with code, the same in every mode: MOV AL, mark; RET.
    static std::vector<std::byte> marked_blob(unsigned width, unsigned pages);
    static std::uint8_t mark(unsigned width, unsigned page) {
        return static_cast<std::uint8_t>((width == 64 ? 0x60 : 0x30) + (page & 0xf));
    }
    // Of the blob that the mode gets.
    unsigned blob_width() const { return long_mode_active(mode_) ? 64 : 32; }
    std::uint8_t mark(unsigned page) const { return mark(blob_width(), page); }
    static std::uint64_t blob_address(unsigned width) {
        return width == 64 ? Machine::blob_address_64 : Machine::blob_address_32;
    }
    // Replaces both blobs by these bytes, padded to whole pages.
    void set_blobs(std::span<const std::byte> bytes);
    void unmap_blobs();

    // Puts the program at layout::program and runs it from the entry state until it ends.
    Ending run(const GuestCode& program);
    // Runs on from where the engine stands.
    Ending run_on();

    // Called for each byte the guest writes to the debug console: in the middle of a run, between two
    // instructions.
    void on_debug_byte(std::function<void(std::uint8_t)> listener) { debug_listener_ = std::move(listener); }

    // Remembers memory as it is; run() does so before it starts.
    void remember_memory();
    // The pages of RAM and ROM that have changed since, the stacks aside.
    std::vector<std::uint64_t> changed_pages() const;

    // Timeline events of one kind.
    template <class What>
    std::vector<const Event*> events() const {
        std::vector<const Event*> found;
        for (const Event& event : machine_->timeline().events()) {
            if (std::holds_alternative<What>(event.what)) found.push_back(&event);
        }
        return found;
    }
    // What was remarked of the guest, in order; not what the engine hides.
    std::vector<std::string> remarks() const;
    // The writes of the hypercall MSR, in order.
    std::vector<const HypercallPageWrite*> page_writes() const;

  private:
    struct Range {
        mmu::GuestPhysical start;
        std::vector<std::byte> bytes;
    };

    GuestMode mode_;
    std::string_view engine_;
    bool sees_writes_;
    std::function<void(std::uint8_t)> debug_listener_;
    std::unique_ptr<Machine> machine_;
    std::vector<Range> remembered_;
};

// The debug console's port.
inline constexpr std::uint8_t debug_port = 0xe9;

}  // namespace xenolith::machine::test
