// The CPU state both ways: CpuState on one side, the register structs of the KVM API on the other.
//
// What KVM does not hold, and a set_state followed by state() therefore takes from the caller's copy:
// - the selectors of the x87 instruction and data pointers, which the 64-bit XSAVE image has no room for;
// - the model-specific registers that this host's KVM refuses to know;
// - the upper halves of YMM while the guest's CPUID offers no AVX.
// What comes back in another form: an x87 tag is computed from the register, so a register marked valid that
// holds zero comes back as zero; of a segment that is not usable only the selector, the base and the DPL
// count.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "cpu/kvm/kvm_device.hpp"
#include "cpu/state/cpu_state.hpp"

namespace xenolith::cpu {

class KvmRegisters {
  public:
    // `vcpu` outlives it.
    KvmRegisters(const KvmDevice& device, const FileDescriptor& vcpu);

    // General registers, RIP, RFLAGS, segments, control registers, EFER and the APIC base: enough to say
    // where the guest is. Everything else of `state` stays as it is.
    void read_general(CpuState& state) const;
    // All that KVM holds; the rest of `state` stays as it is. Not the activity, and not the TSC.
    void read(CpuState& state) const;

    // Gives KVM the whole state, and forgets whatever event it was about to deliver. HostLimit::Kind::state
    // names the part it refuses; part of the state may then have been taken.
    void write(const CpuState& state);
    // Only what differs between the two, by groups. Events that KVM is about to deliver stay.
    void write_changes(const CpuState& before, const CpuState& after);

    // An interrupt would be delivered if it came now: RFLAGS.IF, no shadow, and nothing else on its way.
    bool takes_interrupt() const;
    // An NMI is pending and not blocked.
    bool nmi_waits() const;

    // KVM delivers the exception when the guest is entered next, as a fault without error code.
    void queue_exception(std::uint8_t vector);
    // The exception that KVM was about to deliver is forgotten.
    void forget_exception();
    // Sets bits of DR6 as a debug exception does.
    void note_debug_status(std::uint64_t bits);
    void set_rip(std::uint64_t rip);

    // Whether the guest's CPUID offers AVX: KVM then holds the upper halves of YMM.
    void set_has_avx(bool has_avx) { has_avx_ = has_avx; }

    // One model-specific register as the host may access it: false where KVM refuses.
    bool read_msr(std::uint32_t index, std::uint64_t& value) const;
    bool write_msr(std::uint32_t index, std::uint64_t value) const;

  private:
    void write_general(const CpuState& state);
    void write_system(const CpuState& state);
    void write_debug(const CpuState& state);
    void write_msrs(const CpuState& state);
    void write_floating_point(const CpuState& state);
    void write_extended_control(const CpuState& state);
    void write_events(const CpuState& state, bool keep_events);
    void read_msrs(CpuState& state) const;
    void read_floating_point(CpuState& state) const;
    void read_events(CpuState& state) const;

    const FileDescriptor& vcpu_;
    bool has_sregs2_, has_xcrs_;
    bool has_avx_ = false;
    std::size_t xsave_size_ = 4096;         // bytes of KVM_GET_XSAVE's struct
    std::size_t ymm_offset_ = 576;          // of the YMM component in the XSAVE image
    std::vector<std::uint32_t> held_msrs_;  // of those that CpuState has
};

}  // namespace xenolith::cpu
