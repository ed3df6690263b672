#include "cpu/fuzz/host_quirks.hpp"

#include <cpuid.h>

#include <algorithm>
#include <bit>
#include <initializer_list>

namespace xenolith::cpu::fuzz {

namespace {

bool host_is_amd() { return __builtin_cpu_is("amd") != 0; }
bool host_is_intel() { return __builtin_cpu_is("intel") != 0; }

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

// The value, sign-extended from the host's width of linear addresses, or from the widest there is.
bool is_extended(std::uint64_t extended, std::uint64_t value) {
    constexpr unsigned widest = 57, widths_leaf = 0x80000008;
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    __get_cpuid(widths_leaf, &eax, &ebx, &ecx, &edx);
    const auto from = [&](unsigned bits) {
        const unsigned unused = 64 - bits;
        return static_cast<std::uint64_t>(static_cast<std::int64_t>(value << unused) >> unused);
    };
    const unsigned bits = eax >> 8 & 0xff;
    return extended == from(widest) || (bits != 0 && bits < widest && extended == from(bits));
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
    {"x87-pointer-width", "of the x87 pointers that FXRSTOR64 loads the host keeps as many bits as its addresses have",
     [](const Encoding& encoding, const State&, const Outcome&, const Outcome&, const Field& field) {
         return is_mnemonic(encoding, {ZYDIS_MNEMONIC_FXRSTOR64}) && is_x87_pointer(field.part) &&
                is_extended(field.theirs, field.ours);
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
    {"piecewise-order",
     "of an operand that is moved in pieces, which fault comes first: that of a piece in an absent page or not "
     "aligned, or that of one beyond the segment's end",
     [](const Encoding& encoding, const State&, const Outcome& ours, const Outcome& theirs, const Field&) {
         const bool is_image = moves_state_image(encoding);
         const bool in_pieces = is_image || encoding.operands[0].size == 80 || encoding.operands[1].size == 80;
         const std::uint64_t our = vector_of(ours), their = vector_of(theirs);
         return in_pieces && (((our == 12 || our == 13) && (their == 14 || (their == 17 && our == 12))) ||
                              (is_image && our == 13 && their == 12));
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
    {"amd-masked-store-fault", "bytes that MASKMOVDQU's mask does not select may fault or not (SDM vol. 2, MASKMOVDQU)",
     [](const Encoding& encoding, const State&, const Outcome& ours, const Outcome& theirs, const Field&) {
         return host_is_amd() && is_mnemonic(encoding, masked_moves) && vector_of(ours) == no_fault &&
                vector_of(theirs) == 14;
     }},
    {"amd-masked-store-address",
     "the address that a fault of MASKMOVDQU tells: the operand's start, or the first byte selected",
     [](const Encoding& encoding, const State&, const Outcome&, const Outcome&, const Field& field) {
         return host_is_amd() && is_mnemonic(encoding, masked_moves) && field.part == Part::fault_address;
     }},
    {"amd-masked-store-alignment",
     "AMD checks the alignment of MASKMOVDQU's sixteen bytes, if #AC is on; our rows do not",
     [](const Encoding& encoding, const State&, const Outcome&, const Outcome& theirs, const Field&) {
         return host_is_amd() && is_mnemonic(encoding, masked_moves) && vector_of(theirs) == 17;
     }},
    {"intel-masked-store-address",
     "where a VMASKMOV reaches into an absent page, Intel tells of some byte there that it stores, not of the first",
     [](const Encoding& encoding, const State&, const Outcome&, const Outcome&, const Field& field) {
         constexpr std::uint64_t page = 4096;
         return host_is_intel() &&
                is_mnemonic(encoding, {ZYDIS_MNEMONIC_VMASKMOVPS, ZYDIS_MNEMONIC_VMASKMOVPD, ZYDIS_MNEMONIC_VPMASKMOVD,
                                       ZYDIS_MNEMONIC_VPMASKMOVQ}) &&
                encoding.writes_memory() && field.part == Part::fault_address &&
                field.ours / page == field.theirs / page && field.ours < field.theirs;
     }},
    {"intel-mmx-store-fault",
     "a store of an MMX register that faults has made R0 the top of the stack, but no tag valid",
     [](const Encoding& encoding, const State& start, const Outcome& ours, const Outcome& theirs, const Field& field) {
         constexpr std::uint64_t top = 7 << 11;
         return host_is_intel() && encoding.uses(ZYDIS_REGCLASS_MMX) && encoding.writes_memory() && ours.cpu.fault &&
                vector_of(ours) == vector_of(theirs) && field.part == Part::x87_status &&
                field.ours == start.floating_point.status && field.theirs == (field.ours & ~top);
     }},
    {"intel-80-bit-store-fault", "an FSTP or FBSTP that faults on its last two bytes has stored the eight before them",
     [](const Encoding& encoding, const State&, const Outcome& ours, const Outcome& theirs, const Field& field) {
         constexpr std::uint64_t page = 4096, operand = 16;
         return host_is_intel() && is_mnemonic(encoding, {ZYDIS_MNEMONIC_FSTP, ZYDIS_MNEMONIC_FBSTP}) &&
                encoding.operands[0].size == 80 && vector_of(ours) == 14 && vector_of(theirs) == 14 &&
                theirs.cpu.fault->address % page == 0 && field.part == Part::memory &&
                field.number % page >= page - operand;
     }},
    {"dot-product-stages",
     "DPPS and DPPD find exceptions stage by stage: an unmasked one ends them before a later stage adds its flags; our "
     "rows tell the flags of all stages",
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
