import { RegisterSet, registerCount } from "../../symbols/unwind/cfi-registers.js";
/** The registers of all frames of a walk, in one array that grows: a set of its own for each would cost as much as the rest. */
export class SavedRegisters {
    words = new Uint32Array(firstFrames * wordsOfFrame);
    count = 0;
    /** Keeps a copy; gives its number. */
    keep(registers) {
        const at = this.count * wordsOfFrame;
        if (at === this.words.length) {
            const grown = new Uint32Array(this.words.length * 4);
            grown.set(this.words);
            this.words = grown;
        }
        const { words } = this;
        for (let i = 0; i < registerWords; i++)
            words[at + i] = registers.words[i];
        words[at + registerWords] = registers.known;
        words[at + registerWords + 1] = registers.cs ?? noSegment;
        return this.count++;
    }
    read(number) {
        const at = number * wordsOfFrame;
        const registers = new RegisterSet();
        registers.words.set(this.words.subarray(at, at + registerWords));
        registers.known = this.words[at + registerWords];
        const cs = this.words[at + registerWords + 1];
        registers.cs = cs === noSegment ? undefined : cs;
        return registers;
    }
}
const registerWords = registerCount * 2;
/** The registers, which of them are known, and cs. */
const wordsOfFrame = registerWords + 2;
const firstFrames = 16;
const noSegment = 0xffff_ffff;
/** A frame as it is walked: its registers are made into a set when they are asked for. */
export class WalkedFrame {
    pc;
    callSite;
    sp;
    cfa;
    kind;
    space;
    by;
    reliable;
    syscall;
    // Hidden from those who print or serialize a frame.
    #saved;
    #number;
    constructor(pc, callSite, sp, cfa, kind, space, by, reliable, syscall, saved, number) {
        this.pc = pc;
        this.callSite = callSite;
        this.sp = sp;
        this.cfa = cfa;
        this.kind = kind;
        this.space = space;
        this.by = by;
        this.reliable = reliable;
        this.syscall = syscall;
        this.#saved = saved;
        this.#number = number;
    }
    get registers() {
        return this.#saved.read(this.#number);
    }
}
//# sourceMappingURL=walked-frame.js.map