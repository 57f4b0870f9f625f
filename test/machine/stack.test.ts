/** Stacks of a distribution's kernel, against what the kernel itself says when it panics. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { recordCloudBoot } from "../cloud-boot.js";
import { Workbench } from "../workbench.js";

const init = `#!/bin/sh
mount -t proc proc /proc
echo 1 > /proc/sys/kernel/sysrq
echo c > /proc/sysrq-trigger
`;

interface FrameFacts {
  readonly pc: string;
  readonly kind: string;
  readonly space: string;
  readonly by: string;
  readonly reliable: boolean;
  readonly syscall: number | null;
  readonly symbol: string | null;
  readonly file: string | null;
  readonly sp: string | null;
}

let bench: Workbench;
beforeAll(async () => {
  bench = await Workbench.make();
});
afterAll(() => bench[Symbol.asyncDispose]());

/** The stack that the kernel printed: its frames, without those it marks as doubtful, and the program's pc. */
function kernelsWord(console: string) {
  const trace = console.slice(console.indexOf("Call Trace:"), console.indexOf("</TASK>"));
  const frames = [...trace.matchAll(/\] {2}(\S+)\+0x([0-9a-f]+)\/0x/g)].map(
    ([, name, offset]) => `${name}+${Number.parseInt(offset!, 16)}`,
  );
  const [, pc] = /RIP: 0033:0x([0-9a-f]+)/.exec(trace)!;
  const [, sp] = /RSP: 002b:([0-9a-f]+)/.exec(trace)!;
  const [, number] = /ORIG_RAX: ([0-9a-f]+)/.exec(trace)!;
  return { frames, pc: BigInt(`0x${pc}`), sp: BigInt(`0x${sp}`), syscall: Number.parseInt(number!, 16) };
}

test("a panic's stack is the one that the kernel prints, and goes on into the program", async () => {
  const tape = await recordCloudBoot(bench, "crash", init);
  const said = kernelsWord(readFileSync(`${tape.directory}/console.raw`, "latin1"));

  // Late in panic(), which ends the tape.
  const late = `@${tape.end.at - 2000n}`;
  const { stdout, stderr, code } = await bench.run(["at", "crash", late, "--stack", "--json"]);
  expect(code, stderr).toBe(0);
  const { frames, end } = (JSON.parse(stdout) as { stack: { frames: FrameFacts[]; end: string } }).stack;
  const inKernel = frames.filter(({ space }) => space === "kernel");
  // The frames inside panic() have changed since; those of its callers have not.
  const waiting = (names: (string | null)[]) =>
    names.slice(names.findIndex((name) => name?.startsWith("panic+")) + 1);
  expect(said.frames.length).toBeGreaterThan(6);
  expect(waiting(inKernel.map(({ symbol }) => symbol))).toEqual(waiting(said.frames));
  expect(inKernel.every(({ reliable }) => reliable)).toBe(true);
  expect(inKernel.at(-1)).toMatchObject({ kind: "syscall", syscall: said.syscall });

  const [program, ...callers] = frames.slice(inKernel.length);
  expect(BigInt(program!.pc)).toBe(said.pc);
  expect(BigInt(program!.sp!)).toBe(said.sp);
  expect(program).toMatchObject({ by: "entry", file: "/bin/busybox", reliable: true });
  expect(callers.length).toBeGreaterThan(3);
  expect(end).toBe("outermost");
});
