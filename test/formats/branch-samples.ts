import fc from "fast-check";
import { brctr, icount } from "../../src/base/units.js";
import { BranchBatch, type BranchRecord, branchKinds } from "../../src/formats/branch.js";
import { walkBranches } from "./branch-walk.js";

/** Records in a batch of just their number. */
export function batchOf(records: readonly BranchRecord[]): BranchBatch {
  const batch = new BranchBatch(Math.max(1, records.length));
  for (const record of records) batch.push(record);
  return batch;
}

/** All records of a batch. */
export function recordsOf(batch: BranchBatch): BranchRecord[] {
  return Array.from({ length: batch.length }, (_, index) => batch.record(index));
}

/** Was a record made before the instant when so many instructions had been executed? */
export function isBefore({ icount: made, kind }: BranchRecord, executed: bigint | number): boolean {
  const delivered = kind === "interrupt" || kind === "exception";
  return delivered ? made! < executed : made! <= executed;
}

const address = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  fc.constantFrom(0n, 1n, 0xfffffff0n, 0x7fffffffffffn, 0xffffffff81000000n, 2n ** 64n - 1n),
);

/** Random records: they repeat only by chance, use all 64 bits, and their counts jump. */
const wildRecords = fc
  .array(
    fc.record({
      from: address,
      to: address,
      kind: fc.constantFrom(...branchKinds),
      step: fc.oneof(
        fc.nat(20),
        fc.maxSafeNat().map((n) => Math.floor(n / 1000)),
      ),
      gap: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(70_000) }),
    }),
    { minLength: 1, maxLength: 60 },
  )
  .map((drawn) => {
    let place = -1;
    let executed = 0;
    return drawn.map(({ from, to, kind, step, gap }): BranchRecord => {
      place += 1 + gap;
      executed += step;
      return { from, to, kind, brctr: brctr(place), icount: icount(executed) };
    });
  });

/** A few records again and again in random order, so that symbols have many followers and slots overflow. */
const shuffledRecords = fc
  .record({
    distinct: fc.integer({ min: 1, max: 40 }),
    order: fc.array(fc.nat(1000), { minLength: 1, maxLength: 2000 }),
  })
  .map(({ distinct, order }) => {
    const few = walkBranches(distinct, distinct);
    return order.map((draw, index): BranchRecord => {
      const { from, to, kind } = few[draw % distinct]!;
      return { from, to, kind, brctr: brctr(index), icount: icount(index * 7) };
    });
  });

const walkedRecords = fc
  .record({
    seed: fc.nat(),
    count: fc.integer({ min: 1, max: 3000 }),
    functions: fc.integer({ min: 1, max: 30 }),
  })
  .map(({ seed, count, functions }) => walkBranches(seed, count, { functions }));

export const anyRecords = fc.oneof(wildRecords, shuffledRecords, walkedRecords);
