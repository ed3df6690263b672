// Every instruction on MMX registers against the host's CPU, with what it does to the x87 registers they are.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "cpu/isa/row.hpp"
#include "tests/cpu/floating_point_bench.hpp"

namespace xenolith::test {

namespace {

constexpr unsigned states_per_encoding = states_to_try(150);

bool is_mmx(const ZydisDecodedOperand& operand) {
    return operand.type == ZYDIS_OPERAND_TYPE_REGISTER &&
           ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_MMX;
}

bool is_about_mmx(const cpu::fuzz::Encoding& encoding) {
    switch (encoding.decoded.mnemonic) {
        case ZYDIS_MNEMONIC_EMMS:
        case ZYDIS_MNEMONIC_CVTPI2PS:
        case ZYDIS_MNEMONIC_CVTPI2PD: return true;
        default:
            return std::any_of(encoding.operands.begin(),
                               encoding.operands.begin() + encoding.decoded.operand_count_visible, is_mmx);
    }
}

class MmxRows : public testing::TestWithParam<NativeMode> {
  protected:
    // Runs every encoding of an opcode: MMX or other registers 0 to 7, and [RBX] in memory.
    void try_opcode(const std::vector<std::uint8_t>& bytes) {
        constexpr std::uint8_t memory = 0x03, first_register = 0xc0;
        for (unsigned field = 0; field < 8; ++field) {
            for (const unsigned operand : {unsigned{memory}, first_register + field * 3 % 8, first_register + field}) {
                std::vector<std::uint8_t> encoding = bytes;
                encoding.push_back(static_cast<std::uint8_t>(operand | field << 3));
                encoding.push_back(static_cast<std::uint8_t>(pick(random_, chance(random_, 3) ? 256 : 20)));
                try_encoding(encoding);
            }
        }
    }

    std::unique_ptr<FloatingPointBench> bench_ = FloatingPointBench::create(GetParam());
    std::set<ZydisMnemonic> seen_;
    unsigned encodings_ = 0, complaints_ = 0;

  private:
    void try_encoding(const std::vector<std::uint8_t>& bytes) {
        constexpr unsigned enough = 30;
        cpu::fuzz::Encoding encoding;
        if (complaints_ > enough || !bench_->decode(bytes, encoding) || !is_about_mmx(encoding)) return;
        // 3DNow! is offered by no model, and no longer there on hosts.
        if (encoding.decoded.mnemonic == ZYDIS_MNEMONIC_FEMMS || encoding.decoded.opcode_map == ZYDIS_OPCODE_MAP_0F0F)
            return;
        if (!tried_.insert(encoding.text()).second) return;
        seen_.insert(encoding.decoded.mnemonic);
        ++encodings_;
        bench_->prepare(encoding);
        for (unsigned n = 0; n < states_per_encoding; ++n) {
            const std::string difference = bench_->run(random_);
            if (difference.empty()) continue;
            ADD_FAILURE() << encoding.text() << " at state " << n << '\n' << difference;
            ++complaints_;
            break;
        }
    }

    std::set<std::string> tried_;
    Random random_{9};
};

TEST_P(MmxRows, AgreeWithTheHost) {
    if (bench_ == nullptr) GTEST_SKIP() << "the host cannot run such code";
    std::vector<std::vector<std::uint8_t>> prefixes = {{}, {0x66}, {0xf2}, {0xf3}};
    if (GetParam() == NativeMode::bits64) {
        for (const std::uint8_t rex : {std::uint8_t{0x48}, std::uint8_t{0x4c}}) {
            for (unsigned n = 0; n < 4; ++n) {
                prefixes.push_back(prefixes[n]);
                prefixes.back().push_back(rex);
            }
        }
    }
    for (const auto& prefix : prefixes) {
        for (unsigned opcode = 0; opcode < 0x100; ++opcode) {
            constexpr unsigned second_map = 0x38, third_map = 0x3a;
            if (opcode == second_map || opcode == third_map) continue;
            for (const std::vector<std::uint8_t>& map : {std::vector<std::uint8_t>{0x0f}, {0x0f, 0x38}, {0x0f, 0x3a}}) {
                std::vector<std::uint8_t> bytes = prefix;
                bytes.insert(bytes.end(), map.begin(), map.end());
                bytes.push_back(static_cast<std::uint8_t>(opcode));
                try_opcode(bytes);
            }
        }
    }
    EXPECT_GT(encodings_, 1500u);
    for (const cpu::Row& row : cpu::mmx_rows())
        EXPECT_TRUE(seen_.contains(row.mnemonic)) << ZydisMnemonicGetString(row.mnemonic);
}

// Which fault comes first, by the bits of CR0 that user mode cannot reach (SDM vol. 3A, 12.1).
TEST(MmxFaults, FollowControlRegister0) {
    const std::vector<std::uint8_t> movq = {0x0f, 0x6f, 0xc1};
    EXPECT_EQ(fault_of(movq, 0, 0), std::nullopt);
    EXPECT_EQ(fault_of(movq, cpu::cr0::em | cpu::cr0::ts, 1), cpu::Vector::invalid_opcode);
    EXPECT_EQ(fault_of(movq, cpu::cr0::ts, 1), cpu::Vector::device_not_available);
    EXPECT_EQ(fault_of(movq, cpu::cr0::ne, 1), cpu::Vector::x87_error);
    EXPECT_EQ(fault_of(movq, 0, 1), std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(, MmxRows, testing::Values(NativeMode::bits64, NativeMode::bits32),
                         [](const auto& information) {
                             return information.param == NativeMode::bits64 ? "In64BitCode" : "In32BitCode";
                         });

}  // namespace

}  // namespace xenolith::test
