#include "cpu/fuzz/comparison.hpp"

#include <cstring>

namespace xenolith::cpu::fuzz {

namespace {

constexpr unsigned page_fault = 14;

// Tags say only whether a register is empty: an FXSAVE image holds no more.
std::uint16_t emptiness(std::uint16_t tag) {
    const unsigned empty = tag & tag >> 1 & 0x5555u;
    return static_cast<std::uint16_t>(empty * 3);
}

// Of the instructions whose flags depend on a count (SDM vol. 2: SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD,
// SHRD).
struct Counted {
    unsigned count = 0, width = 0;
    bool shifts = false, is_double = false;
};

bool find_count(const Encoding& encoding, const NativeRegisters& start, Counted& counted) {
    switch (encoding.decoded.mnemonic) {
        case ZYDIS_MNEMONIC_SHL:
        case ZYDIS_MNEMONIC_SHR:
        case ZYDIS_MNEMONIC_SAR: counted.shifts = true; break;
        case ZYDIS_MNEMONIC_SHLD:
        case ZYDIS_MNEMONIC_SHRD: counted.is_double = true; break;
        case ZYDIS_MNEMONIC_ROL:
        case ZYDIS_MNEMONIC_ROR:
        case ZYDIS_MNEMONIC_RCL:
        case ZYDIS_MNEMONIC_RCR: break;
        default: return false;
    }
    counted.width = encoding.operands[0].size;
    const ZydisDecodedOperand& last = encoding.visible_operands().back();
    const std::uint64_t raw = last.type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? last.imm.value.u : start.general[rcx];
    counted.count = static_cast<unsigned>(raw & (counted.width == 64 ? 63 : 31));
    return true;
}

void compare_x87(const FloatingPointState& start, const FloatingPointState& ours, const FloatingPointState& theirs,
                 bool has_selectors, std::vector<Field>& fields) {
    const auto add = [&](Part part, unsigned number, std::uint64_t here, std::uint64_t there, std::uint64_t before,
                         unsigned word = 0) {
        if (here != there) fields.push_back({part, number, here, there, before, word});
    };
    add(Part::x87_control, 0, ours.control, theirs.control, start.control);
    add(Part::x87_status, 0, ours.status, theirs.status, start.status);
    add(Part::x87_tag, 0, emptiness(ours.tag), emptiness(theirs.tag), emptiness(start.tag));
    add(Part::x87_opcode, 0, ours.opcode, theirs.opcode, start.opcode);
    add(Part::x87_instruction, 0, ours.instruction_pointer, theirs.instruction_pointer, start.instruction_pointer);
    add(Part::x87_data, 0, ours.data_pointer, theirs.data_pointer, start.data_pointer);
    if (has_selectors) {
        const auto both = [](const FloatingPointState& state) {
            return std::uint64_t{state.instruction_selector} << 16 | state.data_selector;
        };
        add(Part::x87_selectors, 0, both(ours), both(theirs), both(start));
    }
    for (unsigned n = 0; n < 8; ++n) {
        const X87Register &here = ours.registers[n], &there = theirs.registers[n], &before = start.registers[n];
        add(Part::x87_register, n, here.significand, there.significand, before.significand, 0);
        add(Part::x87_register, n, here.sign_exponent, there.sign_exponent, before.sign_exponent, 1);
    }
}

}  // namespace

std::uint64_t undefined_flags(const Encoding& encoding, const NativeRegisters& start) {
    Counted counted;
    if (!find_count(encoding, start, counted))
        return encoding.decoded.cpu_flags != nullptr ? encoding.decoded.cpu_flags->undefined : 0;
    const auto& [count, width, shifts, is_double] = counted;
    if (count == 0) return 0;
    std::uint64_t undefined = 0;
    if (count != 1) undefined |= rflags::of;
    if (shifts || is_double) undefined |= rflags::af;
    if (shifts && count >= width) undefined |= rflags::cf;
    if (is_double && count > width) undefined |= rflags::arithmetic;
    return undefined;
}

bool is_undefined(const Encoding& encoding, const NativeRegisters& start) {
    Counted counted;
    return find_count(encoding, start, counted) && counted.is_double && counted.count > counted.width;
}

void compare(const Encoding& encoding, const State& start, const Outcome& ours, const Outcome& theirs,
             std::vector<Field>& fields) {
    const auto add = [&](Part part, unsigned number, std::uint64_t here, std::uint64_t there, std::uint64_t before,
                         unsigned word = 0) {
        if (here != there) [[unlikely]]
            fields.push_back({part, number, here, there, before, word});
    };
    const NativeOutcome &here = ours.cpu, &there = theirs.cpu;
    const bool faulted = there.fault.has_value();
    if (faulted || here.fault) {
        const auto vector = [](const NativeOutcome& outcome) {
            return outcome.fault ? std::uint64_t{outcome.fault->vector} : no_fault;
        };
        add(Part::fault, 0, vector(here), vector(there), no_fault);
        if (here.fault && faulted && here.fault->vector == there.fault->vector) {
            add(Part::fault_code, 0, here.fault->error_code, there.fault->error_code, 0);
            if (there.fault->vector == page_fault)
                add(Part::fault_address, 0, here.fault->address, there.fault->address, 0);
        }
    }
    if (faulted == here.fault.has_value()) add(Part::rip, 0, here.rip, there.rip, 0);
    const bool is_64 = encoding.is_64();
    const unsigned count = is_64 ? 16 : 8;
    const std::uint64_t mask = is_64 ? ~std::uint64_t{0} : 0xffffffff;
    for (unsigned n = 0; n < count; ++n)
        add(Part::general, n, here.registers.general[n] & mask, there.registers.general[n] & mask,
            start.registers.general[n] & mask);
    if (here.registers.rflags != there.registers.rflags) {
        const std::uint64_t defined = faulted ? ~std::uint64_t{0} : ~undefined_flags(encoding, start.registers);
        add(Part::flags, 0, here.registers.rflags & defined, there.registers.rflags & defined,
            start.registers.rflags & defined);
    }
    if (!encoding.uses_floating_point()) return;
    const FloatingPointState &mine = ours.floating_point, &its = theirs.floating_point;
    compare_x87(start.floating_point, mine, its, !is_64 && !faulted, fields);
    add(Part::mxcsr, 0, mine.mxcsr, its.mxcsr, start.floating_point.mxcsr);
    for (unsigned n = 0; n < count; ++n)
        for (unsigned word = 0; word < 4; ++word)
            add(Part::vector, n, mine.vector[n][word], its.vector[n][word], start.floating_point.vector[n][word], word);
}

void compare_memory(std::span<const std::byte, memory_size> ours, std::span<const std::byte, memory_size> theirs,
                    std::vector<Field>& fields) {
    if (std::memcmp(ours.data(), theirs.data(), memory_size) == 0) [[likely]]
        return;
    constexpr unsigned most = 8;
    unsigned listed = 0;
    for (std::size_t at = 0; at < memory_size && listed < most; at += 8) {
        std::uint64_t here, there;
        std::memcpy(&here, ours.data() + at, sizeof(here));
        std::memcpy(&there, theirs.data() + at, sizeof(there));
        if (here == there) continue;
        fields.push_back({Part::memory, static_cast<unsigned>(at), here, there, 0});
        ++listed;
    }
}

}  // namespace xenolith::cpu::fuzz
