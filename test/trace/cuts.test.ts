import fc from "fast-check";
import { expect, test } from "vitest";
import { chooseCuts } from "../../src/trace/cuts.js";

const millions = (count: number) => BigInt(count) * 1_000_000n;

test("stretches that took the index longer make shorter segments", () => {
  // The second half takes five times as long.
  const checkpoints = Array.from({ length: 9 }, (_, i) => ({
    icount: millions(100 * (i + 1)),
    made: 1e12 + (i < 5 ? i * 160 : 640 + (i - 4) * 560),
    bytes: 40e6, // which took 60 ms each
  }));
  const [cut, ...more] = chooseCuts(checkpoints, { start: 0, end: 1e9, jobs: 2 });
  expect([cut?.icount, more]).toEqual([millions(700), []]);
});

test("without times, or with those of several passes, shares are equal in instructions", () => {
  const icounts = Array.from({ length: 9 }, (_, i) => millions(100 * (i + 1)));
  const window = { start: 0, end: 1e9, jobs: 2 };
  expect(
    chooseCuts(
      icounts.map((icount) => ({ icount })),
      window,
    ),
  ).toEqual([{ icount: millions(500) }]);
  const backwards = icounts.map((icount, i) => ({ icount, made: 1e12 - i * 1000 }));
  expect(chooseCuts(backwards, window).map(({ icount }) => icount)).toEqual([millions(500)]);
  const daysApart = icounts.map((icount, i) => ({ icount, made: 1e12 + i * 86_400_000 }));
  expect(chooseCuts(daysApart, window).map(({ icount }) => icount)).toEqual([millions(500)]);
});

test("cuts are checkpoints inside the window, in order, each once, and fewer than jobs", () => {
  const checkpoints = fc.uniqueArray(
    fc.record({ icount: fc.bigInt(1n, 10_000n), made: fc.nat(100_000) }, { requiredKeys: ["icount"] }),
    { selector: (one) => one.icount, maxLength: 30 },
  );
  fc.assert(
    fc.property(
      checkpoints,
      fc.nat(5_000),
      fc.integer({ min: 1, max: 5_000 }),
      fc.integer({ min: 1, max: 9 }),
      (all, start, length, jobs) => {
        const sorted = [...all].sort((a, b) => (a.icount < b.icount ? -1 : 1));
        const window = { start, end: start + length, jobs };
        const cuts = chooseCuts(sorted, window);
        expect(cuts.length).toBeLessThan(jobs);
        for (const [i, cut] of cuts.entries()) {
          expect(sorted).toContain(cut);
          expect(cut.icount > start && cut.icount < window.end).toBe(true);
          if (i > 0) expect(cut.icount > cuts[i - 1]!.icount).toBe(true);
        }
      },
    ),
  );
});
