/*
 * Instructions that access memory in ways of their own: processor state, wide and narrow floating point, 16 bytes
 * at once, read-modify-write of 8 and 16 bytes, descriptors.
 */
        .include "boot.inc"
main:   begin
        movl    $area, %ebx
        fxsave  (%rbx)
        fxrstor (%rbx)
        fnstenv 1024(%rbx)
        fldenv  1024(%rbx)
        fnsave  1024(%rbx)
        frstor  1024(%rbx)
        fldt    ten(%rip)
        fstpt   8(%rbx)
        fildll  (%rbx)
        fistpll (%rbx)
        fbstp   (%rbx)
        movdqu  %xmm0, 3(%rbx)
        movaps  (%rbx), %xmm1
        cmpxchg8b (%rbx)
        cmpxchg16b (%rbx)
        lock cmpxchg %rax, (%rbx)
        lock xaddq %rax, (%rbx)
        xchgq   %rax, (%rbx)
        btsq    $3, (%rbx)
        sgdt    64(%rbx)
        sidt    64(%rbx)
        stmxcsr 64(%rbx)
        ldmxcsr 64(%rbx)
        movntiq %rax, (%rbx)
        enter   $16, $0
        leave
        pushfq
        popfq
        end
        ret
        .section .data
        .align  4096
area:   .skip   8192
ten:    .byte   0, 0, 0, 0, 0, 0, 0, 0xa0, 2, 0x40 /* 10 */
        .skip   64
