/*
 * An interrupt that is already waiting when it is let in, so that its place is known: the local APIC sends one to
 * itself while interrupts are off. It comes one instruction after `sti`; where that is a branch, the branch
 * happens and the interrupt leaves from its target, which has not run yet. (Some of the places are QEMU's
 * choice and differ between versions: those are `anywhere` in the expected log.)
 */
        .include "boot.inc"
        .set    APIC, 0xfee00000

main:   gate    0x40, handler
        movl    $APIC, %ebp
        movl    $0x1ff, 0xf0(%rbp)      /* on */
        movq    $target3, %rbx
        begin

        .macro  pend
        movl    $0x44040, 0x300(%rbp)   /* vector 0x40, to self */
        .endm

        pend
        sti
        nop                             /* the shadow of sti */
plain:  nop
        cli

        pend
        sti
jump1:  jmp     target1
        hlt
target1:
        cli

        pend
        sti
call2:  call    target2
after2: cli

        pend
        sti
jump3:  jmp     *%rbx
        hlt
target3:
        cli

        pend
        xorl    %eax, %eax
        sti
taken4: jz      target4
        hlt
target4:
        nop
        nop
        cli

        pend
        testl   %esp, %esp
        sti
untaken5:
        jz      target4
after5: nop
        nop
        cli

        pend
        movl    $3, %ecx
        sti
loop6:  loop    loop6                   /* at some time round, or behind it: QEMU's choice */
        nop
        nop
        cli

        pend
        movl    $PAGES, %edi
        movl    $4, %ecx
        sti
stos7:  rep stosb                       /* in the middle of it, or behind it */
        nop
        nop
        cli

        pend
        sti
        nop
        hlt                             /* comes before it, which then would sleep for ever: skipped */
awake:  cli

        pend
        movl    $KERNEL_DATA, %eax
        pushq   $0x202
        movl    %eax, %ss               /* its shadow: nothing before the popfq has run */
        popfq
popped: nop
        cli

        sti
send:   movl    $0x44040, 0x300(%rbp)   /* not waiting, but at once: in the middle of a block */
sent:   nop
        nop
        cli

        pushfq
        popq    %rax
        orl     $0x200, %eax
        pend
        movq    %rsp, %rdx
        pushq   $KERNEL_DATA
        pushq   %rdx
        pushq   %rax
        pushq   $KERNEL_CODE
        pushq   $target8
iret8:  iretq                           /* lets it in with the flags: before the target runs */
        hlt
target8:
        cli
        pend
        pushq   %rax
popf9:  popfq
after9: nop
        cli
        end
        ret

target2:
        nop
target2_return:
        ret

handler:
        movl    $0, 0xb0(%rbp)
        cmpb    $0xf4, -1(%rbp)         /* (a read of no consequence, mid-block) */
        pushq   %rax
        movq    8(%rsp), %rax
        cmpb    $0xf4, (%rax)
        popq    %rax
at_hlt: jne     handler_return
        incq    (%rsp)
handler_return:
        iretq
