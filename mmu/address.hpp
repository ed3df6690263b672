// Address types: a guest-physical and a guest-linear address never mix, and neither is a bare integer.
#pragma once

#include <compare>
#include <cstdint>

namespace xenolith::mmu {

inline constexpr std::uint64_t page_size = 4096;
inline constexpr std::uint64_t page_mask = page_size - 1;

// An address behind the guest's page tables, in bytes.
struct GuestPhysical {
    std::uint64_t value = 0;

    constexpr auto operator<=>(const GuestPhysical&) const = default;
    constexpr GuestPhysical operator+(std::uint64_t bytes) const { return {value + bytes}; }
    constexpr std::uint64_t operator-(GuestPhysical other) const { return value - other.value; }
    constexpr GuestPhysical page() const { return {value & ~page_mask}; }
    constexpr std::uint64_t page_offset() const { return value & page_mask; }
    constexpr std::uint64_t page_number() const { return value / page_size; }
};

// An address in front of the guest's page tables, segment base already added, in bytes.
struct GuestLinear {
    std::uint64_t value = 0;

    constexpr auto operator<=>(const GuestLinear&) const = default;
    constexpr GuestLinear operator+(std::uint64_t bytes) const { return {value + bytes}; }
    constexpr GuestLinear page() const { return {value & ~page_mask}; }
    constexpr std::uint64_t page_offset() const { return value & page_mask; }
    // Canonical for 48-bit linear addresses (Intel SDM vol. 1, 3.3.7.1).
    constexpr bool is_canonical() const {
        return static_cast<std::uint64_t>(static_cast<std::int64_t>(value << 16) >> 16) == value;
    }
};

}  // namespace xenolith::mmu
