// Zydis knows the encodings of every extension ever announced; a CPU model offers some. Where an old CPU takes an
// encoding for something else (TZCNT for REP BSF, ENDBR64 for a NOP), Zydis has a switch, set here from the model;
// where it does not know the encoding at all, the row's feature decides and the instruction raises #UD.
#include "cpu/decode/decoder.hpp"

#include "cpu/isa/row.hpp"
#include "cpu/processor.hpp"

namespace xenolith::cpu {

namespace {

void raise_invalid_opcode(Processor& processor, const Instruction&) { processor.raise(Vector::invalid_opcode); }

void raise_too_long(Processor& processor, const Instruction&) { processor.raise(Vector::general_protection, 0); }

// The byte offset of a general register in CpuState::registers, or the plain number of any other register.
std::uint8_t register_operand(ZydisRegister name) {
    const ZydisRegisterClass kind = ZydisRegisterGetClass(name);
    switch (kind) {
        case ZYDIS_REGCLASS_GPR8:
            if (name >= ZYDIS_REGISTER_AH && name <= ZYDIS_REGISTER_BH)
                return static_cast<std::uint8_t>((name - ZYDIS_REGISTER_AH) * 8 + 1);
            if (name <= ZYDIS_REGISTER_BL) return static_cast<std::uint8_t>((name - ZYDIS_REGISTER_AL) * 8);
            return static_cast<std::uint8_t>((name - ZYDIS_REGISTER_SPL + 4) * 8);
        case ZYDIS_REGCLASS_GPR16:
        case ZYDIS_REGCLASS_GPR32:
        case ZYDIS_REGCLASS_GPR64: return static_cast<std::uint8_t>(ZydisRegisterGetId(name) * 8);
        default: return static_cast<std::uint8_t>(ZydisRegisterGetId(name));
    }
}

std::uint8_t address_register(ZydisRegister name) {
    return name == ZYDIS_REGISTER_NONE ? std::uint8_t{CpuState::zero_slot}
                                       : static_cast<std::uint8_t>(ZydisRegisterGetId(name));
}

// SIB.base 5 with ModRM.mod 0: a displacement and no base, whatever REX.B says (SDM vol. 2A, table 2-3). With 32-bit
// addresses in 64-bit code Zydis 4.0 names R13D and no displacement.
bool has_no_base(const ZydisDecodedInstruction& from) {
    return (from.attributes & ZYDIS_ATTRIB_HAS_SIB) != 0 && from.raw.modrm.mod == 0 && from.raw.sib.base == 5;
}

SegmentName segment_name(ZydisRegister name) {
    switch (name) {
        case ZYDIS_REGISTER_ES: return SegmentName::es;
        case ZYDIS_REGISTER_CS: return SegmentName::cs;
        case ZYDIS_REGISTER_SS: return SegmentName::ss;
        case ZYDIS_REGISTER_FS: return SegmentName::fs;
        case ZYDIS_REGISTER_GS: return SegmentName::gs;
        default: return SegmentName::ds;
    }
}

AddressSize address_size(ZyanU8 bits) {
    return bits == 64 ? AddressSize::bits64 : bits == 32 ? AddressSize::bits32 : AddressSize::bits16;
}

bool is_vector(ZydisRegister name) {
    const ZydisRegisterClass kind = ZydisRegisterGetClass(name);
    return kind == ZYDIS_REGCLASS_XMM || kind == ZYDIS_REGCLASS_YMM;
}

// For find_row.
std::uint16_t operand_flag(const ZydisDecodedInstruction& from, const ZydisDecodedOperand* operands) {
    std::uint16_t flag = 0;
    for (unsigned n = 0; n < from.operand_count_visible; ++n) {
        if (operands[n].type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
        if (ZydisRegisterGetClass(operands[n].reg.value) == ZYDIS_REGCLASS_MMX) return row_flag::mmx_operand;
        if (is_vector(operands[n].reg.value)) flag = row_flag::vector_operand;
    }
    return flag;
}

bool is_x87(const ZydisDecodedInstruction& from) {
    constexpr ZyanU8 first_escape = 0xd8;
    return from.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY && from.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
           (from.opcode & 0xf8) == first_escape;
}

// To Zydis these do not exist in real-mode code, of which virtual-8086 code is a kind. To a CPU they do: SYSENTER works
// in virtual-8086 mode, and everything else faults in its own way (SDM vol. 2B, SYSENTER, SYSEXIT; APM vol. 3, SYSRET).
bool exists_in_real_mode(ZydisMnemonic mnemonic) {
    return mnemonic == ZYDIS_MNEMONIC_SYSENTER || mnemonic == ZYDIS_MNEMONIC_SYSEXIT ||
           mnemonic == ZYDIS_MNEMONIC_SYSRET;
}

constexpr ZydisInstructionAttributes segment_overrides = ZYDIS_ATTRIB_HAS_SEGMENT;

SegmentName overriding_segment(ZydisInstructionAttributes attributes) {
    if ((attributes & ZYDIS_ATTRIB_HAS_SEGMENT_ES) != 0) return SegmentName::es;
    if ((attributes & ZYDIS_ATTRIB_HAS_SEGMENT_CS) != 0) return SegmentName::cs;
    if ((attributes & ZYDIS_ATTRIB_HAS_SEGMENT_SS) != 0) return SegmentName::ss;
    if ((attributes & ZYDIS_ATTRIB_HAS_SEGMENT_FS) != 0) return SegmentName::fs;
    if ((attributes & ZYDIS_ATTRIB_HAS_SEGMENT_GS) != 0) return SegmentName::gs;
    return SegmentName::ds;
}

}  // namespace

Decoder::Decoder(const CpuModel& model, const Timing& timing) : model_(model), timing_(timing) {
    struct Setting {
        ZydisMachineMode mode;
        ZydisStackWidth stack;
    };
    constexpr Setting settings[] = {
        {ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16},
        {ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32},
        {ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16},
        {ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32},
        {ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16},
        {ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32},
        {ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64},
    };
    for (std::size_t n = 0; n < decoders_.size(); ++n) {
        ZydisDecoder& decoder = decoders_[n];
        ZydisDecoderInit(&decoder, settings[n].mode, settings[n].stack);
        ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
        ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
        ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
        ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_WBNOINVD, ZYAN_FALSE);
        ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_TZCNT, model.has(Feature::bmi1));
        ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_LZCNT, model.has(Feature::lzcnt));
    }
}

Decoder::Result Decoder::decode(std::span<const std::byte> bytes, DecodeMode mode, Instruction& out) const {
    ZydisDecodedInstruction decoded;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    out = Instruction{};
    ZydisDecoderContext context;
    const std::size_t available = std::min(bytes.size(), longest);
    const ZydisDecoder* decoder = &decoders_[static_cast<unsigned>(mode)];
    ZyanStatus status = ZydisDecoderDecodeInstruction(decoder, &context, bytes.data(), available, &decoded);
    if (status == ZYDIS_STATUS_DECODING_ERROR && mode == DecodeMode::real16) {
        decoder = &decoders_[static_cast<unsigned>(DecodeMode::protected16)];
        const ZyanStatus other = ZydisDecoderDecodeInstruction(decoder, &context, bytes.data(), available, &decoded);
        if (ZYAN_SUCCESS(other) && exists_in_real_mode(decoded.mnemonic)) status = other;
    }
    const auto as_fault = [&](Execute execute) {
        out.execute = execute;
        out.length = 1;
        out.last = true;
        out.transfers_control = true;
    };
    if (status == ZYDIS_STATUS_NO_MORE_DATA && available < longest) return Result::need_more_bytes;
    if (status == ZYDIS_STATUS_NO_MORE_DATA || status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG) {
        as_fault(raise_too_long);
        return Result::too_long;
    }
    if (!ZYAN_SUCCESS(status) ||
        !ZYAN_SUCCESS(ZydisDecoderDecodeOperands(decoder, &context, &decoded, operands, decoded.operand_count))) {
        as_fault(raise_invalid_opcode);
        return Result::invalid;
    }
    fill(decoded, operands, out);
    if (out.execute == nullptr) {
        as_fault(raise_invalid_opcode);
        return Result::invalid;
    }
    return Result::ok;
}

void Decoder::fill(const ZydisDecodedInstruction& from, const ZydisDecodedOperand* operands, Instruction& out) const {
    // Zydis also knows a coprocessor that took LZCNT and others with a VEX prefix.
    if (from.meta.isa_ext == ZYDIS_ISA_EXT_KNC) return;
    Shape shape{from, operands, out};
    const Row* row = find_row(from.mnemonic, operand_flag(from, operands));
    if (row != nullptr && row->variant != nullptr) row = row->variant(*row, shape);
    if (row == nullptr || !model_.has(row->feature)) return;
    shape.row = row;

    shape.address_size = address_size(from.address_width);
    shape.operand_width = from.operand_width / 8u;
    shape.width = from.operand_count_visible > 0 ? operands[0].size / 8u : shape.operand_width;

    out.length = from.length;
    out.address_size = shape.address_size;
    out.width = static_cast<std::uint8_t>(shape.width);
    out.stack_width = static_cast<std::uint8_t>(shape.operand_width);
    out.segment_override = (from.attributes & segment_overrides) != 0;
    out.segment = overriding_segment(from.attributes);
    out.lock = (from.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0;
    if ((from.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE)) != 0) out.repeat = Repeat::repe;
    if ((from.attributes & ZYDIS_ATTRIB_HAS_REPNE) != 0) out.repeat = Repeat::repne;

    std::uint32_t cost = timing_.cost_of(row->cost);
    unsigned immediates = 0;
    for (unsigned n = 0; n < from.operand_count_visible; ++n) {
        const ZydisDecodedOperand& operand = operands[n];
        switch (operand.type) {
            case ZYDIS_OPERAND_TYPE_REGISTER:
                shape.form = shape.form << 4 | 1;
                if (n < 4) out.registers[n] = register_operand(operand.reg.value);
                break;
            case ZYDIS_OPERAND_TYPE_MEMORY:
                shape.form = shape.form << 4 | 2;
                out.has_memory = true;
                out.segment = segment_name(operand.mem.segment);
                out.base = has_no_base(from) ? std::uint8_t{CpuState::zero_slot} : address_register(operand.mem.base);
                if (is_vector(operand.mem.index)) {
                    // A gather's vector of indices: its number stands where the memory operand has none.
                    if (n < 4) out.registers[n] = register_operand(operand.mem.index);
                } else {
                    out.index = address_register(operand.mem.index);
                }
                out.scale_shift = operand.mem.scale == 8   ? 3
                                  : operand.mem.scale == 4 ? 2
                                  : operand.mem.scale == 2 ? 1
                                                           : 0;
                out.displacement = operand.mem.disp.has_displacement != 0 ? operand.mem.disp.value : 0;
                if (has_no_base(from)) out.displacement = from.raw.disp.value;
                if (operand.mem.base == ZYDIS_REGISTER_RIP || operand.mem.base == ZYDIS_REGISTER_EIP) {
                    // The interpreter keeps the block's start in this slot; whoever places the instruction in a block
                    // adds its end to the displacement.
                    out.base = CpuState::rip_slot;
                }
                if ((operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0) cost += timing_.load;
                if ((operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0) cost += timing_.store;
                break;
            case ZYDIS_OPERAND_TYPE_POINTER:
                shape.form = shape.form << 4 | 3;
                out.immediate = std::uint64_t{operand.ptr.segment} << 32 | operand.ptr.offset;
                break;
            case ZYDIS_OPERAND_TYPE_IMMEDIATE:
            default:
                shape.form = shape.form << 4 | 3;
                // ENTER and EXTRQ have two immediates: the second goes above the first's 16 bits.
                if (immediates++ == 0) {
                    out.immediate = operand.imm.value.u;
                } else {
                    out.immediate = (out.immediate & 0xffff) | operand.imm.value.u << 16;
                }
                break;
        }
    }
    if (is_x87(from))
        out.immediate =
            (from.opcode & 7u) << 8 | from.raw.modrm.mod << 6u | from.raw.modrm.reg << 3u | from.raw.modrm.rm;
    // LOCK on a read-modify-write, and XCHG with memory, which locks by itself.
    if (out.lock || (from.mnemonic == ZYDIS_MNEMONIC_XCHG && out.has_memory))
        cost += timing_.cost_of(CostClass::locked);
    out.cost = cost;
    out.transfers_control = (row->flags & row_flag::transfers_control) != 0;
    out.delivery_point = (row->flags & (row_flag::transfers_control | row_flag::delivery_point)) != 0;
    if ((row->flags & row_flag::repeatable) != 0 && out.repeat != Repeat::none)
        out.transfers_control = out.delivery_point = true;
    out.last = out.delivery_point || (row->flags & row_flag::ends_block) != 0;
    out.execute = row->select(shape);
}

}  // namespace xenolith::cpu
