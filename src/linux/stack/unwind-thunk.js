import { calleeSaved, registerNumber as register } from "../../symbols/unwind/cfi-registers.js";
import { isReturnAddress } from "./unwind-guess.js";
/**
 * `call 1f; 2: pause; lfence; jmp 2b; 1:`, and `call 1f; int3; 1:` of later kernels. Source: Linux,
 * arch/x86/lib/retpoline.S, 5.10 to 6.12.
 */
const traps = [
    [0xe8, 0x07, 0, 0, 0, 0xf3, 0x90, 0x0f, 0xae, 0xe8, 0xeb, 0xf9],
    [0xe8, 0x01, 0, 0, 0, 0xcc],
];
/**
 * One step out of a retpoline, by which a kernel makes its indirect calls: of these instructions its tables say that they
 * cannot tell, or that a stack begins. The first calls past a trap; the second puts the function to go to in place of that
 * call's return address; the third returns to it.
 *
 * @returns false when the frame is none, or a page is missing
 */
export function stepByThunk(step, memory, isCode) {
    if (!step.isExact)
        return false;
    const pc = step.current.key(register.rip);
    if (isJump(pc, memory))
        return leave(step, memory, isCode, 8);
    for (const trap of traps) {
        if (isThunkAt(pc, trap, memory))
            return leave(step, memory, isCode, 8);
        if (memory.missing !== undefined)
            return false;
        if (isThunkAt(pc - trap.length, trap, memory))
            return leave(step, memory, isCode, 16);
        if (memory.missing !== undefined)
            return false;
    }
    return false;
}
/** A trap, and after it `mov %reg,(%rsp)`: REX.W, opcode, ModRM, SIB. */
function isThunkAt(at, trap, memory) {
    if (!trap.every((byte, i) => memory.byte(at + i) === byte))
        return false;
    const [rex, opcode, , base] = [0, 1, 2, 3].map((i) => memory.byte(at + trap.length + i));
    return (rex === 0x48 || rex === 0x4c) && opcode === 0x89 && base === 0x24;
}
/** `jmp *%reg`: what remains of a thunk on a processor that needs none. */
function isJump(pc, memory) {
    const first = memory.byte(pc);
    const at = first === 0x41 ? pc + 1 : pc;
    return memory.byte(at) === 0xff && (memory.byte(at + 1) & 0xf8) === 0xe0;
}
/**
 * Whether the frame is about to return to where no call was: to the function that a retpoline goes to, or to where a new
 * task begins. Nothing there has run yet.
 */
export function returnsToStart(step, memory, isCode) {
    if (step.kind !== "function" || !step.isExact || step.cfa !== step.current.key(register.rsp) + 8)
        return false;
    const code = memory.byte(step.current.key(register.rip));
    if (code !== returns && code !== jumps)
        return false;
    return !isReturnAddress(step.next.key(register.rip), memory, isCode) && memory.missing === undefined;
}
/** `ret`, and the `jmp` to a thunk that may stand for it. */
const returns = 0xc3;
const jumps = 0xe9;
/** The caller's frame, whose return address lies `size` - 8 bytes above rsp. Nothing was called yet. */
function leave(step, memory, isCode, size) {
    const { current, next } = step;
    const cfa = current.key(register.rsp) + size;
    if (!memory.load(cfa - 8) || !isCode(memory.key))
        return false;
    next.copyFrom(current);
    next.known &= calleeSaved;
    next.setWords(register.rip, memory.low, memory.high);
    next.setKey(register.rsp, cfa);
    next.cs = current.cs;
    step.cfa = cfa;
    step.kind = "function";
    step.by = "orc";
    step.reliable = true;
    step.end = undefined;
    step.nextIsExact = false;
    return true;
}
//# sourceMappingURL=unwind-thunk.js.map