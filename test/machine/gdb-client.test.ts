/**
 * The real gdb against the server, over a machine that is a list of instants: what it sends, and what it makes of the
 * answers.
 */
import type { ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { GdbServer } from "../../src/gdb/server.js";
import { FakeDesk } from "../gdb/fake-desk.js";
import { runForkedProcesses } from "../gdb/fake-machine.js";
import { FakeTarget } from "../gdb/fake-target.js";
import { expectGolden, gdbArguments, printed, spawnMerged } from "../gdb/transcript.js";
import { until } from "../workbench.js";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "vmtape-gdb-"));
});
afterAll(() => rm(directory, { recursive: true }));

/** What gdb prints for these commands, on a new target. `meanwhile` runs at the same time. */
async function gdb(
  commands: readonly string[],
  target = new FakeTarget(),
  meanwhile: (child: ChildProcess) => Promise<void> = async () => {},
): Promise<string> {
  const path = join(directory, "s");
  await using _server = await GdbServer.listen(
    { kind: "unix", path },
    { target, desk: new FakeDesk(target) },
  );
  const args = gdbArguments(["target remote s", ...commands]);
  const child = spawnMerged("gdb", args, { cwd: directory });
  const [text] = await Promise.all([printed(child), meanwhile(child)]);
  expect(target.points.size).toBe(0);
  return text;
}

test("stepping, breakpoints and watchpoints both ways", async () => {
  await expectGolden(
    "client-moves",
    await gdb([
      "info threads",
      "info registers rax rip rsp cr3",
      "reverse-stepi",
      "stepi",
      "stepi",
      "x/2i $pc",
      "p *(long *)0x8000",
      "break *0x2004",
      "continue",
      "reverse-stepi",
      "stepi",
      "continue",
      "reverse-continue",
      "delete",
      "hbreak *0x2004",
      "continue",
      "delete",
      "break *0x1004 if $rax == 5",
      "continue",
      "p $rax",
      "info breakpoints",
      "reverse-continue",
      "continue",
      "delete",
      "watch *(long *)0x8000",
      "continue",
      "continue",
      "reverse-continue",
      "reverse-continue",
      "delete",
      "rwatch *(long *)0x8000",
      "continue",
      "delete",
      "awatch *(long *)0x8000",
      "reverse-continue",
      "delete",
      "continue",
      "stepi",
      "p $pc",
    ]),
  );
});

test("a write of another process is told, though gdb saw the same value in the first one", async () => {
  const commands = ["watch *(long *)0x8000", ...new Array(8).fill("continue")];
  const target = new FakeTarget(runForkedProcesses());
  const forward = await gdb(commands, target);
  await expectGolden("client-fork", forward);
  const back = ["continue", ...commands.slice(0, 1), ...new Array(8).fill("reverse-continue")];
  await expectGolden("client-fork-back", await gdb(back, new FakeTarget(runForkedProcesses())));
});

test("processes of the guest: their mappings, programs and auxiliary vectors", async () => {
  const commands = ["info auxv", "info proc", "info proc mappings", "info proc mappings 1", "info proc 2"];
  await expectGolden("client-processes", await gdb(commands));
});

test("what the past refuses, monitor commands, detaching and attaching again", async () => {
  await expectGolden(
    "client-monitor",
    await gdb([
      "info mem",
      "set var $rax = 5",
      "set var *(long *)0x8000 = 1",
      "p *(char *)0x7fff00000000",
      "p *(char *)0x00ff000000000000",
      "p *(char *)0x8000000000000000",
      "p $nothing()",
      "monitor",
      "monitor where",
      "monitor goto @20",
      "maintenance flush register-cache",
      "p $pc",
      "monitor mark here",
      "monitor marks",
      "monitor icount",
      "monitor brctr",
      "monitor phys 0x8000 8",
      "monitor when 0x8000",
      "monitor nonsense",
      "detach",
      "target remote s",
      "p $pc",
      "kill",
      "target remote s",
      "monitor where",
    ]),
  );
});

test("Ctrl-C stops a run either way", async () => {
  const target = new FakeTarget();
  target.endless = true;
  const runs = vi.spyOn(target, "run");
  const text = await gdb(["continue", "reverse-continue", "p $pc"], target, async (child) => {
    for (const begun of [1, 2]) {
      await until(() => runs.mock.calls.length === begun, "the run");
      child.kill("SIGINT");
    }
  });
  expect(text.match(/received signal SIGINT/g)).toHaveLength(2);
  expect(text).toMatch(/\$1 = .*0x1000/);
});
