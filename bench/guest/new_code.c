// Code that is new each time it runs: copied and then run once, patched and then called, and a loop beside
// the data it writes. What the processor does with it: Intel SDM vol. 3A, 11.6 (self-modifying code).
#include "new_code.h"

#include "guest.h"

typedef uint64_t (*function)(uint64_t);

enum { function_bytes = 512 };
static uint8_t* const original = (uint8_t*)ARENA_ADDRESS;
static uint8_t* const copy = (uint8_t*)(ARENA_ADDRESS + 0x100000);
static uint8_t* const patched = (uint8_t*)(ARENA_ADDRESS + 0x200000);
static uint8_t* const beside = (uint8_t*)(ARENA_ADDRESS + 0x300000);

// uint64_t f(uint64_t rdi): RAX goes through a random sequence of these.
struct piece {
    uint8_t size;
    uint8_t bytes[4];
};
static const struct piece pieces[] = {
    {3, {0x48, 0x01, 0xf8}},        // add rax, rdi
    {3, {0x48, 0x31, 0xf8}},        // xor rax, rdi
    {4, {0x48, 0xd1, 0xc0, 0x90}},  // rol rax, 1; nop
    {4, {0x48, 0x83, 0xc0, 0x15}},  // add rax, 0x15
    {3, {0x48, 0xff, 0xc0}},        // inc rax
    {4, {0x48, 0x8d, 0x04, 0x40}},  // lea rax, [rax + rax * 2]
    {3, {0x48, 0xf7, 0xd0}},        // not rax
    {3, {0x48, 0x29, 0xf8}},        // sub rax, rdi
};

static uint8_t* append(uint8_t* at, const uint8_t* bytes, unsigned size) {
    while (size-- != 0) *at++ = *bytes++;
    return at;
}

void prepare_new_code(void) {
    static const uint8_t move_argument[] = {0x48, 0x89, 0xf8};  // mov rax, rdi
    static const uint8_t return_constant[] = {0xb8, 0,    0,    0,
                                              0,    0x48, 0x01, 0xf8};  // mov eax, imm32; add rax, rdi
    static const uint8_t loop[] = {0x31, 0xc0,                          // xor eax, eax
                                   0x48, 0x89, 0x07,                    // 1: mov [rdi], rax
                                   0x48, 0x03, 0x07,                    // add rax, [rdi]
                                   0x48, 0x01, 0xf0,                    // add rax, rsi
                                   0xff, 0xce,                          // dec esi
                                   0x75, 0xf3,                          // jnz 1b
                                   0xc3};                               // ret
    uint32_t random = 0x2468ace1;
    for (unsigned number = 0; number < cold_functions; ++number) {
        uint8_t* at = append(original + number * function_bytes, move_argument, sizeof move_argument);
        for (unsigned i = 0; i < instructions_per_function - 2; ++i) {
            const struct piece* const piece =
                &pieces[next_random(&random) % (sizeof pieces / sizeof *pieces)];
            at = append(at, piece->bytes, piece->size);
        }
        *at = 0xc3;
    }
    *append(patched, return_constant, sizeof return_constant) = 0xc3;
    append(beside, loop, sizeof loop);
}

uint64_t cold_code_round(void) {
    const uint8_t* from = original;
    uint8_t* to = copy;
    uint64_t count = cold_functions * function_bytes / 8;
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
    uint64_t sum = 1;
    for (unsigned number = 0; number < cold_functions; ++number)
        sum = ((function)(uint64_t)(copy + number * function_bytes))(sum);
    return sum;
}

uint64_t patched_code_round(void) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < patches; ++i) {
        *(volatile uint32_t*)(patched + 1) = i;
        sum = mix(sum, ((function)(uint64_t)patched)(i));
    }
    return sum;
}

// The loop writes into its own page, 1 KiB behind its code.
uint64_t stores_beside_code_round(void) {
    return ((uint64_t(*)(void*, uint64_t))(uint64_t)beside)(beside + 1024, stores_beside_code);
}
