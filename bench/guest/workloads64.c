// The workloads of the long-mode program. bench/compare says what each is for.
#include "arithmetic.h"
#include "guest.h"
#include "memory.h"
#include "new_code.h"
#include "strings.h"
#include "system_events.h"

const struct workload workloads[] = {
    {"integer", 0, integer_round, 0},
    {"list", 0, list_round, 0},
    {"matrix", 0, matrix_round, 0},
    {"automaton", 0, automaton_round, 0},
    {"checksum", 0, checksum_round, 0},
    {"sieve", 0, sieve_round, 0},
    {"bytecode", 0, bytecode_round, 0},
    {"calls", 0, calls_round, 0},
    {"stack", 0, stack_round, 0},
    {"arithmetic", 0, arithmetic_round, 0},
    {"stream", prepare_memory, stream_round, 0},
    {"stride", prepare_memory, stride_round, 0},
    {"aliases", prepare_memory, aliases_round, 0},
    {"chase", prepare_memory, chase_round, 0},
    {"strings-large", prepare_strings, strings_large_round, strings_large_operations},
    {"strings-small", prepare_strings, strings_small_round, strings_small_operations},
    {"strings-scan", prepare_strings, strings_scan_round, strings_scan_operations},
    {"cold-code", prepare_new_code, cold_code_round, cold_functions* instructions_per_function},
    {"patched-code", prepare_new_code, patched_code_round, patches},
    {"beside-code", prepare_new_code, stores_beside_code_round, stores_beside_code},
    {"cr3", prepare_system_events, switch_address_space_round, address_space_switches},
    {"invlpg", prepare_system_events, remap_round, remaps},
    {"page-fault", prepare_system_events, page_fault_round, page_faults},
    {"interrupt", prepare_system_events, interrupt_round, interrupts},
    {"syscall", prepare_system_events, system_call_round, system_calls},
    {"cpuid", prepare_system_events, cpuid_round, small_events},
    {"rdmsr", prepare_system_events, read_msr_round, small_events},
    {"wrmsr", prepare_system_events, write_msr_round, small_events},
    {"in", prepare_system_events, port_in_round, small_events},
    {"out", prepare_system_events, port_out_round, small_events},
    {0, 0, 0, 0},
};
