// How a state is drawn. Registers an encoding does not touch get a value once per series; those it touches,
// the flags and the memory operands once per test. Random values alone would hardly ever make a quotient fit,
// a comparison succeed or a string end: such states are put in on purpose.
#include "cpu/fuzz/state_maker.hpp"

#include <algorithm>
#include <bit>

namespace xenolith::cpu::fuzz {

namespace {

constexpr std::int64_t memory_middle = 0x1800, memory_range = 0x1000, page_boundary = 0x2000;

ValueKind kind_of(const ZydisDecodedOperand& operand) {
    switch (operand.element_type) {
        case ZYDIS_ELEMENT_TYPE_FLOAT16: return ValueKind::real16;
        case ZYDIS_ELEMENT_TYPE_FLOAT32: return ValueKind::real32;
        case ZYDIS_ELEMENT_TYPE_FLOAT64: return ValueKind::real64;
        case ZYDIS_ELEMENT_TYPE_FLOAT80: return ValueKind::real80;
        case ZYDIS_ELEMENT_TYPE_LONGBCD: return ValueKind::decimal;
        case ZYDIS_ELEMENT_TYPE_INT:
        case ZYDIS_ELEMENT_TYPE_UINT: return ValueKind::integer;
        default: return ValueKind::any;
    }
}

bool is_general(ZydisRegister name) {
    switch (ZydisRegisterGetClass(name)) {
        case ZYDIS_REGCLASS_GPR8:
        case ZYDIS_REGCLASS_GPR16:
        case ZYDIS_REGCLASS_GPR32:
        case ZYDIS_REGCLASS_GPR64: return true;
        default: return false;
    }
}

bool is_vector(ZydisRegister name) {
    const ZydisRegisterClass kind = ZydisRegisterGetClass(name);
    return kind == ZYDIS_REGCLASS_XMM || kind == ZYDIS_REGCLASS_YMM;
}

// AH to BH are parts of the first four.
int general_number(ZydisRegister name) {
    if (name >= ZYDIS_REGISTER_AH && name <= ZYDIS_REGISTER_BH) return name - ZYDIS_REGISTER_AH;
    if (name >= ZYDIS_REGISTER_SPL && name <= ZYDIS_REGISTER_R15B) return name - ZYDIS_REGISTER_SPL + 4;
    if (name >= ZYDIS_REGISTER_AL && name <= ZYDIS_REGISTER_BL) return name - ZYDIS_REGISTER_AL;
    return ZydisRegisterGetId(name);
}

bool is_bit_string(ZydisMnemonic mnemonic) {
    return mnemonic == ZYDIS_MNEMONIC_BT || mnemonic == ZYDIS_MNEMONIC_BTS || mnemonic == ZYDIS_MNEMONIC_BTR ||
           mnemonic == ZYDIS_MNEMONIC_BTC;
}

bool gathers_by_quadwords(ZydisMnemonic mnemonic) {
    return mnemonic == ZYDIS_MNEMONIC_VGATHERQPS || mnemonic == ZYDIS_MNEMONIC_VGATHERQPD ||
           mnemonic == ZYDIS_MNEMONIC_VPGATHERQD || mnemonic == ZYDIS_MNEMONIC_VPGATHERQQ;
}

bool crosses_a_line(std::uint64_t address, unsigned size) {
    constexpr std::uint64_t line = 64;
    return address / line != (address + size - 1) / line;
}

template <std::size_t N>
void write_bytes(std::array<std::uint8_t, N>& bytes, std::size_t at, std::size_t size, std::uint64_t value) {
    for (std::size_t n = 0; n < size && at + n < N; ++n) bytes[at + n] = static_cast<std::uint8_t>(value >> n * 8);
}

}  // namespace

int bit_offset_register(const Encoding& encoding) {
    const bool has_one = is_bit_string(encoding.decoded.mnemonic) && encoding.touches_memory() &&
                         encoding.operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER;
    return has_one ? general_number(encoding.operands[1].reg.value) : -1;
}

StateMaker::StateMaker(const EncodingReader& reader, const Layout& layout) : reader_(reader), layout_(layout) {}

// --- The encoding

bool StateMaker::complete(std::span<const std::uint8_t> from, Random& random, Encoding& encoding) const {
    std::array<std::uint8_t, Decoder::longest> bytes{};
    std::copy_n(from.begin(), std::min(from.size(), bytes.size()), bytes.begin());
    if (!reader_.read(bytes, encoding)) return false;
    const ZydisDecodedInstruction& decoded = encoding.decoded;
    for (const auto& immediate : decoded.raw.imm) {
        if (immediate.size == 0) break;
        std::uint64_t value = random.chance(2) ? edge_integer(random) : random();
        if (immediate.is_relative != 0) {
            value = (random.chance(2) ? layout_.forward : layout_.backward) - layout_.instruction_end;
        } else if (decoded.mnemonic == ZYDIS_MNEMONIC_ENTER) {
            value = immediate.size == 16 ? random.pick(64) : random.pick(40);
        }
        write_bytes(bytes, immediate.offset, immediate.size / 8u, value);
    }
    const ZydisDecodedOperand* const memory = encoding.memory_operand();
    const bool has_own_address =
        memory != nullptr && (memory->mem.base == ZYDIS_REGISTER_NONE || memory->mem.base == ZYDIS_REGISTER_RIP ||
                              memory->mem.base == ZYDIS_REGISTER_EIP);
    if (has_own_address && decoded.raw.disp.size >= 16) {
        const unsigned size = memory->size / 8u;
        std::uint64_t address = 0;
        do address = layout_.memory + static_cast<std::uint64_t>(pick_place(random, size));
        while (encoding.locks_memory() && crosses_a_line(address, size));
        if (memory->mem.base != ZYDIS_REGISTER_NONE) address -= layout_.instruction_end;
        write_bytes(bytes, decoded.raw.disp.offset, decoded.raw.disp.size / 8u, address);
    }
    return reader_.read(bytes, encoding) && encoding.has_row;
}

// --- A series

void StateMaker::begin(const Encoding& encoding, Random& random) {
    encoding_ = &encoding;
    touched_.clear();
    vectors_.clear();
    operands_.clear();
    patches_.clear();
    const ZydisDecodedInstruction& decoded = encoding.decoded;
    address_width_ = decoded.address_width;
    uses_floating_point_ = encoding.uses_floating_point();
    repeats_ = encoding.repeats();
    pops_flags_ = decoded.mnemonic == ZYDIS_MNEMONIC_POPF || decoded.mnemonic == ZYDIS_MNEMONIC_POPFD ||
                  decoded.mnemonic == ZYDIS_MNEMONIC_POPFQ;
    uses_x87_ = uses_floating_point_ && decoded.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY;
    unsigned place = 0;
    for (const ZydisDecodedOperand& operand : encoding.all_operands())
        add_operand(operand, place++ >= decoded.operand_count_visible);
    if (decoded.mnemonic == ZYDIS_MNEMONIC_ENTER) touched_.push_back(rbp);
    for (std::uint64_t& value : state_.registers.general) value = edge_integer(random);
    if (!uses_floating_point_) return;
    FloatingPointState& floating_point = state_.floating_point;
    edge_x87(random, floating_point);
    floating_point.mxcsr = edge_mxcsr(random);
    for (auto& vector : floating_point.vector)
        for (std::uint64_t& word : vector) word = edge_word(random, ValueKind::any);
}

void StateMaker::add_operand(const ZydisDecodedOperand& operand, bool is_hidden) {
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) {
        if (is_general(operand.reg.value)) touched_.push_back(general_number(operand.reg.value));
        if (is_vector(operand.reg.value))
            vectors_.push_back({static_cast<unsigned>(ZydisRegisterGetId(operand.reg.value)), kind_of(operand)});
        return;
    }
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) return;
    const ZydisDecodedOperandMem& from = operand.mem;
    if (from.type == ZYDIS_MEMOP_TYPE_AGEN) {
        if (is_general(from.base)) touched_.push_back(general_number(from.base));
        if (is_general(from.index)) touched_.push_back(general_number(from.index));
        return;
    }
    MemoryOperand memory;
    memory.kind = kind_of(operand);
    memory.size = operand.size / 8u;
    memory.is_hidden = is_hidden;
    memory.is_stack = is_hidden && from.segment == ZYDIS_REGISTER_SS;
    memory.scale = std::max<std::uint64_t>(from.scale, 1);
    memory.displacement = from.disp.has_displacement != 0 ? static_cast<std::uint64_t>(from.disp.value) : 0;
    if (is_general(from.base)) {
        memory.base = general_number(from.base);
    } else {
        memory.is_fixed = true;
        std::uint64_t address = memory.displacement;
        if (from.base != ZYDIS_REGISTER_NONE) address += layout_.instruction_end;
        const std::uint64_t mask = encoding_->decoded.address_width == 16 ? 0xffff : 0xffffffff;
        memory.place = static_cast<std::int64_t>((address & mask) - layout_.memory);
    }
    if (is_vector(from.index)) {
        memory.is_vector_index = true;
        memory.index = ZydisRegisterGetId(from.index);
        memory.index_size = gathers_by_quadwords(encoding_->decoded.mnemonic) ? 8 : 4;
    } else if (is_general(from.index)) {
        memory.index = general_number(from.index);
    }
    operands_.push_back(memory);
}

// A locked access that crosses a cache line stops every processor of the host, and kernels and hypervisors make whoever
// does it wait: one can cost as much as a million other tests, so there is none.
const State& StateMaker::next(Random& random) {
    constexpr unsigned attempts = 64;
    draw(random);
    for (unsigned n = 1; n < attempts && encoding_->locks_memory() && splits_lock(); ++n) draw(random);
    return state_;
}

bool StateMaker::splits_lock() const {
    const auto operand = std::ranges::find(operands_, false, &MemoryOperand::is_hidden);
    if (operand == operands_.end()) return false;
    const auto value = [&](int number) {
        return number == none ? 0 : state_.registers.general[static_cast<unsigned>(number)];
    };
    std::uint64_t address = operand->is_fixed ? layout_.memory + static_cast<std::uint64_t>(operand->place)
                                              : value(operand->base) + operand->displacement;
    address += value(operand->index) * operand->scale;
    if (const int number = bit_offset_register(*encoding_); number != none) {
        const unsigned bits = operand->size * 8;
        const auto offset = static_cast<std::int64_t>(value(number) << (64 - bits)) >> (64 - bits);
        address += static_cast<std::uint64_t>(offset >> std::countr_zero(bits)) * operand->size;
    }
    return crosses_a_line(address, operand->size);
}

void StateMaker::draw(Random& random) {
    patches_.clear();
    for (const int number : touched_) general(number) = edge_integer(random);
    const std::uint64_t bits = random();
    state_.registers.rflags = 0x202 | (bits & rflags::arithmetic) | (bits >> 32 & 3 ? 0 : std::uint64_t{rflags::df});
    if (!operands_.empty() && (bits >> 40 & 63) == 0) state_.registers.rflags |= rflags::ac;
    if (uses_floating_point_) {
        FloatingPointState& floating_point = state_.floating_point;
        for (const VectorOperand& operand : vectors_)
            for (std::uint64_t& word : floating_point.vector[operand.number])
                word = edge_word(random, (bits >> 48 & 7) == 0 ? ValueKind::any : operand.kind);
        if (uses_x87_) edge_x87(random, floating_point);
        floating_point.mxcsr = edge_mxcsr(random);
    }
    bias(random);
    for (const MemoryOperand& operand : operands_) place(random, operand);
    bias_after_placing(random);
    if (encoding_->is_branch()) aim_branch(random);
}

// --- Memory operands

// Rarely one that reaches out of the memory, or across a page, or lies at an end of its 16-bit segment.
std::int64_t StateMaker::pick_place(Random& random, unsigned size) const {
    const std::uint64_t shape = random();
    if ((shape & 31) == 0) {
        const auto near = static_cast<std::int64_t>(shape >> 8 & 15);
        constexpr std::int64_t segment_size = 0x10000;
        if (encoding_->mode == DecodeMode::compatibility16 && (shape & 64) != 0)
            return ((shape & 32) != 0 ? near : segment_size - near) - static_cast<std::int64_t>(layout_.memory);
        return (shape & 32) != 0 ? -near : static_cast<std::int64_t>(memory_size) - near;
    }
    if ((shape >> 5 & 7) == 0) return page_boundary - static_cast<std::int64_t>(random.pick(std::uint64_t{size} + 1));
    std::int64_t place = memory_middle + static_cast<std::int64_t>(shape >> 16) % memory_range;
    if (size >= 16 && (shape >> 12 & 7) != 0) place &= ~(std::int64_t{std::bit_floor(std::min(size, 64u))} - 1);
    return place;
}

void StateMaker::put_word(std::int64_t offset, std::uint64_t value) {
    if (offset < 0 || offset + 8 > static_cast<std::int64_t>(memory_size)) return;
    patches_.push_back({static_cast<std::uint32_t>(offset), 8, {value}});
}

void StateMaker::put(Random& random, std::int64_t offset, unsigned size, ValueKind kind) {
    size = std::clamp((size + 7u) & ~7u, 8u, 64u);
    if (offset < 0 || offset + size > static_cast<std::int64_t>(memory_size)) return;
    Patch& patch = patches_.emplace_back();
    patch.offset = static_cast<std::uint32_t>(offset);
    patch.size = size;
    if (kind == ValueKind::real80) {
        const X87Register value = edge_real80(random);
        patch.value = {value.significand, value.sign_exponent};
    } else if (kind == ValueKind::decimal) {
        const auto value = edge_decimal(random);
        patch.value = {value[0], value[1]};
    } else {
        for (unsigned n = 0; n < size / 8; ++n) patch.value[n] = edge_word(random, kind);
    }
}

// With shorter addresses what is above them must not count.
void StateMaker::point(Random& random, int number, std::uint64_t address, unsigned address_width) {
    if (address_width == 32 && encoding_->is_64()) address = (address & 0xffffffff) | random() << 32;
    if (address_width == 16) address = (address & 0xffff) | random() << 16;
    if (!encoding_->is_64()) address &= 0xffffffff;
    general(number) = address;
}

void StateMaker::place(Random& random, const MemoryOperand& operand) {
    place_bit_offset(random);
    if (operand.is_vector_index) return place_vector_index(random, operand);
    const std::int64_t fixed = operand.place;
    if (operand.is_fixed) {
        std::int64_t offset = fixed;
        if (operand.index != none) {
            general(operand.index) = random.pick(256);
            offset += static_cast<std::int64_t>(general(operand.index) * operand.scale);
        }
        return put(random, offset, operand.size, operand.kind);
    }
    std::int64_t offset = pick_place(random, operand.is_stack ? 64 : operand.size);
    // What a branch reads is all of it an address of ours, or nothing.
    constexpr std::int64_t widest_target = 8, unreachable = -64;
    const bool reaches_out = offset < 0 || offset + widest_target > static_cast<std::int64_t>(memory_size);
    if (encoding_->is_branch() && reaches_out) offset = layout_.is_guarded ? unreachable : memory_middle;
    std::uint64_t address = layout_.memory + static_cast<std::uint64_t>(offset) - operand.displacement;
    if (operand.index != none) {
        // XLAT's index is AL.
        if (!operand.is_hidden) general(operand.index) = random.pick(256);
        address -= (general(operand.index) & 0xff) * operand.scale;
    }
    // POP adds its operand's size to RSP before it is a base.
    if (encoding_->decoded.mnemonic == ZYDIS_MNEMONIC_POP && operand.base == rsp && !operand.is_hidden)
        address -= operand.size;
    const unsigned stack_width = encoding_->mode == DecodeMode::compatibility16 ? 16 : 64;
    point(random, operand.base, address, operand.is_stack ? stack_width : address_width_);
    put(random, offset, operand.size, operand.kind);
}

// The offset into a bit string reaches 4 KiB either way, and no further: the host has things of its own there.
void StateMaker::place_bit_offset(Random& random) {
    const int number = bit_offset_register(*encoding_);
    if (number == none) return;
    const std::uint64_t bit = random.pick(0x8000) - 0x4000;
    general(number) = encoding_->operands[1].size == 32 ? random() << 32 | (bit & 0xffffffff) : bit;
}

void StateMaker::place_vector_index(Random& random, const MemoryOperand& operand) {
    constexpr std::uint64_t reach = 512;
    auto& vector = state_.floating_point.vector[static_cast<unsigned>(operand.index)];
    const bool may_leave = random.chance(32);
    for (std::uint64_t& word : vector) {
        const std::uint64_t first = random.pick(reach) - reach / 2, second = random.pick(reach) - reach / 2;
        word = operand.index_size == 8 ? first : second << 32 | (first & 0xffffffff);
    }
    // An element that leaves the memory meets its guard pages, or no canonical address: below 4 GiB the host may have
    // things of its own.
    if (may_leave && operand.index_size == 8 && address_width_ == 64) {
        vector[random.pick(4)] = random();
    } else if (may_leave) {
        const std::uint64_t distance = (memory_size + random.pick(memory_size / 2)) / operand.scale;
        const std::uint64_t index = random.chance(2) ? distance : ~distance;
        std::uint64_t& word = vector[random.pick(4)];
        word = operand.index_size == 8 ? index : (word & 0xffffffff) | index << 32;
    }
    const std::uint64_t offset = memory_middle + random.pick(memory_range);
    if (operand.base != none)
        point(random, operand.base, layout_.memory + offset - operand.displacement, address_width_);
}

// --- States on purpose

void StateMaker::bias(Random& random) {
    const ZydisDecodedInstruction& decoded = encoding_->decoded;
    const bool uses_count = std::ranges::find(touched_, int{rcx}) != touched_.end();
    if (uses_count && random.chance(2)) general(rcx) = (general(rcx) & ~std::uint64_t{0xff}) | random.pick(70);
    switch (decoded.mnemonic) {
        case ZYDIS_MNEMONIC_DIV:
        case ZYDIS_MNEMONIC_IDIV: {
            const bool negative = (general(rax) >> (decoded.operand_width - 1) & 1) != 0;
            if (!random.chance(4)) general(rdx) = random.chance(2) && negative ? ~std::uint64_t{0} : random.pick(2);
            if (encoding_->operands[0].size == 8 && !random.chance(4)) general(rax) &= ~std::uint64_t{0xf000};
            break;
        }
        case ZYDIS_MNEMONIC_CMPXCHG:
            if (encoding_->operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER && random.chance(2))
                general(general_number(encoding_->operands[0].reg.value)) = general(rax);
            break;
        case ZYDIS_MNEMONIC_BEXTR:
            if (random.chance(2))
                general(general_number(encoding_->operands[2].reg.value)) = random.pick(70) | random.pick(70) << 8;
            break;
        case ZYDIS_MNEMONIC_LOOP:
        case ZYDIS_MNEMONIC_LOOPE:
        case ZYDIS_MNEMONIC_LOOPNE:
        case ZYDIS_MNEMONIC_JCXZ:
        case ZYDIS_MNEMONIC_JECXZ:
        case ZYDIS_MNEMONIC_JRCXZ:
            if (random.chance(2)) general(rcx) = (random.chance(2) ? random() << 32 : 0) | random.pick(3);
            break;
        default: break;
    }
}

void StateMaker::bias_after_placing(Random& random) {
    const ZydisDecodedInstruction& decoded = encoding_->decoded;
    const auto first_word = [&]() -> std::uint64_t* {
        return patches_.empty() ? nullptr : patches_.front().value.data();
    };
    if (repeats_) {
        std::uint64_t count = random.pick(24);
        // Where nothing stops a string it must not reach the code.
        if (random.chance(16)) count = random.pick(layout_.is_guarded ? 3000 : 200);
        general(rcx) = count;
        if (address_width_ == 32 && encoding_->is_64() && count != 0) general(rcx) |= random() << 32;
        if (address_width_ == 16 && count != 0) general(rcx) |= random() << 16;
        // Strings that overlap, and strings that are equal for a while.
        if (operands_.size() >= 2 && random.chance(3)) general(rdi) = general(rsi) + random.pick(33) - 16;
        if (random.chance(2)) patches_.assign(1, {static_cast<std::uint32_t>(page_boundary), 32, {}});
    }
    if (pops_flags_) {
        // These would stop the host's CPU, or trap behind the instruction.
        for (Patch& patch : patches_) patch.value[0] &= ~(rflags::tf | rflags::ac | rflags::nt);
        if (patches_.empty()) general(rsp) = layout_.memory - 8;
    }
    if (decoded.mnemonic == ZYDIS_MNEMONIC_ENTER)
        point(random, rbp, layout_.memory + static_cast<std::uint64_t>(pick_place(random, 64)), 64);
    if (decoded.mnemonic == ZYDIS_MNEMONIC_LEAVE)
        general(rbp) = layout_.memory + static_cast<std::uint64_t>(pick_place(random, 64));
    std::uint64_t* const value = first_word();
    if (value == nullptr) return;
    const auto addressed_by = [&](int number) {
        return std::ranges::any_of(
            operands_, [&](const MemoryOperand& operand) { return operand.base == number || operand.index == number; });
    };
    switch (decoded.mnemonic) {
        case ZYDIS_MNEMONIC_LDMXCSR:
        case ZYDIS_MNEMONIC_VLDMXCSR:
            if (!random.chance(8)) value[0] = edge_mxcsr(random);
            break;
        case ZYDIS_MNEMONIC_FXRSTOR:
        case ZYDIS_MNEMONIC_FXRSTOR64:
            if (!random.chance(8)) value[3] = edge_mxcsr(random) | random() << 32;
            break;
        case ZYDIS_MNEMONIC_CMPXCHG:
            if (random.chance(2) && !addressed_by(rax)) general(rax) = value[0];
            break;
        case ZYDIS_MNEMONIC_CMPXCHG8B:
            if (random.chance(2) && !addressed_by(rax) && !addressed_by(rdx)) {
                general(rax) = (general(rax) & ~std::uint64_t{0xffffffff}) | (value[0] & 0xffffffff);
                general(rdx) = value[0] >> 32;
            }
            break;
        case ZYDIS_MNEMONIC_CMPXCHG16B:
            if (random.chance(2) && !addressed_by(rax) && !addressed_by(rdx)) {
                general(rax) = value[0];
                general(rdx) = value[1];
            }
            break;
        default: break;
    }
}

// An indirect branch leads to one of the two places, or it faults while it reads where to.
void StateMaker::aim_branch(Random& random) {
    const std::uint64_t target = random.chance(2) ? layout_.forward : layout_.backward;
    const ZydisDecodedOperand& first = encoding_->operands[0];
    const bool returns = encoding_->decoded.meta.category == ZYDIS_CATEGORY_RET;
    if (!returns && first.type == ZYDIS_OPERAND_TYPE_REGISTER) {
        general(general_number(first.reg.value)) = target;
    } else if (returns || first.type == ZYDIS_OPERAND_TYPE_MEMORY) {
        // Visible operands come first: a patch that a CALL's push got must not overlap it.
        if (patches_.empty()) return;
        patches_.resize(1);
        patches_.front().value[0] = target;
    }
}

}  // namespace xenolith::cpu::fuzz
