/* Exceptions and software interrupts in ring 0, and what a handler may do with them. */
        .include "boot.inc"

main:   gate    0, divide_error
        gate    3, breakpoint
        gate    6, undefined
        gate    13, protection
        gate    14, page_fault
        gate    0x80, service
        movq    $0, page_table          /* the first page of PAGES is not there */
        movl    $PAGES, %ebx
        invlpg  (%rbx)
        movb    $0xc3, PAGES_PHYSICAL   /* but holds a `ret` */
        begin

bp:     int3                            /* traps: they return behind themselves */
bp2:    .byte   0xcd, 3
svc:    int     $0x80
svc2:   nop
ud:     ud2                             /* faults, skipped by their handlers */
ud_at_target:
        jmp     ud2
        hlt
ud2:    ud2
        xorl    %edx, %edx
        xorl    %ecx, %ecx
de:     divl    %ecx
        movq    $0x1234567812345678, %r15
gp:     movq    (%r15), %rax            /* not canonical */
after_gp:

        /* The target of a branch is not there: the branch happened, then its target faulted. */
        movl    $PAGES, %ebx
go1:    call    *%rbx
here1:  call    hide
here2:  movl    $PAGES, %ebx
        pushq   $here3
go2:    jmp     *%rbx
        hlt
here3:  call    hide
here4:  pushq   $here5
        pushq   %rbx
go3:    ret
        hlt
here5:  call    hide
here6:  movq    $here7, %rax
        pushq   %rax
        movq    %rsp, %rbp
        pushq   $KERNEL_DATA
        pushq   %rbp
        pushfq
        pushq   $KERNEL_CODE
        pushq   %rbx
go4:    iretq
        hlt
here7:  end
        ret

hide:   movq    $0, page_table
        invlpg  (%rbx)
hide_return:
        ret

breakpoint:
        nop
breakpoint_return:
        iretq
service:
        iretq
        skipping undefined, 2
        skipping divide_error, 2
        skipping protection, 3, error_code = 1
page_fault:
        addq    $8, %rsp
        movq    $PAGES_PHYSICAL + 7, page_table
page_fault_return:
        iretq
