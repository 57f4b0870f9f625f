/** The real gdb on a distribution's kernel without debug package, and on the first program of its guest, with DWARF. */
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Guest } from "../../src/guest/guest.js";
import { guestArguments } from "../cloud-boot.js";
import { buildInit } from "../gdb/program/build.js";
import { expectGolden, gdbArguments, printed, spawnMerged, withoutNumbers } from "../gdb/transcript.js";
import { program, Workbench } from "../workbench.js";

const sources = fileURLToPath(new URL("../gdb/program/", import.meta.url));

let bench: Workbench;
beforeAll(async () => {
  bench = await Workbench.make();
  const init = await buildInit(bench.path("program"));
  const guest = ["--package", "linux-image-cloud-amd64", "--init", init, "--dir", bench.path("guest")];
  const machine = guestArguments(await bench.json<Guest>(["guest", ...guest]));
  await bench.json(["record", "t", ...machine, "--symbols", init]);
  await bench.json(["index", "t"]);
});
afterAll(() => bench[Symbol.asyncDispose]());

/** What gdb prints for these commands, started at a position. */
async function gdb(at: string, commands: readonly string[]): Promise<string> {
  const args = [program, "gdb", "t", "--at", at, "--", ...gdbArguments(commands)];
  const child = spawnMerged(process.execPath, args, { cwd: sources, env: bench.environment });
  return await printed(child);
}

test("a breakpoint by name that is set before its code is there lands behind the prologue, as elsewhere", async () => {
  const commands = ["tbreak deposit", "tbreak nowhere", "goto work_alone", "continue"];
  commands.push("info args", "show trust-readonly-sections");
  const early = await gdb("start", commands);
  const late = await gdb("work_alone", commands);
  const place = /^Temporary breakpoint 1 at (0x[0-9a-f]+): .*$/m;
  expect(place.exec(early)?.[0]).toMatch(/accounts\.c|init\.c/);
  expect(place.exec(early)?.[0]).toBe(place.exec(late)?.[0]);
  const args = /\(gdb\) info args\n([\s\S]*?)\n\(gdb\)/;
  expect(args.exec(early)?.[1]).toMatch(/^account = 0x[0-9a-f]+ <accounts>\namount = 0$/);
  expect(args.exec(early)?.[1]).toBe(args.exec(late)?.[1]);
  // Memory is read from the machine again after a breakpoint command, whether that failed or not.
  expect(early).toMatch(/readonly sections is off/);
});

test("from a program into the kernel and back, and both backwards", async () => {
  const commands = [
    "backtrace",
    "next",
    "watch accounts[2].balance",
    "continue",
    "reverse-continue",
    "backtrace",
    "delete",
    "reverse-finish",
    "info locals",
    "tbreak __x64_sys_getppid",
    "continue",
    "backtrace",
    "reverse-finish",
    "backtrace",
    "tbreak deposit",
    "reverse-continue",
    "info args",
    "monitor when accounts+40",
    "tbreak __do_sys_reboot",
    "continue",
    "backtrace",
  ];
  const args = [program, "gdb", "t", "--at", "work_alone", "--", ...gdbArguments(commands)];
  const child = spawnMerged(process.execPath, args, { cwd: sources, env: bench.environment });
  const text = withoutNumbers(await printed(child))
    .replace(/from file ".*"/, 'from file "…"')
    .replace(/0xf{4,}[0-9a-f]+|0x0*4[0-9a-f]{5}\b|0x7ff[0-9a-f]{9}/g, "0x…");
  await expectGolden("linux", text);
  expect(await bench.leftovers()).toEqual([]);
});
