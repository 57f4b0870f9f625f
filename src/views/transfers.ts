import type { BranchBatch } from "../formats/branch.js";

/**
 * What the records of a stretch can be, as columns: a record of {@link TransferRun.walk} is the number of one of them.
 * A branch log is coded this way, so that what depends on a record's fields alone is found out once a chunk, not once
 * a record. More may be added while a chunk is decoded; `reset` with each chunk.
 */
export interface TransferSymbols {
  readonly count: number;
  /** from low, from high, to low, to high. */
  readonly addresses: Uint32Array;
  /** Codes of `branchKinds`. */
  readonly kind: Uint8Array;
  /** Instructions executed since the record before. */
  readonly icountStep: Float64Array;
}

/** Records `start` inclusive to `end` exclusive of a walk. Borrowed. */
export interface TransferRun {
  readonly symbols: TransferSymbols;
  readonly walk: Int32Array;
  readonly start: number;
  readonly end: number;
}

/**
 * A batch as a run in which each record is a symbol of its own: for what comes in batches, and tests.
 *
 * @param icount instructions executed at the record before its first
 */
export function runOfBatch(batch: BranchBatch, icount: number): TransferRun {
  const { length } = batch;
  const addresses = new Uint32Array(4 * length);
  const icountStep = new Float64Array(length);
  let before = icount;
  for (let i = 0; i < length; i++) {
    addresses[4 * i] = batch.fromWords[2 * i]!;
    addresses[4 * i + 1] = batch.fromWords[2 * i + 1]!;
    addresses[4 * i + 2] = batch.toWords[2 * i]!;
    addresses[4 * i + 3] = batch.toWords[2 * i + 1]!;
    icountStep[i] = batch.icount[i]! - before;
    before = batch.icount[i]!;
  }
  return {
    symbols: { count: length, addresses, kind: batch.kind.slice(0, length), icountStep },
    walk: Int32Array.from({ length }, (_, i) => i),
    start: 0,
    end: length,
  };
}

/** An address as a number that sorts and subtracts: kernel addresses are negative. Exact below 2^53 on either side. */
export function signedOf(low: number, high: number): number {
  return (high | 0) * 2 ** 32 + low;
}
