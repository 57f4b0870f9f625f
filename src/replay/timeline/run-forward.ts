import { isVmtapeError } from "../../base/errors.js";
import { linkedAbort, throwIfAborted } from "../../base/stopping.js";
import type { Icount } from "../../base/units.js";
import type { ProbeHit } from "../../qemu/probe-hits.js";
import type { CountedSession } from "../session/counted-session.js";
import { hitsOf, isSame, type Meeting, stopForward } from "../session/point-hits.js";
import type { StopPoint } from "../session/timeline-types.js";

/**
 * Runs a session forward until a point is met, or to `limit`. The session may stop some instructions after the
 * meeting: a caller that wants to stand there has to go there. A breakpoint at the present instant does not count.
 *
 * @param limit at most the tape's end
 * @returns undefined at the limit
 * @throws `cancelled`: the session then stands somewhere on the way; everything `Session.runTo` throws
 */
export async function runForward(
  session: CountedSession,
  points: readonly StopPoint[],
  limit: Icount,
  signal?: AbortSignal,
): Promise<Meeting | undefined> {
  using met = linkedAbort(signal);
  const hits = gather(session, () => met.abort());
  try {
    // The first instruction is a single step without breakpoints, so that one at the present instant is not met.
    await stepOver(session, points, hits.found);
    if (hits.found.length === 0 && session.position.icount < limit) {
      await session.arm(points);
      await runOn(session, limit, met.signal);
      await session.settled();
    }
  } finally {
    hits.unlisten();
  }
  const [first] = hits.found;
  if (first) return { instant: stopForward(first), hits: hits.found };
  throwIfAborted(signal);
  return undefined;
}

/** Moves a session one instant forward. Gives the watchpoints that the instruction met. */
export async function stepForward(
  session: CountedSession,
  points: readonly StopPoint[],
): Promise<Meeting | undefined> {
  const hits = gather(session, () => {});
  try {
    await stepOver(session, points, hits.found);
  } finally {
    hits.unlisten();
  }
  const { icount, pc } = session.position;
  return hits.found.length > 0 ? { instant: { icount, pc }, hits: hits.found } : undefined;
}

/** Gathers the hits of the first instant that has any; later ones are left out. */
function gather(session: CountedSession, onFirst: () => void) {
  const found: ProbeHit[] = [];
  const unlisten = session.onHits((batch) => {
    for (const hit of hitsOf(batch)) {
      const first = found[0];
      if (!first || isSame(stopForward(first), stopForward(hit))) found.push(hit);
    }
    if (found.length > 0) onFirst();
  });
  return { found, unlisten };
}

async function stepOver(
  session: CountedSession,
  points: readonly StopPoint[],
  found: ProbeHit[],
): Promise<void> {
  // Breakpoints are left out, since one here would stop the machine at once. Hits are renumbered below, because their
  // ids are places in the whole list.
  const watched = points.filter(({ kind }) => kind !== "execute");
  await session.arm(watched);
  await session.step();
  if (watched.length === 0) return;
  await session.settled();
  for (const [i, hit] of found.entries()) {
    found[i] = { ...hit, id: points.indexOf(watched[hit.id]!) };
  }
}

async function runOn(session: CountedSession, limit: Icount, signal: AbortSignal): Promise<void> {
  try {
    await session.run(limit, signal);
  } catch (error) {
    if (!isVmtapeError(error, "cancelled")) throw error;
  }
}
