#include "cpu/fuzz/decoder_check.hpp"

#include <capstone/capstone.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <stdexcept>

#include "cpu/fuzz/catalogue.hpp"
#include "cpu/fuzz/decoder_differences.hpp"

namespace xenolith::cpu::fuzz {

namespace {

class Capstone {
  public:
    explicit Capstone(DecodeMode mode) {
        const cs_mode width =
            mode == DecodeMode::long64 ? CS_MODE_64
            : mode == DecodeMode::compatibility32 || mode == DecodeMode::protected32 || mode == DecodeMode::real32
                ? CS_MODE_32
                : CS_MODE_16;
        if (cs_open(CS_ARCH_X86, width, &handle_) != CS_ERR_OK) throw std::runtime_error("Capstone does not start");
        cs_option(handle_, CS_OPT_DETAIL, CS_OPT_ON);
        instruction_ = cs_malloc(handle_);
    }
    ~Capstone() {
        cs_free(instruction_, 1);
        cs_close(&handle_);
    }
    Capstone(const Capstone&) = delete;
    Capstone& operator=(const Capstone&) = delete;

    // Null where it is no instruction.
    const cs_insn* read(std::span<const std::uint8_t> bytes) {
        const std::uint8_t* code = bytes.data();
        std::size_t size = bytes.size();
        std::uint64_t address = 0;
        return cs_disasm_iter(handle_, &code, &size, &address, instruction_) ? instruction_ : nullptr;
    }
    // Stays where it is, and asks neither kernel nor hypervisor.
    bool is_harmless(const cs_insn* instruction) const {
        for (const unsigned group : {X86_GRP_JUMP, X86_GRP_CALL, X86_GRP_RET, X86_GRP_INT, X86_GRP_IRET, X86_GRP_VM,
                                     X86_GRP_PRIVILEGE, X86_GRP_RTM})
            if (cs_insn_group(handle_, instruction, group)) return false;
        const std::string_view name = instruction->mnemonic;
        // MOV may load a segment register, which the host's thread would feel.
        for (const std::string_view start : {"mov", "wr", "sys", "xbegin", "xabort", "getsec", "pop", "l"})
            if (name == start || (start != "l" && start != "mov" && start != "pop" && name.starts_with(start)))
                return false;
        return !(name.size() == 3 && name.starts_with('l') && name.ends_with('s'));
    }

  private:
    csh handle_ = 0;
    cs_insn* instruction_ = nullptr;
};

// Whether the host takes the bytes for an instruction. One answer serves all encodings alike: those with the
// same mnemonic and first bytes.
class HostJudge {
  public:
    explicit HostJudge(NativeOracle* host) : host_(host) {}

    HostSays ask(std::span<const std::uint8_t> bytes, std::size_t length, std::string_view mnemonic) {
        if (host_ == nullptr || length > Decoder::longest) return HostSays::not_asked;
        constexpr std::size_t bytes_that_tell = 4;
        std::string key(mnemonic);
        for (std::size_t n = 0; n < std::min(length, bytes_that_tell); ++n) key += fmt::format(" {:02x}", bytes[n]);
        const auto [entry, is_new] = answers_.try_emplace(std::move(key), HostSays::not_asked);
        if (is_new) {
            constexpr unsigned invalid_opcode = 6;
            host_->set_instruction(std::as_bytes(bytes.first(length)));
            const NativeOutcome outcome = host_->run({});
            const bool is_invalid = outcome.fault && outcome.fault->vector == invalid_opcode;
            entry->second = is_invalid ? HostSays::invalid : HostSays::valid;
        }
        return entry->second;
    }

  private:
    NativeOracle* host_;
    std::map<std::string, HostSays> answers_;
};

// Capstone writes prefixes in front of the mnemonic.
std::string_view without_prefixes(std::string_view text) {
    for (bool found = true; found;) {
        found = false;
        for (const std::string_view prefix : {"lock ", "rep ", "repe ", "repz ", "repne ", "repnz ", "bnd ", "notrack ",
                                              "xacquire ", "xrelease ", "data16 "}) {
            if (text.starts_with(prefix)) {
                text.remove_prefix(prefix.size());
                found = true;
            }
        }
    }
    return text;
}

}  // namespace

DecoderReport check_decoders(const EncodingReader& reader, std::uint64_t seed, NativeOracle* host) {
    HostJudge judge(host);
    Capstone capstone(reader.mode());
    DecoderReport report;
    const auto table = known_decoder_differences();
    for (const KnownDecoderDifference& known : table) report.known.push_back({known.reason, 0});
    std::map<std::pair<std::string, std::string>, DecoderDifference> unexplained;
    std::uint64_t looked_at = 0;
    const auto encoding_memory = std::make_unique<Encoding>();
    Encoding& encoding = *encoding_memory;
    visit_encodings(reader, seed, [&](std::span<const std::uint8_t, Decoder::longest> bytes) {
        ZydisDecoderContext context;
        const bool is_known = ZYAN_SUCCESS(reader.look(bytes, context, encoding.decoded));
        const bool has_modrm = !is_known || encoding.has_attribute(ZYDIS_ATTRIB_HAS_MODRM);
        // Capstone is slow, and the stream says everything many times.
        constexpr std::uint64_t one_in = 4;
        if (has_modrm && looked_at++ % one_in != 0) return has_modrm;
        if (is_known) {
            if (!reader.read(bytes, encoding)) return has_modrm;
            if (!encoding.has_row) return has_modrm;
        }
        const cs_insn* const theirs = capstone.read(bytes);
        ++report.compared;
        DecoderAnswers answers;
        answers.encoding = is_known ? &encoding : nullptr;
        answers.bytes = bytes;
        answers.mode = reader.mode();
        answers.zydis = is_known ? mnemonic_name(encoding.decoded.mnemonic) : "invalid";
        answers.zydis_length = is_known ? encoding.decoded.length : 0;
        answers.capstone = theirs != nullptr ? without_prefixes(theirs->mnemonic) : "invalid";
        answers.capstone_length = theirs != nullptr ? theirs->size : 0;
        if (answers.zydis_length == answers.capstone_length && is_same_mnemonic(answers.zydis, answers.capstone)) {
            ++report.agreed;
            return has_modrm;
        }
        if (!is_known && theirs != nullptr && capstone.is_harmless(theirs))
            answers.host = judge.ask(bytes, theirs->size, answers.capstone);
        const auto found =
            std::ranges::find_if(table, [&](const KnownDecoderDifference& known) { return known.explains(answers); });
        if (found != table.end()) {
            ++report.known[static_cast<std::size_t>(found - table.begin())].times;
            return has_modrm;
        }
        const std::string ours_text = fmt::format("{} ({})", answers.zydis, answers.zydis_length),
                          theirs_text = fmt::format("{} ({})", answers.capstone, answers.capstone_length);
        DecoderDifference& difference = unexplained[{ours_text, theirs_text}];
        if (difference.times++ == 0) {
            difference.zydis = ours_text;
            difference.capstone = theirs_text;
            const std::size_t length = std::max<std::size_t>({answers.zydis_length, answers.capstone_length, 6});
            for (std::size_t n = 0; n < length; ++n)
                difference.example += fmt::format("{}{:02x}", n == 0 ? "" : " ", bytes[n]);
        }
        return has_modrm;
    });
    for (auto& [key, difference] : unexplained) report.unexplained.push_back(std::move(difference));
    return report;
}

}  // namespace xenolith::cpu::fuzz
