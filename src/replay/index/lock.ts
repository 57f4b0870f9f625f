import { setTimeout as delay } from "node:timers/promises";
import { errnoOf, isVmtapeError } from "../../base/errors.js";
import { throwIfAborted } from "../../base/stopping.js";
import { FileLock } from "../../tape/lock.js";

const lookMs = 20;

/**
 * Waits until no other process holds a lock, and takes it. A lock ends with its holder, so a killed one leaves none.
 *
 * @param onWait called before each wait
 * @throws `cancelled`; what `FileLock.tryTake` throws
 */
export async function waitForLock(
  path: string,
  options: { readonly signal?: AbortSignal | undefined; readonly onWait?: () => void } = {},
): Promise<FileLock> {
  for (;;) {
    throwIfAborted(options.signal);
    const lock = await FileLock.tryTake(path);
    if (lock) return lock;
    options.onWait?.();
    await delay(lookMs);
  }
}

/** Is an error due to a file or directory that is not there? */
export function isGone(error: unknown): boolean {
  return errnoOf(error) === "ENOENT" || (isVmtapeError(error) && error.facts.errno === "ENOENT");
}
