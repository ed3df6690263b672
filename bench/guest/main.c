// Runs the workload that the image's header names, between two marks, and reports it.
//
// Lines on the debug console, each ended by a newline:
//   begin NAME
//   end NAME
//   result NAME checksum HEX operations N ticks N     operations and time-stamp ticks of all rounds together
//   error: TEXT
#include "guest.h"

// The image's second sector, placed by the linker scripts; boot.S reads `bits`.
extern const volatile struct {
    char magic[16];
    uint32_t bits;
    uint32_t rounds;
    char name[24];
} header;

static void print_byte(uint8_t byte) { out8(DEBUG_CONSOLE_PORT, byte); }

void print(const char* text) {
    for (; *text != 0; ++text) print_byte((uint8_t)*text);
}

void print_decimal(uint64_t number) {
    // By subtraction: a 32-bit program has no 64-bit division without a library.
    static const uint64_t powers[] = {10000000000000000000u,
                                      1000000000000000000,
                                      100000000000000000,
                                      10000000000000000,
                                      1000000000000000,
                                      100000000000000,
                                      10000000000000,
                                      1000000000000,
                                      100000000000,
                                      10000000000,
                                      1000000000,
                                      100000000,
                                      10000000,
                                      1000000,
                                      100000,
                                      10000,
                                      1000,
                                      100,
                                      10,
                                      1};
    int started = 0;
    for (unsigned place = 0; place < sizeof powers / sizeof *powers; ++place) {
        uint8_t digit = 0;
        while (number >= powers[place]) {
            number -= powers[place];
            ++digit;
        }
        started |= digit != 0 || powers[place] == 1;
        if (started) print_byte((uint8_t)('0' + digit));
    }
}

void print_hexadecimal(uint64_t number) {
    for (int shift = 60; shift >= 0; shift -= 4)
        print_byte((uint8_t) "0123456789abcdef"[number >> shift & 0xf]);
}

// Each peer has its own way of being told; the others ignore the writes.
void end_run(void) {
    out8(0xf4, 0);                                                                    // a debug-exit port
    for (const char* text = "Shutdown"; *text; ++text) out8(0x8900, (uint8_t)*text);  // Bochs
    for (;;) __asm__ volatile("cli; hlt");
}

void fail(const char* text) {
    print("error: ");
    print(text);
    print("\n");
    end_run();
}

static int equal(const char* left, const char* right) {
    for (; *left != 0 && *left == *right; ++left) ++right;
    return *left == *right;
}

static void print_mark(const char* kind, const char* name) {
    print(kind);
    print(name);
    print("\n");
}

void guest_main(void);
void guest_main(void) {
    const uint32_t rounds = header.rounds;
    const struct workload* workload = workloads;
    while (workload->name != 0 && !equal(workload->name, (const char*)header.name)) ++workload;
    if (workload->name == 0) fail("the image has no workload of that name");
    if (rounds == 0) fail("no rounds to run");
    if (workload->prepare) workload->prepare();

    print_mark("begin ", workload->name);
    const uint64_t ticks = read_time_stamp();
    const uint64_t checksum = workload->round();
    uint32_t differing = 0;
    for (uint32_t round = 1; round < rounds; ++round) differing += workload->round() != checksum;
    const uint64_t ticks_taken = read_time_stamp() - ticks;
    print_mark("end ", workload->name);

    if (differing != 0) fail("a later round gave another checksum than the first");
    print("result ");
    print(workload->name);
    print(" checksum ");
    print_hexadecimal(checksum);
    print(" operations ");
    print_decimal((uint64_t)workload->operations * rounds);
    print(" ticks ");
    print_decimal(ticks_taken);
    print("\n");
    end_run();
}

// The compiler may call these for structures and loops of its own.
void* memcpy(void* to, const void* from, __SIZE_TYPE__ size);
void* memset(void* to, int value, __SIZE_TYPE__ size);
void* memcpy(void* to, const void* from, __SIZE_TYPE__ size) {
    void* start = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
    return start;
}
void* memset(void* to, int value, __SIZE_TYPE__ size) {
    void* start = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(value) : "memory");
    return start;
}
