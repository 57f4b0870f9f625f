import { VmtapeError } from "../../base/errors.js";
import type { TaskHistory } from "../../linux/history/task-history.js";
import type { TaskNames } from "../../linux/names/task-names.js";
import type { Symbols } from "../../symbols/names/symbols.js";
import type { BranchRange, BranchReader } from "../../trace/branch-reader.js";
import { within } from "../../trace/cut.js";
import { loadHistory, wantedTask } from "../open/load-history.js";
import { placesOf } from "../shell/options.js";
import { Progress } from "../shell/progress.js";
import type { NameFlags } from "./flags.js";
import { findTape } from "./names.js";

/** A part of a file of branches in which one task ran. */
export interface TaskPiece {
  /** The index of its stretch in the history. */
  readonly index: number;
  readonly range: { readonly from: number; readonly to: number };
}

/** A file's records, cut by task. */
export interface ByTask {
  readonly names: TaskNames;
  /** In order. With `--task` only those of that task. */
  readonly pieces: readonly TaskPiece[];
}

/**
 * Cuts a file at the switches of tasks. Which task ran when is known from the cache of the file's tape. When it is
 * not there, the tape is replayed if there is `--task`.
 *
 * @param symbols those of the kernel, and of the files that the user named
 * @returns undefined when the tape's tasks are not known and there is no `--task`
 * @throws `usage` for `--task` with a file of no tape; `not-found` for a task that does not run on the tape
 */
export async function byTask(
  reader: BranchReader,
  range: BranchRange,
  flags: NameFlags & { readonly task?: string },
  symbols: Symbols | undefined,
  signal: AbortSignal,
): Promise<ByTask | undefined> {
  const tape = await findTape(reader, flags);
  if (!tape) {
    if (flags.task === undefined) return undefined;
    throw new VmtapeError("usage", "--task needs the file's tape: name it with --tape");
  }
  const [{ knownHistory }, { tapeCache }, { guestPrograms }, { TaskNames }, { Symbols }] = await Promise.all([
    import("../../linux/pass/task-pass.js"),
    import("../../replay/session/tape-cache.js"),
    import("../../linux/names/stack-programs.js"),
    import("../../linux/names/task-names.js"),
    import("../../symbols/names/symbols.js"),
  ]);
  using progress = new Progress();
  const history =
    flags.task === undefined
      ? await knownHistory(tapeCache(placesOf(flags), tape))
      : await loadHistory(tape, flags, progress, signal);
  if (!history) return undefined;
  const isWanted = flags.task === undefined ? () => true : await wantedTask(history, flags.task);
  const bounds = await boundsOf(reader, range);
  const pieces: TaskPiece[] = [];
  for (let index = 0; index < history.length; index++) {
    if (!isWanted(history.taskOf(index))) continue;
    const { from, to } = history.slice(index);
    for (const piece of within([{ from: from.brctr, to: to.brctr }], bounds.from, bounds.to)) {
      pieces.push({ index, range: piece });
    }
  }
  const names = new TaskNames(history, symbols ?? new Symbols(), guestPrograms(tape));
  return { names, pieces: endless(pieces, history, bounds.to) };
}

/**
 * Extends the last piece to the end of the range: the last stretch ends at the tape's last icount, and records there
 * belong to it.
 */
function endless(pieces: readonly TaskPiece[], history: TaskHistory, to: number): readonly TaskPiece[] {
  const last = pieces.at(-1);
  if (!last || last.index !== history.length - 1) return pieces;
  return [...pieces.slice(0, -1), { ...last, range: { from: last.range.from, to } }];
}

/** The range as branch counts. */
async function boundsOf(reader: BranchReader, range: BranchRange): Promise<{ from: number; to: number }> {
  const from = range.fromIcount === undefined ? (range.from ?? 0) : await reader.seekIcount(range.fromIcount);
  const to =
    range.toIcount === undefined
      ? (range.to ?? reader.info.end.brctr)
      : await reader.seekIcount(range.toIcount);
  return { from: Number(from), to: Math.min(Number(to), Number(reader.info.end.brctr)) };
}
