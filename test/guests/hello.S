/*
 * The general guest: writes to the serial port, counts timer interrupts, reads the processor's and the board's
 * clock and, where the processor has it, its random numbers; then powers off. Every value it prints is one a
 * replay must repeat.
 */
        .include "boot.inc"

main:   say     "hello from a tiny machine\r\n"
        gate    0x20, timer
        movl    $1193, %ecx             /* 1 ms */
        call    start_timer
        sti
wait:   hlt
        say     "."
        cmpl    $5, ticks
        jb      wait
        cli

        say     "\r\ntsc "
        rdtsc
        shlq    $32, %rdx
        orq     %rdx, %rax
        call    put_hex

        say     "\r\nclock "
        xorl    %eax, %eax
        movl    $9, %ecx                /* year, month, day … seconds, in BCD */
clock:  movb    %cl, %al
        outb    %al, $0x70
        shlq    $8, %rbx
        inb     $0x71, %al
        movb    %al, %bl
        decl    %ecx
        jns     clock
        movq    %rbx, %rax
        call    put_hex

        movl    $1, %eax
        cpuid
        btl     $30, %ecx
        jnc     bye
        say     "\r\nrandom "
        rdrand  %rax
        call    put_hex
bye:    say     "\r\nbye\r\n"
        ret

timer:  pushq   %rax
        incl    ticks
        movb    $0x20, %al
        outb    %al, $0x20
        popq    %rax
        iretq

        .section .data
ticks:  .long   0
