import fc from "fast-check";
import { expect, test } from "vitest";
import { VmtapeError } from "../../src/base/errors.js";
import { type Icount, icount } from "../../src/base/units.js";
import { breakingPoint } from "../../src/replay/verify/breaking-point.js";
import { mostRounds, narrow } from "../../src/replay/verify/narrow.js";

const count = fc.bigInt({ min: 0n, max: 10n ** 12n });

test("bisection finds the first instant that differs", async () => {
  await fc.assert(
    fc.asyncProperty(count, count, count, async (a, b, c) => {
      const [from, first, to] = [a, b, c].sort((x, y) => (x < y ? -1 : x > y ? 1 : 0)) as [
        bigint,
        bigint,
        bigint,
      ];
      fc.pre(from < first);
      let rounds = 0;
      const found = await narrow(
        { from: icount(from), to: icount(to), difference: "at the end" },
        async (at) => {
          rounds++;
          expect(at > from && at < to).toBe(true);
          return at >= first ? `at ${at}` : undefined;
        },
      );
      expect([found.from, found.to]).toEqual([first - 1n, first]);
      expect(found.difference).toBe(first === to ? "at the end" : `at ${first}`);
      expect(rounds).toBeLessThanOrEqual(mostRounds);
    }),
  );
});

test("bisection ends after so many rounds, whatever it is told", async () => {
  let rounds = 0;
  await narrow({ from: icount(0), to: icount(2n ** 60n), difference: true }, async () => {
    rounds++;
    return Math.random() < 0.5 ? true : undefined;
  });
  expect(rounds).toBe(mostRounds);
});

/** A replay that dies as soon as it runs beyond `last`. */
function mortal(last: bigint, opened: { count: number }) {
  return async () => {
    opened.count++;
    let dead = false;
    const runTo = async (at: Icount) => {
      expect(dead).toBe(false);
      if (at <= last) return { at, why: "break" as const };
      dead = true;
      throw new VmtapeError("diverged", "QEMU ended");
    };
    return {
      start: async (until?: Icount) => {
        if (until !== undefined) await runTo(until);
      },
      runTo,
      [Symbol.asyncDispose]: async () => {},
    };
  };
}

test("the breaking point is the last instant that is reached, found with few replays", async () => {
  await fc.assert(
    fc.asyncProperty(count, count, count, async (a, b, c) => {
      const [from, last, to] = [a, b, c].sort((x, y) => (x < y ? -1 : x > y ? 1 : 0)) as [
        bigint,
        bigint,
        bigint,
      ];
      fc.pre(last < to);
      const opened = { count: 0 };
      expect(await breakingPoint(icount(from), icount(to), mortal(last, opened))).toBe(last);
      expect(opened.count).toBeLessThanOrEqual(8);
    }),
  );
});

test("a failure that is no divergence is passed on", async () => {
  const open = async () => ({
    start: async () => {},
    runTo: async () => {
      throw new VmtapeError("cancelled", "stopped on request");
    },
    [Symbol.asyncDispose]: async () => {},
  });
  await expect(breakingPoint(icount(0), icount(9), open)).rejects.toMatchObject({ code: "cancelled" });
});
