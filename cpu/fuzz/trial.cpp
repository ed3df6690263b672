#include "cpu/fuzz/trial.hpp"

#include <fmt/format.h>

namespace xenolith::cpu::fuzz {

std::string_view general_register_name(unsigned number) {
    constexpr std::string_view names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    return names[number & 15];
}

std::string Field::name() const {
    switch (part) {
        case Part::fault: return "fault";
        case Part::fault_code: return "error code";
        case Part::fault_address: return "fault address";
        case Part::rip: return "rip";
        case Part::general: return std::string(general_register_name(number));
        case Part::flags: return "rflags";
        case Part::x87_control: return "x87 control";
        case Part::x87_status: return "x87 status";
        case Part::x87_tag: return "x87 tag";
        case Part::x87_opcode: return "x87 opcode";
        case Part::x87_instruction: return "x87 instruction pointer";
        case Part::x87_data: return "x87 data pointer";
        case Part::x87_selectors: return "x87 pointer selectors";
        case Part::x87_register: return fmt::format("R{} {}", number, word == 0 ? "significand" : "sign and exponent");
        case Part::mxcsr: return "mxcsr";
        case Part::vector: return fmt::format("ymm{} word {}", number, word);
        case Part::memory: return fmt::format("memory +{:x}", number);
    }
    return {};
}

std::string Field::text() const {
    if (part == Part::fault) {
        const auto fault_name = [](std::uint64_t vector) {
            return vector == no_fault ? std::string("none") : fmt::format("vector {}", vector);
        };
        return fmt::format("fault: {}, expected {}", fault_name(ours), fault_name(theirs));
    }
    return fmt::format("{}: {:x}, expected {:x}, at the start {:x}", name(), ours, theirs, start);
}

}  // namespace xenolith::cpu::fuzz
