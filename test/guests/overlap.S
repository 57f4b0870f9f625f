/*
 * Code that is not what its address suggests: jumps into the middle of an instruction, one page of code at two
 * addresses, another page at the same address, instructions that overwrite themselves, transfers to themselves by
 * way of registers and the stack, and more instructions without a branch than a block holds.
 */
        .include "boot.inc"
        .set    ALIAS, PAGES + 0x5000   /* mapped onto the first page as well */

main:   begin

        /* Into the middle: b8 eb 07 90 90 is `movl`, but from its second byte `jmp`. */
        xorl    %ecx, %ecx
outer:  .byte   0xb8
inner:  .byte   0xeb, 0x07, 0x90, 0x90
        incl    %ecx
hop:    jmp     inner
        nop
landed: nop

        /* Two names for one page. */
        movq    page_table, %rax
        movq    %rax, page_table + 8 * 5
        invlpg  ALIAS
call1:  call    function
after1: movl    $ALIAS + (function - PAGES), %edx
call2:  call    *%rdx
after2: addb    $1, patched + 1         /* a write by one name changes the code of the other */
call3:  call    *%rdx

        /* Another page under the same name. */
after3: movq    page_table + 8, %rax
        movq    %rax, page_table + 8 * 5
        invlpg  ALIAS
call4:  call    *%rdx
after4: movq    %cr3, %rax
        movq    %rax, %cr3

        /* A rep stos that overwrites itself: after one round it is `nop; stosb`, and then two `nop`. */
        leaq    over, %rdi
        movl    $3, %ecx
        movb    $0x90, %al
over:   rep stosb

        /* Transfers to themselves. */
        movl    $4, %ecx
        movq    $self1, %rbx
        movq    $past1, %rdx
self1:  decl    %ecx
        cmovzq  %rdx, %rbx
again1: jmp     *%rbx
past1:  pushq   $past2
        pushq   $self2
        pushq   $self2
        pushq   $self2
self2:  ret
past2:  movq    %rsp, %rbp
        movl    $3, %ecx
        movq    $self3, %rbx
        movq    $past3, %rdx
self3:  decl    %ecx
        cmovzq  %rdx, %rbx
again3: call    *%rbx
past3:  movq    %rbp, %rsp

        /* Longer than any block. */
        movl    $3, %ecx
long:   .rept   700
        nop
        .endr
        decl    %ecx
back:   jnz     long
        xorl    %eax, %eax
zero:   jz      faraway
        .skip   5000, 0xf4
faraway:
        movl    $3, %ecx                /* one instruction of 15 bytes in a loop */
wide:   .byte   0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0
        decl    %ecx
wide_back:
        jnz     wide
        end
        ret

        .section .pages, "ax"
        nop
function:
        xorl    %eax, %eax
patched:
        addb    $0, %al
which:  jz      function_return
        nop
odd:    jmp     function_return
        nop
function_return:
        ret
        .org    0x1000, 0x90
        nop
other:  nop
other1: jmp     other_return
        nop
other_return:
        ret
