// The hypercall page: what its stubs are made of, in Xen's own form, in KVM's, and with a doorbell.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "mmu/address.hpp"

namespace xenolith::xen {

// Slot i starts at byte 32 * i; a page has 128 of them (Xen docs/guest-guide/x86/hypercall-abi.rst).
inline constexpr std::size_t slot_size = 32;
inline constexpr std::size_t slots_per_page = mmu::page_size / slot_size;
// Numbers continue from page to page: slot s of page p calls hypercall 128 * p + s.

using HypercallPage = std::array<std::byte, mmu::page_size>;

// The instruction that leaves the guest: Intel's, or AMD's.
enum class HypercallInstruction : std::uint8_t { vmcall, vmmcall };
inline constexpr unsigned hypercall_instruction_length = 3;  // 0f 01 c1, 0f 01 d9
constexpr std::string_view instruction_name(HypercallInstruction instruction) {
    return instruction == HypercallInstruction::vmcall ? "vmcall" : "vmmcall";
}

// The doorbell: a stub that leaves through an OUT, which reaches the host on any KVM, and on any emulator.
//
//     b0 lo     mov   al, number & 0xff
//     b4 hi     mov   ah, number >> 8
//     0f b7 c0  movzx eax, ax
//     e7 e0     out   0xe0, eax
//     c3        ret
//
// - The same ten bytes mean the same in 16-, 32- and 64-bit code. `mov eax, imm32` does not: 16-bit code
//   takes two bytes of it as the next instruction, an ADD to memory.
// - They change RAX alone: no flags, and no argument register. That is why the port is one that an 8-bit
//   immediate can name; any other would need DX, which is a hypercall's third argument.
// - The value written is the hypercall's number. 32- and 64-bit code writes 4 bytes, 16-bit code 2 (movzx is
//   then a MOV of AX to itself, and OUT takes AX). Arguments are in their registers, by the ABI of the mode.
// - The host answers in RAX before the next instruction starts. As with any other way in, it answers -EPERM
//   (-1) if CPL > 0 or in VM86; usually the OUT itself faults there, because of IOPL.
// - Ports 0xe0..0xe3 (a 4-byte OUT covers four) belonged to the Micro Channel of the PS/2. No PCI-era chipset
//   decodes them, and neither does the debug console (0xe9), a delay port (0xeb, 0xed) or debug-exit (0xf4).
namespace doorbell {
inline constexpr std::uint16_t port = 0xe0;
inline constexpr std::uint16_t ports = 4;
}  // namespace doorbell

enum class StubKind : std::uint8_t { vmcall, vmmcall, doorbell };
constexpr std::string_view stub_kind_name(StubKind kind) {
    constexpr std::string_view names[] = {"vmcall", "vmmcall", "doorbell"};
    return names[static_cast<unsigned>(kind)];
}
std::optional<StubKind> find_stub_kind(std::string_view name);

// Page `page_index` (0..254) of a built-in blob, laid out as Xen lays out its own: 0xcc everywhere, a stub at
// every slot, and UD2 in the slot of iret (23), which an HVM guest has no use for.
// vmcall and vmmcall are Xen's own bytes, `mov eax, imm32; vmcall; ret`, and so not meant for 16-bit code.
HypercallPage built_in_page(StubKind kind, unsigned page_index = 0);

// The page that KVM generates itself in INTERCEPT_HCALL mode: the same, but iret's slot is an ordinary stub.
HypercallPage generated_page(HypercallInstruction instruction);

}  // namespace xenolith::xen
