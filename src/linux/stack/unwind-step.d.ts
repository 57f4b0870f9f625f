import type { AddressKey } from "../../symbols/tables/address.js";
import { RegisterSet } from "../../symbols/unwind/cfi-registers.js";
import type { FrameKind, FrameMethod, StackEnd } from "./frame.js";
import type { StackMemory } from "./memory.js";
/** What is worked on while a stack is walked: one object, used again for each step. */
export declare class UnwindStep {
  /** The frame to unwind. */
  current: RegisterSet;
  /** Its caller, filled by a step that succeeds. */
  next: RegisterSet;
  /** The address in `current` was interrupted, or runs; else it is a return address. */
  isExact: boolean;
  cfa: AddressKey;
  kind: FrameKind;
  syscall: number | undefined;
  /** Set when a step fails, and when it finds that there is no caller. */
  end: StackEnd | undefined;
  endAddress: AddressKey | undefined;
  by: FrameMethod;
  nextIsExact: boolean;
  /** It was found by tables alone. */
  reliable: boolean;
  reset(): void;
  /** The key to look the frame's tables up with. */
  get lookup(): AddressKey;
  /** Makes the caller the current frame. */
  turn(): void;
  /** Ends the walk; false, so that a step can return it. */
  stop(end: StackEnd, address?: AddressKey): false;
}
/** Bits 0 and 1 of a code segment: 3 in user mode. */
export declare function isUserMode(cs: number): boolean;
/** Linux's code segments: arch/x86/include/asm/segment.h. */
export declare const codeSegment: {
  readonly kernel: 16;
  readonly user: 51;
  readonly user32: 35;
};
export declare const stackSegment: {
  readonly user: 43;
};
/** Whether a key lies in the lower, user half of canonical addresses. */
export declare function isUserAddress(key: AddressKey): boolean;
/** Whether a key lies where x86-64 has all code of its kernel: the image, modules, and what is made at run time. */
export declare function isKernelText(key: AddressKey): boolean;
/** Reads a word that the step cannot do without. */
export declare function loadWord(step: UnwindStep, memory: StackMemory, key: AddressKey): boolean;
