import type { GuestAddress } from "../../base/units.js";
import { RegisterSet } from "../../symbols/unwind/cfi-registers.js";
import type { Frame, FrameKind, FrameMethod } from "./frame.js";
/** The registers of all frames of a walk, in one array that grows: a set of its own for each would cost as much as the rest. */
export declare class SavedRegisters {
  private words;
  private count;
  /** Keeps a copy; gives its number. */
  keep(registers: RegisterSet): number;
  read(number: number): RegisterSet;
}
/** A frame as it is walked: its registers are made into a set when they are asked for. */
export declare class WalkedFrame implements Frame {
  #private;
  readonly pc: GuestAddress;
  readonly callSite: GuestAddress | undefined;
  readonly sp: GuestAddress | undefined;
  readonly cfa: GuestAddress | undefined;
  readonly kind: FrameKind;
  readonly space: "kernel" | "user";
  readonly by: FrameMethod;
  readonly reliable: boolean;
  readonly syscall: number | undefined;
  constructor(
    pc: GuestAddress,
    callSite: GuestAddress | undefined,
    sp: GuestAddress | undefined,
    cfa: GuestAddress | undefined,
    kind: FrameKind,
    space: "kernel" | "user",
    by: FrameMethod,
    reliable: boolean,
    syscall: number | undefined,
    saved: SavedRegisters,
    number: number,
  );
  get registers(): RegisterSet;
}
