/** The real gdb on a stock kernel without debug package, and on the first program of its guest, with DWARF. */
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildInit } from "../gdb/program/build.js";
import { expectGolden, gdbArguments, printed, spawnMerged, withoutNumbers } from "../gdb/transcript.js";
import { program, Workbench } from "../workbench.js";

const sources = fileURLToPath(new URL("../gdb/program/", import.meta.url));

let bench: Workbench;
beforeAll(async () => {
  bench = await Workbench.make();
  const init = await buildInit(bench.path("program"));
  const guest = ["--init", init, "--dir", bench.path("guest")];
  const { kernel, initrd, append } = await bench.json<Record<"kernel" | "initrd" | "append", string>>([
    "guest",
    ...guest,
  ]);
  const machine = ["--kernel", kernel, "--initrd", initrd, "--append", append];
  await bench.json(["record", "t", ...machine, "--symbols", init]);
  await bench.json(["index", "t"]);
});
afterAll(() => bench[Symbol.asyncDispose]());

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
    .replace(/^(looking|replaying): .*\n/gm, "") // progress, where it took long
    .replace(/from file ".*"/, 'from file "…"')
    .replace(/0xf{4,}[0-9a-f]+|0x0*4[0-9a-f]{5}\b|0x7ff[0-9a-f]{9}/g, "0x…");
  await expectGolden("linux", text);
  expect(await bench.leftovers()).toEqual([]);
});
