import { readdir } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildGuest } from "../guests/build.js";
import { Workbench } from "../workbench.js";

/** A tape of some 10⁸ instructions: long enough to be interrupted. */
let bench: Workbench;
beforeAll(async () => {
  bench = await Workbench.make();
  const child = bench.start(["record", "t", "--kernel", (await buildGuest("obey")).kernel, "-M", "32", "-c"]);
  await child.prints("ready");
  for (let spun = 0; spun < 6; spun++) child.type("s");
  child.type("q");
  expect((await child.ended).code).toBe(0);
});
afterAll(() => bench[Symbol.asyncDispose]());

test.each([
  ["--all", "-o", "t.branches"],
  ["--all", "--count-only"],
])("Ctrl-C ends trace %s at any moment, and leaves no file", { timeout: 60_000 }, async (...args) => {
  for (let ms = 0; ms < 300; ms += 60) {
    const child = bench.start(["trace", "t", ...args, "-d"]);
    await child.prints("debug: start:");
    const timer = setTimeout(() => child.kill("SIGINT"), ms);
    const { code, stderr } = await child.ended;
    clearTimeout(timer);
    expect([code, stderr]).toEqual([130, expect.stringMatching(/vmtape: stopped on request\n$/)]);
    expect(await bench.leftovers()).toEqual([]);
    expect((await readdir(bench.directory)).filter((name) => /branches|part/.test(name))).toEqual([]);
  }
});
