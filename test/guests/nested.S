/*
 * Deliveries that meet: a handler whose own first instruction faults, a fault while one is delivered, an interrupt
 * that waits while a fault is handled, and one whose handler is not there.
 */
        .include "boot.inc"
        .set    APIC, 0xfee00000
        .set    BAD_STACK, PAGES + 0x5010

main:   gate    6, undefined
        gate    8, double_fault, 0x8e01
        gate    13, protection
        gate    14, page_fault, 0x8e01
        gate    0x40, interrupt
        movl    $APIC, %r12d
        movl    $0x1ff, 0xf0(%r12)
        begin

        /* ud2, and the page of its handler is not there. */
hide1:  call    hide
ud1:    ud2

        /* The same for an interrupt. */
hide2:  call    hide
        movl    $0x44040, 0x300(%r12)
        sti
        nop
irq2:   nop
        cli

        /* A software interrupt through a gate that is not there: its error is another exception. */
gate3:  int     $0x77

        /* An interrupt waits during a page fault's handler, which lets it in by its iret. */
hide4:  call    hide
        movl    $0x44040, 0x300(%r12)
        movl    $PAGES + 0x3000, %ebx
        sti
fault4: movl    (%rbx), %eax            /* in the shadow of sti: it faults first */
        nop
        cli

        /* The stack is not there when an exception comes: page fault during delivery, on a stack of its own. */
hide5:  call    hide
        movq    %rsp, %rbp
        movl    $BAD_STACK, %esp
ud5:    ud2                             /* delivered at the second attempt */
        movq    %rbp, %rsp

        /* ud2, whose handler faults, on a stack that cannot be: a double fault that skips it. */
        movq    $0x1234567812345678, %rsp
ud6:    ud2
after6: movq    %rbp, %rsp
        end
        ret

protection:
        cmpl    $0x77 * 8 + 2, (%rsp)
        addq    $8, %rsp
        addq    $2, (%rsp)
protection_return:
        iretq
double_fault:
        addq    $8, %rsp
        addq    $2, (%rsp)
        movq    %rbp, 24(%rsp)
double_fault_return:
        iretq

        .include "paging.inc"

        .section .pages, "ax"
        .org    0x1000
undefined:
        addq    $2, (%rsp)
undefined_return:
        iretq
        .org    0x2000
interrupt:
        movl    $0, 0xb0(%r12)
interrupt_return:
        iretq
