/*
 * A guest to talk to: says `ready`, then sends back what it reads from the serial port, each byte once, until
 * it reads a `q`; `p` makes it print the time stamp counter, so that the input's instant can be seen.
 */
        .include "boot.inc"

main:   say     "ready\r\n"
next:   movw    $COM1 + 5, %dx
1:      pause
        inb     %dx, %al
        testb   $1, %al                 /* a byte received? */
        jz      1b
        movw    $COM1, %dx
        inb     %dx, %al
        outb    %al, %dx
        cmpb    $'q', %al
        je      bye
        cmpb    $'p', %al
        jne     next
        rdtsc
        shlq    $32, %rdx
        orq     %rdx, %rax
        call    put_hex
        jmp     next
bye:    say     "\r\nbye\r\n"
        ret
