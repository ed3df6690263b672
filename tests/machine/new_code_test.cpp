// The hypercall page is laid over code that has already run: the new bytes run at once. For an engine that
// keeps decoded or translated code this is the hardest case of all, so it is tried in every shape and mode.
#include <cpuid.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "tests/machine/engine_support.hpp"
#include "tests/machine/scenario.hpp"

namespace xenolith::machine::test {
namespace {

constexpr std::uint64_t target = layout::target.value;

class NewCode : public EngineTest<InMode> {
  protected:
    void prepare() override { scenario.emplace(ScenarioOptions{.engine = GetParam().engine, .mode = GetParam().mode}); }

    static std::vector<std::byte> filled_page(unsigned value = 0xf4) {  // HLT
        return std::vector<std::byte>(mmu::page_size, static_cast<std::byte>(value));
    }
    static void put(std::vector<std::byte>& page, std::uint64_t offset, std::span<const std::byte> bytes) {
        std::ranges::copy(bytes, page.begin() + static_cast<std::ptrdiff_t>(offset));
    }
    // A KVM on AMD's CPUs looks for the end of a WRMSR that it has executed itself by decoding it again, unless the CPU
    // has told where the next instruction is: it then decodes what it has just put there.
    bool finds_end_of_wrmsr_in_new_bytes() const {
        unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
        constexpr unsigned virtualization_leaf = 0x8000000a, next_rip_saved = 1 << 3;
        return kernel_lays_pages(GetParam().engine) && __builtin_cpu_is("amd") != 0 &&
               (__get_cpuid(virtualization_leaf, &eax, &ebx, &ecx, &edx) == 0 || (edx & next_rip_saved) == 0);
    }
    static constexpr std::string_view decoded_again =
        "KVM decodes the WRMSR again after it was overwritten: the CPU does not save the next RIP";

    static std::uint64_t al(const Ending& ending) { return ending.state.registers[cpu::rax] & 0xff; }
    static std::uint64_t low(const Ending& ending, cpu::GeneralRegister number) {
        return ending.state.registers[number] & 0xffffffff;
    }

    std::optional<Scenario> scenario;
};
INSTANTIATE_TEST_SUITE_P(Engines, NewCode, in_modes(privileged_modes), parameter_name<InMode>);

// MOV AL, 0x11; RET, until the blob's page takes its place.
TEST_P(NewCode, IsCalledAfterTheOldOneWas) {
    GuestCode old = scenario->code(layout::target);
    old.mov_al(0x11).ret();
    scenario->put(layout::target, old);
    GuestCode program = scenario->code();
    program.call(scenario->offset(layout::target)).mov(ebx, eax);
    program.write_msr(Scenario::msr, target).call(scenario->offset(layout::target)).hlt();
    const Ending ending = scenario->run(program);
    ASSERT_TRUE(ending.finished()) << ending.result.reason;
    EXPECT_EQ(low(ending, ebx) & 0xff, 0x11u);
    EXPECT_EQ(al(ending), scenario->mark(0));
}

// Hot code, changed many times: the sum of what each call returned is exact.
TEST_P(NewCode, IsCalledInALoopWithAnotherPageEachTime) {
    constexpr unsigned rounds = 3000;
    GuestCode old = scenario->code(layout::target);
    old.mov_al(1).ret();
    scenario->put(layout::target, old);
    GuestCode program = scenario->code();
    program.mov(ebp, rounds).mov(edi, 0).mov(esi, target).mov(ecx, Scenario::msr).mov(edx, 0);
    const std::uint64_t loop = program.here();
    program.mov(eax, 0).call(scenario->offset(layout::target)).add(edi, eax);
    program.exclusive_or(esi, 1).mov(eax, esi).wrmsr().decrement_and_jump(ebp, loop).hlt();
    const Ending ending = scenario->run(program);
    ASSERT_TRUE(ending.finished()) << ending.result.reason;
    // The first call runs the old code; then pages 1 and 0 take turns.
    EXPECT_EQ(low(ending, edi), 1 + rounds / 2 * scenario->mark(1) + (rounds / 2 - 1) * scenario->mark(0));
}

// The page holds the WRMSR itself: the very next instruction is the blob's.
TEST_P(NewCode, RunsStraightAfterTheWrmsrThatItCovers) {
    if (finds_end_of_wrmsr_in_new_bytes()) GTEST_SKIP() << decoded_again;
    constexpr std::uint64_t start = 0x100;
    GuestCode old = scenario->code(layout::target + start);
    old.write_msr(Scenario::msr, target);
    const std::uint64_t next = old.here() - scenario->offset(layout::target);
    old.mov_al(0x11).hlt();
    std::vector<std::byte> blob = filled_page();
    GuestCode replacement(16, 0);
    put(blob, next, replacement.mov_al(0x77).hlt().data());
    scenario->set_blobs(blob);
    scenario->put(layout::target + start, old);
    GuestCode program = scenario->code();
    const Ending ending = scenario->run(program.jump(scenario->offset(layout::target + start)));
    ASSERT_TRUE(ending.finished()) << ending.result.reason;
    EXPECT_EQ(al(ending), 0x77u);
}

// A loop runs inside the page that it replaces, with two versions of itself in turn.
TEST_P(NewCode, IsTheLoopThatReplacesItself) {
    constexpr unsigned rounds = 2000;
    const auto version = [&](std::int8_t step) {
        GuestCode loop = scenario->code(layout::target);
        const std::uint64_t start = loop.here();
        loop.exclusive_or(esi, 1).mov(eax, esi).wrmsr().add(edi, step).decrement_and_jump(ebp, start).hlt();
        std::vector<std::byte> page = filled_page();
        put(page, 0, loop.data());
        return page;
    };
    std::vector<std::byte> blob = version(1);
    const std::vector<std::byte> second = version(0x40);
    scenario->put(layout::target, blob);
    blob.insert(blob.end(), second.begin(), second.end());
    scenario->set_blobs(blob);
    GuestCode program = scenario->code();
    program.mov(ebp, rounds).mov(edi, 0).mov(esi, target).mov(ecx, Scenario::msr).mov(edx, 0);
    const Ending ending = scenario->run(program.jump(scenario->offset(layout::target)));
    ASSERT_TRUE(ending.finished()) << ending.result.reason;
    EXPECT_EQ(low(ending, edi), rounds / 2 * (1 + 0x40));
}

// MOV AL, imm8 begins on the last byte of the page before; its operand is the page's first byte.
TEST_P(NewCode, IsTheEndOfAnInstructionThatBeganInThePageBefore) {
    const mmu::GuestPhysical start = layout::before_target + mmu::page_mask;
    const std::byte opcode[] = {std::byte{0xb0}}, old_rest[] = {std::byte{0x11}, std::byte{0xc3}};
    scenario->put(start, opcode);
    scenario->put(layout::target, old_rest);
    std::vector<std::byte> blob = filled_page();
    const std::byte new_rest[] = {std::byte{0x77}, std::byte{0xc3}};
    put(blob, 0, new_rest);
    scenario->set_blobs(blob);
    GuestCode program = scenario->code();
    program.call(scenario->offset(start)).call(scenario->offset(start)).mov(ebx, eax);
    program.write_msr(Scenario::msr, target).call(scenario->offset(start)).hlt();
    const Ending ending = scenario->run(program);
    ASSERT_TRUE(ending.finished()) << ending.result.reason;
    EXPECT_EQ(low(ending, ebx) & 0xff, 0x11u);
    EXPECT_EQ(al(ending), 0x77u);
}

// The page's last byte begins an instruction that ends in the page behind: MOV AH, imm8 becomes MOV AL, imm8.
TEST_P(NewCode, IsTheBeginningOfAnInstructionThatEndsInThePageBehind) {
    const mmu::GuestPhysical start = layout::target + mmu::page_mask;
    const std::byte old_opcode[] = {std::byte{0xb4}}, rest[] = {std::byte{0x55}, std::byte{0xc3}};
    scenario->put(start, old_opcode);
    scenario->put(layout::after_target, rest);
    std::vector<std::byte> blob = filled_page();
    blob.back() = std::byte{0xb0};
    scenario->set_blobs(blob);
    GuestCode program = scenario->code();
    program.mov(eax, 0).call(scenario->offset(start)).mov(ebx, eax);
    program.write_msr(Scenario::msr, target).mov(eax, 0).call(scenario->offset(start)).hlt();
    const Ending ending = scenario->run(program);
    ASSERT_TRUE(ending.finished()) << ending.result.reason;
    EXPECT_EQ(low(ending, ebx), 0x5500u);
    EXPECT_EQ(low(ending, eax), 0x55u);
}

// The WRMSR itself lies across the border, half in the page that is replaced.
TEST_P(NewCode, FollowsAWrmsrThatEndsInThePage) {
    if (finds_end_of_wrmsr_in_new_bytes()) GTEST_SKIP() << decoded_again;
    GuestCode before = scenario->code(layout::before_target + 0xfff);
    before.wrmsr().mov_al(0x11).hlt();
    scenario->put(layout::before_target + 0xfff, before);
    std::vector<std::byte> blob = filled_page();
    GuestCode replacement(16, 0);
    put(blob, 1, replacement.mov_al(0x77).hlt().data());  // byte 0 was the WRMSR's second
    scenario->set_blobs(blob);
    GuestCode program = scenario->code();
    program.mov(ecx, Scenario::msr).mov(eax, target).mov(edx, 0);
    const Ending ending = scenario->run(program.jump(scenario->offset(layout::before_target + 0xfff)));
    ASSERT_TRUE(ending.finished()) << ending.result.reason;
    EXPECT_EQ(al(ending), 0x77u);
}

// Data first, then code, then the blob's page, then patched by the guest's own store: every step is seen by
// the next.
TEST_P(NewCode, MixesWithTheGuestsOwnStores) {
    const auto patch = [&](GuestCode& code, std::uint8_t value) {
        code.mov_al(value).store_al(target + 1).mov(eax, 0).call(scenario->offset(layout::target)).add(edi, eax);
    };
    GuestCode old = scenario->code(layout::target);
    old.mov_al(1).ret();
    scenario->put(layout::target, old);
    GuestCode program = scenario->code();
    program.mov(edi, 0);
    patch(program, 2);
    patch(program, 3);
    program.write_msr(Scenario::msr, target).mov(eax, 0).call(scenario->offset(layout::target)).add(edi, eax);
    patch(program, 4);
    program.write_msr(Scenario::msr, target | 1).mov(eax, 0).call(scenario->offset(layout::target)).add(edi, eax);
    const Ending ending = scenario->run(program.hlt());
    ASSERT_TRUE(ending.finished()) << ending.result.reason;
    EXPECT_EQ(low(ending, edi), 2u + 3u + scenario->mark(0) + 4u + scenario->mark(1));
}

// A write that is refused leaves the old code, decoded or not, as it was.
TEST_P(NewCode, DoesNotComeFromARefusedWrite) {
    GuestCode old = scenario->code(layout::target);
    old.mov_al(0x11).ret();
    scenario->put(layout::target, old);
    GuestCode program = scenario->code();
    program.call(scenario->offset(layout::target)).write_msr(Scenario::msr, target | 255);
    ASSERT_TRUE(scenario->run(program).trap);
    GuestCode again = scenario->code();
    const Ending ending = scenario->run(again.call(scenario->offset(layout::target)).hlt());
    ASSERT_TRUE(ending.finished()) << ending.result.reason;
    EXPECT_EQ(al(ending), 0x11u);
}

}  // namespace
}  // namespace xenolith::machine::test
