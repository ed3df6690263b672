// String instructions, by size: what memcpy, memset, memchr and memcmp are made of.
#include "strings.h"

#include "guest.h"

static uint8_t* const source = (uint8_t*)ARENA_ADDRESS;
static uint8_t* const target = (uint8_t*)(ARENA_ADDRESS + 0x400000);
enum { area = 0x400000 };

static void copy_bytes(void* to, const void* from, uint64_t count) {
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}
static void copy_words(void* to, const void* from, uint64_t count) {
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}
static void fill_bytes(void* to, uint8_t value, uint64_t count) {
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory");
}
static void fill_words(void* to, uint64_t value, uint64_t count) {
    __asm__ volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(value) : "memory");
}

void prepare_strings(void) {
    uint32_t random = 0x7654321;
    for (unsigned i = 0; i < area; i += 4) *(uint32_t*)(source + i) = next_random(&random) | 0x01010101;
    fill_words(target, 0, area / 8);
}

uint64_t strings_large_round(void) {
    enum { size = 65536 };
    for (unsigned i = 0; i < strings_large_operations / 4; ++i) {
        const unsigned offset = i * size % area;
        copy_words(target + offset, source + offset, size / 8);
        copy_bytes(target + offset + 3, source + offset + 1, size - 3);
        fill_words(target + offset, 0x1122334455667788, size / 16);
        fill_bytes(target + offset + 1, (uint8_t)i, size / 4);
    }
    uint64_t sum = 0;
    for (unsigned i = 0; i < area; i += 4099) sum = mix(sum, target[i]);
    return sum;
}

uint64_t strings_small_round(void) {
    uint32_t random = 0x1357;
    for (unsigned i = 0; i < strings_small_operations / 2; ++i) {
        const uint32_t choice = next_random(&random);
        uint8_t* const to = target + (choice & 0xffff);
        copy_bytes(to, source + (choice >> 6 & 0xffff), choice >> 26);
        fill_bytes(to + 32, (uint8_t)choice, choice >> 20 & 63);
    }
    uint64_t sum = 0;
    for (unsigned i = 0; i < 0x10000; i += 61) sum = mix(sum, target[i]);
    return sum;
}

uint64_t strings_scan_round(void) {
    enum { size = 4096 };
    uint64_t sum = 0;
    copy_words(target, source, area / 8);
    for (unsigned i = 0; i < strings_scan_operations / 2; ++i) {
        const uint8_t* at = source + i * size % area;
        const uint8_t* other = target + i * size % area;
        uint64_t count = size;
        // No byte of the source is zero: the scan ends with its count.
        __asm__ volatile("repne scasb" : "+D"(at), "+c"(count) : "a"(0) : "memory", "cc");
        sum = mix(sum, count);
        at = source + i * size % area;
        count = size / 2;
        __asm__ volatile("repe cmpsb" : "+S"(at), "+D"(other), "+c"(count) : : "memory", "cc");
        sum = mix(sum, count + *at);
    }
    return sum;
}
