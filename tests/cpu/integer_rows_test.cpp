// Every encoding of the integer families against the host's own CPU: registers, flags, memory and faults.
//
// The encodings are found by decoding byte strings of all opcodes with a choice of prefixes and ModRM bytes,
// and are grouped by what the row tells apart: mnemonic, operand form, widths. Each group is run with many
// states, drawn mostly from values where carries, signs and masks change.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "cpu/isa/row.hpp"
#include "tests/cpu/host_judge.hpp"

namespace xenolith::test {

namespace {

using namespace cpu;
using fuzz::Encoding;

constexpr unsigned states_per_group = states_to_try(2000);
constexpr std::size_t encodings_per_group = 40;

using Random = std::mt19937_64;

std::uint64_t pick(Random& random, std::uint64_t bound) { return random() % bound; }
bool chance(Random& random, unsigned one_in) { return pick(random, one_in) == 0; }

// Mostly values at which something changes in one of the widths.
std::uint64_t edge_value(Random& random) {
    const unsigned width = 8u << pick(random, 4);
    const std::uint64_t sign = std::uint64_t{1} << (width - 1);
    switch (pick(random, 8)) {
        case 0: return 0;
        case 1: return ~std::uint64_t{0};
        case 2: return sign - pick(random, 2);
        case 3: return sign + pick(random, 2);
        case 4: return std::uint64_t{1} << pick(random, 64);
        case 5: return pick(random, 70);
        case 6: return 0 - pick(random, 20);
        default: return random();
    }
}

// --- Encodings
// -----------------------------------------------------------------------------------------------------

// What the rows tell apart.
using Group = std::tuple<ZydisMnemonic, std::string, unsigned, ZydisInstructionAttributes>;

Group group_of(const Encoding& encoding) {
    std::string operands;
    for (unsigned n = 0; n < encoding.decoded.operand_count_visible; ++n) {
        const ZydisDecodedOperand& operand = encoding.operands[n];
        operands += "?rmpi"[operand.type];
        operands += std::to_string(operand.size);
    }
    constexpr ZydisInstructionAttributes kept =
        ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE | ZYDIS_ATTRIB_HAS_LOCK;
    return {encoding.decoded.mnemonic, operands,
            encoding.decoded.operand_width * 1000u + encoding.decoded.address_width,
            encoding.decoded.attributes & kept};
}

bool uses_register_of(const Encoding& encoding, ZydisRegisterClass kind) {
    return std::any_of(encoding.operands.begin(), encoding.operands.begin() + encoding.decoded.operand_count,
                       [&](const ZydisDecodedOperand& operand) {
                           return operand.type == ZYDIS_OPERAND_TYPE_REGISTER &&
                                  ZydisRegisterGetClass(operand.reg.value) == kind;
                       });
}

// What cannot be run in user mode, or not at an address of our choice.
bool can_be_compared(const Encoding& encoding) {
    const ZydisMnemonic mnemonic = encoding.decoded.mnemonic;
    if (uses_register_of(encoding, ZYDIS_REGCLASS_CONTROL) || uses_register_of(encoding, ZYDIS_REGCLASS_DEBUG))
        return false;
    // Pushing a selector is harmless, loading one is not.
    if (uses_register_of(encoding, ZYDIS_REGCLASS_SEGMENT) && mnemonic != ZYDIS_MNEMONIC_PUSH) return false;
    // MOVSD and CMPSD are also SSE instructions; those have a test of their own.
    if (uses_register_of(encoding, ZYDIS_REGCLASS_XMM)) return false;
    switch (mnemonic) {
        case ZYDIS_MNEMONIC_INSB:
        case ZYDIS_MNEMONIC_INSW:
        case ZYDIS_MNEMONIC_INSD:
        case ZYDIS_MNEMONIC_OUTSB:
        case ZYDIS_MNEMONIC_OUTSW:
        case ZYDIS_MNEMONIC_OUTSD: return false;
        default: break;
    }
    const bool is_lea = mnemonic == ZYDIS_MNEMONIC_LEA;
    // 16-bit addresses cannot reach the memory; the stack is addressed by SS.B whatever the address size.
    if (encoding.decoded.address_width == 16 && !is_lea) {
        const auto is_out_of_reach = [](const ZydisDecodedOperand& operand) {
            return operand.type == ZYDIS_OPERAND_TYPE_MEMORY &&
                   (operand.visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN || operand.mem.segment != ZYDIS_REGISTER_SS);
        };
        if (std::any_of(encoding.operands.begin(), encoding.operands.begin() + encoding.decoded.operand_count,
                        is_out_of_reach))
            return false;
    }
    if (const ZydisDecodedOperand* const memory = encoding.memory_operand()) {
        if (memory->mem.segment == ZYDIS_REGISTER_FS || memory->mem.segment == ZYDIS_REGISTER_GS) return false;
        if (memory->mem.base == ZYDIS_REGISTER_RIP || memory->mem.base == ZYDIS_REGISTER_EIP) return false;
        if (is_lea) return true;
        const bool absolute = memory->mem.base == ZYDIS_REGISTER_NONE && memory->mem.index == ZYDIS_REGISTER_NONE;
        if (absolute)
            return mnemonic == ZYDIS_MNEMONIC_MOV && encoding.decoded.opcode >= 0xa0 && encoding.decoded.opcode <= 0xa3;
        if (memory->mem.base == ZYDIS_REGISTER_NONE || memory->mem.base == memory->mem.index) return false;
        // A bit string's offset register must not also be its address.
        if (encoding.decoded.operand_count_visible > 1 && encoding.operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            (mnemonic == ZYDIS_MNEMONIC_BT || mnemonic == ZYDIS_MNEMONIC_BTS || mnemonic == ZYDIS_MNEMONIC_BTR ||
             mnemonic == ZYDIS_MNEMONIC_BTC)) {
            const auto id = ZydisRegisterGetId(encoding.operands[1].reg.value);
            return id != ZydisRegisterGetId(memory->mem.base) && id != ZydisRegisterGetId(memory->mem.index);
        }
    }
    return true;
}

class Encodings {
  public:
    Encodings(std::span<const Row> family, const fuzz::EncodingReader& reader, std::uint64_t memory_address)
        : reader_(reader), memory_address_(memory_address) {
        for (const Row& row : family) mnemonics_.insert(row.mnemonic);
        enumerate_legacy();
        enumerate_vex();
    }

    std::map<Group, std::vector<Encoding>> groups;
    std::set<ZydisMnemonic> missing() const {
        std::set<ZydisMnemonic> left = mnemonics_;
        for (const auto& [group, encodings] : groups) left.erase(std::get<0>(group));
        return left;
    }

  private:
    using Bytes = std::vector<std::uint8_t>;

    void enumerate_legacy() {
        const std::vector<Bytes> legacy = {{},     {0x66},       {0xf2},       {0xf3},      {0x67},
                                           {0xf0}, {0x66, 0xf2}, {0x66, 0xf3}, {0x67, 0xf3}};
        const std::vector<Bytes> rex = reader_.mode() == DecodeMode::long64
                                           ? std::vector<Bytes>{{}, {0x40}, {0x48}, {0x45}, {0x4d}, {0x42}}
                                           : std::vector<Bytes>{{}};
        for (const Bytes& prefixes : legacy) {
            for (const Bytes& extension : rex) {
                Bytes head = prefixes;
                head.insert(head.end(), extension.begin(), extension.end());
                for (unsigned opcode = 0; opcode < 0x100; ++opcode) {
                    try_with_operands(head, {static_cast<std::uint8_t>(opcode)});
                    try_with_operands(head, {0x0f, static_cast<std::uint8_t>(opcode)});
                    if (opcode >= 0xf0) try_with_operands(head, {0x0f, 0x38, static_cast<std::uint8_t>(opcode)});
                }
            }
        }
    }
    void enumerate_vex() {
        const std::uint8_t extended = reader_.mode() == DecodeMode::long64 ? 0x40 : 0xe0;
        for (unsigned map : {2u, 3u}) {
            for (const std::uint8_t opcode : std::initializer_list<std::uint8_t>{0xf0, 0xf2, 0xf3, 0xf5, 0xf6, 0xf7}) {
                for (unsigned rest = 0; rest < 0x100; ++rest) {
                    if ((rest & 4) != 0 || (rest >> 3 & 1) == 0) continue;  // vector length 0; half of the registers
                    for (const std::uint8_t inverted : {std::uint8_t{0xe0}, extended}) {
                        try_with_operands(
                            {0xc4, static_cast<std::uint8_t>(inverted | map), static_cast<std::uint8_t>(rest)},
                            {opcode});
                    }
                }
            }
        }
    }
    // Appends ModRM bytes, where there is one, and what may follow.
    void try_with_operands(const Bytes& head, const Bytes& opcode) {
        Bytes bytes = head;
        bytes.insert(bytes.end(), opcode.begin(), opcode.end());
        const std::size_t fixed = bytes.size();
        // Register, [RBX], [RBP + disp8], [RBX + RCX*4], [RSP + disp8], [RSI + RDI*2 + disp32]
        struct Address {
            std::uint8_t mode_and_rm;
            Bytes rest;
        };
        static const std::vector<Address> addresses = {
            {0xc0, {}},
            {0xc1, {}},
            {0xc2, {}},
            {0xc3, {}},
            {0xc4, {}},
            {0xc7, {}},
            {0x03, {}},
            {0x45, {0x10}},
            {0x04, {0x8b}},
            {0x44, {0x24, 0xf8}},
            {0x84, {0x7e, 0x00, 0x01, 0x00, 0x00}},
        };
        for (unsigned field = 0; field < 8; ++field) {
            for (const Address& address : addresses) {
                bytes.resize(fixed);
                bytes.push_back(static_cast<std::uint8_t>(address.mode_and_rm | field << 3));
                bytes.insert(bytes.end(), address.rest.begin(), address.rest.end());
                if (!try_bytes(bytes)) return;
            }
        }
    }
    // False where there is no ModRM byte to vary, or no such instruction whatever it is.
    bool try_bytes(const Bytes& start) {
        std::array<std::uint8_t, 15> bytes{};
        std::ranges::copy(start, bytes.begin());
        Encoding encoding;
        ZydisDecoderContext context;
        ZydisDecodedInstruction decoded;
        if (!ZYAN_SUCCESS(reader_.look(bytes, context, decoded))) return true;
        if (!mnemonics_.contains(decoded.mnemonic)) return (decoded.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
        // Immediates: edge values; addresses of MOV without ModRM: into the operand memory.
        for (const auto& immediate : decoded.raw.imm) {
            std::uint64_t value = edge_value(random_);
            if (decoded.mnemonic == ZYDIS_MNEMONIC_ENTER)
                value = immediate.size == 16 ? pick(random_, 64) : pick(random_, 40);
            std::memcpy(bytes.data() + immediate.offset, &value, immediate.size / 8);
            if (immediate.size == 0) break;
        }
        const bool absolute = (decoded.attributes & ZYDIS_ATTRIB_HAS_MODRM) == 0 && decoded.raw.disp.size != 0;
        if (absolute) {
            const std::uint64_t address = memory_address_ + 0x1000 + pick(random_, 0x1000);
            std::memcpy(bytes.data() + decoded.raw.disp.offset, &address, decoded.raw.disp.size / 8);
        }
        if (reader_.read(bytes, encoding) && encoding.has_row && can_be_compared(encoding)) keep(encoding);
        return (decoded.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
    }
    // A fair sample of all encodings of a group.
    void keep(const Encoding& encoding) {
        const Group group = group_of(encoding);
        std::vector<Encoding>& kept = groups[group];
        const std::size_t seen = ++seen_[group];
        if (kept.size() < encodings_per_group) {
            kept.push_back(encoding);
        } else if (const std::size_t place = pick(random_, seen); place < encodings_per_group) {
            kept[place] = encoding;
        }
    }

    const fuzz::EncodingReader& reader_;
    std::uint64_t memory_address_;
    std::set<ZydisMnemonic> mnemonics_;
    std::map<Group, std::size_t> seen_;
    Random random_{20};
};

// --- States
// --------------------------------------------------------------------------------------------------------

struct Start {
    fuzz::State state;
    std::vector<fuzz::Patch> memory;  // two words each
};

// Of an address register.
unsigned slot(ZydisRegister name) { return static_cast<unsigned>(ZydisRegisterGetId(name)); }

class StartMaker {
  public:
    StartMaker(DecodeMode mode, std::uint64_t memory_address) : mode_(mode), memory_address_(memory_address) {}

    Start make(const Encoding& encoding) {
        Start start;
        for (std::uint64_t& value : start.state.registers.general) value = edge_value(random_);
        start.state.registers.rflags = 0x202 | (random_() & rflags::arithmetic) | (chance(random_, 4) ? rflags::df : 0);
        start_ = &start;
        general_ = &start.state.registers.general;
        bias_operands(encoding);
        place_hidden_memory(encoding);
        place_memory_operand(encoding);
        if (pops_flags(encoding)) {
            for (fuzz::Patch& patch : start.memory) patch.value[0] &= ~(rflags::tf | rflags::ac | rflags::nt);
            if (start.memory.empty()) general(rsp) = memory_address_ - 8;
        }
        return start;
    }

  private:
    std::uint64_t& general(unsigned number) { return (*general_)[number]; }

    static bool pops_flags(const Encoding& encoding) {
        const ZydisMnemonic mnemonic = encoding.decoded.mnemonic;
        return mnemonic == ZYDIS_MNEMONIC_POPF || mnemonic == ZYDIS_MNEMONIC_POPFD || mnemonic == ZYDIS_MNEMONIC_POPFQ;
    }
    // Small counts, quotients that fit, comparisons that succeed: random values would hardly ever give them.
    void bias_operands(const Encoding& encoding) {
        if (chance(random_, 2)) general(rcx) = (general(rcx) & ~std::uint64_t{0xff}) | pick(random_, 70);
        switch (encoding.decoded.mnemonic) {
            case ZYDIS_MNEMONIC_DIV:
            case ZYDIS_MNEMONIC_IDIV: {
                const bool negative = (general(rax) >> (encoding.decoded.operand_width - 1) & 1) != 0;
                if (!chance(random_, 4))
                    general(rdx) = chance(random_, 2) && negative ? ~std::uint64_t{0} : pick(random_, 2);
                if (encoding.decoded.operand_width == 8 && !chance(random_, 4)) general(rax) &= ~std::uint64_t{0xf000};
                break;
            }
            case ZYDIS_MNEMONIC_CMPXCHG:
                if (encoding.operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER && chance(random_, 2))
                    general(encoding.instruction.registers[0] / 8u) = general(rax);
                break;
            case ZYDIS_MNEMONIC_BEXTR:
                if (chance(random_, 2)) {
                    const std::uint64_t control = pick(random_, 70) | pick(random_, 70) << 8;
                    general(encoding.instruction.registers[2] / 8u) = control;
                }
                break;
            default: break;
        }
    }
    // An offset in the memory for an operand of up to `size` bytes; rarely one that reaches out of it.
    std::int64_t place(std::int64_t size) {
        constexpr auto end = static_cast<std::int64_t>(NativeOracle::memory_size);
        if (chance(random_, 24))
            return chance(random_, 2) ? -static_cast<std::int64_t>(pick(random_, 16))
                                      : end - static_cast<std::int64_t>(pick(random_, 16));
        if (chance(random_, 8))
            return 0x2000 - static_cast<std::int64_t>(pick(random_, static_cast<std::uint64_t>(size) + 1));
        return 0x1800 + static_cast<std::int64_t>(pick(random_, 0x1000));
    }
    void put_value(std::int64_t offset) {
        if (offset < 0 || offset + 16 > static_cast<std::int64_t>(NativeOracle::memory_size)) return;
        start_->memory.push_back({static_cast<std::uint32_t>(offset), 16, {edge_value(random_), edge_value(random_)}});
    }
    // Points a register into the memory. With shorter addresses what is above them must not count.
    void point(unsigned number, std::int64_t offset, unsigned address_width) {
        std::uint64_t address = memory_address_ + static_cast<std::uint64_t>(offset);
        if (address_width == 32 && mode_ == DecodeMode::long64) address |= random_() << 32;
        general(number) = address;
    }
    void place_hidden_memory(const Encoding& encoding) {
        const ZydisDecodedInstruction& decoded = encoding.decoded;
        for (unsigned n = decoded.operand_count_visible; n < decoded.operand_count; ++n) {
            const ZydisDecodedOperand& operand = encoding.operands[n];
            if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
            const bool is_stack = operand.mem.segment == ZYDIS_REGISTER_SS;
            const std::int64_t offset = place(is_stack ? 64 : 8);
            point(slot(operand.mem.base), offset, is_stack ? 64 : decoded.address_width);
            put_value(offset);
        }
        if (decoded.mnemonic == ZYDIS_MNEMONIC_ENTER) {
            const std::int64_t offset = place(64);
            point(rbp, offset, 64);
            put_value(offset);
        }
        const bool repeats =
            encoding.has_attribute(ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE);
        if (!repeats) return;
        std::uint64_t count = pick(random_, 24);
        if (chance(random_, 8)) count = pick(random_, 3000);
        general(rcx) = count;
        if (decoded.address_width == 32 && mode_ == DecodeMode::long64 && count != 0) general(rcx) |= random_() << 32;
        // Strings that overlap, and strings that are equal for a while.
        const bool has_two = encoding.operands[1].type == ZYDIS_OPERAND_TYPE_MEMORY &&
                             encoding.operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY;
        if (has_two && chance(random_, 3)) general(rdi) = general(rsi) + pick(random_, 33) - 16;
        if (chance(random_, 2)) std::ranges::fill(start_->memory, fuzz::Patch{0x2000, 16, {}});
    }
    void place_memory_operand(const Encoding& encoding) {
        const ZydisDecodedOperand* const memory = encoding.memory_operand();
        if (memory == nullptr || memory->mem.type == ZYDIS_MEMOP_TYPE_AGEN) return;
        std::int64_t offset = place(memory->size / 8);
        const ZydisDecodedInstruction& decoded = encoding.decoded;
        if (memory->mem.base == ZYDIS_REGISTER_NONE) return;
        std::uint64_t added = static_cast<std::uint64_t>(memory->mem.disp.value);
        if (memory->mem.index != ZYDIS_REGISTER_NONE) {
            general(slot(memory->mem.index)) = pick(random_, 256);
            added += general(slot(memory->mem.index)) * memory->mem.scale;
        }
        if (decoded.mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B && !chance(random_, 8)) offset &= ~std::int64_t{15};
        // One that crosses a cache line can stop the host for seconds.
        if (encoding.locks_memory()) offset &= ~std::int64_t{15};
        // POP adds its operand's size to RSP before it is a base.
        if (decoded.mnemonic == ZYDIS_MNEMONIC_POP && slot(memory->mem.base) == rsp) added += memory->size / 8;
        point(slot(memory->mem.base), offset - static_cast<std::int64_t>(added), decoded.address_width);
        put_value(offset);
        const bool is_bit_string = decoded.mnemonic == ZYDIS_MNEMONIC_BT || decoded.mnemonic == ZYDIS_MNEMONIC_BTS ||
                                   decoded.mnemonic == ZYDIS_MNEMONIC_BTR || decoded.mnemonic == ZYDIS_MNEMONIC_BTC;
        if (is_bit_string && encoding.operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER) {
            const std::uint64_t bit = pick(random_, 0x8000) - 0x4000;
            general(encoding.instruction.registers[1] / 8u) =
                memory->size == 32 ? (random_() << 32) | (bit & 0xffffffff) : bit;
        }
        if (!start_->memory.empty() && chance(random_, 2)) {
            const auto& value = start_->memory.back().value;
            if (decoded.mnemonic == ZYDIS_MNEMONIC_CMPXCHG && slot(memory->mem.base) != rax &&
                slot(memory->mem.index) != rax)
                general(rax) = value[0];
            if (decoded.mnemonic == ZYDIS_MNEMONIC_CMPXCHG8B && uses_neither(*memory, rax, rdx)) {
                general(rax) = (general(rax) & ~std::uint64_t{0xffffffff}) | (value[0] & 0xffffffff);
                general(rdx) = value[0] >> 32;
            }
            if (decoded.mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B && uses_neither(*memory, rax, rdx)) {
                general(rax) = value[0];
                general(rdx) = value[1];
            }
        }
    }
    static bool uses_neither(const ZydisDecodedOperand& memory, unsigned one, unsigned other) {
        for (const ZydisRegister name : {memory.mem.base, memory.mem.index})
            if (name != ZYDIS_REGISTER_NONE && (slot(name) == one || slot(name) == other)) return false;
        return true;
    }

    DecodeMode mode_;
    std::uint64_t memory_address_;
    Random random_{10};
    Start* start_ = nullptr;
    std::array<std::uint64_t, 16>* general_ = nullptr;
};

struct Family {
    std::string name;
    std::span<const Row> (*rows)();
    DecodeMode mode;
    std::vector<ZydisMnemonic> not_comparable;  // do not exist in this mode, or need privilege
};

void PrintTo(const Family& family, std::ostream* out) { *out << family.name; }

class IntegerRows : public testing::TestWithParam<Family> {};

TEST_P(IntegerRows, AgreeWithTheHost) {
    const Family& family = GetParam();
    const auto judge = HostJudge::create(family.mode);
    if (judge == nullptr) GTEST_SKIP() << "the host cannot run such code, or has no AVX";
    Encodings encodings(family.rows(), judge->reader(), judge->memory_address());
    StartMaker maker(family.mode, judge->memory_address());
    std::uint64_t runs = 0;
    unsigned complaints = 0;
    for (const auto& [group, members] : encodings.groups) {
        const std::size_t repeats = std::max<std::size_t>(1, states_per_group / members.size());
        for (const Encoding& encoding : members) {
            judge->prepare(encoding);
            for (std::size_t n = 0; n < repeats; ++n) {
                const Start start = maker.make(encoding);
                ++runs;
                const std::string difference = judge->run(start.state, start.memory);
                if (difference.empty()) continue;
                ADD_FAILURE() << encoding.text() << '\n' << difference;
                if (++complaints > 30) FAIL() << "and so on";
                break;
            }
        }
    }
    RecordProperty("runs", static_cast<int>(runs));
    RecordProperty("groups", static_cast<int>(encodings.groups.size()));
    EXPECT_GT(runs, encodings.groups.size() * states_per_group / 2);
    EXPECT_THAT(encodings.missing(), testing::UnorderedElementsAreArray(family.not_comparable));
}

constexpr DecodeMode in_64 = DecodeMode::long64, in_32 = DecodeMode::compatibility32;

INSTANTIATE_TEST_SUITE_P(
    , IntegerRows,
    testing::Values(Family{"Data64", data_rows, in_64, {ZYDIS_MNEMONIC_SALC}},
                    Family{
                        "Data32", data_rows, in_32, {ZYDIS_MNEMONIC_CDQE, ZYDIS_MNEMONIC_CQO, ZYDIS_MNEMONIC_MOVSXD}},
                    Family{"Arithmetic64", arithmetic_rows, in_64, {}},
                    Family{"Arithmetic32", arithmetic_rows, in_32, {ZYDIS_MNEMONIC_CMPXCHG16B}},
                    Family{"Multiply64",
                           multiply_rows,
                           in_64,
                           {ZYDIS_MNEMONIC_AAA, ZYDIS_MNEMONIC_AAD, ZYDIS_MNEMONIC_AAM, ZYDIS_MNEMONIC_AAS,
                            ZYDIS_MNEMONIC_DAA, ZYDIS_MNEMONIC_DAS}},
                    Family{"Multiply32", multiply_rows, in_32, {}}, Family{"Shift64", shift_rows, in_64, {}},
                    Family{"Shift32", shift_rows, in_32, {}}, Family{"Bit64", bit_rows, in_64, {}},
                    Family{"Bit32", bit_rows, in_32, {}},
                    Family{"String64",
                           string_rows,
                           in_64,
                           {ZYDIS_MNEMONIC_INSB, ZYDIS_MNEMONIC_INSW, ZYDIS_MNEMONIC_INSD, ZYDIS_MNEMONIC_OUTSB,
                            ZYDIS_MNEMONIC_OUTSW, ZYDIS_MNEMONIC_OUTSD}},
                    Family{"String32",
                           string_rows,
                           in_32,
                           {ZYDIS_MNEMONIC_INSB, ZYDIS_MNEMONIC_INSW, ZYDIS_MNEMONIC_INSD, ZYDIS_MNEMONIC_OUTSB,
                            ZYDIS_MNEMONIC_OUTSW, ZYDIS_MNEMONIC_OUTSD, ZYDIS_MNEMONIC_MOVSQ, ZYDIS_MNEMONIC_STOSQ,
                            ZYDIS_MNEMONIC_LODSQ, ZYDIS_MNEMONIC_CMPSQ, ZYDIS_MNEMONIC_SCASQ}},
                    Family{"Stack64",
                           stack_rows,
                           in_64,
                           {ZYDIS_MNEMONIC_PUSHA, ZYDIS_MNEMONIC_PUSHAD, ZYDIS_MNEMONIC_POPA, ZYDIS_MNEMONIC_POPAD,
                            ZYDIS_MNEMONIC_PUSHFD, ZYDIS_MNEMONIC_POPFD}},
                    Family{"Stack32", stack_rows, in_32, {ZYDIS_MNEMONIC_PUSHFQ, ZYDIS_MNEMONIC_POPFQ}}),
    [](const auto& information) { return information.param.name; });

}  // namespace

}  // namespace xenolith::test
