import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileError } from "../../base/errors.js";
import { during, type RunContext } from "../../base/run-context.js";
import { throwIfAborted } from "../../base/stopping.js";
import { icount } from "../../base/units.js";
import type { IndexTable } from "../../formats/index-table.js";
import { chooseQemu } from "../../qemu/choose.js";
import type { StateHash } from "../../qemu/state-hash.js";
import type { Tape } from "../../tape/tape.js";
import {
  type Checkpoint,
  checkpointsRoot,
  isLostCheckpoint,
  listCheckpoints,
  removeCheckpoint,
} from "../session/checkpoint.js";
import { CheckpointFiles } from "../session/checkpoint-files.js";
import { sweepCheckpoints } from "../session/checkpoint-store.js";
import { firstDifference } from "../session/divergence.js";
import { Session, type SessionOptions } from "../session/session.js";
import { guardFor } from "../session/tape-cache.js";
import { firstVisitsPath, hasFirstVisits, readFirstVisits, removeFirstVisits } from "./first-visits-file.js";
import { indexFiles, placeInLog, readIndexTable, removeTable, tableStamp } from "./table-file.js";

/** What a check of an index found. What was damaged has been removed; the next indexing makes it again. */
export interface IndexReport {
  readonly ok: boolean;
  /** How many checkpoints were checked. */
  readonly checkpoints: number;
  readonly rows: number;
  /** Were the checkpoints' states compared with a replay? */
  readonly states: boolean;
  /** One sentence each. */
  readonly problems: readonly string[];
}

export interface CheckOptions extends RunContext {
  readonly cache: string;
  /** Compare registers and memory of each checkpoint with those of a replay from the tape's beginning. */
  readonly states?: boolean;
}

/**
 * Checks a tape's index: the table's seal, order and places in the log; each checkpoint's files by their hashes.
 * Cost: 1.7 GB/s of what the checkpoints take; with `states` one replay, and 0.3 s a checkpoint.
 */
export async function checkIndex(tape: Tape, options: CheckOptions): Promise<IndexReport> {
  const { cache } = options;
  const build = await chooseQemu(tape.manifest.qemu, options.qemu);
  await sweepCheckpoints(cache, build);
  const problems: string[] = [];
  const table = await readIndexTable(cache);
  if (!table && (await tableStamp(cache)) !== "") problems.push("the table is not what was written");
  else if (table) problems.push(...(await checkTable(tape, table)));
  if (problems.length > 0) await removeTable(cache);
  const isTableWhole = problems.length === 0;
  problems.push(...(await checkVisits(tape, cache)));
  const checkpoints = await listCheckpoints(cache, build);
  const whole = await checkFiles(tape, checkpoints, problems, options);
  if (table && isTableWhole) problems.push(...checkCounts(table, whole));
  if (options.states) await checkStates(tape, whole, problems, options);
  return {
    ok: problems.length === 0,
    checkpoints: checkpoints.length,
    rows: table?.rows.length ?? 0,
    states: options.states ?? false,
    problems,
  };
}

/** Removes first visits that are damaged or belong to another log. */
async function checkVisits(tape: Tape, cache: string): Promise<string[]> {
  if (!(await hasFirstVisits(cache))) return [];
  const visits = await readFirstVisits(cache);
  if (visits?.log === tape.end.log.sha256) return [];
  await removeFirstVisits(cache);
  return [visits ? "the first visits are of another log" : "the first visits are not what was written"];
}

async function checkTable(tape: Tape, table: IndexTable): Promise<string[]> {
  if (table.log !== tape.end.log.sha256) return ["the table is of another log"];
  const end = Number(tape.end.at);
  if (table.counted > end || (table.rows.at(-1)?.icount ?? 0) > end)
    return ["the table goes beyond the tape's end"];
  const placed = await placeInLog(tape, table.rows);
  const wrong = table.rows.findIndex(
    (row, i) => row.offset !== placed[i]!.offset || row.time !== placed[i]!.time,
  );
  return wrong < 0
    ? []
    : [`the table's row of icount ${table.rows[wrong]!.icount} has a wrong place in the log`];
}

/** Branch counts must rise with icounts, over the rows of the table and the checkpoints together. */
function checkCounts(table: IndexTable, checkpoints: readonly Checkpoint[]): string[] {
  const counts = [
    ...table.rows.map(({ icount, brctr }) => ({ icount, brctr })),
    ...checkpoints.flatMap(({ icount, brctr, delivered = 0n }) =>
      brctr === undefined ? [] : [{ icount: Number(icount), brctr: Number(brctr - delivered) }],
    ),
  ].sort((a, b) => a.icount - b.icount || a.brctr - b.brctr);
  const wrong = counts.findIndex((one, i) => {
    const before = counts[i - 1];
    return (
      before && (one.brctr < before.brctr || one.brctr - before.brctr > 2 * (one.icount - before.icount))
    );
  });
  return wrong < 0 ? [] : [`the branch counts around icount ${counts[wrong]!.icount} do not fit together`];
}

async function checkFiles(
  tape: Tape,
  checkpoints: readonly Checkpoint[],
  problems: string[],
  { onProgress, signal }: CheckOptions,
): Promise<Checkpoint[]> {
  const whole: Checkpoint[] = [];
  for (const [i, checkpoint] of checkpoints.entries()) {
    throwIfAborted(signal);
    onProgress?.({ doing: "checking checkpoints", done: i, total: checkpoints.length, unit: "files" });
    try {
      const files = await CheckpointFiles.open(checkpoint, tape.machine.disks.length, { thorough: true });
      await files[Symbol.asyncDispose]();
      whole.push(checkpoint);
    } catch (error) {
      if (!isLostCheckpoint(error)) throw error;
      problems.push(error.message);
    }
  }
  return whole;
}

/**
 * Compares states: a replay from the tape's beginning must be in the state of each checkpoint when it comes there.
 */
async function checkStates(
  tape: Tape,
  checkpoints: readonly Checkpoint[],
  problems: string[],
  options: CheckOptions,
): Promise<void> {
  const { qemu, debug, signal } = options;
  const common = { trusted: true, ...(await guardFor(tape, options.cache)), qemu, debug, signal };
  const total = Number(tape.end.at);
  await using straight = await Session.create(tape, {
    ...common,
    ...during(options, "comparing", total),
    trusted: false,
  });
  await straight.start(undefined, signal);
  for (const checkpoint of checkpoints) {
    // Deliveries at its icount are part of this checkpoint, and a straight run may stop before them.
    if (checkpoint.delivered) continue;
    await straight.runTo(icount(checkpoint.icount), signal);
    const difference = firstDifference(await straight.hashState(), await stateAt(tape, checkpoint, common));
    if (!difference) continue;
    problems.push(
      `the checkpoint at icount ${checkpoint.icount} is not what a replay is there: ${difference.what}`,
    );
    await removeCheckpoint(checkpoint.directory);
  }
}

async function stateAt(tape: Tape, from: Checkpoint, options: SessionOptions): Promise<StateHash> {
  await using session = await Session.create(tape, { ...options, from });
  await session.start(undefined, options.signal);
  return await session.hashState();
}

/** Removes a tape's index. Sessions that use it can go on. */
export async function dropIndex(cache: string): Promise<void> {
  const root = checkpointsRoot(cache);
  for (const build of await readdir(root).catch(() => [] as string[]))
    await removeCheckpoint(join(root, build));
  try {
    await rm(root, { recursive: true, force: true });
    for (const file of [...indexFiles(cache), firstVisitsPath(cache)]) await rm(file, { force: true });
  } catch (error) {
    throw fileError(error, cache, "removing");
  }
}
