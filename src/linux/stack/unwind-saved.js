import { registerCount } from "../../symbols/unwind/cfi-registers.js";
import { pointerRegisters } from "../../symbols/unwind/orc-layout.js";
import { codeSegment, isUserMode, loadWord } from "./unwind-step.js";
/** Offset of each register in `struct pt_regs`, by DWARF number. */
const savedOffsets = Uint8Array.of(pointerRegisters.rax, pointerRegisters.rdx, pointerRegisters.rcx, pointerRegisters.rbx, pointerRegisters.rsi, pointerRegisters.rdi, pointerRegisters.rbp, pointerRegisters.rsp, pointerRegisters.r8, pointerRegisters.r9, pointerRegisters.r10, pointerRegisters.r11, pointerRegisters.r12, pointerRegisters.r13, pointerRegisters.r14, pointerRegisters.r15, pointerRegisters.rip);
/**
 * Fills the caller's registers from a `struct pt_regs` at `at`; when only its last part is there, those of the
 * others that entry code has not touched yet stay.
 */
export function loadRegisters(step, memory, at, isWhole) {
    const { next } = step;
    for (let number = 0; number < registerCount; number++) {
        const offset = savedOffsets[number];
        if (!isWhole && offset < pointerRegisters.rip)
            continue;
        if (!loadWord(step, memory, at + offset))
            return false;
        next.setWords(number, memory.low, memory.high);
    }
    if (!loadWord(step, memory, at + pointerRegisters.cs))
        return false;
    next.cs = memory.low & 0xffff;
    return true;
}
/** Whether the code segment among saved registers is one that Linux, or Xen, uses. */
export function isCodeSegment(memory, at) {
    return memory.load(at + pointerRegisters.cs) && memory.high === 0 && codeSegments.has(memory.low);
}
const codeSegments = new Set([...Object.values(codeSegment), 0xe030, 0xe033]);
/** A system call is told by the entry code's name; else by its number, which interrupts and exceptions set to -1. */
export function tellSystemCall(step, memory, at, kind) {
    if (!isUserMode(step.next.cs ?? 0) || (kind !== undefined && kind !== "syscall"))
        return;
    if (!memory.load(at + pointerRegisters.originalRax))
        return;
    const number = memory.key;
    if (number < 0 || number >= largestSystemCall)
        return;
    step.kind = "syscall";
    step.syscall = number;
}
/** x32's numbers have bit 30 set; none is larger. */
const largestSystemCall = 2 ** 31;
/**
 * What the kernel's entry code is called in 5.10 to 6.12, by what enters there. Code that all ways out of the kernel
 * share is not among them. Source: arch/x86/entry/entry_64.S and entry_64_compat.S.
 */
const entryNames = [
    [
        /^(asm_int80_emulation|entry_(SYSCALL|SYSENTER|INT80)|__end_entry_SYSENTER|syscall_return_via_sysret)/,
        "syscall",
    ],
    [/^(ret_from_fork|syscall_enter)/, "syscall"],
    [
        /^(asm_(sysvec_|common_interrupt|spurious_interrupt)|(irq|spurious)_entries_start|call_on_irqstack)/,
        "interrupt",
    ],
    [/^(asm_exc_nmi|asm_exc_xen_hypervisor_callback|(first|nested|repeat|end_repeat)_nmi)/, "interrupt"],
    [
        /^(asm_exc_|asm_(load_gs|iret)|(error|paranoid)_(entry|exit|return)|native_irq_return|early_idt)/,
        "exception",
    ],
    [/^(xen_asm_exc_|asm_fred_exception)/, "exception"],
];
/** What enters the kernel in a function of this name; undefined when it is not entry code, or shared by several. */
export function entryKind(name) {
    return entryNames.find(([pattern]) => pattern.test(name))?.[1];
}
//# sourceMappingURL=unwind-saved.js.map