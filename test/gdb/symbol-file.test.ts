import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { syncBytes } from "../../src/base/sync-source.js";
import { encodeOrcFrames } from "../../src/gdb/orc-frames.js";
import { encodeSymbolFile } from "../../src/gdb/symbol-file.js";
import { ElfFile } from "../../src/symbols/elf/elf.js";
import { readElfSymbols } from "../../src/symbols/elf/symbols.js";
import { addressOfKey, keyOf } from "../../src/symbols/tables/address.js";
import { emptyIntervals } from "../../src/symbols/tables/interval-map.js";
import { NameList } from "../../src/symbols/tables/name-list.js";
import type { SymbolTable } from "../../src/symbols/tables/symbol-table.js";
import { ruleKind } from "../../src/symbols/unwind/cfi-layout.js";
import { registerNumber as register } from "../../src/symbols/unwind/cfi-registers.js";
import type { CfiRow } from "../../src/symbols/unwind/cfi-rows.js";
import { CfiTable } from "../../src/symbols/unwind/cfi-table.js";
import { OrcTable } from "../../src/symbols/unwind/orc.js";
import { orcRegister as base, pointerRegisters } from "../../src/symbols/unwind/orc-layout.js";
import { type FixtureEntry, makeOrc } from "../symbols/orc-fixture.js";

type Symbol = readonly [name: string, address: bigint, kind: string];

function tableOf(symbols: readonly Symbol[]): SymbolTable {
  return {
    names: NameList.from(symbols.map(([name]) => name)),
    starts: Float64Array.from(symbols, ([, address]) => keyOf(address)),
    sizes: new Float64Array(symbols.length),
    kinds: Uint8Array.from(symbols, ([, , kind]) => kind.charCodeAt(0)),
    intervals: emptyIntervals,
  };
}

function readBack(file: Uint8Array): string[] {
  const { names, starts, kinds } = readElfSymbols(ElfFile.open(syncBytes(file, "made")));
  return Array.from(
    starts,
    (start, i) => `${addressOfKey(start).toString(16)} ${String.fromCharCode(kinds[i]!)} ${names.at(i)}`,
  ).sort();
}

const kernel: readonly Symbol[] = [
  ["_text", 0xffffffff81000000n, "T"],
  ["do_idle", 0xffffffff81091600n, "t"],
  ["jiffies", 0xffffffff82000000n, "D"],
  ["runqueue", 0xffffffff82000040n, "b"],
  ["init", 0xffffffff83000000n, "T"],
];

describe("a file of names for gdb", () => {
  test("holds the code where it is known, and no other contents", () => {
    const slide = 0x1c00000n;
    const known = Buffer.from("f30f1efa554889e5", "hex");
    const asked: bigint[] = [];
    const file = encodeSymbolFile([{ table: tableOf(kernel), bias: slide }], {
      code: (address, length) => {
        asked.push(address);
        expect(length).toBeGreaterThan(known.length);
        return address === 0xffffffff82c00000n ? known : undefined;
      },
    });
    const elf = ElfFile.open(syncBytes(file, "made"));
    const [text, data, init] = elf.sections.filter(({ name }) => /^\.(text|data)$/.test(name));
    expect(asked).toEqual([0xffffffff82c00000n, 0xffffffff84c00000n]);
    expect(text).toMatchObject({ name: ".text", address: 0xffffffff82c00000n, type: 1 });
    const contents = Buffer.from(elf.contents(text!));
    expect(contents.subarray(0, 8)).toEqual(known);
    expect(contents.subarray(8).every((byte) => byte === 0)).toBe(true);
    expect([data?.type, init?.type]).toEqual([8, 8]); // SHT_NOBITS
    expect(readBack(file)).toContain("ffffffff82c91600 t do_idle");
  });

  test("holds functions and data where they run", () => {
    const slide = 0x1c00000n;
    const module: Symbol[] = [["probe", 0xffffffffc0001000n, "t"]];
    const file = encodeSymbolFile([
      { table: tableOf(kernel), bias: slide },
      { table: tableOf(module), bias: 0n },
    ]);
    // The sections have no contents: data is `b` to nm.
    expect(readBack(file)).toEqual([
      "ffffffff82c00000 T _text",
      "ffffffff82c91600 t do_idle",
      "ffffffff83c00000 B jiffies",
      "ffffffff83c00040 b runqueue",
      "ffffffff84c00000 T init",
      "ffffffffc0001000 t probe",
    ]);
  });

  test("absolute symbols do not move", () => {
    const table = tableOf([...kernel, ["fixed", 0x1000n, "A"]]);
    expect(readBack(encodeSymbolFile([{ table, bias: 0x200000n }]))).toContain("1000 A fixed");
  });

  test("no symbols at all make a file, too", () => {
    expect(readBack(encodeSymbolFile([]))).toEqual([]);
  });

  test("property: every symbol is found again under its name and address", () => {
    const symbol = fc.tuple(
      fc.stringMatching(/^[a-zA-Z_.$][\w.$]{0,20}$/),
      fc.integer({ min: 0, max: 0x7ffffff }).map((offset) => 0xffffffff80000000n + BigInt(offset) * 16n),
      fc.constantFrom(..."tTdDbBrRwW"),
    );
    fc.assert(
      fc.property(fc.array(symbol, { maxLength: 40 }), (symbols) => {
        const found = readBack(encodeSymbolFile([{ table: tableOf(symbols), bias: 0n }]));
        const plain = (line: string) => line.replace(/ \S /, " ");
        expect(new Set(found.map(plain))).toEqual(
          new Set(symbols.map(([name, address]) => `${address.toString(16)} ${name}`)),
        );
      }),
    );
  });
});

describe("ORC as call frame information", () => {
  const text = keyOf(0xffffffff81000000n);
  const slide = 0x2a00000n;

  function framesOf(entries: readonly FixtureEntry[]): CfiTable {
    const { places, bytes } = makeOrc(entries, keyOf(0xffffffff82a00000n), "typed");
    const orc = OrcTable.read(places, keyOf(0xffffffff82a00000n), bytes, "typed");
    const file = encodeSymbolFile([], { frames: encodeOrcFrames(orc, slide) });
    return CfiTable.fromElf(ElfFile.open(syncBytes(file, "made")))!;
  }

  const entryOf = (at: number, facts: Partial<FixtureEntry>): FixtureEntry => ({
    at: text + at,
    type: "call",
    spRegister: base.sp,
    spOffset: 8,
    bpRegister: base.undefined,
    bpOffset: 0,
    ...facts,
  });
  const end = (at: number) => entryOf(at, { type: "end", spRegister: 0, spOffset: 0 });

  /** A row as text. */
  function say(row: CfiRow | undefined): string {
    if (!row) return "nothing";
    const rule = (number: number) => {
      const value = row.values[number]!;
      switch (row.kinds[number]) {
        case ruleKind.offset:
          return `[cfa${value < 0 ? "" : "+"}${value}]`;
        case ruleKind.undefined:
          return "lost";
        case ruleKind.expression:
          return `[${Buffer.from(row.expressions[number]!).toString("hex")}]`;
        default:
          return "same";
      }
    };
    if (row.kinds[register.rip] === ruleKind.undefined) return "outermost";
    const cfa = row.cfaExpression
      ? Buffer.from(row.cfaExpression).toString("hex")
      : `r${row.cfaRegister}+${row.cfaOffset}`;
    const more = row.isSignal ? ` rax ${rule(register.rax)} rsp ${rule(register.rsp)} interrupted` : "";
    return `cfa ${cfa} rip ${rule(register.rip)} rbp ${rule(register.rbp)} rbx ${rule(register.rbx)}${more}`;
  }

  const at = (table: CfiTable, offset: number) => say(table.row(text + keyOf(slide) + offset));

  test("functions: the stack pointer, the frame pointer, and what each saves", () => {
    const table = framesOf([
      entryOf(0, {}),
      entryOf(1, { spOffset: 16, bpRegister: base.previousSp, bpOffset: -16 }),
      entryOf(4, { spRegister: base.bp, spOffset: 16, bpRegister: base.previousSp, bpOffset: -16 }),
      entryOf(0x300, {}),
      entryOf(0x310, { spRegister: base.bpIndirect, spOffset: -8, bpRegister: base.bp, bpOffset: -16 }),
      entryOf(0x320, { spRegister: base.spIndirect, spOffset: 8 }),
      entryOf(0x330, { spRegister: base.r10, spOffset: 0 }),
      end(0x340),
      entryOf(0x350, { type: "undefined", spRegister: 0 }),
      entryOf(0x360, {}),
      end(0x400),
    ]);
    const plain = "rip [cfa-8] rbp same rbx lost";
    expect(at(table, 0)).toBe(`cfa r7+8 ${plain}`);
    expect(at(table, 3)).toBe("cfa r7+16 rip [cfa-8] rbp [cfa-16] rbx lost");
    expect(at(table, 0x2ff)).toBe("cfa r6+16 rip [cfa-8] rbp [cfa-16] rbx lost");
    expect(at(table, 0x300)).toBe(`cfa r7+8 ${plain}`);
    expect(at(table, 0x310)).toBe("cfa 767806 rip [cfa-8] rbp [7670] rbx lost");
    expect(at(table, 0x320)).toBe(`cfa 770006110822 ${plain}`);
    expect(at(table, 0x330)).toBe(`cfa r10+0 ${plain}`);
    expect(at(table, 0x340)).toBe("outermost");
    expect(at(table, 0x350)).toBe("outermost");
    expect(at(table, 0x360)).toBe(`cfa r7+8 ${plain}`);
    expect(at(table, 0x400)).toBe("nothing");
    expect(at(table, -1)).toBe("nothing");
  });

  test("entry code: all registers of who was interrupted, or the five words the processor pushed", () => {
    const table = framesOf([
      entryOf(0, { type: "registers", spOffset: 0 }),
      entryOf(0x10, { type: "partial", spOffset: 8 }),
      entryOf(0x20, { type: "registers", spOffset: 16 }),
      entryOf(0x30, {}),
      end(0x40),
    ]);
    const { rip, rbp, rbx, rax, rsp } = pointerRegisters;
    const whole = `rip [cfa+${rip}] rbp [cfa+${rbp}] rbx [cfa+${rbx}] rax [cfa+${rax}] rsp [cfa+${rsp}] interrupted`;
    expect(at(table, 0)).toBe(`cfa r7+0 ${whole}`);
    expect(at(table, 0x1f)).toBe("cfa r7+8 rip [cfa+0] rbp same rbx same rax same rsp [cfa+24] interrupted");
    expect(at(table, 0x20)).toBe(`cfa r7+16 ${whole}`);
    expect(at(table, 0x30)).toBe("cfa r7+8 rip [cfa-8] rbp same rbx lost");
  });

  test("property: the row of any address is that of its entry, whatever stands around it", () => {
    const facts = fc.record({
      step: fc.integer({ min: 1, max: 0x400 }),
      spOffset: fc.integer({ min: -0x1000, max: 0x1000 }),
      bp: fc.option(fc.integer({ min: -0x100, max: 0 })),
      type: fc.constantFrom("call" as const, "registers" as const, "partial" as const, "end" as const),
    });
    fc.assert(
      fc.property(fc.array(facts, { minLength: 1, maxLength: 100 }), (all) => {
        let place = 0;
        const entries = all.map(({ step, spOffset, bp, type }) => {
          const entry = entryOf(place, {
            type,
            spOffset,
            ...(type === "end" && { spRegister: 0 }),
            ...(bp !== null && type !== "registers" && { bpRegister: base.previousSp, bpOffset: bp }),
          });
          place += step;
          return entry;
        });
        const table = framesOf([...entries, end(place)]);
        for (const entry of entries) {
          const alone = framesOf([{ ...entry, at: text }, end(1)]);
          expect(at(table, entry.at - text)).toBe(at(alone, 0));
        }
      }),
      { numRuns: 60 },
    );
  });
});
