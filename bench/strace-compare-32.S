# A 32-bit program for strace-compare.ts: the same calls by int 0x80, and through the vDSO (sysenter or syscall).
    .globl _start
    .text
_start:
    mov %esp, %esi          # argc, argv, 0, environment, 0, auxiliary vector
    mov (%esi), %eax
    lea 8(%esi,%eax,4), %esi
1:  lodsl                   # the environment
    test %eax, %eax
    jnz 1b
2:  lodsl                   # the auxiliary vector: type, value
    mov %eax, %ecx
    lodsl
    cmp $32, %ecx           # AT_SYSINFO
    je 3f
    test %ecx, %ecx
    jnz 2b
    xor %eax, %eax
3:  mov %eax, vdso
    mov $do_int80, %ebp
    call calls
    cmpl $0, vdso
    je 4f
    mov $do_vdso, %ebp
    call calls
4:  mov $1, %eax            # exit(5)
    mov $5, %ebx
    int $0x80
do_int80:
    int $0x80
    ret
do_vdso:
    jmp *vdso
calls:
    push %ebp
    mov $5, %eax            # open(path, O_RDONLY|O_CLOEXEC)
    mov $path, %ebx
    mov $0x80000, %ecx
    xor %edx, %edx
    call *(%esp)
    mov %eax, %ebx
    mov $3, %eax            # read
    mov $buffer, %ecx
    mov $20, %edx
    call *(%esp)
    mov $6, %eax            # close
    call *(%esp)
    mov $33, %eax           # access
    mov $missing, %ebx
    mov $4, %ecx
    call *(%esp)
    mov $4, %eax            # write
    mov $1, %ebx
    mov $text, %ecx
    mov $6, %edx
    call *(%esp)
    mov $20, %eax           # getpid
    call *(%esp)
    mov $45, %eax           # brk
    xor %ebx, %ebx
    call *(%esp)
    pop %ebp
    ret
    .data
vdso: .long 0
path: .asciz "/proc/version"
missing: .asciz "/missing"
text: .ascii "32 bit"
    .bss
    .lcomm buffer, 64
    .section .note.GNU-stack,"",@progbits
