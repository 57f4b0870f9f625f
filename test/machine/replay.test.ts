import { appendFileSync, chmodSync, copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { findProgram } from "../../src/base/tool.js";
import { buildGuest, type Guest } from "../guests/build.js";
import { until, Workbench } from "../workbench.js";

let bench: Workbench;
let guest: Guest;
let printed: string;
beforeAll(async () => {
  bench = await Workbench.make();
  guest = await buildGuest("hello");
  expect((await bench.run(["record", "t", "--kernel", guest.kernel, "-M", "32"])).code).toBe(0);
  printed = readFileSync(bench.path("home", "t", "console.raw"), "latin1");
});
afterAll(() => bench[Symbol.asyncDispose]());

interface Attached {
  readonly qmp: string;
  readonly gdb: string;
}

/** Starts a replay that waits at the tape's beginning. Returns the paths of its sockets. */
async function startPaused(...flags: string[]) {
  const child = bench.start(["replay", "-p", "t", ...flags]);
  await child.prints(/gdb: target remote .*\n/);
  const [, qmp = "", gdb = ""] = /QMP: (.*)\ngdb: target remote (.*)\n/.exec(child.stderr) ?? [];
  return { child, qmp, gdb };
}

/** A plain client of QEMU's machine protocol. */
async function ask(path: string, ...commands: object[]): Promise<Record<string, unknown>[]> {
  const socket = connect(path);
  const answers: Record<string, unknown>[] = [];
  for (const command of [{ execute: "qmp_capabilities" }, ...commands])
    socket.write(`${JSON.stringify(command)}\n`);
  for await (const line of createInterface({ input: socket })) {
    const message = JSON.parse(line) as Record<string, unknown>;
    if ("return" in message || "error" in message) answers.push(message);
    if (answers.length === commands.length + 1) break;
  }
  socket.destroy();
  return answers.slice(1);
}

const gone = () => until(async () => (await bench.leftovers()).length === 0, "the replays' end");

describe("a replay", () => {
  test("prints what the machine printed, to the last byte, and leaves nothing", async () => {
    const { code, stdout, stderr } = await bench.run(["replay", "-c", "t"]);
    expect([code, stdout]).toEqual([0, printed]);
    expect(stderr).toMatch(/replayed t to its end at icount [\d,]+ \(guest-shutdown\)/);
    expect(await bench.leftovers()).toEqual([]);
  });

  test("is what a plain QEMU does with the printed command", async () => {
    const { replayCommand } = await bench.json<{ replayCommand: string[] }>(["info", "t"]);
    const [program = "", ...args] = replayCommand;
    expect(args).toContain("-nodefaults");
    expect(args[args.indexOf("-sandbox") + 1]).toMatch(/^on,.*spawn=deny/);
    const { code, stdout } = await bench.spawn(program, args).ended;
    expect([code, stdout]).toEqual([0, printed]);
  });

  test("paused: QMP drives it, and it ends when the tape does", async () => {
    const { child, qmp } = await startPaused("--json");
    const [before, status] = await ask(qmp, { execute: "query-replay" }, { execute: "query-status" });
    expect(before).toMatchObject({ return: { mode: "play", icount: 0 } });
    expect(status).toMatchObject({ return: { running: false } });
    await ask(qmp, { execute: "replay-break", arguments: { icount: 1_000_000 } }, { execute: "cont" });
    const at = async () => (await ask(qmp, { execute: "query-replay" }))[0]?.return as { icount: number };
    await until(async () => (await at()).icount === 1_000_000, "the break");
    await ask(qmp, { execute: "cont" });
    const { code, stdout } = await child.ended;
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ name: "t", state: "ended", cause: "guest-shutdown" });
    await gone();
  });

  test("paused: GDB attaches, breaks, reads registers, lets it go on", async () => {
    const { child, gdb } = await startPaused("-c");
    const commands = [
      "set pagination off",
      `target remote ${gdb}`,
      "info registers rip",
      "hbreak *timer",
      "continue",
      "info registers rip",
      "print ticks_seen = *(int*)&ticks",
      "delete",
      "detach",
    ];
    const args = ["-batch", "-nx", guest.symbols, ...commands.flatMap((command) => ["-ex", command])];
    const { stdout } = await bench.spawn("gdb", args).ended;
    expect(stdout).toMatch(/rip +0xfff0 /);
    expect(stdout).toMatch(/rip +0x[0-9a-f]+ +0x[0-9a-f]+ <timer>/);
    const { code, stdout: console } = await child.ended;
    expect([code, console]).toEqual([0, printed]);
    await gone();
  });

  test("held at its end stays readable until -K", async () => {
    const child = bench.start(["replay", "--hold", "t"]);
    await child.prints("replayed t to its end");
    const [, qmp = ""] = /QMP: (.*)\n/.exec(child.stderr) ?? [];
    const [status] = await ask(qmp, { execute: "query-status" });
    expect(status).toMatchObject({ return: { status: "shutdown" } });
    expect((await bench.run(["replay", "-K", "t"])).stderr).toBe("ended 1 replay of t\n");
    expect((await child.ended).code).toBe(0);
    await gone();
  });

  test("in the background: two of one tape side by side; -K ends both", async () => {
    const first = await bench.json<Attached>(["replay", "--background", "-p", "t"]);
    const second = await bench.json<Attached>(["replay", "--background", "-p", "t"]);
    expect(first.qmp).not.toBe(second.qmp);
    for (const { qmp } of [first, second]) {
      expect((await ask(qmp, { execute: "query-replay" }))[0]).toMatchObject({ return: { icount: 0 } });
    }
    expect((await bench.run(["replay", "-K", "t"])).stderr).toBe("ended 2 replays of t\n");
    await gone();
    expect((await bench.run(["replay", "-K", "t"])).stderr).toBe("no replay of t runs\n");
  });

  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("ends on %s", async (signal) => {
    const { child } = await startPaused();
    child.kill(signal);
    const { code, stderr } = await child.ended;
    expect([code, stderr]).toEqual([130, expect.stringMatching(/vmtape: stopped on request\n$/)]);
    expect(await bench.leftovers()).toEqual([]);
  });
});

describe("a tape that was changed", () => {
  /** Copies the tape, for changing. */
  async function copyTape(name: string): Promise<(file: string) => string> {
    await bench.spawn("rm", ["-rf", bench.path("home", name)]).ended;
    await bench.spawn("cp", ["-r", bench.path("home", "t"), bench.path("home", name)]).ended;
    return (file) => bench.path("home", name, file);
  }

  function flip(path: string, offset: number): void {
    const bytes = readFileSync(path);
    bytes[offset]! ^= 1;
    writeFileSync(path, bytes);
  }

  test.each(["kernel", "console.raw", "firmware/bios-256k.bin", "replay.log"])(
    "one bit of %s",
    async (file) => {
      const at = await copyTape("changed");
      flip(at(file), 60);
      const replayed = await bench.run(["replay", "changed"]);
      if (file === "console.raw")
        expect(replayed.code).toBe(0); // a replay does not need it
      else {
        expect([replayed.code, replayed.stderr]).toEqual([
          2,
          expect.stringMatching(/is not the file that was recorded/),
        ]);
      }
      const verified = await bench.run(["verify", "changed"]);
      if (file === "replay.log" || file === "console.raw") expect(verified.code).toBe(1);
      else
        expect([verified.code, verified.stderr]).toEqual([2, expect.stringMatching(/its SHA-256 differs/)]);
      expect(await bench.leftovers()).toEqual([]);
    },
  );

  test("the log: verify names the first position that parted, expected and got", async () => {
    const clean = await bench.run(["log", "t", "--json"]);
    const events = clean.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    const write = events.filter(({ kind }: { kind: string }) => kind === "char-write").at(40);
    const run = events.filter(({ kind }: { kind: string }) => kind === "instruction").at(100);
    for (const [event, offset] of [
      [write, write.offset], // another kind of event: QEMU dies of it
      [run, run.offset + 4], // another number of instructions
    ]) {
      const at = await copyTape("changed");
      flip(at("replay.log"), offset);
      const { code, stdout } = await bench.run(["verify", "changed", "--json"]);
      const { ok, divergence } = JSON.parse(stdout);
      expect([code, ok]).toEqual([1, false]);
      expect(divergence).toMatchObject({ expected: expect.any(String), got: expect.any(String) });
      expect(divergence.icount).toBeGreaterThanOrEqual(event.icount - 1);
      expect(divergence.icount).toBeLessThanOrEqual(event.icount + (event.count ?? 0) + 1);
      const human = await bench.run(["verify", "changed"]);
      expect(human.stdout).toMatch(/parted from the tape\nwhere .*\nwhat .*\nexpected .*\ngot .*\n/);
    }
  });

  test("the log, cut or with an absurd length, is never given to QEMU", async () => {
    const at = await copyTape("changed");
    const whole = readFileSync(at("replay.log"));
    for (const bytes of [
      Buffer.alloc(0),
      whole.subarray(0, 700),
      Buffer.concat([whole.subarray(0, 12), Buffer.from([7, 0, 255, 255, 255, 255])]),
    ]) {
      writeFileSync(at("replay.log"), bytes);
      const { code, stdout, stderr } = await bench.run(["verify", "changed"]);
      expect([code, stderr]).toEqual([1, ""]);
      expect(stdout).toMatch(/parted from the tape/);
      expect((await bench.run(["replay", "changed"])).code).toBe(2);
      const log = await bench.run(["log", "changed"]);
      expect([log.code, log.stderr]).toEqual([2, expect.stringMatching(/^vmtape: .*\n$/)]);
    }
  });

  test("a file that is missing is named", async () => {
    const at = await copyTape("changed");
    await bench.spawn("rm", [at("kernel")]).ended;
    for (const command of ["replay", "verify"]) {
      const { code, stderr } = await bench.run([command, "changed"]);
      expect([code, stderr]).toEqual([2, expect.stringMatching(/changed\/kernel does not exist/)]);
    }
  });

  test.each([
    ["truncated", (text: string) => text.slice(0, 200), /is damaged: it is not whole JSON/],
    ["no JSON", () => "tape", /is damaged/],
    ["empty", () => "", /is empty/],
    ["of another version", (text: string) => text.replace('"version": 2', '"version": 9'), /has version 9/],
    [
      "with a path",
      (text: string) => text.replace('"machine": {', '"machine": { "kernelFile": "../../etc/passwd",'),
      /is not valid: field machine/,
    ],
    ["with a field of 100 MB", (text: string) => text.replace("qemu64", "q".repeat(100e6)), /is no manifest/],
  ])("a manifest that is %s", async (_what, change, sentence) => {
    const at = await copyTape("changed");
    const path = at("manifest.json");
    writeFileSync(path, change(readFileSync(path, "utf8")));
    for (const command of ["info", "replay"]) {
      const { code, stderr } = await bench.run([command, "changed"]);
      expect([code, stderr]).toEqual([2, expect.stringMatching(sentence)]);
      expect(stderr.length).toBeLessThan(700);
    }
    expect((await bench.run(["list"])).stdout).toMatch(/changed .*damaged/);
    expect((await bench.run(["destroy", "changed"])).code).toBe(0);
  });

  test("a link to a file outside the tape is not read", async () => {
    const at = await copyTape("changed");
    copyFileSync(at("console.raw"), bench.path("outside"));
    for (const file of ["replay.log", "kernel"]) {
      copyFileSync(at(file), bench.path("outside"));
      await bench.spawn("ln", ["-sf", bench.path("outside"), at(file)]).ended;
      const { code } = await bench.run(["replay", "changed"]);
      expect(code).toBe(2);
    }
  });
});

describe("another QEMU", () => {
  let other: string;
  beforeEach(async () => {
    other = bench.path("qemu-system-x86_64");
    copyFileSync((await findProgram(process.env.VMTAPE_TEST_QEMU ?? "qemu-system-x86_64"))!, other);
    chmodSync(other, 0o755);
  });

  test("of the same version but another build is refused; the same bytes elsewhere are not", async () => {
    const env = { QEMU_MODULE_DIR: "/usr/lib/x86_64-linux-gnu/qemu" }; // it looks for them beside itself
    expect((await bench.run(["replay", "t", "--qemu", other], { env })).code).toBe(0);
    appendFileSync(other, "x");
    for (const command of ["replay", "verify"]) {
      const { code, stderr } = await bench.run([command, "t", "--qemu", other]);
      expect(code).toBe(3);
      expect(stderr).toMatch(
        /^vmtape: the tape was recorded on another build of QEMU .* than .*qemu-system-x86_64 \(/,
      );
    }
    expect(await bench.json(["info", "t", "--qemu", other])).toMatchObject({ replayCommand: null });
  });

  test("of another version is refused by name", async () => {
    writeFileSync(other, '#!/bin/sh\necho "QEMU emulator version 8.2.2 (Ubuntu)"\n');
    const { code, stderr } = await bench.run(["replay", "t", "--qemu", other]);
    expect([code, stderr]).toEqual([
      3,
      expect.stringMatching(/was recorded on QEMU \d+\.\d+\.\d+.*, but .* is 8\.2\.2/),
    ]);
  });
});

test("a closed pipe on stdout ends a command quietly", async () => {
  for (const [command, ...args] of [
    ["log", "t"],
    ["replay", "-c", "t"],
    ["list"],
    ["console", "--raw", "t"],
  ]) {
    const line = `"$0" "$1" ${[command, ...args].join(" ")} | true`;
    const { code, stderr } = await bench.spawn("sh", [
      "-c",
      line,
      process.execPath,
      new URL("../../dist/cli/main.js", import.meta.url).pathname,
    ]).ended;
    expect(code).toBe(0);
    expect(stderr).not.toMatch(/EPIPE|defect|at .*\.js/);
  }
  await gone();
});
