// All forms of all instructions that have a row, with sample encodings of each: what there is to be tested.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cpu/fuzz/encoding.hpp"

namespace xenolith::cpu::fuzz {

struct Form {
    FormKey key;
    DecodeMode mode = DecodeMode::long64;
    std::string name;
    std::string_view not_judged;  // why it cannot be judged; empty if it can
    std::vector<std::array<std::uint8_t, Decoder::longest>> samples;
};

struct Catalogue {
    std::vector<Form> forms;                                     // in the order of their keys
    std::map<std::string, unsigned, std::less<>> without_a_row;  // mnemonics Zydis knows and we do not: forms of each
    std::uint64_t strings_tried = 0;
};

// Who judges: the host's CPU in user mode, or an engine at CPL 0 in a machine of its own (engine_subject.hpp).
enum class Judge : std::uint8_t { host, engine };

struct CatalogueOptions {
    std::uint64_t seed = 0;
    std::string pattern = "*";  // of form names: `*` and `?` as a shell has them; case does not matter
    unsigned samples = 24;      // encodings of each form
    Judge judge = Judge::host;
};

// Every byte string that the catalogue is made of: all opcodes of all maps with a choice of prefixes, and for
// each value of ModRM.reg some registers and addresses. `visit` gets 15 bytes, and returns false if there was
// no ModRM byte to vary.
using Visit = std::function<bool(std::span<const std::uint8_t, Decoder::longest>)>;
void visit_encodings(const EncodingReader& reader, std::uint64_t seed, const Visit& visit);

Catalogue make_catalogue(const EncodingReader& reader, const CatalogueOptions& options);

// Why the judge cannot judge the encoding's form; empty if it can.
std::string_view why_not_judged(const Encoding& encoding, Judge judge);
// Whether a state can be made that puts this encoding's operands where the memory is.
bool can_be_placed(const Encoding& encoding);

bool matches(std::string_view pattern, std::string_view name);

}  // namespace xenolith::cpu::fuzz
