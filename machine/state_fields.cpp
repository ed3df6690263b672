#include "machine/state_fields.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace xenolith::machine {

namespace {

constexpr std::string_view general_names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                              "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
constexpr std::string_view segment_names[] = {"es", "cs", "ss", "ds", "fs", "gs"};

class Fields {
  public:
    void add(std::string name, std::uint64_t value) { list.push_back({std::move(name), value}); }

    // Of a register that holds nothing only the selector counts, and the base where 64-bit code uses it.
    void add_segment(std::string_view name, const cpu::SegmentRegister& segment, bool base_counts) {
        const bool holds = !segment.attributes.unusable() && segment.attributes.present();
        add(std::string(name), segment.selector);
        add(fmt::format("{} base", name), holds || base_counts ? segment.base : 0);
        add(fmt::format("{} limit", name), holds ? segment.limit : 0);
        // The accessed bit is set by the load or before; AVL is nobody's.
        constexpr std::uint32_t not_compared = 1 | cpu::SegmentAttributes::avl | cpu::SegmentAttributes::unusable_bit;
        const bool is_system = segment.attributes.is_system();
        add(fmt::format("{} attributes", name),
            holds ? segment.attributes.bits & ~(is_system ? not_compared & ~1u : not_compared) : 0);
    }

    std::vector<StateField> list;
};

std::uint64_t emptiness(std::uint16_t tag) {
    unsigned empty = 0;
    for (unsigned n = 0; n < 8; ++n)
        if ((tag >> n * 2 & 3) == 3) empty |= 1u << n;
    return empty;
}

}  // namespace

std::vector<StateField> state_fields(const cpu::CpuState& state) {
    Fields fields;
    fields.add("rip", state.rip);
    for (unsigned n = 0; n < 16; ++n) fields.add(std::string(general_names[n]), state.registers[n]);
    // RF is set and cleared within an instruction; bit 1 is always there.
    fields.add("rflags", state.rflags & cpu::rflags::implemented & ~cpu::rflags::rf);
    fields.add("cpl", state.cpl());
    for (unsigned n = 0; n < 6; ++n) {
        cpu::SegmentRegister segment = state.segments[n];
        constexpr auto code = static_cast<unsigned>(cpu::SegmentName::cs);
        // 64-bit code has no use for the rest of a data segment, and in long mode vendors differ in what a null
        // selector leaves there.
        const bool is_null = (segment.selector & ~3u) == 0 && state.in_long_mode();
        if (n != code && (state.in_64bit_code() || is_null))
            segment.attributes.bits = cpu::SegmentAttributes::unusable_bit;
        fields.add_segment(segment_names[n], segment, n >= 4);
    }
    fields.add_segment("ldtr", state.ldtr, false);
    fields.add_segment("tr", state.tr, false);
    fields.add("gdtr base", state.gdtr.base);
    fields.add("gdtr limit", state.gdtr.limit);
    fields.add("idtr base", state.idtr.base);
    fields.add("idtr limit", state.idtr.limit);
    // ET is always one.
    fields.add("cr0", state.cr0 | cpu::cr0::et);
    fields.add("cr2", state.cr2);
    fields.add("cr3", state.cr3);
    fields.add("cr4", state.cr4);
    fields.add("xcr0", state.xcr0);
    fields.add("efer", state.msr.efer);
    for (unsigned n = 0; n < 4; ++n) fields.add(fmt::format("dr{}", n), state.debug_address[n]);
    fields.add("dr6", state.dr6 | cpu::dr6::fixed_ones);
    fields.add("dr7", state.dr7 | cpu::dr7::fixed_one);
    const cpu::ModelSpecificRegisters& msr = state.msr;
    fields.add("star", msr.star);
    fields.add("lstar", msr.lstar);
    fields.add("cstar", msr.cstar);
    fields.add("sfmask", msr.sfmask);
    fields.add("kernel gs base", msr.kernel_gs_base);
    fields.add("sysenter cs", msr.sysenter_cs);
    fields.add("sysenter esp", msr.sysenter_esp);
    fields.add("sysenter eip", msr.sysenter_eip);
    fields.add("pat", msr.pat);
    const cpu::FloatingPointState& fp = state.floating_point;
    fields.add("x87 control", fp.control);
    fields.add("x87 status", fp.status);
    fields.add("x87 empty", emptiness(fp.tag));
    fields.add("mxcsr", fp.mxcsr);
    for (unsigned n = 0; n < 8; ++n) {
        fields.add(fmt::format("r{} significand", n), fp.registers[n].significand);
        fields.add(fmt::format("r{} exponent", n), fp.registers[n].sign_exponent);
    }
    for (unsigned n = 0; n < 16; ++n)
        for (unsigned word = 0; word < 4; ++word) fields.add(fmt::format("ymm{}[{}]", n, word), fp.vector[n][word]);
    return std::move(fields.list);
}

std::vector<StateDifference> compare_states(const cpu::CpuState& first, const cpu::CpuState& second,
                                            std::uint64_t ignored_flags) {
    std::vector<StateDifference> differences;
    if (first == second) return differences;
    const std::vector<StateField> left = state_fields(first), right = state_fields(second);
    for (std::size_t n = 0; n < left.size(); ++n) {
        const std::uint64_t ignored = left[n].name == "rflags" ? ignored_flags : 0;
        if (((left[n].value ^ right[n].value) & ~ignored) != 0)
            differences.push_back({left[n].name, left[n].value, right[n].value});
    }
    return differences;
}

std::string_view why_answers_differ(std::string_view disassembled) {
    struct Answer {
        std::string_view mnemonic, reason;
    };
    constexpr Answer answers[] = {
        {"rdtsc", "time stamps: each engine has a clock of its own"},
        {"rdtscp", "time stamps: each engine has a clock of its own"},
        {"cpuid", "CPUID: what the host's KVM cannot give is not shown"},
        {"rdrand", "random numbers"},
        {"rdseed", "random numbers"},
        {"rdmsr", "model-specific registers: the engine's own, or time"},
        {"rdpmc", "performance counters"},
        {"in", "ports: a device may tell the time"},
        {"insb", "ports: a device may tell the time"},
        {"insd", "ports: a device may tell the time"},
        {"insw", "ports: a device may tell the time"},
    };
    std::string_view mnemonic = disassembled;
    for (const std::string_view prefix : {"rep ", "repne "})
        if (mnemonic.starts_with(prefix)) mnemonic.remove_prefix(prefix.size());
    mnemonic = mnemonic.substr(0, mnemonic.find(' '));
    const auto found = std::ranges::find(answers, mnemonic, &Answer::mnemonic);
    return found == std::end(answers) ? std::string_view() : found->reason;
}

}  // namespace xenolith::machine
