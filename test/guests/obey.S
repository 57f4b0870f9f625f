/*
 * A guest that idles and does what it is told on the serial port, one letter each, echoed: `q` powers off, `r`
 * resets the machine, `h` halts for good with interrupts off, `p` says that its kernel panicked and halts, `s`
 * spins for 100 million instructions, `f` prints 64 KiB, `i` idles for 30 seconds.
 */
        .include "boot.inc"

main:   gate    0x20, timer
        movl    $11932, %ecx            /* 10 ms */
        call    start_timer
        sti
        say     "ready\r\n"
next:   hlt
        movw    $COM1 + 5, %dx
        inb     %dx, %al
        testb   $1, %al                 /* a byte received? */
        jz      next
        movw    $COM1, %dx
        inb     %dx, %al
        outb    %al, %dx
        cmpb    $'q', %al
        je      bye
        cmpb    $'r', %al
        je      reset
        cmpb    $'h', %al
        je      halt
        cmpb    $'p', %al
        je      panic
        cmpb    $'s', %al
        je      spin
        cmpb    $'f', %al
        je      flood
        cmpb    $'i', %al
        je      idle
        jmp     next

bye:    say     "\r\nbye\r\n"
        cli
        ret
reset:  movw    $0xcf9, %dx             /* PIIX3: reset control */
        movb    $6, %al
        outb    %al, %dx
        jmp     halt
panic:  say     "\r\nKernel panic - not syncing: told to\r\n"
halt:   cli
        hlt
        jmp     halt
spin:   movl    $50000000, %ecx
1:      decl    %ecx
        jnz     1b
        say     "\r\nspun\r\n"
        jmp     next
flood:  movl    $1024, %ebx
1:      say     "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n"
        decl    %ebx
        jnz     1b
        say     "flooded\r\n"
        jmp     next
idle:   movl    $0, ticks
1:      hlt
        cmpl    $3000, ticks
        jb      1b
        say     "\r\nidled\r\n"
        jmp     next

timer:  pushq   %rax
        incl    ticks
        movb    $0x20, %al
        outb    %al, $0x20
        popq    %rax
        iretq

        .section .data
ticks:  .long   0
