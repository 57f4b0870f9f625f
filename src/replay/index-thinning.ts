import { join } from "node:path";
import type { QemuBuild } from "../qemu/build.js";
import type { Tape } from "../tape/tape.js";
import { listCheckpoints, removeCheckpoint } from "./checkpoint.js";
import { isGone, waitForLock } from "./index-lock.js";
import { defaultBudget, thin } from "./index-spacing.js";
import { readIndexTable } from "./index-table-file.js";

/**
 * Removes checkpoints until the others keep the budget, spread over the tape. Several may do so at once.
 *
 * @param limits.end the tape's last icount
 * @returns how many went
 */
export async function keepBudget(
  cache: string,
  build: Pick<QemuBuild, "sha256">,
  limits: { readonly budget: number; readonly end: number },
): Promise<number> {
  try {
    await using _lock = await waitForLock(join(cache, "index.lock"));
    const all = (await listCheckpoints(cache, build)).map(({ icount, bytes = 0, made = 0, directory }) => ({
      ...{ icount: Number(icount), bytes, made, directory },
    }));
    const removed = thin(all, limits.budget, limits.end);
    for (const { directory } of removed) await removeCheckpoint(directory);
    return removed.length;
  } catch (error) {
    if (isGone(error)) return 0; // the cache was removed: nothing takes room
    throw error;
  }
}

/** The same with the budget that was chosen for the tape, or the default. */
export async function keepTapeBudget(
  tape: Tape,
  cache: string,
  build: Pick<QemuBuild, "sha256">,
): Promise<number> {
  const budget = (await readIndexTable(cache))?.budget ?? defaultBudget(tape.machine.memoryMB);
  return keepBudget(cache, build, { budget, end: Number(tape.end.at) });
}
