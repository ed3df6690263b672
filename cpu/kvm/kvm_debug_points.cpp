#include "cpu/kvm/kvm_debug_points.hpp"

#include <Zydis/Zydis.h>

#include <algorithm>
#include <bit>

namespace xenolith::cpu {

namespace {

constexpr std::size_t debug_registers = 4;
constexpr std::uint64_t global_exact = 1 << 9;  // of DR7

// Whether DR7 can say it (SDM vol. 3B, 17.2.4). No CPU watches for reads alone.
bool fits(const DebugPoint& point) {
    if (point.kind == DebugPoint::Kind::execute) return point.size == 1;
    if (point.kind == DebugPoint::Kind::read) return false;
    return point.size <= 8 && std::has_single_bit(point.size) && point.linear % point.size == 0;
}

std::uint64_t condition_of(const DebugPoint& point) {
    constexpr std::uint64_t write = 1, access = 3, lengths[] = {0, 0, 1, 0, 3, 0, 0, 0, 2};
    if (point.kind == DebugPoint::Kind::execute) return 0;
    return (point.kind == DebugPoint::Kind::write ? write : access) | lengths[point.size] << 2;
}

bool overlaps(const DebugPoint& point, std::uint64_t linear, std::uint64_t size) {
    return linear - point.linear < point.size || point.linear - linear < size;
}

std::optional<DebugPoint> execute_point_at(const std::vector<DebugPoint>& points, std::uint64_t linear) {
    const auto found = std::ranges::find_if(points, [&](const DebugPoint& point) {
        return point.kind == DebugPoint::Kind::execute && overlaps(point, linear, 1);
    });
    return found == points.end() ? std::nullopt : std::optional(*found);
}

std::uint64_t mask_of(unsigned bits) { return bits >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1; }

std::uint64_t register_value(ZydisRegister name, std::uint64_t next_rip, const CpuState& state) {
    if (name == ZYDIS_REGISTER_RIP || name == ZYDIS_REGISTER_EIP) return next_rip;
    const ZydisRegisterClass kind = ZydisRegisterGetClass(name);
    if (kind != ZYDIS_REGCLASS_GPR16 && kind != ZYDIS_REGCLASS_GPR32 && kind != ZYDIS_REGCLASS_GPR64) return 0;
    return state.registers[static_cast<std::size_t>(ZydisRegisterGetId(name))];
}

std::uint64_t segment_base(ZydisRegister name, const CpuState& state) {
    const bool has_base = !state.in_64bit_code() || name == ZYDIS_REGISTER_FS || name == ZYDIS_REGISTER_GS;
    if (!has_base || name < ZYDIS_REGISTER_ES || name > ZYDIS_REGISTER_GS) return 0;
    return state.segments[static_cast<std::size_t>(name - ZYDIS_REGISTER_ES)].base;
}

ZydisDecoder decoder_of(unsigned code_width) {
    ZydisDecoder decoder;
    if (code_width == 64)
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    else if (code_width == 32)
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    else
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
    return decoder;
}

struct Access {
    std::uint64_t linear = 0, size = 0;
    bool reads = false, writes = false;
};

// The operand's access; of no bytes if it makes none.
Access access_of(const ZydisDecodedInstruction& instruction, const ZydisDecodedOperand& operand,
                 const CpuState& state) {
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY || operand.mem.type != ZYDIS_MEMOP_TYPE_MEM) return {};
    Access access{.size = operand.size / 8u,
                  .reads = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0,
                  .writes = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0};
    const std::uint64_t next_rip = state.rip + instruction.length;
    std::uint64_t offset = register_value(operand.mem.base, next_rip, state) +
                           register_value(operand.mem.index, next_rip, state) * operand.mem.scale +
                           static_cast<std::uint64_t>(operand.mem.disp.value);
    // A push is written below where the stack pointer stands; the operand does not say so.
    const bool pushes =
        operand.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN && access.writes && !access.reads &&
        ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, operand.mem.base) == ZYDIS_REGISTER_RSP;
    if (pushes) offset -= access.size;
    const std::uint64_t stack_mask = !state.in_64bit_code() && !state.segment(SegmentName::ss).attributes.default_big()
                                         ? mask_of(16)
                                         : mask_of(instruction.stack_width);
    offset &= pushes ? stack_mask : mask_of(instruction.address_width);
    access.linear = segment_base(operand.mem.segment, state) + offset;
    if (!state.in_64bit_code()) access.linear &= mask_of(32);
    return access;
}

}  // namespace

void KvmDebugPoints::set(const std::vector<DebugPoint>& points,
                         const std::function<bool(DebugPoint::Kind)>& in_registers) {
    in_registers_.clear();
    by_steps_.clear();
    for (const DebugPoint& point : points) {
        if (point.size == 0) continue;
        const bool in_register = fits(point) && in_registers_.size() < debug_registers && in_registers(point.kind);
        (in_register ? in_registers_ : by_steps_).push_back(point);
    }
}

void KvmDebugPoints::arm(kvm_guest_debug& request) const {
    std::uint64_t control = dr7::fixed_one | global_exact;
    for (std::size_t n = 0; n < in_registers_.size(); ++n) {
        request.arch.debugreg[n] = in_registers_[n].linear;
        control |= std::uint64_t{2} << n * 2 | condition_of(in_registers_[n]) << (16 + n * 4);
    }
    request.arch.debugreg[7] = control;
}

std::optional<DebugPoint> KvmDebugPoints::met(std::uint64_t dr6) const {
    for (std::size_t n = 0; n < in_registers_.size(); ++n)
        if ((dr6 >> n & 1) != 0) return in_registers_[n];
    return std::nullopt;
}

std::optional<DebugPoint> KvmDebugPoints::at(std::uint64_t linear) const {
    const std::optional<DebugPoint> point = execute_point_at(in_registers_, linear);
    return point ? point : stepped_to(linear);
}

std::optional<DebugPoint> KvmDebugPoints::stepped_to(std::uint64_t linear) const {
    return execute_point_at(by_steps_, linear);
}

std::optional<DebugPoint> KvmDebugPoints::accessed_by(std::span<const std::byte> code, const CpuState& state) const {
    const ZydisDecoder decoder = decoder_of(state.code_width());
    ZydisDecodedInstruction instruction;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code.data(), code.size(), &instruction, operands)))
        return std::nullopt;
    constexpr ZydisInstructionAttributes any_repeat =
        ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE;
    const std::uint64_t count = state.registers[rcx] & mask_of(instruction.address_width);
    if ((instruction.attributes & any_repeat) != 0 && count == 0) return std::nullopt;
    for (unsigned n = 0; n < instruction.operand_count; ++n) {
        const Access access = access_of(instruction, operands[n], state);
        if (access.size == 0) continue;
        for (const DebugPoint& point : by_steps_) {
            using Kind = DebugPoint::Kind;
            const bool kind_fits = (access.reads && (point.kind == Kind::read || point.kind == Kind::access)) ||
                                   (access.writes && (point.kind == Kind::write || point.kind == Kind::access));
            if (kind_fits && overlaps(point, access.linear, access.size)) return point;
        }
    }
    return std::nullopt;
}

}  // namespace xenolith::cpu
