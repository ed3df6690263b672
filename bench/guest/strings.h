// Workloads made of string instructions.
#ifndef XENOLITH_BENCH_GUEST_STRINGS_H
#define XENOLITH_BENCH_GUEST_STRINGS_H

#include <stdint.h>

enum { strings_large_operations = 256, strings_small_operations = 60000, strings_scan_operations = 512 };

void prepare_strings(void);
uint64_t strings_large_round(void);
uint64_t strings_small_round(void);
uint64_t strings_scan_round(void);

#endif
