import { littleEndian, stringAt } from "../elf/elf.js";
import { type AbbrevTable, field } from "./abbrev.js";
import type { EntryReader } from "./entry.js";
import type { DwarfFile } from "./file.js";
import { attribute, tag, textHome, unitType } from "./layout.js";
import { Unit } from "./unit.js";

const longMark = 0xffffffff;
/** Lengths from here on are no lengths. */
const firstReserved = 0xfffffff0;
/** The longest header: 64-bit, with type signature and offset. */
const longestHeader = 40;

/**
 * The units of `.debug_info`, in their order. A damaged header ends the list, which is noted; so is a version that
 * is not read here.
 */
export function readUnits(file: DwarfFile): Unit[] {
  const units: Unit[] = [];
  const { size } = file.info;
  const unread = new Map<number, number>();
  for (let start = 0; start + 11 <= size; ) {
    const { view, base } = file.read(start, Math.min(size, start + longestHeader));
    const limit = Math.min(size - start, longestHeader);
    let at = start - base;
    let length = view.getUint32(at, true);
    let offsetSize = 4;
    at += 4;
    if (length === longMark && limit >= longestHeader) {
      length = littleEndian(view, at, 8);
      offsetSize = 8;
      at += 8;
    } else if (length >= firstReserved) {
      length = Number.NaN;
    }
    const end = base + at + length;
    if (!(length >= 7) || end > size) {
      file.note(`${file.info.name} is damaged at byte ${start}: what follows is left out`);
      break;
    }
    const version = view.getUint16(at, true);
    at += 2;
    if (version < 2 || version > 5) {
      unread.set(version, (unread.get(version) ?? 0) + 1);
      start = end;
      continue;
    }
    let type: number = unitType.compile;
    let addressSize: number;
    let abbrevs: number;
    if (version >= 5) {
      type = view.getUint8(at);
      addressSize = view.getUint8(at + 1);
      at += 2;
      abbrevs = wordWithin(view, at, offsetSize);
      at += offsetSize;
      if (type === unitType.skeleton || type === unitType.splitCompile) at += 8;
      if (type === unitType.type || type === unitType.splitType) at += 8 + offsetSize;
    } else {
      abbrevs = wordWithin(view, at, offsetSize);
      at += offsetSize;
      addressSize = at < view.byteLength ? view.getUint8(at) : 0;
      at++;
    }
    if (addressSize === 4 || addressSize === 8) {
      units.push(new Unit(start, end, base + at, type, version, addressSize, offsetSize, abbrevs));
    } else {
      file.note(
        `${file.info.name} has a unit at byte ${start} with addresses of ${addressSize} bytes: it is left out`,
      );
    }
    start = end;
  }
  for (const [version, count] of unread) {
    file.note(`${file.name} has ${count} units of DWARF version ${version}, which is not read`);
  }
  return units;
}

function wordWithin(view: DataView, at: number, size: number): number {
  return at + size <= view.byteLength ? littleEndian(view, at, size) : Number.NaN;
}

/** The unit that holds an offset of the section. */
export function unitAt(units: readonly Unit[], offset: number): Unit | undefined {
  let low = 0;
  let high = units.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (units[middle]!.start <= offset) low = middle;
    else high = middle - 1;
  }
  const unit = units[low];
  return unit && offset >= unit.entries && offset < unit.end ? unit : undefined;
}

/** Reads what the first entry of a unit says into it. Says whether it has one. */
export function readRoot(file: DwarfFile, unit: Unit, reader: EntryReader): AbbrevTable | undefined {
  if (unit.entries >= unit.end) return undefined;
  let table: AbbrevTable | undefined;
  // The bases first: indexes may stand before them.
  for (const wantsBases of [true, false]) {
    const open = reader.open(file, unit, unit.entries, file.read(unit.start, unit.end));
    if (!open) return undefined;
    const { pool, position, first, end } = open;
    table = open.table;
    if (pool[position + field.tag] === tag.skeletonUnit) unit.dwoName ??= "";
    for (let i = first; i < end; i += 3) {
      const name = pool[i]!;
      const code = pool[i + 1]!;
      const constant = pool[i + 2]!;
      if (
        wantsBases
          ? !readBase(unit, reader, name, code, constant)
          : !readFact(file, unit, reader, name, code, constant)
      ) {
        reader.skip(code);
      }
    }
  }
  return table;
}

function readBase(unit: Unit, reader: EntryReader, name: number, code: number, constant: number): boolean {
  switch (name) {
    case attribute.stringOffsetsBase:
      unit.stringOffsetsBase = reader.number(code, constant);
      return true;
    case attribute.addressBase:
    case attribute.gnuAddressBase:
      unit.addressBase = reader.number(code, constant);
      return true;
    case attribute.rangeListsBase:
    case attribute.gnuRangesBase:
      unit.rangesBase = reader.number(code, constant);
      return true;
    default:
      return false;
  }
}

function readFact(
  file: DwarfFile,
  unit: Unit,
  reader: EntryReader,
  name: number,
  code: number,
  constant: number,
): boolean {
  switch (name) {
    case attribute.lowPc: {
      const key = reader.address(code, constant);
      unit.lowPc = Number.isNaN(key) ? 0 : key;
      return true;
    }
    case attribute.statementList:
      unit.lines = reader.number(code, constant);
      return true;
    case attribute.language:
      unit.language = reader.number(code, constant);
      return true;
    case attribute.compilationDirectory:
      unit.directory = textAt(file, reader.text(code, constant), reader.home);
      return true;
    case attribute.name:
      unit.name = textAt(file, reader.text(code, constant), reader.home);
      return true;
    case attribute.dwoName:
    case attribute.gnuDwoName:
      unit.dwoName = textAt(file, reader.text(code, constant), reader.home);
      return true;
    default:
      return false;
  }
}

/** The text at an offset of a section; empty when it is in another file. */
export function textAt(file: DwarfFile, offset: number, home: number): string {
  switch (home) {
    case textHome.str:
      return stringAt(file.section(".debug_str"), offset);
    case textHome.lineStr:
      return stringAt(file.section(".debug_line_str"), offset);
    case textHome.alt:
      return file.alt ? stringAt(file.alt.section(".debug_str"), offset) : "";
    case textHome.info: {
      const { bytes, base } = file.readAside(offset);
      return stringAt(bytes, offset - base);
    }
    default:
      return "";
  }
}
