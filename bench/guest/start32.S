// The protected-mode program's first instructions. Segments, stack and ESP are set; there is no IDT.
        .section .start, "ax"
        .code32
        .globl  program32_start
program32_start:
        call    guest_main
