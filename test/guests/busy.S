/*
 * A million calls of `leaf`, which every debugger would like to stop at, among 60 million other instructions: loads,
 * stores, arithmetic, branches. For benches.
 */
        .include "boot.inc"

main:   movl    $1000000, %ebp
        begin
again:  movl    $buffer, %ebx
        movl    $8, %ecx
1:      movq    (%rbx), %rax
        leaq    (%rax,%rcx,4), %rax
        movq    %rax, (%rbx)
        addq    $8, %rbx
        decl    %ecx
        jnz     1b
        movl    %ebp, %edi
        call    leaf
        decl    %ebp
        jnz     again
        end
        ret

leaf:   leal    1(%rdi), %eax
        movl    %eax, last
        ret

        .section .data
        .align  64
buffer: .skip   64
last:   .long   0
never:  .quad   0
