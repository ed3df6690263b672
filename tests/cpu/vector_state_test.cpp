// What has to be enabled for vector instructions, what unmasked exceptions do, images of the whole state in
// the compacted format, and random numbers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xmmintrin.h>

#include <cstring>
#include <initializer_list>
#include <random>
#include <set>
#include <sstream>
#include <vector>

#include "cpu/isa/host_features.hpp"
#include "cpu/native/native_oracle.hpp"
#include "cpu/native/row_bench.hpp"

namespace xenolith::test {

namespace {

using namespace cpu;

constexpr std::uint64_t memory_address = 0x10000000;

// One instruction in a user-mode program whose memory is at memory_address.
class Guest {
  public:
    std::optional<NativeFault> execute(std::initializer_list<unsigned> encoding) {
        std::vector<std::byte> bytes;
        for (const unsigned byte : encoding) bytes.push_back(static_cast<std::byte>(byte));
        Instruction instruction;
        EXPECT_EQ(bench.decoder().decode(bytes, DecodeMode::long64, instruction), Decoder::Result::ok);
        const NativeOutcome outcome = bench.run(instruction, registers);
        registers = outcome.registers;
        return outcome.fault;
    }
    CpuState& state() { return bench.processor().state; }
    auto& vector(unsigned n) { return state().floating_point.vector[n]; }

    RowBench bench{NativeMode::bits64, memory_address};
    NativeRegisters registers;
};

constexpr unsigned invalid_opcode = 6, device_not_available = 7, general_protection = 13, simd_error = 19;

// --- Conditions
// ----------------------------------------------------------------------------------------------------

struct Condition {
    const char* name;
    void (*change)(CpuState& state);
    unsigned plain;  // the fault's vector, 0 for none
    unsigned vex;
    std::uint64_t rflags = 0;  // added
};

class Conditions : public testing::TestWithParam<Condition> {};

TEST_P(Conditions, DecideWhetherAnInstructionExists) {
    const Condition& condition = GetParam();
    Guest guest;
    condition.change(guest.state());
    guest.registers.rflags |= condition.rflags;
    const auto vector_of = [](const std::optional<NativeFault>& fault) { return fault ? fault->vector : 0; };
    EXPECT_EQ(vector_of(guest.execute({0x0f, 0x58, 0xc1})), condition.plain) << "ADDPS";
    EXPECT_EQ(vector_of(guest.execute({0xc5, 0xf0, 0x58, 0xc1})), condition.vex) << "VADDPS";
    EXPECT_EQ(vector_of(guest.execute({0x66, 0x0f, 0x3a, 0x63, 0xc1, 0x00})), condition.plain) << "PCMPISTRI";
    EXPECT_EQ(vector_of(guest.execute({0xc5, 0xf8, 0x77})), condition.vex) << "VZEROUPPER";
    EXPECT_EQ(vector_of(guest.execute({0xc5, 0xf8, 0xae, 0x1c, 0x25, 0x00, 0x00, 0x00, 0x10})), condition.vex)
        << "VSTMXCSR";
}

INSTANTIATE_TEST_SUITE_P(
    , Conditions,
    testing::Values(Condition{"AllEnabled", [](CpuState&) {}, 0, 0},
                    Condition{"Emulation", [](CpuState& s) { s.cr0 |= cr0::em; }, invalid_opcode, 0},
                    Condition{"NoFxsaveSupport", [](CpuState& s) { s.cr4 &= ~cr4::osfxsr; }, invalid_opcode, 0},
                    Condition{"TaskSwitched", [](CpuState& s) { s.cr0 |= cr0::ts; }, device_not_available,
                              device_not_available},
                    Condition{"NoXsaveSupport", [](CpuState& s) { s.cr4 &= ~cr4::osxsave; }, 0, invalid_opcode},
                    Condition{"AvxStateOff", [](CpuState& s) { s.xcr0 = 3; }, 0, invalid_opcode},
                    Condition{"OnlyX87State", [](CpuState& s) { s.xcr0 = 1; }, 0, invalid_opcode},
                    Condition{"RealMode", [](CpuState& s) { s.cr0 &= ~cr0::pe; }, 0, invalid_opcode},
                    Condition{"Virtual8086Mode", [](CpuState&) {}, 0, invalid_opcode, rflags::vm}),
    [](const auto& information) { return information.param.name; });

// --- Alignment
// ----------------------------------------------------------------------------------------------------

struct Alignment {
    const char* name;
    std::vector<unsigned> encoding;  // operand at [RBX]
    unsigned fault;
};

class Alignments : public testing::TestWithParam<Alignment> {};

TEST_P(Alignments, OfAnOddAddress) {
    Guest guest;
    guest.registers.general[rbx] = memory_address + 0x101;
    std::vector<std::byte> bytes;
    for (const unsigned byte : GetParam().encoding) bytes.push_back(static_cast<std::byte>(byte));
    Instruction instruction;
    ASSERT_EQ(guest.bench.decoder().decode(bytes, DecodeMode::long64, instruction), Decoder::Result::ok);
    const NativeOutcome outcome = guest.bench.run(instruction, guest.registers);
    EXPECT_EQ(outcome.fault ? outcome.fault->vector : 0, GetParam().fault);
}

INSTANTIATE_TEST_SUITE_P(, Alignments,
                         testing::Values(Alignment{"Movaps", {0x0f, 0x28, 0x03}, general_protection},
                                         Alignment{"Movups", {0x0f, 0x10, 0x03}, 0},
                                         Alignment{"Addps", {0x0f, 0x58, 0x03}, general_protection},
                                         Alignment{"Addss", {0xf3, 0x0f, 0x58, 0x03}, 0},
                                         Alignment{"Sha256msg1", {0x0f, 0x38, 0xcc, 0x03}, general_protection},
                                         Alignment{"Vaddps", {0xc5, 0xf8, 0x58, 0x03}, 0},
                                         Alignment{"Vmovaps", {0xc5, 0xf8, 0x28, 0x03}, general_protection},
                                         Alignment{"VmovapsOf256Bits", {0xc5, 0xfc, 0x29, 0x03}, general_protection},
                                         Alignment{"Vmovntdqa", {0xc4, 0xe2, 0x7d, 0x2a, 0x03}, general_protection},
                                         Alignment{"Pcmpistri", {0x66, 0x0f, 0x3a, 0x63, 0x03, 0x00}, 0}),
                         [](const auto& information) { return information.param.name; });

// --- Unmasked exceptions
// -------------------------------------------------------------------------------------------

class DivisionByZero : public testing::Test {
  protected:
    DivisionByZero() {
        constexpr std::uint64_t one = 0x3f800000;
        guest.vector(0) = {one, 1, 2, 3};
        guest.vector(1) = {0, 0, 0, 0};
        guest.state().floating_point.mxcsr = 0x1f80 & ~(1u << 9);
    }
    std::optional<NativeFault> divide() { return guest.execute({0xf3, 0x0f, 0x5e, 0xc1}); }  // DIVSS XMM0, XMM1

    static constexpr std::uint32_t divided_by_zero = 4;
    Guest guest;
};

TEST_F(DivisionByZero, FaultsWithItsFlagSetAndTheDestinationAsItWas) {
    const auto fault = divide();
    ASSERT_TRUE(fault);
    EXPECT_EQ(fault->vector, simd_error);
    EXPECT_EQ(guest.vector(0)[0], 0x3f800000u);
    EXPECT_NE(guest.state().floating_point.mxcsr & divided_by_zero, 0u);
}

TEST_F(DivisionByZero, IsAnInvalidOpcodeToSystemsThatDoNotKnowTheFault) {
    guest.state().cr4 &= ~cr4::osxmmexcpt;
    const auto fault = divide();
    ASSERT_TRUE(fault);
    EXPECT_EQ(fault->vector, invalid_opcode);
}

TEST_F(DivisionByZero, LeavesTheHostsControlAlone) {
    constexpr unsigned before = 0x1f80;
    _mm_setcsr(before);
    divide();
    guest.state().floating_point.mxcsr = 0x7fc0;
    divide();
    EXPECT_EQ(_mm_getcsr(), before);
}

// --- The compacted format of XSAVE, against the host
// ---------------------------------------------------------------------

class CompactedImage : public testing::Test {
  protected:
    using Random = std::mt19937_64;
    using Image = std::array<std::uint64_t, 128>;
    static constexpr unsigned header = 64;  // words from the start

    CompactedImage() : oracle(NativeOracle::create(NativeMode::bits64, NativeUnits::all)) {}

    void SetUp() override {
        if (oracle == nullptr || !host_saves_compacted()) GTEST_SKIP() << "the host has no XSAVEC";
        bench.emplace(NativeMode::bits64, oracle->memory_address());
    }
    static bool host_saves_compacted() {
        unsigned eax = 0xd, ebx, ecx = 1, edx;
        asm("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
        return (eax & 2) != 0;
    }
    // All components in use, for the host may take one in its initial state for used.
    FloatingPointState used_state() {
        FloatingPointState state;
        state.control = 0x027f;
        state.tag = 0;
        for (X87Register& value : state.registers) value = {random() | std::uint64_t{1} << 63, 0x3fff};
        state.mxcsr = static_cast<std::uint32_t>(0x1f80 | random() % 4 << 13);
        for (auto& vector : state.vector)
            for (std::uint64_t& word : vector) word = random();
        return state;
    }
    // Runs the bytes on both with EAX as the request and the image at RBX; what differs, if anything.
    std::string run(std::initializer_list<unsigned> encoding, std::uint64_t request, FloatingPointState state,
                    const Image& image) {
        std::vector<std::byte> bytes;
        for (const unsigned byte : encoding) bytes.push_back(static_cast<std::byte>(byte));
        Instruction instruction;
        EXPECT_EQ(bench->decoder().decode(bytes, DecodeMode::long64, instruction), Decoder::Result::ok);
        oracle->set_instruction(bytes);
        NativeRegisters registers;
        constexpr std::size_t offset = 0x1000;
        registers.general[rbx] = oracle->memory_address() + offset;
        registers.general[rax] = request;
        std::memcpy(oracle->memory().data() + offset, image.data(), sizeof(Image));
        std::memcpy(bench->memory().data() + offset, image.data(), sizeof(Image));
        FloatingPointState native_state = state;
        const NativeOutcome native = oracle->run(registers, native_state);
        const NativeOutcome ours = bench->run(instruction, registers, state);
        std::ostringstream out;
        out << std::hex;
        if (native.fault.has_value() != ours.fault.has_value()) out << " fault " << ours.fault.has_value();
        // Intel's CPUs have loaded what comes before MXCSR when they refuse a compacted image because of it.
        constexpr std::uint64_t mxcsr_reserved = 0xffff0000;
        const bool refused_late = image[header + 1] >> 63 != 0 && (image[3] & mxcsr_reserved) != 0;
        if (native.fault && ours.fault && refused_late && __builtin_cpu_is("intel") != 0) return out.str();
        if (native_state.mxcsr != state.mxcsr) out << " MXCSR " << state.mxcsr << " host " << native_state.mxcsr;
        if (native_state.control != state.control) out << " control " << state.control;
        if (native_state.vector != state.vector) out << " vectors";
        if (native_state.registers != state.registers) out << " x87 registers";
        Image here, there;
        std::memcpy(&here, bench->memory().data() + offset, sizeof(Image));
        std::memcpy(&there, oracle->memory().data() + offset, sizeof(Image));
        for (unsigned n = 0; n < here.size(); ++n) {
            // Vendors differ in the pointers of an x87 without exceptions, and in which MXCSR bits there are.
            if (n == 1 || n == 2) continue;
            const std::uint64_t known = n == 3 ? 0xffffffff : ~std::uint64_t{0};
            if (((here[n] ^ there[n]) & known) != 0)
                out << " word " << std::dec << n << std::hex << ": " << here[n] << " host " << there[n] << ',';
        }
        return out.str();
    }

    std::unique_ptr<NativeOracle> oracle;
    std::optional<RowBench> bench;
    Random random{4};
};

TEST_F(CompactedImage, IsWrittenAsTheHostDoes) {
    for (unsigned turn = 0; turn < 400; ++turn) {
        Image image;
        for (std::uint64_t& word : image) word = random();
        FloatingPointState state = used_state();
        // MXCSR alone puts SSE in use.
        if (turn / 8 % 2 != 0) {
            for (auto& vector : state.vector) vector[0] = vector[1] = 0;
            state.mxcsr |= 0x2000;
        }
        EXPECT_EQ(run({0x48, 0x0f, 0xc7, 0x23}, turn % 8, state, image), "") << "XSAVEC64 of " << turn % 8;
    }
}

TEST_F(CompactedImage, IsReadAsTheHostDoes) {
    for (unsigned turn = 0; turn < 4000; ++turn) {
        Image image;
        for (std::uint64_t& word : image) word = random();
        image[0] = 0x037f;        // control; status and tags zero
        image[1] = image[2] = 0;  // pointers
        image[3] = 0x1f80 | (random() % 16 == 0 ? 0x40000u : 0u);
        for (unsigned n = 4; n < 20; n += 2) image[n + 1] &= 0xffff;
        image[header] = random() % 8;  // what is there
        constexpr std::uint64_t compacted = std::uint64_t{1} << 63;
        image[header + 1] = random() % 4 == 0 ? 0 : compacted | (random() % 2 == 0 ? 7 : random() % 8);
        if (random() % 16 == 0) image[header] |= std::uint64_t{1} << 62;
        if (random() % 16 == 0) image[header + 1] |= std::uint64_t{1} << 40;
        for (unsigned n = header + 2; n < header + 8; ++n) image[n] = random() % 64 == 0 ? 1 : 0;
        FloatingPointState state = used_state();
        const unsigned request = static_cast<unsigned>(random() % 8);
        EXPECT_EQ(run({0x48, 0x0f, 0xae, 0x2b}, request, state, image), "")
            << "XRSTOR64 of " << request << ", XSTATE_BV " << image[header] << ", XCOMP_BV " << std::hex
            << image[header + 1];
        if (HasFailure()) return;
    }
}

// --- Random numbers
// ------------------------------------------------------------------------------------------------

std::uint64_t draw(std::uint64_t seed, std::uint64_t instruction, bool seeds = false, unsigned width = 64) {
    Guest guest;
    guest.bench.processor().random_seed = seed;
    guest.bench.processor().instructions_ = instruction;
    guest.registers.general[rax] = ~std::uint64_t{0};
    guest.registers.rflags |= rflags::arithmetic;
    const unsigned field = seeds ? 0xf8 : 0xf0;
    const auto fault = width == 64   ? guest.execute({0x48, 0x0f, 0xc7, field})
                       : width == 32 ? guest.execute({0x0f, 0xc7, field})
                                     : guest.execute({0x66, 0x0f, 0xc7, field});
    EXPECT_FALSE(fault);
    EXPECT_EQ(guest.registers.rflags & rflags::arithmetic, rflags::cf);
    return guest.registers.general[rax];
}

TEST(RandomNumbers, RepeatInARunWithTheSameSeed) {
    EXPECT_EQ(draw(1, 100), draw(1, 100));
    EXPECT_NE(draw(1, 100), draw(2, 100));
    EXPECT_NE(draw(1, 100), draw(1, 100, true)) << "RDRAND and RDSEED are apart";
}

TEST(RandomNumbers, DifferFromOneInstructionToTheNext) {
    std::set<std::uint64_t> drawn;
    for (unsigned n = 0; n < 200; ++n) drawn.insert(draw(7, n));
    EXPECT_EQ(drawn.size(), 200u);
}

TEST(RandomNumbers, FillTheirRegister) {
    EXPECT_EQ(draw(1, 5, false, 32) >> 32, 0u) << "32 bits clear the upper half";
    EXPECT_EQ(draw(1, 5, false, 16) >> 16, 0xffffffffffffu) << "16 bits leave the rest";
}

// --- What the models offer
// ------------------------------------------------------------------------------------------

TEST(Models, OfferWhatTheirLevelNames) {
    using enum Feature;
    for (const Feature feature : {sse, sse2, sse3, ssse3, sse4_1, sse4_2, popcnt, cx16, lahf_lm})
        EXPECT_TRUE(CpuModel::find("nehalem")->has(feature)) << static_cast<unsigned>(feature);
    for (const Feature feature : {avx, avx2, bmi1, bmi2, f16c, fma, lzcnt, movbe, xsave})
        EXPECT_EQ(CpuModel::find("modern")->has(feature), host_has(feature)) << static_cast<unsigned>(feature);
    EXPECT_FALSE(CpuModel::find("nehalem")->has(avx));
}

}  // namespace

}  // namespace xenolith::test
