// A small assembler for tests: straight-line guest code of any width, with calls and backward jumps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <stdexcept>
#include <vector>

#include "cpu/state/registers.hpp"

namespace xenolith::machine::test {

inline constexpr cpu::GeneralRegister eax = cpu::rax, ecx = cpu::rcx, edx = cpu::rdx, ebx = cpu::rbx, ebp = cpu::rbp,
                                      esi = cpu::rsi, edi = cpu::rdi;

class GuestCode {
  public:
    // `width` in bits: 16, 32 or 64. `origin` is the offset in CS of the first byte.
    GuestCode(unsigned width, std::uint64_t origin) : width_(width), origin_(origin) {}

    // Data movement between 32-bit registers, in every width.
    GuestCode& mov(cpu::GeneralRegister to, std::uint64_t value) {
        if (value >> 32 != 0) throw std::invalid_argument("mov: a 32-bit value is needed");
        return operand_size_32().bytes({0xb8u + to}).little_endian(value, 4);
    }
    GuestCode& mov(cpu::GeneralRegister to, cpu::GeneralRegister from) { return two_registers(0x89, to, from); }
    GuestCode& add(cpu::GeneralRegister to, cpu::GeneralRegister from) { return two_registers(0x01, to, from); }
    // The immediate is sign-extended.
    GuestCode& add(cpu::GeneralRegister to, std::int8_t value) { return with_immediate(0, to, value); }
    GuestCode& exclusive_or(cpu::GeneralRegister to, std::int8_t value) { return with_immediate(6, to, value); }
    // The same bytes in every width.
    GuestCode& mov_al(std::uint8_t value) { return bytes({0xb0, value}); }
    // Writes AL to DS:address, which lies below 64 KiB so that 16-bit code reaches it.
    GuestCode& store_al(std::uint64_t address) {
        if (address > 0xffff) throw std::invalid_argument("store_al: an address below 64 KiB is needed");
        if (width_ == 16) return bytes({0x88, 0x06}).little_endian(address, 2);
        if (width_ == 32) return bytes({0x88, 0x05}).little_endian(address, 4);
        return bytes({0x88, 0x04, 0x25}).little_endian(address, 4);
    }

    GuestCode& cpuid() { return bytes({0x0f, 0xa2}); }
    GuestCode& hlt() { return bytes({0xf4}); }
    GuestCode& nop() { return bytes({0x90}); }
    GuestCode& rdmsr() { return bytes({0x0f, 0x32}); }
    GuestCode& rdtsc() { return bytes({0x0f, 0x31}); }
    GuestCode& ret() { return bytes({0xc3}); }
    GuestCode& undefined() { return bytes({0x0f, 0x0b}); }
    GuestCode& vmcall() { return bytes({0x0f, 0x01, 0xc1}); }
    GuestCode& vmmcall() { return bytes({0x0f, 0x01, 0xd9}); }
    GuestCode& wrmsr() { return bytes({0x0f, 0x30}); }
    GuestCode& out_al(std::uint8_t port) { return bytes({0xe6, port}); }
    // EDX:EAX = value, ECX = index, WRMSR.
    GuestCode& write_msr(std::uint32_t index, std::uint64_t value) {
        return mov(ecx, index).mov(eax, value & 0xffffffff).mov(edx, value >> 32).wrmsr();
    }

    // Near transfers to an offset in CS.
    GuestCode& call(std::uint64_t target) { return relative({0xe8}, target); }
    GuestCode& jump(std::uint64_t target) { return relative({0xe9}, target); }
    // DEC reg; JNZ target.
    GuestCode& decrement_and_jump(cpu::GeneralRegister counter, std::uint64_t target) {
        operand_size_32().bytes({0xff, 0xc8u | counter});
        return relative({0x0f, 0x85}, target);
    }

    GuestCode& bytes(std::initializer_list<unsigned> values) {
        for (const unsigned value : values) bytes_.push_back(static_cast<std::byte>(value));
        return *this;
    }
    GuestCode& align(std::size_t alignment, std::uint8_t fill) {
        while (bytes_.size() % alignment != 0) bytes({fill});
        return *this;
    }

    // The offset in CS of the next byte.
    std::uint64_t here() const { return origin_ + bytes_.size(); }
    // The offset in CS of the instruction just emitted, if it has two bytes: CPUID, RDMSR, RDTSC, WRMSR.
    std::uint64_t last() const { return here() - 2; }
    std::span<const std::byte> data() const { return bytes_; }

  private:
    GuestCode& operand_size_32() { return width_ == 16 ? bytes({0x66}) : *this; }
    GuestCode& two_registers(unsigned opcode, cpu::GeneralRegister to, cpu::GeneralRegister from) {
        return operand_size_32().bytes({opcode, 0xc0u | static_cast<unsigned>(from) << 3 | to});
    }
    GuestCode& with_immediate(unsigned operation, cpu::GeneralRegister to, std::int8_t value) {
        return operand_size_32().bytes({0x83, 0xc0u | operation << 3 | to, static_cast<std::uint8_t>(value)});
    }
    GuestCode& little_endian(std::uint64_t value, unsigned count) {
        for (unsigned n = 0; n < count; ++n) bytes({static_cast<unsigned>(value >> n * 8 & 0xff)});
        return *this;
    }
    GuestCode& relative(std::initializer_list<unsigned> opcode, std::uint64_t target) {
        bytes(opcode);
        const unsigned size = width_ == 16 ? 2 : 4;
        return little_endian(target - (here() + size), size);
    }

    unsigned width_;
    std::uint64_t origin_;
    std::vector<std::byte> bytes_;
};

}  // namespace xenolith::machine::test
