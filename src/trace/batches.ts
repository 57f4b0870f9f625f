import { BranchBatch } from "../formats/branch.js";
import type { BranchRange, BranchReader } from "./branch-reader.js";

/** What `BranchReader.batches` does, for any reader. */
export async function* batchesOf(
  reader: BranchReader,
  range: BranchRange = {},
  batch = new BranchBatch(),
): AsyncGenerator<BranchBatch, void, undefined> {
  let end = range.to === undefined ? Number.POSITIVE_INFINITY : Number(range.to);
  if (range.toIcount !== undefined) end = Math.min(end, Number(await reader.seekIcount(range.toIcount)));
  let start = Number(range.from ?? 0);
  if (range.fromIcount !== undefined) {
    start = Math.max(start, Number(await reader.seekIcount(range.fromIcount)));
  }
  await reader.seek(start);
  while ((await reader.read(batch)) > 0) {
    const whole = batch.brctrAt(batch.length - 1) < end;
    if (!whole) batch.length = firstAtLeast(batch, end);
    if (batch.length > 0) yield batch;
    if (!whole) return;
  }
}

/** Index of the first record of a batch whose brctr is at least `limit`; its length when there is none. */
export function firstAtLeast(batch: BranchBatch, limit: number): number {
  let low = 0;
  let high = batch.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (batch.brctrAt(middle) < limit) low = middle + 1;
    else high = middle;
  }
  return low;
}
