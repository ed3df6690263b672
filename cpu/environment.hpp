// All that a CPU may ask of the world around it. The machine implements it; every engine calls it the same way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cpu/state/cpu_state.hpp"
#include "mmu/address.hpp"

namespace xenolith::cpu {

// When and where the CPU asks: the state at the start of the instruction that asks.
struct Moment {
    std::uint64_t cycles = 0;        // the virtual clock
    std::uint64_t instructions = 0;  // completed before this one
    unsigned vcpu = 0;
    Mode mode = Mode::real;
    std::uint16_t cs = 0;
    std::uint64_t rip = 0;
    unsigned cpl = 0;
};

struct CpuidLeaf {
    std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;

    constexpr bool operator==(const CpuidLeaf&) const = default;
};

struct MsrOutcome {
    enum class Kind : std::uint8_t {
        not_claimed,  // the CPU treats the index as its own, or unknown to it: #GP(0)
        done,
        general_protection,  // #GP(0), nothing changed
        stop,                // the run ends with an error number; the instruction has not happened
    };
    Kind kind = Kind::not_claimed;
    std::uint64_t value = 0;   // of a read
    std::uint64_t cycles = 0;  // charged instead of the instruction's own cost, unless not_claimed
    int error_number = 0;      // with `stop`
};

enum class HypercallInstruction : std::uint8_t { vmcall, vmmcall };

struct HypercallOutcome {
    enum class Kind : std::uint8_t {
        undefined_opcode,  // no hypervisor takes it: #UD
        done,              // RAX = result, execution goes on behind the instruction
        leave,             // the run ends with ExitReason::hypercall; the instruction has not happened
    };
    Kind kind = Kind::undefined_opcode;
    std::uint64_t result = 0;
    std::uint64_t cycles = 0;
};

// Guest memory as the running code sees it, for hypercall arguments: through segmentation-free linear addresses and
// the current page tables, as supervisor. False, with no guest fault, where a byte cannot be reached.
class LinearMemory {
  public:
    virtual ~LinearMemory() = default;
    virtual bool read_linear(mmu::GuestLinear address, std::span<std::byte> to) = 0;
    virtual bool write_linear(mmu::GuestLinear address, std::span<const std::byte> from) = 0;
};

class Environment {
  public:
    virtual ~Environment() = default;

    // `width` is 1, 2 or 4 bytes for ports; 1, 2, 4 or 8 for memory, never crossing a page.
    virtual std::uint32_t port_read(const Moment& moment, std::uint16_t port, unsigned width) = 0;
    // `state` is the whole CPU: a hypercall doorbell is a port that reads arguments from it and puts a result in RAX.
    virtual void port_write(const Moment& moment, std::uint16_t port, unsigned width, std::uint32_t value,
                            CpuState& state, LinearMemory& memory) = 0;
    virtual std::uint64_t mmio_read(const Moment& moment, mmu::GuestPhysical address, unsigned width) = 0;
    virtual void mmio_write(const Moment& moment, mmu::GuestPhysical address, unsigned width, std::uint64_t value) = 0;

    // Asked first for every RDMSR and WRMSR at CPL 0. `implemented` says whether the CPU model itself has the index.
    virtual MsrOutcome msr_read(const Moment& moment, std::uint32_t index, bool implemented) = 0;
    virtual MsrOutcome msr_write(const Moment& moment, std::uint32_t index, std::uint64_t value, bool implemented,
                                 const CpuState& state) = 0;

    // The leaf the guest sees, given what the CPU model says of it.
    virtual CpuidLeaf cpuid(const Moment& moment, std::uint32_t leaf, std::uint32_t subleaf, CpuidLeaf model) = 0;

    virtual HypercallOutcome hypercall(const Moment& moment, HypercallInstruction instruction, const CpuState& state,
                                       LinearMemory& memory) = 0;

    // The interrupt controller's INTA cycle: the vector to deliver.
    virtual std::uint8_t acknowledge_interrupt(const Moment& moment) = 0;
    // CR8 was written, with 0 to 15: the local APIC's task priority follows. A world without one need not care.
    virtual void task_priority_written(const Moment&, std::uint8_t) {}
};

}  // namespace xenolith::cpu
