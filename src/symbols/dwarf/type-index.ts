import { abbrevAt, field, skip } from "./abbrev.js";
import type { DwarfEntries } from "./entries.js";
import { EntryReader } from "./entry.js";
import { attribute, cLanguages, textHome, unitType } from "./layout.js";
import { typeAttribute, typeTag } from "./type-layout.js";
import type { Unit } from "./unit.js";
import { textAt } from "./unit-list.js";

/** What an entry's name is looked up among. */
export const nameSpace = {
  none: 0,
  struct: 1,
  class: 2,
  union: 3,
  enum: 4,
  typedef: 5,
  base: 6,
  function: 7,
  variable: 8,
  /** A namespace: names within it are reached through it. */
  scope: 9,
} as const;

const spaceOfTag: ReadonlyMap<number, number> = new Map([
  [typeTag.structure, nameSpace.struct],
  [typeTag.class, nameSpace.class],
  [typeTag.union, nameSpace.union],
  [typeTag.enumeration, nameSpace.enum],
  [typeTag.typedef, nameSpace.typedef],
  [typeTag.base, nameSpace.base],
  [typeTag.subprogram, nameSpace.function],
  [typeTag.variable, nameSpace.variable],
  [typeTag.namespace, nameSpace.scope],
]);

/** Scopes within scopes: more is damage. */
const deepestScopes = 64;
const spaces = 16;

/**
 * Where the entry of each name is: types, functions and variables at the top of units and in their namespaces and
 * classes. Of several of one name the first that is no declaration counts.
 *
 * Names of C are kept as their places in `.debug_str`, without a string for each; names in scopes as strings.
 */
export class DwarfTypeIndex {
  /** Place of the name * 16 + space → offset of the entry; negative for a declaration. */
  private readonly byPlace = new Map<number, number>();
  /** `space:scope::name` → the same. */
  private readonly byText = new Map<string, number>();
  /** Scope of each type that is within one: `std::`. */
  private readonly scopes = new Map<number, string>();
  /** Offsets of enumerations that are no declarations. */
  readonly enumerations: number[] = [];

  /** Reads all units: about 1 s for a kernel with DWARF. */
  constructor(private readonly entries: DwarfEntries) {
    const { file } = entries;
    const reader = new EntryReader(
      () => file.section(".debug_str_offsets"),
      () => file.section(".debug_addr"),
    );
    for (const unit of entries.units) {
      if (unit.type === unitType.type || unit.type === unitType.splitType) continue;
      this.walk(unit, reader);
    }
  }

  /** Offset of the entry that a whole name means. */
  find(space: number, name: string): number | undefined {
    const text = this.byText.get(`${space}:${name}`);
    if (text !== undefined && text > 0) return text;
    if (name.includes("::")) return text === undefined ? undefined : -text;
    let declared = text;
    const strings = this.entries.file.section(".debug_str");
    const buffer = Buffer.from(strings.buffer, strings.byteOffset, strings.byteLength);
    const wanted = Buffer.from(`${name}\0`);
    // Linkers let a name share the end of a longer one.
    for (let at = buffer.indexOf(wanted); at >= 0; at = buffer.indexOf(wanted, at + 1)) {
      const offset = this.byPlace.get(at * spaces + space);
      if (offset !== undefined && offset > 0) return offset;
      declared ??= offset;
    }
    return declared === undefined ? undefined : -declared;
  }

  /** What stands before a type's name: `std::`; empty at the top. */
  scopeOf(offset: number): string {
    return this.scopes.get(offset) ?? "";
  }

  private walk(unit: Unit, reader: EntryReader): void {
    const { file } = this.entries;
    const table = file.abbrevs(unit.abbrevs, unit);
    if (!table) return;
    const place = file.read(unit.start, unit.end);
    const { bytes, view, base } = place;
    const { pool, skips } = table;
    const isC = cLanguages.has(unit.language);
    const end = unit.end - base;
    /** The scope at each depth; undefined where nothing within counts. */
    const scopes: (string | undefined)[] = [undefined, ""];
    let at = unit.entries - base;
    let depth = 0;
    while (at < end) {
      const start = at;
      let code = 0;
      for (let scale = 1; at < end; scale *= 128) {
        const byte = bytes[at++]!;
        code += (byte & 127) * scale;
        if (byte < 128) break;
      }
      if (code === 0) {
        if (--depth <= 0) return;
        continue;
      }
      const position = abbrevAt(table, code);
      if (position < 0) return;
      const hasChildren = pool[position + field.hasChildren] === 1;
      const scope = scopes[depth];
      const tag = pool[position + field.tag]!;
      let space: number = scope === undefined ? nameSpace.none : (spaceOfTag.get(tag) ?? nameSpace.none);
      // Up to DWARF 4 a static member of a class is a member that is only declared there.
      if (tag === typeTag.member && scope && declares(pool, position)) space = nameSpace.variable;
      let inner: string | undefined = depth === 0 ? "" : undefined;
      if (space !== nameSpace.none) {
        reader.move(unit, place, table, base + at);
        const name = this.note(unit, reader, pool, position, base + start, space, scope!);
        const holdsNames = space === nameSpace.scope || (!isC && space <= nameSpace.union);
        if (holdsNames && hasChildren && depth < deepestScopes) {
          // Names in a namespace without one are reached without it.
          inner = name === "" && space === nameSpace.scope ? scope : `${scope}${name}::`;
        }
        at = reader.at;
      } else {
        const sibling = pool[position + field.sibling]!;
        if (hasChildren && depth > 0 && sibling >= 0 && at + sibling + 4 <= end) {
          const target = unit.start - base + view.getUint32(at + sibling, true);
          if (target > at && target <= end) {
            at = target;
            continue;
          }
        }
        at = passAttributes(bytes, view, skips, pool, position, at, end);
        if (at < 0) return;
      }
      if (!hasChildren) {
        if (depth === 0) return;
        continue;
      }
      if (inner === undefined && space !== nameSpace.none) {
        const target = this.siblingTarget(unit, pool, position, base + start, view, base);
        if (target > at && target <= end) {
          at = target;
          continue;
        }
      }
      depth++;
      scopes[depth] = inner;
    }
  }

  /** Where an entry's children end, as its abbreviation says it near the front; -1 when it does not. */
  private siblingTarget(
    unit: Unit,
    pool: Int32Array,
    position: number,
    offset: number,
    view: DataView,
    base: number,
  ): number {
    const sibling = pool[position + field.sibling]!;
    if (sibling < 0) return -1;
    let at = offset - base;
    while (at < view.byteLength && view.getUint8(at) >= 128) at++;
    at += 1 + sibling;
    return at + 4 <= view.byteLength ? unit.start - base + view.getUint32(at, true) : -1;
  }

  /** Reads one entry's name and keeps it. Gives the name. */
  private note(
    unit: Unit,
    reader: EntryReader,
    pool: Int32Array,
    position: number,
    offset: number,
    space: number,
    scope: string,
  ): string {
    let name = 0;
    let home: number = textHome.none;
    let isDeclaration = false;
    let hasOrigin = false;
    const end = position + field.size + pool[position + field.attributes]! * 3;
    for (let i = position + field.size; i < end; i += 3) {
      const code = pool[i + 1]!;
      switch (pool[i]!) {
        case attribute.name:
          name = reader.text(code, pool[i + 2]!);
          home = reader.home;
          break;
        case typeAttribute.declaration:
          isDeclaration = reader.number(code, pool[i + 2]!) !== 0;
          break;
        case typeAttribute.specification:
          hasOrigin = true;
          reader.skip(code);
          break;
        default:
          reader.skip(code);
      }
    }
    if (space === nameSpace.enum && !isDeclaration) this.enumerations.push(offset);
    if (home === textHome.none) {
      if (hasOrigin && space === nameSpace.variable) this.keepDefinition(unit, offset, scope);
      return "";
    }
    const value = isDeclaration ? -offset : offset;
    if (scope === "" && home === textHome.str) {
      const key = name * spaces + space;
      keep(this.byPlace, key, value);
      return space === nameSpace.scope || !cLanguages.has(unit.language)
        ? textAt(this.entries.file, name, home)
        : "";
    }
    const text = textAt(this.entries.file, name, home);
    keep(this.byText, `${space}:${scope}${text}`, value);
    const isType = space <= nameSpace.base;
    if (scope !== "" && (isType || (isDeclaration && space === nameSpace.variable))) {
      this.scopes.set(offset, scope);
    }
    return text;
  }

  /** A variable that was declared before has its name there. */
  private keepDefinition(unit: Unit, offset: number, scope: string): void {
    const entry = this.entries.at(offset, unit);
    const origin = entry && this.entries.origin(entry);
    const name = origin && this.entries.name(origin);
    if (!name) return;
    keep(this.byText, `${nameSpace.variable}:${this.scopes.get(origin.offset) ?? scope}${name}`, offset);
  }
}

/** Whether entries of an abbreviation say that they are declarations. */
function declares(pool: Int32Array, position: number): boolean {
  const end = position + field.size + pool[position + field.attributes]! * 3;
  for (let i = position + field.size; i < end; i += 3) {
    if (pool[i] === typeAttribute.declaration) return true;
  }
  return false;
}

function keep<K>(map: Map<K, number>, key: K, value: number): void {
  const known = map.get(key);
  if (known === undefined || (known < 0 && value > 0)) map.set(key, value);
}

/** After an entry's attributes; -1 where a form is met that only the slow reader knows. */
function passAttributes(
  bytes: Uint8Array,
  view: DataView,
  skips: Int32Array,
  pool: Int32Array,
  position: number,
  start: number,
  end: number,
): number {
  let at = start;
  const last = pool[position + field.skipEnd]!;
  for (let i = pool[position + field.skipStart]!; i < last && at < end; i++) {
    const step = skips[i]!;
    if (step >= 0) at += step;
    else if (step === skip.leb) while (at < end && bytes[at++]! >= 128);
    else if (step === skip.block1) at += 1 + bytes[at]!;
    else if (step === skip.block2 && at + 2 <= end) at += 2 + view.getUint16(at, true);
    else if (step === skip.block4 && at + 4 <= end) at += 4 + view.getUint32(at, true);
    else if (step === skip.string) while (at < end && bytes[at++]! !== 0);
    else if (step === skip.block) {
      let length = 0;
      for (let scale = 1; at < end; scale *= 128) {
        const byte = bytes[at++]!;
        length += (byte & 127) * scale;
        if (byte < 128) break;
      }
      at = length <= end - at ? at + length : end;
    } else return -1;
  }
  return Math.min(at, end);
}
