import { isVmtapeError, VmtapeError } from "../base/errors.js";
import type { Icount } from "../base/units.js";
import type { ProbeHit } from "../qemu/probe-hits.js";
import type { CountedSession } from "./counted-session.js";
import { hitsOf, isSame, type Meeting, type Points, stopForward } from "./point-hits.js";

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
  points: Points,
  limit: Icount,
  signal?: AbortSignal,
): Promise<Meeting | undefined> {
  const met = new AbortController();
  const stop = () => met.abort();
  const hits: ProbeHit[] = [];
  const unlisten = session.onHits((batch) => {
    for (const hit of hitsOf(batch)) {
      const first = hits[0];
      if (!first || isSame(stopForward(first), stopForward(hit))) hits.push(hit);
    }
    if (hits.length > 0) stop();
  });
  signal?.addEventListener("abort", stop, { once: true });
  try {
    // The present instant is left by a step, which only memory can be touched by.
    await session.arm(points, "memory");
    await session.step();
    await session.settled();
    if (hits.length === 0 && session.position.icount < limit) {
      await session.arm(points, "all");
      await runOn(session, limit, met.signal);
      await session.settled();
    }
  } finally {
    signal?.removeEventListener("abort", stop);
    unlisten();
    await session.disarm();
  }
  const [first] = hits;
  if (first) return { instant: stopForward(first), hits };
  if (signal?.aborted) throw new VmtapeError("cancelled", "stopped on request");
  return undefined;
}

async function runOn(session: CountedSession, limit: Icount, signal: AbortSignal): Promise<void> {
  try {
    await session.run(limit, signal);
  } catch (error) {
    if (!isVmtapeError(error, "cancelled")) throw error;
  }
}
