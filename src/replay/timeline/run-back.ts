import { linkedAbort, throwIfAborted } from "../../base/stopping.js";
import { type GuestAddress, type Icount, icount } from "../../base/units.js";
import type { ProbeHit } from "../../qemu/probe-hits.js";
import type { Tape } from "../../tape/tape.js";
import { type CountedCheckpoint, withoutLost } from "../session/checkpoint.js";
import { hitsOf, isSame, type Meeting, placePoints, stopBack } from "../session/point-hits.js";
import { type ScanOptions, scan } from "../session/scan.js";
import type { Instant, StopPoint } from "../session/timeline-types.js";

/** How many stretches are searched at once. */
const jobs = 2;

/** Where a run back begins. */
export interface Here {
  readonly icount: Icount;
  readonly pc: GuestAddress;
  /** Deliveries already made at this icount. */
  readonly delivered: bigint;
}

export interface RunBackOptions extends Omit<ScanOptions, "from" | "to" | "prepare" | "onHits"> {
  readonly checkpoints: () => Promise<readonly CountedCheckpoint[]>;
}

/**
 * The last meeting with a point before `here`: the stretches between checkpoints are replayed from the latest to the
 * earliest, two at a time, until one has a hit.
 *
 * @param earliest hits before this icount do not count
 * @returns undefined when there is none
 * @throws `cancelled`; everything `Session.runTo` throws
 */
export function lastMeeting(
  tape: Tape,
  here: Here,
  points: readonly StopPoint[],
  options: RunBackOptions,
  earliest: Icount = icount(0),
): Promise<Meeting | undefined> {
  return withoutLost(() => searchBack(tape, here, points, options, earliest));
}

async function searchBack(
  tape: Tape,
  here: Here,
  points: readonly StopPoint[],
  options: RunBackOptions,
  earliest: Icount,
): Promise<Meeting | undefined> {
  const { checkpoints, ...scanning } = options;
  using enough = linkedAbort(options.signal);
  const stretches = backwards(await checkpoints(), here.icount, earliest);
  const running: Promise<Meeting | undefined>[] = [];
  try {
    for (let next = 0; ; ) {
      // The nearest stretch is searched first and alone: the hit is often there.
      const most = next === 0 ? 1 : jobs;
      while (running.length < most && next < stretches.length) {
        const stretch = stretches[next++]!;
        const search = lastIn(tape, stretch, here, points, {
          ...scanning,
          earliest,
          signal: enough.signal,
        });
        search.catch(() => {}); // it is awaited in its turn, or no longer wanted
        running.push(search);
      }
      const found = await running.shift();
      if (found) return found;
      if (running.length === 0 && next >= stretches.length) return undefined;
    }
  } finally {
    enough.abort();
    await Promise.allSettled(running);
  }
}

/** A stretch of a tape that is replayed by a session of its own. */
export interface Stretch {
  readonly from: CountedCheckpoint | undefined;
  readonly to: Icount;
}

/**
 * Was the checkpoint made before all deliveries at its icount? A replay from any other skips the first instants of
 * the icount.
 */
const isQuiet = ({ delivered = 0n }: CountedCheckpoint) => delivered === 0n;

/**
 * The stretches from checkpoint to checkpoint, the latest first. The first ones are short, because the hit is often
 * near. Each pair of stretches spans twice as many checkpoints as the pair before it, because every start of a
 * session costs time.
 */
export function backwards(all: readonly CountedCheckpoint[], end: Icount, earliest: Icount): Stretch[] {
  const before = all.filter((one) => one.icount < end && isQuiet(one)).reverse();
  const stretches: Stretch[] = [];
  let to = end;
  for (let span = 1, at = 0; at < before.length; ) {
    at = Math.min(at + Math.floor(span), before.length);
    const from = before[at - 1]!;
    stretches.push({ from, to });
    to = from.icount;
    if (to <= earliest) return stretches;
    span *= Math.SQRT2;
  }
  stretches.push({ from: undefined, to });
  return stretches;
}

async function lastIn(
  tape: Tape,
  stretch: Stretch,
  here: Here,
  points: readonly StopPoint[],
  options: StretchOptions,
): Promise<Meeting | undefined> {
  let last: Meeting | undefined;
  await eachHit(tape, stretch, here, points, options, (hit) => {
    const instant = stopBack(hit);
    const same = last && isSame(last.instant, instant);
    last = { instant, hits: same ? [...last!.hits, hit] : [hit] };
  });
  return last;
}

/**
 * The latest `most` meetings with points between `earliest` and `here`, in order.
 *
 * @throws `cancelled`; everything `Session.runTo` throws
 */
export function allMeetings(
  tape: Tape,
  here: Here,
  points: readonly StopPoint[],
  options: RunBackOptions,
  range: { readonly earliest: Icount; readonly most: number },
): Promise<Meeting[]> {
  return withoutLost(() => collectMeetings(tape, here, points, options, range));
}

async function collectMeetings(
  tape: Tape,
  here: Here,
  points: readonly StopPoint[],
  options: RunBackOptions,
  { earliest, most }: { readonly earliest: Icount; readonly most: number },
): Promise<Meeting[]> {
  const { checkpoints, ...scanning } = options;
  const from = (await checkpoints()).findLast((one) => one.icount <= earliest && isQuiet(one));
  const meetings: Meeting[] = [];
  const stretch = { from, to: here.icount };
  await eachHit(tape, stretch, here, points, { ...scanning, earliest }, (hit) => {
    const instant = stopBack(hit);
    const last = meetings.at(-1);
    if (last && isSame(last.instant, instant)) {
      meetings[meetings.length - 1] = { instant, hits: [...last.hits, hit] };
    } else meetings.push({ instant, hits: [hit] });
    if (meetings.length > 2 * most) meetings.splice(0, meetings.length - most);
  });
  return meetings.slice(-most);
}

type StretchOptions = Omit<RunBackOptions, "checkpoints"> & { readonly earliest: Icount };

/** Replays a stretch, and calls `tell` with its hits between `earliest` and `here`, in order. */
async function eachHit(
  tape: Tape,
  { from, to }: Stretch,
  here: Here,
  points: readonly StopPoint[],
  { earliest, ...scanning }: StretchOptions,
  tell: (hit: ProbeHit) => void,
): Promise<void> {
  await scan(tape, {
    ...scanning,
    from,
    to,
    prepare: (channel) => placePoints(channel, points),
    onHits: (batch) => {
      for (const hit of hitsOf(batch)) {
        const counts = to === here.icount ? isBefore(stopBack(hit), here) : hit.icount < to;
        if (counts && hit.icount >= earliest) tell(hit);
      }
    },
  });
  throwIfAborted(scanning.signal);
}

/**
 * Does an instant come before `here`? Among instants with the same icount, those at which a delivery was still to
 * come are earlier; their pc is another.
 */
function isBefore({ icount: at, pc }: Instant, here: Here): boolean {
  return at < here.icount || (at === here.icount && here.delivered > 0n && pc !== here.pc);
}
