import { readOrcModule } from "../../symbols/kernel/orc-image.js";
import { keyOf } from "../../symbols/tables/address.js";
import { ruleKind } from "../../symbols/unwind/cfi-layout.js";
import { registerNumber as register, registerCount } from "../../symbols/unwind/cfi-registers.js";
import { orcRegister, orcType, pointerRegisters } from "../../symbols/unwind/orc-layout.js";
import { isCodeSegment, loadRegisters, tellSystemCall } from "./unwind-saved.js";
import { loadWord } from "./unwind-step.js";
/**
 * The unwind tables of a kernel and its modules. Source of the algorithm: Linux, arch/x86/kernel/unwind_orc.c,
 * `unwind_next_frame`.
 */
export class KernelUnwinding {
    /** Where the processor's variables are, when it is known: entry code keeps registers there for a moment. */
    perCpu;
    kernel;
    modules = [];
    seen = new Map();
    /**
     * @param orc from `readOrcImage` (with the slide of KASLR) or `readOrcMemory` (with none)
     * @param cfi of a kernel with DWARF: registers besides rsp and rbp are then known in callers too
     */
    constructor(orc, slide, cfi) {
        const moved = keyOf(slide);
        this.kernel = { start: orc.first + moved, end: orc.last + moved, slide: moved, orc, cfi };
    }
    /**
     * Takes the modules that are loaded at an instant, in place of those of another; their tables are read from memory,
     * once for each module at its place. Cost: 3 reads for each new one.
     */
    async setModules(memory, modules) {
        const parts = [];
        for (const module of modules) {
            const key = `${module.name}@${module.address}:${module.regions[0]?.start}`;
            if (!this.seen.has(key)) {
                const orc = await readOrcModule(memory, module, this.kernel.orc.dialect);
                this.seen.set(key, orc && { start: orc.first, end: orc.last, slide: 0, orc });
            }
            const part = this.seen.get(key);
            if (part)
                parts.push(part);
        }
        this.modules = parts.sort((a, b) => a.start - b.start);
    }
    /** The tables that are to know an address; undefined when no kernel text with tables lies there. */
    partAt(key) {
        const { kernel, modules } = this;
        if (key >= kernel.start && key < kernel.end)
            return kernel;
        if (modules.length === 0 || !(key >= modules[0].start))
            return undefined;
        let low = 0;
        for (let high = modules.length - 1; low < high;) {
            const middle = (low + high + 1) >>> 1;
            if (modules[middle].start <= key)
                low = middle;
            else
                high = middle - 1;
        }
        const part = modules[low];
        return key < part.end ? part : undefined;
    }
}
/** The base registers of entries, as DWARF numbers; -1 for those that are none. */
const baseRegisters = Int8Array.from({ length: 16 }, () => -1);
baseRegisters[orcRegister.dx] = register.rdx;
baseRegisters[orcRegister.di] = register.rdi;
baseRegisters[orcRegister.bp] = register.rbp;
baseRegisters[orcRegister.sp] = register.rsp;
baseRegisters[orcRegister.r10] = register.r10;
baseRegisters[orcRegister.r13] = register.r13;
baseRegisters[orcRegister.bpIndirect] = register.rbp;
baseRegisters[orcRegister.spIndirect] = register.rsp;
baseRegisters[orcRegister.ax] = register.rax;
/** Bits of rbp, rsp and rip: all that ORC follows. */
const followed = (1 << register.rbp) | (1 << register.rsp) | (1 << register.rip);
/**
 * One step through kernel code by ORC.
 *
 * @param kindOf names entry code by its address
 * @returns `unknown`: no table has the address. `undefined`: a table says that it cannot tell. `failed`: `step.end` says
 *   why, or a page is missing
 */
export function stepByOrc(unwinding, step, memory, kindOf) {
    const { current, next, lookup } = step;
    const part = unwinding.partAt(lookup);
    const index = part ? part.orc.find(lookup - part.slide) : -1;
    if (!part || index < 0)
        return "unknown";
    const { orc } = part;
    const type = orc.type(index);
    if (type === orcType.undefined)
        return "undefined";
    if (type === orcType.endOfStack) {
        step.stop("outermost");
        return "failed";
    }
    const base = orc.spRegister(index);
    const number = baseRegisters[base];
    if (number < 0 || !current.isKnown(number)) {
        step.stop("no-information");
        return "failed";
    }
    const offset = orc.spOffset(index);
    let sp = current.key(number);
    if (base === orcRegister.bpIndirect) {
        if (!loadWord(step, memory, sp + offset))
            return "failed";
        sp = memory.key;
    }
    else if (base === orcRegister.spIndirect) {
        // Since 5.12 the offset is added after the indirection; before, it was always 0.
        if (!loadWord(step, memory, sp))
            return "failed";
        sp = memory.key + offset;
    }
    else {
        sp += offset;
        if (base === orcRegister.sp && !orc.isTyped && orc.place(index) + part.slide < lookup) {
            sp += pushedByPatch(step, memory);
            if (memory.missing !== undefined)
                return "failed";
        }
    }
    next.copyFrom(current);
    step.by = "orc";
    step.reliable = true;
    step.cfa = sp;
    if (type === orcType.call) {
        if (!loadWord(step, memory, sp - 8))
            return "failed";
        next.known &= followed;
        next.setWords(register.rip, memory.low, memory.high);
        next.setKey(register.rsp, sp);
        next.cs = current.cs;
        step.nextIsExact = false;
        step.kind = "function";
    }
    else {
        const isWhole = type === orcType.registers;
        // A partial frame is the five words the processor pushed; `sp` points to the first of them.
        let at = isWhole ? sp : sp - pointerRegisters.rip;
        let hasAll = isWhole;
        if (!isCodeSegment(memory, at)) {
            // Entry code calls `error_entry`, of which no table tells that it leaves all registers on the stack: under its
            // return address until it returns.
            const under = current.key(register.rsp);
            if (memory.missing === undefined && !isWhole && isCodeSegment(memory, under)) {
                at = under;
                hasAll = true;
            }
            else {
                step.stop(memory.missing === undefined ? "corrupt" : "not-mapped", at);
                return "failed";
            }
        }
        if (!loadRegisters(step, memory, at, hasAll))
            return "failed";
        const kind = kindOf(step.lookup);
        step.syscall = undefined;
        step.kind = kind ?? "interrupt";
        if (hasAll)
            tellSystemCall(step, memory, at, kind);
        step.by = "entry";
        step.nextIsExact = true;
    }
    if (!recoverBp(step, memory, orc, index, sp))
        return "failed";
    if (part.cfi && type === orcType.call)
        recoverSaved(part, step, memory, sp);
    return "stepped";
}
/**
 * Bytes on the stack of which the tables do not know: a running kernel replaces calls of its hypervisor's functions by
 * instructions, of which the first pushes and the second pops. From 5.12 on the tables tell of both.
 * Source: Linux 5.10, arch/x86/kernel/paravirt_patch.c.
 */
function pushedByPatch(step, memory) {
    if (!step.isExact)
        return 0;
    const pc = step.current.key(register.rip);
    const [before, here] = [memory.byte(pc - 1), memory.byte(pc)];
    return patches.some(([push, pop]) => before === push && here === pop) ? 8 : 0;
}
/** `pushf; pop %rax` and `push %rdi; popf`. */
const patches = [
    [0x9c, 0x58],
    [0x57, 0x9d],
];
/** Where rbp of the caller is. With whole saved registers it is among them, and the entry says nothing. */
function recoverBp(step, memory, orc, index, sp) {
    const base = orc.bpRegister(index);
    if (base === orcRegister.undefined)
        return true;
    const from = base === orcRegister.previousSp ? sp : step.current.key(register.rbp);
    if (base !== orcRegister.previousSp && base !== orcRegister.bp)
        return step.stop("no-information");
    if (!loadWord(step, memory, from + orc.bpOffset(index)))
        return false;
    step.next.setWords(register.rbp, memory.low, memory.high);
    return true;
}
/** Registers that ORC does not follow, where DWARF has them and both agree on the frame. */
function recoverSaved(part, step, memory, cfa) {
    const { current, next } = step;
    const row = part.cfi.row(step.lookup - part.slide);
    if (!row || row.cfaExpression || row.cfaRegister < 0 || row.cfaRegister >= registerCount)
        return;
    if (current.key(row.cfaRegister) + row.cfaOffset !== cfa)
        return;
    for (const number of saved) {
        const kind = row.kinds[number];
        if (kind === ruleKind.offset && memory.load(cfa + row.values[number])) {
            next.setWords(number, memory.low, memory.high);
        }
        else if ((kind === ruleKind.unspecified || kind === ruleKind.sameValue) && current.isKnown(number)) {
            next.known |= 1 << number;
        }
    }
}
const saved = [register.rbx, register.r12, register.r13, register.r14, register.r15];
//# sourceMappingURL=unwind-kernel.js.map