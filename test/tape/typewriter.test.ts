import { setTimeout as delay } from "node:timers/promises";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Typewriter } from "../../src/tape/typewriter.js";
import { FakePort } from "./fake-port.js";

let ended: AbortController;
let port: FakePort;
let typewriter: Typewriter;
beforeEach(() => make());
afterEach(() => ended.abort());

function make() {
  ended = new AbortController();
  port = new FakePort();
  typewriter = new Typewriter(port, ended.signal);
  port.tell = (line) => typewriter.hear(line);
}

/** Runs random steps until `done`, or until nothing has happened for many turns. */
async function go(done: () => boolean, steps: () => void) {
  for (let turn = 0; turn < 20_000 && !done(); turn++) {
    steps();
    if (turn % 4 === 0) await new Promise((resolve) => setImmediate(resolve));
    if (turn % 64 === 63) await delay(1);
  }
}

const text = (count: number, seed = 1) =>
  Uint8Array.from({ length: count }, (_, i) => (i * 7 + seed * 13 + (i >> 4)) & 0xff);

describe("every byte is read once, in order", () => {
  /** The order of events, as indices of the steps below. */
  const schedule = fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 8, maxLength: 60 });

  test.each([
    ["with the FIFO", true, true],
    ["without a FIFO", false, true],
    ["by a QEMU that tells nothing", true, false],
  ])("%s", { timeout: 60_000 }, async (_name, fifo, canTrace) => {
    await fc.assert(
      fc.asyncProperty(schedule, fc.integer({ min: 1, max: 200 }), async (order, count) => {
        make();
        port.canTrace = canTrace;
        await typewriter.begin();
        port.start();
        if (!fifo) port.control(0);
        const bytes = text(canTrace ? count : Math.min(count, 12), count);
        void typewriter.type(bytes);
        let at = 0;
        await go(
          () => port.read.length >= bytes.length,
          () => {
            const step = order[at++ % order.length];
            if (step === 0) port.processor();
            else if (step === 1) port.interrupt();
            else port.mainLoop();
            // In every order, each event happens from time to time.
            if (at % 97 === 0) {
              port.mainLoop();
              port.processor();
              port.interrupt(1 + (at % 5));
            }
          },
        );
        ended.abort();
        expect(port.lost).toBe(0);
        expect(Uint8Array.from(port.read)).toEqual(bytes);
      }),
      { numRuns: canTrace ? 40 : 5 },
    );
  });

  test("when it comes before the guest's driver, which empties the port", async () => {
    await typewriter.begin();
    const bytes = text(40);
    const typed = typewriter.type(bytes);
    for (let i = 0; i < 10; i++) {
      port.mainLoop();
      port.processor();
      await delay(2);
    }
    port.start();
    await go(
      () => port.read.length >= bytes.length,
      () => {
        port.mainLoop();
        port.processor();
        port.interrupt();
      },
    );
    await typed;
    expect([port.lost, Uint8Array.from(port.read)]).toEqual([0, bytes]);
  });

  test("when the guest empties its port while bytes wait in it", async () => {
    await typewriter.begin();
    port.start();
    const before = text(10, 2);
    await driveUntilRead(before, 10);
    const bytes = text(6);
    void typewriter.type(bytes);
    for (let i = 0; i < 20; i++) {
      port.mainLoop();
      port.processor();
      await delay(2);
    }
    port.control(0x07);
    port.control(0x81);
    await go(
      () => port.read.length >= 16,
      () => {
        port.mainLoop();
        port.processor();
        port.interrupt();
      },
    );
    expect([port.lost, Uint8Array.from(port.read)]).toEqual([0, Uint8Array.from([...before, ...bytes])]);
  });
});

async function driveUntilRead(bytes: Uint8Array, count: number) {
  void typewriter.type(bytes);
  await go(
    () => port.read.length >= count,
    () => {
      port.mainLoop();
      port.processor();
      port.interrupt(1);
    },
  );
}

test("many bytes are under way once the guest has its FIFO on, and no more than fit", async () => {
  await typewriter.begin();
  port.start();
  await driveUntilRead(text(100), 1);
  const write = vi.spyOn(port, "write");
  await go(
    () => port.read.length >= 60,
    () => {
      port.mainLoop();
      port.mainLoop();
      port.processor();
      port.interrupt();
    },
  );
  const most = Math.max(...write.mock.calls.map(([bytes]) => bytes.length));
  expect(most).toBeGreaterThan(4);
  expect(most).toBeLessThanOrEqual(16);
  expect(port.lost).toBe(0);
});

test("what waits can be forgotten at once; what was sent is read", async () => {
  await typewriter.begin();
  port.start();
  const bytes = text(500);
  const typed = typewriter.type(bytes);
  await go(
    () => port.read.length >= 50,
    () => {
      port.mainLoop();
      port.processor();
      port.interrupt();
    },
  );
  expect(typewriter.drop()).toBeGreaterThan(400);
  await typed;
  expect(typewriter.waiting).toBe(0);
  const after = text(5, 9);
  const length = () => port.read.length;
  void typewriter.type(after);
  await go(
    () => Uint8Array.from(port.read.slice(-5)).every((byte, i) => byte === after[i]),
    () => {
      port.mainLoop();
      port.processor();
      port.interrupt();
    },
  );
  expect(Uint8Array.from(port.read)).toEqual(Uint8Array.from([...bytes.subarray(0, length() - 5), ...after]));
});

test("when QEMU ends, nothing waits any more", async () => {
  await typewriter.begin();
  const typed = typewriter.type(text(10));
  ended.abort();
  await typed;
  await typewriter.type(text(10));
  expect(typewriter.waiting).toBe(0);
});
