// The workload of wide integer arithmetic.
#ifndef XENOLITH_BENCH_GUEST_ARITHMETIC_H
#define XENOLITH_BENCH_GUEST_ARITHMETIC_H

#include <stdint.h>

uint64_t arithmetic_round(void);

#endif
