#include "mmu/tlb.hpp"

#include <utility>

namespace xenolith::mmu {

Tlb::Tlb() {
    used_.reserve(entry_count);
    for (unsigned index = 0; index < entry_count; ++index) clear(index);
}

void Tlb::clear(unsigned slot_index) {
    entries_[slot_index] = TlbEntry{};
    entries_[slot_index].read_tag = entries_[slot_index].write_tag = closed(slot_index);
}

void Tlb::note_used(unsigned slot_index) {
    if (is_used_[slot_index]) return;
    is_used_[slot_index] = true;
    used_.push_back(static_cast<std::uint16_t>(slot_index));
}

TlbEntry* Tlb::find(GuestLinear linear, Access access) {
    const std::uint64_t page = linear.page().value;
    TlbEntry& entry = fast(linear.value);
    if (entry.page == page) return entry.allows(access) ? &entry : nullptr;
    for (TlbEntry& victim : victims_) {
        if (victim.page != page) continue;
        std::swap(victim, entry);
        note_used(slot(linear.value));
        return entry.allows(access) ? &entry : nullptr;
    }
    return nullptr;
}

TlbEntry& Tlb::insert(GuestLinear linear, const Translation& translation, Access access) {
    const std::uint64_t page = linear.page().value;
    const GuestPhysical physical = translation.physical.page();
    TlbEntry& entry = fast(linear.value);
    std::uint8_t allowed = static_cast<std::uint8_t>(1u << static_cast<unsigned>(access));
    if (access != Access::execute) {
        allowed |= 1u << static_cast<unsigned>(Access::read);
        if (translation.write_allowed) allowed |= 1u << static_cast<unsigned>(Access::write);
    }
    if (entry.page != page) {
        // find() ran first, so no victim holds this page with another translation unless its rights were too few.
        for (TlbEntry& victim : victims_)
            if (victim.page == page) victim = TlbEntry{};
        if (entry.page != TlbEntry::absent) {
            victims_[next_victim_] = entry;
            next_victim_ = (next_victim_ + 1) % victim_count;
        }
    }
    entry = TlbEntry{};
    entry.page = page;
    entry.physical = physical;
    entry.allowed = allowed;
    entry.global = translation.global;
    close(entry);
    note_used(slot(linear.value));
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
}

void Tlb::flush_except_global() {
    std::size_t kept = 0;
    for (const std::uint16_t index : used_) {
        if (entries_[index].global) {
            used_[kept++] = index;
        } else {
            clear(index);
            is_used_[index] = false;
        }
    }
    used_.resize(kept);
    for (TlbEntry& victim : victims_)
        if (!victim.global) victim = TlbEntry{};
}

void Tlb::flush_page(GuestLinear linear) {
    const std::uint64_t page = linear.page().value;
    if (fast(linear.value).page == page) clear(slot(linear.value));
    for (TlbEntry& victim : victims_)
        if (victim.page == page) victim = TlbEntry{};
}

void Tlb::forget_writable(GuestPhysical page) {
    for_each_used([&](TlbEntry& entry) {
        if (entry.physical == page) close_writing(entry);
    });
}

void Tlb::forget_all_writable() { for_each_used(close_writing); }

void Tlb::forget_all_fast_paths() { for_each_used(close); }

}  // namespace xenolith::mmu
