#include "cpu/native/row_bench.hpp"

#include <algorithm>

namespace xenolith::cpu {

namespace {

constexpr std::uint64_t table_root = 0x1000, table_end = 0x10000, operands = 0x100000;

// What RFLAGS the bench changes between runs, beside the arithmetic flags.
constexpr std::uint64_t checks_alignment = rflags::ac;

}  // namespace

RowBench::RowBench(NativeMode mode, std::uint64_t memory_address)
    : decoder_(model_like_the_host(), *find_timing("modern")),
      processor_(guest_, world_, model_like_the_host(), *find_timing("modern"), 0),
      next_table_(table_root + mmu::page_size) {
    guest_.add_ram({0}, table_end, "page tables");
    memory_ = guest_.add_ram({operands}, NativeOracle::memory_size, "operands").host;
    for (std::uint64_t done = 0; done < NativeOracle::memory_size; done += mmu::page_size)
        map(memory_address + done, operands + done);
    // As a Linux process finds its CPU.
    CpuState start;
    start.cr0 = cr0::pe | cr0::pg | cr0::wp | cr0::am | cr0::ne | cr0::et | cr0::mp;
    start.cr3 = table_root;
    start.cr4 = cr4::pae | cr4::osfxsr | cr4::osxmmexcpt | cr4::osxsave | cr4::fsgsbase;
    start.xcr0 = 7;
    start.msr.efer = efer::lme | efer::lma | efer::sce;
    start.rip = code_;
    const bool is_64 = mode == NativeMode::bits64;
    start.segment(SegmentName::cs) = flat_code_segment(is_64 ? 0x33 : 0x23, is_64 ? 64 : 32, 3);
    start.segment(SegmentName::ss) = flat_data_segment(0x2b, 3);
    // Selectors as the host has them, for PUSH.
    for (const SegmentName name : {SegmentName::ds, SegmentName::es})
        start.segment(name) = flat_data_segment(is_64 ? 0 : 0x2b, 3);
    for (const SegmentName name : {SegmentName::fs, SegmentName::gs}) start.segment(name) = flat_data_segment(0, 3);
    start.rflags = 0x202;
    processor_.load_state(start);
}

NativeOutcome RowBench::run(const Instruction& instruction, const NativeRegisters& registers) {
    CpuState& state = processor_.state;
    std::ranges::copy(registers.general, state.registers.begin());
    state.registers[CpuState::rip_slot] = code_;
    const bool alignment_changes = ((state.rflags ^ registers.rflags) & checks_alignment) != 0;
    state.rflags = registers.rflags & ~rflags::arithmetic;
    processor_.flags.set_bits(registers.rflags);
    processor_.current_ = &instruction;
    if (alignment_changes) processor_.mode_changed();
    NativeOutcome outcome;
    const std::uint64_t next = code_ + instruction.length;
    try {
        do {
            state.rip = next;
            instruction.execute(processor_, instruction);
        } while (state.rip == code_);
        outcome.rip = state.rip;
    } catch (const Fault& fault) {
        outcome.fault = NativeFault{.vector = static_cast<unsigned>(fault.vector),
                                    .error_code = fault.error_code.value_or(0),
                                    .address = fault.linear_address,
                                    .rip_offset = 0};
        outcome.rip = code_;
    }
    std::copy_n(state.registers.begin(), 16, outcome.registers.general.begin());
    outcome.registers.rflags = processor_.rflags_value();
    return outcome;
}

NativeOutcome RowBench::run(const Instruction& instruction, const NativeRegisters& registers,
                            FloatingPointState& floating_point) {
    processor_.state.floating_point = floating_point;
    const NativeOutcome outcome = run(instruction, registers);
    floating_point = processor_.state.floating_point;
    return outcome;
}

// Four-level tables (SDM vol. 3A, 4.5), present, writable, user.
void RowBench::map(std::uint64_t linear, std::uint64_t physical) {
    constexpr std::uint64_t rights = 7;
    std::uint64_t table = table_root;
    for (unsigned shift = 39; shift > 12; shift -= 9) {
        const mmu::GuestPhysical at{table + (linear >> shift & 511) * 8};
        std::uint64_t entry = 0;
        guest_.read(at, std::as_writable_bytes(std::span(&entry, 1)));
        if (entry == 0) {
            entry = next_table_ | rights;
            next_table_ += mmu::page_size;
            guest_.write(at, std::as_bytes(std::span(&entry, 1)));
        }
        table = entry & ~mmu::page_mask;
    }
    const std::uint64_t entry = physical | rights;
    guest_.write({table + (linear >> 12 & 511) * 8}, std::as_bytes(std::span(&entry, 1)));
}

}  // namespace xenolith::cpu
