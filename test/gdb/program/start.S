/* A C program on a tiny machine: first undisturbed, then under timer interrupts. */
        .include "boot.inc"

main:   call    work_alone
        gate    0x20, timer
        movl    $6, %ecx                /* 5 µs: some 600 instructions */
        call    start_timer
        sti
        call    work_disturbed
        cli
        movb    $0, %al                 /* the clock's seconds: something for the log, or the tape ends before here */
        outb    %al, $0x70
        inb     $0x71, %al
        ret

        .globl  timer
timer:  pushq   %rax
        incq    ticks
        movb    $0x20, %al
        outb    %al, $0x20
        popq    %rax
        iretq
        .globl  timer_end
timer_end:
