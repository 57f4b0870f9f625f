import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { defaultBudget, nextGap, rowDistance, type Spaced, thin } from "../../src/replay/index/spacing.js";

const end = 1_000_000;
const one = fc.record({
  icount: fc.integer({ min: 1, max: end - 1 }),
  bytes: fc.integer({ min: 1, max: 100 }),
  made: fc.nat(1000),
});
const some = fc
  .uniqueArray(one, { selector: ({ icount }) => icount, maxLength: 30 })
  .map((all) => all.sort((a, b) => a.icount - b.icount));
const sum = (all: readonly Spaced[]) => all.reduce((total, { bytes }) => total + bytes, 0);

describe("thinning", () => {
  test("keeps the budget, removes no more than it must, and keeps the newest as long as it can", () => {
    fc.assert(
      fc.property(some, fc.nat(2000), (all, budget) => {
        const removed = thin(all, budget, end);
        const left = all.filter((each) => !removed.includes(each));
        expect(sum(left)).toBeLessThanOrEqual(budget);
        const last = removed.at(-1);
        if (last) expect(sum(left) + last.bytes).toBeGreaterThan(budget);
        const newest = [...all].sort((a, b) => b.made - a.made)[0];
        if (left.length > 0) expect(left).toContain(newest);
      }),
    );
  });

  test("leaves even gaps: of 33 that are evenly spaced, no gap becomes wider than two", () => {
    const all = Array.from({ length: 33 }, (_, i) => ({ icount: (i + 1) * 1000, bytes: 10, made: i }));
    const removed = thin(all, 200, 34_000);
    const left = all.filter((each) => !removed.includes(each)).map(({ icount }) => icount);
    const gaps = [...left, 34_000].map((at, i) => at - (left[i - 1] ?? 0));
    expect(left.length).toBe(20);
    expect(Math.max(...gaps)).toBe(2000);
  });

  test("a crowd made in passing goes before what is spread over the tape, but for its newest", () => {
    const spread = Array.from({ length: 9 }, (_, i) => ({ icount: (i + 1) * 100_000, bytes: 10, made: i }));
    const crowd = Array.from({ length: 10 }, (_, i) => ({
      icount: 512_000 + i * 1000,
      bytes: 10,
      made: 100 + i,
    }));
    const all = [...spread, ...crowd].sort((a, b) => a.icount - b.icount);
    const removed = thin(all, 120, end);
    expect(removed.filter((each) => spread.includes(each))).toEqual([]);
    expect(
      all.filter((each) => !removed.includes(each) && crowd.includes(each)).map(({ made }) => made),
    ).toEqual([107, 108, 109]);
  });
});

describe("spacing", () => {
  /** A pass through a tape of `length`, whose checkpoints have the sizes that `sizeAt` gives. */
  function walk(
    length: number,
    budget: number,
    sizeAt: (share: number) => number,
    most = 4096,
    least = 50e6,
  ) {
    const made: { icount: number; bytes: number }[] = [];
    for (let at = 0; ; ) {
      const room = budget - made.reduce((total, { bytes }) => total + bytes, 0);
      const last = made.at(-1)?.bytes ?? 20e6;
      if (room < last || made.length >= most) return made;
      const gap = nextGap({ at, end: length, room, last, most, least });
      at += gap;
      if (at >= length - gap / 4) return made;
      made.push({ icount: at, bytes: sizeAt(at / length) });
    }
  }
  const widest = (made: { icount: number }[], length: number) =>
    Math.max(
      ...[...made.map(({ icount }) => icount), length].map((at, i) => at - (made[i - 1]?.icount ?? 0)),
    );

  test("uses the room, keeps within it but for the last one's growth, and leaves no gap much wider than the mean", () => {
    for (const [early, late] of [
      [30e6, 30e6],
      [20e6, 90e6],
      [20e6, 250e6],
      [100e6, 50e6],
    ] as const) {
      const made = walk(5.6e9, 1.5e9, (share) => early + (late - early) * share);
      const total = made.reduce((sum, { bytes }) => sum + bytes, 0);
      expect(total).toBeLessThan(1.5e9 + late);
      expect(total).toBeGreaterThan(1e9);
      expect(widest(made, 5.6e9)).toBeLessThan((3.2 * 5.6e9) / (made.length + 1));
    }
  });

  test("a number that was asked for is made, evenly", () => {
    const made = walk(1000, 1.5e9, () => 1e6, 9, 1);
    expect(made.map(({ icount }) => icount)).toEqual([100, 200, 300, 400, 500, 600, 700, 800, 900]);
  });

  test("none gains nothing: a short tape gets none", () => {
    expect(walk(40e6, 1.5e9, () => 1e6)).toEqual([]);
  });
});

test("the default budget is 1.5 GB for a guest of 256 MB, and grows with larger ones", () => {
  expect(defaultBudget(256)).toBe(1.5e9);
  expect(defaultBudget(4096)).toBe(5 * 4096 * 2 ** 20);
});

test("rows: about a thousand a tape", () => {
  expect(rowDistance(1)).toBe(2 ** 20);
  for (const length of [6e9, 1e12, 1e15]) {
    const rows = length / rowDistance(length);
    expect(rows).toBeGreaterThan(511);
    expect(rows).toBeLessThanOrEqual(1024);
  }
});
