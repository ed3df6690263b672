#include "cpu/native/native_oracle.hpp"

#include <asm/ldt.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <stdexcept>
#include <vector>

namespace xenolith::cpu {

namespace {

constexpr std::size_t page = 4096;
constexpr std::size_t longest_instruction = 15;
constexpr std::uint16_t code_selector_32 = 0x23, code_selector_64 = 0x33, data_selector = 0x2b;
constexpr std::uint8_t nop = 0x90;

// What the program reads and writes, on the page behind its code.
struct Exchange {
    std::uint64_t in[16];
    std::uint64_t in_flags;
    std::uint64_t out[16];
    std::uint64_t out_flags;
    std::uint64_t host_stack;
    std::uint64_t host_ds, host_es;
    std::uint32_t went_forward, went_backward;  // not zero: a branch led to that place
    std::uint32_t entry_32;
    std::uint16_t entry_32_selector;
    std::uint16_t flat_selector, selector_16;  // for loads of segment registers that change nothing else
    std::uint64_t small_stack[32];
    std::uint64_t moves_extended;  // 0: this run leaves x87 and vector registers alone
    std::uint32_t host_mxcsr;
    alignas(64) std::byte extended_in[832];  // XSAVE images of x87, SSE and AVX in the standard format
    alignas(64) std::byte extended_out[832];
};

// --- Images (SDM vol. 1, 13.4)

template <class T>
T take(const std::byte* image, std::size_t at) {
    T value;
    std::memcpy(&value, image + at, sizeof(T));
    return value;
}
template <class T>
void put(std::byte* image, std::size_t at, T value) {
    std::memcpy(image + at, &value, sizeof(T));
}

// `wide`: the pointers are 64-bit offsets, else 32-bit offsets with selectors.
void put_image(std::byte* image, const FloatingPointState& state, bool wide) {
    std::memset(image, 0, 832);
    unsigned in_use = 0;
    for (unsigned n = 0; n < 8; ++n) in_use |= (state.tag >> n * 2 & 3) != 3 ? 1u << n : 0;
    put(image, 0, state.control);
    put(image, 2, state.status);
    put(image, 4, static_cast<std::uint8_t>(in_use));
    put(image, 6, state.opcode);
    put(image, 8, state.instruction_pointer);
    put(image, 16, state.data_pointer);
    if (!wide) {
        put(image, 12, std::uint32_t{state.instruction_selector});
        put(image, 20, std::uint32_t{state.data_selector});
    }
    put(image, 24, state.mxcsr);
    for (unsigned n = 0; n < 8; ++n) {
        const X87Register& value = state.registers[((state.status >> 11) + n) & 7];
        put(image, 32 + n * 16, value.significand);
        put(image, 40 + n * 16, value.sign_exponent);
    }
    for (unsigned n = 0; n < 16; ++n) {
        std::memcpy(image + 160 + n * 16, state.vector[n].data(), 16);
        std::memcpy(image + 576 + n * 16, state.vector[n].data() + 2, 16);
    }
    put(image, 512, std::uint64_t{7});
}

void take_image(const std::byte* image, FloatingPointState& state, bool wide, unsigned vectors) {
    state.control = take<std::uint16_t>(image, 0);
    state.status = take<std::uint16_t>(image, 2);
    const auto in_use = take<std::uint8_t>(image, 4);
    state.tag = 0;
    for (unsigned n = 0; n < 8; ++n)
        if ((in_use >> n & 1) == 0) state.tag |= static_cast<std::uint16_t>(3 << n * 2);
    state.opcode = take<std::uint16_t>(image, 6);
    state.instruction_pointer = wide ? take<std::uint64_t>(image, 8) : take<std::uint32_t>(image, 8);
    state.data_pointer = wide ? take<std::uint64_t>(image, 16) : take<std::uint32_t>(image, 16);
    state.instruction_selector = wide ? std::uint16_t{0} : take<std::uint16_t>(image, 12);
    state.data_selector = wide ? std::uint16_t{0} : take<std::uint16_t>(image, 20);
    state.mxcsr = take<std::uint32_t>(image, 24);
    for (unsigned n = 0; n < 8; ++n) {
        X87Register& value = state.registers[((state.status >> 11) + n) & 7];
        value.significand = take<std::uint64_t>(image, 32 + n * 16);
        value.sign_exponent = take<std::uint16_t>(image, 40 + n * 16);
    }
    for (unsigned n = 0; n < vectors; ++n) {
        std::memcpy(state.vector[n].data(), image + 160 + n * 16, 16);
        std::memcpy(state.vector[n].data() + 2, image + 576 + n * 16, 16);
    }
}

// Code written through another address is seen for sure only after a serializing instruction (SDM vol.
// 3A, 8.1.3). IRET is one that no hypervisor traps.
void serialize() {
    asm volatile(
        "lea -128(%%rsp), %%rsp\n\t"  // not over the red zone
        "mov %%rsp, %%rcx\n\t"
        "mov %%ss, %%eax\n\t"
        "push %%rax\n\t"
        "push %%rcx\n\t"
        "pushfq\n\t"
        "mov %%cs, %%eax\n\t"
        "push %%rax\n\t"
        "lea 1f(%%rip), %%rax\n\t"
        "push %%rax\n\t"
        "iretq\n"
        "1:\n\t"
        "lea 128(%%rsp), %%rsp"
        :
        :
        : "rax", "rcx", "cc", "memory");
}

// Writes machine code that will run at `base`, with the exchange area one page behind.
class Emitter {
  public:
    explicit Emitter(std::uint64_t base) : base_(base) {}

    void bytes(std::initializer_list<unsigned> values) {
        for (const unsigned value : values) code_.push_back(static_cast<std::uint8_t>(value));
    }
    void doubleword(std::uint64_t value) {
        for (unsigned n = 0; n < 4; ++n) code_.push_back(static_cast<std::uint8_t>(value >> n * 8));
    }
    // ModRM and displacement of an operand in the exchange area: RIP-relative in 64-bit code, absolute in
    // 32-bit.
    void exchange_operand(unsigned reg_field, std::size_t offset) {
        bytes({reg_field << 3 | 5});
        const std::uint64_t target = base_ + page + offset;
        doubleword(is_32_ ? target : target - (here() + 4));
    }
    void load(unsigned number, std::size_t offset) { move(0x8b, number, offset); }
    // MOV of a segment register from the exchange area, by way of CS: it needs no other segment register, changes no
    // general one, and no flag. In 32-bit code.
    void load_segment(unsigned number, std::size_t offset) {
        bytes({0x2e, 0x8e});
        exchange_operand(number, offset);
    }
    // JMP FAR with a 32-bit offset, in 32-bit code, or in 16-bit code with a prefix.
    void jump_far(std::uint64_t offset, unsigned selector, bool in_16 = false) {
        if (in_16) bytes({0x66});
        bytes({0xea});
        doubleword(offset);
        bytes({selector & 0xff, selector >> 8});
    }
    void store(unsigned number, std::size_t offset) { move(0x89, number, offset); }
    void patch(std::size_t at, std::uint8_t value) { code_[at] = value; }
    void set_32() { is_32_ = true; }
    void set_64() { is_32_ = false; }
    std::uint64_t here() const { return base_ + code_.size(); }
    const std::vector<std::uint8_t>& code() const { return code_; }

  private:
    void move(unsigned opcode, unsigned number, std::size_t offset) {
        if (!is_32_) bytes({0x48 | (number >> 3) << 2});
        bytes({opcode});
        exchange_operand(number & 7, offset);
    }

    std::uint64_t base_;
    bool is_32_ = false;
    std::vector<std::uint8_t> code_;
};

}  // namespace

struct NativeOracle::Pages {
    NativeMode mode = NativeMode::bits64;
    NativeUnits units = NativeUnits::general;
    std::byte* low = nullptr;         // code page, exchange page, guard pages, memory, guard page
    std::byte* code_write = nullptr;  // the code page's writable view
    std::size_t slot_end = 0;         // instructions end here
    std::size_t forward = 0;          // where branches may lead
    std::size_t backward = 0;
    std::size_t recovery = 0;  // where a fault resumes
    std::size_t length = 0;
    std::optional<NativeFault> fault;
    NativeRegisters fault_registers;
    std::vector<std::byte> signal_stack;
    stack_t old_stack{};
    std::array<struct sigaction, 5> old_actions{};

    static constexpr std::array signals = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    static_assert(sizeof(Exchange) <= page);
    // Bit strings reach back 4 KiB: nothing is in their way.
    static constexpr std::size_t memory_offset = 8 * page, total = memory_offset + memory_size + 8 * page;
    static constexpr std::uint64_t usual_address_64 = 0x2000'0000, usual_address_32 = 0x2800'0000,
                                   usual_address_16 = 0x2c00'0000;
    // A 16-bit data segment has the memory in its middle, and guard pages to both its ends; a code segment has the code
    // where no operand and no branch to nowhere is.
    static constexpr std::size_t data_segment_offset = 2 * page, segment_size = 0x10000, code_place = 12 * page;
    static_assert(data_segment_offset + segment_size <= total);
    // The handler gets no argument of ours.
    static thread_local Pages* running;

    std::byte* below = nullptr;  // the start of the 16-bit code segment: nothing is there
    bool has_segments = false;   // the LDT's are ours

    ~Pages() {
        if (below != nullptr) munmap(below, code_place);
        if (has_segments) {
            clear_segment(code_selector_16);
            clear_segment(data_selector_16);
        }
        if (low != nullptr) munmap(low, total);
        if (code_write != nullptr) munmap(code_write, page);
    }

    Exchange& exchange() { return *reinterpret_cast<Exchange*>(low + page); }
    std::uint64_t base() const { return reinterpret_cast<std::uint64_t>(low); }
    // Linear, of the segments that the instruction has.
    std::uint64_t code_base() const { return mode == NativeMode::bits16 ? base() - code_place : 0; }
    std::uint64_t data_base() const { return mode == NativeMode::bits16 ? base() + data_segment_offset : 0; }
    std::uint64_t code_offset(std::size_t place) const { return base() + place - code_base(); }
    std::uint64_t instruction_address() const { return code_offset(slot_end - length); }

    bool map() {
        const int file = memfd_create("native_oracle", MFD_CLOEXEC);
        if (file < 0 || ftruncate(file, page) != 0) return false;
        const auto ok = [](void* address) { return address != MAP_FAILED; };
        // Always the same address where that is free, so that states with addresses in them can be told.
        void* const wanted = reinterpret_cast<void*>(mode == NativeMode::bits64   ? usual_address_64
                                                     : mode == NativeMode::bits32 ? usual_address_32
                                                                                  : usual_address_16);
        constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS;
        void* reserved = mmap(wanted, total, PROT_NONE, flags | MAP_FIXED_NOREPLACE, -1, 0);
        if (!ok(reserved)) reserved = mmap(nullptr, total, PROT_NONE, flags | MAP_32BIT, -1, 0);
        void* const view = mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (ok(reserved)) low = static_cast<std::byte*>(reserved);
        if (ok(view)) code_write = static_cast<std::byte*>(view);
        const bool mapped = ok(reserved) && ok(view) &&
                            ok(mmap(low, page, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, file, 0)) &&
                            mprotect(low + page, page, PROT_READ | PROT_WRITE) == 0 &&
                            mprotect(low + memory_offset, memory_size, PROT_READ | PROT_WRITE) == 0;
        close(file);
        return mapped;
    }

    // modify_ldt(2)
    static bool write_entry(unsigned selector, user_desc segment) {
        constexpr long function = 0x11;
        segment.entry_number = selector >> 3;
        return syscall(SYS_modify_ldt, function, &segment, sizeof segment) == 0;
    }
    static bool put_segment(unsigned selector, std::uint64_t base, unsigned contents) {
        user_desc segment{};
        segment.base_addr = static_cast<unsigned>(base);
        segment.limit = segment_size - 1;
        segment.contents = contents & 3;
        segment.useable = 1;
        return write_entry(selector, segment);
    }
    static void clear_segment(unsigned selector) {
        user_desc nothing{};
        nothing.read_exec_only = nothing.seg_not_present = 1;
        write_entry(selector, nothing);
    }

    // Two entries of the process's LDT. False if there is none to be had, or somebody has these entries already.
    bool make_segments() {
        std::array<std::uint64_t, 2> present{};
        void* const nothing =
            mmap(low - code_place, code_place, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        if (nothing == MAP_FAILED) return false;
        below = static_cast<std::byte*>(nothing);
        constexpr long read_entries = 0;
        if (syscall(SYS_modify_ldt, read_entries, present.data(), sizeof present) < 0) return false;
        if (present[code_selector_16 >> 3] != 0 || present[data_selector_16 >> 3] != 0) return false;
        has_segments = put_segment(code_selector_16, code_base(), MODIFY_LDT_CONTENTS_CODE) &&
                       put_segment(data_selector_16, data_base(), MODIFY_LDT_CONTENTS_DATA);
        return has_segments;
    }

    // Puts `code` into the program, to be jumped over if this run leaves x87 and vector registers alone.
    // Changes EAX and the flags.
    static void if_extended(Emitter& e, const std::function<void()>& code) {
        e.load(0, offsetof(Exchange, moves_extended));
        e.bytes({0x85, 0xc0, 0x74, 0});  // TEST EAX, EAX; JZ
        const std::size_t start = e.code().size();
        code();
        e.patch(start - 1, static_cast<std::uint8_t>(e.code().size() - start));
    }

    // XSAVE or XRSTOR of all components, by the register field of its opcode; in 64-bit code with REX.W.
    static void move_extended(Emitter& e, bool is_32, unsigned reg_field, std::size_t offset) {
        if_extended(e, [&] {
            e.bytes({0xb8, 7, 0, 0, 0, 0x31, 0xd2});  // MOV EAX, 7; XOR EDX, EDX
            if (!is_32) e.bytes({0x48});
            e.bytes({0x0f, 0xae});
            e.exchange_operand(reg_field, offset);
        });
    }

    // Where the instruction stands, and two places to branch to, each of which leaves a mark by NOT, which leaves the
    // flags alone.
    void write_slot(Emitter& e) {
        constexpr unsigned mark_length = 6, jump_length = 5, short_jump_length = 2;
        e.bytes({0xeb, mark_length + jump_length});  // JMP over them
        backward = e.code().size();
        e.bytes({0xf7});
        e.exchange_operand(2, offsetof(Exchange, went_backward));
        e.bytes({0xe9});  // JMP behind the other place
        e.doubleword(longest_instruction + short_jump_length + mark_length);
        for (std::size_t n = 0; n < longest_instruction; ++n) e.bytes({nop});
        slot_end = e.code().size();
        e.bytes({0xeb, mark_length});
        forward = e.code().size();
        e.bytes({0xf7});
        e.exchange_operand(2, offsetof(Exchange, went_forward));
    }

    // The same in 16-bit code, from and to 32-bit code. All but the segment registers is as the instruction wants it,
    // or has left it, on both ways. The marks are left in 32-bit code, which reaches the exchange area.
    void write_slot_16(Emitter& e) {
        constexpr unsigned es = 0, ss = 2, ds = 3, sp = 4;
        constexpr unsigned far_length = 7, far_16_length = 8, load_length = 7, mark_length = 6, short_jump_length = 2;
        for (const unsigned segment : {es, ds, ss}) e.load_segment(segment, offsetof(Exchange, selector_16));
        e.bytes({0x2e});
        e.load(sp, offsetof(Exchange, in) + sp * 8);
        e.jump_far(code_offset(e.code().size()) + far_length, code_selector_16);
        const std::uint64_t behind = e.here() + short_jump_length + 3 * far_16_length + longest_instruction;
        const std::uint64_t went_back = behind;
        const std::uint64_t went_ahead = went_back + load_length + mark_length + short_jump_length;
        const std::uint64_t went_on = went_ahead + load_length + mark_length;
        e.bytes({0xeb, far_16_length});
        backward = e.code().size();
        e.jump_far(went_back, code_selector_32, true);
        for (std::size_t n = 0; n < longest_instruction; ++n) e.bytes({nop});
        slot_end = e.code().size();
        e.jump_far(went_on, code_selector_32, true);
        forward = e.code().size();
        e.jump_far(went_ahead, code_selector_32, true);
        // 32-bit code again.
        const auto mark = [&](std::size_t offset) {
            e.load_segment(ds, offsetof(Exchange, flat_selector));
            e.bytes({0xf7});
            e.exchange_operand(2, offset);
        };
        mark(offsetof(Exchange, went_backward));
        e.bytes({0xeb, load_length + mark_length});
        mark(offsetof(Exchange, went_forward));
        e.load_segment(ds, offsetof(Exchange, flat_selector));
    }

    void write_program() {
        const bool all = units == NativeUnits::all;
        constexpr unsigned xsave = 4, xrstor = 5, ldmxcsr = 2, stmxcsr = 3, es = 0, ss = 2;
        Emitter e(base());
        const bool is_64 = mode == NativeMode::bits64, is_16 = mode == NativeMode::bits16;
        const unsigned count = is_64 ? 16 : 8;
        constexpr unsigned sp = 4;
        exchange().entry_32_selector = code_selector_32;
        exchange().flat_selector = data_selector;
        exchange().selector_16 = data_selector_16;
        e.bytes({0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57, 0x9c});  // PUSH callee-saved, PUSHFQ
        e.store(sp, offsetof(Exchange, host_stack));
        if (all) {
            e.bytes({0x0f, 0xae});
            e.exchange_operand(stmxcsr, offsetof(Exchange, host_mxcsr));
        }
        if (!is_64) {
            e.bytes({0x8c, 0xd8});  // MOV EAX, DS
            e.store(0, offsetof(Exchange, host_ds));
            e.bytes({0x8c, 0xc0});  // MOV EAX, ES
            e.store(0, offsetof(Exchange, host_es));
            e.bytes({0xb8});  // MOV EAX, data selector
            e.doubleword(data_selector);
            e.bytes({0x8e, 0xd8, 0x8e, 0xc0});  // MOV DS, EAX; MOV ES, EAX
            e.bytes({0xff});                    // JMP FAR
            e.exchange_operand(5, offsetof(Exchange, entry_32));
            exchange().entry_32 = static_cast<std::uint32_t>(e.here());
            e.set_32();
            load_small_stack(e);
        }
        if (all) move_extended(e, !is_64, xrstor, offsetof(Exchange, extended_in));
        e.bytes({0xff});  // PUSH in_flags
        e.exchange_operand(6, offsetof(Exchange, in_flags));
        e.bytes({0x9d});  // POPF
        for (unsigned n = 0; n < count; ++n)
            if (n != sp) e.load(n, offsetof(Exchange, in) + n * 8);
        if (is_16) {
            write_slot_16(e);
        } else {
            e.load(sp, offsetof(Exchange, in) + sp * 8);
            write_slot(e);
        }
        for (unsigned n = 0; n < count; ++n) e.store(n, offsetof(Exchange, out) + n * 8);
        if (is_16)
            for (const unsigned segment : {es, ss}) e.load_segment(segment, offsetof(Exchange, flat_selector));
        if (is_64)
            e.load(sp, offsetof(Exchange, host_stack));
        else
            load_small_stack(e);
        e.bytes({0x9c, 0x8f});  // PUSHF, POP out_flags
        e.exchange_operand(0, offsetof(Exchange, out_flags));
        if (all) move_extended(e, !is_64, xsave, offsetof(Exchange, extended_out));
        if (!is_64) {
            constexpr unsigned far_length = 7;
            e.jump_far(e.here() + far_length, code_selector_64);
            e.set_64();
        }
        recovery = e.code().size();
        e.load(sp, offsetof(Exchange, host_stack));
        if (all) {
            if_extended(e, [&] {
                e.bytes({0xdb, 0xe3, 0xc5, 0xf8, 0x77, 0x0f, 0xae});  // FNINIT; VZEROUPPER; LDMXCSR
                e.exchange_operand(ldmxcsr, offsetof(Exchange, host_mxcsr));
            });
        }
        if (!is_64) {
            e.load(0, offsetof(Exchange, host_ds));
            e.bytes({0x8e, 0xd8});
            e.load(0, offsetof(Exchange, host_es));
            e.bytes({0x8e, 0xc0});
        }
        e.bytes({0x9d, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3});
        std::memcpy(code_write, e.code().data(), e.code().size());
    }

    void load_small_stack(Emitter& e) const {
        e.bytes({0xbc});  // MOV ESP
        e.doubleword(base() + page + offsetof(Exchange, small_stack) + sizeof(Exchange::small_stack));
    }

    // The kernel leaves RFLAGS.AC as it was, and compilers do not align everything.
    static void stop_alignment_checks() {
        asm volatile(
            "lea -128(%%rsp), %%rsp\n\t"
            "pushfq\n\t"
            "andl $0xfffbffff, (%%rsp)\n\t"
            "popfq\n\t"
            "lea 128(%%rsp), %%rsp"
            :
            :
            : "cc", "memory");
    }

    static void on_signal(int number, siginfo_t* information, void* context_pointer) {
        stop_alignment_checks();
        auto& context = *static_cast<ucontext_t*>(context_pointer);
        greg_t* const registers = context.uc_mcontext.gregs;
        const auto rip = static_cast<std::uint64_t>(registers[REG_RIP]);
        Pages* const self = running;
        if (self == nullptr) {
            // Not ours: the default action, when the faulting code runs again.
            signal(number, SIG_DFL);
            return;
        }
        self->fault = NativeFault{.vector = static_cast<unsigned>(registers[REG_TRAPNO]),
                                  .error_code = static_cast<std::uint32_t>(registers[REG_ERR]),
                                  .address = reinterpret_cast<std::uint64_t>(information->si_addr),
                                  .rip_offset = rip - self->instruction_address()};
        constexpr int order[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                 REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
        for (unsigned n = 0; n < 16; ++n)
            self->fault_registers.general[n] = static_cast<std::uint64_t>(registers[order[n]]);
        if (self->exchange().moves_extended != 0 && context.uc_mcontext.fpregs != nullptr)
            std::memcpy(self->exchange().extended_out, context.uc_mcontext.fpregs, 832);
        constexpr std::uint64_t resume_flag = 1u << 16;
        self->fault_registers.rflags = static_cast<std::uint64_t>(registers[REG_EFL]) & ~resume_flag;
        registers[REG_RIP] = static_cast<greg_t>(self->base() + self->recovery);
        registers[REG_EFL] = 0x202;
        // CS in the low word, SS in the high one.
        constexpr std::uint64_t others = 0x0000'ffff'ffff'0000;
        registers[REG_CSGSFS] = static_cast<greg_t>((static_cast<std::uint64_t>(registers[REG_CSGSFS]) & others) |
                                                    code_selector_64 | std::uint64_t{data_selector} << 48);
    }

    void catch_signals() {
        signal_stack.resize(64 * 1024);
        stack_t stack{};
        stack.ss_sp = signal_stack.data();
        stack.ss_size = signal_stack.size();
        sigaltstack(&stack, &old_stack);
        struct sigaction action {};
        action.sa_sigaction = on_signal;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
        for (std::size_t n = 0; n < signals.size(); ++n) sigaction(signals[n], &action, &old_actions[n]);
    }
    void release_signals() {
        for (std::size_t n = 0; n < signals.size(); ++n) sigaction(signals[n], &old_actions[n], nullptr);
        sigaltstack(&old_stack, nullptr);
    }
};

thread_local NativeOracle::Pages* NativeOracle::Pages::running = nullptr;

std::unique_ptr<NativeOracle> NativeOracle::create(NativeMode mode, NativeUnits units) {
    if (units == NativeUnits::all && __builtin_cpu_supports("avx") == 0) return nullptr;
    auto pages = std::make_unique<Pages>();
    pages->mode = mode;
    pages->units = units;
    if (!pages->map() || (mode == NativeMode::bits16 && !pages->make_segments())) return nullptr;
    pages->write_program();
    std::unique_ptr<NativeOracle> oracle(new NativeOracle(std::move(pages)));
    // A NOP that comes back shows that the mode is there.
    const std::array probe{std::byte{nop}};
    oracle->set_instruction(probe);
    FloatingPointState floating_point;
    if (oracle->run({}, floating_point).fault) return nullptr;
    return oracle;
}

NativeOracle::NativeOracle(std::unique_ptr<Pages> pages) : pages_(std::move(pages)) { pages_->catch_signals(); }

NativeOracle::~NativeOracle() { pages_->release_signals(); }

std::span<std::byte, NativeOracle::memory_size> NativeOracle::memory() {
    return std::span<std::byte, memory_size>(pages_->low + Pages::memory_offset, memory_size);
}

std::uint64_t NativeOracle::memory_address() const {
    return pages_->base() + Pages::memory_offset - pages_->data_base();
}
std::uint64_t NativeOracle::code_base() const { return pages_->code_base(); }
std::uint64_t NativeOracle::data_base() const { return pages_->data_base(); }

std::uint64_t NativeOracle::instruction_address() const { return pages_->instruction_address(); }
std::uint64_t NativeOracle::instruction_end() const { return pages_->code_offset(pages_->slot_end); }
std::uint64_t NativeOracle::forward_target() const { return pages_->code_offset(pages_->forward); }
std::uint64_t NativeOracle::backward_target() const { return pages_->code_offset(pages_->backward); }

void NativeOracle::set_instruction(std::span<const std::byte> bytes) {
    if (bytes.empty() || bytes.size() > longest_instruction) throw std::invalid_argument("instruction length");
    std::byte* const slot_end = pages_->code_write + pages_->slot_end;
    std::fill(slot_end - longest_instruction, slot_end, std::byte{nop});
    std::ranges::copy(bytes, slot_end - bytes.size());
    pages_->length = bytes.size();
    serialize();
}

NativeOutcome NativeOracle::run(const NativeRegisters& registers) {
    pages_->exchange().moves_extended = 0;
    return run_program(registers);
}

NativeOutcome NativeOracle::run(const NativeRegisters& registers, FloatingPointState& floating_point) {
    Exchange& exchange = pages_->exchange();
    const bool is_64 = pages_->mode == NativeMode::bits64;
    exchange.moves_extended = pages_->units == NativeUnits::all ? 1 : 0;
    put_image(exchange.extended_in, floating_point, is_64);
    const NativeOutcome outcome = run_program(registers);
    if (exchange.moves_extended != 0) {
        // The kernel saves what the signal handler is given, in the 64-bit form.
        take_image(exchange.extended_out, floating_point, is_64 || outcome.fault, is_64 ? 16 : 8);
    }
    return outcome;
}

NativeOutcome NativeOracle::run_program(const NativeRegisters& registers) {
    Exchange& exchange = pages_->exchange();
    std::ranges::copy(registers.general, exchange.in);
    exchange.in_flags = registers.rflags;
    exchange.went_forward = exchange.went_backward = 0;
    pages_->fault.reset();
    Pages::running = pages_.get();
    reinterpret_cast<void (*)()>(pages_->low)();
    Pages::running = nullptr;
    NativeOutcome outcome;
    outcome.fault = pages_->fault;
    if (outcome.fault) {
        outcome.registers = pages_->fault_registers;
        outcome.rip = pages_->instruction_address() + outcome.fault->rip_offset;
    } else {
        outcome.rip = exchange.went_forward != 0    ? forward_target()
                      : exchange.went_backward != 0 ? backward_target()
                                                    : instruction_end();
        std::ranges::copy(exchange.out, outcome.registers.general.begin());
        outcome.registers.rflags = exchange.out_flags;
    }
    return outcome;
}

}  // namespace xenolith::cpu
