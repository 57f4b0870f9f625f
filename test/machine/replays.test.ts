/**
 * A recording replays whose guest serves, fetches, sends and loses packets, writes a disk, forks and floods its
 * console, all in one boot. bench/replays.ts does the same with two hundred recordings of all kinds, beside other
 * load.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Tape } from "../../src/tape/tape.js";
import { cloudGuest } from "../cloud-boot.js";
import { type Hosts, startHosts } from "../recordings/hosts.js";
import { goBack, recordScenario, stopOften, verifyTape } from "../recordings/recorded.js";
import { mix, stageOf } from "../recordings/scenarios.js";
import { randomNumbers } from "../timeline-walk.js";
import { Workbench } from "../workbench.js";

let bench: Workbench;
let hosts: Hosts;

beforeAll(async () => {
  bench = await Workbench.make();
  hosts = await startHosts();
});

afterAll(async () => {
  await hosts[Symbol.asyncDispose]();
  await bench[Symbol.asyncDispose]();
});

test("networks, a disk, forks and a flooded console in one recording: verified, stopped often, gone back from its end", async () => {
  await recordScenario(mix, await stageOf(bench, "mix", hosts, await cloudGuest(bench)));
  const report = await verifyTape(bench, "mix");
  expect([report.ok, report.divergence]).toEqual([true, undefined]);
  expect(report.states.length).toBeGreaterThan(1);
  const tape = await Tape.open(bench.places, "mix");
  // These throw when anything differs from the recording.
  expect(await stopOften(tape, bench, report, { count: 30, random: randomNumbers(1) })).toBe("30 stops");
  await bench.json(["index", "mix"]);
  expect(await goBack(tape, bench)).toBe("back and forward");
});
