import { crc32 as zlibCrc } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { crc32 } from "../../src/base/compression/checksum.js";
import { isVmtapeError } from "../../src/base/errors.js";
import { brctr, icount } from "../../src/base/units.js";
import { BranchBatch, type BranchRecord, branchKinds } from "../../src/formats/branch.js";
import { BranchChunkDecoder } from "../../src/formats/branch-chunk-decoder.js";
import { BranchChunkEncoder } from "../../src/formats/branch-chunk-encoder.js";
import { chunkHeaderLayout, decodeChunkHeader } from "../../src/formats/branch-log-layout.js";
import { decodePlainly } from "./branch-chunk-plain.js";
import { anyRecords, batchOf, isBefore, recordsOf } from "./branch-samples.js";
import { randomNumbers, walkBranches } from "./branch-walk.js";

function encode(records: readonly BranchRecord[], chunkBits = 19): Uint8Array[] {
  const encoder = new BranchChunkEncoder(chunkBits);
  const batch = batchOf(records);
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < batch.length; ) {
    at = encoder.add(batch, at);
    chunks.push(encoder.finish()!.bytes);
  }
  return chunks;
}

function decode(chunks: readonly Uint8Array[], capacity = 100): BranchRecord[] {
  const decoder = new BranchChunkDecoder();
  const batch = new BranchBatch(capacity);
  return chunks.flatMap((bytes) => {
    decoder.start(decodeChunkHeader(bytes, "log", 0), bytes.subarray(chunkHeaderLayout.size), "log");
    const records: BranchRecord[] = [];
    while (decoder.remaining > 0) {
      batch.clear();
      decoder.read(batch);
      records.push(...recordsOf(batch));
    }
    return records;
  });
}

describe("chunks of branch records", () => {
  test("give back any records", () => {
    fc.assert(
      fc.property(anyRecords, fc.integer({ min: 1, max: 9000 }), (records, capacity) => {
        expect(decode(encode(records), capacity)).toEqual(records);
      }),
    );
  });

  test("are read the same by a slow decoder written from the documentation", () => {
    fc.assert(
      fc.property(anyRecords, (records) => {
        for (const bytes of encode(records, 12)) {
          const header = decodeChunkHeader(bytes, "log", 0);
          const plain = decodePlainly(header, bytes.subarray(chunkHeaderLayout.size));
          const fast = decode([bytes]);
          expect(plain.map(({ kind, ...rest }) => ({ ...rest, kind: branchKinds[kind] }))).toEqual(fast);
        }
      }),
    );
  });

  test("end where brctr reaches a multiple of their span, wherever the records begin", () => {
    const records = walkBranches(3, 5000, { brctr: 1000 });
    const bounds = encode(records, 10).map((bytes) => {
      const { firstBrctr, lastBrctr } = decodeChunkHeader(bytes, "log", 0);
      return [firstBrctr, lastBrctr];
    });
    expect(bounds[0]).toEqual([1000, 1023]);
    expect(bounds[1]).toEqual([1024, 2047]);
    expect(bounds.at(-1)).toEqual([5120, 5999]);
  });

  test("depend on their own records only", () => {
    const records = walkBranches(4, 4096);
    const together = encode(records, 10);
    const alone = encode(records.slice(1024, 2048), 10);
    expect(alone).toEqual([together[1]]);
  });

  test("are small: a walk with surprises takes a fraction of a byte a record", () => {
    const records = walkBranches(5, 200_000);
    const bytes = encode(records).reduce((sum, chunk) => sum + chunk.length, 0);
    expect(bytes / records.length).toBeLessThan(0.2);
  });

  test("are next to nothing for what repeats itself", () => {
    const loop = walkBranches(12, 777);
    const records = Array.from({ length: 100_000 }, (_, i): BranchRecord => {
      const { from, to, kind } = loop[i % loop.length]!;
      return { from, to, kind, brctr: brctr(i), icount: icount(3 * i) };
    });
    const bytes = encode(records)[0]!;
    expect(bytes.length).toBeLessThan(encode(records.slice(0, 2000))[0]!.length + 50);
    expect(decode([bytes])).toEqual(records);
  });

  test.each([0.01, 0.1, 0.5, 0.9, 0.99])(
    "cost what their decisions are worth, %d of them one way",
    (odds) => {
      const random = randomNumbers(13);
      const [always, one, other] = walkBranches(14, 3) as [BranchRecord, BranchRecord, BranchRecord];
      const decisions = 6000;
      const records = Array.from({ length: 2 * decisions }, (_, i): BranchRecord => {
        const { from, to, kind } = i % 2 === 0 ? always : random(1000) < 1000 * odds ? one : other;
        return { from, to, kind, brctr: brctr(i), icount: icount(i) };
      });
      const bytes = encode(records)[0]!;
      const worth = -(odds * Math.log2(odds) + (1 - odds) * Math.log2(1 - odds)) * (decisions / 8);
      expect(bytes.length - chunkHeaderLayout.size).toBeLessThan(1.15 * worth + 0.4 * (decisions / 8));
      const header = decodeChunkHeader(bytes, "log", 0);
      const plain = decodePlainly(header, bytes.subarray(chunkHeaderLayout.size));
      expect(plain.map(({ kind, ...rest }) => ({ ...rest, kind: branchKinds[kind] }))).toEqual(records);
      expect(decode([bytes])).toEqual(records);
    },
  );

  test("can be entered at any brctr or icount", () => {
    const records = walkBranches(6, 20_000);
    const bytes = encode(records)[0]!;
    const decoder = new BranchChunkDecoder();
    const batch = new BranchBatch(3);
    const enter = (skip: (decoder: BranchChunkDecoder) => void) => {
      decoder.start(decodeChunkHeader(bytes, "log", 0), bytes.subarray(chunkHeaderLayout.size), "log");
      skip(decoder);
      batch.clear();
      decoder.read(batch);
      return recordsOf(batch);
    };
    for (const place of [0, 1, 4095, 4096, 4097, 19_998, 19_999]) {
      expect(enter((at) => at.skipToBrctr(place))).toEqual(records.slice(place, place + 3));
    }
    for (const wanted of [0, 1, 500, 77_777, Number(records.at(-1)!.icount)]) {
      const index = records.findIndex((record) => !isBefore(record, wanted));
      const expected = index < 0 ? [] : records.slice(index, index + 3);
      expect(enter((at) => at.skipToIcount(wanted))).toEqual(expected);
    }
    expect(enter((at) => at.skipToBrctr(20_000))).toEqual([]);
  });

  test("with any byte of the payload changed are refused or decoded, never worse", () => {
    const records = walkBranches(7, 600);
    const good = encode(records)[0]!;
    let refused = 0;
    for (let at = chunkHeaderLayout.size; at < good.length; at++) {
      const bytes = good.slice();
      bytes[at]! ^= 1 << (at % 8);
      try {
        expect(decode([bytes])).toHaveLength(records.length);
      } catch (error) {
        expect(isVmtapeError(error, "bad-file"), String(error)).toBe(true);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(0.5 * (good.length - chunkHeaderLayout.size));
  });

  test("of nothing but noise end quickly, in an error or in records", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 400 }), fc.nat(20), (noise, runs) => {
        const header = {
          ...decodeChunkHeader(encode(walkBranches(8, 5000))[0]!, "log", 0),
          eventsBytes: Math.min(runs, noise.length),
          blocksBytes: Math.max(0, noise.length - runs),
        };
        const decoder = new BranchChunkDecoder();
        const batch = new BranchBatch(8192);
        try {
          decoder.start(header, noise, "log");
          while (decoder.remaining > 0) {
            batch.clear();
            decoder.read(batch);
          }
        } catch (error) {
          expect(isVmtapeError(error, "bad-file"), String(error)).toBe(true);
        }
      }),
    );
  });

  test("refuse records that cannot follow each other", () => {
    const [one, two] = walkBranches(9, 2) as [BranchRecord, BranchRecord];
    const add = (...records: BranchRecord[]) => new BranchChunkEncoder().add(batchOf(records));
    expect(() => add(two, { ...one, brctr: two.brctr })).toThrow(/out of order|below/);
    expect(() => add(one, { ...two, icount: undefined })).toThrow(/without an instruction count/);
  });

  test("have the checksum that zlib computes", () => {
    const zlib = zlibCrc as ((bytes: Uint8Array) => number) | undefined;
    expect(crc32(Buffer.from("123456789"))).toBe(0xcbf43926);
    if (zlib) {
      fc.assert(fc.property(fc.uint8Array({ maxLength: 3000 }), (bytes) => crc32(bytes) === zlib(bytes)));
    }
  });
});
