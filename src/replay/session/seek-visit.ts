import { isVmtapeError, VmtapeError } from "../../base/errors.js";
import { linkedAbort, throwIfAborted } from "../../base/stopping.js";
import { type Brctr, hex } from "../../base/units.js";
import type { PluginChannel, PluginPoint, PluginPosition, PluginVisits } from "../../qemu/plugin-channel.js";
import type { Tape } from "../../tape/tape.js";
import type { CountedSessionOptions } from "./counted-session.js";
import { startPlugged } from "./plugged-session.js";
import type { Session } from "./session.js";

/** What is sought: the first visit to an address, a certain visit to it, or the first instant with a brctr. */
export type SoughtPoint =
  | Extract<PluginPoint, { at: "address" | "visit" }>
  | { readonly at: "brctr"; readonly brctr: Brctr };

/**
 * Replays a tape until a point is met, and returns where that was. The machine is ended afterwards.
 *
 * @param from where to begin; it must lie before the point
 * @throws `not-reached` with the nearest visits; everything `Session.runTo` throws
 */
export async function seekVisit(
  tape: Tape,
  point: SoughtPoint,
  options: Omit<CountedSessionOptions, "checkpointsTo">,
): Promise<PluginPosition> {
  await using plugged = await startPlugged(tape, { ...options, trusted: true });
  const { session, channel } = plugged;
  await channel.openWindow(point, { at: "never" }, "none");
  using met = linkedAbort(options.signal);
  channel.listen(() => met.abort());
  try {
    await session.runToEnd(met.signal);
  } catch (error) {
    if (!isVmtapeError(error, "cancelled")) throw error;
  }
  const found = channel.reachedAt("start");
  if (found) return found;
  throwIfAborted(options.signal);
  return await missed(session, channel, point);
}

async function missed(session: Session, channel: PluginChannel, point: SoughtPoint): Promise<never> {
  await session.quit();
  await channel.closed;
  throw neverReached(point, point.at === "brctr" ? undefined : channel.visits("start"));
}

/**
 * The error for a point that is not on a tape.
 *
 * @param the visits to its address before and after the sought one
 */
export function neverReached(point: SoughtPoint, visits?: PluginVisits): VmtapeError {
  const nearest = [visits?.before, visits?.after].filter((one) => one !== undefined);
  const place = point.at === "brctr" ? `branch ${point.brctr}` : hex(point.address);
  const shown =
    point.at === "visit" ? `${place}:${point.brctr}${point.rep > 0n ? `/${point.rep}` : ""}` : place;
  const hint = nearest.map(({ brctr: branches, icount }) => `${place}:${branches} @${icount}`).join(" and ");
  return new VmtapeError(
    "not-reached",
    `${shown} is never reached${hint && `; the nearest visits: ${hint}`}`,
    { visits: visits?.count, nearest: nearest.map(({ brctr: at, icount }) => ({ brctr: at, icount })) },
  );
}
