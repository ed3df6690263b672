#include "xen/hypercall_page.hpp"

#include <algorithm>
#include <initializer_list>

namespace xenolith::xen {
namespace {

constexpr std::byte fill{0xcc};  // INT3: a call into nowhere is noticed
constexpr std::uint32_t iret_number = 23;

void put(HypercallPage& page, std::size_t slot, std::initializer_list<unsigned> bytes) {
    std::transform(bytes.begin(), bytes.end(), page.begin() + static_cast<std::ptrdiff_t>(slot * slot_size),
                   [](unsigned byte) { return static_cast<std::byte>(byte & 0xff); });
}

void put_call(HypercallPage& page, std::size_t slot, std::uint32_t number, HypercallInstruction instruction) {
    const unsigned modrm = instruction == HypercallInstruction::vmcall ? 0xc1 : 0xd9;
    // mov eax, number; vmcall or vmmcall; ret
    put(page, slot, {0xb8, number, number >> 8, number >> 16, number >> 24, 0x0f, 0x01, modrm, 0xc3});
}

void put_doorbell(HypercallPage& page, std::size_t slot, std::uint32_t number) {
    // mov al, low; mov ah, high; movzx eax, ax; out port, eax; ret
    put(page, slot, {0xb0, number, 0xb4, number >> 8, 0x0f, 0xb7, 0xc0, 0xe7, doorbell::port, 0xc3});
}

}  // namespace

std::optional<StubKind> find_stub_kind(std::string_view name) {
    for (const StubKind kind : {StubKind::vmcall, StubKind::vmmcall, StubKind::doorbell}) {
        if (stub_kind_name(kind) == name) return kind;
    }
    return std::nullopt;
}

HypercallPage built_in_page(StubKind kind, unsigned page_index) {
    HypercallPage page;
    page.fill(fill);
    for (std::size_t slot = 0; slot < slots_per_page; ++slot) {
        const auto number = static_cast<std::uint32_t>(page_index * slots_per_page + slot);
        if (number == iret_number) {
            put(page, slot, {0x0f, 0x0b});  // ud2
            continue;
        }
        switch (kind) {
            case StubKind::vmcall: put_call(page, slot, number, HypercallInstruction::vmcall); break;
            case StubKind::vmmcall: put_call(page, slot, number, HypercallInstruction::vmmcall); break;
            case StubKind::doorbell: put_doorbell(page, slot, number); break;
        }
    }
    return page;
}

HypercallPage generated_page(HypercallInstruction instruction) {
    HypercallPage page;
    page.fill(fill);
    for (std::uint32_t slot = 0; slot < slots_per_page; ++slot) put_call(page, slot, slot, instruction);
    return page;
}

}  // namespace xenolith::xen
