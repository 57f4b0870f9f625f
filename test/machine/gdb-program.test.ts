/** The real debuggers on real tapes: a program with DWARF, its lines, locals and frames, both ways. */
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildProgram } from "../gdb/program/build.js";
import {
  expectGolden,
  gdbArguments,
  lldbArguments,
  printed,
  spawnMerged,
  withoutNumbers,
} from "../gdb/transcript.js";
import { isWithout, requireTools } from "../tools.js";
import { program, until, Workbench } from "../workbench.js";

const sources = fileURLToPath(new URL("../gdb/program/", import.meta.url));

/** LLDB 16. (connection.test.ts tests its requests for memory without it.) */
const lldbCommands = [
  "bt",
  "frame variable",
  "finish",
  "breakpoint set --name total",
  "continue",
  "next",
  "next",
  "frame variable",
  "register read rip",
  "memory read --format x --size 4 --count 1 0x100000",
  "memory region 0x100000",
  "memory region 0x4000000000000000",
  "expression 6*7",
  "expression *(unsigned *)0x100000",
  "process plugin packet monitor marks",
  "detach",
];

let bench: Workbench;
let symbols: string;
beforeAll(async () => {
  bench = await Workbench.make();
  const built = await buildProgram(bench.path("program"));
  symbols = built.symbols;
  await bench.json(["record", "t", "--kernel", built.kernel, "--symbols", symbols]);
});
afterAll(() => bench[Symbol.asyncDispose]());

/** What gdb prints for these commands when vmtape starts it. */
async function gdb(at: string, commands: readonly string[]): Promise<string> {
  const args = [program, "gdb", "t", "--at", at, "--", ...gdbArguments(commands)];
  const child = spawnMerged(process.execPath, args, { cwd: sources, env: bench.environment });
  const text = await printed(child);
  expect(await bench.leftovers()).toEqual([]);
  return withoutNumbers(text).replace(/from file ".*"/, 'from file "…"');
}

describe("gdb", () => {
  test("steps by lines, in and out of functions, both ways", async () => {
    await expectGolden(
      "program-steps",
      await gdb("work_alone", [
        "backtrace",
        "next",
        "step",
        "next",
        "next",
        "next",
        "info locals",
        "step",
        "info args",
        "backtrace",
        "next",
        "finish",
        "reverse-step",
        "backtrace",
        "reverse-finish",
        "reverse-next",
        "reverse-next",
        "info locals",
        "reverse-stepi",
        "stepi",
        "where-in-time",
      ]),
    );
  });

  test("breakpoints, conditions and watchpoints, both ways", async () => {
    await expectGolden(
      "program-stops",
      await gdb("work_alone", [
        "break total",
        "continue",
        "print accounts",
        "watch accounts[2].balance",
        "reverse-continue",
        "reverse-continue",
        "backtrace",
        "continue",
        "delete",
        "break deposit if amount == 50",
        "reverse-continue",
        "print *account",
        "info breakpoints",
        "continue",
        "delete",
        "rwatch accounts[0].balance",
        "reverse-continue",
        "reverse-continue",
        "delete",
        "awatch accounts[3].balance",
        "continue",
        "delete",
        "hbreak deposit",
        "reverse-continue",
        "delete",
        "tbreak deposit",
        "reverse-continue",
        "reverse-continue",
      ]),
    );
  });

  test("steps over interrupts, whose handler runs", async () => {
    await expectGolden(
      "program-interrupts",
      await gdb("work_disturbed", [
        "next",
        "next",
        "print ticks",
        "next",
        "print ticks",
        "break timer",
        "reverse-continue",
        "delete",
        "print ticks",
        "reverse-stepi",
        "frame",
        "stepi",
        "frame",
      ]),
    );
  });

  test("monitor commands, and gdb looks again after them", async () => {
    await expectGolden(
      "program-monitor",
      await gdb("start", [
        "goto work_alone",
        "monitor mark begin",
        "tbreak total",
        "continue",
        "monitor mark",
        "monitor marks",
        "monitor when accounts+40",
        'eval "monitor when %p,8", &accounts[2].balance',
        "monitor goto begin",
        "frame",
        "goto nowhere",
        "monitor phys 0x100000 4",
        "set var accounts[0].balance = 5",
        "set var $rax = 5",
        "goto end",
        "continue",
        "goto start",
        "reverse-continue",
      ]),
    );
  });
});

describe("a server on a port", () => {
  test("serves one debugger after the other, and ends with Ctrl-C", async () => {
    const child = bench.start(["gdb", "t", "--at", "deposit", "--listen", "localhost:0", "--json"]);
    await child.prints("listen");
    const { listen } = JSON.parse(child.stdout) as { listen: string };
    expect(listen).toMatch(/^127\.0\.0\.1:\d+$/);
    const attach = [`file ${symbols}`, `target remote ${listen}`];
    for (const [commands, expected] of [
      [["next", "detach"], /deposit \(account=0x0, amount=0\) at accounts.c:12\n/],
      [
        ["backtrace", "reverse-stepi"],
        /#0 {2}deposit \(account=0x\w+ <accounts>, amount=0\) at accounts.c:13/,
      ],
    ] as const) {
      const args = gdbArguments([...attach, ...commands]);
      expect(await printed(spawnMerged("gdb", args, { cwd: sources }))).toMatch(expected);
    }
    child.kill("SIGINT");
    expect(await child.ended).toMatchObject({ code: 0 });
    await until(async () => (await bench.leftovers()).length === 0, "the end of all processes");
  });

  test.skipIf(isWithout("lldb-16"))("serves lldb", async () => {
    requireTools("lldb-16");
    const child = bench.start(["gdb", "t", "--at", "deposit", "--listen", "localhost:0", "--json"]);
    await child.prints("listen");
    const { listen } = JSON.parse(child.stdout) as { listen: string };
    const args = lldbArguments([`target create ${symbols}`, `gdb-remote ${listen}`, ...lldbCommands]);
    const text = await printed(spawnMerged("lldb-16", args, { cwd: sources }));
    const plain = withoutNumbers(text.replaceAll(bench.directory, "BENCH").replaceAll(listen, "HERE"));
    await expectGolden("lldb", plain.replace(/^Traceback[\s\S]*?(?=\(lldb\))/, ""));
    child.kill("SIGINT");
    expect(await child.ended).toMatchObject({ code: 0 });
    await until(async () => (await bench.leftovers()).length === 0, "the end of all processes");
  });

  test.each([
    [["--listen", "0.0.0.0:1234"], /not on the loopback interface/],
    [["--at", "nowhere:"], /no position/],
    [["--at", "nowhere"], /no symbol is named 'nowhere'/],
    [["--gdb", "absent-gdb", "--run"], /absent-gdb is not installed/],
  ])("%j is refused in one sentence", async (flags, sentence) => {
    const { code, stderr } = await bench.run(["gdb", "t", ...flags]);
    expect(stderr).toMatch(sentence);
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect([1, 2, 3]).toContain(code);
  });
});
