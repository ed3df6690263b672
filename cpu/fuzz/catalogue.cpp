#include "cpu/fuzz/catalogue.hpp"

#include <algorithm>
#include <cctype>
#include <initializer_list>

#include "cpu/fuzz/random.hpp"
#include "cpu/isa/row.hpp"

namespace xenolith::cpu::fuzz {

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr unsigned modrm_reg_shift = 3, modrm_register = 0xc0;

Bytes joined(const Bytes& head, std::initializer_list<unsigned> more) {
    Bytes all = head;
    for (const unsigned byte : more) all.push_back(static_cast<std::uint8_t>(byte));
    return all;
}

class Stream {
  public:
    Stream(const EncodingReader& reader, std::uint64_t seed, const Visit& visit)
        : reader_(reader), is_64_(reader.mode() == DecodeMode::long64), random_(seed), visit_(visit) {}

    void run() {
        legacy_maps();
        vex_maps();
    }

  private:
    // SDM vol. 2A, 2.1.1 and 2.2.1: prefixes that choose widths and rows, then REX.
    void legacy_maps() {
        const std::vector<Bytes> telling = {{}, {0x66}, {0xf2}, {0xf3}};
        const std::vector<Bytes> others = {
            {0x67},       {0xf0},       {0x66, 0xf2}, {0x66, 0xf3},       {0x67, 0xf3},       {0x67, 0xf2},
            {0x67, 0x66}, {0xf0, 0x66}, {0xf0, 0x67}, {0x66, 0x67, 0xf3}, {0x66, 0x67, 0xf2}, {0xf2, 0xf3},
            {0xf3, 0xf0}};
        const std::vector<Bytes> all_rex = {{}, {0x40}, {0x48}, {0x45}, {0x4d}, {0x42}, {0x47}, {0x41}};
        const std::vector<Bytes> few_rex = {{}, {0x48}, {0x45}};
        const std::vector<Bytes> no_rex = {{}};
        for (const auto& [prefix_sets, rex_sets] :
             {std::pair{&telling, is_64_ ? &all_rex : &no_rex}, std::pair{&others, is_64_ ? &few_rex : &no_rex}}) {
            for (const Bytes& prefixes : *prefix_sets) {
                for (const Bytes& rex : *rex_sets) {
                    Bytes head = prefixes;
                    // Segment overrides are part of no form; now and then there is one.
                    if (random_.chance(8)) {
                        constexpr std::uint8_t overrides[] = {0x26, 0x2e, 0x36, 0x3e, 0x65};
                        head.insert(head.begin(), overrides[random_.pick(5)]);
                    }
                    head.insert(head.end(), rex.begin(), rex.end());
                    legacy_opcodes(head);
                }
            }
        }
    }
    void legacy_opcodes(const Bytes& head) {
        for (unsigned opcode = 0; opcode < 0x100; ++opcode) {
            with_operands(joined(head, {opcode}), opcode >= 0xd8 && opcode <= 0xdf);
            with_operands(joined(head, {0x0f, opcode}), false);
            for (const unsigned map : {0x38u, 0x3au}) {
                const Bytes bytes = joined(head, {0x0f, map, opcode});
                if (is_anything(bytes)) with_operands(bytes, false);
            }
        }
    }
    // SDM vol. 2A, 2.3.5: the three-byte form reaches all that the two-byte form does; that one comes in now
    // and then.
    void vex_maps() {
        for (unsigned map = 1; map <= 3; ++map) {
            for (unsigned opcode = 0; opcode < 0x100; ++opcode) {
                for (unsigned rest = 0; rest < 16; ++rest) vex_opcode(map, opcode, rest);
            }
        }
    }
    void vex_opcode(unsigned map, unsigned opcode, unsigned rest) {
        const unsigned low = rest & 7, w = rest >> 3;  // L and pp; W
        const auto head = [&](unsigned inverted_rxb, unsigned vvvv) {
            return Bytes{0xc4, static_cast<std::uint8_t>(inverted_rxb << 5 | map),
                         static_cast<std::uint8_t>(w << 7 | vvvv << 3 | low), static_cast<std::uint8_t>(opcode)};
        };
        for (const unsigned vvvv : {15u, is_64_ ? 2u : 10u}) {
            if (!is_anything(head(7, vvvv))) continue;
            for (unsigned round = 0; round < 4; ++round) {
                const unsigned rxb = is_64_ ? static_cast<unsigned>(random_.pick(8)) : 7;
                const unsigned chosen = vvvv == 15 ? 15
                                        : is_64_   ? static_cast<unsigned>(random_.pick(16))
                                                   : 8 + static_cast<unsigned>(random_.pick(8));
                with_operands(head(rxb, chosen), false);
                if (map == 1 && w == 0 && (rxb & 3) == 3)
                    with_operands({0xc5, static_cast<std::uint8_t>((rxb << 5 & 0x80) | chosen << 3 | low),
                                   static_cast<std::uint8_t>(opcode)},
                                  false);
            }
        }
    }
    // A quick look at a few ModRM bytes; a gather's registers must differ.
    bool is_anything(const Bytes& head) {
        for (const unsigned modrm : {0xc1u, 0x02u, 0x04u, 0x0cu, 0x11u, 0xd1u, 0xcau, 0xdau}) {
            start(head);
            bytes_[head.size()] = static_cast<std::uint8_t>(modrm);
            ZydisDecoderContext context;
            ZydisDecodedInstruction decoded;
            if (ZYAN_SUCCESS(reader_.look(bytes_, context, decoded))) return true;
        }
        return false;
    }
    void start(const Bytes& head) {
        bytes_.fill(0);
        std::ranges::copy(head, bytes_.begin());
    }
    void with_operands(const Bytes& head, bool all_registers) {
        start(head);
        const std::size_t at = head.size();
        for (unsigned reg = 0; reg < 8; ++reg) {
            const unsigned registers = all_registers ? 8 : 3;
            for (unsigned n = 0; n < registers; ++n) {
                const unsigned rm = all_registers ? n : static_cast<unsigned>(random_.pick(8));
                bytes_[at] = static_cast<std::uint8_t>(modrm_register | reg << modrm_reg_shift | rm);
                if (!visit_(bytes_)) return;
            }
            for (unsigned n = 0; n < 5; ++n) {
                address(at, reg, n);
                visit_(bytes_);
                start(head);
            }
        }
    }
    // ModRM, SIB and displacement (SDM vol. 2A, 2.1.5).
    void address(std::size_t at, unsigned reg, unsigned kind) {
        constexpr unsigned has_sib = 4;
        const auto mod = static_cast<unsigned>(random_.pick(3));
        unsigned rm = kind == 0 ? has_sib : static_cast<unsigned>(random_.pick(8));
        if (kind == 1 && mod == 0) rm = 5;
        bytes_[at] = static_cast<std::uint8_t>(mod << 6 | reg << modrm_reg_shift | rm);
        std::size_t place = at + 1;
        if (rm == has_sib) bytes_[place++] = static_cast<std::uint8_t>(random_());
        // Small displacements, of either sign; what there is no room for is an immediate.
        const std::uint64_t displacement = random_.pick(256);
        const bool negative = random_.chance(2);
        for (unsigned n = 0; n < (mod == 1 ? 1u : mod == 2 ? 4u : 0u) && place < bytes_.size(); ++n)
            bytes_[place++] = static_cast<std::uint8_t>(n == 0 ? displacement : negative ? 0xff : 0);
    }

    const EncodingReader& reader_;
    bool is_64_;
    Random random_;
    const Visit& visit_;
    std::array<std::uint8_t, Decoder::longest> bytes_{};
};

// Chooses a fair sample of the encodings of each form as they come by.
class Collector {
  public:
    Collector(const EncodingReader& reader, const CatalogueOptions& options)
        : reader_(reader), options_(options), random_(derive_seed(options.seed, 2)) {}

    bool visit(std::span<const std::uint8_t, Decoder::longest> bytes) {
        ++strings_;
        ZydisDecoderContext context;
        if (!ZYAN_SUCCESS(reader_.look(bytes, context, encoding_.decoded))) return true;
        const ZydisDecodedInstruction& decoded = encoding_.decoded;
        const bool has_modrm = (decoded.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
        if (!ZYAN_SUCCESS(ZydisDecoderDecodeOperands(&reader_.zydis(), &context, &decoded, encoding_.operands.data(),
                                                     decoded.operand_count)))
            return has_modrm;
        encoding_.mode = reader_.mode();
        const FormKey key = form_of(encoding_);
        Entry& entry = entries_[key];
        // The first of a form is always looked at; later ones take its place ever more rarely.
        ++entry.seen;
        const bool is_new = entry.form.samples.empty();
        std::size_t place = entry.form.samples.size();
        if (place >= options_.samples) {
            place = random_.pick(entry.placed + 1);
            if (place >= options_.samples) {
                ++entry.placed;
                return has_modrm;
            }
        }
        std::copy(bytes.begin(), bytes.end(), encoding_.code.begin());
        Encoding whole;
        if (!reader_.read(bytes, whole) || !whole.has_row) return has_modrm;
        if (is_new && entry.form.name.empty()) {
            entry.form.key = key;
            entry.form.mode = reader_.mode();
            entry.form.name = form_name(key);
        }
        const std::string_view reason = why_not_judged(whole, options_.judge);
        if (reason.empty() && !can_be_placed(whole)) return has_modrm;
        if (is_new) entry.form.not_judged = reason;
        if (!reason.empty() && entry.form.not_judged.empty()) return has_modrm;
        if (reason.empty() && !entry.form.not_judged.empty()) {
            // Some encodings of the form can be judged: those are its samples.
            entry.form.samples.clear();
            entry.form.not_judged = {};
            entry.placed = place = 0;
        }
        ++entry.placed;
        if (place == entry.form.samples.size()) entry.form.samples.emplace_back();
        entry.form.samples[place] = whole.code;
        return has_modrm;
    }

    Catalogue take() {
        Catalogue catalogue;
        catalogue.strings_tried = strings_;
        for (auto& [key, entry] : entries_) {
            const auto mnemonic = static_cast<ZydisMnemonic>(key.mnemonic);
            if (entry.form.name.empty()) {
                ++catalogue.without_a_row[std::string(mnemonic_name(mnemonic))];
            } else if (matches(options_.pattern, entry.form.name) ||
                       matches(options_.pattern, mnemonic_name(mnemonic))) {
                if (entry.form.samples.empty())
                    entry.form.not_judged = "no operand can be placed in the memory there is";
                catalogue.forms.push_back(std::move(entry.form));
            }
        }
        return catalogue;
    }

  private:
    struct Entry {
        Form form;
        std::uint64_t seen = 0, placed = 0;
    };

    const EncodingReader& reader_;
    const CatalogueOptions& options_;
    Random random_;
    Encoding encoding_;
    std::map<FormKey, Entry> entries_;
    std::uint64_t strings_ = 0;
};

bool is_same_letter(char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
}

bool writes_register_of(const Encoding& encoding, ZydisRegisterClass kind) {
    return std::ranges::any_of(encoding.all_operands(), [&](const ZydisDecodedOperand& operand) {
        return operand.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(operand.reg.value) == kind &&
               (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    });
}

}  // namespace

void visit_encodings(const EncodingReader& reader, std::uint64_t seed, const Visit& visit) {
    Stream(reader, derive_seed(seed, 1), visit).run();
}

Catalogue make_catalogue(const EncodingReader& reader, const CatalogueOptions& options) {
    Collector collector(reader, options);
    visit_encodings(reader, options.seed,
                    [&](std::span<const std::uint8_t, Decoder::longest> bytes) { return collector.visit(bytes); });
    return collector.take();
}

namespace {

// What only the host's CPU in user mode cannot judge.
std::string_view why_not_in_user_mode(const Encoding& encoding) {
    const ZydisDecodedInstruction& decoded = encoding.decoded;
    switch (decoded.mnemonic) {
        case ZYDIS_MNEMONIC_SGDT:
        case ZYDIS_MNEMONIC_SIDT:
        case ZYDIS_MNEMONIC_SLDT:
        case ZYDIS_MNEMONIC_STR:
        case ZYDIS_MNEMONIC_SMSW: return "the host's kernel answers in the CPU's place (UMIP)";
        case ZYDIS_MNEMONIC_LAR:
        case ZYDIS_MNEMONIC_LSL:
        case ZYDIS_MNEMONIC_VERR:
        case ZYDIS_MNEMONIC_VERW: return "it reads the host's descriptor tables";
        case ZYDIS_MNEMONIC_RDFSBASE:
        case ZYDIS_MNEMONIC_RDGSBASE:
        case ZYDIS_MNEMONIC_WRFSBASE:
        case ZYDIS_MNEMONIC_WRGSBASE: return "the host's thread pointer";
        default: break;
    }
    // 16-bit code has its segments around what it may reach.
    const bool is_near = encoding.mode == DecodeMode::compatibility16;
    if (encoding.is_branch() && decoded.operand_width == 16 && !is_near) return "it leaves for the first 64 KiB";
    if (writes_register_of(encoding, ZYDIS_REGCLASS_SEGMENT)) return "it loads a segment register";
    if (decoded.address_width == 16 && !is_near) {
        // The stack is addressed by SS.B, whatever the address size.
        const bool reaches = std::ranges::none_of(encoding.all_operands(), [](const ZydisDecodedOperand& operand) {
            return operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.type != ZYDIS_MEMOP_TYPE_AGEN &&
                   (operand.visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN || operand.mem.segment != ZYDIS_REGISTER_SS);
        });
        if (!reaches) return "16-bit addresses do not reach the memory";
    }
    return {};
}

// What goes too far at CPL 0.
std::string_view why_not_on_engine(const Encoding& encoding) {
    switch (encoding.decoded.mnemonic) {
        case ZYDIS_MNEMONIC_LGDT:
        case ZYDIS_MNEMONIC_LIDT:
        case ZYDIS_MNEMONIC_LLDT:
        case ZYDIS_MNEMONIC_LTR:
        case ZYDIS_MNEMONIC_LMSW:
        case ZYDIS_MNEMONIC_CLTS:
        case ZYDIS_MNEMONIC_RDMSR:
        case ZYDIS_MNEMONIC_WRMSR:
        case ZYDIS_MNEMONIC_XSETBV:
        case ZYDIS_MNEMONIC_SWAPGS:
        case ZYDIS_MNEMONIC_INVD:
        case ZYDIS_MNEMONIC_WBINVD:
        case ZYDIS_MNEMONIC_INVPCID:
        case ZYDIS_MNEMONIC_RSM: return "it changes the state of the system";
        case ZYDIS_MNEMONIC_SGDT:
        case ZYDIS_MNEMONIC_SIDT:
        case ZYDIS_MNEMONIC_SLDT:
        case ZYDIS_MNEMONIC_STR:
        case ZYDIS_MNEMONIC_SMSW: return "the engine's own values";
        case ZYDIS_MNEMONIC_HLT: return "every test ends in one";
        default: break;
    }
    if (encoding.uses(ZYDIS_REGCLASS_CONTROL) || encoding.uses(ZYDIS_REGCLASS_DEBUG))
        return "control and debug registers hold what engines need";
    const ZydisInstructionCategory category = encoding.decoded.meta.category;
    if (category == ZYDIS_CATEGORY_IO || category == ZYDIS_CATEGORY_IOSTRINGOP) return "it asks the machine";
    if (category == ZYDIS_CATEGORY_VTX || encoding.decoded.meta.isa_ext == ZYDIS_ISA_EXT_SVM)
        return "it asks the hypervisor";
    return {};
}

}  // namespace

std::string_view why_not_judged(const Encoding& encoding, Judge judge) {
    const ZydisDecodedInstruction& decoded = encoding.decoded;
    switch (decoded.mnemonic) {
        case ZYDIS_MNEMONIC_CPUID:
        case ZYDIS_MNEMONIC_RDTSC:
        case ZYDIS_MNEMONIC_RDTSCP:
        case ZYDIS_MNEMONIC_RDPMC:
        case ZYDIS_MNEMONIC_RDPRU:
        case ZYDIS_MNEMONIC_RDPID:
        case ZYDIS_MNEMONIC_RDRAND:
        case ZYDIS_MNEMONIC_RDSEED:
        case ZYDIS_MNEMONIC_XGETBV: return "the answer is the machine's own";
        case ZYDIS_MNEMONIC_VMCALL:
        case ZYDIS_MNEMONIC_VMMCALL: return "it asks the hypervisor";
        case ZYDIS_MNEMONIC_XSAVE:
        case ZYDIS_MNEMONIC_XSAVE64:
        case ZYDIS_MNEMONIC_XSAVEC:
        case ZYDIS_MNEMONIC_XSAVEC64:
        case ZYDIS_MNEMONIC_XSAVEOPT:
        case ZYDIS_MNEMONIC_XSAVEOPT64:
        case ZYDIS_MNEMONIC_XRSTOR:
        case ZYDIS_MNEMONIC_XRSTOR64: return "the host has components the model has not";
        case ZYDIS_MNEMONIC_SYSCALL:
        case ZYDIS_MNEMONIC_SYSENTER:
        case ZYDIS_MNEMONIC_SYSRET:
        case ZYDIS_MNEMONIC_SYSEXIT:
        case ZYDIS_MNEMONIC_INT:
        case ZYDIS_MNEMONIC_INT1:
        case ZYDIS_MNEMONIC_INT3:
        case ZYDIS_MNEMONIC_INTO:
        case ZYDIS_MNEMONIC_IRET:
        case ZYDIS_MNEMONIC_IRETD:
        case ZYDIS_MNEMONIC_IRETQ: return "it leaves for the host's kernel or another code segment";
        case ZYDIS_MNEMONIC_MONITOR:
        case ZYDIS_MNEMONIC_MWAIT:
        case ZYDIS_MNEMONIC_MONITORX:
        case ZYDIS_MNEMONIC_MWAITX: return "it waits";
        default: break;
    }
    if (decoded.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) return "it leaves for another code segment";
    return judge == Judge::host ? why_not_in_user_mode(encoding) : why_not_on_engine(encoding);
}

bool can_be_placed(const Encoding& encoding) {
    const auto id = [](ZydisRegister name) { return ZydisRegisterGetId(name); };
    // Vendors differ about near branches with an operand-size prefix in 64-bit code: AMD's keep 16 bits of
    // RIP.
    const auto prefixes = std::span(encoding.decoded.raw.prefixes).first(encoding.decoded.raw.prefix_count);
    constexpr std::uint8_t operand_size = 0x66;
    if (encoding.is_branch() && encoding.is_64() &&
        std::ranges::any_of(prefixes, [](const auto& prefix) { return prefix.value == operand_size; }))
        return false;
    const bool flat_gs = encoding.is_64();  // its base is zero in a Linux process
    // The push of a CALL moves the stack pointer that would say where to.
    if (encoding.is_branch() &&
        std::ranges::any_of(encoding.visible_operands(), [&](const ZydisDecodedOperand& operand) {
            const auto is_sp = [&](ZydisRegister name) { return name != ZYDIS_REGISTER_NONE && id(name) == rsp; };
            return operand.type == ZYDIS_OPERAND_TYPE_REGISTER ? is_sp(operand.reg.value)
                   : operand.type == ZYDIS_OPERAND_TYPE_MEMORY ? is_sp(operand.mem.base) || is_sp(operand.mem.index)
                                                               : false;
        }))
        return false;
    for (const ZydisDecodedOperand& operand : encoding.all_operands()) {
        if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY || operand.mem.type == ZYDIS_MEMOP_TYPE_AGEN) continue;
        const ZydisDecodedOperandMem& memory = operand.mem;
        if (memory.segment == ZYDIS_REGISTER_FS || (memory.segment == ZYDIS_REGISTER_GS && !flat_gs)) return false;
        if (operand.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN) continue;
        const bool is_vector = memory.type == ZYDIS_MEMOP_TYPE_VSIB;
        if (!is_vector && memory.base != ZYDIS_REGISTER_NONE && memory.base == memory.index) return false;
        const ZydisMnemonic mnemonic = encoding.decoded.mnemonic;
        const bool is_bit_string = mnemonic == ZYDIS_MNEMONIC_BT || mnemonic == ZYDIS_MNEMONIC_BTS ||
                                   mnemonic == ZYDIS_MNEMONIC_BTR || mnemonic == ZYDIS_MNEMONIC_BTC;
        if (is_bit_string && encoding.operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER) {
            const auto offset = id(encoding.operands[1].reg.value);
            if (memory.base != ZYDIS_REGISTER_NONE && offset == id(memory.base)) return false;
            if (memory.index != ZYDIS_REGISTER_NONE && offset == id(memory.index)) return false;
        }
        // An index that is moved on before it is used.
        if (mnemonic == ZYDIS_MNEMONIC_POP && id(memory.index) == rsp && memory.index != ZYDIS_REGISTER_NONE)
            return false;
    }
    return true;
}

bool matches(std::string_view pattern, std::string_view name) {
    if (pattern.empty()) return name.empty();
    if (pattern.front() == '*') {
        for (std::size_t skipped = 0; skipped <= name.size(); ++skipped)
            if (matches(pattern.substr(1), name.substr(skipped))) return true;
        return false;
    }
    if (name.empty() || (pattern.front() != '?' && !is_same_letter(pattern.front(), name.front()))) return false;
    return matches(pattern.substr(1), name.substr(1));
}

}  // namespace xenolith::cpu::fuzz
