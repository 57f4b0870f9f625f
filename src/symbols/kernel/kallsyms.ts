import { numberAt, viewOf } from "../elf/elf.js";
import { isExactKey, keyOf } from "../tables/address.js";
import { IntervalBuilder, type IntervalMap } from "../tables/interval-map.js";
import { NameList } from "../tables/name-list.js";
import { isAbsoluteKind, type Region, type SymbolTable } from "../tables/symbol-table.js";
import { findKallsyms, type KallsymsPlace } from "./kallsyms-find.js";
import { offsetSize, tokenCount } from "./kallsyms-layout.js";

/**
 * The symbols of a kernel from the kallsyms in its image, in the order of /proc/kallsyms, at link addresses.
 *
 * A symbol answers from its address to the next one, but never beyond the part of the kernel it lies in (text,
 * init text, read-only data, data, bss …, told by the kernel's own boundary symbols); outside these parts it
 * answers for its first byte only. Of several symbols with one address the first answers: the kernel sorts them so
 * that it is the one its own traces print (scripts/kallsyms.c, compare_symbols). Absolute and per-CPU symbols can
 * be found by name and answer for no address.
 *
 * Cost: about 80 ms for 150,000 symbols.
 *
 * @param bytes see `findKallsyms`
 * @param address link address of the first byte, which the offsets of 7.0 and later count from
 * @returns undefined when there are none
 */
export function readKallsyms(
  bytes: Uint8Array,
  address: bigint,
  wordSize: 4 | 8 = 8,
): SymbolTable | undefined {
  const place = findKallsyms(bytes, wordSize);
  if (!place) return undefined;
  const { names, kinds } = expandNames(bytes, place);
  const starts = readAddresses(bytes, place, kinds, keyOf(address));
  const regions = kernelRegions(names, starts);
  const intervals = intervalsOf(starts, kinds, regions);
  return { names, starts, sizes: new Float64Array(place.count), kinds, intervals };
}

/** Expands every name; the first character is the type. */
function expandNames(bytes: Uint8Array, place: KallsymsPlace): { names: NameList; kinds: Uint8Array } {
  const { count, longLengths } = place;
  const view = viewOf(bytes);
  const tokenStarts = new Uint32Array(tokenCount);
  const tokenEnds = new Uint32Array(tokenCount);
  for (let token = 0; token < tokenCount; token++) {
    const start = place.tokenTable + view.getUint16(place.tokenIndex + token * 2, true);
    tokenStarts[token] = start;
    tokenEnds[token] = bytes.indexOf(0, start);
  }
  const starts = new Uint32Array(count);
  const ends = new Uint32Array(count);
  const kinds = new Uint8Array(count);
  let text = new Uint8Array(count * 32);
  let used = 0;
  let at = place.names;
  for (let i = 0; i < count; i++) {
    let length = bytes[at++]!;
    if (longLengths && length >= 0x80) length = (length & 0x7f) | (bytes[at++]! << 7);
    const first = used;
    for (const end = at + length; at < end; at++) {
      const token = bytes[at]!;
      const tokenEnd = tokenEnds[token]!;
      if (used + tokenEnd - tokenStarts[token]! > text.length) {
        const grown = new Uint8Array(text.length * 2);
        grown.set(text);
        text = grown;
      }
      for (let j = tokenStarts[token]!; j < tokenEnd; j++) text[used++] = bytes[j]!;
    }
    kinds[i] = text[first]!;
    starts[i] = first + 1;
    ends[i] = used;
  }
  return { names: new NameList(text.subarray(0, used), starts, ends), kinds };
}

/** Address keys of all symbols; absolute ones get the kind A where the table alone tells. */
function readAddresses(
  bytes: Uint8Array,
  place: KallsymsPlace,
  kinds: Uint8Array,
  home: number,
): Float64Array {
  const view = viewOf(bytes);
  const { count, wordSize, rule } = place;
  const starts = new Float64Array(count);
  const word = (offset: number) =>
    wordSize === 8
      ? view.getInt32(offset + 4, true) * 2 ** 32 + view.getUint32(offset, true)
      : numberAt(view, offset, 4);
  const base = word(place.relativeBase);
  for (let i = 0; i < count; i++) {
    if (rule === "absolute") {
      starts[i] = word(place.addresses + i * wordSize);
      continue;
    }
    const at = place.addresses + i * offsetSize;
    const offset = view.getInt32(at, true);
    if (rule === "self") {
      starts[i] = home + at + offset;
    } else if (rule === "relative") {
      starts[i] = base + (offset >>> 0);
    } else if (offset >= 0) {
      starts[i] = offset;
      kinds[i] = absoluteKind;
    } else {
      starts[i] = base - 1 - offset;
    }
  }
  return starts;
}

const absoluteKind = "A".charCodeAt(0);

/** First and end symbols of the kernel's parts, for x86, Arm64 and RISC-V. */
const boundarySymbols: readonly (readonly [name: string, start: string, end: string])[] = [
  [".head.text", "_head", "_stext"],
  [".text", "_text", "_etext"],
  [".text", "_stext", "_etext"],
  [".rodata", "__start_rodata", "__end_rodata"],
  [".data", "_sdata", "_edata"],
  [".init.text", "_sinittext", "_einittext"],
  [".init", "__init_begin", "__init_end"],
  [".bss", "__bss_start", "__bss_stop"],
  [".brk", "__brk_base", "__brk_limit"],
];

/** The parts of a kernel that its own symbols mark, disjoint and ascending. */
function kernelRegions(names: NameList, starts: Float64Array): Region[] {
  const addressOf = (name: string): number | undefined => {
    const index = names.findLinked(name);
    return index === undefined ? undefined : starts[index]!;
  };
  // Cut at every mark: init text lies inside init, and both ends must hold.
  const marks: Region[] = [];
  for (const [name, first, last] of boundarySymbols) {
    const start = addressOf(first);
    const end = addressOf(last);
    if (start !== undefined && end !== undefined && start < end) marks.push({ name, start, end });
  }
  const cuts = [...new Set(marks.flatMap(({ start, end }) => [start, end]))].sort((a, b) => a - b);
  const regions: Region[] = [];
  for (let i = 0; i + 1 < cuts.length; i++) {
    const start = cuts[i]!;
    const end = cuts[i + 1]!;
    const inside = marks.find((mark) => mark.start <= start && mark.end >= end);
    if (inside) regions.push({ name: inside.name, start, end });
  }
  return regions;
}

function intervalsOf(starts: Float64Array, kinds: Uint8Array, regions: readonly Region[]): IntervalMap {
  // The first of each address, in ascending order, whatever a damaged table says.
  const answering = new Int32Array(starts.length);
  let count = 0;
  let previous = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < starts.length; i++) {
    const start = starts[i]!;
    if (start <= previous || isAbsoluteKind(kinds[i]!) || !isExactKey(start)) continue;
    answering[count++] = i;
    previous = start;
  }
  const result = new IntervalBuilder(count + regions.length + 1);
  let region = 0;
  for (let i = 0; i < count; i++) {
    const start = starts[answering[i]!]!;
    const next = i + 1 < count ? starts[answering[i + 1]!]! : Number.POSITIVE_INFINITY;
    while (region < regions.length && regions[region]!.end <= start) region++;
    const place = regions[region];
    const end = place && place.start <= start ? place.end : start + 1;
    result.from(start, answering[i]!);
    if (end < next) result.from(end, -1);
  }
  return result.build();
}
