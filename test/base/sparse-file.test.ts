import { createHash } from "node:crypto";
import { type FileHandle, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { copySparse, hashSparse, mapBytes } from "../../src/base/sparse-file.js";

const page = 4096;
let directory: string;
let names = 0;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "vmtape-test-"));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

async function fileOf(bytes: Uint8Array): Promise<FileHandle> {
  const file = await open(join(directory, String(names++)), "wx+");
  await file.write(bytes, 0, bytes.length, 0);
  return file;
}

/** The hash as docs/FORMATS.md defines it. */
function plainHash(bytes: Buffer): string {
  const hash = createHash("sha256");
  const map = Buffer.alloc(mapBytes(bytes.length));
  for (let at = 0; at < bytes.length; at += page) {
    const one = bytes.subarray(at, at + page);
    if (one.every((byte) => byte === 0)) continue;
    hash.update(one);
    map[(at / page) >> 3]! |= 1 << ((at / page) & 7);
  }
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(bytes.length));
  return hash.update(map).update(length).digest("hex");
}

/** Pages: zero, or one byte that is not. The last may be short. */
const content = fc
  .tuple(fc.array(fc.option(fc.nat(page - 1), { freq: 2 }), { maxLength: 140 }), fc.nat(page - 1))
  .map(([pages, short]) => {
    const bytes = Buffer.alloc(Math.max(0, pages.length * page - short));
    for (const [i, at] of pages.entries()) {
      if (at !== null && i * page + at < bytes.length) bytes[i * page + at] = 1 + (at % 255);
    }
    return bytes;
  });

test("a copy is the same bytes, its map says where they are, and all hashes agree", async () => {
  await fc.assert(
    fc.asyncProperty(content, async (bytes) => {
      const source = await fileOf(bytes);
      const [copy, again] = [await fileOf(Buffer.alloc(0)), await fileOf(Buffer.alloc(0))];
      try {
        const map = await copySparse(source, copy);
        expect(Buffer.compare(await copy.readFile(), bytes)).toBe(0);
        const pages = Array.from({ length: Math.ceil(bytes.length / page) }, (_, i) => i);
        const isStored = (i: number) => bytes.subarray(i * page, (i + 1) * page).some((byte) => byte !== 0);
        expect(pages.filter((i) => map[i >> 3]! & (1 << (i & 7)))).toEqual(pages.filter(isStored));
        expect(await copySparse(copy, again, map)).toEqual(map);
        expect(Buffer.compare(await again.readFile(), bytes)).toBe(0);
        const hashes = [await hashSparse(source), await hashSparse(copy, map), await hashSparse(again)];
        expect(hashes).toEqual([plainHash(bytes), plainHash(bytes), plainHash(bytes)]);
      } finally {
        await Promise.all([source.close(), copy.close(), again.close()]);
      }
    }),
    { numRuns: 60 },
  );
});

test("holes take no room, and a byte in one changes the hash of all but not of what the map says", async () => {
  const bytes = Buffer.alloc(16 << 20);
  bytes[5 << 20] = 1;
  const source = await fileOf(bytes);
  const copy = await fileOf(Buffer.alloc(0));
  try {
    const map = await copySparse(source, copy);
    expect((await copy.stat()).blocks * 512).toBeLessThan(1 << 20);
    const before = await hashSparse(copy);
    await copy.write(Buffer.from([7]), 0, 1, 9 << 20);
    expect(await hashSparse(copy)).not.toBe(before);
    expect(await hashSparse(copy, map)).toBe(before);
  } finally {
    await Promise.all([source.close(), copy.close()]);
  }
});
