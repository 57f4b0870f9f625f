import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, it } from "vitest";
import { cachedSymbols } from "../../src/symbols/debug/table-cache.js";
import {
  columnPath,
  decodeColumns,
  encodeColumns,
  readColumns,
  writeColumns,
} from "../../src/symbols/tables/column-file.js";
import { NameList } from "../../src/symbols/tables/name-list.js";
import type { SymbolTable } from "../../src/symbols/tables/symbol-table.js";

const directory = mkdtempSync(join(tmpdir(), "vmtape-columns-"));
afterAll(() => rmSync(directory, { recursive: true }));

const columns = {
  bytes: Uint8Array.of(1, 2, 3),
  shorts: Uint16Array.of(65535),
  words: Uint32Array.of(4294967295, 0),
  integers: Int32Array.of(-1),
  floats: Float64Array.of(-(2 ** 31), 0.5, 2 ** 52),
  none: new Uint32Array(0),
};
const whole = Buffer.concat(encodeColumns("kind", "key", { answer: [42] }, columns));

it("gives back what was written", () => {
  const file = columnPath(directory, "a");
  expect(writeColumns(file, "kind", "key", { answer: [42] }, columns)).toBe(true);
  const read = readColumns(file, "kind", "key");
  expect(read?.facts).toEqual({ answer: [42] });
  expect(Object.fromEntries(read!.columns)).toEqual(columns);
  expect(readColumns(file, "kind", "other key")).toBeUndefined();
  expect(readColumns(file, "other kind", "key")).toBeUndefined();
  expect(readColumns(`${file}x`, "kind", "key")).toBeUndefined();
  expect(readdirSync(directory)).toEqual(["a.columns"]);
});

it("gives back nothing of a file that is cut anywhere", () => {
  for (let length = 0; length < whole.length - 8; length++) {
    expect(decodeColumns(whole.subarray(0, length), "kind", "key")).toBeUndefined();
  }
});

it("gives back nothing wrong of a file with a changed byte", () => {
  const expected = decodeColumns(whole, "kind", "key");
  fc.assert(
    fc.property(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), (offset, change) => {
      const damaged = Buffer.from(whole);
      damaged[offset]! ^= change;
      const read = decodeColumns(damaged, "kind", "key");
      if (read) expect(read).toEqual(expected);
    }),
    { numRuns: 1000 },
  );
});

it("says that it cannot be kept, and leaves nothing", () => {
  writeFileSync(join(directory, "file"), "");
  expect(writeColumns(join(directory, "file", "b"), "kind", "key", {}, columns)).toBe(false);
  expect(readdirSync(directory).filter((name) => name.includes("tmp"))).toEqual([]);
});

it("keeps large tables of symbols, and reads them again when they are damaged", () => {
  const count = 6000;
  const table: SymbolTable = {
    names: NameList.from(Array.from({ length: count }, (_, i) => `f${i}`)),
    starts: Float64Array.from({ length: count }, (_, i) => i * 16),
    sizes: new Float64Array(count).fill(16),
    kinds: new Uint8Array(count).fill(0x54),
    intervals: {
      starts: Float64Array.from({ length: count }, (_, i) => i * 16),
      symbols: Int32Array.from({ length: count }, (_, i) => i),
    },
  };
  let reads = 0;
  const entry = { directory: join(directory, "cache"), name: "0123abcd", key: "k" };
  const load = (key = "k") =>
    cachedSymbols({ ...entry, key }, () => {
      reads++;
      return { table, facts: { release: "6.1" } };
    });
  load();
  expect(reads).toBe(1);
  const again = load();
  expect(reads).toBe(1);
  expect(again.facts).toEqual({ release: "6.1" });
  expect(again.table.names.at(17)).toBe("f17");
  expect(again.table.intervals).toEqual(table.intervals);
  const [name] = readdirSync(entry.directory);
  const path = join(entry.directory, name!);
  const bytes = readFileSync(path);
  bytes[bytes.length - 100]! ^= 1;
  writeFileSync(path, bytes);
  expect(load().table.names.at(17)).toBe("f17");
  expect(reads).toBe(2);
  load();
  expect(reads).toBe(2);
  load("another key");
  expect(reads).toBe(3);
});
