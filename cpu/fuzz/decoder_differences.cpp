// Capstone here is 4.0.2, Zydis 4.0.0. Whether bytes that only one of them takes are an instruction, the
// host's CPU says (decoder_check.cpp).
#include "cpu/fuzz/decoder_differences.hpp"

#include <algorithm>
#include <initializer_list>
#include <string>

namespace xenolith::cpu::fuzz {

namespace {

struct Names {
    std::string_view zydis, capstone;
};

// Conditions that have two names.
constexpr Names conditions[] = {{"z", "e"}, {"nz", "ne"}, {"nb", "ae"}, {"nbe", "a"}, {"nl", "ge"}, {"nle", "g"}};

constexpr Names synonyms[] = {
    {"shl", "sal"},
    {"mov", "movabs"},
    {"ret", "retf"},
    {"ret", "retfq"},
    {"call", "lcall"},
    {"jmp", "ljmp"},
    {"fwait", "wait"},
    {"xlat", "xlatb"},
    {"ud1", "ud2b"},
    {"popad", "popal"},
    {"pushad", "pushal"},
    {"popa", "popaw"},
    {"pusha", "pushaw"},
    {"movq", "movd"},
    {"fsetpm287_nop", "fsetpm"},
    {"vcvtpd2ps", "vcvtpd2psx"},
    {"vcvtpd2dq", "vcvtpd2dqx"},
    {"vcvttpd2dq", "vcvttpd2dqx"},
};

bool is_comparison(std::string_view name) {
    if (name.starts_with('v')) name.remove_prefix(1);
    return name.starts_with("cmp") && name.size() >= 5 &&
           (name.ends_with("ps") || name.ends_with("pd") || name.ends_with("ss") || name.ends_with("sd"));
}

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
    return std::ranges::find(names, name) != names.end();
}

// --- Of the bytes

// Legacy prefixes in front of REX and opcode.
struct Prefixes {
    bool operand_size = false, address_size = false, repeats = false, rex = false, wide = false;
    std::size_t count = 0;
};

Prefixes prefixes_of(const DecoderAnswers& answers) {
    Prefixes found;
    for (const std::uint8_t byte : answers.bytes) {
        switch (byte) {
            case 0x66: found.operand_size = true; break;
            case 0x67: found.address_size = true; break;
            case 0xf2:
            case 0xf3: found.repeats = true; break;
            case 0x26:
            case 0x2e:
            case 0x36:
            case 0x3e:
            case 0x64:
            case 0x65:
            case 0xf0: break;
            default:
                if (answers.mode == DecodeMode::long64 && (byte & 0xf0) == 0x40) {
                    found.rex = true;
                    found.wide = (byte & 8) != 0;
                    ++found.count;
                }
                return found;
        }
        ++found.count;
    }
    return found;
}

bool has_opcode(const DecoderAnswers& answers, std::initializer_list<std::uint8_t> opcode) {
    const std::size_t at = prefixes_of(answers).count;
    return at + opcode.size() <= answers.bytes.size() &&
           std::equal(opcode.begin(), opcode.end(), answers.bytes.begin() + static_cast<std::ptrdiff_t>(at));
}

// --- The list

constexpr KnownDecoderDifference known[] = {
    {"Capstone does not know 0F 0D, a prefetch or NOP with any ModRM",
     [](const DecoderAnswers& answers) {
         return answers.capstone == "invalid" && has_opcode(answers, {0x0f, 0x0d});
     }},
    {"UD0 and UD1 have a ModRM byte; Capstone takes none, or does not know them",
     [](const DecoderAnswers& answers) {
         return is_one_of(answers.zydis, {"ud0", "ud1"});
     }},
    {"Capstone refuses REX.R with a segment register, which has no meaning",
     [](const DecoderAnswers& answers) {
         return answers.zydis == "mov" && answers.capstone == "invalid" && prefixes_of(answers).rex &&
                (has_opcode(answers, {0x8c}) || has_opcode(answers, {0x8e}));
     }},
    {"Capstone takes 67 in front of REX.W for 66",
     [](const DecoderAnswers& answers) {
         const Prefixes prefixes = prefixes_of(answers);
         return prefixes.wide && prefixes.address_size;
     }},
    {"Capstone forgets 66 if another prefix follows, or beside F2 and F3",
     [](const DecoderAnswers& answers) {
         const Prefixes prefixes = prefixes_of(answers);
         return prefixes.operand_size && (prefixes.repeats || prefixes.address_size);
     }},
    {"Capstone's 16-bit code has no 66, F2 or F3 that belongs to an opcode of 0F",
     [](const DecoderAnswers& answers) {
         const Prefixes prefixes = prefixes_of(answers);
         return answers.mode == DecodeMode::compatibility16 && (prefixes.operand_size || prefixes.repeats) &&
                has_opcode(answers, {0x0f});
     }},
    {"CBW and CWD have their 32-bit names in Capstone's 16-bit code",
     [](const DecoderAnswers& answers) {
         return answers.mode == DecodeMode::compatibility16 && is_one_of(answers.zydis, {"cbw", "cwd"});
     }},
    {"66 and REX.W together: REX.W counts; Capstone disagrees about I/O strings, flags and near branches",
     [](const DecoderAnswers& answers) {
         const Prefixes prefixes = prefixes_of(answers);
         return prefixes.operand_size && prefixes.wide &&
                is_one_of(answers.zydis, {"insd", "outsd", "popfq", "pushfq", "ret", "clwb"});
     }},
    {"near branches with 66 in 64-bit code: Zydis has them as Intel, a 32-bit displacement; Capstone as AMD, "
     "16 bits",
     [](const DecoderAnswers& answers) {
         return answers.mode == DecodeMode::long64 && prefixes_of(answers).operand_size &&
                answers.encoding != nullptr && answers.encoding->is_branch();
     }},
    {"Capstone forgets 67 in front of JECXZ and JCXZ if there are other prefixes",
     [](const DecoderAnswers& answers) { return has_opcode(answers, {0xe3}); }},
    {"F3 90 is PAUSE with REX too; Capstone has XCHG",
     [](const DecoderAnswers& answers) { return answers.zydis == "pause" || has_opcode(answers, {0x90}); }},
    {"fences are any value of ModRM.rm; Capstone knows one",
     [](const DecoderAnswers& answers) {
         return is_one_of(answers.zydis, {"lfence", "mfence", "sfence"}) && answers.capstone == "invalid";
     }},
    {"Capstone does not know VBROADCASTI128",
     [](const DecoderAnswers& answers) { return answers.zydis == "vbroadcasti128" && answers.capstone == "invalid"; }},
    {"VPEXTRQ and VPINSRQ outside 64-bit code: Zydis has the 32-bit instruction, Capstone the 64-bit one",
     [](const DecoderAnswers& answers) {
         return is_one_of(answers.zydis, {"vpextrd", "vpinsrd"});
     }},
    {"Capstone has RDSEED for RDPID",
     [](const DecoderAnswers& answers) { return answers.zydis == "rdpid" && answers.capstone == "rdseed"; }},
    {"Capstone knows 0F 18 to 0F 1F, hints and NOPs, only in part",
     [](const DecoderAnswers& answers) { return answers.zydis == "nop" && answers.capstone == "invalid"; }},
    {"of several REX prefixes only the last counts, and only right before the opcode",
     [](const DecoderAnswers& answers) {
         const std::size_t end = prefixes_of(answers).count;
         const auto is_rex = [](std::uint8_t byte) { return (byte & 0xf0) == 0x40; };
         return answers.mode == DecodeMode::long64 &&
                std::count_if(answers.bytes.begin(), answers.bytes.begin() + static_cast<std::ptrdiff_t>(end) + 2,
                              is_rex) > 1;
     }},
    {"the host's CPU says it is no instruction: Capstone passes over prefixes that select nothing",
     [](const DecoderAnswers& answers) { return answers.host == HostSays::invalid && answers.zydis == "invalid"; }},
    {"the host's CPU was not asked: what it would do is not harmless, or needs an extension that this host "
     "may lack",
     [](const DecoderAnswers& answers) { return answers.host == HostSays::not_asked && answers.zydis == "invalid"; }},
};

}  // namespace

std::span<const KnownDecoderDifference> known_decoder_differences() { return known; }

bool is_same_mnemonic(std::string_view zydis, std::string_view capstone) {
    if (zydis == capstone || (is_comparison(zydis) && is_comparison(capstone))) return true;
    if (std::ranges::any_of(synonyms,
                            [&](const Names& names) { return names.zydis == zydis && names.capstone == capstone; }))
        return true;
    for (const std::string_view family : {"j", "set", "cmov"}) {
        if (!zydis.starts_with(family) || !capstone.starts_with(family)) continue;
        const Names tails{zydis.substr(family.size()), capstone.substr(family.size())};
        if (std::ranges::any_of(conditions, [&](const Names& names) {
                return names.zydis == tails.zydis && names.capstone == tails.capstone;
            }))
            return true;
    }
    return false;
}

}  // namespace xenolith::cpu::fuzz
