import { isVmtapeError } from "../../base/errors.js";
import { linkedAbort, throwIfAborted } from "../../base/stopping.js";
import type { Icount } from "../../base/units.js";
import type { ProbeHit } from "../../qemu/probe-hits.js";
import type { CountedSession } from "../session/counted-session.js";
import { hitsOf, isSame, type Meeting, stopForward } from "../session/point-hits.js";
import type { StopPoint } from "../session/timeline-types.js";

/**
 * Runs a session forward until a point is met, or `limit`. The session may come further than the meeting: whoever wants
 * to stand there goes there. A point of execution at the present instant does not count.
 *
 * @param limit at most the tape's end
 * @returns undefined at the limit
 * @throws `cancelled`: it stands somewhere on the way; everything `Session.runTo` throws
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
    // The present instant is left by a step, which only memory can be touched by.
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

/** One instant forward, and what the instruction there touched. */
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

/** The hits that stop at the first instant any stops at. */
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
  // Those of execution would stop the machine where it stands; each keeps its place in the list.
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
