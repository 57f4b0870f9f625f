import { afterAll, beforeAll, expect, test } from "vitest";
import { runTool } from "../../src/base/tool.js";
import { Workbench } from "../workbench.js";
import { compileScenarios } from "./compile.js";

// The branch plugin on a QEMU of a few hundred lines that knows which branches its guest took (fake-qemu.c).
// test/long/plugin.test.ts runs it longer, with both compilers and other seeds.
let bench: Workbench;
const built: string[] = [];
beforeAll(async () => {
  bench = await Workbench.make();
  built.push(
    ...(await Promise.all(
      ["address,undefined", "thread"].map((sanitizers) =>
        compileScenarios("gcc", sanitizers, bench.directory),
      ),
    )),
  );
}, 120_000);
afterAll(() => bench[Symbol.asyncDispose]());

test.each([
  ["selection", "a window's records are of its own selection when a later window has another", 1],
  ["closing", "a window's end goes out though QEMU ends at once", 1],
  ["lines", "an overlong command line is refused as a whole, with one answer", 1],
  ["probes", "what is no probe is refused, and nothing of it is kept", 1],
  ["windows", "windows have the records that the guest made", 20],
  ["progress", "counts of a running machine never go back nor beyond it", 10],
  ["hits", "every hit comes, once", 10],
  ["fuzz", "whatever the command, there is one answer", 1500],
])("%s: %s", async (name, _what, length) => {
  for (const program of built) {
    const { stdout } = await runTool(program, [name, "20260101", `${length}`]);
    expect(stdout).toBe("");
  }
});

test.each([
  ["registers", "this QEMU keeps general registers otherwise than 7.2 to 10.2 do"],
  ["flags", "this QEMU keeps flags otherwise than 7.2 to 10.2 do"],
  ["notes", "this QEMU keeps its notes on blocks otherwise than 7.2 to 10.2 do"],
  ["table", "this QEMU keeps its table of helpers otherwise than 7.2 does"],
])("a QEMU with other %s is refused before the machine runs", async (what, sentence) => {
  const run = runTool(built[0]!, ["hits", "20260101", "1", what]);
  await expect(run.catch((error: Error) => Promise.reject(error.cause))).rejects.toThrow(sentence);
});
