#include "cpu/fuzz/host_quirks.hpp"

#include <algorithm>
#include <bit>
#include <initializer_list>

namespace xenolith::cpu::fuzz {

namespace {

bool host_is_amd() { return __builtin_cpu_is("amd") != 0; }

// Of the raw bytes, whether it means anything or not.
bool has_prefix(const Encoding& encoding, std::uint8_t value) {
    const auto prefixes = std::span(encoding.decoded.raw.prefixes).first(encoding.decoded.raw.prefix_count);
    return std::ranges::any_of(prefixes, [&](const auto& prefix) { return prefix.value == value; });
}

bool is_mnemonic(const Encoding& encoding, std::initializer_list<ZydisMnemonic> mnemonics) {
    return std::ranges::find(mnemonics, encoding.decoded.mnemonic) != mnemonics.end();
}

constexpr auto masked_moves = {ZYDIS_MNEMONIC_MASKMOVDQU, ZYDIS_MNEMONIC_VMASKMOVDQU, ZYDIS_MNEMONIC_MASKMOVQ};

bool moves_state_image(const Encoding& encoding) {
    return is_mnemonic(
        encoding, {ZYDIS_MNEMONIC_FLDENV, ZYDIS_MNEMONIC_FNSTENV, ZYDIS_MNEMONIC_FRSTOR, ZYDIS_MNEMONIC_FNSAVE,
                   ZYDIS_MNEMONIC_FXSAVE, ZYDIS_MNEMONIC_FXSAVE64, ZYDIS_MNEMONIC_FXRSTOR, ZYDIS_MNEMONIC_FXRSTOR64});
}

std::uint64_t vector_of(const Outcome& outcome) { return outcome.cpu.fault ? outcome.cpu.fault->vector : no_fault; }

// Sign-extended from bit 56.
std::uint64_t extended_57(std::uint64_t value) {
    constexpr unsigned unused = 7;
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(value << unused) >> unused);
}

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
    {"amd-x87-pointers-stored", "the same in FXSAVE's image",
     [](const Encoding& encoding, const State& start, const Outcome&, const Outcome&, const Field& field) {
         constexpr unsigned summary = 0x80;
         constexpr std::uint64_t before_opcode = 0x0000'ffff'ffff'ffff;
         return host_is_amd() && is_mnemonic(encoding, {ZYDIS_MNEMONIC_FXSAVE, ZYDIS_MNEMONIC_FXSAVE64}) &&
                field.part == Part::memory && (start.floating_point.status & summary) == 0 &&
                (field.theirs == 0 || field.theirs == (field.ours & before_opcode));
     }},
    {"amd-inexact-flag",
     "where overflow or underflow is unmasked, Intel's MXCSR also gets the flag of an inexact result, AMD's does not",
     [](const Encoding&, const State&, const Outcome& ours, const Outcome& theirs, const Field& field) {
         constexpr std::uint64_t inexact = 0x20;
         return host_is_amd() && field.part == Part::mxcsr && vector_of(ours) == 19 && vector_of(theirs) == 19 &&
                field.ours == (field.theirs | inexact);
     }},
    {"amd-x87-pointer-width", "AMD keeps 57 bits of the x87 pointers that FXRSTOR64 loads",
     [](const Encoding& encoding, const State&, const Outcome&, const Outcome&, const Field& field) {
         return host_is_amd() && is_mnemonic(encoding, {ZYDIS_MNEMONIC_FXRSTOR64}) && is_x87_pointer(field.part) &&
                field.theirs == extended_57(field.ours);
     }},
    {"amd-mxcsr-mask", "AMD's MXCSR has a bit 17 for misaligned operands, which FXSAVE's mask of valid bits shows",
     [](const Encoding& encoding, const State&, const Outcome&, const Outcome&, const Field& field) {
         constexpr std::uint64_t misaligned = 1u << 17;
         const std::uint64_t difference = field.ours ^ field.theirs;
         return host_is_amd() && is_mnemonic(encoding, {ZYDIS_MNEMONIC_FXSAVE, ZYDIS_MNEMONIC_FXSAVE64}) &&
                field.part == Part::memory && std::has_single_bit(difference) && (field.theirs & difference) != 0 &&
                (std::countr_zero(difference) - std::countr_zero(misaligned)) % 8 == 0;
     }},
    {"amd-mxcsr-misaligned", "the same bit can be loaded, where it is #GP elsewhere",
     [](const Encoding& encoding, const State&, const Outcome& ours, const Outcome& theirs, const Field&) {
         constexpr std::uint32_t misaligned = 1u << 17;
         return host_is_amd() && vector_of(ours) == 13 && (theirs.floating_point.mxcsr & misaligned) != 0 &&
                is_mnemonic(encoding, {ZYDIS_MNEMONIC_LDMXCSR, ZYDIS_MNEMONIC_VLDMXCSR, ZYDIS_MNEMONIC_FXRSTOR,
                                       ZYDIS_MNEMONIC_FXRSTOR64});
     }},
    {"image-fault-address", "which byte of a state image that crosses into an absent page is the first to fault",
     [](const Encoding& encoding, const State&, const Outcome& ours, const Outcome& theirs, const Field& field) {
         return moves_state_image(encoding) && vector_of(ours) == 14 && vector_of(theirs) == 14 &&
                field.part == Part::fault_address;
     }},
    {"image-alignment", "an unaligned FXSAVE area is #GP or, with alignment checks on, may be #AC (SDM vol. 2, FXSAVE)",
     [](const Encoding& encoding, const State&, const Outcome& ours, const Outcome& theirs, const Field& field) {
         return moves_state_image(encoding) && field.part == Part::fault && vector_of(ours) == 13 &&
                vector_of(theirs) == 17;
     }},
    {"amd-sha-alignment", "AMD's SHA instructions take operands that are not aligned; the manual of Intel has #GP",
     [](const Encoding& encoding, const State&, const Outcome& ours, const Outcome&, const Field&) {
         return host_is_amd() && encoding.decoded.meta.isa_ext == ZYDIS_ISA_EXT_SHA && vector_of(ours) == 13;
     }},
    {"amd-loop-prefix", "on AMD a repeat prefix decides what LOOPE and LOOPNE wait for, whatever their opcode says",
     [](const Encoding& encoding, const State&, const Outcome&, const Outcome&, const Field& field) {
         return host_is_amd() && is_mnemonic(encoding, {ZYDIS_MNEMONIC_LOOPE, ZYDIS_MNEMONIC_LOOPNE}) &&
                (has_prefix(encoding, 0xf2) || has_prefix(encoding, 0xf3)) && field.part == Part::rip;
     }},
    {"amd-prefetch-register", "0F 0D with a register operand is a NOP on Intel and invalid on AMD",
     [](const Encoding& encoding, const State&, const Outcome&, const Outcome& theirs, const Field& field) {
         constexpr std::uint8_t prefetch = 0x0d;
         return host_is_amd() && encoding.decoded.opcode_map == ZYDIS_OPCODE_MAP_0F &&
                encoding.decoded.opcode == prefetch && field.part == Part::fault && vector_of(theirs) == 6;
     }},
    {"amd-vex-w-outside-64-bit",
     "VPEXTRQ and VPINSRQ outside 64-bit code: on Intel VEX.W does not count there, on AMD they are invalid",
     [](const Encoding& encoding, const State&, const Outcome&, const Outcome& theirs, const Field&) {
         return host_is_amd() && !encoding.is_64() && encoding.decoded.raw.vex.W != 0 && vector_of(theirs) == 6 &&
                is_mnemonic(encoding, {ZYDIS_MNEMONIC_VPEXTRD, ZYDIS_MNEMONIC_VPINSRD});
     }},
    {"masked-store-fault", "bytes that MASKMOVDQU's mask does not select may fault or not (SDM vol. 2, MASKMOVDQU)",
     [](const Encoding& encoding, const State&, const Outcome& ours, const Outcome& theirs, const Field&) {
         return is_mnemonic(encoding, masked_moves) && vector_of(ours) == no_fault && vector_of(theirs) == 14;
     }},
    {"masked-store-address",
     "the address that a fault of MASKMOVDQU tells: the operand's start, or the first byte selected",
     [](const Encoding& encoding, const State&, const Outcome&, const Outcome&, const Field& field) {
         return is_mnemonic(encoding, masked_moves) && field.part == Part::fault_address;
     }},
    {"amd-masked-store-alignment",
     "AMD checks the alignment of MASKMOVDQU's sixteen bytes, if #AC is on; Intel does not",
     [](const Encoding& encoding, const State&, const Outcome&, const Outcome& theirs, const Field&) {
         return host_is_amd() && is_mnemonic(encoding, masked_moves) && vector_of(theirs) == 17;
     }},
    {"dot-product-stages",
     "DPPS and DPPD find exceptions stage by stage: an unmasked one ends them before a later stage adds its flags; our "
     "rows "
     "tell the flags of all stages",
     [](const Encoding& encoding, const State&, const Outcome& ours, const Outcome& theirs, const Field& field) {
         return is_mnemonic(encoding,
                            {ZYDIS_MNEMONIC_DPPS, ZYDIS_MNEMONIC_DPPD, ZYDIS_MNEMONIC_VDPPS, ZYDIS_MNEMONIC_VDPPD}) &&
                field.part == Part::mxcsr && vector_of(ours) == 19 && vector_of(theirs) == 19;
     },
     true},
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
