import { setImmediate } from "node:timers/promises";
import { throwIfAborted } from "./stopping.js";

/**
 * Yields to the event loop once, so that long synchronous work lets signals (Ctrl-C) and other work through in
 * between.
 *
 * @throws VmtapeError `cancelled`
 */
export async function breathe(signal: AbortSignal | undefined): Promise<void> {
  await setImmediate();
  throwIfAborted(signal);
}
