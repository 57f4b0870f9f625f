import { numberAt, viewOf } from "../elf/elf.js";
import {
  type AddressRule,
  fewestSymbols,
  largestName,
  longestToken,
  markerSize,
  markerStep,
  mostSymbols,
  narrowAlignment,
  offsetSize,
  orderSize,
  smallestName,
  tokenCount,
  tokenIndexSize,
} from "./kallsyms-layout.js";

/** Where the tables are, as offsets in the bytes they were found in. */
export interface KallsymsPlace {
  readonly wordSize: 4 | 8;
  readonly count: number;
  readonly names: number;
  readonly tokenTable: number;
  readonly tokenIndex: number;
  /** Offsets or, by the rule "absolute", addresses. */
  readonly addresses: number;
  /** Where the base of the rules "percpu" and "relative" is; others have none and say `addresses` again. */
  readonly relativeBase: number;
  readonly rule: AddressRule;
  /** Whether lengths of two bytes occur (6.1 and later). */
  readonly longLengths: boolean;
}

/**
 * Finds kallsyms by its structure: a token index (256 ascending numbers) right after the 256 strings it points
 * into; before them a count whose names, walked from the first to the last, agree with every marker; and a
 * table of as many ascending addresses on either side. Nothing but kallsyms passes all of it.
 *
 * Cost: one pass over the bytes, about 10 ms for 30 MB; bytes made to look like tables over and over are given up.
 *
 * @param bytes a vmlinux, or any part of one or of guest memory that holds the tables whole
 * @returns undefined when the kernel has none (CONFIG_KALLSYMS off)
 */
export function findKallsyms(bytes: Uint8Array, wordSize: 4 | 8): KallsymsPlace | undefined {
  const view = viewOf(bytes);
  const effort = { names: mostNamesWalked, counts: mostCountsTried };
  for (let at = 0; at + tokenIndexSize <= bytes.length; at += narrowAlignment) {
    if (bytes[at] !== 0 || bytes[at + 1] !== 0 || !isTokenIndex(view, at)) continue;
    for (const alignment of new Set([wordSize, narrowAlignment])) {
      if (at % alignment !== 0) continue;
      const tokenTable = tokenTableBefore(bytes, view, at, alignment);
      if (tokenTable === undefined) continue;
      const place = tablesAround(bytes, view, tokenTable, at, wordSize, alignment, effort);
      if (place || effort.names <= 0 || effort.counts <= 0) return place;
    }
  }
  return undefined;
}

/** What is left of the work a search may take. A real kernel needs one walk of its names. */
interface Effort {
  names: number;
  counts: number;
}
const mostNamesWalked = 1 << 26;
const mostCountsTried = 1 << 27;

/** 256 ascending offsets from 0 on, each leaving room for a token of at least one character. */
function isTokenIndex(view: DataView, at: number): boolean {
  let previous = 0;
  for (let i = 1; i < tokenCount; i++) {
    const offset = view.getUint16(at + i * 2, true);
    if (offset < previous + 2 || offset > previous + longestToken) return false;
    previous = offset;
  }
  return true;
}

/** The start of the strings that end, but for padding, where the index begins. */
function tokenTableBefore(
  bytes: Uint8Array,
  view: DataView,
  index: number,
  alignment: number,
): number | undefined {
  const last = view.getUint16(index + (tokenCount - 1) * 2, true);
  for (let length = 2; length <= longestToken + alignment; length++) {
    const start = index - last - length;
    if (start < 0) return undefined;
    if (start % alignment !== 0) continue;
    let fits = true;
    for (let i = 1; i < tokenCount && fits; i++) {
      const offset = start + view.getUint16(index + i * 2, true);
      fits = bytes[offset - 1] === 0 && bytes[offset] !== 0;
    }
    if (!fits) continue;
    const end = bytes.indexOf(0, start + last);
    if (
      end >= 0 &&
      end < index &&
      index - end <= alignment &&
      bytes.subarray(end, index).every((b) => b === 0)
    ) {
      return start;
    }
  }
  return undefined;
}

/** Looks back from the token table for the count that its names and markers agree with. */
function tablesAround(
  bytes: Uint8Array,
  view: DataView,
  tokenTable: number,
  tokenIndex: number,
  wordSize: 4 | 8,
  alignment: number,
  effort: Effort,
): KallsymsPlace | undefined {
  const furthest = Math.max(0, tokenTable - mostSymbols * 16);
  for (let at = tokenTable - 2 * alignment; at >= furthest && effort.counts > 0; at -= alignment) {
    effort.counts--;
    const count = view.getUint32(at, true);
    if (count < fewestSymbols || count > mostSymbols) continue;
    if (alignment === 8 && view.getUint32(at + 4, true) !== 0) continue;
    const room = tokenTable - at - alignment;
    if (room < count * smallestName || room > count * largestName) continue;
    const names = at + alignment;
    for (const longLengths of [true, false]) {
      if (!namesAgree(bytes, view, names, count, tokenTable, alignment, longLengths, effort)) continue;
      const found = addressTable(view, at, tokenIndex + tokenIndexSize, count, wordSize, alignment);
      if (found) return { wordSize, count, names, tokenTable, tokenIndex, longLengths, ...found };
    }
  }
  return undefined;
}

/**
 * Whether walking `count` names from `names` meets every marker after them, before `limit`. The markers end where the
 * tokens begin, or the order by name (6.2 and 6.3): a walk that misses one there is given up at once.
 */
function namesAgree(
  bytes: Uint8Array,
  view: DataView,
  names: number,
  count: number,
  limit: number,
  alignment: number,
  longLengths: boolean,
  effort: Effort,
): boolean {
  const align = (offset: number) => Math.ceil(offset / alignment) * alignment;
  const markersSize = Math.ceil(count / markerStep) * markerSize;
  const markers = [limit - align(markersSize), limit - align(count * orderSize) - align(markersSize)].filter(
    (start) => start > names && view.getUint32(start, true) === 0,
  );
  let at = names;
  for (let i = 0; i < count && markers.length > 0; i++) {
    if (i % markerStep === 0) {
      effort.names -= markerStep;
      if (effort.names <= 0) return false;
      const place = (i / markerStep) * markerSize;
      for (let one = markers.length - 1; one >= 0; one--) {
        if (view.getUint32(markers[one]! + place, true) !== at - names) markers.splice(one, 1);
      }
    }
    let length = bytes[at++]!;
    if (longLengths && length >= 0x80) length = (length & 0x7f) | (bytes[at++]! << 7);
    if (length === 0) return false;
    at += length;
    if (at >= limit) return false;
  }
  return markers.includes(align(at));
}

/** The address table after the token index (6.4 on) or before the count, in one of the forms it may have. */
function addressTable(
  view: DataView,
  numSyms: number,
  afterTokens: number,
  count: number,
  wordSize: 4 | 8,
  alignment: number,
): Pick<KallsymsPlace, "addresses" | "relativeBase" | "rule"> | undefined {
  const align = (offset: number) => Math.ceil(offset / alignment) * alignment;
  const offsetsSize = align(count * offsetSize);
  const behind = align(afterTokens);
  const candidates = [
    { addresses: behind, relativeBase: behind + offsetsSize },
    { addresses: numSyms - wordSize - offsetsSize, relativeBase: numSyms - wordSize },
  ];
  for (const { addresses, relativeBase } of candidates) {
    if (addresses < 0 || relativeBase + wordSize > view.byteLength) continue;
    if (!isKernelAddress(view, relativeBase, wordSize)) continue;
    const rule = ascendingRule(view, addresses, count);
    if (rule) return { addresses, relativeBase, rule };
  }
  if (behind + offsetsSize <= view.byteLength && ascendFromThemselves(view, behind, count)) {
    return { addresses: behind, relativeBase: behind, rule: "self" };
  }
  for (const addresses of [behind, numSyms - count * wordSize]) {
    if (addresses < 0 || addresses + count * wordSize > view.byteLength) continue;
    if (
      isKernelAddress(view, addresses + (count - 1) * wordSize, wordSize) &&
      areAscending(view, addresses, count, wordSize)
    ) {
      return { addresses, relativeBase: addresses, rule: "absolute" };
    }
  }
  return undefined;
}

/** Under which rule the offsets ascend; "percpu" first, since no offset of a relative table is negative. */
function ascendingRule(view: DataView, offsets: number, count: number): "percpu" | "relative" | undefined {
  let percpu = view.getInt32(offsets + (count - 1) * offsetSize, true) < 0;
  let relative = true;
  let previousAbsolute = 0;
  let previousNegative = 0;
  let previousUnsigned = 0;
  for (let i = 0; i < count && (percpu || relative); i++) {
    const unsigned = view.getUint32(offsets + i * offsetSize, true);
    const signed = unsigned | 0;
    relative &&= unsigned >= previousUnsigned;
    previousUnsigned = unsigned;
    if (signed >= 0) {
      percpu &&= previousNegative === 0 && signed >= previousAbsolute;
      previousAbsolute = signed;
    } else {
      percpu &&= previousNegative === 0 || signed <= previousNegative;
      previousNegative = signed;
    }
  }
  // All zeros ascend too, but are no symbols.
  return percpu ? "percpu" : relative && previousUnsigned > 0 ? "relative" : undefined;
}

/**
 * Whether the offsets, each counted from where it stands, lead to ascending addresses that reach further than the
 * table itself: one number over and over, as in padding, only leads along the table.
 */
function ascendFromThemselves(view: DataView, offsets: number, count: number): boolean {
  const target = (i: number) => i * offsetSize + view.getInt32(offsets + i * offsetSize, true);
  let previous = target(0);
  const reach = target(count - 1) - previous;
  if (reach <= count * offsetSize) return false;
  for (let i = 1; i < count; i++) {
    const next = target(i);
    if (next < previous) return false;
    previous = next;
  }
  return true;
}

function areAscending(view: DataView, addresses: number, count: number, wordSize: 4 | 8): boolean {
  for (let i = 1; i < count; i++) {
    const before = addresses + (i - 1) * wordSize;
    if (numberAt(view, before, wordSize) > numberAt(view, before + wordSize, wordSize)) return false;
  }
  return true;
}

/** An address in the kernel's half, where it is a whole word. */
function isKernelAddress(view: DataView, offset: number, wordSize: 4 | 8): boolean {
  const top = view.getUint32(offset + wordSize - 4, true);
  return wordSize === 8 ? top >= 0xffff0000 : top >= 0x10000;
}
