import { VmtapeError } from "../../base/errors.js";
import { evaluateExpression } from "../../symbols/dwarf/expression.js";
import { addressOfKey, isWordKey, keyOf } from "../../symbols/tables/address.js";
import { ruleKind } from "../../symbols/unwind/cfi-layout.js";
import { calleeSaved, registerNumber as register, registerCount, } from "../../symbols/unwind/cfi-registers.js";
/**
 * One step by call frame information.
 *
 * @returns false when it fails; `step.end` says why, or a page is missing
 */
export function stepByCfi(row, file, step, memory) {
    const { current, next } = step;
    step.by = row.isSignal ? "trampoline" : "cfi";
    step.kind = row.isSignal ? "signal" : "function";
    step.reliable = true;
    if (row.kinds[row.returnColumn] === ruleKind.undefined)
        return step.stop("outermost");
    const context = row.cfaExpression || usesExpressions(row) ? contextOf(step, memory, file) : undefined;
    let cfa;
    if (row.cfaExpression) {
        const value = evaluate(row.cfaExpression, context, undefined);
        if (value === undefined)
            return step.stop("no-information");
        cfa = keyOf(value);
    }
    else {
        const base = row.cfaRegister;
        if (base < 0 || base >= registerCount || !current.isKnown(base))
            return step.stop("no-information");
        cfa = current.key(base) + row.cfaOffset;
    }
    if (!isWordKey(cfa))
        return step.stop("corrupt");
    step.cfa = cfa;
    next.copyFrom(current);
    // A called function may change all but these; what is not said of the others is lost. A signal changes none.
    if (!row.isSignal)
        next.known &= calleeSaved;
    next.setKey(register.rsp, cfa);
    for (let number = 0; number < registerCount; number++) {
        const kind = row.kinds[number];
        if (kind === ruleKind.unspecified)
            continue;
        if (!applyRule(row, kind, number, cfa, step, memory, context))
            return false;
    }
    const { returnColumn } = row;
    if (returnColumn !== register.rip) {
        if (returnColumn >= registerCount || !next.isKnown(returnColumn))
            return step.stop("no-information");
        next.setWords(register.rip, next.words[returnColumn * 2], next.words[returnColumn * 2 + 1]);
    }
    else if (row.kinds[register.rip] === ruleKind.unspecified) {
        return step.stop("no-information");
    }
    if (!next.isKnown(register.rip))
        return step.stop("no-information");
    step.nextIsExact = row.isSignal;
    // The stack grows down: a caller's frame lies above, but for a signal's own stack and a stack that is left for good.
    const leaves = row.kinds[register.rsp] !== ruleKind.unspecified;
    if (!row.isSignal && !leaves && cfa <= current.key(register.rsp))
        return step.stop("corrupt");
    return true;
}
function applyRule(row, kind, number, cfa, step, memory, context) {
    const { current, next } = step;
    const value = row.values[number];
    switch (kind) {
        case ruleKind.undefined:
            next.known &= ~(1 << number);
            return true;
        case ruleKind.sameValue:
            if (current.isKnown(number)) {
                next.setWords(number, current.words[number * 2], current.words[number * 2 + 1]);
            }
            return true;
        case ruleKind.offset:
            return loadInto(step, memory, number, cfa + value);
        case ruleKind.valOffset:
            next.setKey(number, cfa + value);
            return true;
        case ruleKind.register:
            if (value >= registerCount || !current.isKnown(value)) {
                next.known &= ~(1 << number);
            }
            else {
                next.setWords(number, current.words[value * 2], current.words[value * 2 + 1]);
            }
            return true;
        default: {
            const found = evaluate(row.expressions[number], context, cfa);
            if (found === undefined) {
                // Only what cannot be done without ends the walk.
                next.known &= ~(1 << number);
                return memory.missing === undefined;
            }
            if (kind === ruleKind.expression)
                return loadInto(step, memory, number, keyOf(found));
            next.setValue(number, found);
            return true;
        }
    }
}
/** A register that cannot be read is lost, and only without the return address the walk ends. */
function loadInto(step, memory, number, key) {
    if (memory.load(key)) {
        step.next.setWords(number, memory.low, memory.high);
        return true;
    }
    if (memory.missing !== undefined || number === register.rip)
        return step.stop("not-mapped", key);
    step.next.known &= ~(1 << number);
    return true;
}
function usesExpressions(row) {
    return row.expressions.length > 0;
}
function contextOf(step, memory, file) {
    const { current } = step;
    return {
        register: (number) => number < registerCount && current.isKnown(number) ? current.value(number) : undefined,
        memory(address, size) {
            const key = keyOf(address);
            if (size === 8) {
                return memory.load(key) ? (BigInt(memory.high) << 32n) | BigInt(memory.low) : undefined;
            }
            let value = 0n;
            for (let i = 0; i < size; i++) {
                const byte = memory.byte(key + i);
                if (byte < 0)
                    return undefined;
                value |= BigInt(byte) << BigInt(8 * i);
            }
            return value;
        },
        loadBias: addressOfKey(file.bias),
    };
}
/** The value of an expression; a damaged one has none. */
function evaluate(bytes, context, initial) {
    try {
        return evaluateExpression(bytes, context, initial === undefined ? undefined : addressOfKey(initial));
    }
    catch (error) {
        if (error instanceof VmtapeError)
            return undefined;
        throw error;
    }
}
/**
 * The code a signal handler returns to, where no frame information describes it: `mov $15, %rax; syscall`, as in musl and
 * in programs without tables. Source: Linux, arch/x86/include/uapi/asm/unistd_64.h (rt_sigreturn is 15).
 */
const trampolines = [
    [0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05],
    [0xb8, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05],
];
/**
 * `struct ucontext` on the stack when a handler has returned (arch/x86/include/uapi/asm/sigcontext.h): registers by
 * offset from it, in DWARF's order.
 */
const contextOffsets = Uint8Array.of(0x90, 0x88, 0x98, 0x80, 0x70, 0x68, 0x78, 0xa0, 0x28, 0x30, 0x38, 0x40, 0x48, 0x50, 0x58, 0x60, 0xa8);
/** Whether a frame without tables is a signal's trampoline; then the step is taken. */
export function stepByTrampoline(step, memory) {
    const { current, next } = step;
    const pc = current.key(register.rip);
    const matches = trampolines.some((code) => code.every((byte, i) => memory.byte(pc + i) === byte));
    if (!matches)
        return memory.missing === undefined ? undefined : false;
    const context = current.key(register.rsp);
    next.copyFrom(current);
    for (let number = 0; number < registerCount; number++) {
        const at = context + contextOffsets[number];
        if (!memory.load(at))
            return step.stop("not-mapped", at);
        next.setWords(number, memory.low, memory.high);
    }
    step.cfa = next.key(register.rsp);
    step.by = "trampoline";
    step.kind = "signal";
    step.reliable = true;
    step.nextIsExact = true;
    return true;
}
//# sourceMappingURL=unwind-user.js.map