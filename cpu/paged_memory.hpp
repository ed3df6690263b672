// Guest memory through page tables, for hypercall arguments: for engines that have no software TLB of their
// own.
#pragma once

#include "cpu/environment.hpp"
#include "cpu/model/cpu_model.hpp"
#include "cpu/state/cpu_state.hpp"
#include "mmu/guest_memory.hpp"
#include "mmu/page_walk.hpp"

namespace xenolith::cpu {

// The paging of a state, on a CPU of that model.
mmu::PagingContext paging_context(const CpuState& state, const CpuModel& model);

// Reads ignore access rights; writes obey the page tables as a supervisor's would, and set their accessed and
// dirty bits. A write changes nothing unless every byte can be written.
class PagedMemory final : public LinearMemory {
  public:
    PagedMemory(mmu::GuestMemory& memory, const mmu::PagingContext& paging) : memory_(memory), paging_(paging) {}

    bool read_linear(mmu::GuestLinear address, std::span<std::byte> to) override;
    bool write_linear(mmu::GuestLinear address, std::span<const std::byte> from) override;

    // The bytes of code at the address, up to where the mapping ends: none if it is not mapped at all.
    std::span<const std::byte> read_code(mmu::GuestLinear address, std::span<std::byte> to);

  private:
    mmu::GuestMemory& memory_;
    mmu::PagingContext paging_;
};

}  // namespace xenolith::cpu
