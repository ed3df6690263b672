// KVM_GET/SET_REGS, _SREGS, _SREGS2, _XSAVE, _XCRS, _DEBUGREGS, _MSRS and _VCPU_EVENTS (KVM API 4.11
// to 4.14, 4.18, 4.19, 4.31, 4.32, 4.35, 4.42 to 4.45, 4.130). The XSAVE image is that of SDM vol. 1, 10.5
// and 13.4.
//
// The order of writing matters in one place: KVM checks CR4 against the guest's CPUID, and the PDPTEs against
// CR0 and CR4, so system registers come first. Whatever is written last cannot undo it.
#include "cpu/kvm/kvm_registers.hpp"

#include <cpuid.h>
#include <linux/kvm.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>

#include "cpu/kvm/kvm_requests.hpp"

namespace xenolith::cpu {

namespace {

constexpr auto refused = HostLimit::Kind::state;

std::string hex(std::uint64_t value) {
    char text[2 + 16 + 1];
    std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
    return text;
}

// --- Segments ---------------------------------------------------------------------------------------------

kvm_segment to_kvm(const SegmentRegister& segment) {
    const SegmentAttributes& attributes = segment.attributes;
    kvm_segment result{};
    result.base = segment.base;
    result.limit = segment.limit;
    result.selector = segment.selector;
    result.type = static_cast<std::uint8_t>(attributes.type());
    result.present = attributes.present() ? 1 : 0;
    result.dpl = static_cast<std::uint8_t>(attributes.dpl());
    result.db = attributes.default_big() ? 1 : 0;
    result.s = attributes.is_code_or_data() ? 1 : 0;
    result.l = attributes.long_mode() ? 1 : 0;
    result.g = attributes.granular() ? 1 : 0;
    result.avl = (attributes.bits & SegmentAttributes::avl) != 0 ? 1 : 0;
    result.unusable = attributes.unusable() ? 1 : 0;
    return result;
}

bool host_is_amd() {
    unsigned highest = 0, ebx = 0, ecx = 0, edx = 0;
    return __get_cpuid(0, &highest, &ebx, &ecx, &edx) != 0 && ebx == signature_AMD_ebx;
}

// On AMD's CPUs KVM shows the task register as busy whatever it holds, and the hardware does not ask. QEMU's TCG, which
// emulates such a CPU, does: it keeps the register available, as its own LTR leaves it, and gives up at a fault that
// changes CPL if it finds it busy. Intel's CPUs refuse to enter a guest unless it is busy (SDM vol. 3C, 27.3.1.2).
kvm_segment task_register(const SegmentRegister& segment) {
    static const bool is_amd = host_is_amd();
    constexpr std::uint8_t busy = 2;
    kvm_segment result = to_kvm(segment);
    if (is_amd) result.type &= static_cast<std::uint8_t>(~busy);
    return result;
}

SegmentRegister from_kvm(const kvm_segment& segment) {
    using A = SegmentAttributes;
    const std::uint32_t dpl = static_cast<std::uint32_t>(segment.dpl & 3) << 5;
    if (segment.unusable != 0) return {segment.selector, segment.base, 0, {A::unusable_bit | dpl}};
    std::uint32_t bits = (segment.type & A::type_mask) | dpl;
    const auto add = [&](std::uint8_t set, std::uint32_t bit) {
        if (set != 0) bits |= bit;
    };
    add(segment.s, A::s);
    add(segment.present, A::present_bit);
    add(segment.avl, A::avl);
    add(segment.l, A::l);
    add(segment.db, A::db);
    add(segment.g, A::g);
    return {segment.selector, segment.base, segment.limit, {bits}};
}

// kvm_sregs and kvm_sregs2 name the same fields alike.
template <class System>
void fill(System& system, const CpuState& state) {
    system.es = to_kvm(state.segment(SegmentName::es));
    system.cs = to_kvm(state.segment(SegmentName::cs));
    system.ss = to_kvm(state.segment(SegmentName::ss));
    system.ds = to_kvm(state.segment(SegmentName::ds));
    system.fs = to_kvm(state.segment(SegmentName::fs));
    system.gs = to_kvm(state.segment(SegmentName::gs));
    system.tr = task_register(state.tr);
    system.ldt = to_kvm(state.ldtr);
    system.gdt.base = state.gdtr.base;
    system.gdt.limit = state.gdtr.limit;
    system.idt.base = state.idtr.base;
    system.idt.limit = state.idtr.limit;
    system.cr0 = state.cr0;
    system.cr2 = state.cr2;
    system.cr3 = state.cr3;
    system.cr4 = state.cr4;
    system.cr8 = state.cr8;
    system.efer = state.msr.efer;
    system.apic_base = state.msr.apic_base;
}

template <class System>
void take(CpuState& state, const System& system) {
    state.segment(SegmentName::es) = from_kvm(system.es);
    state.segment(SegmentName::cs) = from_kvm(system.cs);
    state.segment(SegmentName::ss) = from_kvm(system.ss);
    state.segment(SegmentName::ds) = from_kvm(system.ds);
    state.segment(SegmentName::fs) = from_kvm(system.fs);
    state.segment(SegmentName::gs) = from_kvm(system.gs);
    state.tr = from_kvm(system.tr);
    state.ldtr = from_kvm(system.ldt);
    state.gdtr = {system.gdt.base, system.gdt.limit};
    state.idtr = {system.idt.base, system.idt.limit};
    state.cr0 = system.cr0;
    state.cr2 = system.cr2;
    state.cr3 = system.cr3;
    state.cr4 = system.cr4;
    state.cr8 = system.cr8;
    state.msr.efer = system.efer;
    state.msr.apic_base = system.apic_base;
}

// The PDPTE registers are in use (SDM vol. 3A, 4.4.1).
bool uses_pdptes(const CpuState& state) {
    return state.paging() && (state.cr4 & cr4::pae) != 0 && !state.in_long_mode();
}

// --- Model-specific registers -----------------------------------------------------------------------------

// Calls visit(index, value) for each register that CpuState has and KVM_SET_MSRS may know.
template <class Registers, class Visitor>
void for_each_msr(Registers& r, Visitor&& visit) {
    visit(msr::star, r.star);
    visit(msr::lstar, r.lstar);
    visit(msr::cstar, r.cstar);
    visit(msr::sfmask, r.sfmask);
    visit(msr::kernel_gs_base, r.kernel_gs_base);
    visit(msr::sysenter_cs, r.sysenter_cs);
    visit(msr::sysenter_esp, r.sysenter_esp);
    visit(msr::sysenter_eip, r.sysenter_eip);
    visit(msr::tsc_adjust, r.tsc_adjust);
    visit(msr::tsc_aux, r.tsc_aux);
    visit(msr::pat, r.pat);
    visit(msr::misc_enable, r.misc_enable);
    visit(msr::mtrr_def_type, r.mtrr_def_type);
    for (std::uint32_t n = 0; n < r.mtrr_variable.size(); ++n) visit(msr::mtrr_phys_base0 + n, r.mtrr_variable[n]);
    constexpr std::uint32_t fixed[] = {msr::mtrr_fix64k, msr::mtrr_fix16k_80000, msr::mtrr_fix16k_a0000};
    constexpr std::uint32_t first_of_4k = 3;
    for (std::uint32_t n = 0; n < r.mtrr_fixed.size(); ++n)
        visit(n < first_of_4k ? fixed[n] : msr::mtrr_fix4k_c0000 + (n - first_of_4k), r.mtrr_fixed[n]);
    visit(msr::bios_sign_id, r.bios_sign_id);
    visit(msr::debugctl, r.debugctl);
    visit(msr::mcg_status, r.mcg_status);
    visit(msr::xss, r.xss);
}

using MsrList = CountedList<kvm_msr_entry>;

// --- The XSAVE image --------------------------------------------------------------------------------------

namespace image {
constexpr std::size_t control = 0, status = 2, tag = 4, opcode = 6, instruction_pointer = 8, data_pointer = 16,
                      mxcsr = 24, mxcsr_mask = 28, x87 = 32, xmm = 160, components = 512, slot = 16;
constexpr std::uint64_t has_x87 = 1, has_sse = 2, has_avx = 4;
constexpr std::uint32_t every_mxcsr_bit = 0xffff;
}  // namespace image

template <class T>
void put(std::vector<std::byte>& bytes, std::size_t at, T value) {
    std::memcpy(bytes.data() + at, &value, sizeof(T));
}

template <class T>
T get(const std::vector<std::byte>& bytes, std::size_t at) {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof(T));
    return value;
}

constexpr unsigned tag_valid = 0, tag_zero = 1, tag_special = 2, tag_empty = 3;

// The two tag bits that FNSTENV would store for a register that is not empty (SDM vol. 1, 8.1.7, table 10-3).
unsigned tag_of(const X87Register& value) {
    const unsigned exponent = value.sign_exponent & 0x7fff;
    if (exponent == 0) return value.significand == 0 ? tag_zero : tag_special;
    if (exponent == 0x7fff) return tag_special;
    return value.significand >> 63 != 0 ? tag_valid : tag_special;
}

// The physical register that ST(n) is: the image has registers in stack order, CpuState by their numbers.
unsigned physical(std::uint16_t status, unsigned n) { return ((status >> 11 & 7u) + n) & 7; }

}  // namespace

KvmRegisters::KvmRegisters(const KvmDevice& device, const FileDescriptor& vcpu)
    : vcpu_(vcpu),
      has_sregs2_(device.capability(KVM_CAP_SREGS2) != 0),
      has_xcrs_(device.capability(KVM_CAP_XCRS) != 0),
      xsave_size_(std::max<std::size_t>(4096, static_cast<std::size_t>(device.capability(KVM_CAP_XSAVE2)))) {
    ModelSpecificRegisters any;
    for_each_msr(any, [&](std::uint32_t index, std::uint64_t&) {
        std::uint64_t value = 0;
        if (read_msr(index, value)) held_msrs_.push_back(index);
    });
}

bool KvmRegisters::read_msr(std::uint32_t index, std::uint64_t& value) const {
    MsrList list(1);
    *list.entries() = {.index = index, .reserved = 0, .data = 0};
    if (vcpu_.control(kvm_request::get_msrs, list.data()) != 1) return false;
    value = list.entries()->data;
    return true;
}

bool KvmRegisters::write_msr(std::uint32_t index, std::uint64_t value) const {
    MsrList list(1);
    *list.entries() = {.index = index, .reserved = 0, .data = value};
    return vcpu_.control(kvm_request::set_msrs, list.data()) == 1;
}

// --- Reading ----------------------------------------------------------------------------------------------

void KvmRegisters::read_general(CpuState& state) const {
    kvm_regs general{};
    vcpu_.require(refused, "KVM_GET_REGS", KVM_GET_REGS, &general);
    const std::uint64_t values[] = {general.rax, general.rcx, general.rdx, general.rbx, general.rsp, general.rbp,
                                    general.rsi, general.rdi, general.r8,  general.r9,  general.r10, general.r11,
                                    general.r12, general.r13, general.r14, general.r15};
    std::ranges::copy(values, state.registers.begin());
    state.rip = general.rip;
    state.rflags = general.rflags;
    if (has_sregs2_) {
        kvm_sregs2 system{};
        vcpu_.require(refused, "KVM_GET_SREGS2", KVM_GET_SREGS2, &system);
        take(state, system);
        if ((system.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID) != 0) std::ranges::copy(system.pdptrs, state.pdpte.begin());
    } else {
        kvm_sregs system{};
        vcpu_.require(refused, "KVM_GET_SREGS", KVM_GET_SREGS, &system);
        take(state, system);
    }
}

void KvmRegisters::read(CpuState& state) const {
    read_general(state);
    kvm_debugregs debug{};
    vcpu_.require(refused, "KVM_GET_DEBUGREGS", KVM_GET_DEBUGREGS, &debug);
    std::ranges::copy(debug.db, state.debug_address.begin());
    state.dr6 = debug.dr6;
    state.dr7 = debug.dr7;
    read_msrs(state);
    read_floating_point(state);
    if (has_xcrs_) {
        kvm_xcrs extended{};
        vcpu_.require(refused, "KVM_GET_XCRS", KVM_GET_XCRS, &extended);
        for (std::uint32_t n = 0; n < std::min(extended.nr_xcrs, std::uint32_t{KVM_MAX_XCRS}); ++n)
            if (extended.xcrs[n].xcr == 0) state.xcr0 = extended.xcrs[n].value;
    }
    read_events(state);
}

void KvmRegisters::read_msrs(CpuState& state) const {
    MsrList list(held_msrs_.size());
    for (std::size_t n = 0; n < held_msrs_.size(); ++n)
        list.entries()[n] = {.index = held_msrs_[n], .reserved = 0, .data = 0};
    const int count = vcpu_.require(refused, "KVM_GET_MSRS", kvm_request::get_msrs, list.data());
    const auto held = static_cast<std::size_t>(count);
    std::size_t next = 0;  // both lists have the same order
    for_each_msr(state.msr, [&](std::uint32_t index, std::uint64_t& value) {
        if (next < held && list.entries()[next].index == index) value = list.entries()[next++].data;
    });
}

void KvmRegisters::read_floating_point(CpuState& state) const {
    std::vector<std::byte> bytes(xsave_size_);
    vcpu_.require(refused, "KVM_GET_XSAVE", kvm_request::get_xsave, bytes.data());
    FloatingPointState& unit = state.floating_point;
    unit.control = get<std::uint16_t>(bytes, image::control);
    unit.status = get<std::uint16_t>(bytes, image::status);
    unit.opcode = get<std::uint16_t>(bytes, image::opcode);
    unit.instruction_pointer = get<std::uint64_t>(bytes, image::instruction_pointer);
    unit.data_pointer = get<std::uint64_t>(bytes, image::data_pointer);
    unit.mxcsr = get<std::uint32_t>(bytes, image::mxcsr);
    for (unsigned n = 0; n < 8; ++n) {
        X87Register& value = unit.registers[physical(unit.status, n)];
        value.significand = get<std::uint64_t>(bytes, image::x87 + n * image::slot);
        value.sign_exponent = get<std::uint16_t>(bytes, image::x87 + n * image::slot + 8);
    }
    const auto in_use = get<std::uint8_t>(bytes, image::tag);
    unsigned tag = 0;
    for (unsigned n = 0; n < 8; ++n) tag |= ((in_use >> n & 1) != 0 ? tag_of(unit.registers[n]) : tag_empty) << n * 2;
    unit.tag = static_cast<std::uint16_t>(tag);
    for (unsigned n = 0; n < unit.vector.size(); ++n) {
        std::memcpy(unit.vector[n].data(), bytes.data() + image::xmm + n * image::slot, image::slot);
        if (has_avx_) std::memcpy(unit.vector[n].data() + 2, bytes.data() + ymm_offset_ + n * image::slot, image::slot);
    }
}

void KvmRegisters::read_events(CpuState& state) const {
    kvm_vcpu_events events{};
    vcpu_.require(refused, "KVM_GET_VCPU_EVENTS", KVM_GET_VCPU_EVENTS, &events);
    state.interrupt_shadow = events.interrupt.shadow != 0;
    state.nmi_blocked = events.nmi.masked != 0;
    state.nmi_pending = events.nmi.pending != 0;
}

// --- Writing ----------------------------------------------------------------------------------------------

void KvmRegisters::write(const CpuState& state) {
    write_system(state);
    write_general(state);
    write_extended_control(state);
    write_floating_point(state);
    write_debug(state);
    write_msrs(state);
    write_events(state, false);
}

void KvmRegisters::write_changes(const CpuState& before, const CpuState& after) {
    if (before == after) return;
    CpuState system = before;
    system.segments = after.segments;
    system.ldtr = after.ldtr;
    system.tr = after.tr;
    system.gdtr = after.gdtr;
    system.idtr = after.idtr;
    system.cr0 = after.cr0;
    system.cr2 = after.cr2;
    system.cr3 = after.cr3;
    system.cr4 = after.cr4;
    system.cr8 = after.cr8;
    system.pdpte = after.pdpte;
    system.msr.efer = after.msr.efer;
    system.msr.apic_base = after.msr.apic_base;
    if (system != before) write_system(after);
    if (before.registers != after.registers || before.rip != after.rip || before.rflags != after.rflags)
        write_general(after);
    if (before.xcr0 != after.xcr0) write_extended_control(after);
    if (before.floating_point != after.floating_point) write_floating_point(after);
    if (before.debug_address != after.debug_address || before.dr6 != after.dr6 || before.dr7 != after.dr7)
        write_debug(after);
    if (before.msr != after.msr) write_msrs(after);
    if (before.interrupt_shadow != after.interrupt_shadow || before.nmi_blocked != after.nmi_blocked ||
        before.nmi_pending != after.nmi_pending)
        write_events(after, true);
}

void KvmRegisters::write_general(const CpuState& state) {
    const auto& r = state.registers;
    kvm_regs general{};
    general.rax = r[rax];
    general.rcx = r[rcx];
    general.rdx = r[rdx];
    general.rbx = r[rbx];
    general.rsp = r[rsp];
    general.rbp = r[rbp];
    general.rsi = r[rsi];
    general.rdi = r[rdi];
    general.r8 = r[r8];
    general.r9 = r[r9];
    general.r10 = r[r10];
    general.r11 = r[r11];
    general.r12 = r[r12];
    general.r13 = r[r13];
    general.r14 = r[r14];
    general.r15 = r[r15];
    general.rip = state.rip;
    general.rflags = state.rflags;
    vcpu_.require(refused, "KVM_SET_REGS", KVM_SET_REGS, &general);
}

void KvmRegisters::write_system(const CpuState& state) {
    if (has_sregs2_) {
        kvm_sregs2 system{};
        fill(system, state);
        if (uses_pdptes(state)) {
            system.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
            std::ranges::copy(state.pdpte, system.pdptrs);
        }
        vcpu_.require(refused, "KVM_SET_SREGS2", KVM_SET_SREGS2, &system);
    } else {
        kvm_sregs system{};
        fill(system, state);
        vcpu_.require(refused, "KVM_SET_SREGS", KVM_SET_SREGS, &system);
    }
}

void KvmRegisters::write_debug(const CpuState& state) {
    kvm_debugregs debug{};
    std::ranges::copy(state.debug_address, debug.db);
    debug.dr6 = state.dr6;
    debug.dr7 = state.dr7;
    vcpu_.require(refused, "KVM_SET_DEBUGREGS", KVM_SET_DEBUGREGS, &debug);
}

void KvmRegisters::write_msrs(const CpuState& state) {
    std::vector<std::pair<std::uint32_t, std::uint64_t>> wanted;
    std::size_t next = 0;
    for_each_msr(state.msr, [&](std::uint32_t index, const std::uint64_t& value) {
        if (next >= held_msrs_.size() || held_msrs_[next] != index) return;
        ++next;
        wanted.emplace_back(index, value);
    });
    // KVM_SET_MSRS stops at the first one it refuses, and says how many it took.
    for (std::size_t done = 0; done < wanted.size();) {
        MsrList list(wanted.size() - done);
        for (std::size_t n = done; n < wanted.size(); ++n)
            list.entries()[n - done] = {.index = wanted[n].first, .reserved = 0, .data = wanted[n].second};
        done += static_cast<std::size_t>(vcpu_.require(refused, "KVM_SET_MSRS", kvm_request::set_msrs, list.data()));
        if (done == wanted.size()) break;
        // No harm is done if the register holds that value, whoever put it there.
        const auto& [index, value] = wanted[done];
        std::uint64_t present = 0;
        if (!read_msr(index, present) || present != value)
            throw HostLimit(refused, "KVM_SET_MSRS: this KVM refuses " + hex(value) + " in MSR " + hex(index));
        ++done;
    }
}

void KvmRegisters::write_floating_point(const CpuState& state) {
    const FloatingPointState& unit = state.floating_point;
    std::vector<std::byte> bytes(xsave_size_);
    put(bytes, image::control, unit.control);
    put(bytes, image::status, unit.status);
    put(bytes, image::opcode, unit.opcode);
    put(bytes, image::instruction_pointer, unit.instruction_pointer);
    put(bytes, image::data_pointer, unit.data_pointer);
    put(bytes, image::mxcsr, unit.mxcsr);
    put(bytes, image::mxcsr_mask, image::every_mxcsr_bit);
    unsigned in_use = 0;
    for (unsigned n = 0; n < 8; ++n)
        if ((unit.tag >> n * 2 & 3u) != tag_empty) in_use |= 1u << n;
    put(bytes, image::tag, static_cast<std::uint8_t>(in_use));
    for (unsigned n = 0; n < 8; ++n) {
        const X87Register& value = unit.registers[physical(unit.status, n)];
        put(bytes, image::x87 + n * image::slot, value.significand);
        put(bytes, image::x87 + n * image::slot + 8, value.sign_exponent);
    }
    for (unsigned n = 0; n < unit.vector.size(); ++n) {
        std::memcpy(bytes.data() + image::xmm + n * image::slot, unit.vector[n].data(), image::slot);
        if (has_avx_) std::memcpy(bytes.data() + ymm_offset_ + n * image::slot, unit.vector[n].data() + 2, image::slot);
    }
    put(bytes, image::components, image::has_x87 | image::has_sse | (has_avx_ ? image::has_avx : 0));
    vcpu_.require(refused, "KVM_SET_XSAVE", kvm_request::set_xsave, bytes.data());
}

void KvmRegisters::write_extended_control(const CpuState& state) {
    if (!has_xcrs_) return;
    kvm_xcrs extended{};
    extended.nr_xcrs = 1;
    extended.xcrs[0].value = state.xcr0;
    vcpu_.require(refused, "KVM_SET_XCRS", KVM_SET_XCRS, &extended);
}

void KvmRegisters::write_events(const CpuState& state, bool keep_events) {
    kvm_vcpu_events events{};
    if (keep_events) vcpu_.require(refused, "KVM_GET_VCPU_EVENTS", KVM_GET_VCPU_EVENTS, &events);
    // A CPU that blocks by STI has interrupts enabled, and never blocks by both at once (SDM vol.
    // 3C, 26.3.1.5).
    if (!state.interrupt_shadow)
        events.interrupt.shadow = 0;
    else if (events.interrupt.shadow == 0)
        events.interrupt.shadow =
            (state.rflags & rflags::if_) != 0 ? KVM_X86_SHADOW_INT_STI : KVM_X86_SHADOW_INT_MOV_SS;
    events.nmi.masked = state.nmi_blocked ? 1 : 0;
    events.nmi.pending = state.nmi_pending ? 1 : 0;
    events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
    vcpu_.require(refused, "KVM_SET_VCPU_EVENTS", KVM_SET_VCPU_EVENTS, &events);
}

// --- Single events ----------------------------------------------------------------------------------------

bool KvmRegisters::takes_interrupt() const {
    kvm_regs general{};
    vcpu_.require(refused, "KVM_GET_REGS", KVM_GET_REGS, &general);
    kvm_vcpu_events events{};
    vcpu_.require(refused, "KVM_GET_VCPU_EVENTS", KVM_GET_VCPU_EVENTS, &events);
    const bool busy = events.exception.injected != 0 || events.exception.pending != 0 || events.nmi.injected != 0 ||
                      events.interrupt.injected != 0;
    return (general.rflags & rflags::if_) != 0 && events.interrupt.shadow == 0 && !busy;
}

bool KvmRegisters::nmi_waits() const {
    kvm_vcpu_events events{};
    vcpu_.require(refused, "KVM_GET_VCPU_EVENTS", KVM_GET_VCPU_EVENTS, &events);
    return (events.nmi.pending != 0 || events.nmi.injected != 0) && events.nmi.masked == 0;
}

void KvmRegisters::queue_exception(std::uint8_t vector) {
    kvm_vcpu_events events{};
    vcpu_.require(refused, "KVM_GET_VCPU_EVENTS", KVM_GET_VCPU_EVENTS, &events);
    events.exception = {};
    events.exception.injected = 1;
    events.exception.nr = vector;
    events.flags = 0;
    vcpu_.require(refused, "KVM_SET_VCPU_EVENTS", KVM_SET_VCPU_EVENTS, &events);
}

void KvmRegisters::forget_exception() {
    kvm_vcpu_events events{};
    vcpu_.require(refused, "KVM_GET_VCPU_EVENTS", KVM_GET_VCPU_EVENTS, &events);
    events.exception = {};
    events.flags = 0;
    vcpu_.require(refused, "KVM_SET_VCPU_EVENTS", KVM_SET_VCPU_EVENTS, &events);
}

void KvmRegisters::note_single_step() {
    kvm_debugregs debug{};
    vcpu_.require(refused, "KVM_GET_DEBUGREGS", KVM_GET_DEBUGREGS, &debug);
    debug.dr6 |= dr6::bs;
    vcpu_.require(refused, "KVM_SET_DEBUGREGS", KVM_SET_DEBUGREGS, &debug);
}

void KvmRegisters::set_rip(std::uint64_t rip) {
    kvm_regs general{};
    vcpu_.require(refused, "KVM_GET_REGS", KVM_GET_REGS, &general);
    general.rip = rip;
    vcpu_.require(refused, "KVM_SET_REGS", KVM_SET_REGS, &general);
}

}  // namespace xenolith::cpu
