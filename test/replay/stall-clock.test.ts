import { spawn } from "node:child_process";
import { expect, test } from "vitest";
import { runDelays, StallClock } from "../../src/replay/session/stall-clock.js";
import { until } from "../workbench.js";

const seconds = (count: number) => count * 1e9;

// Once a replay on a busy host was reported as diverged, because its QEMU had had no processor for 10 s.
test("time without a processor does not count, that of the thread that waits longest", () => {
  let delays = new Map([
    ["1", 0],
    ["2", 0],
  ]);
  const clock = new StallClock(() => delays, 0);
  expect(clock.stalled(900)).toBe(900);
  expect(clock.stalled(1000)).toBe(1000);
  delays = new Map([
    ["1", seconds(2)],
    ["2", seconds(9)],
    ["3", seconds(50)], // it began since
  ]);
  expect(clock.stalled(11_000)).toBe(2000);
  delays = new Map([["1", seconds(2)]]);
  expect(clock.stalled(14_000)).toBe(12_000);
  clock.moved(14_000);
  expect(clock.stalled(14_500)).toBe(500);
});

test("without such figures it is plain time", () => {
  const clock = new StallClock(() => new Map(), 100);
  expect([clock.stalled(1200), clock.stalled(10_100)]).toEqual([1100, 10_000]);
  expect(runDelays(2 ** 30)).toEqual(new Map());
});

test("a process that has to share its processor waits for it", async () => {
  const loops = [0, 1].map(() => spawn("taskset", ["-c", "0", process.execPath, "-e", "for (;;);"]));
  try {
    const { pid } = loops[0]!;
    await until(() => Math.max(0, ...runDelays(pid!).values()) > seconds(0.2), "a wait for a processor");
  } finally {
    for (const loop of loops) loop.kill("SIGKILL");
  }
});
