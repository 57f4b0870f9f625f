import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isVmtapeError } from "../../src/base/errors.js";
import { syncBytes } from "../../src/base/sync-source.js";
import { DebugInfo } from "../../src/symbols/debug/info.js";
import { CodeMap } from "../../src/symbols/dwarf/code.js";
import { DwarfFile } from "../../src/symbols/dwarf/file.js";
import { type DebugTables, readDebugTables } from "../../src/symbols/dwarf/tables.js";
import { ElfFile } from "../../src/symbols/elf/elf.js";
import {
  at,
  dwarfElf,
  type Entry,
  form,
  makeDwarf,
  makeLines,
  tag,
  textStart,
  uleb,
} from "./dwarf-fixture.js";
import { pack } from "./elf-fixture.js";

/** Reads a file as far as possible, and looks everything up in it. An error must be a VmtapeError. */
function survive(bytes: Uint8Array): DebugTables | undefined {
  try {
    const elf = ElfFile.open(syncBytes(bytes));
    const file = DwarfFile.open(elf);
    if (!file) return undefined;
    const tables = readDebugTables(file, CodeMap.of(elf));
    const info = new DebugInfo(tables);
    for (let key = textStart - 8; key < textStart + 0x300; key += 7) {
      const scope = info.scopeAt(key);
      if (scope >= 0) {
        info.inlinedAt(scope, key);
        info.nameOf(info.functionOf(scope));
      }
      info.placeAt(key);
    }
    info.addressesOf("a.c", 5);
    for (const name of ["in", "A::in", "outer", ""]) info.copiesNamed(name);
    return tables;
  } catch (error) {
    if (!isVmtapeError(error)) throw error;
    return undefined;
  }
}

const functions = (version: number): Entry => ({
  tag: tag.compileUnit,
  attributes: [
    [at.stmtList, form.secOffset, 0],
    [at.compDir, form.string, "/src"],
    [at.lowPc, form.addr, textStart],
  ],
  children: [
    {
      tag: tag.subprogram,
      attributes: [
        [at.name, form.strp, "outer"],
        [at.lowPc, form.addr, textStart],
        [at.highPc, form.data4, 0x100],
      ],
      children: [
        {
          tag: tag.lexicalBlock,
          attributes: [
            [0x02, form.exprloc, Uint8Array.of(1, 2, 3)],
            [0x0b, form.indirect, 4],
          ],
          children: [
            {
              tag: tag.inlined,
              attributes: [
                [at.abstractOrigin, form.ref4, "in"],
                [at.ranges, form.secOffset, version >= 5 ? 12 : 0],
                [at.callFile, form.data1, 1],
                [at.callLine, form.udata, 300],
              ],
            },
          ],
        },
      ],
    },
    {
      tag: tag.subprogram,
      label: "in",
      attributes: [
        [at.linkageName, form.strp, "_ZN1A2inEv"],
        [at.specification, form.refAddr, "in"],
      ],
    },
  ],
});

const files = [4, 5].map((version) =>
  dwarfElf({
    ...makeDwarf([
      { version, root: functions(version) },
      { version, root: functions(version) },
    ]),
    ".debug_line": makeLines(
      version,
      ["a.c", "b.h"],
      [
        {
          rows: [
            { address: textStart, line: 5 },
            { address: textStart + 9, line: 900, file: 2 },
          ],
          end: textStart + 0x80,
        },
      ],
    ),
    ".debug_ranges": pack([0x10, 8], [0x20, 8], [0x30, 8], [0x38, 8], [0, 8], [0, 8]),
    ".debug_rnglists": Uint8Array.from([
      ...pack([20, 4], [5, 2], [8, 1], [0, 1], [0, 4]),
      4,
      0x10,
      0x20,
      4,
      0x30,
      0x38,
      0,
      0,
    ]),
  }),
);

describe.each([
  ["DWARF 4", files[0]!],
  ["DWARF 5", files[1]!],
])("%s", (_, bytes) => {
  it("is whole to begin with", () => {
    const tables = survive(bytes)!;
    expect(tables.notes).toEqual([]);
    expect(tables.scopeParents.length).toBe(4);
  });

  it("cut at every byte, gives an error or less", () => {
    for (let length = 0; length < bytes.length; length += 3) survive(bytes.subarray(0, length));
  });

  it("with changed bytes, gives an error or something else", () => {
    const change = fc.tuple(fc.nat(bytes.length - 1), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff, 0x21, 0x16));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 12 }), (changes) => {
        const damaged = bytes.slice();
        for (const [offset, value] of changes) damaged[offset] = value;
        survive(damaged);
      }),
      { numRuns: 1500 },
    );
  });
});

/** A unit made by hand: abbreviations, and entries behind the header. */
function handmade(
  abbrevs: readonly number[],
  entries: readonly number[] | Uint8Array,
): Record<string, Uint8Array> {
  const header = pack([7 + entries.length + 1, 4], [5, 2], [1, 1], [8, 1], [0, 4]);
  const info = new Uint8Array(header.length + entries.length);
  info.set(header);
  info.set(entries, header.length);
  new DataView(info.buffer).setUint32(0, info.length - 4, true);
  return { ".debug_info": info, ".debug_abbrev": Uint8Array.from(abbrevs) };
}

const unitAbbrev = [1, ...uleb(tag.compileUnit), 1, 0, 0];
const text = (value: string) => [...Buffer.from(`${value}\0`)];

describe("made to hurt", () => {
  it("entries nested without end", () => {
    const sections = handmade(
      [...unitAbbrev, 2, tag.lexicalBlock, 1, 0, 0, 0],
      [1, ...new Array(200_000).fill(2)],
    );
    expect(survive(dwarfElf(sections))!.notes.join()).toMatch(/is damaged at byte/);
  });

  it("inlined copies nested a thousand deep", () => {
    const copy = [2, ...pack([textStart, 8], [0x100, 4])];
    const sections = handmade(
      [
        ...unitAbbrev,
        2,
        tag.inlined,
        1,
        at.lowPc,
        form.addr,
        at.highPc,
        form.data4,
        0,
        0,
        3,
        tag.subprogram,
        1,
        at.lowPc,
        form.addr,
        at.highPc,
        form.data4,
        0,
        0,
        0,
      ],
      [1, 3, ...pack([textStart, 8], [0x100, 4]), ...Array.from({ length: 1000 }, () => copy).flat()],
    );
    expect(survive(dwarfElf(sections))!.scopeParents.length).toBe(1001);
  });

  it("one long list of ranges named by every entry", () => {
    const list = Array.from({ length: 20_000 }, () => [4, 0, 1]).flat();
    const entries = Array.from({ length: 20_000 }, () => [2, 12, 0, 0, 0]).flat();
    const sections = {
      ...handmade([...unitAbbrev, 2, tag.subprogram, 0, at.ranges, form.secOffset, 0, 0, 0], [1, ...entries]),
      ".debug_rnglists": Uint8Array.from([
        ...pack([list.length + 9, 4], [5, 2], [8, 1], [0, 1], [0, 4]),
        ...list,
        0,
      ]),
    };
    survive(dwarfElf(sections));
  });

  it("one long name shared by every entry", () => {
    const entries = Array.from({ length: 10_000 }, (_, i) => [
      2,
      ...pack([i, 4], [textStart + (i % 4000), 8], [1, 4]),
    ]).flat();
    const sections = {
      ...handmade(
        [
          ...unitAbbrev,
          2,
          tag.subprogram,
          0,
          at.name,
          form.strp,
          at.lowPc,
          form.addr,
          at.highPc,
          form.data4,
          0,
          0,
          0,
        ],
        [1, ...entries],
      ),
      ".debug_str": new Uint8Array(400_000).fill(0x61),
    };
    const tables = survive(dwarfElf(sections))!;
    expect(tables.names.bytes.length).toBeLessThan(20 << 20);
  });

  it("functions in namespaces in namespaces", () => {
    const name = [...new Array(500).fill(0x61), 0];
    const entries = [
      1,
      ...Array.from({ length: 1000 }, () => [2, ...name]).flat(),
      ...Array.from({ length: 20_000 }, (_, i) => [3, ...Buffer.from(i.toString(36)), 0]).flat(),
    ];
    const abbrevs = [
      ...unitAbbrev,
      2,
      tag.namespace,
      1,
      at.name,
      form.string,
      0,
      0,
      3,
      tag.subprogram,
      0,
      at.name,
      form.string,
      0,
      0,
      0,
    ];
    const tables = survive(dwarfElf(handmade(abbrevs, entries)))!;
    expect(tables.names.bytes.length).toBeLessThan(8 << 20);
  });

  it("abbreviations read anew for every unit", () => {
    const abbrevs = Array.from({ length: 60_000 }, (_, i) => [...uleb(i + 1), 0x34, 0, 0, 0]).flat();
    const units = Array.from({ length: 20_000 }, (_, i) =>
      pack([9, 4], [5, 2], [1, 1], [8, 1], [(i % 1000) * 4, 4], [0, 1]),
    );
    const sections = { ".debug_abbrev": Uint8Array.from(abbrevs), ".debug_info": Buffer.concat(units) };
    expect(survive(dwarfElf(sections))!.notes.join()).toMatch(/too many times/);
  });

  it("abbreviations with attributes of no size", () => {
    const abbrevs = [
      ...unitAbbrev,
      2,
      tag.subprogram,
      0,
      ...Array.from({ length: 100_000 }, () => [0x34, form.flagPresent]).flat(),
      0,
      0,
      0,
    ];
    survive(dwarfElf(handmade(abbrevs, [1, ...new Array(100_000).fill(2)])));
  });

  it("line programs that overlap", () => {
    const lines = makeLines(
      5,
      ["a.c"],
      [
        {
          rows: Array.from({ length: 30_000 }, (_, i) => ({
            address: textStart + (i % 2),
            line: 1 + (i % 7),
          })),
          end: textStart + 9,
        },
      ],
    );
    const units = Array.from({ length: 1000 }, (_, i) => ({
      root: { tag: tag.compileUnit, attributes: [[at.stmtList, form.secOffset, i] as const] },
    }));
    survive(dwarfElf({ ...makeDwarf(units), ".debug_line": lines }));
  });

  it("numbers without end, lengths without bounds", () => {
    const endless = new Array(500).fill(0xff);
    for (const kind of [
      form.string,
      form.exprloc,
      form.udata,
      form.sdata,
      form.indirect,
      0x0a,
      0x04,
      0x7777,
    ]) {
      const abbrevs = [
        ...unitAbbrev,
        2,
        tag.subprogram,
        0,
        at.name,
        ...uleb(kind),
        at.lowPc,
        form.addr,
        0,
        0,
        3,
        tag.variable,
        0,
        at.name,
        ...uleb(kind),
        0,
        0,
        0,
      ];
      survive(dwarfElf(handmade(abbrevs, [1, 2, ...endless])));
      survive(dwarfElf(handmade(abbrevs, [1, 3, ...endless])));
    }
    survive(dwarfElf(handmade([...endless, ...endless], endless)));
  });

  it("addresses from one end of memory to the other", () => {
    const entries = [0n, 1n, (1n << 63n) - 1n, 1n << 63n, (1n << 64n) - 2n, BigInt(textStart)].flatMap(
      (address) => [2, ...text("f"), ...pack([address, 8], [(1n << 64n) - 1n, 8])],
    );
    const tables = survive(
      dwarfElf(
        handmade(
          [
            ...unitAbbrev,
            2,
            tag.subprogram,
            0,
            at.name,
            form.string,
            at.lowPc,
            form.addr,
            at.highPc,
            form.data8,
            0,
            0,
            0,
          ],
          [1, ...entries],
        ),
      ),
    )!;
    expect(tables.scopeParents.length).toBe(1);
  });
});
