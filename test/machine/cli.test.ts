/** The command line on a terminal: a real one, which `script` (util-linux) makes. */
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { buildGuest } from "../guests/build.js";
import { type Child, program, until, Workbench } from "../workbench.js";

let bench: Workbench;
beforeEach(async () => {
  bench = await Workbench.make();
});
afterEach(() => bench[Symbol.asyncDispose]());

const escapeKey = "\x1d";

/** vmtape with a terminal of its own as stdin, stdout and stderr. */
function onTerminal(...args: string[]): Child {
  const words = [process.execPath, program, ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`);
  return bench.spawn("script", ["-qefc", words.join(" "), "/dev/null"]);
}

const gone = () => until(async () => (await bench.leftovers()).length === 0, "the end of all processes");
const state = async () => (await bench.json<{ state: string }>(["info", "t"])).state;

describe("record -c on a terminal", () => {
  const startAttached = async (...flags: string[]) => {
    const terminal = onTerminal("record", "t", "-c", "--kernel", (await buildGuest("obey")).kernel, ...flags);
    await terminal.prints("ready");
    return terminal;
  };

  test("types to the guest, which answers, and ends with it", async () => {
    const terminal = await startAttached();
    terminal.type("x");
    await terminal.prints(/ready\r+\nx/);
    terminal.type("\x03"); // Ctrl-C belongs to the guest
    await terminal.prints("x\x03");
    terminal.type(`${escapeKey}${escapeKey}`); // one Ctrl-] for the guest
    await terminal.prints("\x03\x1d");
    terminal.type("q");
    const { code, stdout } = await terminal.ended;
    expect(code).toBe(0);
    expect(stdout).toMatch(/bye[\s\S]*ended +.*the guest powered off/);
    expect(readFileSync(bench.path("home", "t", "console.raw"), "latin1")).toBe(
      "ready\r\nx\x03\x1dq\r\nbye\r\n",
    );
    expect(await bench.json(["verify", "t"])).toMatchObject({ ok: true });
    await gone();
  });

  test("Ctrl-] d detaches: the recording goes on until vmtape stop", async () => {
    const terminal = await startAttached();
    terminal.type(`${escapeKey}d`);
    const { code, stdout } = await terminal.ended;
    expect(code).toBe(0);
    expect(stdout).toMatch(/detached: t goes on being recorded/);
    expect(await state()).toBe("recording");
    expect(await bench.json(["stop", "t"])).toMatchObject({ state: "complete", cause: "stopped" });
    await gone();
  });

  test("Ctrl-] q stops it; Ctrl-] and another key explains", async () => {
    const terminal = await startAttached();
    terminal.type(`${escapeKey}?`);
    await terminal.prints(/detach[\s\S]*\n[\s\S]*detach/);
    terminal.type(`${escapeKey}q`);
    const { code, stdout } = await terminal.ended;
    expect(code).toBe(0);
    expect(stdout).toMatch(/stopped on request/);
    expect(await state()).toBe("complete");
    await gone();
  });

  test("a terminal that is closed ends the recording, with a whole tape", async () => {
    const terminal = await startAttached();
    terminal.kill("SIGKILL");
    await terminal.ended;
    await gone();
    expect(await bench.json(["info", "t"])).toMatchObject({ state: "complete", cause: "stopped" });
  });

  test("a flood of output is shown whole, and replays", async () => {
    const terminal = await startAttached();
    terminal.type("f");
    await terminal.prints("flooded");
    terminal.type("q");
    expect((await terminal.ended).code).toBe(0);
    expect(terminal.stdout.match(/0123456789abcdef{1}/g)?.length).toBeGreaterThan(3000);
    expect(await bench.json(["verify", "t"])).toMatchObject({ ok: true });
  });

  test("what fails before it begins is one sentence, and the terminal is left as it was", async () => {
    const terminal = onTerminal("record", "t", "-c", "--kernel", bench.path("absent"));
    const { code, stdout } = await terminal.ended;
    expect([code, stdout]).toEqual([2, expect.stringMatching(/vmtape:.* .*absent does not exist\r\n$/)]);
  });
});

describe("progress", () => {
  test("is a bar on a terminal, which goes; elsewhere nothing is printed for short work", async () => {
    const kernel = (await buildGuest("hello")).kernel;
    expect((await bench.run(["record", "t", "--kernel", kernel])).stderr).toBe("");
    const { code, stdout } = await onTerminal("verify", "t").ended;
    expect(code).toBe(0);
    expect(stdout).toMatch(/verifying: .*%.*instructions/);
    expect(stdout.slice(stdout.lastIndexOf("█"))).toContain("\r\x1b[K");
    expect(stdout).toMatch(/t: every replay is the recorded run/);
    const piped = await bench.run(["verify", "t"]);
    expect(piped.stderr + piped.stdout).not.toContain("\x1b");
  });

  test("a terminal that is closed ends verify and replay, and nothing stays", async () => {
    const child = bench.start(["record", "t", "-c", "--kernel", (await buildGuest("obey")).kernel]);
    await child.prints("ready");
    child.type("ssssssssq");
    await child.ended;
    for (const command of ["verify", "replay"]) {
      const terminal = onTerminal(command, "t");
      await until(async () => (await bench.processes("rr=replay")).length > 0, "a replay");
      terminal.kill("SIGKILL");
      await terminal.ended;
      await gone();
    }
  });
});

test("the stock kernel: typing into a shell on the console", async () => {
  const child = bench.start(["record", "t", "-c", "--append", "vmtape.shell"]);
  for (const [prompt, line] of [
    [/a shell; leave it/, "echo $((6 * 7)) apples"],
    [/\n42 apples/, "head -c 8 /dev/urandom | hexdump"],
    [/\n0000008/, "exit"],
  ] as const) {
    await child.prints(prompt);
    await until(() => /# [^\n]*$/.test(child.stdout), "the shell's prompt");
    child.type(`${line}\r`);
  }
  const { code, stdout } = await child.ended;
  expect(code).toBe(0);
  expect(stdout).toMatch(/ended +the guest powered off/);
  const printed = readFileSync(bench.path("home", "t", "console.raw"), "latin1");
  const replayed = await bench.run(["replay", "-c", "t"]);
  expect([replayed.code, replayed.stdout]).toEqual([0, printed]);
});
