/** A checkpoint as far as it tells how long a tape takes to get there. */
export interface Timed {
  readonly icount: bigint;
  readonly brctr?: bigint;
  /** What it takes on disk. */
  readonly bytes?: number;
  /** When it was made, in milliseconds since 1970. */
  readonly made?: number;
}

/** Two checkpoints of one pass through the tape are at most so many ms apart. */
const mostBetween = 60_000;
/** What the pass spent on a checkpoint itself, for each byte of it. */
const checkpointMs = 1.5e-6;
/** What logging a branch costs more than counting it, as the pass did. */
const branchMs = 1.3e-6;

/**
 * Those checkpoints inside a window at which to cut it, so that `jobs` segments take equally long to replay. A tape's
 * stretches differ tenfold in their pace: how long they took the pass that left the checkpoints is the best guess.
 *
 * @param checkpoints of the whole tape, in order
 */
export function chooseCuts<One extends Timed>(
  checkpoints: readonly One[],
  { start, end, jobs }: { readonly start: number; readonly end: number; readonly jobs: number },
): One[] {
  const pace = paceOf(checkpoints);
  const inside = checkpoints.filter(({ icount }) => icount > start && icount < end);
  const chosen = new Set<One>();
  for (let job = 1; job < jobs; job++) {
    const wanted = pace(start) + ((pace(end) - pace(start)) * job) / jobs;
    let nearest: One | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const one of inside) {
      const distance = Math.abs(pace(Number(one.icount)) - wanted);
      if (distance >= least) continue;
      least = distance;
      nearest = one;
    }
    if (nearest) chosen.add(nearest);
  }
  return inside.filter((one) => chosen.has(one));
}

/** How long the tape takes until an icount, in ms or, where nothing is known of it, another unit. */
function paceOf(checkpoints: readonly Timed[]): (icount: number) => number {
  const places = [0, ...checkpoints.map(({ icount }) => Number(icount))];
  const paces = places.slice(1).map((at, i) => {
    const [before, here] = [checkpoints[i - 1], checkpoints[i]!];
    const took = before?.made && here.made ? here.made - before.made : 0;
    if (took <= 0 || took > mostBetween) return undefined; // they are of several passes
    const branches = Number((here.brctr ?? 0n) - (before!.brctr ?? 0n));
    return (Math.max(1, took - (here.bytes ?? 0) * checkpointMs) + branches * branchMs) / (at - places[i]!);
  });
  const known = paces.filter((one) => one !== undefined);
  const usual = known.length > 0 ? known.reduce((sum, one) => sum + one, 0) / known.length : 1;
  const times = [0];
  for (const [i, one] of paces.entries())
    times.push(times[i]! + (places[i + 1]! - places[i]!) * (one ?? usual));
  return (icount) => {
    const i = places.findLastIndex((at) => at <= icount);
    return times[i]! + (icount - places[i]!) * (paces[i] ?? usual);
  };
}
