import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { VmtapeError } from "../../src/base/errors.js";
import { type SyncSource, syncBytes } from "../../src/base/sync-source.js";
import { ElfFile } from "../../src/symbols/elf/elf.js";
import { readElfSymbols } from "../../src/symbols/elf/symbols.js";
import { Symbols } from "../../src/symbols/names/symbols.js";
import { type FixtureElf, makeElf, pack } from "./elf-fixture.js";

const text = 0x401000n;
const fixture: FixtureElf = {
  sections: [
    { name: ".text", address: text, bytes: new Uint8Array(0x100).fill(0x90) },
    { name: ".data", address: 0x403000n, bytes: new Uint8Array(0x40), flags: 3 },
    { name: ".bss", address: 0x404000n, size: 0x1000, type: 8, flags: 3 },
    {
      name: ".note.gnu.build-id",
      type: 7,
      flags: 2,
      bytes: Buffer.concat([
        pack([4, 4], [4, 4], [3, 4]),
        Buffer.from("GNU\0"),
        Buffer.from("c0ffee42", "hex"),
      ]),
    },
  ],
  symbols: [
    { name: "source.c", value: 0n, section: "ABS", type: 4, binding: 0 },
    { name: "", value: text, section: ".text", type: 3, binding: 0 },
    { name: "main", value: text + 0x10n, size: 0x30, section: ".text" },
    { name: "helper", value: text + 0x40n, size: 0x10, section: ".text", binding: 0 },
    { name: "label", value: text + 0x48n, section: ".text", type: 0, binding: 0 },
    { name: "asm_entry", value: text + 0x80n, section: ".text", type: 0 },
    { name: "_etext", value: text + 0x100n, section: ".text", type: 0 },
    { name: ".Ltmp", value: text + 0x12n, section: ".text", type: 0, binding: 0 },
    { name: "printf", value: 0n, section: "UND" },
    { name: "__thread", value: 8n, section: ".data", type: 6 },
    { name: "counter", value: 0x403010n, size: 8, section: ".data", type: 1 },
    { name: "zeroed", value: 0x404ff8n, size: 64, section: ".bss", type: 1 },
    { name: "LINKER_CONSTANT", value: text + 0x11n, section: "ABS", type: 0 },
  ],
};

function symbolsOf(bytes: Uint8Array): Symbols {
  const symbols = new Symbols();
  symbols.add({ name: "a.out", table: readElfSymbols(ElfFile.open(syncBytes(bytes, "a.out"))) });
  return symbols;
}

const named = (symbols: Symbols, address: bigint) => {
  const located = symbols.lookup(address);
  return located && `${located.name}+${located.offset}`;
};

describe.each([64, 32] as const)("an ELF file of %i bits", (bits) => {
  const bytes = makeElf({ ...fixture, bits });
  const elf = ElfFile.open(syncBytes(bytes));
  const symbols = symbolsOf(bytes);

  it("gives its sections, build id and kind", () => {
    expect(elf.sections.map(({ name }) => name).slice(1, 5)).toEqual([
      ".text",
      ".data",
      ".bss",
      ".note.gnu.build-id",
    ]);
    expect(elf.section(".data")).toMatchObject({ address: 0x403000n, size: 0x40, flags: 3 });
    expect(elf.buildId).toBe("c0ffee42");
    expect(elf.isPositionIndependent).toBe(false);
    expect(elf.entry).toBe(0x401000n);
  });

  it("names what a symbol covers and nothing else", () => {
    const names = {
      "before the first symbol": named(symbols, text),
      "a function's start": named(symbols, text + 0x10n),
      "its last byte": named(symbols, text + 0x3fn),
      "the next function": named(symbols, text + 0x40n),
      "a label inside a function": named(symbols, text + 0x4an),
      "padding behind sized functions, a label before": named(symbols, text + 0x50n),
      "code behind a label without size": named(symbols, text + 0xffn),
      "just past the section": named(symbols, text + 0x100n),
      "far past the section": named(symbols, text + 0x1000n),
      "inside data": named(symbols, 0x403017n),
      "behind data": named(symbols, 0x403018n),
      "the end of bss": named(symbols, 0x404fffn),
      "past bss, though the symbol says it is larger": named(symbols, 0x405000n),
      "the other half of the address space": named(symbols, 0xffff_ffff_8100_0000n),
    };
    expect(names).toEqual({
      "before the first symbol": undefined,
      "a function's start": "main+0",
      "its last byte": "main+47",
      "the next function": "helper+0",
      "a label inside a function": "helper+10",
      "padding behind sized functions, a label before": "label+8",
      "code behind a label without size": "asm_entry+127",
      "just past the section": undefined,
      "far past the section": undefined,
      "inside data": "counter+7",
      "behind data": undefined,
      "the end of bss": "zeroed+7",
      "past bss, though the symbol says it is larger": undefined,
      "the other half of the address space": undefined,
    });
  });

  it("finds names, absolute ones too, and leaves out what is none", () => {
    const found = (name: string) =>
      symbols.find(name).map(({ address, kind, size }) => [address, kind, size]);
    expect(found("main")).toEqual([[text + 0x10n, "T", 0x30]]);
    expect(found("helper")).toEqual([[text + 0x40n, "t", 0x10]]);
    expect(found("counter")).toEqual([[0x403010n, "D", 8]]);
    expect(found("zeroed")[0]![1]).toBe("B");
    expect(found("LINKER_CONSTANT")).toEqual([[text + 0x11n, "A", undefined]]);
    expect(found("_etext")).toHaveLength(1);
    for (const none of ["source.c", ".Ltmp", "printf", "__thread", ""]) expect(found(none)).toEqual([]);
  });

  it("cut at any byte gives an error that says so, or fewer names", () => {
    for (let length = 0; length < bytes.length; length++) {
      const names = attempt(bytes.subarray(0, length));
      if (typeof names === "number") expect(names).toBeLessThanOrEqual(symbolCount(bytes));
      else expect(names.message).toMatch(/is not an ELF file|ends inside its ELF header|ends at byte/);
    }
  });

  it("with any bytes changed gives an error or names, soon", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 0, max: 255 })), { maxLength: 12 }),
        (changes) => {
          const changed = Uint8Array.from(bytes);
          for (const [at, value] of changes) changed[at] = value;
          attempt(changed);
        },
      ),
      { numRuns: 500 },
    );
  });

  it("with absurd words anywhere in its headers gives an error or names", () => {
    const absurd = [0, 1, 0x7fffffff, 0xffffffff];
    for (let at = 16; at + 8 <= bytes.length; at += 4) {
      for (const value of absurd) {
        const changed = Uint8Array.from(bytes);
        changed.set(pack([value, 4], [value, 4]), at);
        attempt(changed);
      }
    }
  });
});

it("reads only what it needs of a large file", () => {
  const bytes = makeElf(fixture);
  let fetched = 0;
  const source: SyncSource = {
    name: "large",
    size: 2 ** 40,
    read: (offset, length) => {
      fetched += length;
      // The file as it is, followed by nothing for ever.
      const result = new Uint8Array(length);
      if (offset < bytes.length) result.set(bytes.subarray(offset, Math.min(bytes.length, offset + length)));
      return result;
    },
  };
  expect(readElfSymbols(ElfFile.open(source)).names.count).toBe(8);
  expect(fetched).toBeLessThan(bytes.length * 2);
});

it("refuses a symbol table no memory holds", () => {
  const bytes = makeElf(fixture);
  const { size, index } = ElfFile.open(syncBytes(bytes)).section(".symtab")!;
  const header = bytes.length - (ElfFile.open(syncBytes(bytes)).sections.length - index) * 64;
  expect(new DataView(bytes.buffer, bytes.byteOffset).getUint32(header + 32, true)).toBe(size);
  bytes.set(pack([2 ** 33, 8]), header + 32);
  const source: SyncSource = { ...syncBytes(bytes), size: 2 ** 34 };
  expect(() => readElfSymbols(ElfFile.open(source))).toThrow(
    /symbol table \.symtab of 8589934592 bytes, more than/,
  );
});

it("refuses what it cannot read in a clear sentence", () => {
  const message = (bytes: Uint8Array) => {
    const result = attempt(bytes);
    return typeof result === "number" ? "read" : `${result.code}: ${result.message}`;
  };
  expect(message(Buffer.from("#!/bin/sh\n"))).toBe("bad-file: input is not an ELF file");
  expect(message(new Uint8Array(0))).toBe("bad-file: input is not an ELF file");
  const big = makeElf(fixture);
  big[5] = 2;
  expect(message(big)).toBe("unsupported: input is not a little-endian ELF file");
  expect(message(makeElf({ ...fixture, type: 1 }))).toMatch(/^unsupported: input is a relocatable object/);
});

it("places a relocatable object where its sections were loaded", () => {
  const elf = ElfFile.open(
    syncBytes(
      makeElf({
        type: 1,
        sections: [
          { name: ".text", bytes: new Uint8Array(64) },
          { name: ".init.text", bytes: new Uint8Array(64) },
        ],
        symbols: [
          { name: "probe", value: 16n, size: 16, section: ".text" },
          { name: "init_module", value: 0n, size: 16, section: ".init.text" },
        ],
      }),
    ),
  );
  const symbols = new Symbols();
  const sectionAddresses = new Map([[".text", 0xffff_ffff_c020_0000n]]);
  symbols.add({ name: "m.ko", table: readElfSymbols(elf, { sectionAddresses }) });
  expect(named(symbols, 0xffff_ffff_c020_0012n)).toBe("probe+2");
  expect(symbols.find("init_module")).toEqual([]);
});

function attempt(bytes: Uint8Array): number | VmtapeError {
  try {
    const elf = ElfFile.open(syncBytes(bytes));
    void elf.buildId;
    return readElfSymbols(elf).names.count;
  } catch (error) {
    if (error instanceof VmtapeError) return error;
    throw error;
  }
}

function symbolCount(bytes: Uint8Array): number {
  return readElfSymbols(ElfFile.open(syncBytes(bytes))).names.count;
}
