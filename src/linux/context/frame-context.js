import { registerValue, x86Register } from "../../qemu/x86-registers.js";
import { keyOf } from "../../symbols/tables/address.js";
import { Types } from "../../symbols/types/set.js";
import { dwarfRegisters, RegisterSet } from "../../symbols/unwind/cfi-registers.js";
import { StackWalker } from "../stack/stack.js";
import { codeSegment } from "../stack/unwind-step.js";
/**
 * The same names, and before them those of a program's debug information: the frame's parameters and variables, then
 * the program's own.
 *
 * @param frame found when the first variable is asked for that depends on it
 * @param isKernel the program is the kernel: its BTF says of types what DWARF does, and is at hand
 */
export function frameContext(context, { types, variables, bias }, frame, isKernel) {
    const all = isKernel ? new Types(context.types, types) : new Types(types, context.types);
    return {
        ...context,
        types: all,
        special: async (name) => {
            if (name.startsWith("$"))
                return context.special?.(name);
            const at = await frame();
            const { memory } = context;
            const key = keyOf(at.pc - bias);
            const variable = variables.at(key).find((candidate) => candidate.name === name);
            if (!variable)
                return context.special?.(name);
            return variables.value(variable, key, { ...calledFrame(at, bias), memory, loadBias: bias });
        },
        symbol: async (name) => {
            const known = await context.symbol?.(name);
            const variable = types.findVariable(name);
            // A per-CPU variable is where the context finds it, not where it is linked.
            if (isKernel)
                return known && { ...known, type: known.type ?? variable?.type };
            if (variable?.address === undefined)
                return known;
            return { type: variable.type, address: BigInt.asUintN(64, variable.address + bias) };
        },
    };
}
function calledFrame({ register, cfa, caller }, bias) {
    return { register, cfa, caller: caller && { key: keyOf(caller.pc - bias), ...calledFrame(caller, bias) } };
}
/** DWARF numbers xmm0 17 and so on. */
const firstXmm = 17;
/** Callers that may tell what they passed on. */
const mostCallers = 8;
/**
 * The innermost frame of a machine that stands still.
 *
 * @param registers its `g` packet
 * @param stack its stack, when it was walked; otherwise found with the frame information of `files`
 */
export async function innermostFrame(registers, memory, stack, files) {
    const walked = stack ?? (await walkProgram(registers, memory, files));
    return {
        pc: registerValue(registers, "rip"),
        cfa: walked.frames[0]?.cfa,
        caller: callerFrame(walked.frames.slice(1, 1 + mostCallers)),
        register(number) {
            const name = dwarfRegisters[number] ?? `xmm${number - firstXmm}`;
            const place = x86Register(name);
            if (!place)
                return undefined;
            const bytes = registers.subarray(place.offset, place.offset + place.bytes);
            return bytes.reduceRight((high, byte) => (high << 8n) | BigInt(byte), 0n);
        },
    };
}
/** The stack of a program that no system is known around: told by frame information, whatever its privilege. */
async function walkProgram(registers, memory, files) {
    const set = RegisterSet.fromGdb(registers);
    set.cs = codeSegment.user;
    return new StackWalker({ files, limit: 1 + mostCallers }).walk(set, memory);
}
/** Functions that called one another; what an interrupt stopped has passed nothing on. */
function callerFrame([first, ...others]) {
    if (!first?.reliable || first.kind !== "function" || first.callSite === undefined)
        return undefined;
    const { pc, cfa, registers } = first;
    return {
        pc,
        cfa,
        register: (number) => number < dwarfRegisters.length && registers.isKnown(number) ? registers.value(number) : undefined,
        caller: callerFrame(others),
    };
}
//# sourceMappingURL=frame-context.js.map