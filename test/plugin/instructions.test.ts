import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Workbench } from "../workbench.js";
import { compileHarness } from "./compile.js";
import { anyInstruction, expectTheSame } from "./instruction-classes.js";

// The plugin's decoding of instructions, compared with iced.
let bench: Workbench;
let harness: string;
beforeAll(async () => {
  bench = await Workbench.make();
  harness = await compileHarness("instructions-harness", ["branches/instructions.c"], {
    into: bench.directory,
  });
}, 120_000);
afterAll(() => bench[Symbol.asyncDispose]());

test.each([64, 32, 16] as const)("in %d-bit code", (bitness) => {
  const met = expectTheSame(harness, bitness, fc.sample(anyInstruction, 20_000));
  expect(met.size).toBeGreaterThan(9); // of 12 kinds, and none
});
