import type { AddressKey } from "../../symbols/tables/address.js";
import type { FrameKind } from "./frame.js";
import type { StackMemory } from "./memory.js";
import { type UnwindStep } from "./unwind-step.js";
/**
 * Fills the caller's registers from a `struct pt_regs` at `at`; when only its last part is there, those of the
 * others that entry code has not touched yet stay.
 */
export declare function loadRegisters(
  step: UnwindStep,
  memory: StackMemory,
  at: AddressKey,
  isWhole: boolean,
): boolean;
/** Whether the code segment among saved registers is one that Linux, or Xen, uses. */
export declare function isCodeSegment(memory: StackMemory, at: AddressKey): boolean;
/** A system call is told by the entry code's name; else by its number, which interrupts and exceptions set to -1. */
export declare function tellSystemCall(
  step: UnwindStep,
  memory: StackMemory,
  at: AddressKey,
  kind: FrameKind | undefined,
): void;
/** What enters the kernel in a function of this name; undefined when it is not entry code, or shared by several. */
export declare function entryKind(name: string): FrameKind | undefined;
