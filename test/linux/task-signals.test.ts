import { expect, test } from "vitest";
import type { ProbeNames } from "../../src/linux/pass/probe-names.js";
import { TaskEnds } from "../../src/linux/syscall/task-ends.js";
import type { TaskEvent } from "../../src/linux/syscall/task-events.js";
import { TaskSignals } from "../../src/linux/syscall/task-signals.js";
import type { ProbeChannel } from "../../src/qemu/probe-channel.js";
import type { HitPiece } from "../../src/qemu/probe-hits.js";

/** A kernel in which each member has an offset of its own, and each symbol an address. */
const names = {
  types: {
    findStruct: () => ({ findMember: () => ({ byteOffset: 8 }), member: () => ({ byteOffset: 8 }) }),
    struct: () => ({ findMember: () => ({ byteOffset: 8 }), member: () => ({ byteOffset: 8 }) }),
  },
  symbols: undefined,
  address: () => 0xffffffff81000000n,
} as unknown as ProbeNames;
let lastId = 0;
const channel = { takeId: () => ++lastId, place: async () => {} } as unknown as ProbeChannel;

const word = (value: bigint, bytes = 8): HitPiece => {
  const memory = Buffer.alloc(8);
  memory.writeBigUInt64LE(BigInt.asUintN(64, value));
  return { bytes: memory.subarray(0, bytes), state: "whole" };
};
const join = (...pieces: readonly HitPiece[]): HitPiece => ({
  bytes: Buffer.concat(pieces.map(({ bytes }) => bytes)),
  state: "whole",
});
const unreadable: HitPiece = { bytes: new Uint8Array(0), state: "unreadable" };
/** The pieces that are collected of the running task. */
const current = (pid: number, tgid = pid) => [
  word(BigInt(0x1000 + pid)),
  word(BigInt(pid), 4),
  word(BigInt(tgid), 4),
  word(1n),
  { bytes: Buffer.from("task"), state: "whole" } as const,
];
const siginfo = (signal: number, code: number, pid = 0): HitPiece => {
  const bytes = Buffer.alloc(48);
  bytes.writeInt32LE(signal, 0);
  bytes.writeInt32LE(code, 8);
  bytes.writeInt32LE(pid, 16);
  return { bytes, state: "whole" };
};
const texts = (events: Iterable<TaskEvent>) =>
  [...events].map((event) => {
    const { pid } = event.task;
    if (event.kind === "signal") return `${pid} ${event.text}`;
    if (event.kind === "stop") return `${pid} stops by ${event.signal}`;
    if (event.kind === "exit") return `${pid} ends with ${event.code}`;
    return event.kind === "superseded" ? `${pid} superseded by ${event.by}` : "";
  });

const stackAt = 0xffffc90000004000n;

/** A stack with a signal's facts in it. */
function stack(info: HitPiece, offset: number): HitPiece {
  const bytes = Buffer.alloc(1 << 14);
  bytes.set(info.bytes, offset);
  return { bytes, state: "whole" };
}

class Watched {
  readonly signals = new TaskSignals(names, () => undefined);

  /** The task has passed the address for a signal's facts: in its stack, at this offset. */
  looks(pid: number, offset: number, tgid = pid): void {
    texts(this.signals.take("looks", [word(stackAt + BigInt(offset) - 8n), ...current(pid, tgid)], 1));
  }

  stops(pid: number, signal: number, jobs: bigint, memory: HitPiece, tgid = pid): string[] {
    const registers = join(word(BigInt(signal)), word(stackAt + 0x3000n));
    return texts(this.signals.take("stops", [word(jobs), registers, memory, ...current(pid, tgid)], 2));
  }

  dies(
    pid: number,
    signal: number,
    group: number,
    memory: HitPiece,
    facts: DeathFacts = {},
    tgid = pid,
  ): string[] {
    const registers = join(word(BigInt(signal)), word(stackAt + 0x3000n));
    const { own = [], shared = [], blocks = 0n, leaderBlocks = 0n, leaderFlags = 0n } = facts;
    const queue = (infos: readonly HitPiece[]) => Array.from({ length: 4 }, (_, i) => infos[i] ?? unreadable);
    const leader = word(BigInt(0x1000 + tgid));
    const state = [word(BigInt(group), 4), word(blocks), leader, word(leaderBlocks), word(leaderFlags, 4)];
    const pieces = [registers, memory, ...state, ...queue(own), ...queue(shared), ...current(pid, tgid)];
    return texts(this.signals.take("dies", pieces, 3));
  }

  continues(pid: number, tgid = pid): string[] {
    return texts(this.signals.take("fetches", current(pid, tgid), 4));
  }

  /** SIGCONT is sent; kind 0 is for one thread. */
  sent(to: number, kind: bigint, tgid = to): void {
    const numbers = join(word(kind), word(BigInt(0x1000 + to)), word(0xffff888000000000n));
    const about = current(to, tgid).slice(1);
    texts(this.signals.take("sent", [numbers, siginfo(18, 0, 7), ...about, ...current(7)], 5));
  }
}

interface DeathFacts {
  readonly own?: readonly HitPiece[];
  readonly shared?: readonly HitPiece[];
  readonly blocks?: bigint;
  readonly leaderBlocks?: bigint;
  readonly leaderFlags?: bigint;
}

const dequeued = 1n << 16n;
const sigstop = "{si_signo=SIGSTOP, si_code=SI_USER, si_pid=7, si_uid=0}";
const sigcont = "{si_signo=SIGCONT, si_code=SI_USER, si_pid=7, si_uid=0}";

test("a stop is told with its signal, of other threads without, and SIGCONT where it goes on", () => {
  const one = new Watched();
  one.looks(5, 0x3100);
  const memory = stack(siginfo(19, 0, 7), 0x3100);
  expect(one.stops(5, 19, dequeued, memory)).toEqual([`5 SIGSTOP ${sigstop}`, "5 stops by 19"]);
  // For a traced task the function is called once more.
  expect(one.stops(5, 0, (1n << 17n) | 19n, memory)).toEqual([]);
  expect(one.stops(6, 0, (1n << 17n) | 19n, memory, 5)).toEqual(["6 stops by 19"]);
  one.sent(5, 1n);
  expect(one.continues(6, 5)).toEqual([`6 SIGCONT ${sigcont}`]);
  expect(one.continues(5)).toEqual([]);
  expect(one.continues(5)).toEqual([]);
});

test("SIGCONT for one thread is told by that one, and a stop that it forestalled is none", () => {
  const one = new Watched();
  one.stops(5, 0, (1n << 17n) | 20n, unreadable);
  one.stops(6, 0, (1n << 17n) | 20n, unreadable, 5);
  one.sent(5, 0n);
  expect(one.continues(6, 5)).toEqual([]);
  expect(one.continues(5)).toEqual([`5 SIGCONT ${sigcont}`]);
  one.looks(5, 0x3200);
  expect(one.stops(5, 19, 0n, stack(siginfo(19, 0, 7), 0x3200))).toEqual([`5 SIGSTOP ${sigstop}`]);
  expect(one.continues(5)).toEqual([]);
});

test("a deadly signal is read from the frame of who took it, and only when it is that one", () => {
  const one = new Watched();
  one.looks(5, 0x3f00);
  const memory = stack(siginfo(15, 0, 7), 0x3f00);
  const told = ["5 SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=7, si_uid=0}"];
  expect(one.dies(5, 15, 0, memory)).toEqual(told);
  expect(one.dies(5, 11, 0, memory)).toEqual([]); // the facts there are those of an older signal
  expect(one.dies(6, 15, 0, memory)).toEqual([]); // the facts belong to another task
  expect(one.dies(5, 15, 0, unreadable)).toEqual([]);
  one.looks(5, 0x3fe0); // they would reach beyond the stack
  expect(one.dies(5, 15, 0, memory)).toEqual([]);
});

test("a signal that ended a program at once is found where it still waits, and told once", () => {
  const waits = { shared: [siginfo(1, 0, 3), siginfo(15, 0, 7)] };
  const told = (pid: number) => [`${pid} SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=7, si_uid=0}`];
  const one = new Watched();
  expect(one.dies(6, 9, 15, unreadable, waits, 5)).toEqual([]); // the first thread will
  expect(one.dies(5, 9, 15, unreadable, waits)).toEqual(told(5));
  expect(one.dies(6, 9, 15, unreadable, waits, 5)).toEqual([]);
  const blocking = { ...waits, leaderBlocks: 1n << 14n };
  const two = new Watched();
  expect(two.dies(5, 9, 15, unreadable, { ...blocking, blocks: 1n << 14n })).toEqual([]);
  expect(two.dies(6, 9, 15, unreadable, blocking, 5)).toEqual(told(6));
  expect(two.dies(7, 9, 15, unreadable, blocking, 5)).toEqual([]);
  const ended = { ...waits, leaderFlags: 4n };
  expect(new Watched().dies(6, 9, 15, unreadable, ended, 5)).toEqual(told(6));
  // A signal for a thread is in that thread's own queue; SIGKILL has no facts.
  expect(new Watched().dies(6, 9, 15, unreadable, { own: [siginfo(15, -6, 7)] }, 5)).toEqual([
    "6 SIGTERM {si_signo=SIGTERM, si_code=SI_TKILL, si_pid=7, si_uid=0}",
  ]);
  expect(new Watched().dies(5, 9, 9, unreadable, { shared: [siginfo(9, 0, 7)] })).toEqual([]);
  expect(new Watched().dies(5, 9, 0, unreadable, waits)).toEqual([]);
});

async function ends(): Promise<TaskEnds> {
  const one = new TaskEnds(names);
  await one.place(channel);
  return one;
}

const begins = (one: TaskEnds, code: number, pid: number, tgid = pid) =>
  texts(one.take("begins", [word(BigInt(code)), ...current(pid, tgid)], 1));
const ended = (one: TaskEnds, group: number | undefined, live: number, pid: number, tgid = pid) =>
  texts(
    one.take(
      "is-known",
      [
        word(BigInt(0x1000 + pid)),
        word(group === undefined ? 0n : 4n, 4),
        word(BigInt(group ?? 0), 4),
        word(BigInt(live), 4),
        ...current(pid, tgid),
      ],
      2,
    ),
  );

test("an end is told with the code of the whole program, of its first thread last", async () => {
  const one = await ends();
  expect(begins(one, 0x300, 5)).toEqual([]);
  expect(ended(one, undefined, 0, 5)).toEqual(["5 ends with 768"]);
  // A thread ends by itself, then the first one, then the last, which ends the process with 9.
  expect([...begins(one, 0, 12, 10), ...ended(one, undefined, 2, 12, 10)]).toEqual(["12 ends with 0"]);
  expect([...begins(one, 0x500, 10), ...ended(one, undefined, 1, 10)]).toEqual([]);
  expect([...begins(one, 0x900, 11, 10), ...ended(one, 0x900, 0, 11, 10)]).toEqual([
    "11 ends with 2304",
    "10 ends with 2304",
  ]);
  // A core was dumped meanwhile.
  expect([...begins(one, 11, 20), ...ended(one, 0x8b, 0, 20)]).toEqual(["20 ends with 139"]);
});

test("a first thread whose place another one takes is superseded", async () => {
  const one = await ends();
  const by = { pid: 31, tgid: 30, name: "x", address: 0x101fn, mm: 1n };
  expect(texts(one.replaced(by, 3))).toEqual([]);
  begins(one, 0, 30);
  expect(ended(one, undefined, 1, 30)).toEqual([]);
  expect(texts(one.replaced({ ...by, pid: 30 }, 3))).toEqual([]);
  expect(texts(one.replaced(by, 3))).toEqual(["30 superseded by 31"]);
  expect(texts(one.replaced(by, 3))).toEqual([]);
});

test("files that are let go of without an end are none", async () => {
  const one = await ends();
  expect(ended(one, undefined, 0, 5)).toEqual([]);
});
