import { registerNumber as register } from "../../symbols/unwind/cfi-registers.js";
import { pointerRegisters } from "../../symbols/unwind/orc-layout.js";
import { isReturnAddress } from "./unwind-guess.js";
import { loadRegisters } from "./unwind-saved.js";
import { codeSegment, isUserAddress, stackSegment } from "./unwind-step.js";
/** Words above rsp in which the frame for `iret` may lie while the last registers are restored. */
const searchedWords = 24;
/** Kernel stacks end with a page; up to 5.15 the entry stack with the first 512 bytes of one. */
const stackGrain = 512;
/**
 * How far after the instruction that keeps the user's rsp in a per-CPU variable entry code may still use rsp for
 * something else, as the page table's number with page table isolation.
 */
const searchedCode = 96;
/** `mov %rsp,%gs:…`: with an address of 32 bits; from 6.5 on relative to the next instruction. */
const keepsSp = [
    { bytes: [0x65, 0x48, 0x89, 0x24, 0x25], isRelative: false },
    { bytes: [0x65, 0x48, 0x89, 0x25], isRelative: true },
];
/** Where `swapgs_restore_regs_and_return_to_user` points rdi: at these, with nothing yet on the stack it leaves by. */
const returning = { rdi: 0, rip: 16, cs: 24, rsp: 40, ss: 48 };
/** `sysret` code pushes rsp and rdi, and rax with page table isolation. */
const deepestReturn = 24;
const savedSpFromRdi = pointerRegisters.rsp - pointerRegisters.rdi;
/** `struct pt_regs` ends at the stack's top with ss, and before it rsp. */
const fromTop = { ss: -8, rsp: -16 };
/**
 * The few instructions at the kernel's edge of which its own tables say nothing: `syscall` has entered and the user's
 * registers are not saved yet, or they are restored already and `sysret` or `iret` comes next. All registers but rcx, r11
 * and rsp are still, or again, the user's.
 *
 * @param kind what enters here, by its name
 * @param perCpu where the processor's variables are; undefined when it is not known
 * @returns false when this is no such place, or a page is missing
 */
export function stepAtEdge(step, memory, kind, perCpu) {
    const { current } = step;
    if (!step.isExact)
        return false;
    const sp = current.key(register.rsp);
    const returnsTo = current.key(register.rcx);
    const kept = kind === "syscall" && perCpu !== undefined ? keptSp(step, memory, perCpu) : undefined;
    if (memory.missing !== undefined)
        return false;
    if (kept !== undefined && isUserAddress(kept) && isUserAddress(returnsTo)) {
        return toUser(step, returnsTo, kept, "syscall");
    }
    if (isUserAddress(sp)) {
        // syscall leaves rsp, puts rip into rcx; sysret takes it from there.
        if (!isUserAddress(returnsTo) || returnsTo === 0)
            return false;
        return toUser(step, returnsTo, sp, kind ?? "syscall");
    }
    for (let i = 0; i + 4 < searchedWords; i++) {
        const at = sp + i * 8;
        if (!memory.load(at))
            break;
        const pc = memory.key;
        if (!isUserAddress(pc) || !memory.load(at + 8))
            continue;
        const cs = memory.key;
        if (cs !== codeSegment.user && cs !== codeSegment.user32)
            continue;
        if (!memory.load(at + 32) || memory.key !== stackSegment.user || !memory.load(at + 24))
            continue;
        toUser(step, pc, memory.key, kind ?? "interrupt");
        // What lies before it is still to be restored: rdi, and rax with page table isolation.
        if (i > 0)
            step.next.known &= ~((1 << register.rdi) | (i > 1 ? 1 << register.rax : 0));
        step.next.cs = cs;
        return true;
    }
    if (memory.missing !== undefined)
        return false;
    if (kind !== "syscall" || !isUserAddress(returnsTo))
        return stepByReturning(step, memory, kind);
    const userSp = spOnStack(step, memory, sp);
    if (memory.missing !== undefined)
        return false;
    toUser(step, returnsTo, userSp, kind);
    step.next.known &= ~((1 << register.rdi) | (1 << register.rax));
    return true;
}
/** The user's rsp where entry code has just kept it. */
function keptSp(step, memory, perCpu) {
    const pc = step.current.key(register.rip);
    for (let at = pc - 1; at >= pc - searchedCode; at--) {
        if (memory.byte(at) !== keepsSp[0].bytes[0])
            continue;
        for (const { bytes, isRelative } of keepsSp) {
            const end = at + bytes.length + 4;
            if (end > pc || !bytes.every((byte, i) => memory.byte(at + i) === byte))
                continue;
            let offset = 0;
            for (let i = 1; i <= 4; i++)
                offset = (offset << 8) | memory.byte(end - i);
            const variable = isRelative ? end + offset : offset;
            return memory.load(perCpu + variable) ? memory.key : undefined;
        }
    }
    return undefined;
}
/** The way out of an interrupt, between one stack and the other. */
function stepByReturning(step, memory, kind) {
    const from = step.current.key(register.rdi);
    if (from >= 0)
        return false;
    const word = (offset) => (memory.load(from + offset) ? memory.key : Number.NaN);
    const [ss, cs, pc, sp] = [word(returning.ss), word(returning.cs), word(returning.rip), word(returning.rsp)];
    if (ss !== stackSegment.user || (cs !== codeSegment.user && cs !== codeSegment.user32))
        return false;
    if (!isUserAddress(pc) || !isUserAddress(sp) || !memory.load(from + returning.rdi))
        return false;
    const { low, high } = memory;
    toUser(step, pc, sp, kind ?? "interrupt");
    step.next.setWords(register.rdi, low, high);
    step.next.cs = cs;
    return true;
}
/**
 * Where the user's rsp lies between a switch of stacks and the instruction that takes it: at the top of the task's stack,
 * where `syscall` puts it after ss; or at the top of the entry stack, from where `sysret` takes it.
 */
function spOnStack(step, memory, sp) {
    const top = Math.ceil(sp / stackGrain) * stackGrain;
    if (top === sp) {
        // Nothing is on the new stack yet: rdi still points into the registers saved on the old one.
        const rdi = step.current.key(register.rdi);
        return rdi < 0 && memory.load(rdi + savedSpFromRdi) && isUserAddress(memory.key) ? memory.key : undefined;
    }
    if (!memory.load(top + fromTop.ss))
        return undefined;
    const highest = memory.key;
    if (highest !== stackSegment.user) {
        return top - sp <= deepestReturn && isUserAddress(highest) ? highest : undefined;
    }
    return top - sp >= -fromTop.rsp && memory.load(top + fromTop.rsp) ? memory.key : undefined;
}
/**
 * `error_entry` and its kin save all registers above their own return address, which has to go out of the way: it waits in
 * rsi, and ends below the registers. Up to 5.17 the tables look for it where it was, and find the user's rdi.
 *
 * @param step as the tables have it
 * @returns false when this is no such code, or a page is missing
 */
export function stepInSaving(step, memory, kind, isCode) {
    const { current, next } = step;
    if (kind !== "exception")
        return false;
    const waits = current.key(register.rsi);
    const [low, high] = [current.words[register.rsi * 2], current.words[register.rsi * 2 + 1]];
    if (step.isExact && isReturnAddress(waits, memory, isCode)) {
        next.setWords(register.rip, low, high);
        return memory.missing === undefined;
    }
    const saved = step.cfa - returnsAbove;
    if (!memory.load(saved))
        return false;
    const word = [memory.low, memory.high];
    if (!isReturnAddress(memory.key, memory, isCode))
        return false;
    next.setWords(register.rip, ...word);
    next.setKey(register.rsp, saved + 8);
    return memory.missing === undefined;
}
/** From where the stack was before the call: fifteen registers, and the return address. */
const returnsAbove = 128;
/**
 * Where a new task begins, of which the kernel's tables say that nothing called it: what it will go on with in user space
 * lies on its stack, as its parent's system call left it. A kernel thread has nothing there.
 */
export function stepAtFork(step, memory) {
    const at = step.current.key(register.rsp);
    if (!memory.load(at + pointerRegisters.ss))
        return false;
    const ss = memory.key;
    if (ss !== stackSegment.user || !memory.load(at + pointerRegisters.cs))
        return false;
    const cs = memory.key;
    if (cs !== codeSegment.user && cs !== codeSegment.user32)
        return false;
    if (!loadRegisters(step, memory, at, true))
        return false;
    step.by = "entry";
    step.kind = "syscall";
    step.cfa = at;
    step.reliable = true;
    step.nextIsExact = true;
    return true;
}
function toUser(step, pc, sp, kind) {
    const { current, next } = step;
    next.copyFrom(current);
    next.cs = codeSegment.user;
    next.setKey(register.rip, pc);
    if (sp === undefined)
        next.known &= ~(1 << register.rsp);
    else
        next.setKey(register.rsp, sp);
    step.by = "entry";
    step.kind = kind;
    step.cfa = Number.NaN;
    step.reliable = true;
    step.nextIsExact = true;
    return true;
}
//# sourceMappingURL=unwind-entry.js.map