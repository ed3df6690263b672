// Where CPUs of the two vendors, or of one vendor's generations, do different things in user mode: each model does as
// its own kind. What is expected here was measured on such CPUs; the host's kind is compared with the host by the tests
// of row families.
#include <gtest/gtest.h>

#include <cstring>
#include <initializer_list>
#include <optional>
#include <vector>

#include "cpu/isa/host_features.hpp"
#include "tests/cpu/row_bench.hpp"

namespace xenolith::test {

namespace {

using namespace cpu;

constexpr std::uint64_t memory = 0x10000000, memory_end = memory + NativeOracle::memory_size;
constexpr unsigned page_fault = 14, alignment_check = 17, simd_error = 19;

// A user-mode program on a CPU of that model.
class Program {
  public:
    explicit Program(const CpuModel& model, NativeMode mode = NativeMode::bits64)
        : bench_(mode, memory, model),
          decode_mode_(mode == NativeMode::bits64 ? DecodeMode::long64 : DecodeMode::compatibility32) {
        floating_point.control = 0x37f;
        floating_point.tag = 0xffff;
        floating_point.mxcsr = 0x1f80;
    }

    // The vector of its fault; 0 for none.
    unsigned execute(std::initializer_list<unsigned> encoding) {
        std::vector<std::byte> bytes;
        for (const unsigned byte : encoding) bytes.push_back(static_cast<std::byte>(byte));
        Instruction instruction;
        EXPECT_EQ(bench_.decoder().decode(bytes, decode_mode_, instruction), Decoder::Result::ok);
        const NativeOutcome outcome = bench_.run(instruction, registers, floating_point);
        registers = outcome.registers;
        fault_address = outcome.fault ? outcome.fault->address : 0;
        return outcome.fault ? outcome.fault->vector : 0;
    }
    std::uint64_t& reg(GeneralRegister number) { return registers.general[number]; }
    template <class T>
    void poke(std::uint64_t address, T value) {
        std::memcpy(bench_.memory().data() + (address - memory), &value, sizeof(value));
    }

    NativeRegisters registers;
    FloatingPointState floating_point;
    std::uint64_t fault_address = 0;

  private:
    RowBench bench_;
    DecodeMode decode_mode_;
};

class Vendors : public testing::TestWithParam<Vendor> {
  protected:
    bool intel() const { return GetParam() == Vendor::intel; }
    const CpuModel& model() const { return model_with_everything(GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(, Vendors, testing::Values(Vendor::intel, Vendor::amd),
                         [](const auto& information) { return information.param == Vendor::intel ? "Intel" : "AMD"; });

TEST_P(Vendors, PauseWithAnExtendedRegister) {
    Program program(model());
    program.reg(rax) = 1;
    program.reg(r8) = 2;
    EXPECT_EQ(program.execute({0xf3, 0x49, 0x90}), 0u);
    EXPECT_EQ(program.reg(rax), intel() ? 1u : 2u);
    EXPECT_EQ(program.reg(r8), intel() ? 2u : 1u);
}

TEST_P(Vendors, StringsOfNoElementsWithThirtyTwoBitAddresses) {
    constexpr std::uint64_t upper = std::uint64_t{7} << 32;
    struct Case {
        unsigned opcode;
        bool clears_source, clears_destination;
    };
    for (const Case& test : {Case{0xa4, true, true}, Case{0xaa, false, true}, Case{0xac, false, false},
                             Case{0xa6, false, false}, Case{0xae, false, false}}) {
        SCOPED_TRACE(test.opcode);
        Program program(model());
        program.reg(rcx) = upper;
        program.reg(rsi) = program.reg(rdi) = upper | memory;
        EXPECT_EQ(program.execute({0x67, 0xf3, test.opcode}), 0u);
        EXPECT_EQ(program.reg(rcx), intel() ? 0u : upper);
        EXPECT_EQ(program.reg(rsi), intel() && test.clears_source ? memory : upper | memory);
        EXPECT_EQ(program.reg(rdi), intel() && test.clears_destination ? memory : upper | memory);
    }
}

TEST_P(Vendors, WhichOperandOfCmpsFaultsFirst) {
    Program program(model());
    program.reg(rsi) = memory_end + 0x10;
    program.reg(rdi) = memory_end + 0x20;
    EXPECT_EQ(program.execute({0xa6}), page_fault);
    EXPECT_EQ(program.fault_address, memory_end + (intel() ? 0x20u : 0x10u));
}

TEST_P(Vendors, BoundBelowTheLowerOneWithAnUpperOneThatIsNotThere) {
    constexpr unsigned bound_range = 5;
    Program program(model(), NativeMode::bits32);
    program.poke(memory_end - 4, std::uint32_t{10});
    program.reg(rbx) = memory_end - 4;
    program.reg(rax) = 9;
    EXPECT_EQ(program.execute({0x62, 0x03}), intel() ? bound_range : page_fault);
    program.reg(rax) = 10;
    EXPECT_EQ(program.execute({0x62, 0x03}), page_fault);
}

TEST_P(Vendors, StoresThatAnUnmaskedExceptionPrevents) {
    Program program(model());
    program.floating_point.control = 0x37e;
    program.reg(rbx) = memory_end;
    EXPECT_EQ(program.execute({0xdd, 0x1b}), intel() ? 0u : page_fault) << "FSTP of an empty register";
    EXPECT_EQ(program.floating_point.status & 0xff, intel() ? 0xc1 : 0);
    program.floating_point.status = 0;
    program.floating_point.control = 0x37f;
    EXPECT_EQ(program.execute({0xdd, 0x1b}), page_fault) << "masked, it stores";
}

TEST_P(Vendors, MaskedBytesOfAPageThatIsNotThere) {
    Program program(model());
    program.reg(rdi) = memory_end - 8;
    program.floating_point.vector[1] = {0x80, 0, 0, 0};
    EXPECT_EQ(program.execute({0x66, 0x0f, 0xf7, 0xc1}), intel() ? page_fault : 0u);
    program.reg(rdi) = memory + 1;
    program.registers.rflags |= rflags::ac;
    EXPECT_EQ(program.execute({0x66, 0x0f, 0xf7, 0xc1}), intel() ? alignment_check : 0u);
}

TEST_P(Vendors, AGatherThatFaults) {
    if (!host_has(Feature::avx2)) GTEST_SKIP() << "the host has no AVX";
    Program program(model());
    auto& vector = program.floating_point.vector;
    program.reg(rbx) = memory;
    constexpr std::uint64_t negative = std::uint64_t{1} << 63, far = NativeOracle::memory_size;
    vector[0] = {1, 1, 1, 1};                    // destination
    vector[1] = {0, far, 0, 0};                  // indices
    vector[2] = {negative, negative, negative};  // mask
    program.poke(memory, std::uint64_t{5});
    EXPECT_EQ(program.execute({0xc4, 0xe2, 0xe9, 0x93, 0x04, 0x0b}), page_fault);  // VGATHERQPD XMM0, [RBX+XMM1], XMM2
    EXPECT_EQ(vector[0], (intel() ? Vector256{5, 1, 0, 0} : Vector256{5, 1, 1, 1}));
    EXPECT_EQ(vector[2], (intel() ? Vector256{0, ~std::uint64_t{0}, 0, 0} : Vector256{0, negative, negative, 0}));
}

TEST_P(Vendors, AConversionToAPageThatIsNotThere) {
    if (!host_has(Feature::f16c)) GTEST_SKIP() << "the host has no F16C";
    Program program(model());
    program.reg(rbx) = memory_end;
    program.floating_point.vector[0] = {0x2f800001, 0, 0, 0};  // tiny as a half
    EXPECT_EQ(program.execute({0xc4, 0xe3, 0x79, 0x1d, 0x03, 0x00}), page_fault);
    EXPECT_EQ(program.floating_point.mxcsr, intel() ? 0x1fb0u : 0x1f80u);
    program.floating_point.mxcsr = 0x1780;  // underflow unmasked
    EXPECT_EQ(program.execute({0xc4, 0xe3, 0x79, 0x1d, 0x03, 0x00}), intel() ? simd_error : page_fault);
}

// Of a result that overflows or underflows unmasked: as Intel's CPUs have it, only rounding makes it inexact.
TEST(InexactResults, AreThoseThatAreRounded) {
    struct Case {
        const char* name;
        std::uint32_t first, second, mxcsr, expected;
        unsigned opcode;
    };
    constexpr unsigned addss = 0x58, mulss = 0x59, divss = 0x5e;
    constexpr std::uint32_t masked = 0x1f80, overflow_unmasked = 0x1b80, underflow_unmasked = 0x1780, overflow = 8,
                            underflow = 0x10, inexact = 0x20;
    const Case cases[] = {
        {"2^100 * 2^100", 0x71800000, 0x71800000, overflow_unmasked, overflow, mulss},
        {"a full significand squared", 0x7f000001, 0x7f000001, overflow_unmasked, overflow | inexact, mulss},
        {"2^-100 * 2^-100", 0x0d800000, 0x0d800000, underflow_unmasked, underflow, mulss},
        {"2^-100 / (3 * 2^99)", 0x0d800000, 0x71c00000, underflow_unmasked, underflow | inexact, divss},
        {"2^127 + 2^127", 0x7f000000, 0x7f000000, overflow_unmasked, overflow, addss},
        {"the largest twice", 0x7f7fffff, 0x7f7fffff, overflow_unmasked, overflow, addss},
        {"the largest and half its last place", 0x7f7fffff, 0x73000000, overflow_unmasked, overflow | inexact, addss},
        {"masked", 0x71800000, 0x71800000, masked, overflow | inexact, mulss},
    };
    for (const Case& test : cases) {
        SCOPED_TRACE(test.name);
        Program program(model_with_everything(Vendor::intel));
        program.floating_point.mxcsr = test.mxcsr;
        program.floating_point.vector[0] = {test.first, 0, 0, 0};
        program.floating_point.vector[1] = {test.second, 0, 0, 0};
        EXPECT_EQ(program.execute({0xf3, 0x0f, test.opcode, 0xc1}), test.mxcsr == masked ? 0u : simd_error);
        EXPECT_EQ(program.floating_point.mxcsr & 0x3f, test.expected);
    }
}

// What remains of the last x87 instruction, by model (SDM vol. 1, 8.1.8 and 8.1.9).
TEST(X87Pointers, AreThoseOfTheModel) {
    struct Case {
        const char* name;
        Vendor vendor;
        bool opcode_always, data_always, has_selectors;
    };
    for (const Case& test :
         {Case{"nehalem", Vendor::intel, false, true, true}, Case{"modern", Vendor::intel, false, false, false},
          Case{"modern", Vendor::amd, true, true, true}}) {
        SCOPED_TRACE(test.name);
        Program program(*CpuModel::find(test.name, test.vendor), NativeMode::bits32);
        FloatingPointState& x87 = program.floating_point;
        program.reg(rbx) = memory;
        x87.opcode = 0x123;
        x87.data_pointer = 0x456;
        constexpr std::uint16_t fld = 0x103;  // the low bits of D9 03
        EXPECT_EQ(program.execute({0xd9, 0x03}), 0u);
        EXPECT_EQ(x87.opcode, test.opcode_always ? fld : 0x123);
        EXPECT_EQ(x87.data_pointer, test.data_always ? memory : 0x456u);
        EXPECT_EQ(x87.instruction_pointer, 0x400000u);
        EXPECT_EQ(x87.instruction_selector != 0, test.has_selectors);
        EXPECT_EQ(x87.data_selector != 0, test.has_selectors);
        // With an exception that is not masked all do the same.
        x87.control = 0x37e;
        program.poke(memory, std::uint32_t{0x7f800001});  // a signalling NaN
        EXPECT_EQ(program.execute({0xd9, 0x03}), 0u);
        EXPECT_EQ(x87.status & 0x81, 0x81);
        EXPECT_EQ(x87.opcode, fld);
        EXPECT_EQ(x87.data_pointer, memory);
    }
}

}  // namespace

}  // namespace xenolith::test
