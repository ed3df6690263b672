// Every encoding of the vector families against the host's own CPU: XMM and YMM registers, MXCSR, general
// registers, flags, memory and faults, with exceptions masked and unmasked, in all rounding modes.
//
// The encodings are found by decoding byte strings of all opcodes with a choice of prefixes and ModRM bytes,
// and are grouped by what the rows tell apart: mnemonic, prefix, kinds and sizes of operands. Each group is
// run with many states, drawn from values where formats, rounding and exceptions change.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
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

constexpr unsigned states_per_group = states_to_try(1500);
constexpr std::size_t encodings_per_group = 12;

using Random = std::mt19937_64;
using Bytes = std::vector<std::uint8_t>;

std::uint64_t pick(Random& random, std::uint64_t bound) { return random() % bound; }
bool chance(Random& random, unsigned one_in) { return pick(random, one_in) == 0; }

// --- Values
// ---------------------------------------------------------------------------------------------------------

// Sign, exponent and fraction, of which each is often an edge.
std::uint64_t edge_real(Random& random, unsigned bits, unsigned fraction_bits) {
    const std::uint64_t all = (std::uint64_t{1} << (bits - 1 - fraction_bits)) - 1, bias = all >> 1;
    const std::uint64_t fraction_mask = (std::uint64_t{1} << fraction_bits) - 1;
    const std::uint64_t exponents[] = {0,
                                       0,
                                       1,
                                       1 + pick(random, fraction_bits + 2),
                                       all,
                                       all - 1 - pick(random, 3),
                                       bias,
                                       bias + pick(random, 5) - 2,
                                       (bias + pick(random, 66)) & all,
                                       (bias / 2 + pick(random, 40)) & all,
                                       (bias + bias / 2 + pick(random, 40) - 20) & all,
                                       random() & all};
    const std::uint64_t fractions[] = {0,
                                       0,
                                       1,
                                       fraction_mask,
                                       std::uint64_t{1} << pick(random, fraction_bits),
                                       std::uint64_t{1} << (fraction_bits - 1) | pick(random, 3),
                                       random() & fraction_mask,
                                       random() & fraction_mask & ~std::uint64_t{0} << pick(random, fraction_bits)};
    return pick(random, 2) << (bits - 1) | exponents[pick(random, 12)] << fraction_bits | fractions[pick(random, 8)];
}

std::uint64_t edge_integer(Random& random, unsigned bits) {
    const std::uint64_t mask = bits == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
    const std::uint64_t edges[] = {0,
                                   1,
                                   mask,
                                   mask >> 1,
                                   (mask >> 1) + 1,
                                   pick(random, bits + 2),
                                   std::uint64_t{1} << pick(random, bits),
                                   random() & mask};
    return edges[pick(random, 8)];
}

// What the elements of a state are meant to be.
enum class Style : unsigned { singles, doubles, halves, bytes, words, doublewords, quadwords, text, noise, count };

std::uint64_t edge_word(Random& random, Style style) {
    const auto repeated = [&](unsigned bits, auto make) {
        std::uint64_t value = 0;
        for (unsigned at = 0; at < 64; at += bits) value |= make() << at;
        return value;
    };
    switch (style) {
        case Style::singles: return repeated(32, [&] { return edge_real(random, 32, 23); });
        case Style::doubles: return edge_real(random, 64, 52);
        case Style::halves: return repeated(16, [&] { return edge_real(random, 16, 10); });
        case Style::bytes: return repeated(8, [&] { return edge_integer(random, 8); });
        case Style::words: return repeated(16, [&] { return edge_integer(random, 16); });
        case Style::doublewords: return repeated(32, [&] { return edge_integer(random, 32); });
        case Style::quadwords: return edge_integer(random, 64);
        case Style::text:
            return repeated(8, [&] { return pick(random, 4) == 0 ? pick(random, 2) : 'a' + pick(random, 3); });
        default: return random();
    }
}

// --- Encodings
// -----------------------------------------------------------------------------------------------------

// What the rows tell apart.
using Group = std::tuple<ZydisMnemonic, std::string>;

Group group_of(const Encoding& encoding) {
    std::string operands = encoding.decoded.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ? "v" : "l";
    for (unsigned n = 0; n < encoding.decoded.operand_count_visible; ++n) {
        const ZydisDecodedOperand& operand = encoding.operands[n];
        operands += "?rmpi"[operand.type];
        if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER)
            operands += std::to_string(static_cast<unsigned>(ZydisRegisterGetClass(operand.reg.value))) + ":";
        operands += std::to_string(operand.size);
    }
    return {encoding.decoded.mnemonic, operands};
}

class Encodings {
  public:
    Encodings(std::span<const Row> family, const fuzz::EncodingReader& reader) : reader_(reader) {
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
    void enumerate_legacy() {
        const std::vector<Bytes> mandatory = {{}, {0x66}, {0xf2}, {0xf3}};
        const std::vector<Bytes> rex = reader_.mode() == DecodeMode::long64
                                           ? std::vector<Bytes>{{}, {0x48}, {0x45}, {0x4c}}
                                           : std::vector<Bytes>{{}};
        const std::vector<Bytes> maps = {{0x0f}, {0x0f, 0x38}, {0x0f, 0x3a}};
        for (const Bytes& prefix : mandatory)
            for (const Bytes& extension : rex)
                for (const Bytes& map : maps)
                    for (unsigned opcode = 0; opcode < 0x100; ++opcode) {
                        Bytes head = prefix;
                        head.insert(head.end(), extension.begin(), extension.end());
                        head.insert(head.end(), map.begin(), map.end());
                        head.push_back(static_cast<std::uint8_t>(opcode));
                        try_with_operands(head);
                    }
    }
    void enumerate_vex() {
        // R, X and B are stored inverted.
        const std::vector<unsigned> extensions = reader_.mode() == DecodeMode::long64
                                                     ? std::vector<unsigned>{0xe0, 0x40, 0xc0}
                                                     : std::vector<unsigned>{0xe0};
        for (const unsigned extension : extensions)
            for (unsigned map = 1; map <= 3; ++map)
                for (unsigned opcode = 0; opcode < 0x100; ++opcode)
                    for (unsigned wide = 0; wide < 2; ++wide)
                        for (unsigned length_and_prefix = 0; length_and_prefix < 8; ++length_and_prefix)
                            for (const unsigned second : {0xfu, 0xdu, 0x9u}) {  // inverted: 0, 2, 6
                                try_with_operands(
                                    {0xc4, static_cast<std::uint8_t>(extension | map),
                                     static_cast<std::uint8_t>(wide << 7 | second << 3 | length_and_prefix),
                                     static_cast<std::uint8_t>(opcode)});
                            }
    }
    void try_with_operands(const Bytes& head) {
        struct Address {
            std::uint8_t mode_and_rm;
            Bytes rest;
        };
        // Registers, [RBX], [RBP + disp8], [RBX + index*4] with index 1 and 5
        static const std::vector<Address> addresses = {{0xc1, {}},     {0xc6, {}},     {0xc0, {}},    {0x03, {}},
                                                       {0x45, {0x10}}, {0x04, {0x8b}}, {0x04, {0xab}}};
        for (unsigned field = 0; field < 8; ++field) {
            for (const Address& address : addresses) {
                Bytes bytes = head;
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
        // What follows is an immediate, or nothing. Bits that choose a register must choose one there is.
        bytes[start.size()] = static_cast<std::uint8_t>(random_());
        Encoding encoding;
        ZydisDecoderContext context;
        if (!ZYAN_SUCCESS(reader_.look(bytes, context, encoding.decoded))) return true;
        if (!mnemonics_.contains(encoding.decoded.mnemonic) || !reader_.read(bytes, encoding)) return true;
        const bool modelled = encoding.decoded.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY ||
                              encoding.decoded.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
        if (modelled && can_be_compared(encoding)) keep(encoding);
        return (encoding.decoded.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
    }
    static bool can_be_compared(const Encoding& encoding) {
        const ZydisDecodedInstruction& decoded = encoding.decoded;
        for (unsigned n = 0; n < decoded.operand_count_visible; ++n) {
            const ZydisDecodedOperand& operand = encoding.operands[n];
            if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
            // Another family's rows.
            if (ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_MMX) return false;
            // VAES and VPCLMULQDQ, which no model has.
            const bool no_wide_form =
                decoded.meta.isa_ext == ZYDIS_ISA_EXT_VAES || decoded.meta.isa_ext == ZYDIS_ISA_EXT_VPCLMULQDQ;
            if (no_wide_form && ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_YMM) return false;
        }
        const ZydisDecodedOperand* const memory = encoding.memory_operand();
        if (memory == nullptr) return true;
        // An index that is the destination is fine, a base that the instruction uses otherwise is not.
        return memory->mem.base != ZYDIS_REGISTER_NONE && memory->mem.base != memory->mem.index;
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
    std::set<ZydisMnemonic> mnemonics_;
    std::map<Group, std::size_t> seen_;
    Random random_{20};
};

// --- States
// --------------------------------------------------------------------------------------------------------

struct Start {
    fuzz::State state;
    std::uint64_t address = 0;  // of the memory operand
    std::array<std::uint64_t, 4> operand{};
};

std::uint32_t random_mxcsr(Random& random) {
    const unsigned masks = chance(random, 2) ? 0x3f : static_cast<unsigned>(random() & 0x3f);
    std::uint32_t mxcsr = masks << 7 | static_cast<std::uint32_t>(pick(random, 4)) << 13;
    if (chance(random, 4)) mxcsr |= 0x40;    // denormals are zeros
    if (chance(random, 4)) mxcsr |= 0x8000;  // flush to zero
    if (chance(random, 4)) mxcsr |= static_cast<std::uint32_t>(random() & 0x3f);
    return mxcsr;
}

unsigned slot(ZydisRegister name) { return static_cast<unsigned>(ZydisRegisterGetId(name)); }

bool is_vector(ZydisRegister name) {
    const ZydisRegisterClass kind = ZydisRegisterGetClass(name);
    return kind == ZYDIS_REGCLASS_XMM || kind == ZYDIS_REGCLASS_YMM;
}

bool is_byte_mask(ZydisMnemonic mnemonic) {
    return mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU || mnemonic == ZYDIS_MNEMONIC_VMASKMOVDQU;
}

class StartMaker {
  public:
    explicit StartMaker(std::uint64_t memory_address) : memory_address_(memory_address) {
        // Drawn from again and again, since a state has many words.
        for (unsigned style = 0; style < styles; ++style)
            for (std::uint64_t& word : words_[style]) word = edge_word(random_, static_cast<Style>(style));
    }

    Start make(const Encoding& encoding) {
        Start start;
        const auto style = static_cast<Style>(pick(random_, styles));
        const auto& words = words_[static_cast<unsigned>(style)];
        start.state.registers.rflags = 0x202 | (random_() & rflags::arithmetic);
        for (std::uint64_t& value : start.state.registers.general)
            value = edge_integer(random_, chance(random_, 2) ? 64 : 32);
        if (style == Style::text || chance(random_, 3))
            for (const unsigned length : {rax, rdx}) start.state.registers.general[length] = pick(random_, 40) - 20;
        FloatingPointState& state = start.state.floating_point;
        state.control = 0x037f;
        state.tag = 0xffff;
        state.mxcsr = random_mxcsr(random_);
        for (auto& vector : state.vector)
            for (std::uint64_t& word : vector) word = words[random_() % words.size()];
        for (std::uint64_t& word : start.operand) word = words[random_() % words.size()];
        // Equal operands, or nearly so.
        if (chance(random_, 3)) {
            const auto& one = state.vector[pick(random_, 16)];
            for (auto& vector : state.vector)
                if (chance(random_, 2)) vector = one;
            if (chance(random_, 2)) start.operand = one;
        }
        if (chance(random_, 4)) {
            auto& one = state.vector[pick(random_, 8)];
            one = {pick(random_, 70), 0, 0, 0};  // a shift count
        }
        place_operand(encoding, start);
        return start;
    }

  private:
    // Mostly aligned and within the memory, sometimes not, or across its end or a page's.
    std::uint64_t place(unsigned size) {
        const std::uint64_t base = memory_address_;
        if (chance(random_, 40)) return base + NativeOracle::memory_size - pick(random_, 32);
        if (chance(random_, 40)) return base - pick(random_, 32);
        if (chance(random_, 16)) return base + 0x2000 - pick(random_, 32);
        const std::uint64_t any = base + 0x1000 + pick(random_, 0x1000);
        return chance(random_, 4) ? any : any & ~std::uint64_t{size > 16 ? 31u : 15u};
    }
    void place_operand(const Encoding& encoding, Start& start) {
        auto& general = start.state.registers.general;
        const bool gathers = [&] {
            const ZydisDecodedOperand* const memory = encoding.memory_operand();
            return memory != nullptr && is_vector(memory->mem.index);
        }();
        std::uint64_t at = place(32);
        if (gathers) {
            // Indices that stay in the memory from its middle, but for a few.
            at = memory_address_ + 0x2000 + pick(random_, 64);
            const ZydisDecodedOperand& memory = *encoding.memory_operand();
            auto& indices = start.state.floating_point.vector[slot(memory.mem.index)];
            const bool quadwords =
                std::string_view(ZydisMnemonicGetString(encoding.decoded.mnemonic)).find("gatherq") !=
                std::string_view::npos;
            // Now and then one in the inaccessible page before the memory.
            constexpr std::uint64_t reach = 0x400;
            const auto index = [&]() -> std::uint64_t {
                if (chance(random_, 40)) return 0 - (0x2100 + pick(random_, 0x600)) / memory.mem.scale;
                return pick(random_, 2 * reach) - reach;
            };
            for (std::uint64_t& word : indices) word = quadwords ? index() : (index() & 0xffffffff) | index() << 32;
        }
        if (is_byte_mask(encoding.decoded.mnemonic)) {
            general[rdi] = at;
        }
        if (const ZydisDecodedOperand* const memory = encoding.memory_operand()) {
            std::uint64_t added = static_cast<std::uint64_t>(memory->mem.disp.value);
            if (memory->mem.index != ZYDIS_REGISTER_NONE && !gathers) {
                general[slot(memory->mem.index)] = pick(random_, 256);
                added += general[slot(memory->mem.index)] * memory->mem.scale;
            }
            general[slot(memory->mem.base)] = at - added;
        }
        start.address = at;
    }

    static constexpr unsigned styles = static_cast<unsigned>(Style::count);

    std::uint64_t memory_address_;
    Random random_{10};
    std::array<std::array<std::uint64_t, 4096>, styles> words_;
};

struct Family {
    const char* name;
    std::span<const Row> (*rows)();
    DecodeMode mode;
    std::vector<ZydisMnemonic> not_in_this_mode;
};

void PrintTo(const Family& family, std::ostream* out) { *out << family.name; }

class VectorRows : public testing::TestWithParam<Family> {};

TEST_P(VectorRows, AgreeWithTheHost) {
    const Family& family = GetParam();
    const auto judge = HostJudge::create(family.mode);
    if (judge == nullptr) GTEST_SKIP() << "the host cannot run such code";
    Encodings encodings(family.rows(), judge->reader());
    StartMaker maker(judge->memory_address());
    std::uint64_t runs = 0;
    unsigned complaints = 0;
    std::set<Group> complained;
    for (const auto& [group, members] : encodings.groups) {
        const std::size_t repeats = states_per_group / members.size();
        for (const Encoding& encoding : members) {
            if (complained.contains(group)) break;
            judge->prepare(encoding);
            for (std::size_t n = 0; n < repeats; ++n) {
                ++runs;
                const Start start = maker.make(encoding);
                std::vector<fuzz::Patch> patches;
                const std::uint64_t offset = start.address - judge->memory_address();
                if (offset <= NativeOracle::memory_size - sizeof(start.operand)) {
                    patches.push_back({static_cast<std::uint32_t>(offset), sizeof(start.operand), {}});
                    std::ranges::copy(start.operand, patches.front().value.begin());
                }
                const std::string difference = judge->run(start.state, patches);
                if (difference.empty()) continue;
                complained.insert(group);
                ADD_FAILURE() << encoding.text() << " at state " << n << '\n' << difference;
                if (++complaints > 30) FAIL() << "and so on";
                break;
            }
        }
    }
    RecordProperty("runs", static_cast<int>(runs));
    RecordProperty("groups", static_cast<int>(encodings.groups.size()));
    EXPECT_GT(runs, encodings.groups.size() * states_per_group / 2);
    EXPECT_THAT(encodings.missing(), testing::UnorderedElementsAreArray(family.not_in_this_mode));
}

constexpr DecodeMode in_64 = DecodeMode::long64, in_32 = DecodeMode::compatibility32;

INSTANTIATE_TEST_SUITE_P(
    , VectorRows,
    testing::Values(
        Family{"Moves64", vector_move_rows, in_64, {}}, Family{"Moves32", vector_move_rows, in_32, {}},
        Family{"Integers64", vector_integer_rows, in_64, {}}, Family{"Integers32", vector_integer_rows, in_32, {}},
        Family{"Shuffles64", vector_shuffle_rows, in_64, {}},
        Family{"Shuffles32",
               vector_shuffle_rows,
               in_32,
               {ZYDIS_MNEMONIC_PINSRQ, ZYDIS_MNEMONIC_PEXTRQ, ZYDIS_MNEMONIC_VPINSRQ, ZYDIS_MNEMONIC_VPEXTRQ}},
        Family{"Floats64", vector_float_rows, in_64, {}}, Family{"Fused64", vector_fused_rows, in_64, {}},
        Family{"Comparisons64", vector_compare_rows, in_64, {}},
        Family{"Conversions64", vector_convert_rows, in_64, {}},
        Family{"Conversions32", vector_convert_rows, in_32, {}}, Family{"Crypto64", vector_crypto_rows, in_64, {}},
        Family{"Strings64", vector_string_rows, in_64, {}}, Family{"Strings32", vector_string_rows, in_32, {}},
        Family{"Masked64", vector_masked_rows, in_64, {}}, Family{"Masked32", vector_masked_rows, in_32, {}}),
    [](const auto& information) { return information.param.name; });

}  // namespace

}  // namespace xenolith::test
