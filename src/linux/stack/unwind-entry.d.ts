import type { AddressKey } from "../../symbols/tables/address.js";
import type { FrameKind } from "./frame.js";
import type { StackMemory } from "./memory.js";
import { type IsCode } from "./unwind-guess.js";
import { type UnwindStep } from "./unwind-step.js";
/**
 * The few instructions at the kernel's edge of which its own tables say nothing: `syscall` has entered and the user's
 * registers are not saved yet, or they are restored already and `sysret` or `iret` comes next. All registers but rcx, r11
 * and rsp are still, or again, the user's.
 *
 * @param kind what enters here, by its name
 * @param perCpu where the processor's variables are; undefined when it is not known
 * @returns false when this is no such place, or a page is missing
 */
export declare function stepAtEdge(
  step: UnwindStep,
  memory: StackMemory,
  kind: FrameKind | undefined,
  perCpu: AddressKey | undefined,
): boolean;
/**
 * `error_entry` and its kin save all registers above their own return address, which has to go out of the way: it waits in
 * rsi, and ends below the registers. Up to 5.17 the tables look for it where it was, and find the user's rdi.
 *
 * @param step as the tables have it
 * @returns false when this is no such code, or a page is missing
 */
export declare function stepInSaving(
  step: UnwindStep,
  memory: StackMemory,
  kind: FrameKind | undefined,
  isCode: IsCode,
): boolean;
/**
 * Where a new task begins, of which the kernel's tables say that nothing called it: what it will go on with in user space
 * lies on its stack, as its parent's system call left it. A kernel thread has nothing there.
 */
export declare function stepAtFork(step: UnwindStep, memory: StackMemory): boolean;
