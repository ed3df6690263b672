// Names, order and types of the standard features are those that gdb's manual lists under "i386 Features", and the
// order within them is that of its own numbering, which it takes for granted in the first feature.
#include "machine/gdb/registers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "machine/gdb/packet.hpp"

namespace xenolith::machine::gdb {

namespace {

constexpr std::array<std::string_view, 3> architecture_names = {"i8086", "i386", "i386:x86-64"};
constexpr std::array<std::string_view, 6> segment_names = {"es", "cs", "ss", "ds", "fs", "gs"};

// A register that is a field of the state and nothing else; `field` gives a reference to it.
template <class Field>
Register plain(std::string name, unsigned bits, std::string type, Field field) {
    return {std::move(name),
            bits,
            std::move(type),
            {},
            [field](const cpu::CpuState& state) { return RegisterValue{field(state)}; },
            [field](cpu::CpuState& state, RegisterValue value) {
                auto& place = field(state);
                place = static_cast<std::remove_reference_t<decltype(place)>>(value.low);
            }};
}

Register general(std::string name, unsigned bits, std::string type, unsigned number) {
    // Without its upper half the register keeps it.
    const std::uint64_t kept = bits == 64 ? 0 : ~std::uint64_t{0xffffffff};
    return {std::move(name),
            bits,
            std::move(type),
            {},
            [number](const cpu::CpuState& state) { return RegisterValue{state.registers[number]}; },
            [number, kept](cpu::CpuState& state, RegisterValue value) {
                state.registers[number] = (state.registers[number] & kept) | (value.low & ~kept);
            }};
}

Register program_counter(std::string name, unsigned bits) {
    return {std::move(name),
            bits,
            "code_ptr",
            {},
            [](const cpu::CpuState& state) { return RegisterValue{program_counter_of(state)}; },
            [](cpu::CpuState& state, RegisterValue value) {
                const std::uint64_t base = state.segment(cpu::SegmentName::cs).base;
                state.rip = state.in_64bit_code() ? value.low : (value.low - base) & 0xffffffff;
            }};
}

Register flags_register() {
    return {"eflags",
            32,
            "i386_eflags",
            {},
            [](const cpu::CpuState& state) { return RegisterValue{state.rflags & cpu::rflags::implemented}; },
            [](cpu::CpuState& state, RegisterValue value) {
                // VM comes and goes with the segments (SDM vol. 3A, 20.2): no flag that one could set alone.
                constexpr std::uint64_t writable = cpu::rflags::implemented & ~cpu::rflags::vm;
                state.rflags = (state.rflags & ~writable) | (value.low & writable) | cpu::rflags::fixed_one;
            }};
}

// In real mode and VM86 a selector brings its base; elsewhere only the selector changes, as no descriptor is loaded.
Register selector(std::string name, unsigned number) {
    return {std::move(name),
            32,
            "int32",
            {},
            [number](const cpu::CpuState& state) { return RegisterValue{state.segments[number].selector}; },
            [number](cpu::CpuState& state, RegisterValue value) {
                cpu::SegmentRegister& segment = state.segments[number];
                segment.selector = static_cast<std::uint16_t>(value.low);
                if (state.in_real_mode() || state.in_vm86()) segment.base = std::uint64_t{segment.selector} << 4;
            }};
}

// ST(n), which is relative to the top of the stack (SDM vol. 1, 8.1.2).
Register x87_register(unsigned number) {
    const auto place = [number](const cpu::CpuState& state) {
        return ((state.floating_point.status >> 11) + number) & 7;
    };
    return {fmt::format("st{}", number),
            80,
            "i387_ext",
            {},
            [place](const cpu::CpuState& state) {
                const cpu::X87Register& value = state.floating_point.registers[place(state)];
                return RegisterValue{value.significand, value.sign_exponent};
            },
            [place](cpu::CpuState& state, RegisterValue value) {
                state.floating_point.registers[place(state)] = {value.low, static_cast<std::uint16_t>(value.high)};
            }};
}

// Two of a vector register's four words.
Register vector_words(std::string name, std::string type, unsigned number, unsigned word) {
    return {std::move(name),
            128,
            std::move(type),
            {},
            [number, word](const cpu::CpuState& state) {
                const auto& words = state.floating_point.vector[number];
                return RegisterValue{words[word], words[word + 1]};
            },
            [number, word](cpu::CpuState& state, RegisterValue value) {
                auto& words = state.floating_point.vector[number];
                words[word] = value.low;
                words[word + 1] = value.high;
            }};
}

unsigned vector_count(Architecture architecture) { return architecture == Architecture::x86_64 ? 16 : 8; }

}  // namespace

std::string_view architecture_name(Architecture architecture) {
    return architecture_names[static_cast<unsigned>(architecture)];
}

std::optional<Architecture> architecture_from_name(std::string_view name) {
    const auto found = std::ranges::find(architecture_names, name);
    if (found == architecture_names.end()) return std::nullopt;
    return static_cast<Architecture>(found - architecture_names.begin());
}

Architecture architecture_of(const cpu::CpuState& state) {
    switch (state.code_width()) {
        case 64: return Architecture::x86_64;
        case 32: return Architecture::i386;
        default: return Architecture::i8086;
    }
}

std::uint64_t program_counter_of(const cpu::CpuState& state) { return state.code_linear(state.rip); }

Feature core_feature(Architecture architecture) {
    Feature feature{"org.gnu.gdb.i386.core", {}};
    std::vector<Register>& all = feature.registers;
    if (architecture == Architecture::x86_64) {
        constexpr std::array<std::string_view, 8> names = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp"};
        constexpr std::array numbers = {cpu::rax, cpu::rbx, cpu::rcx, cpu::rdx, cpu::rsi, cpu::rdi, cpu::rbp, cpu::rsp};
        for (unsigned n = 0; n < 8; ++n)
            all.push_back(general(std::string(names[n]), 64, n < 6 ? "int64" : "data_ptr", numbers[n]));
        for (unsigned n = 8; n < 16; ++n) all.push_back(general(fmt::format("r{}", n), 64, "int64", n));
        all.push_back(program_counter("rip", 64));
    } else {
        constexpr std::array<std::string_view, 8> names = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
        for (unsigned n = 0; n < 8; ++n)
            all.push_back(general(std::string(names[n]), 32, n == 4 || n == 5 ? "data_ptr" : "int32", n));
        all.push_back(program_counter("eip", 32));
    }
    all.push_back(flags_register());
    for (const auto name : {cpu::SegmentName::cs, cpu::SegmentName::ss, cpu::SegmentName::ds, cpu::SegmentName::es,
                            cpu::SegmentName::fs, cpu::SegmentName::gs}) {
        const auto number = static_cast<unsigned>(name);
        all.push_back(selector(std::string(segment_names[number]), number));
    }
    for (unsigned n = 0; n < 8; ++n) all.push_back(x87_register(n));
    const auto add = [&](std::string name, auto field) {
        Register one = plain(std::move(name), 32, "int", field);
        one.group = "float";
        all.push_back(std::move(one));
    };
    add(
        "fctrl", [](auto& state) -> auto& { return state.floating_point.control; });
    add(
        "fstat", [](auto& state) -> auto& { return state.floating_point.status; });
    add(
        "ftag", [](auto& state) -> auto& { return state.floating_point.tag; });
    add(
        "fiseg", [](auto& state) -> auto& { return state.floating_point.instruction_selector; });
    add(
        "fioff", [](auto& state) -> auto& { return state.floating_point.instruction_pointer; });
    add(
        "foseg", [](auto& state) -> auto& { return state.floating_point.data_selector; });
    add(
        "fooff", [](auto& state) -> auto& { return state.floating_point.data_pointer; });
    add(
        "fop", [](auto& state) -> auto& { return state.floating_point.opcode; });
    return feature;
}

Feature vector_feature(Architecture architecture) {
    Feature feature{"org.gnu.gdb.i386.sse", {}};
    for (unsigned n = 0; n < vector_count(architecture); ++n)
        feature.registers.push_back(vector_words(fmt::format("xmm{}", n), "vec128", n, 0));
    Register control = plain(
        "mxcsr", 32, "i386_mxcsr", [](auto& state) -> auto& { return state.floating_point.mxcsr; });
    control.group = "vector";
    feature.registers.push_back(std::move(control));
    return feature;
}

Feature segment_base_feature() {
    Feature feature{"org.gnu.gdb.i386.segments", {}};
    const auto base = [](cpu::SegmentName name) {
        return [name](auto& state) -> auto& { return state.segment(name).base; };
    };
    feature.registers.push_back(plain("fs_base", 64, "int", base(cpu::SegmentName::fs)));
    feature.registers.push_back(plain("gs_base", 64, "int", base(cpu::SegmentName::gs)));
    return feature;
}

Feature wide_vector_feature(Architecture architecture) {
    Feature feature{"org.gnu.gdb.i386.avx", {}};
    for (unsigned n = 0; n < vector_count(architecture); ++n)
        feature.registers.push_back(vector_words(fmt::format("ymm{}h", n), "uint128", n, 2));
    return feature;
}

RegisterFile::RegisterFile(Architecture architecture, const cpu::CpuModel& model)
    : architecture_(architecture), program_counter_(architecture == Architecture::x86_64 ? 16 : 8) {
    features_.push_back(core_feature(architecture));
    features_.push_back(vector_feature(architecture));
    if (wide()) features_.push_back(segment_base_feature());
    if (model.has(cpu::Feature::avx)) features_.push_back(wide_vector_feature(architecture));
    features_.push_back(system_feature(architecture));
    for (const Feature& feature : features_)
        for (const Register& one : feature.registers) order_.push_back(&one);
    description_ = target_description(architecture, features_);
}

const Register* RegisterFile::find(std::string_view name) const {
    take(name, "$");
    if (name == "pc") return order_[program_counter()];
    if (name == "sp") return order_[stack_pointer()];
    if (name == "fp") return order_[frame_pointer()];
    const auto found = std::ranges::find(order_, name, [](const Register* one) { return std::string_view(one->name); });
    return found == order_.end() ? nullptr : *found;
}

std::string RegisterFile::read(const cpu::CpuState& state, std::size_t number) const {
    const Register& one = at(number);
    const RegisterValue value = one.get(state);
    const std::array words = {value.low, value.high};
    return to_hex(std::as_bytes(std::span(words)).first(one.bits / 8));
}

std::string RegisterFile::read_all(const cpu::CpuState& state) const {
    std::string all;
    for (std::size_t number = 0; number < count(); ++number) all += read(state, number);
    return all;
}

bool RegisterFile::write(cpu::CpuState& state, std::size_t number, std::string_view bytes) const {
    const Register& one = at(number);
    if (bytes.size() != one.bits / 8) return false;
    std::array<std::uint64_t, 2> words{};
    std::memcpy(words.data(), bytes.data(), bytes.size());
    one.set(state, {words[0], words[1]});
    return true;
}

bool RegisterFile::write_all(cpu::CpuState& state, std::string_view bytes) const {
    std::size_t size = 0;
    for (const Register* one : order_) size += one->bits / 8;
    if (bytes.size() != size) return false;
    const cpu::CpuState before = state;
    for (std::size_t number = 0; number < count(); ++number) {
        const std::string_view value = bytes.substr(0, at(number).bits / 8);
        bytes.remove_prefix(value.size());
        if (to_hex(value) != read(before, number)) write(state, number, value);
    }
    return true;
}

}  // namespace xenolith::machine::gdb
