import { throwIfAborted } from "../base/stopping.js";
import type { BranchLog } from "./branch-log.js";
import { type BranchLogSummary, BranchLogWriter } from "./branch-log-writer.js";

/** Records whose brctr is in a range, `from` inclusive to `to` exclusive. */
export interface CutRange {
  readonly from: number;
  readonly to: number;
}

/**
 * Writes the records of some ranges of a branch log into one of their own, which then says that it holds those of some
 * tasks.
 *
 * @param ranges ascending and disjoint
 * @throws `bad-file`, `disk-full`, `not-writable`, `cancelled`: there is then no file
 */
export async function cutBranches(
  log: BranchLog,
  ranges: readonly CutRange[],
  path: string,
  signal?: AbortSignal,
): Promise<BranchLogSummary> {
  await using writer = await BranchLogWriter.create(path, { ...log.header, selection: "task" }, { signal });
  const { start, end } = log.info;
  for (const { from, to } of within(ranges, Number(start.brctr), Number(end.brctr))) {
    for await (const batch of log.batches({ from, to })) {
      throwIfAborted(signal);
      await writer.add(batch);
    }
  }
  const icount = end.icount === undefined ? {} : { icount: Number(end.icount) };
  return await writer.finish({ brctr: Number(end.brctr), ...icount });
}

/** The parts of ranges between two branch counts, without empty ones. */
export function* within(ranges: readonly CutRange[], first: number, end: number): Generator<CutRange> {
  for (const range of ranges) {
    const from = Math.max(range.from, first);
    const to = Math.min(range.to, end);
    if (from < to) yield { from, to };
  }
}
