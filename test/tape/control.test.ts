import { appendFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { ConsoleClient } from "../../src/tape/console-client.js";
import type { ConsoleState } from "../../src/tape/console-frames.js";
import type { SeatWish } from "../../src/tape/console-seat.js";
import { ControlClient, ControlServer } from "../../src/tape/control.js";
import { type Places, socketStem } from "../../src/tape/home.js";
import { Keyboard } from "../../src/tape/keyboard.js";
import { until } from "../workbench.js";

/** A recording without a machine. Typed bytes are kept, and taken when the test wants it. */
class FakeRecording {
  readonly typed: Buffer[] = [];
  readonly waiting: (() => void)[] = [];
  stops = 0;
  /** Does the guest take bytes at once? */
  reads = true;
  private readonly listeners = new Set<() => void>();
  readonly console;

  constructor(file: string) {
    this.console = {
      file,
      printed: 0,
      keyboard: new Keyboard(),
      onPrinted: (listener: () => void) => {
        this.listeners.add(listener);
        return () => this.listeners.delete(listener);
      },
      type: (bytes: Uint8Array) => {
        this.typed.push(Buffer.from(bytes));
        if (this.reads) return Promise.resolve();
        return new Promise<void>((resolve) => this.waiting.push(resolve));
      },
      drop: () => {
        for (const resolve of this.waiting.splice(0)) resolve();
      },
    };
  }

  async print(bytes: string | Buffer): Promise<void> {
    await appendFile(this.console.file, bytes);
    this.console.printed += Buffer.byteLength(bytes);
    for (const listener of this.listeners) listener();
  }

  stop(): Promise<void> {
    this.stops++;
    return Promise.resolve();
  }

  get text(): string {
    return Buffer.concat(this.typed).toString("latin1");
  }
}

/** A client at the console. */
interface Guest {
  readonly client: ConsoleClient;
  readonly parts: Buffer[];
  readonly output: Buffer;
  bytes: number;
  readonly states: ConsoleState[];
}

let directory: string;
let places: Places;
let server: ControlServer;
let recording: FakeRecording;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "vmtape-control-"));
  places = { home: directory, cache: directory, runtime: join(directory, "run") };
  await writeFile(join(directory, "console.raw"), "");
  recording = new FakeRecording(join(directory, "console.raw"));
  server = await ControlServer.listen(places, directory);
  server.serve(recording);
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

async function arrive(name: string, wish: Partial<SeatWish> = {}): Promise<Guest> {
  const control = (await ControlClient.connect(places, directory))!;
  const states: ConsoleState[] = [];
  const parts: Buffer[] = [];
  const guest = {
    parts,
    states,
    bytes: 0,
    get output() {
      return Buffer.concat(parts);
    },
  } as unknown as { client: ConsoleClient } & Guest;
  guest.client = await control.console(
    { role: "type", name, past: true, ...wish },
    {
      onOutput: (bytes) => {
        parts.push(bytes);
        guest.bytes += bytes.length;
      },
      onState: (state) => states.push(state),
    },
  );
  await until(() => states.length > 0, "the first state");
  return guest;
}

test("the first has the keyboard, others watch; when he leaves, the next who types has it", async () => {
  const first = await arrive("first");
  const second = await arrive("second");
  const third = await arrive("third");
  expect(first.states).toEqual([{ keyboard: "yours" }]);
  expect(second.states).toEqual([{ keyboard: "taken", holder: "first" }]);

  first.client.type(Buffer.from("one "));
  await first.client.typed();
  second.client.type(Buffer.from("lost "));
  await second.client.typed();
  expect(recording.text).toBe("one ");

  first.client.detach();
  await first.client.ended;
  await until(() => second.client.state.keyboard === "free", "a free keyboard");
  second.client.type(Buffer.from("two"));
  await second.client.typed();
  expect(recording.text).toBe("one two");
  await until(() => third.client.state.holder === "second", "the news");
  expect(recording.stops).toBe(0);
});

test("it can be taken from one who stands still", async () => {
  const first = await arrive("first");
  const second = await arrive("second");
  second.client.take();
  await until(() => second.client.state.keyboard === "yours", "the keyboard");
  await until(() => first.client.state.keyboard === "taken", "the news");
  expect(first.client.state).toEqual({ keyboard: "taken", holder: "second" });
});

test("one who only watches never has it", async () => {
  const watcher = await arrive("watcher", { role: "watch" });
  expect(watcher.states).toEqual([{ keyboard: "free" }]);
  watcher.client.type(Buffer.from("x"));
  await watcher.client.typed();
  watcher.client.take();
  const typist = await arrive("typist");
  expect(typist.client.state.keyboard).toBe("yours");
  expect(recording.text).toBe("");
});

test("every byte can be typed, and each is typed once, in order", async () => {
  const { client } = await arrive("typist");
  const bytes = Buffer.from(Array.from({ length: 200_000 }, (_, i) => (i * 31 + (i >> 8)) & 0xff));
  client.type(bytes);
  await client.typed();
  expect(Buffer.concat(recording.typed).equals(bytes)).toBe(true);
});

test("whoever detaches leaves at once, whatever waits, and it is still typed", async () => {
  recording.reads = false;
  const { client } = await arrive("typist");
  const bytes = Buffer.alloc(300_000, "abc");
  client.type(bytes);
  expect(client.waiting).toBe(bytes.length);
  client.detach();
  await client.ended;
  await until(() => recording.text.length === bytes.length, "all of it");
  expect(recording.console.keyboard.holder).toBeUndefined();
});

test("what waits can be forgotten: here, and at the recorder", async () => {
  recording.reads = false;
  const { client } = await arrive("typist");
  client.type(Buffer.alloc(300_000, "abc"));
  expect(client.drop()).toBe(300_000);
  await client.typed();
  expect(recording.text.length).toBeLessThan(40_000);
  recording.reads = true;
  client.type(Buffer.from("after"));
  await client.typed();
  expect(recording.text).toMatch(/after$/);
});

test("an owner that goes away ends the recording, one that detaches does not, nor does anybody else", async () => {
  const owner = await arrive("owner", { role: "owner" });
  owner.client.detach();
  await owner.client.ended;
  const other = await arrive("other");
  other.client.leave();
  await other.client.ended;
  expect(recording.stops).toBe(0);
  const again = await arrive("owner", { role: "owner" });
  again.client.leave();
  await until(() => recording.stops === 1, "the end");
});

test("one that does not read holds up nobody, needs no memory, and misses nothing", {
  timeout: 60_000,
}, async () => {
  const still = await arrive("still", { role: "watch" });
  still.client.pause();
  const quick = await arrive("quick", { role: "watch" });
  const block = Buffer.from(Array.from({ length: 1 << 20 }, (_, i) => (i * 7 + (i >> 11)) & 0xff));
  for (let i = 0; i < 8; i++) await recording.print(block);
  await until(() => quick.bytes === 8 << 20, "all of it");
  expect(still.output.length).toBe(0);
  still.client.resume();
  await until(() => still.bytes === 8 << 20, "all of it");
  expect(still.output.subarray(7 << 20).equals(block)).toBe(true);
});

test("whoever joins late sees the last 64 KiB, or only what comes from now on", async () => {
  await recording.print(`${"x".repeat(100_000)}end`);
  const late = await arrive("late");
  const script = await arrive("script", { past: false });
  await recording.print("!");
  await until(() => late.output.length > 0 && late.output.toString().endsWith("!"), "the last byte");
  expect(late.output.length).toBe((64 << 10) + 1);
  await until(() => script.output.length > 0, "the last byte");
  expect(script.output.toString()).toBe("!");
});

test("when the recording ends, everybody sees the rest first", async () => {
  const watcher = await arrive("watcher", { role: "watch" });
  await recording.print("the last words");
  await server[Symbol.asyncDispose]();
  await watcher.client.ended;
  expect(watcher.output.toString()).toBe("the last words");
});

test("the name of one who types cannot drive the others' terminals", async () => {
  await arrive(`bad\x1b[2J\u0007${"x".repeat(200)}`);
  const second = await arrive("second");
  expect(second.client.state.holder).toMatch(/^bad\?\[2J\?x+$/);
  expect(second.client.state.holder!.length).toBe(100);
});

test.each([
  ["an unknown request", "dance\n"],
  ["a console without a wish", "console\n"],
  ["a role there is not", 'console {"role":"king"}\n'],
])("%s is refused", async (_name, request) => {
  const socket: Socket = connect(`${socketStem(places, directory)}.record`);
  socket.write(request);
  let answer = "";
  for await (const bytes of socket) answer += String(bytes);
  expect(answer).toBe("error unknown request\n");
});

test("a client that sends what is no frame is put out, and the others stay", async () => {
  const stays = await arrive("stays", { role: "watch" });
  const socket = connect(`${socketStem(places, directory)}.record`);
  socket.write('console {"role":"type","name":"x","past":false}\n');
  await new Promise((resolve) => socket.once("data", resolve));
  socket.write(Buffer.alloc(100, 0xff));
  await new Promise((resolve) => socket.once("close", resolve));
  await recording.print("still here");
  await until(() => stays.output.length > 0, "output");
  expect(recording.console.keyboard.holder).toBeUndefined();
});
