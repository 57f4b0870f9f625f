import { frameMask } from "../base/x86-paging.js";
import { registerValue } from "../qemu/x86-registers.js";
import type { Arrival, DebugTarget, Direction } from "../replay/session/timeline-types.js";
import type { ClientPoint, ClientPoints } from "./points.js";

/** What a client last saw in a watched place, and in which address space. */
interface Shown {
  readonly bytes: Uint8Array | undefined;
  readonly space: bigint;
}

/** Longer ones are compared by GDB in pieces, if at all. */
const longestCompared = 1 << 16;

/**
 * Values of write watchpoints as a client knows them.
 *
 * GDB compares what it reads after a write with what it read before, and goes on silently where both are the same. Of two
 * processes that have the same address, each with a page of its own after a fork, one may write what GDB last saw in the
 * other: a change that GDB would pass over. Then the client is stopped before the write first, where it sees this
 * process's old value, and goes on from there to the write.
 */
export class ShownValues {
  private readonly target: DebugTarget;
  private readonly points: ClientPoints;
  private readonly shown = new Map<string, Shown>();

  constructor(target: DebugTarget, points: ClientPoints) {
    this.target = target;
    this.points = points;
  }

  /** To be called before the target moves: places that are new to the client have their present values. */
  async begin(): Promise<void> {
    const watched = this.points.watched();
    for (const key of [...this.shown.keys()]) if (!watched.has(key)) this.shown.delete(key);
    for (const [key, point] of watched) {
      if (!this.shown.has(key)) this.shown.set(key, await this.look(point));
    }
  }

  /** Where the client is to be told that it stands: at `arrival`, or on the other side of the write that it met. */
  async settle(arrival: Arrival, direction: Direction, signal: AbortSignal): Promise<Arrival> {
    const watched = this.points.watched();
    const met = arrival.points
      .map((id) => this.points.find(id))
      .filter((point) => point !== undefined && watched.has(this.points.keyOf(point)));
    let told = arrival;
    for (const point of met) {
      const key = this.points.keyOf(point!);
      const now = await this.look(point!);
      const before = this.shown.get(key);
      if (told === arrival && before && before.space !== now.space && isSame(before, now)) {
        const other = await this.otherSide(arrival, point!, now, direction, signal);
        if (other) told = other;
      }
      this.shown.set(key, told === arrival ? now : await this.look(point!));
    }
    return told;
  }

  /** The instant on the other side of the write, if the place holds something else there. */
  private async otherSide(
    arrival: Arrival,
    point: ClientPoint,
    now: Shown,
    direction: Direction,
    signal: AbortSignal,
  ): Promise<Arrival | undefined> {
    const { target } = this;
    const step = (towards: Direction) =>
      towards === "back" ? target.stepBack(1, signal) : target.stepForward(1, signal);
    const { position, why } = await step(direction === "forward" ? "back" : "forward");
    if (why === "cancelled") return { ...arrival, position, why };
    if (!isSame(await this.look(point), now)) return { ...arrival, position };
    await step(direction);
    return undefined;
  }

  private async look({ address, size }: ClientPoint): Promise<Shown> {
    const bytes = await this.target.readMemory(address, Math.min(size, longestCompared));
    const space = registerValue(await this.target.registers(), "cr3") & frameMask;
    return { bytes: bytes && Uint8Array.from(bytes), space };
  }
}

function isSame(a: Shown, b: Shown): boolean {
  if (!a.bytes || !b.bytes) return a.bytes === b.bytes;
  return Buffer.compare(a.bytes, b.bytes) === 0;
}
