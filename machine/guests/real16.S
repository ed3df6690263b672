// 16-bit real mode: finds Xen's leaves, has the hypercall page laid at 0x9000, and calls through it.
// Entered by flat16 at 0:7c00, with a stack below. Its stubs must be doorbells: only they read alike in 16-bit code.
        .intel_syntax noprefix
        .section .rodata.xenolith_guests, "a"
        .globl xenolith_guest_real16_begin, xenolith_guest_real16_end
        .set load_address, 0x7c00
        .set page, 0x9000
        .code16
xenolith_guest_real16_begin:
begin:
        // The leaves stand at 0x40000000 or a multiple of 0x100 above it.
        mov     edi, 0x40000000
scan:   mov     eax, edi
        cpuid
        cmp     ebx, 0x566e6558         // "XenV"
        jne     next
        cmp     ecx, 0x65584d4d         // "MMXe"
        jne     next
        cmp     edx, 0x4d4d566e         // "nVMM"
        je      found
next:   add     edi, 0x100
        cmp     edi, 0x40010000
        jb      scan
        jmp     stop
found:  lea     eax, [edi + 2]          // EAX = number of pages, EBX = the MSR
        cpuid
        mov     ecx, ebx
        mov     eax, page               // EDX:EAX = address, page index 0 in the low bits
        xor     edx, edx
        wrmsr
        // xen_version(XENVER_version)
        xor     ebx, ebx
        xor     ecx, ecx
        call    page - load_address + begin + 17 * 32
        // console_io(CONSOLEIO_write, length, message): a linear address, and DS is 0
        xor     ebx, ebx
        mov     ecx, message_end - message
        mov     edx, message - begin + load_address
        call    page - load_address + begin + 18 * 32
stop:   cli
        hlt
        jmp     stop
message:
        .ascii  "real16: called through the hypercall page\n"
message_end:
xenolith_guest_real16_end:

        .section .note.GNU-stack, "", @progbits
