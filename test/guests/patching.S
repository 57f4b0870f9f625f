/*
 * Code that writes code, as a kernel does at boot: call sites, no-ops that become jumps, an instruction further on
 * in the very block that is running, and plain data in a page that holds code.
 */
        .include "boot.inc"

main:   begin

        movl    $4, %ebx                /* a call site goes to and fro between two functions */
        movl    $second - first, %edx
loop1:
site1:  call    first
back:   addl    %edx, site1 + 1
        negl    %edx
        decl    %ebx
back1:  jnz     loop1

        movl    $3, %ebx                /* five bytes of no-op become a jump to the next instruction, then one further */
loop2:
site2:  .byte   0x0f, 0x1f, 0x44, 0, 0
next2:  nop
on2:    cmpl    $3, %ebx
not_first:
        jne     second_time
        movl    $0x000000e9, site2
        movb    $0, site2 + 4
jump2:  jmp     patched2
second_time:
        movb    $on2 - next2, site2 + 1
patched2:
        decl    %ebx
back2:  jnz     loop2

        movb    $0xf9, site3            /* the next instruction becomes stc; it was clc */
site3:  clc
carry3: jc      right3
        hlt
right3: movb    $0x90, site4            /* a hlt some way ahead in the same block becomes a nop */
        nop
        nop
        nop
site4:  hlt
        movl    $5, %ebx
loop5:  addl    $1, site5 + 1           /* its own immediate, each time round */
site5:  movl    $0, %eax
        cmpl    %eax, %ebx
back5:  jne     loop5
        movl    $50, %ecx               /* data beside code */
loop6:  incl    data6
        decl    %ecx
back6:  jnz     loop6
over6:  jmp     past6
data6:  .long   0
past6:  movl    $site7, %edi            /* rep stos over the code ahead */
        movl    $3, %ecx
        movb    $0x90, %al
        rep stosb
site7:  hlt
        hlt
        hlt
        movl    $0xc3909090, PAGES      /* a function made out of nothing, then another in its place */
        movl    $PAGES, %edx
call8:  call    *%rdx
after8: movl    $0x90c39090, PAGES
call9:  call    *%rdx
after9: end
        ret

first:  ret
second: nop
second_return:
        ret
