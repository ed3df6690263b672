// Breakpoints and single steps of 64-bit user code: the interpreter stops where the host's CPU does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <ostream>

#include "tests/cpu/debug_guest.hpp"
#include "tests/cpu/traced_program.hpp"

namespace xenolith::test {

void PrintTo(const DebugStop& stop, std::ostream* out) {
    *out << std::hex << "{rip " << stop.rip << ", dr6 " << stop.dr6_bits << ", rcx " << stop.rcx << '}';
}

namespace {

using namespace cpu;
using Guest = DebugGuest;

constexpr std::uint64_t watched = 0x20010;  // a multiple of 8
constexpr std::uint64_t stack = 0x2f000;
static_assert(TracedProgram::start == Guest::code);

class Code {
  public:
    Code& bytes(std::initializer_list<unsigned> list) {
        for (const unsigned byte : list) code_.push_back(static_cast<std::byte>(byte));
        return *this;
    }
    Code& address(std::uint64_t value) {
        for (unsigned n = 0; n < 4; ++n) code_.push_back(static_cast<std::byte>(value >> n * 8));
        return *this;
    }
    std::uint64_t here() const { return TracedProgram::start + code_.size(); }
    std::vector<std::byte> end() {
        bytes({0x0f, 0x0b});
        return code_;
    }

  private:
    std::vector<std::byte> code_;
};

// The same on the interpreter: the test is the tracer, and the handler of #DB a HLT.
std::vector<DebugStop> run_interpreted(const TracedProgram& program) {
    Guest guest(Start::user64);
    for (std::size_t n = 0; n < program.code.size(); ++n) guest.write(Guest::code + n, program.code[n]);
    CpuState program_state = guest.state;
    std::ranges::copy(program.registers, program_state.registers.begin());
    program_state.rflags = program.rflags;
    program_state.cr4 |= cr4::osfxsr;
    program_state.floating_point.control = 0x37f;
    program_state.floating_point.tag = 0xffff;
    std::ranges::copy(program.debug_address, program_state.debug_address.begin());
    program_state.dr7 = dr7::fixed_one | program.dr7;
    std::vector<DebugStop> stops;
    for (;;) {
        guest.state = program_state;
        if (program.steps) guest.state.rflags |= rflags::tf;
        guest.go(Pace::whole);
        if (guest.vector() != 1) break;
        DebugStop stop{guest.pushed_rip(), guest.debug_status() & 0x400f, guest.state.registers[rcx]};
        stops.push_back(stop);
        CpuState next = guest.state;
        next.rip = stop.rip;
        next.rflags = guest.pushed_flags() & ~rflags::tf;
        next.registers[rsp] = guest.frame(3);
        next.segments = program_state.segments;
        next.activity = Activity::running;
        next.dr6 = dr6::fixed_ones;
        // As Linux does for its tracer's breakpoints.
        for (unsigned n = 0; n < 4; ++n)
            if ((stop.dr6_bits >> n & 1) != 0 && (next.dr7 >> (16 + n * 4) & 3) == 0) next.rflags |= rflags::rf;
        program_state = next;
    }
    EXPECT_EQ(guest.vector(), 6) << "UD2 is the end";
    return stops;
}

void compare(const TracedProgram& program, std::size_t at_least = 1) {
    std::string why;
    const auto native = run_traced(program, why);
    if (!native) GTEST_SKIP() << why;
    EXPECT_GE(native->size(), at_least);
    EXPECT_EQ(run_interpreted(program), *native);
}

void arm(TracedProgram& program, unsigned number, std::uint64_t address, Condition condition,
         std::uint64_t length = 1) {
    CpuState state;
    state.dr7 = program.dr7;
    test::arm(state, number, address, condition, length);
    program.debug_address[number] = address;
    program.dr7 = state.dr7;
}

// Loads and stores of 1 to 16 bytes, at every distance from the watched bytes.
std::vector<std::byte> every_access() {
    Code code;
    for (std::uint64_t address = watched - 17; address <= watched + 17; ++address) {
        code.bytes({0x88, 0x04, 0x25}).address(address);        // mov [address], al
        code.bytes({0x66, 0x89, 0x04, 0x25}).address(address);  // ax
        code.bytes({0x89, 0x04, 0x25}).address(address);        // eax
        code.bytes({0x48, 0x89, 0x04, 0x25}).address(address);  // rax
        code.bytes({0x0f, 0x11, 0x04, 0x25}).address(address);  // movups [address], xmm0
        code.bytes({0x0f, 0xb6, 0x04, 0x25}).address(address);  // movzx eax, byte [address]
        code.bytes({0x66, 0x8b, 0x04, 0x25}).address(address);  // mov ax, [address]
        code.bytes({0x8b, 0x04, 0x25}).address(address);        // mov eax, [address]
        code.bytes({0x48, 0x8b, 0x04, 0x25}).address(address);  // mov rax, [address]
        code.bytes({0x0f, 0x10, 0x0c, 0x25}).address(address);  // movups xmm1, [address]
        code.bytes({0x01, 0x04, 0x25}).address(address);        // add [address], eax
        code.bytes({0xd9, 0x04, 0x25}).address(address);        // fld dword [address]
        code.bytes({0xdb, 0x3c, 0x25}).address(address);        // fstp tbyte [address]
    }
    return code.end();
}

struct Watch {
    Condition condition;
    std::uint64_t length;
};

std::string watch_name(const testing::TestParamInfo<Watch>& test) {
    return (test.param.condition == Condition::write ? "Write" : "Access") + std::to_string(test.param.length);
}

class NativeAccess : public testing::TestWithParam<Watch> {};

TEST_P(NativeAccess, MeetsWhatTheHostMeets) {
    TracedProgram program{.code = every_access()};
    program.registers[rsp] = stack;
    arm(program, 2, watched, GetParam().condition, GetParam().length);
    compare(program, 20);
}

INSTANTIATE_TEST_SUITE_P(Native, NativeAccess,
                         testing::Values(Watch{Condition::write, 1}, Watch{Condition::write, 2},
                                         Watch{Condition::write, 4}, Watch{Condition::write, 8},
                                         Watch{Condition::access, 1}, Watch{Condition::access, 2},
                                         Watch{Condition::access, 4}, Watch{Condition::access, 8}),
                         watch_name);

// Instructions that read, write, do both, or only look as if they did.
std::vector<std::byte> assorted() {
    Code code;
    const auto at = [&](std::initializer_list<unsigned> opcode) { code.bytes(opcode).address(watched); };
    code.bytes({0xb9, 3, 0, 0, 0});  // mov ecx, 3
    at({0x39, 0x04, 0x25});          // cmp [watched], eax
    at({0x85, 0x04, 0x25});          // test
    at({0x87, 0x04, 0x25});          // xchg
    at({0x0f, 0xb1, 0x0c, 0x25});    // cmpxchg, which compares equal or does not
    at({0x0f, 0xb1, 0x0c, 0x25});
    at({0xf0, 0x0f, 0xc1, 0x0c, 0x25});        // lock xadd
    at({0x0f, 0xc7, 0x0c, 0x25});              // cmpxchg8b
    at({0x0f, 0x90, 0x04, 0x25});              // seto
    at({0x0f, 0x40, 0x0c, 0x25});              // cmovo ecx: reads in any case
    at({0x0f, 0xab, 0x04, 0x25});              // bts [watched], eax: somewhere else
    at({0x8d, 0x04, 0x25});                    // lea
    at({0x0f, 0x1f, 0x04, 0x25});              // nop
    at({0x0f, 0x18, 0x0c, 0x25});              // prefetcht0
    at({0xff, 0x34, 0x25});                    // push [watched]
    at({0x8f, 0x04, 0x25});                    // pop [watched]
    at({0x0f, 0xae, 0x1c, 0x25});              // stmxcsr
    at({0xd9, 0x3c, 0x25});                    // fnstcw
    at({0xf2, 0x0f, 0x38, 0xf1, 0x04, 0x25});  // crc32 eax, [watched]
    at({0x66, 0x0f, 0x3a, 0x16, 0x04, 0x25});  // pextrd [watched], xmm0, 1
    code.bytes({1});
    return code.end();
}

TEST(NativeBreakpoint, AssortedInstructions) {
    for (const Condition condition : {Condition::write, Condition::access}) {
        TracedProgram program{.code = assorted()};
        program.registers[rsp] = stack;
        program.registers[rax] = 0x40;
        arm(program, 0, watched, condition, 4);
        compare(program, 8);
    }
}

TEST(NativeBreakpoint, Stack) {
    TracedProgram program{.code = Code()
                                      .bytes({0x50, 0x58, 0x9c, 0x9d})                      // push, pop, pushf, popf
                                      .bytes({0xe8, 0, 0, 0, 0, 0x58})                      // call; pop
                                      .bytes({0x55, 0x48, 0x89, 0xe5, 0x50, 0xc9})          // a frame, and leave
                                      .bytes({0xc8, 16, 0, 0, 0xc9, 0xc8, 16, 0, 1, 0xc9})  // enter, of two kinds
                                      .bytes({0xe8, 2, 0, 0, 0, 0xeb, 1, 0xc3})             // call a ret
                                      .end()};
    program.registers[rsp] = program.registers[rbp] = stack;
    arm(program, 0, stack - 8, Condition::write, 8);
    arm(program, 1, stack - 8, Condition::access, 1);
    arm(program, 3, stack - 16, Condition::access, 8);
    compare(program, 10);
}

// Backward, where no CPU takes groups of iterations at once.
TEST(NativeBreakpoint, RepeatedStrings) {
    for (const unsigned opcode : {0xa4u, 0xa5u, 0xaau, 0xabu, 0xacu, 0xadu, 0xa6u, 0xaeu}) {
        SCOPED_TRACE(opcode);
        for (const unsigned prefix : {0xf3u, 0xf2u}) {
            TracedProgram program{.code = Code().bytes({0xfd, prefix, opcode, 0xfc}).end()};
            program.registers[rsp] = stack;
            program.registers[rcx] = 20;
            program.registers[rdi] = program.registers[rsi] = watched + 32;
            arm(program, 0, watched, Condition::access, 8);
            arm(program, 1, TracedProgram::start + 1, Condition::execute);
            arm(program, 2, TracedProgram::start + 3, Condition::execute);
            compare(program);
        }
    }
}

TEST(NativeBreakpoint, Instructions) {
    Code code;
    code.bytes({0xb9, 5, 0, 0, 0});  // mov ecx, 5
    const std::uint64_t loop = code.here();
    code.bytes({0x90}).bytes({0xff, 0xc8}).bytes({0xe2, 0xfb});  // nop; dec eax; loop
    TracedProgram program{.code = code.end()};
    program.registers[rsp] = stack;
    arm(program, 0, loop, Condition::execute);
    arm(program, 1, loop + 1, Condition::execute);
    arm(program, 2, loop + 2, Condition::execute);  // within the instruction: never
    arm(program, 3, loop + 3, Condition::execute);
    compare(program, 15);
}

TEST(NativeBreakpoint, SingleSteps) {
    TracedProgram program{.code = assorted(), .steps = true};
    program.registers[rsp] = stack;
    arm(program, 1, watched, Condition::access, 4);
    compare(program, 20);
    program.code = Code().bytes({0xf3, 0xa4, 0xfd, 0xf3, 0xaa, 0xfc, 0x90, 0xe3, 0, 0x90}).end();
    program.registers[rcx] = 5;
    program.registers[rsi] = watched;
    program.registers[rdi] = watched - 2;
    compare(program, 8);
}

}  // namespace

}  // namespace xenolith::test
