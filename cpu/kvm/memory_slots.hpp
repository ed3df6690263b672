// Guest memory as KVM sees it: a memory slot per region of RAM or ROM. Devices and holes have none, so that
// they exit.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/kvm/kvm_device.hpp"
#include "mmu/guest_memory.hpp"

namespace xenolith::cpu {

class MemorySlots {
  public:
    // `vm` outlives the slots. With `track_dirty`, KVM notes which pages the guest writes.
    MemorySlots(const FileDescriptor& vm, mmu::GuestMemory& memory, bool track_dirty)
        : vm_(vm), memory_(memory), track_dirty_(track_dirty) {}

    // Makes the slots what the regions are. Cheap if nothing has changed. HostLimit::Kind::memory names the
    // region that KVM refuses.
    void synchronise();

    // Marks in GuestMemory the pages that the guest has written since the last call: their number. Nothing
    // without `track_dirty`.
    std::uint64_t collect_dirty_pages();

  private:
    struct Slot {
        mmu::GuestPhysical start;
        std::uint64_t size = 0;  // bytes; 0: the number is free
        std::byte* host = nullptr;
        bool read_only = false;

        bool operator==(const Slot&) const = default;
    };

    void set(std::size_t number, const Slot& slot, const std::string& name);

    const FileDescriptor& vm_;
    mmu::GuestMemory& memory_;
    bool track_dirty_;
    std::vector<Slot> slots_;  // by slot number
    std::vector<std::uint64_t> bitmap_;
};

}  // namespace xenolith::cpu
