// KVM_SET_USER_MEMORY_REGION (KVM API 4.35) and KVM_GET_DIRTY_LOG (4.8).
#include "cpu/kvm/memory_slots.hpp"

#include <linux/kvm.h>

#include <algorithm>
#include <bit>
#include <span>

namespace xenolith::cpu {

void MemorySlots::set(std::size_t number, const Slot& slot, const std::string& name) {
    kvm_userspace_memory_region region{};
    region.slot = static_cast<std::uint32_t>(number);
    region.guest_phys_addr = slot.start.value;
    region.memory_size = slot.size;
    region.userspace_addr = reinterpret_cast<std::uint64_t>(slot.host);
    if (slot.read_only) region.flags |= KVM_MEM_READONLY;
    if (track_dirty_ && !slot.read_only && slot.size != 0) region.flags |= KVM_MEM_LOG_DIRTY_PAGES;
    vm_.require(HostLimit::Kind::memory, "KVM_SET_USER_MEMORY_REGION of '" + name + "'", KVM_SET_USER_MEMORY_REGION,
                &region);
}

void MemorySlots::synchronise() {
    std::vector<Slot> wanted;
    for (const auto& region : memory_.regions())
        if (region->kind != mmu::RegionKind::device)
            wanted.push_back({region->start, region->size, region->host, region->kind == mmu::RegionKind::rom});
    // A slot that is still right stays; KVM would drop its mappings otherwise.
    for (std::size_t number = 0; number < slots_.size(); ++number) {
        Slot& slot = slots_[number];
        if (slot.size == 0) continue;
        if (const auto found = std::ranges::find(wanted, slot); found != wanted.end()) {
            wanted.erase(found);
        } else {
            set(number, {.start = slot.start, .size = 0, .host = slot.host, .read_only = false},
                "a region that is gone");
            slot = {};
        }
    }
    for (const Slot& slot : wanted) {
        const auto is_free = [](const Slot& one) { return one.size == 0; };
        auto place = std::ranges::find_if(slots_, is_free);
        if (place == slots_.end()) place = slots_.insert(slots_.end(), Slot{});
        const mmu::Region* const region = memory_.find(slot.start);
        set(static_cast<std::size_t>(place - slots_.begin()), slot, region != nullptr ? region->name : "memory");
        *place = slot;
    }
}

std::uint64_t MemorySlots::collect_dirty_pages() {
    if (!track_dirty_) return 0;
    std::uint64_t pages = 0;
    for (std::size_t number = 0; number < slots_.size(); ++number) {
        const Slot& slot = slots_[number];
        if (slot.size == 0 || slot.read_only) continue;
        bitmap_.assign((slot.size / mmu::page_size + 63) / 64, 0);
        kvm_dirty_log log{};
        log.slot = static_cast<std::uint32_t>(number);
        log.dirty_bitmap = bitmap_.data();
        vm_.require(HostLimit::Kind::memory, "KVM_GET_DIRTY_LOG", KVM_GET_DIRTY_LOG, &log);
        for (std::size_t word = 0; word < bitmap_.size(); ++word)
            for (std::uint64_t bits = bitmap_[word]; bits != 0; bits &= bits - 1) {
                const std::uint64_t page = word * 64 + static_cast<unsigned>(std::countr_zero(bits));
                const mmu::GuestPhysical address = slot.start + page * mmu::page_size;
                // GuestMemory hands out no pointer to a page that holds another engine's code: writing a byte
                // back marks it too, and that engine hears of the change.
                if (memory_.writable(address) == nullptr) {
                    std::vector<std::byte> bytes(mmu::page_size);
                    if (memory_.read(address, bytes)) memory_.write(address, bytes);
                }
                ++pages;
            }
    }
    return pages;
}

}  // namespace xenolith::cpu
