import { RegisterSet } from "../../symbols/unwind/cfi-registers.js";
/** What is worked on while a stack is walked: one object, used again for each step. */
export class UnwindStep {
    /** The frame to unwind. */
    current = new RegisterSet();
    /** Its caller, filled by a step that succeeds. */
    next = new RegisterSet();
    /** The address in `current` was interrupted, or runs; else it is a return address. */
    isExact = true;
    // What a step says of `current`:
    cfa = Number.NaN;
    kind = "function";
    syscall;
    /** Set when a step fails, and when it finds that there is no caller. */
    end;
    endAddress;
    // And of `next`:
    by = "cfi";
    nextIsExact = false;
    /** It was found by tables alone. */
    reliable = true;
    reset() {
        this.cfa = Number.NaN;
        this.kind = "function";
        this.syscall = undefined;
        this.end = undefined;
        this.endAddress = undefined;
        this.nextIsExact = false;
        this.reliable = true;
    }
    /** The key to look the frame's tables up with. */
    get lookup() {
        return this.current.key(16) - (this.isExact ? 0 : 1);
    }
    /** Makes the caller the current frame. */
    turn() {
        const { current } = this;
        this.current = this.next;
        this.next = current;
        this.isExact = this.nextIsExact;
    }
    /** Ends the walk; false, so that a step can return it. */
    stop(end, address) {
        this.end = end;
        this.endAddress = address;
        return false;
    }
}
/** Bits 0 and 1 of a code segment: 3 in user mode. */
export function isUserMode(cs) {
    return (cs & 3) === 3;
}
/** Linux's code segments: arch/x86/include/asm/segment.h. */
export const codeSegment = { kernel: 0x10, user: 0x33, user32: 0x23 };
export const stackSegment = { user: 0x2b };
/** Whether a key lies in the lower, user half of canonical addresses. */
export function isUserAddress(key) {
    return key >= 0 && key < 2 ** 56;
}
/** Whether a key lies where x86-64 has all code of its kernel: the image, modules, and what is made at run time. */
export function isKernelText(key) {
    return key >= -(2 ** 31) && key < 0;
}
/** Reads a word that the step cannot do without. */
export function loadWord(step, memory, key) {
    return memory.load(key) || step.stop("not-mapped", key);
}
//# sourceMappingURL=unwind-step.js.map