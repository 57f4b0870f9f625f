import fc from "fast-check";
import { expect, test } from "vitest";
import { brctr, type Icount, icount } from "../../src/base/units.js";
import { type IndexLimits, IndexPlan } from "../../src/replay/index/plan.js";
import { thin } from "../../src/replay/index/spacing.js";
import type { CountedCheckpoint } from "../../src/replay/session/checkpoint.js";

const end = 5_600_000_000;

/** An index with these checkpoints. */
function known(all: readonly { readonly icount: number; readonly bytes: number }[], countedTo = 0) {
  const checkpoints = all.map(
    (one): CountedCheckpoint => ({
      icount: icount(one.icount),
      brctr: brctr(0),
      directory: "",
      bytes: one.bytes,
    }),
  );
  const nearest = (at: Icount) => checkpoints.findLast((one) => one.icount <= at);
  return { checkpoints, countedTo: icount(countedTo), nearest };
}

/** All checkpoints that a pass makes when it follows a plan, with the sizes that `sizeAt` gives. */
function follow(
  all: { icount: number; bytes: number }[],
  limits: IndexLimits,
  sizeAt: (share: number) => number,
) {
  const plan = new IndexPlan(end, known(all), limits);
  const made = [];
  for (let next = plan.nextAfter(0); next !== undefined; next = plan.nextAfter(next)) {
    const one = { icount: next, bytes: Math.floor(sizeAt(next / end)) };
    plan.add(one);
    made.push(one);
  }
  return made;
}

const size = fc.integer({ min: 5e6, max: 300e6 });
const growing = fc.tuple(size, size).map(
  ([early, late]) =>
    (share: number) =>
      early + (late - early) * share,
);
const budgets = fc.integer({ min: 100e6, max: 5e9 });

test("a pass ends, makes none closer than it is worth, and leaves nothing to make behind it", () => {
  fc.assert(
    fc.property(growing, budgets, (sizeAt, budget) => {
      const limits = { budget, most: 4096, least: 50e6 };
      const made = follow([], limits, sizeAt);
      for (const [i, one] of made.entries())
        expect(one.icount - (made[i - 1]?.icount ?? 0)).toBeGreaterThanOrEqual(50e6);
      const left = made.filter(
        (one) =>
          !thin(
            made.map((each) => ({ ...each, made: 0 })),
            budget,
            end,
          ).some((gone) => gone.icount === one.icount),
      );
      expect(left.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(budget);
      if (left.length === made.length)
        expect(new IndexPlan(end, known(made, end), limits).start()).toBe("nowhere");
    }),
  );
});

test("one that was lost is made again, from the one before it, and no other", () => {
  const limits = { budget: 1.5e9, most: 9, least: 1 };
  const whole = follow([], limits, () => 50e6);
  expect(whole).toHaveLength(9);
  for (const [i, lost] of whole.entries()) {
    const rest = whole.filter((one) => one !== lost);
    const plan = new IndexPlan(end, known(rest, end), limits);
    const start = plan.start();
    expect(start === "nowhere" ? start : Number(start?.icount ?? 0)).toBe(whole[i - 1]?.icount ?? 0);
    const made = follow(rest, limits, () => 50e6);
    expect(made).toHaveLength(1);
    expect(Math.abs(made[0]!.icount - lost.icount)).toBeLessThan(end / 20);
  }
});

test("a pass that was killed is continued where its rows end", () => {
  const limits = { budget: 1.5e9, most: 9, least: 1 };
  const whole = follow([], limits, () => 50e6);
  const half = known(whole.slice(0, 4), whole[3]!.icount + 1000);
  const start = new IndexPlan(end, half, limits).start();
  expect(start === "nowhere" ? start : start?.icount).toBe(BigInt(whole[3]!.icount));
  // Without rows it begins at the tape's beginning, though the checkpoints are there.
  expect(new IndexPlan(end, known(whole), limits).start()).toBeUndefined();
});

test("a share of the budget is left for stretches that take long", () => {
  const limits = { budget: 1.5e9, spare: 0.3e9, most: 4096, least: 50e6 };
  const bytes = 50e6;
  const made = follow([], limits, () => bytes);
  expect(made.length * bytes).toBeLessThanOrEqual(1.2e9);
  expect(made.length * bytes).toBeGreaterThan(1e9);
  const plan = new IndexPlan(end, known(made, end), limits);
  let more = 0;
  for (; plan.hasRoom(); more++) plan.add({ icount: end - more - 1, bytes });
  expect((made.length + more) * bytes).toBe(1.5e9);
  expect(new IndexPlan(end, known([]), { ...limits, spare: 0 }).hasRoom()).toBe(false);
});

test("a pass is made for first visits that are missing, from the checkpoint before them, and for nothing else", () => {
  const all = [1, 2, 3].map((i) => ({ icount: (end / 4) * i, bytes: 20e6 }));
  const limits = { budget: 60e6, most: 3, least: 50e6 };
  const whole = known(all, end);
  expect(new IndexPlan(end, whole, { ...limits, visited: end }).start()).toBe("nowhere");
  expect(new IndexPlan(end, whole, limits).start()).toBe("nowhere");
  const late = new IndexPlan(end, whole, { ...limits, visited: (end / 4) * 2 + 1 }).start();
  expect(late).toMatchObject({ icount: icount((end / 4) * 2) });
  expect(new IndexPlan(end, whole, { ...limits, visited: 0 }).start()).toBeUndefined();
});
