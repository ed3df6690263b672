// The domain that answers hypercalls: who it says it is, and the few calls it knows so far.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "xen/hypercalls.hpp"

namespace xenolith::xen {

// Bits of xen_version's XENVER_get_features, submap 0 (Xen public/features.h).
namespace feature {
inline constexpr std::uint32_t writable_page_tables = 1u << 0;
inline constexpr std::uint32_t auto_translated_physmap = 1u << 2;
inline constexpr std::uint32_t hvm_callback_vector = 1u << 8;
inline constexpr std::uint32_t hvm_safe_pvclock = 1u << 9;
inline constexpr std::uint32_t hvm_pirqs = 1u << 10;
inline constexpr std::uint32_t memory_op_vnode_supported = 1u << 13;
inline constexpr std::uint32_t not_direct_mapped = 1u << 16;
}  // namespace feature

// What xen_version tells. Strings longer than their field in Xen's structures are cut.
struct DomainIdentity {
    std::uint16_t major_version = 4;
    std::uint16_t minor_version = 17;
    std::string extra_version = ".0-xenolith";                                    // at most 15 characters
    std::string compiler = "gcc";                                                 // at most 63
    std::string compiled_by = "xenolith";                                         // at most 15
    std::string compile_domain = "";                                              // at most 31
    std::string compile_date = "";                                                // at most 31
    std::string capabilities = "hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 ";  // at most 1023
    std::string changeset = "unavailable";                                        // at most 63
    std::string command_line = "<denied>";  // at most 1023; Xen tells an ordinary domain no more than this
    std::uint32_t features = feature::writable_page_tables | feature::auto_translated_physmap |
                             feature::hvm_callback_vector | feature::hvm_safe_pvclock |
                             feature::memory_op_vnode_supported | feature::not_direct_mapped;
    std::array<std::byte, 16> handle{};  // the domain's UUID
};

// Why a guest stops (Xen public/sched.h).
enum class ShutdownReason : std::uint8_t { power_off, reboot, suspend, crash, watchdog, soft_reset, unknown };
std::string_view shutdown_reason_name(ShutdownReason reason);  // "poweroff", "reboot", ...

// What the domain asks of the machine around it. Functions left empty are not called.
struct DomainCallbacks {
    std::function<void(std::string_view bytes)> console_write;  // console_io(CONSOLEIO_write)
    std::function<void(unsigned vcpu)> yield;                   // sched_op(SCHEDOP_yield)
    std::function<void(unsigned vcpu, ShutdownReason reason)> shutdown;
};

struct HypercallAnswer {
    Hypercall call;
    std::int64_t result = 0;  // as Xen returns it: a negative errno on failure
    std::uint64_t rax = 0;    // result_register(call, result)
    bool handled = false;     // a handler ran; false: refused before one could
    std::string refusal;      // why it was refused, in words; empty if a handler ran
};

class Domain {
  public:
    explicit Domain(DomainIdentity identity = {}, DomainCallbacks callbacks = {});

    // Answers one call: -EPERM if not permitted, -ENOSYS for a number without a handler, else what the
    // handler says. The caller puts `rax` into RAX and steps over the instruction.
    HypercallAnswer answer(const Hypercall& call, GuestLinearMemory& memory);

    const DomainIdentity& identity() const { return identity_; }

    // The handlers, one per row of the hypercall table that is answered. Results as in HypercallAnswer.
    std::int64_t xen_version(const Hypercall& call, GuestLinearMemory& memory);
    std::int64_t console_io(const Hypercall& call, GuestLinearMemory& memory);
    std::int64_t sched_op(const Hypercall& call, GuestLinearMemory& memory);

    // console_io refuses to write more than this at once (-EINVAL): no guest may hold the host for long.
    static constexpr std::uint64_t maximum_console_write = std::uint64_t{1} << 20;  // bytes

  private:
    DomainIdentity identity_;
    DomainCallbacks callbacks_;
};

}  // namespace xenolith::xen
