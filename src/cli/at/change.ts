import { unchanged } from "../../linux/context/change-text.js";
import type { LastChange } from "../../linux/context/last-change.js";
import type { Moment } from "../../moment/moment.js";

export { changeFacts, changeLines } from "../../linux/context/change-text.js";

/** @throws `not-found` when it has not changed */
export async function changeOf(moment: Moment, what: string, signal: AbortSignal): Promise<LastChange> {
  const change = await moment.lastChange(what, { signal });
  if (!change) throw unchanged(what);
  return change;
}
