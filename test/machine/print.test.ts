/** Values at instants of a real tape, against the real gdb at the same instants. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildProgram } from "../gdb/program/build.js";
import { gdbArguments, printed, spawnMerged } from "../gdb/transcript.js";
import { program, Workbench } from "../workbench.js";

/** In `work_alone` each is in scope somewhere; where it is not, both report an error. */
const expressions = [
  "accounts",
  "accounts[1]",
  "&accounts[2].balance",
  "accounts[0].name",
  "/x accounts",
  "sums",
  "ticks + 1",
  "count",
  "sum",
  "customer",
  "amount * 2",
  "account",
  "*account",
  "account->name",
  "$rip",
  "$rsp",
  "$rdi",
  "$eax",
  "*(long *)$rsp",
  "/x *(long *)$rsp@4",
  "sizeof(struct account)",
  "sizeof(accounts) / sizeof(accounts[0])",
  "&total",
  "*work_alone",
  "accounts[3].name[0]",
  "(struct account *)0",
  "((struct account *)&accounts)[1].name",
];

let bench: Workbench;
let start: number;
beforeAll(async () => {
  bench = await Workbench.make();
  const { kernel, symbols } = await buildProgram(bench.path("program"));
  await bench.json(["record", "t", "--kernel", kernel, "--symbols", symbols]);
  start = (await bench.json<{ icount: number }>(["at", "t", "work_alone"])).icount;
});
afterAll(() => bench[Symbol.asyncDispose]());

interface PrintedFacts {
  readonly values: readonly {
    readonly expression: string;
    readonly value: string | null;
    readonly code?: string;
  }[];
}

/** What gdb's `print` shows for each; undefined for an error. */
async function gdbPrints(at: string): Promise<(string | undefined)[]> {
  const commands = expressions.map((text) => `print${text.startsWith("/") ? "" : " "}${text}`);
  const args = [program, "gdb", "t", "--at", at, "--", ...gdbArguments(commands)];
  const text = await printed(spawnMerged(process.execPath, args, { env: bench.environment }));
  const answers = text.split(/^\(gdb\) /m).slice(1);
  expect(answers.length).toBe(commands.length);
  return answers.map((answer) => /^\$\d+ = (.*)$/m.exec(answer)?.[1]);
}

describe("at --print", () => {
  test.each([37, 90, 171, 260])("is what gdb prints %i instructions into the program", async (after) => {
    const at = `@${start + after}`;
    const wanted = await gdbPrints(at);
    const outcome = await bench.run([
      "at",
      "t",
      at,
      "--json",
      ...expressions.flatMap((text) => ["--print", text]),
    ]);
    const { values } = JSON.parse(outcome.stdout) as PrintedFacts;
    expect(values.map(({ value }) => value ?? undefined)).toEqual(wanted);
    expect(wanted.filter((value) => value !== undefined).length).toBeGreaterThan(18);
    // A name that is not in scope makes the exit code 1, though the other values are printed.
    expect(outcome.code).toBe(wanted.includes(undefined) ? 1 : 0);
  });

  test("tells people what is wrong, and where in the expression", async () => {
    const { code, stdout, stderr } = await bench.run([
      "at",
      "t",
      "work_alone",
      "--print",
      "sums",
      "--print",
      "accounts[0].nonesuch",
    ]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^sums = -?\d+$/m);
    expect(stderr).toContain(
      "struct account has no member 'nonesuch', at column 13 of 'accounts[0].nonesuch'",
    );
  });
});
