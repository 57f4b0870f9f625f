/** The index table over a made log: rows get their offsets in it, and several writers lose nothing. */
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { bytesSource } from "../../src/base/byte-source.js";
import { brctr, icount } from "../../src/base/units.js";
import type { Manifest } from "../../src/formats/manifest.js";
import { dialect72 } from "../../src/formats/replay-log-dialect.js";
import type { EventBody, ReplayEvent } from "../../src/formats/replay-log-event.js";
import { readReplayLog } from "../../src/formats/replay-log-reader.js";
import { addToTable, mergeRows, placeInLog, readIndexTable } from "../../src/replay/index/table-file.js";
import { TapeIndex } from "../../src/replay/index/tape-index.js";
import { deliveringInstants, QuietInstants } from "../../src/replay/session/quiet-instants.js";
import { Tape } from "../../src/tape/tape.js";
import { makeLog } from "../formats/replay-log-samples.js";

const hash = "a".repeat(64);
const stored = { bytes: 1, sha256: hash };
const end = 50_000_000;

let directory: string;
let cache: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "vmtape-test-"));
  cache = join(directory, "cache");
});
afterEach(() => rm(directory, { recursive: true, force: true }));

/** A complete tape of which only the log is there. */
async function tapeOf(log: Uint8Array): Promise<Tape> {
  await writeFile(join(directory, "replay.log"), log);
  const machine = { memoryMB: 256, disks: [], firmware: [] };
  const done = {
    cause: "power-off",
    icount: end,
    seconds: 1,
    log: { ...stored, events: 1 },
    console: stored,
  };
  const manifest = { machine, qemu: { version: "7.2.22", sha256: hash }, witnesses: [], end: done };
  return new Tape(directory, manifest as unknown as Manifest, "complete", "t");
}

const event: fc.Arbitrary<EventBody> = fc.oneof(
  fc.record({ kind: fc.constant("instruction" as const), count: fc.integer({ min: 1, max: 2_000_000 }) }),
  fc.record({ kind: fc.constant("clock-virtual-rt" as const), ns: fc.bigInt({ min: 0n, max: 10n ** 12n }) }),
  fc.constant({ kind: "interrupt" } as const),
  fc.constant({ kind: "exception" } as const),
);
const logs = fc
  .array(event, { maxLength: 60 })
  .map((events) => makeLog([...events, { kind: "end" }], dialect72));

test("a row's time and offset are those of the last events until then", async () => {
  await fc.assert(
    fc.asyncProperty(logs, fc.uniqueArray(fc.nat(end), { maxLength: 20 }), async (log, instants) => {
      const tape = await tapeOf(log);
      const events: ReplayEvent[] = [];
      for await (const one of readReplayLog(bytesSource(log), dialect72)) events.push(one);
      const rows = instants.sort((a, b) => a - b).map((at) => ({ icount: at, brctr: at }));
      const expected = rows.map((row) => {
        const until = events.filter((one) => one.icount <= BigInt(row.icount));
        const clock = until.findLast((one) => one.kind === "clock-virtual-rt");
        const time = clock?.kind === "clock-virtual-rt" ? Number(clock.ns) : null;
        return { ...row, time, offset: Number(until.at(-1)?.offset ?? 12) };
      });
      expect(await placeInLog(tape, rows)).toEqual(expected);
    }),
    { numRuns: 60 },
  );
});

test("a quiet instant is the first at or after another at which nothing is delivered", async () => {
  await fc.assert(
    fc.asyncProperty(logs, fc.nat(end), async (log, from) => {
      const tape = await tapeOf(log);
      const delivers = async (at: number) => (await deliveringInstants(tape, [icount(at)])).size > 0;
      const quiet = (await QuietInstants.of(tape)).from(from);
      expect(await delivers(quiet)).toBe(false);
      for (let at = from; at < quiet; at++) expect(await delivers(at)).toBe(true);
    }),
    { numRuns: 40 },
  );
});

test("rows of several writers at once are all there, in order, and readers see whole tables only", async () => {
  const tape = await tapeOf(makeLog([{ kind: "end" }], dialect72));
  const row = (at: number) => ({ icount: at * 1_000_000, brctr: at });
  let isDone = false;
  const lengths: number[] = []; // -1: no whole table
  const reading = (async () => {
    while (!isDone) lengths.push((await readIndexTable(cache))?.rows.length ?? -1);
  })();
  const writers = Array.from({ length: 8 }, async (_, writer) => {
    for (let i = 0; i < 5; i++) await addToTable(tape, cache, { rows: [row(i * 8 + writer)] });
  });
  await Promise.all(writers);
  isDone = true;
  await reading;
  expect(lengths).toEqual([...lengths].sort((a, b) => a - b));
  const table = await readIndexTable(cache);
  expect(table?.rows.map(({ brctr }) => brctr)).toEqual(Array.from({ length: 40 }, (_, i) => i));
  expect(await readdir(cache)).toEqual(["index.jsonl", "index.lock"]);
});

test("what is counted grows only where a pass goes on", async () => {
  const tape = await tapeOf(makeLog([{ kind: "end" }], dialect72));
  const counted = async (from: number, to: number) => {
    await addToTable(tape, cache, { rows: [], counted: { from, to } });
    return (await readIndexTable(cache))?.counted;
  };
  expect(await counted(0, 10)).toBe(10);
  expect(await counted(20, 30)).toBe(10);
  expect(await counted(10, 25)).toBe(25);
  expect(await counted(0, 5)).toBe(25);
});

test("rows closer together than the table is fine are left out, but the last stays", () => {
  const table = {
    log: hash,
    every: 1000,
    counted: 0,
    budget: 0,
    rows: [{ icount: 0, brctr: 0, time: null, offset: 12 }],
  };
  const rows = [0, 100, 600, 700, 1000, 1001].map((at) => ({ icount: at, brctr: at }));
  expect(mergeRows(table, { rows }).map(({ icount }) => icount)).toEqual([0, 600, 1001]);
});

test("a row is found by instant, branch count and time", async () => {
  const tape = await tapeOf(
    makeLog(
      [
        { kind: "instruction", count: 2_000_000 },
        { kind: "clock-virtual-rt", ns: 500n },
        { kind: "instruction", count: 2_000_000 },
        { kind: "clock-virtual-rt", ns: 900n },
        { kind: "end" },
      ],
      dialect72,
    ),
  );
  const rows = [
    [0, 0],
    [1_500_000, 10],
    [3_000_000, 10],
    [5_000_000, 70],
  ] as const;
  await addToTable(tape, cache, {
    rows: rows.map(([at, count]) => ({ icount: at, brctr: count })),
    budget: 77,
  });
  const index = await TapeIndex.open(cache, { sha256: hash });
  expect([index.rowCount, index.budget, index.checkpoints]).toEqual([4, 77, []]);
  const at = (value: number) => index.rowAt(icount(value))?.icount;
  expect([0, 1_499_999, 1_500_000, 2_999_999, 9_000_000].map(at)).toEqual([
    0n,
    0n,
    1_500_000n,
    1_500_000n,
    5_000_000n,
  ]);
  const of = (value: number) => index.rowOfBrctr(brctr(value))?.icount;
  expect([0, 9, 10, 69, 70].map(of)).toEqual([0n, 0n, 3_000_000n, 3_000_000n, 5_000_000n]);
  expect([0n, 499n, 500n, 900n].map((time) => index.rowAtTime(time)?.icount)).toEqual([
    1_500_000n,
    1_500_000n,
    3_000_000n,
    5_000_000n,
  ]);
  expect(index.rowAfter(index.rowAt(icount(2_000_000))!)?.icount).toBe(3_000_000n);
  expect(index.rowAfter(index.rowAt(icount(6_000_000))!)).toBeUndefined();
  expect([...index.rows()].map(({ time, logOffset }) => [time, logOffset])).toEqual([
    [undefined, 12],
    [undefined, 12],
    [500n, 26],
    [900n, 40],
  ]);
});
