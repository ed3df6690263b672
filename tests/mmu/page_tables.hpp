// Page tables in guest memory for tests: one mapping in any paging mode, each of its entries free to be
// changed.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <vector>

#include "mmu/page_walk.hpp"

namespace xenolith::mmu::test {

constexpr std::uint64_t bit(unsigned position) { return std::uint64_t{1} << position; }
constexpr std::uint64_t bits(unsigned low, unsigned high) {  // both included
    std::uint64_t mask = 0;
    for (unsigned position = low; position <= high; ++position) mask |= bit(position);
    return mask;
}

namespace entry {
inline constexpr std::uint64_t present = bit(0);
inline constexpr std::uint64_t writable = bit(1);
inline constexpr std::uint64_t user = bit(2);
inline constexpr std::uint64_t accessed = bit(5);
inline constexpr std::uint64_t dirty = bit(6);
inline constexpr std::uint64_t page_size = bit(7);
inline constexpr std::uint64_t global = bit(8);
inline constexpr std::uint64_t no_execute = bit(63);
}  // namespace entry

namespace cr0 {
inline constexpr std::uint64_t wp = bit(16), pg = bit(31);
}
namespace cr4 {
inline constexpr std::uint64_t pse = bit(4), pae = bit(5), pge = bit(7), pcide = bit(17), smep = bit(20),
                               smap = bit(21);
}
namespace efer {
inline constexpr std::uint64_t lme = bit(8), lma = bit(10), nxe = bit(11);
}

enum class Paging { two_level_4k, two_level_4m, pae_4k, pae_2m, four_level_4k, four_level_2m, four_level_1g };

inline constexpr Paging every_paging[] = {Paging::two_level_4k, Paging::two_level_4m,  Paging::pae_4k,
                                          Paging::pae_2m,       Paging::four_level_4k, Paging::four_level_2m,
                                          Paging::four_level_1g};

inline const char* name_of(Paging paging) {
    static constexpr const char* names[] = {"TwoLevel4K",  "TwoLevel4M",  "Pae4K",      "Pae2M",
                                            "FourLevel4K", "FourLevel2M", "FourLevel1G"};
    return names[static_cast<int>(paging)];
}

inline bool is_two_level(Paging paging) { return paging <= Paging::two_level_4m; }
inline bool is_four_level(Paging paging) { return paging >= Paging::four_level_4k; }

// 1 MiB of RAM at 0, tables from 0x1000 on, and one mapping that grants everything: present, writable, user.
class PageTables {
  public:
    explicit PageTables(Paging paging) {
        memory.add_ram({0}, 0x100000, "ram");
        context.cr0 = cr0::pg;
        context.cr3 = 0x1000;
        linear = is_four_level(paging) ? GuestLinear{0xffffd1abcd6f7123} : GuestLinear{0xcd6f7123};

        switch (paging) {
            case Paging::two_level_4k: build(4, {{22, 10}, {12, 10}}, 0x12345000); break;
            case Paging::two_level_4m: build(4, {{22, 10}}, 0x40400000 | entry::page_size); break;
            case Paging::pae_4k: build(8, {{21, 9}, {12, 9}}, 0x212345000); break;
            case Paging::pae_2m: build(8, {{21, 9}}, 0x240200000 | entry::page_size); break;
            case Paging::four_level_4k: build(8, {{39, 9}, {30, 9}, {21, 9}, {12, 9}}, 0x212345000); break;
            case Paging::four_level_2m: build(8, {{39, 9}, {30, 9}, {21, 9}}, 0x240200000 | entry::page_size); break;
            case Paging::four_level_1g: build(8, {{39, 9}, {30, 9}}, 0x280000000 | entry::page_size); break;
        }
        if (is_two_level(paging)) {
            context.cr4 = cr4::pse;
        } else {
            context.cr4 = cr4::pae;
            if (is_four_level(paging)) context.efer = efer::lme | efer::lma;
        }
        if (paging == Paging::pae_4k || paging == Paging::pae_2m) {
            context.cr3 = 0xf000;  // not read: the registers count
            context.pdpte[(linear.value >> 30) & 3] = 0x1000 | entry::present;
        }
        physical = {frame + (linear.value & (mapping_size - 1))};
        memory.take_dirty_pages();
    }

    // Number of entries that the walk reads from memory. Entry 0 is the leaf, 1 the one above it, and so on.
    std::size_t length() const { return addresses_.size(); }
    GuestPhysical address_of(std::size_t above_leaf) const { return addresses_[length() - 1 - above_leaf]; }

    std::uint64_t get(std::size_t above_leaf) const {
        std::uint64_t value = 0;
        if (!memory.read(address_of(above_leaf), std::as_writable_bytes(std::span(&value, 1)).first(entry_size_)))
            throw std::logic_error("entry is not in memory");
        return value;
    }
    void put(std::size_t above_leaf, std::uint64_t value) {
        put_at(address_of(above_leaf), value);
        memory.take_dirty_pages();
    }
    void set(std::size_t above_leaf, std::uint64_t mask) { put(above_leaf, get(above_leaf) | mask); }
    void clear(std::size_t above_leaf, std::uint64_t mask) { put(above_leaf, get(above_leaf) & ~mask); }

    auto walk_it(Access access, Privilege privilege) { return walk(memory, context, linear, access, privilege); }

    GuestMemory memory;
    PagingContext context;
    GuestLinear linear;
    GuestPhysical physical;  // what `linear` maps to
    std::uint64_t mapping_size = 0;
    std::uint64_t frame = 0;

  private:
    struct Index {
        unsigned shift;
        unsigned width;
    };

    void build(std::size_t entry_size, const std::vector<Index>& levels, std::uint64_t leaf) {
        entry_size_ = entry_size;
        std::uint64_t table = 0x1000;
        for (const Index& level : levels) {
            const std::uint64_t index = (linear.value >> level.shift) & (bit(level.width) - 1);
            addresses_.push_back({table + index * entry_size});
            table += 0x1000;
            const bool last = addresses_.size() == levels.size();
            put_at(addresses_.back(), (last ? leaf : table) | entry::present | entry::writable | entry::user);
        }
        mapping_size = bit(levels.back().shift);
        frame = leaf & ~entry::page_size;
    }

    void put_at(GuestPhysical address, std::uint64_t value) {
        memory.place(address, std::as_bytes(std::span(&value, 1)).first(entry_size_));
    }

    std::size_t entry_size_ = 8;
    std::vector<GuestPhysical> addresses_;  // from the root down
};

}  // namespace xenolith::mmu::test
