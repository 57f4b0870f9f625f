import { createRequire } from "node:module";
/** What an x86-64 instruction does to the flow and the stack: as much as following a function to its return needs. */
export const effect = {
    /** Nothing of interest. */
    none: 0,
    /** rsp moves by `amount`. */
    moveSp: 1,
    /** rsp = rbp + `amount`. */
    spFromBp: 2,
    /** `register` (DWARF number) is popped. */
    pop: 3,
    /** rsp = rbp, then rbp is popped. */
    leave: 4,
    return: 5,
    /** To `amount` bytes from the next instruction; perhaps. */
    branch: 6,
    jump: 7,
    /** Where to is not known, or it never goes on. */
    lost: 8,
    /** rsp becomes something not known. */
    loseSp: 9,
};
const longest = 15;
const pageBytes = 4096;
/** Numbers of DWARF in the order of encodings, as iced counts: rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 … */
const dwarfOfEncoding = Uint8Array.of(0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15);
/**
 * Decodes the instruction at `at`. The decoder is loaded by the first call (20 ms).
 *
 * @param at its address, or anything alike modulo the size of a page: bytes of the next page are read only if the
 *   instruction goes on there
 * @param byteAt a byte by its distance from `at`, -1 when it cannot be read
 * @returns false when it is none, or a byte cannot be read
 */
export function decodeInstruction(at, byteAt, into) {
    const bytes = new Uint8Array(longest);
    const here = pageBytes - (((at % pageBytes) + pageBytes) % pageBytes);
    let have = 0;
    for (const end of [Math.min(here, longest), longest]) {
        for (; have < end; have++) {
            const byte = byteAt(have);
            if (byte < 0)
                break;
            bytes[have] = byte;
        }
        const answer = decode(bytes.subarray(0, have), into);
        if (answer !== "cut")
            return answer === "decoded";
        if (have < end)
            return false;
    }
    return false;
}
function decode(bytes, into) {
    const { Decoder, DecoderError, DecoderOptions } = iced();
    const decoder = new Decoder(64, bytes, DecoderOptions.None);
    try {
        const instruction = decoder.decode();
        try {
            if (instruction.isInvalid)
                return decoder.lastError === DecoderError.NoMoreBytes ? "cut" : "invalid";
            into.length = instruction.length;
            into.effect = effect.none;
            into.amount = 0;
            into.register = -1;
            tellEffect(instruction, into);
            return "decoded";
        }
        finally {
            instruction.free();
        }
    }
    finally {
        decoder.free();
    }
}
function tellEffect(instruction, into) {
    const { FlowControl, Mnemonic } = iced();
    switch (instruction.flowControl) {
        case FlowControl.ConditionalBranch:
        case FlowControl.UnconditionalBranch:
            into.effect = instruction.flowControl === FlowControl.ConditionalBranch ? effect.branch : effect.jump;
            into.amount = Number(BigInt.asIntN(64, instruction.nearBranchTarget)) - into.length;
            return;
        case FlowControl.Return:
            into.effect = instruction.mnemonic === Mnemonic.Ret ? effect.return : effect.lost;
            return;
        case FlowControl.IndirectBranch:
        case FlowControl.Exception:
            into.effect = effect.lost;
            return;
        // What a called function, the kernel or a transaction does to the stack, it undoes.
        case FlowControl.Call:
        case FlowControl.IndirectCall:
        case FlowControl.XbeginXabortXend:
            return;
        case FlowControl.Interrupt:
            if (instruction.mnemonic === Mnemonic.Int3)
                into.effect = effect.lost;
            return;
        default:
            tellStack(instruction, into);
    }
}
/** Of instructions that go on with the next one. */
function tellStack(instruction, into) {
    const { Mnemonic, OpKind, Register } = iced();
    const { mnemonic, stackPointerIncrement } = instruction;
    const first = instruction.opCount > 0 && instruction.op0Kind === OpKind.Register;
    switch (mnemonic) {
        case Mnemonic.Hlt:
        case Mnemonic.Enter:
            into.effect = effect.lost;
            return;
        case Mnemonic.Leave:
            into.effect = effect.leave;
            return;
        case Mnemonic.Pop: {
            into.effect = effect.moveSp;
            into.amount = stackPointerIncrement;
            const number = first ? dwarfOfEncoding[fullRegister(instruction.op0Register)] : undefined;
            if (number === undefined)
                return;
            into.register = number;
            into.effect = number === 7 ? effect.loseSp : effect.pop;
            return;
        }
    }
    if (stackPointerIncrement !== 0) {
        into.effect = effect.moveSp;
        into.amount = stackPointerIncrement;
    }
    else if (first && instruction.op0Register === Register.RSP) {
        tellNewSp(instruction, into);
    }
    else if (writesSp(instruction)) {
        into.effect = effect.loseSp;
    }
}
/** rsp is the first operand. */
function tellNewSp(instruction, into) {
    const { Mnemonic, OpKind, Register } = iced();
    const { mnemonic, op1Kind } = instruction;
    const isConstant = op1Kind === OpKind.Immediate8to64 || op1Kind === OpKind.Immediate32to64;
    if ((mnemonic === Mnemonic.Add || mnemonic === Mnemonic.Sub) && isConstant) {
        const amount = Number(BigInt.asIntN(64, instruction.immediate(1)));
        into.effect = effect.moveSp;
        into.amount = mnemonic === Mnemonic.Add ? amount : -amount;
    }
    else if (mnemonic === Mnemonic.Mov && op1Kind === OpKind.Register) {
        into.effect = instruction.op1Register === Register.RBP ? effect.spFromBp : effect.loseSp;
    }
    else if (mnemonic === Mnemonic.Lea && instruction.memoryIndex === Register.None) {
        const { memoryBase } = instruction;
        into.effect =
            memoryBase === Register.RSP
                ? effect.moveSp
                : memoryBase === Register.RBP
                    ? effect.spFromBp
                    : effect.loseSp;
        into.amount = Number(BigInt.asIntN(64, instruction.memoryDisplacement));
    }
    else if (writesSp(instruction)) {
        into.effect = effect.loseSp;
    }
}
/** Whether an explicit operand is the stack pointer, or a part of it, and is written. */
function writesSp(instruction) {
    const { InstructionInfoFactory, OpAccess, OpKind, Register } = iced();
    const sp = [Register.RSP, Register.ESP, Register.SP, Register.SPL];
    let isThere = false;
    for (let i = 0; i < instruction.opCount; i++) {
        if (instruction.opKind(i) === OpKind.Register && sp.includes(instruction.opRegister(i)))
            isThere = true;
    }
    if (!isThere)
        return false;
    const factory = new InstructionInfoFactory();
    const info = factory.info(instruction);
    try {
        for (let i = 0; i < instruction.opCount; i++) {
            if (instruction.opKind(i) !== OpKind.Register || !sp.includes(instruction.opRegister(i)))
                continue;
            const access = info.opAccess(i);
            if (access !== OpAccess.None && access !== OpAccess.Read && access !== OpAccess.CondRead)
                return true;
        }
        return false;
    }
    finally {
        info.free();
        factory.free();
    }
}
/** The encoding's number of a general register of 64 or 16 bits. */
function fullRegister(register) {
    const { Register } = iced();
    if (register >= Register.RAX && register <= Register.R15)
        return register - Register.RAX;
    return register >= Register.AX && register <= Register.R15W ? register - Register.AX : -1;
}
let loaded;
/** The decoder, which takes a while to load: only those that need it wait for it. */
function iced() {
    loaded ??= createRequire(import.meta.url)("iced-x86");
    return loaded;
}
//# sourceMappingURL=x86-instruction.js.map