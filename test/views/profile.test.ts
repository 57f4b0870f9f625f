import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BranchBatch, type BranchKind } from "../../src/formats/branch.js";
import { CallFollower } from "../../src/views/call-follower.js";
import { Profile } from "../../src/views/profile.js";
import { runOfBatch } from "../../src/views/transfers.js";
import { type MadeRun, madeFunctionOf, madeRun } from "./made-run.js";

const lookup = { functionOf: madeFunctionOf };

/** Follows a made run, cut into runs at its switches and at odd places. */
function follow(run: MadeRun, part: number): CallFollower {
  const follower = new CallFollower();
  const whole = runOfBatch(run.batch, 0);
  const bounds = [...run.switches, { record: run.batch.length, task: -1 }];
  for (let i = 0; i + 1 < bounds.length; i++) {
    const { record, task } = bounds[i]!;
    follower.run(task, `${task}`, 1, lookup);
    const end = bounds[i + 1]!.record;
    for (let start = record; start < end; start += part) {
      follower.feed({ ...whole, start, end: Math.min(end, start + part) });
    }
  }
  follower.finish(run.end);
  return follower;
}

/** A tree as a map by paths, written as those of made runs; empty nodes are left out. */
function byPath(profile: Profile, column: "self" | "calls"): Map<string, number> {
  const { columns, names } = profile;
  const paths: string[] = [];
  const sums = new Map<string, number>();
  for (let node = 0; node < columns.length; node++) {
    const parent = columns.parent[node]!;
    paths.push(
      parent < 0
        ? `${columns.task[node]}${columns.apart[node] ? "!" : "|"}`
        : `${paths[parent]}/${names[columns.fn[node]!]}`,
    );
    if (columns[column][node]! > 0) sums.set(paths[node]!, columns[column][node]!);
  }
  return sums;
}

const sorted = (map: ReadonlyMap<string, number>) =>
  [...map].filter(([, value]) => value !== 0).sort(([a], [b]) => (a < b ? -1 : 1));

describe("a profile", () => {
  test("charges each instruction to the call path that executed it, through whatever happens", () => {
    fc.assert(
      fc.property(
        fc.nat(),
        fc.integer({ min: 1, max: 600 }),
        fc.integer({ min: 1, max: 50 }),
        (seed, steps, part) => {
          const run = madeRun(seed, steps);
          const profile = Profile.of(follow(run, part));
          expect(profile.instructions).toBe(run.end);
          expect(profile.branches).toBe(run.batch.length);
          expect(sorted(byPath(profile, "self"))).toEqual(sorted(run.self));
          expect(sorted(byPath(profile, "calls"))).toEqual(sorted(run.calls));
        },
      ),
      { numRuns: 300 },
    );
  });

  test("counts executions of first instructions", () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 600 }), (seed, steps) => {
        const run = madeRun(seed, steps);
        const flat = Profile.of(follow(run, 100)).flat();
        const counted = new Map(flat.map(({ name, entries }) => [name, entries]));
        expect(sorted(counted)).toEqual(sorted(run.entries));
      }),
      { numRuns: 200 },
    );
  });

  test("adds up: parents first, totals those of the children and the self", () => {
    const profile = Profile.of(follow(madeRun(7, 3000), 64));
    const { parent, self, total, length } = profile.columns;
    const sums = self.slice();
    for (let node = length - 1; node >= 0; node--) {
      expect(parent[node]!).toBeLessThan(node);
      if (parent[node]! >= 0) sums[parent[node]!]! += sums[node]!;
    }
    expect([...sums]).toEqual([...total]);
    const tasks = profile.byTask();
    expect(tasks.reduce((sum, { instructions }) => sum + instructions, 0)).toBe(profile.instructions);
    for (const { instructions, kernel, user, interrupts } of tasks) {
      expect(kernel + user + interrupts).toBe(instructions);
    }
  });

  test("a function's callers share its total, recursion once", () => {
    const profile = Profile.of(follow(madeRun(11, 2000), 64));
    for (const { fn, total, calls } of profile.flat()) {
      const callers = profile.callersOf(fn);
      expect(callers.reduce((sum, caller) => sum + caller.total, 0)).toBe(total);
      expect(callers.reduce((sum, caller) => sum + caller.calls, 0)).toBe(calls);
    }
  });

  test("of too many paths charges the rest to where they begin, and stays exact", () => {
    const run = madeRun(3, 4000);
    const follower = new CallFollower({ mostNodes: 40 });
    const whole = runOfBatch(run.batch, 0);
    follower.run(0, "0", 1, lookup);
    follower.feed(whole);
    follower.finish(run.end + 5);
    const profile = Profile.of(follower);
    expect(profile.isCut).toBe(true);
    expect(profile.instructions).toBe(run.end + 5);
  });

  test("a task that gets another name keeps its stack, and is charged under the new one", () => {
    const batch = new BranchBatch(4);
    const put = (from: bigint, kind: BranchKind, to: bigint, icount: number) =>
      batch.push({ from, to, kind, icount });
    const base = 0xffff_ffff_8100_0000n;
    put(base + 0x10n, "call", base + 0x1000n, 10);
    put(base + 0x1010n, "call", base + 0x2000n, 20);
    put(base + 0x2010n, "return", base + 0x1015n, 40);
    const run = runOfBatch(batch, 0);
    const follower = new CallFollower();
    follower.run(1, "stack", 1, lookup);
    follower.feed({ ...run, end: 2 });
    follower.run(2, "stack", 1, lookup);
    follower.feed({ ...run, start: 2 });
    follower.finish(45);
    expect(sorted(byPath(Profile.of(follower), "self"))).toEqual([
      ["1|/f0", 10],
      ["1|/f0/f1", 10],
      ["2|/f0/f1", 5],
      ["2|/f0/f1/f2", 20],
    ]);
  });
});
