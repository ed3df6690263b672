// Small endless loops of 64-bit code for the in-process benchmark: each shows one kind of work and nothing else.
// Entered by flat64 at 1 MiB: the first 4 GiB maps onto itself, RSP is a stack, R15 is free memory.
//
// xenolith_loops is a table of {name, begin, end}, ended by nulls; `loop` and `end_loop` write its entries.
        .intel_syntax noprefix
        .section .data.rel.ro.xenolith_loops, "aw"
        .balign 8
        .globl  xenolith_loops
xenolith_loops:
        .section .rodata.xenolith_loops, "a"
        .code64

        .macro  loop name
        .pushsection .data.rel.ro.xenolith_loops
        .quad   loop_\name\()_name, loop_\name\()_begin, loop_\name\()_end
        .popsection
loop_\name\()_name:
        .asciz  "\name"
loop_\name\()_begin:
        mov     r15d, 0x200000
        xor     esi, esi
        .endm
        .macro  end_loop name
loop_\name\()_end:
        .endm

        loop registers
1:      add     rax, rbx
        xor     rcx, rax
        lea     rdx, [rcx + rax * 4 + 17]
        sub     rbx, rdx
        inc     rsi
        and     rdx, 0xffff
        or      rdi, rdx
        mov     r8, rdi
        cmp     rsi, r8
        jmp     1b
        end_loop registers

        loop branches
1:      inc     esi
        test    esi, 1
        jz      2f
        test    esi, 2
        jnz     3f
        nop
2:      test    esi, 4
        jz      3f
        nop
3:      cmp     esi, 0
        jne     1b
        jmp     1b
        end_loop branches

        loop loads
1:      mov     rax, [r15]
        add     rbx, [r15 + rsi * 8]
        movzx   ecx, byte ptr [r15 + 64]
        mov     edx, [r15 + rsi + 128]
        inc     esi
        and     esi, 0xfff
        jmp     1b
        end_loop loads

        loop stores
1:      mov     [r15], rax
        mov     [r15 + rsi * 8], rbx
        mov     byte ptr [r15 + 64], cl
        add     dword ptr [r15 + rsi + 128], 3
        inc     esi
        and     esi, 0xfff
        jmp     1b
        end_loop stores

        loop calls
1:      call    2f
        call    3f
        jmp     1b
2:      push    rbx
        push    rbp
        pop     rbp
        pop     rbx
        ret
3:      inc     esi
        ret
        end_loop calls

        loop indirect
        lea     rdi, [rip + 2f]
        lea     rbp, [rip + 3f]
1:      jmp     rdi
2:      inc     esi
        jmp     rbp
3:      xchg    rdi, rdi
        jmp     1b
        end_loop indirect

        loop multiply
        mov     ebx, 0x12345
        mov     ecx, 7
1:      imul    rax, rbx
        mul     rbx
        xor     edx, edx
        div     rcx
        rol     rax, 5
        adc     rsi, rax
        jmp     1b
        end_loop multiply

        loop strings
1:      mov     rdi, r15
        lea     rsi, [r15 + 0x10000]
        mov     ecx, 24
        rep movsb
        lea     rdi, [r15 + 0x1000]
        mov     ecx, 8
        rep stosq
        jmp     1b
        end_loop strings

        loop pages
1:      mov     rax, [r15 + rsi]
        add     esi, 0x1000
        and     esi, 0xffffff
        jmp     1b
        end_loop pages

        loop cpuid
1:      xor     eax, eax
        cpuid
        jmp     1b
        end_loop cpuid

        loop ports
1:      mov     edx, 0x80
        in      al, dx
        out     dx, al
        jmp     1b
        end_loop ports

        // The immediate of the instruction at 2 is rewritten just before it runs.
        loop patched
        lea     rdi, [rip + 2f]
1:      inc     esi
        mov     [rdi + 1], esi
2:      mov     eax, 0
        add     ebx, eax
        jmp     1b
        end_loop patched

        .section .data.rel.ro.xenolith_loops, "aw"
        .quad   0, 0, 0
        .section .note.GNU-stack, "", @progbits
