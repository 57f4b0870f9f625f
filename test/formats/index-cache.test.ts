/** Files of a tape's cache: files that are not as they were written are not used. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type CheckpointFacts,
  decodeCheckpointFacts,
  encodeCheckpointFacts,
} from "../../src/formats/checkpoint-facts.js";
import { decodeIndexTable, encodeIndexTable, type IndexTable } from "../../src/formats/index-table.js";
import { decodeQcow2Head } from "../../src/formats/qcow2.js";
import { encodeEmptyQcow2 } from "../../src/formats/qcow2-empty.js";
import { sealLines } from "../../src/formats/sealed-lines.js";

const hash = "5".repeat(64);
const facts: CheckpointFacts = {
  icount: 123_456_789,
  brctr: 9_876,
  delivered: 1,
  rep: 2,
  build: hash,
  made: 1_795_375_454_341,
  stored: 22_749_184,
  files: { "guest-ram": { bytes: 268_435_456, sha256: hash } },
  seen: { boot: "27bbe4ee", stamps: { "guest-ram": "1 2 3" } },
};
const table: IndexTable = {
  log: hash,
  every: 1 << 20,
  counted: 3_000_000,
  budget: 1_500_000_000,
  rows: [
    { icount: 0, brctr: 0, time: null, offset: 12 },
    { icount: 1_050_000, brctr: 8_000, time: 1_000, offset: 40 },
    { icount: 3_000_000, brctr: 8_000, time: 1_000, offset: 40 },
  ],
};

describe.each([
  ["a checkpoint's facts", encodeCheckpointFacts(facts), decodeCheckpointFacts, facts],
  ["an index table", encodeIndexTable(table), decodeIndexTable, table],
] as const)("%s", (_what, whole, decode, value) => {
  test("are read back as written", () => expect(decode(whole)).toEqual(value));

  test("cut anywhere are refused", () => {
    for (let length = 0; length < whole.length; length++)
      expect(decode(whole.slice(0, length))).toBeUndefined();
    expect(decode(`${whole}\n`)).toBeUndefined();
  });

  test("with any character changed are refused", () => {
    for (let at = 0; at < whole.length; at++) {
      const other = whole[at] === "1" ? "2" : "1";
      expect(decode(whole.slice(0, at) + other + whole.slice(at + 1))).toBeUndefined();
    }
  });

  test("of another version or shape are refused, sealed or not", () => {
    const lines = whole.split("\n").slice(0, -2);
    const seal = (first: string) => sealLines([first, ...lines.slice(1), ""].join("\n"));
    expect(decode(seal(lines[0]!))).toEqual(value);
    expect(decode(seal(lines[0]!.replace('"version":1', '"version":2')))).toBeUndefined();
    expect(decode(seal(lines[0]!.replace("vmtape-", "other-")))).toBeUndefined();
    for (const text of ["", "null", "[]", "{}", "7", "{"]) expect(decode(seal(text))).toBeUndefined();
  });
});

test("facts with values of another kind are refused", () => {
  const changed = (change: object) => encodeCheckpointFacts({ ...facts, ...change } as CheckpointFacts);
  for (const change of [
    { icount: -1 },
    { brctr: 0.5 },
    { build: 7 },
    { files: [] },
    { files: { a: 1 } },
    { seen: {} },
  ])
    expect(decodeCheckpointFacts(changed(change))).toBeUndefined();
  expect(decodeCheckpointFacts(changed({ brctr: undefined }))).toMatchObject({ icount: facts.icount });
});

test("a table whose rows do not rise is refused", () => {
  const [first, second] = table.rows as [IndexTable["rows"][0], IndexTable["rows"][0]];
  for (const rows of [
    [second, first],
    [first, first],
    [first, { ...second, brctr: -1 }],
    [second, { ...second, icount: 2_000_000, brctr: 7_999 }],
  ])
    expect(decodeIndexTable(encodeIndexTable({ ...table, rows }))).toBeUndefined();
});

test("any table is read back as written", () => {
  const step = fc.record({
    gap: fc.integer({ min: 1, max: 2 ** 40 }),
    more: fc.nat(2 ** 30),
    time: fc.option(fc.nat(2 ** 40)),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      let [icount, brctr] = [0, 0];
      const rows = steps.map(({ gap, more, time }) => {
        icount += gap;
        brctr += more;
        return { icount, brctr, time, offset: brctr };
      });
      const one = { ...table, rows };
      expect(decodeIndexTable(encodeIndexTable(one))).toEqual(one);
    }),
  );
});

test.each([0n, 1n, 512n, 513n, 1n << 20n, 3n << 30n, 5n << 40n])(
  "an empty qcow2 image of %s bytes",
  (bytes) => {
    const image = encodeEmptyQcow2(bytes);
    expect(decodeQcow2Head(image, "image")).toEqual({
      hasBackingFile: false,
      hasExternalData: false,
      virtualBytes: ((bytes + 511n) / 512n) * 512n,
    });
    const view = new DataView(image.buffer);
    const clusters = image.length / 65_536;
    // Each cluster is counted once, and no other.
    const counts = Array.from({ length: 32_768 }, (_, i) => view.getUint16(2 * 65_536 + 2 * i));
    expect(counts).toEqual(counts.map((_, i) => (i < clusters ? 1 : 0)));
  },
);
