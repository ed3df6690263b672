// The x87 register stack, status word and exceptions as the instructions see them (SDM vol.
// 1, 8.1, 8.4, 8.5).
//
// An instruction makes an X87 first, which raises what has to be raised before anything else; then it reads
// its memory operand; and only when nothing can fault any more does it change state. An unmasked exception
// does not stop the instruction that found it with a fault: it leaves the flags and ES behind, and usually
// its operands as they were; the next instruction that waits raises #MF.
#pragma once

#include "cpu/isa/floating_point.hpp"
#include "cpu/isa/host_x87.hpp"
#include "cpu/isa/instruction.hpp"
#include "cpu/processor.hpp"

namespace xenolith::cpu {

// Bits of the status word (SDM vol. 1, 8.1.3); the masks in the control word are at the same places.
namespace x87 {
inline constexpr std::uint16_t invalid = 1, denormal = 2, zero_divide = 4, overflow = 8, underflow = 16, precision = 32,
                               exceptions = 0x3f, stack_fault = 0x40, summary = 0x80, c0 = 0x100, c1 = 0x200,
                               c2 = 0x400, c3 = 0x4000, busy = 0x8000;
inline constexpr std::uint16_t all_conditions = c0 | c1 | c2 | c3;
// These are found before the operation is done, and unmasked they prevent it (SDM vol. 1, 8.7).
inline constexpr std::uint16_t before_operation = invalid | denormal | zero_divide;
// The answer to a masked invalid operation.
inline constexpr X87Register indefinite{0xc000000000000000, 0xffff};
}  // namespace x87

class X87 {
  public:
    // Raises #NM, or #MF for an exception left pending.
    X87(Processor& processor, const Instruction& instruction)
        : p_(processor), i_(instruction), fp_(processor.state.floating_point) {
        require_x87(p_);
        require_no_pending_x87_error(p_);
    }

    FloatingPointState& state() { return fp_; }
    X87Register& st(unsigned n) { return fp_.registers[number(n)]; }
    bool empty(unsigned n) const { return (fp_.tag >> number(n) * 2 & 3) == 3; }
    void set_st(unsigned n, const X87Register& value) {
        st(n) = value;
        set_tag(n, 0);
    }
    void set_empty(unsigned n) { set_tag(n, 3); }

    void move_top(unsigned by) {
        constexpr unsigned field = 7 << 11;
        fp_.status = static_cast<std::uint16_t>((fp_.status & ~field) | ((fp_.status + (by << 11)) & field));
    }
    void push(const X87Register& value) {
        move_top(7);
        set_st(0, value);
    }
    void pop() {
        set_empty(0);
        move_top(1);
    }

    // The instruction is past all faults: it becomes the last one that the pointers tell of (SDM vol. 1, 8.1.8 and
    // 8.1.9). Since the Pentium 4, Intel's opcode is that of the last unmasked exception, and later so is the data
    // pointer.
    void record() {
        fp_.instruction_pointer = p_.instruction_rip();
        if (!p_.model.has(Feature::no_fcs_fds)) fp_.instruction_selector = p_.state.segment(SegmentName::cs).selector;
        if (p_.model.vendor() != Vendor::intel) record_opcode();
        if (!p_.model.has(Feature::fdp_exception_only)) record_data();
    }

    bool unmasked(unsigned exceptions) const { return (exceptions & ~fp_.control & x87::exceptions) != 0; }

    // Adds exceptions to those seen and replaces the conditions that the instruction defines.
    void report(unsigned flags_and_conditions, unsigned conditions = x87::c1) {
        const unsigned kept = fp_.status & ~conditions;
        fp_.status = static_cast<std::uint16_t>(
            kept | (flags_and_conditions & (conditions | x87::exceptions | x87::stack_fault)));
        if (unmasked(flags_and_conditions)) {
            record_opcode();
            record_data();
        }
        if (unmasked(fp_.status)) fp_.status |= x87::summary | x87::busy;
    }
    // A source is empty, or a push finds no room: true if the masked response is to follow.
    bool report_underflow(unsigned conditions = x87::c1) {
        report(x87::invalid | x87::stack_fault, conditions);
        return !unmasked(x87::invalid);
    }
    bool report_overflow(unsigned conditions = x87::c1) {
        report(x87::invalid | x87::stack_fault | x87::c1, conditions);
        return !unmasked(x87::invalid);
    }
    // What the host said of an operation; true if there is a result to store.
    bool accept(const host_x87::Exchange& exchange, unsigned conditions = x87::c1) {
        report(exchange.status & ~unsigned{x87::stack_fault}, conditions);
        return !unmasked(exchange.status & x87::before_operation);
    }
    // Operands and the guest's control word.
    host_x87::Exchange exchange() const {
        host_x87::Exchange exchange;
        exchange.control = fp_.control;
        return exchange;
    }

  private:
    void record_opcode() { fp_.opcode = static_cast<std::uint16_t>(i_.immediate); }
    void record_data() {
        if (!i_.has_memory) return;
        fp_.data_pointer = p_.effective_address(i_);
        if (!p_.model.has(Feature::no_fcs_fds)) fp_.data_selector = p_.state.segment(i_.segment).selector;
    }
    unsigned number(unsigned n) const { return (stack_top(fp_) + n) & 7; }
    void set_tag(unsigned n, unsigned tag) {
        const unsigned shift = number(n) * 2;
        fp_.tag = static_cast<std::uint16_t>((fp_.tag & ~(3u << shift)) | tag << shift);
    }

    Processor& p_;
    const Instruction& i_;
    FloatingPointState& fp_;
};

}  // namespace xenolith::cpu
