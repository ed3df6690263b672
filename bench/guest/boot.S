// The way in: a boot sector for a BIOS, and equally the first bytes of an image that a loader has put at 0:7c00 whole.
//
// A BIOS reads one sector. If the next one, the header, is not in memory yet, the boot sector fetches the rest with
// extended reads (Enhanced Disk Drive specification, INT 13H function 42H). Then it enters 32-bit protected mode
// (Intel SDM vol. 3A, 9.9.1) and, if the header asks for 64 bits, IA-32e mode (9.8.5).
#include "layout.h"
        .intel_syntax noprefix
        .set sectors_per_read, 32
        .set bytes_per_sector, 512

        .section .boot, "awx"
        .code16
        .globl boot
boot:   cli
        cld
        xor     ax, ax
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     sp, BOOT_ADDRESS
        jmp     0, offset begin         // some firmware enters at 07c0:0
begin:  mov     si, offset magic
        mov     di, HEADER_ADDRESS
        mov     cx, 8
        repe cmpsw
        je      loaded
        mov     bp, offset image_sectors
read:   mov     si, offset disk_address_packet
        mov     ah, 0x42
        int     0x13
        jc      disk_error
        add     word ptr [packet_segment], sectors_per_read * bytes_per_sector / 16
        add     word ptr [packet_sector], sectors_per_read
        sub     bp, sectors_per_read
        ja      read
loaded: cli
        in      al, 0x92                // address line 20, by system control port A
        or      al, 2
        and     al, 0xfe
        out     0x92, al
        lgdt    [gdt_register]
        mov     eax, cr0
        or      al, 1                   // PE
        mov     cr0, eax
        jmp     CODE32_SELECTOR, offset protected
disk_error:
        mov     si, offset disk_error_text
        mov     cx, offset disk_error_text_end - disk_error_text
        mov     dx, DEBUG_CONSOLE_PORT
        rep outsb
stop:   hlt
        jmp     stop

        .balign 4
disk_address_packet:
        .byte   16, 0
        .word   sectors_per_read
        .word   0                       // offset
packet_segment:
        .word   HEADER_ADDRESS / 16
packet_sector:
        .quad   1
disk_error_text:
        .ascii  "error: the image cannot be read from disk\n"
disk_error_text_end:
magic:  .ascii  "XENOLITH-BENCH-1"

        .code32
protected:
        mov     ax, DATA_SELECTOR
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     esp, STACK_TOP
        cmp     dword ptr [header_bits], 32
        je      program32
        // The identity map; both roots share it. User-accessible, because one workload runs at CPL 3.
        mov     edi, PML4_ADDRESS
        mov     ecx, (IDT_ADDRESS - PML4_ADDRESS) / 4
        xor     eax, eax
        rep stosd
        mov     dword ptr [PML4_ADDRESS], PDPT_ADDRESS + 7
        mov     dword ptr [PDPT_ADDRESS], IDENTITY_DIRECTORY_ADDRESS + 7
        mov     eax, 0x87               // present, writable, user, 2 MiB
        xor     ecx, ecx
fill:   mov     [IDENTITY_DIRECTORY_ADDRESS + ecx * 8], eax
        add     eax, 0x200000
        inc     ecx
        cmp     ecx, 512
        jb      fill
        mov     eax, cr4
        or      eax, 0x20               // PAE
        mov     cr4, eax
        mov     eax, PML4_ADDRESS
        mov     cr3, eax
        mov     ecx, 0xc0000080         // EFER
        rdmsr
        or      eax, 0x101              // LME, SCE
        wrmsr
        mov     eax, cr0
        or      eax, 0x80000000         // PG
        mov     cr0, eax
        jmp     CODE64_SELECTOR, offset program64

        .balign 8
gdt:    .quad   0
        .quad   0x00cf9b000000ffff      // 08: code, 32-bit
        .quad   0x00cf93000000ffff      // 10: data
        .quad   0x00af9b000000ffff      // 18: code, 64-bit
        .quad   0x00cf93000000ffff      // 20: data, as SYSCALL wants it behind the code
        .quad   0                       // 28
        .quad   0x00cff3000000ffff      // 30: data, DPL 3
        .quad   0x00affb000000ffff      // 38: code, 64-bit, DPL 3
gdt_register:
        .word   gdt_register - gdt - 1
        .long   gdt

        .org    510
        .word   0xaa55

        // bench/compare writes the last three fields.
        .section .header, "aw"
        .globl  header
header:
        .ascii  "XENOLITH-BENCH-1"
header_bits:
        .long   64
        .long   1                       // rounds
        .asciz  "integer"               // workload
        .zero   16
        .org    512

        .section .program32, "ax"
program32:
        .incbin "program32.bin"
