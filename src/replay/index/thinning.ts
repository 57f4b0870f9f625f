import { statfs } from "node:fs/promises";
import { join } from "node:path";
import type { QemuBuild } from "../../qemu/build.js";
import type { Tape } from "../../tape/tape.js";
import { type Checkpoint, listCheckpoints, removeCheckpoint } from "../session/checkpoint.js";
import type { CountedSession } from "../session/counted-session.js";
import { isGone, waitForLock } from "./lock.js";
import { defaultBudget, thin } from "./spacing.js";
import { readIndexTable } from "./table-file.js";

/**
 * Removes checkpoints until the others fit into the budget; those that stay are spread over the tape. Several
 * processes may do so at once.
 *
 * @param limits.end the tape's last icount
 * @returns how many were removed
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
    if (isGone(error)) return 0; // the cache was removed, and all checkpoints with it
    throw error;
  }
}

/**
 * As {@link keepBudget}, with the budget that the tape was indexed with, or the default one. For sessions that make
 * checkpoints in passing.
 */
export async function keepTapeBudget(
  tape: Tape,
  cache: string,
  build: Pick<QemuBuild, "sha256">,
): Promise<number> {
  const used = async () => sumBytes(await listCheckpoints(cache, build));
  const budget = (await readIndexTable(cache))?.budget || (await affordable(tape, cache, await used()));
  return keepBudget(cache, build, { budget, end: Number(tape.end.at) });
}

/**
 * Makes a checkpoint where a session stands, which must have been made with `checkpointsTo`. When the tape's budget
 * is exceeded, other checkpoints are removed.
 *
 * @throws as `CountedSession.checkpoint`
 */
export async function leaveCheckpoint(counted: CountedSession): Promise<void> {
  await counted.checkpoint();
  const { tape, build, checkpointsTo } = counted.session;
  if (checkpointsTo !== undefined) await keepTapeBudget(tape, checkpointsTo, build);
}

/**
 * The default budget, but no more than half of the free space of the cache's file system.
 *
 * @param used bytes that the tape's checkpoints take now
 */
export async function affordable(tape: Tape, cache: string, used: number): Promise<number> {
  const wanted = defaultBudget(tape.machine.memoryMB);
  const free = await statfs(cache).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => wanted * 2,
  );
  return Math.min(wanted, Math.floor((free + used) / 2));
}

function sumBytes(some: readonly Checkpoint[]): number {
  return some.reduce((sum, { bytes = 0 }) => sum + bytes, 0);
}
