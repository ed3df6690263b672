// The trap: a WRMSR of the configured index copies one blob page into guest memory, as KVM does.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "mmu/guest_memory.hpp"
#include "xen/blob_memory.hpp"
#include "xen/hvm_config.hpp"
#include "xen/hypercall_page.hpp"
#include "xen/profile.hpp"

namespace xenolith::xen {

enum class Initiator : std::uint8_t {
    guest,  // a WRMSR instruction
    host,   // KVM_SET_MSRS
};

// A write of any MSR, as a CPU at CPL 0 is about to make it. CPL > 0 and VM86 have already got their #GP.
struct MsrWrite {
    unsigned vcpu = 0;
    std::uint32_t index = 0;        // ECX
    std::uint64_t value = 0;        // EDX:EAX, whatever the mode
    bool long_mode_active = false;  // EFER.LMA, so also in compatibility code
    bool cpu_implements = false;    // the CPU has an MSR of its own at this index
    Initiator initiator = Initiator::guest;
};

enum class WriteResult : std::uint8_t {
    not_ours,            // the CPU goes on with the write as if there were no trap
    copied,              // the page is in guest memory; the instruction is complete
    general_protection,  // #GP(0) at the WRMSR; guest memory and registers are as they were
    run_failed,          // KVM_RUN fails with `error`; the guest still stands before the WRMSR
};

enum class PageSource : std::uint8_t { none, blob_32, blob_64, generated };

struct WriteOutcome {
    WriteResult result = WriteResult::not_ours;
    int error = 0;  // positive errno, if run_failed
    MsrWrite write;
    mmu::GuestPhysical address;  // value with its low 12 bits clear
    std::uint32_t index = 0;     // the page index: the low 12 bits of value
    PageSource source = PageSource::none;
    std::uint64_t blob_address = 0;  // user address of the page chosen, if it came from a blob
    std::string reason;              // one line: why this source was chosen, and why the write failed if it did

    bool ours() const { return result != WriteResult::not_ours; }
    // The blob the guest's mode asks for, 32 or 64, whatever the source.
    unsigned blob_width() const { return write.long_mode_active ? 64 : 32; }
    // "copied", "#GP", or the errno's name, such as "EFAULT"; "not ours".
    std::string_view result_name() const;
};

class TrapCore {
  public:
    // `instruction` is what generated pages contain: KVM takes the host CPU's own.
    TrapCore(const Profile& profile, mmu::GuestMemory& memory, const BlobMemory& blobs,
             HypercallInstruction instruction = HypercallInstruction::vmcall);

    // The ioctl: 0, or a positive errno (EINVAL). May be called at any time between two instructions.
    int configure(const HvmConfig& config);
    const HvmConfig& config() const { return config_; }
    const Profile& profile() const { return profile_; }

    // Whether a write of this index must be offered to write_msr: for engines that decide once per index.
    bool watches(std::uint32_t index, bool cpu_implements) const;
    WriteOutcome write_msr(const MsrWrite& write);
    // RDMSR of the index never reaches the trap: it is the CPU's to answer, which makes it #GP(0) for an
    // index that the CPU does not implement. (Xen itself would read 0.) Always empty.
    std::optional<std::uint64_t> read_msr(std::uint32_t) const { return std::nullopt; }

    // INTERCEPT_HCALL is in force: VMCALL and VMMCALL exit with KVM_EXIT_XEN, and pages are generated.
    bool intercepts_hypercalls() const;
    // The layout of shared_info, as the last write latched it; empty before the first, and in profiles
    // without latch.
    std::optional<bool> latched_long_mode() const { return latched_long_mode_; }
    void restore_latch(std::optional<bool> long_mode) { latched_long_mode_ = long_mode; }

  private:
    WriteOutcome fail(WriteOutcome outcome, WriteResult result, int error, const std::string& why) const;
    std::string describe_unwritable(mmu::GuestPhysical address) const;

    const Profile& profile_;
    mmu::GuestMemory& memory_;
    const BlobMemory& blobs_;
    HypercallInstruction instruction_;
    HvmConfig config_;
    std::optional<bool> latched_long_mode_;
};

}  // namespace xenolith::xen
