import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { VmtapeError } from "../../src/base/errors.js";
import { syncBytes } from "../../src/base/sync-source.js";
import { ElfFile } from "../../src/symbols/elf/elf.js";
import { readOrcImage, readOrcModule } from "../../src/symbols/kernel/orc-image.js";
import { addressOfKey, keyOf } from "../../src/symbols/tables/address.js";
import { OrcTable, orcDialect } from "../../src/symbols/unwind/orc.js";
import { type OrcDialect, orcType } from "../../src/symbols/unwind/orc-layout.js";
import { makeElf, pack } from "./elf-fixture.js";
import { type FixtureEntry, makeOrc } from "./orc-fixture.js";

const text = keyOf(0xffff_ffff_8100_0000n);
const placesAt = keyOf(0xffff_ffff_82a0_0000n);
const dialects = ["end2", "end3", "typed", "renumbered"] as const;

/** A plain function, entry code, a gap, the end of the stack, the end mark. */
const entries: readonly FixtureEntry[] = [
  { at: text, type: "call", spRegister: 5, spOffset: 8, bpRegister: 0, bpOffset: 0 },
  { at: text + 1, type: "call", spRegister: 5, spOffset: 16, bpRegister: 1, bpOffset: -16 },
  { at: text + 4, type: "call", spRegister: 4, spOffset: 16, bpRegister: 1, bpOffset: -16 },
  { at: text + 0x300, type: "registers", spRegister: 5, spOffset: 0, bpRegister: 0, bpOffset: 0 },
  { at: text + 0x320, type: "partial", spRegister: 5, spOffset: 8, bpRegister: 0, bpOffset: 0 },
  { at: text + 0x340, type: "undefined", spRegister: 0, spOffset: 0, bpRegister: 0, bpOffset: 0 },
  { at: text + 0x900, type: "end", spRegister: 0, spOffset: 0, bpRegister: 0, bpOffset: 0 },
  { at: text + 0x910, type: "call", spRegister: 9, spOffset: 8, bpRegister: 0, bpOffset: 0 },
  { at: text + 0xa00, type: "undefined", spRegister: 0, spOffset: 0, bpRegister: 0, bpOffset: 0 },
];

const types = {
  undefined: orcType.undefined,
  end: orcType.endOfStack,
  call: orcType.call,
  registers: orcType.registers,
  partial: orcType.partialRegisters,
} as const;

function tableOf(list: readonly FixtureEntry[], dialect: OrcDialect): OrcTable {
  const { places, bytes } = makeOrc(list, placesAt, dialect);
  return OrcTable.read(places, placesAt, bytes);
}

describe("ORC tables", () => {
  it.each(dialects)("tell their dialect, and mean the same in each: %s", (dialect) => {
    const table = tableOf(entries, dialect);
    expect(table.dialect).toBe(dialect);
    entries.slice(0, -1).forEach((entry, i) => {
      expect(table.find(entry.at)).toBe(i);
      expect(table.place(i)).toBe(entry.at);
      expect(table.entry(i)).toEqual({
        type: types[entry.type],
        spRegister: entry.spRegister,
        spOffset: entry.spOffset,
        bpRegister: entry.bpRegister,
        bpOffset: entry.bpOffset,
      });
    });
    expect(table.find(text - 1)).toBe(-1);
    expect(table.find(text + 0xa00)).toBe(-1);
    expect(table.find(text + 0x9ff)).toBe(7);
  });

  it("find the last entry at or before an address, as a look at all of them does", () => {
    const gaps = fc.array(fc.nat(700), { minLength: 2, maxLength: 60 });
    fc.assert(
      fc.property(gaps, fc.constantFrom(...dialects), (distances, dialect) => {
        let at = text;
        const list = distances.map((distance) => {
          at += distance;
          return { at, type: "call", spRegister: 5, spOffset: 8, bpRegister: 0, bpOffset: 0 } as const;
        });
        const table = tableOf(list, dialect);
        for (let key = text - 3; key < at + 3; key += 7) {
          const isInside = key >= list[0]!.at && key < list.at(-1)!.at;
          const slow = list.findLastIndex((entry) => entry.at <= key);
          expect(table.find(key)).toBe(isInside ? slow : -1);
        }
      }),
      { numRuns: 40 },
    );
  });

  it("are sorted when they are not; of two for one place the one that knows something answers", () => {
    for (const dialect of dialects) {
      const mark = { ...entries[5]!, at: text + 4 };
      const table = tableOf([...entries.toReversed(), mark], dialect);
      expect(table.entry(table.find(text + 4)).type).toBe(orcType.call);
      expect(table.entry(table.find(text + 0x305)).type).toBe(orcType.registers);
    }
  });

  it("refuse what does not go together", () => {
    const { places, bytes } = makeOrc(entries, placesAt, "typed");
    const codeOf = (run: () => unknown) => {
      try {
        run();
        return "none";
      } catch (error) {
        return error instanceof VmtapeError ? error.code : error;
      }
    };
    for (let length = 0; length < bytes.length; length++) {
      expect(codeOf(() => OrcTable.read(places, placesAt, bytes.subarray(0, length)))).toBe("bad-file");
    }
    expect(codeOf(() => OrcTable.read(new Uint8Array(0), placesAt, new Uint8Array(0)))).toBe("bad-file");
    const far = places.slice();
    far.set(pack([0x7fff_ffff, 4]), 0);
    far.set(pack([-0x7fff_ffff, 4]), 4);
    expect(codeOf(() => OrcTable.read(far, placesAt, bytes))).toBe("bad-file");
  });

  it("answer something whatever their bytes are", () => {
    fc.assert(
      fc.property(fc.nat(20), fc.uint8Array({ minLength: 210, maxLength: 210 }), (count, noise) => {
        const places = noise.slice(0, count * 4);
        const bytes = noise.slice(84, 84 + count * 6);
        let table: OrcTable;
        try {
          table = OrcTable.read(places, placesAt, bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(VmtapeError);
          return;
        }
        const found = table.find(table.first);
        if (found >= 0) expect(table.entry(found).type).toBeLessThanOrEqual(orcType.partialRegisters);
        expect(dialects).toContain(orcDialect(bytes));
      }),
      { numRuns: 300 },
    );
  });
});

describe("where ORC tables are", () => {
  it("are read from a kernel's sections", () => {
    const { places, bytes } = makeOrc(entries, placesAt, "end2");
    const sections = [
      { name: ".text", address: addressOfKey(text), bytes: new Uint8Array(16) },
      { name: ".orc_unwind_ip", address: addressOfKey(placesAt), bytes: places, flags: 2 },
      { name: ".orc_unwind", address: addressOfKey(placesAt + 0x1000), bytes, flags: 2 },
    ];
    const table = readOrcImage(ElfFile.open(syncBytes(makeElf({ sections }))))!;
    expect(table.count).toBe(entries.length);
    expect(table.find(text + 2)).toBe(1);
    expect(
      readOrcImage(ElfFile.open(syncBytes(makeElf({ sections: sections.slice(0, 1) })))),
    ).toBeUndefined();
  });

  it("are found in a module's structure in memory, wherever it has them", async () => {
    const base = 0xffff_ffff_c020_0000n;
    const structure = base + 0x3000n;
    const placesIn = base + 0x4000n;
    const entriesIn = base + 0x4800n;
    const { places, bytes } = makeOrc(
      entries.map((entry) => ({ ...entry, at: entry.at - text + keyOf(base) })),
      keyOf(placesIn),
      "typed",
    );
    const image = new Uint8Array(0x5000);
    image.set(pack([entries.length, 4], [0, 4], [placesIn, 8], [entriesIn, 8]), 0x3000 + 0x2c8);
    // What looks like it and is not: a count that is too large for the module.
    image.set(pack([0x4000, 4], [0, 4], [placesIn, 8], [entriesIn, 8]), 0x3000 + 0x100);
    image.set(places, 0x4000);
    image.set(bytes, 0x4800);
    const memory = {
      async read(address: bigint, length: number) {
        const at = Number(address - base);
        return at >= 0 && at + length <= image.length ? image.slice(at, at + length) : undefined;
      },
    };
    const regions = [{ start: base, end: base + 0x5000n }];
    const table = await readOrcModule(memory, { address: structure, regions });
    expect(table?.find(keyOf(base) + 2)).toBe(1);
    const elsewhere = [{ start: base, end: base + 0x4000n }];
    expect(await readOrcModule(memory, { address: structure, regions: elsewhere })).toBeUndefined();
  });
});
