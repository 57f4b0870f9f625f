import { readFile } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import {
  brctr,
  type GuestAddress,
  guestAddress,
  icount,
  type PhysicalAddress,
} from "../../src/base/units.js";
import type { MappedRange } from "../../src/qemu/x86-paging.js";
import { x86Register } from "../../src/qemu/x86-registers.js";
import type { Position } from "../../src/replay/session/position.js";
import type {
  Access,
  Arrival,
  DebugTarget,
  Direction,
  Instant,
  PointId,
  StopPoint,
} from "../../src/replay/session/timeline-types.js";
import { evaluate } from "./fake-expression.js";
import { dataBase, type FakeInstant, runFakeMachine, stackBase } from "./fake-machine.js";

const blockBytes = 608;
/** Its code, its data and its stack. */
const mapped: readonly MappedRange[] = [
  { start: 0x1000n, end: 0x4000n, access: { write: false, execute: true, user: false } },
  { start: 0x8000n, end: 0x9000n, access: { write: true, execute: false, user: false } },
  { start: 0x9000n, end: 0xa000n, access: { write: true, execute: true, user: false } },
];

/** A timeline over a list of instants: simple and exact. */
export class FakeTarget implements DebugTarget {
  readonly instants: readonly FakeInstant[];
  readonly points = new Map<PointId, StopPoint>();
  /** Runs have no end: only an interrupt stops them. */
  endless = false;
  /** How many calls moved it. */
  moves = 0;
  private index = 0;
  private nextId = 1;

  constructor(instants = runFakeMachine(200)) {
    this.instants = instants;
  }

  get now(): FakeInstant {
    return this.instants[this.index]!;
  }

  get position(): Position {
    const { now } = this;
    return { icount: icount(now.icount), pc: guestAddress(now.pc), brctr: brctr(now.brctr), rep: 0n };
  }

  async goTo(instant: Instant): Promise<Arrival> {
    this.moves++;
    const found = this.instants.findIndex(
      ({ icount, pc }) =>
        BigInt(icount) === instant.icount && (instant.pc === undefined || BigInt(pc) === instant.pc),
    );
    this.index = found < 0 ? this.instants.length - 1 : found;
    return this.arrival("reached");
  }

  stepForward(count = 1, signal?: AbortSignal): Promise<Arrival> {
    return this.step("forward", count, signal);
  }

  stepBack(count = 1, signal?: AbortSignal): Promise<Arrival> {
    return this.step("back", count, signal);
  }

  private async step(direction: Direction, count: number, signal?: AbortSignal): Promise<Arrival> {
    this.moves++;
    for (let i = 0; i < count; i++) {
      if (signal?.aborted) return this.arrival("cancelled");
      const met = this.move(direction);
      if (!met) return this.arrival(direction === "forward" ? "end" : "start");
      if (met.points.length > 0) return this.arrival("point", met.points, met.access);
    }
    return this.arrival("reached");
  }

  async run(direction: Direction, signal?: AbortSignal): Promise<Arrival> {
    this.moves++;
    for (;;) {
      if (signal?.aborted) return this.arrival("cancelled");
      if (this.endless) {
        await setImmediate();
        continue;
      }
      const met = this.move(direction);
      if (!met) return this.arrival(direction === "forward" ? "end" : "start");
      if (met.points.length > 0) return this.arrival("point", met.points, met.access);
    }
  }

  private move(direction: Direction): { points: PointId[]; access?: Access } | undefined {
    const next = this.index + (direction === "forward" ? 1 : -1);
    if (next < 0 || next >= this.instants.length) return undefined;
    // The accesses between two instants are kept with the later one.
    const { accesses } = this.instants[Math.max(next, this.index)]!;
    this.index = next;
    const points: PointId[] = [];
    let touched: Access | undefined;
    for (const [id, point] of this.points) {
      const hit = point.kind === "execute" ? undefined : accesses.find((access) => touches(point, access));
      if (point.kind === "execute" ? point.address !== BigInt(this.now.pc) : !hit) continue;
      if (point.condition && !evaluate(point.condition, this.now)) continue;
      points.push(id);
      touched ??= hit;
    }
    return { points, ...(touched && { access: touched }) };
  }

  private arrival(why: Arrival["why"], points: PointId[] = [], access?: Access): Arrival {
    return { position: this.position, why, points, ...(access && { access }) };
  }

  addPoint(point: StopPoint): PointId {
    const id = this.nextId++;
    this.points.set(id, point);
    return id;
  }

  removePoint(id: PointId): boolean {
    return this.points.delete(id);
  }

  async registers(): Promise<Uint8Array> {
    const block = Buffer.alloc(blockBytes);
    const { rax, rbx, rsp, pc, cr3 = 0n } = this.now;
    for (const [name, value] of Object.entries({ rax, rbx, rsp, rip: BigInt(pc), cr3 })) {
      block.writeBigUInt64LE(value, x86Register(name)!.offset);
    }
    return block;
  }

  async register(number: number): Promise<Uint8Array | undefined> {
    return number === x86Register("rip")!.number ? (await this.registers()).subarray(128, 136) : undefined;
  }

  async description(annex: string): Promise<string | undefined> {
    if (annex.includes("/")) throw new Error("a client must not name paths");
    const file = new URL(`../golden/gdb/qemu-description/${annex}`, import.meta.url);
    return readFile(file, "latin1").catch(() => undefined);
  }

  async readMemory(address: GuestAddress, length: number): Promise<Uint8Array | undefined> {
    for (const [base, bytes] of [
      [dataBase, this.now.data],
      [stackBase, this.now.stack],
    ] as const) {
      const start = Number(address) - base;
      if (start >= 0 && start < bytes.length) return bytes.subarray(start, start + length);
    }
    // Its instructions are not those of x86; a debugger sees `nop`s.
    if (address >= 0x1000n && address < 0x4000n) return Buffer.alloc(Math.min(length, 256), 0x90);
    return undefined;
  }

  async mappedRange(address: GuestAddress): Promise<MappedRange> {
    let start = 0n;
    for (const range of mapped) {
      if (address < range.start) return { start, end: range.start, access: undefined };
      if (address < range.end) return range;
      start = range.end;
    }
    return { start, end: 1n << 64n, access: undefined };
  }

  readPhysical(address: PhysicalAddress, length: number): Promise<Uint8Array | undefined> {
    return this.readMemory(guestAddress(address), length);
  }
}

function touches(point: Exclude<StopPoint, { kind: "execute" }>, access: Access): boolean {
  const rightKind = point.kind === "access" || (point.kind === "write") === access.write;
  const end = point.address + BigInt(point.length);
  return rightKind && access.address < end && access.address + BigInt(access.length) > point.address;
}
