import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type MapleEntry, mapleEntries } from "../../src/linux/guest/maple-tree.js";
import { all, array, ModelGuest, u64 } from "./model-guest.js";

const base = 0xffff_8880_0010_0000n;
const last = 0xffff_ffff_ffff_ffffn;

function newModel() {
  const model = new ModelGuest();
  const leaf = model.struct("maple_range_64", { pivot: [8, array(15, u64)], slot: [128, array(16, u64)] });
  const gaps = model.struct("maple_arange_64", { pivot: [8, array(9, u64)], slot: [80, array(10, u64)] });
  model.struct("maple_node", { mr64: [0, leaf], ma64: [0, gaps] });
  return model;
}

/** Writes nodes as the kernel does: children first, with a pivot for each slot but the last. */
function build(
  model: ModelGuest,
  ranges: readonly MapleEntry[],
  slotsOf: { leaf: number; inner: number },
): bigint {
  let free = base;
  const make = (kind: number, slots: readonly { readonly last: bigint; readonly value: bigint }[]) => {
    const at = free;
    free += 256n;
    model.put(at, new Uint8Array(256));
    const [pivotAt, slotAt] = kind === 3 ? [8n, 80n] : [8n, 128n];
    slots.forEach((slot, i) => {
      if (i < slots.length - 1 || i === 0) model.word(at + pivotAt + BigInt(i) * 8n, slot.last);
      model.word(at + slotAt + BigInt(i) * 8n, slot.value);
    });
    return at | (BigInt(kind) << 3n) | 4n;
  };
  let level = cut(
    ranges.map((range) => ({ last: range.last, value: range.entry })),
    slotsOf.leaf,
  ).map((slots) => ({
    last: slots.at(-1)!.last,
    value: make(1, slots),
  }));
  while (level.length > 1) {
    level = cut(level, slotsOf.inner).map((slots) => ({ last: slots.at(-1)!.last, value: make(3, slots) }));
  }
  return level[0]!.value | 2n;
}

function cut<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) =>
    items.slice(i * size, (i + 1) * size),
  );
}

/** All indexes from 0 to the last, in ranges with and without an entry. */
const someRanges = fc.uniqueArray(fc.bigInt(1n, last - 1n), { minLength: 0, maxLength: 200 }).map((ends) => {
  const sorted = [...ends, last].sort((a, b) => (a < b ? -1 : 1));
  return sorted.map((end, i) => ({
    first: i === 0 ? 0n : sorted[i - 1]! + 1n,
    last: end,
    entry: i % 3 === 1 ? 0n : base + 0x100_0000n + BigInt(i) * 64n,
  }));
});

describe("a maple tree", () => {
  test("gives what was put into it, whatever its shape", async () => {
    await fc.assert(
      fc.asyncProperty(
        someRanges,
        fc.integer({ min: 2, max: 16 }),
        fc.integer({ min: 2, max: 10 }),
        async (ranges, leaf, inner) => {
          const model = newModel();
          const root = build(model, ranges, { leaf, inner });
          expect(await all(mapleEntries(model.guest(), root, 1000))).toEqual(
            ranges.filter(({ entry }) => entry !== 0n),
          );
        },
      ),
      { numRuns: 40 },
    );
  });

  test("may be empty, or one entry", async () => {
    expect(await all(mapleEntries(newModel().guest(), 0n, 10))).toEqual([]);
    expect(await all(mapleEntries(newModel().guest(), base, 10))).toEqual([
      { first: 0n, last: 0n, entry: base },
    ]);
  });

  test("whose nodes are its own children, or of no kind, ends with an error that says where", async () => {
    const model = newModel();
    const loop = base | (3n << 3n) | 4n;
    model.put(base, new Uint8Array(256));
    for (let i = 0n; i < 10n; i++) model.word(base + 80n + i * 8n, loop);
    await expect(all(mapleEntries(model.guest(), loop | 2n, 1000))).rejects.toMatchObject({
      code: "bad-memory",
      facts: { address: loop },
    });
    const odd = base | (7n << 3n) | 6n;
    await expect(all(mapleEntries(model.guest(), odd, 1000))).rejects.toMatchObject({ code: "bad-memory" });
    await expect(all(mapleEntries(newModel().guest(), loop | 2n, 10))).rejects.toMatchObject({
      code: "not-mapped",
    });
  });

  test("of any bytes ends, after no more nodes than were allowed", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1024, maxLength: 1024 }), async (bytes) => {
        const model = newModel();
        // Many pointers lead back into the same page.
        for (let i = 0; i + 8 <= bytes.length; i += 8) {
          if (bytes[i]! & 1) continue;
          bytes.set([bytes[i]!, bytes[i + 1]! & 3, 0x10, 0, 0x80, 0x88, 0xff, 0xff], i);
        }
        model.put(base, bytes);
        const walked = all(mapleEntries(model.guest(), base | (3n << 3n) | 6n, 300));
        await walked.then(
          (entries) => expect(entries.length).toBeLessThanOrEqual(300 * 16),
          (error) => expect(["bad-memory", "not-mapped"]).toContain(error.code),
        );
      }),
      { numRuns: 60 },
    );
  });
});
