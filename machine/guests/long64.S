// 64-bit long mode: finds Xen's leaves, has the page laid at 2 MiB, and calls through it.
// Entered by flat64 at 1 MiB, with the first 4 GiB mapped onto themselves.
        .intel_syntax noprefix
        .section .rodata.xenolith_guests, "a"
        .globl xenolith_guest_long64_begin, xenolith_guest_long64_end
        .set load_address, 0x100000
        .set page, 0x200000
        .code64
xenolith_guest_long64_begin:
begin:
        mov     r12d, 0x40000000
scan:   mov     eax, r12d
        cpuid
        cmp     ebx, 0x566e6558         // "XenV"
        jne     next
        cmp     ecx, 0x65584d4d         // "MMXe"
        jne     next
        cmp     edx, 0x4d4d566e         // "nVMM"
        je      found
next:   add     r12d, 0x100
        cmp     r12d, 0x40010000
        jb      scan
        jmp     stop
found:  lea     eax, [r12 + 2]          // EAX = number of pages, EBX = the MSR
        cpuid
        mov     ecx, ebx
        mov     eax, page               // EDX:EAX = address, page index 0 in the low bits
        xor     edx, edx
        wrmsr
        // xen_version(XENVER_version)
        xor     edi, edi
        xor     esi, esi
        mov     ebp, page
        lea     rax, [rbp + 17 * 32]
        call    rax
        // console_io(CONSOLEIO_write, length, message)
        xor     edi, edi
        mov     esi, message_end - message
        lea     rdx, [rip + message]
        lea     rax, [rbp + 18 * 32]
        call    rax
stop:   cli
        hlt
        jmp     stop
message:
        .ascii  "long64: called through the hypercall page\n"
message_end:
xenolith_guest_long64_end:

        .section .note.GNU-stack, "", @progbits
