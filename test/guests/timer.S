/*
 * Timer interrupts wherever a loop can be: tight ones, ones that call, `jmp` to itself, a long rep, hlt. How often
 * and where they come differs from recording to recording; what surrounds them does not.
 */
        .include "boot.inc"

main:   gate    0x20, timer
        movl    $15, %ecx               /* 13 microseconds */
        call    start_timer
        sti
        begin

        movl    $3000, %ecx
loop1:  decl    %ecx
back1:  jnz     loop1
        movl    $3000, %ecx
loop2:  loop    loop2
        movl    $300, %ebx
loop3:  nop
call3:  call    leaf
after3: decl    %ebx
back3:  jnz     loop3
        movl    $300, %ebx
        movq    $leaf, %rdx
loop4:  pushq   %rbx
call4:  call    *%rdx
after4: popq    %rbx
        testl   $1, %ebx
odd4:   jz      even4                   /* every second time */
        nop
even4:  decl    %ebx
back4:  jnz     loop4
        movl    $PAGES, %edi
        movl    $9000, %ecx
        rep stosb
        movl    $0, stopped
self:   jmp     self                    /* until the handler steps over it */
released:
        movl    $1, stopped
        movl    $3, %ebx
doze:   hlt
woken:  decl    %ebx
back5:  jnz     doze
        movl    $3, %ebx
again6: cli
        sti                             /* nothing comes before hlt has run */
sleep:  hlt
woken6: decl    %ebx
back6:  jnz     again6
        movl    $300, %ecx
spin:   pause
back7:  loop    spin
        cli
        end
        ret

leaf:   nop
leaf_return:
        ret

timer:  pushq   %rax
        movb    $0x20, %al
        outb    %al, $0x20
        cmpq    $self, 8(%rsp)
first:  jne     timer_end
        movq    $released, 8(%rsp)
timer_end:
        popq    %rax
timer_return:
        iretq

        .section .data
stopped:
        .long   0
