/** The library as a program uses it: only its public entry. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  defaultRecordOptions,
  destroyTape,
  dialectFor,
  icount,
  isVmtapeError,
  openFileSource,
  type ProgressReport,
  plainReplayCommand,
  readReplayLog,
  record,
  Session,
  Tape,
  tapeNames,
  verifyTape,
} from "../../src/index.js";
import { buildGuest } from "../guests/build.js";
import { until, Workbench } from "../workbench.js";

let bench: Workbench;
let tape: Tape;
beforeAll(async () => {
  bench = await Workbench.make();
  const kernel = (await buildGuest("hello")).kernel;
  const recording = await record(bench.places, { ...(await defaultRecordOptions("t")), kernel });
  tape = await recording.done;
});
afterAll(() => bench[Symbol.asyncDispose]());

const options = async (name: string, guest: string) => ({
  ...(await defaultRecordOptions(name)),
  kernel: (await buildGuest(guest)).kernel,
});

describe("a recording", () => {
  test("becomes a tape that can be opened by name", async () => {
    expect(await tapeNames(bench.places)).toContain("t");
    const again = await Tape.open(bench.places, "t");
    expect(again).toMatchObject({ name: "t", state: "complete", directory: bench.path("home", "t") });
    expect(again.end).toMatchObject({ cause: "power-off", at: tape.end.at });
    expect((await plainReplayCommand(again))[0]).toMatch(/qemu-system-x86_64$/);
  });

  test("tells what the guest prints, takes what is typed, and stops", async () => {
    let printed = "";
    const progress: ProgressReport[] = [];
    const recording = await record(bench.places, await options("typed", "obey"), {
      onConsole: (bytes) => {
        printed += Buffer.from(bytes).toString("latin1");
      },
      onProgress: (report) => progress.push(report),
    });
    await until(() => printed.includes("ready"), "the guest");
    await recording.type(Buffer.from("x"));
    await until(() => printed.includes("x"), "the echo");
    await until(() => progress.some(({ done }) => done > 0), "progress");
    const stopped = await recording.stop();
    expect(stopped.end.cause).toBe("stopped");
    expect(await recording.stop()).toBe(stopped);
    expect(await verifyTape(stopped)).toMatchObject({ ok: true });
    await destroyTape(stopped.directory);
    await expect(Tape.open(bench.places, "typed")).rejects.toMatchObject({ code: "no-such-tape" });
  });

  test("is cancelled before it begins without a trace, and stopped after that with a whole tape", async () => {
    await expect(
      record(bench.places, await options("never", "hello"), { signal: AbortSignal.abort() }),
    ).rejects.toMatchObject({ code: "cancelled" });
    await expect(Tape.open(bench.places, "never")).rejects.toMatchObject({ code: "no-such-tape" });
    const stop = new AbortController();
    const recording = await record(bench.places, await options("cut", "obey"), {
      signal: stop.signal,
      onConsole: () => stop.abort(),
    });
    expect((await recording.done).end.cause).toBe("stopped");
  });
});

describe("a session", () => {
  test("is created, started paused, run to an icount, paused, resumed, stopped, started again", async () => {
    await using session = await Session.create(tape);
    expect(session.state).toBe("initialized");
    await session.start();
    expect([session.state, await session.position()]).toEqual(["paused", 0n]);
    expect(await session.runTo(icount(1_000_003n))).toEqual({ at: 1_000_003n, why: "break" });
    expect([session.state, await session.position()]).toEqual(["paused", 1_000_003n]);
    const hash = await session.hashState();
    await session.resume();
    expect(session.state).toBe("running");
    const paused = await session.pause();
    expect(paused).toBeGreaterThanOrEqual(1_000_003n);
    await expect(session.runTo(icount(5n))).rejects.toMatchObject({ code: "usage" });
    expect(await session.runToEnd()).toEqual({ at: tape.end.at, why: "end" });
    expect([session.state, session.shutdownReason]).toEqual(["ended", "guest-shutdown"]);
    expect(await session.runTo(tape.end.at)).toEqual({ at: tape.end.at, why: "end" });
    await expect(session.resume()).rejects.toMatchObject({ code: "usage" });
    await session.stop();
    expect(session.pid).toBeUndefined();
    await session.start(icount(1_000_003n));
    expect(await session.hashState()).toEqual(hash);
    await session.destroy();
    await expect(session.start()).rejects.toMatchObject({ code: "usage", message: /destroyed/ });
  });

  test("runs beside others, each where it wants", async () => {
    const places = [100n, 2_000_000n, 5_000_000n].map(icount);
    const sessions = await Promise.all(places.map(() => Session.create(tape)));
    try {
      await Promise.all(sessions.map((session, i) => session.start(places[i])));
      expect(await Promise.all(sessions.map((session) => session.position()))).toEqual(places);
      expect(new Set(sessions.map(({ pid }) => pid)).size).toBe(3);
      const ends = await Promise.all(sessions.map((session) => session.runToEnd()));
      expect(ends.map(({ at }) => at)).toEqual(places.map(() => tape.end.at));
    } finally {
      await Promise.all(sessions.map((session) => session.destroy()));
    }
    expect(await bench.processes("rr=replay")).toEqual([]);
  });

  test("cannot be started twice, used before it is started, or given what is no tape's QEMU", async () => {
    await using session = await Session.create(tape);
    await expect(session.position()).rejects.toMatchObject({ code: "usage" });
    const starts = await Promise.allSettled([session.start(), session.start()]);
    expect(starts.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    await expect(Session.create(tape, { qemu: ["/bin/true"] })).rejects.toMatchObject({ code: "wrong-qemu" });
  });

  test("pauses when it is cancelled, and can go on", async () => {
    const recording = await record(bench.places, await options("spin", "obey"));
    await recording.type(Buffer.from("sssssq"));
    const long = await recording.done;
    await using session = await Session.create(long);
    await session.start();
    const cancel = new AbortController();
    const running = session.runToEnd(cancel.signal);
    await until(async () => session.state === "running", "the run");
    cancel.abort();
    const error = await running.catch((reason: unknown) => reason);
    expect(isVmtapeError(error, "cancelled")).toBe(true);
    expect(session.state).toBe("paused");
    const at = await session.position();
    expect(at).toBeLessThan(long.end.at);
    expect(await session.runTo(icount(at + 1000n))).toMatchObject({ at: at + 1000n });
    expect(await session.runToEnd()).toMatchObject({ why: "end" });
    await expect(verifyTape(long, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: "cancelled",
    });
  });

  test("whose QEMU is killed says so: it is no divergence", async () => {
    await using session = await Session.create(tape);
    await session.start();
    const running = session.follow();
    process.kill(session.pid!, "SIGKILL");
    await expect(running).rejects.toMatchObject({ code: "qemu-failed" });
    expect(session.state).toBe("failed");
  });
});

test("a log is read event by event", async () => {
  await using source = await openFileSource(tape.layout.log);
  let events = 0;
  let printed = 0;
  for await (const event of readReplayLog(source, dialectFor(tape.manifest.qemu.version))) {
    events++;
    if (event.kind === "char-write") printed += event.written;
  }
  expect(events).toBe(tape.end.log.events);
  expect(printed).toBe(tape.end.console.bytes);
});
