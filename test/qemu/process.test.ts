import { chmod, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { QemuProcess } from "../../src/qemu/process.js";
import { Workbench } from "../workbench.js";

let bench: Workbench;
beforeAll(async () => {
  bench = await Workbench.make();
});
afterAll(() => bench[Symbol.asyncDispose]());

async function start(body: string): Promise<QemuProcess> {
  const path = bench.path("program");
  await writeFile(path, `#!/bin/sh\n${body}\n`);
  await chmod(path, 0o755);
  return QemuProcess.start(path, [], { deathSignal: "KILL", channels: 2 });
}

test("ends although nobody reads what it said on its channels, its monitor and its console", async () => {
  const qemu = await start('for fd in 3 4 5 6; do eval "echo said >&$fd"; done; echo why >&2; exit 3');
  expect(await qemu.ended).toEqual({ code: 3, signal: null });
  expect([qemu.running, qemu.lastError]).toEqual([false, "why"]);
  await qemu[Symbol.asyncDispose]();
});

test("can be ended in the middle of what it says", async () => {
  const qemu = await start("echo said >&5; echo begun >&3; exec sleep 1000");
  await new Promise((resolve) => qemu.monitor.once("data", resolve));
  await qemu[Symbol.asyncDispose]();
  expect(await qemu.ended).toEqual({ code: null, signal: "SIGKILL" });
});
