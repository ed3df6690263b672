// Runs one instruction on x87, MMX or XMM registers on the host and on our rows, from the same random state,
// and says in words what differs. States are drawn from values where formats, rounding and exceptions change.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "cpu/decode/decoder.hpp"
#include "cpu/state/cpu_state.hpp"
#include "tests/cpu/host_judge.hpp"
#include "tests/cpu/native_oracle.hpp"
#include "tests/cpu/row_bench.hpp"

namespace xenolith::test {

using Random = std::mt19937_64;

inline std::uint64_t pick(Random& random, std::uint64_t bound) { return random() % bound; }
inline bool chance(Random& random, unsigned one_in) { return pick(random, one_in) == 0; }

// --- Values

// A significand with few bits set, or many, or at the places where shorter formats round.
inline std::uint64_t edge_significand(Random& random) {
    constexpr std::uint64_t top = std::uint64_t{1} << 63;
    constexpr unsigned single_shift = 40, double_shift = 11;
    switch (pick(random, 7)) {
        case 0: return top;
        case 1: return ~std::uint64_t{0};
        case 2: return top | std::uint64_t{1} << pick(random, 63);
        case 3: return ~std::uint64_t{0} << pick(random, 63);
        case 4: return top | (random() << single_shift) | pick(random, 3) << (single_shift - 1);
        case 5: return top | (random() << double_shift) | pick(random, 3) << (double_shift - 1);
        default: return top | random();
    }
}

inline cpu::X87Register edge_real80(Random& random) {
    constexpr std::uint64_t top = std::uint64_t{1} << 63;
    constexpr int bias = 16383;
    const auto with = [&](int exponent, std::uint64_t significand) {
        const unsigned sign = pick(random, 2) != 0 ? 0x8000 : 0;
        return cpu::X87Register{significand, static_cast<std::uint16_t>(sign | static_cast<unsigned>(exponent))};
    };
    const auto near = [&](int exponent, unsigned reach) {
        return exponent - static_cast<int>(reach) + static_cast<int>(pick(random, 2 * reach + 1));
    };
    switch (pick(random, 20)) {
        case 0: return with(0, 0);
        case 1: return with(0x7fff, top);                                                // infinity
        case 2: return with(0x7fff, top | 1u << 30 | random() >> 2);                     // signalling NaN
        case 3: return with(0x7fff, top | top >> 1 | random() >> pick(random, 64));      // quiet NaN
        case 4: return with(0, random() >> (1 + pick(random, 63)));                      // denormal
        case 5: return with(0, top | random() >> pick(random, 64));                      // pseudo-denormal
        case 6: return with(1 + static_cast<int>(pick(random, 0x7fff)), random() >> 1);  // unnormal, pseudo-NaN
        case 7: return with(1 + static_cast<int>(pick(random, 70)), edge_significand(random));
        case 8: return with(0x7ffe - static_cast<int>(pick(random, 70)), edge_significand(random));
        case 9: return with(bias, top);
        case 10: return with(near(bias, 70), edge_significand(random));
        case 11: return with(near(bias, 3), edge_significand(random));
        case 12: return with(near(bias + 15, 3), edge_significand(random));  // limits of the integers
        case 13: return with(near(bias + 31, 3), edge_significand(random));
        case 14: return with(near(bias + 63, 4), edge_significand(random));
        case 15: return with(near(pick(random, 2) != 0 ? bias + 127 : bias - 138, 14), edge_significand(random));
        case 16: return with(near(pick(random, 2) != 0 ? bias + 1023 : bias - 1049, 28), edge_significand(random));
        case 17: return with(near(bias + 59, 2), edge_significand(random));  // 10^18
        case 18: return with(bias + 1 + static_cast<int>(pick(random, 64)), top | random() << pick(random, 64));
        default: return with(static_cast<int>(pick(random, 0x8000)), edge_significand(random));
    }
}

// For the two shorter formats: sign, exponent and fraction of which each is often an edge.
template <class T>
T edge_real(Random& random, unsigned fraction_bits) {
    const unsigned exponent_bits = sizeof(T) * 8 - 1 - fraction_bits;
    const T all = static_cast<T>((T{1} << exponent_bits) - 1);
    const T exponents[] = {0,
                           1,
                           2,
                           all,
                           static_cast<T>(all - 1),
                           static_cast<T>(all >> 1),
                           static_cast<T>((all >> 1) + pick(random, 66)),
                           static_cast<T>(random() & all)};
    const T fraction_mask = static_cast<T>((T{1} << fraction_bits) - 1);
    const T fractions[] = {0, 1, fraction_mask, static_cast<T>(T{1} << pick(random, fraction_bits)),
                           static_cast<T>(random() & fraction_mask)};
    const T sign = static_cast<T>(pick(random, 2)) << (sizeof(T) * 8 - 1);
    return static_cast<T>(sign | exponents[pick(random, 8)] << fraction_bits | fractions[pick(random, 5)]);
}

inline std::uint64_t edge_word(Random& random) {
    switch (pick(random, 6)) {
        case 0: return edge_real<std::uint64_t>(random, 52);
        case 1: return edge_real<std::uint32_t>(random, 23) | std::uint64_t{edge_real<std::uint32_t>(random, 23)} << 32;
        case 2: {
            constexpr std::uint64_t elements[] = {0, 0x7f, 0x80, 0xff, 1, 0x7fff, 0x8000, 0xffff, 0x7fffffff};
            std::uint64_t value = 0;
            for (unsigned n = 0; n < 4; ++n) value = value << 16 | elements[pick(random, 8)];
            return value;
        }
        case 3: return pick(random, 70);
        case 4: {
            constexpr std::uint64_t edges[] = {
                0, ~std::uint64_t{0}, std::uint64_t{1} << 63, ~std::uint64_t{0} >> 1, 0x80000000, 0x8000};
            return edges[pick(random, 6)];
        }
        default: return random();
    }
}

// Sixteen bytes for a memory operand of any kind.
inline std::array<std::uint64_t, 2> edge_operand(Random& random) {
    switch (pick(random, 3)) {
        case 0: {
            const cpu::X87Register value = edge_real80(random);
            return {value.significand, value.sign_exponent};
        }
        case 1: {
            std::uint64_t digits = 0;
            for (unsigned n = 0; n < 16; ++n) digits = digits << 4 | pick(random, 10);
            return {chance(random, 3) ? 0 : digits, pick(random, 10) | pick(random, 10) << 4 | pick(random, 2) << 15};
        }
        default: return {edge_word(random), edge_word(random)};
    }
}

// --- States

inline cpu::FloatingPointState random_state(Random& random) {
    cpu::FloatingPointState state;
    const unsigned masks = chance(random, 2) ? 0x3f : static_cast<unsigned>(random() & 0x3f);
    const unsigned precision = chance(random, 2) ? 3 : static_cast<unsigned>(pick(random, 4));
    const unsigned rounding = static_cast<unsigned>(pick(random, 4));
    state.control = static_cast<std::uint16_t>(masks | 0x40 | precision << 8 | rounding << 10);
    unsigned status = static_cast<unsigned>(random() & 0x477f) | static_cast<unsigned>(pick(random, 8)) << 11;
    if (!chance(random, 16)) status &= ~0x3fu | masks;
    if ((status & ~masks & 0x3f) != 0) status |= 0x8080;
    state.status = static_cast<std::uint16_t>(status);
    const unsigned emptiness = static_cast<unsigned>(pick(random, 8));
    state.tag = 0;
    for (unsigned n = 0; n < 8; ++n)
        if (emptiness == 7 || (emptiness >= 4 && chance(random, 2)))
            state.tag |= static_cast<std::uint16_t>(3 << n * 2);
    // Room to push is what most programs have.
    if (chance(random, 2)) state.tag |= static_cast<std::uint16_t>(3 << ((status >> 11) + 7) % 8 * 2);
    for (cpu::X87Register& value : state.registers) value = edge_real80(random);
    state.opcode = static_cast<std::uint16_t>(random() & 0x7ff);
    state.instruction_pointer = random() & 0x7fffffff;
    state.data_pointer = random() & 0x7fffffff;
    const unsigned simd_masks = chance(random, 2) ? 0x3f : static_cast<unsigned>(random() & 0x3f);
    state.mxcsr = static_cast<std::uint32_t>(simd_masks << 7 | (random() & 0x7f) | pick(random, 4) << 13);
    if (!chance(random, 16)) state.mxcsr &= ~0x3fu | simd_masks;
    for (auto& vector : state.vector) vector = {edge_word(random), edge_word(random), random(), random()};
    return state;
}

// --- One instruction, both ways

class FloatingPointBench {
  public:
    // Null where the host cannot judge.
    static std::unique_ptr<FloatingPointBench> create(NativeMode mode) {
        auto judge =
            HostJudge::create(mode == NativeMode::bits64 ? cpu::DecodeMode::long64 : cpu::DecodeMode::compatibility32);
        return judge == nullptr ? nullptr
                                : std::unique_ptr<FloatingPointBench>(new FloatingPointBench(std::move(judge)));
    }

    // False where Zydis does not know the bytes.
    bool decode(std::span<const std::uint8_t> bytes, cpu::fuzz::Encoding& encoding) const {
        std::array<std::uint8_t, cpu::Decoder::longest> padded{};
        std::ranges::copy(bytes, padded.begin());
        return judge_->reader().read(padded, encoding);
    }

    // Memory operands are addressed by RBX, or RDI where the instruction says so.
    void prepare(const cpu::fuzz::Encoding& encoding) { judge_->prepare(encoding); }

    // Empty if both did the same, else what differs.
    std::string run(Random& random) {
        const std::uint64_t base = judge_->memory_address(), address = place(random);
        cpu::fuzz::State start;
        for (std::uint64_t& value : start.registers.general) value = edge_word(random);
        start.registers.general[cpu::rbx] = start.registers.general[cpu::rdi] = address;
        start.registers.rflags = 0x202 | (random() & cpu::rflags::arithmetic);
        start.floating_point = random_state(random);
        const auto operand = edge_operand(random);
        std::vector<cpu::fuzz::Patch> patches;
        if (address - base <= NativeOracle::memory_size - sizeof(operand))
            patches.push_back({static_cast<std::uint32_t>(address - base), sizeof(operand), {operand[0], operand[1]}});
        return judge_->run(start, patches);
    }

  private:
    explicit FloatingPointBench(std::unique_ptr<HostJudge> judge) : judge_(std::move(judge)) {}

    // Mostly within the memory, sometimes across its end or a page's.
    std::uint64_t place(Random& random) {
        const std::uint64_t base = judge_->memory_address();
        if (chance(random, 32)) return base + NativeOracle::memory_size - pick(random, 16);
        if (chance(random, 32)) return base - pick(random, 16);
        if (chance(random, 16)) return base + 0x2000 - pick(random, 16);
        const std::uint64_t any = base + 0x1000 + pick(random, 0x1000);
        return chance(random, 2) ? any & ~std::uint64_t{15} : any;
    }

    std::unique_ptr<HostJudge> judge_;
};

// The fault an instruction raises with these bits in CR0 and these x87 exceptions pending unmasked, if any.
inline std::optional<cpu::Vector> fault_of(std::span<const std::uint8_t> bytes, std::uint64_t cr0_bits,
                                           std::uint16_t pending) {
    constexpr std::uint64_t memory = 0x500000;
    constexpr std::uint16_t summary = 0x8080;
    RowBench bench(NativeMode::bits64, memory);
    cpu::Instruction instruction;
    bench.decoder().decode(std::as_bytes(bytes), cpu::DecodeMode::long64, instruction);
    cpu::CpuState& state = bench.processor().state;
    constexpr std::uint64_t choice = cpu::cr0::em | cpu::cr0::ts | cpu::cr0::mp | cpu::cr0::ne;
    state.cr0 = (state.cr0 & ~choice) | cr0_bits;
    state.floating_point.control = 0x0340;
    state.floating_point.status = static_cast<std::uint16_t>(pending != 0 ? pending | summary : 0);
    state.floating_point.tag = 0xffff;
    state.registers[cpu::rax] = memory;
    bench.processor().current_ = &instruction;
    try {
        instruction.execute(bench.processor(), instruction);
    } catch (const cpu::Fault& fault) {
        return fault.vector;
    }
    return std::nullopt;
}

}  // namespace xenolith::test
