import { mkdirSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runTool } from "../../src/base/tool.js";
import { Workbench } from "../workbench.js";

let bench: Workbench;
let script: string;
beforeAll(async () => {
  bench = await Workbench.make();
  mkdirSync(bench.path("home", "alpha"), { recursive: true });
  mkdirSync(bench.path("home", "beta"), { recursive: true });
  script = (await bench.run(["completion", "bash"])).stdout;
});
afterAll(() => bench[Symbol.asyncDispose]());

/** What bash itself offers to complete the last word. */
async function offered(...words: string[]): Promise<string[]> {
  const ask = `export VMTAPE_HOME="$1"; shift; ${script}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _vmtape; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout } = await runTool("bash", ["-c", ask, "bash", bench.path("home"), ...words]);
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .sort();
}

test("bash is offered commands, their options, tapes, and what an argument may be", async () => {
  expect(await offered("vmtape", "tra")).toEqual(["trace"]);
  expect(await offered("vmtape", "branches", "d")).toEqual(["dump"]);
  expect(await offered("vmtape", "trace", "")).toEqual(["alpha", "beta"]);
  expect(await offered("vmtape", "trace", "--jobs", "2", "b")).toEqual(["beta"]);
  expect(await offered("vmtape", "record", "")).toEqual([]); // a name that is not taken
  expect(await offered("vmtape", "at", "alpha", "--reg")).toEqual(["--regs"]);
  expect(await offered("vmtape", "completion", "")).toEqual(["bash", "fish", "zsh"]);
});

test("every command of --help is offered, and every option of each", async () => {
  const commands = await offered("vmtape", "");
  const help = (await bench.run(["--help"])).stdout;
  const listed = [...help.matchAll(/^ {2}([a-z]+)(?: \[options\]| \[command\]| <|$| {2})/gm)].map(
    ([, name]) => name!,
  );
  expect(listed.length).toBeGreaterThan(25);
  expect(commands).toEqual(expect.arrayContaining(listed.filter((name) => name !== "help")));
  for (const name of ["record", "trace", "probe"]) {
    const told = (await bench.run([name, "--help"])).stdout;
    const options = [...told.matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)/gm)].map(([, option]) => option!);
    expect(await offered("vmtape", name, "x", "--")).toEqual(expect.arrayContaining(options));
  }
});
