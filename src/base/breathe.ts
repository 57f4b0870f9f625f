import { setImmediate } from "node:timers/promises";
import { throwIfAborted } from "./stopping.js";

/**
 * Between two pieces of work that keep the program from hearing anything: lets a Ctrl-C be heard.
 *
 * @throws VmtapeError `cancelled`
 */
export async function breathe(signal: AbortSignal | undefined): Promise<void> {
  await setImmediate();
  throwIfAborted(signal);
}
