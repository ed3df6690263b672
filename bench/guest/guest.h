// What the parts of the benchmark guest share: workloads, and the console they are reported on.
#ifndef XENOLITH_BENCH_GUEST_GUEST_H
#define XENOLITH_BENCH_GUEST_GUEST_H

#include <stdint.h>

#include "layout.h"

// The machine's natural word: 32 bits wide in the protected-mode program, 64 in the long-mode one.
typedef unsigned long word;

struct workload {
    const char* name;
    // Once, before the clock starts; may be null.
    void (*prepare)(void);
    // One round: always the same work and the same checksum.
    uint64_t (*round)(void);
    // What one round does, in the unit a reader would count: events, calls, bytes moved in KiB. 0: no such
    // unit.
    uint32_t operations;
};

// Ends with an entry without a name. Each program has its own.
extern const struct workload workloads[];

// Lines reach the debug console (port 0xe9) byte by byte.
void print(const char* text);
void print_decimal(uint64_t number);
void print_hexadecimal(uint64_t number);
// Prints "error: ", the text and a newline, and ends the run.
__attribute__((noreturn)) void fail(const char* text);
__attribute__((noreturn)) void end_run(void);

// integer.c
uint64_t list_round(void);
uint64_t matrix_round(void);
uint64_t automaton_round(void);
uint64_t checksum_round(void);
uint64_t sieve_round(void);
uint64_t bytecode_round(void);
uint64_t integer_round(void);

// calls.c
uint64_t calls_round(void);
uint64_t stack_round(void);

static inline void out8(uint16_t port, uint8_t value) {
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}
static inline uint8_t in8(uint16_t port) {
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline uint64_t read_time_stamp(void) {
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}
// A pseudo-random sequence (xorshift with 32 bits of state), so that every machine sees the same data.
static inline uint32_t next_random(uint32_t* state) {
    uint32_t value = *state;
    value ^= value << 13;
    value ^= value >> 17;
    value ^= value << 5;
    return *state = value;
}
static inline uint64_t mix(uint64_t checksum, uint64_t value) {
    return (checksum << 7 | checksum >> 57) ^ value;
}

#endif
