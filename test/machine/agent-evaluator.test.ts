import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { evaluateExpression } from "../formats/agent-evaluation.js";
import { assembleExpression, validateExpression } from "../formats/agent-expression.js";
import { machine, program } from "../formats/agent-programs.js";
import { Workbench } from "../workbench.js";

// The plugin's evaluator, compiled alone, against the one in TypeScript.
let bench: Workbench;
let harness: string;
beforeAll(async () => {
  bench = await Workbench.make();
  harness = join(bench.directory, "harness");
  const source = fileURLToPath(new URL("../formats/agent-harness.c", import.meta.url));
  const plugin = fileURLToPath(new URL("../../plugin/", import.meta.url));
  execFileSync("cc", [
    "-O1",
    "-Wall",
    "-fsanitize=undefined",
    "-DQEMU_PLUGIN_API=1",
    `-I${plugin}`,
    source,
    `${plugin}branches/agent.c`,
    "-o",
    harness,
  ]);
});
afterAll(() => bench[Symbol.asyncDispose]());

/** The C evaluator's results: is each program valid, and its value. */
function inC(programs: readonly Uint8Array[]): { valid: boolean; value: bigint | undefined }[] {
  const input = programs.map((bytes) => Buffer.from(bytes).toString("hex")).join("\n");
  const output = execFileSync(harness, { input: `${input}\n`, encoding: "utf8" });
  return output
    .trim()
    .split("\n")
    .map((line) => {
      const [valid, value] = line.split(" ");
      return { valid: valid === "1", value: value === "fails" ? undefined : BigInt(value!) };
    });
}

test("both evaluators agree on random programs", () => {
  const programs = [
    ...fc.sample(program, 20_000),
    ...fc.sample(fc.uint8Array({ minLength: 1, maxLength: 30 }), 5000),
    assembleExpression("const 1; goto 0; end"),
    assembleExpression("goto 0; end"),
  ];
  const answers = inC(programs);
  let values = 0;
  programs.forEach((bytes, i) => {
    const value = evaluateExpression(bytes, machine);
    expect(answers[i], Buffer.from(bytes).toString("hex")).toEqual({ valid: isValid(bytes), value });
    if (value !== undefined) values++;
  });
  expect(values).toBeGreaterThan(1000);
});

function isValid(bytes: Uint8Array): boolean {
  try {
    validateExpression(bytes);
    return true;
  } catch {
    return false;
  }
}
