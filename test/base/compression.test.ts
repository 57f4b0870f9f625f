import { readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { crc32, crc64 } from "../../src/base/compression/checksum.js";
import { compressionOf, decompress } from "../../src/base/compression/decompress.js";
import { VmtapeError } from "../../src/base/errors.js";
import { compressionSample } from "./compression-sample.js";

const folder = new URL("../golden/compression/", import.meta.url);
const files = readdirSync(folder).sort();
const sample = compressionSample();
const limits = { maximum: 1 << 20 };
const read = (file: string) => new Uint8Array(readFileSync(new URL(file, folder)));

/** What `decompress` gives, or its error; anything but a VmtapeError fails the test. */
function attempt(input: Uint8Array): Uint8Array | VmtapeError {
  try {
    return decompress(input, limits).bytes;
  } catch (error) {
    if (error instanceof VmtapeError) return error;
    throw error;
  }
}

it("has a file of each format and check", () => {
  expect(files).toHaveLength(11);
});

describe.each(files)("%s", (file) => {
  const packed = read(file);

  it("unpacks to what its own tool packed", () => {
    const { bytes, consumed } = decompress(packed, limits);
    expect(Buffer.compare(bytes, sample)).toBe(0);
    expect(consumed).toBe(packed.length);
  });

  it("says how much it took when something follows", () => {
    const followed = Buffer.concat([packed, new Uint8Array(16)]);
    const { bytes, consumed } = decompress(followed, limits);
    expect(Buffer.compare(bytes, sample)).toBe(0);
    expect(consumed).toBe(packed.length);
  });

  it("reports every cut", () => {
    for (let length = 0; length < packed.length; length += length < 64 ? 1 : 97) {
      const result = attempt(packed.subarray(0, length));
      if (result instanceof VmtapeError) continue;
      // A cut zstd checksum is not noticed, since it is not checked; a legacy LZ4 frame has no end mark.
      const mayEnd = (file.endsWith(".22.zst") && packed.length - length <= 4) || file.endsWith(".lz4");
      expect(mayEnd, `cut at ${length}`).toBe(true);
    }
  });

  it("never crashes or runs away on flipped bits, and notices them where a checksum can", () => {
    const isChecked =
      file.endsWith(".gz") || file.endsWith(".bz2") || (file.endsWith(".xz") && !file.includes("none"));
    fc.assert(
      fc.property(fc.nat(packed.length * 8 - 1), (bit) => {
        const flipped = packed.slice();
        flipped[bit >>> 3]! ^= 1 << (bit & 7);
        const result = attempt(flipped);
        if (!isChecked || result instanceof VmtapeError) return;
        // Header fields that change nothing (a gzip time stamp) may differ.
        expect(Buffer.compare(result, sample)).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it("keeps the limit", () => {
    expect(() => decompress(packed, { maximum: sample.length - 1 })).toThrow(
      expect.objectContaining({ code: "limit-exceeded" }),
    );
    expect(decompress(packed, { maximum: sample.length }).bytes).toHaveLength(sample.length);
  });

  it("is not led astray by a wrong expected size", () => {
    for (const expected of [1, sample.length - 1, sample.length * 2]) {
      expect(Buffer.compare(decompress(packed, { ...limits, expected }).bytes, sample)).toBe(0);
    }
  });
});

it("stops early with a correct beginning when enough is there", () => {
  const packed = read("sample.sha256.xz");
  const { bytes } = decompress(packed, { ...limits, enough: (_, used) => used >= 1000 });
  expect(bytes.length).toBeGreaterThanOrEqual(1000);
  expect(bytes.length).toBeLessThan(sample.length);
  expect(Buffer.compare(bytes, sample.subarray(0, bytes.length))).toBe(0);
});

it("unpacks bzip2 streams behind each other, as pbzip2 writes them", () => {
  const packed = read("sample.bz2");
  const { bytes, consumed } = decompress(Buffer.concat([packed, packed, new Uint8Array(3)]), limits);
  expect(Buffer.compare(bytes, Buffer.concat([sample, sample]))).toBe(0);
  expect(consumed).toBe(packed.length * 2);
});

it("keeps the limit of bzip2's runs, which grow 51 times", () => {
  // 4 MB of zeros: `head -c 4000000 /dev/zero | bzip2`.
  const zeros = Buffer.from("QlpoOTFBWSZTWf5U2/MAHqNEAMAAEAAACCAAMMwJqmmipIbUKkh4u5IpwoSH8qbfmA==", "base64");
  expect(attempt(zeros)).toMatchObject({ code: "limit-exceeded" });
  expect(decompress(zeros, { maximum: 4_000_000 }).bytes.length).toBe(4_000_000);
});

it("names what it cannot unpack", () => {
  expect(compressionOf(Buffer.from("BZh91AY&SY"))).toBe("bzip2");
  expect(() => decompress(Buffer.from("BZh91AY&SY"), limits)).toThrow(
    /the bzip2 data is damaged: it ends early/,
  );
  expect(() => decompress(Buffer.from("hello, world"), limits)).toThrow(/no compressed format known/);
  expect(attempt(new Uint8Array(0))).toBeInstanceOf(VmtapeError);
});

it("computes the checksums of the standards' check strings", () => {
  const check = Buffer.from("123456789");
  expect(crc32(check)).toBe(0xcbf43926);
  expect(crc64(check)).toEqual([0xdf1939fa, 0x995dc9bb]);
});
