import type { GuestAddress, Icount, PhysicalAddress } from "../../base/units.js";
import type { MappedRange } from "../../qemu/x86-paging.js";
import type { Position } from "./position.js";

export type Direction = "forward" | "back";

/**
 * When a point counts: GDB's agent-expression bytecode (GDB manual, appendix "The GDB Agent Expression Mechanism"),
 * with the extensions of `formats/agent-opcodes.ts`. It counts where the expression is not zero, or fails.
 */
export type Condition = Uint8Array;

/** A place that stops a timeline before the instruction there executes. */
export interface Breakpoint {
  readonly kind: "execute";
  readonly address: GuestAddress;
  readonly condition?: Condition;
}

/** Bytes that stop a timeline after (forward) or before (back) an instruction that touches any of them. */
export interface Watchpoint {
  readonly kind: "write" | "read" | "access";
  readonly space: "virtual" | "physical";
  readonly address: GuestAddress | PhysicalAddress;
  /** 1 byte or more. */
  readonly length: number;
  readonly condition?: Condition;
}

export type StopPoint = Breakpoint | Watchpoint;

/** Names a point of a timeline, until it is removed. */
export type PointId = number;

/** The access that met a watchpoint. */
export interface Access {
  readonly address: GuestAddress;
  readonly physical: PhysicalAddress | undefined;
  readonly length: number;
  readonly write: boolean;
  /** Address of the instruction that did it. */
  readonly pc: GuestAddress;
}

/** Where a timeline stands, and what stopped it there. */
export interface Arrival {
  readonly position: Position;
  /** `reached`: the wanted position. `start`, `end`: of the tape. `cancelled`: on request, somewhere on the way. */
  readonly why: "reached" | "point" | "start" | "end" | "cancelled";
  /** With `point`: all points met at this instant. */
  readonly points: readonly PointId[];
  /** With a watchpoint. */
  readonly access?: Access;
}

/** An instant inside a tape: `pc` tells those apart that deliveries part at one icount; without it the first. */
export interface Instant {
  readonly icount: Icount;
  readonly pc?: GuestAddress;
}

/**
 * What a debugger needs of a timeline ({@link Timeline} is the real one). One call at a time; a second one waits.
 * Cancelling any of the moving calls settles within a second; the timeline then stands somewhere on the way, and the
 * arrival says `cancelled`.
 */
export interface DebugTarget {
  readonly position: Position;
  /** Goes anywhere, both ways. */
  goTo(instant: Instant, signal?: AbortSignal): Promise<Arrival>;
  /** Goes on by single instants: an instruction, or one delivery of an interrupt or exception. */
  stepForward(count?: number, signal?: AbortSignal): Promise<Arrival>;
  stepBack(count?: number, signal?: AbortSignal): Promise<Arrival>;
  /** Runs until a point is met, or the tape's start or end. A point at the present instant does not count. */
  run(direction: Direction, signal?: AbortSignal): Promise<Arrival>;
  addPoint(point: StopPoint): PointId;
  removePoint(id: PointId): boolean;
  /** General registers and more, as QEMU's `g` packet lays them out (`qemu/x86-registers.ts`). */
  registers(): Promise<Uint8Array>;
  /** One register by QEMU's number; undefined when there is none. Those beyond the `g` block are asked one by one. */
  register(number: number): Promise<Uint8Array | undefined>;
  /** QEMU's own target description: `target.xml` and the files it includes, by name. */
  description(annex: string): Promise<string | undefined>;
  /** As many bytes from `address` on as are mapped; undefined when the first is not. Device memory is never read. */
  readMemory(address: GuestAddress, length: number): Promise<Uint8Array | undefined>;
  readPhysical(address: PhysicalAddress, length: number): Promise<Uint8Array | undefined>;
  /** How the addresses around one are mapped in the present address space. */
  mappedRange(address: GuestAddress): Promise<MappedRange>;
}
