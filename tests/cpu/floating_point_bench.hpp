// Runs one instruction on x87, MMX or XMM registers on the host and on our rows, from the same random state,
// and says in words what differs. States are drawn from values where formats, rounding and exceptions change.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "cpu/decode/decoder.hpp"
#include "cpu/state/cpu_state.hpp"
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

struct FloatingPointEncoding {
    std::vector<std::byte> bytes;
    ZydisDecodedInstruction decoded;
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
    cpu::Instruction instruction;

    std::string text() const {
        ZydisFormatter formatter;
        ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
        char line[96];
        ZydisFormatterFormatInstruction(&formatter, &decoded, operands.data(), decoded.operand_count_visible, line,
                                        sizeof(line), 0, nullptr);
        std::ostringstream out;
        out << line << "  [" << std::hex;
        for (const std::byte byte : bytes) out << ' ' << std::to_integer<unsigned>(byte);
        out << " ]";
        return out.str();
    }
};

class FloatingPointBench {
  public:
    // Null where the host cannot judge.
    static std::unique_ptr<FloatingPointBench> create(NativeMode mode) {
        auto oracle = NativeOracle::create(mode, NativeUnits::all);
        if (oracle == nullptr) return nullptr;
        return std::unique_ptr<FloatingPointBench>(new FloatingPointBench(mode, std::move(oracle)));
    }

    // False where Zydis does not know the bytes. Whether we do is in `instruction`.
    bool decode(std::span<const std::uint8_t> bytes, FloatingPointEncoding& encoding) const {
        std::array<std::uint8_t, 15> padded{};
        std::ranges::copy(bytes, padded.begin());
        if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&zydis_, padded.data(), padded.size(), &encoding.decoded,
                                                 encoding.operands.data())))
            return false;
        const auto as_bytes = std::as_bytes(std::span(padded)).first(encoding.decoded.length);
        encoding.bytes.assign(as_bytes.begin(), as_bytes.end());
        const auto code_mode = mode_ == NativeMode::bits64 ? cpu::DecodeMode::long64 : cpu::DecodeMode::compatibility32;
        bench_.decoder().decode(encoding.bytes, code_mode, encoding.instruction);
        return true;
    }

    // Memory operands are addressed by RBX, or RDI where the instruction says so.
    void prepare(const FloatingPointEncoding& encoding) {
        encoding_ = &encoding;
        oracle_->set_instruction(encoding.bytes);
    }

    // Empty if both did the same, else what differs.
    std::string run(Random& random) {
        Start start;
        start.address = place(random);
        for (std::uint64_t& value : start.registers.general) value = edge_word(random);
        start.registers.general[cpu::rbx] = start.registers.general[cpu::rdi] = start.address;
        start.registers.rflags = 0x202 | (random() & cpu::rflags::arithmetic);
        start.state = random_state(random);
        start.operand = edge_operand(random);
        // A host that switches tasks between loading the state and the instruction may lose x87 pointers that
        // no pending exception needs: such a difference does not come again.
        std::string difference;
        for (unsigned attempt = 0; attempt < 3; ++attempt) {
            bool only_pointers = true;
            difference = run_once(start, only_pointers);
            if (difference.empty() || !only_pointers) break;
        }
        return difference;
    }

  private:
    struct Start {
        NativeRegisters registers;
        cpu::FloatingPointState state;
        std::uint64_t address = 0;
        std::array<std::uint64_t, 2> operand{};
    };

    std::string run_once(const Start& from, bool& only_pointers) {
        const NativeRegisters& registers = from.registers;
        const cpu::FloatingPointState& start = from.state;
        const std::uint64_t offset = from.address - oracle_->memory_address();
        if (offset <= NativeOracle::memory_size - sizeof(from.operand)) {
            std::memcpy(oracle_->memory().data() + offset, from.operand.data(), sizeof(from.operand));
            std::memcpy(bench_.memory().data() + offset, from.operand.data(), sizeof(from.operand));
        }

        cpu::FloatingPointState native_state = start;
        const NativeOutcome native = oracle_->run(registers, native_state);
        cpu::Processor& processor = bench_.processor();
        processor.state.floating_point = start;
        processor.state.cr4 |= cpu::cr4::osfxsr | cpu::cr4::osxmmexcpt | cpu::cr4::osxsave;
        processor.state.xcr0 = 7;
        const NativeOutcome ours = run_ours(registers);
        cpu::FloatingPointState our_state = processor.state.floating_point;
        normalize(our_state);

        std::ostringstream out;
        out << std::hex;
        const auto compare = [&](const std::string& name, std::uint64_t here, std::uint64_t there,
                                 std::uint64_t before) {
            if (here != there)
                out << "  " << name << ": " << here << ", the host has " << there << ", at the start " << before
                    << '\n';
        };
        const auto vector_of = [](const NativeOutcome& o) { return o.fault ? o.fault->vector : 0xfffu; };
        compare("fault", vector_of(ours), vector_of(native), 0xfff);
        if (native.fault && ours.fault && native.fault->vector == 14) {
            compare("fault address", ours.fault->address, native.fault->address, 0);
            compare("fault code", ours.fault->error_code, native.fault->error_code, 0);
        }
        const bool is_64 = mode_ == NativeMode::bits64;
        for (unsigned n = 0; n < (is_64 ? 16u : 8u); ++n) {
            const std::uint64_t mask = is_64 ? ~std::uint64_t{0} : 0xffffffff;
            compare("general register " + std::to_string(n), ours.registers.general[n] & mask,
                    native.registers.general[n] & mask, registers.general[n]);
        }
        compare("flags", ours.registers.rflags, native.registers.rflags, registers.rflags);
        compare("control", our_state.control, native_state.control, start.control);
        compare("status", our_state.status, native_state.status, start.status);
        compare("tag", our_state.tag, native_state.tag, start.tag);
        compare("MXCSR", our_state.mxcsr, native_state.mxcsr, start.mxcsr);
        for (unsigned n = 0; n < 8; ++n) {
            const std::string name = "R" + std::to_string(n);
            compare(name + " significand", our_state.registers[n].significand, native_state.registers[n].significand,
                    start.registers[n].significand);
            compare(name + " exponent", our_state.registers[n].sign_exponent, native_state.registers[n].sign_exponent,
                    start.registers[n].sign_exponent);
        }
        for (unsigned n = 0; n < (is_64 ? 16u : 8u); ++n)
            for (unsigned word = 0; word < 4; ++word)
                compare("vector " + std::to_string(n) + " word " + std::to_string(word), our_state.vector[n][word],
                        native_state.vector[n][word], start.vector[n][word]);
        if (std::memcmp(oracle_->memory().data(), bench_.memory().data(), NativeOracle::memory_size) != 0) {
            const auto [there, here] = std::ranges::mismatch(oracle_->memory(), bench_.memory());
            out << "  memory at operand +" << std::dec
                << there - oracle_->memory().begin() - static_cast<std::ptrdiff_t>(offset) << std::hex << ": "
                << std::to_integer<unsigned>(*here) << ", the host has " << std::to_integer<unsigned>(*there) << '\n';
            std::ranges::copy(oracle_->memory(), bench_.memory().begin());
        }
        only_pointers = out.str().empty();
        // CPUs of one vendor keep the pointers only while an exception is pending, and show zeros otherwise.
        constexpr unsigned summary = 0x80;
        if ((native_state.status & summary) != 0) {
            compare("opcode", our_state.opcode, native_state.opcode, start.opcode);
            compare("instruction pointer", our_state.instruction_pointer, native_state.instruction_pointer,
                    start.instruction_pointer);
            compare("data pointer", our_state.data_pointer, native_state.data_pointer, start.data_pointer);
            if (!is_64 && !native.fault) {
                compare("instruction selector", our_state.instruction_selector, native_state.instruction_selector, 0);
                compare("data selector", our_state.data_selector, native_state.data_selector, 0);
            }
        }
        std::string difference = out.str();
        if (!difference.empty()) {
            out << "  started with control " << start.control << " status " << start.status << " tag " << start.tag
                << " operand " << from.operand[1] << ':' << from.operand[0] << '\n';
            for (unsigned n = 0; n < 8; ++n) {
                const cpu::X87Register& value = start.registers[((start.status >> 11) + n) & 7];
                out << "    ST(" << n << ") " << value.sign_exponent << ':' << value.significand << '\n';
            }
            difference = out.str();
        }
        return difference;
    }

    FloatingPointBench(NativeMode mode, std::unique_ptr<NativeOracle> oracle)
        : mode_(mode), oracle_(std::move(oracle)), bench_(mode, oracle_->memory_address()) {
        if (mode == NativeMode::bits64) {
            ZydisDecoderInit(&zydis_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
        } else {
            ZydisDecoderInit(&zydis_, ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32);
        }
        Random random{3};
        for (std::byte& byte : oracle_->memory()) byte = static_cast<std::byte>(random());
        std::ranges::copy(oracle_->memory(), bench_.memory().begin());
    }

    // Mostly within the memory, sometimes across its end or a page's.
    std::uint64_t place(Random& random) {
        const std::uint64_t base = oracle_->memory_address();
        if (chance(random, 32)) return base + NativeOracle::memory_size - pick(random, 16);
        if (chance(random, 32)) return base - pick(random, 16);
        if (chance(random, 16)) return base + 0x2000 - pick(random, 16);
        const std::uint64_t any = base + 0x1000 + pick(random, 0x1000);
        return chance(random, 2) ? any & ~std::uint64_t{15} : any;
    }

    NativeOutcome run_ours(const NativeRegisters& registers) {
        cpu::Processor& processor = bench_.processor();
        const cpu::Instruction& instruction = encoding_->instruction;
        std::ranges::copy(registers.general, processor.state.registers.begin());
        processor.state.registers[cpu::CpuState::rip_slot] = oracle_->instruction_address();
        processor.state.rflags = registers.rflags & ~cpu::rflags::arithmetic;
        processor.flags.set_bits(registers.rflags);
        processor.current_ = &instruction;
        NativeOutcome outcome;
        try {
            instruction.execute(processor, instruction);
        } catch (const cpu::Fault& fault) {
            outcome.fault = NativeFault{.vector = static_cast<unsigned>(fault.vector),
                                        .error_code = fault.error_code.value_or(0),
                                        .address = fault.linear_address,
                                        .rip_offset = 0};
        }
        std::copy_n(processor.state.registers.begin(), 16, outcome.registers.general.begin());
        outcome.registers.rflags = processor.rflags_value();
        return outcome;
    }

    // Tags say only whether a register is empty.
    static void normalize(cpu::FloatingPointState& state) {
        unsigned tag = 0;
        for (unsigned n = 0; n < 8; ++n)
            if ((state.tag >> n * 2 & 3) == 3) tag |= 3u << n * 2;
        state.tag = static_cast<std::uint16_t>(tag);
    }

    NativeMode mode_;
    std::unique_ptr<NativeOracle> oracle_;
    RowBench bench_;
    ZydisDecoder zydis_;
    const FloatingPointEncoding* encoding_ = nullptr;
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
