// The translation look-aside buffer that every engine shares: a fast path of one compare, exact behind it.
//
// A tag is the linear page an entry translates, with its low twelve bits clear. For an access of `size` bytes at
// `linear`, (linear XOR tag) is the offset in the page if the page matches and something large if it does not, so that
// the one unsigned comparison (linear ^ tag) <= 4096 - size refuses a miss and a page crossing alike. Where there is
// no fast path the tag is the neighbouring page, which belongs in another slot: no address looked up here matches it.
//
// The fast tags only say "go straight to host memory". An entry also remembers which kinds of access its translation
// is good for (`allowed`), because a device page or a page that holds code has a translation and yet no fast path:
// such an access is slow, but it is not a TLB miss, and is not charged as one. What misses is therefore a property of
// the guest's sequence of accesses alone, whatever the engine does to its fast paths: page-walk costs stay equal on
// every engine.
//
// The table is direct-mapped by a hash of the page number, backed by a small victim buffer, since pages a power of
// two apart would otherwise evict each other forever. A flush visits only the entries filled since the last one.
//
// A large page has an entry for each 4 KiB of it in use. Each remembers the size of its mapping, so that to drop one
// address drops all of them (SDM vol. 3A, 4.10.4.1). A set of the gigabytes with such entries, by hash, tells when
// there are none to look for.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "mmu/address.hpp"
#include "mmu/page_walk.hpp"

namespace xenolith::mmu {

// Four words, so that a lookup finds its entry by a shift: the translation's page, rights and state share the last.
class TlbEntry {
  public:
    // The two tags and the distance are what the fast path looks at: host address = linear + host_minus_linear.
    std::uint64_t read_tag = 0;
    std::uint64_t write_tag = 0;
    std::int64_t host_minus_linear = 0;

    bool valid() const { return (word_ & valid_bit) != 0; }
    bool holds(std::uint64_t linear_page) const { return valid() && page() == linear_page; }
    std::uint64_t page() const { return reads_fast() ? read_tag : read_tag ^ page_size; }
    GuestPhysical physical() const { return {word_ & ~page_mask}; }
    bool allows(Access access) const { return (word_ >> static_cast<unsigned>(access) & 1) != 0; }
    bool global() const { return (word_ & global_bit) != 0; }
    bool reads_fast() const { return (word_ & reads_fast_bit) != 0; }
    bool writes_fast() const { return (word_ & writes_fast_bit) != 0; }

    // Opens the fast path to the host's copy of the page.
    void open_reading(const std::byte* host_page) {
        const std::uint64_t linear = page();
        set_host(host_page, linear);
        read_tag = linear;
        word_ |= reads_fast_bit;
    }
    void open_writing(const std::byte* host_page) {
        const std::uint64_t linear = page();
        set_host(host_page, linear);
        write_tag = linear;
        word_ |= writes_fast_bit;
    }
    void close_writing() {
        write_tag = page() ^ page_size;
        word_ &= ~writes_fast_bit;
    }
    void close() {
        const std::uint64_t linear = page();
        read_tag = write_tag = linear ^ page_size;
        word_ &= ~(reads_fast_bit | writes_fast_bit);
    }

  private:
    friend class Tlb;
    static constexpr std::uint64_t global_bit = 1 << 3, valid_bit = 1 << 4, reads_fast_bit = 1 << 5,
                                   writes_fast_bit = 1 << 6;  // bits 0..2: what mmu::Access needs no walk
    // What the leaf entry maps: 0 for 4 KiB, 1 for 2 MiB, 2 for 4 MiB, 3 for 1 GiB.
    static constexpr unsigned mapping_shift = 7;
    static constexpr std::uint64_t mapping_mask = 3 << mapping_shift;

    bool is_large() const { return (word_ & mapping_mask) != 0; }
    std::uint64_t mapping_size() const;
    void set_host(const std::byte* host_page, std::uint64_t linear) {
        host_minus_linear = static_cast<std::int64_t>(reinterpret_cast<std::uint64_t>(host_page) - linear);
    }

    std::uint64_t word_ = 0;
};
static_assert(sizeof(TlbEntry) == 32);

class Tlb {
  public:
    static constexpr unsigned entry_count = 1024;
    static constexpr unsigned victim_count = 8;

    // All that decides what misses; fast paths are opened anew.
    struct State {
        struct Entry {
            std::uint16_t place = 0;  // a slot; from entry_count on, a victim's
            std::uint64_t page = 0;   // linear
            std::uint64_t word = 0;   // as TlbEntry keeps it
        };
        std::vector<Entry> entries;
        std::uint8_t next_victim = 0;
    };

    Tlb();

    static constexpr unsigned slot(std::uint64_t linear) {
        const std::uint64_t number = linear >> 12;
        return static_cast<unsigned>((number ^ number >> 10) & (entry_count - 1));
    }
    // The entry that an access to `linear` may use on the fast path; compare its tag as the head of this file says.
    TlbEntry& fast(std::uint64_t linear) { return entries_[slot(linear)]; }

    // The entry whose translation is good for this access, brought to its main slot if it was a victim; else null.
    TlbEntry* find(GuestLinear linear, Access access);
    // Puts a translation in. An entry for the same page keeps the kinds of access it already allowed.
    // The caller sets the fast tags of the entry it gets.
    TlbEntry& insert(GuestLinear linear, const Translation& translation, Access access);

    void flush();
    void flush_except_global();
    // All of the page, large or not, that the address is in.
    void flush_page(GuestLinear linear);
    // Withdraws direct write access to a physical page, translations stay. For a page that became a code page.
    void forget_writable(GuestPhysical page);
    // The same for every page: dirty tracking starts anew.
    void forget_all_writable();
    // Withdraws direct access everywhere, translations stay: the memory map changed.
    void forget_all_fast_paths();
    State save() const;
    // std::invalid_argument if an entry is in a place that is not its own.
    void restore(const State& state);

  private:
    template <class Visit>
    void for_each_used(const Visit& visit) {
        for (const std::uint16_t index : used_)
            if (entries_[index].valid()) visit(entries_[index]);
        for (TlbEntry& victim : victims_)
            if (victim.valid()) visit(victim);
    }
    void clear(unsigned slot_index);
    void note_used(unsigned slot_index);
    void note_large(const TlbEntry& entry);
    void flush_large_page(GuestLinear linear);

    std::array<TlbEntry, entry_count> entries_;
    std::array<TlbEntry, victim_count> victims_;
    unsigned next_victim_ = 0;
    std::vector<std::uint16_t> used_;
    std::array<bool, entry_count> is_used_{};
    std::uint64_t large_pages_ = 0;  // where there are some: bit n for linear addresses with n in bits 30 to 35
};

}  // namespace xenolith::mmu
