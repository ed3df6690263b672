// Workloads whose code is new each time it runs.
#ifndef XENOLITH_BENCH_GUEST_NEW_CODE_H
#define XENOLITH_BENCH_GUEST_NEW_CODE_H

#include <stdint.h>

enum { cold_functions = 512, instructions_per_function = 100, patches = 2000, stores_beside_code = 20000 };

void prepare_new_code(void);
uint64_t cold_code_round(void);
uint64_t patched_code_round(void);
uint64_t stores_beside_code_round(void);

#endif
