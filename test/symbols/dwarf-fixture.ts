/**
 * Writes small DWARF sections for tests: entries given as trees become `.debug_info` and `.debug_abbrev`, texts
 * become `.debug_str`. It is the reverse of the readers, and shares no code with them.
 */
import { makeElf, pack } from "./elf-fixture.js";

/** An attribute: its number, its form, its value. References name the label of an entry. */
export type Attribute = readonly [name: number, form: number, value: number | bigint | string | Uint8Array];

export interface Entry {
  readonly tag: number;
  readonly label?: string;
  readonly attributes?: readonly Attribute[];
  readonly children?: readonly Entry[];
}

export interface UnitFixture {
  readonly version?: number;
  /** Of DWARF 5; default compile (1). */
  readonly type?: number;
  readonly addressSize?: 4 | 8;
  readonly root: Entry;
}

export const at = {
  sibling: 0x01,
  name: 0x03,
  stmtList: 0x10,
  lowPc: 0x11,
  highPc: 0x12,
  language: 0x13,
  compDir: 0x1b,
  abstractOrigin: 0x31,
  specification: 0x47,
  ranges: 0x55,
  callColumn: 0x57,
  callFile: 0x58,
  callLine: 0x59,
  linkageName: 0x6e,
  strOffsetsBase: 0x72,
  addrBase: 0x73,
  rnglistsBase: 0x74,
  dwoName: 0x76,
} as const;

export const form = {
  addr: 0x01,
  data2: 0x05,
  data4: 0x06,
  data8: 0x07,
  string: 0x08,
  data1: 0x0b,
  sdata: 0x0d,
  strp: 0x0e,
  gnuRefAlt: 0x1f20,
  gnuStrpAlt: 0x1f21,
  udata: 0x0f,
  refAddr: 0x10,
  ref4: 0x13,
  indirect: 0x16,
  secOffset: 0x17,
  exprloc: 0x18,
  flagPresent: 0x19,
  data16: 0x1e,
  implicitConst: 0x21,
  rnglistx: 0x23,
  strx1: 0x25,
  addrx1: 0x29,
} as const;

export const tag = {
  lexicalBlock: 0x0b,
  compileUnit: 0x11,
  structure: 0x13,
  inlined: 0x1d,
  subprogram: 0x2e,
  variable: 0x34,
  namespace: 0x39,
  partialUnit: 0x3c,
  skeletonUnit: 0x4a,
} as const;

/** An unsigned LEB128. */
export function uleb(value: number | bigint): number[] {
  const bytes: number[] = [];
  let rest = BigInt(value);
  do {
    const low = Number(rest & 127n);
    rest >>= 7n;
    bytes.push(rest > 0n ? low | 128 : low);
  } while (rest > 0n);
  return bytes;
}

/** A signed LEB128. */
export function sleb(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; ) {
    const low = rest & 127;
    rest >>= 7;
    const isLast = (rest === 0 && !(low & 64)) || (rest === -1 && (low & 64) !== 0);
    bytes.push(isLast ? low : low | 128);
    if (isLast) return bytes;
  }
}

/** `.debug_info`, `.debug_abbrev` and `.debug_str` of some units. */
export function makeDwarf(units: readonly UnitFixture[]): Record<string, Uint8Array> {
  const strings = new Map<string, number>();
  let stringsSize = 0;
  const stringAt = (text: string) => {
    let offset = strings.get(text);
    if (offset === undefined) {
      offset = stringsSize;
      strings.set(text, offset);
      stringsSize += Buffer.byteLength(text) + 1;
    }
    return offset;
  };
  const abbrevs: number[] = [];
  const labels = new Map<string, number>();
  let code = 0;
  // Sizes do not depend on the labels' offsets, so the second round writes the same bytes with the right references.
  const write = (isFirst: boolean): Uint8Array => {
    code = 0;
    const info: number[] = [];
    for (const unit of units) {
      const { version = 5, addressSize = 8, root } = unit;
      const start = info.length;
      const abbrevAt = isFirst ? abbrevs.length : abbrevStarts.get(unit)!;
      if (isFirst) abbrevStarts.set(unit, abbrevAt);
      info.push(0, 0, 0, 0, ...pack([version, 2]));
      if (version >= 5) info.push(unit.type ?? 1, addressSize, ...pack([abbrevAt, 4]));
      else info.push(...pack([abbrevAt, 4]), addressSize);
      if (version >= 5 && unit.type === 4) info.push(...new Array(8).fill(7));
      const writeEntry = (entry: Entry) => {
        const { attributes = [], children = [] } = entry;
        if (entry.label !== undefined) labels.set(entry.label, info.length);
        code++;
        info.push(...uleb(code));
        if (isFirst) {
          abbrevs.push(...uleb(code), ...uleb(entry.tag), children.length > 0 ? 1 : 0);
          for (const [name, kind, value] of attributes) {
            abbrevs.push(...uleb(name), ...uleb(kind));
            if (kind === form.implicitConst) abbrevs.push(...sleb(Number(value)));
          }
          abbrevs.push(0, 0);
        }
        for (const [, kind, value] of attributes) info.push(...valueBytes(kind, value, start, addressSize));
        for (const child of children) writeEntry(child);
        if (children.length > 0) info.push(0);
      };
      writeEntry(root);
      if (isFirst) abbrevs.push(0);
      info.splice(start, 4, ...pack([info.length - start - 4, 4]));
    }
    return Uint8Array.from(info);
  };
  const abbrevStarts = new Map<UnitFixture, number>();
  const valueBytes = (
    kind: number,
    value: number | bigint | string | Uint8Array,
    unitStart: number,
    addressSize: number,
  ): number[] => {
    const number = typeof value === "string" || value instanceof Uint8Array ? 0 : value;
    switch (kind) {
      case form.addr:
        return [...pack([number, addressSize])];
      case form.data1:
      case form.strx1:
      case form.addrx1:
        return [...pack([number, 1])];
      case form.data2:
        return [...pack([number, 2])];
      case form.data4:
      case form.gnuRefAlt:
      case form.gnuStrpAlt:
      case form.secOffset:
        return [...pack([number, 4])];
      case form.data8:
        return [...pack([number, 8])];
      case form.data16:
        return [...pack([number, 8], [0, 8])];
      case form.udata:
      case form.rnglistx:
        return uleb(number);
      case form.sdata:
        return sleb(Number(number));
      case form.string:
        return [...Buffer.from(`${value}\0`)];
      case form.strp:
        return [...pack([stringAt(String(value)), 4])];
      case form.ref4:
        return [...pack([typeof value === "string" ? (labels.get(value) ?? 0) - unitStart : number, 4])];
      case form.refAddr:
        return [...pack([typeof value === "string" ? (labels.get(value) ?? 0) : number, 4])];
      case form.indirect:
        return [...uleb(form.data2), ...pack([number, 2])];
      case form.exprloc:
        return [...uleb((value as Uint8Array).length), ...(value as Uint8Array)];
      case form.flagPresent:
      case form.implicitConst:
        return [];
      default:
        throw new Error(`the fixture writes no form ${kind}`);
    }
  };
  write(true);
  const info = write(false);
  const str = Buffer.from([...strings.keys()].map((text) => `${text}\0`).join(""));
  return { ".debug_info": info, ".debug_abbrev": Uint8Array.from(abbrevs), ".debug_str": str };
}

export const textStart = 0x40_1000;

/** An ELF file with a `.text` of some size at `textStart` and debug sections. */
export function dwarfElf(
  sections: Readonly<Record<string, Uint8Array>>,
  options: {
    readonly textSize?: number;
    readonly symbols?: readonly { name: string; value: bigint; size: number; section: string }[];
    readonly others?: Parameters<typeof makeElf>[0]["sections"];
    readonly bits?: 32 | 64;
  } = {},
): Uint8Array {
  return makeElf({
    bits: options.bits ?? 64,
    sections: [
      { name: ".text", address: BigInt(textStart), bytes: new Uint8Array(options.textSize ?? 0x1000) },
      ...Object.entries(sections).map(([name, bytes]) => ({ name, bytes, flags: 0 })),
      ...(options.others ?? []),
    ],
    symbols: options.symbols ?? [],
  });
}

/** One row of a line table. */
export interface LineRow {
  readonly address: number;
  readonly line: number;
  readonly file?: number;
  readonly column?: number;
  /** Default true. */
  readonly isStatement?: boolean;
}

/** A line header with files in one directory, and a program with sequences of rows, each with its end. */
export function makeLines(
  version: number,
  files: readonly string[],
  sequences: readonly { readonly rows: readonly LineRow[]; readonly end: number }[],
): Uint8Array {
  const program: number[] = [];
  for (const { rows, end } of sequences) {
    let address = rows[0]!.address;
    let line = 1;
    let file = 1;
    let column = 0;
    let isStatement = true;
    program.push(0, 9, 2, ...pack([address, 8]));
    for (const row of rows) {
      if ((row.file ?? 1) !== file) program.push(4, ...uleb(row.file ?? 1));
      if ((row.column ?? 0) !== column) program.push(5, ...uleb(row.column ?? 0));
      if ((row.isStatement ?? true) !== isStatement) program.push(6);
      file = row.file ?? 1;
      column = row.column ?? 0;
      isStatement = row.isStatement ?? true;
      const lineStep = row.line - line;
      const addressStep = row.address - address;
      const special = lineStep + 5 + 14 * addressStep + 13;
      if (lineStep >= -5 && lineStep < 9 && special <= 255) {
        program.push(special);
      } else {
        program.push(3, ...sleb(lineStep), 2, ...uleb(addressStep), 1);
      }
      line = row.line;
      address = row.address;
    }
    program.push(2, ...uleb(end - address), 0, 1, 1);
  }
  const text = (value: string) => [...Buffer.from(`${value}\0`)];
  const tables =
    version >= 5
      ? [
          1,
          1,
          8,
          1,
          ...text("/src"),
          2,
          1,
          8,
          2,
          0x0b,
          ...uleb(files.length + 1),
          ...[files[0]!, ...files].flatMap((name) => [...text(name), 0]),
        ]
      : [...text("/src"), 0, ...files.flatMap((name) => [...text(name), 1, 0, 0]), 0];
  const body = [
    1,
    ...(version >= 4 ? [1] : []),
    1,
    0x100 - 5,
    14,
    13,
    ...[0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1],
    ...tables,
  ];
  const header = [...pack([version, 2]), ...(version >= 5 ? [8, 0] : []), ...pack([body.length, 4]), ...body];
  return Uint8Array.from([...pack([header.length + program.length, 4]), ...header, ...program]);
}
