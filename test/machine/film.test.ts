/** Films of the tiny guests, each chosen to hurt: registers at all instants, and memory, as a session sees them that stops there. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { guestAddress, type Icount, icount } from "../../src/base/units.js";
import { OpenTape, Tape } from "../../src/index.js";
import { buildPlugin } from "../../src/qemu/plugin-build.js";
import { x86Registers } from "../../src/qemu/x86-registers.js";
import { CountedSession } from "../../src/replay/session/counted-session.js";
import { compareFilm } from "../film-compare.js";
import { buildGuest } from "../guests/build.js";
import { randomNumbers } from "../timeline-walk.js";
import { sharedCache, Workbench } from "../workbench.js";

const guests = [
  "crossing",
  "devices",
  "exceptions",
  "faults",
  "modes",
  "nested",
  "overlap",
  "patching",
  "pending-user",
  "state",
  "timer",
  "trap-flag",
  "user",
];
const qemu = [process.env.VMTAPE_TEST_QEMU ?? "qemu-system-x86_64"];
/** Instants at the end of each tape, where the guest's own code is; and at its start, in the firmware. */
const lengths = { atEnd: 1500, atStart: 300 };

let bench: Workbench;
beforeAll(async () => {
  bench = await Workbench.make();
});
afterAll(() => bench[Symbol.asyncDispose]());

const tapes = new Map<string, Promise<Tape>>();
function recorded(name: string): Promise<Tape> {
  if (!tapes.has(name)) tapes.set(name, recordGuest(name));
  return tapes.get(name)!;
}

async function recordGuest(name: string): Promise<Tape> {
  const { kernel } = await buildGuest(name);
  await bench.json(["record", name, "--kernel", kernel, "-M", "32"]);
  return Tape.open(bench.places, name);
}

async function startsOf(tape: Tape) {
  const plugin = await buildPlugin({ cacheDir: sharedCache, qemuVersion: tape.manifest.qemu.version });
  return async (at: Icount) => {
    const session = await CountedSession.start(tape, { plugin, qemu });
    await session.runTo({ icount: at });
    return session;
  };
}

test.each(guests)(
  "a film of the guest %s is what a session sees that stops at each instant",
  async (name) => {
    const tape = await recorded(name);
    const start = await startsOf(tape);
    const end = tape.end.at - 1n;
    const length = Number(end < BigInt(lengths.atEnd) ? end : BigInt(lengths.atEnd));
    const seen = await compareFilm(tape, start, { from: end - BigInt(length), length }, randomNumbers(3));
    expect(seen.wrong).toEqual([]);
    expect(seen.instants).toBeGreaterThan(length);
    expect(seen.pages).toBeGreaterThan(length / 8);
  },
);

test("the first instants of a machine can be filmed", async () => {
  const tape = await recorded("hello");
  const seen = await compareFilm(
    tape,
    await startsOf(tape),
    { from: 0n, length: lengths.atStart },
    randomNumbers(4),
  );
  expect(seen.wrong).toEqual([]);
  expect(seen.instants).toBe(lengths.atStart + 1);
});

describe("a timeline that steps through films", () => {
  let tape: Tape;
  beforeAll(async () => {
    tape = await recorded("nested");
  });
  const open = (filmBytes: number) =>
    OpenTape.open(tape, { places: bench.places, qemu, filmBytes }, `@${tape.end.at - 50n}`);

  test("sees what one sees that has none, there and back", async () => {
    await using filmed = await open(64 << 20);
    await using plain = await open(0);
    for (const steps of [1, 1, 3, 200, 1]) {
      const [a, b] = [await filmed.timeline.stepBack(steps), await plain.timeline.stepBack(steps)];
      expect(a).toEqual(b);
      expect(hex(await filmed.timeline.registers())).toBe(hex(await plain.timeline.registers()));
      const { pc } = a.position;
      expect(hex(await filmed.timeline.readMemory(pc, 64))).toBe(
        hex(await plain.timeline.readMemory(pc, 64)),
      );
    }
    for (const steps of [1, 7, 150]) {
      expect(await filmed.timeline.stepForward(steps)).toEqual(await plain.timeline.stepForward(steps));
    }
    const { position } = filmed.timeline;
    expect(await filmed.timeline.stepBranches(-3)).toEqual(await plain.timeline.stepBranches(-3));
    expect(await filmed.timeline.goTo(position)).toEqual(await plain.timeline.goTo(position));
  });

  test("runs back to the same places and writes", async () => {
    await using filmed = await open(64 << 20);
    await using plain = await open(0);
    await filmed.timeline.stepBack(400); // now there is a film
    await filmed.timeline.stepForward(400);
    expect(filmed.timeline.position).toEqual(plain.timeline.position);
    const rsp = Buffer.from((await plain.timeline.registers()).subarray(56, 64)).readBigUInt64LE();
    for (const { timeline } of [filmed, plain]) {
      timeline.addPoint({ kind: "write", space: "virtual", address: (rsp - 16n) as never, length: 16 });
    }
    for (let i = 0; i < 4; i++) {
      const [a, b] = [await filmed.timeline.run("back"), await plain.timeline.run("back")];
      expect(a).toEqual(b);
      const { pc } = a.position;
      for (const { timeline } of [filmed, plain]) timeline.addPoint({ kind: "execute", address: pc });
    }
  });

  test("its steps are the instants one passes on foot, and what they changed", async () => {
    await using opened = await open(0);
    const { timeline } = opened;
    const from = icount(tape.end.at - 300n);
    await timeline.goTo({ icount: from });
    for await (const step of timeline.steps({ from, to: icount(tape.end.at - 250n), before: true })) {
      expect(timeline.position).toEqual(step.position);
      const before = (await timeline.registers()).slice();
      for (const { physical, before: stood } of step.writes) {
        if (stood) expect(hex(await timeline.readPhysical(physical!, stood.length))).toBe(hex(stood));
      }
      await timeline.stepForward();
      const after = await timeline.registers();
      expect(timeline.position.pc).toBe(step.next);
      for (const { physical, after: stands } of step.writes) {
        if (stands) expect(hex(await timeline.readPhysical(physical!, stands.length))).toBe(hex(stands));
      }
      const patched = Buffer.from(before);
      for (const change of step.registers) patched.set(change.after, offsetOf(change.name));
      patched.writeBigUInt64LE(step.next, offsetOf("rip"));
      expect(named(patched)).toEqual(named(after));
    }
  });

  test("a register's last change is the last step that the film of all before shows", async () => {
    await using opened = await open(0);
    const { timeline } = opened;
    const from = icount(tape.end.at - 2000n);
    const last = new Map<string, { icount: bigint; pc: bigint; kind: string }>();
    for await (const { position, registers, kind } of timeline.steps({
      from,
      to: timeline.position.icount,
    })) {
      for (const { name } of registers) last.set(name, { icount: position.icount, pc: position.pc, kind });
    }
    expect(last.size).toBeGreaterThan(5);
    for (const [name, { icount: at, pc, kind }] of last) {
      const found = await timeline.lastRegisterChange(name);
      expect([name, found?.position.icount, found?.position.pc, found?.kind]).toEqual([name, at, pc, kind]);
    }
    expect(await timeline.lastRegisterChange("xmm9")).toBeUndefined();
    await expect(timeline.lastRegisterChange("rip")).rejects.toMatchObject({ code: "usage" });
  });
});

test("whatever is watched, branches are counted as when nothing is", async () => {
  const tape = await recorded("nested");
  const start = await startsOf(tape);
  const end = icount(tape.end.at - 5n);
  await using plain = await start(end);
  for (const kind of ["write", "read", "access"] as const) {
    await using watching = await start(icount(end - 1500n));
    await watching.arm([{ kind, space: "virtual", address: guestAddress(0x9000), length: 8 }]);
    expect([kind, await watching.run(end)]).toEqual([kind, plain.position]);
  }
});

test("a session that steps a thousand times is never at a loss", async () => {
  const tape = await recorded("transfers");
  await using session = await (await startsOf(tape))(icount(1000));
  for (let i = 1; i <= 3000; i++) expect((await session.step()).icount).toBe(icount(1000 + i));
});

/** RF depends on how one came there: see `film-compare.ts`. */
const named = (block: Uint8Array) =>
  Object.fromEntries(
    x86Registers.map(({ name, offset, bytes }) => [
      name,
      hex(withoutResume(name, block.slice(offset, offset + bytes))),
    ]),
  );

const hex = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes).toString("hex");

function withoutResume(name: string, bytes: Uint8Array): Uint8Array {
  if (name === "eflags") bytes[2]! &= ~1;
  return bytes;
}

function offsetOf(name: string): number {
  return registerOffsets.get(name)!;
}

const registerOffsets = new Map(x86Registers.map((register) => [register.name, register.offset]));
