// The execute functions of vector instructions: where operands come from and go to (SDM vol. 1, 10 to 15;
// vol. 2A, 2.4).
#include "cpu/isa/vector_forms.hpp"

#include <array>
#include <utility>

#include "cpu/isa/floating_point.hpp"
#include "cpu/processor.hpp"

namespace xenolith::cpu {

namespace {

constexpr std::uint32_t exception_flags = 0x3f, exception_masks = 0x1f80, flush_to_zero = 0x8000;
constexpr std::uint32_t computed_first = 0x07;  // invalid, denormal, divide by zero
constexpr std::uint32_t overflow = 0x08, underflow = 0x10, inexact = 0x20;

// MXCSR holds the masks seven bits above their flags.
constexpr std::uint32_t unmasked(std::uint32_t flags, std::uint32_t mxcsr) { return flags & ~(mxcsr >> 7); }

// The flags an operation raises, with everything masked.
std::uint32_t flags_of(VectorOperation operation, Vector256& result, const Vector256& first, const Vector256& second,
                       std::uint64_t immediate, std::uint32_t mxcsr) {
    const std::uint32_t of_host = _mm_getcsr();
    _mm_setcsr((mxcsr & ~exception_flags) | exception_masks);
    operation(result, first, second, immediate);
    const std::uint32_t raised = _mm_getcsr() & exception_flags;
    _mm_setcsr(of_host);
    return raised;
}

}  // namespace

// SDM vol. 1, 11.5.2 and 11.5.3. Three exceptions are found before anything is computed: if one of them is
// unmasked the others never come to light. An unmasked underflow is a tiny result, a masked one has to be
// inexact as well; flushing to zero looks at tininess alone, so a second run with it tells. Whether a result that
// overflows or underflows unmasked is inexact is another question than if masked, and asked then; for AMD's CPUs it is
// not known to be.
void run_floating(Processor& p, VectorOperation operation, Vector256& result, const Vector256& first,
                  const Vector256& second, std::uint64_t immediate) {
    std::uint32_t& mxcsr = p.state.floating_point.mxcsr;
    if ((mxcsr & exception_masks) == exception_masks) [[likely]] {
        mxcsr |= flags_of(operation, result, first, second, immediate, mxcsr);
        return;
    }
    const Vector256 before = result;
    const std::uint32_t settings = mxcsr & ~flush_to_zero;
    const auto flags_again = [&](std::uint64_t question, std::uint32_t with) {
        Vector256 scratch = before;
        return flags_of(operation, scratch, first, second, immediate | question, with);
    };
    std::uint32_t raised =
        flags_of(operation, result, first, second, immediate,
                 unmasked(underflow, mxcsr) != 0 ? settings : mxcsr);  // flushing needs underflow masked
    if (unmasked(raised & computed_first, mxcsr) != 0) {
        raised &= computed_first;
    } else {
        if (unmasked(underflow, mxcsr) != 0 && (raised & underflow) == 0)
            raised |= flags_again(looks_for_tininess, settings | flush_to_zero) & underflow;
        if (p.model.vendor() == Vendor::intel && unmasked(raised & (overflow | underflow), mxcsr) != 0 &&
            (raised & inexact) != 0)
            raised &= ~inexact | flags_again(looks_for_inexactness | std::uint64_t{mxcsr} << mxcsr_shift, settings);
    }
    mxcsr |= raised;
    if (unmasked(raised, mxcsr) != 0)
        p.raise((p.state.cr4 & cr4::osxmmexcpt) != 0 ? Vector::simd_error : Vector::invalid_opcode);
}

namespace {

enum class Encoding : unsigned { plain, vex, count };
enum class Destination : unsigned { xmm, ymm, xmm_masked, ymm_masked, general32, general64, memory, flags, count };
enum class Source : unsigned {
    vector,
    general32,
    general64,
    immediate,
    small,  // memory of Instruction::width bytes: 1, 2, 4 or 8
    small_unchecked,
    memory16,
    memory16_aligned,
    memory32,
    memory32_aligned,
    count,
};

void load_small(Processor& p, const Instruction& i, Vector256& to) {
    to = {};
    switch (i.width) {
        case 1: to[0] = p.load<std::uint8_t>(i); break;
        case 2: to[0] = p.load<std::uint16_t>(i); break;
        case 4: to[0] = p.load<std::uint32_t>(i); break;
        default: to[0] = p.load<std::uint64_t>(i); break;
    }
}

// Memory destinations: 1 to 32 bytes, by Instruction::width; 16 and 32 may have to be aligned.
template <bool MustBeAligned>
void store_result(Processor& p, const Instruction& i, const Vector256& from) {
    const std::uint64_t at = p.effective_address(i);
    switch (i.width) {
        case 1: p.store(i.segment, at, static_cast<std::uint8_t>(from[0])); break;
        case 2: p.store(i.segment, at, static_cast<std::uint16_t>(from[0])); break;
        case 4: p.store(i.segment, at, static_cast<std::uint32_t>(from[0])); break;
        case 8: p.store(i.segment, at, from[0]); break;
        case 16: p.store_vector<16, MustBeAligned>(i.segment, at, from.data()); break;
        default: p.store_vector<32, MustBeAligned>(i.segment, at, from.data()); break;
    }
}

template <Encoding E>
void require_registers(Processor& p) {
    if constexpr (E == Encoding::vex)
        require_avx(p);
    else
        require_sse(p);
}

template <Source S>
const Vector256& fetch(Processor& p, const Instruction& i, Vector256& space) {
    if constexpr (S == Source::vector) {
        return p.state.floating_point.vector[i.registers[2]];
    } else {
        if constexpr (S == Source::general32) {
            space = {p.get<std::uint32_t>(i.registers[2])};
        } else if constexpr (S == Source::general64) {
            space = {p.get<std::uint64_t>(i.registers[2])};
        } else if constexpr (S == Source::immediate) {
            space = {i.immediate};
        } else if constexpr (S == Source::small) {
            load_small(p, i, space);
        } else if constexpr (S == Source::small_unchecked) {
            if (p.model.vendor() == Vendor::intel)
                p.without_alignment_checks([&] { load_small(p, i, space); });
            else
                load_small(p, i, space);
        } else {
            constexpr bool aligned = S == Source::memory16_aligned || S == Source::memory32_aligned;
            constexpr unsigned size = S == Source::memory32 || S == Source::memory32_aligned ? 32 : 16;
            if constexpr (size == 16) space[2] = space[3] = 0;
            p.load_vector<size, aligned>(i.segment, p.effective_address(i), space.data());
        }
        return space;
    }
}

template <bool Floating>
void compute(Processor& p, const Instruction& i, Vector256& to, const Vector256& first, const Vector256& second) {
    if constexpr (Floating)
        run_floating(p, i.operation, to, first, second, i.immediate);
    else
        i.operation(to, first, second, i.immediate);
}

template <Encoding E, Destination D, Source S, bool Floating>
void execute_vector(Processor& p, const Instruction& i) {
    require_registers<E>(p);
    auto& registers = p.state.floating_point.vector;
    Vector256 space;
    const Vector256& second = fetch<S>(p, i, space);
    const Vector256& first = registers[i.registers[1]];
    if constexpr (D == Destination::general32 || D == Destination::general64) {
        Vector256 result{};
        compute<Floating>(p, i, result, first, second);
        if constexpr (D == Destination::general32)
            p.set(i.registers[0], static_cast<std::uint32_t>(result[0]));
        else
            p.set(i.registers[0], result[0]);
    } else if constexpr (D == Destination::flags) {
        Vector256 result{};
        compute<Floating>(p, i, result, first, second);
        p.flags.set_bits(result[0]);
    } else {
        Vector256& to = registers[i.registers[0]];
        constexpr bool masked = D == Destination::xmm_masked || D == Destination::ymm_masked;
        constexpr bool wide = D == Destination::ymm || D == Destination::ymm_masked;
        if constexpr (Floating || masked) {
            // A fault must leave the destination, and a mask register must stay.
            Vector256 result = masked ? registers[i.registers[3]] : to;
            compute<Floating>(p, i, result, first, second);
            to[0] = result[0];
            to[1] = result[1];
            if constexpr (wide) {
                to[2] = result[2];
                to[3] = result[3];
            }
        } else {
            compute<false>(p, i, to, first, second);
        }
        if constexpr (E == Encoding::vex && !wide) to[2] = to[3] = 0;
    }
}

template <Encoding E, bool MustBeAligned>
void execute_store(Processor& p, const Instruction& i) {
    require_registers<E>(p);
    const Vector256& source = p.state.floating_point.vector[i.registers[2]];
    Vector256 result{};
    compute<false>(p, i, result, source, source);
    store_result<MustBeAligned>(p, i, result);
}

// VCVTPS2PH. AMD's CPUs look at the operand first. Intel's convert first, so that a page fault finds MXCSR with the
// flags of the conversion, and do not check alignment (SDM vol. 2A, 2.4, exceptions of type 11).
void execute_floating_store(Processor& p, const Instruction& i) {
    require_avx(p);
    const Vector256& source = p.state.floating_point.vector[i.registers[2]];
    Vector256 result{};
    if (p.model.vendor() == Vendor::intel) {
        compute<true>(p, i, result, source, source);
        p.without_alignment_checks([&] { store_result<false>(p, i, result); });
    } else {
        p.probe_write(i.segment, p.effective_address(i), i.width);
        compute<true>(p, i, result, source, source);
        store_result<false>(p, i, result);
    }
}

// --- The table of them all
// ------------------------------------------------------------------------------------------

constexpr unsigned destinations = static_cast<unsigned>(Destination::count);
constexpr unsigned sources = static_cast<unsigned>(Source::count);
constexpr unsigned combinations = 2 * destinations * sources * 2;

constexpr unsigned combination(Encoding e, Destination d, Source s, bool floating) {
    return ((static_cast<unsigned>(e) * destinations + static_cast<unsigned>(d)) * sources + static_cast<unsigned>(s)) *
               2 +
           (floating ? 1 : 0);
}

constexpr bool is_wide(Destination d) { return d == Destination::ymm || d == Destination::ymm_masked; }
constexpr bool is_general(Destination d) {
    return d == Destination::general32 || d == Destination::general64 || d == Destination::flags;
}
constexpr bool is_general(Source s) { return s == Source::general32 || s == Source::general64; }

// Combinations that no instruction has are left out, for the compiler's sake.
constexpr bool exists(Encoding e, Destination d, Source s, bool floating) {
    if (d == Destination::memory) return false;
    if (e == Encoding::plain && (is_wide(d) || s == Source::memory32 || s == Source::memory32_aligned)) return false;
    if (s == Source::immediate && (floating || (d != Destination::xmm && d != Destination::ymm))) return false;
    if (is_general(s) && d != Destination::xmm) return false;
    if (s == Source::small_unchecked && (e == Encoding::plain || !floating || is_general(d))) return false;
    if (floating && (s == Source::memory32_aligned || d == Destination::xmm_masked || d == Destination::ymm_masked))
        return false;
    return true;
}

template <unsigned N>
constexpr Execute combination_at() {
    constexpr bool floating = N % 2 != 0;
    constexpr auto s = static_cast<Source>(N / 2 % sources);
    constexpr auto d = static_cast<Destination>(N / 2 / sources % destinations);
    constexpr auto e = static_cast<Encoding>(N / 2 / sources / destinations);
    if constexpr (exists(e, d, s, floating)) {
        return execute_vector<e, d, s, floating>;
    } else {
        return nullptr;
    }
}

constexpr auto executes = []<unsigned... N>(std::integer_sequence<unsigned, N...>) {
    return std::array<Execute, combinations>{combination_at<N>()...};
}
(std::make_integer_sequence<unsigned, combinations>{});

// --- Reading an encoding
// --------------------------------------------------------------------------------------------

ZydisRegisterClass class_of(const ZydisDecodedOperand& operand) {
    return operand.type == ZYDIS_OPERAND_TYPE_REGISTER ? ZydisRegisterGetClass(operand.reg.value)
                                                       : ZYDIS_REGCLASS_INVALID;
}

struct Operands {
    const ZydisDecodedOperand* at[ZYDIS_MAX_OPERAND_COUNT];  // all but immediates
    std::uint8_t numbers[ZYDIS_MAX_OPERAND_COUNT];           // as Instruction::registers has them
    unsigned count = 0;
    bool any_256_bits = false;
    bool any_other = false;  // a register that is none of XMM, YMM and general ones
};

Operands operands_of(const Shape& shape) {
    Operands found;
    for (unsigned n = 0; n < shape.instruction.operand_count_visible; ++n) {
        const ZydisDecodedOperand& operand = shape.operands[n];
        if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) continue;
        found.numbers[found.count] = n < 4 ? shape.out.registers[n] : std::uint8_t{0};
        found.at[found.count++] = &operand;
        if (operand.size == 256 || class_of(operand) == ZYDIS_REGCLASS_YMM) found.any_256_bits = true;
        switch (class_of(operand)) {
            case ZYDIS_REGCLASS_INVALID:
            case ZYDIS_REGCLASS_XMM:
            case ZYDIS_REGCLASS_YMM:
            case ZYDIS_REGCLASS_GPR8:
            case ZYDIS_REGCLASS_GPR16:
            case ZYDIS_REGCLASS_GPR32:
            case ZYDIS_REGCLASS_GPR64: break;
            default: found.any_other = true; break;
        }
    }
    return found;
}

Source source_of(const ZydisDecodedOperand& operand, bool aligned) {
    switch (class_of(operand)) {
        case ZYDIS_REGCLASS_XMM:
        case ZYDIS_REGCLASS_YMM: return Source::vector;
        case ZYDIS_REGCLASS_GPR64: return Source::general64;
        case ZYDIS_REGCLASS_INVALID: break;
        default: return Source::general32;
    }
    if (operand.size == 256) return aligned ? Source::memory32_aligned : Source::memory32;
    if (operand.size == 128) return aligned ? Source::memory16_aligned : Source::memory16;
    return Source::small;
}

Destination destination_of(const ZydisDecodedOperand& operand, std::uint8_t traits) {
    const bool masked = (traits & vector_trait::masked) != 0;
    if ((traits & vector_trait::sets_flags) != 0) return Destination::flags;
    switch (class_of(operand)) {
        case ZYDIS_REGCLASS_XMM: return masked ? Destination::xmm_masked : Destination::xmm;
        case ZYDIS_REGCLASS_YMM: return masked ? Destination::ymm_masked : Destination::ymm;
        case ZYDIS_REGCLASS_GPR64: return Destination::general64;
        case ZYDIS_REGCLASS_INVALID: return Destination::memory;
        default: return Destination::general32;
    }
}

Execute select_store(const Shape& shape, bool vex, bool aligned, bool floating) {
    shape.out.width = static_cast<std::uint8_t>(shape.operands[0].size / 8);
    if (floating) return vex ? execute_floating_store : nullptr;
    if (vex) return aligned ? execute_store<Encoding::vex, true> : execute_store<Encoding::vex, false>;
    return aligned ? execute_store<Encoding::plain, true> : execute_store<Encoding::plain, false>;
}

}  // namespace

Execute select_vector(const Shape& shape) { return select_vector(shape, shape.row->vector); }

Execute select_vector(const Shape& shape, const VectorOperations& operations) {
    const std::uint8_t traits = operations.traits;
    const bool vex = shape.instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
    if (!vex && shape.instruction.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY) return nullptr;
    const Operands operands = operands_of(shape);
    if (operands.any_other || operands.count == 0) return nullptr;

    const bool floating = (traits & vector_trait::floating) != 0;
    const bool aligned = vex ? (traits & vector_trait::aligned) != 0 : (traits & vector_trait::unaligned) == 0;
    const ZydisDecodedOperand& last = *operands.at[operands.count - 1];
    const Destination destination = destination_of(*operands.at[0], traits);
    // The mask of BLENDV and its like is XMM0, or with VEX prefix the register behind the sources.
    const bool masked = (traits & vector_trait::masked) != 0;
    const unsigned source_at = operands.count - (masked && vex ? 2 : 1);
    const ZydisDecodedOperand& second = *operands.at[source_at];

    // The integer is the destination if that is a general register, else the source.
    const bool is_64_bits =
        (traits & vector_trait::integer64) != 0 &&
        (destination == Destination::general64 || (destination == Destination::xmm && last.size == 64));
    VectorOperation operation = operands.any_256_bits || is_64_bits ? operations.wide : operations.narrow;
    Instruction& out = shape.out;
    out.immediate &= 0xff;
    out.registers[0] = operands.numbers[0];

    if (destination == Destination::memory) {
        if (operations.to_memory != nullptr) operation = operations.to_memory;
        out.registers[2] = operands.numbers[1];
        out.operation = operation;
        return operation == nullptr ? nullptr : select_store(shape, vex, aligned, floating);
    }
    Source source = Source::immediate;
    const bool counts =
        (traits & vector_trait::counts) != 0 &&
        shape.operands[shape.instruction.operand_count_visible - 1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
    // Where the destination is no vector there is no first source; any register will do.
    const bool to_general = destination == Destination::general32 || destination == Destination::general64;
    out.registers[1] = to_general ? std::uint8_t{0} : operands.numbers[0];
    if (counts) {
        if (operands.count > 1) out.registers[1] = operands.numbers[1];
    } else {
        source = source_of(second, aligned);
        if (source == Source::small && (traits & vector_trait::unchecked) != 0) source = Source::small_unchecked;
        out.registers[2] = operands.numbers[source_at];
        if (source_at > 1) out.registers[1] = operands.numbers[1];
        if (second.type == ZYDIS_OPERAND_TYPE_MEMORY) {
            out.width = static_cast<std::uint8_t>(second.size / 8);
            if (operations.from_memory != nullptr) operation = operations.from_memory;
        }
        if (masked) out.registers[3] = vex ? operands.numbers[operands.count - 1] : std::uint8_t{0};
    }
    out.operation = operation;
    if (operation == nullptr) return nullptr;
    return executes[combination(vex ? Encoding::vex : Encoding::plain, destination, source, floating)];
}

std::vector<Row> rows_of(std::span<const VectorRow> table) {
    std::vector<Row> rows;
    for (const VectorRow& entry : table) {
        const auto add = [&](ZydisMnemonic mnemonic, Feature feature) {
            if (mnemonic == ZYDIS_MNEMONIC_INVALID) return;
            Row row{mnemonic, select_vector, entry.cost, row_flag::vector_operand, feature};
            row.vector = entry.operations;
            rows.push_back(row);
        };
        add(entry.plain, entry.feature);
        add(entry.vex, entry.vex_feature);
    }
    return rows;
}

}  // namespace xenolith::cpu
