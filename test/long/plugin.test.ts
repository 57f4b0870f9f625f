import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runTool } from "../../src/base/tool.js";
import { compileHarness, compilers, compileScenarios, lint } from "../plugin/compile.js";
import { anyInstruction, expectTheSame } from "../plugin/instruction-classes.js";
import { Workbench } from "../workbench.js";

// The tests of test/plugin with other seeds, with both compilers, and for longer.
const seed = Number(process.env.VMTAPE_SEED ?? Date.now() % 2 ** 31);
console.info(`VMTAPE_SEED=${seed}`);

let bench: Workbench;
beforeAll(async () => {
  bench = await Workbench.make();
});
afterAll(() => bench[Symbol.asyncDispose]());

test("gcc's analyzer has nothing to say", async () => {
  expect(await lint("gcc", 1, ["-fanalyzer", "-c", "-o", "/dev/null"])).toBe("");
});

test.each(
  compilers.flatMap((compiler) => ["address,undefined", "thread"].map((name) => [compiler, name] as const)),
)("scenarios by %s with sanitizers: %s", async (compiler, sanitizers) => {
  const program = await compileScenarios(compiler, sanitizers, bench.directory);
  const lengths = { selection: 1, lines: 1, windows: 200, progress: 100, hits: 100, fuzz: 50_000 };
  for (let round = 0; round < 5; round++) {
    for (const [name, length] of Object.entries(lengths)) {
      const { stdout } = await runTool(program, [name, `${seed + round}`, `${length}`]);
      expect(stdout).toBe("");
    }
  }
});

test.each([64, 32, 16] as const)("instructions in %d-bit code", async (bitness) => {
  const harness = await compileHarness("instructions-harness", ["branches/instructions.c"], {
    into: bench.directory,
  });
  for (let round = 0; round < 20; round++) {
    expectTheSame(harness, bitness, fc.sample(anyInstruction, { numRuns: 50_000, seed: seed + round }));
  }
});
