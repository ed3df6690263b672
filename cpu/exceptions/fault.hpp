// Guest faults: one type, thrown by whatever executes an instruction, caught by the engine, which delivers it.
#pragma once

#include <cstdint>
#include <optional>

namespace xenolith::cpu {

// Exception vectors (Intel SDM vol. 3A, table 6-1).
enum class Vector : std::uint8_t {
    divide_error = 0,
    debug = 1,
    nmi = 2,
    breakpoint = 3,
    overflow = 4,
    bound_range = 5,
    invalid_opcode = 6,
    device_not_available = 7,
    double_fault = 8,
    invalid_tss = 10,
    segment_not_present = 11,
    stack_fault = 12,
    general_protection = 13,
    page_fault = 14,
    x87_error = 16,
    alignment_check = 17,
    machine_check = 18,
    simd_error = 19,
};

// Thrown before the instruction changed anything: state is that of its start. A trap-like event (INT n, single step)
// is not a Fault: its instruction has completed.
struct Fault {
    Vector vector;
    std::optional<std::uint32_t> error_code;
    std::uint64_t linear_address = 0;  // CR2 of a page fault
    std::uint64_t dr6_bits = 0;        // of a debug exception
};

// Thrown when the third fault of a chain cannot be delivered: the CPU enters shutdown (SDM vol. 3A, 6.15, #DF).
struct TripleFault {};

}  // namespace xenolith::cpu
