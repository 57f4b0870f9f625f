/** Where checkpoints go, and which of them go first when there are too many. Numbers below 2^53 throughout. */

/** A checkpoint as far as its place and its price matter. */
export interface Spaced {
  readonly icount: number;
  readonly bytes: number;
  /** When it was made, in milliseconds since 1970. */
  readonly made: number;
}

/** Bytes that the checkpoints of a tape may take when nobody says otherwise: 1.5 GB or, for large guests, more. */
export function defaultBudget(memoryMB: number): number {
  return Math.max(1.5e9, 5 * memoryMB * 2 ** 20);
}

/** Closer together they gain nothing: a replay of so many instructions takes as long as its start. */
export const closest = 50_000_000;
/** Room is spread over checkpoints that may grow to so many times the last one until the tape's end. */
const growth = 2;

/** What an indexing pass knows when it looks for its next checkpoint. */
export interface Pass {
  /** Where it stands, and where the tape ends. */
  readonly at: number;
  readonly end: number;
  /** Bytes that are not taken yet, and those of the last checkpoint. */
  readonly room: number;
  readonly last: number;
  /** Checkpoints in all, at most. */
  readonly most: number;
  /** Instructions between two of them, at least. */
  readonly least: number;
}

/** Instructions from here to the next checkpoint, so that the room lasts to the tape's end. */
export function nextGap({ at, end, room, last, most, least }: Pass): number {
  const left = end - at;
  const expected = last * (1 + ((growth - 1) * left) / end / 2);
  const count = Math.max(1, Math.floor(room / Math.max(1, expected)));
  return Math.ceil(Math.max(left / (count + 1), end / (most + 1), least));
}

/** The newest are kept: whoever made them in passing is about to use them. */
const keptNewest = 3;

/**
 * Which checkpoints to remove so that the others take no more than `budget`: always one whose neighbours lie closest
 * together, so that what stays is spread over the tape.
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

/** The one without which the gap around it is the smallest; of equal ones the largest file. */
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

/** Instructions between rows of the table: about a thousand of them, never denser than they can be asked for. */
export function rowDistance(end: number): number {
  const finest = 2 ** 20;
  let every = finest;
  while (every * 1024 < end) every *= 2;
  return every;
}
