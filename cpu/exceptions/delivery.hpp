// Interrupts and exceptions enter their handlers (SDM vol. 3A, chapter 6; 20.1.4, 20.3 for real mode and
// VM86).
#pragma once

#include <cstdint>
#include <optional>

#include "cpu/exceptions/fault.hpp"

namespace xenolith::cpu {

class Processor;

struct Event {
    enum class Kind : std::uint8_t {
        external,  // the INTR pin
        nmi,
        fault,         // RIP is that of the instruction that faulted
        trap,          // RIP is behind the instruction
        software_int,  // INT n
        int3_or_into,  // INT3, INTO
        icebp,         // INT1: as INT3, but no privilege is checked and it counts as external
    };

    std::uint8_t vector = 0;
    Kind kind = Kind::fault;
    std::optional<std::uint32_t> error_code = std::nullopt;
    std::optional<std::uint64_t> page_fault_address = std::nullopt;  // goes to CR2
    std::uint64_t dr6_bits = 0;                                      // added to DR6

    static Event from(const Fault& fault);
};

// Enters the handler: state.rip is what is pushed. CR2, DR6 and the blocking of NMIs change at once; all else
// only when nothing can fault any more. A Fault leaves the state as it was, except that of a task switch
// which failed behind its point of no return (see task_switch.hpp).
void deliver(Processor& processor, const Event& event);

// What to deliver when delivering `first` raised `second`: `second` itself, or a double fault (SDM vol. 3A,
// table 6-5). Throws TripleFault when `first` was the double fault.
Event combine(const Event& first, const Fault& second);

}  // namespace xenolith::cpu
