import { isVmtapeError } from "../../base/errors.js";
import { icount } from "../../base/units.js";
import { leaveCheckpoint } from "../index/thinning.js";
import type { CountedSession } from "../session/counted-session.js";
import type { Instant } from "../session/timeline-types.js";

/** Runs that are longer than this (about a second) leave checkpoints on their way. */
export const farInstructions = 1_500_000_000n;
/**
 * Seconds between two of these checkpoints. The number of instructions executed in that time varies tenfold along a
 * tape, so it is measured as the session goes.
 */
const hopSeconds = 0.5;
const hop = { first: 200_000_000, least: 20_000_000, most: 800_000_000 } as const;

/**
 * Runs a session over a long stretch, and makes checkpoints on the way, so that the same way is short the next time.
 * The session must have been made with `checkpointsTo`. A checkpoint that cannot be made is skipped.
 *
 * @throws as `CountedSession.runTo`
 */
export async function travel(session: CountedSession, to: Instant, signal?: AbortSignal): Promise<void> {
  let instructions: number = hop.first;
  for (;;) {
    const next = session.position.icount + BigInt(Math.floor(instructions));
    if (next >= to.icount) break;
    const started = performance.now();
    await session.runTo({ icount: icount(next) }, signal);
    const seconds = (performance.now() - started) / 1000;
    try {
      await leaveCheckpoint(session);
    } catch (error) {
      if (!isVmtapeError(error) || !session.alive) throw error;
    }
    instructions = Math.min(hop.most, Math.max(hop.least, (instructions * hopSeconds) / seconds));
  }
  await session.runTo(to, signal);
}
