import { readdir, rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { isVmtapeError, VmtapeError } from "../../base/errors.js";
import { noLinks, readRegular } from "../../base/regular-file.js";
import { type Brctr, brctr, type Icount, icount } from "../../base/units.js";
import { type CheckpointFacts, decodeCheckpointFacts } from "../../formats/checkpoint-facts.js";
import type { QemuBuild } from "../../qemu/build.js";
import { ramFileName } from "../../qemu/ram.js";

/**
 * A machine's state at an instant, from which a replay can start. It only saves time, and only the build of QEMU that
 * made it can load it. Its directory (docs/FORMATS.md, "Checkpoint"):
 *
 *     checkpoint.json     facts, with the hashes and stamps of the other files
 *     state.qcow2         the devices, as a snapshot in an empty image
 *     guest-ram           the RAM, a sparse file; sessions map it copy-on-write, so starting reads none of it
 *     guest-ram.map       which pages of it are not zero
 *     disk-N.qcow2        what the guest had written to disk N by then
 */
export interface Checkpoint {
  readonly icount: Icount;
  /** Branch records before it, those of `delivered` included; undefined when they were not counted. */
  readonly brctr?: Brctr;
  /** Interrupts and faults delivered at this very icount. Default 0. */
  readonly delivered?: bigint;
  /** Iterations done of the `rep` instruction that is next. Default 0. */
  readonly rep?: bigint;
  readonly directory: string;
  /** Bytes it takes on disk. */
  readonly bytes?: number;
  /** When it was made, in milliseconds since 1970. */
  readonly made?: number;
}

/** A checkpoint whose number of records before it is known: a trace can begin there. */
export type CountedCheckpoint = Checkpoint & { readonly brctr: Brctr };

export const stateName = "state.qcow2";
export const factsName = "checkpoint.json";
export const mapName = `${ramFileName}.map`;
export const diskName = (index: number) => `disk-${index}.qcow2`;

/** The name of a checkpoint's directory: its icount. */
const checkpointName = /^\d{1,16}$/;

/** Where a tape's checkpoints lie, a directory for each build of QEMU. */
export function checkpointsRoot(cache: string): string {
  return join(cache, "checkpoints");
}

/** Where a tape's checkpoints for this build of QEMU lie, in its cache (`tapeCache`). */
export function checkpointHome(cache: string, build: Pick<QemuBuild, "sha256">): string {
  return join(checkpointsRoot(cache), buildKey(build));
}

export function buildKey({ sha256 }: Pick<QemuBuild, "sha256">): string {
  return sha256.slice(0, 16);
}

/**
 * All checkpoints in a tape's cache, in order; those in the making are not listed. The files of a checkpoint are only
 * checked when a session starts from it. Cost: about 0.1 ms each.
 */
export async function listCheckpoints(
  cache: string,
  build: Pick<QemuBuild, "sha256">,
): Promise<Checkpoint[]> {
  const home = checkpointHome(cache, build);
  const names = await readdir(home).catch(() => [] as string[]);
  const found = await Promise.all(
    names.filter((name) => checkpointName.test(name)).map((name) => readCheckpoint(join(home, name), build)),
  );
  return found.filter((one) => one !== undefined).sort((a, b) => (a.icount < b.icount ? -1 : 1));
}

export function isCounted(one: Checkpoint): one is CountedCheckpoint {
  return one.brctr !== undefined;
}

async function readCheckpoint(
  directory: string,
  build: Pick<QemuBuild, "sha256">,
): Promise<Checkpoint | undefined> {
  const facts = await readFacts(directory);
  return facts && facts.build === build.sha256 ? describeCheckpoint(directory, facts) : undefined;
}

export function describeCheckpoint(directory: string, facts: CheckpointFacts): Checkpoint {
  return {
    icount: icount(facts.icount),
    ...(facts.brctr !== undefined && { brctr: brctr(facts.brctr) }),
    delivered: BigInt(facts.delivered),
    rep: BigInt(facts.rep),
    directory,
    bytes: facts.stored,
    made: facts.made,
  };
}

/** A checkpoint's facts; undefined when the file is missing or damaged. */
export async function readFacts(directory: string): Promise<CheckpointFacts | undefined> {
  const text = await readRegular(join(directory, factsName), noLinks).then(String, () => "");
  const facts = decodeCheckpointFacts(text);
  return facts && String(facts.icount) === basename(directory) ? facts : undefined;
}

/**
 * Removes a checkpoint, for others at one stroke. Sessions that started from it can go on.
 */
export async function removeCheckpoint(directory: string): Promise<void> {
  const gone = `${directory}.gone-${process.pid}-${Date.now().toString(36)}`;
  const moved = await rename(directory, gone).then(
    () => true,
    () => false, // another process is removing it, or all of the cache
  );
  if (moved) await rm(gone, { recursive: true, force: true }).catch(() => {});
}

/**
 * The error of a session whose checkpoint is gone or damaged. Its caller takes another one, or the tape's beginning.
 */
export function lostCheckpoint(checkpoint: Checkpoint, why: string): VmtapeError {
  return new VmtapeError("bad-file", `the checkpoint at icount ${checkpoint.icount} ${why}`, {
    file: checkpoint.directory,
    icount: checkpoint.icount,
    checkpoint: checkpoint.icount,
  });
}

/** Is an error due to a checkpoint that is gone or damaged? A damaged one has been removed by then. */
export function isLostCheckpoint(error: unknown): error is VmtapeError {
  return isVmtapeError(error) && error.facts.checkpoint !== undefined;
}

/** How many checkpoints are tried. More than one at a time is lost only with the whole cache. */
const mostLost = 50;

/**
 * Does work that starts from checkpoints, and does it again when one of them is gone or damaged: that one is no
 * longer listed then, so `work` takes another.
 */
export async function withoutLost<T>(work: () => Promise<T>): Promise<T> {
  for (let lost = 0; ; lost++) {
    try {
      return await work();
    } catch (error) {
      if (lost === mostLost || !isLostCheckpoint(error)) throw error;
    }
  }
}
