import { readdirSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { big, costs } from "./costs.js";
import { dealt, inLanes } from "./lanes.js";

const files = fc.array(
  fc.record({ name: fc.uuid(), cost: fc.integer({ min: 1, max: 200 }), big: fc.boolean() }),
  {
    minLength: 1,
  },
);
type File = { readonly name: string; readonly cost: number; readonly big: boolean };
const costOf = ({ cost }: File) => cost;
const nameOf = ({ name }: File) => name;
const sum = (list: readonly File[]) => list.reduce((total, { cost }) => total + cost, 0);

/**
 * Simulates the pool: gives each file, in order, to the worker that is free first. Returns how long all take, and how
 * often two big ones run at once.
 */
function run(order: readonly File[]) {
  const workers = [0, 0];
  const spans: { from: number; to: number }[] = [];
  for (const file of order) {
    const free = workers[0]! <= workers[1]! ? 0 : 1;
    const from = workers[free]!;
    workers[free] = from + file.cost;
    if (file.big) spans.push({ from, to: workers[free]! });
  }
  const pairs = spans.filter((one, i) =>
    spans.some((other, j) => j < i && one.from < other.to && other.from < one.to),
  );
  return { took: Math.max(...workers), pairs: pairs.length };
}

test("every file is run once; both workers are busy nearly to the end", () => {
  fc.assert(
    fc.property(files, (list) => {
      const order = inLanes(list, costOf, (file) => file.big);
      expect(order.map(nameOf).sort()).toEqual(list.map(nameOf).sort());
      const longest = Math.max(...list.map(costOf));
      expect(run(order).took).toBeLessThanOrEqual(sum(list) / 2 + longest);
    }),
  );
});

test("two are big at once only when no small one is left", () => {
  fc.assert(
    fc.property(files, (list) => {
      const bigs = sum(list.filter((file) => file.big));
      fc.pre(bigs <= sum(list.filter((file) => !file.big)));
      expect(run(inLanes(list, costOf, (file) => file.big)).pairs).toBe(0);
    }),
  );
});

test("shards are all files, each once, whatever order they come in, and of like length", () => {
  fc.assert(
    fc.property(files, fc.integer({ min: 1, max: 4 }), (list, count) => {
      const shards = dealt(list, count, costOf, nameOf);
      expect(shards.flat().map(nameOf).sort()).toEqual(list.map(nameOf).sort());
      expect(dealt([...list].reverse(), count, costOf, nameOf)).toEqual(shards);
      const lengths = shards.map(sum);
      expect(Math.max(...lengths) - Math.min(...lengths)).toBeLessThanOrEqual(Math.max(...list.map(costOf)));
    }),
  );
});

test("what the costs are of is there", () => {
  const there = readdirSync(new URL("machine", import.meta.url));
  for (const name of [...Object.keys(costs), ...big]) expect(there).toContain(`${name}.test.ts`);
});
