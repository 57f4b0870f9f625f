/*
 * Page faults in ring 0 that the handler mends, so that the instruction runs again: in the middle of a block, by
 * reads, writes, both at once, pushes, calls and returns; copy on write; rep strings that fault half way.
 */
        .include "boot.inc"
        .set    PAGE0, PAGES
        .set    PAGE1, PAGES + 0x1000
        .set    PAGE2, PAGES + 0x2000
        .set    PAGE3, PAGES + 0x3000

main:   gate    14, page_fault, 0x8e01
        movl    $PAGE1 + 0x800, %ebp    /* a stack that will fault */
        begin

hide1:  call    hide
        movl    $PAGE0, %ebx
        nop
read:   movq    (%rbx), %rax            /* mid-block */
        addq    %rax, %rax
        movl    $PAGE1, %ebx
write:  movq    %rax, (%rbx)
        movl    $PAGE2, %ebx
both:   lock incq (%rbx)
hide2:  call    hide
        movl    $PAGE0 + 0xffc, %ebx
across: movq    (%rbx), %rax            /* two pages, two faults */
protect:
        andq    $~2, page_table         /* read only: as after fork */
        invlpg  PAGE0
cow:    incl    PAGE0 + 8
cow2:   incl    PAGE0 + 8               /* no fault now */

        /* A stack that is not there. */
hide3:  call    hide
        xchgq   %rsp, %rbp
push:   pushq   $1
        popq    %rax
        xchgq   %rsp, %rbp
hide4:  call    hide
        xchgq   %rsp, %rbp
call:   call    leaf                    /* its push faults: the call runs once */
after:  xchgq   %rsp, %rbp
hide5:  call    hide
        movq    $after6, PAGES_PHYSICAL + 0x1800 - 8
        leaq    -8(%rbp), %rbp
        xchgq   %rsp, %rbp
ret1:   ret                             /* its pop faults */
        hlt
after6: xchgq   %rsp, %rbp

        /* Pointers that are not there. */
hide7:  call    hide
        movq    $leaf, PAGES_PHYSICAL + 0x10
call7:  call    *PAGE0 + 0x10
hide8:  call    hide
        movq    $after8, PAGES_PHYSICAL + 0x10
jump8:  jmp     *PAGE0 + 0x10
        hlt
after8:

        /* rep strings: 6000 bytes over three pages, two of which are not there. */
        movl    $PAGE2 + 0xff0, %edi
        movl    $32, %ecx
        xorl    %eax, %eax
hide9:  call    hide
stos:   rep stosb
hide10: call    hide
        movl    $PAGE0 + 0xff8, %esi
        movl    $PAGE2 + 0xff4, %edi
        movl    $4, %ecx
movs:   rep movsq                       /* four faults: both sides, both pages */
        xorl    %ecx, %ecx
none:   rep movsq                       /* nothing to do */
hide11: call    hide
        movl    $PAGE0 + 0xffe, %edi
        movl    $4, %ecx
scas:   repe scasb
        end
        ret

leaf:   nop
leaf_return:
        ret

        .include "paging.inc"
