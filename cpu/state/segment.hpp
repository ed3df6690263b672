// A segment register with the part software cannot see: the descriptor it was loaded from.
#pragma once

#include <cstdint>

namespace xenolith::cpu {

// Descriptor attributes, laid out as in the second doubleword of a descriptor, shifted right by 8
// (SDM vol. 3A, 3.4.5), which is also how a VMCS and KVM's neighbours store them.
struct SegmentAttributes {
    std::uint32_t bits = 0;

    static constexpr std::uint32_t type_mask = 0xf, s = 1u << 4, dpl_mask = 3u << 5, present_bit = 1u << 7,
                                   avl = 1u << 12, l = 1u << 13, db = 1u << 14, g = 1u << 15, unusable_bit = 1u << 16;

    constexpr std::uint32_t type() const { return bits & type_mask; }
    constexpr bool is_code_or_data() const { return (bits & s) != 0; }
    constexpr bool is_system() const { return (bits & s) == 0; }
    constexpr unsigned dpl() const { return (bits & dpl_mask) >> 5; }
    constexpr bool present() const { return (bits & present_bit) != 0; }
    constexpr bool long_mode() const { return (bits & l) != 0; }
    constexpr bool default_big() const { return (bits & db) != 0; }
    constexpr bool granular() const { return (bits & g) != 0; }
    constexpr bool unusable() const { return (bits & unusable_bit) != 0; }
    // Of a code or data descriptor's type field.
    constexpr bool accessed() const { return (bits & 1) != 0; }
    constexpr bool is_code() const { return is_code_or_data() && (bits & 8) != 0; }
    constexpr bool is_data() const { return is_code_or_data() && (bits & 8) == 0; }
    constexpr bool code_readable() const { return (bits & 2) != 0; }
    constexpr bool conforming() const { return (bits & 4) != 0; }
    constexpr bool data_writable() const { return (bits & 2) != 0; }
    constexpr bool expand_down() const { return (bits & 4) != 0; }

    constexpr bool operator==(const SegmentAttributes&) const = default;
};

struct SegmentRegister {
    std::uint16_t selector = 0;
    std::uint64_t base = 0;
    std::uint32_t limit = 0;  // in bytes, granularity already applied: the last valid offset
    SegmentAttributes attributes;

    constexpr bool operator==(const SegmentRegister&) const = default;
};

struct DescriptorTable {
    std::uint64_t base = 0;
    std::uint16_t limit = 0;

    constexpr bool operator==(const DescriptorTable&) const = default;
};

}  // namespace xenolith::cpu
