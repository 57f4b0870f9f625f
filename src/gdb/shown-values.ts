import { frameMask } from "../base/x86-paging.js";
import { registerValue } from "../qemu/x86-registers.js";
import type { Arrival, DebugTarget, Direction } from "../replay/session/timeline-types.js";
import type { ClientPoint, ClientPoints } from "./points.js";

/** The bytes that a client last saw at a watched address, and the address space in which it did. */
interface Shown {
  readonly bytes: Uint8Array | undefined;
  readonly space: bigint;
}

/** The longest watchpoint that is handled here. GDB compares longer ones in pieces, if at all. */
const longestCompared = 1 << 16;

/**
 * The values of write watchpoints that the client knows.
 *
 * After a write, GDB compares the new value with the one that it read last, and goes on silently when they are equal.
 * Two processes may have the same address with different pages, after a fork for example. One may then write the
 * value that GDB last saw in the other, and GDB would miss the change. In this case the client is first stopped
 * before the write, where it sees this process's old value, and goes on from there to the write.
 */
export class ShownValues {
  private readonly target: DebugTarget;
  private readonly points: ClientPoints;
  private readonly shown = new Map<string, Shown>();

  constructor(target: DebugTarget, points: ClientPoints) {
    this.target = target;
    this.points = points;
  }

  /** Must be called before the target moves. Notes the present values of watchpoints that are new. */
  async begin(): Promise<void> {
    const watched = this.points.watched();
    for (const key of [...this.shown.keys()]) if (!watched.has(key)) this.shown.delete(key);
    for (const [key, point] of watched) {
      if (!this.shown.has(key)) this.shown.set(key, await this.look(point));
    }
  }

  /** Decides where the client is to stop: at `arrival`, or on the other side of the write that was met there. */
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

  /** Goes to the instant on the other side of the write, if the watched bytes are others there. */
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
