import { VmtapeError } from "../../base/errors.js";
import { guestAddress } from "../../base/units.js";
import { addressOfKey, isWordKey } from "../../symbols/tables/address.js";
import { RegisterSet, registerNumber as register } from "../../symbols/unwind/cfi-registers.js";
import { unwindFile } from "../names/stack-files.js";
import { StackMemory } from "./memory.js";
import { stepAtEdge, stepAtFork, stepInSaving } from "./unwind-entry.js";
import { isOutermost, stepByCode, stepByFramePointer, stepByScan } from "./unwind-guess.js";
import { stepByOrc } from "./unwind-kernel.js";
import { entryKind } from "./unwind-saved.js";
import { codeSegment, isKernelText, isUserMode, UnwindStep } from "./unwind-step.js";
import { returnsToStart, stepByThunk } from "./unwind-thunk.js";
import { stepByCfi, stepByTrampoline } from "./unwind-user.js";
import { SavedRegisters, WalkedFrame } from "./walked-frame.js";
const defaultLimit = 256;
const mostFrames = 65_536;
/** Fetches of pages and mappings for one frame; a scan looks at the code after each word. */
const mostFetches = 600;
/**
 * Walks stacks: from the registers of a stopped machine through the kernel, out to the program that called it or was
 * interrupted, and to where that began. One walker serves one task at one instant after the other; mappings are asked
 * again for each walk.
 */
export class StackWalker {
    kernel;
    files;
    nameOf;
    limit;
    kinds = new Map();
    /** @throws `usage` when the limit is none */
    constructor(options) {
        const limit = options.limit ?? defaultLimit;
        if (!Number.isInteger(limit) || limit < 1 || limit > mostFrames) {
            throw new VmtapeError("usage", `a stack has 1 to ${mostFrames} frames, not ${limit}`, { limit });
        }
        this.kernel = options.kernel;
        this.files = options.files;
        this.nameOf = options.nameOf;
        this.limit = limit;
    }
    /**
     * The frames from these registers on. Never throws for what it finds in the guest: a damaged stack has fewer frames,
     * and `end` says why.
     *
     * Cost: 2 µs a frame where the pages and tables are known, and a read of 4 kB for each new page.
     *
     * @param registers a `g` packet, or a set
     * @param memory as the machine sees it now
     */
    async walk(registers, memory) {
        const set = registers instanceof RegisterSet ? registers : RegisterSet.fromGdb(registers);
        const walk = this.begin(set, memory);
        while (!walk.advance())
            await walk.supply();
        return walk.stack;
    }
    /** A walk that its caller drives: `advance` until it is true, `supply` in between. */
    begin(registers, memory) {
        const stackMemory = memory instanceof StackMemory ? memory : new StackMemory(memory);
        return new StackWalk(this.kernel, this.files, this.kindOf, this.limit, registers, stackMemory);
    }
    kindOf = (key) => {
        if (!this.nameOf || !Number.isSafeInteger(key))
            return undefined;
        if (!this.kinds.has(key)) {
            const name = this.nameOf(addressOfKey(key));
            this.kinds.set(key, name === undefined ? undefined : entryKind(name));
        }
        return this.kinds.get(key);
    };
}
/** One walk, which stops wherever something has to be fetched. */
export class StackWalk {
    kernel;
    files;
    kindOf;
    limit;
    memory;
    frames = [];
    saved = new SavedRegisters();
    step = new UnwindStep();
    known = [];
    /** Address of a mapping that has to be asked for. */
    wantedFile;
    asked = new Set();
    by = "registers";
    reliable = true;
    end;
    endAddress;
    fetches = 0;
    isUserCode = (key) => key > 0 && this.fileOf(key) !== undefined;
    isKernelCode = (key) => key < 0 && (!this.kernel || this.kernel.partAt(key) !== undefined);
    constructor(kernel, files, kindOf, limit, registers, memory) {
        this.kernel = kernel;
        this.files = files;
        this.kindOf = kindOf;
        this.limit = limit;
        this.memory = memory;
        this.step.current.copyFrom(registers);
        this.step.current.cs ??= registers.key(register.rip) < 0 ? codeSegment.kernel : codeSegment.user;
    }
    /** Goes on as far as it can; true when it is done. */
    advance() {
        while (this.end === undefined) {
            const { step } = this;
            step.reset();
            const found = this.stepOnce();
            if (this.isWaiting) {
                if (this.fetches++ < mostFetches)
                    return false;
                this.memory.missing = undefined;
                this.wantedFile = undefined;
                step.end = "no-information";
            }
            this.fetches = 0;
            const isLast = !found || this.frames.length + 1 >= this.limit;
            this.frames.push(this.frameOf(step, found));
            if (isLast) {
                this.end = found ? "limit" : (step.end ?? "no-information");
                this.endAddress = step.endAddress;
                break;
            }
            this.by = step.by;
            this.reliable &&= step.reliable;
            step.turn();
        }
        return true;
    }
    /** Fetches what `advance` stopped for. */
    async supply() {
        if (this.memory.missing !== undefined)
            await this.memory.fetch();
        const wanted = this.wantedFile;
        this.wantedFile = undefined;
        if (wanted === undefined)
            return;
        this.asked.add(Math.floor(wanted / pageBytes));
        const file = await this.files?.fileAt(addressOfKey(wanted));
        if (file)
            this.known.push(await unwindFile(file, this.memory.guest));
    }
    /** What was found; whole once `advance` has said so. */
    get stack() {
        return {
            frames: this.frames,
            end: this.end ?? "no-information",
            ...(this.endAddress !== undefined &&
                isWordKey(this.endAddress) && { endAddress: guestAddress(addressOfKey(this.endAddress)) }),
        };
    }
    get isWaiting() {
        return this.memory.missing !== undefined || this.wantedFile !== undefined;
    }
    stepOnce() {
        const { current } = this.step;
        const cs = current.cs ?? codeSegment.user;
        if (!isUserMode(cs))
            return this.stepKernel();
        if (cs === codeSegment.user32)
            return this.step.stop("compat");
        return this.stepUser();
    }
    stepKernel() {
        const { step, memory, kernel } = this;
        let answer = kernel ? stepByOrc(kernel, step, memory, this.kindOf) : "unknown";
        if (kernel && answer === "undefined" && !step.isExact) {
            // A retpoline has put the function it goes to where a return address was: it begins there.
            step.isExact = true;
            answer = stepByOrc(kernel, step, memory, this.kindOf);
            if (answer === "undefined")
                step.isExact = false;
        }
        if (answer === "stepped") {
            if (step.kind !== "function" || isKernelText(step.next.key(register.rip))) {
                if (returnsToStart(step, memory, this.isKernelCode))
                    step.nextIsExact = true;
                return !this.isWaiting && this.check();
            }
            if (stepInSaving(step, memory, this.kindOf(step.lookup), this.isKernelCode))
                return true;
            step.stop("corrupt");
        }
        if (this.isWaiting)
            return false;
        if (answer === "undefined" || step.end === "outermost") {
            if (stepByThunk(step, memory, this.isKernelCode))
                return this.check();
            if (this.isWaiting)
                return false;
        }
        if (step.end === "outermost")
            return this.stepFromStart();
        const { end, endAddress } = step;
        if (answer === "undefined" && stepAtEdge(step, memory, this.kindOf(step.lookup), kernel?.perCpu))
            return true;
        if (this.isWaiting)
            return false;
        return this.guess(this.isKernelCode) || this.keepEnd(end, endAddress);
    }
    /** Where the tables say that a stack begins, a program may be behind it: at a system call's first instructions too. */
    stepFromStart() {
        const { step, memory } = this;
        step.end = undefined;
        if (stepAtFork(step, memory) || stepAtEdge(step, memory, this.kindOf(step.lookup), this.kernel?.perCpu))
            return this.check();
        return !this.isWaiting && step.stop("outermost");
    }
    stepUser() {
        const { step, memory } = this;
        if (!step.current.isKnown(register.rsp))
            return step.stop("no-information");
        const { lookup } = step;
        const file = this.fileOf(lookup);
        if (this.wantedFile !== undefined)
            return false;
        let row = file?.cfi?.row(lookup - file.bias);
        // A handler returns to the first byte of its trampoline, before which lies another function, or none.
        if (!step.isExact && (!row || (file && row.end + file.bias === lookup + 1))) {
            const behind = file?.cfi?.row(lookup + 1 - file.bias);
            if (behind?.isSignal)
                row = behind;
            else if (!behind) {
                const trampoline = stepByTrampoline(step, memory);
                if (trampoline !== undefined)
                    return trampoline && this.check();
            }
        }
        if (file && row) {
            if (stepByCfi(row, file, step, memory))
                return this.check();
            if (this.isWaiting || step.end === "outermost")
                return false;
        }
        else if (step.isExact) {
            const trampoline = stepByTrampoline(step, memory);
            if (trampoline !== undefined)
                return trampoline && this.check();
        }
        const { end, endAddress } = step;
        return this.guess(this.isUserCode) || this.keepEnd(end, endAddress);
    }
    /** When guessing has failed too, what went wrong first is told. */
    keepEnd(end, address) {
        return this.step.end === "outermost" ? false : this.step.stop(end ?? "no-information", address);
    }
    guess(isCode) {
        const { step, memory } = this;
        step.end = undefined;
        if (isOutermost(step, memory))
            return step.stop("outermost");
        if (this.isWaiting)
            return false;
        for (const attempt of [stepByCode, stepByFramePointer, stepByScan]) {
            if (attempt(step, memory, isCode))
                return this.check();
            if (this.isWaiting)
                return false;
        }
        return false;
    }
    /** A caller that is no caller: the end of the chain, or the same frame again. */
    check() {
        const { step } = this;
        const pc = step.next.key(register.rip);
        if (pc === 0)
            return step.stop("outermost");
        const isSame = pc === step.current.key(register.rip) && step.next.key(register.rsp) === step.current.key(register.rsp);
        if (isSame)
            return step.stop("corrupt");
        return Number.isSafeInteger(pc) || step.stop("corrupt");
    }
    /** The file at an address, or undefined: when it is not known yet, `wantedFile` says so. */
    fileOf(key) {
        const { known } = this;
        for (let i = 0; i < known.length; i++) {
            if (key >= known[i].start && key < known[i].end)
                return known[i];
        }
        if (this.files && key >= 0 && !this.asked.has(Math.floor(key / pageBytes)))
            this.wantedFile = key;
        return undefined;
    }
    frameOf(step, hasCaller) {
        const { current } = step;
        const kind = this.by === "scan" && step.kind === "function" ? "guess" : step.kind;
        const pc = current.value(register.rip);
        return new WalkedFrame(guestAddress(pc), step.isExact ? undefined : guestAddress(pc - 1n), current.isKnown(register.rsp) ? guestAddress(current.value(register.rsp)) : undefined, hasCaller && isWordKey(step.cfa) ? guestAddress(addressOfKey(step.cfa)) : undefined, kind, isUserMode(current.cs ?? 0) ? "user" : "kernel", this.by, this.reliable, kind === "syscall" ? step.syscall : undefined, this.saved, this.saved.keep(current));
    }
}
const pageBytes = 4096;
//# sourceMappingURL=stack.js.map