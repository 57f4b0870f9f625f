import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { VmtapeError } from "../../src/base/errors.js";
import { viewOf } from "../../src/symbols/elf/elf.js";
import { readKallsyms } from "../../src/symbols/kernel/kallsyms.js";
import { Symbols } from "../../src/symbols/names/symbols.js";
import { addressOfKey } from "../../src/symbols/tables/address.js";
import type { SymbolTable } from "../../src/symbols/tables/symbol-table.js";
import { type FixtureKallsyms, kernelSymbols, makeKallsyms } from "./kallsyms-fixture.js";

const base = 0xffff_ffff_8100_0000n;
const perCpu = [
  { name: "fixed_percpu_data", kind: "A", address: 0n },
  { name: "irq_stack", kind: "A", address: 0x2000n },
];
const symbols = kernelSymbols(base);
const layouts: FixtureKallsyms[] = [
  { layout: "5.4", rule: "percpu", base, symbols: [...perCpu, ...symbols] },
  { layout: "5.4", rule: "relative", base, symbols },
  { layout: "5.4", rule: "absolute", base, symbols },
  { layout: "5.4", rule: "relative", base: 0xc100_0000n, symbols: kernelSymbols(0xc100_0000n), wordSize: 4 },
  { layout: "6.2", rule: "percpu", base, symbols: [...perCpu, ...symbols] },
  { layout: "6.4", rule: "percpu", base, symbols: [...perCpu, ...symbols] },
  { layout: "6.4", rule: "relative", base, symbols },
  { layout: "6.4", rule: "self", base, symbols, home: base + 0x8000n },
  { layout: "6.4", rule: "self", base, symbols, home: base + 0x8000n, alignment: 4 },
  // One symbol more, so that the token index is aligned differently.
  {
    layout: "6.4",
    rule: "self",
    base,
    symbols: [...symbols, { name: "last", kind: "B", address: base + 0xc008n }],
    home: base + 0x8000n,
    alignment: 4,
  },
  {
    layout: "6.4",
    rule: "self",
    base: 0xc100_0000n,
    symbols: kernelSymbols(0xc100_0000n),
    wordSize: 4,
    home: 0xc100_8000n,
  },
];

const lines = (table: SymbolTable) =>
  Array.from({ length: table.names.count }, (_, i) => ({
    name: table.names.at(i),
    kind: String.fromCharCode(table.kinds[i]!),
    address: addressOfKey(table.starts[i]!),
  }));

describe.each(layouts)("kallsyms of $layout, $rule, word $wordSize, aligned $alignment", (fixture) => {
  const tables = makeKallsyms(fixture);
  const word = fixture.wordSize ?? 8;

  it("is found among other bytes and read in its order", () => {
    const noise = new Uint8Array(8 * 1000).map((_, i) => (i * 7919) >>> 3);
    const address = (fixture.home ?? base) - BigInt(noise.length);
    const table = readKallsyms(Buffer.concat([noise, tables, noise]), address, word);
    expect(lines(table!)).toEqual(fixture.symbols);
  });

  it("cut anywhere gives nothing, never half of it", () => {
    // The order by name comes last from 6.4 on and is not needed.
    const needed = fixture.layout === "6.4" ? tables.length - fixture.symbols.length * 3 - 8 : tables.length;
    for (let length = 0; length < needed; length += 61) {
      expect(readKallsyms(tables.subarray(0, length), base, word)).toBeUndefined();
    }
  });

  it("with bytes changed gives nothing or names, soon", () => {
    fc.assert(
      fc.property(fc.nat(tables.length - 1), fc.integer({ min: 0, max: 255 }), (at, value) => {
        const changed = Uint8Array.from(tables);
        changed[at] = value;
        try {
          readKallsyms(changed, base, word);
        } catch (error) {
          if (!(error instanceof VmtapeError)) throw error;
        }
      }),
      { numRuns: 300 },
    );
  });
});

it("is found soon among names that look like counts of names, over and over", () => {
  // Each word of these names is 0x00010101, and what follows continues like names; the first name aligns them to
  // words.
  const misleading = Array.from({ length: 1150 }, (_, i) => ({
    name: `ys_${"zzsys_sys_sys_".repeat(31)}zzsys_`,
    kind: "s",
    address: base + BigInt(0x100 + i),
  }));
  const first = { name: "_te", kind: "T", address: base };
  const all = [first, ...misleading, { name: "last", kind: "T", address: base + 0x10_0000n }];
  const tables = makeKallsyms({ layout: "6.4", rule: "self", base, symbols: all, home: base, alignment: 4 });
  expect(viewOf(tables.subarray(4 + 5)).getUint8(0)).toBe(127);
  const words = Array.from({ length: 1000 }, (_, i) => viewOf(tables).getUint32(16 + i * 4, true));
  expect(words.filter((word) => word === 0x10101).length).toBeGreaterThan(900);
  const begun = performance.now();
  expect(lines(readKallsyms(tables, base)!)).toEqual(all);
  expect(performance.now() - begun).toBeLessThan(30_000);
});

it("is not found where there is none", () => {
  for (const length of [0, 1, 511, 512, 100_000]) {
    expect(readKallsyms(new Uint8Array(length), base)).toBeUndefined();
    expect(
      readKallsyms(
        new Uint8Array(length).map((_, i) => i >>> 1),
        base,
      ),
    ).toBeUndefined();
  }
});

it("answers inside the kernel's parts only", () => {
  const named = new Symbols();
  const table = readKallsyms(makeKallsyms(layouts[5]!), base)!;
  named.add({ name: "kernel", table });
  const at = (offset: number) => {
    const located = named.lookup(base + BigInt(offset));
    return located && `${located.name}+${located.offset}`;
  };
  const names = {
    "the first of several names": at(0),
    "a function": at(0x1000 + 16 * 5 + 3),
    "the last function, by its first name": at(0x1000 + 599 * 16 + 2),
    "up to the end of text": at(0x3fff),
    "the mark at the end of text itself": at(0x4000),
    "behind text": at(0x4001),
    "between parts": at(0x7fff),
    "read-only data": at(0x8014),
    "a symbol between parts": at(0x9800),
    "behind a symbol between parts": at(0x9801),
    "init text": at(0xa104),
    "behind init text, before the next symbol": at(0xa8ff),
    "the end of init": at(0xafff),
    "behind the kernel": at(0xc001),
    "far behind the kernel": at(0x100_0000),
  };
  expect(names).toEqual({
    "the first of several names": "_text+0",
    "a function": "sys_do_5+3",
    "the last function, by its first name": "sys_do_599+2",
    "up to the end of text": `sys_do_599+${0x3fff - 0x1000 - 599 * 16}`,
    "the mark at the end of text itself": "_etext+0",
    "behind text": undefined,
    "between parts": undefined,
    "read-only data": "linux_banner+4",
    "a symbol between parts": "between_parts+0",
    "behind a symbol between parts": undefined,
    "init text": "start_kernel+4",
    "behind init text, before the next symbol": "_einittext+255",
    "the end of init": `init_data+${0xafff - 0xa900}`,
    "behind the kernel": undefined,
    "far behind the kernel": undefined,
  });
  // Per-CPU symbols have names, but their values are no addresses: user programs are there.
  expect(named.lookup(0x2000n)).toBeUndefined();
  expect(named.find("irq_stack")).toMatchObject([{ address: 0x2000n, kind: "A" }]);
});
