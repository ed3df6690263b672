// The corpus of system instructions: every file of cases, once for code of each width. A case is a record in the section
// system_corpus (corpus.hpp: CorpusRecord) and its code, which is put at `program` and ends in HLT.
        .intel_syntax noprefix

// Modes, as bits in the order of corpus.hpp's CorpusMode.
        .set real, 1 << 0
        .set vm86, 1 << 1
        .set protected16, 1 << 2
        .set compatibility16, 1 << 3
        .set protected32, 1 << 4
        .set paged32, 1 << 5
        .set pae32, 1 << 6
        .set compatibility32, 1 << 7
        .set user32, 1 << 8
        .set user_compatibility32, 1 << 9
        .set long64, 1 << 10
        .set user64, 1 << 11
        .set legacy_kernel, protected16 | protected32 | paged32 | pae32
        .set long_kernel, compatibility16 | compatibility32 | long64
        .set kernel, legacy_kernel | long_kernel
        .set user, user32 | user_compatibility32 | user64
        .set paged_kernel, paged32 | pae32 | long64
        .set paged_user, user32 | user64
        .set protected, kernel | user
        .set everything, protected | real | vm86

// Places, all below 64 KiB so that 16-bit code reaches them. corpus.hpp has the same.
        .set scratch, 0xb000
        .set program, 0xc000
        .set target, 0xd000             // HLT, and again at every multiple of 0x100 up to the page's end
        .set pages, 0x40000000          // linear, in modes with paging: one page of each kind
        .set regions, 0x400000          // from one kind of page-directory entry to the next

// Selectors of the GDT and the LDT.
        .set null, 0
        .set code32, 0x08
        .set data32, 0x10
        .set code64, 0x18
        .set code16, 0x20
        .set data16, 0x28
        .set ucode32, 0x30
        .set udata32, 0x38
        .set ucode64, 0x40
        .set ucode16, 0x48
        .set own_task, 0x50
        .set own_ldt, 0x60
        .set read_only, 0x70
        .set absent_data, 0x78
        .set down32, 0x80               // expand-down: valid from 0x1000 on
        .set down16, 0x88               // valid from 0x8000 on
        .set execute_only, 0x90
        .set conforming, 0x98
        .set conforming3, 0xa0
        .set absent_code, 0xa8
        .set data_dpl1, 0xb0
        .set data_dpl2, 0xb8
        .set code_dpl1, 0xc0
        .set fresh_data, 0xc8           // not accessed
        .set fresh_code, 0xd0
        .set small_data, 0xd8           // base 0x20000, limit 0xff
        .set long_and_big, 0xe0         // L = D = 1
        .set user_read_only, 0xe8
        .set small_code, 0xf0           // limit 0xcfff: target lies beyond
        .set conforming64, 0xf8
        .set task_free, 0x100
        .set task_busy, 0x110
        .set task_absent, 0x120
        .set task16, 0x130
        .set ldt_absent, 0x140
        .set ldt_second, 0x150
        .set gate, 0x160                // a call gate, DPL 3, to the mode's kernel code at target + 0x100
        .set gate_dpl0, 0x170
        .set gate_absent, 0x180
        .set gate_to_data, 0x190
        .set gate_to_null, 0x1a0
        .set gate_conforming, 0x1b0
        .set gate16, 0x1c0
        .set gate_parameters, 0x1d0     // copies three parameters
        .set gate_to_absent, 0x1e0
        .set task_gate, 0x1f0           // to task_free
        .set task_gate_absent, 0x200
        .set system0, 0x210
        .set system8, 0x220
        .set system10, 0x230
        .set system13, 0x240
        .set interrupt_gate, 0x250
        .set gate_to_user, 0x260
        .set task_short, 0x270
        .set gate_not_canonical, 0x280
        .set gate_type_high, 0x290
        .set gate_to_beyond, 0x2a0
        .set beyond, 0x300              // the GDT ends in front of it
        .set ldt_data, 0x04
        .set ldt_code, 0x0c
        .set ldt_udata, 0x14
        .set ldt_absent_data, 0x1c
        .set ldt_beyond, 0x2c

        .macro  case name:req, modes:req, flags=0, cr0=0, cr4=0, efer=0
        .pushsection .rodata.system_corpus_names, "a"
771:    .asciz  "\name"
        .popsection
        .pushsection system_corpus, "aw"
        .balign 8
        .quad   771b, 772f, 773f, \cr4
        .long   (\modes) & modes_here, \flags, \cr0, \efer
        .popsection
772:
        .set    start, .
        .endm
        .macro  end
        hlt
773:
        .endm

// Far transfers in the form that the width has: 64-bit code knows only those through memory.
        .macro  far_jump selector, offset
        .if     width == 64
        mov     dword ptr [scratch], \offset
        mov     word ptr [scratch + 4], \selector
        .byte   0xff, 0x2c, 0x25
        .long   scratch
        .else
        .byte   0xea
        offset_word \offset
        .word   \selector
        .endif
        .endm
        .macro  far_call selector, offset
        .if     width == 64
        mov     dword ptr [scratch], \offset
        mov     word ptr [scratch + 4], \selector
        .byte   0xff, 0x1c, 0x25
        .long   scratch
        .else
        .byte   0x9a
        offset_word \offset
        .word   \selector
        .endif
        .endm
        .macro  offset_word offset
        .if     width == 16
        .word   \offset
        .else
        .long   \offset
        .endif
        .endm
        .macro  far_return
        .if     width == 64
        .byte   0x48
        .endif
        .byte   0xcb
        .endm
        .macro  far_return_and_drop bytes
        .if     width == 64
        .byte   0x48
        .endif
        .byte   0xca
        .word   \bytes
        .endm
        .macro  push_accumulator
        .if     width == 64
        push    rax
        .else
        .byte   0x50
        .endif
        .endm
        .macro  interrupt_return
        .if     width == 64
        .byte   0x48
        .endif
        .byte   0xcf
        .endm

        .macro  load_by_move selector, rpl
        .irp    register, ds, es, ss, fs, gs
        case    "segment/mov \register, \selector + \rpl", protected
        mov     eax, \selector + \rpl
        mov     \register, ax
        nop
        end
        .endr
        .endm

        .macro  transfer_to selector, rpl
        case    "far/jmp \selector + \rpl", protected
        far_jump \selector + \rpl, target
        end
        case    "far/call \selector + \rpl", protected
        far_call \selector + \rpl, target
        end
        case    "far/retf \selector + \rpl", protected
        push    data32
        push    0x8800
        push    \selector + \rpl
        push    target
        far_return
        end
        .endm

        .section .rodata.system_corpus_code, "a"

#define WIDTH 16
        .code16
        .set    width, 16
        .set    modes_here, real | vm86 | protected16 | compatibility16
#include "tests/cpu/system_corpus/all.inc"
#undef WIDTH

#define WIDTH 32
        .code32
        .set    width, 32
        .set    modes_here, protected32 | paged32 | pae32 | compatibility32 | user32 | user_compatibility32
#include "tests/cpu/system_corpus/all.inc"
#undef WIDTH

#define WIDTH 64
        .code64
        .set    width, 64
        .set    modes_here, long64 | user64
#include "tests/cpu/system_corpus/all.inc"
#undef WIDTH

        .section .note.GNU-stack, "", @progbits
