// Control and debug registers, model-specific registers, and what a segment register holds beside its selector: a
// feature of our own, of which gdb needs no knowledge to show it. What may be written follows the rules of MOV to
// control registers (SDM vol. 2B) and of mode switching (vol. 3A, 9.8): a debugger may do what code could.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "machine/gdb/registers.hpp"
#include "mmu/page_walk.hpp"

namespace xenolith::machine::gdb {

namespace {

class SystemRegisters {
  public:
    explicit SystemRegisters(Feature& feature) : feature_(feature) {}

    // A register that is a field of the state; `field` gives a reference to it.
    template <class Field>
    void add(std::string name, unsigned bits, std::string type, Field field) {
        feature_.registers.push_back({std::move(name), bits, std::move(type), "system",
                                      [field](const cpu::CpuState& state) { return RegisterValue{field(state)}; },
                                      [field](cpu::CpuState& state, RegisterValue value) {
                                          auto& place = field(state);
                                          place = static_cast<std::remove_reference_t<decltype(place)>>(value.low);
                                      }});
    }
    template <class Get>
    void add_read_only(std::string name, unsigned bits, std::string type, Get get) {
        feature_.registers.push_back({std::move(name), bits, std::move(type), "system",
                                      [get](const cpu::CpuState& state) { return RegisterValue{get(state)}; },
                                      [](cpu::CpuState&, RegisterValue) {}});
    }
    // What it was loaded with; `field` gives a reference to the segment register.
    template <class Field>
    void add_hidden_part(const std::string& name, bool base, Field field) {
        if (base)
            add(
                name + "_base", 64, "uint64", [field](auto& state) -> auto& { return field(state).base; });
        add(
            name + "_limit", 32, "uint32", [field](auto& state) -> auto& { return field(state).limit; });
        add(
            name + "_attributes", 32,
            "segment_attributes", [field](auto& state) -> auto& { return field(state).attributes.bits; });
    }

  private:
    Feature& feature_;
};

constexpr std::uint64_t cr0_defined = cpu::cr0::pe | cpu::cr0::mp | cpu::cr0::em | cpu::cr0::ts | cpu::cr0::et |
                                      cpu::cr0::ne | cpu::cr0::wp | cpu::cr0::am | cpu::cr0::nw | cpu::cr0::cd |
                                      cpu::cr0::pg;

std::string why_not_control(const cpu::CpuState& state, const cpu::CpuModel& model) {
    if ((state.cr0 & ~cr0_defined) != 0) return "CR0 has no such bits";
    if (state.paging() && state.in_real_mode()) return "CR0.PG needs CR0.PE";
    if ((state.cr0 & cpu::cr0::nw) != 0 && (state.cr0 & cpu::cr0::cd) == 0) return "CR0.NW needs CR0.CD";
    if ((state.cr4 & ~model.cr4_bits()) != 0) return "CR4 has no such bits in this CPU model";
    if ((state.msr.efer & ~(model.efer_bits() | cpu::efer::lma)) != 0) return "EFER has no such bits in this CPU model";
    if (state.in_long_mode() && (state.cr4 & cpu::cr4::pae) == 0) return "long mode needs CR4.PAE";
    if ((state.cr4 & cpu::cr4::pcide) != 0 && !state.in_long_mode()) return "CR4.PCIDE needs long mode";
    if (state.in_long_mode() && state.cr3 >> model.physical_address_bits() != 0)
        return "CR3 is beyond the CPU's physical addresses";
    if (state.cr8 >> 4 != 0) return "CR8 has four bits";
    if ((state.xcr0 & ~model.xcr0_bits()) != 0 || (state.xcr0 & 1) == 0 || (state.xcr0 & 6) == 4)
        return "XCR0 does not take this value (SDM vol. 1, 13.3)";
    return {};
}

// Long mode comes and goes with paging, in code that is not its own (SDM vol. 3A, 9.8.5).
std::string why_not_switch(const cpu::CpuState& state, const cpu::CpuState& before) {
    if (((state.msr.efer ^ before.msr.efer) & cpu::efer::lme) != 0 && before.paging() && state.paging())
        return "EFER.LME does not change while paging is on";
    if (before.in_64bit_code() && !state.paging()) return "CR0.PG does not change in 64-bit code";
    return {};
}

std::string why_not_address(const cpu::CpuState& state) {
    const auto is_canonical = [](std::uint64_t value) { return mmu::GuestLinear{value}.is_canonical(); };
    const cpu::ModelSpecificRegisters& msr = state.msr;
    bool all = is_canonical(state.gdtr.base) && is_canonical(state.idtr.base) && is_canonical(state.ldtr.base) &&
               is_canonical(state.tr.base);
    for (const cpu::SegmentRegister& segment : state.segments) all = all && is_canonical(segment.base);
    for (const std::uint64_t value : {msr.lstar, msr.cstar, msr.kernel_gs_base, msr.sysenter_esp, msr.sysenter_eip})
        all = all && is_canonical(value);
    if (!all) return "the address is not canonical";
    if (state.in_64bit_code() && !is_canonical(state.rip)) return "RIP is not canonical";
    return {};
}

}  // namespace

Feature system_feature(Architecture architecture) {
    Feature feature{"org.xenolith.system", {}};
    SystemRegisters all(feature);
    all.add(
        "ip", 64, "uint64", [](auto& state) -> auto& { return state.rip; });
    all.add_read_only("cpl", 32, "uint32", [](const cpu::CpuState& state) { return state.cpl(); });
    all.add(
        "cr0", 32, "cr0_flags", [](auto& state) -> auto& { return state.cr0; });
    all.add(
        "cr2", 64, "uint64", [](auto& state) -> auto& { return state.cr2; });
    all.add(
        "cr3", 64, "uint64", [](auto& state) -> auto& { return state.cr3; });
    all.add(
        "cr4", 32, "cr4_flags", [](auto& state) -> auto& { return state.cr4; });
    all.add(
        "cr8", 64, "uint64", [](auto& state) -> auto& { return state.cr8; });
    all.add(
        "efer", 32, "efer_flags", [](auto& state) -> auto& { return state.msr.efer; });
    all.add(
        "xcr0", 64, "uint64", [](auto& state) -> auto& { return state.xcr0; });
    constexpr std::array<std::string_view, 6> names = {"es", "cs", "ss", "ds", "fs", "gs"};
    for (unsigned n = 0; n < names.size(); ++n) {
        // Of FS and GS the 64-bit description has the base elsewhere.
        const bool base = architecture != Architecture::x86_64 || n < static_cast<unsigned>(cpu::SegmentName::fs);
        all.add_hidden_part(
            std::string(names[n]), base, [n](auto& state) -> auto& { return state.segments[n]; });
    }
    const auto ldtr = [](auto& state) -> auto& { return state.ldtr; };
    const auto tr = [](auto& state) -> auto& { return state.tr; };
    all.add(
        "ldtr", 32, "uint32", [ldtr](auto& state) -> auto& { return ldtr(state).selector; });
    all.add_hidden_part("ldtr", true, ldtr);
    all.add(
        "tr", 32, "uint32", [tr](auto& state) -> auto& { return tr(state).selector; });
    all.add_hidden_part("tr", true, tr);
    all.add(
        "gdtr_base", 64, "uint64", [](auto& state) -> auto& { return state.gdtr.base; });
    all.add(
        "gdtr_limit", 32, "uint32", [](auto& state) -> auto& { return state.gdtr.limit; });
    all.add(
        "idtr_base", 64, "uint64", [](auto& state) -> auto& { return state.idtr.base; });
    all.add(
        "idtr_limit", 32, "uint32", [](auto& state) -> auto& { return state.idtr.limit; });
    for (unsigned n = 0; n < 4; ++n)
        all.add(
            fmt::format("dr{}", n), 64, "uint64", [n](auto& state) -> auto& { return state.debug_address[n]; });
    all.add(
        "dr6", 64, "uint64", [](auto& state) -> auto& { return state.dr6; });
    all.add(
        "dr7", 64, "uint64", [](auto& state) -> auto& { return state.dr7; });
    all.add(
        "star", 64, "uint64", [](auto& state) -> auto& { return state.msr.star; });
    all.add(
        "lstar", 64, "uint64", [](auto& state) -> auto& { return state.msr.lstar; });
    all.add(
        "cstar", 64, "uint64", [](auto& state) -> auto& { return state.msr.cstar; });
    all.add(
        "sfmask", 64, "uint64", [](auto& state) -> auto& { return state.msr.sfmask; });
    all.add(
        "kernel_gs_base", 64, "uint64", [](auto& state) -> auto& { return state.msr.kernel_gs_base; });
    all.add(
        "sysenter_cs", 64, "uint64", [](auto& state) -> auto& { return state.msr.sysenter_cs; });
    all.add(
        "sysenter_esp", 64, "uint64", [](auto& state) -> auto& { return state.msr.sysenter_esp; });
    all.add(
        "sysenter_eip", 64, "uint64", [](auto& state) -> auto& { return state.msr.sysenter_eip; });
    all.add_read_only("apic_base", 64, "uint64", [](const cpu::CpuState& state) { return state.msr.apic_base; });
    all.add_read_only("pat", 64, "uint64", [](const cpu::CpuState& state) { return state.msr.pat; });
    return feature;
}

std::string settle(cpu::CpuState& state, const cpu::CpuState& before, const cpu::CpuModel& model,
                   const mmu::GuestMemory& memory) {
    state.cr0 |= cpu::cr0::et;
    const bool long_mode = state.paging() && (state.msr.efer & cpu::efer::lme) != 0;
    state.msr.efer = long_mode ? state.msr.efer | cpu::efer::lma : state.msr.efer & ~cpu::efer::lma;
    if (std::string why = why_not_switch(state, before); !why.empty()) return why;
    if (std::string why = why_not_control(state, model); !why.empty()) return why;
    if (std::string why = why_not_address(state); !why.empty()) return why;
    state.dr6 = (state.dr6 & 0xffffffff) | cpu::dr6::fixed_ones;
    state.dr7 = (state.dr7 & (0xffff03ff | cpu::dr7::gd)) | cpu::dr7::fixed_one;
    state.floating_point.mxcsr &= 0xffff;
    constexpr std::uint32_t attribute_bits = 0xf0ff | cpu::SegmentAttributes::unusable_bit;
    for (cpu::SegmentRegister& segment : state.segments) segment.attributes.bits &= attribute_bits;
    state.ldtr.attributes.bits &= attribute_bits;
    state.tr.attributes.bits &= attribute_bits;
    constexpr std::uint64_t reloading = cpu::cr4::pge | cpu::cr4::pse | cpu::cr4::pae | cpu::cr4::smep;
    const bool pae_paging = state.paging() && !long_mode && (state.cr4 & cpu::cr4::pae) != 0;
    const bool reloads = state.cr3 != before.cr3 || ((state.cr0 ^ before.cr0) & cpu::cr0::pg) != 0 ||
                         ((state.cr4 ^ before.cr4) & reloading) != 0 || before.in_long_mode();
    if (pae_paging && reloads && !mmu::load_pdptes(memory, state.cr3, model.physical_address_bits(), state.pdpte))
        return "the page-directory-pointer table at CR3 cannot be loaded";
    return {};
}

}  // namespace xenolith::machine::gdb
