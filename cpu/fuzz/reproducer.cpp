#include "cpu/fuzz/reproducer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <stdexcept>

namespace xenolith::cpu::fuzz {

namespace {

// A number of the state with a name of its own.
struct Scalar {
    std::string_view name;
    std::uint64_t (*get)(const State&);
    void (*set)(State&, std::uint64_t);
};

template <auto Member>
constexpr Scalar floating_point_scalar(std::string_view name) {
    return {name, [](const State& state) { return std::uint64_t{state.floating_point.*Member}; },
            [](State& state, std::uint64_t value) {
                auto& member = state.floating_point.*Member;
                member = static_cast<std::remove_reference_t<decltype(member)>>(value);
            }};
}

using Fp = FloatingPointState;
constexpr Scalar scalars[] = {
    {"rflags", [](const State& state) { return state.registers.rflags; },
     [](State& state, std::uint64_t value) { state.registers.rflags = value; }},
    floating_point_scalar<&Fp::mxcsr>("mxcsr"),
    floating_point_scalar<&Fp::control>("x87control"),
    floating_point_scalar<&Fp::status>("x87status"),
    floating_point_scalar<&Fp::tag>("x87tag"),
    floating_point_scalar<&Fp::opcode>("x87opcode"),
    floating_point_scalar<&Fp::instruction_pointer>("x87ip"),
    floating_point_scalar<&Fp::data_pointer>("x87dp"),
};

std::uint64_t word_of(const Reproducer& reproducer, std::size_t at) {
    std::uint64_t value;
    std::memcpy(&value, reproducer.memory.data() + at, sizeof(value));
    return value;
}

[[noreturn]] void refuse(std::string_view item, std::string_view why) {
    throw std::invalid_argument(fmt::format("'{}': {}", item, why));
}

std::uint64_t number_from(std::string_view item, std::string_view digits) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (digits.empty() || error != std::errc() || end != digits.data() + digits.size())
        refuse(item, "expected a hexadecimal number below 2^64");
    return value;
}

// A decimal number below `bound` behind a prefix.
bool indexed(std::string_view name, std::string_view prefix, unsigned bound, unsigned& index) {
    if (!name.starts_with(prefix)) return false;
    const std::string_view digits = name.substr(prefix.size());
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    return !digits.empty() && error == std::errc() && end == digits.data() + digits.size() && index < bound;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    while (true) {
        const std::size_t at = text.find(separator);
        if (at != 0) parts.push_back(text.substr(0, at));
        if (at == std::string_view::npos) break;
        text.remove_prefix(at + 1);
    }
    std::erase_if(parts, [](std::string_view part) { return part.empty(); });
    return parts;
}

std::vector<std::uint8_t> code_from(std::string_view item, std::string_view digits) {
    std::vector<std::uint8_t> code;
    if (digits.empty() || digits.size() % 2 != 0 || digits.size() > 2 * Decoder::longest)
        refuse(item, "expected 1 to 15 bytes, two hexadecimal digits each");
    for (std::size_t at = 0; at < digits.size(); at += 2)
        code.push_back(static_cast<std::uint8_t>(number_from(item, digits.substr(at, 2))));
    return code;
}

void read_item(std::string_view item, Reproducer& reproducer) {
    const std::size_t equals = item.find('=');
    if (equals == std::string_view::npos) refuse(item, "expected NAME=VALUE");
    const std::string_view name = item.substr(0, equals), value = item.substr(equals + 1);
    State& state = reproducer.state;
    unsigned index = 0;
    if (name == "mode") {
        const auto mode = find_mode(value);
        if (!mode) refuse(item, "there is no such mode");
        reproducer.mode = *mode;
        return;
    }
    if (name == "code") {
        reproducer.code = code_from(item, value);
        return;
    }
    for (const Scalar& scalar : scalars)
        if (scalar.name == name) return scalar.set(state, number_from(item, value));
    for (unsigned n = 0; n < 16; ++n) {
        if (general_register_name(n) == name) {
            state.registers.general[n] = number_from(item, value);
            return;
        }
    }
    if (indexed(name, "x87r", 8, index)) {
        const auto parts = split(value, ':');
        if (parts.size() != 2) refuse(item, "expected EXPONENT:SIGNIFICAND");
        state.floating_point.registers[index] = {number_from(item, parts[1]),
                                                 static_cast<std::uint16_t>(number_from(item, parts[0]))};
        return;
    }
    if (indexed(name, "ymm", 16, index)) {
        const auto parts = split(value, ':');
        if (parts.size() != 4) refuse(item, "expected four words, the highest first");
        for (unsigned n = 0; n < 4; ++n) state.floating_point.vector[index][3 - n] = number_from(item, parts[n]);
        return;
    }
    if (name.starts_with('m')) {
        const std::uint64_t at = number_from(item, name.substr(1));
        if (at > memory_size - 8 || at % 8 != 0) refuse(item, "expected an offset of a word in the operand memory");
        const std::uint64_t word = number_from(item, value);
        std::memcpy(reproducer.memory.data() + at, &word, sizeof(word));
        return;
    }
    refuse(item, "there is no such part of a state");
}

// Tries simpler values for one number.
class Shrinker {
  public:
    Shrinker(Reproducer& reproducer, const std::function<bool(const Reproducer&)>& fails)
        : reproducer_(reproducer), fails_(fails) {}

    template <class T>
    void simplify(T& value, T blank) {
        if (value == blank) return;
        if (attempt(value, blank)) return;
        if constexpr (sizeof(T) > 4) {
            for (const T mask : {T{0xff}, T{0xffff}, static_cast<T>(0xffffffff)})
                if (blank == 0 && (value & mask) != value && attempt(value, static_cast<T>(value & mask))) break;
        }
        // Bit by bit towards the blank value, from the top.
        for (unsigned bit = sizeof(T) * 8; bit-- > 0;) {
            const T mask = static_cast<T>(T{1} << bit);
            if (((value ^ blank) & mask) != 0) attempt(value, static_cast<T>(value ^ mask));
        }
    }
    // All of a range of memory to zero, then halves of it.
    void clear_memory(std::size_t at, std::size_t size) {
        std::byte* const bytes = reproducer_.memory.data() + at;
        if (std::all_of(bytes, bytes + size, [](std::byte byte) { return byte == std::byte{0}; })) return;
        const std::vector<std::byte> saved(bytes, bytes + size);
        std::fill_n(bytes, size, std::byte{0});
        if (fails_(reproducer_)) return;
        std::ranges::copy(saved, bytes);
        if (size > 8) {
            clear_memory(at, size / 2);
            clear_memory(at + size / 2, size / 2);
            return;
        }
        std::uint64_t word = word_of(reproducer_, at);
        for (unsigned bit = 64; bit-- > 0;) {
            const std::uint64_t without = word & ~(std::uint64_t{1} << bit);
            if (without == word) continue;
            std::memcpy(bytes, &without, sizeof(without));
            if (fails_(reproducer_)) {
                word = without;
            } else {
                std::memcpy(bytes, &word, sizeof(word));
            }
        }
    }
    void drop_prefixes() {
        for (std::size_t at = 0; at < 4 && at < reproducer_.code.size();) {
            const std::vector<std::uint8_t> saved = reproducer_.code;
            if (saved.size() == 1) return;
            reproducer_.code.erase(reproducer_.code.begin() + static_cast<std::ptrdiff_t>(at));
            if (!fails_(reproducer_)) {
                reproducer_.code = saved;
                ++at;
            }
        }
    }
    template <class T>
    bool attempt(T& value, T simpler) {
        if (value == simpler) return true;
        const T saved = value;
        value = simpler;
        if (fails_(reproducer_)) return true;
        value = saved;
        return false;
    }

  private:
    Reproducer& reproducer_;
    const std::function<bool(const Reproducer&)>& fails_;
};

}  // namespace

Reproducer Reproducer::blank() {
    Reproducer reproducer;
    reproducer.state.floating_point.control = 0x037f;
    reproducer.state.floating_point.tag = 0xffff;
    return reproducer;
}

std::string to_line(const Reproducer& reproducer) {
    const auto blank = std::make_unique<Reproducer>(Reproducer::blank());
    std::string line = fmt::format("mode={} code=", mode_name(reproducer.mode));
    for (const std::uint8_t byte : reproducer.code) line += fmt::format("{:02x}", byte);
    const State &state = reproducer.state, &usual = blank->state;
    for (unsigned n = 0; n < 16; ++n)
        if (state.registers.general[n] != 0)
            line += fmt::format(" {}={:x}", general_register_name(n), state.registers.general[n]);
    for (const Scalar& scalar : scalars)
        if (scalar.get(state) != scalar.get(usual)) line += fmt::format(" {}={:x}", scalar.name, scalar.get(state));
    for (unsigned n = 0; n < 8; ++n) {
        const X87Register& value = state.floating_point.registers[n];
        if (value != X87Register{}) line += fmt::format(" x87r{}={:x}:{:x}", n, value.sign_exponent, value.significand);
    }
    for (unsigned n = 0; n < 16; ++n) {
        const auto& words = state.floating_point.vector[n];
        if (words != std::array<std::uint64_t, 4>{})
            line += fmt::format(" ymm{}={:x}:{:x}:{:x}:{:x}", n, words[3], words[2], words[1], words[0]);
    }
    for (std::size_t at = 0; at < memory_size; at += 8)
        if (const std::uint64_t word = word_of(reproducer, at); word != 0) line += fmt::format(" m{:x}={:x}", at, word);
    return line;
}

std::unique_ptr<Reproducer> from_line(std::string_view line) {
    auto reproducer = std::make_unique<Reproducer>(Reproducer::blank());
    for (const std::string_view item : split(line, ' ')) read_item(item, *reproducer);
    if (reproducer->code.empty()) throw std::invalid_argument("a line needs code=");
    return reproducer;
}

void forget_background(Reproducer& reproducer, const Layout& layout,
                       const std::function<bool(const Reproducer&)>& fails) {
    const auto smaller = std::make_unique<Reproducer>(reproducer);
    std::array<bool, memory_size> kept{};
    for (std::size_t at = 0; at + 4 <= memory_size; ++at) {
        std::uint32_t value;
        std::memcpy(&value, reproducer.memory.data() + at, sizeof(value));
        if (value == layout.forward || value == layout.backward)
            std::fill_n(kept.begin() + static_cast<std::ptrdiff_t>(at), std::min<std::size_t>(8, memory_size - at),
                        true);
    }
    for (std::size_t at = 0; at < memory_size; ++at)
        if (!kept[at]) smaller->memory[at] = std::byte{0};
    if (fails(*smaller)) reproducer = *smaller;
}

void shrink(Reproducer& reproducer, const Layout& layout, Kept kept,
            const std::function<bool(const Reproducer&)>& fails) {
    const auto blank = std::make_unique<Reproducer>(Reproducer::blank());
    Shrinker shrinker(reproducer, fails);
    shrinker.drop_prefixes();
    shrinker.clear_memory(0, memory_size);
    State& state = reproducer.state;
    const State& usual = blank->state;
    for (int number = 0; number < 16; ++number) {
        if (number == kept.number) continue;
        std::uint64_t& value = state.registers.general[static_cast<unsigned>(number)];
        constexpr std::uint64_t reach = 0x10000;
        if (kept.addresses && (value & 0xffffffff) - layout.memory + reach < memory_size + 2 * reach) {
            shrinker.attempt(value, value & 0xffffffff);
        } else {
            shrinker.simplify(value, std::uint64_t{0});
        }
    }
    shrinker.simplify(state.registers.rflags, usual.registers.rflags);
    FloatingPointState& fp = state.floating_point;
    const FloatingPointState& usual_fp = usual.floating_point;
    for (auto& words : fp.vector)
        for (std::uint64_t& word : words) shrinker.simplify(word, std::uint64_t{0});
    for (X87Register& value : fp.registers) {
        shrinker.simplify(value.significand, std::uint64_t{0});
        shrinker.simplify(value.sign_exponent, std::uint16_t{0});
    }
    shrinker.simplify(fp.mxcsr, usual_fp.mxcsr);
    shrinker.simplify(fp.status, usual_fp.status);
    shrinker.simplify(fp.control, usual_fp.control);
    shrinker.simplify(fp.tag, usual_fp.tag);
    shrinker.simplify(fp.opcode, usual_fp.opcode);
    shrinker.simplify(fp.instruction_pointer, usual_fp.instruction_pointer);
    shrinker.simplify(fp.data_pointer, usual_fp.data_pointer);
}

}  // namespace xenolith::cpu::fuzz
