// One encoding, decoded by Zydis and by us, and the form that it belongs to.
#pragma once

#include <Zydis/Zydis.h>

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "cpu/decode/decoder.hpp"

namespace xenolith::cpu::fuzz {

struct Encoding {
    std::array<std::uint8_t, Decoder::longest> code{};
    DecodeMode mode = DecodeMode::long64;
    ZydisDecodedInstruction decoded;
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
    Instruction instruction;  // ours; meaningful if has_row
    bool has_row = false;

    std::span<const std::byte> bytes() const { return std::as_bytes(std::span(code)).first(decoded.length); }
    std::span<const ZydisDecodedOperand> all_operands() const {
        return std::span(operands).first(decoded.operand_count);
    }
    std::span<const ZydisDecodedOperand> visible_operands() const {
        return std::span(operands).first(decoded.operand_count_visible);
    }
    bool has_attribute(ZydisInstructionAttributes attribute) const { return (decoded.attributes & attribute) != 0; }
    bool repeats() const {
        return has_attribute(ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE);
    }
    bool is_64() const { return mode == DecodeMode::long64; }
    // The first visible memory operand, LEA's too; null if there is none.
    const ZydisDecodedOperand* memory_operand() const;
    // Any operand, hidden ones too, of that register class.
    bool uses(ZydisRegisterClass kind) const;
    // x87, MMX, vector registers or their control and status.
    bool uses_floating_point() const;
    bool writes_memory() const;
    // By its prefix, or because it is XCHG.
    bool locks_memory() const;
    bool touches_memory() const;
    bool is_branch() const;
    // "ADD EAX, 0x10  [83 c0 10]"
    std::string text() const;
};

// Decodes for one mode.
class EncodingReader {
  public:
    EncodingReader(const Decoder& decoder, DecodeMode mode);

    DecodeMode mode() const { return mode_; }
    // False where Zydis knows no such instruction. At most 15 bytes are looked at.
    bool read(std::span<const std::uint8_t> bytes, Encoding& encoding) const;
    // Zydis alone, without operands: quick.
    ZyanStatus look(std::span<const std::uint8_t> bytes, ZydisDecoderContext& context,
                    ZydisDecodedInstruction& decoded) const;
    const ZydisDecoder& zydis() const { return zydis_; }

  private:
    const Decoder& decoder_;
    DecodeMode mode_;
    ZydisDecoder zydis_;
};

// What rows tell apart: mnemonic, kinds and sizes of operands, widths, prefixes that mean something.
struct FormKey {
    std::uint16_t mnemonic = 0;
    std::uint8_t encoding = 0;       // legacy, VEX
    std::uint8_t operand_width = 0;  // where no operand shows it
    std::uint8_t address_width = 0;  // where memory is addressed, or a count register depends on it
    std::uint8_t prefixes = 0;
    std::array<std::uint32_t, 5> operands{};  // kind << 16 | size in bits

    auto operator<=>(const FormKey&) const = default;
};
FormKey form_of(const Encoding& encoding);
// "ADD r32, m32, addr32, lock"
std::string form_name(const FormKey& key);
std::string_view mnemonic_name(ZydisMnemonic mnemonic);

// "long64", "compatibility32" and so on.
std::string_view mode_name(DecodeMode mode);
std::optional<DecodeMode> find_mode(std::string_view name);

}  // namespace xenolith::cpu::fuzz
