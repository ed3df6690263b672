// The SDM's and the APM's word is against the judge in each of these, or neither says what has to happen.
#include "tests/cpu/system_corpus/quirks.hpp"

#include <algorithm>
#include <cstdlib>

namespace xenolith::cpu::test {
namespace {

template <class... Modes>
constexpr std::uint32_t in(Modes... modes) {
    return ((1u << static_cast<unsigned>(modes)) | ...);
}
using M = CorpusMode;
constexpr std::uint32_t anywhere = ~0u, vm86 = in(M::vm86),
                        long_modes =
                            in(M::compatibility16, M::compatibility32, M::user_compatibility32, M::long64, M::user64),
                        code64 = in(M::long64, M::user64),
                        long_kernel = in(M::compatibility16, M::compatibility32, M::long64);
constexpr std::uint32_t legacy_kernel = in(M::protected16, M::protected32, M::paged32, M::pae32);
constexpr Judge host = Judge::host, nested = Judge::nested;

constexpr std::string_view limits = "TCG checks neither limits nor rights of segments, except where it loads them";
constexpr std::string_view far_accessed = "TCG's far transfers set no accessed bit";
constexpr std::string_view both_l_and_d = "TCG takes code with L = D = 1";
constexpr std::string_view late_canonical = "TCG finds an address that is not canonical after the transfer, not before";
constexpr std::string_view vme = "TCG knows VME and PVI for little but CPUID";
constexpr std::string_view no_canonical = "TCG checks no canonical addresses in registers";
constexpr std::string_view no_reserved = "KVM and TCG take reserved bits in this register";
constexpr std::string_view reserved_present = "TCG's page fault for a reserved bit lacks P in its error code";
constexpr std::string_view lar_types = "TCG lets LAR and LSL know descriptor types that long mode does not have";
constexpr std::string_view pointers = "TCG leaves accessed bits in PAE pointers, and KVM refuses them at the next load";
constexpr std::string_view idt_index = "TCG counts 16 in the error code for each gate of long mode; it is 8";
constexpr std::string_view no_alignment = "TCG checks no alignment";
constexpr std::string_view sysenter_amd = "AMD's CPUs have no SYSENTER in long mode; KVM and TCG emulate Intel's";
constexpr std::string_view ring3 = "its ring 3 runs on the host's own descriptors and flags";
constexpr std::string_view emulator = "KVM's instruction emulator, which executes ring 0 there, does less than a CPU";

constexpr std::string_view no_shutdown = "KVM's emulator delivers what cannot be pushed";
constexpr std::string_view unknown_cr4 = "KVM lets control registers have bits that the guest's CPU does not have";
constexpr std::string_view no_paging = "it has no paging outside long mode";
constexpr std::string_view accessed_byte = "which byte is written, and so CR2, is nobody's promise";

constexpr Quirk table[] = {
    // --- QEMU 7.2's TCG, under Debian's KVM
    {nested, true, "control/long mode goes on without PAE", anywhere, "TCG hangs with EFER.LME and without PAE"},
    {nested, true, "msr/EFER = 0x?00", in(M::real, M::protected32), "TCG hangs with EFER.LME and without PAE"},
    {nested, true, "msr/EFER = 0xd01", in(M::real, M::protected32), "TCG hangs with EFER.LME and without PAE"},

    {nested, false, "segment/*limit*", anywhere, limits},
    {nested, false, "segment/push with SP = 1", anywhere, limits},
    {nested, false, "segment/access through null ?s", anywhere, limits},
    {nested, false, "segment/write *", anywhere, limits},
    {nested, false, "far/near jmp beyond the limit", anywhere, limits},
    {nested, false, "far/???* small_code + 0", anywhere, limits},
    {nested, false, "interrupt/int 0x42", anywhere, limits},
    {nested, false, "iret/to virtual-8086 code, IP too large", anywhere, limits},
    {nested, false, "iret/to EIP beyond the limit", anywhere, limits},
    {nested, false, "fault/*limit*", anywhere, limits},
    {nested, false, "fault/string move with a small segment", anywhere, limits},
    {nested, false, "fault/call with the stack wrapped", anywhere, limits},
    {nested, false, "task/jmp to a task with a bad *", anywhere, limits},
    {nested, false, "task/jmp to a task with bad code", anywhere, limits},
    {nested, false, "task/jmp to a task with absent code", anywhere, limits},

    {nested, false, "segment/mov ss, null + ?", in(M::long64), "TCG loads SS with null and any RPL"},
    {nested, false, "far/* fresh_code + 0", anywhere, far_accessed},
    {nested, false, "far/???* long_and_big + 0", long_modes, both_l_and_d},
    {nested, false, "iret/to long_and_big", long_modes, both_l_and_d},
    {nested, false, "far/jmp gate_to_absent + ?", anywhere, "TCG's JMP takes an absent segment behind a gate for #GP"},
    {nested, false, "far/???? gate_conforming + ?", anywhere, "TCG's CALL of conforming code loses CPL in CS"},
    {nested, false, "far/*gate_not_canonical + ?", long_modes, late_canonical},
    {nested, false, "far/* not canonical", code64, late_canonical},
    {nested, false, "iret/to *RIP that is not canonical", code64, late_canonical},
    {nested, false, "interrupt/int 0x3d", long_modes, late_canonical},
    {nested, false, "far/* m16:64", in(M::long64), "AMD's CPUs have no far pointers of 64 bits; TCG has"},
    {nested, false, "iret/VM set in user code is ignored", anywhere,
     "TCG lets IRET enter virtual-8086 mode from CPL 3"},
    {nested, false, "iret*in long mode to code?? with stack null", in(M::long64),
     "TCG's IRET takes a null stack for 32-bit code"},
    {nested, false, "iret/same level, flags 0x80002", anywhere, "TCG's IRET leaves VIF and VIP alone"},
    {nested, false, "iret/same level, flags 0x1*0002", anywhere, "TCG's IRET leaves VIF and VIP alone"},
    {nested, false, "iret/to the outer level with flags 0x280cd5", anywhere, "TCG's IRET leaves VIF and VIP alone"},

    {nested, false, "interrupt/icebp", anywhere, "TCG does not know ICEBP"},
    {nested, false, "interrupt/alignment check*", anywhere, no_alignment},
    {nested, false, "interrupt/int 0x??", long_modes, idt_index},
    {nested, false, "interrupt/int at IOPL 3", long_modes, idt_index},
    {nested, false, "task/* task16", anywhere,
     "upper halves of registers after a switch to a 16-bit task are nobody's promise"},
    {nested, false, "task/jmp to a task at CPL 3", anywhere, "TCG saves another RIP for a fault in the new task"},
    {nested, false, "task/jmp to a task with the trap bit", anywhere, "TCG does not know the trap bit of a task"},
    {nested, false, "control/cr4 with 0x? changed", anywhere,
     "KVM lets a guest set VME and PVI that its CPU does not have"},
    {nested, false, "control/long mode goes on with a 16-bit task", anywhere,
     "TCG enters long mode with any task register"},
    {nested, false, "control/cr? with *", in(M::pae32), pointers},
    {nested, false, "control/PAE pointers *", in(M::pae32),
     "TCG reads PAE's pointers at each walk, and checks nothing in them"},
    {nested, false, "control/cr? with 0x*00000000", in(M::long64), "TCG cuts control registers to what it knows"},
    {nested, false, "msr/read of 0x0, which may not exist", anywhere,
     "KVM has the register of the Pentium's machine check"},
    {nested, false, "msr/write of *, not canonical", anywhere, no_canonical},
    {nested, false, "msr/write of 0x174, *", anywhere, no_reserved},
    {nested, false, "msr/write of 0x176, *", anywhere, no_reserved},
    {nested, false, "msr/write of 0xc0000084, *", anywhere, no_reserved},
    {nested, false, "tables/l?dt*", code64, no_canonical},
    {nested, false, "tables/lldt null*", anywhere, "TCG keeps the attributes of an LDT that is gone"},
    {nested, false, "tables/selector of the LDT after lldt null", anywhere,
     "TCG keeps the attributes of an LDT that is gone"},
    {nested, false, "tables/ltr null", anywhere, "TCG's LTR takes null"},
    {nested, false, "tables/ltr task16", long_kernel, "TCG's LTR takes a 16-bit task in long mode"},
    {nested, false, "syscall/sysret", in(M::real), "TCG's SYSRET looks at CPL before EFER.SCE"},
    {nested, false, "syscall/sysret", in(M::compatibility16, M::compatibility32),
     "TCG's SYSRET of compatibility code takes flags from R11"},
    {nested, false, "syscall/sysenter*", long_modes, sysenter_amd},
    {nested, false, "syscall/sysexit*", long_modes, sysenter_amd},
    {nested, false, "syscall/sys* with SYSENTER_CS = ?", in(M::protected32, M::paged32),
     "TCG takes SYSENTER_CS 1 to 3 for a selector"},
    {nested, false, "syscall/sysret* with flags *", in(M::long64),
     "TCG's SYSRET takes VM, and leaves VIF and VIP alone"},
    {nested, false, "syscall/syscall", long_modes, "TCG's SYSCALL forgets the arithmetic flags"},

    {nested, false, "msr/NXE off makes NX a reserved bit", anywhere, reserved_present},
    {nested, false, "page/* page 6*", anywhere, reserved_present},
    {nested, false, "page/* region 4*", anywhere, reserved_present},
    {nested, false, "page/read through a map entry with a reserved bit", anywhere, reserved_present},
    {nested, false, "page/read and write of page 5", anywhere,
     "TCG reads before it writes; silicon asks for both at once"},
    {nested, false, "page/*, not canonical", code64, "TCG has no #SS for addresses that are not canonical"},
    {nested, false, "page/push to an address that is not canonical", code64,
     "TCG has no #SS for addresses that are not canonical"},
    {nested, false, "tables/accessed bit of a descriptor on a read-only page", anywhere, accessed_byte},
    {nested, false, "question/lar, lsl, verr, verw of *16*", long_modes, lar_types},
    {nested, false, "question/lar, lsl, verr, verw of task_gate*", long_modes, lar_types},

    // --- A KVM without hardware virtualization
    {host, true, "interrupt/int 0x8?", in(M::real), "INT from 0x80 on in real mode never ends there"},
    {host, true, "interrupt/int 0xff", in(M::real), "INT from 0x80 on in real mode never ends there"},
    {host, false, "*", in(M::user_compatibility32, M::user64), ring3},
    {host, false, "iret*", anywhere, emulator},
    {host, false, "syscall/*", anywhere, emulator},
    {host, false, "msr/*", anywhere, emulator},
    {host, false, "segment/push with SP = 1", anywhere, no_shutdown},
    {host, false, "segment/stack below its expand-down limit", anywhere, no_shutdown},
    {host, false, "fault/triple fault", anywhere, no_shutdown},
    {host, false, "fault/call with the stack wrapped", anywhere, no_shutdown},
    {host, false, "control/cr4 with 0x*0000 changed", anywhere, unknown_cr4},
    {host, false, "control/cr? with 0x*00000000", in(M::long64), unknown_cr4},
    {host, false, "control/cr0 with 0x80000000 changed", legacy_kernel, no_paging},
    {host, false, "control/PAE paging goes on", anywhere, no_paging},
    {host, false, "control/paging goes on and off", anywhere, no_paging},
    {host, false, "control/long mode goes on with a 16-bit task", anywhere,
     "KVM enters long mode with any task register"},
    {host, false, "tables/ltr ldt_data", anywhere, "KVM's LTR forgets the error code of a selector in the LDT"},
    {host, false, "tables/ltr task16", long_kernel, "KVM's LTR takes a 16-bit task in long mode"},
    {host, false, "tables/l?dt*", code64, "KVM checks no canonical base there"},
    {host, false, "tables/accessed bit of a descriptor on a read-only page", anywhere, accessed_byte},
    {host, false, "page/write across two pages, the second read-only", anywhere,
     "KVM's emulator writes the first part"},
};

bool matches(std::string_view pattern, std::string_view text) {
    if (pattern.empty()) return text.empty();
    if (pattern[0] == '*') {
        for (std::size_t skipped = 0; skipped <= text.size(); ++skipped)
            if (matches(pattern.substr(1), text.substr(skipped))) return true;
        return false;
    }
    return !text.empty() && (pattern[0] == '?' || pattern[0] == text[0]) && matches(pattern.substr(1), text.substr(1));
}

}  // namespace

Judge judge_here() {
    const char* const name = std::getenv("XENOLITH_JUDGE");
    return name != nullptr && std::string_view(name) == "nested" ? Judge::nested : Judge::host;
}

bool Quirk::covers(const CorpusCase& each) const {
    return (modes >> static_cast<unsigned>(each.mode) & 1) != 0 && matches(name, each.name);
}

std::span<const Quirk> quirks() { return table; }

const Quirk* find_quirk(Judge judge, const CorpusCase& each) {
    const auto found =
        std::ranges::find_if(table, [&](const Quirk& quirk) { return quirk.judge == judge && quirk.covers(each); });
    return found == std::end(table) ? nullptr : found;
}

}  // namespace xenolith::cpu::test
