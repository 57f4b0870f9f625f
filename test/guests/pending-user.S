/*
 * Interrupts that come at a change of privilege: they wait in the kernel with interrupts off and are let in by
 * sysret, iretq, or not before the first instruction of a system call.
 */
        .include "boot.inc"
        .set    APIC, 0xfee00000

main:   gate    0x40, interrupt
        gate    0x80, service, 0xee00
        gate    14, page_fault
        movl    $0xc0000081, %ecx
        movl    $0x00180008, %edx
        xorl    %eax, %eax
        wrmsr
        incl    %ecx
        movl    $system_call, %eax
        xorl    %edx, %edx
        wrmsr
        movl    $0xc0000084, %ecx
        movl    $0x200, %eax
        wrmsr
        movl    $APIC, %ebp
        movl    $0x1ff, 0xf0(%rbp)
        movq    %rsp, kernel_rsp
        begin

        pushq   $USER_DATA + 3
        pushq   $user_stack
        pushq   $0x202
        pushq   $USER_CODE + 3
        pushq   $user
        movl    $0x44040, 0x300(%rbp)
to_user:
        iretq                           /* the interrupt comes before `user` runs */

user:   movl    $3, %r12d
call1:  syscall                         /* returns with an interrupt waiting */
after1: decl    %r12d
again:  jnz     call1
int80:  int     $0x80
after2: nop
        andq    $~1, page_table
        movl    $0x44040, 0x300(%rbp)   /* ring 3 may reach the APIC in this machine: at once */
self:   nop
        xorl    %eax, %eax
stay:   jz      past
        nop
past:   movl    $60, %eax
call3:  syscall
        ud2

system_call:
        cmpl    $60, %eax
leave:  je      out
        movl    $0x44040, 0x300(%rbp)
sysret: sysretq
out:    movq    kernel_rsp, %rsp
        end
        ret
service:
        movl    $0x44040, 0x300(%rbp)
        nop
service_return:
        iretq
interrupt:
        movl    $0, 0xb0(%rbp)
interrupt_return:
        iretq
page_fault:
        hlt

        .section .data
kernel_rsp:
        .quad   0
