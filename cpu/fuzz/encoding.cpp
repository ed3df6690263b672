#include "cpu/fuzz/encoding.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace xenolith::cpu::fuzz {

namespace {

enum OperandKind : unsigned {
    none,
    general,
    segment,
    control,
    debug,
    x87,
    mmx,
    xmm,
    ymm,
    memory,
    address,
    memory_by_xmm,
    memory_by_ymm,
    immediate,
    pointer,
    relative,
    other
};
constexpr std::string_view kind_names[] = {"",  "r",    "sreg", "cr", "dr", "st",  "mm",  "xmm",  "ymm",
                                           "m", "agen", "vm",   "vm", "i",  "ptr", "rel", "other"};

OperandKind kind_of(ZydisRegister name) {
    switch (ZydisRegisterGetClass(name)) {
        case ZYDIS_REGCLASS_GPR8:
        case ZYDIS_REGCLASS_GPR16:
        case ZYDIS_REGCLASS_GPR32:
        case ZYDIS_REGCLASS_GPR64: return general;
        case ZYDIS_REGCLASS_SEGMENT: return segment;
        case ZYDIS_REGCLASS_CONTROL: return control;
        case ZYDIS_REGCLASS_DEBUG: return debug;
        case ZYDIS_REGCLASS_X87: return x87;
        case ZYDIS_REGCLASS_MMX: return mmx;
        case ZYDIS_REGCLASS_XMM: return xmm;
        case ZYDIS_REGCLASS_YMM: return ymm;
        default: return other;
    }
}

OperandKind kind_of(const ZydisDecodedOperand& operand) {
    switch (operand.type) {
        case ZYDIS_OPERAND_TYPE_REGISTER: return kind_of(operand.reg.value);
        case ZYDIS_OPERAND_TYPE_MEMORY:
            return operand.mem.type == ZYDIS_MEMOP_TYPE_AGEN ? address
                   : operand.mem.type == ZYDIS_MEMOP_TYPE_VSIB
                       ? kind_of(operand.mem.index) == ymm ? memory_by_ymm : memory_by_xmm
                       : memory;
        case ZYDIS_OPERAND_TYPE_POINTER: return pointer;
        default: return operand.imm.is_relative ? relative : immediate;
    }
}

constexpr unsigned prefix_lock = 1, prefix_rep = 2, prefix_repe = 4, prefix_repne = 8;

bool counts_in_register(ZydisMnemonic mnemonic) {
    switch (mnemonic) {
        case ZYDIS_MNEMONIC_LOOP:
        case ZYDIS_MNEMONIC_LOOPE:
        case ZYDIS_MNEMONIC_LOOPNE:
        case ZYDIS_MNEMONIC_JCXZ:
        case ZYDIS_MNEMONIC_JECXZ:
        case ZYDIS_MNEMONIC_JRCXZ: return true;
        default: return false;
    }
}

// Where Zydis is wrong (SDM vol. 2A, table 2-3): SIB.base 5 with ModRM.mod 0 is no base, whatever REX.B says.
void correct_operands(Encoding& encoding) {
    const ZydisDecodedInstruction& decoded = encoding.decoded;
    if (!encoding.has_attribute(ZYDIS_ATTRIB_HAS_SIB) || decoded.raw.modrm.mod != 0 || decoded.raw.sib.base != 5)
        return;
    for (ZydisDecodedOperand& operand : std::span(encoding.operands).first(decoded.operand_count_visible))
        if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) {
            operand.mem.base = ZYDIS_REGISTER_NONE;
            operand.mem.disp = {ZYAN_TRUE, decoded.raw.disp.value};
        }
}

constexpr std::string_view mode_names[] = {"real16",          "real32",          "protected16", "protected32",
                                           "compatibility16", "compatibility32", "long64"};

}  // namespace

// --- Encoding

const ZydisDecodedOperand* Encoding::memory_operand() const {
    const auto visible = visible_operands();
    const auto found = std::ranges::find(visible, ZYDIS_OPERAND_TYPE_MEMORY, &ZydisDecodedOperand::type);
    return found == visible.end() ? nullptr : &*found;
}

bool Encoding::uses(ZydisRegisterClass kind) const {
    return std::ranges::any_of(all_operands(), [&](const ZydisDecodedOperand& operand) {
        return operand.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(operand.reg.value) == kind;
    });
}

bool Encoding::uses_floating_point() const {
    switch (decoded.meta.category) {
        case ZYDIS_CATEGORY_X87_ALU:
        case ZYDIS_CATEGORY_FCMOV:
        case ZYDIS_CATEGORY_MMX:
        case ZYDIS_CATEGORY_SSE:
        case ZYDIS_CATEGORY_XSAVE:
        case ZYDIS_CATEGORY_XSAVEOPT: return true;
        default: break;
    }
    // A conversion from memory to a general register shows no operand that says so.
    switch (decoded.meta.isa_ext) {
        case ZYDIS_ISA_EXT_X87:
        case ZYDIS_ISA_EXT_MMX:
        case ZYDIS_ISA_EXT_SSE:
        case ZYDIS_ISA_EXT_SSE2:
        case ZYDIS_ISA_EXT_SSE3:
        case ZYDIS_ISA_EXT_SSSE3: return true;
        default: break;
    }
    if (decoded.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) return true;
    return std::ranges::any_of(all_operands(), [](const ZydisDecodedOperand& operand) {
        if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) return operand.mem.type == ZYDIS_MEMOP_TYPE_VSIB;
        if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) return false;
        switch (operand.reg.value) {
            case ZYDIS_REGISTER_MXCSR:
            case ZYDIS_REGISTER_X87CONTROL:
            case ZYDIS_REGISTER_X87STATUS:
            case ZYDIS_REGISTER_X87TAG: return true;
            default: break;
        }
        const OperandKind kind = kind_of(operand.reg.value);
        return kind == x87 || kind == mmx || kind == xmm || kind == ymm;
    });
}

bool Encoding::touches_memory() const {
    return std::ranges::any_of(all_operands(), [](const ZydisDecodedOperand& operand) {
        return operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.type != ZYDIS_MEMOP_TYPE_AGEN;
    });
}

bool Encoding::locks_memory() const {
    return has_attribute(ZYDIS_ATTRIB_HAS_LOCK) ||
           (decoded.mnemonic == ZYDIS_MNEMONIC_XCHG && memory_operand() != nullptr);
}

bool Encoding::writes_memory() const {
    return std::ranges::any_of(all_operands(), [](const ZydisDecodedOperand& operand) {
        return operand.type == ZYDIS_OPERAND_TYPE_MEMORY && (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    });
}

bool Encoding::is_branch() const { return decoded.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE; }

std::string Encoding::text() const {
    ZydisFormatter formatter;
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    char line[128] = "";
    ZydisFormatterFormatInstruction(&formatter, &decoded, operands.data(), decoded.operand_count_visible, line,
                                    sizeof(line), 0, nullptr);
    std::string text = fmt::format("{}  [", line);
    for (unsigned n = 0; n < decoded.length; ++n) text += fmt::format("{}{:02x}", n == 0 ? "" : " ", code[n]);
    return text + "]";
}

// --- Reading

EncodingReader::EncodingReader(const Decoder& decoder, DecodeMode mode) : decoder_(decoder), mode_(mode) {
    switch (mode) {
        case DecodeMode::real16: ZydisDecoderInit(&zydis_, ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16); break;
        case DecodeMode::protected16:
            ZydisDecoderInit(&zydis_, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
            break;
        case DecodeMode::real32:
        case DecodeMode::protected32:
            ZydisDecoderInit(&zydis_, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
            break;
        case DecodeMode::compatibility16:
            ZydisDecoderInit(&zydis_, ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16);
            break;
        case DecodeMode::compatibility32:
            ZydisDecoderInit(&zydis_, ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32);
            break;
        case DecodeMode::long64: ZydisDecoderInit(&zydis_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64); break;
    }
    // As our decoder has them.
    for (const ZydisDecoderMode extension :
         {ZYDIS_DECODER_MODE_MPX, ZYDIS_DECODER_MODE_CET, ZYDIS_DECODER_MODE_CLDEMOTE, ZYDIS_DECODER_MODE_WBNOINVD})
        ZydisDecoderEnableMode(&zydis_, extension, ZYAN_FALSE);
}

ZyanStatus EncodingReader::look(std::span<const std::uint8_t> bytes, ZydisDecoderContext& context,
                                ZydisDecodedInstruction& decoded) const {
    return ZydisDecoderDecodeInstruction(&zydis_, &context, bytes.data(), bytes.size(), &decoded);
}

bool EncodingReader::read(std::span<const std::uint8_t> bytes, Encoding& encoding) const {
    bytes = bytes.first(std::min(bytes.size(), Decoder::longest));
    if (!ZYAN_SUCCESS(
            ZydisDecoderDecodeFull(&zydis_, bytes.data(), bytes.size(), &encoding.decoded, encoding.operands.data())))
        return false;
    correct_operands(encoding);
    encoding.mode = mode_;
    encoding.code.fill(0);
    std::copy_n(bytes.begin(), encoding.decoded.length, encoding.code.begin());
    encoding.has_row = decoder_.decode(encoding.bytes(), mode_, encoding.instruction) == Decoder::Result::ok;
    return true;
}

// --- Forms

FormKey form_of(const Encoding& encoding) {
    const ZydisDecodedInstruction& decoded = encoding.decoded;
    FormKey key;
    key.mnemonic = static_cast<std::uint16_t>(decoded.mnemonic);
    key.encoding = static_cast<std::uint8_t>(decoded.encoding);
    unsigned place = 0;
    bool shows_width = false;
    for (const ZydisDecodedOperand& operand : encoding.visible_operands()) {
        const OperandKind kind = kind_of(operand);
        if (kind == general || kind == memory || kind == mmx || kind == xmm || kind == ymm || kind == x87)
            shows_width = true;
        if (place < key.operands.size()) key.operands[place++] = static_cast<std::uint32_t>(kind << 16 | operand.size);
    }
    if (!shows_width && !encoding.uses_floating_point()) key.operand_width = decoded.operand_width;
    const bool has_memory = std::ranges::any_of(encoding.all_operands(), [](const ZydisDecodedOperand& operand) {
        return operand.type == ZYDIS_OPERAND_TYPE_MEMORY;
    });
    if (has_memory || counts_in_register(decoded.mnemonic)) key.address_width = decoded.address_width;
    const auto add = [&](ZydisInstructionAttributes attribute, unsigned prefix) {
        if (encoding.has_attribute(attribute)) key.prefixes = static_cast<std::uint8_t>(key.prefixes | prefix);
    };
    add(ZYDIS_ATTRIB_HAS_LOCK, prefix_lock);
    add(ZYDIS_ATTRIB_HAS_REP, prefix_rep);
    add(ZYDIS_ATTRIB_HAS_REPE, prefix_repe);
    add(ZYDIS_ATTRIB_HAS_REPNE, prefix_repne);
    return key;
}

std::string_view mnemonic_name(ZydisMnemonic mnemonic) {
    const char* const name = ZydisMnemonicGetString(mnemonic);
    return name != nullptr ? name : "(none)";
}

std::string form_name(const FormKey& key) {
    std::string name(mnemonic_name(static_cast<ZydisMnemonic>(key.mnemonic)));
    const char* separator = " ";
    for (const std::uint32_t operand : key.operands) {
        if (operand == 0) break;
        const auto kind = static_cast<OperandKind>(operand >> 16);
        name += separator;
        name += kind_names[kind];
        const bool is_gathered = kind == memory_by_xmm || kind == memory_by_ymm;
        if (kind == general || kind == memory || kind == immediate || kind == relative || is_gathered)
            name += std::to_string(operand & 0xffff);
        if (is_gathered) name += kind == memory_by_ymm ? 'y' : 'x';
        separator = ", ";
    }
    if (key.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && !name.starts_with('v')) name += " vex";
    if (key.operand_width != 0) name += " op" + std::to_string(key.operand_width);
    if (key.address_width != 0) name += " addr" + std::to_string(key.address_width);
    if ((key.prefixes & prefix_lock) != 0) name += " lock";
    if ((key.prefixes & prefix_rep) != 0) name += " rep";
    if ((key.prefixes & prefix_repe) != 0) name += " repe";
    if ((key.prefixes & prefix_repne) != 0) name += " repne";
    return name;
}

std::string_view mode_name(DecodeMode mode) { return mode_names[static_cast<unsigned>(mode)]; }

std::optional<DecodeMode> find_mode(std::string_view name) {
    if (name == "64") return DecodeMode::long64;
    if (name == "32") return DecodeMode::compatibility32;
    if (name == "16") return DecodeMode::compatibility16;
    const auto found = std::ranges::find(mode_names, name);
    if (found == std::end(mode_names)) return std::nullopt;
    return static_cast<DecodeMode>(found - std::begin(mode_names));
}

}  // namespace xenolith::cpu::fuzz
