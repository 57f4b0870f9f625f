import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { crc32 } from "../../src/base/compression/checksum.js";
import { loadSymbolSource } from "../../src/symbols/names/load-source.js";
import { formatAddress, formatPlace } from "../../src/symbols/names/symbol-format.js";
import { Symbols } from "../../src/symbols/names/symbols.js";
import { at, dwarfElf, type Entry, form, makeDwarf, makeLines, tag, textStart } from "./dwarf-fixture.js";
import { makeElf, pack } from "./elf-fixture.js";

const root = mkdtempSync(join(tmpdir(), "vmtape-debug-"));
afterAll(() => rmSync(root, { recursive: true }));
let home = "";
let number = 0;
beforeEach(() => {
  home = join(root, String(number++));
  mkdirSync(home);
});

const buildId = "aabbccddee";
const note = (id: string) => ({
  name: ".note.gnu.build-id",
  type: 7,
  flags: 2,
  bytes: Buffer.concat([
    pack([4, 4], [id.length / 2, 4], [3, 4]),
    Buffer.from("GNU\0"),
    Buffer.from(id, "hex"),
    Buffer.alloc(3),
  ]),
});
const unit: Entry = {
  tag: tag.compileUnit,
  attributes: [[at.stmtList, form.secOffset, 0]],
  children: [
    {
      tag: tag.subprogram,
      attributes: [
        [at.name, form.strp, "f"],
        [at.lowPc, form.addr, textStart],
        [at.highPc, form.data4, 64],
      ],
      children: [
        {
          tag: tag.inlined,
          attributes: [
            [at.abstractOrigin, form.ref4, "g"],
            [at.lowPc, form.addr, textStart + 8],
            [at.highPc, form.data4, 8],
          ],
        },
      ],
    },
    { tag: tag.subprogram, label: "g", attributes: [[at.name, form.strp, "g"]] },
  ],
};
const lines = makeLines(5, ["a.c"], [{ rows: [{ address: textStart, line: 3 }], end: textStart + 64 }]);
const debugSections = { ...makeDwarf([{ root: unit }]), ".debug_line": lines };
const symbols = [{ name: "f.constprop.0", value: BigInt(textStart), size: 64, section: ".text" }];
const debugFile = Buffer.from(dwarfElf(debugSections, { symbols, others: [note(buildId)] }));
const program = (link?: string, crc = crc32(debugFile), id?: string) =>
  dwarfElf(
    {},
    {
      symbols,
      others: [
        ...(id === undefined ? [] : [note(id)]),
        ...(link === undefined
          ? []
          : [
              {
                name: ".gnu_debuglink",
                flags: 0,
                bytes: Buffer.concat([
                  Buffer.from(link),
                  Buffer.alloc(4 - (link.length % 4)),
                  pack([crc, 4]),
                ]),
              },
            ]),
      ],
    },
  );

function look(debug?: string) {
  const all = new Symbols();
  const file = join(home, "program");
  all.add(loadSymbolSource({ file, ...(debug !== undefined && { debug }) }, { debugDirectories: [] }));
  const located = all.lookup(BigInt(textStart + 10))!;
  const text = `${formatAddress(0x10n, located, "full")}${located.place ? ` ${formatPlace(located.place)}` : ""}`;
  return { text, notes: all.notes, gdb: formatAddress(0x10n, located, "gdb"), located };
}

const plain = "0x10 <f.constprop.0+10>";
const full = "0x10 <g+2 @ f+10> /src/a.c:3";

describe("debug information", () => {
  it("in the file itself", () => {
    writeFileSync(join(home, "program"), debugFile);
    expect(look()).toMatchObject({ text: full, gdb: "0x10 <f+10>", notes: [] });
    expect(look().located).toMatchObject({
      name: "f.constprop.0",
      offset: 10,
      declared: { name: "f", offset: 10 },
    });
  });

  it("by build id, in a directory the user names", () => {
    writeFileSync(join(home, "program"), program(undefined, 0, buildId));
    expect(look().text).toBe(plain);
    mkdirSync(join(home, "debug/.build-id/aa"), { recursive: true });
    writeFileSync(join(home, "debug/.build-id/aa/bbccddee.debug"), debugFile);
    expect(look(join(home, "debug"))).toMatchObject({ text: full, notes: [] });
  });

  it("not from a file with another build id", () => {
    writeFileSync(join(home, "program"), program(undefined, 0, "aabbccddff"));
    mkdirSync(join(home, ".build-id/aa"), { recursive: true });
    writeFileSync(join(home, ".build-id/aa/bbccddff.debug"), debugFile);
    expect(look(home).text).toBe(plain);
  });

  it.each(["x.debug", ".debug/x.debug"])("by name and checksum: %s", (path) => {
    writeFileSync(join(home, "program"), program("x.debug"));
    mkdirSync(join(home, ".debug"));
    writeFileSync(join(home, path), debugFile);
    expect(look()).toMatchObject({ text: full, notes: [] });
  });

  it("below a debug directory", () => {
    writeFileSync(join(home, "program"), program("x.debug"));
    mkdirSync(join(home, "debug", home), { recursive: true });
    writeFileSync(join(home, "debug", home, "x.debug"), debugFile);
    expect(look(join(home, "debug")).text).toBe(full);
  });

  it("not from a file with another checksum, which is said", () => {
    writeFileSync(join(home, "program"), program("x.debug", 1));
    writeFileSync(join(home, "x.debug"), debugFile);
    const { text, notes } = look();
    expect(text).toBe(plain);
    expect(notes.join()).toMatch(/x\.debug is not the debug file of .*program: its checksum is another/);
  });

  it("not from outside the places: a link is a name, not a path", () => {
    writeFileSync(join(home, "program"), program("../x.debug"));
    writeFileSync(join(root, "x.debug"), debugFile);
    expect(look().text).toBe(plain);
  });

  const altLink = (path: string) => ({
    name: ".gnu_debugaltlink",
    flags: 0,
    bytes: Buffer.concat([Buffer.from(`${path}\0`), Buffer.from(buildId, "hex")]),
  });

  it("that shares parts with a file that is not there says which, once", () => {
    writeFileSync(
      join(home, "program"),
      dwarfElf(debugSections, { symbols, others: [altLink("../dwz/shared")] }),
    );
    const { text, notes } = look();
    expect(text).toBe(full);
    expect(notes).toEqual([expect.stringContaining(join(root, "dwz/shared"))]);
  });

  it("whose names stand in a file that is not there: the linker's names, and ?? for inlined copies", () => {
    // As `dwz -m` leaves it: names, and the functions of copies, are in the common file.
    const place = [
      [at.lowPc, form.addr, textStart],
      [at.highPc, form.data4, 64],
    ] as const;
    const shared: Entry = {
      tag: tag.compileUnit,
      attributes: [[at.stmtList, form.secOffset, 0]],
      children: [
        {
          tag: tag.subprogram,
          attributes: [[at.name, form.gnuStrpAlt, 1], ...place],
          children: [
            {
              tag: tag.inlined,
              attributes: [
                [at.abstractOrigin, form.gnuRefAlt, 0x40],
                [at.lowPc, form.addr, textStart + 8],
                [at.highPc, form.data4, 8],
              ],
            },
          ],
        },
      ],
    };
    const sections = { ...makeDwarf([{ root: shared }]), ".debug_line": lines };
    writeFileSync(join(home, "program"), dwarfElf(sections, { symbols, others: [altLink("common.debug")] }));
    const missing = look();
    expect(missing.text).toBe("0x10 <??+2 @ f.constprop.0+10> /src/a.c:3");
    expect(missing.gdb).toBe("0x10 <f.constprop.0+10>");
    expect(missing.located.declared).toBeUndefined();
    expect(missing.notes).toEqual([expect.stringContaining(join(home, "common.debug"))]);
    // Of a cached table, too.
    const cache = join(home, "cache");
    for (let i = 0; i < 2; i++) {
      const all = new Symbols();
      all.add(loadSymbolSource({ file: join(home, "program") }, { debugDirectories: [], cache }));
      expect(formatAddress(0x10n, all.lookup(BigInt(textStart + 10)), "full")).toBe(
        missing.text.slice(0, -11),
      );
      expect(all.notes).toEqual(missing.notes);
    }
    const common = makeElf({
      sections: [
        note(buildId),
        { name: ".debug_str", flags: 0, bytes: Buffer.from("\0main_of_all\0") },
        { name: ".debug_info", flags: 0, bytes: new Uint8Array(16) },
      ],
    });
    writeFileSync(join(home, "common.debug"), common);
    expect(look().gdb).toBe("0x10 <main_of_all+10>");
    // What was cached while it was missing is not used now.
    const all = new Symbols();
    all.add(loadSymbolSource({ file: join(home, "program") }, { debugDirectories: [], cache }));
    expect(formatAddress(0x10n, all.lookup(BigInt(textStart + 10)))).toBe("0x10 <main_of_all+10>");
  });

  it("that is damaged gives a note and the plain name", () => {
    writeFileSync(join(home, "program"), program("x.debug"));
    writeFileSync(join(home, "x.debug"), "no ELF file");
    const { text, notes } = look();
    expect(text).toBe(plain);
    expect(notes.join()).toMatch(/is not an ELF file/);
  });
});

it("a stripped program has the symbols of its debug file, at its own sections", () => {
  const text = { name: ".text", address: BigInt(textStart), bytes: new Uint8Array(0x1000) };
  // Another section first: the numbers of the two files differ.
  const first = { name: ".init", address: 0x40_0000n, bytes: new Uint8Array(16) };
  writeFileSync(join(home, "program"), makeElf({ sections: [first, text, note(buildId)] }));
  const load = (debug?: string) =>
    loadSymbolSource({ file: join(home, "program"), ...(debug !== undefined && { debug }) });
  expect(() => load()).toThrow(/has no symbols: it is stripped/);
  mkdirSync(join(home, ".build-id/aa"), { recursive: true });
  writeFileSync(join(home, ".build-id/aa/bbccddee.debug"), debugFile);
  const all = new Symbols();
  all.add(load(home));
  expect(all.lookup(BigInt(textStart + 63))).toMatchObject({
    name: "f.constprop.0",
    offset: 63,
    place: { line: 3 },
  });
  expect(all.lookup(BigInt(textStart + 64))).toBeUndefined();
  expect(all.find("f.constprop.0")).toMatchObject([{ kind: "T" }]);
});

it("finds lines, copies and names, in each source moved by its bias and kept to its range", () => {
  writeFileSync(join(home, "program"), debugFile);
  const all = new Symbols();
  const bias = 0x7f00_0000_0000n;
  const source = loadSymbolSource({ file: join(home, "program"), prefix: "User:" });
  all.add({ ...source, bias });
  const start = bias + BigInt(textStart);
  expect(all.lookup(start + 9n)).toMatchObject({
    prefix: "User:",
    place: { file: "/src/a.c", line: 3 },
    inlined: [{ name: "g", offset: 1 }],
  });
  expect(formatAddress(1n, all.lookup(start + 9n), "full")).toBe("0x1 <g+1 @ User:f+9>");
  expect(all.findLine("a.c", 1)).toMatchObject([{ address: start, place: { line: 3 } }]);
  expect(all.findLine("b.c", 1)).toEqual([]);
  expect(all.findInlined("User:g")).toMatchObject([{ address: start + 8n, inlinedInto: "f" }]);
  expect(all.resolve("g")).toMatchObject([{ address: start + 8n }]);
  expect(all.resolve("src/a.c:2")).toMatchObject([{ address: start }]);
  expect(all.resolve("User:f.c*")).toMatchObject([{ address: start }]);
  expect(all.resolve("nothing")).toEqual([]);
  const cut = new Symbols();
  cut.add({ ...source, bias, range: { first: start + 16n, last: start + 32n } });
  expect(cut.findInlined("g")).toEqual([]);
  expect(cut.findLine("a.c", 3)).toEqual([]);
});
