import { littleEndian, viewOf } from "../elf/elf.js";
import { type AddressKey, keyOfWords } from "../tables/address.js";
import { LebReader } from "./abbrev.js";
import type { DwarfEntries, DwarfEntry } from "./entries.js";
import { addressAt } from "./entry.js";
import { form } from "./layout.js";
import { locationEntry, typeAttribute } from "./type-layout.js";

const lists = { 4: ".debug_loc", 5: ".debug_loclists" } as const;
/** No list has more entries. */
const mostEntries = 1 << 16;

/**
 * The location expression of an entry's attribute at an address: the one of a block, or of a list the one whose range
 * holds the address.
 *
 * @param key link address
 * @returns undefined when the variable is nowhere at this address
 */
export function locationAt(
  entries: DwarfEntries,
  entry: DwarfEntry,
  name: number,
  key: AddressKey,
): Uint8Array | undefined {
  const value = entry.attributes.get(name);
  if (!value) return undefined;
  const block = entries.block(entry, name);
  if (block) return block;
  const isNew = entry.unit.version >= 5;
  const bytes = entries.file.section(isNew ? lists[5] : lists[4]);
  const offset =
    value.form === form.loclistx ? indexedList(entries, entry, bytes, value.number) : value.number;
  if (!(offset < bytes.length)) return undefined;
  return isNew ? searchList(entries, entry, bytes, offset, key) : searchPairs(entry, bytes, offset, key);
}

/** The offset of a list that is named by its index after the unit's base. */
function indexedList(entries: DwarfEntries, { unit }: DwarfEntry, bytes: Uint8Array, index: number): number {
  const root = entries.at(unit.entries, unit);
  const base = root?.attributes.get(typeAttribute.locListsBase)?.number ?? (unit.offsetSize === 8 ? 20 : 12);
  const at = base + index * unit.offsetSize;
  return at + unit.offsetSize <= bytes.length
    ? base + littleEndian(viewOf(bytes), at, unit.offsetSize)
    : Number.NaN;
}

/** DWARF 5, 2.6.2 and 7.7.3. */
function searchList(
  entries: DwarfEntries,
  { unit }: DwarfEntry,
  bytes: Uint8Array,
  offset: number,
  key: AddressKey,
): Uint8Array | undefined {
  const view = viewOf(bytes);
  const cursor = new LebReader(bytes, offset);
  const word = () => {
    const at = cursor.at;
    cursor.at += unit.addressSize;
    return cursor.at <= bytes.length ? addressAt(view, at, unit.addressSize) : Number.NaN;
  };
  const indexed = () => entries.indexedAddress(unit, cursor.unsigned());
  let base = unit.lowPc;
  let fallback: Uint8Array | undefined;
  for (let i = 0; i < mostEntries && cursor.at < bytes.length; i++) {
    let start = Number.NaN;
    let end = Number.NaN;
    const kind = bytes[cursor.at++]!;
    switch (kind) {
      case locationEntry.end:
        return fallback;
      case locationEntry.baseIndex:
        base = indexed();
        continue;
      case locationEntry.base:
        base = word();
        continue;
      case locationEntry.viewPair:
        cursor.unsigned();
        cursor.unsigned();
        continue;
      case locationEntry.startIndexEndIndex:
        start = indexed();
        end = indexed();
        break;
      case locationEntry.startIndexLength:
        start = indexed();
        end = start + cursor.unsigned();
        break;
      case locationEntry.offsetPair:
        start = base + cursor.unsigned();
        end = base + cursor.unsigned();
        break;
      case locationEntry.default:
        break;
      case locationEntry.startEnd:
        start = word();
        end = word();
        break;
      case locationEntry.startLength:
        start = word();
        end = start + cursor.unsigned();
        break;
      default:
        return fallback;
    }
    const length = cursor.unsigned();
    const block = bytes.slice(cursor.at, cursor.at + length);
    cursor.at += length;
    if (kind === locationEntry.default) fallback = block;
    if (key >= start && key < end) return block;
  }
  return fallback;
}

/** DWARF 4, 2.6.2. */
function searchPairs(
  { unit }: DwarfEntry,
  bytes: Uint8Array,
  offset: number,
  key: AddressKey,
): Uint8Array | undefined {
  const { addressSize } = unit;
  const view = viewOf(bytes);
  const allOnes = addressSize === 8 ? keyOfWords(0xffffffff, 0xffffffff) : 0xffffffff;
  let base = unit.lowPc;
  let at = offset;
  for (let i = 0; i < mostEntries && at + 2 * addressSize <= bytes.length; i++) {
    const start = addressAt(view, at, addressSize);
    const end = addressAt(view, at + addressSize, addressSize);
    at += 2 * addressSize;
    if (start === 0 && end === 0) return undefined;
    if (start === allOnes) {
      base = end;
      continue;
    }
    if (at + 2 > bytes.length) return undefined;
    const length = view.getUint16(at, true);
    at += 2;
    if (key >= base + start && key < base + end) return bytes.slice(at, at + length);
    at += length;
  }
  return undefined;
}
