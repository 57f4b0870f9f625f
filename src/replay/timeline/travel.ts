import { isVmtapeError } from "../../base/errors.js";
import { icount } from "../../base/units.js";
import { leaveCheckpoint } from "../index/thinning.js";
import type { CountedSession } from "../session/counted-session.js";
import type { Instant } from "../session/timeline-types.js";

/** A way longer than this, about a second, is worth leaving checkpoints on. */
export const farInstructions = 1_500_000_000n;
/** A checkpoint is left about so often. How many instructions that is differs tenfold along a tape. */
const hopSeconds = 0.5;
const hop = { first: 200_000_000, least: 20_000_000, most: 800_000_000 } as const;

/**
 * Runs a session a long way, and leaves checkpoints as it passes: the next time the way is short. The session must have
 * been made with `checkpointsTo`. One that cannot be left, for whatever reason, is done without.
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
