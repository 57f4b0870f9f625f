import { VmtapeError } from "../base/errors.js";
import { type BranchBatch, branchKindCodes } from "./branch.js";
import { btsLayout } from "./bts.js";

/** u32 words of a record. */
const words = btsLayout.size / 4;

/**
 * Decodes whole records into a batch, after those it holds, as far as there is room.
 *
 * @param bytes whole records
 * @param extended does `format` hold the brctr?
 * @param first brctr of the first record of a plain file
 * @param file named in errors
 * @returns how many records that were
 * @throws `bad-file` for a brctr of 2^53 or more
 */
export function decodeBts(
  bytes: Uint8Array,
  batch: BranchBatch,
  extended: boolean,
  first: number,
  file: string,
): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = batch.length;
  const count = Math.min(Math.floor(bytes.length / btsLayout.size), batch.capacity - start);
  const { fromWords, toWords, kind, icount, brctr } = batch;
  for (let i = 0, at = 0; i < count; i++, at += btsLayout.size) {
    const out = start + i;
    fromWords[2 * out] = view.getUint32(at, true);
    fromWords[2 * out + 1] = view.getUint32(at + 4, true);
    toWords[2 * out] = view.getUint32(at + 8, true);
    toWords[2 * out + 1] = view.getUint32(at + 12, true);
    let place = first + i;
    if (extended) {
      const high = view.getUint32(at + 20, true);
      if (high >= 2 ** 21) {
        throw new VmtapeError("bad-file", `${file} has a record with a branch count of 2^53 or more`, {
          file,
        });
      }
      place = high * 2 ** 32 + view.getUint32(at + 16, true);
    }
    brctr[out] = place;
  }
  kind.fill(branchKindCodes.unknown, start, start + count);
  icount.fill(Number.NaN, start, start + count);
  batch.length = start + count;
  if (batch.length === 0) return 0;
  batch.first = brctr[0]!;
  batch.sparse = false;
  if (extended) {
    for (let i = 0; i < batch.length && !batch.sparse; i++) batch.sparse = brctr[i] !== batch.first + i;
  }
  return count;
}

/** Records `start` … `end`-1 of a batch as BTS; `format` is the brctr when extended, else 0. */
export function encodeBts(batch: BranchBatch, extended: boolean, start = 0, end = batch.length): Uint8Array {
  const out = new Uint32Array(words * (end - start));
  for (let i = start, at = 0; i < end; i++, at += words) {
    out[at] = batch.fromWords[2 * i]!;
    out[at + 1] = batch.fromWords[2 * i + 1]!;
    out[at + 2] = batch.toWords[2 * i]!;
    out[at + 3] = batch.toWords[2 * i + 1]!;
    if (extended) {
      const place = batch.brctrAt(i);
      out[at + 4] = place >>> 0;
      out[at + 5] = Math.floor(place / 2 ** 32);
    }
  }
  return new Uint8Array(out.buffer);
}

/** The record that begins an extended file. */
export function btsMark(): Uint8Array {
  return new Uint8Array(btsLayout.size).fill(0xff);
}
