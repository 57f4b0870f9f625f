import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BranchBatch, type BranchRecord } from "../../src/formats/branch.js";
import { BranchLogWriter } from "../../src/trace/branch-log-writer.js";
import { extractBranches } from "../../src/trace/extract.js";
import { joinBranchLogs } from "../../src/trace/join-logs.js";
import { openBranches } from "../../src/trace/open-branches.js";
import { batchOf, recordsOf } from "../formats/branch-samples.js";
import { walkBranches } from "../formats/branch-walk.js";

const records = walkBranches(21, 4000, { brctr: 100, icount: 1000 });
let directory: string;
let whole: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "vmtape-test-"));
  whole = join(directory, "whole");
  await using writer = await BranchLogWriter.create(whole, {
    startBrctr: 100,
    startIcount: 990,
    chunkBits: 9,
  });
  await writer.add(batchOf(records));
  await writer.finish({ icount: Number(records.at(-1)!.icount) + 55 });
});
afterAll(() => rm(directory, { recursive: true }));

async function extract(
  source: string,
  name: string,
  first: number,
  last: number | undefined,
  format: "vmtape" | "bts" | "bts-extended" = "vmtape",
): Promise<string> {
  await using reader = await openBranches(source);
  const path = join(directory, name);
  await extractBranches(reader, { first, last }, path, { format });
  return path;
}

async function read(path: string): Promise<BranchRecord[]> {
  await using reader = await openBranches(path);
  expect(await reader.check()).toMatchObject({ ok: true });
  const found: BranchRecord[] = [];
  for await (const batch of reader.batches()) found.push(...recordsOf(batch));
  return found;
}

const bare = (list: readonly BranchRecord[], first?: number) =>
  list.map(({ from, to, brctr }, index) => ({
    from,
    to,
    brctr: first === undefined ? brctr : BigInt(first + index),
  }));

describe("extracting", () => {
  test("all of a log gives the same bytes", async () => {
    const copy = await extract(whole, "copy", 0, undefined);
    expect((await readFile(copy)).equals(await readFile(whole))).toBe(true);
  });

  test("gives the records of an inclusive range, in any format", async () => {
    const range = fc.tuple(fc.integer({ min: 90, max: 4099 }), fc.integer({ min: 0, max: 1500 }));
    await fc.assert(
      fc.asyncProperty(range, async ([first, length]) => {
        const last = Math.max(100, first + length);
        const expected = records.slice(Math.max(0, first - 100), last - 100 + 1);
        expect(await read(await extract(whole, "part", first, last))).toEqual(expected);
        expect(bare(await read(await extract(whole, "bts", first, last, "bts")))).toEqual(bare(expected, 0));
        expect(bare(await read(await extract(whole, "btsx", first, last, "bts-extended")))).toEqual(
          bare(expected),
        );
      }),
      { numRuns: 30 },
    );
  });

  test("pieces one after the other can be joined again", async () => {
    const a = await extract(whole, "a", 0, 1999);
    const b = await extract(whole, "b", 2000, 2000);
    const c = await extract(whole, "c", 2001, undefined);
    await joinBranchLogs([a, b, c], join(directory, "abc"));
    expect((await readFile(join(directory, "abc"))).equals(await readFile(whole))).toBe(true);
  });

  test("an empty range is an error and leaves no file", async () => {
    const before = await readdir(directory);
    await expect(extract(whole, "empty", 5000, 6000)).rejects.toThrow(
      /no branch records from 5000 to 6000: it holds 100 to 4099/,
    );
    await expect(extract(whole, "empty", 0, 99)).rejects.toThrow(/no branch records/);
    expect(await readdir(directory)).toEqual(before);
  });
});

describe("BTS files", () => {
  test("become branch logs without kinds and icounts, and BTS files again", async () => {
    const bts = await extract(whole, "x.bts", 0, undefined, "bts-extended");
    const log = await extract(bts, "from-bts", 0, undefined);
    const found = await read(log);
    expect(bare(found)).toEqual(bare(records));
    expect(found[0]).toMatchObject({ kind: "unknown", icount: undefined });
    const again = await extract(log, "again.bts", 0, undefined, "bts-extended");
    expect((await readFile(again)).equals(await readFile(bts))).toBe(true);
    await using reader = await openBranches(log);
    expect(reader.info).toMatchObject({ format: "vmtape", start: { icount: undefined } });
    await expect(reader.seekIcount(7)).rejects.toThrow(/tells no instruction counts/);
  });

  test("have three little-endian words a record", async () => {
    const plain = await readFile(await extract(whole, "p.bts", 105, 106, "bts"));
    expect(plain.length).toBe(48);
    expect([plain.readBigUInt64LE(24), plain.readBigUInt64LE(32)]).toEqual([
      records[6]!.from,
      records[6]!.to,
    ]);
    const extended = await readFile(await extract(whole, "e.bts", 105, 106, "bts-extended"));
    expect(extended.subarray(0, 24).every((byte) => byte === 0xff)).toBe(true);
    expect(extended.readBigUInt64LE(24 + 16)).toBe(105n);
  });

  test("with a partial last record are read without it, and it is told", async () => {
    const bytes = await readFile(await extract(whole, "cut.bts", 0, 300, "bts-extended"));
    const path = join(directory, "partial.bts");
    for (const length of [25, 47, 48, 49, 24 * 11 + 5, bytes.length - 1]) {
      await writeFile(path, bytes.subarray(0, length));
      await using reader = await openBranches(path);
      const kept = Math.floor(length / 24) - 1;
      expect(reader.info.records).toBe(kept);
      expect(reader.info.whole).toBe(length % 24 === 0);
      if (length % 24) expect(reader.info.damage).toMatchObject({ offset: length - (length % 24) });
      const batch = new BranchBatch();
      await reader.read(batch);
      expect(bare(recordsOf(batch))).toEqual(bare(records.slice(0, kept)));
    }
  });

  test("with counts that several records share are found by the first of them", async () => {
    const path = join(directory, "shared.bts");
    const words = [0xffffffffffffffffn, 0xffffffffffffffffn, 0xffffffffffffffffn];
    for (const [index, place] of [7n, 7n, 7n, 9n, 9n, 12n].entries()) words.push(BigInt(index), 1n, place);
    await writeFile(path, Buffer.from(BigUint64Array.from(words).buffer));
    await using reader = await openBranches(path);
    const batch = new BranchBatch();
    for (const [place, index] of [
      [0, 0],
      [7, 0],
      [8, 3],
      [9, 3],
      [10, 5],
      [12, 5],
    ] as const) {
      await reader.readAt(place, batch);
      expect(batch.from[0]).toBe(BigInt(index));
    }
    await reader.readAt(13, batch);
    expect(batch.length).toBe(0);
  });
});
