import type { GuestAddress, PhysicalAddress } from "../base/units.js";
import type { Position } from "../replay/session/position.js";
import type { Arrival } from "../replay/session/timeline-types.js";

/** An instant a user named, to return to. */
export interface NamedMark {
  readonly name: string;
  readonly position: Position;
}

/** Bytes of the guest's memory. */
export type MemoryRange =
  | { readonly space: "virtual"; readonly address: GuestAddress; readonly length: number }
  | { readonly space: "physical"; readonly address: PhysicalAddress; readonly length: number };

/**
 * What the monitor commands need beyond a `DebugTarget`: names, written positions, marks, the past of a byte. Each may
 * throw a `VmtapeError`, whose sentence the user then sees.
 */
export interface MonitorDesk {
  /** A position with the name of its place, e.g. `0xffffffff81091685:123 @456 <do_idle+0x85>`. */
  describe(position: Position): string;
  /** What to say after `goto` to a user whose debugger does not look again by itself. */
  readonly staleHint: string | undefined;
  /** Goes to a written position or the name of a mark. */
  goTo(text: string, signal: AbortSignal): Promise<Arrival>;
  /** Names the present instant; without a name it gets a number. */
  mark(name?: string): NamedMark;
  /** In the order of time. */
  marks(): readonly NamedMark[];
  /** The address a user wrote: a number, a symbol, or a symbol and an offset. */
  addressOf(text: string): GuestAddress;
  /**
   * What an entry of /proc/PID holds at the present instant; of links, where they lead. Undefined where there is none: no
   * such process, no Linux.
   */
  processFile(
    process: number | "current",
    name: "maps" | "cmdline" | "exe" | "cwd" | "auxv",
    signal: AbortSignal,
  ): Promise<Uint8Array | undefined>;
  /** When and by what a register or an expression's value changed last before the present instant, as lines. The same of it. */
  lastChange(what: string, signal: AbortSignal): Promise<readonly string[]>;
  /** Who wrote any of these bytes last before the present instant, as lines. The target stands there again afterwards. */
  lastWrite(range: MemoryRange, signal: AbortSignal): Promise<readonly string[]>;
}
