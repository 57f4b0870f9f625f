import { isVmtapeError } from "../../base/errors.js";
import { type Icount, icount } from "../../base/units.js";
import type { Session } from "../session/session.js";

/** Into how many steps each replay cuts the stretch. The next replay looks at the step in which this one died. */
const steps = 64n;
/** The most replays; for 2^48 instructions it takes 8. */
const mostReplays = 10;

type Stepping = Pick<Session, "start" | "runTo"> & AsyncDisposable;

/**
 * Finds the last icount that a replay reaches before its QEMU dies: the place where it diverged from its tape.
 *
 * @param from an icount that is reached
 * @param to an icount that is not reached
 * @param open makes a replay that is not started yet
 */
export async function breakingPoint(
  from: Icount,
  to: Icount,
  open: () => Promise<Stepping>,
  signal?: AbortSignal,
): Promise<Icount> {
  let reached = from;
  let missed = to;
  for (let replay = 0; replay < mostReplays && missed - reached > 1n; replay++) {
    await using session = await open();
    await session.start(reached, signal);
    const stride = (missed - reached + steps - 1n) / steps;
    for (let at = icount(reached + stride); at < missed; at = icount(at + stride)) {
      if (await reaches(session, at, signal)) reached = at;
      else missed = at;
    }
  }
  return reached;
}

async function reaches(session: Stepping, at: Icount, signal?: AbortSignal): Promise<boolean> {
  try {
    await session.runTo(at, signal);
    return true;
  } catch (error) {
    if (isVmtapeError(error, "diverged")) return false;
    throw error;
  }
}
