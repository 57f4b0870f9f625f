import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type LevelSum, LevelsBuilder } from "../../src/views/levels.js";
import { randomNumbers } from "../formats/branch-walk.js";

const modes = ["kernel", "user", "idle"] as const;
const events = ["branches", "syscalls", "exceptions", "switches", "consoleBytes", "deviceEvents"] as const;

/** A made run: stretches without gaps, and events. */
function made(seed: number, pieces: number, longest: number) {
  const random = randomNumbers(seed + 1);
  const runs: { task: number; mode: (typeof modes)[number]; from: number; to: number }[] = [];
  const happened: { what: LevelSum; at: number; times: number }[] = [];
  let at = 0;
  for (let i = 0; i < pieces; i++) {
    const to = at + 1 + random(longest);
    runs.push({ task: random(5), mode: modes[random(3)]!, from: at, to });
    for (let n = random(3); n > 0; n--) {
      const time = at + random(to - at);
      happened.push({ what: events[random(events.length)]!, at: time, times: 1 + random(9) });
    }
    at = to;
  }
  return { runs, happened, end: at };
}

describe("levels", () => {
  test("are the sums over what happened, at every zoom", () => {
    fc.assert(
      fc.property(
        fc.nat(),
        fc.integer({ min: 1, max: 60 }),
        fc.constantFrom(10, 5_000, 1_000_000),
        fc.integer({ min: 64, max: 4000 }),
        (seed, pieces, longest, most) => {
          const { runs, happened, end } = made(seed, pieces, longest);
          const builder = new LevelsBuilder(end);
          const timer = builder.vector("timer");
          for (const { task, mode, from, to } of runs) builder.addRun(task, mode, from, to);
          for (const { what, at, times } of happened) builder.add(what as "branches", at, times);
          for (const { at } of happened) builder.addInterrupt(timer, at);
          const levels = builder.finish();
          const random = randomNumbers(seed + 7);
          const from = random(end);
          const to = from + 1 + random(end - from);
          const cells = levels.query(from, to, most);
          expect(cells.length).toBeLessThanOrEqual(Math.max(most, 64));
          expect(cells.from).toBeLessThanOrEqual(from);
          expect(cells.from + cells.length * cells.width).toBeGreaterThanOrEqual(to);
          const picks = [0, cells.length - 1, ...Array.from({ length: 12 }, () => random(cells.length))];
          for (const cell of picks) {
            const low = cells.from + cell * cells.width;
            const high = low + cells.width;
            const within = (at: number) => at >= low && at < high;
            const amounts = [0, 0, 0, 0, 0];
            const sums: Record<string, number> = { kernel: 0, user: 0, idle: 0 };
            for (const run of runs) {
              const amount = Math.max(0, Math.min(high, run.to) - Math.max(low, run.from));
              amounts[run.task]! += amount;
              sums[run.mode]! += amount;
            }
            for (const event of events) sums[event] = 0;
            for (const { what, at, times } of happened) if (within(at)) sums[what]! += times;
            const most = Math.max(...amounts);
            expect(cells.taskAmount[cell]).toBe(most);
            expect(cells.task[cell]).toBe(most === 0 ? -1 : amounts.indexOf(most));
            for (const [sum, value] of Object.entries(sums)) {
              expect(cells.sums[sum as LevelSum][cell]).toBe(value);
            }
            expect(cells.vectors[0]![cell]).toBe(happened.filter(({ at }) => within(at)).length);
          }
        },
      ),
      { numRuns: 25 },
    );
  });

  test("of 1e12 instructions answer as those of a few, from as many cells", () => {
    const end = 1e12;
    const builder = new LevelsBuilder(end);
    for (let i = 0; i < 20_000; i++) {
      const [from, to] = [(i * end) / 20_000, ((i + 1) * end) / 20_000];
      builder.addRun(i % 7, i % 3 ? "kernel" : "user", from, to);
      builder.add("branches", from, (to - from) / 10);
    }
    const levels = builder.finish();
    const whole = levels.query(0, end, 2000);
    expect(whole.length).toBeLessThanOrEqual(2000);
    expect(whole.length).toBeGreaterThan(900);
    expect(whole.sums.branches.reduce((sum, one) => sum + one, 0)).toBe(1e11);
    const near = levels.query(end / 2, end / 2 + 1e9, 2000);
    expect(near.length).toBeGreaterThan(50);
    expect(near.sums.kernel.length).toBe(near.length);
  });
});
