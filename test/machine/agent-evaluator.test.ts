import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { compileEvaluator, expectTheSameValues } from "../formats/agent-comparison.js";
import { assembleExpression } from "../formats/agent-expression.js";
import { program } from "../formats/agent-programs.js";
import { Workbench } from "../workbench.js";

// The plugin's evaluator, compiled alone, against the one in TypeScript. Longer, with other seeds: test/long/plugin.test.ts.
let bench: Workbench;
let harness: string;
beforeAll(async () => {
  bench = await Workbench.make();
  harness = compileEvaluator(bench.directory);
});
afterAll(() => bench[Symbol.asyncDispose]());

test("both evaluators agree on random programs", () => {
  const programs = [
    ...fc.sample(program, 20_000),
    ...fc.sample(fc.uint8Array({ minLength: 1, maxLength: 30 }), 5000),
    assembleExpression("const 1; goto 0; end"),
    assembleExpression("goto 0; end"),
  ];
  expect(expectTheSameValues(harness, programs)).toBeGreaterThan(1000);
});
