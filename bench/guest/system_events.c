// System events in loops (Intel SDM vol. 3A, chapters 4 to 6).
#include "system_events.h"

#include "guest.h"

enum { present = 1, writable = 2, user = 4 };
enum { page_fault_vector = 14, interrupt_vector = 0x40 };
enum {
    msr_star = 0xc0000081,
    msr_lstar = 0xc0000082,
    msr_sfmask = 0xc0000084,
    msr_kernel_gs_base = 0xc0000102
};

// start64.S
extern volatile uint32_t interrupt_count;
void count_interrupt(void);
void map_window_page(void);
void unexpected_exception(void);
void system_call_entry(void);
void run_system_calls(uint64_t count);
void report_exception(void);

static volatile uint64_t* const window_table = (volatile uint64_t*)WINDOW_TABLE_ADDRESS;

static void write_msr(uint32_t index, uint64_t value) {
    __asm__ volatile("wrmsr" : : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}
static void write_cr3(uint64_t value) { __asm__ volatile("movq %0, %%cr3" : : "r"(value) : "memory"); }
static void invalidate_page(uint64_t linear) { __asm__ volatile("invlpg (%0)" : : "r"(linear) : "memory"); }
static volatile uint64_t* window_page(unsigned number) {
    return (volatile uint64_t*)(WINDOW_LINEAR + (uint64_t)number * 4096);
}
static uint64_t arena_page(unsigned number) { return ARENA_ADDRESS + (uint64_t)number * 4096; }

void report_exception(void) { fail("an exception that no workload raises"); }

static void set_gate(unsigned vector, void (*handler)(void)) {
    uint64_t* const gate = (uint64_t*)IDT_ADDRESS + (uint64_t)vector * 2;
    const uint64_t address = (uint64_t)handler;
    gate[0] =
        (address & 0xffff) | CODE64_SELECTOR << 16 | (uint64_t)0x8e00 << 32 | (address & 0xffff0000) << 32;
    gate[1] = address >> 32;
}

static void map_windows(void) {
    uint64_t* const second_table = (uint64_t*)SECOND_WINDOW_TABLE_ADDRESS;
    ((uint64_t*)PDPT_ADDRESS)[1] = WINDOW_DIRECTORY_ADDRESS | present | writable | user;
    *(uint64_t*)WINDOW_DIRECTORY_ADDRESS = WINDOW_TABLE_ADDRESS | present | writable | user;
    *(uint64_t*)SECOND_PML4_ADDRESS = SECOND_PDPT_ADDRESS | present | writable | user;
    ((uint64_t*)SECOND_PDPT_ADDRESS)[0] = ((uint64_t*)PDPT_ADDRESS)[0];
    ((uint64_t*)SECOND_PDPT_ADDRESS)[1] = SECOND_WINDOW_DIRECTORY_ADDRESS | present | writable | user;
    *(uint64_t*)SECOND_WINDOW_DIRECTORY_ADDRESS = SECOND_WINDOW_TABLE_ADDRESS | present | writable | user;
    for (unsigned page = 0; page < window_pages; ++page) {
        window_table[page] = arena_page(page) | present | writable;
        second_table[page] = arena_page(window_pages + page) | present | writable;
        *(uint64_t*)arena_page(page) = page + 1;
        *(uint64_t*)arena_page(window_pages + page) = 3 * page + 2;
    }
    write_cr3(PML4_ADDRESS);
}

void prepare_system_events(void) {
    const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) idt = {4095, IDT_ADDRESS};
    for (unsigned vector = 0; vector < 256; ++vector) set_gate(vector, unexpected_exception);
    set_gate(page_fault_vector, map_window_page);
    set_gate(interrupt_vector, count_interrupt);
    __asm__ volatile("lidt %0" : : "m"(idt));
    map_windows();
    write_msr(msr_star, (uint64_t)USER_BASE_SELECTOR << 48 | (uint64_t)CODE64_SELECTOR << 32);
    write_msr(msr_lstar, (uint64_t)system_call_entry);
    write_msr(msr_sfmask, 0);
}

uint64_t switch_address_space_round(void) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < address_space_switches; ++i) {
        write_cr3(i & 1 ? PML4_ADDRESS : SECOND_PML4_ADDRESS);
        for (unsigned page = 0; page < pages_touched; ++page)
            sum += *window_page((i + page * 7) % window_pages);
    }
    write_cr3(PML4_ADDRESS);
    return sum;
}

uint64_t remap_round(void) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < remaps; ++i) {
        window_table[5] = arena_page(i % (2 * window_pages)) | present | writable;
        invalidate_page((uint64_t)window_page(5));
        sum = mix(sum, *window_page(5));
    }
    return sum;
}

uint64_t page_fault_round(void) {
    uint64_t sum = 0;
    interrupt_count = 0;
    for (unsigned pass = 0; pass < page_faults / window_pages; ++pass) {
        for (unsigned page = 0; page < window_pages; ++page) window_table[page] = 0;
        write_cr3(PML4_ADDRESS);
        for (unsigned page = 0; page < window_pages; ++page) sum += *window_page(page);
    }
    return mix(sum, interrupt_count);
}

uint64_t interrupt_round(void) {
    interrupt_count = 0;
    for (unsigned i = 0; i < interrupts; ++i) __asm__ volatile("int $0x40" : : : "memory");
    return interrupt_count;
}

uint64_t system_call_round(void) {
    run_system_calls(system_calls);
    return system_calls;
}

// What CPUID answers is each machine's own and stays out of the checksum.
uint64_t cpuid_round(void) {
    for (unsigned i = 0; i < small_events; ++i) {
        uint32_t eax = i & 1, ebx, ecx = 0, edx;
        __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    }
    return small_events;
}

uint64_t read_msr_round(void) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < small_events; ++i) {
        uint32_t low, high;
        __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr_lstar));
        sum += low;
    }
    return sum;
}

uint64_t write_msr_round(void) {
    for (unsigned i = 0; i < small_events; ++i) write_msr(msr_kernel_gs_base, i);
    return small_events;
}

// System control port A, which every PC has, and which a read does not change; and the POST code port.
uint64_t port_in_round(void) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < small_events; ++i) sum += in8(0x92) & 3;
    return sum;
}

uint64_t port_out_round(void) {
    for (unsigned i = 0; i < small_events; ++i) out8(0x80, (uint8_t)i);
    return small_events;
}
