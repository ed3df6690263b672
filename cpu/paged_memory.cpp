#include "cpu/paged_memory.hpp"

#include <algorithm>
#include <variant>

namespace xenolith::cpu {

namespace {

// Bytes of [address, address + size) that lie in the page of its first byte.
std::size_t within_page(mmu::GuestLinear address, std::size_t size) {
    return std::min<std::size_t>(size, mmu::page_size - address.page_offset());
}

}  // namespace

mmu::PagingContext paging_context(const CpuState& state, const CpuModel& model) {
    return {.cr0 = state.cr0,
            .cr3 = state.cr3,
            .cr4 = state.cr4,
            .efer = state.msr.efer,
            .pdpte = state.pdpte,
            .physical_address_bits = model.physical_address_bits(),
            .gigabyte_pages = model.has(Feature::page1gb),
            .pse36 = model.has(Feature::pse36)};
}

bool PagedMemory::read_linear(mmu::GuestLinear address, std::span<std::byte> to) {
    while (!to.empty()) {
        const std::size_t count = within_page(address, to.size());
        mmu::GuestPhysical physical;
        if (!mmu::translate_quietly(memory_, paging_, address, physical)) return false;
        if (!memory_.read(physical, to.first(count))) return false;
        address = address + count;
        to = to.subspan(count);
    }
    return true;
}

bool PagedMemory::write_linear(mmu::GuestLinear address, std::span<const std::byte> from) {
    const auto every_page = [&](auto&& visit) {
        for (std::size_t done = 0; done < from.size();) {
            const mmu::GuestLinear at = address + done;
            const std::size_t count = within_page(at, from.size() - done);
            const auto walked = mmu::walk(memory_, paging_, at, mmu::Access::write, mmu::Privilege::supervisor_ac);
            const auto* const translation = std::get_if<mmu::Translation>(&walked);
            if (translation == nullptr || !visit(translation->physical, from.subspan(done, count))) return false;
            done += count;
        }
        return true;
    };
    using Bytes = std::span<const std::byte>;
    return every_page([&](mmu::GuestPhysical at, Bytes bytes) { return memory_.is_ram(at, bytes.size()); }) &&
           every_page([&](mmu::GuestPhysical at, Bytes bytes) { return memory_.write(at, bytes); });
}

std::span<const std::byte> PagedMemory::read_code(mmu::GuestLinear address, std::span<std::byte> to) {
    std::size_t count = 0;
    while (count < to.size() && read_linear(address + count, to.subspan(count, 1))) ++count;
    return to.first(count);
}

}  // namespace xenolith::cpu
