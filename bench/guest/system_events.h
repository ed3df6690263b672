// Workloads made of what only a system does: paging, interrupts, traps, ports.
#ifndef XENOLITH_BENCH_GUEST_SYSTEM_EVENTS_H
#define XENOLITH_BENCH_GUEST_SYSTEM_EVENTS_H

#include <stdint.h>

enum {
    window_pages = 512,
    pages_touched = 16,  // after each switch of CR3
    address_space_switches = 2000,
    remaps = 4000,
    page_faults = 4 * window_pages,
    interrupts = 10000,
    system_calls = 10000,
    small_events = 20000,  // CPUID, RDMSR, WRMSR, IN, OUT
};

void prepare_system_events(void);
uint64_t switch_address_space_round(void);
uint64_t remap_round(void);
uint64_t page_fault_round(void);
uint64_t interrupt_round(void);
uint64_t system_call_round(void);
uint64_t cpuid_round(void);
uint64_t read_msr_round(void);
uint64_t write_msr_round(void);
uint64_t port_in_round(void);
uint64_t port_out_round(void);

#endif
