/* Ring 3 and back: iret, syscall and sysret, software interrupts, faults and timer interrupts in user code. */
        .include "boot.inc"

main:   gate    3, breakpoint, 0xee00
        gate    6, undefined
        gate    13, protection
        gate    14, page_fault
        gate    0x80, service, 0xee00
        movl    $0xc0000081, %ecx       /* STAR, LSTAR, FMASK */
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
        andq    $~1, page_table
        invlpg  PAGES
        movq    %rsp, kernel_rsp
        begin

        pushq   $USER_DATA + 3
        pushq   $user_stack
        pushq   $0x2
        pushq   $USER_CODE + 3
        pushq   $user
to_user:
        iretq

user:   movl    $2, %r12d
call1:  syscall
after1: decl    %r12d
again:  jnz     call1
int80:  int     $0x80
after2: nop
bp:     int3
after3: movq    PAGES, %rax             /* a page fault */
priv:   cli                             /* a protection fault */
ud:     ud2
gone:   movq    $0xffffffff80000000, %rbx
go:     call    *%rbx                   /* to where nothing is: the kernel sends us on, as a signal would */
after4: movl    $60, %eax
call2:  syscall
        ud2

system_call:
        cmpl    $60, %eax
leave:  je      done
        nop
to_user2:
        sysretq
done:   movq    kernel_rsp, %rsp
        end
        ret

service:
        nop
service_return:
        iretq
breakpoint:
        iretq
        skipping undefined, 2
        skipping protection, 1, error_code = 1
page_fault:
        addq    $8, %rsp
        movq    %cr2, %rax
        shrq    $63, %rax
absent: jnz     elsewhere
        orq     $1, page_table
page_fault_return:
        iretq
elsewhere:
        movq    $after4, (%rsp)
signal_return:
        iretq

        .section .data
kernel_rsp:
        .quad   0
