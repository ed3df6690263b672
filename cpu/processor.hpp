// What an execute function sees: registers, lazy flags, memory through segments and pages, the stack, the world.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "cpu/debug/breakpoints.hpp"
#include "cpu/decode/decode_mode.hpp"
#include "cpu/environment.hpp"
#include "cpu/exceptions/fault.hpp"
#include "cpu/isa/flags.hpp"
#include "cpu/isa/instruction.hpp"
#include "cpu/model/cpu_model.hpp"
#include "cpu/state/cpu_state.hpp"
#include "cpu/timing/timing.hpp"
#include "mmu/guest_memory.hpp"
#include "mmu/page_walk.hpp"
#include "mmu/tlb.hpp"

namespace xenolith::cpu {

class Processor final : public LinearMemory {
  public:
    Processor(mmu::GuestMemory& guest_memory, Environment& world, const CpuModel& cpu_model, const Timing& costs,
              unsigned vcpu_index);

    // The architectural state. RIP is right at block boundaries only: inside an execute function use
    // instruction_rip() and next_rip(). The six arithmetic flags live in `flags`.
    CpuState state;
    Flags flags;

    mmu::GuestMemory& memory;
    Environment& environment;
    const CpuModel& model;
    const Timing& timing;
    const unsigned vcpu;
    std::uint64_t random_seed = 0;  // of RDRAND and RDSEED; the same for all of a machine's processors

    // --- Registers -----------------------------------------------------------------------------------------------
    // `offset` is a byte offset in CpuState::registers, as Instruction::registers holds it.
    template <class T>
    T get(std::uint8_t offset) const {
        T value;
        std::memcpy(&value, reinterpret_cast<const std::byte*>(state.registers.data()) + offset, sizeof(T));
        return value;
    }
    // A 32-bit write clears the upper half; 8 and 16-bit writes leave the rest (SDM vol. 1, 3.4.1.1).
    template <class T>
    void set(std::uint8_t offset, T value) {
        std::byte* const at = reinterpret_cast<std::byte*>(state.registers.data()) + offset;
        if constexpr (sizeof(T) == 4) {
            const std::uint64_t wide = value;
            std::memcpy(at, &wide, sizeof(wide));
        } else {
            std::memcpy(at, &value, sizeof(T));
        }
    }
    // The same by register number, never a high byte.
    template <class T>
    T get(GeneralRegister number) const {
        return static_cast<T>(state.registers[number]);
    }
    template <class T>
    void set(GeneralRegister number, T value) {
        set<T>(static_cast<std::uint8_t>(number * 8), value);
    }

    // RFLAGS with the arithmetic flags in place.
    std::uint64_t rflags_value() const { return (state.rflags & ~rflags::arithmetic) | flags.bits(); }
    // Writes all of RFLAGS that exists; the caller has masked what may not change. Asks for attention if IF or TF rose.
    void set_rflags_value(std::uint64_t value);

    // --- Where we are --------------------------------------------------------------------------------------------
    std::uint64_t instruction_rip() const { return state.registers[CpuState::rip_slot] + current_->start; }
    std::uint64_t next_rip() const { return state.registers[CpuState::rip_slot] + current_->end(); }
    // The same for the instruction at hand, without a look at which it is.
    std::uint64_t next_rip(const Instruction& i) const { return state.registers[CpuState::rip_slot] + i.end(); }
    const Instruction& current() const { return *current_; }
    std::uint64_t now() const { return cycles_ + current_->cost_before; }
    std::uint64_t instruction_count() const { return instructions_ + current_->ordinal; }
    Moment moment() const;
    // Adds to the clock beyond the instruction's own cost.
    void charge(std::uint64_t cycles) { cycles_ += cycles; }
    // For an instruction that traps: the cost given replaces its own.
    void charge_instead(std::uint64_t cycles) { cycles_ += cycles - current_->cost; }
    std::uint64_t tsc() const { return now() + state.msr.tsc_offset; }

    unsigned cpl() const { return cpl_; }
    bool code64() const { return code64_; }

    // --- Control transfer: for rows that say transfers_control -----------------------------------------------------
    // Near transfer: checks the target against the CS limit, or for being canonical, then sets RIP. #GP(0).
    void jump(std::uint64_t target) {
        if (target + code_bias_ >= code_span_) [[unlikely]]
            raise(Vector::general_protection, 0);
        state.rip = target;
    }
    void fall_through(const Instruction& i) { state.rip = next_rip(i); }
    // A repeated string instruction begins or goes on: how many elements it may do, `at_once` unless it was stopped.
    std::uint64_t elements_allowed(std::uint64_t at_once) {
        between_iterations_ = false;
        return elements_left_ == 0 ? at_once : std::exchange(elements_left_, 0);
    }
    // It stops between two iterations, `left` before it would have: that is no delivery point then.
    void yield(std::uint64_t left) {
        state.rip = instruction_rip();
        between_iterations_ = true;
        elements_left_ = left;
    }

    // --- Memory operands -----------------------------------------------------------------------------------------
    std::uint64_t effective_address(const Instruction& i) const {
        const std::uint64_t sum = state.registers[i.base] + (state.registers[i.index] << i.scale_shift) +
                                  static_cast<std::uint64_t>(i.displacement);
        return sum & address_mask(i.address_size);
    }
    static std::uint64_t address_mask(AddressSize size) { return address_masks[static_cast<unsigned>(size)]; }

    // Through a segment: limit, type and alignment are checked, then paging. T is an unsigned integer of 1 to 8 bytes.
    // What passes neither window nor TLB goes one slow way, so that the fast one stays short.
    template <class T>
    T load(SegmentName segment, std::uint64_t offset) {
        const Window& window = windows_[static_cast<unsigned>(segment)];
        const std::uint64_t linear = (window.base + offset) & linear_mask_;
        const mmu::TlbEntry& entry = data_tlb_->fast(linear);
        if (offset + sizeof(T) <= window.read_end && (linear ^ entry.read_tag) <= mmu::page_size - sizeof(T))
            [[likely]] {
            T value;
            std::memcpy(&value, host(entry, linear), sizeof(T));
            return value;
        }
        return static_cast<T>(load_checked(segment, offset, sizeof(T)));
    }
    template <class T>
    void store(SegmentName segment, std::uint64_t offset, T value) {
        const Window& window = windows_[static_cast<unsigned>(segment)];
        const std::uint64_t linear = (window.base + offset) & linear_mask_;
        const mmu::TlbEntry& entry = data_tlb_->fast(linear);
        if (offset + sizeof(T) <= window.write_end && (linear ^ entry.write_tag) <= mmu::page_size - sizeof(T))
            [[likely]] {
            std::memcpy(host(entry, linear), &value, sizeof(T));
            return;
        }
        store_checked(segment, offset, value, sizeof(T));
    }
    template <class T>
    T load(const Instruction& i) {
        return load<T>(i.segment, effective_address(i));
    }
    template <class T>
    void store(const Instruction& i, T value) {
        store<T>(i.segment, effective_address(i), value);
    }
    // Read-modify-write: begin_modify faults as a write would; end_modify writes the same place and cannot fault.
    template <class T>
    T begin_modify(SegmentName segment, std::uint64_t offset) {
        const Window& window = windows_[static_cast<unsigned>(segment)];
        const std::uint64_t linear = (window.base + offset) & linear_mask_;
        const mmu::TlbEntry& entry = data_tlb_->fast(linear);
        if (offset + sizeof(T) <= window.write_end && (linear ^ entry.write_tag) <= mmu::page_size - sizeof(T))
            [[likely]] {
            modified_ = host(entry, linear);
            T value;
            std::memcpy(&value, modified_, sizeof(T));
            return value;
        }
        return static_cast<T>(begin_modify_checked(segment, offset, sizeof(T)));
    }
    template <class T>
    T begin_modify(const Instruction& i) {
        return begin_modify<T>(i.segment, effective_address(i));
    }
    template <class T>
    void end_modify(T value) {
        if (modified_ != nullptr) [[likely]] {
            std::memcpy(modified_, &value, sizeof(T));
        } else {
            end_modify_slow(value, sizeof(T));
        }
    }
    // Vector operands of 16 or 32 bytes. One that must be aligned and is not raises #GP(0).
    template <unsigned Size, bool MustBeAligned>
    void load_vector(SegmentName segment, std::uint64_t offset, void* to) {
        const Window& window = windows_[static_cast<unsigned>(segment)];
        const std::uint64_t linear = (window.base + offset) & linear_mask_;
        const mmu::TlbEntry& entry = data_tlb_->fast(linear);
        if (offset + Size <= window.read_end && (linear ^ entry.read_tag) <= mmu::page_size - Size &&
            (!MustBeAligned || (linear & (Size - 1)) == 0)) [[likely]] {
            std::memcpy(to, host(entry, linear), Size);
            return;
        }
        load_vector_checked(segment, offset, to, Size, MustBeAligned);
    }
    template <unsigned Size, bool MustBeAligned>
    void store_vector(SegmentName segment, std::uint64_t offset, const void* from) {
        const Window& window = windows_[static_cast<unsigned>(segment)];
        const std::uint64_t linear = (window.base + offset) & linear_mask_;
        const mmu::TlbEntry& entry = data_tlb_->fast(linear);
        if (offset + Size <= window.write_end && (linear ^ entry.write_tag) <= mmu::page_size - Size &&
            (!MustBeAligned || (linear & (Size - 1)) == 0)) [[likely]] {
            std::memcpy(host(entry, linear), from, Size);
            return;
        }
        store_vector_checked(segment, offset, from, Size, MustBeAligned);
    }
    // Any number of bytes (16-byte operands, state images): checks everything before it moves anything.
    void load_bytes(SegmentName segment, std::uint64_t offset, void* to, unsigned size);
    void store_bytes(SegmentName segment, std::uint64_t offset, const void* from, unsigned size);
    // Raises #GP(0), or what the segment raises, unless the linear address is a multiple of the size, a power of two.
    void require_aligned(SegmentName segment, std::uint64_t offset, unsigned size, mmu::Access access);
    // For instructions that raise no #AC: what `access` does to memory is not checked for alignment.
    template <class Access>
    auto without_alignment_checks(Access access) {
        struct Suspended {
            bool& flag;
            const bool before;
            explicit Suspended(bool& checks) : flag(checks), before(std::exchange(checks, false)) {}
            ~Suspended() { flag = before; }
        };
        const Suspended suspended(checks_alignment_);
        return access();
    }
    // Raises what a write of that many bytes would raise, and does nothing else.
    void probe_write(SegmentName segment, std::uint64_t offset, unsigned size);
    // Segment checks alone: the linear address. Raises #GP(0) or #SS(0).
    std::uint64_t linear_for_read(SegmentName segment, std::uint64_t offset, unsigned size) {
        const Window& window = windows_[static_cast<unsigned>(segment)];
        if (offset + size > window.read_end) [[unlikely]]
            check_segment(segment, offset, size, mmu::Access::read);
        return (window.base + offset) & linear_mask_;
    }
    std::uint64_t linear_for_write(SegmentName segment, std::uint64_t offset, unsigned size) {
        const Window& window = windows_[static_cast<unsigned>(segment)];
        if (offset + size > window.write_end) [[unlikely]]
            check_segment(segment, offset, size, mmu::Access::write);
        return (window.base + offset) & linear_mask_;
    }

    // Linear accesses at the current privilege, segment checks already done; `segment` only chooses #SS or #GP.
    template <class T>
    T load_linear(std::uint64_t linear, SegmentName segment = SegmentName::ds) {
        const mmu::TlbEntry& entry = data_tlb_->fast(linear);
        if ((linear ^ entry.read_tag) <= mmu::page_size - sizeof(T)) [[likely]] {
            T value;
            std::memcpy(&value, host(entry, linear), sizeof(T));
            return value;
        }
        return static_cast<T>(load_slow(linear, sizeof(T), segment, *data_tlb_, privilege_));
    }
    template <class T>
    void store_linear(std::uint64_t linear, T value, SegmentName segment = SegmentName::ds) {
        const mmu::TlbEntry& entry = data_tlb_->fast(linear);
        if ((linear ^ entry.write_tag) <= mmu::page_size - sizeof(T)) [[likely]] {
            std::memcpy(host(entry, linear), &value, sizeof(T));
            return;
        }
        store_slow(linear, value, sizeof(T), segment, *data_tlb_, privilege_);
    }
    // Accesses the CPU makes itself to descriptor tables and task-state segments: always as supervisor.
    // Widths of 1, 2, 4 and 8 bytes.
    template <class T>
    T load_system(std::uint64_t linear) {
        return static_cast<T>(load_slow(linear & system_mask(), sizeof(T), SegmentName::ds, data_tlbs_[0],
                                        mmu::Privilege::implicit_supervisor));
    }
    template <class T>
    void store_system(std::uint64_t linear, T value) {
        store_slow(linear & system_mask(), value, sizeof(T), SegmentName::ds, data_tlbs_[0],
                   mmu::Privilege::implicit_supervisor);
    }
    // Raises the page fault that a system write would, and does nothing else.
    void probe_system_write(std::uint64_t linear, unsigned size);

    // For string instructions: the host bytes behind [linear, linear + n) with n as large as one page allows, or null
    // when the fast path is not open (then go element by element). Never crosses a page.
    std::byte* host_read_span(std::uint64_t linear) {
        const mmu::TlbEntry& entry = data_tlb_->fast(linear);
        return (linear ^ entry.read_tag) < mmu::page_size ? host(entry, linear) : nullptr;
    }
    std::byte* host_write_span(std::uint64_t linear) {
        const mmu::TlbEntry& entry = data_tlb_->fast(linear);
        return (linear ^ entry.write_tag) < mmu::page_size ? host(entry, linear) : nullptr;
    }
    // Whether all of [offset, offset + size) passes the segment with no closer look.
    bool reads_freely(SegmentName segment, std::uint64_t offset, std::uint64_t size) const {
        return offset + size <= windows_[static_cast<unsigned>(segment)].read_end;
    }
    bool writes_freely(SegmentName segment, std::uint64_t offset, std::uint64_t size) const {
        return offset + size <= windows_[static_cast<unsigned>(segment)].write_end;
    }

    // --- The stack -----------------------------------------------------------------------------------------------
    // SP, ESP or RSP, by SS.B and 64-bit mode.
    std::uint64_t stack_mask() const { return stack_mask_; }
    std::uint64_t stack_pointer() const { return state.registers[rsp] & stack_mask_; }
    void set_stack_pointer(std::uint64_t value) {
        state.registers[rsp] = stack_mask_ == 0xffff
                                   ? (state.registers[rsp] & ~std::uint64_t{0xffff}) | (value & 0xffff)
                                   : value & stack_mask_;
    }
    // The store comes before the pointer moves, so that a fault leaves everything as it was.
    template <class T>
    void push(T value) {
        const std::uint64_t top = (state.registers[rsp] - sizeof(T)) & stack_mask_;
        store<T>(SegmentName::ss, top, value);
        set_stack_pointer(top);
    }
    template <class T>
    T pop() {
        const T value = load<T>(SegmentName::ss, stack_pointer());
        set_stack_pointer(stack_pointer() + sizeof(T));
        return value;
    }
    // The operand `count` elements of T up from the top, pointer unmoved.
    template <class T>
    T peek(unsigned count) {
        return load<T>(SegmentName::ss, (stack_pointer() + count * sizeof(T)) & stack_mask_);
    }

    // --- Faults --------------------------------------------------------------------------------------------------
    [[noreturn]] void raise(Vector vector);
    [[noreturn]] void raise(Vector vector, std::uint32_t error_code);
    [[noreturn]] void raise_page_fault(std::uint64_t linear, std::uint32_t error_code);
    // #GP(0) unless CPL is 0.
    void require_cpl0() {
        if (cpl_ != 0) [[unlikely]]
            raise(Vector::general_protection, 0);
    }

    // --- Changes of system state ---------------------------------------------------------------------------------
    // After any change to segments, CR0, CR4, EFER, RFLAGS.VM, RFLAGS.AC or CPL: recomputes what is derived from them.
    // Instructions that cause one end their block by row flag.
    void mode_changed();
    // After a change to one segment register that changes neither CPL nor code width.
    void segment_changed(SegmentName segment) {
        update_window(segment);
        if (segment == SegmentName::ss) update_stack();
    }
    // After MOV CR3 and the like. They also make the engine look every block up anew.
    void flush_translations();  // everything
    void flush_translations_except_global();
    void flush_translation(mmu::GuestLinear linear);
    void forget_writable(mmu::GuestPhysical page);
    void forget_fast_paths();
    mmu::PagingContext paging_context() const;
    // Equal only while the same linear address, at the same privilege, means the same code decoded the same way.
    std::uint64_t code_key() const { return code_key_; }
    void translations_changed() {
        code_key_ += 0x100;
        fetch_page_ = 1;
    }
    DecodeMode code_mode() const { return static_cast<DecodeMode>(code_key_ >> 1 & 0x7f); }
    // The linear address of an offset in CS.
    std::uint64_t code_linear(std::uint64_t offset) const { return (windows_[1].base + offset) & linear_mask_; }
    // Exclusive end of the offsets that CS allows; outside 64-bit mode only.
    std::uint64_t code_end() const { return code_span_; }

    // Translates for an instruction fetch at the current privilege; raises #PF. Counts as TLB use and cost.
    mmu::GuestPhysical translate_fetch(std::uint64_t linear);

    // The engine looks at interrupts, deadlines, single-step and stop requests at the next delivery point.
    void request_attention() { run_until_.store(0, std::memory_order_relaxed); }

    // Inhibits interrupts until after the next instruction (STI; MOV SS and POP SS, which inhibit debug exceptions
    // too).
    void shadow_interrupts(bool debug_too) {
        state.interrupt_shadow = true;
        state.debug_shadow = debug_too;
        request_attention();
    }

    // --- Breakpoints ---------------------------------------------------------------------------------------------
    // After any change to DR0 to DR3, DR7 or CR4.DE.
    void debug_registers_changed() {
        if (breakpoints_.follow(state)) forget_fast_paths();
    }
    void set_debug_points(std::vector<DebugPoint> points) {
        breakpoints_.set_points(std::move(points));
        forget_fast_paths();
    }
    const Breakpoints& breakpoints() const { return breakpoints_; }
    // What the current instruction has met; the engine acts on it behind the instruction. A repeated string instruction
    // yields behind the iteration.
    const BreakpointHits& hits() const { return hits_; }
    BreakpointHits take_hits() { return std::exchange(hits_, {}); }
    // An access to ports, permitted and done.
    void watch_port(std::uint16_t port, unsigned width) {
        if (breakpoints_.watch_ports()) [[unlikely]] {
            breakpoints_.meet_port(port, width, hits_);
            if (hits_.any()) end_block_here();
        }
    }
    // For instructions that do not trap just because RFLAGS.TF was set when they began: says whether they do.
    void settle_single_step(bool traps) {
        step_settled_ = true;
        if (!traps) return;
        hits_.dr6_bits |= dr6::bs;
        request_attention();
    }
    // Whether the instruction did so since the last call.
    bool take_step_settled() { return std::exchange(step_settled_, false); }

    // Ends the run at this instruction, which has not happened: the Environment said so.
    struct Leave {
        enum class Kind : std::uint8_t { none, hypercall, failed } kind = Kind::none;
        int error_number = 0;
    };
    // Thrown as a Leave; caught where Fault is.
    [[noreturn]] void leave(Leave why);

    // LinearMemory, for the Environment: with supervisor rights, no faults, no segment checks.
    bool read_linear(mmu::GuestLinear address, std::span<std::byte> to) override;
    bool write_linear(mmu::GuestLinear address, std::span<const std::byte> from) override;

    // --- For engines ---------------------------------------------------------------------------------------------
    // Takes over a state from outside: arithmetic flags move to `flags`, everything derived is recomputed.
    void load_state(const CpuState& from);
    CpuState save_state() const;
    // One state for each TLB. std::invalid_argument if there are not as many, or one cannot be.
    std::vector<mmu::Tlb::State> save_translations() const;
    void restore_translations(const std::vector<mmu::Tlb::State>& states);
    const Instruction* current_;  // never null: between instructions it has no length and no cost
    void stand_between_instructions();
    std::uint64_t cycles_ = 0;        // at the start of the running block, plus what charge() added since
    std::uint64_t instructions_ = 0;  // at the start of the running block
    // The cycle at which the engine stops to look at anything but instructions; 0 after request_attention.
    std::atomic<std::uint64_t> run_until_ = 0;
    // The linear page of the last fetch translation while it still holds; 1 for none.
    std::uint64_t fetch_page_ = 1;
    bool between_iterations_ = false;  // of a repeated string instruction, at which RIP is
    std::uint64_t elements_left_ = 0;  // of what it may do at once, where a breakpoint has stopped it

  private:
    static constexpr std::uint64_t address_masks[] = {0xffff, 0xffffffff, ~std::uint64_t{0}};  // by AddressSize

    // A segment's linear base and, exclusive, the end of the offsets that need no closer look; 0 closes the fast way.
    struct alignas(32) Window {
        std::uint64_t base = 0, read_end = 0, write_end = 0;
    };

    static std::byte* host(const mmu::TlbEntry& entry, std::uint64_t linear) {
        return reinterpret_cast<std::byte*>(linear + static_cast<std::uint64_t>(entry.host_minus_linear));
    }
    // Tables and stacks of 64-bit handlers may be above 4 GiB while compatibility code runs.
    std::uint64_t system_mask() const { return state.in_long_mode() ? ~std::uint64_t{0} : 0xffffffff; }
    std::uint64_t mask_for(std::uint64_t linear) const { return linear >> 32 != 0 ? ~std::uint64_t{0} : linear_mask_; }
    // Notes what an access by linear address meets.
    void watch_data(std::uint64_t linear, std::uint64_t size, mmu::Access access) {
        if (breakpoints_.watch_data()) [[unlikely]] {
            breakpoints_.meet_data(linear, size, mask_for(linear), access, hits_);
            if (hits_.any()) end_block_here();
        }
    }
    void end_block_here() {
        current_->last = true;
        request_attention();
    }
    void forget_page(mmu::GuestLinear linear);
    void require_canonical(mmu::GuestLinear address, SegmentName segment);
    void require_canonical_end(std::uint64_t linear, unsigned size, SegmentName segment);
    void update_window(SegmentName segment);
    void update_stack();
    void check_segment(SegmentName segment, std::uint64_t offset, unsigned size, mmu::Access access);
    mmu::TlbEntry& translate(std::uint64_t linear, mmu::Access access, SegmentName segment, mmu::Tlb& tlb,
                             mmu::Privilege privilege);
    std::uint64_t load_slow(std::uint64_t linear, unsigned size, SegmentName segment, mmu::Tlb& tlb,
                            mmu::Privilege privilege);
    void store_slow(std::uint64_t linear, std::uint64_t value, unsigned size, SegmentName segment, mmu::Tlb& tlb,
                    mmu::Privilege privilege);
    void load_vector_checked(SegmentName segment, std::uint64_t offset, void* to, unsigned size, bool must_be_aligned);
    void store_vector_checked(SegmentName segment, std::uint64_t offset, const void* from, unsigned size,
                              bool must_be_aligned);
    std::uint64_t load_checked(SegmentName segment, std::uint64_t offset, unsigned size);
    void store_checked(SegmentName segment, std::uint64_t offset, std::uint64_t value, unsigned size);
    std::uint64_t begin_modify_checked(SegmentName segment, std::uint64_t offset, unsigned size);
    void end_modify_slow(std::uint64_t value, unsigned size);
    std::uint64_t read_physical(mmu::GuestPhysical address, unsigned size);
    void write_physical(mmu::GuestPhysical address, std::uint64_t value, unsigned size);

    std::array<Window, 6> windows_{};
    std::uint64_t linear_mask_ = 0xffffffff;
    std::uint64_t stack_mask_ = 0xffff;
    // A branch target is valid if target + bias, modulo 2^64, is below the span: below the end of CS, or canonical.
    std::uint64_t code_bias_ = 0, code_span_ = 0x10000;
    unsigned cpl_ = 0;
    bool code64_ = false;
    bool checks_alignment_ = false;
    mmu::Privilege privilege_ = mmu::Privilege::supervisor;
    mmu::Tlb* data_tlb_ = nullptr;
    std::byte* modified_ = nullptr;  // between begin_modify and end_modify; null on the slow way
    std::uint64_t modified_linear_ = 0;
    std::uint64_t code_key_ = 0x100;      // generation << 8 | DecodeMode << 1 | user
    std::array<mmu::Tlb, 3> data_tlbs_;   // supervisor, supervisor with SMAP lifted, user
    std::array<mmu::Tlb, 2> fetch_tlbs_;  // supervisor, user
    Breakpoints breakpoints_;
    BreakpointHits hits_;
    bool step_settled_ = false;
};

}  // namespace xenolith::cpu
