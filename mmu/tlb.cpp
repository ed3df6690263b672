#include "mmu/tlb.hpp"

#include <algorithm>
#include <iterator>
#include <stdexcept>

namespace xenolith::mmu {

namespace {

constexpr std::uint64_t mapping_sizes[] = {page_size, 2 << 20, 4 << 20, 1 << 30};

std::uint64_t mapping_code(std::uint64_t size) {
    return static_cast<std::uint64_t>(std::ranges::find(mapping_sizes, size) - std::begin(mapping_sizes));
}

std::uint64_t gigabyte_bit(std::uint64_t linear) { return std::uint64_t{1} << (linear >> 30 & 63); }

}  // namespace

std::uint64_t TlbEntry::mapping_size() const { return mapping_sizes[(word_ & mapping_mask) >> mapping_shift]; }

Tlb::Tlb() {
    used_.reserve(entry_count);
    for (unsigned index = 0; index < entry_count; ++index) clear(index);
}

void Tlb::clear(unsigned slot_index) {
    TlbEntry& entry = entries_[slot_index];
    entry = TlbEntry{};
    // Page number `slot_index` belongs in this slot; its neighbour does not.
    entry.read_tag = entry.write_tag = (std::uint64_t{slot_index} ^ 1) * page_size;
}

void Tlb::note_used(unsigned slot_index) {
    if (is_used_[slot_index]) return;
    is_used_[slot_index] = true;
    used_.push_back(static_cast<std::uint16_t>(slot_index));
}

void Tlb::note_large(const TlbEntry& entry) {
    if (entry.is_large()) large_pages_ |= gigabyte_bit(entry.page());
}

TlbEntry* Tlb::find(GuestLinear linear, Access access) {
    const std::uint64_t page = linear.page().value;
    TlbEntry& entry = fast(linear.value);
    if (entry.holds(page)) return entry.allows(access) ? &entry : nullptr;
    for (TlbEntry& victim : victims_) {
        if (!victim.holds(page)) continue;
        // An entry that was flushed is not worth a victim's place.
        const TlbEntry evicted = entry;
        entry = victim;
        victim = evicted.valid() ? evicted : TlbEntry{};
        note_used(slot(linear.value));
        return entry.allows(access) ? &entry : nullptr;
    }
    return nullptr;
}

TlbEntry& Tlb::insert(GuestLinear linear, const Translation& translation, Access access) {
    const std::uint64_t page = linear.page().value;
    TlbEntry& entry = fast(linear.value);
    const auto bit = [](Access kind) { return std::uint64_t{1} << static_cast<unsigned>(kind); };
    std::uint64_t allowed = bit(access);
    if (access != Access::execute) {
        allowed |= bit(Access::read);
        if (translation.write_allowed) allowed |= bit(Access::write);
    }
    if (!entry.holds(page)) {
        // find() ran first, so no victim holds this page with another translation unless its rights were too few.
        for (TlbEntry& victim : victims_)
            if (victim.holds(page)) victim = TlbEntry{};
        if (entry.valid()) {
            victims_[next_victim_] = entry;
            next_victim_ = (next_victim_ + 1) % victim_count;
        }
    }
    entry = TlbEntry{};
    entry.read_tag = entry.write_tag = page ^ page_size;
    entry.word_ = translation.physical.page().value | allowed | TlbEntry::valid_bit |
                  (translation.global ? TlbEntry::global_bit : 0) |
                  mapping_code(translation.mapping_size) << TlbEntry::mapping_shift;
    note_used(slot(linear.value));
    note_large(entry);
    return entry;
}

void Tlb::flush() {
    for (const std::uint16_t index : used_) {
        clear(index);
        is_used_[index] = false;
    }
    used_.clear();
    victims_.fill(TlbEntry{});
    next_victim_ = 0;
    large_pages_ = 0;
}

void Tlb::flush_except_global() {
    std::size_t kept = 0;
    large_pages_ = 0;
    for (const std::uint16_t index : used_) {
        if (entries_[index].valid() && entries_[index].global()) {
            used_[kept++] = index;
            note_large(entries_[index]);
        } else {
            clear(index);
            is_used_[index] = false;
        }
    }
    used_.resize(kept);
    for (TlbEntry& victim : victims_) {
        if (!victim.global()) victim = TlbEntry{};
        note_large(victim);
    }
}

void Tlb::flush_page(GuestLinear linear) {
    const std::uint64_t page = linear.page().value;
    if (fast(linear.value).holds(page)) clear(slot(linear.value));
    for (TlbEntry& victim : victims_)
        if (victim.holds(page)) victim = TlbEntry{};
    if ((large_pages_ & gigabyte_bit(page)) != 0) flush_large_page(linear);
}

void Tlb::flush_large_page(GuestLinear linear) {
    const auto is_part = [&](const TlbEntry& entry) {
        return entry.valid() && entry.is_large() && (entry.page() ^ linear.value) < entry.mapping_size();
    };
    for (const std::uint16_t index : used_)
        if (is_part(entries_[index])) clear(index);
    for (TlbEntry& victim : victims_)
        if (is_part(victim)) victim = TlbEntry{};
}

void Tlb::forget_writable(GuestPhysical page) {
    for_each_used([&](TlbEntry& entry) {
        if (entry.physical() == page) entry.close_writing();
    });
}

void Tlb::forget_all_writable() {
    for_each_used([](TlbEntry& entry) { entry.close_writing(); });
}

void Tlb::forget_all_fast_paths() {
    for_each_used([](TlbEntry& entry) { entry.close(); });
}

Tlb::State Tlb::save() const {
    State state{.entries = {}, .next_victim = static_cast<std::uint8_t>(next_victim_)};
    const auto add = [&](std::size_t place, const TlbEntry& entry) {
        constexpr std::uint64_t fast = TlbEntry::reads_fast_bit | TlbEntry::writes_fast_bit;
        if (entry.valid())
            state.entries.push_back({static_cast<std::uint16_t>(place), entry.page(), entry.word_ & ~fast});
    };
    for (const std::uint16_t index : used_) add(index, entries_[index]);
    for (std::size_t n = 0; n < victims_.size(); ++n) add(entry_count + n, victims_[n]);
    return state;
}

void Tlb::restore(const State& state) {
    flush();
    if (state.next_victim >= victim_count) throw std::invalid_argument("TLB: there is no such victim");
    for (const State::Entry& from : state.entries) {
        const bool is_victim = from.place >= entry_count;
        if ((from.page & page_mask) != 0 || from.place >= entry_count + victim_count ||
            (!is_victim && slot(from.page) != from.place))
            throw std::invalid_argument("TLB: an entry in a place that is not its own");
        constexpr std::uint64_t kept =
            ~page_mask | 7 | TlbEntry::global_bit | TlbEntry::valid_bit | TlbEntry::mapping_mask;
        TlbEntry& entry = is_victim ? victims_[from.place - entry_count] : entries_[from.place];
        entry = TlbEntry{};
        entry.read_tag = entry.write_tag = from.page ^ page_size;
        entry.word_ = (from.word & kept) | TlbEntry::valid_bit;
        if (!is_victim) note_used(from.place);
        note_large(entry);
    }
    next_victim_ = state.next_victim;
}

}  // namespace xenolith::mmu
