import { calleeSaved, registerNumber as register } from "../../symbols/unwind/cfi-registers.js";
import { decodeInstruction, effect } from "./x86-instruction.js";
/** No frame is larger, or it is none. */
const largestFrame = { kernel: 1 << 14, user: 1 << 20 };
/** Instructions that are looked at, and places still to be looked at. */
const mostInstructions = 4000;
const mostPaths = 256;
/** Words of the stack that a scan looks at. */
const mostScanned = 512;
/**
 * One step by what the code does next: instructions are followed, without executing them, until one returns, and what
 * they do to the stack pointer on the way tells where the return address lies now. Jumps are followed, both sides of a
 * conditional one. For code that no table describes: programs built without them, code made at run time.
 *
 * The return address that is found must lie after a call instruction.
 *
 * @returns false when no way leads to a return, or a page is missing
 */
export function stepByCode(step, memory, isCode) {
    const { current } = step;
    const paths = [{ at: current.key(register.rip), sp: current.key(register.rsp), pops: [] }];
    const visited = new Set();
    for (let budget = mostInstructions, path = paths.pop(); path && budget > 0; path = paths.pop()) {
        while (budget-- > 0) {
            if (visited.has(path.at))
                break;
            visited.add(path.at);
            const { at } = path;
            if (!decodeInstruction(at, (offset) => memory.byte(at + offset), scratch)) {
                if (memory.missing !== undefined)
                    return false;
                break;
            }
            if (scratch.effect === effect.return) {
                if (takeReturn(path, step, memory, isCode))
                    return true;
                if (memory.missing !== undefined)
                    return false;
                break;
            }
            const other = follow(path, scratch, current.key(register.rbp), current.isKnown(register.rbp), memory);
            if (memory.missing !== undefined)
                return false;
            if (other === "end")
                break;
            if (other && paths.length < mostPaths)
                paths.push(other);
        }
    }
    return false;
}
const scratch = { length: 0, effect: 0, amount: 0, register: -1 };
/** Does one instruction; gives a second path when there is one. */
function follow(path, instruction, bp, isBpKnown, memory) {
    const next = path.at + instruction.length;
    path.at = next;
    const { amount } = instruction;
    switch (instruction.effect) {
        case effect.moveSp:
            path.sp += amount;
            return undefined;
        case effect.pop:
            if (calleeSaved & (1 << instruction.register)) {
                path.pops = [...path.pops, instruction.register, path.sp];
            }
            path.sp += amount;
            return undefined;
        case effect.spFromBp:
        case effect.leave: {
            const base = bpOf(path, bp, isBpKnown, memory);
            if (base === undefined)
                return "end";
            path.sp = base + amount;
            if (instruction.effect === effect.leave) {
                path.pops = [...path.pops, register.rbp, base];
                path.sp = base + 8;
            }
            return undefined;
        }
        case effect.branch:
            return { at: next + amount, sp: path.sp, pops: path.pops };
        case effect.jump:
            path.at = next + amount;
            return undefined;
        case effect.loseSp:
            path.sp = Number.NaN;
            return undefined;
        case effect.lost:
            return "end";
        default:
            return undefined;
    }
}
/** rbp on a path: as it was, or as it was popped. */
function bpOf(path, bp, isKnown, memory) {
    for (let i = path.pops.length - 2; i >= 0; i -= 2) {
        if (path.pops[i] === register.rbp)
            return memory.load(path.pops[i + 1]) ? memory.key : undefined;
    }
    return isKnown ? bp : undefined;
}
/** The return of a path: its address must be one, and the frame one that can be. */
function takeReturn(path, step, memory, isCode) {
    const { current, next } = step;
    const size = path.sp - current.key(register.rsp);
    if (!(size >= 0 && size <= frameLimit(path.sp)))
        return false;
    if (!memory.load(path.sp))
        return false;
    const { low, high, key } = memory;
    if (!isReturnAddress(key, memory, isCode))
        return false;
    next.copyFrom(current);
    next.known &= calleeSaved;
    for (let i = 0; i < path.pops.length; i += 2) {
        if (memory.load(path.pops[i + 1]))
            next.setWords(path.pops[i], memory.low, memory.high);
    }
    next.setWords(register.rip, low, high);
    next.setKey(register.rsp, path.sp + 8);
    tell(step, "code", path.sp + 8);
    return true;
}
/** Whether the function can never return: its call is followed by `hlt`, as in a program's first function. */
export function isOutermost(step, memory) {
    return !step.isExact && memory.byte(step.current.key(register.rip)) === halt;
}
const halt = 0xf4;
/** One step by the frame pointer: rbp points to the caller's rbp, and after it lies the return address. */
export function stepByFramePointer(step, memory, isCode) {
    const { current, next } = step;
    if (!current.isKnown(register.rbp))
        return false;
    const bp = current.key(register.rbp);
    const sp = current.isKnown(register.rsp) ? current.key(register.rsp) : bp;
    if (bp % 8 !== 0 || bp < sp || bp - sp > frameLimit(bp))
        return false;
    if (!memory.load(bp))
        return false;
    const { low, high } = memory;
    if (!memory.load(bp + 8))
        return false;
    const [pcLow, pcHigh] = [memory.low, memory.high];
    if (!isReturnAddress(memory.key, memory, isCode))
        return false;
    next.copyFrom(current);
    next.known &= calleeSaved & ~savedBesideBp;
    next.setWords(register.rbp, low, high);
    next.setWords(register.rip, pcLow, pcHigh);
    next.setKey(register.rsp, bp + 16);
    tell(step, "frame-pointer", bp + 16);
    return true;
}
/** rbx and r12 … r15 may have been saved by the function and changed. */
const savedBesideBp = (1 << 3) | (0xf << 12);
/** The nearest word on the stack that looks like a return address. */
export function stepByScan(step, memory, isCode) {
    const { current, next } = step;
    if (!current.isKnown(register.rsp))
        return false;
    const from = Math.ceil(current.key(register.rsp) / 8) * 8;
    for (let i = 0; i < mostScanned; i++) {
        const at = from + i * 8;
        if (!memory.load(at))
            return false;
        const { low, high, key } = memory;
        if (!isCode(key))
            continue;
        const is = isReturnAddress(key, memory, isCode);
        if (memory.missing !== undefined)
            return false;
        if (!is)
            continue;
        next.copyFrom(current);
        next.known = 0;
        next.setWords(register.rip, low, high);
        next.setKey(register.rsp, at + 8);
        tell(step, "scan", at + 8);
        return true;
    }
    return false;
}
function tell(step, by, cfa) {
    step.by = by;
    step.kind = "function";
    step.cfa = cfa;
    step.reliable = false;
    step.nextIsExact = false;
}
function frameLimit(key) {
    return key < 0 ? largestFrame.kernel : largestFrame.user;
}
/** Lengths of `call r/m64` up to its displacement: opcode ff, ModRM with 2 in the middle. */
const indirectCalls = [
    [2, (modrm) => modrm >> 6 === 3 || (modrm >> 6 === 0 && (modrm & 7) !== 4 && (modrm & 7) !== 5)],
    [3, (modrm) => (modrm >> 6 === 1 && (modrm & 7) !== 4) || (modrm >> 6 === 0 && (modrm & 7) === 4)],
    [4, (modrm) => modrm >> 6 === 1 && (modrm & 7) === 4],
    [6, (modrm) => (modrm >> 6 === 2 && (modrm & 7) !== 4) || (modrm >> 6 === 0 && (modrm & 7) === 5)],
    [7, (modrm) => (modrm >> 6 === 2 && (modrm & 7) === 4) || (modrm >> 6 === 0 && (modrm & 7) === 4)],
];
/** Whether an address lies after a call instruction. */
export function isReturnAddress(key, memory, isCode) {
    if (!Number.isSafeInteger(key) || !isCode(key))
        return false;
    if (memory.byte(key - 5) === 0xe8)
        return true;
    return indirectCalls.some(([length, fits]) => {
        const modrm = memory.byte(key - length + 1);
        return memory.byte(key - length) === 0xff && modrm >= 0 && ((modrm >> 3) & 7) === 2 && fits(modrm);
    });
}
//# sourceMappingURL=unwind-guess.js.map