// Loads and stores of chosen elements, gathers, and the clearing of registers (SDM vol. 2: MASKMOVDQU,
// VMASKMOV, VPMASKMOV, VGATHER, VPGATHER, VZEROALL, VZEROUPPER).
#include <algorithm>
#include <array>
#include <concepts>

#include "cpu/isa/floating_point.hpp"
#include "cpu/isa/forms.hpp"
#include "cpu/isa/row.hpp"
#include "cpu/processor.hpp"

namespace xenolith::cpu {

namespace {

// --- Elements of a register
// -----------------------------------------------------------------------------------------

template <class T>
T element(const Vector256& vector, unsigned n) {
    T value;
    std::memcpy(&value, reinterpret_cast<const std::byte*>(vector.data()) + n * sizeof(T), sizeof(T));
    return value;
}
template <class T>
void set_element(Vector256& vector, unsigned n, T value) {
    std::memcpy(reinterpret_cast<std::byte*>(vector.data()) + n * sizeof(T), &value, sizeof(T));
}
template <class T>
bool chosen(const Vector256& mask, unsigned n) {
    return sign_bit(element<T>(mask, n));
}

std::uint64_t place(const Instruction& i, std::uint64_t start, std::uint64_t distance) {
    return (start + distance) & Processor::address_mask(i.address_size);
}

Vector256& vector_register(Processor& p, std::uint8_t number) { return p.state.floating_point.vector[number]; }

// Everything that can fault happens before any element is stored. `offset_of(n)` is where an element goes.
template <class T, class OffsetOf>
void store_chosen(Processor& p, const Instruction& i, OffsetOf offset_of, const Vector256& mask, const Vector256& from,
                  unsigned count) {
    for (unsigned n = 0; n < count; ++n)
        if (chosen<T>(mask, n)) p.probe_write(i.segment, offset_of(n), sizeof(T));
    for (unsigned n = 0; n < count; ++n)
        if (chosen<T>(mask, n)) p.store<T>(i.segment, offset_of(n), element<T>(from, n));
}

// --- MASKMOVDQU: bytes to DS:rDI
// ----------------------------------------------------------------------------------------

// To Intel's CPUs they are two quadwords, the upper one first, that have to be writable and aligned whatever the mask.
// AMD's look at the bytes alone that are chosen.
template <bool Vex>
void store_masked_bytes(Processor& p, const Instruction& i) {
    if constexpr (Vex)
        require_avx(p);
    else
        require_sse(p);
    const std::uint64_t start = p.state.registers[rdi] & Processor::address_mask(i.address_size);
    if (p.model.vendor() == Vendor::intel)
        for (const unsigned half : {8u, 0u}) p.probe_write(i.segment, place(i, start, half), 8);
    store_chosen<std::uint8_t>(
        p, i, [&](unsigned n) { return place(i, start, n); }, vector_register(p, i.registers[1]),
        vector_register(p, i.registers[0]), 16);
}

Execute select_store_masked_bytes(const Shape& shape) {
    if (shape.form != form("rr")) return nullptr;
    return shape.instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ? store_masked_bytes<true>
                                                                        : store_masked_bytes<false>;
}

// --- VMASKMOV, VPMASKMOV: elements that are not chosen are not touched, and read as zero. They raise no #AC. All are
// parts of one operand, whose end does not wrap around at the address size, and is seen to first.
// -------------------------------------

// The last chosen element, or -1.
template <class T>
int last_chosen(const Vector256& mask, unsigned count) {
    int n = static_cast<int>(count) - 1;
    while (n >= 0 && !chosen<T>(mask, static_cast<unsigned>(n))) --n;
    return n;
}

template <class T>
void load_masked(Processor& p, const Instruction& i) {
    require_avx(p);
    const std::uint64_t start = p.effective_address(i);
    const Vector256& mask = vector_register(p, i.registers[1]);
    const unsigned count = i.width / static_cast<unsigned>(sizeof(T));
    const int last = last_chosen<T>(mask, count);
    Vector256 result{};
    p.without_alignment_checks([&] {
        if (last >= 0) p.linear_for_read(i.segment, start + static_cast<unsigned>(last) * sizeof(T), sizeof(T));
        for (unsigned n = 0; n < count; ++n)
            if (chosen<T>(mask, n)) set_element(result, n, p.load<T>(i.segment, start + n * sizeof(T)));
    });
    vector_register(p, i.registers[0]) = result;
}

template <class T>
void store_masked(Processor& p, const Instruction& i) {
    require_avx(p);
    const std::uint64_t start = p.effective_address(i);
    const Vector256& mask = vector_register(p, i.registers[1]);
    const unsigned count = i.width / static_cast<unsigned>(sizeof(T));
    const int last = last_chosen<T>(mask, count);
    p.without_alignment_checks([&] {
        if (last >= 0) p.linear_for_write(i.segment, start + static_cast<unsigned>(last) * sizeof(T), sizeof(T));
        store_chosen<T>(
            p, i, [&](unsigned n) { return start + n * sizeof(T); }, mask, vector_register(p, i.registers[2]), count);
    });
}

template <class T>
Execute select_masked(const Shape& shape) {
    return shape.form == form("rrm") ? load_masked<T> : shape.form == form("mrr") ? store_masked<T> : nullptr;
}

// --- Gathers
// --------------------------------------------------------------------------------------------------------

// Elements of T at signed indices of Index, from the lowest up. What has been loaded is done with: its
// element is written and its mask cleared, so that a fault further up finds the instruction to be continued
// there. Intel's CPUs begin by making each element of the mask all ones or all zeros, clear the destination's upper
// half, if that is not used, with the first element, and raise no #AC; AMD's clear both at the end.
template <class T, class Index>
void gather(Processor& p, const Instruction& i) {
    require_avx(p);
    Vector256 &to = vector_register(p, i.registers[0]), &mask = vector_register(p, i.registers[2]);
    const Vector256& indices = vector_register(p, i.registers[1]);
    constexpr unsigned elements = 32 / sizeof(T);
    const unsigned count = static_cast<unsigned>(i.width / std::max(sizeof(T), sizeof(Index)));
    const unsigned used = i.width / static_cast<unsigned>(sizeof(T));
    const std::uint64_t start = p.effective_address(i);
    const bool intel = p.model.vendor() == Vendor::intel;
    const auto clear_from = [&](unsigned first) {
        for (unsigned n = first; n < elements; ++n) set_element<T>(to, n, 0);
    };
    const auto load = [&](unsigned n) {
        const std::uint64_t distance = sign_extend(element<Index>(indices, n)) << i.scale_shift;
        return p.load<T>(i.segment, place(i, start, distance));
    };
    if (intel)
        for (unsigned n = 0; n < elements; ++n)
            set_element<T>(mask, n, n < used && chosen<T>(mask, n) ? static_cast<T>(~T{0}) : T{0});
    for (unsigned n = 0; n < count; ++n) {
        if (chosen<T>(mask, n)) {
            set_element(to, n, intel ? p.without_alignment_checks([&] { return load(n); }) : load(n));
            if (intel) clear_from(used);
        }
        set_element<T>(mask, n, 0);
    }
    clear_from(count);
    mask = {};
}

// The three registers must differ: #UD.
template <class T, class Index>
Execute select_gather(const Shape& shape) {
    Instruction& out = shape.out;
    if (shape.instruction.encoding != ZYDIS_INSTRUCTION_ENCODING_VEX || shape.form != form("rmr")) return nullptr;
    if (out.registers[0] == out.registers[1] || out.registers[0] == out.registers[2] ||
        out.registers[1] == out.registers[2])
        return nullptr;
    const auto is_ymm = [&](ZydisRegister name) { return ZydisRegisterGetClass(name) == ZYDIS_REGCLASS_YMM; };
    // The wider of data and indices.
    out.width = is_ymm(shape.operands[0].reg.value) || is_ymm(shape.operands[1].mem.index) ? 32 : 16;
    return gather<T, Index>;
}

// --- VZEROALL, VZEROUPPER: registers that this mode can name
// --------------------------------------------------------------

template <unsigned FirstWord>
void clear_registers(Processor& p, const Instruction&) {
    require_avx(p);
    const unsigned count = p.code64() ? 16 : 8;
    for (unsigned n = 0; n < count; ++n) {
        Vector256& vector = vector_register(p, static_cast<std::uint8_t>(n));
        for (unsigned word = FirstWord; word < 4; ++word) vector[word] = 0;
    }
}

}  // namespace

std::span<const Row> vector_masked_rows() {
    using U32 = std::uint32_t;
    using U64 = std::uint64_t;
    constexpr CostClass cost = CostClass::vector, slow = CostClass::vector_long;
    constexpr Feature avx = Feature::avx, avx2 = Feature::avx2;
    static constexpr std::array rows = {
        Row{ZYDIS_MNEMONIC_MASKMOVDQU, select_store_masked_bytes, slow, 0, Feature::sse2},
        Row{ZYDIS_MNEMONIC_VMASKMOVDQU, select_store_masked_bytes, slow, 0, avx},
        Row{ZYDIS_MNEMONIC_VMASKMOVPS, select_masked<U32>, cost, 0, avx},
        Row{ZYDIS_MNEMONIC_VMASKMOVPD, select_masked<U64>, cost, 0, avx},
        Row{ZYDIS_MNEMONIC_VPMASKMOVD, select_masked<U32>, cost, 0, avx2},
        Row{ZYDIS_MNEMONIC_VPMASKMOVQ, select_masked<U64>, cost, 0, avx2},
        Row{ZYDIS_MNEMONIC_VGATHERDPS, select_gather<U32, U32>, slow, 0, avx2},
        Row{ZYDIS_MNEMONIC_VGATHERQPS, select_gather<U32, U64>, slow, 0, avx2},
        Row{ZYDIS_MNEMONIC_VGATHERDPD, select_gather<U64, U32>, slow, 0, avx2},
        Row{ZYDIS_MNEMONIC_VGATHERQPD, select_gather<U64, U64>, slow, 0, avx2},
        Row{ZYDIS_MNEMONIC_VPGATHERDD, select_gather<U32, U32>, slow, 0, avx2},
        Row{ZYDIS_MNEMONIC_VPGATHERQD, select_gather<U32, U64>, slow, 0, avx2},
        Row{ZYDIS_MNEMONIC_VPGATHERDQ, select_gather<U64, U32>, slow, 0, avx2},
        Row{ZYDIS_MNEMONIC_VPGATHERQQ, select_gather<U64, U64>, slow, 0, avx2},
        Row{ZYDIS_MNEMONIC_VZEROALL, always<clear_registers<0>>, cost, 0, avx},
        Row{ZYDIS_MNEMONIC_VZEROUPPER, always<clear_registers<2>>, cost, 0, avx},
    };
    return rows;
}

}  // namespace xenolith::cpu
