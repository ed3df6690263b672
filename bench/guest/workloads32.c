// The workloads of the protected-mode program: the same code as the long-mode one's, compiled for 32 bits.
#include "guest.h"

const struct workload workloads[] = {
    {"integer", 0, integer_round, 0},   {"list", 0, list_round, 0},
    {"matrix", 0, matrix_round, 0},     {"automaton", 0, automaton_round, 0},
    {"checksum", 0, checksum_round, 0}, {"sieve", 0, sieve_round, 0},
    {"bytecode", 0, bytecode_round, 0}, {"calls", 0, calls_round, 0},
    {"stack", 0, stack_round, 0},       {0, 0, 0, 0},
};
