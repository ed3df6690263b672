// Calls: recursion, calls through pointers, and frames that use the stack heavily.
#include "guest.h"

#define NOINLINE __attribute__((noinline, noclone))

// Keeps the compiler from turning one call into a loop or a constant.
#define OPAQUE(variable) __asm__ volatile("" : "+r"(variable))

static NOINLINE word fibonacci(word n) {
    if (n < 2) return n;
    const word left = fibonacci(n - 1);
    return left + fibonacci(n - 2);
}

static NOINLINE word add_one(word value) { return value + 1; }
static NOINLINE word triple(word value) { return value * 3; }
static NOINLINE word flip(word value) { return value ^ 0x5a5a5a5a; }
static NOINLINE word halve(word value) { return value >> 1; }
static NOINLINE word turn(word value) { return value << 5 | value >> 27; }
static NOINLINE word negate(word value) { return ~value + 7; }

typedef word (*step)(word);

static NOINLINE void sort(uint32_t* from, uint32_t* to) {
    while (to - from > 1) {
        const uint32_t pivot = from[(to - from) / 2];
        uint32_t *low = from, *high = to - 1;
        while (low <= high) {
            while (*low < pivot) ++low;
            while (*high > pivot) --high;
            if (low > high) break;
            const uint32_t kept = *low;
            *low++ = *high;
            *high-- = kept;
        }
        sort(low, to);
        to = high + 1;
    }
}

uint64_t calls_round(void) {
    enum { fibonacci_of = 23, indirect_calls = 100000, sorted = 4096 };
    static step const steps[] = {add_one, triple, flip, halve, turn, negate, triple, add_one};
    word sum = fibonacci(fibonacci_of);

    uint32_t random = 0x1234567;
    uint8_t* const choices = (uint8_t*)ARENA_ADDRESS;
    for (unsigned i = 0; i < 4096; ++i) choices[i] = (uint8_t)(next_random(&random) & 7);
    for (unsigned i = 0; i < indirect_calls; ++i) sum = steps[choices[i & 4095]](sum);

    uint32_t* const numbers = (uint32_t*)(ARENA_ADDRESS + 0x10000);
    for (unsigned i = 0; i < sorted; ++i) numbers[i] = next_random(&random);
    sort(numbers, numbers + sorted);
    uint64_t checksum = sum;
    for (unsigned i = 0; i < sorted; ++i) checksum = mix(checksum, numbers[i]);
    return checksum;
}

// A frame with arguments on the stack, all saved registers in use, and locals that are written and read back.
static NOINLINE word descend(word depth, word a, word b, word c, word d, word e, word f, word g, word h) {
    volatile word locals[8] = {a, b, c, d, e, f, g, h};
    if (depth == 0) return locals[a & 7] + b;
    const word left = descend(depth - 1, b, c, d, e, f, g, h, a + locals[depth & 7]);
    const word right = descend(depth - 1, h, a, b, c, d, e, f, g ^ left);
    OPAQUE(depth);
    return (left ^ locals[0]) + (right + locals[7]) + a + b + c + d + e + f + g + h;
}

uint64_t stack_round(void) { return descend(15, 1, 2, 3, 4, 5, 6, 7, 8); }
