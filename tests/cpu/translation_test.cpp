// What the translations that a CPU keeps show of a table that has changed (SDM vol. 3A, 4.10).
#include <gtest/gtest.h>

#include "tests/cpu/system_guest.hpp"

namespace xenolith::test {
namespace {

using namespace cpu;

using Guest = SystemGuest;

constexpr unsigned page_fault = 14;
// The page directory of SystemGuest, and the entry for the second 2 MiB, which these tests map to the first again.
constexpr std::uint64_t second_entry = 0xf2008, second_page = 0x200000;
constexpr std::uint64_t present_large = 0x87;

TEST(Translations, InvlpgDropsALargePageWhole) {
    Guest guest(Start::kernel64);
    guest.write(second_entry, present_large);
    guest.run({0x8b, 0x04, 0x25, 0x00, 0x00, 0x22, 0x00,                          // mov eax, [220000h]
               0x8b, 0x04, 0x25, 0x00, 0x10, 0x22, 0x00,                          // mov eax, [221000h]
               0xc7, 0x04, 0x25, 0x08, 0x20, 0x0f, 0x00, 0x00, 0x00, 0x00, 0x00,  // mov dword [f2008h], 0
               0x0f, 0x01, 0x3c, 0x25, 0x00, 0x00, 0x22, 0x00,                    // invlpg [220000h]
               0x8b, 0x04, 0x25, 0x00, 0x10, 0x22, 0x00});                        // mov eax, [221000h]
    EXPECT_EQ(guest.vector(), static_cast<int>(page_fault));
    EXPECT_EQ(guest.state.cr2, second_page + 0x21000);
}

// The page is cached for reading; a write walks, and finds it gone. The handler reads it.
TEST(Translations, APageFaultDropsItsPage) {
    Guest guest(Start::kernel64);
    guest.write(second_entry, present_large);
    guest.place(guest.handler(page_fault), {0xff, 0xc1,                                // inc ecx
                                            0xf6, 0xc1, 0x02, 0x74, 0x01,              // test cl, 2; jz
                                            0xf4,                                      // hlt
                                            0x8b, 0x04, 0x25, 0x00, 0x00, 0x22, 0x00,  // mov eax, [220000h]
                                            0xf4});
    guest.state.registers[rcx] = 0;
    guest.run({0x8b, 0x04, 0x25, 0x00, 0x00, 0x22, 0x00,                          // mov eax, [220000h]
               0xc7, 0x04, 0x25, 0x08, 0x20, 0x0f, 0x00, 0x00, 0x00, 0x00, 0x00,  // mov dword [f2008h], 0
               0x89, 0x04, 0x25, 0x00, 0x00, 0x22, 0x00});                        // mov [220000h], eax
    EXPECT_EQ(guest.state.registers[rcx], 2u) << "the handler's read found a page that is not there";
}

// As Intel's processors do: no page is where these operands begin, and yet it is not a page fault.
TEST(Translations, AnOperandThatLeavesTheCanonicalAddressesIsNoPageFault) {
    struct Case {
        std::initializer_list<unsigned> bytes;
        int vector;
    };
    constexpr int not_canonical = 13, not_canonical_stack = 12;
    const Case cases[] = {
        {{0x48, 0x8b, 0x03}, not_canonical},                 // mov rax, [rbx]
        {{0x48, 0x89, 0x03}, not_canonical},                 // mov [rbx], rax
        {{0x48, 0x83, 0x03, 0x01}, not_canonical},           // add qword [rbx], 1
        {{0x0f, 0x10, 0x03}, not_canonical},                 // movups xmm0, [rbx]
        {{0x0f, 0x11, 0x03}, not_canonical},                 // movups [rbx], xmm0
        {{0x48, 0x89, 0xdc, 0x58}, not_canonical_stack},     // mov rsp, rbx; pop rax
        {{0x8b, 0x03}, static_cast<int>(page_fault)},        // mov eax, [rbx]
        {{0xd9, 0x63, 0xf8}, static_cast<int>(page_fault)},  // fldenv [rbx - 8]
    };
    for (const Case& test : cases) {
        Guest guest(Start::kernel64);
        guest.state.cr4 |= cr4::osfxsr;
        guest.state.registers[rbx] = 0x7ffffffffffc;
        // The stack of a fault that has none: IST1.
        for (const unsigned vector : {12u, 13u, page_fault})
            guest.interrupt_gate(vector, Guest::gate(0x8e, Guest::code64, guest.handler(vector), 1));
        guest.run(test.bytes);
        EXPECT_EQ(guest.vector(), test.vector) << testing::PrintToString(test.bytes);
    }
}

struct Invalidation {
    std::uint64_t type;
    std::uint64_t context;  // bits 63:0 of the descriptor
    std::uint64_t linear;
    bool with_contexts;  // CR4.PCIDE
    bool accepted;
};

// SDM vol. 2A, INVPCID.
TEST(Translations, InvpcidRefusesWhatIsReserved) {
    constexpr std::uint64_t not_canonical = std::uint64_t{1} << 47;
    constexpr Invalidation all[] = {
        {0, 0, 0, false, true},
        {1, 0, not_canonical, false, true},
        {2, 0, not_canonical, false, true},
        {3, 0, not_canonical, false, true},
        {4, 0, 0, false, false},
        {std::uint64_t{1} << 32, 0, 0, false, false},
        {0, 0, not_canonical, false, false},
        {0, 1, 0, false, false},
        {1, 1, 0, false, false},
        {2, 1, 0, false, true},
        {3, 1, 0, false, true},
        {0, 0xfff, 0, true, true},
        {1, 0xfff, 0, true, true},
        {0, 0x1000, 0, true, false},
        {1, 0x1000, 0, true, false},
        {2, 0x1000, 0, true, false},
        {3, std::uint64_t{1} << 63, 0, false, false},
    };
    for (const Invalidation& each : all) {
        Guest guest(Start::kernel64);
        guest.write(Guest::data, each.context);
        guest.write(Guest::data + 8, each.linear);
        if (each.with_contexts) guest.state.cr4 |= cr4::pcide;
        guest.state.registers[rax] = each.type;
        guest.state.registers[rbx] = Guest::data;
        guest.run({0x66, 0x0f, 0x38, 0x82, 0x03, 0xf4});  // invpcid rax, [rbx]
        EXPECT_EQ(guest.vector(), each.accepted ? -1 : 13) << std::hex << each.type << " " << each.context;
    }
}

}  // namespace
}  // namespace xenolith::test
