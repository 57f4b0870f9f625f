import { readFileSync } from "node:fs";
import { mkdir, readdir, stat, writeFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { buildGuest } from "../guests/build.js";
import { until, Workbench } from "../workbench.js";

let bench: Workbench;
beforeEach(async () => {
  bench = await Workbench.make();
});
afterEach(() => bench[Symbol.asyncDispose]());

const hello = async () => (await buildGuest("hello")).kernel;
const obey = async () => (await buildGuest("obey")).kernel;

interface Info {
  readonly state: string;
  readonly cause: string;
  readonly icount: number;
  readonly seconds: number;
  readonly log: { readonly bytes: number; readonly events: number };
  readonly console: { readonly bytes: number; readonly sha256: string };
  readonly replayCommand: string[];
}

/** Starts a recording of a guest that waits for letters; see test/guests/obey.S. */
async function startObeying(name: string, ...more: string[]) {
  const child = bench.start(["record", name, "--kernel", await obey(), "-M", "32", "-c", ...more]);
  await child.prints("ready");
  return child;
}

const verified = async (name: string) => {
  const report = await bench.json<{ ok: boolean; icount: number }>(["verify", name]);
  expect(report.ok).toBe(true);
  return report;
};

describe("a recording ends", () => {
  test("when the guest powers off", async () => {
    const { code, stdout } = await bench.run(["record", "t", "--kernel", await hello()]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/ended +the guest powered off/);
    expect(stdout).toMatch(/instructions +[\d,]+/);
    const info = await bench.json<Info>(["info", "t"]);
    expect(info).toMatchObject({
      name: "t",
      state: "complete",
      cause: "power-off",
      arch: "x86_64",
      memoryMB: 256,
    });
    expect(info.log.events).toBeGreaterThan(100);
    const console = readFileSync(bench.path("home", "t", "console.raw"), "latin1");
    expect(console).toMatch(/hello from a tiny machine\r\n\.+\r\ntsc [0-9a-f]{16}\r\nclock [0-9a-f]{16}/);
    expect((await verified("t")).icount).toBe(info.icount);
    expect(await bench.leftovers()).toEqual([]);
  });

  test.each([
    ["r", "reboot"],
    ["p", "panic"],
    ["q", "power-off"],
  ])("on the guest's own: %s, %s", async (letter, cause) => {
    const child = await startObeying("t");
    child.type(letter);
    const { code, stderr } = await child.ended;
    expect([code, stderr]).toEqual([0, cause === "panic" ? "the guest panicked\n" : ""]);
    const info = await bench.json<Info>(["info", "t"]);
    expect([info.state, info.cause]).toEqual(["complete", cause]);
    await verified("t");
    expect(await bench.leftovers()).toEqual([]);
  });

  test("at its timeout, when the guest hangs", async () => {
    const child = await startObeying("t", "--timeout", "2");
    child.type("h");
    expect((await child.ended).code).toBe(0);
    expect(await bench.json(["info", "t"])).toMatchObject({ state: "complete", cause: "timeout" });
    await verified("t");
  });

  test("by vmtape stop, from elsewhere", async () => {
    const started = await bench.json<{ dir: string; state: string }>([
      "record",
      "t",
      "--kernel",
      await obey(),
      "--background",
    ]);
    expect(started).toMatchObject({ dir: bench.path("home", "t"), state: "recording" });
    expect(await bench.json(["info", "t"])).toMatchObject({ state: "recording", icount: null });
    const stopped = await bench.json<Info>(["stop", "t"]);
    expect(stopped).toMatchObject({ state: "complete", cause: "stopped" });
    await verified("t");
    const { code, stdout, stderr } = await bench.run(["stop", "t"]);
    expect([code, stderr]).toEqual([0, "tape 't' is not being recorded any more: it has ended\n"]);
    expect(stdout).toMatch(/ended +stopped on request/);
    await until(async () => (await bench.leftovers()).length === 0, "the recorder's end");
  });

  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("on %s, with a whole tape", async (signal) => {
    const child = await startObeying("t");
    child.kill(signal);
    const { code, stdout } = await child.ended;
    expect(code).toBe(130);
    expect(stdout).toContain("stopped on request");
    expect(await bench.json(["info", "t"])).toMatchObject({ state: "complete", cause: "stopped" });
    await verified("t");
    expect(await bench.leftovers()).toEqual([]);
  });
});

describe("Ctrl-C", () => {
  /** Sends SIGINT at 20 times of what a recording takes here, so that each stage is interrupted by some, on a slow host, too. */
  test("at any moment leaves a whole tape or none, and nothing running", { timeout: 120_000 }, async () => {
    const kernel = await hello();
    const seen = new Set<string>();
    const from = performance.now();
    await bench.run(["record", "t", "-f", "--kernel", kernel]);
    const whole = performance.now() - from;
    for (let share = 0; share < 1.5; share += 0.075) {
      const child = bench.start(["record", "t", "-f", "--kernel", kernel]);
      const timer = setTimeout(() => child.kill("SIGINT"), share * whole);
      const { code, signal, stderr } = await child.ended;
      clearTimeout(timer);
      const tape = await readdir(bench.path("home", "t")).catch(() => undefined);
      seen.add(`${tape ? "tape" : "none"}`);
      expect(stderr).not.toMatch(/defect|undefined|at .*\.js/);
      if (tape) {
        expect([0, 130, null]).toContain(code); // null: before the program had begun
        expect(await bench.json(["info", "t"])).toMatchObject({ state: "complete" });
      } else expect(code === 130 || signal === "SIGINT").toBe(true);
      expect(await bench.leftovers()).toEqual([]);
    }
    expect([...seen].sort()).toEqual(["none", "tape"]);
  });

  test("while a disk is copied leaves nothing", async () => {
    await writeFile(bench.path("disk"), "");
    await bench.spawn("truncate", ["-s", "2G", bench.path("disk")]).ended;
    const child = bench.start(["record", "t", "--kernel", await hello(), "-L", bench.path("disk")]);
    const copy = bench.path("home", "t", "disks", "0.base");
    await until(() => stat(copy).then(() => true, () => false), "the copy"); // biome-ignore format: short
    child.kill("SIGINT");
    const { code, stderr } = await child.ended;
    expect([code, stderr]).toEqual([130, "vmtape: stopped on request\n"]);
    expect(await readdir(bench.path("home"))).toEqual([]);
    expect(await bench.leftovers()).toEqual([]);
  });

  test("while a recording begins in the background ends it", async () => {
    await bench.spawn("truncate", ["-s", "2G", bench.path("disk")]).ended;
    const child = bench.start([
      "record",
      "t",
      "--background",
      "--kernel",
      await hello(),
      "-L",
      bench.path("disk"),
    ]);
    const copy = bench.path("home", "t", "disks", "0.base");
    await until(() => stat(copy).then(() => true, () => false), "the copy"); // biome-ignore format: short
    child.kill("SIGINT");
    const { code, stderr } = await child.ended;
    expect([code, stderr]).toEqual([130, "vmtape: stopped on request\n"]);
    await until(async () => (await bench.leftovers()).length === 0, "the recorder's end");
    expect(await readdir(bench.path("home"))).toEqual([]);
  });
});

describe("a tape of that name", () => {
  test("is not overwritten, and is with -f", async () => {
    const args = ["record", "t", "--kernel", await hello()];
    expect((await bench.run(args)).code).toBe(0);
    const { id } = await bench.json<{ id: string }>(["info", "t"]);
    const again = await bench.run(args);
    expect([again.code, again.stderr]).toEqual([
      2,
      "vmtape: a tape 't' exists already (choose another name, or replace it with -f)\n",
    ]);
    expect(await bench.json(["info", "t"])).toMatchObject({ id });
    expect((await bench.run([...args, "-f"])).code).toBe(0);
    expect(await bench.json(["info", "t"])).not.toMatchObject({ id });
  });

  test("that is being recorded is left alone, and -f and destroy end it first", async () => {
    const kernel = await obey();
    const first = await startObeying("t");
    const second = await bench.run(["record", "t", "--kernel", kernel]);
    expect([second.code, second.stderr]).toEqual([
      2,
      "vmtape: tape 't' is being recorded (vmtape stop NAME ends a recording)\n",
    ]);
    const refused = await bench.run(["destroy", "-k", "t"]);
    expect([refused.code, refused.stderr]).toEqual([
      2,
      "vmtape: tape 't' is in use: stop its recording first (vmtape stop NAME ends a recording)\n",
    ]);
    expect((await bench.run(["replay", "t"])).stderr).toMatch(/is being recorded/);
    const third = bench.start(["record", "t", "-f", "-c", "--kernel", kernel]);
    expect((await first.ended).code).toBe(0);
    await third.prints("ready");
    expect((await bench.run(["destroy", "t"])).code).toBe(0);
    await third.ended;
    expect(await readdir(bench.path("home"))).toEqual([]);
    expect(await bench.leftovers()).toEqual([]);
  });

  test("a directory that is no tape is left alone, even with -f", async () => {
    await mkdir(bench.path("home", "t"), { recursive: true });
    await writeFile(bench.path("home", "t", "letter"), "dear");
    for (const force of [[], ["-f"]]) {
      const { code, stderr } = await bench.run(["record", "t", "--kernel", await hello(), ...force]);
      expect([code, stderr]).toEqual([2, expect.stringMatching(/exists and is no tape: it is left alone/)]);
    }
    expect(readFileSync(bench.path("home", "t", "letter"), "utf8")).toBe("dear");
  });
});

test("nothing that is typed is lost, however early and fast", async () => {
  const text = "the quick brown fox jumps over the lazy dog".replace(/[qrhpsfi]/g, "-").repeat(3);
  const args = ["record", "t", "-c", "--kernel", await obey()];
  expect((await bench.run(args, { input: `${text}q` })).code).toBe(0);
  const console = readFileSync(bench.path("home", "t", "console.raw"), "latin1");
  expect(console).toBe(`ready\r\n${text}q\r\nbye\r\n`);
  await verified("t");
});

test("tapes are recorded side by side", async () => {
  const kernel = await hello();
  const names = ["a", "b", "c"];
  const outcomes = await Promise.all(
    names.map((name) => bench.run(["record", name, "--kernel", kernel, "-M", "32"])),
  );
  expect(outcomes.map(({ code }) => code)).toEqual([0, 0, 0]);
  for (const name of names) await verified(name);
});

test("two recorders of one name: exactly one of them gets it", async () => {
  const kernel = await hello();
  const outcomes = await Promise.all(
    Array.from({ length: 4 }, () => bench.run(["record", "t", "--kernel", kernel])),
  );
  expect(outcomes.map(({ code }) => code).sort()).toEqual([0, 2, 2, 2]);
  await verified("t");
});

test("a home with spaces, commas and quotes in its name works", async () => {
  const home = bench.path("a home, 'with' \"quotes\",=x");
  const env = { VMTAPE_HOME: home, XDG_RUNTIME_DIR: bench.path("run, time") };
  expect((await bench.run(["record", "t", "--kernel", await hello()], { env })).code).toBe(0);
  expect(await bench.json(["verify", "t"], { env })).toMatchObject({ ok: true });
  const replayed = await bench.run(["replay", "-c", "t"], { env });
  expect(replayed.code).toBe(0);
  expect(replayed.stdout).toBe(readFileSync(`${home}/t/console.raw`, "latin1"));
  const { replayCommand } = await bench.json<Info>(["info", "t"], { env });
  const plain = await bench.spawn(replayCommand[0]!, replayCommand.slice(1)).ended;
  expect([plain.code, plain.stdout]).toEqual([0, replayed.stdout]);
});

test("a runtime directory whose name is too long for sockets works", async () => {
  const env = { XDG_RUNTIME_DIR: bench.path("r".repeat(120)) };
  await bench.json(["record", "t", "--kernel", await obey(), "--background"], { env });
  expect(await bench.json(["stop", "t"], { env })).toMatchObject({ state: "complete" });
});
