import { icount } from "../../base/units.js";
import type { CountedCheckpoint } from "../session/checkpoint.js";
import { nextGap, type Pass } from "./spacing.js";
import type { TapeIndex } from "./tape-index.js";

/** The size assumed for the first checkpoint, shortly after the machine's start, in bytes. */
const firstGuess = 20e6;
/** A gap between checkpoints may be so many times as wide as wanted before it gets another one. */
const tolerance = 1.6;

export interface IndexLimits extends Pick<Pass, "most" | "least"> {
  readonly budget: number;
  /** Bytes of the budget that are reserved for stretches that take long to replay. Default 0. */
  readonly spare?: number;
  /** The icount up to which first visits are known, or beyond which none are wanted. Default: the tape's end. */
  readonly visited?: number;
}

/** Where checkpoints are missing in a tape. */
export class IndexPlan {
  readonly end: number;
  private readonly index: Pick<TapeIndex, "checkpoints" | "countedTo" | "nearest">;
  private readonly limits: IndexLimits;
  private readonly existing: { readonly icount: number; readonly bytes: number }[];

  /** @param end the tape's last icount */
  constructor(
    end: number,
    index: Pick<TapeIndex, "checkpoints" | "countedTo" | "nearest">,
    limits: IndexLimits,
  ) {
    this.end = end;
    this.index = index;
    this.limits = limits;
    this.existing = index.checkpoints.map((one) => ({ icount: Number(one.icount), bytes: one.bytes ?? 0 }));
  }

  /** Where a pass must begin; `nowhere` when nothing is missing. */
  start(): CountedCheckpoint | undefined | "nowhere" {
    const wanted = this.nextAfter(0);
    const counted = Math.min(Number(this.index.countedTo), this.limits.visited ?? this.end);
    if (wanted === undefined && counted >= this.end) return "nowhere";
    return this.index.nearest(icount(Math.min(wanted ?? this.end, counted)));
  }

  /** The icount of the next checkpoint that is wanted after `at`; undefined when none is missing. */
  nextAfter(at: number): number | undefined {
    const { budget, most, least, spare = 0 } = this.limits;
    const { existing, end } = this;
    if (existing.length >= most) return undefined;
    const free = budget - spare - sumBytes(existing);
    for (let from = at; ; ) {
      const last =
        existing.filter((one) => one.icount <= from).at(-1)?.bytes ?? Math.min(firstGuess, budget / 4);
      if (free < last) return undefined;
      const ahead = existing.filter((one) => one.icount > from);
      const gap = nextGap({ at: from, end, room: free + sumBytes(ahead), last, most, least });
      const [next] = ahead;
      if (!next || next.icount > from + gap * tolerance)
        return from + gap < end - gap / 4 ? from + gap : undefined;
      from = next.icount;
    }
  }

  /**
   * Is there room for another checkpoint in a stretch that takes long? Always false where no bytes are reserved for
   * it.
   */
  hasRoom(): boolean {
    const { budget, most, spare = 0 } = this.limits;
    if (spare === 0) return false;
    const largest = Math.max(firstGuess, ...this.existing.map(({ bytes }) => bytes));
    return this.existing.length < most && budget - sumBytes(this.existing) >= largest;
  }

  /** Notes a checkpoint that was made. */
  add(made: { readonly icount: number; readonly bytes: number }): void {
    this.existing.push(made);
    this.existing.sort((a, b) => a.icount - b.icount);
  }
}

function sumBytes(some: readonly { readonly bytes: number }[]): number {
  return some.reduce((sum, { bytes }) => sum + bytes, 0);
}
