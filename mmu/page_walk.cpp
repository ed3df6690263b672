// How a walk is done.
//
// All paging modes are the same walk: a chain of table entries, each found by a few bits of the linear
// address in the table that the entry before it names, ended by a leaf that maps memory. They differ in where
// the chain starts, in how wide an entry is, and in which of its bits are reserved. So the work is in two
// halves. `follow` reads the chain and knows the modes; it stops at an entry that is not present or has a
// reserved bit set. What it leaves behind, a Chain, holds the rights that all the entries together grant.
// `walk` judges an access against these rights, the same way in every mode, and only when the access may
// happen writes accessed and dirty bits back into the entries.
//
// The sections cited are those of the Intel SDM, volume 3A, chapter 4.
#include "mmu/page_walk.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>
#include <span>

namespace xenolith::mmu {
namespace {

constexpr std::uint64_t bit(unsigned position) { return std::uint64_t{1} << position; }

// Bits low..high, both included; none if high < low.
constexpr std::uint64_t bits(unsigned low, unsigned high) {
    return high < low ? 0 : (~std::uint64_t{0} << low) & (~std::uint64_t{0} >> (63 - high));
}

constexpr std::uint64_t cr0_wp = bit(16);
constexpr std::uint64_t cr0_pg = bit(31);
constexpr std::uint64_t cr4_pse = bit(4);
constexpr std::uint64_t cr4_pae = bit(5);
constexpr std::uint64_t cr4_pge = bit(7);
constexpr std::uint64_t cr4_smep = bit(20);
constexpr std::uint64_t cr4_smap = bit(21);
constexpr std::uint64_t efer_lme = bit(8);
constexpr std::uint64_t efer_lma = bit(10);
constexpr std::uint64_t efer_nxe = bit(11);

// Bits that mean the same in the entries of every mode (4.3 to 4.5).
constexpr std::uint64_t entry_present = bit(0);
constexpr std::uint64_t entry_writable = bit(1);
constexpr std::uint64_t entry_user = bit(2);
constexpr std::uint64_t entry_accessed = bit(5);
constexpr std::uint64_t entry_dirty = bit(6);
constexpr std::uint64_t entry_page_size = bit(7);
constexpr std::uint64_t entry_global = bit(8);
constexpr std::uint64_t entry_no_execute = bit(63);

constexpr std::uint64_t table_address = bits(12, 51);

enum class Ending : std::uint8_t { mapped, not_present, reserved_bit };

struct Entry {
    GuestPhysical address;
    std::uint64_t value = 0;
};

// The entries of one walk, and the rights they grant together (4.6). The PDPTE registers of PAE paging are
// not among them: they are not read from memory, have no accessed bit and no say in rights.
struct Chain {
    std::array<Entry, 4> entries;
    std::uint8_t length = 0;
    std::uint8_t entry_size = 8;            // bytes
    std::uint64_t all = ~std::uint64_t{0};  // bits set in every entry
    std::uint64_t any = 0;                  // bits set in at least one
    std::uint64_t physical = 0;             // of the byte asked for
    std::uint64_t mapping_size = 0;

    const Entry& leaf() const { return entries[length - 1u]; }

    std::uint64_t read(const GuestMemory& memory, GuestPhysical address) {
        std::uint64_t value = entry_size == 8 ? ~std::uint64_t{0} : bits(0, 31);
        // An entry is aligned to its size, so it never crosses a page.
        if (const std::byte* const bytes = memory.readable(address)) {
            if (entry_size == 8) {
                std::memcpy(&value, bytes, sizeof value);
            } else {
                std::uint32_t narrow = 0;
                std::memcpy(&narrow, bytes, sizeof narrow);
                value = narrow;
            }
        }
        entries[length++] = {address, value};
        all &= value;
        any |= value;
        return value;
    }

    Ending map(std::uint64_t frame, unsigned offset_bits, std::uint64_t linear) {
        physical = frame | (linear & bits(0, offset_bits - 1));
        mapping_size = bit(offset_bits);
        return Ending::mapped;
    }
};

unsigned physical_bits(unsigned asked) { return std::clamp(asked, 32u, 52u); }

// 32-bit paging, with 4 MiB pages and PSE-36 (4.3, table 4-4).
Ending follow_two_levels(const GuestMemory& memory, const PagingContext& context, std::uint64_t linear, Chain& chain) {
    chain.entry_size = 4;
    const std::uint64_t directory = context.cr3 & bits(12, 31);
    const std::uint64_t pde = chain.read(memory, {directory + (linear >> 22) * 4});
    if ((pde & entry_present) == 0) return Ending::not_present;

    if ((pde & entry_page_size) != 0 && (context.cr4 & cr4_pse) != 0) {
        // Bits 13 and up hold physical address bits 32 and up, as many as there are, eight at most. The rest
        // up to and including bit 21 are reserved. Bit 12 is the PAT bit.
        const unsigned width = context.pse36 ? std::min(40u, physical_bits(context.physical_address_bits)) : 32u;
        if ((pde & bits(width - 19, 21)) != 0) return Ending::reserved_bit;
        return chain.map((pde & bits(22, 31)) | (pde & bits(13, 20)) << 19, 22, linear);
    }

    const std::uint64_t pte = chain.read(memory, {(pde & bits(12, 31)) + ((linear >> 12) & 0x3ff) * 4});
    if ((pte & entry_present) == 0) return Ending::not_present;
    return chain.map(pte & bits(12, 31), 12, linear);
}

// The levels that PAE paging and 4-level paging share, from `table` down. `shift` is the lowest
// linear-address bit that the first level's index uses: 39 for a PML4 table, 30 for a page-directory-pointer
// table, 21 for a page directory, 12 for a page table. `reserved` is reserved in an entry of any level.
Ending follow_wide(const GuestMemory& memory, std::uint64_t table, unsigned shift, std::uint64_t reserved,
                   bool gigabyte_pages, std::uint64_t linear, Chain& chain) {
    for (;; shift -= 9) {
        const std::uint64_t entry = chain.read(memory, {table + ((linear >> shift) & 0x1ff) * 8});
        if ((entry & entry_present) == 0) return Ending::not_present;
        if ((entry & reserved) != 0) return Ending::reserved_bit;
        if (shift == 12) return chain.map(entry & table_address, shift, linear);
        if ((entry & entry_page_size) != 0) {
            const bool large_page_level = shift == 21 || (shift == 30 && gigabyte_pages);
            // Between the PAT bit and the frame's first bit all is reserved.
            if (!large_page_level || (entry & bits(13, shift - 1)) != 0) return Ending::reserved_bit;
            return chain.map(entry & table_address & ~bits(0, shift - 1), shift, linear);
        }
        table = entry & table_address;
    }
}

// PAE paging (4.4).
Ending follow_pae(const GuestMemory& memory, const PagingContext& context, std::uint64_t linear, Chain& chain) {
    const unsigned width = physical_bits(context.physical_address_bits);
    const std::uint64_t pdpte = context.pdpte[(linear >> 30) & 3];
    if ((pdpte & entry_present) == 0) return Ending::not_present;
    const std::uint64_t reserved = bits(width, 62) | ((context.efer & efer_nxe) == 0 ? entry_no_execute : 0);
    return follow_wide(memory, pdpte & bits(12, width - 1), 21, reserved, false, linear, chain);
}

// 4-level paging (4.5). CR3's low twelve bits are cache controls or, with CR4.PCIDE, the PCID: no part of the
// address.
Ending follow_four_levels(const GuestMemory& memory, const PagingContext& context, std::uint64_t linear, Chain& chain) {
    const unsigned width = physical_bits(context.physical_address_bits);
    const std::uint64_t reserved = bits(width, 51) | ((context.efer & efer_nxe) == 0 ? entry_no_execute : 0);
    return follow_wide(memory, context.cr3 & bits(12, width - 1), 39, reserved, context.gigabyte_pages, linear, chain);
}

bool in_ia32e_mode(const PagingContext& context) {
    // With paging on, the two bits are equal (4.1.1).
    return (context.efer & (efer_lme | efer_lma)) != 0 && (context.cr4 & cr4_pae) != 0;
}

// Outside IA-32e mode a linear address has 32 bits (4.1).
std::uint64_t usable_linear(const PagingContext& context, GuestLinear address) {
    const bool wide = (context.cr0 & cr0_pg) != 0 && in_ia32e_mode(context);
    return wide ? address.value : address.value & bits(0, 31);
}

Ending follow(const GuestMemory& memory, const PagingContext& context, std::uint64_t linear, Chain& chain) {
    if (in_ia32e_mode(context)) return follow_four_levels(memory, context, linear, chain);
    if ((context.cr4 & cr4_pae) != 0) return follow_pae(memory, context, linear, chain);
    return follow_two_levels(memory, context, linear, chain);
}

// 4.6.1: which accesses the rights of a complete chain allow.
struct Rights {
    bool read;
    bool write;
    bool execute;

    bool allow(Access access) const {
        switch (access) {
            case Access::read: return read;
            case Access::write: return write;
            case Access::execute: return execute;
        }
        return false;
    }
};

Rights rights_of(const Chain& chain, const PagingContext& context, Privilege privilege) {
    const bool user_page = (chain.all & entry_user) != 0;
    const bool writable = (chain.all & entry_writable) != 0;
    // In 32-bit paging entries have no bit 63; elsewhere, with NXE clear, a set one has already ended the
    // walk.
    const bool executable = (chain.any & entry_no_execute) == 0;

    if (privilege == Privilege::user) return {user_page, user_page && writable, user_page && executable};

    const bool smap_refuses = user_page && (context.cr4 & cr4_smap) != 0 && privilege != Privilege::supervisor_ac;
    const bool smep_refuses = user_page && (context.cr4 & cr4_smep) != 0;
    const bool write_protected = (context.cr0 & cr0_wp) != 0 && !writable;
    return {!smap_refuses, !smap_refuses && !write_protected, !smep_refuses && executable};
}

// 4.7.
PageFaultInformation page_fault(const PagingContext& context, Access access, Privilege privilege, std::uint32_t cause) {
    const bool fetches_are_told =
        (context.cr4 & cr4_smep) != 0 || ((context.cr4 & cr4_pae) != 0 && (context.efer & efer_nxe) != 0);
    std::uint32_t code = cause;
    if (access == Access::write) code |= page_fault_bit::write;
    if (privilege == Privilege::user) code |= page_fault_bit::user;
    if (access == Access::execute && fetches_are_told) code |= page_fault_bit::instruction;
    return {code};
}

// 4.8. From the root to the leaf: where an entry refers to its own table it is in the chain twice, and the
// leaf's value, with the dirty bit, must be the one that stays. A table in ROM keeps what it has.
void set_accessed_and_dirty(GuestMemory& memory, const Chain& chain, Access access) {
    for (std::size_t index = 0; index < chain.length; ++index) {
        const Entry& entry = chain.entries[index];
        const bool dirtied = access == Access::write && index + 1u == chain.length;
        const std::uint64_t value = entry.value | entry_accessed | (dirtied ? entry_dirty : 0);
        if (value == entry.value) continue;
        // The entry's low bytes come first, as they do in the guest, so its first entry_size bytes are the
        // entry.
        static_assert(std::endian::native == std::endian::little);
        memory.write(entry.address, std::as_bytes(std::span(&value, 1)).first(chain.entry_size));
    }
}

}  // namespace

std::variant<Translation, PageFaultInformation> walk(GuestMemory& memory, const PagingContext& context,
                                                     GuestLinear address, Access access, Privilege privilege) {
    const std::uint64_t linear = usable_linear(context, address);
    if ((context.cr0 & cr0_pg) == 0) return Translation{{linear}, page_size, 0, true, true, false};

    Chain chain;
    switch (follow(memory, context, linear, chain)) {
        case Ending::not_present: return page_fault(context, access, privilege, 0);
        case Ending::reserved_bit:
            return page_fault(context, access, privilege, page_fault_bit::present | page_fault_bit::reserved);
        case Ending::mapped: break;
    }

    const Rights rights = rights_of(chain, context, privilege);
    if (!rights.allow(access)) return page_fault(context, access, privilege, page_fault_bit::present);
    set_accessed_and_dirty(memory, chain, access);

    const std::uint64_t leaf = chain.leaf().value;
    const bool dirty = access == Access::write || (leaf & entry_dirty) != 0;
    return Translation{
        .physical = {chain.physical},
        .mapping_size = chain.mapping_size,
        .entries_read = chain.length,
        .write_allowed = rights.write && dirty,
        .execute_allowed = rights.execute,
        .global = (leaf & entry_global) != 0 && (context.cr4 & cr4_pge) != 0,
    };
}

bool translate_quietly(const GuestMemory& memory, const PagingContext& context, GuestLinear address,
                       GuestPhysical& physical) {
    const std::uint64_t linear = usable_linear(context, address);
    if ((context.cr0 & cr0_pg) == 0) {
        physical = {linear};
        return true;
    }
    Chain chain;
    if (follow(memory, context, linear, chain) != Ending::mapped) return false;
    physical = {chain.physical};
    return true;
}

WalkTrace trace_walk(const GuestMemory& memory, const PagingContext& context, GuestLinear address) {
    const std::uint64_t linear = usable_linear(context, address);
    WalkTrace trace;
    if ((context.cr0 & cr0_pg) == 0) {
        trace.physical = {linear};
        trace.user = trace.writable = trace.executable = true;
        return trace;
    }
    Chain chain;
    switch (follow(memory, context, linear, chain)) {
        case Ending::mapped: trace.ending = WalkTrace::Ending::mapped; break;
        case Ending::not_present: trace.ending = WalkTrace::Ending::not_present; break;
        case Ending::reserved_bit: trace.ending = WalkTrace::Ending::reserved_bit; break;
    }
    const bool four_levels = in_ia32e_mode(context), narrow = chain.entry_size == 4;
    if (!four_levels && !narrow) trace.entries.push_back({{}, context.pdpte[(linear >> 30) & 3], 30, true});
    unsigned shift = four_levels ? 39 : narrow ? 22 : 21;
    for (std::size_t index = 0; index < chain.length; ++index) {
        const Entry& entry = chain.entries[index];
        trace.entries.push_back({entry.address, entry.value, static_cast<std::uint8_t>(shift), false});
        shift = narrow ? 12 : shift - 9;
    }
    if (trace.ending != WalkTrace::Ending::mapped) return trace;
    trace.physical = {chain.physical};
    trace.mapping_size = chain.mapping_size;
    trace.user = (chain.all & entry_user) != 0;
    trace.writable = (chain.all & entry_writable) != 0;
    trace.executable = (chain.any & entry_no_execute) == 0;
    return trace;
}

bool load_pdptes(const GuestMemory& memory, std::uint64_t cr3, std::uint8_t physical_address_bits,
                 std::array<std::uint64_t, 4>& pdpte) {
    std::array<std::uint64_t, 4> loaded{};
    if (!memory.read({cr3 & bits(5, 31)}, std::as_writable_bytes(std::span(loaded)))) return false;
    const std::uint64_t reserved = bits(1, 2) | bits(5, 8) | bits(physical_bits(physical_address_bits), 63);
    for (const std::uint64_t entry : loaded) {
        if ((entry & entry_present) != 0 && (entry & reserved) != 0) return false;
    }
    pdpte = loaded;
    return true;
}

}  // namespace xenolith::mmu
