#include "tests/cpu/traced_program.hpp"

#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

namespace xenolith::test {

namespace {

constexpr std::size_t most_stops = 5000;

// In the child: the memory at its addresses, then the tracer's turn. Only calls that are safe behind fork().
[[noreturn]] void become(const TracedProgram& program) {
    void* const wanted = reinterpret_cast<void*>(program.start);
    void* const memory = mmap(wanted, TracedProgram::size, PROT_READ | PROT_WRITE | PROT_EXEC,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (memory != wanted || ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(1);
    std::memcpy(memory, program.code.data(), program.code.size());
    raise(SIGSTOP);
    _exit(2);
}

class Tracee {
  public:
    explicit Tracee(const TracedProgram& program) : process_(fork()) {
        if (process_ == 0) become(program);
        wait();
    }
    ~Tracee() {
        if (process_ <= 0) return;
        if (stopped()) kill(process_, SIGKILL);
        while (stopped()) wait();
    }
    Tracee(const Tracee&) = delete;
    Tracee& operator=(const Tracee&) = delete;

    bool stopped() const { return process_ > 0 && WIFSTOPPED(status_); }
    int signal() const { return WSTOPSIG(status_); }
    bool set_debug_register(unsigned number, std::uint64_t value) {
        return ptrace(PTRACE_POKEUSER, process_, offset(number), value) == 0;
    }
    std::uint64_t debug_status() const {
        return static_cast<std::uint64_t>(ptrace(PTRACE_PEEKUSER, process_, offset(6), nullptr));
    }
    bool set_registers(const user_regs_struct& registers) {
        return ptrace(PTRACE_SETREGS, process_, nullptr, &registers) == 0;
    }
    user_regs_struct registers() const {
        user_regs_struct registers{};
        ptrace(PTRACE_GETREGS, process_, nullptr, &registers);
        return registers;
    }
    bool go_on(bool step) {
        if (ptrace(step ? PTRACE_SINGLESTEP : PTRACE_CONT, process_, nullptr, nullptr) != 0) return false;
        wait();
        return stopped();
    }

  private:
    static std::size_t offset(unsigned number) {
        return offsetof(user, u_debugreg) + number * sizeof(user::u_debugreg[0]);
    }
    void wait() {
        if (waitpid(process_, &status_, 0) != process_) status_ = 0;
    }

    pid_t process_;
    int status_ = 0;
};

}  // namespace

std::optional<std::vector<DebugStop>> run_traced(const TracedProgram& program, std::string& why) {
    Tracee tracee(program);
    const auto cannot = [&](const char* what) {
        why = std::string("the host does not let a tracer use debug registers: ") + what;
        return std::nullopt;
    };
    if (!tracee.stopped() || tracee.signal() != SIGSTOP) return cannot("no traced process");
    user_regs_struct registers = tracee.registers();
    unsigned long long* const in_order[] = {&registers.rax, &registers.rcx, &registers.rdx, &registers.rbx,
                                            &registers.rsp, &registers.rbp, &registers.rsi, &registers.rdi,
                                            &registers.r8,  &registers.r9,  &registers.r10, &registers.r11,
                                            &registers.r12, &registers.r13, &registers.r14, &registers.r15};
    for (unsigned n = 0; n < 16; ++n) *in_order[n] = program.registers[n];
    registers.rip = program.start;
    registers.eflags = program.rflags;
    registers.orig_rax = ~0ull;  // no system call to restart
    if (!tracee.set_registers(registers)) return cannot("PTRACE_SETREGS");
    for (unsigned n = 0; n < 4; ++n)
        if ((program.dr7 >> n * 2 & 3) != 0 && !tracee.set_debug_register(n, program.debug_address[n]))
            return cannot("DR0 to DR3");
    if (program.dr7 != 0 && !tracee.set_debug_register(7, program.dr7)) return cannot("DR7");
    std::vector<DebugStop> stops;
    while (stops.size() < most_stops && tracee.go_on(program.steps) && tracee.signal() == SIGTRAP) {
        constexpr std::uint64_t breakpoints_and_step = 0x400f;
        const user_regs_struct now = tracee.registers();
        stops.push_back({now.rip, tracee.debug_status() & breakpoints_and_step, now.rcx});
        tracee.set_debug_register(6, 0);
    }
    if (!tracee.stopped() || tracee.signal() != SIGILL) return cannot("the program has not come to its end");
    return stops;
}

}  // namespace xenolith::test
