// The long-mode program's first instructions, and the handlers of its system events.
#include "layout.h"
        .intel_syntax noprefix
        .section .start, "ax"
        .code64
        .globl  program64
program64:
        mov     eax, DATA_SELECTOR
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        xor     eax, eax
        mov     fs, eax
        mov     gs, eax
        mov     esp, STACK_TOP
        call    guest_main

        .text
        // An interrupt gate's shortest handler.
        .globl  count_interrupt
count_interrupt:
        inc     dword ptr [interrupt_count]
        iretq

        // A page fault in the window: maps the page to the arena's page of the same number.
        .globl  map_window_page
map_window_page:
        push    rax
        push    rdx
        mov     rax, cr2
        sub     rax, WINDOW_LINEAR
        cmp     rax, 0x200000
        jae     unexpected_exception
        shr     rax, 12
        mov     rdx, rax
        shl     rdx, 12
        add     rdx, ARENA_ADDRESS + 3  // present, writable
        mov     [WINDOW_TABLE_ADDRESS + rax * 8], rdx
        inc     dword ptr [interrupt_count]
        pop     rdx
        pop     rax
        add     rsp, 8                  // the error code
        iretq

        .globl  unexpected_exception
unexpected_exception:
        and     rsp, -16
        call    report_exception

        // void run_system_calls(uint64_t count): enters CPL 3, which does nothing but SYSCALL, `count` times.
        .globl  run_system_calls
run_system_calls:
        push    rbx
        push    rbp
        mov     rbp, rsp
        mov     rbx, rdi
        lea     rcx, [rip + user_loop]
        mov     r11d, 2
        sysretq
user_loop:
        syscall
        jmp     user_loop
        // The address in LSTAR.
        .globl  system_call_entry
system_call_entry:
        dec     rbx
        jz      last
        sysretq
last:   mov     rsp, rbp
        pop     rbp
        pop     rbx
        ret

        .bss
        .globl  interrupt_count
interrupt_count:
        .long   0
