import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runTool } from "../../src/base/tool.js";
import { compileEvaluator, expectTheSameValues } from "../formats/agent-comparison.js";
import { program } from "../formats/agent-programs.js";
import {
  compileGuardScenarios,
  compileHarness,
  compilers,
  compileScenarios,
  lint,
} from "../plugin/compile.js";
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

test.each([1, 2])("gcc's analyzer has nothing to say of the plugins for API %d", async (api) => {
  expect(await lint("gcc", api, ["-fanalyzer", "-c", "-o", "/dev/null"])).toBe("");
});

const sanitized = compilers.flatMap((compiler) =>
  ["address,undefined", "thread"].map((sanitizers) => [compiler, sanitizers] as const),
);

test.each(sanitized)("scenarios by %s with sanitizers: %s", async (compiler, sanitizers) => {
  const program = await compileScenarios(compiler, sanitizers, bench.directory);
  const lengths = { selection: 1, lines: 1, probes: 1, windows: 200, progress: 100, hits: 100, fuzz: 50_000 };
  await runForLong(program, lengths);
});

test.each(sanitized.flatMap(([...way]) => ([1, 2] as const).map((api) => [...way, api] as const)))(
  "the guard's scenarios by %s with sanitizers: %s, for API %d",
  async (compiler, sanitizers, api) => {
    const program = await compileGuardScenarios(compiler, sanitizers, bench.directory, api);
    await runForLong(program, { hold: 500, forgotten: 1, refusals: 1, stops: 100_000, fuzz: 10_000 });
  },
);

/** A program of scenarios, each with as much to do as said, and five seeds. */
async function runForLong(program: string, lengths: Readonly<Record<string, number>>): Promise<void> {
  for (let round = 0; round < 5; round++) {
    for (const [name, length] of Object.entries(lengths)) {
      const { stdout } = await runTool(program, [name, `${seed + round}`, `${length}`]);
      expect(stdout).toBe("");
    }
  }
}

test("both evaluators of agent expressions agree", () => {
  const evaluator = compileEvaluator(bench.directory);
  for (let round = 0; round < 20; round++) {
    const one = { numRuns: 50_000, seed: seed + round };
    const programs = [
      ...fc.sample(program, one),
      ...fc.sample(fc.uint8Array({ minLength: 1, maxLength: 60 }), one),
    ];
    expect(expectTheSameValues(evaluator, programs)).toBeGreaterThan(2500);
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
