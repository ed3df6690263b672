// How one WRMSR becomes a page.
//
// KVM's order of steps is kept, because it decides which of two things that are wrong gets seen:
//   1. Is the write ours: index configured and not 0, wins or loses against the CPU's own MSR, made by whom.
//   2. The long-mode latch (5.12 on), which survives a failure of every later step.
//   3. The page index against the blob's size (or against 0 for a generated page): #GP.
//   4. The blob page from user memory: #GP or EFAULT. It is read now: a blob changed since is seen changed.
//   5. The guest page, which must be RAM: #GP.
// Steps 3 to 5 are checked before a byte is written, and the page is written in one piece: a failed write
// leaves guest memory untouched. (KVM writes a generated page slot by slot, but all slots lie in one page and
// fail together.)
//
// "Long mode" is EFER.LMA, so compatibility code gets the 64-bit blob (api.rst 4.27; is_long_mode in KVM).
#include "xen/trap_core.hpp"

#include <cstdio>

#include "xen/error_numbers.hpp"

namespace xenolith::xen {
namespace {

std::string hex(std::uint64_t value) {
    char text[2 + 16 + 1];
    std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
    return text;
}

bool any_blob_field(const HvmConfig& config) {
    return config.blob_addr_32 != 0 || config.blob_addr_64 != 0 || config.blob_size_32 != 0 || config.blob_size_64 != 0;
}

}  // namespace

std::string_view WriteOutcome::result_name() const {
    switch (result) {
        case WriteResult::not_ours: return "not ours";
        case WriteResult::copied: return "copied";
        case WriteResult::general_protection: return "#GP";
        case WriteResult::run_failed: return error_name(error);
    }
    return {};
}

TrapCore::TrapCore(const Profile& profile, mmu::GuestMemory& memory, const BlobMemory& blobs,
                   HypercallInstruction instruction)
    : profile_(profile), memory_(memory), blobs_(blobs), instruction_(instruction) {}

int TrapCore::configure(const HvmConfig& config) {
    const bool intercept = (config.flags & hvm_config_flag::intercept_hcall) != 0;
    const bool index_outside = config.msr != 0 && (config.msr < minimum_xen_msr || config.msr > maximum_xen_msr);
    const bool refused = (config.flags & ~profile_.flags_allowed) != 0 || (intercept && any_blob_field(config)) ||
                         (profile_.index_must_be_synthetic && index_outside);
    if (!refused || profile_.refused_config_is_live) config_ = config;
    return refused ? error_number::einval : 0;
}

bool TrapCore::intercepts_hypercalls() const {
    // The mask matters where a refused configuration is live: that kernel ignores the flag.
    return config_.msr != 0 && (config_.flags & profile_.flags_allowed & hvm_config_flag::intercept_hcall) != 0;
}

bool TrapCore::watches(std::uint32_t index, bool cpu_implements) const {
    return config_.msr != 0 && index == config_.msr && (profile_.before_cpu_msrs || !cpu_implements);
}

WriteOutcome TrapCore::fail(WriteOutcome outcome, WriteResult result, int error, const std::string& why) const {
    outcome.result = result;
    outcome.error = error;
    outcome.reason += outcome.reason.empty() ? why : "; " + why;
    return outcome;
}

std::string TrapCore::describe_unwritable(mmu::GuestPhysical address) const {
    const std::string page = "guest page " + hex(address.value) + " is not writable RAM: ";
    const mmu::Region* region = memory_.find(address);
    if (region == nullptr) return page + "there is nothing at that address";
    switch (region->kind) {
        case mmu::RegionKind::rom: return page + "it is read-only memory (" + region->name + ")";
        case mmu::RegionKind::device: return page + "it belongs to a device (" + region->name + ")";
        case mmu::RegionKind::ram: break;
    }
    return page + "it could not be written";
}

WriteOutcome TrapCore::write_msr(const MsrWrite& write) {
    WriteOutcome outcome;
    outcome.write = write;
    outcome.address = mmu::GuestPhysical{write.value}.page();
    outcome.index = static_cast<std::uint32_t>(write.value & mmu::page_mask);

    if (config_.msr == 0) {
        outcome.reason = "the trap is off";
        return outcome;
    }
    if (write.index != config_.msr) {
        outcome.reason = "the trap is on MSR " + hex(config_.msr);
        return outcome;
    }
    if (!watches(write.index, write.cpu_implements)) {
        outcome.reason = "the CPU implements this MSR itself, and " + std::string(profile_.name) + " asks it first";
        return outcome;
    }
    if (write.initiator == Initiator::host && !profile_.host_write_triggers) {
        outcome.reason = "written by the host, which " + std::string(profile_.name) + " does not count";
        return outcome;
    }

    if (profile_.latches_long_mode) latched_long_mode_ = write.long_mode_active;

    HypercallPage page;
    if (intercepts_hypercalls()) {
        outcome.source = PageSource::generated;
        outcome.reason = "INTERCEPT_HCALL: a generated page of " + std::string(instruction_name(instruction_));
        if (outcome.index != 0) {
            return fail(std::move(outcome), WriteResult::general_protection, 0,
                        "a generated page has index 0, not " + std::to_string(write.value & mmu::page_mask));
        }
        page = generated_page(instruction_);
    } else {
        const bool wide = write.long_mode_active;
        const std::uint8_t size = wide ? config_.blob_size_64 : config_.blob_size_32;
        outcome.source = wide ? PageSource::blob_64 : PageSource::blob_32;
        outcome.reason = wide ? "EFER.LMA = 1: the 64-bit blob" : "EFER.LMA = 0: the 32-bit blob";
        if (outcome.index >= size) {
            const std::string why = "index " + std::to_string(outcome.index) + " is not below the blob's " +
                                    std::to_string(size) + (size == 1 ? " page" : " pages");
            return fail(std::move(outcome), WriteResult::general_protection, 0, why);
        }
        // Arithmetic on user addresses wraps, as the kernel's does; reading decides what that means.
        outcome.blob_address = (wide ? config_.blob_addr_64 : config_.blob_addr_32) + outcome.index * mmu::page_size;
        if (!blobs_.read(outcome.blob_address, page)) {
            const bool run_fails = profile_.unreadable_blob == UnreadableBlob::run_fails;
            const std::string why = "the blob's page " + std::to_string(outcome.index) +
                                    " cannot be read at user address " + hex(outcome.blob_address);
            return fail(std::move(outcome), run_fails ? WriteResult::run_failed : WriteResult::general_protection,
                        run_fails ? error_number::efault : 0, why);
        }
    }

    if (!memory_.write(outcome.address, page)) {
        const std::string why = describe_unwritable(outcome.address);
        return fail(std::move(outcome), WriteResult::general_protection, 0, why);
    }
    outcome.result = WriteResult::copied;
    return outcome;
}

}  // namespace xenolith::xen
