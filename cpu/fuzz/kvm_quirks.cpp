// What a KVM without hardware virtualization gets wrong: it runs ring 0 by emulating one instruction after the other.
#include <cpuid.h>

#include <algorithm>
#include <initializer_list>

#include "cpu/fuzz/engine_subject.hpp"
#include "cpu/fuzz/host_quirks.hpp"

namespace xenolith::cpu::fuzz {

namespace {

// CPUID tells of VMX and SVM (SDM vol. 2A, CPUID 1; APM vol. 3, E.4.2).
bool kvm_emulates() {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    constexpr unsigned vmx = 1u << 5, svm = 1u << 2, amd_features = 0x80000001;
    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & vmx) != 0) return false;
    return __get_cpuid(amd_features, &eax, &ebx, &ecx, &edx) == 0 || (ecx & svm) == 0;
}

bool is_mnemonic(const Encoding& encoding, std::initializer_list<ZydisMnemonic> mnemonics) {
    return std::ranges::find(mnemonics, encoding.decoded.mnemonic) != mnemonics.end();
}

constexpr auto saves = {ZYDIS_MNEMONIC_FXSAVE, ZYDIS_MNEMONIC_FXSAVE64};
constexpr auto restores = {ZYDIS_MNEMONIC_FXRSTOR, ZYDIS_MNEMONIC_FXRSTOR64};

std::uint64_t vector_of(const Outcome& outcome) { return outcome.cpu.fault ? outcome.cpu.fault->vector : no_fault; }

// Of the exception that the test ended in: where its frame begins.
std::uint64_t stack_of(const Outcome& outcome) { return outcome.cpu.registers.general[rsp]; }

constexpr HostQuirk quirks[] = {
    {"kvm-bit-counts", "F3 is passed over in front of BSF and BSR: TZCNT and LZCNT are those",
     [](const Encoding& encoding, const State&, const Outcome&, const Outcome&, const Field& field) {
         return is_mnemonic(encoding, {ZYDIS_MNEMONIC_TZCNT, ZYDIS_MNEMONIC_LZCNT}) &&
                (field.part == Part::general || field.part == Part::flags);
     }},
    {"kvm-movbe", "MOVBE is not known",
     [](const Encoding& encoding, const State&, const Outcome& ours, const Outcome& theirs, const Field&) {
         return is_mnemonic(encoding, {ZYDIS_MNEMONIC_MOVBE}) && vector_of(ours) != 6 &&
                (vector_of(theirs) == 6 || vector_of(theirs) == not_halted);
     }},
    {"kvm-reserved-nop", "of the NOPs 0F 18 to 0F 1F some are taken to have no ModRM byte: it is executed",
     [](const Encoding& encoding, const State&, const Outcome& ours, const Outcome& theirs, const Field&) {
         return is_mnemonic(encoding, {ZYDIS_MNEMONIC_NOP}) && encoding.decoded.opcode_map == ZYDIS_OPCODE_MAP_0F &&
                vector_of(ours) == no_fault && (theirs.cpu.fault || theirs.cpu.rip != ours.cpu.rip);
     }},
    {"kvm-upper-half", "a failed CMPXCHG, and BSF and BSR of zero, clear the upper half of their register",
     [](const Encoding& encoding, const State&, const Outcome&, const Outcome&, const Field& field) {
         return is_mnemonic(encoding, {ZYDIS_MNEMONIC_CMPXCHG, ZYDIS_MNEMONIC_BSF, ZYDIS_MNEMONIC_BSR}) &&
                encoding.operands[0].size == 32 && field.part == Part::general && field.ours == field.start &&
                field.theirs == (field.ours & 0xffffffff);
     }},
    {"kvm-image-alignment", "FXSAVE and FXRSTOR take an image that is not aligned",
     [](const Encoding& encoding, const State&, const Outcome& ours, const Outcome&, const Field&) {
         return (is_mnemonic(encoding, saves) || is_mnemonic(encoding, restores)) && vector_of(ours) == 13;
     }},
    {"kvm-image-address", "FXSAVE and FXRSTOR do not cut their address to 32 bits",
     [](const Encoding& encoding, const State&, const Outcome& ours, const Outcome& theirs, const Field&) {
         return (is_mnemonic(encoding, saves) || is_mnemonic(encoding, restores)) && encoding.is_64() &&
                encoding.decoded.address_width == 32 && vector_of(ours) == no_fault &&
                (vector_of(theirs) == 14 || vector_of(theirs) == not_halted);
     }},
    {"kvm-image-index", "FXSAVE and FXRSTOR know no index R12",
     [](const Encoding& encoding, const State&, const Outcome&, const Outcome&, const Field&) {
         const ZydisDecodedOperand* const memory = encoding.memory_operand();
         return (is_mnemonic(encoding, saves) || is_mnemonic(encoding, restores)) && memory != nullptr &&
                (memory->mem.index == ZYDIS_REGISTER_R12 || memory->mem.index == ZYDIS_REGISTER_R12D);
     }},
    {"kvm-image-pointers", "FXRSTOR64 loads 32 bits of the x87 pointers",
     [](const Encoding& encoding, const State&, const Outcome&, const Outcome&, const Field& field) {
         return is_mnemonic(encoding, {ZYDIS_MNEMONIC_FXRSTOR64}) && is_x87_pointer(field.part) &&
                field.theirs == (field.ours & 0xffffffff);
     }},
    {"kvm-image-reserved", "FXSAVE writes zeros to the last 48 bytes, which are the software's",
     [](const Encoding& encoding, const State&, const Outcome&, const Outcome&, const Field& field) {
         return is_mnemonic(encoding, saves) && field.part == Part::memory && field.theirs == 0;
     }},
    {"kvm-segment-register-prefix", "REX.R counts in the number of a segment register",
     [](const Encoding& encoding, const State&, const Outcome& ours, const Outcome& theirs, const Field&) {
         return is_mnemonic(encoding, {ZYDIS_MNEMONIC_MOV}) && encoding.uses(ZYDIS_REGCLASS_SEGMENT) &&
                encoding.decoded.raw.rex.R != 0 && vector_of(ours) != 6 && vector_of(theirs) == 6;
     }},
    {"kvm-segment-register-store", "REX.W makes a store of a segment register one of eight bytes",
     [](const Encoding& encoding, const State&, const Outcome&, const Outcome&, const Field& field) {
         return is_mnemonic(encoding, {ZYDIS_MNEMONIC_MOV}) && encoding.uses(ZYDIS_REGCLASS_SEGMENT) &&
                encoding.decoded.raw.rex.W != 0 && encoding.writes_memory() && field.part == Part::memory;
     }},
    {"kvm-pause-prefix", "PAUSE with REX.B is XCHG, as on AMD's CPUs, whatever the CPU",
     [](const Encoding& encoding, const State&, const Outcome&, const Outcome&, const Field& field) {
         return is_mnemonic(encoding, {ZYDIS_MNEMONIC_PAUSE}) && encoding.decoded.raw.rex.B != 0 &&
                field.part == Part::general && (field.number == rax || field.number == r8);
     }},
    {"kvm-decimal-flags", "AAM and AAD set SF and ZF by all of AX or EAX, not by AL",
     [](const Encoding& encoding, const State&, const Outcome&, const Outcome&, const Field& field) {
         return is_mnemonic(encoding, {ZYDIS_MNEMONIC_AAM, ZYDIS_MNEMONIC_AAD}) && field.part == Part::flags &&
                ((field.ours ^ field.theirs) & ~std::uint64_t{rflags::sf | rflags::zf}) == 0;
     }},
    {"kvm-enter-width", "ENTER pushes rBP in the width of the stack, not of the operand",
     [](const Encoding& encoding, const State&, const Outcome&, const Outcome&, const Field& field) {
         const bool narrow = encoding.decoded.operand_width == 16 || encoding.mode == DecodeMode::real16;
         return is_mnemonic(encoding, {ZYDIS_MNEMONIC_ENTER}) && narrow &&
                (field.part == Part::memory ||
                 (field.part == Part::general && (field.number == rsp || field.number == rbp)));
     }},
    {"kvm-real-mode-stack-end", "an exception in real mode may push across offset FFFFH",
     [](const Encoding& encoding, const State&, const Outcome& ours, const Outcome& theirs, const Field&) {
         return encoding.mode == DecodeMode::real16 && vector_of(ours) == not_halted && theirs.cpu.fault &&
                vector_of(theirs) != not_halted;
     }},
    {"kvm-real-mode-stack", "an exception in real mode clears the upper half of ESP",
     [](const Encoding& encoding, const State&, const Outcome& ours, const Outcome& theirs, const Field& field) {
         return encoding.mode == DecodeMode::real16 && ours.cpu.fault && theirs.cpu.fault &&
                field.part == Part::general && field.number == rsp && field.theirs == (field.ours & 0xffff);
     }},
    {"kvm-16-bit-gate", "an exception through a 16-bit gate pushes doublewords",
     [](const Encoding& encoding, const State&, const Outcome& ours, const Outcome& theirs, const Field& field) {
         constexpr std::uint64_t frame = 6, with_error_code = 8;
         if (encoding.mode != DecodeMode::protected16 || !ours.cpu.fault || vector_of(ours) != vector_of(theirs))
             return false;
         const std::uint64_t more = stack_of(ours) - stack_of(theirs);
         if (more != frame && more != with_error_code) return false;
         const std::uint64_t place = engine_layout(encoding.mode).memory + field.number;
         return (field.part == Part::general && field.number == rsp) ||
                (field.part == Part::memory && place + 8 > stack_of(theirs) && place < stack_of(theirs) + 2 * more);
     }},
    {"kvm-stack-outside-memory", "where the stack of an exception is no memory KVM shuts down, we write into the void",
     [](const Encoding&, const State&, const Outcome& ours, const Outcome& theirs, const Field&) {
         // KVM's frames are the longest.
         constexpr std::uint64_t memory = 0x20000, longest_frame = 64;
         return ours.cpu.fault && vector_of(ours) != not_halted && vector_of(theirs) == not_halted &&
                (stack_of(ours) >= memory || stack_of(ours) < longest_frame);
     }},
};

}  // namespace

std::span<const HostQuirk> kvm_quirks() { return kvm_emulates() ? std::span(quirks) : std::span<const HostQuirk>{}; }

}  // namespace xenolith::cpu::fuzz
