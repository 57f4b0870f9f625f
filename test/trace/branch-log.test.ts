import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ByteSource, bytesSource } from "../../src/base/byte-source.js";
import { isVmtapeError } from "../../src/base/errors.js";
import { BranchBatch, type BranchRecord } from "../../src/formats/branch.js";
import { fileHeaderLayout, trailerLayout } from "../../src/formats/branch-log-layout.js";
import { BranchLog } from "../../src/trace/branch-log.js";
import { appendBranchLog } from "../../src/trace/branch-log-append.js";
import { BranchLogWriter } from "../../src/trace/branch-log-writer.js";
import type { BranchReader } from "../../src/trace/branch-reader.js";
import { joinBranchLogs } from "../../src/trace/join-logs.js";
import { openBranches } from "../../src/trace/open-branches.js";
import { batchOf, isBefore, recordsOf } from "../formats/branch-samples.js";
import { walkBranches } from "../formats/branch-walk.js";

const tape = "0b6c2a52-95c4-4a0b-9c7e-1d3f5a7b9c11";
const start = { brctr: 3000, icount: 50_000 };
const records = walkBranches(11, 5000, start);
const facts = { tape, qemu: "7.2.22", chunkBits: 10, startBrctr: start.brctr, startIcount: start.icount };
let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "vmtape-test-"));
});
afterAll(() => rm(directory, { recursive: true }));

async function writeLog(name: string, part: readonly BranchRecord[], from = start): Promise<string> {
  const path = join(directory, name);
  await using writer = await BranchLogWriter.create(path, {
    ...facts,
    startBrctr: from.brctr,
    startIcount: from.icount,
  });
  for (let at = 0; at < part.length; at += 700) await writer.add(batchOf(part.slice(at, at + 700)));
  await writer.finish();
  return path;
}

async function all(reader: BranchReader): Promise<BranchRecord[]> {
  const found: BranchRecord[] = [];
  for await (const batch of reader.batches({}, new BranchBatch(900))) found.push(...recordsOf(batch));
  return found;
}

describe("a branch log", () => {
  test("gives back what was written, and says what it is", async () => {
    const path = await writeLog("whole", records);
    await using log = await openBranches(path, { tape });
    expect(await all(log)).toEqual(records);
    expect(log.info).toMatchObject({
      format: "vmtape",
      version: 2,
      tape,
      arch: "x86_64",
      qemu: "7.2.22",
      records: 5000,
      chunks: 6,
      start: { brctr: 3000n, icount: 50_000n },
      end: { brctr: 8000n, icount: records.at(-1)!.icount },
      whole: true,
      damage: undefined,
    });
    const returns = records.filter(({ kind }) => kind === "return").length;
    expect(log.info.kinds).toMatchObject({ return: returns });
    expect(await log.check()).toMatchObject({
      ok: true,
      records: 5000,
      badChunks: 0,
      kinds: { return: returns },
    });
  });

  test("can be entered at any brctr and any icount", async () => {
    await using log = await BranchLog.open(await writeLog("seek", records));
    const batch = new BranchBatch(5);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 8100 }), async (place) => {
        await log.readAt(place, batch);
        const index = Math.max(0, place - 3000);
        expect(recordsOf(batch)).toEqual(records.slice(index, index + 5));
      }),
    );
    const last = Number(records.at(-1)!.icount);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: last + 10 }), async (executed) => {
        const place = await log.seekIcount(executed);
        const before = records.filter((record) => isBefore(record, executed)).length;
        expect(place).toBe(BigInt(3000 + before));
        await log.read(batch);
        expect(recordsOf(batch)).toEqual(records.slice(before, before + 5));
      }),
    );
  });

  test("gives ranges by brctr and by icount", async () => {
    await using log = await BranchLog.open(await writeLog("range", records));
    const found: BranchRecord[] = [];
    for await (const batch of log.batches({ from: 3100n, to: 3200n })) found.push(...recordsOf(batch));
    expect(found).toEqual(records.slice(100, 200));
    found.length = 0;
    const [fromIcount, toIcount] = [records[99]!.icount!, records[199]!.icount!];
    for await (const batch of log.batches({ fromIcount, toIcount })) found.push(...recordsOf(batch));
    expect(found).toEqual(
      records.filter((record) => !isBefore(record, fromIcount) && isBefore(record, toIcount)),
    );
  });

  test("opens and enters with a few small reads, however long it is", async () => {
    const bytes = await readFile(
      await writeLog("reads", walkBranches(12, 60_000, { brctr: 0 }), { brctr: 0, icount: 0 }),
    );
    let reads = 0;
    let fetched = 0;
    const inner = bytesSource(bytes);
    const counting: ByteSource = {
      ...inner,
      read: async (offset, into) => {
        reads++;
        fetched += into.length;
        return inner.read(offset, into);
      },
    };
    const log = await BranchLog.over(counting);
    await log.readAt(43_210, new BranchBatch(1));
    expect(reads).toBeLessThanOrEqual(5);
    expect(fetched).toBeLessThan(8000);
  });

  test("is read up to its last whole chunk when it is cut at any byte", async () => {
    const path = await writeLog("cut", records.slice(0, 2500));
    const bytes = await readFile(path);
    await using log = await BranchLog.open(path);
    const ends: { offset: number; records: number }[] = [{ offset: fileHeaderLayout.size, records: 0 }];
    for (let number = 0; number < log.chunkCount; number++) {
      const { offset, bytes: raw, header } = await log.rawChunk(number);
      ends.push({ offset: offset + raw.length, records: header.lastBrctr + 1 - 3000 });
    }
    for (let length = 0; length < bytes.length; length++) {
      const source = bytesSource(bytes.subarray(0, length), "cut");
      if (length < fileHeaderLayout.size) {
        await expect(BranchLog.over(source)).rejects.toSatisfy((error) => isVmtapeError(error, "bad-file"));
        continue;
      }
      const cut = await BranchLog.over(source);
      const expected = ends.filter(({ offset }) => offset <= length).at(-1)!.records;
      expect(cut.info.records, `cut at ${length}`).toBe(expected);
      expect(cut.info.whole).toBe(false);
      expect(cut.info.end.brctr).toBe(BigInt(3000 + expected));
      if (length % 97 === 0) {
        expect(await all(cut)).toEqual(records.slice(0, expected));
        expect(await cut.check()).toMatchObject({ ok: false, records: expected });
      }
    }
  }, 60_000);

  test("with any bit flipped is told to be damaged, and never gives a wrong record", async () => {
    const part = records.slice(0, 300);
    const bytes = await readFile(await writeLog("flipped", part));
    for (let at = 0; at < bytes.length; at++) {
      const changed = Uint8Array.from(bytes);
      changed[at]! ^= 1 << (at % 8);
      const seen: BranchRecord[] = [];
      let complaint: unknown;
      let ok = false;
      try {
        const log = await BranchLog.over(bytesSource(changed, "flipped"));
        ok = (await log.check()).ok;
        for await (const batch of log.batches({}, new BranchBatch(100))) seen.push(...recordsOf(batch));
      } catch (error) {
        complaint = error;
        expect(isVmtapeError(error), String(error)).toBe(true);
      }
      expect(ok, `bit flipped at ${at}`).toBe(false);
      expect(seen).toEqual(part.slice(0, seen.length));
      if (!complaint) expect(seen.length).toBe(part.length);
    }
  }, 60_000);

  test("says where the first damage is, and gives the records before and after it", async () => {
    const path = await writeLog("damaged", records);
    const bytes = await readFile(path);
    await using whole = await BranchLog.open(path);
    const third = await whole.rawChunk(2);
    bytes[third.offset + 200]! ^= 1;
    const log = await BranchLog.over(bytesSource(bytes, "damaged"));
    const check = await log.check();
    expect(check).toMatchObject({ ok: false, badChunks: 1, damage: { offset: third.offset, brctr: 4096n } });
    const batch = new BranchBatch(10_000);
    await log.seek(3000);
    expect(await log.read(batch)).toBe(4096 - 3000);
    await expect(log.read(batch)).rejects.toThrow(/brctr 4096.*damaged/);
    expect(await log.readAt(5120, batch)).toBe(8000 - 5120);
    expect(recordsOf(batch)).toEqual(records.slice(5120 - 3000));
  });

  test("is refused with a clear sentence when it is not what is asked for", async () => {
    const path = await writeLog("other", records.slice(0, 10));
    await expect(openBranches(path, { tape: "11111111-2222-4333-8444-555555555555" })).rejects.toThrow(
      /is the branch log of another tape/,
    );
    const later = await readFile(path);
    later.writeUInt32LE(9, fileHeaderLayout.version);
    await expect(BranchLog.over(bytesSource(later, "later"))).rejects.toThrow(/version 9.*reads version 2$/);
    later.writeUInt32LE(1, fileHeaderLayout.version);
    await expect(BranchLog.over(bytesSource(later, "older"))).rejects.toThrow(
      /version 1; this vmtape reads version 2 \(vmtape trace writes it anew from its tape\)$/,
    );
    const empty = join(directory, "empty");
    await writeFile(empty, "");
    await expect(openBranches(empty)).rejects.toThrow(/is empty/);
    await writeFile(empty, "this is no log of anything, surely");
    await expect(openBranches(empty)).rejects.toThrow(/neither a branch log nor/);
    await expect(openBranches(directory)).rejects.toThrow(/is a directory/);
    await expect(openBranches(join(directory, "none"))).rejects.toThrow(/does not exist/);
  });

  test("without a record is a log too", async () => {
    await using log = await BranchLog.open(await writeLog("none", []));
    expect(log.info).toMatchObject({ records: 0, chunks: 0, whole: true });
    expect(await all(log)).toEqual([]);
    expect(await log.seekIcount(5)).toBe(3000n);
    expect((await log.check()).ok).toBe(true);
  });
});

describe("joining and appending", () => {
  test("two segments give the bytes of one run, wherever they meet", async () => {
    const whole = await readFile(await writeLog("one-run", records));
    for (const cut of [0, 1, 71, 72, 73, 1095, 1096, 1097, 2500, 4999, 5000]) {
      const meet = { brctr: 3000 + cut, icount: Number(records[cut - 1]?.icount ?? start.icount) };
      const a = await writeLog("segment-a", records.slice(0, cut));
      const b = await writeLog("segment-b", records.slice(cut), meet);
      const joined = join(directory, "joined");
      await joinBranchLogs([a, b], joined);
      expect((await readFile(joined)).equals(whole), `cut after ${cut}`).toBe(true);
    }
  });

  test("three segments too, one of them within a chunk", async () => {
    const whole = await readFile(await writeLog("one-run", records));
    const at = (cut: number) => ({ brctr: 3000 + cut, icount: Number(records[cut - 1]!.icount) });
    const a = await writeLog("a", records.slice(0, 1500));
    const b = await writeLog("b", records.slice(1500, 1600), at(1500));
    const c = await writeLog("c", records.slice(1600), at(1600));
    await joinBranchLogs([a, b, c], join(directory, "joined"));
    expect((await readFile(join(directory, "joined"))).equals(whole)).toBe(true);
    await expect(joinBranchLogs([a, c], join(directory, "gap"))).rejects.toThrow(/begins at brctr 4600/);
    expect((await readdir(directory)).filter((name) => name.includes("gap"))).toEqual([]);
  });

  test("a log goes on where it ended, finished or killed", async () => {
    const whole = await readFile(await writeLog("one-run", records));
    for (const cut of [0, 72, 1000, 1096]) {
      const path = await writeLog("grows", records.slice(0, cut));
      await using writer = await appendBranchLog(path, { tape });
      await writer.add(batchOf(records.slice(cut)));
      await writer.finish();
      expect((await readFile(path)).equals(whole), `cut after ${cut}`).toBe(true);
    }
    const path = await writeLog("killed", records.slice(0, 3000));
    await truncate(path, (await readFile(path)).length - trailerLayout.size - 50);
    await using writer = await appendBranchLog(path);
    await writer.add(batchOf(records.slice(writer.length)));
    await writer.finish();
    expect((await readFile(path)).equals(whole)).toBe(true);
  });

  test("records that do not follow are refused, and a dropped writer leaves nothing", async () => {
    const before = await readdir(directory);
    {
      await using writer = await BranchLogWriter.create(join(directory, "dropped"), facts);
      await writer.add(batchOf(records.slice(0, 10)));
      await expect(writer.add(batchOf(records.slice(11, 20)))).rejects.toThrow(/does not follow/);
    }
    expect(await readdir(directory)).toEqual(before);
  });

  test("a full disk and a directory that is not there are errors with a code", async () => {
    const full = BranchLogWriter.create("/dev/full", facts);
    await expect(full).rejects.toSatisfy((error) => isVmtapeError(error, "disk-full"));
    const nowhere = BranchLogWriter.create(join(directory, "no", "where"), facts);
    await expect(nowhere).rejects.toSatisfy((error) => isVmtapeError(error, "bad-file"));
  });
});
