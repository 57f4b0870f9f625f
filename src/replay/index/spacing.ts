/**
 * Where checkpoints are made, and which of them are removed first when there are too many. All numbers are below
 * 2^53.
 */

/** The facts of a checkpoint that decide whether it stays: its instant, size and age. */
export interface Spaced {
  readonly icount: number;
  readonly bytes: number;
  /** When it was made, in milliseconds since 1970. */
  readonly made: number;
}

/** The default budget for the checkpoints of a tape, in bytes: 1.5 GB, or for large guests 5 times their memory. */
export function defaultBudget(memoryMB: number): number {
  return Math.max(1.5e9, 5 * memoryMB * 2 ** 20);
}

/**
 * The least useful distance between checkpoints: replaying so many instructions takes as long as starting a session.
 */
export const closest = 50_000_000;
/** Checkpoints are expected to grow with time, to so many times the size of the last one at the tape's end. */
const growth = 2;

/** What an indexing pass knows when it looks for its next checkpoint. */
export interface Pass {
  /** The icount where it stands, and that of the tape's end. */
  readonly at: number;
  readonly end: number;
  /** Bytes of the budget that are still free, and the size of the last checkpoint. */
  readonly room: number;
  readonly last: number;
  /** The most checkpoints there may be. */
  readonly most: number;
  /** The fewest instructions between two of them. */
  readonly least: number;
}

/** Instructions from here to the next checkpoint, chosen so that the budget lasts to the tape's end. */
export function nextGap({ at, end, room, last, most, least }: Pass): number {
  const left = end - at;
  const expected = last * (1 + ((growth - 1) * left) / end / 2);
  const count = Math.max(1, Math.floor(room / Math.max(1, expected)));
  return Math.ceil(Math.max(left / (count + 1), end / (most + 1), least));
}

/**
 * How many of the newest checkpoints stay as long as there are older ones to remove: the session that made them in
 * passing is about to use them.
 */
const keptNewest = 3;

/**
 * Which checkpoints to remove so that the others take no more than `budget`. The next to go is always the one whose
 * neighbours lie closest together, so those that stay are spread over the tape.
 *
 * @param spaced in order
 * @param end the tape's
 */
export function thin<One extends Spaced>(spaced: readonly One[], budget: number, end: number): One[] {
  const newest = [...spaced].sort((a, b) => b.made - a.made).slice(0, keptNewest);
  const left = [...spaced];
  const removed: One[] = [];
  let total = spaced.reduce((sum, { bytes }) => sum + bytes, 0);
  while (total > budget && left.length > 0) {
    const kept = left.length > keptNewest ? newest : newest.slice(0, 1);
    const place = left.length > 1 ? leastMissed(left, kept, end) : 0;
    const [one] = left.splice(place, 1);
    total -= one!.bytes;
    removed.push(one!);
  }
  return removed;
}

/**
 * The index of the checkpoint whose removal leaves the smallest gap; of equal ones, the one that takes most bytes.
 */
function leastMissed(left: readonly Spaced[], kept: readonly Spaced[], end: number): number {
  let best = -1;
  let smallest = Number.POSITIVE_INFINITY;
  for (const [i, one] of left.entries()) {
    if (kept.includes(one)) continue;
    const gap = (left[i + 1]?.icount ?? end) - (left[i - 1]?.icount ?? 0);
    if (gap > smallest || (gap === smallest && one.bytes <= left[best]!.bytes)) continue;
    smallest = gap;
    best = i;
  }
  return best;
}

/**
 * Instructions between rows of the table, so that there are about a thousand of them, but never fewer than the least
 * distance that can be asked for.
 */
export function rowDistance(end: number): number {
  const finest = 2 ** 20;
  let every = finest;
  while (every * 1024 < end) every *= 2;
  return every;
}
