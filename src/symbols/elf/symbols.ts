import { VmtapeError } from "../../base/errors.js";
import { isExactKey } from "../tables/address.js";
import { NameList } from "../tables/name-list.js";
import type { Region, SymbolTable } from "../tables/symbol-table.js";
import { type ElfFile, type ElfSection, inFile, viewOf } from "./elf.js";
import { chooseLikeGdb } from "./gdb-choice.js";
import {
  fileType,
  machine,
  sectionFlag,
  sectionNumber,
  sectionType,
  symbolBinding,
  symbolType,
} from "./layout.js";
import { pltSymbols } from "./plt-symbols.js";

const threadLocalFlag = 0x400;
/** Ten times the symbols of the largest programs; a file that has more is not read at all. */
const largestTable = 512 << 20;
/** All names together are at most so many times as long as the string table, where it is no small one. */
const mostSharing = 4;
const smallTable = 1 << 20;
/** A kernel's template of per-CPU data is linked at 0 and never runs there. */
const kernelPerCpu = ".data..percpu";

/** How to read the symbols of a file. */
export interface ElfSymbolOptions {
  /** Where each section of a relocatable file (.o, .ko) was loaded, by name; others are left out. */
  readonly sectionAddresses?: ReadonlyMap<string, bigint>;
  /** The separate debug file of a stripped one: its `.symtab` is read, too. */
  readonly separate?: ElfFile;
}

/**
 * Functions, objects and labels of `.symtab` and `.dynsym`, with one more symbol `NAME@plt` for each x86-64 jump
 * stub, at link addresses. Section and file symbols, thread-local ones, undefined ones and compiler's local labels
 * (`.L…`, Arm's `$x`) are left out, as GDB leaves them out. Entries that lead outside the file give fewer symbols.
 *
 * Cost: the symbol and string tables are read whole (15 MB of a 633 MB kernel), nothing else is.
 *
 * @throws VmtapeError `unsupported` for a relocatable file without `sectionAddresses`, `limit-exceeded` for a table
 *   of more than 512 MB
 */
export function readElfSymbols(elf: ElfFile, options: ElfSymbolOptions = {}): SymbolTable {
  if (elf.type === fileType.relocatable && !options.sectionAddresses) {
    throw new VmtapeError(
      "unsupported",
      `${elf.source.name} is a relocatable object: its addresses are known only once it is loaded`,
      { file: elf.source.name },
    );
  }
  // One table of each type, as the specification has it: a hostile file may name one a million times.
  const tables = [
    ...tablesOf(elf, [sectionType.symbols, sectionType.dynamicSymbols]),
    ...(options.separate ? tablesOf(options.separate, [sectionType.symbols]) : []),
  ];
  for (const { from, section } of tables) {
    const { link, name, size } = section;
    const largest = Math.max(size, from.sections[link]?.size ?? 0);
    if (largest <= largestTable) continue;
    throw new VmtapeError(
      "limit-exceeded",
      `${from.source.name} has a symbol table ${name} of ${largest} bytes, more than ${largestTable}`,
      { file: from.source.name, limit: largestTable },
    );
  }
  const stubs = pltSymbols(elf);
  const entries = tables.reduce(
    (sum, { from, section }) => sum + Math.floor(section.size / from.layout.symbol.size),
    0,
  );
  const collected = new Collector(elf, options, entries + stubs.length);
  for (const { from, section } of tables) collected.readTable(section, from);
  for (const stub of stubs) collected.add(stub.name, stub.address, stub.size, stub.section, 0x74);
  return collected.build();
}

interface SymbolSection {
  readonly from: ElfFile;
  readonly section: ElfSection;
}

function tablesOf(from: ElfFile, types: readonly number[]): SymbolSection[] {
  return types.flatMap((wanted) => {
    const section = from.sections.find((one) => one.type === wanted && inFile(from.source, one));
    return section ? [{ from, section }] : [];
  });
}

/** The allocated sections, disjoint and ascending. */
export function regionsOf(elf: ElfFile, options: ElfSymbolOptions = {}): (Region & { section: number })[] {
  const all: (Region & { section: number })[] = [];
  for (const section of elf.sections) {
    const threadLocalBss = section.flags & threadLocalFlag && section.type === sectionType.noBits;
    if (!(section.flags & sectionFlag.allocate) || section.size === 0 || threadLocalBss) continue;
    if (section.name === kernelPerCpu) continue;
    const address = options.sectionAddresses ? options.sectionAddresses.get(section.name) : section.address;
    if (address === undefined) continue;
    const start = Number(BigInt.asIntN(64, address));
    all.push({ name: section.name, section: section.index, start, end: start + section.size });
  }
  all.sort((a, b) => a.start - b.start);
  const disjoint: (Region & { section: number })[] = [];
  let end = Number.NEGATIVE_INFINITY;
  for (const region of all) {
    if (region.start < end || !isExactKey(region.start) || !isExactKey(region.end)) continue;
    disjoint.push(region);
    end = region.end;
  }
  return disjoint;
}

class Collector {
  private readonly regions: (Region & { section: number })[];
  private readonly regionOfSection: Int32Array;
  private readonly strings: Uint8Array[] = [];
  private stringsSize = 0;
  private readonly starts: Float64Array;
  private readonly sizes: Float64Array;
  private readonly kinds: Uint8Array;
  private readonly nameStarts: Uint32Array;
  private readonly nameEnds: Uint32Array;
  private readonly regionOf: Int32Array;
  private count = 0;

  constructor(
    private readonly elf: ElfFile,
    private readonly options: ElfSymbolOptions,
    capacity: number,
  ) {
    this.starts = new Float64Array(capacity);
    this.sizes = new Float64Array(capacity);
    this.kinds = new Uint8Array(capacity);
    this.nameStarts = new Uint32Array(capacity);
    this.nameEnds = new Uint32Array(capacity);
    this.regionOf = new Int32Array(capacity);
    this.regions = regionsOf(elf, options);
    this.regionOfSection = new Int32Array(elf.sections.length).fill(-1);
    this.regions.forEach((region, i) => {
      if (region.section >= 0) this.regionOfSection[region.section] = i;
    });
  }

  readTable(section: ElfSection, from: ElfFile): void {
    const { elf } = this;
    const { symbol: at, wordSize } = from.layout;
    const stringSection = from.sections[section.link];
    if (!stringSection || !inFile(from.source, stringSection)) return;
    if (stringSection.type !== sectionType.strings) return;
    const count = Math.floor(section.size / at.size);
    const view = viewOf(from.source.read(section.offset, count * at.size));
    const strings = from.source.read(stringSection.offset, stringSection.size);
    const numbers = from === elf ? undefined : this.numbersOf(from);
    const stringsBase = this.addStrings(strings);
    let namesLeft = strings.length * mostSharing + smallTable;
    const extended = this.extendedSections(section, from);
    const hasMappingSymbols = elf.machine !== machine.x86 && elf.machine !== machine.x86_64;
    for (let i = 1; i < count; i++) {
      const base = i * at.size;
      const info = view.getUint8(base + at.info);
      const type = info & 15;
      if (type === symbolType.section || type === symbolType.file || type === symbolType.tls) continue;
      let number = view.getUint16(base + at.section, true);
      if (number === sectionNumber.undefined) continue;
      const nameStart = view.getUint32(base + at.name, true);
      if (nameStart >= strings.length || strings[nameStart] === 0) continue;
      if (isLocalLabel(strings, nameStart, hasMappingSymbols)) continue;
      const nameEnd = strings.indexOf(0, nameStart);
      // Names may share their ends, but not all of them all of the table: reading those would never end.
      namesLeft -= (nameEnd < 0 ? strings.length : nameEnd) - nameStart;
      if (namesLeft < 0) break;
      const low = view.getUint32(base + at.value, true);
      const value = wordSize === 8 ? view.getInt32(base + at.value + 4, true) * 2 ** 32 + low : low;
      const sizeLow = view.getUint32(base + at.length, true);
      const size = wordSize === 8 ? view.getUint32(base + at.length + 4, true) * 2 ** 32 + sizeLow : sizeLow;
      let region = -1;
      let start = value;
      if (number === sectionNumber.extended) {
        number = extended && i * 4 + 4 <= extended.byteLength ? extended.getUint32(i * 4, true) : 0;
      } else if (number >= sectionNumber.reserved) {
        number = -1;
      }
      if (number >= 0 && numbers) number = numbers[number] ?? -1;
      if (number >= 0) {
        region = this.regionOfSection[number] ?? -1;
        if (this.options.sectionAddresses) {
          if (region < 0) continue;
          start += this.regions[region]!.start;
        }
      }
      if (!isExactKey(start)) continue;
      this.push(
        start,
        size,
        kindOf(type, info >>> 4, number < 0 ? undefined : elf.sections[number]),
        stringsBase + nameStart,
        stringsBase + (nameEnd < 0 ? strings.length : nameEnd),
        region,
      );
    }
  }

  /** Adds one made-up symbol of a section. */
  add(name: string, start: number, size: number, section: number, kind: number): void {
    const bytes = Buffer.from(name);
    const base = this.addStrings(bytes);
    this.push(start, size, kind, base, base + bytes.length, this.regionOfSection[section] ?? -1);
  }

  build(): SymbolTable {
    const bytes = new Uint8Array(this.stringsSize);
    let offset = 0;
    for (const part of this.strings) {
      bytes.set(part, offset);
      offset += part.length;
    }
    const { count } = this;
    const names = new NameList(bytes, this.nameStarts.slice(0, count), this.nameEnds.slice(0, count));
    const starts = this.starts.slice(0, count);
    const sizes = this.sizes.slice(0, count);
    const regionEnds = Float64Array.from(this.regions, (region) => region.end);
    const intervals = chooseLikeGdb({
      names,
      starts,
      sizes,
      regionOf: this.regionOf.subarray(0, count),
      regionEnds,
      globalCode: this.kinds.slice(0, count).map((kind) => (globalCodeKinds.has(kind) ? 1 : 0)),
    });
    return { names, starts, sizes, kinds: this.kinds.slice(0, count), intervals };
  }

  private addStrings(strings: Uint8Array): number {
    this.strings.push(strings);
    this.stringsSize += strings.length;
    return this.stringsSize - strings.length;
  }

  private push(
    start: number,
    size: number,
    kind: number,
    nameStart: number,
    nameEnd: number,
    region: number,
  ): void {
    const place = this.regions[region];
    // An end mark such as _etext belongs to its section but lies after it: it answers for nothing.
    const inside = place !== undefined && start >= place.start && start < place.end;
    const index = this.count++;
    this.starts[index] = start;
    this.sizes[index] = size;
    this.kinds[index] = kind;
    this.nameStarts[index] = nameStart;
    this.nameEnds[index] = nameEnd;
    this.regionOf[index] = inside ? region : -1;
  }

  /** The section numbers that did not fit, kept in a table beside the symbols. */
  private extendedSections(symbols: ElfSection, from: ElfFile): DataView | undefined {
    const section = from.sections.find(
      ({ type, link }) => type === sectionType.symbolSections && link === symbols.index,
    );
    return section && inFile(from.source, section) ? viewOf(from.contents(section)) : undefined;
  }

  /** For each section of a separate file the number of the section here that it stands for; -1 for none. */
  private numbersOf(from: ElfFile): Int32Array {
    const known = new Map(this.elf.sections.map(({ name, address, index }) => [`${name} ${address}`, index]));
    return Int32Array.from(from.sections, ({ name, address }) => known.get(`${name} ${address}`) ?? -1);
  }
}

/** `.L…`, and the mapping symbols of Arm and RISC-V: `$x`. */
function isLocalLabel(strings: Uint8Array, start: number, hasMappingSymbols: boolean): boolean {
  const first = strings[start];
  return (first === 0x2e && strings[start + 1] === 0x4c) || (hasMappingSymbols && first === 0x24);
}

/** T, W and u: see `kindOf`. An indirect function (i) counts as none for GDB. */
const globalCodeKinds: ReadonlySet<number> = new Set([..."TWu"].map((letter) => letter.charCodeAt(0)));

/** The letter `nm` prints: t text, d data, b no bytes, r read-only, n other; upper case when global. */
function kindOf(type: number, binding: number, section: ElfSection | undefined): number {
  if (type === symbolType.ifunc) return "i".charCodeAt(0);
  if (binding === symbolBinding.weak) return (type === symbolType.object ? "V" : "W").charCodeAt(0);
  if (binding === symbolBinding.unique) return "u".charCodeAt(0);
  const letter =
    section === undefined
      ? "a"
      : !(section.flags & sectionFlag.allocate)
        ? "n"
        : section.flags & sectionFlag.execute
          ? "t"
          : section.type === sectionType.noBits
            ? "b"
            : section.flags & sectionFlag.write
              ? "d"
              : "r";
  return (binding === symbolBinding.local ? letter : letter.toUpperCase()).charCodeAt(0);
}
