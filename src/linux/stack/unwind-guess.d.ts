import type { AddressKey } from "../../symbols/tables/address.js";
import type { StackMemory } from "./memory.js";
import type { UnwindStep } from "./unwind-step.js";
/** Whether code may run at an address: in a mapping of a program, or in the kernel's text. */
export type IsCode = (key: AddressKey) => boolean;
/**
 * One step by what the code does next: instructions are followed, without executing them, until one returns, and what
 * they do to the stack pointer on the way tells where the return address lies now. Jumps are followed, both sides of a
 * conditional one. For code that no table describes: programs built without them, code made at run time.
 *
 * The return address that is found must lie after a call instruction.
 *
 * @returns false when no way leads to a return, or a page is missing
 */
export declare function stepByCode(step: UnwindStep, memory: StackMemory, isCode: IsCode): boolean;
/** Whether the function can never return: its call is followed by `hlt`, as in a program's first function. */
export declare function isOutermost(step: UnwindStep, memory: StackMemory): boolean;
/** One step by the frame pointer: rbp points to the caller's rbp, and after it lies the return address. */
export declare function stepByFramePointer(step: UnwindStep, memory: StackMemory, isCode: IsCode): boolean;
/** The nearest word on the stack that looks like a return address. */
export declare function stepByScan(step: UnwindStep, memory: StackMemory, isCode: IsCode): boolean;
/** Whether an address lies after a call instruction. */
export declare function isReturnAddress(key: AddressKey, memory: StackMemory, isCode: IsCode): boolean;
