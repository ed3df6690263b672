#include "cpu/fuzz/host_quirks.hpp"

namespace xenolith::cpu::fuzz {

namespace {

bool host_is_amd() { return __builtin_cpu_is("amd") != 0; }

bool is_x87_pointer(Part part) {
    return part == Part::x87_opcode || part == Part::x87_instruction || part == Part::x87_data ||
           part == Part::x87_selectors;
}

constexpr HostQuirk quirks[] = {
    {"amd-x87-pointers",
     "AMD's XSAVE stores the last x87 instruction's opcode and pointers only while an unmasked exception is "
     "pending, else zeros",
     [](const Encoding&, const State&, const Outcome&, const Outcome& theirs, const Field& field) {
         constexpr unsigned summary = 0x80;
         return host_is_amd() && is_x87_pointer(field.part) && field.theirs == 0 &&
                (theirs.floating_point.status & summary) == 0;
     }},
    {"page-present-elsewhere",
     "where our side has nothing mapped the host may have pages of its own: the fault is of another kind",
     [](const Encoding&, const State&, const Outcome& ours, const Outcome& theirs, const Field& field) {
         constexpr std::uint64_t present = 1;
         return field.part == Part::fault_code && (field.ours ^ field.theirs) == present &&
                ours.cpu.fault->vector == 14 && theirs.cpu.fault->address >> 47 != 0;
     }},
    {"popa-fault",
     "a POPA that faults may have loaded some registers already; the stack pointer shows that it has not "
     "happened",
     [](const Encoding& encoding, const State&, const Outcome&, const Outcome& theirs, const Field& field) {
         const ZydisMnemonic mnemonic = encoding.decoded.mnemonic;
         return theirs.cpu.fault && field.part == Part::general && field.number != rsp &&
                (mnemonic == ZYDIS_MNEMONIC_POPA || mnemonic == ZYDIS_MNEMONIC_POPAD);
     }},
};

}  // namespace

std::span<const HostQuirk> host_quirks() { return quirks; }

}  // namespace xenolith::cpu::fuzz
