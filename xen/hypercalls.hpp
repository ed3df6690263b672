// Hypercalls as Xen numbers and names them: the table, the calling convention, and how a call reads.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mmu/address.hpp"

namespace xenolith::xen {

class Domain;

// Guest memory as a hypercall's pointers mean it: guest-linear addresses, translated by the calling vCPU's
// page tables.
class GuestLinearMemory {
  public:
    virtual ~GuestLinearMemory() = default;
    // False if any byte is not mapped or not permitted; nothing may then have been copied.
    virtual bool read(mmu::GuestLinear address, std::span<std::byte> to) = 0;
    virtual bool write(mmu::GuestLinear address, std::span<const std::byte> from) = 0;
};

// What a hypercall needs to know of a vCPU.
struct HypercallRegisters {
    std::array<std::uint64_t, 16> general{};  // in encoding order: RAX RCX RDX RBX RSP RBP RSI RDI R8..R15
    bool long_mode_code = false;              // 64-bit code: CS.L = 1 and EFER.LMA = 1
    unsigned cpl = 0;                         // 0..3
    bool vm86 = false;
};

// A call, decoded (Xen docs/guest-guide/x86/hypercall-abi.rst). 64-bit code passes RDI RSI RDX R10 R8 R9, all
// other code EBX ECX EDX ESI EDI EBP; the upper halves of the latter are ignored.
struct Hypercall {
    unsigned vcpu = 0;
    std::uint64_t number = 0;
    std::array<std::uint64_t, 6> arguments{};
    bool long_mode_code = false;
    unsigned cpl = 0;  // 3 in VM86

    bool permitted() const { return cpl == 0; }
};

// The number is in RAX (64-bit code) or EAX.
Hypercall decode_hypercall(unsigned vcpu, const HypercallRegisters& registers);
// The same with a number that came by another way: a doorbell's OUT carries it.
Hypercall decode_hypercall(unsigned vcpu, const HypercallRegisters& registers, std::uint64_t number);

// The value for RAX: 64-bit code gets the whole result, other code 32 bits of it.
std::uint64_t result_register(const Hypercall& call, std::int64_t result);

// A name for a value of a hypercall's first argument.
struct Subcommand {
    std::uint32_t value;
    std::string_view name;
};

using HypercallHandler = std::int64_t (Domain::*)(const Hypercall&, GuestLinearMemory&);

struct HypercallRow {
    std::uint32_t number;
    std::string_view name;      // as in Xen's public/xen.h, without __HYPERVISOR_
    std::uint8_t arguments_64;  // how many arguments a caller in 64-bit code passes
    std::uint8_t arguments_32;
    std::span<const Subcommand> subcommands;  // empty if the first argument is no command
    HypercallHandler handler;                 // null: refused with -ENOSYS
};

// Every number that Xen has named, 0..55, in ascending order.
std::span<const HypercallRow> hypercall_table();
// Null for a number without a row.
const HypercallRow* find_hypercall(std::uint64_t number);
// The row's name, or empty.
std::string_view hypercall_name(std::uint64_t number);

// One string per argument: the subcommand by name, numbers below 4096 in decimal, others in hexadecimal.
std::vector<std::string> format_arguments(const Hypercall& call);
// "xen_version(XENVER_get_features, 0xffffffff82803e50)"; "hypercall 99(...)" for a number without a row.
std::string format_hypercall(const Hypercall& call);
// "-ENOSYS", "0", "0x40011".
std::string format_result(std::int64_t result);

}  // namespace xenolith::xen
