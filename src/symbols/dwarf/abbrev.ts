import { attribute, form, tag } from "./layout.js";

/** What the walk over entries does with an entry of an abbreviation. */
export const role = {
  /** Passes it, goes into its children. */
  other: 0,
  /** DW_TAG_subprogram. */
  function: 1,
  /** DW_TAG_inlined_subroutine. */
  inlined: 2,
  /** Holds no code: passed with its children, where it says where they end. */
  codeless: 3,
  /** Holds no code if the unit is C. */
  structure: 4,
} as const;

/** Steps of a skip program: a number of bytes when not negative, else one of these. */
export const skip = {
  leb: -1,
  block1: -2,
  block2: -3,
  block4: -4,
  block: -5,
  string: -6,
  indirect: -7,
  unknown: -8,
} as const;

/** Fields of an abbreviation in `AbbrevTable.pool`; (attribute, form, index of its constant) follow. */
export const field = {
  tag: 0,
  hasChildren: 1,
  role: 2,
  attributes: 3,
  skipStart: 4,
  skipEnd: 5,
  /** Bytes from the entry's first attribute to its DW_AT_sibling of form ref4; -1 where there is none so near. */
  sibling: 6,
  size: 7,
} as const;

/** How a unit writes addresses and offsets. */
export interface UnitShape {
  readonly version: number;
  readonly addressSize: number;
  readonly offsetSize: number;
}

/** No compiler writes as many attributes for one entry, or as many abbreviations. */
const mostAttributes = 512;
const mostAbbreviations = 1 << 20;
/** Codes below this are found by index. */
const denseCodes = 1 << 16;

/** The abbreviations of a unit, as one array of numbers. */
export interface AbbrevTable {
  readonly pool: Int32Array;
  /** Position in `pool` + 1 of each small code; 0 for none. */
  readonly dense: Int32Array;
  readonly sparse: ReadonlyMap<number, number>;
  readonly skips: Int32Array;
  readonly constants: Float64Array;
  /** Bytes read. */
  readonly length: number;
}

/** The position in the pool of a code's abbreviation; -1 when there is none. */
export function abbrevAt(table: AbbrevTable, code: number): number {
  if (code < table.dense.length) return table.dense[code]! - 1;
  return (table.sparse.get(code) ?? 0) - 1;
}

/**
 * Bytes an attribute of this form takes, or the step that skips it.
 * Source: DWARF 5, 7.5.6.
 */
export function skipOf(code: number, { version, addressSize, offsetSize }: UnitShape): number {
  switch (code) {
    case form.flagPresent:
    case form.implicitConstant:
      return 0;
    case form.data1:
    case form.flag:
    case form.ref1:
    case form.strx1:
    case form.addrx1:
      return 1;
    case form.data2:
    case form.ref2:
    case form.strx2:
    case form.addrx2:
      return 2;
    case form.strx3:
    case form.addrx3:
      return 3;
    case form.data4:
    case form.ref4:
    case form.strx4:
    case form.addrx4:
    case form.refSup4:
      return 4;
    case form.data8:
    case form.ref8:
    case form.refSignature:
    case form.refSup8:
      return 8;
    case form.data16:
      return 16;
    case form.address:
      return addressSize;
    case form.refAddress:
      return version <= 2 ? addressSize : offsetSize;
    case form.strp:
    case form.lineStrp:
    case form.strpSup:
    case form.sectionOffset:
    case form.gnuRefAlt:
    case form.gnuStrpAlt:
      return offsetSize;
    case form.sdata:
    case form.udata:
    case form.refUdata:
    case form.strx:
    case form.addrx:
    case form.loclistx:
    case form.rnglistx:
    case form.gnuAddressIndex:
    case form.gnuStringIndex:
      return skip.leb;
    case form.block1:
      return skip.block1;
    case form.block2:
      return skip.block2;
    case form.block4:
      return skip.block4;
    case form.block:
    case form.expression:
      return skip.block;
    case form.string:
      return skip.string;
    case form.indirect:
      return skip.indirect;
    default:
      return skip.unknown;
  }
}

/** Reads the abbreviations at an offset; what is damaged ends the table early. Cost: about 40 MB/s. */
export function readAbbrevs(bytes: Uint8Array, offset: number, shape: UnitShape): AbbrevTable {
  const pool: number[] = [];
  const skips: number[] = [];
  const constants: number[] = [];
  const codes: number[] = [];
  const positions: number[] = [];
  const reader = new LebReader(bytes, offset);
  let highest = 0;
  while (codes.length < mostAbbreviations) {
    const code = reader.unsigned();
    if (code === 0 || reader.at >= bytes.length) break;
    const position = pool.length;
    const skipStart = skips.length;
    const entryTag = reader.unsigned();
    const hasChildren = bytes[reader.at++] === 1 ? 1 : 0;
    pool.push(entryTag, hasChildren, roleOf(entryTag), 0, skipStart, skipStart, -1);
    let count = 0;
    let fixed = 0;
    let isFixed = true;
    let fixedSoFar = 0;
    for (;;) {
      const name = reader.unsigned();
      const code = reader.unsigned();
      const constant = code === form.implicitConstant ? constants.push(reader.signed()) - 1 : 0;
      if (name === 0 && code === 0) break;
      if (reader.at > bytes.length || ++count > mostAttributes) {
        return build(reader.at - offset, pool.slice(0, position));
      }
      pool.push(name, code, constant);
      if (name === attribute.sibling && code === form.ref4 && isFixed)
        pool[position + field.sibling] = fixedSoFar;
      const step = skipOf(code, shape);
      if (step >= 0) {
        fixed += step;
        fixedSoFar += step;
      } else {
        if (fixed > 0) skips.push(fixed);
        skips.push(step);
        fixed = 0;
        isFixed = false;
      }
    }
    if (fixed > 0) skips.push(fixed);
    pool[position + field.attributes] = count;
    pool[position + field.skipEnd] = skips.length;
    codes.push(code);
    positions.push(position);
    if (code < denseCodes && code > highest) highest = code;
  }
  return build(reader.at - offset, pool);

  function build(length: number, kept: readonly number[]): AbbrevTable {
    const dense = new Int32Array(highest + 1);
    const sparse = new Map<number, number>();
    codes.forEach((code, i) => {
      if (code < dense.length) dense[code] ||= positions[i]! + 1;
      else if (!sparse.has(code)) sparse.set(code, positions[i]! + 1);
    });
    return {
      pool: new Int32Array(kept),
      dense,
      sparse,
      skips: new Int32Array(skips),
      constants: new Float64Array(constants),
      length,
    };
  }
}

function roleOf(entryTag: number): number {
  switch (entryTag) {
    case tag.subprogram:
      return role.function;
    case tag.inlinedSubroutine:
      return role.inlined;
    case tag.arrayType:
    case tag.enumerationType:
    case tag.subroutineType:
    case tag.callSite:
    case tag.gnuCallSite:
      return role.codeless;
    case tag.structureType:
    case tag.unionType:
    case tag.classType:
    case tag.interfaceType:
      return role.structure;
    default:
      return role.other;
  }
}

/** What stands further up does not fit in 64 bits. */
const largestScale = 2 ** 63;

/** LEB128 numbers one after the other; past the end they are 0. */
export class LebReader {
  constructor(
    readonly bytes: Uint8Array,
    /** Offset of the next byte. */
    public at: number,
  ) {}

  unsigned(): number {
    let result = 0;
    for (let scale = 1; this.at < this.bytes.length; scale *= 128) {
      const byte = this.bytes[this.at++]!;
      if (scale <= largestScale) result += (byte & 127) * scale;
      if (byte < 128) break;
    }
    return result;
  }

  signed(): number {
    let result = 0;
    for (let scale = 1; this.at < this.bytes.length; scale *= 128) {
      const byte = this.bytes[this.at++]!;
      if (scale <= largestScale) result += (byte & 127) * scale;
      if (byte < 128) return byte & 64 ? result - scale * 128 : result;
    }
    return result;
  }
}
