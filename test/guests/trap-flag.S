/*
 * Single steps inside the machine (TF, as a debugger in the guest sets it): a trap after each instruction. Such
 * a trap comes between two instructions, as an interrupt does: it leaves from the one that would have run next.
 */
        .include "boot.inc"

main:   gate    1, debug
        begin
        pushfq
        orq     $0x100, (%rsp)
        popfq
tf1:    nop                             /* the first trap is after this one */
tf2:    jmp     tf3
        hlt
tf3:    pushfq
tf4:    andq    $~0x100, (%rsp)
tf5:    popfq                           /* TF was set when it began: one more trap */
tf6:    nop
        end
        ret

debug:  nop
debug_return:
        iretq
