import type { DebugInfo, InlinedAt, SourcePlace } from "../debug/info.js";
import { parseLine } from "../debug/line-search.js";
import { demangle, isMangled } from "../demangle/demangle.js";
import { MangledNames } from "../demangle/mangled-names.js";
import { addressOfKey, isExactKey, keyOf, keyOfWords } from "../tables/address.js";
import { indexedSymbolAt } from "../tables/address-index.js";
import { isColdPart } from "../tables/name-list.js";
import { globTest, nearestNames } from "../tables/name-search.js";
import type { SymbolTable } from "../tables/symbol-table.js";
import { type MergedSources, mergeSources, type SymbolSource } from "./merged-sources.js";

export type { SymbolSource } from "./merged-sources.js";

/** An address with its name. C++ and Rust names are demangled. */
export interface Located {
  /** The linker's symbol: every address of a program has one name, with debug information or without. */
  readonly name: string;
  /** As the linker knows it, where that is another. */
  readonly linkageName?: string;
  /** Bytes from the symbol's start. */
  readonly offset: number;
  readonly start: bigint;
  /** Bytes as the source states them; undefined where it states none (kallsyms, labels). */
  readonly size: number | undefined;
  readonly source: string;
  readonly prefix: string;
  /**
   * The function as debug information names it, which GDB prints: `f` of the symbol `f.constprop.0`. Bytes are from its
   * entry; they may be negative in a part the compiler moved away (`f.cold`).
   */
  readonly declared?: { readonly name: string; readonly offset: number };
  /** Copies of inlined functions that hold the address, innermost first. */
  readonly inlined?: readonly InlinedAt[];
  /** The source line of the innermost code. */
  readonly place?: SourcePlace;
}

/** A symbol found by its name. */
export interface Found {
  readonly name: string;
  readonly address: bigint;
  readonly size: number | undefined;
  /** The letter `nm` prints for it. */
  readonly kind: string;
  readonly source: string;
  readonly prefix: string;
  /** For an inlined copy: the function it is part of. */
  readonly inlinedInto?: string;
}

/** An address where a source line starts. */
export interface FoundLine {
  readonly address: bigint;
  /** The line that was asked for, or the next one with code. */
  readonly place: SourcePlace;
  readonly source: string;
}

/**
 * Names for addresses and addresses for names, over any number of sources. Sources may be added at any time
 * (modules once loaded); the next lookup merges them into one map, about 20 ms for a kernel with modules.
 *
 * Lookups by address: about 1 M/s one by one (`nameOf`; `lookup` with inlined copies and lines), 10 M/s in bulk
 * (`lookupMany`).
 */
export class Symbols {
  private readonly entries: SymbolSource[] = [];
  private merged: MergedSources | undefined;
  private readonly mangled = new WeakMap<SymbolTable, MangledNames>();

  /** Adds a source; addresses it knows are named from the next lookup on. Symbol ids given out before end here. */
  add(source: SymbolSource): void {
    this.entries.push(source);
    this.merged = undefined;
  }

  /** Removes every source of this name (a module unloaded). Says whether there was one. */
  remove(name: string): boolean {
    const kept = this.entries.filter((source) => source.name !== name);
    const removed = kept.length < this.entries.length;
    this.entries.splice(0, this.entries.length, ...kept);
    if (removed) this.merged = undefined;
    return removed;
  }

  get sources(): readonly SymbolSource[] {
    return this.entries;
  }

  /** What could not be used of the debug information opened so far, in words for people. */
  get notes(): readonly string[] {
    return [...new Set(this.entries.flatMap(({ debug }) => debug?.notes ?? []))];
  }

  /**
   * The symbol that answers for an address, with inlined copies and line where the source knows them; undefined when
   * none does. The first lookup in a source opens its debug information.
   */
  lookup(address: bigint): Located | undefined {
    const merged = this.merge();
    const key = keyOf(address);
    const id = isExactKey(key) ? indexedSymbolAt(merged.index, key) : -1;
    return id < 0 ? undefined : this.locate(id, key);
  }

  /** The function an address lies in, without its source: what a call tree needs. */
  nameOf(
    address: bigint,
  ): { readonly name: string; readonly offset: number; readonly start: bigint } | undefined {
    const { index, starts } = this.merge();
    const key = keyOf(address);
    const id = isExactKey(key) ? indexedSymbolAt(index, key) : -1;
    if (id < 0) return undefined;
    const start = starts[id]!;
    return { name: this.nameById(id), offset: key - start, start: addressOfKey(start) };
  }

  /**
   * The ids of the symbols that answer for many addresses, -1 where none does: at least 2 M/s. Ids hold until the
   * next `add` or `remove`; `nameById` and `startById` explain them.
   *
   * @param ids as long as `addresses`, or longer
   * @param offsets when given, gets the distance from each symbol's start
   */
  lookupMany(addresses: BigUint64Array, ids: Int32Array, offsets?: Float64Array): void {
    const { index, starts } = this.merge();
    const words = new Uint32Array(addresses.buffer, addresses.byteOffset, addresses.length * 2);
    const count = addresses.length;
    for (let i = 0; i < count; i++) {
      const key = keyOfWords(words[i * 2 + 1]!, words[i * 2]!);
      const id = isExactKey(key) ? indexedSymbolAt(index, key) : -1;
      ids[i] = id;
      if (offsets) offsets[i] = id < 0 ? 0 : key - starts[id]!;
    }
  }

  /** The name, with its source's prefix, of an id from `lookupMany`; kept once made. */
  nameById(id: number): string {
    const merged = this.merge();
    const known = merged.names[id];
    if (known !== undefined) return known;
    const name = this.makeName(id);
    merged.names[id] = name;
    return name;
  }

  /** The start address of an id from `lookupMany`. */
  startById(id: number): bigint {
    return addressOfKey(this.merge().starts[id]!);
  }

  /**
   * Every symbol of exactly this name, or of this prefix and name ("User:main"): those of the sources that answer
   * first come first. A C++ or Rust function is found by its linkage name, its whole demangled name, and without its
   * parameters. When there is none, the one symbol that has what compilers add after this name is found (`f.isra.0`,
   * `f.llvm.123`; `f.cold` only where that is all there is), which then is called by its own name.
   */
  find(name: string): Found[] {
    const { bases } = this.merge();
    const found: Found[] = [];
    for (const i of this.byPriority()) {
      const source = this.entries[i]!;
      for (const wanted of namesIn(source, name)) {
        const { names } = source.table;
        const exact = names.find(wanted);
        const indexes = exact.length > 0 ? exact : this.mangledFor(source, wanted);
        for (const index of indexes) found.push(this.describe(bases[i]! + index));
      }
    }
    if (found.length > 0) return distinct(found);
    const variants = this.variantsOf(name);
    return new Set(variants.map((one) => one.name)).size === 1 ? variants : [];
  }

  /** Indexes of what has a demangled name; parts that hardly ever run only where they are all. */
  private mangledFor(source: SymbolSource, wanted: string): number[] {
    const indexes = this.mangledIn(source).find(wanted);
    const whole = indexes.filter((index) => !isColdPart(source.table.names.at(index)));
    return whole.length > 0 ? whole : indexes;
  }

  /** The symbols that have what compilers add after a name; parts that hardly ever run only where they are all. */
  private variantsOf(name: string): Found[] {
    const { bases } = this.merge();
    const found: Found[] = [];
    for (const i of this.byPriority()) {
      const source = this.entries[i]!;
      for (const wanted of namesIn(source, name)) {
        for (const index of source.table.names.findVariants(wanted)) {
          found.push(this.describe(bases[i]! + index));
        }
      }
    }
    const whole = found.filter((one) => !isColdPart(one.name));
    return distinct(whole.length > 0 ? whole : found);
  }

  /** Every copy inlined somewhere of the functions of exactly this name; opens the debug information. */
  findInlined(name: string): Found[] {
    return this.inlinedCopies((info, source) =>
      namesIn(source, name).flatMap((one) => info.copiesNamed(one)),
    );
  }

  /** Every symbol whose name matches a pattern of `*`, `?` and `[…]`; linear, about 50 ms for 150,000 names. */
  glob(pattern: string, limit = Number.POSITIVE_INFINITY): Found[] {
    const { bases } = this.merge();
    const found: Found[] = [];
    for (const i of this.byPriority()) {
      const source = this.entries[i]!;
      for (const wanted of namesIn(source, pattern)) {
        const matches = globTest(wanted);
        const { names } = source.table;
        const mangled = this.mangledIn(source);
        for (let index = 0; index < names.count && found.length < limit; index++) {
          if (matches(names.at(index)) || mangled.matches(index, matches)) {
            found.push(this.describe(bases[i]! + index));
          }
        }
      }
    }
    return distinct(found);
  }

  /**
   * Where a source line starts: the lowest address in each function and each inlined copy with code of the line; of
   * the next line with code when it has none. Opens the debug information; then about 10 ms.
   *
   * @param file a file's name, or the end of its path from a directory on: "core.c", "sched/core.c"
   */
  findLine(file: string, line: number): FoundLine[] {
    const { biases } = this.merge();
    const found: FoundLine[] = [];
    for (const i of this.byPriority()) {
      const source = this.entries[i]!;
      const info = source.debug?.info;
      if (!info) continue;
      for (const { key, place } of info.addressesOf(file, line)) {
        if (!isWithin(source, key + biases[i]!)) continue;
        found.push({ address: addressOfKey(key + biases[i]!), place, source: source.name });
      }
    }
    const nearest = Math.min(...found.map(({ place }) => place.line));
    return found.filter(({ place }) => place.line === nearest);
  }

  /**
   * What a user may write for a place: a name (symbols and inlined copies), a pattern with `*`, `?` or `[…]`, or
   * `FILE:LINE`. Empty when there is none.
   */
  resolve(text: string): (Found | FoundLine)[] {
    const named = [...this.find(text), ...this.findInlined(text)];
    if (named.length > 0) return named;
    const line = parseLine(text);
    if (line) return this.findLine(line.file, line.line);
    return /[*?[]/.test(text) ? this.glob(text) : [];
  }

  /** The names that are this one and what compilers put after it; several are found by none of `find`. */
  variants(name: string): string[] {
    return [...new Set(this.variantsOf(name).map((one) => one.prefix + one.name))];
  }

  /** Names like one that was not found, most alike first; about 100 ms for 150,000 names. */
  nearestNames(name: string, limit = 5): string[] {
    const variants = this.variants(name);
    const alike = nearestNames(
      name,
      this.entries.map(({ table }) => table.names),
      limit,
    );
    return [...new Set([...variants, ...alike])].slice(0, limit);
  }

  /** Indexes of the sources, in the order in which they answer. */
  private byPriority(): number[] {
    const priority = (i: number) => this.entries[i]!.priority ?? 0;
    return this.entries.map((_, i) => i).sort((a, b) => priority(b) - priority(a) || a - b);
  }

  private locate(id: number, key: number): Located {
    const { starts, biases } = this.merge();
    const owner = this.ownerOf(id);
    const { source, index } = owner;
    const start = starts[id]!;
    const prefix = source.prefix ?? "";
    const named = this.nameById(id);
    const linkageName = this.mangledIn(source).linkageName(index);
    // Assigned one by one: spreading objects would take most of a lookup's time.
    const located: { -readonly [K in keyof Located]: Located[K] } = {
      name: prefix === "" ? named : named.slice(prefix.length),
      offset: key - start,
      start: addressOfKey(start),
      size: source.table.sizes[index] || undefined,
      source: source.name,
      prefix,
    };
    if (linkageName !== undefined) located.linkageName = linkageName;
    const info = source.debug?.info;
    if (!info) return located;
    const bias = biases[owner.position]!;
    const place = info.placeAt(key - bias);
    if (place) located.place = place;
    const scope = info.scopeAt(key - bias);
    if (scope < 0) return located;
    const inlined = info.inlinedAt(scope, key - bias);
    if (inlined) located.inlined = inlined;
    const outer = info.functionOf(scope);
    const entry = info.startOf(outer) + bias;
    // A symbol of its own at the very address: GDB prints that.
    if (key === start && start !== entry) return located;
    const declared = linkageName === undefined ? undefined : this.wholeName(info.rawNameOf(outer), entry);
    const name = declared ?? info.nameOf(outer);
    if (name !== undefined) located.declared = { name, offset: key - entry };
    return located;
  }

  /**
   * The linker's name of a function that debug information names without the linker's: that of a lambda's parent, for
   * one, which then lacks namespaces and parameters.
   */
  private wholeName(declared: string, entry: number): string | undefined {
    if (isMangled(declared)) return undefined;
    const id = indexedSymbolAt(this.merge().index, entry);
    if (id < 0 || this.merge().starts[id] !== entry) return undefined;
    const { source, index } = this.ownerOf(id);
    const whole = this.mangledIn(source).linkageName(index);
    return whole === undefined ? undefined : demangle(whole, { hasResult: false });
  }

  private inlinedCopies(
    search: (info: DebugInfo, source: SymbolSource) => ReturnType<DebugInfo["copiesNamed"]>,
  ): Found[] {
    const { biases } = this.merge();
    return this.byPriority().flatMap((i) => {
      const source = this.entries[i]!;
      const info = source.debug?.info;
      if (!info) return [];
      return search(info, source)
        .filter(({ key }) => isWithin(source, key + biases[i]!))
        .map(({ name, key, inlinedInto }) => ({
          name,
          address: addressOfKey(key + biases[i]!),
          size: undefined,
          kind: "t",
          source: source.name,
          prefix: source.prefix ?? "",
          ...(inlinedInto !== undefined && { inlinedInto }),
        }));
    });
  }

  private describe(id: number): Found {
    const { source, index } = this.ownerOf(id);
    return {
      name: demangle(source.table.names.at(index)),
      address: addressOfKey(this.merge().starts[id]!),
      size: source.table.sizes[index] || undefined,
      kind: String.fromCharCode(source.table.kinds[index]!),
      source: source.name,
      prefix: source.prefix ?? "",
    };
  }

  private makeName(id: number): string {
    const { source, index } = this.ownerOf(id);
    return (source.prefix ?? "") + demangle(source.table.names.at(index));
  }

  private mangledIn(source: SymbolSource): MangledNames {
    let mangled = this.mangled.get(source.table);
    if (!mangled) {
      mangled = new MangledNames(source.table.names);
      this.mangled.set(source.table, mangled);
    }
    return mangled;
  }

  private ownerOf(id: number): {
    readonly source: SymbolSource;
    readonly position: number;
    readonly index: number;
  } {
    const { bases } = this.merge();
    let i = bases.length - 1;
    while (i > 0 && bases[i]! > id) i--;
    return { source: this.entries[i]!, position: i, index: id - bases[i]! };
  }

  private merge(): MergedSources {
    this.merged ??= mergeSources(this.entries);
    return this.merged;
  }
}

function isWithin({ range }: SymbolSource, key: number): boolean {
  return !range || (key >= keyOf(range.first) && key <= keyOf(range.last));
}

/** The name as this source would have it: without its prefix, when it has one. */
function namesIn({ prefix }: SymbolSource, name: string): string[] {
  return prefix && name.startsWith(prefix) ? [name, name.slice(prefix.length)] : [name];
}

/** Without the second of two symbols of one name, address and source (a .symtab and a .dynsym entry). */
function distinct(found: readonly Found[]): Found[] {
  const seen = new Set<string>();
  return found.filter(({ source, name, address }) => {
    const key = `${source}\0${name}\0${address}`;
    return !seen.has(key) && seen.add(key);
  });
}
