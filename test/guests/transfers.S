/* Every way one instruction hands over to another without a fault, an interrupt or a change of privilege. */
        .include "boot.inc"

main:   begin

        /* Jumps and calls to the very next instruction are branches; a conditional one is not. */
short:  .byte   0xeb, 0
near:   .byte   0xe9, 0, 0, 0, 0
call0:  .byte   0xe8, 0, 0, 0, 0
called: popq    %rax
        xorl    %eax, %eax
        .byte   0x74, 0                 /* jz to the next: taken, and not seen */
        .byte   0x75, 0                 /* jnz to the next: not taken */

        /* Conditional ones, taken and not. */
        jnz     never
taken:  jz      target
never:  hlt
target: movl    $5, %ecx
loop1:  decl    %ecx
back1:  jnz     loop1
        movl    $4, %ecx
loop2:  loop    loop2                   /* a block of one instruction that goes to itself */
        movl    $3, %ecx
loop3:  nop
back3:  loop    loop3
        jrcxz   empty
        hlt
empty:  movl    $1, %ecx
        jrcxz   never

        /* Calls and returns. */
call1:  call    leaf
after1: pushq   $7
call2:  call    leaf_cleaning
after2: pushq   $after3
push3:  jmp     leaf                    /* a tail call; its return goes to after3 */
after3: movq    $leaf, %rbx
call4:  call    *%rbx
after4: call    *pointers
after5: movq    $after6, %rbx
jump6:  jmp     *%rbx
        hlt
after6: jmp     *pointers + 8
        hlt
after7: pushq   $after8
push8:  ret                             /* a return used as a jump */
        hlt

        /* Far: to another code segment, to 32-bit code, and back. */
after8: ljmp    *far_other
        hlt
other:  lcall   *far_leaf
other2: ljmp    *far_32
        hlt
        .code32
in32:   movl    $3, %ecx
loop32: loop    loop32
call32: call    leaf32
next32: ljmp    $KERNEL_CODE, $back64
leaf32: ret
        .code64

        /* iret to the same level, to the next instruction and elsewhere. */
back64: movq    %rsp, %rbp
        pushq   $KERNEL_DATA
        pushq   %rbp
        pushfq
        pushq   $KERNEL_CODE
        pushq   $after_iret
iret1:  iretq
after_iret:
        end
        ret

leaf:   nop
leaf_return:
        ret
leaf_cleaning:
        ret     $8
leaf_far:
        lretl

        .section .data
pointers:
        .quad   leaf, after7
far_other:
        .long   other
        .word   OTHER_CODE
far_leaf:
        .long   leaf_far
        .word   KERNEL_CODE
far_32: .long   in32
        .word   KERNEL_CODE32
