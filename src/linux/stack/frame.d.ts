import type { GuestAddress } from "../../base/units.js";
import type { RegisterSet } from "../../symbols/unwind/cfi-registers.js";
/**
 * What a frame is. `function`: a function that was called, or runs. `syscall`, `interrupt`, `exception`: entry code of
 * the kernel; the next frame is what it interrupted. `signal`: the trampoline of a signal handler; the next frame is
 * what the signal interrupted. `guess`: an address on the stack that looks like a return address.
 */
export type FrameKind = "function" | "syscall" | "interrupt" | "exception" | "signal" | "guess";
/**
 * How a frame was found from the one inside it. `registers`: it is the innermost. `orc`: the kernel's unwind tables.
 * `cfi`: DWARF. `entry`: registers that kernel entry code saved, or still has. `trampoline`: registers of a signal
 * frame. `frame-pointer`: rbp. `code`: by following the instructions to the next return. `scan`: by looking through the
 * stack.
 */
export type FrameMethod =
  | "registers"
  | "orc"
  | "cfi"
  | "entry"
  | "trampoline"
  | "frame-pointer"
  | "code"
  | "scan";
/**
 * Why there are no more frames. `outermost`: this is where the task began. `limit`: more were not asked for.
 * `not-mapped`: the stack cannot be read at `endAddress`. `no-information`: nothing says how to go on from the last
 * frame. `corrupt`: the next frame would lie inside the last one. `compat`: a 32-bit program.
 */
export type StackEnd = "outermost" | "limit" | "not-mapped" | "no-information" | "corrupt" | "compat";
export interface Frame {
  /** Where it executes, or will go on when the frame inside it returns. */
  readonly pc: GuestAddress;
  /**
   * `pc` less one, inside the call instruction: what names and lines are looked up at. Absent when the frame was
   * interrupted, or is the innermost: then it is `pc`.
   */
  readonly callSite: GuestAddress | undefined;
  /** The stack pointer in it; undefined when it is not known. */
  readonly sp: GuestAddress | undefined;
  /** The canonical frame address: the caller's stack pointer; undefined for the last frame. */
  readonly cfa: GuestAddress | undefined;
  readonly kind: FrameKind;
  readonly space: "kernel" | "user";
  readonly by: FrameMethod;
  /** Whether this frame and all inside it were found by tables or saved registers, without a guess. */
  readonly reliable: boolean;
  /** Of `syscall`: the number of the call. */
  readonly syscall: number | undefined;
  /** What is known of the registers in this frame: a copy, made when it is asked for. */
  readonly registers: RegisterSet;
}
export interface Stack {
  /** From the innermost frame outwards; at least one. */
  readonly frames: readonly Frame[];
  readonly end: StackEnd;
  /** Of `not-mapped`: the address that could not be read. */
  readonly endAddress?: GuestAddress;
}
