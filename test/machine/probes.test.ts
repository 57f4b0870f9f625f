import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { guestAddress } from "../../src/base/units.js";
import { buildPlugin } from "../../src/qemu/plugin-build.js";
import { Tape } from "../../src/tape/tape.js";
import { assembleExpression } from "../formats/agent-expression.js";
import { buildGuest, guestLabels } from "../guests/build.js";
import { type SteppedInstant, stepInstants } from "../oracle/instants.js";
import type { Operand } from "../oracle/memory-operands.js";
import { sharedCache, Workbench } from "../workbench.js";
import { type CollectedHit, ProbedReplay } from "./probed-replay.js";

// Probes in tiny guests, compared with every instant of their windows, as single steps of a plain QEMU show it.
const names = ["faults", "crossing", "pending", "overlap", "nested", "user", "devices", "state"];

interface Stepped {
  readonly argv: string[];
  readonly plugin: string;
  readonly instants: readonly SteppedInstant[];
  readonly first: number;
  readonly last: number;
}

let bench: Workbench;
const guests = new Map<string, Promise<Stepped>>();
beforeAll(async () => {
  bench = await Workbench.make();
});
afterAll(() => bench[Symbol.asyncDispose]());

/** Records a guest and steps through its window, only once for each guest. */
function stepped(name: string): Promise<Stepped> {
  const known = guests.get(name) ?? stepThrough(name);
  guests.set(name, known);
  return known;
}

async function stepThrough(name: string): Promise<Stepped> {
  const guest = await buildGuest(name);
  const labels = await guestLabels(guest);
  // A processor with cmpxchg16b, which the default one lacks on 7.2: the flags that it leaves are not compared.
  const machine = ["--memory", "64", "--cpu", "qemu64,+rdrand"];
  await bench.json(["record", name, "--kernel", guest.kernel, ...machine]);
  const { replayCommand } = await bench.json<{ replayCommand: string[] }>(["info", name]);
  const { qemu } = (await Tape.open(bench.places, name)).manifest;
  const plugin = await buildPlugin({ cacheDir: sharedCache, qemuVersion: qemu.version });
  const instants = await stepInstants(replayCommand, labels.get("window_begin")!, labels.get("window_end")!);
  return { argv: replayCommand, plugin, instants, first: instants[0]!.icount, last: instants.at(-1)!.icount };
}

const places = (instants: readonly SteppedInstant[]) => [...new Set(instants.map(({ pc }) => pc))];
const key = (icount: bigint | number, pc: bigint) => `${icount} ${pc.toString(16)}`;

/** Clears the resume flag, which QEMU treats differently when it single-steps. */
function withoutResume(registers: Buffer): string {
  const copy = Buffer.from(registers);
  copy.writeUInt32LE((copy.readUInt32LE(136) & ~0x10000) >>> 0, 136);
  return copy.toString("hex");
}

describe.each(["on", "off"])("with branches followed: %s", (following) => {
  const follow = following === "on";

  test.each(names)("%s: every instruction is told before it executes, with all registers", async (name) => {
    const { argv, plugin, instants, first, last } = await stepped(name);
    await using replay = await ProbedReplay.start(argv, plugin, { follow });
    for (const [id, pc] of places(instants).entries()) {
      const place = { at: "execute", address: guestAddress(pc) } as const;
      await replay.probes.place(id, place, { collect: [{ collect: "registers" }] });
    }
    const hits = (await replay.run()).filter(({ icount }) => icount >= first && icount <= last);
    const told = new Map(hits.map((hit) => [key(hit.icount, hit.pc), hit]));
    expect(told.size).toBe(hits.length);
    const wrong = { missing: [] as string[], registers: [] as string[] };
    for (const instant of instants) {
      const here = key(instant.icount, instant.pc);
      const hit = told.get(here);
      // An instruction that faults may have been hit before that.
      if (instant.executed && !hit) wrong.missing.push(here);
      if (hit && withoutResume(hit.pieces[0]!) !== withoutResume(instant.registers))
        wrong.registers.push(here);
      told.delete(here);
    }
    expect(wrong).toEqual({ missing: [], registers: [] });
    expect([...told.keys()]).toEqual([]);
  });

  test.each(names)("%s: every access is told", async (name) => {
    const { argv, plugin, instants, first, last } = await stepped(name);
    await using replay = await ProbedReplay.start(argv, plugin, { follow });
    await replay.run(first - 1);
    const everywhere = {
      at: "access",
      space: "virtual",
      address: guestAddress(0n),
      length: 2 ** 47,
    } as const;
    await replay.probes.place(1, everywhere);
    const all = byInstant(await replay.run(last + 1));
    for (const instant of instants)
      checkAccesses(instant, all.get(key(instant.icount, instant.pc)) ?? [], follow);
  });
});

// 7.2 shows plugins one instruction too many there, and the plugin learns the layout of QEMU's notes from the first
// block that is met.
test("the first block that is met may end across a page", async () => {
  const { argv, plugin, instants, first, last } = await stepped("crossing");
  const executed = new Set(instants.filter((one) => one.executed).map(({ icount, pc }) => key(icount, pc)));
  const nearEnds = places(instants).filter((pc) => (pc & 0xfffn) >= 0xffcn);
  expect(nearEnds.length).toBeGreaterThan(5);
  for (const pc of nearEnds) {
    await using replay = await ProbedReplay.start(argv, plugin, { follow: false });
    await replay.probes.place(1, { at: "execute", address: guestAddress(pc) });
    const hits = (await replay.run()).filter(({ icount }) => icount >= first && icount <= last);
    const told = new Set(hits.map((hit) => key(hit.icount, hit.pc)));
    const wanted = [...executed].filter((one) => one.endsWith(` ${pc.toString(16)}`));
    expect([...told], pc.toString(16)).toEqual(expect.arrayContaining(wanted));
    expect(wanted.length).toBeGreaterThan(0);
  }
});

test("a watchpoint on few bytes is told what one on all bytes would be, by both kinds of address", async () => {
  const { argv, plugin, first, last } = await stepped("faults");
  await using replay = await ProbedReplay.start(argv, plugin);
  await replay.run(first - 1);
  const all = { at: "write", space: "virtual", address: guestAddress(0n), length: 2 ** 47 } as const;
  await replay.probes.place(0, all);
  const writes = await wholeWindow(replay, last);
  const targets = [...new Set(writes.map(({ access }) => access!.address))].filter((_, i) => i % 7 === 0);
  expect(targets.length).toBeGreaterThan(5);
  for (const target of targets) {
    await using narrow = await ProbedReplay.start(argv, plugin);
    const address = guestAddress(target + 1n);
    await narrow.run(first - 1);
    await narrow.probes.place(1, { at: "write", space: "virtual", address, length: 1 });
    const { physical } = writes.find(({ access }) => access!.address === target)!.access!;
    const frame = guestAddress(physical! + 1n);
    await narrow.probes.place(2, { at: "write", space: "physical", address: frame, length: 1 });
    const hits = await wholeWindow(narrow, last);
    const touching = (place: "address" | "physical", wanted: bigint) =>
      writes
        .filter(
          ({ access }) => access![place]! <= wanted && access![place]! + BigInt(access!.length) > wanted,
        )
        .map(({ icount }) => icount);
    const told = (id: number) => hits.filter((hit) => hit.id === id).map(({ icount }) => icount);
    expect(told(1)).toEqual(touching("address", address));
    // An access that crosses into the page is reported with its own start, which is in another page.
    expect(told(2)).toEqual(expect.arrayContaining(touching("physical", frame)));
  }
});

test.each([true, false])(
  "a machine that stops at a probe stands there, and goes on as before (followed: %s)",
  async (follow) => {
    const { argv, plugin, instants, first, last } = await stepped("overlap");
    await using replay = await ProbedReplay.start(argv, plugin, { follow, stub: true });
    const when = assembleExpression(
      `icount; const ${first}; less_unsigned; log_not; icount; const 97; rem_unsigned; log_not; bit_and; end`,
    );
    for (const [id, pc] of places(instants).entries()) {
      await replay.probes.place(id, { at: "execute", address: guestAddress(pc) }, { when, stop: true });
    }
    const expected = instants.filter(({ icount, executed }) => executed && icount % 97 === 0);
    for (const instant of expected) {
      const [hit] = await replay.run();
      expect(key(hit!.icount, hit!.pc)).toBe(key(instant.icount, instant.pc));
      expect(hit!.stops).toBe(true);
      expect(await replay.icount()).toBe(instant.icount);
      expect(withoutResume(Buffer.from(await replay.stub!.registers()))).toEqual(
        withoutResume(instant.registers),
      );
      const where = await replay.plugin.where(); // ends QEMU when its count is another
      expect(where.pc).toBe(instant.pc);
      if (follow) expect(where.brctr).toBe(hit!.brctr);
    }
    await replay.probes.removeAll();
    expect(await replay.run(last + 1)).toEqual([]);
    expect(await replay.icount()).toBe(last + 1);
  },
);

test("conditions ask registers, memory and counts; what cannot be asked counts as true", async () => {
  const { argv, plugin, instants } = await stepped("faults");
  const at = instants.filter(({ executed }) => executed)[20]!.pc;
  const times = instants.filter(({ pc, executed }) => executed && pc === at);
  await using replay = await ProbedReplay.start(argv, plugin);
  const rbx = (instant: SteppedInstant) => instant.registers.readBigUInt64LE(8);
  const wanted = rbx(times[2]!);
  const conditions = [
    `reg 1; const ${wanted}; equal; end`,
    "hit; const 3; equal; end",
    `pc; ref8; const ${0n}; less_unsigned; log_not; end`,
    "const 8; ref64; end", // mapped, and zero or not
    "reg 500; end",
    "brctr; icount; less_unsigned; end",
  ];
  for (const [id, text] of conditions.entries()) {
    const place = { at: "execute", address: guestAddress(at) } as const;
    await replay.probes.place(id, place, { when: assembleExpression(text) });
  }
  const hits = (await replay.run()).filter(({ icount }) => icount >= instants[0]!.icount);
  const of = (id: number) => hits.filter((hit) => hit.id === id);
  expect(of(0).map(({ icount }) => Number(icount))).toEqual(
    times.filter((instant) => rbx(instant) === wanted).map(({ icount }) => icount),
  );
  expect(of(1).map(({ number }) => number)).toEqual([3n]);
  expect(of(2)).toHaveLength(of(5).length);
  expect(of(4).every(({ failed }) => failed)).toBe(true);
  expect(of(4).length).toBeGreaterThanOrEqual(times.length);
  expect(of(5).some(({ failed }) => failed)).toBe(false);
});

async function wholeWindow(replay: ProbedReplay, last: number): Promise<CollectedHit[]> {
  return (await replay.run(last + 1)).filter(({ icount }) => icount <= last);
}

function byInstant(hits: readonly CollectedHit[]): Map<string, CollectedHit[]> {
  const all = new Map<string, CollectedHit[]>();
  for (const hit of hits) {
    const here = key(hit.icount, hit.pc);
    all.set(here, [...(all.get(here) ?? []), hit]);
  }
  return all;
}

/** Compares the hits at one instant with the decoder's account of its instruction. */
function checkAccesses(instant: SteppedInstant, hits: readonly CollectedHit[], follow: boolean): void {
  const { operands, executed, icount, stackAfter } = instant;
  const told = hits.map(({ access }) => access!);
  const own = told.filter(({ delivery }) => !delivery);
  const accesses = operands?.operands ?? [];
  for (const write of [false, true]) {
    const seen = bytesOf(own.filter((access) => access.write === write));
    const possible = bytesOf(accesses.filter((operand) => (write ? operand.write : operand.read)));
    const certain = bytesOf(
      accesses.filter((operand) => isCertain(operand) && (write ? operand.write : operand.read)),
    );
    const what = `${icount} ${operands?.text} ${write ? "writes" : "reads"}`;
    if (!operands?.more)
      expect(
        [...seen].filter((byte) => !possible.has(byte)),
        what,
      ).toEqual([]);
    if (executed && !operands?.more)
      expect(
        [...certain].filter((byte) => !seen.has(byte)),
        what,
      ).toEqual([]);
  }
  const frames = told.filter(({ delivery }) => delivery).map(({ address }) => address);
  const delivers = !executed || /^(int|ud)/.test(operands?.text ?? "");
  // An instruction that is refused when it is decoded counts as executed, though it leads to a delivery.
  if (follow && (delivers || frames.length > 0)) expect(frames, `${icount} frames`).toEqual([stackAfter]);
  if (!follow) expect(frames).toEqual([]);
}

const isCertain = ({ conditional, length }: Operand) => !conditional && length > 0 && length <= 32;

function bytesOf(ranges: readonly { readonly address: bigint; readonly length: number }[]): Set<bigint> {
  const bytes = new Set<bigint>();
  for (const { address, length } of ranges) for (let i = 0; i < length; i++) bytes.add(address + BigInt(i));
  return bytes;
}
