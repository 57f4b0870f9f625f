import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { icount } from "../../src/base/units.js";
import { dialect72 } from "../../src/formats/replay-log-dialect.js";
import type { EventBody } from "../../src/formats/replay-log-event.js";
import type { Frozen } from "../../src/qemu/guard.js";
import { type Witness, Witnesses } from "../../src/tape/witnesses.js";
import { makeLog } from "../formats/replay-log-samples.js";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "vmtape-test-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

/** A machine that is held at these icounts, in order, each with the number of disk requests before it. */
class Machine {
  frozen = false;
  thaws = 0;
  private readonly instants: (readonly [at: number, requests: number] | undefined)[];

  constructor(...instants: (readonly [number, number] | undefined)[]) {
    this.instants = instants;
  }

  async freeze(): Promise<Frozen | undefined> {
    const next = this.instants.shift();
    if (!next) return undefined;
    this.frozen = true;
    return { icount: icount(next[0]), requests: BigInt(next[1]), registers: `RIP=${next[0]}` };
  }

  async thaw(): Promise<void> {
    this.frozen = false;
    this.thaws++;
  }
}

const memory = "0".repeat(64);

test("memory is hashed while the machine stands still, and it goes on when that fails", async () => {
  const machine = new Machine([10, 0], [20, 0], [30, 0]);
  const seen: boolean[] = [];
  let fails = false;
  const witnesses = new Witnesses(
    machine,
    async () => {
      seen.push(machine.frozen);
      if (fails) throw new Error("gone");
      return memory;
    },
    256,
    async () => {},
  );
  await witnesses.take();
  fails = true;
  await witnesses.take();
  fails = false;
  await witnesses.take();
  expect([seen, machine.frozen, machine.thaws]).toEqual([[true, true, true], false, 3]);
  const sealed = await witnesses.sealed("no log is needed without disks", dialect72, 100);
  expect(sealed.map((one) => one.icount)).toEqual([10, 30]);
});

// Once a recording lost its end: a state that was still being hashed wrote the manifest after the tape had been
// sealed.
test("settled waits for the hash that is under way, and for what is told of it", async () => {
  let finish: (hash: string) => void = () => {};
  const told: number[] = [];
  const witnesses = new Witnesses(
    new Machine([10, 0]),
    () => new Promise((resolve) => (finish = resolve)),
    256,
    async (all) => {
      told.push(all.length);
    },
  );
  void witnesses.take();
  let isSettled = false;
  const settled = witnesses.settled().then(() => {
    isSettled = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  expect([isSettled, told]).toEqual([false, []]);
  finish(memory);
  await settled;
  expect(told).toEqual([1]);
});

test("no instant, no state; the same instant again is told once", async () => {
  const told: number[][] = [];
  const witnesses = new Witnesses(
    new Machine(undefined, [10, 0], [10, 0]),
    async () => memory,
    256,
    async (all) => {
      told.push(all.map((one) => one.icount));
    },
  );
  for (let i = 0; i < 3; i++) await witnesses.take();
  expect(told).toEqual([[10]]);
});

test("where a disk's answer was on its way is told, and what lies beyond the tape's end is not", async () => {
  const events: EventBody[] = [
    { kind: "checkpoint-init" },
    { kind: "instruction", count: 10 },
    { kind: "async-block", request: 0n },
    { kind: "instruction", count: 10 },
    { kind: "async-block", request: 1n },
    { kind: "instruction", count: 10 },
    { kind: "end" },
  ];
  const log = join(directory, "replay.log");
  await writeFile(log, makeLog(events, dialect72));
  let kept: readonly Witness[] = [];
  // One answer came at 10 and one at 20: before its own icount a state has none of those at it.
  const witnesses = new Witnesses(
    new Machine([5, 0], [10, 1], [15, 1], [20, 1], [25, 3], [40, 3]),
    async () => memory,
    256,
    async (all) => {
      kept = all;
    },
  );
  for (let i = 0; i < 6; i++) await witnesses.take();
  const busy = (all: readonly Witness[]) => all.map((one) => [one.icount, one.busy ?? false]);
  expect(busy(await witnesses.sealed(log, dialect72, 30))).toEqual([
    [5, false],
    [10, true],
    [15, false],
    [20, false],
    [25, true],
  ]);
  // When a recorder is killed, answers are not counted: all witnesses that may be busy are marked as busy.
  expect(busy(kept)).toEqual([[5, false], ...[10, 15, 20, 25, 40].map((at) => [at, true])]);
});

// The guard holds a machine for half a minute at most; a recorder that was stopped meanwhile then waited for ever.
test("a machine that went on by itself while it was hashed is no witness, and the next one is taken", async () => {
  const machine = new Machine([10, 0], [20, 0]);
  let late = true;
  machine.thaw = () => (late ? Promise.reject(new Error("the machine is not held")) : Promise.resolve());
  const witnesses = new Witnesses(
    machine,
    async () => memory,
    256,
    async () => {},
  );
  await witnesses.take();
  late = false;
  await witnesses.take();
  const sealed = await witnesses.sealed("no log is needed without disks", dialect72, 100);
  expect(sealed.map((one) => one.icount)).toEqual([20]);
});

// Ctrl-C on a guest of 1 GB waited for a hash of seconds.
test("a state that is given up ends at once, lets the machine go on, and none is taken after it", async () => {
  const machine = new Machine([10, 0], [20, 0]);
  const told: number[] = [];
  const witnesses = new Witnesses(
    machine,
    (signal) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    1024,
    async (all) => {
      told.push(all.length);
    },
  );
  void witnesses.take();
  await new Promise((resolve) => setImmediate(resolve));
  witnesses.giveUp();
  await witnesses.settled();
  await witnesses.take();
  expect([machine.frozen, machine.thaws, told]).toEqual([false, 1, []]);
  expect(await witnesses.sealed("no log is needed without disks", dialect72, 100)).toEqual([]);
});
