/*
 * The debug registers: a breakpoint stops before its instruction, a watchpoint behind the one that wrote.
 * QEMU's gdbstub hangs at the first single step onto a guest's own breakpoint, so no oracle steps through this one.
 */
        .include "boot.inc"

main:   gate    1, debug
        begin
        movl    $broken, %eax
        movq    %rax, %dr0
        movl    $watched, %eax
        movq    %rax, %dr1
        movl    $0x00d00405, %eax       /* 0: execution; 1: four bytes written */
        movq    %rax, %dr7
jump1:  jmp     broken                  /* to a breakpoint */
        hlt
broken: nop
        movl    $1, watched
written:
        nop
        xorl    %eax, %eax
        movq    %rax, %dr7
        end
        ret

debug:  movq    %dr6, %rax
        testl   $1, %eax
kind:   jz      debug_return
        orl     $0x10000, 16(%rsp)      /* RF: let it run now */
debug_return:
        iretq

        .section .data
watched:
        .long   0
