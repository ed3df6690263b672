// Every x87 encoding against the host's own unit: registers, tags, status, pointers, flags and memory, with
// exceptions masked and unmasked, in all precision and rounding modes.
#include <gtest/gtest.h>

#include "cpu/isa/row.hpp"
#include "tests/cpu/floating_point_bench.hpp"

namespace xenolith::test {

namespace {

constexpr unsigned states_per_encoding = 1500;

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
            FloatingPointEncoding encoding;
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

INSTANTIATE_TEST_SUITE_P(, X87Rows, testing::Values(NativeMode::bits64, NativeMode::bits32),
                         [](const auto& information) {
                             return information.param == NativeMode::bits64 ? "In64BitCode" : "In32BitCode";
                         });

}  // namespace

}  // namespace xenolith::test
