// The calls answered so far (Xen public/version.h, sched.h; xen/common/kernel.c and sched for what is
// refused). Every pointer is the guest's: a failed access is -EFAULT, and nothing of a call happens before
// its input is read.
#include "xen/domain.hpp"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "mmu/address.hpp"
#include "xen/error_numbers.hpp"

namespace xenolith::xen {
namespace {

enum VersionCommand : std::uint64_t {
    version,
    extra_version,
    compile_info,
    capabilities,
    changeset,
    platform_parameters,
    get_features,
    page_size,
    guest_handle,
    command_line,
    build_id,
};
enum ConsoleCommand : std::uint64_t { console_write };
enum SchedulerCommand : std::uint64_t { yield = 0, shutdown = 2 };

// Commands and counts are C ints in Xen: their upper halves do not count.
std::uint32_t as_int(std::uint64_t argument) { return static_cast<std::uint32_t>(argument); }

// The text in a field of fixed size, cut if need be, zero to the end, and always ending in a zero.
void put_text(std::span<std::byte> field, std::string_view text) {
    std::fill(field.begin(), field.end(), std::byte{0});
    std::memcpy(field.data(), text.data(), std::min(text.size(), field.size() - 1));
}

std::int64_t give(GuestLinearMemory& memory, std::uint64_t pointer, std::span<const std::byte> bytes) {
    return memory.write(mmu::GuestLinear{pointer}, bytes) ? 0 : -error_number::efault;
}

std::int64_t give_text(GuestLinearMemory& memory, std::uint64_t pointer, std::size_t size, std::string_view text) {
    std::vector<std::byte> field(size);
    put_text(field, text);
    return give(memory, pointer, field);
}

}  // namespace

std::string_view shutdown_reason_name(ShutdownReason reason) {
    constexpr std::string_view names[] = {"poweroff", "reboot",     "suspend", "crash",
                                          "watchdog", "soft_reset", "unknown"};
    return names[static_cast<unsigned>(reason)];
}

Domain::Domain(DomainIdentity identity, DomainCallbacks callbacks)
    : identity_(std::move(identity)), callbacks_(std::move(callbacks)) {}

HypercallAnswer Domain::answer(const Hypercall& call, GuestLinearMemory& memory) {
    HypercallAnswer answer;
    answer.call = call;
    const HypercallRow* row = find_hypercall(call.number);
    if (!call.permitted()) {
        answer.result = -error_number::eperm;
        answer.refusal = "the caller runs at CPL " + std::to_string(call.cpl) + ", and hypercalls need CPL 0";
    } else if (row == nullptr) {
        answer.result = -error_number::enosys;
        answer.refusal = "Xen has no hypercall " + std::to_string(call.number);
    } else if (row->handler == nullptr) {
        answer.result = -error_number::enosys;
        answer.refusal = std::string(row->name) + " is not implemented";
    } else {
        answer.result = (this->*row->handler)(call, memory);
        answer.handled = true;
    }
    answer.rax = result_register(call, answer.result);
    return answer;
}

std::int64_t Domain::xen_version(const Hypercall& call, GuestLinearMemory& memory) {
    const std::uint64_t pointer = call.arguments[1];
    switch (as_int(call.arguments[0])) {
        case version: return std::int64_t{identity_.major_version} << 16 | identity_.minor_version;
        case extra_version: return give_text(memory, pointer, 16, identity_.extra_version);
        case compile_info: {
            std::array<std::byte, 64 + 16 + 32 + 32> information;
            const std::span<std::byte> all(information);
            put_text(all.subspan(0, 64), identity_.compiler);
            put_text(all.subspan(64, 16), identity_.compiled_by);
            put_text(all.subspan(80, 32), identity_.compile_domain);
            put_text(all.subspan(112, 32), identity_.compile_date);
            return give(memory, pointer, information);
        }
        case capabilities: return give_text(memory, pointer, 1024, identity_.capabilities);
        case changeset: return give_text(memory, pointer, 64, identity_.changeset);
        case platform_parameters: {
            // An unsigned long of the caller's: where Xen's own address range begins. 32-bit HVM callers get
            // 0.
            const std::uint64_t start = call.long_mode_code ? 0xffff'8000'0000'0000 : 0;
            std::array<std::byte, 8> bytes;
            std::memcpy(bytes.data(), &start, sizeof start);
            return give(memory, pointer, std::span(bytes).first(call.long_mode_code ? 8 : 4));
        }
        case get_features: {
            struct {
                std::uint32_t submap_index;
                std::uint32_t submap;
            } information;
            std::array<std::byte, sizeof information> bytes;
            if (!memory.read(mmu::GuestLinear{pointer}, bytes)) return -error_number::efault;
            std::memcpy(&information, bytes.data(), sizeof information);
            if (information.submap_index != 0) return -error_number::einval;
            information.submap = identity_.features;
            std::memcpy(bytes.data(), &information, sizeof information);
            return give(memory, pointer, bytes);
        }
        case page_size: return pointer == 0 ? static_cast<std::int64_t>(mmu::page_size) : -error_number::einval;
        case guest_handle: return give(memory, pointer, identity_.handle);
        case command_line: return give_text(memory, pointer, 1024, identity_.command_line);
        case build_id: return -error_number::eperm;  // for privileged domains
        default: return -error_number::enosys;
    }
}

std::int64_t Domain::console_io(const Hypercall& call, GuestLinearMemory& memory) {
    if (as_int(call.arguments[0]) != console_write) return -error_number::enosys;
    const std::uint64_t count = as_int(call.arguments[1]);
    if (count > maximum_console_write) return -error_number::einval;
    std::vector<std::byte> bytes(count);
    if (!memory.read(mmu::GuestLinear{call.arguments[2]}, bytes)) return -error_number::efault;
    if (callbacks_.console_write) {
        callbacks_.console_write({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    }
    return 0;
}

std::int64_t Domain::sched_op(const Hypercall& call, GuestLinearMemory& memory) {
    switch (as_int(call.arguments[0])) {
        case yield:
            if (callbacks_.yield) callbacks_.yield(call.vcpu);
            return 0;
        case shutdown: {
            std::array<std::byte, 4> reason;
            if (!memory.read(mmu::GuestLinear{call.arguments[1]}, reason)) return -error_number::efault;
            // Xen keeps the low byte of the 32-bit reason.
            const auto code =
                std::min(std::to_integer<std::uint8_t>(reason[0]), static_cast<std::uint8_t>(ShutdownReason::unknown));
            if (callbacks_.shutdown) callbacks_.shutdown(call.vcpu, static_cast<ShutdownReason>(code));
            return 0;
        }
        default: return -error_number::enosys;
    }
}

}  // namespace xenolith::xen
