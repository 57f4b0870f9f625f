import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { syncBytes } from "../../src/base/sync-source.js";
import { DebugInfo } from "../../src/symbols/debug/info.js";
import { CodeMap } from "../../src/symbols/dwarf/code.js";
import { RangeColumns, ScopeColumns } from "../../src/symbols/dwarf/columns.js";
import { DwarfFile } from "../../src/symbols/dwarf/file.js";
import { innermostScopes, readDebugTables } from "../../src/symbols/dwarf/tables.js";
import { ElfFile } from "../../src/symbols/elf/elf.js";
import {
  type Attribute,
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
import { symbolAt } from "./symbol-at.js";

function read(sections: Readonly<Record<string, Uint8Array>>, bits: 32 | 64 = 64) {
  const elf = ElfFile.open(syncBytes(dwarfElf(sections, { bits })));
  const tables = readDebugTables(DwarfFile.open(elf)!, CodeMap.of(elf));
  const info = new DebugInfo(tables);
  /** The functions at an offset of the text, innermost first, as `name+offset`, with the lines calls are on. */
  const chain = (offset: number) => {
    const key = textStart + offset;
    const scope = info.scopeAt(key);
    if (scope < 0) return [];
    const outer = info.functionOf(scope);
    const inlined = (info.inlinedAt(scope, key) ?? []).map(
      ({ name, offset: from, call }) =>
        `${name}+${from}${call ? `@${call.file}:${call.line}:${call.column}` : ""}`,
    );
    return [...inlined, `${info.nameOf(outer) ?? "??"}+${key - info.startOf(outer)}`];
  };
  return { info, tables, chain };
}

const named = (text: string): Attribute => [at.name, form.strp, text];
const range = (start: number, size: number): Attribute[] => [
  [at.lowPc, form.addr, textStart + start],
  [at.highPc, form.data8, size],
];
const origin = (label: string): Attribute => [at.abstractOrigin, form.ref4, label];
const called = (line: number, column = 0): Attribute[] => [
  [at.callFile, form.data1, 1],
  [at.callLine, form.data1, line],
  [at.callColumn, form.data1, column],
];
const unit = (children: readonly Entry[], attributes: readonly Attribute[] = []): Entry => ({
  tag: tag.compileUnit,
  attributes: [[at.language, form.data1, 0x1d], [at.compDir, form.string, "/src"], ...attributes],
  children,
});
const abstract = (label: string): Entry => ({ tag: tag.subprogram, label, attributes: [named(label)] });
const inlined = (
  label: string,
  start: number,
  size: number,
  line: number,
  children: readonly Entry[] = [],
): Entry => ({
  tag: tag.inlined,
  attributes: [origin(label), ...range(start, size), ...called(line, 7)],
  children,
});

const nested = (): Entry =>
  unit(
    [
      {
        tag: tag.subprogram,
        attributes: [named("outer"), ...range(0x100, 0x100)],
        children: [
          { tag: tag.variable, attributes: [[0x02, form.exprloc, Uint8Array.of(0x91, 0x10)]] },
          {
            tag: tag.lexicalBlock,
            attributes: range(0x110, 0x50),
            children: [inlined("middle", 0x110, 0x40, 10, [inlined("inner", 0x118, 8, 20)])],
          },
        ],
      },
      abstract("middle"),
      abstract("inner"),
      { tag: tag.subprogram, attributes: [named("other"), ...range(0x200, 0x10)] },
      {
        tag: tag.subprogram,
        attributes: [named("left_out"), [at.lowPc, form.addr, 0], [at.highPc, form.data4, 16]],
      },
    ],
    [[at.stmtList, form.secOffset, 0]],
  );

describe.each([2, 3, 4, 5])("DWARF %i", (version) => {
  const lines = makeLines(
    version,
    ["a.c", "sub/b.h"],
    [
      {
        rows: [
          { address: textStart + 0x100, line: 5, column: 3 },
          { address: textStart + 0x118, line: 90, file: 2 },
          { address: textStart + 0x120, line: 6, isStatement: false },
          { address: textStart + 0x200, line: 7 },
        ],
        end: textStart + 0x210,
      },
      { rows: [{ address: 0, line: 1 }], end: 16 },
    ],
  );
  const { info, chain } = read({ ...makeDwarf([{ version, root: nested() }]), ".debug_line": lines });

  it("gives functions with the copies inlined into them, at every depth", () => {
    expect(chain(0xff)).toEqual([]);
    expect(chain(0x100)).toEqual(["outer+0"]);
    expect(chain(0x112)).toEqual(["middle+2@/src/a.c:10:7", "outer+18"]);
    expect(chain(0x118)).toEqual(["inner+0@/src/a.c:20:7", "middle+8@/src/a.c:10:7", "outer+24"]);
    expect(chain(0x11f)).toEqual(["inner+7@/src/a.c:20:7", "middle+15@/src/a.c:10:7", "outer+31"]);
    expect(chain(0x120)).toEqual(["middle+16@/src/a.c:10:7", "outer+32"]);
    expect(chain(0x150)).toEqual(["outer+80"]);
    expect(chain(0x200)).toEqual(["other+0"]);
    expect(chain(0x210)).toEqual([]);
    expect(info.scopeAt(4)).toBe(-1);
  });

  it("gives lines", () => {
    const place = (offset: number) => info.placeAt(textStart + offset);
    expect(place(0xff)).toBeUndefined();
    expect(place(0x100)).toEqual({ file: "/src/a.c", line: 5, column: 3 });
    expect(place(0x117)).toMatchObject({ line: 5 });
    expect(place(0x118)).toEqual({ file: "/src/sub/b.h", line: 90, column: 0 });
    expect(place(0x1ff)).toMatchObject({ file: "/src/a.c", line: 6 });
    expect(place(0x20f)).toMatchObject({ line: 7 });
    expect(place(0x210)).toBeUndefined();
    expect(info.placeAt(4)).toBeUndefined();
  });

  it("finds lines and copies", () => {
    const found = (path: string, line: number) =>
      info.addressesOf(path, line).map(({ key, place }) => `${(key - textStart).toString(16)}:${place.line}`);
    expect(found("a.c", 5)).toEqual(["100:5"]);
    expect(found("src/a.c", 7)).toEqual(["200:7"]);
    // A row that no breakpoint may stand at is passed over: the next line with code answers.
    expect(found("./a.c", 6)).toEqual(["200:7"]);
    expect(found("sub/b.h", 1)).toEqual(["118:90"]);
    expect(found("x.c", 1)).toEqual([]);
    expect(found("other/a.c", 5)).toEqual([]);
    expect(info.copiesNamed("inner")).toEqual([
      { name: "inner", key: textStart + 0x118, inlinedInto: "outer" },
    ]);
    expect(info.copiesNamed("outer")).toEqual([]);
  });
});

describe("forms", () => {
  it("reads texts, addresses and range lists by index, whatever stands first", () => {
    const root = unit(
      [
        {
          tag: tag.subprogram,
          attributes: [
            [at.name, form.strx1, 1],
            [at.ranges, form.rnglistx, 0],
          ],
          children: [
            {
              tag: tag.inlined,
              attributes: [
                [at.abstractOrigin, form.ref4, "callee"],
                [at.lowPc, form.addrx1, 1],
                [at.highPc, form.udata, 4],
              ],
            },
          ],
        },
        { tag: tag.subprogram, label: "callee", attributes: [[at.name, form.strx1, 0]] },
      ],
      [
        [at.lowPc, form.addrx1, 0],
        [at.strOffsetsBase, form.secOffset, 8],
        [at.addrBase, form.secOffset, 8],
        [at.rnglistsBase, form.secOffset, 12],
      ],
    );
    const lists = [
      // startx_length, base_addressx, offset_pair, start_length, start_end, end
      ...[3, 2, ...uleb(8)],
      ...[1, 0],
      ...[4, ...uleb(0x20), ...uleb(0x28)],
      ...[7, ...pack([textStart + 0x40, 8]), ...uleb(8)],
      ...[6, ...pack([textStart + 0x60, 8], [textStart + 0x68, 8])],
      0,
    ];
    const { chain } = read({
      ...makeDwarf([{ root }]),
      ".debug_str": Buffer.from("callee\0caller\0"),
      ".debug_str_offsets": pack([12, 4], [5, 2], [0, 2], [0, 4], [7, 4]),
      ".debug_addr": pack(
        [28, 4],
        [5, 2],
        [8, 1],
        [0, 1],
        [textStart, 8],
        [textStart + 0x22, 8],
        [textStart, 8],
      ),
      ".debug_rnglists": Uint8Array.from([
        ...pack([8 + 4 + lists.length, 4], [5, 2], [8, 1], [0, 1], [1, 4], [4, 4]),
        ...lists,
      ]),
    });
    expect(chain(0)).toEqual(["caller+0"]);
    expect(chain(8)).toEqual([]);
    expect(chain(0x20)).toEqual(["caller+32"]);
    expect(chain(0x22)).toEqual(["callee+0", "caller+34"]);
    expect(chain(0x26)).toEqual(["caller+38"]);
    expect(chain(0x47)).toEqual(["caller+71"]);
    expect(chain(0x60)).toEqual(["caller+96"]);
    expect(chain(0x68)).toEqual([]);
  });

  it("reads range lists of DWARF 4, with base addresses", () => {
    const root = unit(
      [{ tag: tag.subprogram, attributes: [named("f"), [at.ranges, form.secOffset, 16]] }],
      [[at.lowPc, form.addr, textStart]],
    );
    const { chain } = read({
      ...makeDwarf([{ version: 4, root }]),
      ".debug_ranges": pack(
        ...([0, 0, 0x10, 0x20, -1, textStart + 0x100, 0, 8, 5, 5, 0, 0] as const).map(
          (value) => [value, 8] as const,
        ),
      ),
    });
    expect([0x10, 0x1f, 0x20, 0x100, 0x107, 0x108].map((offset) => chain(offset)[0])).toEqual([
      "f+0",
      "f+15",
      undefined,
      "f+240",
      "f+247",
      undefined,
    ]);
  });

  it("counts from the start of a copy in each part of its function", () => {
    const root = unit(
      [
        {
          tag: tag.subprogram,
          attributes: [named("f"), [at.ranges, form.secOffset, 0]],
          children: [{ tag: tag.inlined, attributes: [origin("g"), [at.ranges, form.secOffset, 48]] }],
        },
        abstract("g"),
      ],
      [[at.lowPc, form.addr, textStart]],
    );
    const { chain } = read({
      ...makeDwarf([{ version: 4, root }]),
      ".debug_ranges": pack(
        ...[0x100, 0x200, 0x10, 0x40, 0, 0, 0x120, 0x130, 0x140, 0x150, 0x20, 0x28, 0, 0].map(
          (value) => [value, 8] as const,
        ),
      ),
    });
    expect(chain(0x100)).toEqual(["f+0"]);
    expect(chain(0x121)).toEqual(["g+1", "f+33"]);
    expect(chain(0x135)).toEqual(["f+53"]);
    expect(chain(0x140)).toEqual(["g+32", "f+64"]);
    expect(chain(0x22)).toEqual(["g+2", "f+-222"]);
  });

  it("reads forms that stand beside the value, constants in the abbreviation, and 32-bit files", () => {
    const root = unit([
      {
        tag: tag.variable,
        attributes: [
          [0x0b, form.indirect, 3],
          [0x3a, form.implicitConst, -5],
          [0x1c, form.data16, 1],
        ],
      },
      {
        tag: tag.subprogram,
        attributes: [[0x3a, form.implicitConst, 300], [at.name, form.string, "f"], ...range(0, 16)],
        children: [
          {
            tag: tag.inlined,
            attributes: [
              origin("g"),
              ...range(4, 4),
              [at.callLine, form.implicitConst, 300],
              [0x0b, form.indirect, 9],
            ],
          },
        ],
      },
      { tag: tag.subprogram, label: "g", attributes: [[at.linkageName, form.strp, "_Z1gi"], named("g")] },
    ]);
    for (const addressSize of [4, 8] as const) {
      const { chain } = read(makeDwarf([{ addressSize, root }]), addressSize === 4 ? 32 : 64);
      expect(chain(5)).toEqual(["g(int)+1", "f+5"]);
    }
  });
});

it("counts files from 0 in DWARF 5, and from 1 before", () => {
  for (const version of [4, 5]) {
    const root = unit(
      [
        {
          tag: tag.subprogram,
          attributes: range(0, 16),
          children: [
            {
              tag: tag.inlined,
              attributes: [...range(0, 8), [at.callFile, form.data1, 0], [at.callLine, form.data1, 3]],
            },
          ],
        },
      ],
      [[at.stmtList, form.secOffset, 0]],
    );
    const lines = makeLines(
      version,
      ["a.c"],
      [{ rows: [{ address: textStart, line: 1 }], end: textStart + 1 }],
    );
    const { chain } = read({ ...makeDwarf([{ version, root }]), ".debug_line": lines });
    expect(chain(0)[0]).toBe(version === 5 ? "??+0@/src/a.c:3:0" : "??+0");
  }
});

it("keeps a row a breakpoint may stand at when others of its line follow at its address", () => {
  const rows = [
    { address: textStart, line: 4 },
    { address: textStart, line: 5, column: 9 },
    { address: textStart, line: 5, column: 2, isStatement: false },
    { address: textStart + 4, line: 6, isStatement: false },
    { address: textStart + 4, line: 7, isStatement: false },
  ];
  const root = unit([], [[at.stmtList, form.secOffset, 0]]);
  const lines = makeLines(5, ["a.c"], [{ rows, end: textStart + 8 }]);
  const { info, tables } = read({ ...makeDwarf([{ root }]), ".debug_line": lines });
  expect([...tables.lineNumbers]).toEqual([4, 5, 7, 0]);
  expect(info.placeAt(textStart)).toMatchObject({ line: 5, column: 2 });
  const found = (line: number) =>
    info.addressesOf("a.c", line).map(({ key, place }) => [key - textStart, place.line]);
  expect([found(4), found(5), found(6)]).toEqual([[[0, 4]], [[0, 5]], []]);
});

describe("references", () => {
  it("follows origins and specifications into other units", () => {
    const first = unit([
      {
        tag: tag.subprogram,
        attributes: range(0, 32),
        children: [
          { tag: tag.inlined, attributes: [[at.abstractOrigin, form.refAddr, "body"], ...range(8, 8)] },
        ],
      },
      { tag: tag.subprogram, attributes: [[at.specification, form.refAddr, "member"], ...range(0x40, 8)] },
    ]);
    const second: Entry = {
      tag: tag.partialUnit,
      children: [
        { tag: tag.subprogram, label: "body", attributes: [[at.specification, form.ref4, "member"]] },
        {
          tag: tag.structure,
          attributes: [named("S")],
          children: [
            {
              tag: tag.subprogram,
              label: "member",
              attributes: [named("m"), [at.linkageName, form.strp, "_ZN1S1mEv"]],
            },
          ],
        },
      ],
    };
    const { chain } = read(makeDwarf([{ root: first }, { type: 3, root: second }]));
    expect(chain(8)).toEqual(["S::m()+0", "??+8"]);
    expect(chain(0x40)).toEqual(["S::m()+0"]);
  });

  it("puts namespaces and types before names that have no linkage name", () => {
    const root: Entry = {
      tag: tag.compileUnit,
      attributes: [[at.language, form.data1, 0x21]],
      children: [
        {
          tag: tag.subprogram,
          attributes: [named("main"), ...range(0, 32)],
          children: [inlined("sort", 0, 8, 1), inlined("member", 8, 8, 1)],
        },
        {
          tag: tag.namespace,
          attributes: [named("std")],
          children: [
            {
              tag: tag.namespace,
              children: [{ tag: tag.subprogram, label: "sort", attributes: [named("sort<int>")] }],
            },
            {
              tag: tag.structure,
              attributes: [named("S")],
              children: [{ tag: tag.subprogram, label: "declared", attributes: [named("m")] }],
            },
            { tag: tag.subprogram, attributes: [named("own"), ...range(0x40, 8)] },
          ],
        },
        { tag: tag.subprogram, label: "member", attributes: [[at.specification, form.ref4, "declared"]] },
      ],
    };
    const { chain } = read(makeDwarf([{ root }]));
    expect(chain(0)).toEqual(["std::(anonymous namespace)::sort<int>+0", "main+0"]);
    expect(chain(9)).toEqual(["std::S::m+1", "main+9"]);
    expect(chain(0x40)).toEqual(["std::own+0"]);
  });

  it("gives no name where references go round in circles or out of the file", () => {
    const entry = (label: string, target: string | number, start: number): Entry => ({
      tag: tag.subprogram,
      label,
      attributes: [[at.abstractOrigin, form.refAddr, target], ...range(start, 8)],
    });
    const root = unit([
      entry("a", "b", 0),
      entry("b", "a", 8),
      entry("self", "self", 16),
      entry("out", 0x7fffffff, 24),
      entry("header", 2, 32),
    ]);
    const { chain } = read(makeDwarf([{ root }]));
    expect([0, 8, 16, 24, 32].map((offset) => chain(offset))).toEqual([
      ["??+0"],
      ["??+0"],
      ["??+0"],
      ["??+0"],
      ["??+0"],
    ]);
  });
});

describe("what is not read", () => {
  it("is named: split units, other versions", () => {
    const skeleton: Entry = {
      tag: tag.skeletonUnit,
      attributes: [[at.dwoName, form.string, "part.dwo"]],
    };
    const [{ tables }, other] = [
      read(makeDwarf([{ type: 4, root: skeleton }])),
      read(makeDwarf([{ version: 7, root: unit([]) }])),
    ];
    expect(tables.notes.join()).toMatch(/1 units in split files \(part\.dwo\)/);
    expect(other.tables.notes.join()).toMatch(/1 units of DWARF version 7/);
  });

  it("is named when it is damaged, and the other units are read", () => {
    const good = unit([{ tag: tag.subprogram, attributes: [named("good"), ...range(0, 8)] }]);
    const sections = makeDwarf([
      { root: unit([{ tag: tag.variable, attributes: [named("v")] }]) },
      { root: good },
    ]);
    const info = sections[".debug_info"]!.slice();
    // The first child's code becomes one without an abbreviation.
    const child = info.indexOf(2, 12);
    info[child] = 0x7e;
    const { chain, tables } = read({ ...sections, ".debug_info": info });
    expect(chain(0)).toEqual(["good+0"]);
    expect(tables.notes.join()).toMatch(/is damaged at byte/);
  });
});

/** A scope: bytes before it, its size, and what is inlined into it. */
interface Plan {
  readonly gap: number;
  readonly size: number;
  readonly children: readonly Plan[];
}

it("answers for each address as a slow look at all ranges does", () => {
  const plans: fc.Memo<Plan> = fc.memo((depth) =>
    fc.record({
      gap: fc.nat(5),
      size: fc.nat(20),
      children: depth > 1 ? fc.array(plans(depth - 1), { maxLength: 3 }) : fc.constant([]),
    }),
  );
  fc.assert(
    fc.property(fc.array(plans(4), { maxLength: 5 }), (functions) => {
      const scopes = new ScopeColumns();
      const ranges = new RangeColumns();
      const slow = new Map<number, number>();
      const place = (list: readonly Plan[], parent: number, from: number, limit: number): number => {
        let start = from;
        for (const { gap, size, children } of list) {
          start += gap;
          const end = Math.min(start + size, limit);
          if (end <= start) continue;
          const scope = scopes.push(parent, start);
          ranges.push(start, end, scope);
          for (let key = start; key < end; key++) slow.set(key, scope);
          place(children, scope, start, end);
          start = end;
        }
        return start;
      };
      const end = place(functions, -1, 100, Number.POSITIVE_INFINITY);
      const map = innermostScopes(ranges, scopes);
      for (let key = 95; key < end + 5; key++) expect(symbolAt(map, key)).toBe(slow.get(key) ?? -1);
    }),
  );
});

it("takes the first of two functions with the same code", () => {
  const root = unit([
    {
      tag: tag.subprogram,
      attributes: [named("first"), ...range(0, 16)],
      children: [inlined("in", 0, 8, 1)],
    },
    {
      tag: tag.subprogram,
      attributes: [named("second"), ...range(0, 16)],
      children: [inlined("in", 4, 12, 1)],
    },
    abstract("in"),
  ]);
  const { chain } = read(makeDwarf([{ root }]));
  expect([0, 4, 8, 15].map((offset) => chain(offset).at(-1))).toEqual([
    "first+0",
    "first+4",
    "first+8",
    "first+15",
  ]);
  expect(chain(8)).toEqual(["first+8"]);
});
