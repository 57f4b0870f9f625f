import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BranchBatch } from "../../src/formats/branch.js";
import { BranchBitReader, bitPadding } from "../../src/formats/branch-bit-reader.js";
import { BranchBitWriter } from "../../src/formats/branch-bit-writer.js";
import { BranchChunkDecoder } from "../../src/formats/branch-chunk-decoder.js";
import { BranchChunkEncoder } from "../../src/formats/branch-chunk-encoder.js";
import { type ChunkHeader, chunkHeaderLayout } from "../../src/formats/branch-log-layout.js";
import { batchOf } from "./branch-samples.js";
import { walkBranches } from "./branch-walk.js";

/** Decodes a chunk with these two parts. `header` replaces fields of the header that suits them. */
function decode(events: Uint8Array, blocks: Uint8Array, header: Partial<ChunkHeader> = {}): void {
  const records = header.records ?? 10;
  const whole: ChunkHeader = {
    records,
    firstBrctr: 0,
    lastBrctr: records - 1,
    firstIcount: 0,
    lastIcount: 0,
    eventsBytes: events.length,
    blocksBytes: blocks.length,
    symbols: records,
    kinds: [records],
    payloadCrc: 0,
    ...header,
  };
  const decoder = new BranchChunkDecoder();
  const batch = new BranchBatch(4096);
  decoder.start(whole, Buffer.concat([events, blocks]), "log");
  while (decoder.remaining > 0) {
    batch.clear();
    decoder.read(batch);
  }
}

/** Bits from a text: groups of binary digits, the first one first; `N:K` is number(K) of N. */
function bits(text: string): Uint8Array {
  const writer = new BranchBitWriter();
  for (const word of text.split(" ").filter((word) => word !== "")) {
    const [number, least] = word.split(":");
    if (least !== undefined) {
      writer.putNumber(Number(least), Number(number) >>> 0, Math.floor(Number(number) / 2 ** 32));
    } else for (const digit of word) writer.put(Number(digit), 1);
  }
  return writer.bytes.subarray(0, writer.length);
}

/** An event, at once, of a new symbol: a conditional jump of length 0 to itself. */
const fresh = "0:0 10 00 0:4 00000 0:2 0:0";
/** An event, at once, of symbol 0 or 1 (of two). */
const zero = "0:0 0 0";
const one = "0:0 0 1";

describe("a payload", () => {
  test("that says what its header says is decoded", () => {
    // The same record ten times.
    decode(bits(`${fresh} 0:0 0 8:0`), bits(""), { symbols: 1 });
    // One record, another, the first twice; then all answers say the first slot.
    decode(bits(`${fresh} ${fresh} ${zero} ${zero} 6:0`), bits("0"), { symbols: 2 });
    decode(bits(`${fresh} 0:0 0 0:0 11 0:4 0:6 8:0`), bits(""), { symbols: 1, records: 42 });
  });

  test.each([
    ["begins with no symbol", "1:0", "", "does not begin with a symbol"],
    ["names a symbol before any is defined", "0:0 0", "", "names a symbol it did not define"],
    [
      "names a symbol that comes later",
      `${fresh} ${fresh} ${fresh} 0:0 0 11 6:0`,
      "",
      "names a symbol it did not",
    ],
    ["has an event behind its end", `${fresh} 10:0`, "", "event beyond its end"],
    ["has an event at 2^40", `${fresh} ${2 ** 40}:0`, "", "event beyond its end"],
    ["goes on where nothing follows", `${fresh} 9:0`, "", "where nothing follows"],
    ["has a kind 13", "0:0 10 11 1 1011 0:4 00000 0:2 0:0", "", "no known kind"],
    ["has a number of 65 bits", `0:0 10 00 ${"0".repeat(61)}1`, "", "more than 64 bits"],
    ["has a distance of 65 bits", "0:0 10 00 0:4 11111 1000001", "", "more than 64 bits"],
    ["has a step of 2^53", `0:0 10 00 0:4 00000 ${2 ** 53}:2 0:0`, "", "2^53 or more"],
    ["has a gap of 2^53", `0:0 10 00 0:4 00000 0:2 ${2 ** 53}:0`, "", "2^53 or more"],
    ["repeats what was before it", `${fresh} 0:0 11 1:4 0:6`, "", "repeats what is not there"],
    ["repeats at its beginning", "0:0 11 0:4 0:6", "", "repeats what is not there"],
    ["repeats beyond its end", `${fresh} 0:0 11 0:4 0:6`, "", "repeats what is not there"],
    ["ends within an event", "0:0 10 00 0:4", "", "ends too early"],
    ["ends within its blocks", `${fresh} ${fresh} ${zero} ${zero} 6:0`, "", "ends too early"],
    [
      "has a block of no code",
      `${fresh} ${fresh} ${zero} ${zero} 6:0`,
      `1${"1".repeat(90)}`,
      "no known code",
    ],
    ["leaves events over", `${fresh} 0:0 0 8:0 00000000`, "", "does not end where its header says"],
    ["leaves a bit set behind its events", `${fresh} 0:0 0 8:0 1`, "", "does not end where its header says"],
    ["leaves blocks over", `${fresh} 0:0 0 8:0`, "0", "does not end where its header says"],
  ])("that %s is refused", (_, events, blocks, why) => {
    expect(() => decode(bits(events), bits(blocks))).toThrow(why);
  });

  test("with more symbols than its header says is refused", () => {
    expect(() => decode(bits(`${fresh} ${fresh} ${one} 7:0`), bits(""), { symbols: 1 })).toThrow(
      "more symbols than",
    );
  });

  test("with a choice of a slot that is not there is refused", () => {
    // Symbol 0 is followed by 0, 1, 2, 3, then by a turn of 1 and a choice of 3 in two bits.
    const events = `${fresh} 0:0 0 ${fresh} ${zero} ${fresh} 0:0 0 00 ${fresh} 0:0 0 00 2:0`;
    const turns = `1 10111 ${"0".repeat(7)}`; // the 8th of the bytes with one bit, and zeros
    const choices = `1 11011011 ${"0".repeat(7)}`; // the 28th of those with two
    expect(() => decode(bits(events), bits(`${turns} ${choices}`))).toThrow("slot that is not there");
  });

  test("cut anywhere is refused", () => {
    const encoder = new BranchChunkEncoder();
    encoder.add(batchOf(walkBranches(3, 2000)));
    const { header, bytes } = encoder.finish()!;
    const payload = bytes.subarray(chunkHeaderLayout.size);
    const events = payload.subarray(0, header.eventsBytes);
    const blocks = payload.subarray(header.eventsBytes);
    const cut = (eventsBytes: number, blocksBytes: number) => () =>
      decode(events.subarray(0, eventsBytes), blocks.subarray(0, blocksBytes), {
        ...header,
        eventsBytes,
        blocksBytes,
      });
    cut(events.length, blocks.length)();
    for (let length = 0; length < events.length; length++)
      expect(cut(length, blocks.length)).toThrow("is damaged");
    for (let length = 0; length < blocks.length; length++)
      expect(cut(events.length, length)).toThrow("is damaged");
  });
});

test("numbers of bits are read as they were written", () => {
  const number = fc.record({
    value: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    drop: fc.nat(64),
    least: fc.nat(6),
  });
  fc.assert(
    fc.property(fc.array(number, { maxLength: 200 }), (drawn) => {
      const writer = new BranchBitWriter();
      const values = drawn.map(({ value, drop, least }) => ({ value: value >> BigInt(drop), least }));
      for (const { value, least } of values) {
        writer.putNumber(least, Number(value & 0xffff_ffffn), Number(value >> 32n));
      }
      const reader = new BranchBitReader();
      const bytes = new Uint8Array(writer.length + bitPadding);
      bytes.set(writer.bytes.subarray(0, writer.length));
      reader.start(bytes, 0, writer.length);
      for (const { value, least } of values) {
        expect(reader.takeNumber(least)).toBe(true);
        expect((BigInt(reader.high) << 32n) | BigInt(reader.low)).toBe(value);
      }
      expect(reader.isAtEnd).toBe(true);
    }),
  );
});
