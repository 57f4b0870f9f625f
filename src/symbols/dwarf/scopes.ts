import { type AbbrevTable, abbrevAt, field, role, skip } from "./abbrev.js";
import type { CodeMap } from "./code.js";
import type { RangeColumns, ScopeColumns } from "./columns.js";
import { EntryReader } from "./entry.js";
import type { DwarfFile, UnitBytes } from "./file.js";
import { attribute, cLanguages, form, tag, textHome } from "./layout.js";
import type { LineFiles } from "./line-files.js";
import type { EntryNames } from "./names.js";
import { RangeReader } from "./ranges.js";
import type { TextCollector } from "./texts.js";
import type { Unit } from "./unit.js";
import { textAt } from "./unit-list.js";

/** Entries nested deeper are damage: compilers stop at some hundreds. */
const deepest = 8192;
const largestColumn = 0x7fff;
/** Compilers cut a function in two. */
const mostParts = 16;
/** Namespaces and types around a function that are put before its name. */
const mostSpaces = 16;

/**
 * Walks over the entries of units and collects functions and inlined copies, with their ranges, their names and where
 * they are called. An entry that is of no interest costs some 50 ns.
 */
export class ScopeWalk {
  private readonly reader: EntryReader;
  private readonly listed: RangeReader;
  /** The ranges of the function around, when it has several. */
  private parts: { readonly first: number; readonly end: number } | undefined;
  /** The scope around the children at each depth. */
  private readonly around = new Int32Array(deepest + 1);
  /** The namespace or type whose children are at each depth: its offset; 0 for none. */
  private readonly spaces = new Float64Array(deepest + 1);
  /** The entry that is read, and how deep it is. */
  private entry = 0;
  private depth = 0;
  /** Copies whose names are found once the unit is read: a later entry may say more of the one they name. */
  private readonly unnamed: {
    readonly scopes: number[];
    readonly forms: number[];
    readonly values: number[];
  } = {
    scopes: [],
    forms: [],
    values: [],
  };

  constructor(
    private readonly file: DwarfFile,
    private readonly code: CodeMap,
    private readonly names: EntryNames,
    private readonly texts: TextCollector,
    private readonly scopes: ScopeColumns,
    private readonly ranges: RangeColumns,
  ) {
    this.reader = new EntryReader(
      () => file.section(".debug_str_offsets"),
      () => file.section(".debug_addr"),
    );
    this.listed = new RangeReader(file, this.reader);
  }

  /** Collects one unit; what is damaged ends it early, which is noted. */
  walk(unit: Unit, table: AbbrevTable, files: LineFiles | undefined): void {
    this.walkEntries(unit, table, files);
    const { scopes, forms, values } = this.unnamed;
    for (let i = 0; i < scopes.length; i++) {
      const name = this.names.byReference(unit, forms[i]!, values[i]!);
      if (name > 0) this.scopes.names[scopes[i]!] = name;
    }
    for (const list of [scopes, forms, values]) list.length = 0;
  }

  private walkEntries(unit: Unit, table: AbbrevTable, files: LineFiles | undefined): undefined {
    const place = this.file.read(unit.start, unit.end);
    const { bytes, view, base } = place;
    const { pool, dense, skips } = table;
    const { around, spaces } = this;
    const end = unit.end - base;
    const unitStart = unit.start - base;
    const isC = cLanguages.has(unit.language);
    let at = unit.entries - base;
    let depth = 0;
    around[0] = -1;
    while (at < end) {
      const entry = at;
      let code = bytes[at++]!;
      if (code >= 128) {
        code &= 127;
        for (let scale = 128; at < end; scale *= 128) {
          const byte = bytes[at++]!;
          code += (byte & 127) * scale;
          if (byte < 128) break;
        }
      }
      if (code === 0) {
        if (--depth <= 0) return;
        continue;
      }
      const position = code < dense.length ? dense[code]! - 1 : abbrevAt(table, code);
      if (position < 0) return this.damaged(base + at);
      const kind = pool[position + field.role]!;
      const hasChildren = pool[position + field.hasChildren]! === 1;
      let scope = around[depth]!;
      if (kind === role.function || kind === role.inlined) {
        this.entry = base + entry;
        this.depth = isC ? 0 : depth;
        scope = this.readScope(unit, place, table, position, base + at, scope, files);
        at = this.reader.at;
      } else {
        if (hasChildren && (kind === role.codeless || (kind === role.structure && isC))) {
          const sibling = pool[position + field.sibling]!;
          if (sibling >= 0 && at + sibling + 4 <= end) {
            const target = unitStart + view.getUint32(at + sibling, true);
            if (target > at && target <= end) {
              at = target;
              continue;
            }
          }
        }
        const start = at;
        const last = pool[position + field.skipEnd]!;
        for (let i = pool[position + field.skipStart]!; i < last; i++) {
          const step = skips[i]!;
          if (step >= 0) at += step;
          else if (step === skip.leb) while (at < end && bytes[at++]! >= 128);
          else if (step === skip.block1 && at < end) at += 1 + bytes[at]!;
          else if (step === skip.block || step === skip.string) at = passed(step, bytes, at, end);
          else if (step === skip.block2 && at + 2 <= end) at += 2 + view.getUint16(at, true);
          else if (step === skip.block4 && at + 4 <= end) at += 4 + view.getUint32(at, true);
          else {
            at = this.passEach(unit, place, table, position, base + start);
            break;
          }
        }
      }
      if (hasChildren) {
        if (depth >= deepest) return this.damaged(base + at);
        around[++depth] = scope;
        const isSpace = kind === role.structure || pool[position + field.tag] === tag.namespace;
        spaces[depth] = isSpace ? base + entry : 0;
      } else if (depth === 0) {
        return;
      }
    }
  }

  /** Passes an entry attribute by attribute: the form of one stands beside its value, or the entry is cut. */
  private passEach(
    unit: Unit,
    place: UnitBytes,
    table: AbbrevTable,
    position: number,
    offset: number,
  ): number {
    const { reader } = this;
    const { pool } = table;
    reader.move(unit, place, table, offset);
    const end = position + field.size + pool[position + field.attributes]! * 3;
    for (let i = position + field.size; i < end; i += 3) reader.skip(pool[i + 1]!);
    return reader.at;
  }

  private readScope(
    unit: Unit,
    place: UnitBytes,
    table: AbbrevTable,
    position: number,
    offset: number,
    parent: number,
    files: LineFiles | undefined,
  ): number {
    const { reader, listed, code: codeMap, scopes } = this;
    const { pool } = table;
    const isInlined = pool[position + field.role] === role.inlined;
    let low = Number.NaN;
    let high = Number.NaN;
    let isLength = false;
    let ranges = -1;
    let rangesForm = 0;
    let name = -1;
    let nameHome = 0;
    let linkage = -1;
    let linkageHome = 0;
    let origin = 0;
    let originForm = 0;
    let callFile = -1;
    let callLine = 0;
    let callColumn = 0;
    reader.move(unit, place, table, offset);
    const end = position + field.size + pool[position + field.attributes]! * 3;
    for (let i = position + field.size; i < end; i += 3) {
      const code = pool[i + 1]!;
      const constant = pool[i + 2]!;
      switch (pool[i]!) {
        case attribute.lowPc:
          low = reader.address(code, constant);
          break;
        case attribute.highPc:
          isLength = !isAddress(code);
          high = isLength ? reader.number(code, constant) : reader.address(code, constant);
          break;
        case attribute.ranges:
          ranges = reader.number(code, constant);
          rangesForm = code;
          break;
        case attribute.name:
          name = reader.text(code, constant);
          nameHome = reader.home;
          break;
        case attribute.linkageName:
        case attribute.mipsLinkageName:
          linkage = reader.text(code, constant);
          linkageHome = reader.home;
          break;
        case attribute.abstractOrigin:
        case attribute.specification:
          origin = reader.number(code, constant);
          originForm = code;
          break;
        case attribute.callFile:
          callFile = reader.number(code, constant);
          break;
        case attribute.callLine:
          callLine = reader.number(code, constant);
          break;
        case attribute.callColumn:
          callColumn = reader.number(code, constant);
          break;
        default:
          reader.skip(code);
      }
    }
    const isPlain = nameHome !== textHome.none && linkageHome === textHome.none;
    const whole = isPlain && this.depth > 1 ? this.wholeName(unit, name, nameHome) : 0;
    if (whole > 0) this.names.qualify(this.entry, whole);
    const outside = isInlined ? parent : -1;
    if (ranges < 0 && Number.isNaN(low)) return outside;
    if (isInlined && parent < 0) return -1;

    const first = this.ranges.count;
    const scope = scopes.count;
    let entry = low;
    let lowest = Number.POSITIVE_INFINITY;
    const isListed = ranges >= 0;
    if (isListed) {
      listed.read(unit, rangesForm, ranges);
      for (let i = 0; i < listed.count; i++) {
        const start = listed.starts[i]!;
        if (!codeMap.holds(start)) continue;
        if (lowest === Number.POSITIVE_INFINITY) entry = start;
        lowest = Math.min(lowest, start);
        this.ranges.push(start, listed.ends[i]!, scope);
      }
    } else {
      const stop = isLength ? low + high : high;
      if (stop > low && codeMap.holds(low)) {
        lowest = low;
        this.ranges.push(low, stop, scope);
      }
    }
    // Code that the linker left out, or a copy without code.
    if (this.ranges.count === first) return outside;

    scopes.push(outside, isInlined ? lowest : entry);
    const parts = this.ranges.count - first;
    if (!isInlined)
      this.parts = parts > 1 && parts <= mostParts ? { first, end: this.ranges.count } : undefined;
    else if (isListed && this.parts) this.findParts(scope, first, lowest);
    const linked = linkageHome === textHome.none ? 0 : this.texts.at(this.file, linkage, linkageHome);
    if (linked === 0 && originForm !== 0) {
      this.unnamed.scopes.push(scope);
      this.unnamed.forms.push(originForm);
      this.unnamed.values.push(origin);
    }
    scopes.names[scope] = linked || whole || (isPlain ? this.texts.at(this.file, name, nameHome) : 0);
    scopes.callFiles[scope] = isInlined && callFile >= 0 && files ? files.idOf(callFile) : 0;
    scopes.callLines[scope] = isInlined ? callLine : 0;
    scopes.callColumns[scope] = isInlined ? Math.min(callColumn, largestColumn) : 0;
    return scope;
  }

  /** A name with the namespaces and types around the entry that is read; 0 when there are none. */
  private wholeName(unit: Unit, name: number, home: number): number {
    const parts: string[] = [];
    for (let depth = this.depth; depth > 1 && parts.length < mostSpaces; depth--) {
      const space = this.spaces[depth]!;
      if (space === 0) break;
      const text = this.names.spaceAt(unit, space);
      if (text !== "") parts.unshift(text);
    }
    return parts.length === 0 ? 0 : this.texts.of([...parts, textAt(this.file, name, home)].join("::"));
  }

  /** Notes where a copy starts in each part of its function that the compiler moved away from the others. */
  private findParts(scope: number, first: number, lowest: number): void {
    const { starts, ends, count } = this.ranges;
    const { first: firstPart, end } = this.parts!;
    for (let part = firstPart; part < end; part++) {
      let start = Number.POSITIVE_INFINITY;
      for (let i = first; i < count; i++) {
        if (starts[i]! >= starts[part]! && starts[i]! < ends[part]!) start = Math.min(start, starts[i]!);
      }
      if (start > lowest && start < Number.POSITIVE_INFINITY) this.scopes.pushPart(scope, start);
    }
  }

  private damaged(offset: number): undefined {
    this.file.noteDamage(".debug_info", offset);
  }
}

/** Whether DW_AT_high_pc of this form is an address, not a length. */
function isAddress(code: number): boolean {
  return (
    code === form.address ||
    code === form.addrx ||
    code === form.gnuAddressIndex ||
    (code >= form.addrx1 && code <= form.addrx4)
  );
}

/** After a block with a LEB128 length, or after a NUL. */
function passed(step: number, bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  if (step === skip.string) {
    while (at < end && bytes[at++]! !== 0);
    return at;
  }
  let length = 0;
  for (let scale = 1; at < end; scale *= 128) {
    const byte = bytes[at++]!;
    length += (byte & 127) * scale;
    if (byte < 128) break;
  }
  return length <= end - at ? at + length : end;
}
