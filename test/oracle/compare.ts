import type { BranchRecord } from "./branch-record.js";
import { showRecord } from "./branch-record.js";

/** One place at which a log differs from the oracle's. */
export interface Mismatch {
  /** Index into the oracle's records. */
  readonly index: number;
  /** What single-stepping showed; undefined when the log has a record too many. */
  readonly expected: BranchRecord | undefined;
  /** What the log says; undefined when it lacks a record. */
  readonly got: BranchRecord | undefined;
}

/** How far ahead to look for the place where two logs agree again. */
const reach = 64;

/** Every difference between the oracle's records and a log's, in order: kind and count are compared too. */
export function compareLogs(expected: readonly BranchRecord[], got: readonly BranchRecord[]): Mismatch[] {
  const mismatches: Mismatch[] = [];
  let i = 0;
  let j = 0;
  while (i < expected.length || j < got.length) {
    if (same(expected[i], got[j])) {
      i++;
      j++;
      continue;
    }
    const [missing, extra] = resync(expected, i, got, j);
    for (let k = 0; k < Math.max(missing, extra); k++) {
      mismatches.push({
        index: i + Math.min(k, missing),
        expected: k < missing ? expected[i + k] : undefined,
        got: k < extra ? got[j + k] : undefined,
      });
    }
    i += missing;
    j += extra;
  }
  return mismatches;
}

/** The smallest numbers of records to leave out on either side so that the logs agree again. */
function resync(
  expected: readonly BranchRecord[],
  i: number,
  got: readonly BranchRecord[],
  j: number,
): [missing: number, extra: number] {
  for (let total = 1; total <= 2 * reach; total++) {
    for (let missing = 0; missing <= total; missing++) {
      const a = i + missing;
      const b = j + total - missing;
      const ends = a === expected.length && b === got.length;
      if (
        ends ||
        (same(expected[a], got[b]) && (a + 1 >= expected.length || same(expected[a + 1], got[b + 1])))
      ) {
        return [missing, total - missing];
      }
    }
  }
  return [expected.length - i, got.length - j];
}

function same(a: BranchRecord | undefined, b: BranchRecord | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  return a.from === b.from && a.to === b.to && a.kind === b.kind && a.icount === b.icount;
}

/** `#17: expected …, got …` */
export function showMismatch({ index, expected, got }: Mismatch): string {
  const side = (record: BranchRecord | undefined) => (record ? showRecord(record) : "nothing");
  return `#${index}: expected ${side(expected)}, got ${side(got)}`;
}
