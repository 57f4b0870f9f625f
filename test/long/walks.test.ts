/** Walks about tapes and branch logs of whole boots, with a seed that differs from run to run, against plain QEMUs. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { randomSeed } from "../seed.js";
import { testQemus } from "../test-qemu.js";
import { Workbench } from "../workbench.js";

const root = new URL("../../", import.meta.url).pathname;
const qemus = await testQemus();

let bench: Workbench;
beforeAll(async () => {
  bench = await Workbench.make();
});
afterAll(() => bench?.[Symbol.asyncDispose]());

/** Runs a program of bench/ that judges, and fails when its exit code says that something is wrong. */
async function judged(name: string, ...args: readonly string[]): Promise<string> {
  const command = [`${root}test/oracle/run.mjs`, `${root}bench/${name}.ts`, ...args];
  const { code, stdout, stderr } = await bench.spawn(process.execPath, command, { cwd: root }).ended;
  expect([code, stdout + (code === 0 ? "" : stderr)]).toEqual([0, stdout]);
  return stdout;
}

describe.each(qemus)("with $version", ({ path, version }) => {
  const tape = () => bench.path("home", version);
  beforeAll(async () => {
    await bench.json(["record", version, "--qemu", path]);
    await bench.json(["index", version, "--qemu", path]);
  });

  test.each([[], ["--kill"]])("a timeline's past is always the same (%s)", async (...flags) => {
    const seed = String(randomSeed + flags.length);
    const walk = ["--tape", tape(), "--qemu", path, "--moves", "60", "--seed", seed];
    expect(await judged("timeline-walks", ...walk, ...flags)).toMatch(/: 0 mismatches/);
  });

  test("the branch log is what single steps of a plain QEMU show", async () => {
    const few = ["--steps", "60000", "--replays", "2", "--checkpoints", "2"];
    await judged("branch-exactness", "--tape", tape(), "--qemu", path, ...few);
  });
});
