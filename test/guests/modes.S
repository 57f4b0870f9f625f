/* 32-bit user code under a 64-bit kernel, and sysenter. */
        .include "boot.inc"

main:   gate    0x80, service, 0xee00
        movl    $0x174, %ecx            /* SYSENTER_CS, _ESP, _EIP */
        movl    $KERNEL_CODE, %eax
        xorl    %edx, %edx
        wrmsr
        incl    %ecx
        movl    $trap_stack, %eax
        wrmsr
        incl    %ecx
        movl    $entered, %eax
        wrmsr
        movq    %rsp, kernel_rsp
        begin

        pushq   $USER_DATA + 3
        pushq   $user_stack
        pushq   $2
        pushq   $USER_CODE32 + 3
        pushq   $user32
to_user:
        iretq
        .code32
user32: movl    $3, %ecx
loop:   decl    %ecx
back:   jnz     loop
call1:  call    leaf
after1: int     $0x80
after2: movl    $leaf, %eax
call3:  call    *%eax
after3: movl    %esp, %ecx
        movl    $after4, %edx
enter:  sysenter
        ud2
leaf:   nop
leaf_return:
        ret
after4: movl    $done, %eax
again:  int     $0x80
        .code64

service:
        cmpl    $done, %eax
leave:  je      done
service_return:
        iretq
entered:                                /* QEMU's processor, an AMD one, has no sysexit here */
        pushq   $USER_DATA + 3
        pushq   %rcx
        pushq   $2
        pushq   $USER_CODE32 + 3
        pushq   %rdx
exit:   iretq
done:   movq    kernel_rsp, %rsp
        end
        ret

        .section .data
kernel_rsp:
        .quad   0
