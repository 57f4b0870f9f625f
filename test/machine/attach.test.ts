/** `vmtape attach`: watchers, one typist, and pasted text, which the guest must read completely. */
import { createHash, randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { cloudGuest, guestArguments } from "../cloud-boot.js";
import { buildGuest } from "../guests/build.js";
import { type Child, program, until, Workbench } from "../workbench.js";

let bench: Workbench;
beforeEach(async () => {
  bench = await Workbench.make();
});
afterEach(() => bench[Symbol.asyncDispose]());

const escapeKey = "\x1d";

/** vmtape with a terminal of its own. */
function onTerminal(...args: string[]): Child {
  const words = [process.execPath, program, ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`);
  return bench.spawn("script", ["-qefc", words.join(" "), "/dev/null"]);
}

const printed = () => readFileSync(bench.path("home", "t", "console.raw"), "latin1");
const state = async () => (await bench.json<{ state: string }>(["info", "t"])).state;

/** A recording in the background of a guest that sends back what it reads; `q` powers off. */
async function recordObeying(): Promise<void> {
  await bench.json([
    "record",
    "t",
    "--background",
    "-M",
    "32",
    "--kernel",
    (await buildGuest("obey")).kernel,
  ]);
  await until(() => printed().includes("ready"), "the guest");
}

test("one types, others watch; the next one has the keyboard when he leaves, and can take it", async () => {
  await recordObeying();
  const first = onTerminal("attach", "t");
  await first.prints("ready");
  first.type("@");
  await until(() => printed().includes("@"), "the letter");
  const second = onTerminal("attach", "t");
  await second.prints(/process \d+ on \/dev\/pts\/\d+ has the keyboard, you watch/);
  second.type("!");
  const watcher = onTerminal("attach", "t", "--watch");
  await watcher.prints(/you only watch[\s\S]*has the keyboard/);
  first.type(`#${escapeKey}d`);
  const { code, stdout } = await first.ended;
  expect([code, stdout]).toEqual([0, expect.stringContaining("detached: t goes on being recorded")]);
  await second.prints("the keyboard is free");
  second.type("%");
  await second.prints("you have the keyboard");
  await watcher.prints(/@[\s\S]*is free[\s\S]*%/); // the last letters may be printed after the typist has left
  const third = onTerminal("attach", "t");
  await third.prints("has the keyboard, you watch");
  third.type(`${escapeKey}t&`);
  await third.prints("you have the keyboard");
  await until(() => printed().includes("@#%&"), "the letter");
  watcher.type("\x03");
  expect((await watcher.ended).code).toBe(0);
  expect(await state()).toBe("recording");
  third.type("q");
  for (const child of [second, third]) {
    const outcome = await child.ended;
    expect([outcome.code, outcome.stdout]).toEqual([0, expect.stringContaining("the guest powered off")]);
  }
  expect(printed()).toBe("ready\r\n@#%&q\r\nbye\r\n");
  expect(await bench.json(["verify", "t"])).toMatchObject({ ok: true });
  await until(async () => (await bench.leftovers()).length === 0, "the end of all processes");
});

test("without a terminal: stdin is typed, and the answer printed; busy is said", async () => {
  await recordObeying();
  const outcome = await bench.run(["attach", "t"], { input: "abc" });
  expect([outcome.code, outcome.stdout, outcome.stderr]).toEqual([0, "abc", ""]);
  const typist = onTerminal("attach", "t");
  await typist.prints("ready");
  const busy = await bench.run(["attach", "t"], { input: "x" });
  expect([busy.code, busy.stderr]).toEqual([
    2,
    expect.stringMatching(/^vmtape: process \d+ on .* has the keyboard \(--take/),
  ]);
  const taken = await bench.run(["attach", "t", "--take"], { input: "q" });
  expect(taken.code).toBe(0);
  expect(taken.stderr).toContain("the recording of t has ended: the guest powered off");
  expect((await typist.ended).code).toBe(0);
  const late = await bench.run(["attach", "t"]);
  expect([late.code, late.stderr]).toEqual([
    2,
    "vmtape: tape 't' is not being recorded (it is complete) (vmtape console t shows what it printed)\n",
  ]);
  expect((await bench.run(["attach", "absent"])).code).toBe(2);
});

test("a watcher that is stopped, and one whose output nobody reads, hold up nobody", async () => {
  await recordObeying();
  const stopped = bench.start(["attach", "t", "--watch"]);
  await stopped.prints("ready");
  stopped.kill("SIGSTOP");
  const unread = bench.spawn("script", [
    "-qefc",
    `'${process.execPath}' '${program}' attach t | sleep 1000`,
    "/dev/null",
  ]);
  await unread.prints("Ctrl-] then d");
  const holder = async () =>
    /process (\d+) on/.exec((await bench.run(["attach", "t"], { input: "" })).stderr)?.[1] ?? "";
  await until(async () => (await holder()) !== "", "the typist");
  const id = await holder();
  unread.type("ffffffffffffffff");
  await until(() => (printed().match(/flooded/g)?.length ?? 0) >= 16, "the floods");
  expect(existsSync(`/proc/${id}`)).toBe(true);
  unread.type(`${escapeKey}d`); // its own output is full, but it still sees Ctrl-]
  await until(() => !existsSync(`/proc/${id}`), "its end");
  expect(await bench.json(["stop", "t"])).toMatchObject({ state: "complete" });
  stopped.kill("SIGCONT");
  expect((await stopped.ended).code).toBe(0);
  unread.kill("SIGKILL");
});

test("Ctrl-] is heard at once, whatever waits, and what waits can be forgotten", async () => {
  await recordObeying();
  const typist = onTerminal("attach", "t");
  await typist.prints("ready");
  typist.type("h"); // the guest hangs, and reads no more
  await until(() => printed().includes("h"), "the letter");
  typist.type("x".repeat(50_000));
  typist.type(`${escapeKey}x`);
  await typist.prints(/[1-9][\d,]+ bytes that waited to be typed are forgotten/);
  typist.type(`${"y".repeat(50_000)}${escapeKey}d`);
  expect((await typist.ended).stdout).toContain("detached");
  expect(await state()).toBe("recording");
  const again = onTerminal("attach", "t");
  await again.prints("ready");
  again.type(`${"y".repeat(50_000)}${escapeKey}q`);
  expect((await again.ended).stdout).toContain("stopped on request");
  expect(await state()).toBe("complete");
});

test("what is pasted into a distribution's kernel is what it reads, and replays", async () => {
  const machine = guestArguments(await cloudGuest(bench), "vmtape.shell");
  await bench.json(["record", "t", "--background", ...machine]);
  // Typed while the kernel boots: kept until its driver is there.
  const early = await bench.run(["attach", "t"], { input: "echo $((6 * 7)) apples\n" });
  expect(early.code).toBe(0);
  await until(() => printed().includes("42 apples"), "the answer");
  const text = `${randomBytes(6000).toString("base64").replace(/.{76}/g, "$&\n")}\n`;
  const sum = createHash("sha1").update(text).digest("hex");
  for (const [mode, end] of [
    ["stty -echo; cat > /tmp/f", "\x04"],
    [`stty raw; head -c ${text.length} > /tmp/f; stty sane`, ""],
  ] as const) {
    const before = printed().length;
    await bench.run(["attach", "t"], { input: `stty -echo; ${mode}; sha1sum /tmp/f; rm /tmp/f\n` });
    await bench.run(["attach", "t"], { input: text + end });
    await until(() => printed().slice(before).includes("  /tmp/f"), "the sum");
    expect(printed().slice(before)).toContain(`${sum}  /tmp/f`);
  }
  await bench.json(["stop", "t"]);
  expect(await bench.json(["verify", "t"])).toMatchObject({ ok: true });
});
