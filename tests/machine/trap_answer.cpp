// A case becomes guest code: one WRMSR, call or hypercall after the other; where it is the host's turn, the guest
// writes to the debug console. What is told of the end: every error number, the fault and where it was, the registers
// that it should have left alone, what calls returned, and each page of memory that has changed, by what it now holds.
#include <algorithm>
#include <cstring>
#include <map>

#include "tests/machine/trap_case.hpp"
#include "xen/error_numbers.hpp"
#include "xen/hypercall_page.hpp"

namespace xenolith::machine::test {
namespace {

using Kind = TrapStep::Kind;
using Bytes = std::vector<std::byte>;

constexpr std::uint32_t xen_version = 17;
constexpr std::uint8_t old_mark = 0x11;  // of the code at layout::target before anything is copied

std::string hex(std::uint64_t value) {
    char text[16 + 1];
    std::snprintf(text, sizeof text, "%llx", static_cast<unsigned long long>(value));
    return text;
}

std::string joined(const std::vector<std::string>& parts, std::string_view separator) {
    std::string text;
    for (const std::string& part : parts) text += (text.empty() ? "" : std::string(separator)) + part;
    return text;
}

// What one vCPU does.
struct Program {
    GuestCode code;
    std::vector<std::uint64_t> at;  // of each step's own instruction
    std::vector<const TrapStep*> host_steps;
    unsigned calls = 0;
    bool has_hypercall = false;
    std::uint64_t end = 0;
};

std::uint64_t noted(unsigned call) { return layout::data.value + call; }

void add_hypercall_arguments(GuestCode& code) { code.mov(ebx, 0).mov(edi, 0); }

Program program_of(const TrapCase& trap_case, const std::vector<TrapStep>& steps, GuestMode mode,
                   mmu::GuestPhysical at) {
    Program program{.code = GuestCode(code_width(mode), code_offset(mode, at)), .at = {}, .host_steps = {}};
    GuestCode& code = program.code;
    for (const TrapStep& step : steps) {
        std::optional<std::uint64_t> own;
        switch (step.kind) {
            case Kind::write: own = code.write_msr(step.msr, step.value).last(); break;
            case Kind::read: own = code.mov(ecx, step.msr).rdmsr().last(); break;
            case Kind::call:
                own = code.here();
                code.call(code_offset(mode, {step.value})).store_al(noted(program.calls++));
                break;
            case Kind::vmcall:
            case Kind::vmmcall:
                add_hypercall_arguments(code);
                own = code.mov(eax, xen_version).here();
                step.kind == Kind::vmcall ? code.vmcall() : code.vmmcall();
                program.has_hypercall = true;
                break;
            case Kind::stub:
                add_hypercall_arguments(code);
                own = code.here();
                code.call(code_offset(mode, {step.value + xen_version * xen::slot_size}));
                program.has_hypercall = true;
                break;
            case Kind::configure:
            case Kind::map_blobs:
            case Kind::host_write:
                own = code.here();
                program.host_steps.push_back(&step);
                code.out_al(debug_port);
                break;
        }
        program.at.push_back(*own);
    }
    program.end = code.here();
    if (!trap_case.runs_on) is_privileged(mode) ? code.hlt() : code.undefined();
    return program;
}

// The memory that a guest can change, as it was.
class Snapshot {
  public:
    explicit Snapshot(const mmu::GuestMemory& memory) : memory_(memory) {
        for (const auto& region : memory.regions())
            if (region->kind != mmu::RegionKind::device)
                ranges_[region->start.value] = read(region->start, region->size);
    }

    // Calls visit(address, before, now) for each page that is different now: stacks and notes aside.
    template <class Visit>
    void each_change(Visit visit) const {
        for (const auto& [start, before] : ranges_) {
            const Bytes now = read({start}, before.size());
            for (std::size_t at = 0; at < now.size(); at += mmu::page_size) {
                const mmu::GuestPhysical page{start + at};
                if (page >= layout::stacks && page < layout::stacks + layout::stacks_size) continue;
                if (page >= layout::data && page < layout::data + 2 * mmu::page_size) continue;  // and a second stack
                const std::span was(&before[at], mmu::page_size), is(&now[at], mmu::page_size);
                if (!std::ranges::equal(was, is) && !only_accessed_bits(page, was, is)) visit(page, was, is);
            }
        }
    }

  private:
    Bytes read(mmu::GuestPhysical at, std::uint64_t size) const {
        Bytes bytes(size);
        memory_.read(at, bytes);
        return bytes;
    }

    const mmu::GuestMemory& memory_;
    std::map<std::uint64_t, Bytes> ranges_;
};

std::string page_text(mmu::GuestPhysical page, std::span<const std::byte> was, std::span<const std::byte> is,
                      const TrapSetup& setup) {
    const std::string start = hex(page.value) + " holds ";
    for (const auto instruction : {xen::HypercallInstruction::vmcall, xen::HypercallInstruction::vmmcall})
        if (std::ranges::equal(is, xen::generated_page(instruction)))
            return start + "stubs of " + std::string(xen::instruction_name(instruction));
    for (const TrapSetup::Content content : {setup.content, TrapSetup::Content::marked, TrapSetup::Content::changed}) {
        for (const unsigned width : {32u, 64u}) {
            TrapSetup tried = setup;
            tried.content = content;
            const Bytes blob = blob_bytes(tried, width);
            for (const std::uint64_t offset : {setup.blob_offset, std::uint64_t{0}}) {
                for (unsigned index = 0; (index + 1) * mmu::page_size + offset <= blob.size(); ++index) {
                    const std::span from(&blob[index * mmu::page_size + offset], mmu::page_size);
                    if (!std::ranges::equal(is, from)) continue;
                    std::string text = start + "page " + std::to_string(index) + " of the ";
                    if (content == TrapSetup::Content::changed) text += "changed ";
                    if (content == TrapSetup::Content::slide) return text + "blob";
                    text += std::to_string(width) + "-bit blob";
                    return offset == 0 ? text : text + " from offset " + hex(offset);
                }
            }
        }
    }
    std::size_t first = 0, last = 0;
    for (std::size_t at = mmu::page_size; at-- > 0;)
        if (was[at] != is[at]) first = at;
    for (std::size_t at = first; at < mmu::page_size; ++at)
        if (was[at] != is[at]) last = at;
    std::string text = hex(page.value + first) + " holds";
    constexpr std::size_t most = 8;
    for (std::size_t at = first; at <= last && at < first + most; ++at)
        text += " " + hex(std::to_integer<unsigned>(is[at]));
    return last - first < most ? text : text + " and more";
}

class Trial {
  public:
    Trial(TrapSubject& subject, const TrapCase& trap_case, GuestMode mode)
        : subject_(subject), case_(trap_case), mode_(mode) {}

    TrapAnswer answer() {
        const bool long_mode = long_mode_active(case_.second_mode.value_or(mode_));
        subject_.set_latch(!long_mode);
        note_configuration(apply(subject_, case_.setup), false);
        GuestCode old(code_width(mode_), code_offset(mode_, layout::target));
        put(layout::target, old.mov_al(old_mark).ret());
        run_steps(0, mode_, case_.steps, case_.program_at, layout::program_stack);
        if (case_.second_mode)
            run_steps(1, *case_.second_mode, case_.second_steps, layout::second_program, layout::data + 0x1000);
        if (parts_.empty()) parts_.push_back("the guest goes on, and nothing is copied");
        TrapAnswer answer{joined(parts_, "; "), std::nullopt};
        if (const auto latch = subject_.latch()) answer.latched = *latch == long_mode;
        return answer;
    }

  private:
    void put(mmu::GuestPhysical at, const GuestCode& code) { subject_.memory().write(at, code.data()); }

    void note_configuration(int error, bool says_success) {
        if (error != 0) parts_.push_back("the configuration is refused with " + std::string(xen::error_name(error)));
        if (error == 0 && says_success) parts_.push_back("configured");
    }

    void take_host_step(const TrapStep& step) {
        switch (step.kind) {
            case Kind::configure: note_configuration(apply(subject_, step.setup), true); break;
            case Kind::map_blobs: map_blobs(subject_, step.setup); break;
            default: subject_.host_write(step.msr, step.value); break;
        }
    }

    void run_steps(unsigned vcpu, GuestMode mode, const std::vector<TrapStep>& steps, mmu::GuestPhysical at,
                   mmu::GuestPhysical stack) {
        const Program program = program_of(case_, steps, mode, at);
        put(at, program.code);
        const Snapshot snapshot(subject_.memory());
        const std::size_t calls_before = subject_.hypercalls().size();
        subject_.set_state(vcpu, entry_state(mode, at, stack));
        std::size_t next = 0;
        const auto on_signal = [&] {
            if (next < program.host_steps.size()) take_host_step(*program.host_steps[next++]);
        };
        SubjectRun run = subject_.run(vcpu, on_signal);
        note_end(run, program, steps, mode);
        if (run.error_number != 0 && case_.repair) {
            note_configuration(apply(subject_, *case_.repair), true);
            run = subject_.run(vcpu, on_signal);
            note_end(run, program, steps, mode);
        }
        if (program.calls != 0) note_calls(program.calls);
        const std::vector<std::string> calls = subject_.hypercalls();
        for (std::size_t n = calls_before; n < calls.size(); ++n) parts_.push_back("hypercall " + calls[n]);
        snapshot.each_change([&](mmu::GuestPhysical page, auto was, auto is) {
            parts_.push_back(page_text(page, was, is, case_.setup));
        });
    }

    static std::string place(std::uint64_t rip, const Program& program) {
        if (program.at.size() == 1 && rip == program.at[0]) return "";
        const auto found = std::ranges::find(program.at, rip);
        if (found == program.at.end()) return " at offset " + hex(rip);
        return " at step " + std::to_string(found - program.at.begin() + 1);
    }

    void note_end(const SubjectRun& run, const Program& program, const std::vector<TrapStep>& steps, GuestMode mode) {
        if (!run.other.empty()) {
            parts_.push_back(run.other);
            return;
        }
        if (run.error_number != 0) {
            parts_.push_back("the run fails with " + std::string(xen::error_name(run.error_number)) +
                             place(run.state.rip, program));
            check_registers({run.state.registers.begin(), 16}, steps, mode);
            return;
        }
        const std::optional<Trap> trap = read_trap(subject_.memory(), mode, run.state);
        const bool own_end = trap && !is_privileged(mode) && trap->vector == 6 && trap->rip == program.end;
        if (trap && !own_end) {
            std::string text = trap->vector == 13  ? "#GP(" + hex(trap->error_code.value_or(0)) + ")"
                               : trap->vector == 6 ? "#UD"
                                                   : "vector " + std::to_string(trap->vector);
            parts_.push_back(text + place(trap->rip, program));
            check_registers({trap->registers.begin(), 16}, steps, mode);
            return;
        }
        const std::uint64_t rax = own_end ? trap->registers[cpu::rax] : run.state.registers[cpu::rax];
        if (program.has_hypercall) parts_.push_back("RAX " + hex(rax));
        if (case_.runs_on) parts_.push_back("AL " + hex(rax & 0xff));
        if (!program.has_hypercall && !case_.runs_on && !own_end)
            check_registers({run.state.registers.begin(), 16}, steps, mode);
    }

    // A lone WRMSR or RDMSR leaves every register as it found it, however it ends. (A finished RDMSR does not.)
    void check_registers(std::span<const std::uint64_t> registers, const std::vector<TrapStep>& steps, GuestMode mode) {
        if (steps.size() != 1 || (steps[0].kind != Kind::write && steps[0].kind != Kind::read)) return;
        cpu::CpuState expected = entry_state(mode, layout::program);
        expected.registers[cpu::rcx] = steps[0].msr;
        if (steps[0].kind == Kind::write) {
            expected.registers[cpu::rax] = steps[0].value & 0xffffffff;
            expected.registers[cpu::rdx] = steps[0].value >> 32;
        }
        for (unsigned number = 0; number < (long_mode_active(mode) ? 16u : 8u); ++number) {
            // The handlers of 32-bit modes write down their own stack pointer; of 64-bit code's the second vCPU has
            // one.
            if (number != cpu::rsp && registers[number] != expected.registers[number])
                parts_.push_back("register " + std::to_string(number) + " is " + hex(registers[number]));
        }
    }

    void note_calls(unsigned count) {
        Bytes values(count);
        subject_.memory().read({noted(0)}, values);
        std::string text = "calls return";
        for (const std::byte value : values) text += " " + hex(std::to_integer<unsigned>(value));
        parts_.push_back(text);
    }

    TrapSubject& subject_;
    const TrapCase& case_;
    GuestMode mode_;
    std::vector<std::string> parts_;
};

}  // namespace

TrapAnswer answer_of(TrapSubject& subject, const TrapCase& trap_case, GuestMode mode) {
    return Trial(subject, trap_case, mode).answer();
}

}  // namespace xenolith::machine::test
