// Every x87 encoding against the host's own unit: registers, tags, status, pointers, flags and memory, with
// exceptions masked and unmasked, in all precision and rounding modes.
#include <gtest/gtest.h>

#include "cpu/isa/row.hpp"
#include "tests/cpu/floating_point_bench.hpp"

namespace xenolith::test {

namespace {

constexpr unsigned states_per_encoding = states_to_try(1000);

// What the images in memory hold is compared where they are built: cpu/isa/state_image.cpp.
bool moves_state(ZydisMnemonic mnemonic) {
    return mnemonic == ZYDIS_MNEMONIC_FNSAVE || mnemonic == ZYDIS_MNEMONIC_FRSTOR ||
           mnemonic == ZYDIS_MNEMONIC_FNSTENV || mnemonic == ZYDIS_MNEMONIC_FLDENV;
}

class X87Rows : public testing::TestWithParam<NativeMode> {};

TEST_P(X87Rows, AgreeWithTheHost) {
    const auto bench = FloatingPointBench::create(GetParam());
    if (bench == nullptr) GTEST_SKIP() << "the host cannot run such code";
    Random random{7};
    unsigned encodings = 0, complaints = 0;
    for (unsigned escape = 0xd8; escape <= 0xdf; ++escape) {
        for (unsigned operand = 0; operand < 0x100; ++operand) {
            // Memory operands: [RBX] stands for all.
            if (operand < 0xc0 && (operand & 0xc7) != 3) continue;
            cpu::fuzz::Encoding encoding;
            const std::uint8_t bytes[] = {static_cast<std::uint8_t>(escape), static_cast<std::uint8_t>(operand)};
            if (!bench->decode(bytes, encoding) || moves_state(encoding.decoded.mnemonic)) continue;
            ++encodings;
            bench->prepare(encoding);
            for (unsigned n = 0; n < states_per_encoding; ++n) {
                const std::string difference = bench->run(random);
                if (difference.empty()) continue;
                ADD_FAILURE() << encoding.text() << " at state " << n << '\n' << difference;
                if (++complaints > 40) FAIL() << "and so on";
                break;
            }
        }
    }
    EXPECT_GT(encodings, 400u);
}

// Which fault comes first, by the bits of CR0 that user mode cannot reach (SDM vol. 3A, table 2-2).
TEST(X87Faults, FollowControlRegister0) {
    using cpu::Vector;
    constexpr std::uint64_t em = cpu::cr0::em, ts = cpu::cr0::ts, mp = cpu::cr0::mp, ne = cpu::cr0::ne;
    const std::vector<std::uint8_t> fld1 = {0xd9, 0xe8}, fnstsw = {0xdf, 0xe0}, fwait = {0x9b}, feni = {0xdb, 0xe0},
                                    fldcw = {0xd9, 0x28};
    struct Case {
        std::vector<std::uint8_t> bytes;
        std::uint64_t cr0;
        std::uint16_t pending;
        std::optional<Vector> expected;
    };
    const Case cases[] = {
        {fld1, 0, 0, {}},
        {fld1, em | ne, 1, Vector::device_not_available},
        {fld1, ts | ne, 1, Vector::device_not_available},
        {fld1, mp | ne, 1, Vector::x87_error},
        {fld1, mp, 1, {}},
        {fnstsw, ts, 0, Vector::device_not_available},
        {fnstsw, ne, 1, {}},
        {feni, ne, 1, {}},
        {fldcw, ne, 1, Vector::x87_error},
        {fwait, em | ne, 0, {}},
        {fwait, ts | ne, 0, {}},
        {fwait, ts | mp | ne, 1, Vector::device_not_available},
        {fwait, ne, 1, Vector::x87_error},
        {fwait, 0, 1, {}},
    };
    for (const Case& c : cases)
        EXPECT_EQ(fault_of(c.bytes, c.cr0, c.pending), c.expected)
            << std::hex << int{c.bytes[0]} << " with CR0 " << c.cr0 << " and status " << c.pending;
}

INSTANTIATE_TEST_SUITE_P(, X87Rows, testing::Values(NativeMode::bits64, NativeMode::bits32),
                         [](const auto& information) {
                             return information.param == NativeMode::bits64 ? "In64BitCode" : "In32BitCode";
                         });

}  // namespace

}  // namespace xenolith::test
