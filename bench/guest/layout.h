// Where the benchmark guest keeps things in physical memory. Read by its assembler files, C files and linker
// scripts.
#ifndef XENOLITH_BENCH_GUEST_LAYOUT_H
#define XENOLITH_BENCH_GUEST_LAYOUT_H

// The image: its first sector is the boot sector, its second the header that says what to run.
#define BOOT_ADDRESS 0x7c00
#define HEADER_ADDRESS 0x7e00
#define PROGRAM64_ADDRESS 0x8000
#define PROGRAM32_ADDRESS 0x20000

// Paging structures (Intel SDM vol. 3A, 4.5). The first GiB maps onto itself in 2 MiB pages. At 1 GiB stands
// the window, 512 pages of 4 KiB each, which the paging workloads change; the second root has a window of its
// own.
#define PML4_ADDRESS 0x100000
#define PDPT_ADDRESS 0x101000
#define IDENTITY_DIRECTORY_ADDRESS 0x102000
#define WINDOW_DIRECTORY_ADDRESS 0x103000
#define WINDOW_TABLE_ADDRESS 0x104000
#define SECOND_PML4_ADDRESS 0x105000
#define SECOND_PDPT_ADDRESS 0x106000
#define SECOND_WINDOW_DIRECTORY_ADDRESS 0x107000
#define SECOND_WINDOW_TABLE_ADDRESS 0x108000
#define IDT_ADDRESS 0x109000
#define WINDOW_LINEAR 0x40000000

#define STACK_TOP 0x200000
// What workloads work on: 16 MiB.
#define ARENA_ADDRESS 0x400000
#define ARENA_SIZE 0x1000000

#define CODE32_SELECTOR 0x08
#define DATA_SELECTOR 0x10
#define CODE64_SELECTOR 0x18
// SYSRET takes SS from 8, and 64-bit CS from 16, above the selector in STAR[63:48] (SDM vol. 2B, SYSRET).
#define USER_BASE_SELECTOR 0x28

#define DEBUG_CONSOLE_PORT 0xe9

#endif
