import type { GuestAddress, Icount, PhysicalAddress } from "../../base/units.js";
import type { MappedRange } from "../../qemu/x86-paging.js";
import type { Position } from "./position.js";

export type Direction = "forward" | "back";

/**
 * When a point counts: GDB's agent-expression bytecode (GDB manual, appendix "The GDB Agent Expression Mechanism"),
 * with the extensions of `formats/agent-opcodes.ts`. A point counts where the expression is not zero, or cannot be
 * evaluated.
 */
export type Condition = Uint8Array;

/** A place that stops a timeline before the instruction there executes. */
export interface Breakpoint {
  readonly kind: "execute";
  readonly address: GuestAddress;
  readonly condition?: Condition;
}

/**
 * Bytes that stop a timeline when an instruction touches any of them: after it on a run forward, before it on a run
 * back.
 */
export interface Watchpoint {
  readonly kind: "write" | "read" | "access";
  readonly space: "virtual" | "physical";
  readonly address: GuestAddress | PhysicalAddress;
  /** 1 byte or more. */
  readonly length: number;
  readonly condition?: Condition;
}

export type StopPoint = Breakpoint | Watchpoint;

/** The id of a point of a timeline. It is not used again after the point was removed. */
export type PointId = number;

/** The access that met a watchpoint. */
export interface Access {
  readonly address: GuestAddress;
  readonly physical: PhysicalAddress | undefined;
  readonly length: number;
  readonly write: boolean;
  /** Address of the instruction that made the access. */
  readonly pc: GuestAddress;
}

/** Where a timeline stands, and what stopped it there. */
export interface Arrival {
  readonly position: Position;
  /** `reached`: the wanted position. `start`, `end`: of the tape. `cancelled`: somewhere on the way. */
  readonly why: "reached" | "point" | "start" | "end" | "cancelled";
  /** With `point`: all points met at this instant. */
  readonly points: readonly PointId[];
  /** With a watchpoint: the access that met it. */
  readonly access?: Access;
}

/**
 * An instant inside a tape: where deliveries make several instants share an icount, `pc` tells which; without it the
 * first is meant.
 */
export interface Instant {
  readonly icount: Icount;
  readonly pc?: GuestAddress;
}

/**
 * What a debugger needs of a timeline ({@link Timeline} is the real one). Calls are served one at a time, in order. A
 * call that moves settles within a second when it is cancelled; the timeline then stands somewhere on the way, and
 * the arrival says `cancelled`.
 */
export interface DebugTarget {
  readonly position: Position;
  /** Goes to an instant, forward or back. */
  goTo(instant: Instant, signal?: AbortSignal): Promise<Arrival>;
  /** Moves by `count` instants (default 1): each an instruction, or one delivery of an interrupt or exception. */
  stepForward(count?: number, signal?: AbortSignal): Promise<Arrival>;
  stepBack(count?: number, signal?: AbortSignal): Promise<Arrival>;
  /** Runs until a point is met, or the tape's start or end. A point at the present instant does not count. */
  run(direction: Direction, signal?: AbortSignal): Promise<Arrival>;
  addPoint(point: StopPoint): PointId;
  removePoint(id: PointId): boolean;
  /** General registers and more, as QEMU's `g` packet lays them out (`qemu/x86-registers.ts`). */
  registers(): Promise<Uint8Array>;
  /** One register by QEMU's number, also one that the `g` packet leaves out; undefined when there is none. */
  register(number: number): Promise<Uint8Array | undefined>;
  /** QEMU's own target description: `target.xml` and the files it includes, by name. */
  description(annex: string): Promise<string | undefined>;
  /**
   * Up to `length` bytes from `address` on, as far as they are mapped; undefined when the first is not. Device memory
   * is never read.
   */
  readMemory(address: GuestAddress, length: number): Promise<Uint8Array | undefined>;
  readPhysical(address: PhysicalAddress, length: number): Promise<Uint8Array | undefined>;
  /** The range around `address` that is mapped in one way in the present address space. */
  mappedRange(address: GuestAddress): Promise<MappedRange>;
}
