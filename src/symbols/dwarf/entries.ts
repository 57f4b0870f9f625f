import type { AddressKey } from "../tables/address.js";
import { field } from "./abbrev.js";
import { EntryReader } from "./entry.js";
import type { DwarfFile } from "./file.js";
import { form } from "./layout.js";
import { RangeReader } from "./ranges.js";
import { typeAttribute } from "./type-layout.js";
import type { Unit } from "./unit.js";
import { readRoot, readUnits, textAt, unitAt } from "./unit-list.js";

/** An attribute as it was found. */
export interface AttributeValue {
  readonly form: number;
  /** A number, reference, offset or index; of a block, its length; of a text, its offset. */
  readonly number: number;
  /** Of a text, where it stands (`textHome`). */
  readonly home: number;
  /** Of a block, where its bytes start in the section. */
  readonly at: number;
}

/** One entry with its attributes. Offsets are in `.debug_info`. */
export interface DwarfEntry {
  readonly offset: number;
  readonly unit: Unit;
  readonly tag: number;
  readonly hasChildren: boolean;
  /** Offset after the attributes: the first child, when there are any. */
  readonly after: number;
  readonly attributes: ReadonlyMap<number, AttributeValue>;
}

/** No chain of origins and specifications is longer. */
const mostOrigins = 8;
/** No entry has more children that are of use. */
const mostChildren = 1 << 20;
const mostEnds = 1 << 20;
const longestBlock = 1 << 16;
const noTexts: ReadonlySet<number> = new Set([
  form.string,
  form.strp,
  form.lineStrp,
  form.strx,
  form.strx1,
  form.strx2,
  form.strx3,
  form.strx4,
  form.strpSup,
  form.gnuStrpAlt,
  form.gnuStringIndex,
]);

/** Entries of `.debug_info` one by one, in any order. Reading one costs about a microsecond. */
export class DwarfEntries {
  readonly units: readonly Unit[];
  private readonly reader: EntryReader;
  /** Offset after the children of entries that do not say it. */
  private readonly ends = new Map<number, number>();

  /** Reads the headers of all units and what their first entries say: 10 ms for a kernel's 3,000. */
  constructor(readonly file: DwarfFile) {
    this.reader = new EntryReader(
      () => file.section(".debug_str_offsets"),
      () => file.section(".debug_addr"),
    );
    this.units = readUnits(file);
    for (const unit of this.units) readRoot(file, unit, this.reader);
  }

  /** The entry at an offset; undefined for the end of a list of children, and where there is none. */
  at(offset: number, unit = unitAt(this.units, offset)): DwarfEntry | undefined {
    if (!unit || offset < unit.entries || offset >= unit.end) return undefined;
    const { file, reader } = this;
    const open = reader.open(file, unit, offset);
    if (!open) return undefined;
    const { pool, position, first, end } = open;
    const attributes = new Map<number, AttributeValue>();
    for (let i = first; i < end; i += 3) {
      attributes.set(pool[i]!, this.value(pool[i + 1]!, pool[i + 2]!));
    }
    return {
      offset,
      unit,
      tag: pool[position + field.tag]!,
      hasChildren: pool[position + field.hasChildren] === 1,
      after: reader.offset,
      attributes,
    };
  }

  private value(code: number, constant: number): AttributeValue {
    const { reader } = this;
    if (noTexts.has(code)) {
      const number = reader.text(code, constant);
      return { form: code, number, home: reader.home, at: 0 };
    }
    const prefix = blockPrefix(code);
    if (prefix === undefined) {
      const isAddress = code === form.address;
      const number = isAddress ? reader.address(code, constant) : reader.number(code, constant);
      return { form: code, number, home: 0, at: 0 };
    }
    const start = reader.offset;
    let length: number;
    let at: number;
    if (prefix === 0) {
      length = reader.unsigned();
      at = reader.offset;
      reader.at += Math.min(length, longestBlock);
    } else {
      reader.skip(code);
      at = start + prefix;
      length = reader.offset - at;
    }
    return { form: code, number: Math.min(length, longestBlock), home: 0, at };
  }

  /** Calls `visit` for each child, in order, until it gives true. */
  children(entry: DwarfEntry, visit: (child: DwarfEntry) => boolean | undefined): void {
    if (!entry.hasChildren) return;
    let offset = entry.after;
    for (let i = 0; i < mostChildren; i++) {
      const child = this.at(offset, entry.unit);
      if (!child || visit(child)) return;
      offset = this.behind(child);
    }
  }

  /** Offset of what follows an entry with all its children. */
  private behind(entry: DwarfEntry): number {
    return entry.hasChildren ? (this.knownEnd(entry) ?? this.findEnd(entry)) : entry.after;
  }

  /** The end of an entry's children, where it says it or it was found before. */
  private knownEnd(entry: DwarfEntry): number | undefined {
    const sibling = this.reference(entry, typeAttribute.sibling);
    if (sibling !== undefined && sibling > entry.offset && sibling < entry.unit.end) return sibling;
    return this.ends.get(entry.offset);
  }

  /** Passes the children of an entry that does not say where they end, once, and keeps the ends of all within. */
  private findEnd(entry: DwarfEntry): number {
    if (this.ends.size > mostEnds) this.ends.clear();
    const open = [entry.offset];
    let offset = entry.after;
    while (open.length > 0) {
      const next = this.at(offset, entry.unit);
      if (next) {
        const end = next.hasChildren ? this.knownEnd(next) : next.after;
        if (end === undefined) open.push(next.offset);
        offset = end ?? next.after;
      } else {
        // What ends a list is one byte; at the end of the unit all lists end.
        offset = Math.min(offset + 1, entry.unit.end);
        this.ends.set(open.pop()!, offset);
      }
    }
    return offset;
  }

  /** The offset that a reference leads to; undefined when there is none, or it leads out of this file. */
  reference({ attributes, unit }: DwarfEntry, name: number): number | undefined {
    const value = attributes.get(name);
    switch (value?.form) {
      case form.ref1:
      case form.ref2:
      case form.ref4:
      case form.ref8:
      case form.refUdata:
        return unit.start + value.number;
      case form.refAddress:
        return value.number;
      default:
        return undefined;
    }
  }

  /** A constant; undefined when there is none or it is no number. */
  number({ attributes }: DwarfEntry, name: number): number | undefined {
    const value = attributes.get(name);
    return value && isConstant(value.form) ? value.number : undefined;
  }

  /** A constant of up to 64 bits, as it is written; of a signed form with its sign. */
  wide(entry: DwarfEntry, name: number): bigint | undefined {
    const value = entry.attributes.get(name);
    if (!value || !isConstant(value.form)) return undefined;
    if (Number.isSafeInteger(value.number)) {
      // What is written in a fixed size may be negative: only the type of the value tells.
      return BigInt(value.number);
    }
    return this.exact(entry, name);
  }

  /** Beyond 2^53: read again, digit by digit. */
  private exact({ offset, unit }: DwarfEntry, name: number): bigint | undefined {
    const { file, reader } = this;
    const piece = file.readAside(offset);
    const open = reader.open(file, unit, offset, piece);
    if (!open) return undefined;
    const { pool, first, end } = open;
    for (let i = first; i < end; i += 3) {
      const code = pool[i + 1]!;
      if (pool[i] !== name) {
        reader.skip(code);
        continue;
      }
      if (code === form.data8 && reader.at + 8 <= piece.bytes.length) {
        return piece.view.getBigUint64(reader.at, true);
      }
      return lebAt(piece.bytes, reader.at, code === form.sdata);
    }
    return undefined;
  }

  flag(entry: DwarfEntry, name: number): boolean {
    return (entry.attributes.get(name)?.number ?? 0) !== 0;
  }

  /** The entry's own name. */
  name({ attributes }: DwarfEntry): string | undefined {
    const value = attributes.get(typeAttribute.name);
    return value && noTexts.has(value.form)
      ? textAt(this.file, value.number, value.home) || undefined
      : undefined;
  }

  /** The bytes of a block; undefined when the attribute is none. */
  block({ attributes }: DwarfEntry, name: number): Uint8Array | undefined {
    const value = attributes.get(name);
    if (!value || blockPrefix(value.form) === undefined) return undefined;
    const { bytes, base } = this.file.readAside(value.at);
    return bytes.slice(value.at - base, value.at - base + value.number);
  }

  /** The entry this one is a copy or the definition of. */
  origin(entry: DwarfEntry): DwarfEntry | undefined {
    const offset =
      this.reference(entry, typeAttribute.abstractOrigin) ??
      this.reference(entry, typeAttribute.specification);
    return offset === undefined ? undefined : this.at(offset);
  }

  /** The entry itself, or of those it stands for the first, that has an attribute. */
  withAttribute(entry: DwarfEntry, name: number): DwarfEntry | undefined {
    let at: DwarfEntry | undefined = entry;
    for (let steps = 0; at && steps < mostOrigins; steps++) {
      if (at.attributes.has(name)) return at;
      at = this.origin(at);
    }
    return undefined;
  }

  /** The code of an entry: a unit, function, block or inlined copy. Calls `visit` for each range of addresses. */
  ranges(entry: DwarfEntry, visit: (start: AddressKey, end: AddressKey) => void): void {
    const { attributes, unit } = entry;
    const listed = attributes.get(typeAttribute.ranges);
    if (listed) {
      const reader = new RangeReader(this.file, this.reader);
      reader.read(unit, listed.form, listed.number);
      for (let i = 0; i < reader.count; i++) visit(reader.starts[i]!, reader.ends[i]!);
      return;
    }
    const low = this.address(entry, typeAttribute.lowPc);
    const high = attributes.get(typeAttribute.highPc);
    if (low === undefined || !high) return;
    const end = isAddressForm(high.form) ? this.address(entry, typeAttribute.highPc)! : low + high.number;
    if (end > low) visit(low, end);
  }

  /** Is an address in the code of this entry? */
  holds(entry: DwarfEntry, key: AddressKey): boolean {
    let found = false;
    this.ranges(entry, (start, end) => {
      if (key >= start && key < end) found = true;
    });
    return found;
  }

  /** Does an entry say what its code is? */
  hasCode({ attributes }: DwarfEntry): boolean {
    return attributes.has(typeAttribute.lowPc) || attributes.has(typeAttribute.ranges);
  }

  /** An address, direct or by index. */
  address({ attributes, unit }: DwarfEntry, name: number): AddressKey | undefined {
    const value = attributes.get(name);
    if (!value) return undefined;
    return value.form === form.address ? value.number : this.indexedAddress(unit, value.number);
  }

  /** The address of an index in a unit's part of `.debug_addr`; NaN when there is none. */
  indexedAddress(unit: Unit, index: number): AddressKey {
    const table = this.file.abbrevs(unit.abbrevs, unit);
    if (!table) return Number.NaN;
    this.reader.move(unit, this.file.readAside(unit.entries), table, unit.entries);
    return this.reader.indexedAddress(index);
  }
}

/** Bytes of a block's length; 0 for LEB128, undefined for what is no block. */
function blockPrefix(code: number): number | undefined {
  switch (code) {
    case form.block1:
      return 1;
    case form.block2:
      return 2;
    case form.block4:
      return 4;
    case form.block:
    case form.expression:
      return 0;
    default:
      return undefined;
  }
}

function isConstant(code: number): boolean {
  switch (code) {
    case form.data1:
    case form.data2:
    case form.data4:
    case form.data8:
    case form.sdata:
    case form.udata:
    case form.implicitConstant:
    case form.flag:
    case form.flagPresent:
      return true;
    default:
      return false;
  }
}

export function isAddressForm(code: number): boolean {
  return (
    code === form.address ||
    code === form.addrx ||
    code === form.gnuAddressIndex ||
    (code >= form.addrx1 && code <= form.addrx4)
  );
}

function lebAt(bytes: Uint8Array, start: number, signed: boolean): bigint {
  let value = 0n;
  let shift = 0n;
  for (let at = start; at < bytes.length && shift < 70n; at++, shift += 7n) {
    const byte = bytes[at]!;
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 128) return signed && byte & 0x40 ? value - (1n << (shift + 7n)) : value;
  }
  return BigInt.asUintN(64, value);
}
