// Bit tests, scans and counts, conditional bytes, BMI1 and BMI2, CRC32 (SDM vol. 2).
#include <array>
#include <bit>

#include "cpu/isa/forms.hpp"
#include "cpu/isa/row.hpp"

namespace xenolith::cpu {

namespace {

// --- BT, BTS, BTR, BTC: only CF changes
// ----------------------------------------------------------------------------

enum class BitChange { none, set, reset, complement };

template <BitChange Change, std::unsigned_integral T>
struct BitTest {
    static void rr(Processor& p, const Instruction& i) { on_register(p, i, p.get<T>(i.registers[1])); }
    static void ri(Processor& p, const Instruction& i) { on_register(p, i, static_cast<T>(i.immediate)); }
    static void mi(Processor& p, const Instruction& i) {
        on_memory(p, i, p.effective_address(i), static_cast<T>(i.immediate));
    }
    // With a register the memory operand is a string of bits, addressed to either side of the effective
    // address.
    static void mr(Processor& p, const Instruction& i) {
        const T bit = p.get<T>(i.registers[1]);
        constexpr unsigned log2_bits = std::countr_zero(bits_of<T>);
        const auto element = static_cast<std::int64_t>(sign_extend(bit)) >> log2_bits;
        const std::uint64_t distance = static_cast<std::uint64_t>(element) * sizeof(T);
        on_memory(p, i, (p.effective_address(i) + distance) & Processor::address_mask(i.address_size), bit);
    }

  private:
    static T selected(T bit) { return static_cast<T>(T{1} << (bit & (bits_of<T> - 1))); }
    static T changed(T value, T mask) {
        if constexpr (Change == BitChange::set) return value | mask;
        if constexpr (Change == BitChange::reset) return static_cast<T>(value & ~mask);
        return value ^ mask;
    }
    static void on_register(Processor& p, const Instruction& i, T bit) {
        const T value = p.get<T>(i.registers[0]), mask = selected(bit);
        p.flags.set_cf((value & mask) != 0);
        if constexpr (Change != BitChange::none) p.set<T>(i.registers[0], changed(value, mask));
    }
    static void on_memory(Processor& p, const Instruction& i, std::uint64_t offset, T bit) {
        const T mask = selected(bit);
        if constexpr (Change == BitChange::none) {
            p.flags.set_cf((p.load<T>(i.segment, offset) & mask) != 0);
        } else {
            const T value = p.begin_modify<T>(i.segment, offset);
            p.flags.set_cf((value & mask) != 0);
            p.end_modify<T>(changed(value, mask));
        }
    }
};

template <BitChange Change>
Execute select_bit_test(const Shape& shape) {
    return with_wide_width(shape.width, [&]<class T>() -> Execute {
        switch (shape.form) {
            case form("rr"): return BitTest<Change, T>::rr;
            case form("ri"): return BitTest<Change, T>::ri;
            case form("mr"): return BitTest<Change, T>::mr;
            case form("mi"): return BitTest<Change, T>::mi;
            default: return nullptr;
        }
    });
}

// --- BSF, BSR: the destination stays as it is where no bit is set
// --------------------------------------------------

template <bool Forward, std::unsigned_integral T>
struct BitScan {
    static void rr(Processor& p, const Instruction& i) { scan(p, i, p.get<T>(i.registers[1])); }
    static void rm(Processor& p, const Instruction& i) { scan(p, i, p.load<T>(i)); }

  private:
    static void scan(Processor& p, const Instruction& i, T source) {
        p.flags.set_logic(source);  // ZF says that the source is zero; the other flags are undefined
        if (source == 0) return;
        const int number =
            Forward ? std::countr_zero(source) : static_cast<int>(bits_of<T>) - 1 - std::countl_zero(source);
        p.set<T>(i.registers[0], static_cast<T>(number));
    }
};

template <bool Forward>
Execute select_bit_scan(const Shape& shape) {
    return with_wide_width(shape.width, [&]<class T>() -> Execute {
        if (shape.form == form("rr")) return BitScan<Forward, T>::rr;
        if (shape.form == form("rm")) return BitScan<Forward, T>::rm;
        return nullptr;
    });
}

// --- POPCNT, TZCNT, LZCNT, BLSI, BLSMSK, BLSR
// ----------------------------------------------------------------------

struct PopulationCount {
    template <class T>
    static T apply(Processor& p, T source) {
        p.flags.set_bits(source == 0 ? rflags::zf : 0);
        return static_cast<T>(std::popcount(source));
    }
};

struct TrailingZeros {
    template <class T>
    static T apply(Processor& p, T source) {
        const T result = static_cast<T>(std::countr_zero(source));
        p.flags.set_result(result, source == 0, false);
        return result;
    }
};

struct LeadingZeros {
    template <class T>
    static T apply(Processor& p, T source) {
        const T result = static_cast<T>(std::countl_zero(source));
        p.flags.set_result(result, source == 0, false);
        return result;
    }
};

struct IsolateLowestSet {
    template <class T>
    static T apply(Processor& p, T source) {
        const T result = static_cast<T>(source & (0 - source));
        p.flags.set_result(result, source != 0, false);
        return result;
    }
};

struct MaskToLowestSet {
    template <class T>
    static T apply(Processor& p, T source) {
        const T result = static_cast<T>(source ^ (source - 1));
        p.flags.set_result(result, source == 0, false);
        return result;
    }
};

struct ResetLowestSet {
    template <class T>
    static T apply(Processor& p, T source) {
        const T result = static_cast<T>(source & (source - 1));
        p.flags.set_result(result, source == 0, false);
        return result;
    }
};

// --- ANDN, BEXTR, BZHI, PDEP, PEXT
// ---------------------------------------------------------------------------------

struct AndNot {
    template <class T>
    static T apply(Processor& p, T inverted, T source) {
        const T result = static_cast<T>(~inverted & source);
        p.flags.set_logic(result);
        return result;
    }
};

struct ExtractField {
    template <class T>
    static T apply(Processor& p, T source, T control) {
        const unsigned start = control & 0xff, length = control >> 8 & 0xff;
        T result = start < bits_of<T> ? static_cast<T>(source >> start) : T{0};
        if (length < bits_of<T>) result = static_cast<T>(result & ((T{1} << length) - 1));
        p.flags.set_logic(result);
        return result;
    }
};

struct ZeroHighBits {
    template <class T>
    static T apply(Processor& p, T source, T control) {
        const unsigned kept = control & 0xff;
        const bool all = kept >= bits_of<T>;
        const T result = all ? source : static_cast<T>(source & ((T{1} << kept) - 1));
        p.flags.set_result(result, all, false);
        return result;
    }
};

struct Deposit {
    template <class T>
    static T apply(Processor&, T source, T mask) {
        T result = 0;
        for (; mask != 0; mask &= mask - 1, source >>= 1) {
            if ((source & 1) != 0) result |= mask & (0 - mask);
        }
        return result;
    }
};

struct Extract {
    template <class T>
    static T apply(Processor&, T source, T mask) {
        T result = 0;
        for (T bit = 1; mask != 0; mask &= mask - 1, bit <<= 1) {
            if ((source & mask & (0 - mask)) != 0) result |= bit;
        }
        return result;
    }
};

template <class Operation>
Execute select_large_conversion(const Shape& shape) {
    return shape.width == 2 ? nullptr : select_conversion<Operation>(shape);
}

// --- SETcc
// -------------------------------------------------------------------------------------------------------

template <unsigned Code>
struct SetByte {
    static void r(Processor& p, const Instruction& i) {
        p.set<std::uint8_t>(i.registers[0], p.flags.condition<Code>());
    }
    static void m(Processor& p, const Instruction& i) { p.store<std::uint8_t>(i, p.flags.condition<Code>()); }
};

template <unsigned Code>
Execute select_set_byte(const Shape& shape) {
    if (shape.form == form("r")) return SetByte<Code>::r;
    if (shape.form == form("m")) return SetByte<Code>::m;
    return nullptr;
}

template <unsigned Code>
constexpr Row set_byte(ZydisMnemonic mnemonic) {
    return {mnemonic, select_set_byte<Code>, CostClass::simple};
}

// --- CRC32
// -------------------------------------------------------------------------------------------------------

// The polynomial 11EDC6F41H, bits reversed, a byte at a time.
constexpr auto crc32_table = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        std::uint32_t value = byte;
        for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ ((value & 1) != 0 ? 0x82f63b78 : 0);
        table[byte] = value;
    }
    return table;
}();

// The destination is 32 bits, or 64 of which the upper half is cleared.
template <std::unsigned_integral T>
struct CyclicRedundancyCheck {
    static void rr(Processor& p, const Instruction& i) { accumulate(p, i, p.get<T>(i.registers[1])); }
    static void rm(Processor& p, const Instruction& i) { accumulate(p, i, p.load<T>(i)); }

  private:
    static void accumulate(Processor& p, const Instruction& i, std::uint64_t source) {
        auto value = p.get<std::uint32_t>(i.registers[0]);
        for (unsigned n = 0; n < sizeof(T); ++n, source >>= 8)
            value = value >> 8 ^ crc32_table[(value ^ source) & 0xff];
        p.set<std::uint32_t>(i.registers[0], value);
    }
};

Execute select_crc32(const Shape& shape) {
    return with_width(shape.operands[1].size / 8u, [&]<class T>() -> Execute {
        if (shape.form == form("rr")) return CyclicRedundancyCheck<T>::rr;
        if (shape.form == form("rm")) return CyclicRedundancyCheck<T>::rm;
        return nullptr;
    });
}

}  // namespace

std::span<const Row> bit_rows() {
    using enum CostClass;
    static const std::array rows = {
        Row{ZYDIS_MNEMONIC_BT, select_bit_test<BitChange::none>, simple},
        Row{ZYDIS_MNEMONIC_BTS, select_bit_test<BitChange::set>, simple},
        Row{ZYDIS_MNEMONIC_BTR, select_bit_test<BitChange::reset>, simple},
        Row{ZYDIS_MNEMONIC_BTC, select_bit_test<BitChange::complement>, simple},
        Row{ZYDIS_MNEMONIC_BSF, select_bit_scan<true>, simple},
        Row{ZYDIS_MNEMONIC_BSR, select_bit_scan<false>, simple},
        set_byte<0x0>(ZYDIS_MNEMONIC_SETO),
        set_byte<0x1>(ZYDIS_MNEMONIC_SETNO),
        set_byte<0x2>(ZYDIS_MNEMONIC_SETB),
        set_byte<0x3>(ZYDIS_MNEMONIC_SETNB),
        set_byte<0x4>(ZYDIS_MNEMONIC_SETZ),
        set_byte<0x5>(ZYDIS_MNEMONIC_SETNZ),
        set_byte<0x6>(ZYDIS_MNEMONIC_SETBE),
        set_byte<0x7>(ZYDIS_MNEMONIC_SETNBE),
        set_byte<0x8>(ZYDIS_MNEMONIC_SETS),
        set_byte<0x9>(ZYDIS_MNEMONIC_SETNS),
        set_byte<0xa>(ZYDIS_MNEMONIC_SETP),
        set_byte<0xb>(ZYDIS_MNEMONIC_SETNP),
        set_byte<0xc>(ZYDIS_MNEMONIC_SETL),
        set_byte<0xd>(ZYDIS_MNEMONIC_SETNL),
        set_byte<0xe>(ZYDIS_MNEMONIC_SETLE),
        set_byte<0xf>(ZYDIS_MNEMONIC_SETNLE),
        Row{ZYDIS_MNEMONIC_POPCNT, select_conversion<PopulationCount>, simple, 0, Feature::popcnt},
        Row{ZYDIS_MNEMONIC_TZCNT, select_conversion<TrailingZeros>, simple, 0, Feature::bmi1},
        Row{ZYDIS_MNEMONIC_LZCNT, select_conversion<LeadingZeros>, simple, 0, Feature::lzcnt},
        Row{ZYDIS_MNEMONIC_BLSI, select_large_conversion<IsolateLowestSet>, simple, 0, Feature::bmi1},
        Row{ZYDIS_MNEMONIC_BLSMSK, select_large_conversion<MaskToLowestSet>, simple, 0, Feature::bmi1},
        Row{ZYDIS_MNEMONIC_BLSR, select_large_conversion<ResetLowestSet>, simple, 0, Feature::bmi1},
        Row{ZYDIS_MNEMONIC_ANDN, select_ternary<AndNot>, simple, 0, Feature::bmi1},
        Row{ZYDIS_MNEMONIC_BEXTR, select_ternary<ExtractField>, simple, 0, Feature::bmi1},
        Row{ZYDIS_MNEMONIC_BZHI, select_ternary<ZeroHighBits>, simple, 0, Feature::bmi2},
        Row{ZYDIS_MNEMONIC_PDEP, select_ternary<Deposit>, multiply, 0, Feature::bmi2},
        Row{ZYDIS_MNEMONIC_PEXT, select_ternary<Extract>, multiply, 0, Feature::bmi2},
        Row{ZYDIS_MNEMONIC_CRC32, select_crc32, multiply, 0, Feature::sse4_2},
    };
    return rows;
}

}  // namespace xenolith::cpu
