// 32-bit protected mode with PAE paging: the page lies above what 32 bits of physical address would reach in one
// directory, at linear 0x40200000, which maps physical 2 MiB. Entered by flat32 at 1 MiB.
        .intel_syntax noprefix
        .section .rodata.xenolith_guests, "a"
        .globl xenolith_guest_pae32_begin, xenolith_guest_pae32_end
        .set load_address, 0x100000
        .set page, 0x200000
        .code32
xenolith_guest_pae32_begin:
begin:
        // Page-directory pointers at 0x300000; directories of 2 MiB pages: linear 0 and 0x40000000 both map physical 0.
        mov     edi, 0x300000
        mov     ecx, 3 * 4096 / 4
        xor     eax, eax
        rep stosd
        mov     dword ptr [0x300000], 0x301001
        mov     dword ptr [0x300008], 0x302001
        xor     ecx, ecx
        mov     eax, 0x83               // present, writable, 2 MiB
fill:   mov     [0x301000 + ecx * 8], eax
        mov     [0x302000 + ecx * 8], eax
        add     eax, 0x200000
        inc     ecx
        cmp     ecx, 512
        jb      fill
        mov     eax, cr4
        or      eax, 0x20               // PAE
        mov     cr4, eax
        mov     eax, 0x300000
        mov     cr3, eax
        mov     eax, cr0
        or      eax, 0x80000000         // PG
        mov     cr0, eax
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
        mov     ebp, 0x40000000 + page   // the MSR takes a physical address, a call a linear one
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
        .ascii  "pae32: called through the hypercall page\n"
message_end:
xenolith_guest_pae32_end:

        .section .note.GNU-stack, "", @progbits
