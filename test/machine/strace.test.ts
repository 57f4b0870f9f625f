/**
 * How tasks stop and end, compared with what the real strace printed for the same program (bench/strace-compare.ts
 * --golden).
 */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runTool } from "../../src/base/tool.js";
import { recordCloudBoot } from "../cloud-boot.js";
import { endLines, isIgnored } from "../linux/strace-ends.js";
import { Workbench } from "../workbench.js";

const golden: Record<string, string[][]> = JSON.parse(
  readFileSync(new URL("../golden/strace.json", import.meta.url), "utf8"),
);
const parts = Object.keys(golden);
/** Longer names of tasks are cut. */
const longestName = 15;
const init = `#!/bin/sh
export PATH=/sbin:/bin
mount -t proc proc /proc
mount -t devtmpfs devtmpfs /dev
echo core > /proc/sys/kernel/core_pattern
cd /
${parts.map((part) => `/bin/alone.${part} ${part}`).join("\n")}
poweroff -f
`;

let bench: Workbench;
beforeAll(async () => {
  bench = await Workbench.make();
  const program = bench.path("signals");
  const source = new URL("../linux/strace-signals.c", import.meta.url).pathname;
  await runTool("cc", ["-O1", "-w", "-static", "-pthread", "-o", program, source]);
  const additions = parts.map((part) => ({ source: program, destination: `/bin/alone.${part}` }));
  await recordCloudBoot(bench, "ends", init, additions);
});
afterAll(() => bench?.[Symbol.asyncDispose]());

test("stops, deaths and executions by other threads are told as strace tells them, with nobody following", async () => {
  const { stdout } = await bench.run(["strace", "ends"]);
  const names = new Map<number, Set<string>>();
  const tasks = new Map<number, string[]>();
  for (const line of stdout.trim().split("\n")) {
    const [, pid, name, text] = /^@\d+ (\d+) (\S+) {2}(.*)$/.exec(line)!;
    names.set(Number(pid), (names.get(Number(pid)) ?? new Set()).add(name!));
    tasks.set(Number(pid), [...(tasks.get(Number(pid)) ?? []), text!]);
  }
  for (const part of parts) {
    const wanted = `alone.${part}`.slice(0, longestName);
    const own = new Map([...tasks].filter(([pid]) => names.get(pid)!.has(wanted)));
    const lines = endLines(own).map((one, i) => (i === 0 ? one : one.filter((line) => !isIgnored(line))));
    const seen = lines.map((one, i) => (isHidden(one, golden[part]![i]) ? one.slice(1) : one));
    expect(seen, part).toEqual(golden[part]);
  }
});

/** Is it the signal of a seccomp filter that kills, which the kernel hides from tracers? */
function isHidden(own: readonly string[], wanted: readonly string[] | undefined): boolean {
  return own.length === 2 && wanted?.length === 1 && /^--- SIGSYS .*SYS_SECCOMP/.test(own[0]!);
}
