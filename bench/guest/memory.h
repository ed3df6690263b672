// Workloads that reach over much memory.
#ifndef XENOLITH_BENCH_GUEST_MEMORY_H
#define XENOLITH_BENCH_GUEST_MEMORY_H

#include <stdint.h>

void prepare_memory(void);
uint64_t stream_round(void);
uint64_t stride_round(void);
uint64_t aliases_round(void);
uint64_t chase_round(void);

#endif
