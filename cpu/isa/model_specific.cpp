// One table: an index or a range of them, who has it, how it is read, what it takes. Registers that a model
// lacks raise #GP(0), which is how software finds out.
#include "cpu/isa/model_specific.hpp"

#include <algorithm>
#include <array>

namespace xenolith::cpu {

namespace {

// Numbers only used here (SDM vol. 4, table 2-2; APM vol. 2, appendix A; BKDG and PPR of AMD's families).
constexpr std::uint32_t arch_capabilities = 0x10a;
constexpr std::uint32_t amd_system_configuration = 0xc0010010, amd_hardware_configuration = 0xc0010015,
                        amd_interrupt_pending = 0xc0010055;

constexpr std::uint64_t low32 = 0xffffffff;
constexpr std::uint64_t variable_ranges = 10;  // pairs of MTRR registers
constexpr std::uint64_t cap_fixed_ranges = 1 << 8, cap_write_combining = 1 << 10;
constexpr std::uint64_t misc_enable_writable = 0x1 | 0x8 | 0x10000;  // fast strings, thermal monitor, SpeedStep

bool is_canonical(std::uint64_t value) { return mmu::GuestLinear{value}.is_canonical(); }

// Memory types: uncacheable, write-combining, write-through, write-protected, write-back (SDM vol. 3A, table
// 11-8).
bool is_mtrr_type(std::uint64_t type) { return type == 0 || type == 1 || type == 4 || type == 5 || type == 6; }
// The PAT also has 7, UC- (table 11-10).
bool is_pat_type(std::uint64_t type) { return is_mtrr_type(type) || type == 7; }

template <bool (*IsType)(std::uint64_t)>
bool all_bytes(std::uint64_t value) {
    for (unsigned n = 0; n < 8; ++n) {
        if (!IsType(value >> n * 8 & 0xff)) return false;
    }
    return true;
}

std::uint64_t address_limit(const Processor& p) { return std::uint64_t{1} << p.model.physical_address_bits(); }

struct ModelRegister {
    std::uint32_t first, last;
    bool (*exists)(const CpuModel&);
    std::uint64_t (*read)(const Processor&, std::uint32_t index);
    bool (*write)(Processor&, std::uint32_t index, std::uint64_t value);
};

// --- Who has it
// -------------------------------------------------------------------------------------------------------

template <Feature Needed>
bool with(const CpuModel& model) {
    return model.has(Needed);
}
bool everyone(const CpuModel&) { return true; }
bool intel(const CpuModel& model) { return model.vendor() == Vendor::intel; }
bool amd(const CpuModel& model) { return model.vendor() == Vendor::amd; }
bool with_auxiliary(const CpuModel& model) { return model.has(Feature::rdtscp) || model.has(Feature::rdpid); }

// --- Plain registers: a word of ModelSpecificRegisters
// ------------------------------------------------------------------

using Word = std::uint64_t ModelSpecificRegisters::*;

template <Word Field>
std::uint64_t read_word(const Processor& p, std::uint32_t) {
    return p.state.msr.*Field;
}
template <Word Field>
bool write_word(Processor& p, std::uint32_t, std::uint64_t value) {
    p.state.msr.*Field = value;
    return true;
}
template <Word Field>
bool write_canonical(Processor& p, std::uint32_t, std::uint64_t value) {
    if (!is_canonical(value)) return false;
    p.state.msr.*Field = value;
    return true;
}
// Bits outside the mask are reserved.
template <Word Field, std::uint64_t Mask>
bool write_masked(Processor& p, std::uint32_t, std::uint64_t value) {
    if ((value & ~Mask) != 0) return false;
    p.state.msr.*Field = value;
    return true;
}

template <std::uint64_t Value>
std::uint64_t read_constant(const Processor&, std::uint32_t) {
    return Value;
}
bool read_only(Processor&, std::uint32_t, std::uint64_t) { return false; }
// A register none of whose functions this processor has: it takes the value it reads as.
bool write_zero(Processor&, std::uint32_t, std::uint64_t value) { return value == 0; }

// --- The time stamp (SDM vol. 3B, 17.17.3)
// ------------------------------------------------------------------------------

std::uint64_t read_time_stamp(const Processor& p, std::uint32_t) { return p.tsc(); }

void move_time_stamp(Processor& p, std::uint64_t by) {
    p.state.msr.tsc_offset += by;
    p.state.msr.tsc_adjust += by;
}

bool write_time_stamp(Processor& p, std::uint32_t, std::uint64_t value) {
    move_time_stamp(p, value - p.tsc());
    return true;
}

bool write_time_stamp_adjust(Processor& p, std::uint32_t, std::uint64_t value) {
    move_time_stamp(p, value - p.state.msr.tsc_adjust);
    return true;
}

// --- Mode and segments
// ------------------------------------------------------------------------------------------------

// SDM vol. 3A, 2.2.1 and table 2-1. LMA follows CR0.PG and LME and cannot be written.
bool write_efer(Processor& p, std::uint32_t, std::uint64_t value) {
    const std::uint64_t old = p.state.msr.efer;
    if ((value & ~(p.model.efer_bits() | efer::lma)) != 0) return false;
    value = (value & ~efer::lma) | (old & efer::lma);
    const std::uint64_t changed = old ^ value;
    if ((changed & efer::lme) != 0 && p.state.paging()) return false;
    p.state.msr.efer = value;
    if ((changed & efer::nxe) != 0) p.flush_translations();
    p.mode_changed();
    return true;
}

template <SegmentName Name>
std::uint64_t read_base(const Processor& p, std::uint32_t) {
    return p.state.segment(Name).base;
}
template <SegmentName Name>
bool write_base(Processor& p, std::uint32_t, std::uint64_t value) {
    if (!is_canonical(value)) return false;
    p.state.segment(Name).base = value;
    p.segment_changed(Name);
    return true;
}

// --- The local APIC's base (SDM vol. 3A, 10.4.4)
// -----------------------------------------------------------------------

bool write_apic_base(Processor& p, std::uint32_t, std::uint64_t value) {
    constexpr std::uint64_t bootstrap = 1 << 8, x2apic = 1 << 10, enabled = 1 << 11;
    std::uint64_t reserved = 0xff | 1 << 9;
    if (!p.model.has(Feature::x2apic)) reserved |= x2apic;
    if ((value & reserved) != 0 || value >= address_limit(p)) return false;
    // x2APIC mode is entered from an APIC that is enabled, and is left only by disabling it (10.12.5.1).
    const std::uint64_t old = p.state.msr.apic_base;
    if ((value & x2apic) != 0 && (value & old & enabled) == 0) return false;
    if ((old & x2apic) != 0 && (value & enabled) != 0 && (value & x2apic) == 0) return false;
    p.state.msr.apic_base = (value & ~bootstrap) | (old & bootstrap);
    return true;
}

// --- Memory types (SDM vol. 3A, 11.11 and 11.12)
// -----------------------------------------------------------------------

bool write_pat(Processor& p, std::uint32_t, std::uint64_t value) {
    if (!all_bytes<is_pat_type>(value)) return false;
    p.state.msr.pat = value;
    return true;
}

bool write_mtrr_default(Processor& p, std::uint32_t, std::uint64_t value) {
    constexpr std::uint64_t enables = 3 << 10;
    if ((value & ~(enables | 0xff)) != 0 || !is_mtrr_type(value & 0xff)) return false;
    p.state.msr.mtrr_def_type = value;
    return true;
}

std::uint64_t read_mtrr_variable(const Processor& p, std::uint32_t index) {
    return p.state.msr.mtrr_variable[index - msr::mtrr_phys_base0];
}
bool write_mtrr_variable(Processor& p, std::uint32_t index, std::uint64_t value) {
    const bool is_mask = ((index - msr::mtrr_phys_base0) & 1) != 0;
    const std::uint64_t reserved_low = is_mask ? 0x7ff : 0xf00;  // a mask has a valid bit, a base has a type
    if ((value & reserved_low) != 0 || value >= address_limit(p)) return false;
    if (!is_mask && !is_mtrr_type(value & 0xff)) return false;
    p.state.msr.mtrr_variable[index - msr::mtrr_phys_base0] = value;
    return true;
}

unsigned fixed_position(std::uint32_t index) {
    if (index == msr::mtrr_fix64k) return 0;
    return index <= msr::mtrr_fix16k_a0000 ? index - msr::mtrr_fix16k_80000 + 1 : index - msr::mtrr_fix4k_c0000 + 3;
}
std::uint64_t read_mtrr_fixed(const Processor& p, std::uint32_t index) {
    return p.state.msr.mtrr_fixed[fixed_position(index)];
}
bool write_mtrr_fixed(Processor& p, std::uint32_t index, std::uint64_t value) {
    if (!all_bytes<is_mtrr_type>(value)) return false;
    p.state.msr.mtrr_fixed[fixed_position(index)] = value;
    return true;
}

// --- The rest
// ---------------------------------------------------------------------------------------------------------

// Loads a microcode update on real processors; here only the zero that software writes before reading the
// revision.
bool write_bios_sign_id(Processor& p, std::uint32_t, std::uint64_t value) {
    if (p.model.vendor() == Vendor::amd) return false;
    p.state.msr.bios_sign_id = value;
    return true;
}
std::uint64_t read_bios_sign_id(const Processor& p, std::uint32_t) {
    return p.model.vendor() == Vendor::amd ? microcode_revision(p.model) >> 32 : p.state.msr.bios_sign_id;
}

// Bits with a function this processor lacks, the limit on CPUID leaves and the XD disable among them, are
// refused.
bool write_misc_enable(Processor& p, std::uint32_t, std::uint64_t value) {
    if ((value & ~misc_enable_writable) != 0) return false;
    p.state.msr.misc_enable = value;
    return true;
}

// LBR and BTF (SDM vol. 3B, 17.4.1); no branch records are kept, and BTF is refused since it would change
// what TF does.
bool write_debugctl(Processor& p, std::uint32_t, std::uint64_t value) {
    if ((value & ~std::uint64_t{1}) != 0) return false;
    p.state.msr.debugctl = value;
    return true;
}

bool write_xss(Processor&, std::uint32_t, std::uint64_t value) { return value == 0; }

constexpr std::uint64_t mtrr_capabilities = variable_ranges | cap_fixed_ranges | cap_write_combining;
constexpr std::uint64_t feature_control_locked = 1;
constexpr std::uint64_t machine_check_capabilities = 0;  // no banks
// Nothing is executed speculatively: RDCL_NO, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO.
constexpr std::uint64_t immunities = 1 << 0 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8;

using M = ModelSpecificRegisters;

// In ascending order of index.
constexpr std::array registers = {
    // The Pentium's, of which later CPUs have kept the addresses.
    ModelRegister{msr::p5_mc_addr, msr::p5_mc_type, with<Feature::mce>, read_constant<0>, read_only},
    ModelRegister{msr::tsc, msr::tsc, with<Feature::tsc>, read_time_stamp, write_time_stamp},
    ModelRegister{msr::platform_id, msr::platform_id, intel, read_constant<0>, read_only},
    ModelRegister{msr::apic_base, msr::apic_base, everyone, read_word<&M::apic_base>, write_apic_base},
    ModelRegister{msr::feature_control, msr::feature_control, intel, read_constant<feature_control_locked>, read_only},
    ModelRegister{msr::tsc_adjust, msr::tsc_adjust, with<Feature::tsc_adjust>, read_word<&M::tsc_adjust>,
                  write_time_stamp_adjust},
    ModelRegister{msr::bios_sign_id, msr::bios_sign_id, everyone, read_bios_sign_id, write_bios_sign_id},
    ModelRegister{msr::mtrr_cap, msr::mtrr_cap, with<Feature::mtrr>, read_constant<mtrr_capabilities>, read_only},
    ModelRegister{arch_capabilities, arch_capabilities, with<Feature::arch_capabilities>, read_constant<immunities>,
                  read_only},
    ModelRegister{msr::sysenter_cs, msr::sysenter_cs, with<Feature::sep>, read_word<&M::sysenter_cs>,
                  write_masked<&M::sysenter_cs, low32>},
    ModelRegister{msr::sysenter_esp, msr::sysenter_esp, with<Feature::sep>, read_word<&M::sysenter_esp>,
                  write_canonical<&M::sysenter_esp>},
    ModelRegister{msr::sysenter_eip, msr::sysenter_eip, with<Feature::sep>, read_word<&M::sysenter_eip>,
                  write_canonical<&M::sysenter_eip>},
    ModelRegister{msr::mcg_cap, msr::mcg_cap, with<Feature::mca>, read_constant<machine_check_capabilities>, read_only},
    ModelRegister{msr::mcg_status, msr::mcg_status, with<Feature::mca>, read_word<&M::mcg_status>,
                  write_masked<&M::mcg_status, 7>},
    ModelRegister{msr::misc_enable, msr::misc_enable, intel, read_word<&M::misc_enable>, write_misc_enable},
    ModelRegister{msr::debugctl, msr::debugctl, everyone, read_word<&M::debugctl>, write_debugctl},
    ModelRegister{msr::mtrr_phys_base0, msr::mtrr_phys_mask9, with<Feature::mtrr>, read_mtrr_variable,
                  write_mtrr_variable},
    ModelRegister{msr::mtrr_fix64k, msr::mtrr_fix64k, with<Feature::mtrr>, read_mtrr_fixed, write_mtrr_fixed},
    ModelRegister{msr::mtrr_fix16k_80000, msr::mtrr_fix16k_a0000, with<Feature::mtrr>, read_mtrr_fixed,
                  write_mtrr_fixed},
    ModelRegister{msr::mtrr_fix4k_c0000, msr::mtrr_fix4k_f8000, with<Feature::mtrr>, read_mtrr_fixed, write_mtrr_fixed},
    ModelRegister{msr::pat, msr::pat, with<Feature::pat>, read_word<&M::pat>, write_pat},
    ModelRegister{msr::mtrr_def_type, msr::mtrr_def_type, with<Feature::mtrr>, read_word<&M::mtrr_def_type>,
                  write_mtrr_default},
    ModelRegister{msr::xss, msr::xss, with<Feature::xsaves>, read_word<&M::xss>, write_xss},
    ModelRegister{msr::efer, msr::efer, with<Feature::long_mode>, read_word<&M::efer>, write_efer},
    ModelRegister{msr::star, msr::star, with<Feature::syscall>, read_word<&M::star>, write_word<&M::star>},
    ModelRegister{msr::lstar, msr::lstar, with<Feature::long_mode>, read_word<&M::lstar>, write_canonical<&M::lstar>},
    ModelRegister{msr::cstar, msr::cstar, with<Feature::long_mode>, read_word<&M::cstar>, write_canonical<&M::cstar>},
    ModelRegister{msr::sfmask, msr::sfmask, with<Feature::syscall>, read_word<&M::sfmask>,
                  write_masked<&M::sfmask, low32>},
    ModelRegister{msr::fs_base, msr::fs_base, with<Feature::long_mode>, read_base<SegmentName::fs>,
                  write_base<SegmentName::fs>},
    ModelRegister{msr::gs_base, msr::gs_base, with<Feature::long_mode>, read_base<SegmentName::gs>,
                  write_base<SegmentName::gs>},
    ModelRegister{msr::kernel_gs_base, msr::kernel_gs_base, with<Feature::long_mode>, read_word<&M::kernel_gs_base>,
                  write_canonical<&M::kernel_gs_base>},
    ModelRegister{msr::tsc_aux, msr::tsc_aux, with_auxiliary, read_word<&M::tsc_aux>, write_masked<&M::tsc_aux, low32>},
    ModelRegister{amd_system_configuration, amd_system_configuration, amd, read_constant<0>, write_zero},
    ModelRegister{amd_hardware_configuration, amd_hardware_configuration, amd, read_constant<0>, write_zero},
    ModelRegister{amd_interrupt_pending, amd_interrupt_pending, amd, read_constant<0>, write_zero},
};

const ModelRegister* find_register(const CpuModel& model, std::uint32_t index) {
    const auto found = std::ranges::lower_bound(registers, index, {}, &ModelRegister::last);
    if (found == registers.end() || index < found->first || !found->exists(model)) return nullptr;
    return &*found;
}

}  // namespace

bool msr_implemented(const Processor& processor, std::uint32_t index) {
    return find_register(processor.model, index) != nullptr;
}

std::optional<std::uint64_t> read_msr(const Processor& processor, std::uint32_t index) {
    const ModelRegister* const found = find_register(processor.model, index);
    if (found == nullptr) return std::nullopt;
    return found->read(processor, index);
}

bool write_msr(Processor& processor, std::uint32_t index, std::uint64_t value) {
    const ModelRegister* const found = find_register(processor.model, index);
    return found != nullptr && found->write(processor, index, value);
}

std::uint64_t microcode_revision(const CpuModel& model) {
    // Any revision will do; software compares it with a minimum for workarounds of errata that are not here.
    constexpr std::uint64_t nehalem = 0x1d, modern = 0x2b000000;
    return (model.has(Feature::fsgsbase) ? modern : nehalem) << 32;
}

}  // namespace xenolith::cpu
