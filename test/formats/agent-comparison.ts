import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { evaluateExpression } from "./agent-evaluation.js";
import { validateExpression } from "./agent-expression.js";
import { machine } from "./agent-programs.js";

/** The plugin's evaluator, compiled alone into a directory; the program's path. */
export function compileEvaluator(into: string): string {
  const harness = join(into, "agent-harness");
  const source = fileURLToPath(new URL("agent-harness.c", import.meta.url));
  const plugin = fileURLToPath(new URL("../../plugin/", import.meta.url));
  execFileSync("cc", [
    ...["-O1", "-g", "-Wall", "-Werror", "-DQEMU_PLUGIN_API=1", `-I${plugin}`],
    ...["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    ...[source, `${plugin}branches/agent.c`, "-o", harness],
  ]);
  return harness;
}

/**
 * Holds the plugin's evaluator against the one in TypeScript.
 *
 * @returns how many of the programs have a value
 */
export function expectTheSameValues(harness: string, programs: readonly Uint8Array[]): number {
  const input = programs.map((bytes) => Buffer.from(bytes).toString("hex")).join("\n");
  const output = execFileSync(harness, { input: `${input}\n`, encoding: "utf8", maxBuffer: 2 ** 28 });
  const answers = output.trim().split("\n");
  expect(answers).toHaveLength(programs.length);
  let values = 0;
  programs.forEach((bytes, i) => {
    const value = evaluateExpression(bytes, machine);
    expect(answers[i], Buffer.from(bytes).toString("hex")).toBe(
      `${isValid(bytes) ? 1 : 0} ${value ?? "fails"}`,
    );
    if (value !== undefined) values++;
  });
  return values;
}

function isValid(bytes: Uint8Array): boolean {
  try {
    validateExpression(bytes);
    return true;
  } catch {
    return false;
  }
}
