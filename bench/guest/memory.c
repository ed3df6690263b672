// Loads and stores over several MiB, in orders that caches and TLBs like and dislike.
#include "memory.h"

#include "guest.h"

static uint64_t* const cells = (uint64_t*)ARENA_ADDRESS;
enum { cell_count = ARENA_SIZE / 8, page_cells = 512 };

void prepare_memory(void) {
    // A permutation by a full-period linear congruence: each cell holds the number of the next.
    for (uint64_t i = 0; i < cell_count; ++i) cells[i] = (i * 1103515245 + 12345) % cell_count;
}

// Copy, scale and sum, one after another.
uint64_t stream_round(void) {
    enum { size = 200000 };
    const uint64_t* const from = cells;
    uint64_t* const to = cells + cell_count / 2;
    uint64_t sum = 0;
    for (unsigned i = 0; i < size; ++i) to[i] = from[i];
    for (unsigned i = 0; i < size; ++i) to[i] *= 3;
    for (unsigned i = 0; i < size; ++i) sum += to[i];
    return sum;
}

// A load from each of 4096 pages in turn, at strides of a cache line and of a page.
uint64_t stride_round(void) {
    uint64_t sum = 0;
    for (unsigned pass = 0; pass < 40; ++pass)
        for (unsigned i = 0; i < cell_count; i += page_cells + 8) sum += cells[i + pass % 8];
    for (unsigned i = 0; i < cell_count; i += 8) sum += cells[i];
    return sum;
}

// Pages that lie a power of two apart: what a direct-mapped table puts into one place.
uint64_t aliases_round(void) {
    enum { apart = 0x100000 / 8, streams = ARENA_SIZE / 0x100000 };
    uint64_t sum = 0;
    for (unsigned i = 0; i < 16000; ++i)
        for (unsigned stream = 0; stream < streams; ++stream) sum += cells[stream * apart + i];
    return sum;
}

// Each load's address depends on the one before.
uint64_t chase_round(void) {
    uint64_t at = 0;
    for (unsigned i = 0; i < 400000; ++i) at = cells[at];
    return at;
}
