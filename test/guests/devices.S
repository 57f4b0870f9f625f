/*
 * Port and memory-mapped I/O in the middle of blocks, where QEMU ends a block early or runs an instruction again.
 */
        .include "boot.inc"
        .set    APIC, 0xfee00000
        .set    HPET, 0xfed00000

main:   movl    $APIC, %ebp
        movl    $HPET, %r12d
        begin

        movl    $20, %ebx
loop1:  movl    0x390(%rbp), %eax       /* APIC timer: its value now */
        addl    %eax, %r13d
        movl    %eax, 0x380(%rbp)       /* and its start */
        movl    0x20(%rbp), %ecx
        movq    0xf0(%r12), %rdx        /* HPET main counter */
        addq    %rdx, %r14
        incl    0x380(%rbp)             /* read and write in one instruction */
        decl    %ebx
back1:  jnz     loop1

        movl    $20, %ebx
loop2:  movw    $COM1 + 5, %dx
        inb     %dx, %al
        testb   $0x20, %al
not_yet:
        jz      loop2
        movw    $COM1, %dx
        movb    $'x', %al
        outb    %al, %dx
        inb     $0x61, %al
        movb    $0x0a, %al
        outb    %al, $0x70
        inb     $0x71, %al
        decl    %ebx
back2:  jnz     loop2

        movl    $text, %esi
        movl    $10, %ecx
        movw    $COM1, %dx
        rep outsb
        movl    $PAGES, %edi
        movl    $4, %ecx
        movw    $COM1 + 5, %dx
        rep insb
        movl    $2, %ecx
        leaq    0x20(%rbp), %rsi
        movl    $PAGES, %edi
        rep movsl                       /* from a device */

call3:  call    *jump_to_device_reader
after3: movl    0x20(%rbp), %eax
call4:  call    reader                  /* I/O is the last instruction before a branch, and the first after */
after4: end
        ret

reader: movl    0x20(%rbp), %eax
reader_return:
        ret

        .section .data
text:   .ascii  "0123456789"
jump_to_device_reader:
        .quad   reader
