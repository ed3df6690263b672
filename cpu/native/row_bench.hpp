// A Processor that executes single decoded instructions, set up as a user-mode program of the host would find
// its CPU: the counterpart of NativeOracle, with the operand memory at the same linear address.
#pragma once

#include <cstring>
#include <optional>
#include <span>

#include "cpu/decode/decoder.hpp"
#include "cpu/native/native_oracle.hpp"
#include "cpu/processor.hpp"
#include "mmu/guest_memory.hpp"

namespace xenolith::cpu {

// A world with nothing in it.
class EmptyWorld : public Environment {
  public:
    std::uint32_t port_read(const Moment&, std::uint16_t, unsigned) override { return ~0u; }
    void port_write(const Moment&, std::uint16_t, unsigned, std::uint32_t, CpuState&, LinearMemory&) override {}
    std::uint64_t mmio_read(const Moment&, mmu::GuestPhysical, unsigned) override { return ~std::uint64_t{0}; }
    void mmio_write(const Moment&, mmu::GuestPhysical, unsigned, std::uint64_t) override {}
    MsrOutcome msr_read(const Moment&, std::uint32_t, bool) override { return {}; }
    MsrOutcome msr_write(const Moment&, std::uint32_t, std::uint64_t, bool, const CpuState&) override { return {}; }
    CpuidLeaf cpuid(const Moment&, std::uint32_t, std::uint32_t, CpuidLeaf model) override { return model; }
    HypercallOutcome hypercall(const Moment&, HypercallInstruction, const CpuState&, LinearMemory&) override {
        return {};
    }
    std::uint8_t acknowledge_interrupt(const Moment&) override { return 0; }
};

// Every feature there is, so that every row decodes.
const CpuModel& model_with_everything(Vendor vendor);

// Where CPUs differ, as the host does: the vendor, and what its x87 pointers are.
const CpuModel& model_like_the_host();

class RowBench {
  public:
    // Maps `memory_address`, linear, page-aligned and below 4 GiB, for user reads and writes, and nothing around it.
    // The bases are those of 16-bit segments.
    RowBench(NativeMode mode, std::uint64_t memory_address, const CpuModel& model = model_like_the_host(),
             std::uint64_t code_base = 0, std::uint64_t data_base = 0);

    std::span<std::byte, NativeOracle::memory_size> memory() {
        return std::span<std::byte, NativeOracle::memory_size>(memory_, NativeOracle::memory_size);
    }
    const Decoder& decoder() const { return decoder_; }
    Processor& processor() { return processor_; }

    // Where the instruction stands; 0x400000 at first. Nothing is mapped there: it is not fetched.
    void set_instruction_address(std::uint64_t address) { code_ = address; }
    // A repeated string instruction is run until it no longer yields.
    NativeOutcome run(const Instruction& instruction, const NativeRegisters& registers);
    // The same with x87, MMX and vector registers, both ways.
    NativeOutcome run(const Instruction& instruction, const NativeRegisters& registers,
                      FloatingPointState& floating_point);

  private:
    void map(std::uint64_t linear, std::uint64_t physical);

    mmu::GuestMemory guest_;
    EmptyWorld world_;
    Decoder decoder_;
    Processor processor_;
    std::byte* memory_ = nullptr;
    std::uint64_t code_ = 0x400000;
    std::uint64_t next_table_;
};

}  // namespace xenolith::cpu
