// Ports and device memory: which device answers where. Overlaps are refused when the machine is put together.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "devices/device.hpp"
#include "mmu/guest_memory.hpp"

namespace xenolith::machine {

class Bus {
  public:
    explicit Bus(mmu::GuestMemory& memory) : memory_(memory) {}

    // Ports [first, first + count) go to the device, which outlives the bus. std::invalid_argument names both devices
    // if another one has any of them.
    void attach(std::string_view name, std::uint16_t first, std::uint32_t count, devices::PortDevice& device);
    // The page-aligned range of guest-physical addresses becomes a device region. Overlaps are refused likewise.
    void attach(std::string_view name, mmu::GuestPhysical start, std::uint64_t size, devices::MemoryDevice& device);

    // The memory device answers from `start` on instead. False, and it stays, if something else is there
    // (mmu::GuestMemory::move_device).
    bool move(const devices::MemoryDevice& device, mmu::GuestPhysical start);

    // `width` in bytes: 1, 2 or 4. Ports nobody answers read as ones. An access that runs beyond a device's last port
    // is split into bytes, each of which goes where it belongs.
    std::uint32_t read_port(std::uint16_t port, unsigned width);
    void write_port(std::uint16_t port, unsigned width, std::uint32_t value);
    // `width` in bytes: 1, 2, 4 or 8.
    std::uint64_t read_memory(mmu::GuestPhysical address, unsigned width);
    void write_memory(mmu::GuestPhysical address, unsigned width, std::uint64_t value);

  private:
    struct PortRange {
        std::uint32_t first, end;
        devices::PortDevice* device;
        std::string name;
    };
    struct MemoryRange {
        mmu::GuestPhysical start;
        std::uint64_t size;
        devices::MemoryDevice* device;
    };
    const PortRange* find_port(std::uint32_t port) const;
    const MemoryRange* find_memory(mmu::GuestPhysical address) const;

    mmu::GuestMemory& memory_;
    std::vector<PortRange> ports_;  // sorted by first
    std::vector<MemoryRange> memory_ranges_;
};

}  // namespace xenolith::machine
