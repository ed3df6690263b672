// What CPUID promises, and whether it is kept.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cpu/model/cpu_model.hpp"

namespace xenolith::test {

namespace {

using namespace cpu;

class Model : public testing::TestWithParam<std::tuple<std::string_view, Vendor>> {
  protected:
    const CpuModel& model() const { return *CpuModel::find(std::get<0>(GetParam()), std::get<1>(GetParam())); }
    bool is_intel() const { return std::get<1>(GetParam()) == Vendor::intel; }
    CpuidLeaf leaf(std::uint32_t number, std::uint32_t subleaf = 0) const {
        return model().leaf(number, subleaf, state, 0);
    }
    CpuState state = reset_state();
};

INSTANTIATE_TEST_SUITE_P(
    All, Model,
    testing::Combine(testing::ValuesIn(std::vector(CpuModel::names().begin(), CpuModel::names().end())),
                     testing::Values(Vendor::intel, Vendor::amd)),
    [](const auto& test) {
        return std::string(std::get<0>(test.param)) + (std::get<1>(test.param) == Vendor::intel ? "_intel" : "_amd");
    });

// Every instruction of a feature that has some, one as the witness.
TEST_P(Model, PromisesOnlyInstructionsThatHaveRows) {
    struct Witness {
        Feature feature;
        ZydisMnemonic mnemonic;
    };
    constexpr Witness witnesses[] = {
        {Feature::tsc, ZYDIS_MNEMONIC_RDTSC},
        {Feature::msr, ZYDIS_MNEMONIC_RDMSR},
        {Feature::cx8, ZYDIS_MNEMONIC_CMPXCHG8B},
        {Feature::sep, ZYDIS_MNEMONIC_SYSENTER},
        {Feature::cmov, ZYDIS_MNEMONIC_CMOVZ},
        {Feature::clfsh, ZYDIS_MNEMONIC_CLFLUSH},
        {Feature::fxsr, ZYDIS_MNEMONIC_FXSAVE},
        {Feature::mmx, ZYDIS_MNEMONIC_EMMS},
        {Feature::sse3, ZYDIS_MNEMONIC_ADDSUBPD},
        {Feature::ssse3, ZYDIS_MNEMONIC_PSHUFB},
        {Feature::sse4_1, ZYDIS_MNEMONIC_PTEST},
        {Feature::sse4_2, ZYDIS_MNEMONIC_PCMPGTQ},
        {Feature::popcnt, ZYDIS_MNEMONIC_POPCNT},
        {Feature::cx16, ZYDIS_MNEMONIC_CMPXCHG16B},
        {Feature::movbe, ZYDIS_MNEMONIC_MOVBE},
        {Feature::xsave, ZYDIS_MNEMONIC_XSAVE},
        {Feature::xsaveopt, ZYDIS_MNEMONIC_XSAVEOPT},
        {Feature::xsavec, ZYDIS_MNEMONIC_XSAVEC},
        {Feature::xsaves, ZYDIS_MNEMONIC_XSAVES},
        {Feature::aes, ZYDIS_MNEMONIC_AESENC},
        {Feature::pclmulqdq, ZYDIS_MNEMONIC_PCLMULQDQ},
        {Feature::rdrand, ZYDIS_MNEMONIC_RDRAND},
        {Feature::rdseed, ZYDIS_MNEMONIC_RDSEED},
        {Feature::avx, ZYDIS_MNEMONIC_VADDPS},
        {Feature::avx2, ZYDIS_MNEMONIC_VPERMD},
        {Feature::bmi1, ZYDIS_MNEMONIC_ANDN},
        {Feature::bmi2, ZYDIS_MNEMONIC_PDEP},
        {Feature::lzcnt, ZYDIS_MNEMONIC_LZCNT},
        {Feature::fma, ZYDIS_MNEMONIC_VFMADD132PS},
        {Feature::f16c, ZYDIS_MNEMONIC_VCVTPH2PS},
        {Feature::adx, ZYDIS_MNEMONIC_ADCX},
        {Feature::sha, ZYDIS_MNEMONIC_SHA1MSG1},
        {Feature::rdtscp, ZYDIS_MNEMONIC_RDTSCP},
        {Feature::syscall, ZYDIS_MNEMONIC_SYSCALL},
        {Feature::invpcid, ZYDIS_MNEMONIC_INVPCID},
        {Feature::smap, ZYDIS_MNEMONIC_STAC},
        {Feature::fsgsbase, ZYDIS_MNEMONIC_RDFSBASE},
        {Feature::monitor, ZYDIS_MNEMONIC_MONITOR},
        {Feature::clflushopt, ZYDIS_MNEMONIC_CLFLUSHOPT},
        {Feature::clwb, ZYDIS_MNEMONIC_CLWB},
        {Feature::rdpid, ZYDIS_MNEMONIC_RDPID},
        {Feature::prefetchw, ZYDIS_MNEMONIC_PREFETCHW},
        {Feature::svm, ZYDIS_MNEMONIC_VMRUN},
        {Feature::vmx, ZYDIS_MNEMONIC_VMXON},
        {Feature::lahf_lm, ZYDIS_MNEMONIC_LAHF},
    };
    for (const Witness& witness : witnesses) {
        if (!model().has(witness.feature)) continue;
        EXPECT_NE(find_row(witness.mnemonic), nullptr) << ZydisMnemonicGetString(witness.mnemonic);
    }
}

TEST_P(Model, NamesItsVendorAndLeaves) {
    const CpuidLeaf zero = leaf(0);
    EXPECT_EQ(zero.ebx, is_intel() ? 0x756e6547u : 0x68747541u);
    EXPECT_EQ(zero.edx, is_intel() ? 0x49656e69u : 0x69746e65u);
    EXPECT_EQ(zero.ecx, is_intel() ? 0x6c65746eu : 0x444d4163u);
    EXPECT_EQ(leaf(1).eax, model().signature());
    EXPECT_EQ(leaf(0x80000008).eax & 0xff, model().physical_address_bits());
    EXPECT_GE(leaf(0x80000000).eax, 0x80000008u);
    EXPECT_EQ(leaf(0x80000002).eax, 0x6f6e6558u) << "Xeno";
}

TEST_P(Model, OutOfRangeLeavesFollowTheVendor) {
    const CpuidLeaf highest = leaf(leaf(0).eax);
    for (const std::uint32_t number : {leaf(0).eax + 1, 0x40000000u, 0x8fffffffu, 0xffffffffu})
        EXPECT_EQ(leaf(number), is_intel() ? highest : CpuidLeaf{}) << std::hex << number;
}

TEST_P(Model, StateShowsInLeaves) {
    EXPECT_EQ(model().leaf(1, 0, state, 5).ebx >> 24, 5u);
    constexpr std::uint32_t osxsave = 1 << 27;
    EXPECT_EQ(leaf(1).ecx & osxsave, 0u);
    state.cr4 |= cr4::osxsave;
    EXPECT_EQ(leaf(1).ecx & osxsave, osxsave);
    constexpr std::uint32_t apic = 1 << 9, apic_enabled = 1 << 11;
    const std::uint32_t repeated = is_intel() ? 0 : apic;
    EXPECT_EQ(leaf(1).edx & apic, apic);
    EXPECT_EQ(leaf(0x80000001).edx & apic, repeated);
    state.msr.apic_base &= ~std::uint64_t{apic_enabled};
    EXPECT_EQ(leaf(1).edx & apic, 0u) << "disabled, it is not there";
    EXPECT_EQ(leaf(0x80000001).edx & apic, 0u);
}

TEST_P(Model, LinuxFindsWhatSixtyFourBitKernelsRequire) {
    for (const Feature needed :
         {Feature::fpu, Feature::pse, Feature::pae, Feature::msr, Feature::cx8, Feature::cmov, Feature::fxsr,
          Feature::sse, Feature::sse2, Feature::long_mode, Feature::syscall, Feature::nx, Feature::pge})
        EXPECT_TRUE(model().has(needed)) << static_cast<unsigned>(needed);
}

TEST_P(Model, AcceptsWhatItsFeaturesAllow) {
    const std::uint64_t bits = model().cr4_bits();
    EXPECT_EQ((bits & cr4::smap) != 0, model().has(Feature::smap));
    EXPECT_EQ((bits & cr4::osxsave) != 0, model().has(Feature::xsave));
    EXPECT_EQ(bits & 1u << 13, 0u) << "VMXE";
    EXPECT_EQ((model().xcr0_bits() & 4) != 0, model().has(Feature::avx));
}

// SDM vol. 1, 8.1.8: bits 6 and 13 of leaf 7's EBX.
TEST(ModelNames, WhatIsLeftOfX87PointersIsToldOf) {
    constexpr std::uint32_t bits = 1u << 6 | 1u << 13;
    const auto told = [](std::string_view name, Vendor vendor) {
        return CpuModel::find(name, vendor)->leaf(7, 0, CpuState{}, 0).ebx & bits;
    };
    EXPECT_EQ(told("modern", Vendor::intel), bits);
    EXPECT_EQ(told("modern", Vendor::amd), 0u);
    EXPECT_FALSE(CpuModel::find("nehalem")->has(Feature::fdp_exception_only));
}

TEST(ModelNames, UnknownOnesAreNotFound) {
    EXPECT_EQ(CpuModel::find("pentium"), nullptr);
    ASSERT_NE(CpuModel::find("nehalem"), nullptr);
    EXPECT_EQ(CpuModel::find("nehalem")->vendor(), Vendor::intel);
    EXPECT_FALSE(CpuModel::find("nehalem")->has(Feature::smep));
    EXPECT_TRUE(CpuModel::find("modern")->has(Feature::smep));
}

}  // namespace

}  // namespace xenolith::test
