#include "cpu/native/row_bench.hpp"

#include <cpuid.h>

#include <algorithm>
#include <bitset>
#include <vector>

namespace xenolith::cpu {

namespace {

constexpr std::uint64_t table_root = 0x1000, table_end = 0x10000, operands = 0x100000;

// What RFLAGS the bench changes between runs, beside the arithmetic flags.
constexpr std::uint64_t checks_alignment = rflags::ac;

CpuModel everything_but(Vendor vendor, const std::vector<Feature>& without) {
    constexpr std::uint32_t signature = 0x306a9, highest_leaf = 0xd;
    auto features = std::bitset<128>().set();
    for (const Feature feature : without) features.reset(static_cast<unsigned>(feature));
    return {"everything", "", vendor, signature, 46, highest_leaf, features};
}

CpuModel like_the_host() {
    using enum Feature;
    if (__builtin_cpu_is("amd") != 0) return everything_but(Vendor::amd, {fdp_exception_only, no_fcs_fds});
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx);
    std::vector<Feature> without;
    if ((ebx >> 6 & 1) == 0) without.push_back(fdp_exception_only);
    if ((ebx >> 13 & 1) == 0) without.push_back(no_fcs_fds);
    return everything_but(Vendor::intel, without);
}

}  // namespace

const CpuModel& model_with_everything(Vendor vendor) {
    using enum Feature;
    static const CpuModel intel = everything_but(Vendor::intel, {});
    static const CpuModel amd = everything_but(Vendor::amd, {fdp_exception_only, no_fcs_fds});
    return vendor == Vendor::amd ? amd : intel;
}

const CpuModel& model_like_the_host() {
    static const CpuModel model = like_the_host();
    return model;
}

RowBench::RowBench(NativeMode mode, std::uint64_t memory_address, const CpuModel& model, std::uint64_t code_base,
                   std::uint64_t data_base)
    : decoder_(model, *find_timing("modern")),
      processor_(guest_, world_, model, *find_timing("modern"), 0),
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
    if (mode == NativeMode::bits16) {
        SegmentRegister code = flat_code_segment(NativeOracle::code_selector_16, 16, 3);
        code.base = code_base;
        start.segment(SegmentName::cs) = code;
        SegmentRegister data = flat_data_segment(NativeOracle::data_selector_16, 3);
        data.base = data_base;
        data.limit = 0xffff;
        data.attributes.bits &= ~(SegmentAttributes::db | SegmentAttributes::g);
        for (const SegmentName name : {SegmentName::ss, SegmentName::ds, SegmentName::es}) start.segment(name) = data;
    }
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
