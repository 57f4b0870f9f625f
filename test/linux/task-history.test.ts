import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AddressSpaces } from "../../src/linux/history/address-spaces.js";
import {
  type HistoryTask,
  type SpaceEvent,
  TaskHistory,
  taskMatcher,
  totalsOf,
} from "../../src/linux/history/task-history.js";

const tasks: HistoryTask[] = ["before Linux", "init", "sh", "sh"].map((name, i) => ({
  pid: i - 1,
  tgid: i === 3 ? 1 : i - 1,
  name,
  address: BigInt(i * 0x1000),
  mm: BigInt(i),
}));

/** Which task runs at each instruction, and whether in user space: a slow, simple history. */
const someRun = fc.array(
  fc.record({ task: fc.nat(3), length: fc.integer({ min: 1, max: 9 }), user: fc.nat(9) }),
  {
    minLength: 1,
    maxLength: 40,
  },
);

function historyOf(run: { task: number; length: number; user: number }[]) {
  const who: number[] = [];
  const user: boolean[] = [];
  const icounts: number[] = [];
  const crossings: number[] = [];
  for (const { task, length, user: inUser } of run) {
    icounts.push(who.length);
    const from = who.length + length - Math.min(length, inUser);
    if (from < who.length + length) crossings.push(from, who.length + length);
    for (let i = 0; i < length; i++) {
      user.push(who.length >= from);
      who.push(task);
    }
  }
  const history = new TaskHistory({
    icounts: Float64Array.from(icounts),
    // Three branches for each instruction, so that confusing the two counts fails.
    brctrs: Float64Array.from(icounts, (at) => at * 3),
    numbers: Int32Array.from(run, ({ task }) => task),
    tasks,
    crossings: Float64Array.from(crossings),
    spaces: [],
    end: { icount: who.length, brctr: who.length * 3 },
  });
  return { history, who, user };
}

describe("a history of tasks", () => {
  test("says of each instant who ran, and of each stretch how much of it in user space", () => {
    fc.assert(
      fc.property(someRun, fc.nat(400), fc.nat(400), (run, a, b) => {
        const { history, who, user } = historyOf(run);
        for (const [at, task] of who.entries()) expect(history.taskAt(at)).toBe(tasks[task]);
        const [from, to] = [Math.min(a, b), Math.max(a, b)].map((at) => at % (who.length + 1));
        if (from! > to!) return;
        const slices = [...history.slices(from, to)];
        const count = (start: number, end: number) => user.slice(start, end).filter(Boolean).length;
        for (const slice of slices) {
          const [start, end] = [slice.from.icount, slice.to.icount];
          expect(new Set(who.slice(start, end))).toEqual(new Set([tasks.indexOf(slice.task)]));
          expect(slice.userInstructions).toBe(count(start, end));
        }
        const lengths = slices.map(({ instructions }) => instructions);
        expect(lengths.reduce((sum, length) => sum + length, 0)).toBe(to! - from!);
        const whole = totalsOf(slices).reduce((sum, { userInstructions }) => sum + userInstructions, 0);
        expect(whole).toBe(count(from!, to!));
      }),
      { numRuns: 100 },
    );
  });

  test("gives a task's branches as ranges that touch nobody else's", () => {
    fc.assert(
      fc.property(someRun, fc.nat(3), (run, wanted) => {
        const { history, who } = historyOf(run);
        const inside = new Set<number>();
        let reached = -1;
        for (const { from, to } of history.branchRanges((task) => task === tasks[wanted])) {
          expect(from).toBeGreaterThan(reached);
          for (let branch = from; branch < to; branch++) inside.add(branch);
          reached = to;
        }
        const expected = who.flatMap((task, at) => (task === wanted ? [at * 3, at * 3 + 1, at * 3 + 2] : []));
        expect([...inside]).toEqual(expected);
      }),
      { numRuns: 100 },
    );
  });

  test("is what it was when it comes out of the cache, and nothing when it is damaged", () => {
    const { history } = historyOf([{ task: 1, length: 5, user: 2 }]);
    const bytes = history.encode();
    expect(TaskHistory.decode(bytes)?.columns).toEqual(history.columns);
    for (let length = 0; length < bytes.length; length++) {
      expect(TaskHistory.decode(bytes.subarray(0, length))).toBeUndefined();
    }
  });

  test("knows a process with its threads by pid, and tasks by name", () => {
    const names = (wanted: string) => tasks.filter(taskMatcher(wanted)).map(({ pid }) => pid);
    expect(names("1")).toEqual([1, 2]);
    expect(names("2")).toEqual([2]);
    expect(names("sh")).toEqual([1, 2]);
    expect(names("bash")).toEqual([]);
  });
});

test("address spaces are copied at fork, replaced by mmap, and empty when they are new again", () => {
  const mapping = (start: bigint, path: string) => ({
    ...{ start, end: start + 0x1000n, fileOffset: 0n, path },
    ...{ device: 1, inode: 1n },
  });
  const events: SpaceEvent[] = [
    { icount: 1, mm: 1n, kind: "map", mapping: mapping(0x1000n, "/a") },
    { icount: 2, mm: 2n, kind: "copy", from: 1n },
    { icount: 3, mm: 2n, kind: "map", mapping: mapping(0x1800n, "/b") },
    { icount: 4, mm: 1n, kind: "free" },
  ];
  const spaces = new AddressSpaces(events);
  const path = (mm: bigint, address: bigint) => spaces.at(mm, address)?.path;
  spaces.moveTo(2);
  expect([path(1n, 0x1fffn), path(2n, 0x1000n), path(2n, 0x2000n)]).toEqual(["/a", "/a", undefined]);
  spaces.moveTo(3);
  expect([path(2n, 0x1000n), path(2n, 0x1900n), path(1n, 0x1900n)]).toEqual([undefined, "/b", "/a"]);
  spaces.moveTo(9);
  expect(path(1n, 0x1000n)).toBeUndefined();
});
