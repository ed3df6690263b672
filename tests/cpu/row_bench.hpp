// A Processor that executes single decoded instructions, set up as a user-mode program of the host would find
// its CPU: the counterpart of NativeOracle, with the operand memory at the same linear address.
#pragma once

#include <bitset>
#include <cstring>
#include <optional>
#include <span>

#include "cpu/decode/decoder.hpp"
#include "cpu/processor.hpp"
#include "mmu/guest_memory.hpp"
#include "tests/cpu/native_oracle.hpp"

namespace xenolith::test {

// A world with nothing in it.
class EmptyWorld : public cpu::Environment {
  public:
    std::uint32_t port_read(const cpu::Moment&, std::uint16_t, unsigned) override { return ~0u; }
    void port_write(const cpu::Moment&, std::uint16_t, unsigned, std::uint32_t, cpu::CpuState&,
                    cpu::LinearMemory&) override {}
    std::uint64_t mmio_read(const cpu::Moment&, mmu::GuestPhysical, unsigned) override {
        return ~std::uint64_t{0};
    }
    void mmio_write(const cpu::Moment&, mmu::GuestPhysical, unsigned, std::uint64_t) override {}
    cpu::MsrOutcome msr_read(const cpu::Moment&, std::uint32_t, bool) override { return {}; }
    cpu::MsrOutcome msr_write(const cpu::Moment&, std::uint32_t, std::uint64_t, bool,
                              const cpu::CpuState&) override {
        return {};
    }
    cpu::CpuidLeaf cpuid(const cpu::Moment&, std::uint32_t, std::uint32_t, cpu::CpuidLeaf model) override {
        return model;
    }
    cpu::HypercallOutcome hypercall(const cpu::Moment&, cpu::HypercallInstruction, const cpu::CpuState&,
                                    cpu::LinearMemory&) override {
        return {};
    }
    std::uint8_t acknowledge_interrupt(const cpu::Moment&) override { return 0; }
};

// Every feature there is, so that every row decodes.
inline const cpu::CpuModel& model_with_everything(cpu::Vendor vendor) {
    constexpr std::uint32_t signature = 0x306a9, highest_leaf = 0xd;
    static const cpu::CpuModel models[] = {
        {"everything", "", cpu::Vendor::intel, signature, 46, highest_leaf, std::bitset<128>().set()},
        {"everything", "", cpu::Vendor::amd, signature, 46, highest_leaf, std::bitset<128>().set()},
    };
    return models[vendor == cpu::Vendor::amd ? 1 : 0];
}

// Where vendors differ, as the host does.
inline const cpu::CpuModel& model_like_the_host() {
    return model_with_everything(__builtin_cpu_is("amd") != 0 ? cpu::Vendor::amd : cpu::Vendor::intel);
}

class RowBench {
  public:
    // Maps `memory_address`, page-aligned and below 4 GiB, for user reads and writes, and nothing around it.
    RowBench(NativeMode mode, std::uint64_t memory_address)
        : decoder_(model_like_the_host(), *cpu::find_timing("modern")),
          processor_(guest_, world_, model_like_the_host(), *cpu::find_timing("modern"), 0) {
        guest_.add_ram({0}, table_end, "page tables");
        memory_ = guest_.add_ram({operands}, NativeOracle::memory_size, "operands").host;
        for (std::uint64_t done = 0; done < NativeOracle::memory_size; done += mmu::page_size)
            map(memory_address + done, operands + done);
        start_.cr0 = cpu::cr0::pe | cpu::cr0::pg | cpu::cr0::wp | cpu::cr0::ne | cpu::cr0::et;
        start_.cr3 = table_root;
        start_.cr4 = cpu::cr4::pae;
        start_.msr.efer = cpu::efer::lme | cpu::efer::lma | cpu::efer::sce;
        start_.rip = code;
        const bool is_64 = mode == NativeMode::bits64;
        start_.segment(cpu::SegmentName::cs) =
            cpu::flat_code_segment(is_64 ? 0x33 : 0x23, is_64 ? 64 : 32, 3);
        start_.segment(cpu::SegmentName::ss) = cpu::flat_data_segment(0x2b, 3);
        // Selectors as the host has them, for PUSH.
        for (const cpu::SegmentName name : {cpu::SegmentName::ds, cpu::SegmentName::es})
            start_.segment(name) = cpu::flat_data_segment(is_64 ? 0 : 0x2b, 3);
        for (const cpu::SegmentName name : {cpu::SegmentName::fs, cpu::SegmentName::gs})
            start_.segment(name) = cpu::flat_data_segment(0, 3);
        start_.rflags = 0x202;
        processor_.load_state(start_);
    }

    std::span<std::byte, NativeOracle::memory_size> memory() {
        return std::span<std::byte, NativeOracle::memory_size>(memory_, NativeOracle::memory_size);
    }
    const cpu::Decoder& decoder() const { return decoder_; }
    cpu::Processor& processor() { return processor_; }

    // A repeated string instruction is run until it no longer yields.
    NativeOutcome run(const cpu::Instruction& instruction, const NativeRegisters& registers) {
        constexpr std::uint64_t outside_flags = cpu::rflags::arithmetic;
        std::ranges::copy(registers.general, processor_.state.registers.begin());
        processor_.state.registers[cpu::CpuState::rip_slot] = code;
        processor_.state.rflags = registers.rflags & ~outside_flags;
        processor_.flags.set_bits(registers.rflags);
        processor_.current_ = &instruction;
        NativeOutcome outcome;
        try {
            do {
                processor_.state.rip = code + instruction.length;
                instruction.execute(processor_, instruction);
            } while (processor_.state.rip == code);
        } catch (const cpu::Fault& fault) {
            outcome.fault = NativeFault{.vector = static_cast<unsigned>(fault.vector),
                                        .error_code = fault.error_code.value_or(0),
                                        .address = fault.linear_address,
                                        .rip_offset = 0};
        }
        std::copy_n(processor_.state.registers.begin(), 16, outcome.registers.general.begin());
        outcome.registers.rflags = processor_.rflags_value();
        return outcome;
    }

  private:
    static constexpr std::uint64_t table_root = 0x1000, table_end = 0x10000, operands = 0x100000,
                                   code = 0x400000;

    // Four-level tables (SDM vol. 3A, 4.5), present, writable, user.
    void map(std::uint64_t linear, std::uint64_t physical) {
        constexpr std::uint64_t rights = 7;
        std::uint64_t table = table_root;
        for (unsigned shift = 39; shift > 12; shift -= 9) {
            const std::uint64_t at = table + (linear >> shift & 511) * 8;
            std::uint64_t entry = read(at);
            if (entry == 0) {
                entry = next_table_ | rights;
                next_table_ += mmu::page_size;
                write(at, entry);
            }
            table = entry & ~mmu::page_mask;
        }
        write(table + (linear >> 12 & 511) * 8, physical | rights);
    }
    std::uint64_t read(std::uint64_t address) {
        std::uint64_t value = 0;
        guest_.read({address}, std::as_writable_bytes(std::span(&value, 1)));
        return value;
    }
    void write(std::uint64_t address, std::uint64_t value) {
        guest_.write({address}, std::as_bytes(std::span(&value, 1)));
    }

    mmu::GuestMemory guest_;
    EmptyWorld world_;
    cpu::Decoder decoder_;
    cpu::Processor processor_;
    cpu::CpuState start_;
    std::byte* memory_ = nullptr;
    std::uint64_t next_table_ = table_root + mmu::page_size;
};

}  // namespace xenolith::test
