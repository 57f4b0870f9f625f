import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { stopCommand } from "../../src/cli/record/stop.js";
import { type Controlled, ControlServer } from "../../src/tape/control.js";
import { type Places, placesFrom } from "../../src/tape/home.js";
import { Keyboard } from "../../src/tape/keyboard.js";
import { TapeLayout } from "../../src/tape/layout.js";
import { FileLock } from "../../src/tape/lock.js";
import { writeManifest } from "../../src/tape/tape.js";
import { sampleManifest, writeSampleTape } from "../tape/sample-tape.js";

/** `vmtape stop` beside a recording that ends by itself: whenever it ends, the user gets a complete tape. */
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 }); // a busy host is no fault

let directory: string;
let places: Places;
let layout: TapeLayout;
const written = vi.spyOn(process.stdout, "write");
const noted = vi.spyOn(process.stderr, "write");

const { end: _, ...unfinished } = sampleManifest();

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "vmtape-test-"));
  vi.stubEnv("XDG_RUNTIME_DIR", join(directory, "run"));
  vi.stubEnv("VMTAPE_HOME", join(directory, "home"));
  places = placesFrom(process.env);
  layout = new TapeLayout(join(places.home, "t"));
  written.mockImplementation(() => true);
  noted.mockImplementation(() => true);
});
beforeEach(async () => {
  await rm(layout.directory, { recursive: true, force: true });
  await writeSampleTape(layout.directory, unfinished);
  written.mockClear();
  noted.mockClear();
});
afterAll(async () => {
  written.mockRestore();
  noted.mockRestore();
  vi.unstubAllEnvs();
  await rm(directory, { recursive: true, force: true });
});

const stop = (...more: string[]) => stopCommand().parseAsync(["t", ...more], { from: "user" });
const told = () => noted.mock.calls.map(([text]) => String(text));
const facts = () => JSON.parse(String(written.mock.calls[0]![0]));

/** Plays a recorder, which holds the lock until it has written the manifest's end. */
async function recorder(): Promise<() => Promise<void>> {
  const lock = await FileLock.take(layout.lock, "busy");
  return async () => {
    await writeManifest(layout, sampleManifest());
    await lock[Symbol.asyncDispose]();
  };
}

/** The recorder's side of the control socket. */
function controlled(answer: () => Promise<unknown>): Controlled {
  const console: Controlled["console"] = {
    file: layout.console,
    printed: 0,
    keyboard: new Keyboard(),
    onPrinted: () => () => {},
    type: async () => {},
    drop: () => {},
  };
  return { stop: answer, console };
}

const hasEnded = ["tape 't' is not being recorded any more: it has ended\n"];

test("of a tape that ended long ago says so", async () => {
  await writeManifest(layout, sampleManifest());
  await stop("--json");
  expect([told(), facts()]).toMatchObject([hasEnded, { state: "complete", cause: "power-off" }]);
});

test("whose recorder has just closed its socket, and not yet let go of the tape", async () => {
  const finish = await recorder();
  const stopped = stop("--json");
  setTimeout(finish, 200);
  await stopped;
  expect([told(), facts()]).toMatchObject([hasEnded, { state: "complete" }]);
});

test("whose recorder goes away while it is asked", async () => {
  const finish = await recorder();
  const server = await ControlServer.listen(places, layout.directory);
  const stopped = stop("--json"); // it is not served
  await vi.waitFor(() => expect((server as unknown as { silent: Set<unknown> }).silent.size).toBe(1));
  await server[Symbol.asyncDispose]();
  await finish();
  await stopped;
  expect([told(), facts()]).toMatchObject([hasEnded, { state: "complete" }]);
});

test("that is stopped by it is not said to have ended before", async () => {
  const finish = await recorder();
  const server = await ControlServer.listen(places, layout.directory);
  server.serve(controlled(finish));
  await stop();
  await server[Symbol.asyncDispose]();
  expect(told()).toEqual([]);
});

test("whose recorder fails is a failure, with its words", async () => {
  const lock = await FileLock.take(layout.lock, "busy");
  const server = await ControlServer.listen(places, layout.directory);
  server.serve(
    controlled(async () => {
      await lock[Symbol.asyncDispose]();
      throw new Error("the disk is full");
    }),
  );
  await expect(stop()).rejects.toMatchObject({ code: "qemu-failed", message: "the disk is full" });
  await server[Symbol.asyncDispose]();
});

test("that was interrupted: there is nothing to stop, but something to mend", async () => {
  await expect(stop()).rejects.toMatchObject({ code: "tape-idle", facts: { mend: "vmtape repair t" } });
});
