#include "machine/bus.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

namespace xenolith::machine {

namespace {

std::uint64_t ones(unsigned width) { return width == 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << width * 8) - 1; }

}  // namespace

void Bus::attach(std::string_view name, std::uint16_t first, std::uint32_t count, devices::PortDevice& device) {
    if (count == 0 || count > 0x10000u - first)
        throw std::invalid_argument(fmt::format("{}: there are no {} ports from {:#x} on", name, count, first));
    const std::uint32_t end = first + count;
    for (const PortRange& other : ports_)
        if (first < other.end && other.first < end)
            throw std::invalid_argument(fmt::format("{}: ports {:#x}..{:#x} overlap {} at {:#x}..{:#x}", name, first,
                                                    end - 1, other.name, other.first, other.end - 1));
    ports_.push_back({first, end, &device, std::string(name)});
    std::ranges::sort(ports_, {}, &PortRange::first);
}

void Bus::attach(std::string_view name, mmu::GuestPhysical start, std::uint64_t size, devices::MemoryDevice& device) {
    memory_.add_device(start, size, name);
    memory_ranges_.push_back({start, size, &device});
}

bool Bus::move(const devices::MemoryDevice& device, mmu::GuestPhysical start) {
    const auto range = std::ranges::find(memory_ranges_, &device, &MemoryRange::device);
    if (range == memory_ranges_.end()) return false;
    if (range->start.value == start.value) return true;
    if (!memory_.move_device(range->start, start)) return false;
    range->start = start;
    return true;
}

const Bus::PortRange* Bus::find_port(std::uint32_t port) const {
    auto after = std::ranges::upper_bound(ports_, port, {}, &PortRange::first);
    if (after == ports_.begin()) return nullptr;
    --after;
    return port < after->end ? &*after : nullptr;
}

const Bus::MemoryRange* Bus::find_memory(mmu::GuestPhysical address) const {
    for (const MemoryRange& range : memory_ranges_)
        if (address.value - range.start.value < range.size) return &range;
    return nullptr;
}

std::uint32_t Bus::read_port(std::uint16_t port, unsigned width) {
    const PortRange* const range = find_port(port);
    if (range != nullptr && port + width <= range->end)
        return range->device->read(static_cast<std::uint16_t>(port - range->first), width) &
               static_cast<std::uint32_t>(ones(width));
    if (width == 1) return 0xff;
    std::uint32_t value = 0;
    for (unsigned n = 0; n < width; ++n) value |= read_port(static_cast<std::uint16_t>(port + n), 1) << n * 8;
    return value;
}

void Bus::write_port(std::uint16_t port, unsigned width, std::uint32_t value) {
    const PortRange* const range = find_port(port);
    if (range != nullptr && port + width <= range->end) {
        range->device->write(static_cast<std::uint16_t>(port - range->first), width,
                             value & static_cast<std::uint32_t>(ones(width)));
    } else if (width > 1) {
        for (unsigned n = 0; n < width; ++n) write_port(static_cast<std::uint16_t>(port + n), 1, value >> n * 8 & 0xff);
    }
}

std::uint64_t Bus::read_memory(mmu::GuestPhysical address, unsigned width) {
    const MemoryRange* const range = find_memory(address);
    return range == nullptr ? ones(width) : range->device->read(address - range->start, width) & ones(width);
}

void Bus::write_memory(mmu::GuestPhysical address, unsigned width, std::uint64_t value) {
    if (const MemoryRange* const range = find_memory(address))
        range->device->write(address - range->start, width, value & ones(width));
}

}  // namespace xenolith::machine
