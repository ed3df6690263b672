// Compatibility code under long mode: KVM chooses the 64-bit blob by EFER.LMA, and the 32-bit calling convention holds.
// Entered by flat64 at 1 MiB; a far return through the loader's 32-bit code descriptor (selector 0x08) leaves 64-bit code.
        .intel_syntax noprefix
        .section .rodata.xenolith_guests, "a"
        .globl xenolith_guest_compatibility32_begin, xenolith_guest_compatibility32_end
        .set load_address, 0x100000
        .set page, 0x200000
        .code64
xenolith_guest_compatibility32_begin:
begin:
        push    0x08
        lea     rax, [rip + compatibility]
        push    rax
        .byte   0x48, 0xcb              // RETF with REX.W: the return address has eight bytes
        .code32
compatibility:
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
        mov     ebp, page
        // xen_version(XENVER_version)
        xor     ebx, ebx
        xor     ecx, ecx
        lea     eax, [ebp + 17 * 32]
        call    eax
        // console_io(CONSOLEIO_write, length, message)
        xor     ebx, ebx
        mov     ecx, message_end - message
        mov     edx, message - begin + load_address
        lea     eax, [ebp + 18 * 32]
        call    eax
stop:   cli
        hlt
        jmp     stop
message:
        .ascii  "compatibility32: called through the hypercall page\n"
message_end:
xenolith_guest_compatibility32_end:

        .section .note.GNU-stack, "", @progbits
