import type { GuestAddress, PhysicalAddress } from "../base/units.js";
import type { Position } from "../replay/session/position.js";
import type { Arrival } from "../replay/session/timeline-types.js";

/** An instant that a user has named, to return to it. */
export interface NamedMark {
  readonly name: string;
  readonly position: Position;
}

/** Bytes of the guest's memory. */
export type MemoryRange =
  | { readonly space: "virtual"; readonly address: GuestAddress; readonly length: number }
  | { readonly space: "physical"; readonly address: PhysicalAddress; readonly length: number };

/**
 * What the monitor commands need beyond a `DebugTarget`: names, written positions, marks, the past of a byte. Every
 * method may throw a `VmtapeError`; the user then sees its message.
 */
export interface MonitorDesk {
  /** A position with the name of its place, e.g. `0xffffffff81091685:123 @456 <do_idle+0x85>`. */
  describe(position: Position): string;
  /**
   * A hint to print after `goto` for a user whose debugger does not read the machine anew by itself; undefined when
   * it does.
   */
  readonly staleHint: string | undefined;
  /** Goes to a written position or the name of a mark. */
  goTo(text: string, signal: AbortSignal): Promise<Arrival>;
  /** Names the present instant. Without a name it gets a number. */
  mark(name?: string): NamedMark;
  /** All marks, in the order of time. */
  marks(): readonly NamedMark[];
  /** The address of a text that a user wrote: a number, a symbol, or a symbol with an offset. */
  addressOf(text: string): GuestAddress;
  /**
   * The contents of an entry of /proc/PID at the present instant; of a link, its target. Undefined when there is no
   * such process, or no Linux.
   */
  processFile(
    process: number | "current",
    name: "maps" | "cmdline" | "exe" | "cwd" | "auxv",
    signal: AbortSignal,
  ): Promise<Uint8Array | undefined>;
  /**
   * Which instruction last changed a register or the value of an expression before the present instant, as lines of
   * text. The target is back at this instant afterwards.
   */
  lastChange(what: string, signal: AbortSignal): Promise<readonly string[]>;
  /**
   * Which instruction last wrote any of these bytes before the present instant, as lines of text. The target is back
   * at this instant afterwards.
   */
  lastWrite(range: MemoryRange, signal: AbortSignal): Promise<readonly string[]>;
}
