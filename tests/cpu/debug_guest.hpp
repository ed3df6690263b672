// A SystemGuest with breakpoints, run as tests of debug exceptions need it: whole, with a budget of instructions, or
// one instruction at a time. How it runs makes no difference to what the guest sees.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

#include "tests/cpu/system_guest.hpp"

namespace xenolith::test {

enum class Pace : std::uint8_t { whole, budget, single };

inline std::string pace_name(const testing::TestParamInfo<Pace>& test) {
    constexpr const char* names[] = {"Whole", "Budget", "Single"};
    return names[static_cast<unsigned>(test.param)];
}

// R/W and LEN of DR7.
enum class Condition : std::uint8_t { execute = 0, write = 1, port = 2, access = 3 };

inline void arm(cpu::CpuState& state, unsigned number, std::uint64_t address, Condition condition,
                std::uint64_t length = 1, bool global = false) {
    constexpr std::uint64_t codes[] = {0, 0, 1, 0, 3, 0, 0, 0, 2};
    state.debug_address[number] = address;
    state.dr7 &= ~(std::uint64_t{0xf} << (16 + number * 4));
    state.dr7 |= (static_cast<std::uint64_t>(condition) | codes[length] << 2) << (16 + number * 4);
    state.dr7 |= std::uint64_t{global ? 2u : 1u} << number * 2;
}

class DebugGuest : public SystemGuest {
  public:
    using SystemGuest::SystemGuest;

    // From its state on until the CPU halts, or a debug point ends it.
    cpu::Exit go(Pace pace) {
        engine.set_state(state);
        return go_on(pace);
    }
    // The same from where the engine stands.
    cpu::Exit go_on(Pace pace) {
        const std::uint64_t end = engine.cycles() + 1'000'000;
        cpu::Exit exit;
        do {
            cpu::Budget budget{.until_cycles = end};
            if (pace == Pace::budget) budget.instructions = 10'000;
            if (pace == Pace::single) budget.instructions = 1;
            exit = engine.run(budget);
        } while (exit.reason == cpu::ExitReason::instructions);
        state = engine.state();
        return exit;
    }
    cpu::Exit go(Pace pace, std::initializer_list<unsigned> bytes) {
        place(first_byte(), bytes);
        return go(pace);
    }
    std::uint64_t first_byte() const {
        return (state.in_64bit_code() ? 0 : state.segment(cpu::SegmentName::cs).base) + state.rip;
    }
    // What the handler that halted finds on its stack.
    std::uint64_t frame(unsigned n) const {
        if (state.in_real_mode()) return stack<std::uint16_t>(n);
        return state.in_64bit_code() ? stack<std::uint64_t>(n) : stack<std::uint32_t>(n);
    }
    std::uint64_t pushed_rip() const { return frame(0); }
    std::uint64_t pushed_flags() const { return frame(2); }
    std::uint64_t debug_status() const { return state.dr6 & ~cpu::dr6::fixed_ones; }
};

}  // namespace xenolith::test
