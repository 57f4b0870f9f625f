import { littleEndian, viewOf } from "../elf/elf.js";
import type { AddressKey } from "../tables/address.js";
import { keyOfWords } from "../tables/address.js";
import { type AbbrevTable, abbrevAt, field, skip } from "./abbrev.js";
import type { DwarfFile, UnitBytes } from "./file.js";
import { form, textHome } from "./layout.js";
import type { Unit } from "./unit.js";

/** Where the abbreviation of an entry that was moved to lies in the pool. */
export interface OpenEntry {
  readonly table: AbbrevTable;
  readonly pool: Int32Array;
  readonly position: number;
  /** Its attributes, three numbers each (name, form, constant), are from here … */
  readonly first: number;
  /** … to here, exclusive. */
  readonly end: number;
}

/**
 * A cursor over the attributes of entries. What leaves the unit reads as 0 and leaves the cursor at the end.
 * One is made for a pass, and moved from unit to unit.
 */
export class EntryReader {
  private bytes: Uint8Array = new Uint8Array(0);
  private view: DataView = viewOf(this.bytes);
  /** Offset in `bytes` of the next attribute. */
  at = 0;
  private end = 0;
  private base = 0;
  private unit!: Unit;
  private constants: Float64Array = new Float64Array(0);
  /** Where the last text read stands. */
  home: number = textHome.none;

  constructor(
    private readonly strOffsets: () => Uint8Array,
    private readonly addresses: () => Uint8Array,
  ) {}

  /** Moves to an entry's attributes, at an offset of the section. */
  move(unit: Unit, { bytes, view, base }: UnitBytes, table: AbbrevTable, offset: number): void {
    this.bytes = bytes;
    this.view = view;
    this.base = base;
    this.end = Math.min(unit.end - base, bytes.length);
    this.unit = unit;
    this.constants = table.constants;
    this.at = Math.min(offset - base, this.end);
  }

  /**
   * Moves to the attributes of one entry, in any order of entries. The one way in which an entry is looked up; passes over
   * whole units (`scopes.ts`, `type-index.ts`) go on from each entry to the next themselves.
   *
   * @returns undefined for the end of a list of children, and where there is no entry
   */
  open(file: DwarfFile, unit: Unit, offset: number, bytes = file.readAside(offset)): OpenEntry | undefined {
    const table = file.abbrevs(unit.abbrevs, unit);
    if (!table) return undefined;
    this.move(unit, bytes, table, offset);
    const position = abbrevAt(table, this.unsigned());
    if (position < 0) return undefined;
    const { pool } = table;
    const first = position + field.size;
    return { table, pool, position, first, end: first + pool[position + field.attributes]! * 3 };
  }

  /** Offset in the section of the next attribute. */
  get offset(): number {
    return this.base + this.at;
  }

  /** Whether the cursor has come to the end of the unit. */
  get isAtEnd(): boolean {
    return this.at >= this.end;
  }

  /** A number: constant, reference (within the unit: from its start), offset or index. Addresses: `address`. */
  number(code: number, constant: number): number {
    switch (code) {
      case form.flagPresent:
        return 1;
      case form.implicitConstant:
        return this.constants[constant] ?? 0;
      case form.data1:
      case form.flag:
      case form.ref1:
      case form.strx1:
      case form.addrx1:
        return this.fixed(1);
      case form.data2:
      case form.ref2:
      case form.strx2:
      case form.addrx2:
        return this.fixed(2);
      case form.strx3:
      case form.addrx3:
        return this.fixed(3);
      case form.data4:
      case form.ref4:
      case form.strx4:
      case form.addrx4:
      case form.refSup4:
        return this.fixed(4);
      case form.data8:
      case form.ref8:
      case form.refSignature:
      case form.refSup8:
        return this.fixed(8);
      case form.address:
        return this.fixed(this.unit.addressSize);
      case form.refAddress:
        return this.fixed(this.unit.version <= 2 ? this.unit.addressSize : this.unit.offsetSize);
      case form.strp:
      case form.lineStrp:
      case form.strpSup:
      case form.sectionOffset:
      case form.gnuRefAlt:
      case form.gnuStrpAlt:
        return this.fixed(this.unit.offsetSize);
      case form.udata:
      case form.refUdata:
      case form.strx:
      case form.addrx:
      case form.loclistx:
      case form.rnglistx:
      case form.gnuAddressIndex:
      case form.gnuStringIndex:
        return this.unsigned();
      case form.sdata:
        return this.signed();
      case form.indirect:
        return this.number(this.indirect(), 0);
      default:
        this.skip(code);
        return 0;
    }
  }

  /** An address, direct or by index into `.debug_addr`; NaN where the index leads nowhere. */
  address(code: number, constant: number): AddressKey {
    const actual = code === form.indirect ? this.indirect() : code;
    if (actual !== form.address) return this.indexedAddress(this.number(actual, constant));
    const size = this.unit.addressSize;
    if (this.at + size > this.end) return this.fixed(size);
    const key = addressAt(this.view, this.at, size);
    this.at += size;
    return key;
  }

  /** The address of an index in the unit's part of `.debug_addr`. */
  indexedAddress(index: number): AddressKey {
    const { addressBase, addressSize } = this.unit;
    const addresses = this.addresses();
    const at = addressBase + index * addressSize;
    return at + addressSize <= addresses.length ? addressAt(viewOf(addresses), at, addressSize) : Number.NaN;
  }

  /** The offset of a text in its section; `home` says which section that is. */
  text(code: number, constant: number): number {
    const actual = code === form.indirect ? this.indirect() : code;
    switch (actual) {
      case form.string: {
        const start = this.offset;
        this.home = textHome.info;
        this.skip(form.string);
        return start;
      }
      case form.strp:
        this.home = textHome.str;
        return this.number(actual, constant);
      case form.lineStrp:
        this.home = textHome.lineStr;
        return this.number(actual, constant);
      case form.strpSup:
      case form.gnuStrpAlt:
        this.home = textHome.alt;
        return this.number(actual, constant);
      case form.strx:
      case form.strx1:
      case form.strx2:
      case form.strx3:
      case form.strx4:
      case form.gnuStringIndex: {
        const index = this.number(actual, constant);
        const offsets = this.strOffsets();
        const at = this.unit.stringOffsetsBase + index * this.unit.offsetSize;
        const fits = at + this.unit.offsetSize <= offsets.length;
        this.home = fits ? textHome.str : textHome.none;
        return fits ? littleEndian(viewOf(offsets), at, this.unit.offsetSize) : 0;
      }
      default:
        this.home = textHome.none;
        this.skip(actual);
        return 0;
    }
  }

  /** Passes an attribute. */
  skip(code: number): void {
    const step = this.unit.skips(code);
    if (step >= 0) this.at += step;
    else if (step === skip.leb) this.unsigned();
    else if (step === skip.block1) this.pass(this.fixed(1));
    else if (step === skip.block2) this.pass(this.fixed(2));
    else if (step === skip.block4) this.pass(this.fixed(4));
    else if (step === skip.block) this.pass(this.unsigned());
    else if (step === skip.string) {
      const end = this.bytes.indexOf(0, this.at);
      this.at = end < 0 ? this.end : end + 1;
    } else if (step === skip.indirect) this.skip(this.indirect());
    else this.at = this.end;
    if (this.at > this.end) this.at = this.end;
  }

  private pass(length: number): void {
    this.at = length <= this.end - this.at ? this.at + length : this.end;
  }

  unsigned(): number {
    let result = 0;
    for (let scale = 1; this.at < this.end; scale *= 128) {
      const byte = this.bytes[this.at++]!;
      if (scale <= 2 ** 63) result += (byte & 127) * scale;
      if (byte < 128) break;
    }
    return result;
  }

  private signed(): number {
    let result = 0;
    for (let scale = 1; this.at < this.end; scale *= 128) {
      const byte = this.bytes[this.at++]!;
      if (scale <= 2 ** 63) result += (byte & 127) * scale;
      if (byte < 128) return byte & 64 ? result - scale * 128 : result;
    }
    return result;
  }

  /** The form that stands before the value itself; one that is indirect again is none. */
  private indirect(): number {
    const code = this.unsigned();
    return code === form.indirect || code === form.implicitConstant ? 0 : code;
  }

  private fixed(size: number): number {
    if (this.at + size > this.end) {
      this.at = this.end;
      return 0;
    }
    const value = littleEndian(this.view, this.at, size);
    this.at += size;
    return value;
  }
}

/** The key of an address of 4 or 8 bytes. */
export function addressAt(view: DataView, at: number, size: number): AddressKey {
  return size === 8
    ? keyOfWords(view.getUint32(at + 4, true), view.getUint32(at, true))
    : littleEndian(view, at, size);
}
