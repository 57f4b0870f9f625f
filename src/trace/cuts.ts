/** A checkpoint as far as it tells how long a tape takes to get there. */
export interface Timed {
  readonly icount: bigint;
  /** When it was made, in milliseconds since 1970. */
  readonly made?: number;
}

/** Two checkpoints of one pass through the tape are at most so many ms apart. */
const mostBetween = 60_000;

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
    const [before, here] = [checkpoints[i - 1]?.made, checkpoints[i]?.made];
    const took = before && here ? here - before : 0; // it may be of another pass
    return took > 0 && took < mostBetween ? took / (at - places[i]!) : undefined;
  });
  const known = paces.filter((one) => one !== undefined);
  const usual = known.length > 0 ? known.reduce((sum, one) => sum + one, 0) / known.length : 1;
  const times = [0];
  for (const [i, one] of paces.entries())
    times.push(times[i]! + (places[i + 1]! - places[i]!) * (one ?? usual));
  return (icount) => {
    const i = Math.max(
      0,
      places.findLastIndex((at) => at <= icount),
    );
    // Behind the last checkpoint it goes on as just before.
    const pace = paces[i] ?? (i < paces.length ? usual : (paces.at(-1) ?? usual));
    return times[i]! + (icount - places[i]!) * pace;
  };
}
