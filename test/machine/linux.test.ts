/** What is told of a Linux guest from its memory, against what its own kernel tells: the same, at the same instant. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { currentTask } from "../../src/linux/guest/current-task.js";
import { LinuxGuest } from "../../src/linux/guest/linux-guest.js";
import { type LinuxKernel, loadLinuxKernel } from "../../src/linux/guest/linux-kernel.js";
import type { TaskHistory } from "../../src/linux/history/task-history.js";
import { TapeSymbols } from "../../src/linux/names/tape-symbols.js";
import { readTasks } from "../../src/linux/objects/task-list.js";
import { probeNamesOf } from "../../src/linux/pass/probe-names.js";
import { taskHistory } from "../../src/linux/pass/task-pass.js";
import type { ProbeHitEvent } from "../../src/linux/probe/hit.js";
import { Probes } from "../../src/linux/probe/probes.js";
import { buildPlugin } from "../../src/qemu/plugin-build.js";
import { Session } from "../../src/replay/session/session.js";
import { tapeCache } from "../../src/replay/session/tape-cache.js";
import type { Tape } from "../../src/tape/tape.js";
import { recordCloudBoot } from "../cloud-boot.js";
import { accountOf, compareWithAccount } from "../linux/proof.js";
import { proofInit } from "../linux/proof-guest.js";
import { StoppedSession } from "../linux/stopped-session.js";
import { sharedCache, Workbench } from "../workbench.js";

let bench: Workbench;
let tape: Tape;
let kernel: LinuxKernel;
let history: TaskHistory;
beforeAll(async () => {
  bench = await Workbench.make();
  tape = await recordCloudBoot(bench, "proof", proofInit);
  kernel = loadLinuxKernel(tape.layout.kernel)!;
  history = await taskHistory(tape, kernel, {
    plugin: await buildPlugin({ cacheDir: sharedCache, qemuVersion: tape.manifest.qemu.version }),
    cache: tapeCache(bench.places, tape),
  });
});
afterAll(() => bench?.[Symbol.asyncDispose]());

test("a Linux guest is told as its own kernel tells it, and runs the task that its history says", async () => {
  const { account, at } = await accountOf(tape);
  await using session = await Session.create(tape, { trusted: true });
  await session.start();
  await expect(lookAt(session)).rejects.toMatchObject({ code: "not-found" });
  const ready = history.indexAt(Number(at));
  const step = Math.floor(ready / 10);
  for (let i = step; i < ready; i += step) {
    const { from, to, task } = history.slice(i);
    await session.runTo(BigInt(Math.floor((from.icount + to.icount) / 2)) as never);
    const { current, tasks } = await lookAt(session);
    expect(current, `slice ${i}`).toBe(task.address);
    const listed = tasks.find(({ address }) => address === task.address);
    // A task that has ended is in no list any more, though it still runs to its end.
    if (listed) expect(listed).toMatchObject({ pid: task.pid, tgid: task.tgid });
  }
  await session.runTo(at);
  await using stopped = await StoppedSession.of(session);
  const guest = await LinuxGuest.at(stopped, { symbols: kernel.symbols, types: undefined });
  const { compared, differences } = await compareWithAccount(guest, account);
  expect(differences).toEqual([]);
  expect(compared).toBeGreaterThan(150);
});

async function lookAt(session: Session) {
  await using stopped = await StoppedSession.of(session);
  const guest = await LinuxGuest.at(stopped, kernel);
  return { current: await currentTask(guest), tasks: await readTasks(guest) };
}

test("probes tell every exit of a task with its status, and values that gdb would print, in one pass", async () => {
  const plugin = await buildPlugin({ cacheDir: sharedCache, qemuVersion: tape.manifest.qemu.version });
  const symbols = await TapeSymbols.load(tape, { cache: tapeCache(bench.places, tape) });
  const probes = new Probes(tape, probeNamesOf(symbols, kernel), history);
  const quiet = await probes.add({ where: "vfs_read" }, () => expect.unreachable("it is not enabled"));
  quiet.disable();
  const handled: string[] = [];
  const where = "do_exit";
  const print = ["code", "current->comm", "$rdi == code", "current->tgid"];
  await probes.add({ where, print, when: "current->mm != 0" }, ({ values }) => {
    handled.push(values.map(({ text }) => text).join(" "));
  });
  await probes.add({
    where: "__x64_sys_reboot",
    print: ["*(int *)regs->si == 1", "regs->di"],
    returns: true,
  });
  const hits: ProbeHitEvent[] = [];
  for await (const hit of probes.run({ plugin })) hits.push(hit);
  expect(hits.every(({ kind, label, pc }) => kind === "hit" && symbols.addressOf(label) === pc)).toBe(true);
  const exits = hits.filter(({ label }) => label === where);
  expect(handled).toHaveLength(exits.length);
  expect(exits.length).toBeGreaterThan(20);
  for (const [i, { task, values }] of exits.entries()) {
    const [code, comm, same, tgid] = values.map(({ text }) => text);
    expect(handled[i]).toBe(`${code} ${comm} 1 ${task?.tgid}`);
    expect(same).toBe("1");
    expect(tgid).toBe(String(task?.tgid));
    // As gdb prints an array of char: the zeros behind the name belong to it.
    expect(comm).toMatch(/^"[^"\\]+(\\000)*"(, '\\000' <repeats \d+ times>)?$/);
    expect(comm?.slice(1, 1 + (task?.name.length ?? 0))).toBe(task?.name);
  }
  const reboot = hits.find(({ label }) => label === "__x64_sys_reboot");
  // LINUX_REBOOT_MAGIC1; si is no pointer, so memory there cannot be read.
  expect(reboot?.values[1]?.text).toBe(String(0xfee1deadn));
  expect(reboot?.values[0]?.error?.code).toBe("not-mapped");
});

describe("the history of tasks", () => {
  test("leaves no instruction and no branch out", () => {
    const slices = [...history.slices()];
    const sum = (what: (slice: (typeof slices)[number]) => number) =>
      slices.reduce((total, slice) => total + what(slice), 0);
    expect(sum(({ instructions }) => instructions)).toBe(Number(tape.end.at));
    expect(sum(({ branches }) => branches ?? Number.NaN)).toBe(history.columns.end.brctr);
    for (const { instructions, userInstructions } of slices)
      expect(userInstructions).toBeLessThanOrEqual(instructions);
    expect(new Set(history.tasks.map(({ name }) => name))).toContain("poweroff");
    const kernelThreads = slices.filter(({ task }) => task.name === "kthreadd");
    expect(kernelThreads.every(({ userInstructions }) => userInstructions === 0)).toBe(true);
  });

  test("is told by the command line, as are the tasks' system calls", async () => {
    const { tasks } = await bench.json<{ tasks: { name: string; userInstructions: number }[] }>([
      "tasks",
      "proof",
      "--total",
    ]);
    expect(tasks.find(({ name }) => name === "sh")?.userInstructions).toBeGreaterThan(0);
    const strace = await bench.run(["strace", "proof", "--task", "poweroff"]);
    expect(strace.stdout).toMatch(/^@\d+ \d+ poweroff {2}reboot\(.*\) = \?$/m);
    expect(strace.stdout).toMatch(/ uname\(\{sysname="Linux", .*\}\) = 0 .*\n(.*\n)*.* sync\(\) = 0 /);
  });
});
