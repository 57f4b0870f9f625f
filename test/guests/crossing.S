/*
 * Instructions that lie on two pages: run through, jumped to, as branches themselves, in a loop. First with all
 * pages there, then with each page missing until an instruction's last bytes are fetched from it.
 */
        .include "boot.inc"

main:   gate    14, page_fault, 0x8e01
        movl    $1, keep_first
        begin
go1:    call    entry
back1:  call    hide
go2:    call    entry
back2:  end
        ret

        .include "paging.inc"

        .section .pages, "ax"
entry:  movl    $PAGES + 0x800, %edi
jump1:  jmp     straight1
        .org    0x1000 - 3, 0x90
straight1:
        movl    $0x12345678, %eax
        nop
jump2:  jmp     target2
        .org    0x2000 - 2, 0x90
target2:
        movl    $0x12345678, %eax       /* the very target of a jump */
        nop
jump3:  jmp     before3
        .org    0x3000 - 3, 0x90
before3:
        nop
cross3: .byte   0xe9                    /* a jump of five bytes */
        .long   after3 - after3_hlt
after3_hlt:
        hlt
after3: movl    $3, %ecx
jump4:  jmp     loop4
        .org    0x4000 - 3, 0x90
loop4:  decl    %ecx
cross4: jnz     loop4
jump5:  jmp     cross5
        .org    0x5000 - 3, 0x90
cross5: call    leaf
after5: movl    $3, %ecx
jump6:  jmp     cross6
leaf:   ret
        .org    0x6000 - 1, 0x90
cross6: rep stosb
jump7:  jmp     cross7
        .org    0x7000 - 1, 0x90
cross7: repz ret
