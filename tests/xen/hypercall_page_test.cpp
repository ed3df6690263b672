// The bytes of hypercall pages.
#include "xen/hypercall_page.hpp"

#include <gtest/gtest.h>

#include "xen/blob.hpp"

namespace xenolith::xen {
namespace {

std::string slot_bytes(const HypercallPage& page, std::size_t slot, std::size_t count) {
    return hex_bytes(std::span(page).subspan(slot * slot_size, count));
}

bool is_fill(const HypercallPage& page, std::size_t slot, std::size_t from) {
    for (std::size_t i = from; i < slot_size; ++i) {
        if (page[slot * slot_size + i] != std::byte{0xcc}) return false;
    }
    return true;
}

struct Stub {
    StubKind kind;
    unsigned page;
    std::size_t slot;
    std::string_view bytes;
};

TEST(HypercallPage, HoldsTheStubsOfItsKind) {
    const Stub rows[] = {
        {StubKind::vmcall, 0, 0, "b8 00 00 00 00 0f 01 c1 c3"},
        {StubKind::vmcall, 0, 17, "b8 11 00 00 00 0f 01 c1 c3"},
        {StubKind::vmcall, 0, 23, "0f 0b"},
        {StubKind::vmcall, 0, 127, "b8 7f 00 00 00 0f 01 c1 c3"},
        {StubKind::vmcall, 1, 0, "b8 80 00 00 00 0f 01 c1 c3"},
        {StubKind::vmcall, 1, 23, "b8 97 00 00 00 0f 01 c1 c3"},
        {StubKind::vmmcall, 0, 34, "b8 22 00 00 00 0f 01 d9 c3"},
        {StubKind::vmmcall, 0, 23, "0f 0b"},
        {StubKind::vmmcall, 254, 127, "b8 7f 7f 00 00 0f 01 d9 c3"},
        {StubKind::doorbell, 0, 17, "b0 11 b4 00 0f b7 c0 e7 e0 c3"},
        {StubKind::doorbell, 0, 23, "0f 0b"},
        {StubKind::doorbell, 2, 5, "b0 05 b4 01 0f b7 c0 e7 e0 c3"},
    };
    for (const Stub& row : rows) {
        SCOPED_TRACE(std::string(stub_kind_name(row.kind)) + " page " + std::to_string(row.page) + " slot " +
                     std::to_string(row.slot));
        const HypercallPage page = built_in_page(row.kind, row.page);
        const std::size_t size = (row.bytes.size() + 1) / 3;
        EXPECT_EQ(slot_bytes(page, row.slot, size), row.bytes);
        EXPECT_TRUE(is_fill(page, row.slot, size));
    }
}

TEST(HypercallPage, DoorbellPortFitsAnImmediate) { EXPECT_LE(doorbell::port + doorbell::ports - 1, 0xff); }

struct Generated {
    HypercallInstruction instruction;
    std::string_view bytes;
};

TEST(HypercallPage, IsGeneratedWithoutAnException) {
    for (const Generated& row : {Generated{HypercallInstruction::vmcall, "0f 01 c1 c3"},
                                 Generated{HypercallInstruction::vmmcall, "0f 01 d9 c3"}}) {
        const HypercallPage page = generated_page(row.instruction);
        for (std::size_t slot = 0; slot < slots_per_page; ++slot) {
            SCOPED_TRACE(slot);
            const std::byte number[] = {std::byte(slot)};
            EXPECT_EQ(slot_bytes(page, slot, 9), "b8 " + hex_bytes(number) + " 00 00 00 " + std::string(row.bytes));
            EXPECT_TRUE(is_fill(page, slot, 9));
        }
    }
}

TEST(HypercallPage, KindsAreFoundByName) {
    for (const StubKind kind : {StubKind::vmcall, StubKind::vmmcall, StubKind::doorbell}) {
        EXPECT_EQ(find_stub_kind(stub_kind_name(kind)), kind);
    }
    EXPECT_EQ(find_stub_kind("syscall"), std::nullopt);
}

}  // namespace
}  // namespace xenolith::xen
